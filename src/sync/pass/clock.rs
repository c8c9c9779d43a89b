//! This machine's clock during a pass: reports a suspended machine, and checks a clock that was set by more
//! than a day against Tink's. Sets no clock.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Pass, Stop};
use crate::domain::event::Event;
use crate::tink::ErrorKind;

/// A shorter suspension is not reported.
const SLEEP: Duration = Duration::from_secs(10);
/// A clock that was set by more than this during a pass may be wrong about the day.
const CLOCK_JUMP: SignedDuration = SignedDuration::from_hours(24);

impl Pass {
    /// Reports a suspension of the machine, and asks Tink about the day again if the clock was set by more
    /// than one.
    pub(super) async fn look_at_clock(&mut self) {
        let slept = self.watch.suspended(self.ctx.clock.as_ref());
        if slept.saturating_sub(self.slept) >= SLEEP {
            self.emit(&Event::Suspended { time: slept.saturating_sub(self.slept) });
            self.slept = slept;
        }
        let set_by = self.watch.set_by(self.ctx.clock.as_ref());
        if set_by.saturating_sub(self.set_by).abs() <= CLOCK_JUMP || !self.is_open() {
            return;
        }
        self.set_by = set_by;
        if let Err(error) = self.ctx.client.probe(None).await
            && error.kind == ErrorKind::ClockOff
        {
            self.give_up_for_clock(error.to_string());
        }
    }

    pub(super) fn give_up_for_clock(&mut self, error: String) {
        if !matches!(self.stop, Stop::ClockOff(_)) {
            self.emit(&Event::ClockOff(error.clone()));
            self.stop = Stop::ClockOff(error);
        }
    }
}

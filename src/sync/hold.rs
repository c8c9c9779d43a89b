//! How long the leases of a run on a shared store last, as far as this machine knows without asking: counted
//! from its last request to renew them. A machine that was frozen or cut off must stop calling Tink before
//! others begin; the store rejects its writes anyway. Knows nothing of the store.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use crate::clock::{Clock, Steady};

/// One part in this many of a lease's life is kept for requests on their way to Tink.
const MARGIN: u32 = 8;

/// Until when the leases last.
#[derive(Clone, Debug)]
pub struct Hold {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<HoldState>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct HoldState {
    /// By the clock that also runs while the machine is suspended; `None` if they last as long as the
    /// process.
    until: Option<Duration>,
    period: HoldPeriod,
}

/// A time in which the leases were renewed before they ended. What was claimed in an earlier one is lost, even
/// if the run is alive again: others may have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HoldPeriod(u64);

impl Hold {
    /// Leases without an end.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, HoldState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// They last for `life` from when their renewal was requested. If they had ended by then, a new period begins.
    pub(super) fn prolong(&self, asked: Steady, life: Duration) {
        let mut state = self.state();
        if state.until.is_some_and(|until| until <= asked.whole) {
            state.period.0 += 1;
        }
        state.until = Some(asked.whole.saturating_add(life).saturating_sub(life / MARGIN));
    }

    /// The period of what is claimed from now on.
    pub(super) fn period(&self) -> HoldPeriod {
        self.state().period
    }

    /// The time left; `None` without an end.
    fn left(&self) -> Option<Duration> {
        self.state().until.map(|until| until.saturating_sub(self.clock.steady().whole))
    }

    /// Whether they may have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// Completes when what was claimed in this period is lost. After that it completes at the next poll, before a
    /// process that was frozen does anything else.
    pub(super) async fn is_over(&self, period: HoldPeriod) {
        loop {
            // Nothing wakes this task when the end is postponed, so it checks again when the expected end
            // comes.
            let mut waited = pin!(tokio::time::sleep(self.left().unwrap_or(Duration::from_secs(1))));
            let over = poll_fn(|context| {
                if self.has_ended() || self.period() != period {
                    return Poll::Ready(true);
                }
                waited.as_mut().poll(context).map(|()| false)
            });
            if over.await {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use jiff::SignedDuration;

    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn leases_end_before_others_may_take_them_also_over_a_suspension() {
        let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().unwrap()));
        let hold = Hold::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let mut over = pin!(hold.is_over(hold.period()));
        let mut is_over = || over.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(!is_over(), "those of a file have no end");
        hold.prolong(clock.steady(), Duration::from_mins(4));
        let asked = clock.steady();
        clock.advance(SignedDuration::from_mins(3));
        assert!(!is_over());
        hold.prolong(asked, Duration::from_mins(5));
        clock.advance(SignedDuration::from_mins(1));
        assert!(!is_over(), "it was put off, from when that was asked");
        clock.suspend(Duration::from_secs(30));
        assert!(is_over(), "what is on its way to Tink needs the rest");
    }
    #[tokio::test]
    async fn what_was_claimed_before_the_leases_ended_stays_lost_when_the_run_is_alive_again() {
        let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().unwrap()));
        let hold = Hold::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let life = Duration::from_mins(4);
        hold.prolong(clock.steady(), life);
        let claimed = hold.period();
        let is_over =
            |period| pin!(hold.is_over(period)).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        // In time: requested before the end, although the answer came after it.
        let asked = clock.steady();
        clock.suspend(life);
        hold.prolong(asked, life * 2);
        assert!(!is_over(claimed));

        // The machine was suspended, and the first that it does is to renew the leases.
        clock.suspend(life * 2);
        hold.prolong(clock.steady(), life);
        assert!(is_over(claimed), "another host may have had it meanwhile");
        assert!(!is_over(hold.period()), "what is claimed now is held");
    }
}

//! The source of time: every module takes a [`Clock`], so that tests choose the day. Nothing else reads the
//! system's time. Durations are measured by time that cannot be set: see [`Stopwatch`].

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// Every clock's time is within these bounds, so that a day or a year on either side can be represented, too.
const EARLIEST: Timestamp = Timestamp::constant(-62_104_060_800, 0);
const LATEST: Timestamp = Timestamp::constant(253_339_142_400, 0);

/// A source of time.
pub trait Clock: Send + Sync + Debug {
    /// The current time of day, which may be set at any time.
    fn now(&self) -> Timestamp;

    /// The time since some moment in the past, which cannot be set.
    fn steady(&self) -> Steady;

    /// Lets another clock count, which several machines share and which is this much ahead.
    fn correct(&self, _ahead: SignedDuration) {}

    /// By how much it was corrected in all.
    fn corrected_by(&self) -> SignedDuration {
        SignedDuration::ZERO
    }

    /// Whose time it is, for messages.
    fn name(&self) -> &'static str {
        if self.corrected_by().is_zero() {
            "this machine's clock"
        } else {
            "the clock of the store's server, which counts for all hosts,"
        }
    }

    /// Today's date in UTC.
    fn today(&self) -> Date {
        self.now().to_zoned_datetime(TimeZone::UTC).date()
    }
}

/// Time that only moves forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steady {
    /// While the machine ran.
    pub awake: Duration,
    /// While it ran or was suspended.
    pub whole: Duration,
}

/// Measures how long something takes, regardless of changes to the time of day.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    began: Steady,
    at: Timestamp,
}

impl Stopwatch {
    pub fn start(clock: &dyn Clock) -> Self {
        Self { began: clock.steady(), at: clock.now() }
    }

    /// The time since the start, without the time that the machine was suspended.
    pub fn elapsed(&self, clock: &dyn Clock) -> Duration {
        clock.steady().awake.saturating_sub(self.began.awake)
    }

    /// How long the machine was suspended meanwhile.
    pub fn suspended(&self, clock: &dyn Clock) -> Duration {
        let whole = clock.steady().whole.saturating_sub(self.began.whole);
        whole.saturating_sub(self.elapsed(clock))
    }

    /// By how much the time of day was set forward meanwhile, or back if negative.
    pub fn set_by(&self, clock: &dyn Clock) -> SignedDuration {
        let whole = clock.steady().whole.saturating_sub(self.began.whole);
        let passed = SignedDuration::try_from(whole).unwrap_or(SignedDuration::MAX);
        clock.now().duration_since(self.at).saturating_sub(passed)
    }
}

/// A duration in whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's time")]
    fn now(&self) -> Timestamp {
        within_bounds(SystemTime::now())
    }

    fn steady(&self) -> Steady {
        // Linux has both clocks; without them, every duration would be zero.
        let read = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
        Steady { awake: read(ClockId::CLOCK_MONOTONIC), whole: read(ClockId::CLOCK_BOOTTIME) }
    }
}

/// The system's clock, until another one counts. From then on it follows that one's time by [`Clock::steady`], so that
/// setting the machine's clock, which was wrong, changes nothing more.
#[derive(Debug, Default)]
pub struct CorrectedClock(Mutex<Correction>);

#[derive(Clone, Copy, Debug, Default)]
struct Correction {
    /// The time of the other clock, and [`Steady::whole`] at that time.
    from: Option<(Timestamp, Duration)>,
    by: SignedDuration,
}

impl CorrectedClock {
    fn correction(&self) -> MutexGuard<'_, Correction> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for CorrectedClock {
    fn now(&self) -> Timestamp {
        let Some((then, began)) = self.correction().from else { return SystemClock.now() };
        let passed = self.steady().whole.saturating_sub(began);
        then.saturating_add(passed).unwrap_or(LATEST).clamp(EARLIEST, LATEST)
    }

    fn steady(&self) -> Steady {
        SystemClock.steady()
    }

    fn correct(&self, ahead: SignedDuration) {
        let now = self.now().saturating_add(ahead).unwrap_or(LATEST);
        let mut correction = self.correction();
        correction.from = Some((now, self.steady().whole));
        correction.by = correction.by.saturating_add(ahead);
    }

    fn corrected_by(&self) -> SignedDuration {
        self.correction().by
    }
}

/// The system's time within our bounds: a machine may be set to a year that the calendar here does not have.
fn within_bounds(now: SystemTime) -> Timestamp {
    let beyond = if now < SystemTime::UNIX_EPOCH { EARLIEST } else { LATEST };
    Timestamp::try_from(now).unwrap_or(beyond).clamp(EARLIEST, LATEST)
}

/// A clock that stands still until it is moved; for tests and the demo.
#[derive(Debug)]
pub struct ManualClock(Mutex<(Timestamp, Steady)>);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new((now, Steady::default())))
    }

    /// Lets time pass; with a negative duration the clock is set back.
    pub fn advance(&self, by: SignedDuration) {
        self.change(|now, steady| {
            let passed = Duration::try_from(by).unwrap_or_default();
            steady.awake = steady.awake.saturating_add(passed);
            steady.whole = steady.whole.saturating_add(passed);
            *now = now.saturating_add(by).unwrap_or(*now);
        });
    }

    /// Sets the time of day, while no time passes.
    pub fn set(&self, to: Timestamp) {
        self.change(|now, _| *now = to);
    }

    /// Suspends the machine for this long.
    pub fn suspend(&self, time: Duration) {
        self.change(|now, steady| {
            steady.whole = steady.whole.saturating_add(time);
            *now = now.saturating_add(SignedDuration::try_from(time).unwrap_or_default()).unwrap_or(*now);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Timestamp, &mut Steady)) {
        let mut clock = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (now, steady) = &mut *clock;
        change(now, steady);
    }

    fn read(&self) -> (Timestamp, Steady) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.read().0
    }

    fn steady(&self) -> Steady {
        self.read().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_measured_whatever_becomes_of_the_time_of_day() {
        let clock = ManualClock::new("2026-06-01T12:00:00Z".parse().unwrap());
        let watch = Stopwatch::start(&clock);
        clock.advance(SignedDuration::from_secs(5));
        for day in ["2026-07-01T12:00:00Z", "2026-05-01T12:00:00Z"] {
            clock.set(day.parse().unwrap());
            assert_eq!(
                (watch.elapsed(&clock), watch.suspended(&clock)),
                (Duration::from_secs(5), Duration::ZERO)
            );
        }
        assert_eq!(watch.set_by(&clock), SignedDuration::from_secs(-31 * 86_400 - 5));
        clock.suspend(Duration::from_hours(3));
        assert_eq!(
            (watch.elapsed(&clock), watch.suspended(&clock)),
            (Duration::from_secs(5), Duration::from_hours(3))
        );
        assert_eq!(
            watch.set_by(&clock),
            SignedDuration::from_secs(-31 * 86_400 - 5),
            "it is not set by sleeping"
        );
    }

    #[test]
    fn a_corrected_clock_follows_the_other_one_whatever_the_machines_is_set_to() {
        let clock = CorrectedClock::default();
        for hours in [2, -3] {
            clock.correct(SignedDuration::from_hours(hours));
        }
        // By time that cannot be set, and not by the time of day.
        let began = clock.correction().from.unwrap().1;
        let then = clock.correction().from.unwrap().0;
        let now = clock.now();
        let passed = SignedDuration::try_from(clock.steady().whole.saturating_sub(began)).unwrap();
        assert!(now >= then && now.duration_since(then) <= passed);
        assert_eq!(clock.corrected_by(), SignedDuration::from_hours(-1));
        assert!(
            SystemClock
                .now()
                .duration_since(now)
                .saturating_sub(SignedDuration::from_hours(1))
                .abs()
                .as_secs()
                < 60
        );
    }

    #[test]
    fn no_system_time_is_beyond_the_calendar() {
        let far = Duration::from_secs(1 << 60);
        for (time, shown) in [
            (SystemTime::UNIX_EPOCH.checked_add(far), LATEST),
            (SystemTime::UNIX_EPOCH.checked_sub(far), EARLIEST),
            (Some(SystemTime::UNIX_EPOCH), Timestamp::UNIX_EPOCH),
        ] {
            assert_eq!(within_bounds(time.unwrap()), shown);
        }
        assert_eq!(
            (EARLIEST.to_string(), LATEST.to_string()),
            ("0002-01-01T00:00:00Z".into(), "9997-12-31T00:00:00Z".into())
        );
        let (first, second) = (SystemClock.steady(), SystemClock.steady());
        assert!(second.awake >= first.awake && second.whole >= second.awake && first.awake > Duration::ZERO);
    }
}

//! Places where a debug build dies on demand, as if it were killed: with them the tests prove that every
//! durable step happens as a whole or not at all. A release build has none of them. Nothing here may clean
//! up, and nothing may behave differently because of it.

use std::ffi::OsString;

/// Environment: where a debug build dies, as `STEP:before` or `STEP:after` (`*` matches any of them),
/// followed by `#3` for the third time it gets there.
pub const VARIABLE: &str = "TINK_SYNC_FAILPOINT";

/// Every step that outlives the process, as its errors name it. Debug builds refuse one that is missing here.
pub const STEPS: [&str; 60] = [
    "create the file",
    "open the store",
    "prepare the store",
    "close the store",
    "lock the run",
    "begin the run",
    "mirror the source view",
    "remember the app",
    "change the Tink user",
    "write the audit log",
    "plan the run",
    "claim connections",
    "claim connections again",
    "renew leases",
    "record the refresh request",
    "note the use of a token",
    "write new tokens",
    "name the run",
    "write accounts",
    "remember consent warnings",
    "record anomalies",
    "write transactions",
    "write the end of a walk",
    "record the outcome",
    "close retries",
    "note a pause",
    "postpone connections",
    "reset failures",
    "finish the run",
    "prune",
    "unlock the run",
    "write an event",
    "spool an event",
    "forget events",
    "write the metrics",
    "replace the metrics",
    "add connections",
    "change the connection",
    "change the user",
    "accept balances",
    "accept users",
    "accept the change",
    "accept the app",
    "forget the connection",
    "forget spooled events",
    "rewrite the store",
    "empty the log",
    "retry the quarantine",
    "drop from the quarantine",
    "begin the link",
    "end the link",
    "encrypt tokens anew",
    "write the export",
    "replace the export",
    "write the drop-in",
    "replace the drop-in",
    "take over rows",
    "begin the move",
    "copy rows",
    "complete the move",
];

/// The two sides of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Everything is prepared, nothing is durable.
    Before,
    /// The step is durable, but not yet known to be.
    After,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Before, Self::After];

    /// As in [`VARIABLE`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// Does one durable step, between its two points.
///
/// # Errors
/// Those of the step.
pub fn around<T, E>(step: &'static str, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    around_all(&[step], act)
}

/// Does what makes several steps durable at once, between the points of each.
///
/// # Errors
/// Those of `act`.
pub fn around_all<T, E>(steps: &[&'static str], act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    for step in steps {
        reached(step, Side::Before);
    }
    let done = act()?;
    for step in steps {
        reached(step, Side::After);
    }
    Ok(done)
}

/// Reads from the environment where to die.
pub fn arm(variable: fn(&str) -> Option<OsString>) {
    #[cfg(debug_assertions)]
    if let Some(point) = variable(VARIABLE) {
        debug::arm(&point.to_string_lossy());
    }
    #[cfg(not(debug_assertions))]
    let _ = variable;
}

/// Dies here if requested.
fn reached(step: &'static str, side: Side) {
    #[cfg(debug_assertions)]
    debug::reached(step, side);
    #[cfg(not(debug_assertions))]
    let _ = (step, side);
}

/// What a release build does not have.
#[cfg(debug_assertions)]
mod debug {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, raise};

    use super::{STEPS, Side};

    static ARMED: OnceLock<Armed> = OnceLock::new();

    pub(super) fn arm(point: &str) {
        // Arming twice keeps the first.
        let _ = ARMED.set(Armed::parse(point));
    }

    pub(super) fn reached(step: &'static str, side: Side) {
        debug_assert!(STEPS.contains(&step), "{step:?} is missing in failpoint::STEPS");
        if ARMED.get().is_some_and(|armed| armed.strikes(step, side)) {
            // SIGKILL runs no handler, no destructor and no flush: nothing else ends a process like that.
            let _ = raise(Signal::SIGKILL);
        }
    }

    /// A point, and how often it was reached.
    #[derive(Debug)]
    pub(super) struct Armed {
        point: String,
        nth: u32,
        seen: AtomicU32,
    }

    impl Armed {
        pub(super) fn parse(text: &str) -> Self {
            let (point, nth) = text.rsplit_once('#').unwrap_or((text, "1"));
            Self { point: point.to_owned(), nth: nth.parse().unwrap_or(1), seen: AtomicU32::new(0) }
        }

        pub(super) fn strikes(&self, step: &str, side: Side) -> bool {
            let (name, when) = self.point.rsplit_once(':').unwrap_or((&self.point, ""));
            let is_it = name == "*" || (name == step && when == side.as_str());
            is_it && self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.nth
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::Side::{After, Before};
    use super::debug::Armed;
    use super::*;

    #[test]
    fn a_point_strikes_once_at_its_side_and_time() {
        let armed = Armed::parse("record the outcome:after#2");
        assert!(!armed.strikes("record the outcome", After));
        assert!(!armed.strikes("record the outcome", Before));
        assert!(!armed.strikes("close retries", After));
        assert!(armed.strikes("record the outcome", After));
        assert!(!armed.strikes("record the outcome", After));
        assert!(Armed::parse("close retries:before").strikes("close retries", Before));
    }

    #[test]
    fn the_star_counts_every_point() {
        let armed = Armed::parse("*#3");
        assert!(!armed.strikes("plan the run", Before) && !armed.strikes("plan the run", After));
        assert!(armed.strikes("claim connections", Before));
    }

    #[test]
    fn an_unarmed_step_is_just_done_and_tells_its_error() {
        assert_eq!(around("plan the run", || Ok::<_, ()>(7)), Ok(7));
        assert_eq!(around("plan the run", || Err::<(), _>("no")), Err("no"));
    }
}

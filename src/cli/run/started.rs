//! The start of a run: its id, its machine, and whether systemd's timer started it.

use jiff::{SignedDuration, Timestamp};

use crate::domain::ids::RunId;

/// A start by the timer may be delayed by up to this, waiting for the network.
const LATE_START: SignedDuration = SignedDuration::from_mins(5);

/// Whether systemd's timer fired at `time` (microseconds) for this start: a unit that is started by hand
/// still has the time of the timer's last firing (systemd 252).
pub(super) fn is_recent(time: &str, started: Timestamp) -> bool {
    let fired = time.parse().ok().and_then(|time| Timestamp::from_microsecond(time).ok());
    fired.is_some_and(|fired| started.duration_since(fired).abs() < LATE_START)
}

/// A unique id for a run that starts now.
pub(in crate::cli) fn new_id(started: Timestamp) -> RunId {
    format!("{}-{:08x}", started.strftime("%Y%m%dT%H%M%SZ"), fastrand::u32(..)).into()
}

/// The name of this machine, or "unknown": a missing name must not stop a pass.
pub(in crate::cli) fn host() -> String {
    nix::sys::utsname::uname()
        .map_or_else(|_| "unknown".to_owned(), |names| names.nodename().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_fired_long_ago_did_not_start_this_run() {
        let started: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        for (seconds, recent) in
            [(0, true), (2, true), (-200, true), (-301, false), (-21_600, false), (301, false)]
        {
            let fired = started.as_microsecond() + seconds * 1_000_000;
            assert_eq!(is_recent(&fired.to_string(), started), recent, "{seconds}");
        }
        for text in ["", "soon", "-", "99999999999999999999"] {
            assert!(!is_recent(text, started));
        }
    }
}

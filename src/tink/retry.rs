//! Decides whether a failed call is tried again, and after how long. Must not wait or send anything itself.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use jiff::Timestamp;

use super::error::Error;
use super::options::RetryOptions;

/// A call waits for a `Retry-After` up to this long; a longer one fails it at once.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A longer `Retry-After` is cut to this.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// What to do after a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// The failure is final.
    Fail,
    /// Try again after this back-off.
    Again(Duration),
    /// Pause the whole process, then try again if a try is left.
    Pause { pause: Duration, again: bool },
}

/// The retry rules and the random generator for the jitter.
pub(super) struct Retry {
    options: RetryOptions,
    rng: Mutex<Rng>,
}

impl Retry {
    pub(super) fn new(options: RetryOptions, seed: u64) -> Self {
        Self { options, rng: Mutex::new(Rng::with_seed(seed)) }
    }

    /// The total number of attempts of an ordinary call.
    pub(super) fn attempts(&self) -> u32 {
        self.options.attempts
    }

    /// Judges the failure of try number `done` (from 1) of `tries`.
    pub(super) fn judge(&self, error: &Error, done: u32, tries: u32) -> RetryDecision {
        let left = done < tries;
        match error.retry_after {
            Some(wait) if wait > LONGEST_PAUSE => RetryDecision::Fail,
            // A 503 concerns this call alone: it waits by itself, within its connection's time.
            Some(wait) if error.status != Some(429) => {
                if left {
                    RetryDecision::Again(wait)
                } else {
                    RetryDecision::Fail
                }
            }
            Some(pause) => RetryDecision::Pause { pause, again: left },
            None if left && error.kind.is_transient() => RetryDecision::Again(self.backoff(done - 1)),
            None => RetryDecision::Fail,
        }
    }

    /// A random wait before retry number `n` (from 0).
    pub(super) fn backoff(&self, n: u32) -> Duration {
        let factor = 1u32.checked_shl(n).unwrap_or(u32::MAX);
        let bound = self.options.base.saturating_mul(factor).min(self.options.max);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_nanos(rng.u64(0..=nanos))
    }
}

/// Parses a `Retry-After`: seconds, a fraction rounded up, or an HTTP date (API.md 1.3). Returns `None` if it
/// is unreadable or not in the future; at most 24 hours.
pub(super) fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    let wait = if let Some(seconds) = seconds(header) {
        Duration::from_secs(seconds)
    } else {
        let date = httpdate::parse_http_date(header).ok()?;
        date.duration_since(SystemTime::try_from(now).ok()?).ok()?
    };
    (!wait.is_zero()).then_some(wait.min(LONGEST_WAIT))
}

/// Whole seconds, a fraction rounded up; `None` for anything else.
fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let more = u64::from(fraction.bytes().any(|b| b != b'0'));
    Some(whole.parse::<u64>().unwrap_or(u64::MAX).saturating_add(more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tink::{Endpoint, ErrorKind};
    use proptest::prelude::*;

    fn options() -> RetryOptions {
        RetryOptions { attempts: 4, base: Duration::from_secs(1), max: Duration::from_secs(30) }
    }

    fn error(kind: ErrorKind, seconds: Option<u64>) -> Error {
        let retry_after = seconds.map(Duration::from_secs);
        let status = Some(if kind == ErrorKind::RateLimited { 429 } else { 503 });
        Error { status, retry_after, ..Error::new(kind, Endpoint::Accounts, "") }
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        let now: Timestamp = "1994-11-06T08:49:30Z".parse().unwrap();
        for (header, seconds) in [
            ("1", Some(1)),
            (" 60 ", Some(60)),
            ("86401", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("0", None),
            ("-5", None),
            ("1.5", Some(2)),
            ("0.2", Some(1)),
            ("3.000", Some(3)),
            ("0.0", None),
            ("1.", None),
            (".5", None),
            ("1.5s", None),
            ("soon", None),
            ("", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", None),
            ("Sun, 06 Nov 1994 08:49:00 GMT", None),
            ("Fri, 06 Nov 2099 08:49:37 GMT", Some(86_400)),
        ] {
            assert_eq!(retry_after(header, now), seconds.map(Duration::from_secs), "{header}");
        }
    }

    #[test]
    fn only_passing_failures_are_tried_again_and_only_while_tries_are_left() {
        let retry = Retry::new(options(), 1);
        assert!(matches!(retry.judge(&error(ErrorKind::Server, None), 3, 4), RetryDecision::Again(_)));
        assert_eq!(retry.judge(&error(ErrorKind::Server, None), 4, 4), RetryDecision::Fail);
        for kind in
            [ErrorKind::TooLarge, ErrorKind::BadRequest, ErrorKind::Unauthorized, ErrorKind::Client4xx]
        {
            assert_eq!(retry.judge(&error(kind, None), 1, 4), RetryDecision::Fail);
        }
    }

    #[test]
    fn a_short_retry_after_pauses_and_a_long_one_fails() {
        let retry = Retry::new(options(), 1);
        let pause = LONGEST_PAUSE;
        let short = error(ErrorKind::RateLimited, Some(60));
        assert_eq!(retry.judge(&short, 1, 4), RetryDecision::Pause { pause, again: true });
        assert_eq!(retry.judge(&short, 4, 4), RetryDecision::Pause { pause, again: false });
        assert_eq!(retry.judge(&error(ErrorKind::RateLimited, Some(61)), 1, 4), RetryDecision::Fail);
    }

    proptest! {
        #[test]
        fn a_backoff_stays_within_its_bound(n: u32, seed: u64) {
            let bound = Duration::from_secs(1u64 << n.min(5)).min(Duration::from_secs(30));
            prop_assert!(Retry::new(options(), seed).backoff(n) <= bound);
        }

        #[test]
        fn the_same_seed_waits_the_same(seed: u64) {
            let waits = |retry: Retry| (0..8).map(|n| retry.backoff(n)).collect::<Vec<_>>();
            prop_assert_eq!(waits(Retry::new(options(), seed)), waits(Retry::new(options(), seed)));
        }
    }
}

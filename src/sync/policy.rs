//! What every failure means: one table from an error to an outcome, and one rule for what comes next.
//! Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::outcome::{Outcome, Reason};
use crate::tink::{Endpoint, Error, ErrorKind};

/// Consecutive failures without a back-off: the next pass tries again, so a recovered bank shows at once.
const FREE_FAILURES: u32 = 5;
/// The first back-off, the first to exceed the usual interval of passes; it doubles with every further
/// failure.
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_hours(8);
/// The longest back-off.
const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_hours(24);

/// What a failed call means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureMeaning {
    /// How the connection ends if nothing else was read.
    pub outcome: Outcome,
    pub reason: Reason,
    /// Worth a second round in the same pass.
    pub transient: bool,
    /// What it indicates about Tink as a whole.
    pub hint: Hint,
}

/// What a connection's end indicates about Tink as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nothing: Tink was not called, or not for long enough.
    Nothing,
    Answers,
    /// It may be an outage; only a probe can show that.
    MayBeAway,
    /// This user was refused. It may be the client: only a token for a user that worked before can show that.
    UserRefused,
    /// The client itself is refused.
    ClientRefused,
    /// This machine's clock is far off: nothing that depends on a date can be right.
    ClockOff,
}

pub fn meaning(kind: ErrorKind) -> FailureMeaning {
    let failed =
        |reason, transient, hint| FailureMeaning { outcome: Outcome::Failed, reason, transient, hint };
    match kind {
        // A host in between that answers is no problem of a bank, but one of the network.
        ErrorKind::Network | ErrorKind::Intercepted => failed(Reason::Network, true, Hint::MayBeAway),
        ErrorKind::Timeout => failed(Reason::Timeout, true, Hint::MayBeAway),
        ErrorKind::Server => failed(Reason::Http5xx, true, Hint::MayBeAway),
        ErrorKind::Malformed => failed(Reason::Malformed, true, Hint::Answers),
        ErrorKind::TooLarge => failed(Reason::TooLarge, false, Hint::Answers),
        ErrorKind::PageLoop => failed(Reason::PageLoop, false, Hint::Answers),
        ErrorKind::ScopeMissing => failed(Reason::ScopeMissing, false, Hint::UserRefused),
        ErrorKind::GrantRefused => failed(Reason::Http4xx, false, Hint::UserRefused),
        ErrorKind::UserUnknown => failed(Reason::TinkUserUnknown, false, Hint::Answers),
        ErrorKind::ClientRefused => failed(Reason::Http4xx, false, Hint::ClientRefused),
        ErrorKind::TokenLost => FailureMeaning {
            outcome: Outcome::NeedsUser,
            reason: Reason::RefreshLost,
            transient: false,
            hint: Hint::Nothing,
        },
        // Not its own failure: nothing is known about it.
        ErrorKind::ClockOff => FailureMeaning {
            outcome: Outcome::Interrupted,
            reason: Reason::Network,
            transient: false,
            hint: Hint::ClockOff,
        },
        ErrorKind::TokenEncrypted | ErrorKind::OwnTokens => failed(Reason::Store, false, Hint::Nothing),
        ErrorKind::BadRequest
        | ErrorKind::Unauthorized
        | ErrorKind::Forbidden
        | ErrorKind::NotFound
        | ErrorKind::Client4xx
        | ErrorKind::Config => failed(Reason::Http4xx, false, Hint::Answers),
        ErrorKind::RateLimited => FailureMeaning {
            outcome: Outcome::RateLimited,
            reason: Reason::RateLimited,
            transient: true,
            hint: Hint::Answers,
        },
    }
}

/// What a failed call indicates about Tink as a whole. An unreadable client token is no problem of a user:
/// what answers there, a proxy or a page for people, is not Tink.
pub fn hint(error: &Error) -> Hint {
    if is_unreadable_client_token(error) { Hint::MayBeAway } else { meaning(error.kind).hint }
}

fn is_unreadable_client_token(error: &Error) -> bool {
    error.endpoint == Endpoint::ClientToken
        && matches!(error.kind, ErrorKind::Malformed | ErrorKind::TooLarge)
}

/// Whether a failed read is what an expired consent looks like (API.md 3.1: 4xx after decay).
pub fn is_refusal(error: &Error) -> bool {
    use ErrorKind::{BadRequest, Client4xx, Forbidden, NotFound, Unauthorized};
    matches!(error.kind, BadRequest | Client4xx | Forbidden | NotFound | Unauthorized)
}

/// Whether a failed probe means that Tink as a whole is away.
pub fn is_outage(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Network | ErrorKind::Timeout | ErrorKind::Server | ErrorKind::Intercepted)
        || is_unreadable_client_token(error)
}

/// Whether the failed token request for a user that worked before shows that the client is refused.
pub fn is_client_refused(error: &Error) -> bool {
    error.is_tinks_refusal()
}

/// When a connection with this many consecutive failures may be tried again; `None` is the next pass.
///
/// The interval of the passes is the first back-off; then eight hours, doubling, up to a day. A 429 rests as
/// long as Tink asked, at most a day; one without a time waits for the next pass.
pub fn not_before(
    outcome: Outcome,
    failures: u32,
    retry_after: Option<Duration>,
    now: Timestamp,
) -> Option<Timestamp> {
    let asked = retry_after.and_then(|d| SignedDuration::try_from(d).ok());
    // A 503 with a time makes its own connection rest, as a 429 does.
    let rest = asked.filter(|_| matches!(outcome, Outcome::RateLimited | Outcome::Failed | Outcome::Partial));
    let doublings = failures.checked_sub(FREE_FAILURES + 1);
    let backoff = doublings.map(|n| {
        let factor = 2i32.saturating_pow(n);
        FIRST_BACKOFF.checked_mul(factor).unwrap_or(LONGEST_BACKOFF).min(LONGEST_BACKOFF)
    });
    let wait = rest.max(backoff)?.min(LONGEST_BACKOFF);
    now.saturating_add(wait).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_starts_late_doubles_and_ends_at_a_day() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let hours = |failures| {
            not_before(Outcome::Failed, failures, None, now).map(|t| t.duration_since(now).as_hours())
        };
        let all: Vec<Option<i64>> = (4..10).map(hours).collect();
        assert_eq!(all, [None, None, Some(8), Some(16), Some(24), Some(24)]);
        assert_eq!(hours(u32::MAX), Some(24));
    }

    #[test]
    fn an_unreadable_client_token_is_an_outage_and_an_unreadable_answer_to_a_user_is_not() {
        for kind in [ErrorKind::Malformed, ErrorKind::TooLarge] {
            let everybodys = Error::new(kind, Endpoint::ClientToken, "");
            assert!(is_outage(&everybodys) && hint(&everybodys) == Hint::MayBeAway);
            let one_users = Error::new(kind, Endpoint::AuthorizationGrant, "");
            assert!(!is_outage(&one_users) && hint(&one_users) == Hint::Answers);
        }
    }

    #[test]
    fn a_rate_limit_waits_as_long_as_tink_asks_but_a_day_at_most() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let seconds = |asked: Option<u64>| {
            let at = not_before(Outcome::RateLimited, 1, asked.map(Duration::from_secs), now);
            at.map(|t| t.duration_since(now).as_secs())
        };
        assert_eq!(seconds(None), None);
        assert_eq!(seconds(Some(3600)), Some(3600));
        assert_eq!(seconds(Some(u64::MAX)), None);
        assert_eq!(seconds(Some(1_000_000)), Some(86_400));
    }

    #[test]
    fn only_who_was_turned_away_rests_as_long_as_tink_asks() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        for (outcome, rests) in [
            (Outcome::RateLimited, true),
            (Outcome::Failed, true),
            (Outcome::Partial, true),
            (Outcome::Synced, false),
            (Outcome::NeedsUser, false),
        ] {
            let at = not_before(outcome, 1, Some(Duration::from_hours(1)), now);
            assert_eq!(at.is_some(), rests, "{outcome}");
        }
    }

    #[test]
    fn a_refusal_is_no_outage_and_neither_is_an_answer_that_cannot_be_used() {
        use ErrorKind::{
            BadRequest, Client4xx, Forbidden, Intercepted, Malformed, Network, NotFound, RateLimited, Server,
            Timeout, Unauthorized,
        };
        let refusals = [BadRequest, Unauthorized, Forbidden, NotFound, Client4xx];
        let outages = [Network, Timeout, Server, Intercepted];
        for kind in refusals.into_iter().chain(outages).chain([RateLimited, Malformed]) {
            let error = Error::new(kind, Endpoint::Accounts, "");
            assert_eq!(is_refusal(&error), refusals.contains(&kind), "{kind:?}");
            assert_eq!(is_outage(&error), outages.contains(&kind), "{kind:?}");
        }
    }

    #[test]
    fn a_client_is_refused_by_tinks_own_word_only() {
        for (kind, by_tink, status, refused) in [
            (ErrorKind::ClientRefused, false, None, true),
            (ErrorKind::ScopeMissing, true, Some(403), true),
            (ErrorKind::ScopeMissing, false, Some(200), true),
            (ErrorKind::ScopeMissing, false, Some(403), false),
            (ErrorKind::GrantRefused, true, Some(400), true),
            (ErrorKind::GrantRefused, false, Some(403), false),
            (ErrorKind::Server, true, Some(200), false),
        ] {
            let error = Error { status, by_tink, ..Error::new(kind, Endpoint::AuthorizationGrant, "") };
            assert_eq!(is_client_refused(&error), refused, "{kind:?} {by_tink} {status:?}");
        }
    }
}

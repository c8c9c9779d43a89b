//! Events that can be reported to a program of the operator: their kinds, and one event as data. Holds no
//! secret, no IBAN, no name, no amount and no text from Tink.

use jiff::Timestamp;

use super::ids::{ConnectionId, RunId, UserId};
use super::outcome::text_enum;

text_enum!(
    /// The kinds of events; a hook is a file of this name.
    HookKind {
        /// A run stored transactions that were not there before.
        NewTransactions = "new-transactions",
        /// A connection that was well has failed.
        FirstFailure = "first-failure",
        /// A connection that had failed, or needed its user, is well again.
        Recovered = "recovered",
        /// A consent ends soon or has ended; once per step of `consent.warn`.
        ConsentSoon = "consent-soon",
        /// Only its user can restore a connection; once per change.
        NeedsUser = "needs-user",
        /// A pass ended in a way that systemd counts as a failure.
        PassFailed = "pass-failed",
    }
);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEvent {
    pub kind: HookKind,
    /// Unique, and the same when delivered again; ids of one kind sort by time.
    pub id: String,
    pub at: Timestamp,
    pub run_id: RunId,
    /// The connection concerned; `None` for the pass as a whole.
    pub connection_id: Option<ConnectionId>,
    pub user_id: Option<UserId>,
    /// Further details of this kind of event: a JSON object.
    pub details: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back_and_can_be_file_names() {
        for kind in HookKind::ALL {
            assert_eq!(HookKind::parse(kind.as_str()), Some(*kind));
            assert!(kind.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{kind}");
        }
        assert_eq!(HookKind::parse("needs_user"), None);
    }
}

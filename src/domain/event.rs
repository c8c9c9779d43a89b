//! What happens during a run, as data: the source of the journal, the JSON lines and the progress line. Holds
//! no secret, no IBAN, no name, no amount and no body.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::anomaly::Anomaly;
use super::ids::{ConnectionId, CredentialsId, RunId, UserId};
use super::outcome::{Counts, Outcome, Reason};
use super::population::Fall;

/// How the work on one connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub connection_id: ConnectionId,
    pub user_id: UserId,
    pub outcome: Outcome,
    pub reason: Option<Reason>,
    /// A sentence for people.
    pub error: Option<String>,
    /// Tink's id of the failed request.
    pub request_id: Option<String>,
    /// When the first attempt of this run began.
    pub started_at: Timestamp,
    /// Time spent on it in this run.
    pub duration_ms: u64,
    pub counts: Counts,
    /// Consecutive failures of the connection so far, this one included; 0 after a success.
    pub failures: u64,
    /// It is not tried again before then.
    pub not_before: Option<Timestamp>,
}

/// The totals of a run (DESIGN.md 9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub connections: u64,
    pub due: u64,
    /// Due connections by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// The others, by reason.
    pub skipped: BTreeMap<Reason, u64>,
    /// Sums over all connections.
    pub counts: Counts,
    /// How often the run has waited for the database server; `None` for a SQLite file.
    pub round_trips: Option<u64>,
}

impl Summary {
    /// The number of connections with this outcome.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    /// The number of connections skipped for this reason. One that is gone from the view counts as disabled.
    pub fn skipped(&self, reason: Reason) -> u64 {
        let count = |reason| self.skipped.get(&reason).copied().unwrap_or_default();
        let gone = if reason == Reason::Disabled { count(Reason::Gone) } else { 0 };
        count(reason) + gone
    }
}

/// A failure that connections of one bank have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankTrouble {
    pub provider: String,
    pub reason: Reason,
    pub connections: u64,
    /// How many of the bank's connections this run worked on.
    pub of: u64,
}

/// Something worth reporting, in the order it happens.
#[derive(Clone, Debug)]
pub enum Event {
    Started {
        run_id: RunId,
        /// `timer`, `manual` or `app`.
        trigger: &'static str,
        dry_run: bool,
        at: Timestamp,
        connections: u64,
        due: u64,
        /// The others, by reason.
        skipped: BTreeMap<Reason, u64>,
    },
    Finished(Finished),
    /// A connection is not worked on.
    Skipped {
        connection_id: ConnectionId,
        user_id: UserId,
        reason: Reason,
        /// It was requested by name.
        asked: bool,
    },
    /// A consent expires soon or has expired.
    ConsentEnds {
        connection_id: ConnectionId,
        user_id: UserId,
        credentials_id: CredentialsId,
        provider: Option<String>,
        /// Whole days left; negative once it has expired.
        days_left: i64,
    },
    /// Many connections of one bank failed alike: the problem is the bank's.
    BankTroubled(BankTrouble),
    /// A connection newly needs its user.
    NeedsUser {
        connection_id: ConnectionId,
        user_id: UserId,
        reason: Reason,
    },
    /// Records were put into quarantine for the first time.
    Quarantined {
        connection_id: ConnectionId,
        /// What is wrong with the first of them.
        reason: String,
        records: u64,
    },
    /// Tink's answers deviated from the documented form; everything else in them was used.
    Anomaly {
        connection_id: ConnectionId,
        anomaly: Anomaly,
        times: u64,
    },
    /// The balances of accounts newly differ from what their rows explain.
    BalanceDiffers {
        connection_id: ConnectionId,
        user_id: UserId,
        /// The number of such accounts.
        accounts: u64,
    },
    /// Accounts with a healthy consent are newly stale: Tink has had nothing from the bank for too long.
    DataStale {
        connection_id: ConnectionId,
        user_id: UserId,
        /// The number of such accounts.
        accounts: u64,
        /// The oldest refresh among all its stale accounts.
        since: Timestamp,
    },
    /// Tink as a whole does not respond; claiming waits.
    Waiting {
        /// How the last probe failed.
        error: String,
        /// The longest wait.
        patience: Duration,
    },
    /// Tink as a whole responds again.
    Resumed,
    /// Tink as a whole stayed unreachable.
    Unreachable {
        /// How the last probe failed.
        error: String,
        reason: Reason,
    },
    /// Tink rejects the client itself; the pass ends.
    Refused(String),
    /// This machine's clock is far off Tink's; the pass ends.
    ClockOff(String),
    /// The machine was suspended during the pass.
    Suspended {
        time: Duration,
    },
    /// Far fewer connections are enabled or entitled than before, and no person has confirmed that.
    Fell(Fall),
    /// The pass is over.
    Ended {
        run_id: RunId,
        /// `timer`, `manual` or `app`.
        trigger: &'static str,
        dry_run: bool,
        started_at: Timestamp,
        finished_at: Timestamp,
        /// How long it took, by a clock that cannot be set.
        duration_ms: u64,
        /// The process's exit code.
        exit_code: u8,
        summary: Summary,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_gone_counts_as_disabled() {
        let summary = Summary {
            outcomes: BTreeMap::from([(Outcome::Synced, 7)]),
            skipped: BTreeMap::from([(Reason::Disabled, 2), (Reason::Gone, 3), (Reason::Quota, 4)]),
            ..Summary::default()
        };
        assert_eq!((summary.outcome(Outcome::Synced), summary.outcome(Outcome::Failed)), (7, 0));
        let skipped = [Reason::Disabled, Reason::Gone, Reason::Quota, Reason::Recent];
        assert_eq!(skipped.map(|reason| summary.skipped(reason)), [5, 3, 4, 0]);
    }
}

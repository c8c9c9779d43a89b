//! What happens during a run, as data: the journal, the JSON lines and the progress line are made of it.
//! Holds no secret, no IBAN, no name, no amount and no body.

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
    /// Failures in a row that the connection has behind it now, this one included; a success sets it to 0.
    pub failures: u64,
    /// It is not tried again before then.
    pub not_before: Option<Timestamp>,
}

/// The totals of a run (DESIGN.md 9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub connections: u64,
    pub due: u64,
    /// Due ones by how they ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// The others by reason.
    pub skipped: BTreeMap<Reason, u64>,
    /// Sums over all connections.
    pub counts: Counts,
    /// How often the run has waited for the server of its store; `None` for a file.
    pub round_trips: Option<u64>,
}

impl Summary {
    /// How many connections ended like this.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    /// How many were skipped for this reason; a connection that is gone from the view is counted as disabled.
    pub fn skipped(&self, reason: Reason) -> u64 {
        let count = |reason| self.skipped.get(&reason).copied().unwrap_or_default();
        let gone = if reason == Reason::Disabled { count(Reason::Gone) } else { 0 };
        count(reason) + gone
    }
}

/// What many connections of one bank have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankTrouble {
    pub provider: String,
    pub reason: Reason,
    pub connections: u64,
    /// Of how many that this run worked on.
    pub of: u64,
}

/// Something worth telling, in the order it happens.
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
        /// The others by reason.
        skipped: BTreeMap<Reason, u64>,
    },
    Finished(Finished),
    /// A connection is not worked on.
    Skipped {
        connection_id: ConnectionId,
        user_id: UserId,
        reason: Reason,
        /// It was asked for by name.
        asked: bool,
    },
    /// A consent expires soon, or has.
    ConsentEnds {
        connection_id: ConnectionId,
        user_id: UserId,
        credentials_id: CredentialsId,
        provider: Option<String>,
        /// Whole days left; 0 or less is expired.
        days_left: i64,
    },
    /// Many connections of one bank failed alike: the bank has trouble, not they.
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
    /// Answers of Tink's had another form than documented; everything else of them was used.
    Anomaly {
        connection_id: ConnectionId,
        anomaly: Anomaly,
        times: u64,
    },
    /// The balances of accounts have newly come to differ from what their rows explain.
    BalanceDiffers {
        connection_id: ConnectionId,
        user_id: UserId,
        /// How many of its accounts.
        accounts: u64,
    },
    /// Of accounts whose consent is healthy Tink has newly had nothing from the bank for too long.
    DataStale {
        connection_id: ConnectionId,
        user_id: UserId,
        /// How many of its accounts.
        accounts: u64,
        /// When Tink last had the oldest of its standing data.
        since: Timestamp,
    },
    /// Tink as a whole does not answer; claiming waits.
    Waiting {
        /// How the last probe failed.
        error: String,
        /// How long it waits at most.
        patience: Duration,
    },
    /// Tink as a whole answers again.
    Resumed,
    /// Tink as a whole stayed away.
    Unreachable {
        /// How the last probe failed.
        error: String,
        reason: Reason,
    },
    /// Tink refuses the client itself; the pass ends.
    Refused(String),
    /// This machine's clock is far off Tink's; the pass ends.
    ClockOff(String),
    /// The machine was suspended while the pass was on.
    Suspended {
        time: Duration,
    },
    /// Far fewer connections are enabled or entitled than before, and nobody has confirmed that.
    Fell(Fall),
    /// The pass is over.
    Ended {
        run_id: RunId,
        /// `timer`, `manual` or `app`.
        trigger: &'static str,
        dry_run: bool,
        started_at: Timestamp,
        finished_at: Timestamp,
        /// How long it took, by time that nobody can set.
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

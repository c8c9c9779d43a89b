//! The input and output types of the store, shaped by the pass. Plain data; no SQL, no logic.

mod durable;
mod known;
mod plan;
mod rows;
mod tokens;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::domain::account::Account;
use crate::domain::anomaly::Anomaly;
use crate::domain::balance::{BalanceInput, Reconciliation, Stand};
use crate::domain::connection::TinkUser;
use crate::domain::consent::Consent;
use crate::domain::event::Finished;
use crate::domain::hook::HookEvent;
use crate::domain::ids::{AccountId, ConnectionId, CredentialsId, RunId, UserId};
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::domain::population::{Fall, Numbers};
use crate::domain::warning::{Told, Warning};

pub use durable::*;
pub use known::*;
pub use plan::LeftOver;
pub(crate) use plan::{Plan, Planned};
pub use rows::*;
pub use tokens::*;

/// The record of a run that begins.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The run's id.
    pub run_id: RunId,
    /// `timer`, `manual` or `app`.
    pub trigger: &'static str,
    /// Whether it is about requested connections, and not a pass over all.
    pub on_demand: bool,
    /// Name of this machine.
    pub host: String,
    /// This program's version.
    pub version: &'static str,
    /// When this process started: runs that were alive then share their work with this one.
    pub process_started: Timestamp,
    /// Now.
    pub started_at: Timestamp,
}

#[cfg(test)]
impl NewRun {
    /// A pass begun by hand now, by a process that started now.
    pub fn by_hand(id: &str, now: Timestamp) -> Self {
        Self {
            run_id: id.into(),
            trigger: "manual",
            on_demand: false,
            host: String::new(),
            version: "1",
            process_started: now,
            started_at: now,
        }
    }
}

/// A run that is registered.
#[derive(Clone, Debug)]
pub struct Run {
    /// Key of the run in the store.
    pub key: i64,
    /// Its id.
    pub id: RunId,
    /// When the oldest run that overlaps this one began: what was attempted since is not attempted again.
    pub cohort: Timestamp,
    /// Key of the newest row of the audit log when it began: what was forgotten later may still be in the
    /// source view as this run reads it.
    pub audited: i64,
}

/// The result of mirroring the source view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrored {
    /// The numbers of connections in the view.
    pub numbers: Numbers,
    /// Set if far fewer connections are enabled or entitled than before, and nobody has confirmed that.
    pub fall: Option<Fall>,
    /// Connections whose data another took over, each with the one that did.
    pub took_over: Vec<(ConnectionId, ConnectionId)>,
    /// Nothing was written: another host has stored a reading of the view that began later.
    pub is_outdated: bool,
}

/// Which connections a run may look at.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only these connections.
    pub connections: Vec<ConnectionId>,
    /// And those of these users.
    pub users: Vec<UserId>,
}

impl Selection {
    /// Whether the run is a full pass.
    pub fn is_all(&self) -> bool {
        self.connections.is_empty() && self.users.is_empty()
    }
}

/// The rules that determine which connections are due.
#[derive(Clone, Debug)]
pub struct PlanRules {
    /// Now.
    pub now: Timestamp,
    /// Which connections to look at.
    pub selection: Selection,
    /// `--force`: ignore back-off, and for named connections that they are disabled.
    pub force: bool,
    /// A connection whose last success began less than this ago is not due.
    pub min_interval: Duration,
    /// The number of attempts a user may have had in the last 24 hours.
    pub quota: u32,
}

/// How many connections are due, and why the others are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanCounts {
    /// Connections looked at.
    pub connections: u64,
    /// Of these, due.
    pub due: u64,
    /// The others, by reason.
    pub skipped: BTreeMap<Reason, u64>,
}

/// A connection that was not worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The connection.
    pub connection_id: ConnectionId,
    /// Its user.
    pub user_id: UserId,
    /// Why.
    pub reason: Reason,
}

/// A lease on a connection; every commit checks that it still holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Key of the connection.
    pub connection: i64,
    /// Its id, for messages.
    pub connection_id: ConnectionId,
    /// Key of the run.
    pub run: i64,
    /// The fencing token.
    pub token: i64,
}

/// A connection to work on.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The lease that came with it.
    pub lease: Lease,
    /// The user it belongs to.
    pub user_id: UserId,
    /// The user to request from Tink.
    pub tink_user: Option<TinkUser>,
    /// The name that the source view gives that user now; to be proven before anything is stored.
    pub moved: Option<TinkUser>,
    /// Whether it has tokens of its own, from an older link.
    pub has_tokens: bool,
    /// When the entitlement ends.
    pub entitled_until: Option<Timestamp>,
    /// The problem with its row in the source view.
    pub problem: Option<String>,
    /// Failures in a row so far.
    pub failures: u32,
    /// Why it needed its user until now.
    pub needed_user: Option<Reason>,
    /// Which attempt of this run it is, from 1.
    pub attempt: u32,
    /// Whether it never succeeded.
    pub is_new: bool,
    /// How many times in a row it had no data yet.
    pub looks: u32,
}

/// Claims, and what could not be claimed.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Connections to work on now.
    pub claims: Vec<Claim>,
    /// Planned connections that are no longer due.
    pub skipped: Vec<Skipped>,
    /// Whether nothing is left in the plan.
    pub exhausted: bool,
    /// Whether other sessions keep locked all that was tried, so that it makes no sense to try again at once.
    pub locked_out: bool,
    /// The rest of a pause that Tink asked another host for.
    pub paused: Option<Duration>,
}

/// An account as stored, with what is known of its history.
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the account's own")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccount {
    /// Stable key.
    pub key: i64,
    /// As last seen at Tink.
    pub account: Account,
    /// Every Tink id it was known by.
    pub known_ids: Vec<AccountId>,
    /// Whether it was created just now, so that nothing else is stored about it.
    pub new: bool,
    /// Counts re-consents; rows of an older generation have ids that Tink no longer knows.
    pub generation: i64,
    /// Whether the full walk after a re-consent is still to be finished.
    pub repairing: bool,
    /// The number of complete walks so far that left no missing row unjudged.
    pub walks: i64,
    /// The date through which the history is known to be complete.
    pub complete_through: Option<Date>,
    /// The account's `lastRefreshed` at its last complete walk, or at the first one since then that showed nothing.
    pub walked_refresh: Option<Timestamp>,
    /// When that walk was.
    pub walked_at: Option<Timestamp>,
    /// When 90 days were last walked.
    pub deep_walked_at: Option<Timestamp>,
    /// The date through which that walk had read.
    pub deep_through: Option<Date>,
    /// `lastRefreshed` at which missing rows were not believed.
    pub suspect_refresh: Option<Timestamp>,
    /// Oldest booked date of rows that were missing and are still to be judged.
    pub absent_from: Option<Date>,
    /// `lastRefreshed` at the last walk that could judge what it missed.
    pub judged_refresh: Option<Timestamp>,
    /// Whether its history was rewritten, so that all of it is to be walked once.
    pub full_due: bool,
    /// Whether re-issued ids were reported, and have been seen at every refresh since.
    pub reissued: bool,
    /// From this date on, counterparts are searched for rows from before a re-consent.
    pub unmatched_from: Option<Date>,
    /// The number of live rows among these, other than pending ones, that have none.
    pub unmatched: u64,
    /// Balance and booked rows at the last complete walk.
    pub stand: Option<Stand>,
    /// When it last used up its share of the connection's time; `None` if its last walk did not.
    pub hung_at: Option<Timestamp>,
    /// Whether a person has accepted that it is another than those accepted with it.
    pub accepted: bool,
    /// Whether it came as another went that it may be, and neither a later list nor a person has said more.
    pub doubted: bool,
    /// One consent named it beside others of the same number: those of the same group are several.
    pub group: Option<i64>,
    /// Newest refresh of the connection when the account was first missing.
    pub missing_refresh: Option<Timestamp>,
    /// Whether it is closed.
    pub closed: bool,
    /// Booked date of the oldest live pending row that was not older than 90 days at the last complete walk.
    pub oldest_pending: Option<Date>,
    /// Booked date of the oldest live pending row of any age.
    pub oldest_any_pending: Option<Date>,
    /// Whether it was reported that its data is stale.
    pub stale: bool,
    /// Whether it has any row, even a tombstone.
    pub has_rows: bool,
}

/// The result of identifying a listed account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The stored account of this key, under its current id.
    Known(i64),
    /// The stored account of this key, under a new id (re-consent).
    Alias(i64),
    /// Not seen before.
    New,
    /// An older id of the stored account of this key, which goes on under another: nothing is stored for it.
    Superseded(i64),
}

/// Two stored accounts that turned out to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The key under which it goes on: the older one.
    pub keep: i64,
    /// The key of the other, whose rows it takes over.
    pub drop: i64,
    /// Whether the id that is still served belongs to `drop`.
    pub adopts_id: bool,
}

/// Consents and accounts of one connection, to be written before any walk.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// All consents as listed; those that are neither listed nor kept are gone.
    pub consents: Vec<Consent>,
    /// Consents that the list does not show and that are kept all the same.
    pub kept: KeptConsents,
    /// All listed accounts.
    pub accounts: Vec<(Account, Identity)>,
    /// Stored accounts that are newly missing, with the refresh at which they were.
    pub missing: Vec<(i64, Timestamp)>,
    /// Stored accounts missing for the second time.
    pub closed: Vec<i64>,
    /// Stored accounts that turned out to be one, to be joined before anything else.
    pub merged: Vec<Merge>,
    /// Groups of listed accounts of the same number that one consent names together.
    pub separate: Vec<Vec<AccountId>>,
    /// New accounts that may be one that is gone; that is reported until it is settled.
    pub doubted: Vec<AccountId>,
    /// Whether two accounts may be one and cannot be distinguished.
    pub ambiguous: bool,
    /// Consents whose accounts a healthy one serves.
    pub superseded: Vec<CredentialsId>,
}

/// The changes made by writing an overview.
#[derive(Clone, Debug, Default)]
pub struct OverviewSaved {
    /// The listed accounts as stored now, in the order of the overview.
    pub accounts: Vec<StoredAccount>,
    /// Whether a reader would notice a change of the accounts.
    pub changed: bool,
    /// The number of rows removed because their account is closed.
    pub removed: u64,
}

/// How the work on a connection ended, to be written with the release of its lease.
#[derive(Clone, Debug)]
pub struct Record {
    /// How it ended.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<Reason>,
    /// A sentence for people.
    pub error: Option<String>,
    /// Tink's id of the failed request.
    pub request_id: Option<String>,
    /// The counts of the attempt.
    pub counts: Counts,
    /// When the attempt began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How long it took, by a clock that cannot be set.
    pub took: Duration,
    /// It is not to be tried before.
    pub not_before: Option<Timestamp>,
    /// When it is due again after a success.
    pub next_due: Timestamp,
    /// Whether it is to be tried again in the second round of this run.
    pub again: bool,
    /// The judgements on its accounts' balances.
    pub judged: Vec<CheckedBalance>,
    /// Accounts and whether they used up their share of the time.
    pub hung: Vec<(i64, bool)>,
    /// Whether it went well, but a new link has no data yet: that is no success.
    pub without_data: bool,
    /// Keys of all its accounts with stale data; `None` if that was not judged.
    pub stale: Option<Vec<i64>>,
}

/// An outcome that is applied.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The run record as it is now; `None` if the connection was forgotten meanwhile.
    pub finished: Option<Finished>,
    /// The outcome must not be reported before it is durable.
    pub durable: Durable,
}

/// The input for judging one account's balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceCheck {
    /// Key of the account.
    pub account: i64,
    /// Tink's id of it.
    pub account_id: AccountId,
    /// The balance and the rows as they are now.
    pub input: BalanceInput,
    /// The account's first day; rows dated before it are history.
    pub first_day: Option<Date>,
    /// The previous judgement.
    pub reconciliation: Reconciliation,
}

/// A new judgement, to be written with the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBalance {
    /// Its input.
    pub check: BalanceCheck,
    /// The judgement.
    pub after: Reconciliation,
}

/// A consent as it was last shown, with what was reported about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConsent {
    /// As last shown.
    pub consent: Consent,
    /// What was reported about its end.
    pub told: Told,
    /// The last date that was shown.
    pub known_expiry: Option<Timestamp>,
    /// The run whose complete list first lacked it.
    pub missing_run: Option<i64>,
    /// The run whose list first showed it without its date.
    pub undated_run: Option<i64>,
    /// Whether a healthy one serves its accounts.
    pub superseded: bool,
}

/// The privileges of the role in a server's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Its name.
    pub role: String,
    /// The database.
    pub database: String,
    /// The privileges that a pass needs and the role lacks.
    pub missing: Vec<String>,
    /// The privileges on the whole server that the role has and no pass needs.
    pub too_much: Vec<String>,
    /// How a confirmed commit may still be lost, where refresh tokens are stored: one could be presented
    /// twice.
    pub may_lose: Option<String>,
    /// Old transactions that keep the server from clearing what is deleted, and the statement that ends each.
    pub old: Vec<(String, String)>,
}

/// Consents and dates that are kept although the list does not show them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptConsents {
    /// Consents that are not listed and stay.
    pub unlisted: Vec<CredentialsId>,
    /// Whether the list was complete: it is the first one without them.
    pub complete: bool,
    /// Listed consents whose date is not shown and stays.
    pub undated: Vec<CredentialsId>,
    /// Accounts of consents that a person has renewed: the bank may show a longer history.
    pub renewed: Vec<AccountId>,
}

/// What has been reported about the end of a consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentWarning {
    /// The consent.
    pub credentials_id: CredentialsId,
    /// What has been reported.
    pub told: Told,
    /// The warning to report for it, if any.
    pub due: Option<Warning>,
}

/// Something in Tink's answers that deviates from the documented form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedAnomaly {
    /// Tink's id of the account concerned, if any.
    pub account: Option<AccountId>,
    /// What it is.
    pub anomaly: Anomaly,
    /// How many times it occurred.
    pub times: u64,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// The summary as JSON.
    pub totals: String,
    /// The process's exit code.
    pub exit_code: u8,
    /// Whether a pass failed as a whole, which is worth an event.
    pub pass_failed: bool,
    /// When.
    pub at: Timestamp,
}

/// An event to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its key in the store.
    pub key: i64,
    /// What to report; `None` if it is no news.
    pub event: Option<HookEvent>,
}

/// The numbers of a whole run.
#[derive(Clone, Debug, Default)]
pub struct RunTotals {
    /// Connections by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Sums over all connections.
    pub counts: Counts,
}

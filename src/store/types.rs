//! What goes in and out of the store, shaped by the pass. Plain data; no SQL, no logic.

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
pub(crate) use plan::{Plan, Planned};
pub use rows::*;
pub use tokens::*;

/// What is written down when a run begins.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The run's id.
    pub run_id: RunId,
    /// `timer`, `manual` or `app`.
    pub trigger: &'static str,
    /// It is about connections that were asked for, and no pass over all.
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

/// A run that is registered.
#[derive(Clone, Debug)]
pub struct Run {
    /// Key of the run in the store.
    pub key: i64,
    /// Its id.
    pub id: RunId,
    /// When the oldest run that overlaps this one began: what was attempted since is not attempted again.
    pub cohort: Timestamp,
    /// Key of the newest row of the audit log when it began: what was forgotten later may still stand in the
    /// source view as this run reads it.
    pub audited: i64,
}

/// What a run found when it mirrored the source view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrored {
    /// How many the view gives.
    pub numbers: Numbers,
    /// Far fewer connections are enabled or entitled than before, and nobody has confirmed that.
    pub fall: Option<Fall>,
    /// Connections whose data another took over, each with the one that did.
    pub took_over: Vec<(ConnectionId, ConnectionId)>,
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

/// The rules of who is due.
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
    /// Attempts a user may have had in the last 24 hours.
    pub quota: u32,
}

/// Who is due and why the others are not.
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

/// What became of a plan at the end of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOver {
    /// Connections nobody has claimed.
    pub waiting: u64,
    /// Connections found not due any more when their turn came.
    pub skipped: BTreeMap<Reason, u64>,
}

/// The proof that a connection is ours to work on; every commit presents it.
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
    /// Whom to ask Tink for.
    pub tink_user: Option<TinkUser>,
    /// How the source view names that user now; to be proven before anything is stored.
    pub moved: Option<TinkUser>,
    /// Whether it has tokens of its own, of an older link.
    pub has_tokens: bool,
    /// When the entitlement ends.
    pub entitled_until: Option<Timestamp>,
    /// What is wrong with its row in the source view.
    pub problem: Option<String>,
    /// Failures in a row so far.
    pub failures: u32,
    /// Why it needed its user until now.
    pub needed_user: Option<Reason>,
    /// Which attempt of this run it is, from 1.
    pub attempt: u32,
    /// It never succeeded.
    pub is_new: bool,
    /// How often in a row it had no data yet.
    pub looks: u32,
}

/// Claims and what could not be claimed.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Connections to work on now.
    pub claims: Vec<Claim>,
    /// Planned connections that are not due any more.
    pub skipped: Vec<Skipped>,
    /// Nothing is left in the plan.
    pub exhausted: bool,
    /// What is left of a pause that Tink asked another host for.
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
    /// It was made just now, so nothing else is stored of it.
    pub new: bool,
    /// Counts re-consents; rows of an older generation have ids that Tink no longer knows.
    pub generation: i64,
    /// A re-consent's full walk is still to be finished.
    pub repairing: bool,
    /// Complete walks so far that left no missing row unjudged.
    pub walks: i64,
    /// Through which date the history is known to be complete.
    pub complete_through: Option<Date>,
    /// The account's `lastRefreshed` at its last complete walk.
    pub walked_refresh: Option<Timestamp>,
    /// When that walk was.
    pub walked_at: Option<Timestamp>,
    /// When 90 days were last walked.
    pub deep_walked_at: Option<Timestamp>,
    /// Through which date that walk had read.
    pub deep_through: Option<Date>,
    /// `lastRefreshed` at which rows were missing in a way that was not believed.
    pub suspect_refresh: Option<Timestamp>,
    /// Oldest booked date of rows that were missing and are still to be judged.
    pub absent_from: Option<Date>,
    /// `lastRefreshed` at the last walk that could judge what it missed.
    pub judged_refresh: Option<Timestamp>,
    /// Its history was rewritten: all of it is to be walked once.
    pub full_due: bool,
    /// That its ids are re-issued was told, and has been so at every refresh since.
    pub reissued: bool,
    /// From this date on, rows from before a re-consent are looked for a counterpart.
    pub unmatched_from: Option<Date>,
    /// Of these, booked rows that are live without one.
    pub unmatched: u64,
    /// Balance and booked rows at the last complete walk.
    pub stand: Option<Stand>,
    /// When it last used up its share of the connection's time; `None` if it did not in its last walk.
    pub hung_at: Option<Timestamp>,
    /// It was served beside another account of the same number by one consent: they are two.
    pub separate: bool,
    /// Newest refresh of the connection when the account was first missing.
    pub missing_refresh: Option<Timestamp>,
    /// Whether it is closed.
    pub closed: bool,
    /// Booked date of the oldest live pending row that was not older than 90 days at the last complete walk.
    pub oldest_pending: Option<Date>,
    /// Booked date of the oldest live pending row of any age.
    pub oldest_any_pending: Option<Date>,
    /// It was told that its data stand still.
    pub stale: bool,
}

/// What a listed account turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The stored account of this key, under its current id.
    Known(i64),
    /// The stored account of this key, under a new id (re-consent).
    Alias(i64),
    /// Not seen before.
    New,
    /// An older id of the stored account of this key, which goes on under another: nothing is stored of it.
    Superseded(i64),
}

/// Two stored accounts that turned out to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Key under which it goes on: the older one.
    pub keep: i64,
    /// Key of the other, whose rows it takes over.
    pub drop: i64,
    /// Whether the id that is still served is that of `drop`.
    pub adopts_id: bool,
}

/// Consents and accounts of one connection, to be written before any walk.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// All consents as listed; those neither listed nor kept are gone.
    pub consents: Vec<Consent>,
    /// What is kept of consents against the list.
    pub kept: KeptConsents,
    /// All listed accounts.
    pub accounts: Vec<(Account, Identity)>,
    /// Stored accounts newly missing, with the refresh at which they were.
    pub missing: Vec<(i64, Timestamp)>,
    /// Stored accounts missing for the second time.
    pub closed: Vec<i64>,
    /// Stored accounts that turned out to be one, to be joined before anything else.
    pub merged: Vec<Merge>,
    /// Listed accounts that one consent serves beside others of the same number.
    pub separate: Vec<AccountId>,
    /// Two accounts may be one, and nothing tells.
    pub ambiguous: bool,
    /// Consents whose accounts a healthy one serves.
    pub superseded: Vec<CredentialsId>,
}

/// What writing an overview changed.
#[derive(Clone, Debug, Default)]
pub struct OverviewSaved {
    /// The listed accounts as stored now, in the order of the overview.
    pub accounts: Vec<StoredAccount>,
    /// Whether something of the accounts changed that a reader would notice.
    pub changed: bool,
    /// Rows removed since their account is closed.
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
    /// What was counted.
    pub counts: Counts,
    /// When the attempt began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How long it took, by time that nobody can set.
    pub took: Duration,
    /// Not to be tried before.
    pub not_before: Option<Timestamp>,
    /// When it is due again after a success.
    pub next_due: Timestamp,
    /// To be tried again in the second round of this run.
    pub again: bool,
    /// What was judged of its accounts' balances.
    pub judged: Vec<CheckedBalance>,
    /// Accounts that used up their share of the time, and others that did not.
    pub hung: Vec<(i64, bool)>,
    /// It went well, but a new link has no data yet: that is no success.
    pub without_data: bool,
    /// Keys of all its accounts whose data stand still; none if that was not judged.
    pub stale: Option<Vec<i64>>,
}

/// An outcome that is applied.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What the run record now says; `None` if the connection was forgotten meanwhile.
    pub finished: Option<Finished>,
    /// Nobody is told of it before it is durable.
    pub durable: Durable,
}

/// What there is to judge of one account's balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceCheck {
    /// Key of the account.
    pub account: i64,
    /// Tink's id of it.
    pub account_id: AccountId,
    /// What balance and rows say now.
    pub input: BalanceInput,
    /// The account's first day; what is dated before is history.
    pub first_day: Option<Date>,
    /// What was judged before.
    pub reconciliation: Reconciliation,
}

/// A new judgement, to be written with the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBalance {
    /// What it is made of.
    pub check: BalanceCheck,
    /// What is judged now.
    pub after: Reconciliation,
}

/// A consent as it was last shown, with what was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConsent {
    /// As last shown.
    pub consent: Consent,
    /// What was told of its end.
    pub told: Told,
    /// The last date that was shown.
    pub known_expiry: Option<Timestamp>,
    /// The run whose complete list first lacked it.
    pub missing_run: Option<i64>,
    /// The run whose list first showed it without the date that it had.
    pub undated_run: Option<i64>,
    /// A healthy one serves its accounts.
    pub superseded: bool,
}

/// What the role of a server's address may do there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Its name.
    pub role: String,
    /// The database.
    pub database: String,
    /// What a pass needs and it may not.
    pub missing: Vec<String>,
    /// What it may on the whole server and no pass needs.
    pub too_much: Vec<String>,
    /// How a commit that was confirmed may still be lost, where refresh tokens are stored: one could be presented twice.
    pub may_lose: Option<String>,
}

/// What of the consents is kept although the list does not show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptConsents {
    /// Consents that are not listed and stay.
    pub unlisted: Vec<CredentialsId>,
    /// The list was complete: it is the first one without them.
    pub complete: bool,
    /// Listed consents whose date is not shown and stays.
    pub undated: Vec<CredentialsId>,
}

/// What has been told of the end of a consent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentWarning {
    /// The consent.
    pub credentials_id: CredentialsId,
    /// What has been told.
    pub told: Told,
    /// What is to be told for it, if anything.
    pub due: Option<Warning>,
}

/// Something of Tink's answers that had another form than documented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedAnomaly {
    /// Tink's id of the account that it is about, if it is about one.
    pub account: Option<AccountId>,
    /// What it is.
    pub anomaly: Anomaly,
    /// How often it was met.
    pub times: u64,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// The summary as JSON.
    pub totals: String,
    /// The process's exit code.
    pub exit_code: u8,
    /// A pass that failed as a whole: worth an event.
    pub pass_failed: bool,
    /// When.
    pub at: Timestamp,
}

/// An event on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its key in the store.
    pub key: i64,
    /// What to tell; none if it turned out to be no news.
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

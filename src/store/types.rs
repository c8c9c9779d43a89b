//! What goes in and out of the store, shaped by the pass. Plain data; no SQL, no logic.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::domain::account::Account;
use crate::domain::balance::{Books, Proof};
use crate::domain::connection::TinkUser;
use crate::domain::consent::Consent;
use crate::domain::hook::HookEvent;
use crate::domain::ids::{AccountId, ConnectionId, CredentialsId, RunId, TransactionId, UserId};
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::domain::transaction::{Status, Transaction};
use crate::domain::window::Window;

/// What is written down when a run begins.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The run's id.
    pub run_id: RunId,
    /// `timer`, `manual` or `app`.
    pub trigger: &'static str,
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
}

/// An account as stored, with what is known of its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccount {
    /// Stable key.
    pub key: i64,
    /// As last seen at Tink.
    pub account: Account,
    /// Every Tink id it was known by.
    pub known_ids: Vec<AccountId>,
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
    /// `lastRefreshed` at which too many rows were missing at once.
    pub suspect_refresh: Option<Timestamp>,
    /// Newest refresh of the connection when the account was first missing.
    pub missing_refresh: Option<Timestamp>,
    /// Whether it is closed.
    pub closed: bool,
    /// Booked date of the oldest live pending row of the last 90 days.
    pub oldest_pending: Option<Date>,
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
}

/// Consents and accounts of one connection, to be written before any walk.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// All consents; those not named are gone.
    pub consents: Vec<Consent>,
    /// All listed accounts.
    pub accounts: Vec<(Account, Identity)>,
    /// Stored accounts newly missing, with the refresh at which they were.
    pub missing: Vec<(i64, Timestamp)>,
    /// Stored accounts missing for the second time.
    pub closed: Vec<i64>,
}

/// What writing an overview changed.
#[derive(Clone, Debug, Default)]
pub struct OverviewSaved {
    /// The listed accounts as stored now, in the order of the overview.
    pub accounts: Vec<StoredAccount>,
    /// Whether something of the accounts changed that a reader would notice.
    pub changed: bool,
}

/// A row as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Its key.
    pub key: i64,
    /// Its data.
    pub transaction: Transaction,
    /// Which generation of its account it was last seen in.
    pub generation: i64,
    /// Complete walks that missed it in a row.
    pub missed: u32,
    /// Whether it is a tombstone.
    pub removed: bool,
}

/// The little that is needed to see which live rows a walk did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRow {
    /// Its key.
    pub key: i64,
    /// Tink's id.
    pub id: TransactionId,
    /// Its status.
    pub status: Status,
    /// Its booked date.
    pub booked_date: Option<Date>,
    /// Which generation of its account it was last seen in.
    pub generation: i64,
}

/// Which rows of an account to load.
#[derive(Clone, Debug)]
pub enum RowQuery {
    /// Those with these ids, tombstones included.
    Ids(Vec<TransactionId>),
    /// Those with these keys.
    Keys(Vec<i64>),
    /// Live rows that arrived since the last complete walk that left no missing row unjudged, and that
    /// replaced no other row yet.
    Unsealed,
    /// Live rows of an older generation, dated from this day on or not at all.
    OlderGeneration(Option<Date>),
}

/// A row to be written, with its original JSON if that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedRow {
    /// Its data.
    pub transaction: Transaction,
    /// The JSON as Tink sent it.
    pub raw: Option<Box<str>>,
}

/// Why a row is marked removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Tink no longer returns it.
    Vanished,
    /// Another row of the account took its place.
    Replaced {
        /// Tink's id of the successor.
        by: TransactionId,
        /// The rule that matched.
        rule: &'static str,
    },
}

/// The difference between what is stored and what was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Rows new in the store.
    pub insert: Vec<FetchedRow>,
    /// Rows whose data changed, or that came back.
    pub update: Vec<(i64, FetchedRow)>,
    /// Rows seen unchanged whose bookkeeping must be renewed (not a change for readers).
    pub touch: Vec<i64>,
    /// Rows to be marked removed.
    pub remove: Vec<(i64, Removal)>,
    /// Rows missing once more, not removed yet.
    pub missed: Vec<i64>,
}

impl ChangeSet {
    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Rows added, updated and removed, as counts.
    pub fn counts(&self) -> Counts {
        Counts {
            added: self.insert.len() as u64,
            updated: self.update.len() as u64,
            removed: self.remove.len() as u64,
            ..Counts::default()
        }
    }
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Tink's id, if that much could be read.
    pub id: Option<TransactionId>,
    /// What is wrong with it.
    pub reason: String,
    /// The record as sent.
    pub raw: String,
}

/// What a complete walk proves; committed with the last rows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Through which date the history is now complete.
    pub watermark: Option<Date>,
    /// `lastRefreshed` as read before the walk.
    pub refresh: Option<Timestamp>,
    /// When.
    pub at: Timestamp,
    /// The walk covered 90 days or everything.
    pub deep: bool,
    /// Too many rows were missing: nothing was removed at this refresh.
    pub suspect: Option<Timestamp>,
    /// No missing row is left to be judged by a later walk, for which this one's arrivals would matter.
    pub settled: bool,
}

/// One commit of an account's rows.
#[derive(Clone, Debug)]
pub struct RowCommit {
    /// Key of the account.
    pub account: i64,
    /// Its generation.
    pub generation: i64,
    /// Rows to write.
    pub changes: ChangeSet,
    /// Records for the quarantine.
    pub unreadable: Vec<Unreadable>,
    /// Ids that were read well and leave the quarantine.
    pub readable: Vec<TransactionId>,
    /// The end of a complete walk.
    pub seal: Option<Seal>,
    /// Now.
    pub now: Timestamp,
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
    /// Not to be tried before.
    pub not_before: Option<Timestamp>,
    /// When it is due again after a success.
    pub next_due: Timestamp,
    /// To be tried again in the second round of this run.
    pub again: bool,
    /// What was judged of its accounts' balances.
    pub judged: Vec<Judgement>,
}

/// What there is to judge of one account's balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Key of the account.
    pub account: i64,
    /// Tink's id of it.
    pub account_id: AccountId,
    /// What balance and rows say now.
    pub books: Books,
    /// What was judged before.
    pub proof: Proof,
}

/// A new judgement, to be written with the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What it is made of.
    pub ledger: Ledger,
    /// What is judged now.
    pub after: Proof,
}

/// A consent warning that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentStep {
    /// The consent.
    pub credentials_id: CredentialsId,
    /// The step that was reached, in days; 0 is expired.
    pub days: i64,
    /// Whole days left; less than 0 is past.
    pub days_left: i64,
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

/// The live rows to compare a walk with.
#[derive(Clone, Copy, Debug)]
pub struct LiveQuery {
    /// Key of the account.
    pub account: i64,
    /// The dates of the walk; rows without a date always count.
    pub window: Window,
}

/// How it stands with the tokens of an older link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// They can be used.
    Ready,
    /// A run is asking for new ones, and nobody else may.
    Asked,
    /// They were used up or refused.
    Lost,
}

/// The tokens of an older link, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTokens {
    /// How it stands with them.
    pub state: TokenState,
    /// The token that renews.
    pub refresh: Vec<u8>,
    /// The token it last gave.
    pub access: Option<Vec<u8>>,
    /// When that one ends; none is not known.
    pub access_until: Option<Timestamp>,
}

/// The right to present a refresh token once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Key of the connection.
    pub connection: i64,
    /// Its id.
    pub connection_id: ConnectionId,
    /// Which asking it is.
    pub number: i64,
}

/// What came of presenting a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// New tokens, sealed.
    Renewed {
        /// Another token that renews; none if the old one stays good.
        refresh: Option<Vec<u8>>,
        /// The new token of the calls.
        access: Vec<u8>,
        /// When that one ends.
        until: Option<Timestamp>,
    },
    /// The request never left: the token is as good as before.
    NotAsked,
    /// It was refused, or nobody knows what came of it; in words.
    Lost(String),
}

//! The durable state: who is connected, what is stored, who holds which lease, what each run did.
//! One coarse trait shaped by the pass, so that no SQL transaction leaks out. Knows nothing of Tink's
//! HTTP API and decides nothing about rows: it writes the change sets it is given.

pub mod error;
pub mod sqlite;
pub mod types;

use std::future::Future;

use jiff::{SignedDuration, Timestamp};

use crate::domain::connection::{TinkUser, Viewed};
use crate::domain::event::{BankTrouble, Finished};
use crate::domain::ids::{AccountId, CredentialsId};
pub use error::StoreError;
pub use types::*;

/// A result of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What a pass needs of its store. Every write is done as a whole or not at all; those that take a [`Lease`]
/// write nothing and fail with [`StoreError::LeaseLost`] if the lease is no longer held.
///
/// What only the pass itself goes on with (claims, accounts, rows) returns as soon as it is applied: all later reads
/// and writes see it, and become durable with it or after it, or not at all. All else returns when it is durable,
/// and so does what is told: news for the quarantine, anomalies, warnings.
pub trait Store: Clone + Send + Sync + 'static {
    /// Registers a run, after giving up the leases of runs that died.
    fn begin_run(&self, run: NewRun) -> impl Future<Output = Result<Run>> + Send;

    /// Mirrors the source view, which was read after the run began; connections forgotten since then are left
    /// out. Those the view no longer has are disabled, unless it has far fewer than before.
    fn mirror(&self, run: &Run, viewed: Viewed) -> impl Future<Output = Result<Mirrored>> + Send;

    /// Names in the selection that the store does not know.
    fn unknown(&self, selection: Selection) -> impl Future<Output = Result<Vec<String>>> + Send;

    /// Orders the due connections and counts the others by reason.
    fn plan(&self, run: &Run, rules: PlanRules) -> impl Future<Output = Result<PlanCounts>> + Send;

    /// Connections that are not due at all, in batches: those behind `after`, at most `limit`.
    fn skipped(
        &self,
        run: &Run,
        rules: PlanRules,
        after: Option<Skipped>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Skipped>>> + Send;

    /// Claims the next planned connections that are still due.
    fn claim(
        &self,
        run: &Run,
        rules: PlanRules,
        limit: usize,
        lease_until: Timestamp,
    ) -> impl Future<Output = Result<Claims>> + Send;

    /// Claims connections of this run that are to be tried once more.
    fn claim_again(
        &self,
        run: &Run,
        rules: PlanRules,
        limit: usize,
        lease_until: Timestamp,
    ) -> impl Future<Output = Result<Claims>> + Send;

    /// Connections that were to be tried once more and were not: their first outcome stands.
    fn close_retries(&self, run: &Run) -> impl Future<Output = Result<Vec<Finished>>> + Send;

    /// Gives every planned connection that is left a time before which it is not tried; returns how many.
    fn postpone(&self, run: &Run, until: Timestamp) -> impl Future<Output = Result<u64>> + Send;

    /// Takes back what this run's failures did to its connections: it was Tink as a whole, not they.
    fn reset_failures(&self, run: &Run) -> impl Future<Output = Result<()>> + Send;

    /// What became of the plan.
    fn left_over(&self) -> impl Future<Output = Result<LeftOver>> + Send;

    /// Prolongs all leases of the run.
    fn renew(&self, run: &Run, until: Timestamp) -> impl Future<Output = Result<()>> + Send;

    /// The stored accounts of a connection.
    fn accounts(
        &self,
        lease: &Lease,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<StoredAccount>>> + Send;

    /// Writes consents and accounts; nothing if they are as stored.
    fn save_overview(
        &self,
        lease: &Lease,
        overview: Overview,
        now: Timestamp,
    ) -> impl Future<Output = Result<OverviewSaved>> + Send;

    /// Whether what Tink shows of `user` is what the connection holds; then the connection goes on under that name.
    fn adopt(
        &self,
        lease: &Lease,
        user: TinkUser,
        consents: Vec<CredentialsId>,
        accounts: Vec<AccountId>,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// The consents of a connection as they were last shown.
    fn consents(&self, lease: &Lease) -> impl Future<Output = Result<Vec<StoredConsent>>> + Send;

    /// Remembers what is told of the end of consents.
    fn warned(
        &self,
        lease: &Lease,
        warnings: Vec<ConsentWarning>,
        now: Timestamp,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Which of these anomalies were not told yet, remembering them.
    fn note_anomalies(
        &self,
        lease: &Lease,
        met: Vec<NotedAnomaly>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<NotedAnomaly>>> + Send;

    /// Rows of one account of the leased connection.
    fn rows(&self, account: i64, query: RowQuery) -> impl Future<Output = Result<Vec<StoredRow>>> + Send;

    /// Live rows whose date lies in a window, and those without a date.
    fn live_rows(&self, query: LiveQuery) -> impl Future<Output = Result<Vec<LiveRow>>> + Send;

    /// Writes rows of one account, all or nothing; returns how many records are new in the quarantine.
    fn commit(&self, lease: &Lease, commit: RowCommit) -> impl Future<Output = Result<u64>> + Send;

    /// What there is to judge of the balances of these accounts, after complete walks of them.
    fn balance_checks(&self, accounts: Vec<i64>) -> impl Future<Output = Result<Vec<BalanceCheck>>> + Send;

    /// Writes the outcome and releases the lease. Without the lease only the run record is written: it is this run's
    /// own.
    fn record(&self, lease: &Lease, record: Record) -> impl Future<Output = Result<Recorded>> + Send;

    /// Whether the bank of a consent may be asked for its data now, which it was not for `rest`; notes it.
    fn may_ask_bank(
        &self,
        lease: &Lease,
        consent: &CredentialsId,
        now: Timestamp,
        rest: SignedDuration,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// The encrypted tokens of a connection, if it has any.
    fn tokens(&self, lease: &Lease) -> impl Future<Output = Result<Option<EncryptedTokens>>> + Send;

    /// Notes, durably, that a refresh token is about to be presented; none if it may not be.
    fn begin_rotation(&self, lease: &Lease) -> impl Future<Output = Result<Option<RotationBegin>>> + Send;

    /// Writes what came of it, also when the lease is gone meanwhile; `false` if somebody else has finished it.
    fn finish_rotation(
        &self,
        asking: RotationBegin,
        renewal: Renewal,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Banks of which at least half of this run's connections, and at least `least`, failed for one reason.
    fn troubled_banks(&self, run: &Run, least: u64) -> impl Future<Output = Result<Vec<BankTrouble>>> + Send;

    /// A user whose connection worked before, to probe Tink with, another one than `except`.
    fn probe_user(&self, except: Option<TinkUser>) -> impl Future<Output = Result<Option<TinkUser>>> + Send;

    /// Sums over the run so far.
    fn totals(&self, run: &Run) -> impl Future<Output = Result<RunTotals>> + Send;

    /// Ends the run.
    fn finish_run(&self, run: &Run, end: RunEnd) -> impl Future<Output = Result<()>> + Send;
}

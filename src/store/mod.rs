//! The durable state: connections, their data, leases and the history of runs. [`Store`] has the operations
//! of a pass, [`Reader`] is one snapshot for everything that only reads, [`Writer`] makes the changes of a
//! command. The files of this directory hold the logic, as plain functions over [`engine::Db`]. Knows nothing
//! of Tink's HTTP API and decides nothing about rows: it writes the change sets it is given.

pub mod accept;
mod accounts;
mod anomalies;
pub mod app;
mod balances;
mod consents;
#[cfg(test)]
mod cost;
pub mod engine;
pub mod error;
mod events;
pub mod export;
pub mod file;
pub mod foresight;
pub mod forget;
mod heartbeat;
pub mod import;
pub mod links;
mod liveness;
mod merge;
mod mirror;
mod outbox;
mod owners;
mod pause;
mod place;
mod plan;
pub mod population;
pub mod prune;
pub mod quarantine;
mod reader;
pub mod reads;
#[cfg(test)]
mod repeated;
mod rows;
mod run_names;
mod runs;
pub mod source;
pub mod stand_alone;
mod tokens;
pub mod transfer;
pub mod types;
mod unreadable;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;

use crate::domain::connection::TinkUser;
use crate::domain::event::{BankTrouble, Finished};
use crate::domain::ids::{AccountId, CredentialsId};
use crate::domain::view::Viewed;
use engine::job::repeatable;
use engine::worker::Worker;
use engine::{Context, Db, DbSession, Fail};
pub use error::StoreError;
pub use place::Place;
pub use reader::Reader;
pub use types::*;
pub use writer::{AuditRow, Reencryption, Writer};

/// A result of the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The operations of a pass on its store. Every write is atomic; those that take a [`Lease`] write nothing
/// and fail with [`StoreError::LeaseLost`] if the lease is no longer held.
///
/// A write that only the pass itself relies on (claims, accounts, rows) returns as soon as it is applied: all
/// later reads and writes see it, and become durable with it or after it, or not at all. Every other write
/// returns when it is durable, and so does one with something to report: new records in the quarantine,
/// anomalies, warnings.
#[derive(Clone, Debug)]
pub struct Store {
    worker: Worker,
    is_shared: bool,
    /// Whether the name of the run is kept: see [`Self::name`].
    named: Arc<OnceCell<()>>,
    /// `None` for a file, and in a rehearsal, which must report nothing that differs from the run.
    trips: Option<Arc<AtomicU64>>,
}

#[expect(
    clippy::missing_errors_doc,
    reason = "every operation fails with what [`StoreError`] says, and so says this type"
)]
impl Store {
    /// Opens the store for writing, creating and migrating it as needed.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be used, is locked for longer than `patience` after SQLite's
    /// own 30 s, or was written by a newer release.
    pub fn open(place: &Place, patience: Duration, now: Timestamp) -> Result<Self> {
        Ok(Self::of(place, place.for_groups(patience, now)?))
    }

    /// Opens the store for a rehearsal: nothing in it changes, and a missing one is not created.
    ///
    /// # Errors
    /// [`StoreError::Older`] names the migrations that a run would apply; other errors as for [`Self::open`].
    pub fn open_dry(place: &Place, patience: Duration, now: Timestamp) -> Result<Self> {
        let opened = place.rehearsal(patience, now, |db| runs::shadow_shared(db, now))?;
        Ok(Self::of(place, opened))
    }

    fn of(place: &Place, session: DbSession) -> Self {
        let is_shared = place.file().is_none();
        let trips = (is_shared && !session.context.rehearsal).then(|| Arc::clone(&session.context.trips));
        Self { worker: Worker::start(session), is_shared, named: Arc::default(), trips }
    }

    /// How often this process has waited for the store's server; `None` for a file, and in a rehearsal.
    pub fn round_trips(&self) -> Option<u64> {
        self.trips.as_ref().map(|trips| trips.load(Ordering::Relaxed))
    }

    /// The number of rows that are worth a commit: a round trip to a server costs as much as many rows.
    pub const fn rows_of_a_commit(&self) -> usize {
        if self.is_shared { 1000 } else { 150 }
    }

    /// Whether other hosts may be at work on the store.
    pub const fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Closes the file once all requested work is done, so that no other files are left beside it.
    pub async fn close(self) {
        self.worker.close().await;
    }

    /// Registers a run, after releasing the leases of runs that died.
    pub async fn begin_run(&self, run: NewRun) -> Result<Run> {
        self.worker.write("begin the run", move |tx, db| runs::begin(tx, db, &run)).await
    }

    /// Mirrors the source view, which was read after the run began, without connections that were forgotten
    /// since then. Disables those that the view no longer has, unless it has far fewer than before.
    pub async fn mirror(&self, run: &Run, viewed: Viewed) -> Result<Mirrored> {
        let run = run.clone();
        self.worker
            .write(repeatable("mirror the source view"), move |tx, db| {
                let mirrored = mirror::all(tx, db, &run, viewed.clone())?;
                tx.note_lapses()?;
                Ok(mirrored)
            })
            .await
    }

    /// The ids in the selection that the store does not know.
    pub async fn unknown(&self, selection: Selection) -> Result<Vec<String>> {
        self.worker.read("look up connections", move |db| plan::unknown(db, &selection)).await
    }

    /// Orders the due connections and counts the others by reason.
    pub async fn plan(&self, run: &Run, rules: PlanRules) -> Result<PlanCounts> {
        let run = run.clone();
        self.worker.write(repeatable("plan the run"), move |tx, db| plan::plan(tx, db, &run, &rules)).await
    }

    /// Connections that are not due at all, in batches: those after `after`, at most `limit`.
    pub async fn skipped(
        &self,
        run: &Run,
        rules: PlanRules,
        after: Option<Skipped>,
        limit: usize,
    ) -> Result<Vec<Skipped>> {
        let run = run.clone();
        self.worker
            .read("list skipped connections", move |db| {
                plan::skipped(db, &run, &rules, after.as_ref(), limit)
            })
            .await
    }

    /// Claims the next planned connections that are still due.
    pub async fn claim(
        &self,
        run: &Run,
        rules: PlanRules,
        limit: usize,
        lease_until: Timestamp,
    ) -> Result<Claims> {
        let run = run.clone();
        self.worker
            .apply(repeatable("claim connections"), move |tx, db| {
                plan::claim(tx, db, &run, &rules, limit, lease_until)
            })
            .await
    }

    /// Claims connections of this run that are to be tried once more.
    pub async fn claim_again(
        &self,
        run: &Run,
        rules: PlanRules,
        limit: usize,
        lease_until: Timestamp,
    ) -> Result<Claims> {
        let run = run.clone();
        self.worker
            .apply(repeatable("claim connections again"), move |tx, db| {
                plan::claim_again(tx, db, &run, &rules, limit, lease_until)
            })
            .await
    }

    /// Closes connections that were to be tried once more and were not: their first outcome is final.
    pub async fn close_retries(&self, run: &Run) -> Result<Vec<Finished>> {
        let run = run.key;
        self.worker.write("close retries", move |tx, db| runs::close_retries(tx, db, run)).await
    }

    /// Sets a time before which the remaining planned connections are not tried; returns their number.
    pub async fn postpone(&self, run: &Run, until: Timestamp) -> Result<u64> {
        let run = run.key;
        self.worker
            .write(repeatable("postpone connections"), move |tx, db| plan::postpone(tx, db, run, until))
            .await
    }

    /// Makes all hosts that share the store pause until then, because Tink asked this host to.
    pub async fn pause_all(&self, until: Instant) -> Result<()> {
        self.worker.write(repeatable("note a pause"), move |tx, _| pause::note(tx, until)).await
    }

    /// Undoes what this run's failures did to its connections: the cause was Tink as a whole.
    pub async fn reset_failures(&self, run: &Run) -> Result<()> {
        let run = run.key;
        self.worker.write("reset failures", move |tx, _| runs::reset_failures(tx, run)).await
    }

    /// Counts what is left of the plan.
    pub async fn left_over(&self) -> Result<LeftOver> {
        self.of_plan("count what is left", Plan::left_over).await
    }

    async fn of_plan<T: Send + 'static>(
        &self,
        what: &'static str,
        ask: impl FnOnce(&Plan) -> T + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.worker.configure(move |db| drop(reply.send(ask(&db.plan.get())))).await;
        answer.await.map_err(|_| StoreError::thread_ended(what))
    }

    /// What is stored of a connection.
    pub async fn known(&self, lease: &Lease, now: Timestamp) -> Result<Known> {
        let connection = lease.connection;
        let read = move |db: Db<'_>| {
            consents::ahead(db, connection)?;
            accounts::ahead(db, connection, now)?;
            Ok(Known {
                is_contested: owners::is_contested(db, connection)?,
                consents: consents::load(db, connection)?,
                accounts: accounts::load(db, connection, now)?,
            })
        };
        self.worker.read("read the connection", read).await
    }

    /// Writes consents and accounts, unless nothing has changed.
    pub async fn save_overview(
        &self,
        lease: &Lease,
        overview: Overview,
        now: Timestamp,
    ) -> Result<OverviewSaved> {
        if !overview.closed.is_empty() || !overview.merged.is_empty() {
            self.name(lease.run).await?;
        }
        let lease = lease.clone();
        self.worker
            .apply("write accounts", move |tx, db| {
                liveness::held(tx, &lease)?;
                accounts::save_ahead(tx, lease.connection, &overview, now)?;
                match owners::anothers(tx, &lease, &overview)? {
                    None => {}
                    Some(owners::Anothers::Refused(text)) => return Err(Fail::OtherOwner(text)),
                    Some(owners::Anothers::Left(from)) => {
                        mirror::take_over(tx, db, from, lease.connection)?;
                        return Ok(None);
                    }
                }
                app::remember(tx, db, now)?;
                consents::save(tx, &lease, &overview)?;
                Ok(Some(accounts::save(tx, lease.run, lease.connection, &overview, now)?))
            })
            .await?
            .ok_or(StoreError::TookOver)
    }

    /// Returns whether Tink shows under `user` what the connection holds; if so, it goes on under that name.
    pub async fn adopt(
        &self,
        lease: &Lease,
        user: TinkUser,
        consents: Vec<CredentialsId>,
        accounts: Vec<AccountId>,
    ) -> Result<bool> {
        let lease = lease.clone();
        self.worker
            .write("change the Tink user", move |tx, _| {
                liveness::held(tx, &lease)?;
                owners::adopt(tx, &lease, &user, &consents, &accounts)
            })
            .await
    }

    /// Records what was reported about the end of consents.
    pub async fn warned(&self, lease: &Lease, warnings: Vec<ConsentWarning>, now: Timestamp) -> Result<()> {
        let lease = lease.clone();
        self.worker
            .write("remember consent warnings", move |tx, db| {
                liveness::held(tx, &lease)?;
                consents::warned(tx, lease.connection, &warnings)?;
                warnings.iter().try_for_each(|new| events::consent_ends(tx, db, &lease, new, now))
            })
            .await
    }

    /// Returns the anomalies that are to be reported now, and records them.
    pub async fn note_anomalies(
        &self,
        lease: &Lease,
        met: Vec<NotedAnomaly>,
        now: Timestamp,
    ) -> Result<Vec<NotedAnomaly>> {
        let lease = lease.clone();
        let note = move |tx: Db<'_>, _: &Context| {
            liveness::held(tx, &lease)?;
            anomalies::note(tx, lease.connection, met.clone(), now)
        };
        let (news, mut durable) = self.worker.applied("record anomalies", note).await?;
        // They are reported only once.
        if !news.is_empty() {
            durable.confirmed().await?;
        }
        Ok(news)
    }

    /// Rows of one account of the leased connection.
    pub async fn rows(&self, account: i64, query: RowQuery) -> Result<Vec<StoredRow>> {
        self.worker.read("read transactions", move |db| rows::load(db, account, &query)).await
    }

    /// Live rows whose date is in a window, and those without a date.
    pub async fn live_rows(&self, query: LiveQuery) -> Result<Vec<LiveRow>> {
        self.worker.read("read transactions", move |db| rows::live(db, &query)).await
    }

    /// Writes rows of one account, all or nothing; returns how many records are new in the quarantine.
    pub async fn commit(&self, lease: &Lease, commit: RowCommit) -> Result<u64> {
        if rows::numbered(&commit) > 0 || !commit.unreadable.is_empty() {
            self.name(lease.run).await?;
        }
        let lease = lease.clone();
        let what = if commit.checkpoint.is_some() { "write the end of a walk" } else { "write transactions" };
        let commit = move |tx: Db<'_>, db: &Context| {
            liveness::held(tx, &lease)?;
            let quarantined = rows::commit(tx, lease.run, &commit)?;
            events::committed(tx, db, &lease, &commit)?;
            Ok(quarantined)
        };
        let (quarantined, mut durable) = self.worker.applied(what, commit).await?;
        // They are reported only once.
        if quarantined > 0 {
            durable.confirmed().await?;
        }
        Ok(quarantined)
    }

    /// The input for judging the balances of these accounts, after complete walks of them.
    pub async fn balance_checks(&self, accounts: Vec<i64>) -> Result<Vec<BalanceCheck>> {
        self.worker.read("read balances", move |db| balances::balance_checks(db, &accounts)).await
    }

    /// Writes the outcome and releases the lease. Without the lease it writes only the run record, which
    /// belongs to this run.
    pub async fn record(&self, lease: &Lease, record: Record) -> Result<Recorded> {
        if record.judged.iter().any(|judged| judged.after.difference.is_some()) {
            self.name(lease.run).await?;
        }
        let written = |ours: bool| {
            let (lease, record) = (lease.clone(), record.clone());
            self.worker.applied(repeatable("record the outcome"), move |tx: Db<'_>, db: &Context| {
                if ours {
                    liveness::held(tx, &lease)?;
                }
                runs::record(tx, db, &lease, &record, ours)
            })
        };
        let (finished, durable) = match written(true).await {
            Err(StoreError::LeaseLost(_)) => written(false).await?,
            written => written?,
        };
        Ok(Recorded { finished, durable })
    }

    /// Returns whether the bank of a consent may be asked for its data now, that is, was not asked within
    /// `rest`; if so, records the request.
    pub async fn may_ask_bank(
        &self,
        lease: &Lease,
        consent: &CredentialsId,
        now: Timestamp,
        rest: SignedDuration,
    ) -> Result<bool> {
        let (lease, consent) = (lease.clone(), consent.clone());
        self.worker
            .write("record the refresh request", move |tx, db| {
                liveness::held(tx, &lease)?;
                // A rehearsal asks no bank.
                Ok(!db.rehearsal && consents::may_ask_bank(tx, lease.connection, &consent, now, rest)?)
            })
            .await
    }

    /// The encrypted tokens of a connection, if it has any.
    pub async fn tokens(&self, lease: &Lease) -> Result<Option<EncryptedTokens>> {
        let connection = lease.connection;
        let read = move |db: Db<'_>| tokens::load(db, connection);
        let (tokens, mut durable) = self.worker.look("read tokens", read).await?;
        // A token that could be gone after a power cut must not be used.
        durable.confirmed().await?;
        Ok(tokens)
    }

    /// Records durably that a refresh token is about to be presented; `None` if it must not be.
    pub async fn begin_rotation(&self, lease: &Lease) -> Result<Option<RotationBegin>> {
        let lease = lease.clone();
        let mut begun = None;
        self.worker
            .write(repeatable("note the use of a token"), move |tx, db| {
                liveness::held(tx, &lease)?;
                begun = tokens::ask(tx, db, &lease, begun.is_some())?;
                Ok(begun.clone())
            })
            .await
    }

    /// Writes the result of a rotation, even if the lease was lost meanwhile; `false` if it was finished
    /// elsewhere.
    pub async fn finish_rotation(
        &self,
        asking: RotationBegin,
        renewal: Renewal,
        now: Timestamp,
    ) -> Result<bool> {
        self.worker
            .write(repeatable("write new tokens"), move |tx, _| tokens::renewed(tx, &asking, &renewal, now))
            .await
    }

    /// Banks of which at least half of this run's connections, and at least `least`, failed for the same
    /// reason.
    pub async fn troubled_banks(&self, run: &Run, least: u64) -> Result<Vec<BankTrouble>> {
        let run = run.key;
        self.worker.read("look for banks in trouble", move |db| runs::troubled_banks(db, run, least)).await
    }

    /// A Tink user other than `except` whose connection worked before, to probe Tink with.
    pub async fn probe_user(&self, except: Option<TinkUser>) -> Result<Option<TinkUser>> {
        self.worker.read("find a user to probe with", move |db| runs::probe_user(db, except.as_ref())).await
    }

    /// Sums over the run so far.
    pub async fn totals(&self, run: &Run) -> Result<RunTotals> {
        let run = run.key;
        self.worker.read("add up the run", move |db| runs::totals(db, run)).await
    }

    /// Ends the run.
    pub async fn finish_run(&self, run: &Run, end: RunEnd) -> Result<()> {
        let run = run.clone();
        self.worker.write(repeatable("finish the run"), move |tx, db| runs::finish(tx, db, &run, &end)).await
    }
}

#[cfg(test)]
mod tests;

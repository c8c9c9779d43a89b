//! The SQLite store: one connection on a thread of its own runs every statement of a pass, in order.
//! Writes that come together share one immediate transaction (see `worker`). WAL with full syncs: what a reader has seen survives a
//! power cut, so a change number is never given out twice.
//!
//! A rehearsal opens the file read-only and lays temporary tables over ours; the same statements run,
//! and nothing of the file changes.

pub mod accept;
mod accounts;
mod anomalies;
pub mod app;
mod balances;
mod codec;
mod consents;
#[cfg(test)]
mod cost;
mod events;
pub mod export;
mod feed;
pub mod foresight;
pub mod forget;
pub mod import;
pub mod links;
mod liveness;
mod merge;
mod mirror;
mod open;
mod outbox;
pub mod own;
mod owners;
mod plan;
pub mod population;
pub mod prune;
pub mod quarantine;
pub mod reads;
mod regular;
mod rehearsal;
mod rows;
mod run_names;
mod runs;
mod schema;
pub mod scratch;
pub mod sharing;
pub mod source;
mod thread;
mod tokens;
mod unreadable;
pub mod wal;
mod worker;

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::types::{
    BalanceCheck, Claims, ConsentWarning, EncryptedTokens, Lease, LeftOver, LiveQuery, LiveRow, Mirrored,
    NewRun, NotedAnomaly, Overview, OverviewSaved, PlanCounts, PlanRules, Record, Recorded, Renewal,
    RotationBegin, RowCommit, RowQuery, Run, RunEnd, RunTotals, Selection, Skipped, StoredAccount,
    StoredConsent, StoredRow,
};
use super::{Result, Store, StoreError};
use crate::domain::connection::{TinkUser, Viewed};
use crate::domain::event::{BankTrouble, Finished};
use crate::domain::ids::{AccountId, CredentialsId};
use crate::failpoint;
pub(crate) use open::connect_read_only;
use open::{connect_writer, refuse_newer, refuse_older};
pub use open::{open_reader, read};
use regular::refuse_odd;
use thread::{Context, Db, FileId};
use worker::Worker;

/// SQLite waits this long for a lock; `sync.outage_patience` begins after it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Whoever waits for a lock looks so often. Who has had it for long leaves it free for longer than that.
const LOCK_POLL: Duration = Duration::from_millis(2);
const FAIR_PAUSE: Duration = Duration::from_millis(4);

/// What is deleted is overwritten: pages that come free must not keep anybody's money data.
const ERASING: &str = "PRAGMA secure_delete = ON";

/// A store in one SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    worker: Worker,
}

/// A failure inside the store's thread, before it is told which file and which step it was.
#[derive(Debug)]
pub(crate) enum Fail {
    Sql(rusqlite::Error),
    LeaseLost(Lease),
    OtherOwner(String),
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl SqliteStore {
    /// Opens the store for writing, creating and migrating it as needed.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be used, is locked for longer than `patience` after SQLite's
    /// own 30 s, or was written by a newer release.
    pub fn open(path: &Path, patience: Duration, now: Timestamp) -> Result<Self> {
        let mut db = Self::opened(path, patience, now)?;
        // What undoes one job of several is kept in memory; it is as large as what that job changes.
        db.retry_busy("open the store", |conn| conn.execute_batch("PRAGMA temp_store = MEMORY"))?;
        Ok(Self { worker: Worker::start(db) })
    }

    /// The connection of [`Self::open`], before a thread has it.
    fn opened(path: &Path, patience: Duration, now: Timestamp) -> Result<Db> {
        refuse_odd(path)?;
        failpoint::around("create the file", || open::create(path))?;
        // Two spellings of one path must find each other's lock files.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut db = Db::new(connect_writer(path)?, path, patience);
        db.retry_busy("open the store", |conn| {
            failpoint::around("open the store", || conn.pragma_update(None, "journal_mode", "wal"))?;
            conn.execute_batch(
                "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -8000",
            )?;
            conn.execute_batch(ERASING)
        })?;
        db.file = FileId::of(path);
        refuse_newer(&db)?;
        db.retry_busy("prepare the store", |conn| schema::migrate(conn, now.as_millisecond()))?;
        // SQLite has made the files beside it by now.
        sharing::mend(path);
        Ok(db)
    }

    /// Closes the file once all that was asked for is done, so that nothing is left beside it.
    pub async fn close(self) {
        self.worker.close().await;
    }

    /// Opens the store for a rehearsal: nothing of the file changes, and a missing file stays missing.
    ///
    /// # Errors
    /// [`StoreError::Older`] names the migrations that a run would apply; others as for [`Self::open`].
    pub fn open_dry(path: &Path, patience: Duration, now: Timestamp) -> Result<Self> {
        let opened = if path.exists() {
            Self::rehearsed(path, patience, now, false)
        } else {
            Self::empty(path, patience, now)
        };
        Ok(Self { worker: Worker::start(opened?) })
    }

    /// A rehearsal in place of a store that is not there yet.
    fn empty(path: &Path, patience: Duration, now: Timestamp) -> Result<Db> {
        let mut conn = Connection::open_in_memory().map_err(|e| thread::explain("rehearse", path, &e))?;
        schema::migrate(&mut conn, now.as_millisecond())
            .map_err(|e| thread::explain("rehearse", path, &e))?;
        let mut db = Db::new(conn, path, patience);
        db.rehearsal = true;
        Ok(db)
    }

    /// A rehearsal on the file; `small` ones keep what they write in memory.
    fn rehearsed(path: &Path, patience: Duration, now: Timestamp, small: bool) -> Result<Db> {
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut db = Db::new(connect_read_only(path)?, path, patience);
        db.rehearsal = true;
        refuse_newer(&db)?;
        refuse_older(&db)?;
        db.retry_busy("rehearse", |conn| {
            if small {
                conn.pragma_update(None, "temp_store", "memory")?;
            }
            rehearsal::lay(conn)?;
            runs::shadow_shared(conn, now)?;
            feed::lay(conn)
        })?;
        Ok(db)
    }
}

impl Store for SqliteStore {
    async fn begin_run(&self, run: NewRun) -> Result<Run> {
        self.worker.write("begin the run", move |tx, db| runs::begin(tx, db, &run)).await
    }

    async fn mirror(&self, run: &Run, viewed: Viewed) -> Result<Mirrored> {
        let run = run.clone();
        self.worker
            .write("mirror the source view", move |tx, db| {
                let mirrored = mirror::all(tx, db, &run, viewed)?;
                feed::note_lapses(tx)?;
                Ok(mirrored)
            })
            .await
    }

    async fn unknown(&self, selection: Selection) -> Result<Vec<String>> {
        self.worker.read("look up connections", move |db| plan::unknown(db, &selection)).await
    }

    async fn plan(&self, run: &Run, rules: PlanRules) -> Result<PlanCounts> {
        let run = run.clone();
        self.worker.write("plan the run", move |tx, _| Ok(plan::plan(tx, &run, &rules)?)).await
    }

    async fn skipped(
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

    async fn claim(
        &self,
        run: &Run,
        rules: PlanRules,
        limit: usize,
        lease_until: Timestamp,
    ) -> Result<Claims> {
        let run = run.clone();
        self.worker
            .apply("claim connections", move |tx, db| plan::claim(tx, db, &run, &rules, limit, lease_until))
            .await
    }

    async fn claim_again(
        &self,
        run: &Run,
        rules: PlanRules,
        limit: usize,
        lease_until: Timestamp,
    ) -> Result<Claims> {
        let run = run.clone();
        self.worker
            .apply("claim connections again", move |tx, db| {
                plan::claim_again(tx, db, &run, &rules, limit, lease_until)
            })
            .await
    }

    async fn close_retries(&self, run: &Run) -> Result<Vec<Finished>> {
        let run = run.key;
        self.worker.write("close retries", move |tx, db| Ok(runs::close_retries(tx, db, run)?)).await
    }

    async fn postpone(&self, run: &Run, until: Timestamp) -> Result<u64> {
        let run = run.key;
        self.worker.write("postpone connections", move |tx, _| Ok(plan::postpone(tx, run, until)?)).await
    }

    async fn reset_failures(&self, run: &Run) -> Result<()> {
        let run = run.key;
        self.worker.write("reset failures", move |tx, _| Ok(runs::reset_failures(tx, run)?)).await
    }

    async fn left_over(&self) -> Result<LeftOver> {
        self.worker.read("count what is left", plan::left_over).await
    }

    async fn renew(&self, run: &Run, until: Timestamp) -> Result<()> {
        let run = run.key;
        self.worker.apply("renew leases", move |tx, _| Ok(liveness::renew(tx, run, until)?)).await
    }

    async fn accounts(&self, lease: &Lease, now: Timestamp) -> Result<Vec<StoredAccount>> {
        let connection = lease.connection;
        self.worker.read("read accounts", move |db| accounts::load(db, connection, now)).await
    }

    async fn save_overview(
        &self,
        lease: &Lease,
        overview: Overview,
        now: Timestamp,
    ) -> Result<OverviewSaved> {
        let lease = lease.clone();
        self.worker
            .apply("write accounts", move |tx, db| {
                liveness::held(tx, &lease)?;
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

    async fn adopt(
        &self,
        lease: &Lease,
        user: TinkUser,
        consents: Vec<CredentialsId>,
        accounts: Vec<AccountId>,
    ) -> Result<bool> {
        let lease = lease.clone();
        self.worker
            .write("name the user anew", move |tx, _| {
                liveness::held(tx, &lease)?;
                Ok(owners::adopt(tx, &lease, &user, &consents, &accounts)?)
            })
            .await
    }

    async fn consents(&self, lease: &Lease) -> Result<Vec<StoredConsent>> {
        let connection = lease.connection;
        self.worker.read("read consents", move |db| consents::load(db, connection)).await
    }

    async fn warned(&self, lease: &Lease, warnings: Vec<ConsentWarning>, now: Timestamp) -> Result<()> {
        let lease = lease.clone();
        self.worker
            .write("remember consent warnings", move |tx, db| {
                liveness::held(tx, &lease)?;
                consents::warned(tx, lease.connection, &warnings)?;
                Ok(warnings.iter().try_for_each(|new| events::consent_ends(tx, db, &lease, new, now))?)
            })
            .await
    }

    async fn note_anomalies(
        &self,
        lease: &Lease,
        met: Vec<NotedAnomaly>,
        now: Timestamp,
    ) -> Result<Vec<NotedAnomaly>> {
        let lease = lease.clone();
        let note = move |tx: &Connection, _: &Context| {
            liveness::held(tx, &lease)?;
            Ok(anomalies::note(tx, lease.connection, met, now)?)
        };
        let (news, mut durable) = self.worker.applied("note odd answers", note).await?;
        // They are told of once.
        if !news.is_empty() {
            durable.confirmed().await?;
        }
        Ok(news)
    }

    async fn rows(&self, account: i64, query: RowQuery) -> Result<Vec<StoredRow>> {
        self.worker.read("read transactions", move |db| rows::load(db, account, &query)).await
    }

    async fn live_rows(&self, query: LiveQuery) -> Result<Vec<LiveRow>> {
        self.worker.read("read transactions", move |db| rows::live(db, &query)).await
    }

    async fn commit(&self, lease: &Lease, commit: RowCommit) -> Result<u64> {
        let lease = lease.clone();
        let what = if commit.checkpoint.is_some() { "write the end of a walk" } else { "write transactions" };
        let commit = move |tx: &Connection, db: &Context| {
            liveness::held(tx, &lease)?;
            let quarantined = rows::commit(tx, lease.run, &commit)?;
            events::committed(tx, db, &lease, &commit)?;
            Ok(quarantined)
        };
        let (quarantined, mut durable) = self.worker.applied(what, commit).await?;
        // They are told of once.
        if quarantined > 0 {
            durable.confirmed().await?;
        }
        Ok(quarantined)
    }

    async fn balance_checks(&self, accounts: Vec<i64>) -> Result<Vec<BalanceCheck>> {
        self.worker.read("read balances", move |db| balances::balance_checks(db, &accounts)).await
    }

    async fn record(&self, lease: &Lease, record: Record) -> Result<Recorded> {
        let lease = lease.clone();
        let record = move |tx: &Connection, db: &Context| {
            let ours = liveness::held(tx, &lease).is_ok();
            Ok(runs::record(tx, db, &lease, &record, ours)?)
        };
        let (finished, durable) = self.worker.applied("record the outcome", record).await?;
        Ok(Recorded { finished, durable })
    }

    async fn may_ask_bank(
        &self,
        lease: &Lease,
        consent: &CredentialsId,
        now: Timestamp,
        rest: SignedDuration,
    ) -> Result<bool> {
        let (lease, consent) = (lease.clone(), consent.clone());
        self.worker
            .write("note what the bank is asked", move |tx, db| {
                liveness::held(tx, &lease)?;
                // A rehearsal asks nobody.
                Ok(!db.rehearsal && consents::may_ask_bank(tx, lease.connection, &consent, now, rest)?)
            })
            .await
    }

    async fn tokens(&self, lease: &Lease) -> Result<Option<EncryptedTokens>> {
        let connection = lease.connection;
        let read = move |db: &Connection| tokens::load(db, connection);
        let (tokens, mut durable) = self.worker.look("read tokens", read).await?;
        // A token that could be gone after a power cut must not be used.
        durable.confirmed().await?;
        Ok(tokens)
    }

    async fn begin_rotation(&self, lease: &Lease) -> Result<Option<RotationBegin>> {
        let lease = lease.clone();
        self.worker
            .write("note the use of a token", move |tx, db| {
                liveness::held(tx, &lease)?;
                Ok(tokens::ask(tx, db, &lease)?)
            })
            .await
    }

    async fn finish_rotation(&self, asking: RotationBegin, renewal: Renewal, now: Timestamp) -> Result<bool> {
        self.worker
            .write("write new tokens", move |tx, _| Ok(tokens::renewed(tx, &asking, &renewal, now)?))
            .await
    }

    async fn troubled_banks(&self, run: &Run, least: u64) -> Result<Vec<BankTrouble>> {
        let run = run.key;
        self.worker.read("look for banks in trouble", move |db| runs::troubled_banks(db, run, least)).await
    }

    async fn probe_user(&self, except: Option<TinkUser>) -> Result<Option<TinkUser>> {
        self.worker.read("find a user to probe with", move |db| runs::probe_user(db, except.as_ref())).await
    }

    async fn totals(&self, run: &Run) -> Result<RunTotals> {
        let run = run.key;
        self.worker.read("add up the run", move |db| runs::totals(db, run)).await
    }

    async fn finish_run(&self, run: &Run, end: RunEnd) -> Result<()> {
        let run = run.clone();
        self.worker.write("finish the run", move |tx, db| Ok(runs::finish(tx, db, &run, &end)?)).await
    }
}

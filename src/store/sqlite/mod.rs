//! The SQLite store: one connection on a thread of its own runs every statement of a pass, in order.
//! Writes are short immediate transactions. WAL with full syncs: what a reader has seen survives a
//! power cut, so a change number is never given out twice.
//!
//! A rehearsal opens the file read-only and lays temporary tables over ours; the same statements run,
//! and nothing of the file changes.

mod accounts;
mod balances;
mod codec;
mod events;
pub mod export;
pub mod forget;
pub mod import;
pub mod links;
mod merge;
mod mirror;
pub mod own;
mod plan;
pub mod prune;
pub mod quarantine;
pub mod reads;
mod rows;
mod runs;
mod schema;
pub mod source;
mod thread;
mod tokens;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OpenFlags};

use super::types::{
    Asking, Claims, ConsentStep, Lease, Ledger, LeftOver, LiveQuery, LiveRow, NewRun, Outgoing, Overview,
    OverviewSaved, PlanCounts, PlanRules, Record, Renewal, RowCommit, RowQuery, Run, RunEnd, RunTotals,
    SealedTokens, Selection, Skipped, StoredAccount, StoredRow,
};
use super::{Result, Store, StoreError};
use crate::domain::connection::{SourceRow, TinkUser};
use crate::domain::event::{BankTrouble, Finished};
use crate::domain::hook::HookKind;
use crate::domain::ids::CredentialsId;
use crate::failpoint;
use thread::{Db, FileId, Worker};

/// SQLite waits this long for a lock; `sync.outage_patience` begins after it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

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
        failpoint::around("create the file", || create_private(path))?;
        // Two spellings of one path must find each other's lock files.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut db = Db::new(connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?, path, patience);
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
        Ok(Self { worker: Worker::start(db) })
    }

    /// Closes the file once all that was asked for is done, so that nothing is left beside it.
    pub async fn close(self) {
        self.worker.close().await;
    }

    /// From now on events of these kinds are written down, as somebody listens; a rehearsal tells nobody.
    pub async fn listen(&self, kinds: Vec<HookKind>) {
        self.worker.configure(move |db| db.listened.replace(kinds)).await;
    }

    /// The next events of runs that have ended, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be read.
    pub async fn outgoing(&self, limit: u32) -> Result<Vec<Outgoing>> {
        self.worker.read("read events", move |db| events::outgoing(db, limit)).await
    }

    /// Forgets events that are out.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be written.
    pub async fn forget_events(&self, keys: Vec<i64>) -> Result<()> {
        self.worker.write("forget events", move |tx, _| Ok(events::forget(tx, &keys)?)).await
    }

    /// Opens the store for a rehearsal: nothing of the file changes, and a missing file stays missing.
    ///
    /// # Errors
    /// [`StoreError::Older`] names the migrations that a run would apply; others as for [`Self::open`].
    pub fn open_dry(path: &Path, patience: Duration, now: Timestamp) -> Result<Self> {
        if !path.exists() {
            let mut conn = Connection::open_in_memory().map_err(|e| thread::explain("rehearse", path, &e))?;
            schema::migrate(&mut conn, now.as_millisecond())
                .map_err(|e| thread::explain("rehearse", path, &e))?;
            let mut db = Db::new(conn, path, patience);
            db.rehearsal = true;
            return Ok(Self { worker: Worker::start(db) });
        }
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut db = Db::new(connect_read_only(path)?, path, patience);
        db.rehearsal = true;
        refuse_newer(&db)?;
        refuse_older(&db)?;
        db.retry_busy("rehearse", |conn| {
            schema::shadow(conn)?;
            runs::shadow_shared(conn, now)
        })?;
        Ok(Self { worker: Worker::start(db) })
    }
}

/// Opens an existing store for statements that only read. Where the user may write the file it is opened
/// for writing all the same: only then does SQLite tidy up the files beside a WAL database at the end.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Older`], or as for [`SqliteStore::open`].
pub fn open_reader(path: &Path) -> Result<Connection> {
    if !path.exists() {
        return Err(StoreError::Missing { path: path.display().to_string() });
    }
    let tidy = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).ok().filter(|conn| {
        let writable = conn.is_readonly("main").is_ok_and(|read_only| !read_only);
        // A damaged file is one either way, and only a writer leaves nothing beside it.
        let is_read = schema::version(conn).map_or_else(|error| is_damage(&error), |_| true);
        writable && conn.pragma_update(None, "query_only", true).is_ok() && is_read
    });
    let conn = tidy.map_or_else(|| connect_read_only(path), Ok)?;
    let db = Db::new(conn, path, Duration::ZERO);
    refuse_newer(&db)?;
    refuse_older(&db)?;
    Ok(db.conn)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Runs `read` on a connection of [`open_reader`], naming the step and the file if it fails.
///
/// # Errors
/// [`StoreError`] as SQLite reports it.
pub fn read<T>(
    path: &Path,
    what: &'static str,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T> {
    read(&open_reader(path)?).map_err(|e| thread::explain(what, path, &e))
}

fn refuse_newer(db: &Db) -> Result<()> {
    let found =
        schema::version(&db.conn).map_err(|e| thread::explain("read the schema version", &db.path, &e))?;
    if found > schema::KNOWN {
        let path = db.path.display().to_string();
        return Err(StoreError::Newer { path, found, known: schema::KNOWN });
    }
    Ok(())
}

fn refuse_older(db: &Db) -> Result<()> {
    let found =
        schema::version(&db.conn).map_err(|e| thread::explain("read the schema version", &db.path, &e))?;
    if found < schema::KNOWN {
        let path = db.path.display().to_string();
        return Err(StoreError::Older { path, found, pending: schema::pending(found) });
    }
    Ok(())
}

/// Money data: a new file is readable by its owner only, whatever the umask.
fn create_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map(drop).map_err(|e| {
        let hint = match e.kind() {
            std::io::ErrorKind::NotFound => {
                "its directory does not exist: create it, or change store.url".to_owned()
            }
            std::io::ErrorKind::PermissionDenied => crate::identity::access_hint(),
            _ => "see store.url".to_owned(),
        };
        StoreError::Unusable {
            what: "open the store",
            path: path.display().to_string(),
            detail: format!("{e}; {hint}"),
        }
    })
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let explain = |e: &rusqlite::Error| thread::explain("open the store", path, e);
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|e| explain(&e))?;
    conn.busy_timeout(BUSY_TIMEOUT).map_err(|e| explain(&e))?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Opens a file read-only, also where its directory may not be written: SQLite then cannot make the
/// shared-memory file of a WAL database, and if there is no write-ahead log either, the file by itself
/// is complete and can be read as it stands.
pub(crate) fn connect_read_only(path: &Path) -> Result<Connection> {
    let explain = |e: &rusqlite::Error| thread::explain("open read-only", path, e);
    let usable = |conn: &Connection| {
        conn.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0))
    };
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let Err(error) = usable(&conn) else { return Ok(conn) };
    let is_empty = |suffix: &str| {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        std::fs::metadata(PathBuf::from(beside)).map_or(true, |m| m.len() == 0)
    };
    let log_is_empty = is_empty("-wal") && is_empty("-journal");
    let cannot_share = matches!(
        error.sqlite_error_code(),
        Some(
            rusqlite::ErrorCode::CannotOpen
                | rusqlite::ErrorCode::ReadOnly
                | rusqlite::ErrorCode::PermissionDenied
        )
    );
    if !(cannot_share && log_is_empty) {
        return Err(explain(&error));
    }
    let uri = format!("file:{}?mode=ro&immutable=1", percent(path));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(uri, flags).map_err(|e| explain(&e))?;
    usable(&conn).map_err(|e| explain(&e))?;
    Ok(conn)
}

/// A path as it must stand in an SQLite URI.
fn percent(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

impl Store for SqliteStore {
    async fn begin_run(&self, run: NewRun) -> Result<Run> {
        self.worker.write("begin the run", move |tx, db| runs::begin(tx, db, &run)).await
    }

    async fn mirror(&self, run: &Run, rows: Vec<SourceRow>) -> Result<()> {
        let run = run.clone();
        self.worker.write("mirror the source view", move |tx, _| Ok(mirror::batch(tx, &run, &rows)?)).await
    }

    async fn mirror_done(&self) -> Result<()> {
        self.worker.write("end the mirroring", |tx, _| Ok(mirror::done(tx)?)).await
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
            .write("claim connections", move |tx, db| plan::claim(tx, db, &run, &rules, limit, lease_until))
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
            .write("claim connections again", move |tx, db| {
                plan::claim_again(tx, db, &run, &rules, limit, lease_until)
            })
            .await
    }

    async fn settle(&self, run: &Run) -> Result<Vec<Finished>> {
        let run = run.key;
        self.worker.write("settle the run", move |tx, db| Ok(runs::settle(tx, db, run)?)).await
    }

    async fn postpone(&self, run: &Run, until: Timestamp) -> Result<u64> {
        let run = run.key;
        self.worker.write("postpone connections", move |tx, _| Ok(plan::postpone(tx, run, until)?)).await
    }

    async fn forgive(&self, run: &Run) -> Result<()> {
        let run = run.key;
        self.worker.write("forgive failures", move |tx, _| Ok(runs::forgive(tx, run)?)).await
    }

    async fn left_over(&self) -> Result<LeftOver> {
        self.worker.read("count what is left", plan::left_over).await
    }

    async fn renew(&self, run: &Run, until: Timestamp) -> Result<()> {
        let run = run.key;
        self.worker.write("renew leases", move |tx, _| Ok(runs::renew(tx, run, until)?)).await
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
            .write("write accounts", move |tx, _| {
                runs::held(tx, &lease)?;
                Ok(accounts::save(tx, lease.run, lease.connection, &overview, now)?)
            })
            .await
    }

    async fn warned(
        &self,
        lease: &Lease,
        steps: Vec<ConsentStep>,
        now: Timestamp,
    ) -> Result<Vec<ConsentStep>> {
        let lease = lease.clone();
        self.worker
            .write("remember consent warnings", move |tx, db| {
                runs::held(tx, &lease)?;
                let new = accounts::warned(tx, lease.connection, steps)?;
                for step in &new {
                    events::consent_ends(tx, db, &lease, step, now)?;
                }
                Ok(new)
            })
            .await
    }

    async fn rows(&self, account: i64, query: RowQuery) -> Result<Vec<StoredRow>> {
        self.worker.read("read transactions", move |db| rows::load(db, account, &query)).await
    }

    async fn live_rows(&self, query: LiveQuery) -> Result<Vec<LiveRow>> {
        self.worker.read("read transactions", move |db| rows::live(db, &query)).await
    }

    async fn commit(&self, lease: &Lease, commit: RowCommit) -> Result<u64> {
        let lease = lease.clone();
        let what = if commit.seal.is_some() { "write the end of a walk" } else { "write transactions" };
        self.worker
            .write(what, move |tx, db| {
                runs::held(tx, &lease)?;
                let quarantined = rows::commit(tx, lease.run, &commit)?;
                events::committed(tx, db, &lease, &commit)?;
                Ok(quarantined)
            })
            .await
    }

    async fn ledgers(&self, accounts: Vec<i64>) -> Result<Vec<Ledger>> {
        self.worker.read("read balances", move |db| balances::ledgers(db, &accounts)).await
    }

    async fn record(&self, lease: &Lease, record: Record) -> Result<Option<Finished>> {
        let lease = lease.clone();
        self.worker
            .write("record the outcome", move |tx, db| {
                let ours = runs::held(tx, &lease).is_ok();
                Ok(runs::record(tx, db, &lease, &record, ours)?)
            })
            .await
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
                runs::held(tx, &lease)?;
                // A rehearsal asks nobody.
                Ok(!db.rehearsal && accounts::may_ask_bank(tx, lease.connection, &consent, now, rest)?)
            })
            .await
    }

    async fn tokens(&self, lease: &Lease) -> Result<Option<SealedTokens>> {
        let connection = lease.connection;
        self.worker.read("read tokens", move |db| tokens::load(db, connection)).await
    }

    async fn ask_tokens(&self, lease: &Lease) -> Result<Option<Asking>> {
        let lease = lease.clone();
        self.worker
            .write("note the use of a token", move |tx, db| {
                runs::held(tx, &lease)?;
                Ok(tokens::ask(tx, db, &lease)?)
            })
            .await
    }

    async fn renew_tokens(&self, asking: Asking, renewal: Renewal, now: Timestamp) -> Result<bool> {
        self.worker
            .write("write new tokens", move |tx, _| Ok(tokens::renewed(tx, &asking, &renewal, now)?))
            .await
    }

    async fn troubled_banks(&self, run: &Run, least: u64) -> Result<Vec<BankTrouble>> {
        let run = run.key;
        self.worker.read("look for banks in trouble", move |db| runs::troubled_banks(db, run, least)).await
    }

    async fn probe_user(&self) -> Result<Option<TinkUser>> {
        self.worker.read("find a user to probe with", runs::probe_user).await
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

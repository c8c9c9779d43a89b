//! A database session with its context, and how it waits for locks and servers. Contains no SQL except the
//! statements that begin and end a transaction.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::postgres::connect::Target;
use super::postgres::session::Pg;
use super::sqlite::explain::{explain, is_busy};
use super::sqlite::regular::FileId;
use super::{Db, Fail, postgres};
use crate::domain::hook::HookKind;
use crate::failpoint;
use crate::store::types::Plan;
use crate::store::{Result, StoreError};

/// How long SQLite itself waits for a lock; `sync.outage_patience` begins after it.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two attempts while the file is locked.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// The pause before a server is tried again.
const SERVER_PAUSE: Duration = Duration::from_millis(500);

/// An open database of either kind.
#[derive(Debug)]
pub(crate) enum Conn {
    Sqlite(Connection),
    Postgres(Box<Pg>),
}

/// A connection and its [`Context`].
#[derive(Debug)]
pub(crate) struct DbSession {
    pub conn: Conn,
    pub context: Context,
}

/// A value that the threads of one store share.
#[derive(Debug, Default)]
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    /// Locks the value, ignoring poisoning.
    pub(crate) fn get(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, value: T) {
        *self.get() = value;
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A deferred change of the plan.
struct Effect(Box<dyn FnOnce(&mut Plan) + Send>);

impl std::fmt::Debug for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Effect")
    }
}

/// What jobs need besides the connection.
#[derive(Debug)]
pub(crate) struct Context {
    /// The database file; empty for a server.
    pub path: PathBuf,
    /// The server; `None` for a file.
    pub target: Option<Arc<Target>>,
    /// Whether writes go to temporary tables that shadow ours.
    pub rehearsal: bool,
    /// The identity of the file, for a store that is opened for writing.
    pub file: Option<FileId>,
    /// The runs of this process by id, each with its lock file; `None` in a rehearsal and on a server.
    pub run_locks: RefCell<HashMap<String, Option<File>>>,
    /// The kinds of events that are recorded.
    pub listened: Shared<Vec<HookKind>>,
    /// The client id of the Tink app that this run's data come from.
    pub client_id: Shared<Option<String>>,
    /// The connections that are due in this run.
    pub plan: Shared<Plan>,
    /// The number of times the sessions have waited for the server.
    pub trips: Arc<AtomicU64>,
    /// Changes of the plan to apply once the open transaction has succeeded.
    effects: RefCell<Vec<Effect>>,
    patience: Duration,
    /// Whether it was logged that the server is waited for, until it answers again.
    waits: Arc<AtomicBool>,
}

/// What another session with the same server shares with all others of this process.
#[derive(Clone, Debug)]
pub(crate) struct OnServer {
    target: Arc<Target>,
    patience: Duration,
    waits: Arc<AtomicBool>,
}

/// Logs that a database is waited for.
pub(crate) fn log_wait(patience: Duration, error: &impl std::fmt::Display) {
    let patience = humantime::format_duration(patience);
    tracing::warn!("cannot go on yet, waiting for up to {patience} (sync.outage_patience): {error}");
}

impl std::ops::Deref for DbSession {
    type Target = Context;
    fn deref(&self) -> &Context {
        &self.context
    }
}

impl std::ops::DerefMut for DbSession {
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}

impl DbSession {
    /// A session with a server.
    pub(crate) fn of_server(mut pg: Pg, context: Context) -> Self {
        pg.trips = Arc::clone(&context.trips);
        Self { conn: Conn::Postgres(Box::new(pg)), context }
    }

    /// The connection, for statements.
    pub(crate) fn db(&self) -> Db<'_> {
        match &self.conn {
            Conn::Sqlite(conn) => Db::Sqlite(conn),
            Conn::Postgres(pg) => Db::Postgres(pg),
        }
    }

    /// Begins a write transaction. Only this step can meet a lock, and it is retried.
    pub(crate) fn begin_write(&mut self, what: &'static str) -> Result<()> {
        let context = &self.context;
        match &mut self.conn {
            Conn::Sqlite(conn) => {
                retry_busy(conn, context, what, |conn| Ok(conn.execute_batch("BEGIN IMMEDIATE")?))
            }
            Conn::Postgres(pg) => begin(context, pg, what, Pg::begin_alone),
        }
    }

    /// Begins a transaction for reading a file.
    pub(crate) fn begin_read(&mut self, what: &'static str) -> Result<()> {
        let Conn::Sqlite(conn) = &mut self.conn else { return Ok(()) };
        retry_busy(conn, &self.context, what, |conn| Ok(conn.execute_batch("BEGIN")?))
    }

    /// Whether a transaction is open on a file. Some errors end it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(&self.conn, Conn::Sqlite(conn) if !conn.is_autocommit())
    }

    /// Runs a transaction-control statement on a file.
    pub(crate) fn control(&self, sql: &'static str) -> std::result::Result<(), Fail> {
        let Conn::Sqlite(conn) = &self.conn else { return Err(Fail::of_other_engine()) };
        Ok(conn.prepare_cached(sql)?.execute([]).map(drop)?)
    }

    /// Ends a transaction with its changes.
    pub(crate) fn commit(&self) -> std::result::Result<(), Fail> {
        match &self.conn {
            Conn::Sqlite(_) => self.control("COMMIT"),
            Conn::Postgres(pg) => pg.commit(),
        }
    }

    pub(crate) fn rollback(&self) {
        match &self.conn {
            // After some errors SQLite has already rolled back, and this fails; that is fine.
            Conn::Sqlite(conn) => drop(conn.execute_batch("ROLLBACK")),
            Conn::Postgres(pg) => pg.rollback(),
        }
    }

    /// Runs `work` in one write transaction.
    pub(crate) fn write<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(Db<'_>, &Context) -> std::result::Result<T, Fail>,
    ) -> Result<T> {
        self.begin_write(what)?;
        let commit = || failpoint::around(what, || self.commit());
        let done = work(self.db(), &self.context).and_then(|value| commit().map(|()| value));
        if done.is_err() {
            self.rollback();
        }
        self.context.is_in_place(what)?;
        done.map_err(|fail| self.context.explain(what, fail))
    }

    /// Reads the current state, even while another process writes.
    pub(crate) fn look<T>(
        &mut self,
        what: &'static str,
        work: impl Fn(Db<'_>) -> std::result::Result<T, Fail>,
    ) -> Result<T> {
        let context = &self.context;
        match &mut self.conn {
            Conn::Sqlite(conn) => retry_busy(conn, context, what, |conn| work(Db::Sqlite(conn))),
            Conn::Postgres(pg) => {
                begin(context, pg, what, |pg| pg.begin(" ISOLATION LEVEL REPEATABLE READ READ ONLY"))?;
                let found = work(Db::Postgres(pg));
                pg.rollback();
                found.map_err(|fail| context.explain(what, fail))
            }
        }
    }
}

/// Repeats `step` while the file is locked, for up to [`BUSY_TIMEOUT`] plus the patience. (Some statements
/// fail at once instead of waiting.)
pub(crate) fn retry_busy<T>(
    conn: &mut Connection,
    context: &Context,
    what: &'static str,
    mut step: impl FnMut(&mut Connection) -> std::result::Result<T, Fail>,
) -> Result<T> {
    let (began, mut logged) = (Instant::now(), false);
    loop {
        let fail = match step(conn) {
            Ok(done) => return Ok(done),
            Err(fail) => fail,
        };
        let again = is_busy(&fail) && began.elapsed() < BUSY_TIMEOUT + context.patience;
        let error = context.explain(what, fail);
        if !again {
            return Err(error);
        }
        if !logged && began.elapsed() >= BUSY_TIMEOUT {
            log_wait(context.patience, &error);
            logged = true;
        }
        std::thread::sleep(BUSY_PAUSE);
    }
}

/// Begins a transaction on a server, reconnecting if the session has ended.
fn begin(context: &Context, pg: &Pg, what: &'static str, begin: impl FnOnce(&Pg)) -> Result<()> {
    if pg.is_lost() {
        context.patiently(what, || pg.reconnect())?;
    }
    begin(pg);
    Ok(())
}

impl Context {
    pub(crate) fn new(path: &Path, patience: Duration) -> Self {
        Self {
            path: path.to_owned(),
            target: None,
            rehearsal: false,
            file: None,
            run_locks: RefCell::default(),
            listened: Shared::default(),
            client_id: Shared::default(),
            plan: Shared::default(),
            trips: Arc::default(),
            effects: RefCell::default(),
            patience,
            waits: Arc::default(),
        }
    }

    /// The context of a store on a server.
    pub(crate) fn of_server(target: &Arc<Target>, patience: Duration) -> Self {
        Self { target: Some(Arc::clone(target)), ..Self::new(Path::new(""), patience) }
    }

    /// What a session of its own with the same server needs; `None` for a file.
    pub(crate) fn on_server(&self) -> Option<OnServer> {
        let target = Arc::clone(self.target.as_ref()?);
        Some(OnServer { target, patience: self.patience, waits: Arc::clone(&self.waits) })
    }

    /// A context for such a session.
    pub(crate) fn another(server: &OnServer) -> Self {
        let OnServer { target, patience, waits } = server;
        Self { waits: Arc::clone(waits), ..Self::of_server(target, *patience) }
    }

    /// A context for another session with the same store, without pending effects and held locks.
    pub(crate) fn again(&self) -> Self {
        Self {
            path: self.path.clone(),
            target: self.target.clone(),
            rehearsal: self.rehearsal,
            file: self.file,
            run_locks: RefCell::default(),
            listened: self.listened.clone(),
            client_id: self.client_id.clone(),
            plan: self.plan.clone(),
            trips: Arc::clone(&self.trips),
            effects: RefCell::default(),
            patience: self.patience,
            waits: Arc::clone(&self.waits),
        }
    }

    /// Applies `change` to the plan once the transaction succeeds; one that is undone may be retried.
    pub(crate) fn then(&self, change: impl FnOnce(&mut Plan) + Send + 'static) {
        self.effects.borrow_mut().push(Effect(Box::new(change)));
    }

    /// Applies the pending effects after a transaction has succeeded.
    pub(crate) fn succeeded(&self) {
        self.log_answer();
        let effects = self.effects.take();
        if !effects.is_empty() {
            let mut plan = self.plan.get();
            for Effect(change) in effects {
                change(&mut plan);
            }
        }
    }

    /// Discards the pending effects after a transaction has failed.
    pub(crate) fn failed(&self) {
        self.effects.borrow_mut().clear();
    }

    /// Repeats `step` while the server is away, not ready or contended, until the patience is over.
    pub(crate) fn patiently<T>(
        &self,
        what: &'static str,
        mut step: impl FnMut() -> std::result::Result<T, Fail>,
    ) -> Result<T> {
        let began = Instant::now();
        loop {
            let fail = match step() {
                Ok(done) => {
                    self.log_answer();
                    return Ok(done);
                }
                Err(fail) => fail,
            };
            let again = postgres::explain::remedy(&fail) != postgres::explain::Remedy::None
                && began.elapsed() < self.patience;
            let error = self.explain(what, fail);
            if !again {
                return Err(error);
            }
            self.log_wait(&error);
            std::thread::sleep(SERVER_PAUSE);
        }
    }

    /// Logs that the server is waited for, once for all sessions until it answers again.
    pub(crate) fn log_wait(&self, error: &StoreError) {
        if !self.waits.swap(true, Ordering::Relaxed) {
            log_wait(self.patience, error);
        }
    }

    /// Logs that the server answers again, if it was waited for.
    fn log_answer(&self) {
        if self.waits.swap(false, Ordering::Relaxed) {
            tracing::warn!("PostgreSQL answers again");
        }
    }

    /// How long to wait for a database that is locked or away.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// Fails if the file was deleted, moved or replaced, so that what was written is lost.
    pub(crate) fn is_in_place(&self, what: &'static str) -> Result<()> {
        // SQLite keeps writing to an unlinked file.
        if self.file.is_none_or(|file| FileId::of(&self.path) == Some(file)) {
            return Ok(());
        }
        Err(StoreError::Unusable {
            what,
            path: self.path.display().to_string(),
            detail: "the file was deleted, moved or replaced while this run was on, and what it wrote since then is lost; put the store back, or let the next run begin a new one".to_owned(),
            source: None,
        })
    }

    /// Turns a failure into an error that names the step and the database.
    pub(crate) fn explain(&self, what: &'static str, fail: Fail) -> StoreError {
        match &self.target {
            None => explain(what, &self.path, fail),
            Some(target) => postgres::explain::explain(what, target, fail),
        }
    }
}

#[cfg(test)]
impl DbSession {
    pub(crate) fn new(conn: Connection, path: &Path, patience: Duration) -> Self {
        Self { conn: Conn::Sqlite(conn), context: Context::new(path, patience) }
    }

    /// The SQLite connection, for tests of the file's contents.
    pub(crate) fn file(&self) -> &Connection {
        match &self.conn {
            Conn::Sqlite(conn) => conn,
            Conn::Postgres(pg) => panic!("{pg:?} is no file"),
        }
    }

    /// As [`Self::file`], mutable.
    pub(crate) fn file_mut(&mut self) -> &mut Connection {
        match &mut self.conn {
            Conn::Sqlite(conn) => conn,
            Conn::Postgres(pg) => panic!("{pg:?} is no file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sessions_of_a_process_know_of_one_outage() {
        let target = Arc::new(Target::parse("postgres://db/bank", &|_| None).unwrap());
        let one = Context::of_server(&target, Duration::from_secs(9));
        let apart = Context::another(&one.on_server().unwrap());
        assert_eq!(apart.patience(), Duration::from_secs(9));
        for other in [&one.again(), &apart, &apart.again()] {
            assert!(Arc::ptr_eq(&one.waits, &other.waits));
        }
        assert!(Context::new(Path::new("store.db"), Duration::ZERO).on_server().is_none());
    }

    #[test]
    fn failed_work_leaves_no_transaction_open_even_if_the_file_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let mut session = DbSession::new(Connection::open(&path).unwrap(), &path, Duration::ZERO);
        session.context.file = FileId::of(&path);
        let failed = session.write("write", |_, _| {
            std::fs::remove_file(&path).unwrap();
            Err::<(), _>(Fail::NoRow)
        });
        assert!(matches!(failed, Err(StoreError::Unusable { .. })), "{failed:?}");
        assert!(!session.is_open());
    }
}

//! The connection with what belongs to it, and how it is waited for. It knows no statement of its own but those that begin
//! and end a transaction.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
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

/// SQLite waits this long for a lock; `sync.outage_patience` begins after it.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait between two tries while the file is locked.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait before a server is tried again.
const SERVER_PAUSE: Duration = Duration::from_millis(500);

/// An open database of either kind.
#[derive(Debug)]
pub(crate) enum Conn {
    Sqlite(Connection),
    Postgres(Box<Pg>),
}

/// The connection and what belongs to it.
#[derive(Debug)]
pub(crate) struct DbSession {
    pub conn: Conn,
    pub context: Context,
}

/// What the threads of one store know together.
#[derive(Debug, Default)]
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    /// The value, alone.
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

/// A change of the plan.
struct Effect(Box<dyn FnOnce(&mut Plan) + Send>);

impl std::fmt::Debug for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Effect")
    }
}

/// What statements need to know beside the transaction.
#[derive(Debug)]
pub(crate) struct Context {
    /// The database file; nothing for a server.
    pub path: PathBuf,
    /// The server; nothing for a file.
    pub target: Option<Arc<Target>>,
    /// Writes go to temporary tables laid over ours.
    pub rehearsal: bool,
    /// Which file that is, for a store that is written.
    pub file: Option<FileId>,
    /// The runs of this process by id, with the lock files it holds; a rehearsal holds none.
    pub run_locks: RefCell<HashMap<String, Option<File>>>,
    /// The kinds of events that are written down.
    pub listened: Shared<Vec<HookKind>>,
    /// The Tink app that the data of this run come from.
    pub client_id: Shared<Option<String>>,
    /// Who is due in this run.
    pub plan: Shared<Plan>,
    /// How often the sessions with a server have waited for it.
    pub trips: Arc<AtomicU64>,
    /// What is to be done with the plan once the transaction that is on has succeeded.
    effects: RefCell<Vec<Effect>>,
    patience: Duration,
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

    /// Begins a transaction that writes; only this can meet a lock, and is repeated.
    pub(crate) fn begin_write(&mut self, what: &'static str) -> Result<()> {
        let context = &self.context;
        match &mut self.conn {
            Conn::Sqlite(conn) => {
                retry_busy(conn, context, what, |conn| Ok(conn.execute_batch("BEGIN IMMEDIATE")?))
            }
            Conn::Postgres(pg) => begin(context, pg, what, Pg::begin_alone),
        }
    }

    /// Begins a transaction that only reads.
    pub(crate) fn begin_read(&mut self, what: &'static str) -> Result<()> {
        let context = &self.context;
        match &mut self.conn {
            Conn::Sqlite(conn) => retry_busy(conn, context, what, |conn| Ok(conn.execute_batch("BEGIN")?)),
            Conn::Postgres(pg) => begin(context, pg, what, |pg| pg.begin(" ISOLATION LEVEL REPEATABLE READ")),
        }
    }

    /// Whether a transaction is open. Some errors end it.
    pub(crate) fn is_open(&self) -> bool {
        match &self.conn {
            Conn::Sqlite(conn) => !conn.is_autocommit(),
            Conn::Postgres(pg) => pg.is_open(),
        }
    }

    /// A statement that belongs to the course of a transaction of a file's.
    pub(crate) fn control(&self, sql: &'static str) -> std::result::Result<(), Fail> {
        match &self.conn {
            Conn::Sqlite(conn) => Ok(conn.prepare_cached(sql)?.execute([]).map(drop)?),
            Conn::Postgres(pg) => pg.batch(sql),
        }
    }

    /// Ends a transaction with its changes.
    fn commit(&self) -> std::result::Result<(), Fail> {
        match &self.conn {
            Conn::Sqlite(_) => self.control("COMMIT"),
            Conn::Postgres(pg) => pg.commit(),
        }
    }

    /// Ends a transaction without its changes.
    pub(crate) fn rollback(&self) {
        match &self.conn {
            // After some errors SQLite has rolled back already; then there is nothing left to do.
            Conn::Sqlite(conn) => drop(conn.execute_batch("ROLLBACK")),
            Conn::Postgres(pg) => pg.rollback(),
        }
    }

    /// Runs `work` in one transaction that writes.
    pub(crate) fn write<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(Db<'_>, &Context) -> std::result::Result<T, Fail>,
    ) -> Result<T> {
        self.begin_write(what)?;
        let commit = || failpoint::around(what, || self.commit());
        let done = work(self.db(), &self.context).and_then(|value| commit().map(|()| value));
        self.context.is_in_place(what)?;
        done.map_err(|fail| {
            self.rollback();
            self.context.explain(what, fail)
        })
    }

    /// Reads what is there now, also while somebody else writes.
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

/// Repeats `step` while the file is locked, until SQLite's own time-out and patience are over. (A few statements fail at
/// once instead of waiting.)
pub(crate) fn retry_busy<T>(
    conn: &mut Connection,
    context: &Context,
    what: &'static str,
    mut step: impl FnMut(&mut Connection) -> std::result::Result<T, Fail>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        match step(conn) {
            Err(fail) if is_busy(&fail) && began.elapsed() < BUSY_TIMEOUT + context.patience => {
                std::thread::sleep(BUSY_PAUSE);
            }
            other => return other.map_err(|fail| context.explain(what, fail)),
        }
    }
}

/// Begins a transaction with a server, connecting anew if the session has ended.
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
        }
    }

    /// Of a store on a server.
    pub(crate) fn of_server(target: &Arc<Target>, patience: Duration) -> Self {
        Self { target: Some(Arc::clone(target)), ..Self::new(Path::new(""), patience) }
    }

    /// The same for another session with the same store.
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
        }
    }

    /// Changes the plan if the transaction succeeds: one that is undone may be tried again.
    pub(crate) fn then(&self, change: impl FnOnce(&mut Plan) + Send + 'static) {
        self.effects.borrow_mut().push(Effect(Box::new(change)));
    }

    /// Does what was left for the end of a transaction.
    pub(crate) fn succeeded(&self) {
        let effects = self.effects.take();
        if !effects.is_empty() {
            let mut plan = self.plan.get();
            for Effect(change) in effects {
                change(&mut plan);
            }
        }
    }

    /// Forgets it.
    pub(crate) fn failed(&self) {
        self.effects.borrow_mut().clear();
    }

    /// Repeats a step with a server that is not there, or not ready, until the patience is over.
    pub(crate) fn patiently<T>(
        &self,
        what: &'static str,
        mut step: impl FnMut() -> std::result::Result<T, Fail>,
    ) -> Result<T> {
        let began = Instant::now();
        loop {
            match step() {
                Err(fail)
                    if postgres::explain::remedy(&fail) != postgres::explain::Remedy::None
                        && began.elapsed() < self.patience =>
                {
                    std::thread::sleep(SERVER_PAUSE);
                }
                done => return done.map_err(|fail| self.explain(what, fail)),
            }
        }
    }

    /// How long it is waited for a database.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// Fails if what was written went to a file that nobody will read.
    pub(crate) fn is_in_place(&self, what: &'static str) -> Result<()> {
        // SQLite goes on writing to a file that has no name any more.
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

    /// A failure, with the step and the file it was about.
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

    /// The connection with a file, for the tests of what lies in one.
    pub(crate) fn file(&self) -> &Connection {
        match &self.conn {
            Conn::Sqlite(conn) => conn,
            Conn::Postgres(pg) => panic!("{pg:?} is no file"),
        }
    }

    /// The same, to be changed.
    pub(crate) fn file_mut(&mut self) -> &mut Connection {
        match &mut self.conn {
            Conn::Sqlite(conn) => conn,
            Conn::Postgres(pg) => panic!("{pg:?} is no file"),
        }
    }
}

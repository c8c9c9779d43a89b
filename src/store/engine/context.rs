//! The connection with what belongs to it, and how it is waited for. It knows no statement of its own but those that begin
//! and end a transaction.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::sqlite::explain::{explain, is_busy};
use super::sqlite::regular::FileId;
use super::{Db, Fail};
use crate::domain::hook::HookKind;
use crate::failpoint;
use crate::store::{Result, StoreError};

/// SQLite waits this long for a lock; `sync.outage_patience` begins after it.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait between two tries while the file is locked.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// The connection and what belongs to it.
#[derive(Debug)]
pub(crate) struct DbSession {
    pub conn: Connection,
    pub context: Context,
}

/// What statements need to know beside the transaction.
#[derive(Debug)]
pub(crate) struct Context {
    /// The database file.
    pub path: PathBuf,
    /// Writes go to temporary tables laid over ours.
    pub rehearsal: bool,
    /// Which file that is, for a store that is written.
    pub file: Option<FileId>,
    /// The runs of this process by id, with the lock files it holds; a rehearsal holds none.
    pub run_locks: RefCell<HashMap<String, Option<File>>>,
    /// The kinds of events that are written down.
    pub listened: RefCell<Vec<HookKind>>,
    /// The Tink app that the data of this run come from.
    pub client_id: RefCell<Option<String>>,
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
    pub(crate) fn new(conn: Connection, path: &Path, patience: Duration) -> Self {
        Self { conn, context: Context::new(path, patience) }
    }

    /// The connection, for statements.
    pub(crate) const fn db(&self) -> Db<'_> {
        Db::Sqlite(&self.conn)
    }

    /// Repeats `step` while the file is locked, until SQLite's own time-out and patience are over. (A few
    /// statements fail at once instead of waiting.)
    pub(crate) fn retry_busy<T>(
        &mut self,
        what: &'static str,
        mut step: impl FnMut(&mut Connection) -> std::result::Result<T, Fail>,
    ) -> Result<T> {
        let began = Instant::now();
        loop {
            match step(&mut self.conn) {
                Err(fail) if is_busy(&fail) && began.elapsed() < BUSY_TIMEOUT + self.context.patience => {
                    std::thread::sleep(BUSY_PAUSE);
                }
                other => return other.map_err(|fail| self.context.explain(what, fail)),
            }
        }
    }

    /// Begins a transaction that writes; only this can meet a lock, and is repeated.
    pub(crate) fn begin_write(&mut self, what: &'static str) -> Result<()> {
        self.retry_busy(what, |conn| Ok(conn.execute_batch("BEGIN IMMEDIATE")?))
    }

    /// Begins a transaction that only reads.
    pub(crate) fn begin_read(&mut self, what: &'static str) -> Result<()> {
        self.retry_busy(what, |conn| Ok(conn.execute_batch("BEGIN")?))
    }

    /// Whether a transaction is open. Some errors end it.
    pub(crate) fn is_open(&self) -> bool {
        !self.conn.is_autocommit()
    }

    /// A statement that belongs to the course of a transaction.
    pub(crate) fn control(&self, sql: &'static str) -> std::result::Result<(), Fail> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Runs `work` in one transaction that writes.
    pub(crate) fn write<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(Db<'_>, &Context) -> std::result::Result<T, Fail>,
    ) -> Result<T> {
        self.begin_write(what)?;
        let commit = || failpoint::around(what, || self.control("COMMIT"));
        let done = work(self.db(), &self.context).and_then(|value| commit().map(|()| value));
        self.context.is_in_place(what)?;
        done.map_err(|fail| {
            // After some errors SQLite has rolled back already; then there is nothing left to do.
            let _ = self.conn.execute_batch("ROLLBACK");
            self.context.explain(what, fail)
        })
    }
}

impl Context {
    pub(crate) fn new(path: &Path, patience: Duration) -> Self {
        Self {
            path: path.to_owned(),
            rehearsal: false,
            file: None,
            run_locks: RefCell::default(),
            listened: RefCell::default(),
            client_id: RefCell::default(),
            patience,
        }
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
        explain(what, &self.path, fail)
    }
}

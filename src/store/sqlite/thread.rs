//! The connection with what belongs to it, and the translation of SQLite's errors into ours. It knows no statement
//! of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::regular::family;
use super::{BUSY_TIMEOUT, Fail, codec};
use crate::domain::hook::HookKind;
use crate::failpoint;
use crate::file_limit;
use crate::store::{Result, StoreError};

/// How long to wait between two tries while the file is locked.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Device and number of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(u64, u64);

impl FileId {
    /// The file that lies at the path now, if there is one.
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|file| Self(file.dev(), file.ino()))
    }
}

/// The connection and what belongs to it.
#[derive(Debug)]
pub(crate) struct Db {
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

impl std::ops::Deref for Db {
    type Target = Context;
    fn deref(&self) -> &Context {
        &self.context
    }
}

impl std::ops::DerefMut for Db {
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}

impl Db {
    pub fn new(conn: Connection, path: &Path, patience: Duration) -> Self {
        let context = Context {
            path: path.to_owned(),
            rehearsal: false,
            file: None,
            run_locks: RefCell::default(),
            listened: RefCell::default(),
            client_id: RefCell::default(),
            patience,
        };
        Self { conn, context }
    }

    /// Repeats `step` while the file is locked, until SQLite's own time-out and patience are over. (A few
    /// statements fail at once instead of waiting.)
    pub fn retry_busy<T>(
        &mut self,
        what: &'static str,
        mut step: impl FnMut(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let began = Instant::now();
        loop {
            match step(&mut self.conn) {
                Err(error) if is_busy(&error) && began.elapsed() < BUSY_TIMEOUT + self.context.patience => {
                    std::thread::sleep(BUSY_PAUSE);
                }
                other => return other.map_err(|e| explain(what, &self.context.path, &e)),
            }
        }
    }

    /// Runs `work` in one immediate transaction; only the beginning can meet a lock, and is repeated.
    pub fn write<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&Connection, &Context) -> std::result::Result<T, Fail>,
    ) -> Result<T> {
        self.retry_busy(what, |conn| conn.execute_batch("BEGIN IMMEDIATE"))?;
        let commit = || failpoint::around(what, || self.conn.execute_batch("COMMIT"));
        let done = work(&self.conn, &self.context).and_then(|value| Ok(commit().map(|()| value)?));
        self.context.is_in_place(what)?;
        done.map_err(|fail| {
            // After some errors SQLite has rolled back already; then there is nothing left to do.
            let _ = self.conn.execute_batch("ROLLBACK");
            self.context.explain(what, fail)
        })
    }
}

impl Context {
    /// Fails if what was written went to a file that nobody will read.
    pub fn is_in_place(&self, what: &'static str) -> Result<()> {
        // SQLite goes on writing to a file that has no name any more.
        if self.file.is_none_or(|file| FileId::of(&self.path) == Some(file)) {
            return Ok(());
        }
        Err(StoreError::Unusable {
            what,
            path: self.path.display().to_string(),
            detail: "the file was deleted, moved or replaced while this run was on, and what it wrote since then is lost; put the store back, or let the next run begin a new one".to_owned(),
        })
    }

    /// A failure, with the step and the file it was about.
    pub fn explain(&self, what: &'static str, fail: Fail) -> StoreError {
        match fail {
            Fail::Sql(e) => explain(what, &self.path, &e),
            Fail::LeaseLost(lease) => StoreError::LeaseLost(lease.connection_id),
            Fail::OtherOwner(text) => StoreError::OtherOwner(text),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Sorts an SQLite error by what the operator has to do about it.
pub(crate) fn explain(what: &'static str, file: &Path, error: &rusqlite::Error) -> StoreError {
    let path = file.display().to_string();
    if file.is_dir() {
        // SQLite calls it a disk error.
        let detail = "this is a directory; store.url and source.database each name a file".to_owned();
        return StoreError::Unusable { what, path, detail };
    }
    let code = match error.sqlite_error_code() {
        // What SQLite cannot make or enlarge beside the file fails in other words.
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) if is_full(file) => {
            Some(ErrorCode::DiskFull)
        }
        code => code,
    };
    let hint = match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => return StoreError::Busy { what, path },
        Some(ErrorCode::DiskFull) => {
            "the disk is full: make room, then run again; nothing half-written was kept"
        }
        Some(ErrorCode::ReadOnly) => "the file or its directory is read-only for this user",
        Some(ErrorCode::PermissionDenied) => "this user may not read it",
        Some(ErrorCode::CannotOpen) => {
            "check that file and directory exist and that this user may use them, a log beside it (-wal) included; the service's own files: sudo tink-sync …"
        }
        Some(ErrorCode::NotADatabase) => {
            "this is not an SQLite database: check store.url and source.database"
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            "the file is damaged: stop the timer and restore a backup, or move it away to start anew"
        }
        Some(ErrorCode::SystemIoFailure) => {
            let limit = file_limit::met_by(family(file));
            let hint = limit.unwrap_or_else(|| "the disk reports an error: see the kernel log".to_owned());
            return StoreError::Unusable { what, path, detail: format!("{error}; {hint}") };
        }
        _ => {
            let (said, source) = codec::said(error);
            return StoreError::Sql { what, detail: format!("{path}: {said}"), source };
        }
    };
    StoreError::Unusable { what, path, detail: format!("{error}; {hint}") }
}

/// Whether the file system of a file has no room for anything more, as far as it says.
fn is_full(file: &Path) -> bool {
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    let system = nix::sys::statvfs::statvfs(directory.unwrap_or_else(|| Path::new("."))).ok();
    system.is_some_and(|system| {
        let no_names = system.files() > 0 && system.files_available() == 0;
        system.blocks_available() == 0 || no_names
    })
}

//! Opening the file of a store, for writing and for reading, and refusing one of another release. Makes the file, but
//! nothing in it.

use std::cell::Cell;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, access};
use percent_encoding::{AsciiSet, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, FileControl, OpenFlags};

use super::regular::refuse_odd;
use super::thread::{self, Db};
use super::{BUSY_TIMEOUT, LOCK_POLL, schema, scratch, sharing};
use crate::store::{Result, StoreError};

/// What has a meaning of its own in an SQLite URI.
const IN_URI: &AsciiSet = &AsciiSet::EMPTY.add(b'%').add(b'?').add(b'#');

/// Opens an existing store for statements that only read.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Older`], or as for [`super::SqliteStore::open`].
pub fn open_reader(path: &Path) -> Result<Connection> {
    if !path.exists() {
        return Err(StoreError::Missing { path: path.display().to_string() });
    }
    let db = Db::new(connect_read_only(path)?, path, Duration::ZERO);
    refuse_newer(&db)?;
    refuse_older(&db)?;
    Ok(db.conn)
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

pub(super) fn refuse_newer(db: &Db) -> Result<()> {
    let found =
        schema::version(&db.conn).map_err(|e| thread::explain("read the schema version", &db.path, &e))?;
    if found > schema::KNOWN {
        let path = db.path.display().to_string();
        return Err(StoreError::Newer { path, found, known: schema::KNOWN });
    }
    Ok(())
}

pub(super) fn refuse_older(db: &Db) -> Result<()> {
    let found =
        schema::version(&db.conn).map_err(|e| thread::explain("read the schema version", &db.path, &e))?;
    if found < schema::KNOWN {
        let path = db.path.display().to_string();
        return Err(StoreError::Older { path, found, pending: schema::pending(found) });
    }
    Ok(())
}

/// Makes the file if there is none, readable by its owner only, whatever the umask: money data. Then lets those read it
/// whom its directory names.
///
/// A file that is there is not opened: SQLite's locks are those of the process, and closing the file anywhere in it
/// lets go of them.
pub(super) fn create(path: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let usable = match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => may_use(path),
        made => made.map(drop),
    };
    usable.map_err(|e| {
        let hint = match e.kind() {
            ErrorKind::NotFound => "its directory does not exist: create it, or change store.url".to_owned(),
            ErrorKind::PermissionDenied => crate::identity::access_hint(),
            _ => "see store.url".to_owned(),
        };
        StoreError::Unusable {
            what: "open the store",
            path: path.display().to_string(),
            detail: format!("{e}; {hint}"),
        }
    })?;
    sharing::mend(path);
    Ok(())
}

fn may_use(path: &Path) -> std::io::Result<()> {
    Ok(access(path, AccessFlags::R_OK | AccessFlags::W_OK)?)
}

/// Opens a store for writing. The files beside it stay when the last connection closes, the log emptied: SQLite cannot
/// make them for somebody who may only read, and without them nobody could read between two passes.
pub(super) fn connect_writer(path: &Path) -> Result<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut keep = 1;
    conn.file_control(Some("main"), FileControl::PersistWal(&mut keep))
        .and_then(|()| conn.pragma_update(None, "journal_size_limit", 0))
        .map_err(|e| thread::explain("open the store", path, &e))?;
    Ok(conn)
}

thread_local! {
    /// When this thread began to wait for a lock.
    static WAITS_SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Waits for a lock, up to [`BUSY_TIMEOUT`]; SQLite's own way of waiting would miss the moments at which a busy pass
/// leaves it free.
fn wait_for_lock(tries: i32) -> bool {
    let since = WAITS_SINCE.get().filter(|_| tries > 0).unwrap_or_else(Instant::now);
    WAITS_SINCE.set(Some(since));
    let goes_on = since.elapsed() < BUSY_TIMEOUT;
    if goes_on {
        std::thread::sleep(LOCK_POLL);
    }
    goes_on
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    refuse_odd(path)?;
    let explain = |e: &rusqlite::Error| thread::explain("open the store", path, e);
    let mut conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|e| explain(&e))?;
    conn.busy_handler(Some(wait_for_lock)).map_err(|e| explain(&e))?;
    // A plan that looks at what is bound is made anew, by parsing the statement again, whenever something else is.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(|e| explain(&e))?;
    scratch::apply(&conn).map_err(|e| explain(&e))?;
    conn.set_prepared_statement_cache_capacity(128);
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
    let name = percent_encode(path.as_os_str().as_bytes(), IN_URI);
    let uri = format!("file:{name}?mode=ro&immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(uri, flags).map_err(|e| explain(&e))?;
    scratch::apply(&conn).and_then(|()| usable(&conn)).map_err(|e| explain(&e))?;
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    #[test]
    fn no_statement_is_parsed_again_for_what_is_bound() {
        let dir = tempfile::tempdir().unwrap();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let db = connect(&dir.path().join("any.db"), flags).unwrap();
        db.execute_batch("CREATE TABLE t (a, b, c); CREATE INDEX i ON t (a) WHERE b = 'x' AND c > 1")
            .unwrap();
        let mut one = db.prepare("SELECT a FROM t WHERE a = ?1 AND b = ?2 AND c > ?3").unwrap();
        for n in 0..3 {
            assert!(!one.exists(rusqlite::params![n, format!("{n}"), n]).unwrap());
        }
        assert_eq!(one.get_status(StatementStatus::RePrepare), 0);
    }
}

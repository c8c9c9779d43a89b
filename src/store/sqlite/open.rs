//! Opening the file of a store, for writing and for reading, and refusing one of another release. Makes the file, but
//! nothing in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::thread::{self, Db};
use super::{BUSY_TIMEOUT, schema};
use crate::store::{Result, StoreError};

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

/// Money data: a new file is readable by its owner only, whatever the umask.
pub(super) fn create_private(path: &Path) -> Result<()> {
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

pub(super) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
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

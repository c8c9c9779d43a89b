//! Opens the file of a store, for writing and for reading, and refuses one of another release. Creates the
//! file, and leaves its contents to `schema`.

use std::cell::Cell;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::unistd::{AccessFlags, access};
use percent_encoding::{AsciiSet, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, FileControl, OpenFlags};

use super::erase::ERASING;
use super::explain::{directory_of, explain};
use super::regular::{FileId, is_there, refuse_odd};
use super::{rehearsal as overlay, schema, scratch, sharing};
use crate::domain::cause::Cause;
use crate::failpoint;
use crate::store::engine::context::{BUSY_TIMEOUT, Conn, retry_busy};
use crate::store::engine::{Context, Db, DbSession, Fail};
use crate::store::error::UNFINISHED;
use crate::store::{Place, Result, StoreError};

/// Characters with a special meaning in a SQLite URI.
const IN_URI: &AsciiSet = &AsciiSet::EMPTY.add(b'%').add(b'?').add(b'#');

/// Opens an existing store for reading, in a transaction that shows its current state.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Older`], or as for [`writer`].
pub(crate) fn reader(path: &Path) -> Result<DbSession> {
    if !is_there(path) {
        return Err(StoreError::Missing { place: Place::Sqlite(path.to_owned()) });
    }
    let mut file = OpenFile::new(connect_read_only(path)?, path, Duration::ZERO);
    // The first statement fixes the snapshot, and the schema version must be that of the snapshot.
    file.retry("read the store", |conn| Ok(conn.execute_batch("BEGIN")?))?;
    file.refuse_newer()?;
    file.refuse_older()?;
    Ok(file.session())
}

/// A file that is being opened.
struct OpenFile {
    conn: Connection,
    context: Context,
}

impl OpenFile {
    fn new(conn: Connection, path: &Path, patience: Duration) -> Self {
        Self { conn, context: Context::new(path, patience) }
    }

    fn session(self) -> DbSession {
        DbSession { conn: Conn::Sqlite(self.conn), context: self.context }
    }

    fn retry<T>(
        &mut self,
        what: &'static str,
        step: impl FnMut(&mut Connection) -> std::result::Result<T, Fail>,
    ) -> Result<T> {
        retry_busy(&mut self.conn, &self.context, what, step)
    }

    fn version(&self) -> Result<i64> {
        schema::version(&self.conn).map_err(|e| explain("read the schema version", &self.context.path, e))
    }

    fn refuse_newer(&self) -> Result<()> {
        let found = self.version()?;
        if found > schema::KNOWN {
            let path = self.context.path.display().to_string();
            return Err(StoreError::newer(path, found, schema::KNOWN));
        }
        Ok(())
    }

    fn refuse_older(&self) -> Result<()> {
        let found = self.version()?;
        if found < schema::KNOWN {
            let path = self.context.path.display().to_string();
            return Err(StoreError::Older { path, found, pending: schema::pending(found) });
        }
        Ok(())
    }
}

/// Creates the file if there is none, with mode 0600 whatever the umask: it holds bank data. Then opens it to
/// the group of its directory, if the directory is set up for that (see `sharing`).
///
/// An existing file is not opened: SQLite's locks belong to the process, and closing the file anywhere in the
/// process releases them.
pub(super) fn create(path: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let usable = match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => may_use(path),
        made => made.map(drop),
    };
    usable.map_err(|e| no_access(path, e))?;
    sharing::mend(path);
    Ok(())
}

/// Fails as [`create`] would; creates nothing.
pub(crate) fn refuse_unwritable(path: &Path) -> Result<()> {
    refuse_odd(path)?;
    let place = if path.exists() { path } else { directory_of(path) };
    may_use(place).map_err(|e| no_access(path, e))
}

fn no_access(path: &Path, error: std::io::Error) -> StoreError {
    let hint = match error.kind() {
        ErrorKind::NotFound => "its directory does not exist: create it, or change store.url".to_owned(),
        ErrorKind::PermissionDenied => crate::identity::access_hint(),
        _ => "see store.url".to_owned(),
    };
    StoreError::Unusable {
        what: "open the store",
        path: path.display().to_string(),
        detail: format!("{error}; {hint}"),
        source: Some(Cause::of(error)),
    }
}

/// Whether the file has tables, and none of ours.
pub(crate) fn holds_something_else(path: &Path) -> Result<bool> {
    if !is_there(path) {
        return Ok(false);
    }
    let file = OpenFile::new(connect_read_only(path)?, path, Duration::ZERO);
    let tables = "SELECT EXISTS (SELECT 1 FROM sqlite_master)";
    let has_tables = file.conn.query_row(tables, [], |row| row.get(0));
    Ok(file.version()? == 0 && has_tables.map_err(|e| explain("look for the store", path, e))?)
}

fn may_use(path: &Path) -> std::io::Result<()> {
    Ok(access(path, AccessFlags::R_OK | AccessFlags::W_OK)?)
}

/// Opens a store for writing. The files beside it stay when the last connection closes, the log emptied:
/// without them a read-only user, for whom SQLite cannot create them, could not read between two passes.
pub(crate) fn connect_writer(path: &Path) -> Result<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut keep = 1;
    conn.file_control(Some("main"), FileControl::PersistWal(&mut keep))
        .and_then(|()| conn.pragma_update(None, "journal_size_limit", 0))
        .map_err(|e| explain("open the store", path, e))?;
    Ok(conn)
}

/// How often a held lock is polled. The worker leaves it free for longer than that after holding it for long.
const LOCK_POLL: Duration = Duration::from_millis(2);

thread_local! {
    /// When this thread began to wait for a lock.
    static WAITS_SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Waits for a lock, up to [`BUSY_TIMEOUT`]. SQLite's own back-off would miss the moments at which a busy
/// pass leaves it free.
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
    let explain = |e: rusqlite::Error| explain("open the store", path, e);
    let mut conn =
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(explain)?;
    conn.busy_handler(Some(wait_for_lock)).map_err(explain)?;
    // Otherwise SQLite re-parses a statement whose plan depends on bound values whenever these change.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(explain)?;
    scratch::apply(&conn, path).map_err(explain)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

/// Opens a file read-only, even in a directory that this user may not write. SQLite then cannot create the
/// shared-memory file of a WAL database; but if there is no write-ahead log either, the file alone is
/// complete and can be read as it is.
pub(crate) fn connect_read_only(path: &Path) -> Result<Connection> {
    let explain = |e: rusqlite::Error| explain("open read-only", path, e);
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
        return Err(explain(error));
    }
    let name = percent_encode(path.as_os_str().as_bytes(), IN_URI);
    let uri = format!("file:{name}?mode=ro&immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(uri, flags).map_err(explain)?;
    scratch::apply(&conn, path).and_then(|()| usable(&conn)).map_err(explain)?;
    Ok(conn)
}

/// Opens a store for writing, creating and migrating it as needed.
pub(crate) fn writer(path: &Path, patience: Duration, now: Timestamp) -> Result<DbSession> {
    let file = opened(path, patience)?;
    file.refuse_newer()?;
    prepared(file, now)
}

/// As [`writer`], but also opens a store that a move has not completed.
pub(crate) fn unfinished(path: &Path, now: Timestamp) -> Result<DbSession> {
    let file = opened(path, Duration::ZERO)?;
    if file.version()? == UNFINISHED {
        return Ok(file.session());
    }
    file.refuse_newer()?;
    prepared(file, now)
}

fn opened(path: &Path, patience: Duration) -> Result<OpenFile> {
    refuse_odd(path)?;
    failpoint::around("create the file", || create(path))?;
    // Different spellings of one path must lead to the same lock files.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut file = OpenFile::new(connect_writer(path)?, path, patience);
    file.retry("open the store", |conn| {
        failpoint::around("open the store", || conn.pragma_update(None, "journal_mode", "wal"))?;
        conn.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -8000",
        )?;
        Ok(conn.execute_batch(ERASING)?)
    })?;
    file.context.file = FileId::of(path);
    Ok(file)
}

fn prepared(mut file: OpenFile, now: Timestamp) -> Result<DbSession> {
    file.retry("prepare the store", |conn| Ok(schema::migrate(conn, now.as_millisecond())?))?;
    // By now SQLite has created the files beside it.
    sharing::mend(&file.context.path);
    Ok(file.session())
}

/// As [`writer`], for the thread that commits in groups.
pub(crate) fn for_groups(path: &Path, patience: Duration, now: Timestamp) -> Result<DbSession> {
    let session = writer(path, patience, now)?;
    // The journal that undoes one job of several is kept in memory; it is as large as the job's changes.
    session
        .db()
        .batch("PRAGMA temp_store = MEMORY")
        .map_err(|fail| session.explain("open the store", fail))?;
    Ok(session)
}

/// A rehearsal in memory, for a store that does not exist yet.
pub(crate) fn empty(path: &Path, patience: Duration, now: Timestamp) -> Result<DbSession> {
    let mut conn = Connection::open_in_memory().map_err(|e| explain("rehearse", path, e))?;
    scratch::apply(&conn, path).map_err(|e| explain("rehearse", path, e))?;
    schema::migrate(&mut conn, now.as_millisecond()).map_err(|e| explain("rehearse", path, e))?;
    let mut file = OpenFile::new(conn, path, patience);
    file.context.rehearsal = true;
    Ok(file.session())
}

/// A rehearsal on the file, with the data that `fill` copies.
pub(crate) fn rehearsal(
    path: &Path,
    patience: Duration,
    fill: impl Fn(Db<'_>) -> std::result::Result<(), Fail>,
) -> Result<DbSession> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut rehearsed = OpenFile::new(connect_read_only(path)?, path, patience);
    rehearsed.context.rehearsal = true;
    rehearsed.refuse_newer()?;
    rehearsed.refuse_older()?;
    rehearsed.retry("rehearse", |conn| overlay::lay(conn, &fill))?;
    Ok(rehearsed.session())
}

/// The largest file that is checked; a larger one takes too long.
const LARGEST_LOOKED_THROUGH: u64 = 256 << 20;

/// The damage that SQLite finds in the file, in its own words.
pub(crate) fn damage(conn: &Connection, path: &Path) -> std::result::Result<Option<String>, Fail> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() > LARGEST_LOOKED_THROUGH) {
        return Ok(None);
    }
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(Some(found).filter(|found| found != "ok"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    #[test]
    fn only_tables_that_are_not_ours_are_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let [app, empty, ours] = ["app.db", "empty.db", "ours.db"].map(|name| dir.path().join(name));
        let made = |path: &Path, sql: &str| Connection::open(path).unwrap().execute_batch(sql).unwrap();
        made(&app, "CREATE TABLE t (a)");
        made(&empty, "CREATE TABLE t (a); DROP TABLE t");
        drop(writer(&ours, Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap());
        let found = [app, empty, ours, dir.path().join("none.db")].map(|path| holds_something_else(&path));
        assert_eq!(found.map(Result::unwrap), [true, false, false, false]);
    }

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

//! Overwrites deleted data: in the file, in its free space and in the log beside it. Deletes nothing itself.

use rusqlite::Connection;

use crate::failpoint;
use crate::store::Result;
use crate::store::engine::context::retry_busy;
use crate::store::engine::{Context, Db, Fail, values};

/// Makes SQLite overwrite what it deletes: free pages must not keep bank data.
pub(crate) const ERASING: &str = "PRAGMA secure_delete = ON";

/// Rewrites the whole file and empties the log.
pub(crate) fn wipe(conn: &mut Connection, context: &Context) -> Result<()> {
    let rewrite = "rewrite the store";
    retry_busy(conn, context, rewrite, |conn| {
        Ok(failpoint::around(rewrite, || conn.execute_batch("VACUUM"))?)
    })?;
    let empty = "empty the log";
    retry_busy(conn, context, empty, |conn| failpoint::around(empty, || truncate(Db::Sqlite(conn))))
}

/// # Errors
/// [`Fail::Busy`] if a reader still uses what was there before.
fn truncate(db: Db<'_>) -> std::result::Result<(), Fail> {
    let is_held: i64 = db.value("PRAGMA wal_checkpoint(TRUNCATE)", values![])?;
    if is_held == 0 { Ok(()) } else { Err(Fail::Busy) }
}

//! The names of runs that are pruned, as long as a row or record names them. Prunes nothing.

use rusqlite::Connection;

/// Keeps the name of a run, when it is pruned, for the row or record that is about to name it.
pub(super) fn keep_name(db: &Connection, run: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE ts_runs SET named = 1 WHERE key = ?1 AND named = 0")?.execute([run]).map(drop)
}

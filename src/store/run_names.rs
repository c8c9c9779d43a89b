//! Keeps the names of pruned runs as long as a row or record names them. Prunes nothing.

use super::engine::{Db, Fail, values};

/// Makes pruning keep the name of a run, because a row or record is about to name it.
pub(super) fn keep_name(db: Db<'_>, run: i64) -> Result<(), Fail> {
    db.run("UPDATE ts_runs SET named = 1 WHERE key = ?1 AND named = 0", values![run])
}

//! The names of runs that are pruned, as long as a row or record names them. Prunes nothing.

use super::engine::{Db, Fail, values};

/// Keeps the name of a run, when it is pruned, for the row or record that is about to name it.
pub(super) fn keep_name(db: Db<'_>, run: i64) -> Result<(), Fail> {
    db.run("UPDATE ts_runs SET named = 1 WHERE key = ?1 AND named = 0", values![run])
}

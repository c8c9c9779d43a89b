//! Where SQLite puts what does not fit into memory, which is bank data: beside the store, under the same protection, and
//! never where the system keeps temporary files. SQLite removes their names as soon as it has opened them.

use std::path::{Path, absolute};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rusqlite::Connection;

/// Whether there is no place beside the store, so that everything stays in memory.
static IN_MEMORY: AtomicBool = AtomicBool::new(false);

/// Chooses the place for all databases of this process, the application's included. Where nobody may write beside the
/// store, as for one that is only read, everything stays in memory.
pub fn keep_beside(store: &Path) {
    let store = store.canonicalize().or_else(|_| absolute(store)).unwrap_or_else(|_| store.to_owned());
    let directory = store.parent().and_then(Path::to_str);
    // SQLite refuses a directory that cannot be written.
    let choose = |directory: &str| {
        Connection::open_in_memory()?.pragma_update(None, "temp_store_directory", directory)
    };
    IN_MEMORY.store(directory.is_none_or(|directory| choose(directory).is_err()), Relaxed);
}

/// The same without a store beside which anything could be put.
pub fn keep_in_memory() {
    IN_MEMORY.store(true, Relaxed);
}

/// Applies the choice to a connection.
pub(super) fn apply(conn: &Connection) -> rusqlite::Result<()> {
    if IN_MEMORY.load(Relaxed) { conn.pragma_update(None, "temp_store", "MEMORY") } else { Ok(()) }
}

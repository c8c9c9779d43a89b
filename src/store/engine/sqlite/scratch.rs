//! Where SQLite puts bank data that does not fit into memory: beside the store, under the same protection,
//! and never in the system's temporary directory. SQLite unlinks these files as soon as they are open.

use std::path::{Path, absolute};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rusqlite::Connection;

use super::explain::is_full;

/// Whether nothing can be put beside the store, so that everything stays in memory.
static IN_MEMORY: AtomicBool = AtomicBool::new(false);

/// Chooses the directory for all databases of this process, the application's included. If it is not
/// writable, as for a store that is only read, everything stays in memory.
pub fn keep_beside(store: &Path) {
    let store = store.canonicalize().or_else(|_| absolute(store)).unwrap_or_else(|_| store.to_owned());
    let directory = store.parent().and_then(Path::to_str);
    // SQLite refuses a directory that cannot be written.
    let choose = |directory: &str| {
        Connection::open_in_memory()?.pragma_update(None, "temp_store_directory", directory)
    };
    IN_MEMORY.store(directory.is_none_or(|directory| choose(directory).is_err()), Relaxed);
}

/// Keeps everything in memory: there is no store beside which anything could be put.
pub fn keep_in_memory() {
    IN_MEMORY.store(true, Relaxed);
}

/// Applies the choice to a connection. On a full disk everything stays in memory, since reading needs no room there.
pub(super) fn apply(conn: &Connection, store: &Path) -> rusqlite::Result<()> {
    let in_memory = IN_MEMORY.load(Relaxed) || is_full(store);
    if in_memory { conn.pragma_update(None, "temp_store", "MEMORY") } else { Ok(()) }
}

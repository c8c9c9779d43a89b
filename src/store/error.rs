//! What can go wrong with the store, sorted by what the operator has to do. Never holds row data.

use crate::domain::ids::ConnectionId;

/// A failure of the store. A lost lease ends its connection only, and so does a refused statement of one
/// connection; all else stops the run.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database stayed locked by someone else (exit 75).
    #[error("{what}: the database is locked by another program; find it with `fuser {path}` or wait")]
    Busy {
        /// What was being done.
        what: &'static str,
        /// The database file.
        path: String,
    },
    /// The file cannot be opened, read or written (exit 74).
    #[error("{what}: {path}: {detail}")]
    Unusable {
        /// What was being done.
        what: &'static str,
        /// The database file.
        path: String,
        /// What the system said and what to do.
        detail: String,
    },
    /// The store was written by a newer release (exit 74).
    #[error(
        "{path} has schema {found}, this release knows only {known}: upgrade tink-sync, or restore a backup of the older store"
    )]
    Newer {
        /// The database file.
        path: String,
        /// Its schema version.
        found: i64,
        /// The newest one this binary knows.
        known: i64,
    },
    /// A read-only command met an older schema (exit 74).
    #[error("{path} has schema {found}; the next `tink-sync run` applies migrations {}: nothing was changed now", pending.join(", "))]
    Older {
        /// The database file.
        path: String,
        /// Its schema version.
        found: i64,
        /// Names of the migrations to come.
        pending: Vec<String>,
    },
    /// A read-only command found no store (exit 74).
    #[error("{path} does not exist yet: `tink-sync run` creates it")]
    Missing {
        /// The database file.
        path: String,
    },
    /// Another run took the connection over; nothing of this commit was kept.
    #[error("another run took over connection {0}")]
    LeaseLost(ConnectionId),
    /// What was to be written belongs to another connection; nothing of this commit was kept.
    #[error("{0}")]
    OtherOwner(String),
    /// What was to be written belongs to a connection that is not enabled any more; this one has taken it over, and goes on
    /// with it when it is tried again.
    #[error("it takes over the data of the same user's former connection")]
    TookOver,
    /// A statement was refused, or a value could not be read, in a database that works: a bug, or somebody
    /// changed it (exit 74 where it is no single connection's).
    #[error("{what}: {detail}")]
    Sql {
        /// What was being done.
        what: &'static str,
        /// The database's words.
        detail: String,
    },
}

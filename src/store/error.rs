//! The errors of the store, sorted by what the operator has to do. Never holds row data.

use crate::domain::cause::Cause;
use crate::domain::ids::ConnectionId;
use crate::store::Place;

/// An error of the store. A lost lease, data of another owner, or a refused statement of one connection ends
/// that connection only; everything else stops the run.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another program kept the database locked (exit 75).
    #[error("{what}: the database is locked by another program; find it with `fuser {path}` or wait")]
    Busy {
        /// The step that failed.
        what: &'static str,
        /// The database file.
        path: String,
    },
    /// The server could not be reached, or reported that it is unavailable now (exit 75).
    #[error("{what}: {place}: {detail}")]
    Unavailable {
        /// The step that failed.
        what: &'static str,
        /// The database, without a password.
        place: String,
        /// The server's message and what to do.
        detail: String,
        /// The underlying error.
        source: Option<Cause>,
    },
    /// The session with the server ended during a commit, and it is unknown whether it was kept. The caller
    /// must read again (exit 75).
    #[error("{what}: {place}: {detail}")]
    CommitUnknown {
        /// The step that failed.
        what: &'static str,
        /// The database, without a password.
        place: String,
        /// How the session ended.
        detail: String,
        /// The underlying error.
        source: Cause,
    },
    /// The file cannot be opened, read or written (exit 74).
    #[error("{what}: {path}: {detail}")]
    Unusable {
        /// The step that failed.
        what: &'static str,
        /// The database file.
        path: String,
        /// The system's message and what to do.
        detail: String,
        /// The underlying error.
        source: Option<Cause>,
    },
    /// A local file that the address or the configuration names cannot be used: a password file, a certificate
    /// (exit 78).
    #[error("{what}: {place}: {detail}")]
    Setting {
        /// The step that failed.
        what: &'static str,
        /// The server.
        place: String,
        /// The file, and what is wrong with it.
        detail: String,
        /// The underlying error.
        source: Option<Cause>,
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
    /// A store is being moved here and is not complete (exit 74).
    #[error(
        "{path}: a store is being moved here and is not complete; finish it with `tink-sync migrate-store` on the old store, or drop what is here"
    )]
    Unfinished {
        /// The database.
        path: String,
    },
    /// A read-only command met an older schema (exit 74).
    #[error("{path} has schema {found}; the next `tink-sync run` applies migrations {}: nothing was changed now", pending.join(", "))]
    Older {
        /// The database file.
        path: String,
        /// Its schema version.
        found: i64,
        /// The names of the pending migrations.
        pending: Vec<String>,
    },
    /// A read-only command found no store (exit 74).
    #[error("{}: `tink-sync run` creates it", place.absence())]
    Missing {
        /// Where it was expected.
        place: Place,
    },
    /// A bug: a part of the program that others need has ended (exit 1).
    #[error("{what}: {source}; this is a bug in tink-sync, please report it")]
    Internal {
        /// The step that failed.
        what: &'static str,
        /// How it ended.
        source: Cause,
    },
    /// Another run took the connection over; nothing of this commit was kept.
    #[error("another run took over connection {0}")]
    LeaseLost(ConnectionId),
    /// The data to be written belongs to another connection; nothing of this commit was kept.
    #[error("{0}")]
    OtherOwner(String),
    /// The data to be written belonged to a connection that is no longer enabled. This connection has taken
    /// it over, and uses it when it is tried again.
    #[error("it takes over the data of the same user's former connection")]
    TookOver,
    /// The database works, but refused a statement or returned an unreadable value: a bug, or somebody
    /// changed the database (exit 74, unless it concerns a single connection).
    #[error("{what}: {detail}")]
    Sql {
        /// The step that failed.
        what: &'static str,
        /// The database's message.
        detail: String,
        /// The underlying error.
        source: Option<Cause>,
    },
}

/// The cause if a store's thread has ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the store's thread has ended")]
struct ThreadEnded;

/// Recorded as the newest version of the schema while a store is being moved to a database, so that every
/// release refuses to use it. Not a version: no release has nearly as many.
pub(crate) const UNFINISHED: i64 = 1_000_000_000;

impl StoreError {
    /// The error for a schema that is newer than this release, or that belongs to an unfinished move.
    pub(crate) fn newer(path: String, found: i64, known: i64) -> Self {
        if found == UNFINISHED { Self::Unfinished { path } } else { Self::Newer { path, found, known } }
    }

    /// The thread of the store has ended unexpectedly.
    pub(crate) fn thread_ended(what: &'static str) -> Self {
        Self::Internal { what, source: Cause::of(ThreadEnded) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn what_is_a_bug_is_no_trouble_of_a_database() {
        let error = StoreError::thread_ended("commit rows");
        assert_eq!(
            error.to_string(),
            "commit rows: the store's thread has ended; this is a bug in tink-sync, please report it"
        );
        assert!(std::error::Error::source(&error).is_some());
        assert_eq!(Exit::from(&error), Exit::Internal);
    }
}

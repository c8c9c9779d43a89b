//! What can go wrong with the store, sorted by what the operator has to do. Never holds row data.

use crate::domain::cause::Cause;
use crate::domain::ids::ConnectionId;
use crate::store::Place;

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
    /// A server could not be reached, or said that it cannot do it now (exit 75).
    #[error("{what}: {place}: {detail}")]
    Unavailable {
        /// What was being done.
        what: &'static str,
        /// The database, without a password.
        place: String,
        /// What it said and what to do.
        detail: String,
        /// What it said.
        source: Option<Cause>,
    },
    /// The session with a server ended in a commit, and nobody knows if it was kept: what goes on reads again (exit 75).
    #[error("{what}: {place}: {detail}")]
    CommitUnknown {
        /// What was being done.
        what: &'static str,
        /// The database, without a password.
        place: String,
        /// How the session ended.
        detail: String,
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
        /// What it said.
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
    /// A store is being moved here, and is not complete (exit 74).
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
        /// Names of the migrations to come.
        pending: Vec<String>,
    },
    /// A read-only command found no store (exit 74).
    #[error("{}: `tink-sync run` creates it", place.absence())]
    Missing {
        /// Where it would lie.
        place: Place,
    },
    /// A bug: a part of the program ended that others need (exit 1).
    #[error("{what}: {source}; this is a bug in tink-sync, please report it")]
    Internal {
        /// What was being done.
        what: &'static str,
        /// How it ended.
        source: Cause,
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
        /// What the database said.
        source: Option<Cause>,
    },
}

/// How the thread of a store ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the store's thread has ended")]
struct ThreadEnded;

/// Stands as the newest version of the schema while a store is being moved to a database, so that every release refuses to
/// use it. Not a version: each release has far fewer.
pub(crate) const UNFINISHED: i64 = 1_000_000_000;

impl StoreError {
    /// The schema is newer than this release, or no schema yet.
    pub(crate) fn newer(path: String, found: i64, known: i64) -> Self {
        if found == UNFINISHED { Self::Unfinished { path } } else { Self::Newer { path, found, known } }
    }

    /// The thread of the store has ended without being asked to.
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

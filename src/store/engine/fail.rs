//! Why a transaction failed, before the step and the database are added to the error.

use super::postgres::connect::ConnectError;
use crate::domain::cause::Cause;
use crate::store::StoreError;
use crate::store::types::Lease;

/// A failure inside the store's thread.
#[derive(Debug)]
pub(crate) enum Fail {
    /// Another process holds what is needed.
    Busy,
    /// Something other than the database itself cannot be used, such as a lock file, or somebody else uses it.
    Unusable { detail: String, source: Option<Cause> },
    /// The lease of the connection is no longer held.
    LeaseLost(Lease),
    /// The data to be written belongs to another connection.
    OtherOwner(String),
    /// A value that this program did not write, in an otherwise intact database.
    NotOurs(NotOurs),
    /// A statement returned no row where one is required.
    NoRow,
    /// An error from SQLite.
    Sqlite(rusqlite::Error),
    /// An error from PostgreSQL, or the end of the session.
    Postgres(Box<tokio_postgres::Error>),
    /// The session ended during a commit, so it is unknown whether it was kept.
    CommitUnknown(Cause),
    /// This run was silent for so long that another host has ended it.
    RunOver,
    /// The server did not answer within five minutes.
    NoAnswer,
    /// Others use what was to be changed: which sessions.
    Blocked(String),
    /// No session with the server could be opened.
    Connect(Box<ConnectError>),
    /// A bug.
    Bug(Bug),
}

impl Fail {
    /// The user-facing error, with step and database, for failures that are the same on every engine.
    pub(crate) fn explain(self, what: &'static str, place: String) -> StoreError {
        let unreadable = |detail: String, source| StoreError::Sql { what, detail, source };
        match self {
            Self::Busy => StoreError::Busy { what, path: place },
            Self::Unusable { detail, source } => StoreError::Unusable { what, path: place, detail, source },
            Self::LeaseLost(lease) => StoreError::LeaseLost(lease.connection_id),
            Self::OtherOwner(text) => StoreError::OtherOwner(text),
            Self::NotOurs(error) => unreadable(format!("{place}: {error}"), Some(Cause::of(error))),
            Self::NoRow => unreadable(format!("{place}: a row is missing"), None),
            Self::Bug(bug) => StoreError::Internal { what, source: Cause::of(bug) },
            // Each engine explains its own failures.
            Self::Sqlite(_)
            | Self::Postgres(_)
            | Self::CommitUnknown(_)
            | Self::RunOver
            | Self::NoAnswer
            | Self::Blocked(_)
            | Self::Connect(_) => Self::of_other_engine().explain(what, place),
        }
    }

    pub(crate) fn bug(text: impl Into<String>) -> Self {
        Self::Bug(Bug(text.into()))
    }

    /// A bug: what belongs to one engine came to the other.
    pub(crate) fn of_other_engine() -> Self {
        Self::bug("a session or an error of another engine")
    }

    /// A bug: the parameters given are not those of the statement.
    pub(crate) fn parameters(sql: &str) -> Self {
        Self::bug(format!("wrong parameters for {sql}"))
    }

    /// Somebody else uses what was to be used: `text` says who, and what to do.
    pub(crate) fn refused(text: &str) -> Self {
        Self::Unusable { detail: text.to_owned(), source: None }
    }
}

/// A bug inside the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Bug(String);

/// A value that this program does not write to its column: a problem of that row, not of the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotOurs(String);

impl NotOurs {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Adds the column that holds the value.
    pub(crate) fn of_column(self, column: &str) -> Self {
        Self(format!("{column} {}", self.0))
    }
}

impl From<NotOurs> for Fail {
    fn from(error: NotOurs) -> Self {
        Self::NotOurs(error)
    }
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The failure for a value that this program does not write to its column.
pub(crate) fn corrupt(text: impl Into<String>) -> Fail {
    NotOurs::new(text).into()
}

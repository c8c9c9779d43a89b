//! Why a transaction did not come about, before it is said which step it was and in which database.

use super::postgres::connect::ConnectError;
use crate::domain::cause::Cause;
use crate::store::StoreError;
use crate::store::types::Lease;

/// A failure inside the store's thread.
#[derive(Debug)]
pub(crate) enum Fail {
    /// Somebody else holds what is needed.
    Busy,
    /// What lies beside the database cannot be used.
    Unusable { detail: String, source: Cause },
    /// The lease of the connection is no longer held.
    LeaseLost(Lease),
    /// What was to be written belongs to another connection.
    OtherOwner(String),
    /// A value that we did not write, in a database that is in order.
    NotOurs(NotOurs),
    /// A single row was asked for, and there is none.
    NoRow,
    /// What SQLite reports.
    Sqlite(rusqlite::Error),
    /// What PostgreSQL reports, or how the session with it ended.
    Postgres(Box<tokio_postgres::Error>),
    /// The session ended while a transaction was being committed.
    CommitUnknown(Cause),
    /// This run was silent for so long that it counts as over.
    RunOver,
    /// A server did not answer for minutes.
    NoAnswer,
    /// There is no session with a server.
    Connect(Box<ConnectError>),
    /// A bug: a statement was not given the parameters that it has.
    Parameters(String),
}

impl Fail {
    /// The error for people, with the step and the database it was about, where it is the same on every engine.
    pub(crate) fn explain(self, what: &'static str, place: String) -> StoreError {
        let unreadable = |detail: String, source| StoreError::Sql { what, detail, source };
        match self {
            Self::Busy => StoreError::Busy { what, path: place },
            Self::Unusable { detail, source } => {
                StoreError::Unusable { what, path: place, detail, source: Some(source) }
            }
            Self::LeaseLost(lease) => StoreError::LeaseLost(lease.connection_id),
            Self::OtherOwner(text) => StoreError::OtherOwner(text),
            Self::NotOurs(error) => unreadable(format!("{place}: {error}"), Some(Cause::of(error))),
            Self::NoRow => unreadable(format!("{place}: a row is missing"), None),
            Self::Parameters(sql) => unreadable(format!("{place}: wrong parameters for {sql}"), None),
            // Those of the engines are explained by them.
            Self::Sqlite(_)
            | Self::Postgres(_)
            | Self::CommitUnknown(_)
            | Self::RunOver
            | Self::NoAnswer
            | Self::Connect(_) => unreadable(format!("{place}: an error of another engine"), None),
        }
    }
}

/// A value that is not what we write there: it is its row's trouble, not the store's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotOurs(String);

impl NotOurs {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// With the column it was found in.
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

/// The failure for a value that is not what we write there.
pub(crate) fn corrupt(text: impl Into<String>) -> Fail {
    NotOurs::new(text).into()
}

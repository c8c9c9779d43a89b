//! Opens the database that a place names: the one file that chooses the engine. Of the contents it asks only which
//! release they are of.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::publication::Views;
use super::{Db, DbSession, Fail, postgres, sqlite};
use crate::store::place::Place;
use crate::store::types::Rights;
use crate::store::{Result, StoreError};

impl Place {
    /// Whether there is a store. An empty file, or a server's database without our tables, does not count:
    /// the next run creates a store in it.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the server cannot be queried.
    pub fn is_there(&self) -> Result<bool> {
        match self {
            Self::Sqlite(path) => Ok(sqlite::regular::is_there(path)),
            Self::Postgres(target) => postgres::open::is_there(target),
        }
    }

    /// The rights of the server role on the store; `None` for a file.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the server cannot be queried.
    pub fn rights(&self) -> Result<Option<Rights>> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(target) => postgres::rights::of(target).map(Some),
        }
    }

    /// Whether there are tables, and no store. On a server a store has a schema of its own, beside others.
    pub(in crate::store) fn holds_something_else(&self) -> Result<bool> {
        match self {
            Self::Sqlite(path) => sqlite::open::holds_something_else(path),
            Self::Postgres(_) => Ok(false),
        }
    }

    /// Fails if a store could not be made or written there; makes nothing.
    pub(in crate::store) fn refuse_unwritable(&self, what: &'static str) -> Result<()> {
        match self {
            Self::Sqlite(path) => sqlite::open::refuse_unwritable(path),
            Self::Postgres(target) => {
                let Rights { role, missing, .. } = postgres::rights::of(target)?;
                let detail = format!(
                    "the role {role} lacks {}; grant it, or name another role with --to",
                    missing.join(", ")
                );
                let refused = StoreError::Unusable { what, path: self.to_string(), detail, source: None };
                if missing.is_empty() { Ok(()) } else { Err(refused) }
            }
        }
    }

    /// Opens an existing store for reading, in a transaction that shows its current state.
    pub(in crate::store) fn reader(&self) -> Result<DbSession> {
        match self {
            Self::Sqlite(path) => sqlite::open::reader(path),
            Self::Postgres(target) => postgres::open::reader(target),
        }
    }

    /// Opens a store for writing, creating and migrating it as needed.
    pub(in crate::store) fn writer(&self, patience: Duration, now: Timestamp) -> Result<DbSession> {
        match self {
            Self::Sqlite(path) => sqlite::open::writer(path, patience, now),
            Self::Postgres(target) => postgres::open::writer(target, patience, now),
        }
    }

    /// As [`Self::writer`], for the thread that commits in groups.
    pub(in crate::store) fn for_groups(&self, patience: Duration, now: Timestamp) -> Result<DbSession> {
        match self {
            Self::Sqlite(path) => sqlite::open::for_groups(path, patience, now),
            Self::Postgres(target) => postgres::open::writer(target, patience, now),
        }
    }

    /// As [`Self::writer`], but also opens a store that a move has not completed.
    pub(in crate::store) fn unfinished(&self, now: Timestamp) -> Result<DbSession> {
        match self {
            Self::Sqlite(path) => sqlite::open::unfinished(path, now),
            Self::Postgres(target) => postgres::open::unfinished(target, now),
        }
    }

    /// A rehearsal on the store, with the data that `fill` copies; in memory if there is no store yet.
    pub(in crate::store) fn rehearsal(
        &self,
        patience: Duration,
        now: Timestamp,
        fill: impl Fn(Db<'_>) -> Result<(), Fail>,
    ) -> Result<DbSession> {
        let is_there = self.is_there()?;
        match self {
            Self::Sqlite(path) if is_there => sqlite::open::rehearsal(path, patience, fill),
            Self::Postgres(target) if is_there => postgres::open::rehearsal(target, patience, fill),
            Self::Sqlite(path) => sqlite::open::empty(path, patience, now),
            Self::Postgres(_) => sqlite::open::empty(Path::new(&self.to_string()), patience, now),
        }
    }
}

impl Db<'_> {
    /// The schema version of this release.
    pub(crate) const fn known_schema(self) -> i64 {
        match self {
            Self::Sqlite(_) => sqlite::schema::KNOWN,
            Self::Postgres(_) => postgres::schema::KNOWN,
        }
    }

    /// Whose views and triggers the database has.
    pub(crate) fn views(self) -> Result<Views, Fail> {
        match self {
            Self::Sqlite(conn) => Ok(sqlite::feed::views(conn)?),
            Self::Postgres(pg) => postgres::schema::views(pg),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_made_by_who_writes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let place = Place::from(path.clone());
        let missing = place.reader().unwrap_err().to_string();
        assert_eq!(missing, format!("{}: `tink-sync run` creates it", place.absence()));
        assert!(!place.is_there().unwrap());
        // An empty file is not a store yet.
        std::fs::write(&path, "").unwrap();
        assert!(!place.is_there().unwrap());
        drop(place.writer(Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap());
        assert!(place.is_there().unwrap());
    }
}

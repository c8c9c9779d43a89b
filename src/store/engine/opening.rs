//! Opening the database that a place names: the one file that chooses the engine. Knows nothing of what is in it.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::{Db, DbSession, Fail, postgres, sqlite};
use crate::store::Result;
use crate::store::place::Place;
use crate::store::types::Rights;

impl Place {
    /// Whether there is a store. An empty file, or a database without our tables, is none yet: the next run makes one in
    /// it.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if a server cannot be asked.
    pub fn is_there(&self) -> Result<bool> {
        match self {
            Self::Sqlite(path) => Ok(sqlite::regular::is_there(path)),
            Self::Postgres(target) => postgres::open::is_there(target),
        }
    }

    /// What the role of a server's address may do with the store there; `None` for a file.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the server cannot be asked.
    pub fn rights(&self) -> Result<Option<Rights>> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(target) => postgres::rights::of(target).map(Some),
        }
    }

    /// Opens an existing store for statements that only read, in a transaction that shows it as it is now.
    pub(in crate::store) fn reader(&self) -> Result<DbSession> {
        match self {
            Self::Sqlite(path) => sqlite::open::reader(path),
            Self::Postgres(target) => postgres::open::reader(target),
        }
    }

    /// Opens a store for writing, making and migrating it as needed.
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

    /// As [`Self::writer`], also where a store is being moved to.
    pub(in crate::store) fn unfinished(&self, now: Timestamp) -> Result<DbSession> {
        match self {
            Self::Sqlite(path) => sqlite::open::unfinished(path, now),
            Self::Postgres(target) => postgres::open::unfinished(target, now),
        }
    }

    /// A rehearsal on the store, with what `fill` copies of it; in memory if there is no store yet.
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
        // An empty file is none yet.
        std::fs::write(&path, "").unwrap();
        assert!(!place.is_there().unwrap());
        drop(place.writer(Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap());
        assert!(place.is_there().unwrap());
    }
}

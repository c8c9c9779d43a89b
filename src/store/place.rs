//! Where a store, or the database of an application, lies: an SQLite file or a PostgreSQL server. This is the one place
//! that chooses the engine by which it is opened. Knows nothing of what is in it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Result;
use super::engine::{Db, DbSession, Fail, postgres, sqlite};
use super::source::OWN_VIEW;
use crate::domain::server::Target;

/// Where a database lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Arc<Target>),
}

impl Place {
    /// The file of the database; `None` for a server, whose files are its own matter.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// Name of the view over a store's own tables.
    #[must_use]
    pub const fn own_view(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => OWN_VIEW,
            // One of the application's may have the same name, where its role looks.
            Self::Postgres(_) => "tink_sync.tink_sync_source_v1",
        }
    }

    /// What there is to say of it while there is no store.
    #[must_use]
    pub fn absence(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("{} does not exist yet", path.display()),
            Self::Postgres(target) => format!("{} holds no store yet", target.url()),
        }
    }

    /// Whether there is a store. An empty file, or a database without our tables, is none yet: the next run makes one in
    /// it.
    ///
    /// # Errors
    /// [`super::StoreError`] if a server cannot be asked.
    pub fn is_there(&self) -> Result<bool> {
        match self {
            Self::Sqlite(path) => Ok(sqlite::regular::is_there(path)),
            Self::Postgres(target) => postgres::open::is_there(target),
        }
    }

    /// Opens an existing store for statements that only read, in a transaction that shows it as it is now.
    pub(super) fn reader(&self) -> Result<DbSession> {
        match self {
            Self::Sqlite(path) => sqlite::open::reader(path),
            Self::Postgres(target) => postgres::open::reader(target),
        }
    }

    /// Opens a store for writing, making and migrating it as needed.
    pub(super) fn writer(&self, patience: Duration, now: Timestamp) -> Result<DbSession> {
        match self {
            Self::Sqlite(path) => sqlite::open::writer(path, patience, now),
            Self::Postgres(target) => postgres::open::writer(target, patience, now),
        }
    }

    /// As [`Self::writer`], for the thread that commits in groups.
    pub(super) fn for_groups(&self, patience: Duration, now: Timestamp) -> Result<DbSession> {
        match self {
            Self::Sqlite(path) => sqlite::open::for_groups(path, patience, now),
            Self::Postgres(target) => postgres::open::writer(target, patience, now),
        }
    }

    /// As [`Self::writer`], also where a store is being moved to.
    pub(super) fn unfinished(&self, now: Timestamp) -> Result<DbSession> {
        match self {
            Self::Sqlite(path) => sqlite::open::unfinished(path, now),
            Self::Postgres(target) => postgres::open::unfinished(target, now),
        }
    }

    /// A rehearsal on the store, with what `fill` copies of it; in memory if there is no store yet.
    pub(super) fn rehearsal(
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

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }
}

/// The path of the file, or the address of the server without a password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(target) => f.write_str(target.url()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_as_it_was_named_and_what_is_not_there_is_told_by_its_kind() {
        let address = "postgres://app@db1,db2/bank?sslmode=verify-full";
        let server = Place::Postgres(Arc::new(Target::parse(address, &|_| None).unwrap()));
        assert_eq!((server.to_string(), server.file()), (address.to_owned(), None));
        assert_eq!(server.absence(), format!("{address} holds no store yet"));

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let place = Place::from(path.clone());
        assert_eq!((place.to_string(), place.file()), (path.display().to_string(), Some(path.as_path())));
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

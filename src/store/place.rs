//! Where a store, or the database of an application, lies: an SQLite file or a PostgreSQL server. This is the one place
//! that chooses the engine by which it is opened. Knows nothing of what is in it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Result;
use super::engine::postgres::connect::Target;
use super::engine::{Db, DbSession, Fail, postgres, sqlite};

/// Where a database lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Arc<Target>),
}

impl Place {
    /// A server by its address, with the password file that is to be used in place of the user's own.
    ///
    /// # Errors
    /// What was expected of the address, without a word of it.
    pub fn server(url: &str, pgpass: Option<&Path>) -> std::result::Result<Self, String> {
        let target = Target::parse(url, &crate::config::process_env)?.with_pgpass(pgpass.map(Path::to_owned));
        Ok(Self::Postgres(Arc::new(target)))
    }

    /// The file of the database; `None` for a server, whose files are its own matter.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
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

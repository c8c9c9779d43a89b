//! Where a store, or the database of an application, is: a SQLite file or a PostgreSQL server. Opens nothing,
//! and knows nothing of its contents.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::server::Target;

/// Name of the view over our own tables, used when the application has none.
pub const OWN_VIEW: &str = "tink_sync_source_v1";

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Arc<Target>),
}

impl Place {
    /// The file of the database; `None` for a server.
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
            // The application may have a view of the same name in its role's search path.
            Self::Postgres(_) => "tink_sync.tink_sync_source_v1",
        }
    }

    /// The message for a place that holds no store.
    #[must_use]
    pub fn absence(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("{} does not exist yet", path.display()),
            Self::Postgres(target) => format!("{} holds no store yet", target.url()),
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

        let path = PathBuf::from("/no/where/store.db");
        let place = Place::from(path.clone());
        assert_eq!((place.to_string(), place.file()), (path.display().to_string(), Some(path.as_path())));
        assert_eq!(place.absence(), "/no/where/store.db does not exist yet");
    }
}

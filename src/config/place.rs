//! Where a database is: an SQLite file or a PostgreSQL server. Finds out and opens nothing; what an address of a server
//! may hold, its own module says.

use std::path::{Path, PathBuf};

use crate::store::Place;

const EXPECTED: &str = "expected `sqlite:` and the path of a file, as in \
     `sqlite:/var/lib/tink-sync/tink-sync.db`, or `postgres://…`";
const MEMORY: &str = "expected a file: a store in memory would forget everything at the end of the run";
const PARAMETERS: &str = "expected `sqlite:` and a path without `?` parameters";
const NO_DATABASE: &str = "expected the path of the application's database file, or `postgres://…`";

/// Reads `store.url`; the error says what was expected. `pgpass` is the password file for a server.
pub(super) fn store_url(text: &str, pgpass: Option<&Path>) -> Result<Place, String> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        sqlite(path).map_err(str::to_owned)
    } else if is_server(text) {
        Place::server(text, pgpass)
    } else {
        Err(EXPECTED.to_owned())
    }
}

/// Reads `source.database`: the path of a file, or the address of a server; the error says what was expected.
pub(super) fn source_database(text: &str, pgpass: Option<&Path>) -> Result<Place, String> {
    if text.is_empty() {
        Err(NO_DATABASE.to_owned())
    } else if is_server(text) {
        Place::server(text, pgpass)
    } else {
        Ok(Place::Sqlite(PathBuf::from(text)))
    }
}

fn is_server(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// `sqlite:path` and `sqlite:///absolute/path`; two slashes before a name mean different things to
/// different programs and are refused.
fn sqlite(path: &str) -> Result<Place, &'static str> {
    let path = match path.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return Err(EXPECTED),
        None => path,
    };
    if path.is_empty() || path.ends_with('/') {
        Err(EXPECTED)
    } else if path.contains(":memory:") {
        Err(MEMORY)
    } else if path.contains('?') {
        Err(PARAMETERS)
    } else {
        Ok(Place::Sqlite(PathBuf::from(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Place, String> {
        store_url(text, None)
    }

    #[test]
    fn files_and_servers_are_told_apart() {
        for (text, path) in [
            ("sqlite:/var/lib/tink-sync/tink-sync.db", "/var/lib/tink-sync/tink-sync.db"),
            ("sqlite:///srv/a.db", "/srv/a.db"),
            ("sqlite:data/a.db", "data/a.db"),
        ] {
            assert_eq!(read(text), Ok(Place::Sqlite(path.into())), "{text}");
        }
        for text in ["postgres://db/bank", "postgresql://app@db:5432/bank?sslmode=verify-full"] {
            for read in [store_url, source_database] {
                let place = read(text, Some(Path::new("/etc/pgpass"))).unwrap();
                assert!(matches!(place, Place::Postgres(_)), "{place:?}");
                assert_ne!(place, read(text, None).unwrap(), "the password file belongs to it");
            }
        }
        let file = |text| source_database(text, None).unwrap();
        assert_eq!(file("/srv/app.db"), Place::Sqlite("/srv/app.db".into()));
        assert_eq!(file("app.db"), Place::Sqlite("app.db".into()));
        assert_eq!(source_database("", None), Err(NO_DATABASE.to_owned()));
    }

    #[test]
    fn passwords_in_the_address_are_refused() {
        for text in [
            "postgres://app:hunter2@db/bank",
            "postgres://app:hunter2/w@x@db/bank",
            "postgresql://db/bank?user=app&password=hunter2",
            "postgres://db/bank?PassWord=hunter2",
        ] {
            for read in [store_url, source_database] {
                let problem = read(text, None).unwrap_err();
                assert!(!problem.contains("hunter2"), "{problem}");
            }
        }
    }

    #[test]
    fn other_stores_are_refused() {
        for text in ["", "sqlite:", "sqlite://a.db", "sqlite:/srv/", "/srv/a.db", "mysql://u:p@db/x"] {
            assert_eq!(read(text), Err(EXPECTED.to_owned()), "{text}");
        }
        assert_eq!(read("sqlite::memory:"), Err(MEMORY.to_owned()));
        assert_eq!(read("sqlite:/a.db?mode=ro"), Err(PARAMETERS.to_owned()));
    }
}

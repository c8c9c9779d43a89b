//! Where the store is: a SQLite file or a PostgreSQL server. Finds out, opens nothing, and refuses a
//! password in the address.

use std::path::PathBuf;

use super::settings::StoreUrl;

const EXPECTED: &str = "expected `sqlite:` and the path of a file, as in \
     `sqlite:/var/lib/tink-sync/tink-sync.db`, or `postgres://…`";
const MEMORY: &str = "expected a file: a store in memory would forget everything at the end of the run";
const PARAMETERS: &str = "expected `sqlite:` and a path without `?` parameters";
const PASSWORD: &str = "expected an address without a password; put that into a password file and name it \
     in `store.pgpass_file`";

/// Reads `store.url`; the error says what was expected.
pub(super) fn store_url(text: &str) -> Result<StoreUrl, &'static str> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        sqlite(path)
    } else if let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
    {
        if holds_password(rest) { Err(PASSWORD) } else { Ok(StoreUrl::Postgres(text.to_owned())) }
    } else {
        Err(EXPECTED)
    }
}

/// `sqlite:path` and `sqlite:///absolute/path`; two slashes before a name mean different things to
/// different programs and are refused.
fn sqlite(path: &str) -> Result<StoreUrl, &'static str> {
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
        Ok(StoreUrl::Sqlite(PathBuf::from(path)))
    }
}

/// Whether a password could be anywhere in it; takes the last `@`, since passwords hold any letter.
fn holds_password(rest: &str) -> bool {
    let user = rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    let parameter =
        rest.split_once('?').is_some_and(|(_, query)| query.to_ascii_lowercase().contains("password"));
    user || parameter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_servers_are_told_apart() {
        for (text, path) in [
            ("sqlite:/var/lib/tink-sync/tink-sync.db", "/var/lib/tink-sync/tink-sync.db"),
            ("sqlite:///srv/a.db", "/srv/a.db"),
            ("sqlite:data/a.db", "data/a.db"),
        ] {
            assert_eq!(store_url(text), Ok(StoreUrl::Sqlite(path.into())), "{text}");
        }
        for text in ["postgres://db/bank", "postgresql://app@db:5432/bank?sslmode=verify-full"] {
            assert_eq!(store_url(text), Ok(StoreUrl::Postgres(text.to_owned())));
        }
    }

    #[test]
    fn passwords_in_the_address_are_refused() {
        for text in [
            "postgres://app:hunter2@db/bank",
            "postgres://app:p/w@x@db/bank",
            "postgresql://db/bank?user=app&password=hunter2",
            "postgres://db/bank?PassWord=x",
        ] {
            assert_eq!(store_url(text), Err(PASSWORD), "{text}");
        }
    }

    #[test]
    fn other_stores_are_refused() {
        for text in ["", "sqlite:", "sqlite://a.db", "sqlite:/srv/", "/srv/a.db", "mysql://u:p@db/x"] {
            assert_eq!(store_url(text), Err(EXPECTED), "{text}");
        }
        assert_eq!(store_url("sqlite::memory:"), Err(MEMORY));
        assert_eq!(store_url("sqlite:/a.db?mode=ro"), Err(PARAMETERS));
    }
}

//! Where a database is: a SQLite file or a PostgreSQL server. Determines the place and opens nothing;
//! `domain::server` defines what a server's address may contain.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

use super::bounds::{Checked, OutOfBounds};
use super::variables::Env;
use crate::domain::server::Target;
use crate::store::Place;

const EXPECTED: &str = "expected `sqlite:` and the path of a file, as in \
     `sqlite:/var/lib/tink-sync/tink-sync.db`, or `postgres://…`";
const MEMORY: &str = "expected a file: a store in memory would forget everything at the end of the run";
const PARAMETERS: &str = "expected `sqlite:` and a path without `?` parameters";
const NO_DATABASE: &str = "expected the path of the application's database file, or `postgres://…`";

/// What applies to every address of a server.
pub(super) struct Servers<'a> {
    /// Supplies what the address omits.
    pub env: &'a Env<'a>,
    /// The password file, in place of the user's own.
    pub pgpass_file: Option<PathBuf>,
    /// The text of that file where only root could read it, or why there is none.
    pub pgpass_text: Option<Result<SecretString, String>>,
}

impl Servers<'_> {
    /// Reads `store.url`.
    pub(super) fn store_url(&self, text: &str) -> Checked<Place> {
        let key = "store.url";
        match text.strip_prefix("sqlite:") {
            Some(path) => sqlite(path).map_err(|problem| OutOfBounds(key, problem.to_owned())),
            None if is_server(text) => Ok(Place::Postgres(Arc::new(self.target(key, text)?))),
            None => Err(OutOfBounds(key, EXPECTED.to_owned())),
        }
    }

    /// Reads `source.database`: the path of a file, or the address of a server.
    pub(super) fn source_database(&self, text: &str) -> Checked<Place> {
        let key = "source.database";
        if text.is_empty() {
            Err(OutOfBounds(key, NO_DATABASE.to_owned()))
        } else if is_server(text) {
            Ok(Place::Postgres(Arc::new(self.target(key, text)?.for_reading())))
        } else {
            Ok(Place::Sqlite(PathBuf::from(text)))
        }
    }

    fn target(&self, key: &'static str, text: &str) -> Checked<Target> {
        let target = Target::parse(text, self.env).map_err(|problem| OutOfBounds(key, problem))?;
        match self.pgpass_text.clone().transpose() {
            Ok(Some(text)) => Ok(target.with_pgpass_text(Some(text))),
            Ok(None) => Ok(target.with_pgpass(self.pgpass_file.clone())),
            Err(problem) => {
                let problem = format!("the systemd credential `tink-sync.pgpass` {problem}");
                Err(OutOfBounds("store.pgpass_file", problem))
            }
        }
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

    const SERVERS: Servers<'_> = Servers { env: &|_| None, pgpass_file: None, pgpass_text: None };
    const ADDRESS: &str = "postgresql://app@db:5432/bank?sslmode=verify-full";

    /// Reads the text as both keys.
    fn read(servers: &Servers<'_>, text: &str) -> [Result<Place, String>; 2] {
        [servers.store_url(text), servers.source_database(text)]
            .map(|read| read.map_err(|OutOfBounds(key, problem)| format!("{key}: {problem}")))
    }

    fn store(text: &str) -> Result<Place, String> {
        let [store, _] = read(&SERVERS, text);
        store
    }

    #[test]
    fn files_and_servers_are_told_apart() {
        for (text, path) in [
            ("sqlite:/var/lib/tink-sync/tink-sync.db", "/var/lib/tink-sync/tink-sync.db"),
            ("sqlite:///srv/a.db", "/srv/a.db"),
            ("sqlite:data/a.db", "data/a.db"),
        ] {
            assert_eq!(store(text), Ok(Place::Sqlite(path.into())), "{text}");
        }
        for text in ["postgres://db/bank", ADDRESS] {
            for place in read(&SERVERS, text) {
                assert!(matches!(&place, Ok(Place::Postgres(target)) if target.url() == text), "{place:?}");
            }
        }
        let file = |text| read(&SERVERS, text)[1].clone();
        assert_eq!(file("/srv/app.db"), Ok(Place::Sqlite("/srv/app.db".into())));
        assert_eq!(file("app.db"), Ok(Place::Sqlite("app.db".into())));
        assert_eq!(file(""), Err(format!("source.database: {NO_DATABASE}")));
    }

    /// The places of both keys, with these passwords.
    fn places(servers: &Servers<'_>) -> [Place; 2] {
        read(servers, ADDRESS).map(Result::unwrap)
    }

    #[test]
    fn the_password_file_goes_with_every_address() {
        let target = |change: fn(Target) -> Target| {
            let target = || change(Target::parse(ADDRESS, &|_| None).unwrap());
            [target(), target().for_reading()].map(|target| Place::Postgres(Arc::new(target)))
        };
        assert_eq!(places(&SERVERS), target(|target| target));
        let file = Servers { pgpass_file: Some("/etc/pgpass".into()), ..SERVERS };
        assert_eq!(places(&file), target(|target| target.with_pgpass(Some("/etc/pgpass".into()))));
        // Root has read what the service user cannot.
        let text = Servers { pgpass_text: Some(Ok("*:*:*:*:hunter2".into())), ..file };
        assert_eq!(places(&text), target(|target| target.with_pgpass_text(Some("*:*:*:*:hunter2".into()))));
        assert_ne!(places(&text), places(&SERVERS));
        assert!(!format!("{:?}", places(&text)).contains("hunter2"));
        let locked = Servers { pgpass_text: Some(Err("cannot be decrypted: no key".to_owned())), ..text };
        for read in read(&locked, ADDRESS) {
            let problem = read.unwrap_err();
            assert!(problem.starts_with("store.pgpass_file: the systemd credential"), "{problem}");
            assert!(problem.ends_with("cannot be decrypted: no key"), "{problem}");
        }
        // A file needs no password.
        assert!(read(&locked, "sqlite:/srv/a.db").iter().all(Result::is_ok));
    }

    #[test]
    fn the_environment_has_what_the_address_does_not_say() {
        let named =
            Servers { env: &|name| (name == "PGPASSFILE").then(|| "/home/app/pass".into()), ..SERVERS };
        assert_ne!(places(&named), places(&SERVERS));
        let file = Servers { pgpass_file: Some("/etc/pgpass".into()), ..SERVERS };
        assert_eq!(places(&Servers { pgpass_file: file.pgpass_file.clone(), ..named }), places(&file));
    }

    #[test]
    fn passwords_in_the_address_are_refused() {
        for text in [
            "postgres://app:hunter2@db/bank",
            "postgres://app:hunter2/w@x@db/bank",
            "postgresql://db/bank?user=app&password=hunter2",
            "postgres://db/bank?PassWord=hunter2",
        ] {
            for read in read(&SERVERS, text) {
                let problem = read.unwrap_err();
                assert!(!problem.contains("hunter2"), "{problem}");
            }
        }
    }

    #[test]
    fn other_stores_are_refused() {
        let refused = |problem: &str| Err(format!("store.url: {problem}"));
        for text in ["", "sqlite:", "sqlite://a.db", "sqlite:/srv/", "/srv/a.db", "mysql://u:p@db/x"] {
            assert_eq!(store(text), refused(EXPECTED), "{text}");
        }
        assert_eq!(store("sqlite::memory:"), refused(MEMORY));
        assert_eq!(store("sqlite:/a.db?mode=ro"), refused(PARAMETERS));
    }
}

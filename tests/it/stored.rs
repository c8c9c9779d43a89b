//! Where a store of the tests lies, a file of SQLite's or a database of PostgreSQL's, and how tests look at it and make
//! it worse without knowing which. Holds no test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;
use tink_sync::config;
use tink_sync::domain::server::Target;
use tink_sync::store::{Store, Writer};

use crate::harness::{looked_at, opened};
use crate::postgres::{self, Database, Session};

/// The engine that the tests run on, by its name.
const VARIABLE: &str = "TINK_SYNC_TEST_STORE";

/// What keeps a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// The one that this run of the tests is asked to use.
    pub fn asked() -> Self {
        match config::process_env(VARIABLE).as_deref().and_then(std::ffi::OsStr::to_str) {
            None | Some("sqlite") => Self::Sqlite,
            Some("postgres") => Self::Postgres,
            Some(other) => panic!("{VARIABLE} is {other}: neither sqlite nor postgres"),
        }
    }
}

/// Ends a test about a file of SQLite's when the tests run on another engine, and says so where everybody sees it.
macro_rules! only_on_sqlite {
    ($why:literal) => {
        if $crate::stored::is_not_sqlite(concat!(module_path!(), ":", line!()), $why) {
            return;
        }
    };
}
pub(crate) use only_on_sqlite;

/// Says a line past the test runner, which shows nothing of a test that passes.
pub fn tell(line: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes()).unwrap();
}

pub fn is_not_sqlite(place: &str, why: &str) -> bool {
    let is_not = Engine::asked() != Engine::Sqlite;
    if is_not {
        tell(&format!("NOT RUN on this engine: {place}: {why}"));
    }
    is_not
}

/// A store of its own, or the place for one.
#[derive(Clone)]
pub enum Place {
    File(PathBuf),
    Database(Database),
}

impl Place {
    /// A place for a store; `file` is where it would lie.
    pub fn new(engine: Engine, file: PathBuf) -> Self {
        match engine {
            Engine::Sqlite => Self::File(file),
            Engine::Postgres => Self::Database(postgres::server().database()),
        }
    }

    /// Its address as `store.url` has it.
    pub fn url(&self) -> String {
        match self {
            Self::File(path) => format!("sqlite:{}", path.display()),
            Self::Database(database) => database.url(),
        }
    }

    /// What messages about it name.
    pub fn name(&self) -> &str {
        match self {
            Self::File(path) => path.file_name().unwrap().to_str().unwrap(),
            Self::Database(database) => database.name(),
        }
    }

    /// Whether there is a store.
    pub fn exists(&self) -> bool {
        match self {
            Self::File(path) => path.exists(),
            Self::Database(database) => database.has_store(),
        }
    }

    /// The store as it is now, for looking only. A later look may show something else, and this one may too.
    pub fn look(&self) -> Connection {
        match self {
            Self::File(path) => looked_at(path),
            Self::Database(database) => database.seen(None),
        }
    }

    /// The same for one query.
    pub fn look_for(&self, sql: &str) -> Connection {
        match self {
            Self::File(path) => looked_at(path),
            Self::Database(database) => database.seen(Some(sql)),
        }
    }

    /// The store for a reader that has seen `view` up to this change number.
    pub fn look_since(&self, view: &str, seen: i64) -> Connection {
        match self {
            Self::File(path) => looked_at(path),
            Self::Database(database) => {
                database.seen_where(Some(view), &format!("WHERE change_seq > {seen}"))
            }
        }
    }

    /// A store that lies apart from every world, with the directory that it may lie in.
    pub fn of_its_own() -> (tempfile::TempDir, Self) {
        let dir = tempfile::tempdir().unwrap();
        let place = Self::new(Engine::asked(), dir.path().join("store.db"));
        (dir, place)
    }

    /// Opens it as a pass does.
    pub fn open(&self, now: Timestamp) -> Store {
        open(&self.url(), now)
    }

    /// Opens it as a command does that changes it.
    pub fn writer(&self, now: Timestamp) -> Writer {
        Writer::open(&location(&self.url()), now).unwrap()
    }

    /// A reader that stays and always sees it as it is; `None` where each look is one of its own.
    pub fn live(&self) -> Option<Connection> {
        match self {
            Self::File(path) => Some(looked_at(path)),
            Self::Database(_) => None,
        }
    }

    /// Runs statements that change it.
    pub fn alter(&self, sql: &str) {
        match self {
            Self::File(path) => opened(path).execute_batch(sql).unwrap_or_else(|e| panic!("{e}: {sql}")),
            Self::Database(database) => database.alter(sql),
        }
    }

    /// Begins to change it; what is not committed is undone when the answer is dropped.
    pub fn altering(&self, sql: &str) -> Held {
        match self {
            Self::File(path) => {
                let writer = opened(path);
                writer.execute_batch(&format!("BEGIN IMMEDIATE; {sql}")).unwrap();
                Held::File(writer)
            }
            Self::Database(database) => {
                let mut session = database.session();
                session.run(&format!("BEGIN; {sql}"));
                Held::Database(session)
            }
        }
    }

    /// A reader that holds on to the store as it is now.
    pub fn reading(&self) -> Held {
        let (sqlite, count) = ("BEGIN", "SELECT count(*) FROM connections_v1");
        match self {
            Self::File(path) => {
                let reader = looked_at(path);
                reader.execute_batch(&format!("{sqlite}; {count}")).unwrap();
                Held::File(reader)
            }
            Self::Database(database) => {
                let mut session = database.session();
                session.run(&format!(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ; {}",
                    count.replace("FROM ", "FROM tink_sync.")
                ));
                Held::Database(session)
            }
        }
    }

    /// All that is kept of it, in whatever corner: the bytes of its files, or of the rows of all tables. What a server
    /// keeps of erased rows until it needs the room is not to be had here.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::File(path) => ["", "-wal", "-journal"]
                .iter()
                .filter_map(|beside| std::fs::read(beside_of(path, beside)).ok())
                .flatten()
                .collect(),
            Self::Database(database) => database.bytes(),
        }
    }

    /// A backup of it as it is now, as another store; `file` is where it would lie.
    pub fn backup(&self, file: PathBuf) -> Self {
        match self {
            Self::File(path) => {
                looked_at(path).execute("VACUUM INTO ?1", [file.to_str().unwrap()]).unwrap();
                Self::File(file)
            }
            Self::Database(database) => Self::Database(database.copied()),
        }
    }

    /// What is said of it while there is no store.
    pub fn absence(&self) -> String {
        match self {
            Self::File(path) => format!("{} does not exist yet", path.display()),
            Self::Database(database) => format!("{} holds no store yet", database.url()),
        }
    }

    /// Takes it away.
    pub fn remove(&self) {
        match self {
            Self::File(path) => {
                std::fs::remove_file(path).unwrap();
                for beside in ["-wal", "-shm"] {
                    let _ = std::fs::remove_file(beside_of(path, beside));
                }
            }
            Self::Database(database) => database.alter("DROP SCHEMA tink_sync CASCADE"),
        }
    }

    /// Whether a process of the program has opened it.
    pub fn is_used_by(&self, process: u32) -> bool {
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        let mut names = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        match self {
            Self::File(path) => names.any(|name| name.ends_with(path.file_name().unwrap())),
            Self::Database(database) => names.any(|_| true) && database.is_used(),
        }
    }

    /// What changes whenever something is written.
    pub fn written(&self) -> Option<String> {
        match self {
            Self::File(path) => Some(std::fs::metadata(beside_of(path, "-wal")).ok()?.len().to_string()),
            Self::Database(database) => database.written(),
        }
    }
}

/// Opens a store as a pass does, by its address.
pub fn open(url: &str, now: Timestamp) -> Store {
    Store::open(&location(url), Duration::ZERO, now).unwrap()
}

fn location(url: &str) -> tink_sync::store::Place {
    let file = url.strip_prefix("sqlite:").map(|path| PathBuf::from(path).into());
    let server = |url| Target::parse(url, &|_| None).unwrap();
    file.unwrap_or_else(|| tink_sync::store::Place::Postgres(Arc::new(server(url))))
}

/// A look at a store, by a reader that stays or one of its own.
pub enum Look<'a> {
    Live(&'a Connection),
    Taken(Connection),
}

impl std::ops::Deref for Look<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Self::Live(reader) => reader,
            Self::Taken(reader) => reader,
        }
    }
}

/// What SQLite keeps beside a file.
fn beside_of(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A transaction that somebody leaves open, until it is dropped.
pub enum Held {
    File(Connection),
    Database(Session),
}

impl Held {
    /// Makes what it changed durable.
    pub fn commit(mut self) {
        match &mut self {
            Self::File(writer) => writer.execute_batch("COMMIT").unwrap(),
            Self::Database(session) => session.run("COMMIT"),
        }
    }
}

/// A text as it must stand in SQL.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

//! What the tests share: a sandbox, an application's database, a configuration file, the binary, and
//! the comparison of the store with the truth. Holds no test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tempfile::TempDir;
use tink_sandbox::{Config, Rates, Sandbox, Truth};
use tink_sync::clock::{Clock as _, SystemClock};

use crate::postgres;
pub use crate::ran::{Ran, Running, until, was_killed};
use crate::stored::{Engine, Held, Place, literal};

/// A whole small installation.
pub struct World {
    pub sandbox: Sandbox,
    pub dir: TempDir,
    /// Where its store lies, or will.
    pub place: Place,
    app: Place,
    users: Vec<String>,
    settings: BTreeMap<String, String>,
}

/// A sandbox configuration of `users` users with one account and about twenty rows each, for tests that
/// look at what happens to connections and not at their data.
pub fn small(users: u32) -> Config {
    Config { history_days: 14, rows_per_day: 0.5, max_accounts: 1, ..plain(users) }
}

/// A sandbox configuration of `users` plain users: nothing odd, small histories.
pub fn plain(users: u32) -> Config {
    Config {
        users,
        rates: Rates::none(),
        history_days: 40,
        max_accounts: 2,
        count_per_user: true,
        ..Config::default()
    }
}

impl World {
    /// A world in which every generated user is a connection `c-<n>` of an entitled application user `u-<n>`.
    pub fn new(config: Config) -> Self {
        let users = (0..config.users).map(|n| format!("user-{n}")).collect();
        Self::with_users(config, users)
    }

    /// A world whose connections `c-<n>` are these Tink users.
    pub fn with_users(config: Config, users: Vec<String>) -> Self {
        Self::on(Engine::asked(), Engine::Sqlite, config, users)
    }

    /// The same with the store on one engine and the application's database on another; the same one if both are
    /// PostgreSQL's.
    pub fn on(store: Engine, app: Engine, config: Config, users: Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Place::new(store, dir.path().join("store.db"));
        let app = match (&store, app) {
            (Place::Database(_), Engine::Postgres) => store.clone(),
            _ => Place::new(app, dir.path().join("app.db")),
        };
        Self::between(store, app, dir, config, users)
    }

    /// A world whose application has a PostgreSQL database of its own.
    pub fn with_app_in_postgres(store: Engine, config: Config) -> Self {
        let users = (0..config.users).map(|n| format!("user-{n}")).collect();
        let dir = tempfile::tempdir().unwrap();
        let store = Place::new(store, dir.path().join("store.db"));
        Self::between(store, Place::Database(postgres::server().database()), dir, config, users)
    }

    fn between(store: Place, app: Place, dir: TempDir, config: Config, users: Vec<String>) -> Self {
        let settings = BTreeMap::new();
        let world = Self { sandbox: Sandbox::start(config), dir, place: store, app, users, settings };
        world.app(&application(&world.app, &world.users));
        std::fs::write(world.path("secret"), format!("{}\n", world.sandbox.config().client_secret)).unwrap();
        private(&world.path("secret"));
        world.defaults()
    }

    fn defaults(self) -> Self {
        let (url, id) = (self.sandbox.url(), self.sandbox.config().client_id.clone());
        let secret = self.path("secret").display().to_string();
        let hooks = self.path("hooks").display().to_string();
        let spool = self.path("spool").display().to_string();
        let (store, app) = (self.place.url(), self.app.url());
        let world = self
            .set("tink.client_id", &quoted(&id))
            .set("tink.client_secret_file", &quoted(&secret))
            .set("tink.api_url", &quoted(&url))
            .set("tink.requests_per_second", "10000")
            .set("store.url", &quoted(&store))
            .set("sync.min_interval", &quoted("0s"))
            .set("sync.outage_patience", &quoted("0s"))
            // The sandbox begins four days ago; tests/it/stale.rs has the limit as shipped.
            .set("sync.stale_after", &quoted("365d"))
            .set("retry.base", &quoted("1ms"))
            .set("retry.max", &quoted("5ms"))
            .set("hooks.directory", &quoted(&hooks))
            .set("hooks.spool", &quoted(&spool));
        let world = world.set("source.view", &quoted("tink_sync_source_v1"));
        let other = app.strip_prefix("sqlite:").unwrap_or(&app);
        if store == app { world } else { world.set("source.database", &quoted(other)) }
    }

    /// The same world with a setting, given as TOML.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        let lines: Vec<String> =
            self.settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        std::fs::write(self.path("tink-sync.toml"), lines.concat()).unwrap();
        self
    }

    /// The same world without a setting.
    pub fn unset(mut self, key: &str) -> Self {
        self.settings.remove(key);
        self.set("enabled", "true")
    }

    /// The same world with the store of a backup.
    pub fn restored(mut self, backup: Place) -> Self {
        let url = quoted(&backup.url());
        self.place = backup;
        self.set("store.url", &url)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of the binary, with this world's configuration and no environment of ours.
    pub fn command(&self, args: &[&str]) -> Command {
        self.place.miss_the_dead();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tink-sync"));
        // Root stays root, also on a machine that has the service's user.
        command.env_clear().env("TINK_SYNC_USER", "root");
        command.arg("--config").arg(self.path("tink-sync.toml")).args(args);
        command
    }

    /// Runs any command.
    pub fn cli(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Runs a pass with a JSON report.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.pass(args).output().unwrap())
    }

    /// Runs a pass as systemd's timer does.
    pub fn run_by_timer(&self) -> Ran {
        let now = SystemClock.now().as_microsecond();
        Ran::of(self.pass(&[]).env("TRIGGER_TIMER_REALTIME_USEC", now.to_string()).output().unwrap())
    }

    /// Starts a pass and goes on.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut command = self.pass(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(command.spawn().unwrap()))
    }

    /// The command of a pass, to be run in any way.
    pub fn pass(&self, args: &[&str]) -> Command {
        let mut all = vec!["run", "--format", "json"];
        all.extend(args);
        self.command(&all)
    }

    /// Changes the application's database.
    pub fn app(&self, sql: &str) {
        self.app.alter(sql);
    }

    /// Whether there is a store.
    pub fn has_store(&self) -> bool {
        self.place.exists()
    }

    /// The store as it is now, for looking only.
    pub fn store(&self) -> Connection {
        self.place.look()
    }

    /// The store, for making it worse.
    pub fn tamper(&self, sql: &str) {
        self.place.alter(sql);
    }

    /// The database of a store on PostgreSQL.
    pub fn database(&self) -> &postgres::Database {
        match &self.place {
            Place::Database(database) => database,
            Place::File(path) => panic!("{} is a file", path.display()),
        }
    }

    /// A reader that holds on to the store as it is now, until it is dropped.
    pub fn reading(&self) -> Held {
        self.place.reading()
    }

    /// Everything of this world with its bytes: files, and databases that are none. Empty files do not count, nor does
    /// the index of a log.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.files().into_iter().filter(|name| !name.ends_with("-shm"));
        let files = names.filter(|name| self.path(name).is_file());
        let mut all: BTreeMap<String, Vec<u8>> =
            files.map(|name| (name.clone(), std::fs::read(self.path(&name)).unwrap())).collect();
        if let Place::Database(database) = &self.place {
            all.insert(database.name().to_owned(), database.bytes());
        }
        all.retain(|_, bytes| !bytes.is_empty());
        all
    }

    /// How often a text stands in the store, in whatever corner.
    pub fn traces(&self, text: &str) -> usize {
        self.place.bytes().windows(text.len()).filter(|window| *window == text.as_bytes()).count()
    }

    /// One text of the store.
    pub fn text(&self, sql: &str) -> Option<String> {
        self.place
            .look_for(sql)
            .query_row(sql, [], |row| {
                Ok(match row.get_ref(0)? {
                    rusqlite::types::ValueRef::Null => None,
                    rusqlite::types::ValueRef::Integer(number) => Some(number.to_string()),
                    rusqlite::types::ValueRef::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
                    other => panic!("{sql} gives {other:?}"),
                })
            })
            .unwrap()
    }

    /// One number of the store.
    pub fn number(&self, sql: &str) -> i64 {
        self.place.look_for(sql).query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Fails unless the live rows, accounts and balances of connection `c-<n>` are Tink's, exactly.
    pub fn assert_exact(&self, n: usize) {
        if let Some(difference) = self.difference(n) {
            panic!("c-{n}: {difference}");
        }
    }

    /// What of the live rows, accounts and balances of connection `c-<n>` is not Tink's, if anything.
    pub fn difference(&self, n: usize) -> Option<String> {
        let truth = self.sandbox.truth(&self.users[n]);
        let connection = format!("c-{n}");
        let (rows, accounts) = (true_rows(&truth), true_accounts(&truth));
        let stored = self.stored_accounts(&connection, &accounts);
        if stored != accounts {
            return Some(format!("accounts are {stored:#?}, not {accounts:#?}"));
        }
        let stored = self.stored_rows(&connection, &accounts);
        let (true_set, stored_set): (BTreeSet<_>, BTreeSet<_>) =
            (rows.iter().collect(), stored.iter().collect());
        let missing: Vec<_> = true_set.difference(&stored_set).take(3).collect();
        let extra: Vec<_> = stored_set.difference(&true_set).take(3).collect();
        if !missing.is_empty() || !extra.is_empty() {
            return Some(format!("missing {missing:#?}, too much {extra:#?}"));
        }
        (stored.len() != rows.len()).then(|| "a row is held twice".to_owned())
    }

    /// [`Self::assert_exact`] for every connection.
    pub fn assert_all_exact(&self) {
        for n in 0..self.users.len() {
            self.assert_exact(n);
        }
    }

    fn stored_rows(&self, connection: &str, accounts: &[Vec<Option<String>>]) -> Vec<Vec<Option<String>>> {
        let sql = "SELECT account_id, transaction_id, status, amount, currency, booked_date, value_date,
                          description_original, description, provider_transaction_id, reference
                   FROM transactions_v1 WHERE connection_id = ?1 AND removed_at IS NULL ORDER BY 1, 2";
        // Rows of closed accounts stay, and are not Tink's any more.
        let listed = |row: &Vec<Option<String>>| accounts.iter().any(|account| account[0] == row[0]);
        self.texts(sql, connection).into_iter().filter(listed).collect()
    }

    fn stored_accounts(&self, connection: &str, listed: &[Vec<Option<String>>]) -> Vec<Vec<Option<String>>> {
        let sql = "SELECT account_id, name, type, iban, currency, booked_balance, available_balance
                   FROM accounts_v1 WHERE connection_id = ?1 AND closed_at IS NULL ORDER BY 1";
        // An account that is gone closes when a second, newer list agrees.
        let listed = |row: &Vec<Option<String>>| listed.iter().any(|account| account[0] == row[0]);
        self.texts(sql, connection).into_iter().filter(listed).collect()
    }

    /// The live rows of connection `c-<n>`, by account and id.
    pub fn live(&self, n: usize) -> BTreeSet<Vec<Option<String>>> {
        let sql = "SELECT CAST(account_key AS TEXT), transaction_id FROM transactions_v1
                   WHERE connection_id = ?1 AND removed_at IS NULL";
        self.texts(sql, &format!("c-{n}")).into_iter().collect()
    }

    /// State and reason of connection `c-<n>`.
    pub fn state(&self, n: usize) -> (String, Option<String>) {
        let sql = "SELECT state, reason FROM connections_v1 WHERE connection_id = ?1";
        let row = self.texts(sql, &format!("c-{n}")).pop().unwrap();
        (row[0].clone().unwrap(), row[1].clone())
    }

    /// Fails unless every run has ended and nothing is held any more.
    pub fn assert_at_rest(&self) {
        assert_eq!(self.leased(), 0);
        assert_eq!(self.number("SELECT count(*) FROM runs_v1 WHERE finished_at IS NULL"), 0);
        assert!(!self.files().iter().any(|name| name.contains("-run-")), "left behind: {:?}", self.files());
    }

    /// The names of all files of this world.
    pub fn files(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// All rows of a query over one connection, as texts.
    pub fn texts(&self, sql: &str, connection: &str) -> Vec<Vec<Option<String>>> {
        texts(&self.place.look_for(sql), sql, connection)
    }
}

/// All rows of a query over one connection, as texts.
pub fn texts(db: &Connection, sql: &str, connection: &str) -> Vec<Vec<Option<String>>> {
    let mut statement = db.prepare_cached(sql).unwrap();
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>, column: usize| {
        use rusqlite::types::ValueRef;
        Ok(match row.get_ref(column)? {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(number.to_string()),
            ValueRef::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            ValueRef::Blob(bytes) => Some(format!("{bytes:?}")),
        })
    };
    let rows = statement.query_map([connection], |row| (0..columns).map(|i| text(row, i)).collect()).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// A typical application: its users, and the view over them.
fn application(place: &Place, users: &[String]) -> String {
    let (first, flag, time, view) = match place {
        Place::File(_) => ("PRAGMA journal_mode = wal;", "", "", "tink_sync_source_v1"),
        Place::Database(_) => ("", "boolean", "timestamptz", "public.tink_sync_source_v1"),
    };
    let truth = if flag.is_empty() { "1" } else { "true" };
    let rows = users.iter().enumerate().map(|(n, tink)| {
        let tink = literal(tink);
        format!("INSERT INTO app_connections VALUES ('c-{n}', 'u-{n}', {truth}, {truth}, NULL, {tink});")
    });
    format!(
        "{first} CREATE TABLE app_connections
             (id TEXT, user_id TEXT, enabled {flag}, entitled {flag}, entitled_until {time}, tink TEXT);
         CREATE VIEW {view} AS SELECT id AS connection_id, user_id, enabled, entitled,
             entitled_until, tink AS external_user_id FROM app_connections;
         BEGIN; {} COMMIT;",
        rows.collect::<String>()
    )
}

/// A database to look at.
pub fn looked_at(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// A database to change.
pub fn opened(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

/// A database that is nowhere.
pub fn in_memory() -> Connection {
    Connection::open_in_memory().unwrap()
}

fn true_rows(truth: &Truth) -> Vec<Vec<Option<String>>> {
    let some = |text: &str| Some(text.to_owned());
    let mut rows: Vec<Vec<Option<String>>> = truth
        .transactions
        .iter()
        .map(|row| {
            vec![
                some(&row.account_id),
                some(&row.id),
                some(&row.status),
                some(&row.amount),
                some(&row.currency),
                row.booked_date.clone(),
                row.value_date.clone(),
                row.description_original.clone(),
                row.description_display.clone(),
                row.provider_transaction_id.clone(),
                row.reference.clone(),
            ]
        })
        .collect();
    rows.sort();
    rows
}

fn true_accounts(truth: &Truth) -> Vec<Vec<Option<String>>> {
    let some = |text: &str| Some(text.to_owned());
    let mut accounts: Vec<Vec<Option<String>>> = truth
        .accounts
        .iter()
        .map(|account| {
            vec![
                some(&account.id),
                some(&account.name),
                some(&account.kind),
                account.iban.clone(),
                account.currency.clone(),
                account.booked_balance.clone(),
                account.available_balance.clone(),
            ]
        })
        .collect();
    accounts.sort();
    accounts
}

/// A text as it must stand in TOML.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

pub fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

//! What the tests share: a sandbox, an application's database, a configuration file, the binary, and
//! the comparison of the store with the truth. Holds no test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, params};
use serde_json::Value;
use tempfile::TempDir;
use tink_sandbox::{Config, Rates, Sandbox, Truth};
use tink_sync::clock::{Clock as _, SystemClock};

/// A whole small installation.
pub struct World {
    pub sandbox: Sandbox,
    pub dir: TempDir,
    users: Vec<String>,
    settings: BTreeMap<String, String>,
}

/// What a run of the binary left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub lines: Vec<Value>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let lines = stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code().expect("the binary was not killed"), lines, stdout, stderr }
    }

    /// The summary line.
    pub fn summary(&self) -> &Value {
        let last =
            self.lines.last().unwrap_or_else(|| panic!("no report; exit {}: {}", self.code, self.stderr));
        assert_eq!(last["type"], "summary");
        last
    }

    /// A number of the summary.
    pub fn total(&self, field: &str) -> u64 {
        self.summary()[field].as_u64().unwrap_or_else(|| panic!("no {field} in {}", self.summary()))
    }

    /// A number of the summary's skips.
    pub fn skipped(&self, reason: &str) -> u64 {
        self.summary()["skipped"][reason]
            .as_u64()
            .unwrap_or_else(|| panic!("no {reason} in {}", self.summary()))
    }

    /// The lines of the connections, by id.
    pub fn connections(&self) -> BTreeMap<String, Value> {
        let lines = self.lines.iter().filter(|line| line["type"] == "connection");
        lines.map(|line| (line["connection_id"].as_str().unwrap().to_owned(), line.clone())).collect()
    }

    /// Outcome and reason of one connection.
    pub fn ended(&self, connection: &str) -> (String, Option<String>) {
        let connections = self.connections();
        let line =
            connections.get(connection).unwrap_or_else(|| panic!("{connection} is not in {}", self.stdout));
        (line["outcome"].as_str().unwrap().to_owned(), line["reason"].as_str().map(str::to_owned))
    }

    /// Fails unless the exit code is this one.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// A run in the background; it is killed if the test ends before it does.
pub struct Running(Option<Child>);

impl Running {
    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        Ran::of(self.0.take().unwrap().wait_with_output().unwrap())
    }

    /// Ends it with a signal such as `TERM`, which it must obey soon.
    pub fn stop(mut self, signal: &str) -> Ran {
        let child = self.0.as_mut().unwrap();
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        until(|| child.try_wait().unwrap().is_some());
        self.end()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Ends it as a power cut would.
    pub fn kill(self) {
        drop(self);
    }

    /// Ends it as a power cut would as soon as something is so; says whether it was still running.
    pub fn kill_when(mut self, mut is_so: impl FnMut() -> bool) -> bool {
        let mut child = self.0.take().unwrap();
        while child.try_wait().unwrap().is_none() && !is_so() {
            std::thread::sleep(Duration::from_micros(100));
        }
        child.kill().unwrap();
        was_killed(child.wait().unwrap())
    }

    /// Its standard error, to be read while it runs.
    pub fn stderr(&mut self) -> std::process::ChildStderr {
        self.0.as_mut().unwrap().stderr.take().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Whether a process ended as in a power cut.
pub fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal() == Some(9)
}

/// Waits until something is so; fails if that takes a minute.
pub fn until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < end, "waited for nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
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
        let world = Self {
            sandbox: Sandbox::start(config),
            dir: tempfile::tempdir().unwrap(),
            users,
            settings: BTreeMap::new(),
        };
        let app = opened(&world.path("app.db"));
        app.execute_batch(
            "PRAGMA journal_mode = wal;
             CREATE TABLE app_connections (id TEXT, user_id TEXT, enabled, entitled, entitled_until, tink TEXT);
             CREATE VIEW tink_sync_source_v1 AS SELECT id AS connection_id, user_id, enabled, entitled,
                 entitled_until, tink AS external_user_id FROM app_connections;",
        )
        .unwrap();
        for (n, tink) in world.users.iter().enumerate() {
            app.execute(
                "INSERT INTO app_connections VALUES (?1, ?2, 1, 1, NULL, ?3)",
                params![format!("c-{n}"), format!("u-{n}"), tink],
            )
            .unwrap();
        }
        std::fs::write(world.path("secret"), format!("{}\n", world.sandbox.config().client_secret)).unwrap();
        private(&world.path("secret"));
        world.defaults()
    }

    fn defaults(self) -> Self {
        let (url, id) = (self.sandbox.url(), self.sandbox.config().client_id.clone());
        let secret = self.path("secret").display().to_string();
        let hooks = self.path("hooks").display().to_string();
        let spool = self.path("spool").display().to_string();
        let (store, app) = (
            format!("sqlite:{}", self.path("store.db").display()),
            self.path("app.db").display().to_string(),
        );
        self.set("tink.client_id", &quoted(&id))
            .set("tink.client_secret_file", &quoted(&secret))
            .set("tink.api_url", &quoted(&url))
            .set("tink.requests_per_second", "10000")
            .set("store.url", &quoted(&store))
            .set("source.view", &quoted("tink_sync_source_v1"))
            .set("source.database", &quoted(&app))
            .set("sync.min_interval", &quoted("0s"))
            .set("sync.outage_patience", &quoted("0s"))
            // The sandbox begins four days ago; tests/it/stale.rs has the limit as shipped.
            .set("sync.stale_after", &quoted("365d"))
            .set("retry.base", &quoted("1ms"))
            .set("retry.max", &quoted("5ms"))
            .set("hooks.directory", &quoted(&hooks))
            .set("hooks.spool", &quoted(&spool))
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of the binary, with this world's configuration and no environment of ours.
    pub fn command(&self, args: &[&str]) -> Command {
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
        opened(&self.path("app.db")).execute_batch(sql).unwrap();
    }

    /// The store, for looking only.
    pub fn store(&self) -> Connection {
        looked_at(&self.path("store.db"))
    }

    /// The store, for making it worse.
    pub fn tamper(&self, sql: &str) {
        self.writer().execute_batch(sql).unwrap();
    }

    /// The store, for making it worse by more than one statement.
    pub fn writer(&self) -> Connection {
        opened(&self.path("store.db"))
    }

    /// A reader that holds on to the store as it is now, until it is dropped.
    pub fn reading(&self) -> Connection {
        let reader = self.store();
        reader.execute_batch("BEGIN; SELECT count(*) FROM connections_v1;").unwrap();
        reader
    }

    /// One text of the store.
    pub fn text(&self, sql: &str) -> Option<String> {
        self.store()
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
        self.store().query_row(sql, [], |row| row.get(0)).unwrap()
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
        texts(&self.store(), sql, connection)
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

/// A database to look at.
pub fn looked_at(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// A database to change.
pub fn opened(path: &Path) -> Connection {
    Connection::open(path).unwrap()
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

//! A PostgreSQL server of the tests' own: one per test process, started when it is first needed and ended with the
//! process whatever becomes of that, and a database of its own for whoever asks. Holds no test.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use nix::sys::statvfs::statvfs;
use postgres::{Client, IsolationLevel, Row, Transaction};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::harness::in_memory;

#[path = "../postgres_server.rs"]
mod running;

use running::session;

/// The role that owns every database, and is nothing more than that.
const OWNER: &str = "keeper";

/// Nothing of it has to last. Times and dates of sessions are what nobody here writes: what depends on them is wrong.
const SETTINGS: [&str; 8] = [
    "fsync=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_connections=400",
    "shared_buffers=256MB",
    "timezone=Asia/Tokyo",
    "datestyle=German",
];

/// The tables and views of the store: name, whether it is a view, column, the column's type.
const RELATIONS: &str = r"SELECT c.relname::text, c.relkind = 'v', a.attname::text, a.atttypid::regtype::text
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE n.nspname = 'tink_sync' AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
         AND (c.relkind IN ('r', 'p') OR c.relkind = 'v' AND c.relname LIKE '%\_v1' AND c.relname NOT LIKE 'ts\_%')
     ORDER BY c.relname, a.attnum";

/// Every table that is not the server's own, whoever made it.
const TABLES: &str = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema')
         AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1";

/// Columns with times as Tink wrote them; all others are times of our own.
const TINKS_TIMES: [(&str, &str); 6] = [
    ("consents_v1", "status_updated_at"),
    ("consents_v1", "expires_at"),
    ("accounts_v1", "last_refreshed_at"),
    ("transactions_v1", "booked_at"),
    ("balance_proofs_v1", "proven_refresh_at"),
    ("balance_proofs_v1", "judged_refresh_at"),
];

/// The server.
pub struct Server {
    running: running::Server,
    /// How a database is made. It sorts as people do, so that nothing here relies on the order of bytes unless it says so.
    how: &'static str,
    admin: Mutex<Client>,
    databases: AtomicU32,
}

/// In memory, if there is much of it: for each table and index of each test the server makes a file and removes it.
fn directory() -> PathBuf {
    const ROOM_KIB: u64 = 4 << 20;
    let memory = Path::new("/dev/shm");
    let has_room = statvfs(memory)
        .is_ok_and(|system| system.blocks_available() * system.fragment_size() / 1024 >= ROOM_KIB);
    let about = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = about
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse().ok());
    let is_ours = tempfile::tempfile_in(memory).is_ok();
    if has_room && is_ours && free.is_some_and(|kib: u64| kib >= 2 * ROOM_KIB) {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// The server of this process.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    match SERVER.get_or_init(|| apart(Server::start)) {
        Ok(server) => server,
        Err(problem) => panic!("{problem}"),
    }
}

impl Server {
    fn start() -> Result<Self, String> {
        let (running, mut admin) = running::Server::start(&directory(), &SETTINGS)?;
        admin.batch_execute(&format!("CREATE ROLE {OWNER} LOGIN")).unwrap();
        let version: String = admin.query_one("SHOW server_version", &[]).unwrap().get(0);
        crate::stored::tell(&format!("PostgreSQL {version} of {}", running.programs.display()));
        let provider = "SELECT current_setting('server_version_num')::int >= 150000,
                            EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')";
        let answer = admin.query_one(provider, &[]).unwrap();
        // Newer ones write a new database into the log, which takes three times as long.
        let how = match (answer.get(0), answer.get(1)) {
            (true, true) => "STRATEGY file_copy LOCALE_PROVIDER icu ICU_LOCALE 'en-US'",
            (true, false) => "STRATEGY file_copy",
            (false, _) => "",
        };
        let (admin, databases) = (Mutex::new(admin), AtomicU32::new(0));
        Ok(Self { running, how, admin, databases })
    }

    /// One of PostgreSQL's programs; some come without those of its users, which are Debian's then.
    fn program(&self, name: &str) -> Command {
        let own = self.running.programs.join(name);
        if own.exists() { Command::new(own) } else { Command::new(name) }
    }

    /// An empty database.
    pub fn database(&'static self) -> Database {
        let name = format!("world_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let sql =
            format!("CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0 ENCODING 'UTF8' {}", self.how);
        apart(|| locked(&self.admin).batch_execute(&sql)).unwrap();
        Database(Arc::new(Inner { server: self, name, session: Mutex::new(None) }))
    }
}

/// A database, dropped with the last that holds on to it.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    server: &'static Server,
    name: String,
    session: Mutex<Option<Client>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        apart(|| {
            drop(locked(&self.session).take());
            // It goes with the server, too.
            let _ = locked(&self.server.admin).batch_execute(&sql);
        });
    }
}

impl Database {
    /// The address as the configuration has it.
    pub fn url(&self) -> String {
        self.url_of(OWNER)
    }

    /// The address for another role.
    pub fn url_of(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{}?sslmode=disable", self.0.server.running.port, self.0.name)
    }

    /// Its name, which error messages have.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A session of its own, as the owner.
    pub fn session(&self) -> Session {
        Session(Some(apart(|| session(self.0.server.running.port, OWNER, &self.0.name)).unwrap()))
    }

    /// Runs statements as the owner.
    pub fn alter(&self, sql: &str) {
        self.with(|client| client.batch_execute(sql)).unwrap_or_else(|error| panic!("{error:?}: {sql}"));
    }

    /// What a query gives, as texts.
    pub fn texts(&self, sql: &str) -> Vec<Option<String>> {
        let rows = self.with(|client| client.query(sql, &[])).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Whether a query gives a row.
    pub fn exists(&self, sql: &str) -> bool {
        self.with(|client| client.query_opt(&format!("SELECT WHERE EXISTS ({sql})"), &[])).unwrap().is_some()
    }

    /// Whether there is a store in it.
    pub fn has_store(&self) -> bool {
        self.exists("SELECT FROM pg_tables WHERE schemaname = 'tink_sync'")
    }

    /// A setting of the server.
    pub fn setting(&self, name: &str) -> String {
        let sql = format!("SHOW {name}");
        apart(|| locked(&self.0.server.admin).query_one(&sql, &[])).unwrap().get(0)
    }

    /// Whether somebody but the tests is connected to it.
    pub fn is_used(&self) -> bool {
        let others = "SELECT FROM pg_stat_activity WHERE datname = current_database()
                          AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        self.exists(others)
    }

    /// How much the server has written, whoever wrote it.
    pub fn written(&self) -> Option<String> {
        self.texts("SELECT pg_current_wal_insert_lsn()::text").pop().unwrap()
    }

    /// The bytes of all rows of all tables.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for table in self.texts(TABLES) {
            let sql = format!("COPY (SELECT * FROM {}) TO STDOUT (FORMAT binary)", table.unwrap());
            self.with(|client| client.copy_out(&sql).unwrap().read_to_end(&mut all)).unwrap();
        }
        all
    }

    /// A copy of it as it is now, as from a backup.
    pub fn copied(&self) -> Self {
        let copy = self.0.server.database();
        let mut dump = self.0.server.program("pg_dump");
        let mut dump = dump.arg(self.url()).stdout(Stdio::piped()).spawn().unwrap();
        let mut load = self.0.server.program("psql");
        load.args(["--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1"]).arg(copy.url()).stdout(Stdio::null());
        assert!(load.stdin(dump.stdout.take().unwrap()).status().unwrap().success());
        assert!(dump.wait().unwrap().success());
        copy
    }

    /// What `psql` prints for some SQL, as this role, and whether it went well.
    pub fn psql(&self, role: &str, sql: &str) -> (bool, String) {
        self.psql_with(role, &["-c", sql])
    }

    /// The same for other arguments, such as a file and its variables.
    pub fn psql_with(&self, role: &str, arguments: &[&str]) -> (bool, String) {
        let mut psql = self.0.server.program("psql");
        psql.args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1"]).args(arguments).arg(self.url_of(role));
        let output = psql.output().unwrap();
        let said = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    /// The store as SQLite would show it: the views and base tables that are named in `sql`, or all of them. One snapshot.
    pub fn seen(&self, sql: Option<&str>) -> Connection {
        self.seen_where(sql, "")
    }

    /// As [`Self::seen`], of each relation the rows for which `condition` holds.
    pub fn seen_where(&self, sql: Option<&str>, condition: &str) -> Connection {
        self.with(|client| {
            let mut start = client.build_transaction();
            start = start.isolation_level(IsolationLevel::RepeatableRead).read_only(true);
            let mut snapshot = start.start().unwrap();
            let seen = in_memory();
            seen.execute_batch("BEGIN").unwrap();
            let mut wanted = relations(&snapshot.query(RELATIONS, &[]).unwrap());
            wanted.retain(|relation| sql.is_none_or(|sql| sql.contains(&relation.name)));
            for relation in wanted {
                relation.copy(&mut snapshot, &seen, condition);
            }
            seen.execute_batch("COMMIT").unwrap();
            seen
        })
    }

    fn with<T: Send>(&self, act: impl FnOnce(&mut Client) -> T + Send) -> T {
        apart(|| {
            let mut kept = locked(&self.0.session);
            if kept.as_ref().is_none_or(Client::is_closed) {
                *kept = Some(session(self.0.server.running.port, OWNER, &self.0.name).unwrap());
            }
            act(kept.as_mut().unwrap())
        })
    }
}

/// A session that ends when it is dropped, with what it did not commit.
pub struct Session(Option<Client>);

impl Session {
    pub fn run(&mut self, sql: &str) {
        let client = self.0.as_mut().unwrap();
        apart(|| client.batch_execute(sql)).unwrap();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let client = self.0.take();
        apart(|| drop(client));
    }
}

/// A table or view of the store.
struct Relation {
    name: String,
    is_view: bool,
    columns: Vec<(String, String)>,
}

fn relations(rows: &[Row]) -> Vec<Relation> {
    let mut relations: Vec<Relation> = Vec::new();
    for row in rows {
        let (name, column) = (row.get::<_, String>(0), (row.get(2), row.get(3)));
        match relations.last_mut() {
            Some(last) if last.name == name => last.columns.push(column),
            _ => relations.push(Relation { name, is_view: row.get(1), columns: vec![column] }),
        }
    }
    relations
}

impl Relation {
    /// Copies its rows for which `condition` holds.
    fn copy(&self, from: &mut Transaction<'_>, to: &Connection, condition: &str) {
        let table = if self.is_view { format!("seen_{}", self.name) } else { self.name.clone() };
        let columns: Vec<String> =
            self.columns.iter().map(|(name, kind)| format!("{name:?} {}", affinity(kind))).collect();
        let mut form = format!("CREATE TABLE {table} ({});", columns.join(", "));
        if self.is_view {
            write!(form, "CREATE VIEW {} AS SELECT * FROM {table}", self.name).unwrap();
        }
        to.execute_batch(&form).unwrap();
        let shown: Vec<String> =
            self.columns.iter().map(|(name, kind)| self.shown(&format!("{name:?}"), name, kind)).collect();
        // As a file gives them that was only ever added to.
        let key =
            ["key", "account_key"].into_iter().find(|key| self.columns.iter().any(|(name, _)| name == key));
        let by_key = key.map(|key| format!("ORDER BY {key}")).unwrap_or_default();
        let sql = format!("SELECT {} FROM tink_sync.{} {condition} {by_key}", shown.join(", "), self.name);
        let marks = vec!["?"; self.columns.len()].join(", ");
        let mut insert = to.prepare(&format!("INSERT INTO {table} VALUES ({marks})")).unwrap();
        for row in from.query(&sql, &[]).unwrap_or_else(|error| panic!("{error:?}: {sql}")) {
            let values = self.columns.iter().enumerate().map(|(at, (_, kind))| cell(&row, at, kind));
            insert.execute(params_from_iter(values)).unwrap();
        }
    }

    /// A column in the form that SQLite's views have.
    fn shown(&self, quoted: &str, name: &str, kind: &str) -> String {
        match affinity(kind) {
            "BLOB" | "REAL" => quoted.to_owned(),
            "INTEGER" if kind == "boolean" => format!("{quoted}::int::bigint"),
            "INTEGER" => format!("{quoted}::bigint"),
            _ => match kind {
                "numeric" => format!("trim_scale({quoted})::text"),
                "date" => written(quoted, ""),
                "timestamp with time zone" => {
                    let at = format!("({quoted} AT TIME ZONE 'UTC')");
                    if TINKS_TIMES.contains(&(self.name.as_str(), name)) {
                        let exact = written(&at, "\"T\"HH24:MI:SS.US");
                        format!("regexp_replace({exact}, '\\.?0+$', '') || 'Z'")
                    } else {
                        written(&at, "\"T\"HH24:MI:SS.MS\"Z\"")
                    }
                }
                _ => format!("{quoted}::text"),
            },
        }
    }
}

/// A day, and what comes behind it, with the year as the program writes it: there is a year 0, and one before it has a sign.
fn written(day: &str, behind: &str) -> String {
    format!(
        "(CASE WHEN extract(year FROM {day}) > 0 THEN to_char({day}, 'YYYY')
               WHEN extract(year FROM {day}) = -1 THEN '0000'
               ELSE '-' || to_char(-extract(year FROM {day}) - 1, 'FM000000') END || to_char({day}, '-MM-DD{behind}'))"
    )
}

/// The type of SQLite's that holds what a type of PostgreSQL's does.
fn affinity(kind: &str) -> &'static str {
    match kind {
        "bigint" | "integer" | "smallint" | "boolean" => "INTEGER",
        "double precision" | "real" => "REAL",
        "bytea" => "BLOB",
        _ => "TEXT",
    }
}

fn cell(row: &Row, at: usize, kind: &str) -> Value {
    match affinity(kind) {
        "INTEGER" => row.get::<_, Option<i64>>(at).map_or(Value::Null, Value::Integer),
        "REAL" => row.get::<_, Option<f64>>(at).map_or(Value::Null, Value::Real),
        "BLOB" => row.get::<_, Option<Vec<u8>>>(at).map_or(Value::Null, Value::Blob),
        _ => row.get::<_, Option<String>>(at).map_or(Value::Null, Value::Text),
    }
}

/// Runs `act` where no runtime is: the client has one of its own.
fn apart<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    if tokio::runtime::Handle::try_current().is_err() {
        return act();
    }
    std::thread::scope(|scope| scope.spawn(act).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

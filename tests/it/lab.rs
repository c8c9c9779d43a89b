//! The library itself instead of the binary: many users in one process, against the sandbox and a real store, with
//! a clock that a test moves. What days, months and thousands of histories need. Holds no test.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use rusqlite::Connection;
use secrecy::SecretString;
use tink_sandbox::{Config, Sandbox, Script, ScriptRow};
use tink_sync::clock::{Clock as _, ManualClock};
use tink_sync::domain::connection::{SourceRow, TinkUser};
use tink_sync::domain::event::{Event, Finished};
use tink_sync::domain::outcome::{Counts, Outcome, Reason};
use tink_sync::domain::view::Viewed;
use tink_sync::store::Store;
use tink_sync::store::{NewRun, RunEnd, Selection};
use tink_sync::sync::context::{PassContext, SyncOptions};
use tink_sync::sync::hold::Hold;
use tink_sync::sync::pass::{Pass, Task};
use tink_sync::sync::rotation::Renewals;
use tink_sync::tink::{Client, RetryOptions};
use tokio_util::sync::CancellationToken;

use crate::harness::{plain, texts};
use crate::stored::{Engine, Look, Place};

/// The first morning of every lab.
const MORNING: &str = "2027-01-04T06:00:00Z";

/// An installation in this process.
pub struct Lab {
    pub sandbox: Sandbox,
    pub clock: Arc<ManualClock>,
    /// Changed before a pass, for that pass.
    pub options: SyncOptions,
    dir: tempfile::TempDir,
    place: Place,
    store: Store,
    /// Open all the time, where the engine has such a thing.
    reader: Option<Connection>,
    client: Client,
    runtime: tokio::runtime::Runtime,
    users: Vec<SourceRow>,
    /// The users are not those of the last pass.
    is_news: Cell<bool>,
    runs: Cell<u32>,
}

/// What one pass told.
#[derive(Debug, Default)]
pub struct Told {
    pub events: Vec<Event>,
    ended: BTreeMap<String, Finished>,
}

impl Told {
    /// How a user's connection ended.
    pub fn ended(&self, user: &str) -> (Outcome, Option<Reason>) {
        let finished =
            self.ended.get(user).unwrap_or_else(|| panic!("{user} was not synced: {:?}", self.events));
        (finished.outcome, finished.reason)
    }

    /// What was counted for a user's connection.
    pub fn counts(&self, user: &str) -> Counts {
        self.ended.get(user).unwrap_or_else(|| panic!("{user} was not synced: {:?}", self.events)).counts
    }
}

impl Lab {
    /// A lab without users.
    pub fn new() -> Self {
        let morning: Timestamp = MORNING.parse().unwrap();
        let clock = Arc::new(ManualClock::new(morning));
        let sandbox = Sandbox::start(Config { threads: 1, log: 4000, dated: false, ..plain(0) });
        // Thousands of commits: in memory where there is such a place.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let place = Place::new(Engine::asked(), dir.path().join("store.db"));
        let store = place.open(morning);
        let reader = place.live();
        let client = Client::new(client_options(&sandbox), Arc::<ManualClock>::clone(&clock), 1).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = options();
        let (users, is_news, runs) = (Vec::new(), Cell::new(true), Cell::new(0));
        Self { sandbox, clock, options, dir, place, store, reader, client, runtime, users, is_news, runs }
    }

    /// A lab of these users, who have nothing yet.
    pub fn of(users: &[&str]) -> Self {
        let mut lab = Self::new();
        for user in users {
            lab.add(user);
        }
        lab
    }

    /// Adds a user, whose connection has the same name.
    pub fn add(&mut self, user: &str) {
        self.is_news.set(true);
        self.sandbox.script(user, Script::default());
        let tink_user = Some(TinkUser::External(user.to_owned()));
        self.users.push(SourceRow::active(user, &format!("u-{user}"), tink_user));
    }

    /// Whether a user pays.
    pub fn entitle(&mut self, user: &str, entitled: bool) {
        let row = self.users.iter_mut().find(|row| row.connection_id.as_str() == user).unwrap();
        row.entitled = entitled;
        self.is_news.set(true);
    }

    /// Lets time pass.
    pub fn wait(&self, hours: i64) {
        self.clock.advance(SignedDuration::from_hours(hours));
    }

    /// The day this many days after (or before) the first one.
    pub fn date(n: i64) -> Date {
        let morning: Timestamp = MORNING.parse().unwrap();
        morning.to_zoned_datetime(jiff::tz::TimeZone::UTC).date() + n.days()
    }

    /// One account with these rows, as refreshed now.
    pub fn refreshed(&self, rows: Vec<ScriptRow>) -> Script {
        Script::simple("a1", &self.clock.now().to_string(), rows)
    }

    /// A booked row of that account on the nth day.
    pub fn booked(id: &str, n: i64, cents: i64, text: &str) -> ScriptRow {
        ScriptRow::booked(id, "a1", Self::date(n), &cents.to_string(), "2", text)
    }

    /// A pending row of that account, expected on the nth day.
    pub fn pending(id: &str, n: i64, cents: i64, text: &str) -> ScriptRow {
        ScriptRow::pending(id, "a1", Self::date(n), &cents.to_string(), "2", text)
    }

    /// Gives a user this data.
    pub fn script(&self, user: &str, script: Script) {
        self.sandbox.script(user, script);
    }

    /// A pass over everybody.
    pub fn pass(&self) -> Told {
        self.pass_of(&[])
    }

    /// A pass over these users, or over everybody, due or not.
    pub fn pass_of(&self, users: &[&str]) -> Told {
        self.run_of(users, true)
    }

    /// A pass as the timer makes it, over those who are due.
    pub fn ordinary_pass(&self) -> Told {
        self.run_of(&[], false)
    }

    fn run_of(&self, users: &[&str], force: bool) -> Told {
        self.runs.set(self.runs.get() + 1);
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let emit = move |event: &Event| heard.lock().unwrap().push(event.clone());
        self.runtime.block_on(self.run(users, force, Arc::new(emit)));
        let events = std::mem::take(&mut *events.lock().unwrap());
        let ended = events.iter().filter_map(|event| match event {
            Event::Finished(finished) => Some((finished.connection_id.to_string(), finished.clone())),
            _ => None,
        });
        Told { ended: ended.collect(), events }
    }

    async fn run(&self, users: &[&str], force: bool, emit: Arc<dyn Fn(&Event) + Send + Sync>) {
        let (store, now) = (&self.store, self.clock.now());
        let new = NewRun {
            run_id: format!("run-{}", self.runs.get()).as_str().into(),
            trigger: "timer",
            on_demand: false,
            host: "here".to_owned(),
            version: "0",
            process_started: now,
            started_at: now,
        };
        let run = store.begin_run(new).await.unwrap();
        if self.is_news.take() {
            // Stand-alone: that all stop paying at once is no fault of a view here.
            let viewed = Viewed {
                rows: self.users.iter().cloned().collect(),
                stand_alone: true,
                at: now,
                ..Viewed::default()
            };
            store.mirror(&run, viewed).await.unwrap();
        }
        let connections = users.iter().map(|user| (*user).into()).collect();
        let task = Task {
            run: run.clone(),
            trigger: "timer",
            selection: Selection { connections, users: Vec::new() },
            force,
            dry_run: false,
            started_at: now,
            emit_skipped: false,
        };
        let context = PassContext {
            store: store.clone(),
            client: self.client.clone(),
            clock: Arc::<ManualClock>::clone(&self.clock),
            options: self.options.clone(),
            emit,
            renewals: Renewals::default(),
            hold: Hold::new(Arc::<ManualClock>::clone(&self.clock)),
        };
        Pass::new(Arc::new(context), task, CancellationToken::new()).run().await.unwrap();
        let end = RunEnd { totals: "{}".to_owned(), exit_code: 0, pass_failed: false, at: now };
        store.finish_run(&run, end).await.unwrap();
    }

    /// A copy of the store as it is now.
    pub fn backup(&self) -> Place {
        self.place.backup(self.dir.path().join(format!("backup-{}.db", self.runs.get())))
    }

    /// Goes on with such a copy.
    pub fn restore(&mut self, backup: Place) {
        self.store = backup.open(self.clock.now());
        self.reader = backup.live();
        self.place = backup;
        self.is_news.set(true);
    }

    /// The store for a reader that has seen `view` up to this change number.
    pub fn reader_since(&self, view: &str, seen: i64) -> Look<'_> {
        self.reader.as_ref().map_or_else(|| Look::Taken(self.place.look_since(view, seen)), Look::Live)
    }

    /// The store for queries that name these views and tables.
    pub fn looking(&self, sql: &str) -> Look<'_> {
        self.reader.as_ref().map_or_else(|| Look::Taken(self.place.look_for(sql)), Look::Live)
    }

    /// All rows of a query, as texts; `?1` is a connection.
    pub fn texts(&self, sql: &str, connection: &str) -> Vec<Vec<Option<String>>> {
        texts(&self.looking(sql), sql, connection)
    }

    /// Ids of a user's live rows, in order.
    pub fn live(&self, user: &str) -> Vec<String> {
        let sql = "SELECT transaction_id FROM transactions_v1 WHERE connection_id = ?1 AND removed_at IS NULL
                   ORDER BY transaction_id";
        self.texts(sql, user).into_iter().map(|mut row| row.remove(0).unwrap()).collect()
    }

    /// Columns of one row, joined by `|`.
    pub fn row(&self, id: &str, columns: &str) -> String {
        let sql = format!("SELECT concat_ws('|', {columns}) FROM transactions_v1 WHERE transaction_id = ?1");
        self.texts(&sql, id).remove(0).remove(0).unwrap()
    }

    /// One number of the store.
    pub fn number(&self, sql: &str) -> i64 {
        self.looking(sql).query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

fn client_options(sandbox: &Sandbox) -> tink_sync::tink::ClientOptions {
    tink_sync::tink::ClientOptions {
        api_url: sandbox.url(),
        client_id: sandbox.config().client_id.clone(),
        client_secret: SecretString::from(sandbox.config().client_secret.clone()),
        connect_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(30),
        max_response: 16 << 20,
        requests_per_second: 100_000.0,
        concurrency: 8,
        retry: RetryOptions { attempts: 2, base: Duration::from_millis(1), max: Duration::from_millis(2) },
        keep_raw: false,
        proxies: tink_sync::tink::Proxies::default(),
        refresh: false,
    }
}

/// The defaults of the settings, where a test needs no other.
fn options() -> SyncOptions {
    SyncOptions {
        min_interval: Duration::ZERO,
        history_days: None,
        overlap_days: 14,
        lookahead_days: 400,
        rewalk: SignedDuration::from_hours(24),
        deep_rewalk: SignedDuration::from_hours(168),
        connection_timeout: Duration::from_mins(5),
        deadline: Duration::from_mins(50),
        outage_patience: Duration::ZERO,
        slots: 12,
        probe_base: Duration::from_millis(1),
        quota: 1_000_000,
        consent_warn: vec![14, 7, 3, 1],
        refresh: None,
        stale_after: SignedDuration::from_hours(72),
        balance_min_open: SignedDuration::from_hours(48),
        bank_wait: Duration::ZERO,
    }
}

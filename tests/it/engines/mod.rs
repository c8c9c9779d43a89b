//! The same story told to a store of SQLite's and to one of PostgreSQL's: exit codes, reports and views are the same,
//! digit by digit. Needs PostgreSQL's programs.

mod hostile;
mod locked;
mod outage;
mod roles;
mod server;
mod trips;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use rusqlite::types::Value as Content;
use serde_json::Value;
use tink_sandbox::{Action, Config, Endpoint, Fault, Rates};

use crate::harness::{Ran, Running, World, plain, small, until};
use crate::scripted::SAM;
use crate::stored::Engine;

/// Two worlds that differ in the engine of their store, with what is known of how each names things.
struct Both([(World, RefCell<Known>); 2]);

impl Both {
    fn of(config: &Config, users: &[String]) -> Self {
        let world = |engine| {
            // One after the other, so that what is numbered is numbered alike.
            let world = World::on(engine, Engine::Sqlite, config.clone(), users.to_vec());
            (world.set("tink.concurrency", "1").set("sync.keep_raw", "\"90d\""), RefCell::default())
        };
        Self([Engine::Sqlite, Engine::Postgres].map(world))
    }

    fn of_sam() -> Self {
        Self::of(&plain(0), &[SAM.to_owned()])
    }

    fn each(&self, act: impl Fn(&World)) {
        self.0.iter().for_each(|(world, _)| act(world));
    }

    /// Does the same in both; fails unless the same comes of it, and the same is said. Returns what SQLite's said.
    fn compare(&self, what: &str, act: impl Fn(&World) -> Ran) -> Ran {
        let [ran, other] = self.compare_views(what, act);
        assert_eq!(ran.1.len(), other.1.len(), "{what}\nSQLite: {ran:?}\nPostgreSQL: {other:?}");
        for (line, other) in ran.1.iter().zip(&other.1) {
            assert_eq!(line, other, "{what}");
        }
        ran.0
    }

    /// Does the same in both; fails unless the same comes of it. Returns what either said.
    fn compare_views(&self, what: &str, act: impl Fn(&World) -> Ran) -> [(Ran, Vec<String>); 2] {
        let [(ran, here), (other, there)] = self.0.each_ref().map(|(world, seen)| {
            let ran = act(world);
            let mut known = seen.borrow_mut();
            known.look(world);
            let shown = (said(&ran, world, &known), views(world, &known));
            (ran, shown)
        });
        let told = format!("{what}\nSQLite: {}\nPostgreSQL: {}", ran.stderr, other.stderr);
        assert_eq!(ran.code, other.code, "{told}");
        assert!(here.1.keys().eq(there.1.keys()), "{told}: {:?} and {:?}", here.1.keys(), there.1.keys());
        for (view, rows) in &here.1 {
            rows.assert_equal(&there.1[view], &format!("{what}: {view}"));
        }
        [(ran, here.0), (other, there.0)]
    }

    /// A rehearsal, the pass, and a pass that finds nothing new, each the same in both. Returns the pass.
    fn pass(&self, what: &str) -> Ran {
        self.compare(&format!("{what}, rehearsed"), |world| world.run(&["--dry-run"]));
        let ran = self.compare(what, |world| world.run(&[]));
        self.compare(&format!("{what}, again"), |world| world.run(&["--force"]));
        for args in [
            &["export"][..],
            &["export", "--format", "json"],
            &["quarantine", "list"],
            &["audit", "--format", "json"],
        ] {
            self.compare(&format!("{what}, {args:?}"), |world| world.cli(args));
        }
        ran
    }
}

/// What a store names as it likes: runs by how many there were before, accounts by where they were seen first.
#[derive(Default)]
struct Known {
    runs: BTreeMap<String, usize>,
    accounts: BTreeMap<String, String>,
    /// The last number of the feed when it was looked at before, and now.
    before: i64,
    last: i64,
}

impl Known {
    fn look(&mut self, world: &World) {
        if !world.has_store() {
            return;
        }
        let runs = world.texts("SELECT run_id FROM runs_v1 WHERE ?1 = '' ORDER BY started_at, run_id", "");
        self.runs = runs.into_iter().map(|mut row| row.remove(0).unwrap()).zip(0..).collect();
        let accounts =
            "SELECT account_key, connection_id || ' ' || account_id FROM accounts_v1 WHERE ?1 = ''";
        for mut row in world.texts(accounts, "") {
            let (first, key) = (row.remove(1).unwrap(), row.remove(0).unwrap());
            self.accounts.entry(key).or_insert(first);
        }
        self.before = self.last;
        self.last = world.number("SELECT last_change_seq FROM feed_v1");
    }

    /// A value with its type; what two stores name differently by its place, and of a time of ours only its form.
    fn masked(&self, view: &str, column: &str, cell: Content) -> String {
        match cell {
            Content::Integer(_) if (view, column) == ("run_connections_v1", "requests") => {
                "a number".to_owned()
            }
            Content::Integer(_)
                if ["duration_ms", "store_round_trips", "last_change_seq", "whole_from"]
                    .contains(&column) =>
            {
                "a number".to_owned()
            }
            // When a number is given differs, what is news does not.
            Content::Integer(number) if column == "change_seq" => {
                format!("is news: {}", number > self.before)
            }
            Content::Integer(key) if column == "account_key" => {
                format!("account {:?}", self.accounts.get(&key.to_string()))
            }
            Content::Text(text) if column.ends_with("run_id") || column.ends_with("_run") => {
                format!("run {:?}", self.runs.get(&text))
            }
            Content::Text(text) if is_ours(column) => {
                let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
                assert_eq!(form, "0000-00-00T00:00:00.000Z", "{view}.{column} is {text}");
                form
            }
            cell => format!("{cell:?}"),
        }
    }
}

/// What was printed, without what no two runs have in common, and in order.
fn said(ran: &Ran, world: &World, known: &Known) -> Vec<String> {
    let masked = |line: &str| {
        let mut line = line.replace(&world.place.url(), "STORE").replace(world.place.name(), "STORE");
        line = line.replace(&world.path("").display().to_string(), "DIR/");
        for (id, n) in &known.runs {
            line = line.replace(id, &format!("run {n}"));
        }
        // One of each call.
        while let Some((before, id)) = line.split_once("request id ") {
            let behind = id.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            line = format!("{before}a request{behind}");
        }
        let Ok(Value::Object(mut fields)) = serde_json::from_str(&line) else { return line };
        // Who comes first asks for the token of all.
        if fields.get("type").is_some_and(|kind| kind == "connection") {
            fields.remove("requests");
        }
        fields.retain(|name, _| !is_arbitrary(name));
        Value::from(fields).to_string()
    };
    let mut lines: Vec<String> =
        table(&ran.stdout).unwrap_or_else(|| ran.stdout.lines().map(str::to_owned).collect());
    for line in &mut lines {
        *line = masked(line);
    }
    lines.sort();
    lines
}

/// The rows of an export as JSON objects, if it is one.
fn table(text: &str) -> Option<Vec<String>> {
    let mut rows = csv::Reader::from_reader(text.strip_prefix("connection_id,").map(|_| text)?.as_bytes());
    let names = rows.headers().unwrap().clone();
    let object = |row: csv::StringRecord| {
        let fields = names.iter().zip(row.iter()).map(|(name, value)| (name.to_owned(), Value::from(value)));
        Value::Object(fields.collect()).to_string()
    };
    Some(rows.records().map(|row| object(row.unwrap())).collect())
}

/// Fields of reports that no two runs have in common; a rehearsal's run is in no store.
fn is_arbitrary(field: &str) -> bool {
    is_ours(field)
        || ["run_id", "duration_ms", "store_round_trips", "change_seq", "account_key"].contains(&field)
}

/// What a view shows.
struct Shown {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Shown {
    fn assert_equal(&self, other: &Self, what: &str) {
        assert_eq!(self.columns, other.columns, "{what}");
        for (n, (row, other)) in self.rows.iter().zip(&other.rows).enumerate() {
            for ((column, value), other) in self.columns.iter().zip(row).zip(other) {
                assert!(
                    value == other,
                    "{what}.{column} of row {n}: {value:.300} and {other:.300}: {row:.100?}"
                );
            }
        }
        assert_eq!(self.rows.len(), other.rows.len(), "{what}: rows");
    }
}

/// All views, with their rows in order, and without what no two stores have in common.
fn views(world: &World, known: &Known) -> BTreeMap<String, Shown> {
    if !world.has_store() {
        return BTreeMap::new();
    }
    let store = world.store();
    let mut names = store
        .prepare("SELECT name FROM sqlite_master WHERE type = 'view' AND name LIKE '%!_v1' ESCAPE '!'")
        .unwrap();
    let names: Vec<String> =
        names.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let shown = |view: &String| {
        let mut all = store.prepare(&format!("SELECT * FROM {view}")).unwrap();
        let columns: Vec<String> = all.column_names().map(str::to_owned).collect();
        let value = |name: &String, cell: Content| known.masked(view, name, cell);
        let row = |row: &rusqlite::Row<'_>| {
            columns.iter().enumerate().map(|(at, name)| Ok(value(name, row.get(at)?))).collect()
        };
        let mut rows: Vec<Vec<String>> = all.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap();
        rows.sort();
        (view.clone(), Shown { columns: columns.clone(), rows })
    };
    names.iter().map(shown).collect()
}

/// Times of Tink's, which are the same in both.
const THEIRS: [&str; 7] = [
    "status_updated_at",
    "expires_at",
    "last_refreshed_at",
    "booked_at",
    "proven_refresh_at",
    "judged_refresh_at",
    "entitled_until",
];

fn is_ours(column: &str) -> bool {
    let is_time = column.ends_with("_at") || ["at", "not_before"].contains(&column);
    is_time && !THEIRS.contains(&column)
}

/// What the sandbox makes up of its users, over some days, with all that goes wrong at banks.
#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_days_of_lively_users_are_shown_alike() {
    let config = Config { rates: Rates::lively(), ..plain(6) };
    let users: Vec<String> = (0..6).map(|n| format!("user-{n}")).collect();
    let both = Both::of(&config, &users);
    for day in 0..6 {
        both.each(|world| world.sandbox.set_day(day));
        both.pass(&format!("day {day}"));
        if day == 3 {
            both.each(|world| world.app("UPDATE app_connections SET entitled = 0 WHERE id = 'c-1'; DELETE FROM app_connections WHERE id = 'c-2'"));
        }
        if day == 4 {
            both.each(|world| world.app("UPDATE app_connections SET entitled = 1"));
            both.compare_views("forgotten", |world| world.cli(&["connections", "forget", "c-2", "--yes"]));
        }
    }
    both.compare("pruned", |world| world.cli(&["prune"]));
}

/// The reader that the package brings to copy from: it has what the views have, also in portions, after some days, and
/// is woken up by a pass that changes something.
#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_the_example_reader_has_what_the_views_have() {
    let config = Config { rates: Rates::lively(), ..plain(4) };
    let users = (0..4).map(|n| format!("user-{n}")).collect();
    let world = World::on(Engine::Postgres, Engine::Sqlite, config, users);
    world.run(&[]).expect(0);
    world.tamper(include_str!("../../../packaging/examples/reader-postgresql.sql"));
    let differs = |columns: &str, view: &str, copy: &str| {
        format!(
            "(SELECT {columns} FROM tink_sync.{view} EXCEPT SELECT {columns} FROM bank_copy.{copy}) UNION ALL
                 (SELECT {columns} FROM bank_copy.{copy} EXCEPT SELECT {columns} FROM tink_sync.{view})"
        )
    };
    for (day, pull) in
        [(0, "CALL bank_copy.pull(7)"), (1, "CALL bank_copy.pull()"), (3, "CALL bank_copy.pull(1)")]
    {
        world.sandbox.set_day(day);
        world.run(&[]);
        world.tamper(pull);
        let rows = differs(
            "account_key, transaction_id, status, amount, currency, booked_date, description, removed_at",
            "transactions_v1",
            "transactions",
        );
        let accounts =
            differs("account_key, connection_id, name, currency, closed_at", "accounts_v1", "accounts");
        assert!(!world.database().exists(&rows), "day {day}");
        assert!(!world.database().exists(&accounts), "day {day}");
    }
}

/// A machine that was frozen has its connection taken over; when it wakes up, it asks for nothing more.
#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_a_frozen_run_asks_tink_for_nothing_once_another_has_its_connection() {
    let world = World::on(Engine::Postgres, Engine::Sqlite, small(1), vec!["user-0".to_owned()]);
    world.run(&[]).expect(0);
    world.leases_last(3);
    let asked = || world.sandbox.requests().values().sum::<u64>();
    world.sandbox.reset_counters();
    world.sandbox.set_latency(Duration::from_millis(500));
    let frozen = world.start(&[]);
    until(|| asked() == 2);
    signal(&frozen, "STOP");
    until(|| world.a_run_was_silent());
    world.sandbox.set_latency(Duration::ZERO);
    assert_eq!(world.run(&[]).expect(0).total("unchanged"), 1);
    let before = asked();
    signal(&frozen, "CONT");
    frozen.end();
    assert_eq!(asked(), before);
}

/// Tink limits the app, not the host.
#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_a_pause_that_tink_asks_one_host_for_is_kept_by_all() {
    let users = vec!["user-0".to_owned(), "user-1".to_owned()];
    let world = World::on(Engine::Postgres, Engine::Sqlite, small(2), users);
    world.run(&[]).expect(0);
    let limit = Fault::new(Action::too_many("8")).user("user-0").at(Endpoint::Accounts);
    world.sandbox.fault(limit);
    let limited = world.start(&["--connection", "c-0", "--force"]);
    until(|| world.hosts_pause());
    world.run(&["--connection", "c-1", "--force"]).expect(0);
    assert!(!world.hosts_pause(), "it did not wait for the end of the pause");
    limited.end().expect(0);
}

fn signal(run: &Running, signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(run.id().to_string()).status().unwrap();
    assert!(sent.success());
}

/// The application's view in the same database, in another one, and beside a file.
#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_the_view_may_lie_in_any_database() {
    let users = || (0..4).map(|n| format!("user-{n}")).collect();
    for world in [
        World::on(Engine::Postgres, Engine::Postgres, plain(4), users()),
        World::with_app_in_postgres(Engine::Postgres, plain(4)),
        World::with_app_in_postgres(Engine::Sqlite, plain(4)),
    ] {
        world.cli(&["check", "--offline"]).expect(0);
        assert_eq!(world.run(&["--dry-run"]).expect(0).total("connections"), 4);
        world.run(&[]).expect(0);
        world.assert_all_exact();
        // What is true, and until when.
        world.app(
            "UPDATE app_connections SET entitled_until = now() + interval '1 hour' WHERE id = 'c-0';
                   UPDATE app_connections SET entitled_until = 'infinity' WHERE id = 'c-1';
                   UPDATE app_connections SET entitled_until = '0001-01-01 00:00:00 BC' WHERE id = 'c-2';
                   UPDATE app_connections SET enabled = NULL WHERE id = 'c-3'",
        );
        let ran = world.run(&[]).expect(0);
        let states: Vec<String> = (0..4).map(|n| world.state(n).0).collect();
        assert_eq!(
            (states[0].as_str(), states[2].as_str(), states[3].as_str()),
            ("ok", "paused_not_entitled", "disabled")
        );
        // Neither a time nor in the past: it never ends. SQLite's view says the same word as text, which is no time.
        assert!(ran.skipped("not_entitled") >= 1, "{}", ran.summary());
        world.app("UPDATE app_connections SET entitled_until = NULL, enabled = true; DELETE FROM app_connections WHERE id = 'c-3'");
        world.run(&[]).expect(0);
        assert_eq!(world.state(3), ("disabled".to_owned(), Some("gone".to_owned())));
        // A row that is there twice, and one without a Tink user, fail alone.
        world.app(
            "INSERT INTO app_connections SELECT * FROM app_connections WHERE id = 'c-0';
                   INSERT INTO app_connections VALUES ('c-9', 'u-9', true, true, NULL, NULL)",
        );
        let ran = world.run(&[]).expect(10);
        assert_eq!(ran.ended("c-9"), ("failed".to_owned(), Some("source_row".to_owned())));
        assert_eq!(ran.ended("c-0"), ("failed".to_owned(), Some("source_row".to_owned())));
        world.app("DROP VIEW public.tink_sync_source_v1");
        world.run(&[]).expect(75);
    }
}

/// What a function of the view cannot read shows only while it is evaluated.
#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_a_view_that_fails_while_it_is_evaluated_is_wrong_in_both() {
    let entitled = "entitled AND CAST(id AS INTEGER) = 7";
    for (world, entitled) in [
        (
            World::on(Engine::Sqlite, Engine::Sqlite, plain(2), vec!["user-0".to_owned()]),
            "json_extract(id, '$')",
        ),
        (World::with_app_in_postgres(Engine::Postgres, plain(1)), entitled),
        (World::with_app_in_postgres(Engine::Sqlite, plain(1)), entitled),
    ] {
        world.run(&[]).expect(0);
        world.app(&format!(
            "DROP VIEW tink_sync_source_v1;
             CREATE VIEW tink_sync_source_v1 AS SELECT id AS connection_id, user_id, enabled, {entitled} AS entitled,
                 tink AS external_user_id FROM app_connections"
        ));
        for args in [&["run"][..], &["run", "--dry-run"], &["check", "--offline"]] {
            let ran = world.cli(args).expect(78);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            let words: Vec<&str> = said.split_whitespace().collect();
            assert!(words.join(" ").contains("the view tink_sync_source_v1 does not work: "), "{said}");
        }
    }
}

//! The same story told to a store of SQLite's and to one of PostgreSQL's: exit codes, reports and views are the same,
//! digit by digit. Needs PostgreSQL's programs.

mod hostile;
mod server;

use std::collections::BTreeMap;

use rusqlite::types::Value as Cell;
use serde_json::Value;
use tink_sandbox::{Config, Rates};

use crate::harness::{Ran, World, plain};
use crate::scripted::SAM;
use crate::stored::Engine;

/// Two worlds that differ in the engine of their store.
struct Both([World; 2]);

/// Names of runs, by how many there were before.
type Runs = BTreeMap<String, usize>;

impl Both {
    fn of(config: &Config, users: &[String]) -> Self {
        let world = |engine| {
            // One after the other, so that what is numbered is numbered alike.
            let world = World::on(engine, Engine::Sqlite, config.clone(), users.to_vec());
            world.set("tink.concurrency", "1").set("sync.keep_raw", "\"90d\"")
        };
        Self([Engine::Sqlite, Engine::Postgres].map(world))
    }

    fn of_sam() -> Self {
        Self::of(&plain(0), &[SAM.to_owned()])
    }

    fn each(&self, act: impl Fn(&World)) {
        self.0.iter().for_each(act);
    }

    /// Does the same in both; fails unless the same comes of it. Returns what SQLite's said.
    fn compare(&self, what: &str, act: impl Fn(&World) -> Ran) -> Ran {
        let [mut sqlite, postgres] = self.0.each_ref().map(|world| (act(world), world));
        let (runs, others) = (runs(sqlite.1), runs(postgres.1));
        let (here, there) = (said(&sqlite.0, sqlite.1, &runs), said(&postgres.0, postgres.1, &others));
        assert_eq!(here, there, "{what}: {}\nand: {}", sqlite.0.stderr, postgres.0.stderr);
        let (mut here, mut there) = (views(sqlite.1, &runs), views(postgres.1, &others));
        assert!(here.keys().eq(there.keys()), "{what}: {:?} and {:?}", here.keys(), there.keys());
        for (view, rows) in &mut here {
            let others = there.get_mut(view).unwrap();
            assert_eq!(rows.columns, others.columns, "{what}: {view}");
            for (n, (row, other)) in rows.rows.iter().zip(&others.rows).enumerate() {
                for ((column, value), other) in rows.columns.iter().zip(row).zip(other) {
                    assert_eq!(value, other, "{what}: {view}.{column} of row {n}: {row:?}");
                }
            }
            assert_eq!(rows.rows.len(), others.rows.len(), "{what}: rows of {view}");
        }
        sqlite.0.stderr.clear();
        sqlite.0
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
            &["connections", "list"],
        ] {
            self.compare(&format!("{what}, {args:?}"), |world| world.cli(args));
        }
        ran
    }
}

/// The runs of a store, told by their order.
fn runs(world: &World) -> Runs {
    if !world.has_store() {
        return Runs::new();
    }
    let rows = world.texts("SELECT run_id FROM runs_v1 WHERE ?1 = '' ORDER BY started_at, run_id", "");
    rows.into_iter().map(|mut row| row.remove(0).unwrap()).enumerate().map(|(n, id)| (id, n)).collect()
}

/// Exit code and report, without what no two runs have in common.
fn said(ran: &Ran, world: &World, runs: &Runs) -> (i32, Vec<String>) {
    let masked = |line: &str| {
        let mut line = line.replace(&world.place.url(), "STORE").replace(world.place.name(), "STORE");
        line = line.replace(&world.path("").display().to_string(), "DIR/");
        for (id, n) in runs {
            line = line.replace(id, &format!("run {n}"));
        }
        let Ok(Value::Object(mut fields)) = serde_json::from_str(&line) else { return line };
        // A rehearsal's run is in no store.
        for field in ["run_id", "started_at", "finished_at", "duration_ms", "first_seen_at"] {
            fields.remove(field);
        }
        Value::from(fields).to_string()
    };
    (ran.code, ran.stdout.lines().map(masked).collect())
}

/// What a view shows.
struct Shown {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// All views, with their rows in order, and without what no two stores have in common.
fn views(world: &World, runs: &Runs) -> BTreeMap<String, Shown> {
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
        let columns: Vec<String> = all.column_names().into_iter().map(str::to_owned).collect();
        let value = |name: &String, cell: Cell| masked(view, name, cell, runs);
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

/// A value with its type; a run by its number, and of a time of ours only its form.
fn masked(view: &str, column: &str, cell: Cell, runs: &Runs) -> String {
    match cell {
        Cell::Integer(_) if column == "duration_ms" => "a number".to_owned(),
        Cell::Text(text) if column.ends_with("run_id") || column.ends_with("_run") => {
            format!("run {:?}", runs.get(&text))
        }
        Cell::Text(text) if is_ours(column) => {
            let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(form, "0000-00-00T00:00:00.000Z", "{view}.{column} is {text}");
            form
        }
        cell => format!("{cell:?}"),
    }
}

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
            both.compare("forgotten", |world| world.cli(&["connections", "forget", "c-2", "--yes"]));
        }
    }
    both.compare("pruned", |world| world.cli(&["prune"]));
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

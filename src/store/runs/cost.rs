//! The cost of a run, of a read and of a step of pruning does not depend on the length of the history.
//! Measured in bytes that SQLite reads from the file, with a connection that has read nothing yet.

use std::path::{Path, PathBuf};

use super::super::cost::{PAGE, read_so_far};
use super::super::engine::DbSession;
use super::super::engine::sqlite::open;
use super::super::{Reader, Store, Writer, plan, prune};
use super::*;
use crate::store::types::{PlanRules, Selection};
use rusqlite::Connection;

const MINUTE: i64 = 60_000;
const SHORT: i64 = 2_000;
const LONG: i64 = 60_000;

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// A store with this many runs, one every ten minutes, the newest an hour ago. Every hundredth is a pass over
/// all three connections; the others are on demand.
fn store(runs: i64) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    drop(Store::open(&path.clone().into(), std::time::Duration::ZERO, now()).unwrap());
    let db = Connection::open(&path).unwrap();
    let newest = now().as_millisecond() - 60 * MINUTE;
    db.execute_batch(&format!(
        "PRAGMA synchronous = OFF;
         INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, enabled, entitled, last_attempt_run)
         VALUES (1, 'c-1', 'u-1', 'x-1', 1, 1, 1), (2, 'c-2', 'u-2', 'x-2', 1, 1, 100), (3, 'c-3', 'u-3', 'x-3', 1, 1, 200);
         WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {runs})
         INSERT INTO ts_runs (key, run_id, trigger, on_demand, host, version, started_at, finished_at, exit_code, totals)
         SELECT n, printf('run-%08d', n), iif(n % 100, 'app', 'timer'), n % 100 > 0, 'h', '1', at, at + 1000, iif(n % 7, 10, 0),
                json_object('connections', 1, 'padding', hex(zeroblob(200)))
         FROM (SELECT n, {newest} - ({runs} - n) * 10 * {MINUTE} AS at FROM n);
         INSERT INTO ts_run_connections (run, connection, user_id, outcome, started_at)
         SELECT r.key, c.key, c.user_id, 'synced', r.started_at FROM ts_runs r, ts_connections c
         WHERE r.on_demand = 0 OR c.key = 1 + r.key % 3;
         INSERT INTO ts_tokens (connection, version, state, refresh, asked_run) VALUES (1, '1', 'asked', x'00', 7);
         INSERT INTO ts_events (kind, run, connection, at, details) VALUES ('recovered', {runs}, 1, {newest}, '{{}}');"
    ))
    .unwrap();
    db.close().unwrap();
    (directory, path)
}

/// The pages that `work` reads of a store that was just opened.
fn pages<T>(path: &Path, work: impl FnOnce(&mut DbSession) -> T) -> u64 {
    let conn = open::connect_writer(path).unwrap();
    let mut db = DbSession::new(conn, path, std::time::Duration::ZERO);
    // Opening a store always reads the schema.
    schema_of(db.file());
    let before = read_so_far().unwrap();
    drop(work(&mut db));
    (read_so_far().unwrap() - before) / PAGE
}

fn reader(path: &Path) -> Reader {
    Reader::open(&path.to_owned().into()).unwrap()
}

fn schema_of(db: &Connection) {
    db.prepare("SELECT 1 FROM ts_runs").unwrap();
}

fn rules() -> PlanRules {
    let selection = Selection { connections: vec!["c-1".into()], users: Vec::new() };
    PlanRules { now: now(), selection, force: false, min_interval: std::time::Duration::ZERO, quota: 100 }
}

fn run(db: &mut DbSession, id: &str) -> Run {
    let new = NewRun {
        run_id: id.into(),
        trigger: "app",
        on_demand: true,
        host: String::new(),
        version: "1",
        process_started: now(),
        started_at: now(),
    };
    let run = db.write("begin the run", |tx, context| begin(tx, context, &new)).unwrap();
    db.write("plan the run", |tx, db| plan::plan(tx, db, &run, &rules())).unwrap();
    let end = RunEnd { totals: "{}".to_owned(), exit_code: 0, pass_failed: false, at: now() };
    db.write("finish the run", |tx, context| finish(tx, context, &run, &end)).unwrap();
    run
}

/// Every kind of access to the history, and the pages that each reads.
fn costs(path: &Path) -> Vec<(&'static str, u64)> {
    let day_ago = now() - SignedDuration::from_hours(24);
    let keep = |days: i64| now() - SignedDuration::from_hours(24 * days);
    let nothing_due = prune::Retention {
        history: keep(10_000),
        on_demand: keep(10_000),
        raw: keep(10_000),
        removed: keep(10_000),
    };
    let all_due = prune::Retention {
        history: keep(10_000),
        on_demand: now(),
        raw: keep(10_000),
        removed: keep(10_000),
    };
    vec![
        ("a run", pages(path, |db| run(db, "new"))),
        ("the outbox", pages(path, |db| events::outgoing(db.db(), 10, &[]).unwrap())),
        ("the last runs", pages(path, |_| reader(path).runs(5).unwrap())),
        ("the last pass", pages(path, |_| reader(path).last_pass().unwrap())),
        ("the last passes", pages(path, |_| reader(path).passes(10).unwrap())),
        ("the last end", pages(path, |_| reader(path).last_finished_pass().unwrap())),
        ("the last good end", pages(path, |_| reader(path).last_good_end().unwrap())),
        ("a user's quota", pages(path, |_| reader(path).used("u-1", day_ago).unwrap())),
        ("all quotas", pages(path, |_| reader(path).used_by_user(day_ago).unwrap())),
        ("one connection", pages(path, |_| reader(path).detail(1).unwrap())),
        (
            "a rehearsal",
            pages(path, |_| {
                drop(Store::open_dry(&path.to_owned().into(), std::time::Duration::ZERO, now()).unwrap());
            }),
        ),
        (
            "pruning nothing",
            pages(path, |db| db.write("prune", |tx, _| prune::step(tx, &nothing_due)).unwrap()),
        ),
        (
            "a step of pruning",
            pages(path, |db| db.write("prune", |tx, _| prune::step(tx, &all_due)).unwrap()),
        ),
    ]
}

#[test]
fn a_long_history_costs_no_more_than_a_short_one() {
    if read_so_far().is_none() {
        return println!("skipped: this kernel does not count what a thread reads");
    }
    let (_short, short) = store(SHORT);
    let (_long, long) = store(LONG);
    for ((what, short), (_, long)) in costs(&short).into_iter().zip(costs(&long)) {
        println!("{what}: {short} pages of {SHORT} runs, {long} of {LONG}");
        // Trees are a level deeper, and each lookup may read one page more.
        assert!(long <= short + short / 4 + 12, "{what}: {short} pages become {long}");
    }
}

#[test]
fn what_a_day_brings_is_pruned_in_a_few_steps() {
    let (_guard, path) = store(LONG);
    let mut tables = Writer::open(&path.clone().into(), now()).unwrap();
    let before = |days: i64| now() - SignedDuration::from_hours(24 * days);
    // Ten thousand runs on demand are past their retention.
    let retention = prune::Retention {
        history: before(10_000),
        on_demand: before((LONG - 10_000) / 144),
        raw: before(10_000),
        removed: before(10_000),
    };
    let expected = reader(&path).prunable(&retention).unwrap();
    assert!(expected.runs > 9_000, "{expected:?}");
    let (mut steps, mut sum) = (0, prune::Pruned::default());
    loop {
        let pruned = tables.prune(&retention).unwrap();
        if pruned == prune::Pruned::default() {
            break;
        }
        assert!(pruned.runs + pruned.run_connections <= 500, "{pruned:?}");
        (steps, sum) = (steps + 1, {
            sum += pruned;
            sum
        });
    }
    assert_eq!(sum, expected);
    // A pass has time for a few thousand steps.
    assert!(steps <= 45, "{steps} steps");
}

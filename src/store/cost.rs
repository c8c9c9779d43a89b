//! What a pass costs, in instructions of SQLite's virtual machine per statement and in bytes read from the
//! file. All tests check the same: more data that is not due adds no cost.

mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, StatementStatus};

use super::engine::DbSession;
use super::engine::sqlite::open;
use super::{Store, merge, runs};
use crate::store::types::Merge;
use script::{Script, now, pass};

pub(super) const PAGE: u64 = 4096;

/// The bytes that this thread has read from files so far; `None` where the kernel does not count them.
pub(super) fn read_so_far() -> Option<u64> {
    let counts = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
}

/// Instructions by statement.
type Steps = BTreeMap<String, i64>;

#[derive(Default)]
struct Meter {
    steps: Steps,
    /// The counter of each statement when it last ended. SQLite does not reset it while the statement lives.
    stood: BTreeMap<String, i64>,
}

/// Counts what this connection does from now on.
fn count(db: &mut Connection) -> Arc<Mutex<Meter>> {
    let meter = Arc::<Mutex<Meter>>::default();
    let counted = Arc::clone(&meter);
    let count = move |event: TraceEvent<'_>| {
        let TraceEvent::Profile(statement, _) = event else { return };
        let (steps, runs) =
            (statement.get_status(StatementStatus::VmStep), statement.get_status(StatementStatus::Run));
        let (sql, steps) = (statement.sql().into_owned(), i64::from(steps));
        let mut meter = counted.lock().unwrap();
        let before = meter.stood.insert(sql.clone(), steps).filter(|_| runs > 1).unwrap_or_default();
        *meter.steps.entry(sql).or_default() += steps - before.min(steps);
    };
    db.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(count)).unwrap();
    meter
}

/// The cost of one pass.
struct Cost {
    steps: Steps,
    pages: u64,
}

fn cost_of(db: DbSession, script: &Script) -> Cost {
    cost(db, |db| pass(db, script))
}

fn cost(mut db: DbSession, work: impl FnOnce(&DbSession)) -> Cost {
    let meter = count(db.file_mut());
    let before = read_so_far().unwrap_or_default();
    work(&db);
    let pages = (read_so_far().unwrap_or_default() - before) / PAGE;
    Cost { steps: std::mem::take(&mut meter.lock().unwrap().steps), pages }
}

/// Fails if a statement costs more than `times` as much as in `small`, plus a tenth and 300 instructions; or
/// if `large` saw no more than `statements` statements.
fn assert_like(large: &Cost, small: &Cost, times: i64, statements: usize) {
    assert!(large.steps.len() > statements, "only {} statements were seen", large.steps.len());
    let grown = large.steps.iter().filter_map(|(sql, steps)| {
        let of_small = small.steps.get(sql).copied().unwrap_or_default();
        let is_more = *steps > of_small * times * 11 / 10 + 300;
        is_more.then(|| format!("{of_small} instructions become {steps}:\n{sql}\n"))
    });
    assert_eq!(grown.collect::<String>(), "");
}

/// Fails if more is read from the file, with some tolerance for trees that are a level deeper.
fn assert_pages(old: &Cost, young: &Cost) {
    let (old, young) = (old.pages, young.pages);
    assert!(old <= young + young / 5 + 12, "{young} pages become {old}");
}

fn new_store() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    drop(Store::open(&path.clone().into(), std::time::Duration::ZERO, now()).unwrap());
    (directory, path)
}

fn opened(path: &Path) -> DbSession {
    let conn = open::connect_writer(path).unwrap();
    conn.execute_batch("PRAGMA synchronous = OFF").unwrap();
    DbSession::new(conn, path, std::time::Duration::ZERO)
}

/// Fills the tables beside the rows of the accounts, for every connection.
fn fill(path: &Path) {
    let sql = format!(
        "INSERT INTO ts_tokens (connection, version, state, refresh) SELECT key, '1', 'ready', zeroblob(800) FROM ts_connections;
         INSERT INTO ts_audit (at, action, connection_id, result)
             SELECT {now}, 'sync.requested', connection_id, 'ok' FROM ts_connections;
         INSERT INTO ts_quarantine (account, fingerprint, reason, raw, first_seen_at, run, likeness, seen_run)
             SELECT key, 'f', 'r', '{{}}', {now}, 1, 'l', 1 FROM ts_accounts;
         INSERT INTO ts_anomalies (connection, account, kind, told_at) SELECT connection, key, 'k', {now} FROM ts_accounts;
         INSERT INTO ts_raw (transaction_key, raw, stored_at) SELECT key, '{{}}', {now} FROM ts_transactions;",
        now = now().as_millisecond()
    );
    opened(path).file().execute_batch(&sql).unwrap();
}

fn rehearsing(path: &Path) -> DbSession {
    open::rehearsal(path, std::time::Duration::ZERO, |db| runs::shadow_shared(db, now())).unwrap()
}

/// A first and a second pass over this many connections; a third of them fails in each first round.
fn passes(connections: u32) -> [Cost; 2] {
    let (_guard, path) = new_store();
    let first = Script { name: "first", connections, failing: true, days_later: 0 };
    let second = Script { name: "second", days_later: 1, ..first };
    let first = cost_of(opened(&path), &first);
    fill(&path);
    [first, cost_of(opened(&path), &second)]
}

#[test]
fn no_step_of_a_pass_costs_more_per_connection_the_more_there_are() {
    for (large, small) in passes(320).iter().zip(&passes(40)) {
        assert_like(large, small, 8, 50);
    }
}

/// Three accounts of this many days, with four rows a day. Of ten rows one is a tombstone that names its
/// successor, and another a pending row that vanished. The last account was renewed a month ago and still has
/// rows without a counterpart.
fn aged(days: i64) -> (tempfile::TempDir, PathBuf) {
    let (guard, path) = new_store();
    let first = Script { name: "first", connections: 3, failing: false, days_later: 0 };
    pass(&opened(&path), &first);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA synchronous = OFF;
         WITH n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {days} * 4)
         INSERT INTO ts_transactions (account, transaction_id, generation, status, amount, currency, booked_date,
             description, first_seen_run, first_walk, changed_run, change_seq, removed_at, removed_reason, replaced_by)
         SELECT a.key, 'old-' || n, 1, iif(n % 10 = 7, 'pending', 'booked'), '-1', 'EUR', date('{day}', (-n / 4) || ' days'),
             'a purchase', 1, 1, 1, 1000000 + n * 10 + a.key, iif(n % 10 IN (3, 7), {removed}, NULL),
             CASE n % 10 WHEN 3 THEN 'replaced' WHEN 7 THEN 'vanished' END, iif(n % 10 = 3, 'old-' || (n + 1), NULL)
         FROM n, ts_accounts a;
         UPDATE ts_sequences SET value = 2000000 WHERE name = 'change';
         UPDATE ts_accounts SET generation = 2, unmatched_from = date('{day}', '-30 days') WHERE key = 3;",
        day = script::day(0),
        removed = now().as_millisecond(),
    ))
    .unwrap();
    db.close().map_err(|(_, e)| e).unwrap();
    fill(&path);
    (guard, path)
}

const YOUNG: i64 = 120;
const OLD: i64 = 3650;

#[test]
fn invariant_15_a_pass_over_old_accounts_costs_what_one_over_young_ones_does() {
    let second = Script { name: "second", connections: 3, failing: false, days_later: 1 };
    let [young, old] = [YOUNG, OLD].map(|days| {
        let (_guard, path) = aged(days);
        cost_of(opened(&path), &second)
    });
    assert_like(&old, &young, 1, 50);
    assert_pages(&old, &young);
}

#[test]
fn rows_whose_walk_is_over_take_no_place_in_the_index_of_arrivals() {
    let (_guard, path) = new_store();
    pass(&opened(&path), &Script { name: "first", connections: 3, failing: false, days_later: 0 });
    let arrivals = "SELECT count(*), sum(first_walk <> 0) FROM ts_transactions";
    let count = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (rows, arrived): (i64, i64) = opened(&path).file().query_row(arrivals, [], count).unwrap();
    assert!(rows > 0);
    assert_eq!(arrived, 0);
}

#[test]
fn a_rehearsal_over_old_accounts_costs_no_more_and_copies_no_rows() {
    let second = Script { name: "second", connections: 3, failing: false, days_later: 1 };
    let [young, old] = [YOUNG, OLD].map(|days| {
        let (_guard, path) = aged(days);
        cost_of(rehearsing(&path), &second)
    });
    assert_like(&old, &young, 1, 50);
    assert_pages(&old, &young);
}

/// A run of one connection, in a store with this many connections that were synced a day ago.
fn on_demand(connections: u32) -> Cost {
    let (_guard, path) = new_store();
    pass(&opened(&path), &Script { name: "first", connections, failing: false, days_later: 0 });
    fill(&path);
    cost(opened(&path), |db| script::one(db, "second"))
}

#[test]
fn a_run_of_one_connection_costs_the_same_among_many() {
    assert_like(&on_demand(320), &on_demand(40), 1, 10);
}

/// A commit of this many unreadable records, all recognised by their likeness.
fn quarantined(records: u32) -> Cost {
    let (_guard, path) = new_store();
    pass(&opened(&path), &Script { name: "first", connections: 1, failing: false, days_later: 0 });
    assert_eq!(script::quarantine(&opened(&path), 1, records), u64::from(records));
    cost(opened(&path), |db| assert_eq!(script::quarantine(db, 2, records), 0))
}

#[test]
fn each_record_for_quarantine_costs_the_same_among_many() {
    assert_like(&quarantined(400), &quarantined(50), 8, 4);
}

/// Merges two accounts of `rows` rows each, beside one of `others` rows.
fn joined(rows: u32, others: u32) -> Cost {
    let (_guard, path) = new_store();
    pass(&opened(&path), &Script { name: "first", connections: 1, failing: false, days_later: 0 });
    let db = opened(&path);
    db.file()
        .execute_batch(&format!(
            "INSERT INTO ts_accounts (key, connection, account_id, name, type)
             VALUES (2, 1, 'b', 'B', 'CHECKING'), (3, 1, 'c', 'C', 'CHECKING');
             WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows} + {others})
             INSERT INTO ts_transactions (account, transaction_id, generation, status, amount, currency, booked_date,
                 first_seen_run, first_walk, changed_run, change_seq)
             SELECT a.key, n || '-' || a.key, 1, 'booked', '-1', 'EUR', '2026-05-01', 1, 1, 1, 1000 + n * 10 + a.key
             FROM n, ts_accounts a WHERE n <= iif(a.key = 3, {others}, {rows});
             INSERT INTO ts_raw (transaction_key, raw, stored_at) SELECT key, '{{}}', 0 FROM ts_transactions;"
        ))
        .unwrap();
    let merge = Merge { keep: 1, drop: 2, adopts_id: false };
    cost(db, |db| merge::join(db.db(), 1, 1, &merge, now()).unwrap())
}

#[test]
fn joining_two_accounts_costs_the_same_for_each_of_their_rows_and_nothing_for_others() {
    let small = joined(100, 0);
    assert_like(&joined(800, 0), &small, 8, 10);
    assert_like(&joined(100, 800), &small, 1, 10);
}

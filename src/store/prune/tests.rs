//! What is deleted and what stays, step by step.

use super::*;
use crate::store::engine::sqlite::schema;
use crate::store::{Place, run_names};
use rusqlite::Connection;

const DAY: i64 = 24 * 3600 * 1000;

fn store() -> (tempfile::TempDir, Place, Writer) {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::from(directory.path().join("store.db"));
    let tables = Writer::open(&place, Timestamp::UNIX_EPOCH).unwrap();
    (directory, place, tables)
}

fn before(day: i64) -> Retention {
    let time = Timestamp::from_millisecond(day * DAY).unwrap();
    Retention { history: time, on_demand: time, raw: time, removed: time }
}

/// A run for each of these days, with one connection each.
fn runs_of(tables: &Writer, days: std::ops::Range<i64>, exit_code: &str) {
    for day in days {
        let began = day * DAY;
        tables
            .session
            .file()
            .execute_batch(&format!(
                "INSERT INTO ts_runs (run_id, trigger, host, version, started_at, finished_at, exit_code)
                     VALUES ('r{day}-{exit_code}', 'timer', 'h', '1', {began}, {began} + 1000, {exit_code});
                 INSERT INTO ts_run_connections (run, connection, user_id, started_at)
                     VALUES (last_insert_rowid(), 1, 'u', {began});"
            ))
            .unwrap();
    }
}

fn days_left(tables: &Writer) -> Vec<i64> {
    let mut rows = tables.session.file().prepare("SELECT started_at / ?1 FROM ts_runs ORDER BY key").unwrap();
    rows.query_map([DAY], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

fn all(tables: &mut Writer, retention: &Retention) -> Pruned {
    let mut sum = Pruned::default();
    loop {
        let pruned = tables.prune(retention).unwrap();
        if pruned == Pruned::default() {
            return sum;
        }
        sum += pruned;
    }
}

#[test]
fn old_runs_go_and_what_is_needed_stays() {
    let (_guard, place, mut tables) = store();
    runs_of(&tables, 0..1, "0");
    runs_of(&tables, 1..60, "10");
    tables
        .session
        .file()
        .execute_batch("UPDATE ts_runs SET finished_at = NULL, exit_code = NULL WHERE run_id = 'r7-10'")
        .unwrap();
    let expected = Reader::open(&place).unwrap().prunable(&before(30)).unwrap();
    assert_eq!((expected.runs, expected.run_connections), (28, 28));
    assert_eq!(all(&mut tables, &before(30)), expected);
    // The last run that succeeded, one that never ended, and those that are young enough.
    let left: Vec<i64> = [0, 7].into_iter().chain(30..60).collect();
    assert_eq!(days_left(&tables), left);
    // The last ten stay, regardless of age.
    all(&mut tables, &before(1000));
    assert_eq!(days_left(&tables), [0, 7].into_iter().chain(50..60).collect::<Vec<_>>());
}

#[test]
fn a_step_is_small_and_goes_on_where_the_last_one_ended() {
    let (_guard, place, mut tables) = store();
    runs_of(&tables, 0..30, "0");
    tables
        .session
        .file()
        .execute_batch(
            "WITH n (n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM n WHERE n < 1209)
             INSERT INTO ts_run_connections (run, connection, user_id, started_at) SELECT 1, n, 'u', 0 FROM n;
             WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1200)
             INSERT INTO ts_audit (at, action, result) SELECT n, 'test', 'ok' FROM n;
             WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 700)
             INSERT INTO ts_raw (transaction_key, raw, stored_at) SELECT n, '{}', n FROM n;",
        )
        .unwrap();
    let first = tables.prune(&before(10)).unwrap();
    assert_eq!(first, Pruned { runs: 0, run_connections: 500, audit: 500, raw: 500, removed: 0 });
    let rest = all(&mut tables, &before(10));
    assert_eq!(rest, Pruned { runs: 10, run_connections: 710, audit: 700, raw: 200, removed: 0 });
    assert_eq!(Reader::open(&place).unwrap().prunable(&before(10)).unwrap(), Pruned::default());
}

#[test]
fn the_newest_act_stays_while_a_run_is_under_way() {
    let (_guard, _place, mut tables) = store();
    let write = |tables: &Writer, sql: &str| tables.session.file().execute_batch(sql).unwrap();
    write(&tables, "INSERT INTO ts_audit (at, action, result) VALUES (1, 'test', 'ok'), (2, 'test', 'ok')");
    write(
        &tables,
        "INSERT INTO ts_runs (run_id, trigger, host, version, started_at) VALUES ('r', 'timer', 'h', '1', 0)",
    );
    assert_eq!(all(&mut tables, &before(10)).audit, 1);
    write(&tables, "UPDATE ts_runs SET finished_at = 1");
    assert_eq!(all(&mut tables, &before(10)).audit, 1);
}

#[test]
fn a_run_that_still_asks_for_a_token_stays() {
    let (_guard, _place, mut tables) = store();
    runs_of(&tables, 0..30, "0");
    let asks = "INSERT INTO ts_tokens (connection, version, state, refresh, asked_run) VALUES (1, '', 'asked', x'00', 3)";
    tables.session.file().execute_batch(asks).unwrap();
    all(&mut tables, &before(10));
    assert!(days_left(&tables).contains(&2));
}

#[test]
fn runs_on_demand_go_earlier_and_take_no_pass_with_them() {
    let (_guard, place, mut tables) = store();
    runs_of(&tables, 0..60, "0");
    tables.session.file().execute_batch("UPDATE ts_runs SET on_demand = key % 2").unwrap();
    let retention = Retention { history: before(5).history, ..before(40) };
    let expected = Reader::open(&place).unwrap().prunable(&retention).unwrap();
    assert_eq!(all(&mut tables, &retention), expected);
    // Odd keys are runs on demand; the last ten of them stay, and those younger than their own limit.
    let left: Vec<i64> = (0..60).filter(|day| if day % 2 == 0 { *day >= 40 } else { *day >= 5 }).collect();
    assert_eq!(days_left(&tables), left);
    // The last passes stay, regardless of the number of later runs on demand.
    all(&mut tables, &before(1000));
    let left: Vec<i64> = (40..60).collect();
    assert_eq!(days_left(&tables), left);
}

/// Rows that were removed on these days, numbered by day, and a live one last.
fn removed_on(tables: &Writer, days: std::ops::Range<i64>) {
    let begin = days.start;
    tables.session.file()
        .execute_batch(&format!(
            "INSERT INTO ts_connections (key, connection_id, user_id, enabled, entitled) VALUES (1, 'c', 'u', 1, 1);
             INSERT INTO ts_accounts (key, connection, account_id, name, type) VALUES (1, 1, 'a', 'A', 'CHECKING');
             WITH n (n) AS (SELECT {begin} UNION ALL SELECT n + 1 FROM n WHERE n < {end})
             INSERT INTO ts_transactions (account, transaction_id, generation, status, amount, currency, first_seen_run,
                 first_walk, changed_run, change_seq, removed_at, removed_reason)
             SELECT 1, 't-' || n, 1, 'booked', '-1', 'EUR', 1, 1, 1, n, iif(n < {end}, n * {DAY}, NULL), 'vanished' FROM n;
             INSERT INTO ts_raw (transaction_key, raw, stored_at) SELECT key, '{{}}', {end} * {DAY} FROM ts_transactions;
             UPDATE ts_sequences SET value = {end} WHERE name = 'change';",
            end = days.end,
        ))
        .unwrap();
}

fn number(tables: &Writer, sql: &str) -> i64 {
    tables.session.file().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn tombstones_before(day: i64) -> Retention {
    Retention { removed: before(day).removed, ..before(0) }
}

#[test]
fn old_tombstones_go_in_steps_and_the_feed_says_from_where_on_it_is_whole() {
    let (_guard, place, mut tables) = store();
    removed_on(&tables, 1..1300);
    assert_eq!(number(&tables, "SELECT whole_from FROM feed_v1"), 0);
    let expected = Reader::open(&place).unwrap().prunable(&tombstones_before(1201)).unwrap();
    assert_eq!(expected, Pruned { removed: 1200, ..Pruned::default() });
    assert_eq!(tables.prune(&tombstones_before(1201)).unwrap().removed, 500);
    assert_eq!(number(&tables, "SELECT whole_from FROM feed_v1"), 500);
    assert_eq!(all(&mut tables, &tombstones_before(1201)).removed, 700);
    assert_eq!(number(&tables, "SELECT whole_from FROM feed_v1"), 1200);
    assert_eq!(number(&tables, "SELECT last_change_seq FROM feed_v1"), 1300);
    // The live row stays, and so do the younger tombstones, each with its JSON.
    assert_eq!(number(&tables, "SELECT min(change_seq) FROM transactions_v1"), 1201);
    assert_eq!(number(&tables, "SELECT count(*) FROM transactions_v1"), 100);
    assert_eq!(number(&tables, "SELECT count(*) FROM ts_raw"), 100);
    // A row that was removed late but numbered early does not move it back.
    tables
        .session
        .file()
        .execute_batch("UPDATE ts_transactions SET change_seq = 7 WHERE change_seq = 1250")
        .unwrap();
    all(&mut tables, &tombstones_before(1260));
    assert_eq!(number(&tables, "SELECT whole_from FROM feed_v1"), 1259);
}

#[test]
fn a_tombstone_that_a_run_may_hold_stays() {
    let (_guard, _place, mut tables) = store();
    removed_on(&tables, 1..20);
    tables
        .session
        .file()
        .execute_batch("UPDATE ts_connections SET lease_token = 1, lease_run = 1, lease_until = 0")
        .unwrap();
    assert_eq!(all(&mut tables, &tombstones_before(30)).removed, 0);
    tables
        .session
        .file()
        .execute_batch("UPDATE ts_connections SET lease_token = NULL, lease_run = NULL")
        .unwrap();
    assert_eq!(all(&mut tables, &tombstones_before(30)).removed, 19);
    assert_eq!(number(&tables, "SELECT change_seq FROM transactions_v1"), 20);
}

#[test]
fn the_name_of_a_pruned_run_stays_where_it_is_shown_and_only_there() {
    let (_guard, _place, mut tables) = store();
    runs_of(&tables, 0..40, "0");
    removed_on(&tables, 1..3);
    tables.session.file()
        .execute_batch(
            "UPDATE ts_transactions SET first_seen_run = 1, changed_run = 2;
             INSERT INTO ts_quarantine (account, fingerprint, reason, raw, first_seen_at, run) VALUES (1, 'f', 'r', '{}', 0, 3);
             INSERT INTO ts_balances (account, difference, since_run) VALUES (1, '1', 4);",
        )
        .unwrap();
    // As the code that writes them does.
    for run in 1..5 {
        run_names::keep_name(tables.session.db(), run).unwrap();
    }
    let shown = |tables: &Writer| {
        let sql = "SELECT group_concat(first_seen_run || ' ' || changed_run)
                          || (SELECT run_id FROM quarantine_v1) || (SELECT run_id FROM balance_proofs_v1) FROM transactions_v1";
        tables.session.file().query_row(sql, [], |row| row.get::<_, String>(0)).unwrap()
    };
    let before_it = shown(&tables);
    assert_eq!(all(&mut tables, &Retention { removed: before(0).removed, ..before(20) }).runs, 20);
    assert_eq!(shown(&tables), before_it);
    assert_eq!(number(&tables, "SELECT count(*) FROM ts_pruned_runs"), 4);
    assert_eq!(number(&tables, "SELECT count(*) FROM runs_v1"), 20);
}

#[test]
fn a_store_of_an_older_release_keeps_the_names_that_its_rows_show() {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate_to(&mut db, 9, 0).unwrap();
    db.execute_batch(
        "WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 9)
         INSERT INTO ts_runs (key, run_id, trigger, host, version, started_at) SELECT n, 'r-' || n, 'timer', 'h', '1', 0 FROM n;
         INSERT INTO ts_transactions (account, transaction_id, generation, status, amount, currency, first_seen_run,
             first_walk, changed_run, change_seq) VALUES (1, 't', 1, 'booked', '-1', 'EUR', 2, 1, 4, 1);
         INSERT INTO ts_quarantine (account, fingerprint, reason, raw, first_seen_at, run) VALUES (1, 'f', 'r', '{}', 0, 6);
         INSERT INTO ts_balances (account, since_run) VALUES (1, 8);",
    )
    .unwrap();
    schema::migrate(&mut db, 0).unwrap();
    let named: String =
        db.query_row("SELECT group_concat(key) FROM ts_runs WHERE named", [], |row| row.get(0)).unwrap();
    assert_eq!(named, "2,4,6,8");
}

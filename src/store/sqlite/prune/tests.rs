//! What goes and what stays, step by step.

use super::*;

const DAY: i64 = 24 * 3600 * 1000;

fn store() -> (tempfile::TempDir, std::path::PathBuf, OwnTables) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let tables = OwnTables::open(&path, Timestamp::UNIX_EPOCH).unwrap();
    (directory, path, tables)
}

fn before(day: i64) -> Retention {
    let time = Timestamp::from_millisecond(day * DAY).unwrap();
    Retention { history: time, on_demand: time, raw: time }
}

/// A run for each of these days, of one connection each.
fn runs_of(tables: &OwnTables, days: std::ops::Range<i64>, exit_code: &str) {
    for day in days {
        let began = day * DAY;
        tables
            .db
            .conn
            .execute_batch(&format!(
                "INSERT INTO ts_runs (run_id, trigger, host, version, started_at, finished_at, exit_code)
                     VALUES ('r{day}-{exit_code}', 'timer', 'h', '1', {began}, {began} + 1000, {exit_code});
                 INSERT INTO ts_run_connections (run, connection, user_id, started_at)
                     VALUES (last_insert_rowid(), 1, 'u', {began});"
            ))
            .unwrap();
    }
}

fn days_left(tables: &OwnTables) -> Vec<i64> {
    let mut rows = tables.db.conn.prepare("SELECT started_at / ?1 FROM ts_runs ORDER BY key").unwrap();
    rows.query_map([DAY], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

fn all(tables: &mut OwnTables, retention: &Retention) -> Pruned {
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
    let (_guard, path, mut tables) = store();
    runs_of(&tables, 0..1, "0");
    runs_of(&tables, 1..60, "10");
    tables
        .db
        .conn
        .execute_batch("UPDATE ts_runs SET finished_at = NULL, exit_code = NULL WHERE run_id = 'r7-10'")
        .unwrap();
    let expected = prunable(&path, &before(30)).unwrap();
    assert_eq!((expected.runs, expected.run_connections), (28, 28));
    assert_eq!(all(&mut tables, &before(30)), expected);
    // The last good one, one that never ended, and what is young enough.
    let left: Vec<i64> = [0, 7].into_iter().chain(30..60).collect();
    assert_eq!(days_left(&tables), left);
    // However old they are.
    all(&mut tables, &before(1000));
    assert_eq!(days_left(&tables), [0, 7].into_iter().chain(50..60).collect::<Vec<_>>());
}

#[test]
fn a_step_is_small_and_goes_on_where_the_last_one_ended() {
    let (_guard, path, mut tables) = store();
    runs_of(&tables, 0..30, "0");
    tables
        .db
        .conn
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
    assert_eq!(first, Pruned { runs: 0, run_connections: 500, audit: 500, raw: 500 });
    let rest = all(&mut tables, &before(10));
    assert_eq!(rest, Pruned { runs: 10, run_connections: 710, audit: 700, raw: 200 });
    assert_eq!(prunable(&path, &before(10)).unwrap(), Pruned::default());
}

#[test]
fn the_newest_act_stays_while_a_run_is_under_way() {
    let (_guard, _path, mut tables) = store();
    let write = |tables: &OwnTables, sql: &str| tables.db.conn.execute_batch(sql).unwrap();
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
    let (_guard, _path, mut tables) = store();
    runs_of(&tables, 0..30, "0");
    let asks = "INSERT INTO ts_tokens (connection, version, state, refresh, asked_run) VALUES (1, '', 'asked', x'00', 3)";
    tables.db.conn.execute_batch(asks).unwrap();
    all(&mut tables, &before(10));
    assert!(days_left(&tables).contains(&2));
}

#[test]
fn runs_on_demand_go_earlier_and_take_no_pass_with_them() {
    let (_guard, path, mut tables) = store();
    runs_of(&tables, 0..60, "0");
    tables.db.conn.execute_batch("UPDATE ts_runs SET on_demand = key % 2").unwrap();
    let retention = Retention { history: before(5).history, ..before(40) };
    let expected = prunable(&path, &retention).unwrap();
    assert_eq!(all(&mut tables, &retention), expected);
    // Odd keys are runs on demand; of them the last ten stay, and whatever is younger than their own limit.
    let left: Vec<i64> = (0..60).filter(|day| if day % 2 == 0 { *day >= 40 } else { *day >= 5 }).collect();
    assert_eq!(days_left(&tables), left);
    // However many of them came since: the last passes stay.
    all(&mut tables, &before(1000));
    let left: Vec<i64> = (40..60).collect();
    assert_eq!(days_left(&tables), left);
}

//! Every change of a row that readers see gives it a new number; the views are those of this release,
//! whatever the file had before.

use std::collections::BTreeMap;

use rusqlite::types::Value;

use super::super::{rehearsal, schema};
use super::*;
use crate::store::engine::Db;

const CONTENT: &str = "
    INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, enabled, entitled, last_outcome, last_reason,
                                last_success_at, next_due, last_attempt_at, failures)
    VALUES (1, 'c-1', 'u-1', 'x-1', 1, 1, 'synced', NULL, 1000, 2000, 1000, 0),
           (2, 'c-2', 'u-2', 'x-2', 1, 1, 'failed', 'network', NULL, 2000, 1000, 2);
    INSERT INTO ts_consents (connection, credentials_id, status, account_ids)
    VALUES (1, 'k-1', 'UPDATED', '[\"a-1\"]'), (1, 'k-2', 'UPDATED', '[\"a-1\",\"a-2\"]'), (2, 'k-3', 'UPDATED', '[]');
    INSERT INTO ts_accounts (key, connection, account_id, name, type, iban, booked_balance, booked_currency, last_refreshed)
    VALUES (1, 1, 'a-1', 'One', 'CHECKING', 'SE1', '10', 'EUR', '2026-06-01T00:00:00Z'),
           (2, 1, 'a-2', 'Two', 'SAVINGS', NULL, '20', 'EUR', '2026-06-02T00:00:00Z'),
           (3, 2, 'a-1', 'Three', 'CHECKING', NULL, NULL, NULL, NULL);";

fn store() -> Connection {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate(&mut db, 0).unwrap();
    db.execute_batch(CONTENT).unwrap();
    db
}

/// A row as a reader sees it, without the columns whose changes do not count; and its number.
type Seen = (Vec<Value>, i64);

/// All rows of the two views, by the view and the key of the underlying row.
fn seen(db: &Connection) -> BTreeMap<(&'static str, i64), Seen> {
    let mut seen = BTreeMap::new();
    for (view, sql) in [
        (
            "c",
            "SELECT c.key, v.* FROM ts_connections c JOIN connections_v1 v ON v.connection_id = c.connection_id",
        ),
        ("a", "SELECT a.key, v.* FROM ts_accounts a JOIN accounts_v1 v ON v.account_key = a.key"),
    ] {
        let mut rows = db.prepare(sql).unwrap();
        let names: Vec<String> = rows.column_names().map(str::to_owned).collect();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let quiet = ["key", "change_seq", "last_attempt_at", "last_success_at", "next_attempt_at"];
            let news = names.iter().filter(|name| !quiet.contains(&name.as_str()));
            let values = news.map(|name| row.get(name.as_str()).unwrap()).collect();
            seen.insert((view, row.get("key").unwrap()), (values, row.get("change_seq").unwrap()));
        }
    }
    seen
}

/// Runs a statement, undoes it, and returns the number of rows that changed for a reader. Fails if one of
/// them did not get a number of its own.
fn tried(db: &Connection, sql: &str) -> Option<usize> {
    db.execute_batch("SAVEPOINT one").unwrap();
    let before = seen(db);
    let most = before.values().map(|(_, seq)| *seq).max().unwrap();
    let done = db.execute_batch(sql);
    let after = seen(db);
    db.execute_batch("ROLLBACK TO one; RELEASE one").unwrap();
    done.ok()?;
    let changed: Vec<_> =
        after.iter().filter(|(key, row)| before.get(key).map(|b| &b.0) != Some(&row.0)).collect();
    for (key, (_, seq)) in &changed {
        assert!(*seq > most, "{sql}: {key:?} changed and kept its number");
    }
    let mut numbers: Vec<i64> = after.values().map(|(_, seq)| *seq).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), after.len(), "{sql}: two rows have one number");
    Some(changed.len())
}

#[test]
fn every_change_of_what_a_reader_sees_gets_a_new_number() {
    let db = store();
    let values = [
        "NULL",
        "0",
        "1",
        "2",
        "7",
        "4000",
        "32503680000000",
        "''",
        "'[]'",
        "'[\"a-2\"]'",
        "'[\"a-1\",\"a-2\",\"a-3\"]'",
        "'other'",
        "'EUR'",
        "'USD'",
        "'-5'",
        "'failed'",
        "'rate_limited'",
        "'consent_expired'",
        "'refresh'",
        "'2026-05-30T00:00:00Z'",
        "'2026-06-03T00:00:00Z'",
    ];
    let (mut visible, mut columns) = (0, 0);
    for table in ["ts_connections", "ts_accounts", "ts_consents"] {
        let mut names = db.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).unwrap();
        let names: Vec<String> =
            names.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap();
        // `key` identifies the underlying row, and a new `change_seq` alone is no change.
        for name in names.iter().filter(|name| !["key", "change_seq"].contains(&name.as_str())) {
            columns += 1;
            for value in values {
                for which in ["1", "rowid = 1", "credentials_id = 'k-2'"] {
                    visible += tried(&db, &format!("UPDATE {table} SET {name} = {value} WHERE {which}"))
                        .unwrap_or_default();
                }
            }
        }
    }
    assert!(visible > 150 && columns > 50, "{visible} changes by {columns} columns");
}

#[test]
fn what_comes_and_goes_beside_a_row_counts_too() {
    let db = store();
    for (sql, changed) in [
        ("DELETE FROM ts_consents WHERE credentials_id = 'k-2'", 2),
        ("DELETE FROM ts_consents WHERE credentials_id = 'k-3'", 0),
        ("UPDATE ts_consents SET status = 'SESSION_EXPIRED', account_ids = '[\"a-1\",\"a-2\"]' WHERE credentials_id = 'k-2'", 0),
        ("INSERT INTO ts_consents (connection, credentials_id, status, account_ids) VALUES (1, 'k-0', 'X', '[\"a-2\"]')", 1),
        ("UPDATE ts_consents SET connection = 2 WHERE credentials_id = 'k-1'", 2),
        // Its connection has older data than before; the account itself is new.
        ("INSERT INTO ts_accounts (connection, account_id, name, type, last_refreshed)
          VALUES (1, 'a-3', 'n', 't', '2026-05-01T00:00:00Z')", 2),
        ("DELETE FROM ts_accounts WHERE key = 1", 1),
        ("UPDATE ts_accounts SET closed_at = 5 WHERE key = 1", 2),
        // The newer of two accounts does not affect the connection's oldest data.
        ("UPDATE ts_accounts SET last_refreshed = '2026-06-05T00:00:00Z' WHERE key = 2", 1),
        ("UPDATE ts_accounts SET connection = 2 WHERE key = 2", 2),
        ("INSERT INTO ts_connections (connection_id, user_id, enabled, entitled) VALUES ('c-3', 'u', 1, 1)", 1),
        ("UPDATE ts_connections SET entitled = 0", 2),
        // What every pass writes does not count, nor do columns that no view shows.
        ("UPDATE ts_connections SET last_attempt_at = 9, last_success_at = 9, next_due = 9, last_attempt_run = 4,
             last_outcome = 'unchanged', lease_run = 1, lease_token = 2, lease_until = 3 WHERE key = 1", 0),
        ("UPDATE ts_accounts SET walks = walks + 1, walked_at = 9, walked_refresh = last_refreshed", 0),
    ] {
        assert_eq!(tried(&db, sql), Some(changed), "{sql}");
    }
    let number = "SELECT value FROM ts_sequences WHERE name = 'change'";
    let read = || db.query_row(number, [], |row| row.get::<_, i64>(0)).unwrap();
    let before = read();
    db.execute_batch(
        "UPDATE ts_connections SET last_attempt_at = 9, last_success_at = 10 WHERE key = 1;
                      UPDATE ts_accounts SET walks = walks + 1",
    )
    .unwrap();
    assert_eq!(read(), before);
}

#[test]
fn an_entitlement_that_ends_by_itself_is_numbered_by_the_next_run() {
    let db = store();
    db.execute_batch("UPDATE ts_connections SET entitled_until = 5000 WHERE key = 1").unwrap();
    let seq = || seen(&db)[&("c", 1)].1;
    // Nothing has been written since it ended.
    let before = seq();
    note_lapses(&db).unwrap();
    let noted = seq();
    assert!(noted > before);
    note_lapses(&db).unwrap();
    assert_eq!(seq(), noted, "once");
    db.execute_batch("UPDATE ts_connections SET entitled_until = 32503680000000 WHERE key = 1").unwrap();
    note_lapses(&db).unwrap();
    assert!(seq() > noted);
}

#[test]
fn an_older_store_gets_the_views_of_this_release_and_keeps_those_of_the_application() {
    let mut db = Connection::open_in_memory().unwrap();
    // As the first release left it, with views of the application beside ours.
    let applications = "CREATE VIEW tink_sync_source_v1 AS SELECT 'c-1' AS connection_id";
    db.execute_batch(&format!("{applications}; CREATE VIEW app_v1 AS SELECT 1 AS one")).unwrap();
    schema::migrate_to(&mut db, 5, 0).unwrap();
    db.execute_batch(CONTENT).unwrap();
    db.execute_batch("UPDATE ts_sequences SET value = 17 WHERE name = 'change'").unwrap();
    schema::migrate(&mut db, 0).unwrap();
    let seen = seen(&db);
    assert!(seen.values().all(|(_, seq)| *seq > 17), "a reader that follows has to see them: {seen:?}");
    let held = "SELECT credentials_ids FROM accounts_v1 WHERE account_key = 1";
    assert_eq!(db.query_row(held, [], |row| row.get::<_, String>(0)).unwrap(), "[\"k-1\",\"k-2\"]");
    let as_of = "SELECT data_as_of FROM connections_v1 WHERE connection_id = 'c-1'";
    let as_of: String = db.query_row(as_of, [], |row| row.get(0)).unwrap();
    assert_eq!(as_of, "2026-06-01T00:00:00.000Z");
    let kept = "SELECT sql FROM sqlite_master WHERE name = 'tink_sync_source_v1'";
    assert_eq!(db.query_row(kept, [], |row| row.get::<_, String>(0)).unwrap(), applications);
    assert_eq!(db.query_row("SELECT one FROM app_v1", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[test]
fn views_of_another_release_with_the_same_schema_are_made_anew_once() {
    let mut db = store();
    db.execute_batch(
        "DROP VIEW runs_v1; CREATE VIEW runs_v1 AS SELECT 1 AS other;
                      UPDATE ts_sequences SET value = value + 1 WHERE name = 'published'",
    )
    .unwrap();
    schema::migrate(&mut db, 0).unwrap();
    db.prepare("SELECT run_id FROM runs_v1").unwrap();
    let before = seen(&db);
    schema::migrate(&mut db, 0).unwrap();
    assert_eq!(seen(&db), before, "nothing is numbered again");
}

#[test]
fn a_changed_fingerprint_has_a_higher_number() {
    // Changed scripts: raise NUMBER, and add a line; a line that was released is never changed.
    let all = [
        Publication { number: 1, fingerprint: 8_056_505_944_958_711_020 },
        Publication { number: 2, fingerprint: -7_005_407_581_660_460_640 },
        Publication { number: 3, fingerprint: 6_973_769_475_707_710_258 },
    ];
    assert!(all.is_sorted_by(|a, b| a.number < b.number && a.fingerprint != b.fingerprint));
    assert_eq!(all.last(), Some(&ours()));
}

#[test]
fn views_of_a_newer_release_are_left_alone_and_those_of_an_older_one_published_anew_once() {
    let mut db = store();
    let other = "UPDATE ts_sequences SET value = 1 WHERE name = 'published'";
    let newer = format!("{other}; UPDATE ts_sequences SET value = {NUMBER} + 1 WHERE name = 'publication'");
    db.execute_batch(&newer).unwrap();
    let before = seen(&db);
    schema::migrate(&mut db, 0).unwrap();
    assert_eq!(seen(&db), before);
    assert_eq!(views(&db).unwrap(), Views::Newer);
    // What releases stored that knew no numbers.
    let older = format!("{other}; DELETE FROM ts_sequences WHERE name = 'publication'");
    db.execute_batch(&older).unwrap();
    schema::migrate(&mut db, 0).unwrap();
    let after = seen(&db);
    assert!(after.iter().all(|(key, (_, seq))| *seq > before[key].1));
    assert_eq!(views(&db).unwrap(), Views::Ours);
    schema::migrate(&mut db, 0).unwrap();
    assert_eq!(seen(&db), after);
}

#[test]
fn a_rehearsal_has_the_same_views_over_its_own_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut file = Connection::open(&path).unwrap();
    schema::migrate(&mut file, 0).unwrap();
    file.execute_batch(CONTENT).unwrap();
    let db = super::super::open::connect_read_only(&path).unwrap();
    let copy = |db: Db<'_>| db.batch("INSERT INTO temp.ts_sequences SELECT * FROM main.ts_sequences");
    rehearsal::lay(&db, &copy).unwrap();
    assert!(seen(&db).is_empty(), "the temporary tables are empty");
    db.execute_batch(CONTENT).unwrap();
    let without =
        |rows: BTreeMap<_, Seen>| rows.into_iter().map(|(key, row)| (key, row.0)).collect::<Vec<_>>();
    assert_eq!(without(seen(&db)), without(seen(&file)));
    assert!(tried(&db, "DELETE FROM ts_consents") == Some(2));
    let laid = "SELECT count(*) FROM sqlite_temp_master WHERE name = 'tink_sync_source_v1'";
    assert_eq!(db.query_row(laid, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn no_view_needs_more_than_the_oldest_sqlite_that_reads_the_tables() {
    let db = store();
    let mut all = db.prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").unwrap();
    let all = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let all: Vec<(String, String)> = all.collect::<rusqlite::Result<_>>().unwrap();
    assert!(all.len() > 40);
    for (name, sql) in all {
        // All but FILTER are newer than 3.37; an older SQLite cannot open a schema with unknown syntax.
        for newer in ["->", "unixepoch(", "concat", "subsec", "RIGHT JOIN", "IS DISTINCT", "FILTER"] {
            assert!(!sql.contains(newer), "{name} uses {newer}");
        }
    }
}

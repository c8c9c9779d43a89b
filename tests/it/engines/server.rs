//! What tests on PostgreSQL stand on: that a server ends with its tests, and that a database is shown as a file would be.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use tink_sync::config;

use crate::harness::until;
use crate::postgres;

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_a_store_is_shown_to_tests_as_a_file_would_be() {
    let database = postgres::server().database();
    assert!(!database.has_store());
    database.alter(
        "CREATE SCHEMA tink_sync;
         CREATE TABLE tink_sync.things (key bigint PRIMARY KEY, account_id text, raw bytea);
         INSERT INTO tink_sync.things VALUES (2, 'b', NULL), (1, 'a', '\\x00ff');
         CREATE VIEW tink_sync.transactions_v1 AS SELECT 1::bigint AS account_key, t.*, -0.5::float8 AS amount_number
         FROM (VALUES (-130.00::numeric, timestamptz '2026-06-01 00:00:00+02', date '9999-12-31', timestamptz '2026-06-01 00:00:00.1235+00', true),
                      (0.10, NULL, NULL, NULL, NULL), (100, '0001-01-01 00:00:00.120+00', '0001-01-01', '2026-12-31 23:59:59.999+00', false))
              AS t (amount, booked_at, booked_date, removed_at, flag);
         CREATE VIEW tink_sync.private AS SELECT 1 AS one",
    );
    let seen = database.seen(None);
    let all = |sql: &str| -> Vec<String> {
        let mut rows = seen.prepare(sql).unwrap();
        let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let shown = "SELECT concat_ws('|', typeof(amount), amount, coalesce(booked_at, '-'), coalesce(booked_date, '-'), coalesce(removed_at, '-'),
                        coalesce(flag, '-'), amount_number) FROM transactions_v1";
    assert_eq!(
        all(shown),
        [
            "text|-130|2026-05-31T22:00:00Z|9999-12-31|2026-06-01T00:00:00.123Z|1|-0.5",
            "text|0.1|-|-|-|-|-0.5",
            "text|100|0001-01-01T00:00:00.12Z|0001-01-01|2026-12-31T23:59:59.999Z|0|-0.5",
        ]
    );
    assert_eq!(all("SELECT account_id || hex(coalesce(raw, '')) FROM things"), ["a00FF", "b"]);
    assert_eq!(
        all("SELECT name FROM sqlite_master WHERE name NOT LIKE 'seen%' AND sql IS NOT NULL ORDER BY 1"),
        ["things", "transactions_v1"]
    );
    // Only relations that the query names are there, and of those the rows that are asked for.
    let count = |condition: &str| {
        let some = database.seen_where(Some("SELECT * FROM things"), condition);
        assert!(some.prepare("SELECT 1 FROM transactions_v1").is_err());
        some.query_row("SELECT count(*) FROM things", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((count(""), count("WHERE key > 1")), (2, 1));
    assert!(database.bytes().windows(2).any(|bytes| bytes == [0, 0xff]));
    // A copy is another database, with the same in it.
    let copy = database.copied();
    database.alter("DELETE FROM things");
    assert_eq!(
        (database.seen(None), copy.seen(None))
            .1
            .query_row("SELECT count(*) FROM things", [], |row| row.get::<_, i64>(0)),
        Ok(2)
    );
    assert!(copy.has_store() && copy.name() != database.name());
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_a_server_ends_with_its_tests_however_they_end() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "engines::server::child_with_a_server", "--ignored", "--nocapture"])
        .env(CHILD, "1");
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let directory =
        lines.find_map(|line| Some(line.unwrap().strip_prefix("data of the server: ")?.to_owned())).unwrap();
    let directory = std::path::Path::new(&directory);
    let process = std::fs::read_to_string(directory.join("data/postmaster.pid")).unwrap();
    let process = format!("/proc/{}", process.lines().next().unwrap());
    assert!(std::path::Path::new(&process).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    until(|| !std::path::Path::new(&process).exists() && !directory.exists());
}

/// Set by the test that starts the next one.
const CHILD: &str = "TINK_SYNC_TEST_CHILD";

#[test]
#[ignore = "started by another test"]
fn child_with_a_server() {
    if config::process_env(CHILD).is_none() {
        return;
    }
    let database = postgres::server().database();
    let data = database.setting("data_directory");
    println!("data of the server: {}", data.strip_suffix("/data").unwrap());
    // Until it is killed.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

//! Clocks that are wrong, time zones, days that are longer or shorter: none changes what is stored, and what a
//! wrong clock has left behind holds nobody up.

use std::collections::BTreeSet;

use rusqlite::Connection;
use tink_sandbox::{Action, Endpoint, Fault, ScriptRow};

use crate::harness::{Ran, World, plain, small};
use crate::scripted::{A1, Sam, at};

const YEAR: i64 = 365 * 24 * 3600 * 1000;

/// Makes all that the program wrote as if its clock had been so far ahead, in milliseconds.
fn as_if_ahead(world: &World, by: i64) {
    let store = Connection::open(world.path("store.db")).unwrap();
    for (table, columns) in [
        (
            "ts_connections",
            &["last_attempt_at", "last_success_at", "last_success_began", "not_before", "next_due"][..],
        ),
        ("ts_runs", &["started_at", "finished_at"]),
        ("ts_run_connections", &["started_at"]),
        ("ts_accounts", &["walked_at", "deep_walked_at"]),
    ] {
        for column in columns {
            store.execute(&format!("UPDATE {table} SET {column} = {column} + ?1"), [by]).unwrap();
        }
    }
}

#[test]
fn what_a_clock_that_was_wrong_has_left_behind_holds_nobody_up() {
    for by in [YEAR, -YEAR, 7 * 3600 * 1000, -7 * 3600 * 1000] {
        let world = World::new(small(4))
            .set("sync.min_interval", "\"5h\"")
            .set("quota.syncs_per_day", "1")
            .set("quota.reserved_for_manual", "0");
        world.run(&[]).expect(0);
        as_if_ahead(&world, by);
        world.sandbox.set_day(2);
        let ran = world.run(&[]).expect(0);
        // A time within a day could be right: the quota of that day is used up.
        let waits = by.abs() < YEAR;
        assert_eq!((ran.total("due"), ran.skipped("quota")), if waits { (0, 4) } else { (4, 0) }, "{by}");
        if by == YEAR {
            world.assert_all_exact();
        }
        // By hand it is done at once, and all is exact, whatever the clock did.
        let all = ["--connection", "c-0", "c-1", "c-2", "c-3"];
        let world = world.set("quota.syncs_per_day", "50");
        world.run(&all).expect(0);
        world.assert_all_exact();
    }
}

#[test]
fn a_clock_that_jumped_in_mid_pass_and_was_put_right_holds_nobody_up() {
    for hours in [10, 72, -10] {
        let world = World::new(small(4));
        world.run(&[]).expect(0);
        // Half of the pass came before the jump; its end, and what came after it, bear the other time.
        let jump = format!("+ {hours} * 3600000");
        world.tamper(&format!(
            "UPDATE ts_runs SET finished_at = finished_at {jump};
             UPDATE ts_connections SET last_attempt_at = last_attempt_at {jump}, last_success_at = last_success_at {jump},
                    last_success_began = last_success_began {jump}, next_due = next_due {jump} WHERE key % 2 = 0;
             UPDATE ts_run_connections SET started_at = started_at {jump} WHERE connection % 2 = 0;
             UPDATE ts_accounts SET walked_at = walked_at {jump}, deep_walked_at = deep_walked_at {jump} WHERE connection % 2 = 0"
        ));
        world.sandbox.set_day(1);
        let ran = world.run(&[]).expect(0);
        assert_eq!((ran.total("due"), ran.total("synced"), ran.skipped("leased")), (4, 4, 0), "{hours}");
        world.assert_all_exact();
    }
}

#[test]
fn a_back_off_of_a_clock_that_was_wrong_is_not_obeyed() {
    let world = World::new(small(1));
    world.run(&[]).expect(0);
    let store = Connection::open(world.path("store.db")).unwrap();
    let in_a_year = "UPDATE ts_connections SET failures = 9, not_before = CAST(strftime('%s', 'now') AS INTEGER) * 1000 + ?1";
    store.execute(in_a_year, [YEAR]).unwrap();
    drop(store);
    assert_eq!(world.run(&[]).expect(0).total("due"), 1);
}

#[test]
fn a_clock_that_is_wrong_is_told_by_the_check() {
    for (date, said) in
        [("Thu, 01 Jan 2026 00:00:00 GMT", "ahead of"), ("Thu, 01 Jan 2099 00:00:00 GMT", "behind")]
    {
        let world = World::new(small(1));
        let body = r#"{"access_token":"t","expires_in":1800,"scope":"authorization:grant"}"#.to_owned();
        let headers = vec![("Date".to_owned(), date.to_owned())];
        world
            .sandbox
            .fault(Fault::new(Action::Status { code: 200, headers, body }).at(Endpoint::ClientToken));
        let ran = world.cli(&["check"]).expect(78);
        let line = ran.stdout.lines().find(|line| line.contains("clock: ")).unwrap();
        assert!(line.starts_with("FAIL") && line.contains(said), "{line}");
    }
    let ran = World::new(small(1)).cli(&["check"]).expect(0);
    assert!(
        ran.stdout.lines().any(|line| line.starts_with("ok") && line.contains("clock: ")),
        "{}",
        ran.stdout
    );
}

#[test]
fn the_time_zone_of_the_machine_changes_nothing() {
    let rows = |world: &World| -> BTreeSet<Vec<Option<String>>> {
        let sql = "SELECT account_id, transaction_id, status, amount, booked_date, value_date, booked_at, description
                   FROM transactions_v1 WHERE connection_id = ?1";
        let accounts = "SELECT account_id, booked_balance, complete_through, last_refreshed_at FROM accounts_v1 WHERE connection_id = ?1";
        let mut all = BTreeSet::new();
        for connection in ["c-0", "c-1", "c-2"] {
            all.extend(world.texts(sql, connection));
            all.extend(world.texts(accounts, connection));
        }
        all
    };
    let read = |zone: Option<&str>| {
        let world = World::new(plain(3));
        for day in [0, 1] {
            world.sandbox.set_day(day);
            let mut pass = world.pass(&[]);
            pass.envs(zone.map(|zone| ("TZ", zone)));
            Ran::of(pass.output().unwrap()).expect(0);
        }
        rows(&world)
    };
    let without = read(None);
    assert!(without.len() > 20);
    for zone in ["America/St_Johns", "Pacific/Kiritimati", "Pacific/Niue", "Asia/Kathmandu", "Not/A-Zone"] {
        assert_eq!(read(Some(zone)), without, "{zone}");
    }
}

#[test]
fn days_that_are_odd_in_the_calendar_are_stored_as_they_are() {
    // A leap day, the days of summer time in Europe and America, the turn of a year.
    let dates = ["2024-02-29", "2026-03-29", "2026-10-25", "2026-03-08", "2025-12-31", "2026-01-01"];
    let row = |(n, date): (usize, &&str)| {
        ScriptRow::booked(&format!("t-{n}"), A1, date.parse().unwrap(), &format!("-{}", 100 + n), "2", "x")
    };
    let rows: Vec<ScriptRow> = dates.iter().enumerate().map(row).collect();
    let sam = Sam::with(at(1, rows.clone()));
    for (n, date) in dates.iter().enumerate() {
        assert_eq!(sam.row(&format!("t-{n}"), "booked_date"), *date);
    }
    assert_eq!(sam.pass(at(1, rows)).expect(0).total("unchanged"), 1);
}

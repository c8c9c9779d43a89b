//! The application's own database: what its view may hold, what is made of it, and that nothing in it
//! is ever changed.

use std::fs;
use std::time::Duration;

use jiff::SignedDuration;
use rusqlite::params;
use tink_sandbox::{Action, Endpoint, Fault, Times};
use tink_sync::clock::{Clock as _, SystemClock};

use crate::harness::{World, opened, quoted, small};
use crate::owners::unwrapped;
use crate::stored::Place;

/// A world in which connection `c-<n>` has these values, as SQL, for `enabled`, `entitled` and
/// `entitled_until`.
fn viewed(values: &[[&str; 3]]) -> World {
    let world = World::new(small(u32::try_from(values.len()).unwrap()));
    for (n, [enabled, entitled, until]) in values.iter().enumerate() {
        world.app(&format!(
            "UPDATE app_connections SET enabled = {enabled}, entitled = {entitled}, entitled_until = {until}
             WHERE id = 'c-{n}'"
        ));
    }
    world
}

fn was_asked_for(world: &World, n: usize) -> bool {
    !world.sandbox.requests_of(&format!("user-{n}")).is_empty()
}

/// Runs and checks that the connections are in this state, and that only those that are `ok` were asked for.
fn assert_states(values: &[[&str; 3]], state: &str) {
    let world = viewed(values);
    world.run(&[]).expect(0);
    for (n, values) in values.iter().enumerate() {
        assert_eq!(world.state(n).0, state, "{values:?}");
        assert_eq!(was_asked_for(&world, n), state == "ok", "{values:?}");
    }
}

#[test]
fn whoever_is_enabled_and_entitled_in_any_form_is_synced() {
    let values = [
        ["1", "1", "NULL"],
        ["'true'", "'t'", "'2999-01-01T00:00:00Z'"],
        ["'yes'", "'1'", "'2999-01-01 00:00:00'"],
        ["'TRUE'", "'Yes'", "32472144000"],
        ["1", "1", "'2999-01-01T02:00:00+02:00'"],
        ["1", "1", "'32472144000'"],
        // Without end: the last second of the year 9999, and what is beyond it.
        ["1", "1", "253402300799"],
        ["1", "1", "'253402300800'"],
        ["1", "1", "253402300799000"],
        ["1", "1", "9e999"],
    ];
    assert_states(&values, "ok");
}

#[test]
fn free_and_cancelled_users_are_not_even_asked_for() {
    let values = [
        ["1", "0", "NULL"],
        ["1", "NULL", "NULL"],
        ["1", "'false'", "NULL"],
        ["1", "''", "'2999-01-01T00:00:00Z'"],
        ["1", "2", "NULL"],
        ["1", "1", "'2020-01-01T00:00:00Z'"],
        ["1", "1", "'2020-01-01 00:00:00'"],
        ["1", "1", "1577836800"],
        ["1", "1", "'soon'"],
        ["1", "1", "''"],
        ["1", "1", "x'00'"],
    ];
    assert_states(&values, "paused_not_entitled");
}

#[test]
fn whoever_has_disconnected_is_disabled_first_of_all() {
    let values =
        [["0", "1", "NULL"], ["NULL", "1", "NULL"], ["'no'", "1", "NULL"], ["NULL", "NULL", "'soon'"]];
    assert_states(&values, "disabled");
}

#[test]
fn a_view_that_cannot_be_used_is_named_and_nothing_is_concluded_from_it() {
    let world = World::new(small(3));
    world.run(&[]).expect(0);
    let drop = "DROP VIEW tink_sync_source_v1;";
    let (enabled, entitled) = ("1 AS enabled", "1 AS entitled");
    let ids = "id AS connection_id, user_id";
    for (columns, named) in [
        (format!("{ids}, {enabled}, tink AS external_user_id"), "entitled"),
        (format!("id AS connection_id, {enabled}, tink AS tink_user_id"), "user_id, entitled"),
        (format!("{ids}, {enabled}, {entitled}"), "external_user_id or tink_user_id"),
    ] {
        world
            .app(&format!("{drop} CREATE VIEW tink_sync_source_v1 AS SELECT {columns} FROM app_connections"));
        let ran = world.run(&[]).expect(78);
        assert!(ran.stderr.contains(named) && ran.stderr.contains("app.db"), "{}", ran.stderr);
    }
    // A view whose table is gone, no view, no database, and something else instead of one.
    world.app(
        "ALTER TABLE app_connections RENAME TO moved; PRAGMA writable_schema = on;
               UPDATE sqlite_master SET sql = replace(sql, 'moved', 'gone') WHERE type = 'view'",
    );
    assert!(world.run(&[]).expect(78).stderr.contains("gone"));
    world.app(drop);
    assert!(world.run(&[]).expect(75).stderr.contains("tink_sync_source_v1 was there at the last pass"));
    // One of another name never was.
    let world = world.set("source.view", &quoted("other_v1"));
    assert!(world.run(&[]).expect(78).stderr.contains("create the view other_v1"));
    fs::write(world.path("app.db"), "no database at all".repeat(100)).unwrap();
    assert!(world.run(&[]).expect(74).stderr.contains("app.db"));
    fs::remove_file(world.path("app.db")).unwrap();
    assert!(world.run(&[]).expect(74).stderr.contains("source.database"));
    assert_eq!(world.number("SELECT count(*) FROM connections_v1 WHERE state = 'ok'"), 3);
    assert_eq!(world.text("SELECT exit_code FROM runs_v1 ORDER BY started_at DESC LIMIT 1").unwrap(), "74");
    world.assert_at_rest();
}

#[test]
fn a_bad_row_fails_alone() {
    let world = World::new(small(6));
    world.app("INSERT INTO app_connections SELECT * FROM app_connections WHERE id = 'c-1'");
    world.app("UPDATE app_connections SET tink = NULL WHERE id = 'c-2'");
    world.app("UPDATE app_connections SET user_id = NULL WHERE id = 'c-3'");
    world.app("UPDATE app_connections SET id = NULL WHERE id = 'c-4'");
    for _ in 0..2 {
        let ran = world.run(&[]).expect(10);
        for bad in ["c-1", "c-2", "c-3", ""] {
            assert_eq!(ran.ended(bad), ("failed".to_owned(), Some("source_row".to_owned())), "{bad}");
            assert!(ran.connections()[bad]["error"].as_str().unwrap().contains("source view"));
        }
        assert_eq!(ran.total("failed"), 4);
        assert!(!(1..5).any(|n| was_asked_for(&world, n)));
        world.assert_exact(0);
        world.assert_exact(5);
    }
    world.app("DELETE FROM app_connections WHERE rowid IN (SELECT max(rowid) FROM app_connections)");
    world.app("UPDATE app_connections SET user_id = id, tink = replace(id, 'c-', 'user-') WHERE id IN ('c-2', 'c-3')");
    world.app("UPDATE app_connections SET id = 'c-4' WHERE id IS NULL");
    world.run(&[]).expect(0);
    world.assert_all_exact();
    assert_eq!(world.text("SELECT state FROM connections_v1 WHERE connection_id = ''").unwrap(), "disabled");
}

#[test]
fn a_doubled_row_fails_whichever_of_its_rows_comes_first() {
    let (over, goes_on) = ("'u-0', 1, 1, '2020-01-01'", "'u-0', 1, 1, '2999-01-01'");
    let (anothers, cancelled) = ("'u-1', 1, 1, NULL", "'u-0', 0, 1, NULL");
    for (one, other) in [(over, goes_on), (over, anothers), (cancelled, goes_on), (anothers, goes_on)] {
        for rows in [[one, other], [other, one]] {
            let world = World::new(small(2));
            world.run(&[]).expect(0);
            world.app("DELETE FROM app_connections WHERE id = 'c-0'");
            for row in rows {
                world.app(&format!("INSERT INTO app_connections VALUES ('c-0', {row}, 'user-0')"));
            }
            let ran = world.run(&[]).expect(10);
            assert_eq!(ran.ended("c-0"), ("failed".to_owned(), Some("source_row".to_owned())), "{rows:?}");
            assert!(
                ran.connections()["c-0"]["error"].as_str().unwrap().contains("more than once"),
                "{rows:?}"
            );
            assert_eq!(world.state(0), ("failing".to_owned(), Some("source_row".to_owned())), "{rows:?}");
            let user = "SELECT user_id FROM connections_v1 WHERE connection_id = 'c-0'";
            assert_eq!(world.text(user).unwrap(), "u-0", "{rows:?}");
        }
    }
}

#[test]
fn an_entitled_until_that_is_no_time_is_told_of() {
    let world =
        viewed(&[["1", "1", "'soon'"], ["1", "1", "'2020-01-01'"], ["0", "1", "'soon'"], ["1", "1", "NULL"]]);
    let text = "entitled_until of 1 row of the source view is no time";
    for args in [&["--dry-run"][..], &[]] {
        let told = world.run(args).expect(0).stderr;
        assert!(told.contains(text) && told.contains("connection c-0"), "{told}");
        assert_eq!(told.matches("entitled_until of").count(), 1, "{told}");
    }
    assert_eq!(world.state(0).0, "paused_not_entitled");
    let told = world.cli(&["check", "--offline", "--format", "json"]).expect(0).stdout;
    assert!(told.contains(text) && told.contains("correct entitled_until in the view"), "{told}");
    let why = |id: &str| world.cli(&["why", id]).expect(0).stdout;
    assert!(
        why("c-0").contains("entitled_until is no time") && why("c-0").contains("correct entitled_until")
    );
    assert!(!why("c-1").contains("is no time"), "one that is over is not unreadable");
    assert!(world.cli(&["why", "c-0", "--format", "json"]).stdout.contains("correct entitled_until"));
    let world = viewed(&[["1", "1", "NULL"]]);
    assert!(!world.run(&[]).expect(0).stderr.contains("entitled_until"));
}

#[test]
fn what_to_do_about_a_bad_row_is_the_same_everywhere() {
    let world = World::new(small(2));
    world.app("UPDATE app_connections SET tink = NULL WHERE id = 'c-1'");
    world.run(&[]).expect(10);
    let remedy = "correct its row in the source view";
    for args in [&["check", "--offline"][..], &["why", "c-1"], &["status"]] {
        let said = world.cli(args).expect(0).stdout;
        assert_eq!(said.matches(remedy).count(), 1, "{args:?}: {said}");
    }
}

#[test]
fn a_connection_gone_from_the_view_is_disabled_and_keeps_its_data() {
    let world = World::new(small(3));
    world.run(&[]).expect(0);
    let rows = world.live(1);
    world.app(
        "CREATE TABLE gone AS SELECT * FROM app_connections WHERE id = 'c-1';
               DELETE FROM app_connections WHERE id = 'c-1'",
    );
    world.sandbox.set_day(2);
    world.sandbox.reset_counters();
    let asked = world.run(&["--connection", "c-1"]).expect(10);
    assert!(
        asked.stderr.contains("c-1 was not synced: the source view no longer has it"),
        "{}",
        asked.stderr
    );
    let ran = world.run(&[]).expect(0);
    assert_eq!(ran.skipped("disabled"), 1);
    assert_eq!(world.state(1), ("disabled".to_owned(), Some("gone".to_owned())));
    assert_eq!(world.number("SELECT skipped_disabled FROM runs_v1 ORDER BY started_at DESC LIMIT 1"), 1);
    let why = world.cli(&["why", "c-1"]).expect(0).stdout;
    assert!(why.contains("(gone): the view"), "{why}");
    assert_eq!(world.live(1), rows);
    assert!(!was_asked_for(&world, 1));
    // Not even by name: nobody says any more that its user is entitled.
    assert_eq!(world.run(&["--connection", "c-1", "--force"]).expect(10).skipped("not_entitled"), 1);
    world.app("INSERT INTO app_connections SELECT * FROM gone");
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn entitlement_that_comes_back_reads_the_gap() {
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    world.app("UPDATE app_connections SET entitled = 0 WHERE id = 'c-0'");
    for day in 1..4 {
        world.sandbox.set_day(day);
        assert_eq!(world.run(&[]).expect(0).skipped("not_entitled"), 1);
        assert_eq!(world.state(0), ("paused_not_entitled".to_owned(), Some("not_entitled".to_owned())));
    }
    world.app("UPDATE app_connections SET entitled = 1");
    world.sandbox.set_day(4);
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn entitlement_that_ends_while_a_connection_is_read_ends_the_reading() {
    let world = World::new(small(2));
    let soon = SystemClock.now() + SignedDuration::from_millis(600);
    world.app(&format!("UPDATE app_connections SET entitled_until = '{soon}' WHERE id = 'c-0'"));
    let late = Action::Delay(Duration::from_millis(900));
    world.sandbox.fault(Fault::new(late).user("user-0").at(Endpoint::Accounts));
    let ran = world.run(&[]).expect(0);
    assert_eq!((ran.total("synced"), ran.skipped("not_entitled")), (1, 1));
    assert!(!world.sandbox.requests_of("user-0").contains_key(&Endpoint::Transactions));
    world.assert_exact(1);
}

#[test]
fn of_several_states_the_first_of_the_contract_is_shown() {
    let world = World::new(small(8));
    let forever = |n: usize, action, place| {
        world.sandbox.fault(Fault::new(action).user(&format!("user-{n}")).at(place).times(Times::Forever));
    };
    for n in 3..6 {
        let status = Some("SESSION_EXPIRED".to_owned());
        world.sandbox.plan(&format!("user-{n}"), |plan| plan.consent(0).status = status);
    }
    forever(1, Action::status(500), Endpoint::Accounts);
    forever(2, Action::status(429), Endpoint::Accounts);
    world.app("UPDATE app_connections SET entitled = 0 WHERE id = 'c-7'");
    world.run(&[]).expect(10);
    // The first of them now fails, and is still waiting for its user.
    forever(3, Action::status(500), Endpoint::Consents);
    forever(6, Action::status(500), Endpoint::Consents);
    world.run(&[]).expect(10);
    forever(6, Action::status(429), Endpoint::Grant);
    world.app("UPDATE app_connections SET entitled = 0 WHERE id IN ('c-4', 'c-5')");
    world.app("UPDATE app_connections SET enabled = 0 WHERE id = 'c-5'");
    world.app("INSERT INTO app_connections VALUES ('c-8', 'u-8', 1, 1, NULL, 'user-7')");
    // One more pass that reads the view and then stops at once.
    world.sandbox.fault(Fault::new(Action::too_many("3600")).at(Endpoint::ClientToken).times(Times::Forever));
    world.run(&["--connection", "c-6"]).expect(10);
    let expected = [
        "ok",
        "failing",
        "rate_limited",
        "needs_user",
        "paused_not_entitled",
        "disabled",
        "rate_limited",
        "paused_not_entitled",
        "new",
    ];
    for (n, expected) in expected.into_iter().enumerate() {
        assert_eq!(world.state(n).0, expected, "c-{n}");
    }
    assert_eq!(world.state(3).1.as_deref(), Some("consent_expired"));
}

#[test]
fn the_applications_database_is_never_changed_whoever_else_has_it_open() {
    let world = World::new(small(4));
    assert!(!world.files().iter().any(|name| name.starts_with("app.db-")), "a log that was put away");
    let before = fs::read(world.path("app.db")).unwrap();
    world.run(&[]).expect(0);
    assert_eq!(fs::read(world.path("app.db")).unwrap(), before);

    let open = || opened(&world.path("app.db"));
    let (reader, writer) = (open(), open());
    reader.execute_batch("BEGIN; SELECT * FROM app_connections").unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    writer.execute("UPDATE app_connections SET enabled = 0", params![]).unwrap();
    assert_eq!(world.run(&[]).expect(0).total("due"), 4, "what is not committed is not so");
    writer.execute_batch("COMMIT").unwrap();
    let log = fs::read(world.path("app.db-wal")).unwrap();
    assert_eq!(world.run(&[]).expect(10).skipped("disabled"), 4);
    assert_eq!(fs::read(world.path("app.db")).unwrap(), before);
    assert_eq!(fs::read(world.path("app.db-wal")).unwrap(), log);
}

#[test]
fn the_view_may_lie_in_the_store_itself() {
    for name in ["tink_sync_source_v1", "premium_connections"] {
        let world = World::new(small(3)).unset("source.database").set("source.view", &quoted(name));
        world.tamper(&format!(
            "CREATE TABLE premium (id TEXT, tink TEXT);
             CREATE VIEW {name} AS SELECT id AS connection_id, 'u' || id AS user_id, 1 AS enabled,
                 'true' AS entitled, tink AS external_user_id, 'ignored' AS note FROM premium;
             INSERT INTO premium VALUES ('c-0', 'user-0'), ('c-1', 'user-1'), ('c-2', 'user-2');"
        ));
        world.run(&[]).expect(0);
        world.assert_all_exact();
        assert_eq!(world.run(&["--dry-run"]).expect(0).total("unchanged"), 3);
        match &world.place {
            Place::File(_) => assert_eq!(world.number("SELECT count(*) FROM premium"), 3),
            Place::Database(database) => assert_eq!(database.texts("SELECT id FROM premium").len(), 3),
        }
    }
}

#[test]
fn an_empty_file_in_the_place_of_a_store_is_no_store_yet() {
    let world = World::new(small(2)).unset("source.database").unset("source.view");
    let empty = || std::fs::write(world.path("store.db"), "").unwrap();
    let add = ["connections", "add", "c", "--user", "u", "--external-user-id", "user-0"];
    for command in [
        &["status"][..],
        &["why", "c"],
        &["connections", "list"],
        &["quarantine", "list"],
        &["check", "--offline"],
    ] {
        let _ = std::fs::remove_file(world.path("store.db"));
        let before = world.cli(command);
        empty();
        let after = world.cli(command);
        assert_eq!((after.code, &after.stderr), (before.code, &before.stderr), "{command:?}");
        assert!(!after.stderr.contains("schema 0"), "{}", after.stderr);
    }
    empty();
    world.run(&["--dry-run"]).expect(0);
    assert_eq!(std::fs::metadata(world.path("store.db")).unwrap().len(), 0, "a rehearsal writes nothing");
    world.cli(&add).expect(0);
    assert_eq!(world.run(&[]).expect(0).total("synced"), 1);
}

#[test]
fn stand_alone_tables_are_read_through_the_same_view() {
    let world = World::new(small(3)).unset("source.view").unset("source.database");
    assert_eq!(world.run(&[]).expect(0).total("connections"), 0);
    for n in 0..3 {
        let (connection, user, tink) = (format!("c-{n}"), format!("u-{n}"), format!("user-{n}"));
        let add = ["connections", "add", &connection, "--user", &user, "--external-user-id", &tink];
        world.cli(&add).expect(0);
    }
    for (user, entitled) in [("u-0", "yes"), ("u-1", "no"), ("u-2", "no")] {
        world.cli(&["users", "set", user, "--entitled", entitled]).expect(0);
    }
    let ran = world.run(&[]).expect(0);
    assert_eq!((ran.total("synced"), ran.skipped("not_entitled")), (1, 2));
    world.assert_exact(0);
    assert!(!was_asked_for(&world, 1) && !was_asked_for(&world, 2));
}

#[test]
fn the_instance_of_a_unit_names_a_connection_typed_or_escaped() {
    let world = World::new(small(3));
    world.app("UPDATE app_connections SET id = 'a/b' WHERE id = 'c-2'");
    for (name, connection) in [("c-0", "c-0"), ("c\\x2d1", "c-1"), ("a-b", "a/b")] {
        let ran = world.run(&["--instance", name]).expect(0);
        assert_eq!(ran.connections().keys().collect::<Vec<_>>(), [connection]);
    }
    world.app("UPDATE app_connections SET id = 'a-b' WHERE id = 'c-0'");
    for (name, said) in [("a-b", "connection a-b and connection a/b"), ("d-1", "unknown connection: d-1")] {
        let ran = world.run(&["--instance", name]).expect(2);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    // Which is meant by the escaped name is beyond doubt.
    assert_eq!(world.run(&["--instance", "a\\x2db"]).expect(0).connections().len(), 1);
}

#[test]
fn an_entitlement_without_end_is_shown_as_none_however_the_view_writes_it() {
    let world = World::new(small(6));
    let ways =
        ["'9999-12-31 00:00:00'", "'9999-12-31T23:59:59Z'", "'9999-12-31'", "253402300799", "9e999", "NULL"];
    for (n, way) in ways.iter().enumerate() {
        world.app(&format!("UPDATE app_connections SET entitled_until = {way} WHERE id = 'c-{n}'"));
    }
    let untold = |told: &str| assert!(!told.contains("9999"), "{told}");
    untold(&world.run(&["--dry-run"]).expect(0).stdout);
    world.run(&[]).expect(0);
    assert_eq!(
        world.number("SELECT count(*) FROM connections_v1 WHERE entitled_until IS NULL AND state = 'ok'"),
        6
    );
    for args in [
        &["status", "--all"][..],
        &["status", "--format", "json"],
        &["connections", "list"],
        &["connections", "list", "--format", "json"],
        &["why", "c-0"],
        &["why", "c-0", "--format", "json"],
    ] {
        untold(&world.cli(args).expect(0).stdout);
    }
    let world = World::new(small(0)).unset("source.view").unset("source.database");
    let set = ["users", "set", "u-1", "--entitled", "yes", "--entitled-until", "9999-12-31"];
    untold(&world.cli(&set).expect(0).stdout);
    for args in [&["users", "list"][..], &["users", "list", "--format", "json"]] {
        untold(&world.cli(args).expect(0).stdout);
    }
}

#[test]
fn why_says_what_stands_in_the_row_of_one_that_is_not_synced() {
    let world = World::new(small(5));
    world.run(&[]).expect(0);
    for (n, change) in ["enabled = NULL", "enabled = 0", "entitled = NULL", "entitled = 0"].iter().enumerate()
    {
        world.app(&format!("UPDATE app_connections SET {change} WHERE id = 'c-{n}'"));
    }
    let why = |n: usize| unwrapped(&world.cli(&["why", &format!("c-{n}")]).expect(0).stdout);
    for _ in 0..2 {
        for (n, said) in [
            (0, "enabled is NULL, which counts as false, in the view tink_sync_source_v1."),
            (1, "enabled is false in the view tink_sync_source_v1."),
            (2, "entitled is NULL in the view tink_sync_source_v1"),
            (3, "the view tink_sync_source_v1 says so"),
        ] {
            assert!(why(n).contains(said), "{n}: {}", why(n));
        }
        world.run(&[]).expect(0);
    }
}

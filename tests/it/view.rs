//! The application's view and configuration gone wrong, on the built program: another Tink app on the same store, a view
//! that suddenly gives far fewer, is missing, or holds ids that nobody can use.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use serde_json::Value;
use tink_sandbox::{Action, Endpoint, Fault, Times};

use crate::harness::{World, quoted, small};
use crate::owners::{audited, synced, unwrapped};

#[test]
fn another_app_changes_nothing_until_a_person_accepts_it() {
    let world = synced(2);
    let before = world.text("SELECT group_concat(connection_id || user_id || enabled) FROM connections_v1");
    let ours = quoted(&world.sandbox.config().client_id);
    // Staging's configuration on production's store: another app, and another view.
    let world = world.set("tink.client_id", &quoted("staging"));
    world.app(
        "DELETE FROM app_connections WHERE id = 'c-0'; UPDATE app_connections SET user_id = 'x', tink = 'y'",
    );
    world.sandbox.reset_counters();
    fs::write(world.path("rows"), "").unwrap();
    let rows = world.path("rows").display().to_string();
    for args in [
        &["run"][..],
        &["run", "--dry-run"],
        &["run", "--connection", "c-0", "--force"],
        &["connect", "--user", "u-1", "--connection", "c-1"],
        &["renew", "c-1"],
        &["import", &rows],
        &["connections", "forget", "c-0", "--at-tink", "--yes"],
        &["check", "--offline"],
        &["connections", "accept-change"],
    ] {
        let ran = world.cli(args).expect(78);
        let said = unwrapped(&format!("{}{}", ran.stdout, ran.stderr));
        assert!(said.contains("another Tink app") && said.contains("accept-app"), "{args:?}: {said}");
    }
    assert_eq!(world.sandbox.requests().values().sum::<u64>(), 0);
    assert_eq!(
        world.text("SELECT group_concat(connection_id || user_id || enabled) FROM connections_v1"),
        before
    );
    for args in [&["status"][..], &["why", "c-1"]] {
        assert!(world.cli(args).stdout.contains("accept-app"), "{args:?}");
    }
    world.app("DELETE FROM app_connections; INSERT INTO app_connections VALUES ('c-0', 'u-0', 1, 1, NULL, 'user-0', NULL), ('c-1', 'u-1', 1, 1, NULL, 'user-1', NULL)");
    let said = world.cli(&["connections", "accept-app", "--actor", "ann"]).expect(0).stdout;
    assert!(unwrapped(&said).contains("2 connections with data of the app before"), "{said}");
    assert_eq!(audited(&world, "app.accepted"), ["- - ann"]);
    assert_eq!(world.run(&[]).code, 77, "Tink does not know it");
    // The right one is another one now.
    let world = world.set("tink.client_id", &ours);
    world.run(&[]).expect(78);
    world.cli(&["connections", "accept-app"]).expect(0);
    assert!(world.cli(&["connections", "accept-app"]).expect(0).stdout.contains("nothing to accept"));
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn a_store_without_an_app_takes_the_one_of_its_first_run_that_is_accepted() {
    let world = World::new(small(1));
    let ours = quoted(&world.sandbox.config().client_id);
    // A mistyped one is not remembered.
    let world = world.set("tink.client_id", &quoted("mistyped"));
    world.run(&[]).expect(77);
    let world = world.set("tink.client_id", &ours);
    world.run(&["--dry-run"]).expect(0);
    assert_eq!(world.app_remembered(), None);
    world.run(&[]).expect(0);
    assert_eq!(world.app_remembered(), Some(world.sandbox.config().client_id.clone()));
    // One of an older release remembers none until Tink accepts the client: not if nothing is due, nor if Tink
    // answers nobody.
    world.forget_app_and_view();
    world.sandbox.fault(Fault::new(Action::too_many("3600")).at(Endpoint::ClientToken).times(Times::Forever));
    world.run(&[]).expect(10);
    assert_eq!(world.app_remembered(), None);
    world.sandbox.clear_faults();
    let world = world.set("sync.min_interval", &quoted("5h"));
    assert_eq!(world.run(&[]).expect(0).total("due"), 0);
    assert_eq!(world.app_remembered(), None);
    world.run(&["--connection", "c-0", "--force"]).expect(0);
    assert_eq!(world.app_remembered(), Some(world.sandbox.config().client_id.clone()));
    let world = world.set("tink.client_id", &quoted("staging"));
    world.run(&[]).expect(78);
}

#[test]
fn a_view_that_gives_nobody_is_told_until_somebody_confirms_it() {
    let world = World::new(small(8));
    world.run(&[]).expect(0);
    world.app("CREATE TABLE kept AS SELECT * FROM app_connections; DELETE FROM app_connections");
    let states = "SELECT group_concat(DISTINCT state) FROM connections_v1";
    let flag = |world: &World| {
        let metrics = world.cli(&["status", "--format", "prometheus"]).stdout;
        let value = |name: &str| {
            metrics.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok()).unwrap()
        };
        (value("tink_sync_connections_entitled "), value("tink_sync_connections_change_unconfirmed "))
    };
    assert_eq!(flag(&world), (8, 0));
    world.run(&["--dry-run"]).expect(10);
    for _ in 0..2 {
        let ran = world.run(&[]).expect(10);
        assert!(
            ran.stderr.contains("0 entitled (before: 8), 0 enabled (before: 8)")
                && ran.stderr.contains("accept-change"),
            "{}",
            ran.stderr
        );
        assert_eq!(
            (ran.total("unchanged"), world.text(states).as_deref()),
            (8, Some("ok")),
            "nobody is disabled by it"
        );
    }
    assert_eq!(flag(&world), (0, 1));
    // Not of one who asks for his own.
    world.run(&["--connection", "c-3"]).expect(0);
    for args in [&["check", "--offline"][..], &["status"], &["why", "c-3"]] {
        assert!(unwrapped(&world.cli(args).stdout).contains("far fewer connections than before"), "{args:?}");
    }
    world.cli(&["status", "--max-age", "0s"]).expect(10);
    // It ends when they are back, or when a person says that it is right.
    world.app("INSERT INTO app_connections SELECT * FROM kept");
    world.run(&[]).expect(0);
    world.app("DELETE FROM app_connections WHERE id > 'c-1'");
    world.run(&[]).expect(10);
    assert!(
        world
            .cli(&["connections", "accept-change", "--actor", "ann"])
            .expect(0)
            .stdout
            .contains("2 connections enabled (before: 8)")
    );
    assert_eq!(audited(&world, "change.accepted"), ["- - ann"]);
    world.run(&[]).expect(0);
    assert_eq!(
        (world.state(0).0.as_str(), world.state(7).0.as_str(), flag(&world)),
        ("ok", "disabled", (2, 0))
    );
    assert!(world.cli(&["connections", "accept-change"]).expect(0).stdout.contains("nothing to confirm"));
    world.cli(&["status", "--max-age", "1h"]).expect(0);
}

#[test]
fn a_fall_leaves_those_paused_who_were_paused_or_were_never_synced() {
    let world = World::new(small(9));
    world.app("UPDATE app_connections SET entitled = 0 WHERE id < 'c-2'; UPDATE app_connections SET tink = 'nobody' WHERE id = 'c-2'");
    world.run(&[]).expect(10);
    world.app("CREATE TABLE kept AS SELECT * FROM app_connections; DELETE FROM app_connections");
    let states = || {
        world.text("SELECT group_concat(state) FROM (SELECT * FROM connections_v1 ORDER BY connection_id) s")
    };
    for _ in 0..2 {
        world.run(&[]).expect(10);
        let paused = "paused_not_entitled,paused_not_entitled,paused_not_entitled";
        assert_eq!(states().unwrap(), format!("{paused},ok,ok,ok,ok,ok,ok"));
    }
    world.app("INSERT INTO app_connections SELECT * FROM kept");
    world.run(&[]).expect(10);
    assert_eq!(states().unwrap(), "paused_not_entitled,paused_not_entitled,failing,ok,ok,ok,ok,ok,ok");
    world.app("DELETE FROM app_connections");
    world.run(&[]).expect(10);
    world.cli(&["connections", "accept-change"]).expect(0);
    assert_eq!(world.number("SELECT count(*) FROM connections_v1 WHERE state = 'disabled'"), 9);
}

#[test]
fn a_view_that_fails_on_its_way_changes_nothing() {
    let world = World::new(small(8));
    world.run(&[]).expect(0);
    world.app(
        "DROP VIEW tink_sync_source_v1; CREATE VIEW tink_sync_source_v1 AS SELECT id AS connection_id, user_id, 0 AS enabled,
             CASE id WHEN 'c-6' THEN json('{') ELSE 0 END AS entitled, tink AS external_user_id FROM app_connections",
    );
    let ran = world.run(&[]).expect(78);
    assert!(ran.stderr.contains("malformed JSON") && ran.stderr.contains("app.db"), "{}", ran.stderr);
    assert_eq!(world.number("SELECT count(*) FROM connections_v1 WHERE state = 'ok'"), 8);
    world.cli(&["check", "--offline"]).expect(78);
}

#[test]
fn who_was_entitled_in_the_last_days_should_be_fresh_while_a_fall_is_not_confirmed() {
    for change in [
        "entitled = 0",
        "entitled = NULL",
        "enabled = NULL",
        "enabled = 0",
        "entitled_until = '2020-01-01'",
        "entitled_until = 'soon'",
    ] {
        let world = World::new(small(7));
        world.run(&[]).expect(0);
        world.app(&format!("UPDATE app_connections SET {change}"));
        world.run(&[]).expect(10);
        world.cli(&["status", "--max-age", "0s"]).expect(10);
        world.cli(&["connections", "accept-change"]).expect(0);
        world.run(&[]).expect(0);
        world.cli(&["status", "--max-age", "0s"]).expect(0);
    }
    // Who left as one of many is not told of.
    let world = World::new(small(7));
    world.run(&[]).expect(0);
    world.app("UPDATE app_connections SET entitled = 0 WHERE id < 'c-5'");
    world.run(&[]).expect(0);
    world.app("UPDATE app_connections SET entitled = 0 WHERE id = 'c-5'");
    world.run(&[]).expect(10);
}

#[test]
fn a_view_that_is_missing_for_a_while_is_waited_for() {
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    world.app("ALTER TABLE app_connections RENAME TO moved; DROP VIEW tink_sync_source_v1");
    let mut running = world.start(&["--outage-patience", "5m"]);
    // As an application's upgrade does it, in two steps.
    let id = running.id();
    crate::harness::until(|| world.place.is_used_by(id));
    world.app("ALTER TABLE moved RENAME TO app_connections");
    world.app("CREATE VIEW tink_sync_source_v1 AS SELECT id AS connection_id, user_id, enabled, entitled, tink AS external_user_id FROM app_connections");
    drop(running.stderr());
    assert_eq!(running.end().code, 0);
    world.assert_all_exact();
}

#[test]
fn a_signal_ends_the_waiting_for_a_view_or_a_store_which_is_logged_once() {
    let waiting = |world: &World, signal: &str| {
        let mut running = world.start(&["--outage-patience", "5m"]);
        let mut lines = BufReader::new(running.stderr()).lines().map(Result::unwrap);
        let waits = "waiting for up to 5m (sync.outage_patience)";
        assert!(lines.any(|line| line.contains(waits)), "it says that it waits");
        let began = Instant::now();
        let code = running.stop(signal).code;
        assert!(began.elapsed() < Duration::from_secs(8), "it ends at once");
        assert!(!lines.any(|line| line.contains(waits)), "it says so once");
        code
    };
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    world.app("DROP VIEW tink_sync_source_v1");
    assert_eq!(waiting(&world, "TERM"), 143);
    let last = "SELECT exit_code FROM runs_v1 ORDER BY started_at DESC LIMIT 1";
    assert_eq!(world.number(last), 143, "the run is ended in the store as well");
    world.assert_at_rest();
    let world = world.set("store.url", "\"postgres://nobody@127.0.0.1:1/nothing\"");
    assert_eq!(waiting(&world, "INT"), 130);
}

#[test]
fn ids_that_cannot_be_used_fail_alone_and_are_counted() {
    let world = World::new(small(3));
    world.app(
        "INSERT INTO app_connections (id, user_id, enabled, entitled, tink) VALUES (hex(zeroblob(150000)), 'u', 1, 1, 'x'), ('a' || char(10) || 'b', 'u', 1, 1, 'y'),
             ('long', hex(zeroblob(9000)), 1, 1, 'z'), ('odd', 'u', 1, 1, 'z' || char(27));",
    );
    for args in [&["--dry-run"][..], &[]] {
        let ran = world.run(args).expect(10);
        let error = ran.connections()[""]["error"].as_str().unwrap().to_owned();
        assert!(
            error.starts_with(
                "2 rows of the source view have a connection_id that is not text of at most 16 KiB"
            ),
            "{error}"
        );
        for id in ["", "long", "odd"] {
            assert_eq!(ran.ended(id), ("failed".to_owned(), Some("source_row".to_owned())));
        }
        assert_eq!(ran.total("synced"), 3);
    }
    assert_eq!(
        world.number("SELECT max(length(connection_id), length(user_id)) < 100 FROM connections_v1"),
        1
    );
    world.assert_all_exact();
    let world = World::new(small(0)).unset("source.view").unset("source.database");
    let long = "x".repeat(16 * 1024 + 1);
    world.cli(&["connections", "add", &long, "--user", "u", "--external-user-id", "x"]).expect(2);
    world.cli(&["connections", "add", "c", "--user", &long, "--external-user-id", "x"]).expect(2);
    world.cli(&["connections", "add", "c", "--user", "u", "--external-user-id", &long]).expect(2);
    world.cli(&["users", "set", &long, "--entitled", "yes"]).expect(2);
    world.cli(&["connections", "add", &long[1..], "--user", "u", "--external-user-id", "x"]).expect(0);
}

#[test]
fn what_an_older_release_took_can_be_forgotten_however_long_its_id() {
    let world = World::new(small(1));
    world.run(&[]).expect(0);
    let (long, odd) = ("x".repeat(300_000), "a\nb\u{1b}");
    for (key, id) in [(100, long.as_str()), (101, odd)] {
        world.add_connection(key, id);
    }
    let lines = format!("{long}\n{}\n", Value::from(odd));
    fs::write(world.path("ids"), &lines).unwrap();
    let file = world.path("ids").display().to_string();
    let said = world.cli(&["connections", "forget", "--file", &file, "--yes"]).expect(0).stdout;
    assert!(said.len() < 2000 && said.contains("(300000 bytes)"), "{}", said.len());
    assert_eq!(world.number("SELECT count(*) FROM connections_v1"), 1);
    let bytes = world.place.bytes();
    assert!(!bytes.windows(1000).any(|part| part.iter().all(|byte| *byte == b'x')), "nothing of it is left");
    fs::write(world.path("ids"), "\"unfinished\n").unwrap();
    world.cli(&["connections", "forget", "--file", &file, "--yes"]).expect(2);
}

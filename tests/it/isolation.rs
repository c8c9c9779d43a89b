//! Runs beside each other, runs that die, runs that are stopped, and stores that cannot be used.

use std::fs;
use std::time::Duration;

use tink_sandbox::{Action, Config, Endpoint, Fault, Times};

use crate::harness::{Ran, World, small, until};
use crate::stored::only_on_sqlite;

fn requests(world: &World) -> u64 {
    world.sandbox.requests().values().sum()
}

/// A world in which every answer takes a while.
fn slow(users: u32) -> World {
    World::new(Config { latency: Duration::from_millis(20), ..small(users) })
}

/// Fails unless every user's data was asked for exactly once.
fn assert_synced_once(world: &World, users: usize) {
    for n in 0..users {
        let requests = world.sandbox.requests_of(&format!("user-{n}"));
        let once = |place| requests.get(&place).copied() == Some(1);
        assert!(once(Endpoint::Grant) && once(Endpoint::Consents), "user-{n}: {requests:?}");
    }
}

/// Three runs that start together share the work and repeat nothing of it.
fn three_at_once(min_interval: &str) {
    let world = slow(60).set("sync.min_interval", min_interval);
    let running: Vec<_> = (0..3).map(|_| world.start(&[])).collect();
    let ran: Vec<Ran> = running.into_iter().map(|running| running.end().expect(0)).collect();
    assert_eq!(ran.iter().map(|ran| ran.total("synced")).sum::<u64>(), 60);
    assert_synced_once(&world, 60);
    assert_eq!(world.number("SELECT count(*) FROM run_connections_v1"), 60);
    world.assert_at_rest();
    world.assert_all_exact();
}

#[test]
fn three_runs_at_once_share_the_work() {
    three_at_once("\"5h\"");
}

#[test]
fn three_runs_at_once_repeat_nothing_though_everything_is_always_due() {
    three_at_once("\"0s\"");
}

#[test]
fn one_connection_by_name_runs_beside_a_pass() {
    let world = slow(20);
    let pass = world.start(&[]);
    until(|| requests(&world) > 10);
    let ran = world.run(&["--connection", "c-19"]);
    pass.end().expect(0);
    // The first of the two did it; the other says so.
    assert!(ran.code == 0 || ran.skipped("leased") == 1, "{}", ran.stdout);
    world.assert_all_exact();
    world.assert_at_rest();
}

#[test]
fn what_the_application_deletes_meanwhile_disturbs_nobody() {
    let world = slow(12);
    let running = world.start(&[]);
    until(|| requests(&world) > 10);
    world.app("DELETE FROM app_connections WHERE id IN ('c-0', 'c-5', 'c-11')");
    assert_eq!(running.end().expect(0).total("synced"), 12);
    assert_eq!(world.run(&[]).expect(0).skipped("disabled"), 3);
    world.assert_all_exact();
}

#[test]
fn a_run_after_a_killed_one_finishes_its_work() {
    for k in [5, 40, 75] {
        let world = slow(24).set("sync.min_interval", "\"5h\"");
        let running = world.start(&[]);
        until(|| requests(&world) >= k);
        running.kill();
        world.sandbox.set_latency(Duration::ZERO);
        world.sandbox.reset_counters();
        let ran = world.run(&[]).expect(0);
        assert_eq!(ran.total("synced") + ran.total("unchanged") + ran.skipped("recent"), 24);
        assert!(ran.total("due") > 0, "it was killed in the middle");
        world.assert_all_exact();
        world.assert_at_rest();
        let dead = "SELECT count(*) FROM runs_v1 WHERE finished_at IS NOT NULL AND exit_code IS NULL";
        assert_eq!(world.number(dead), 1);
        assert_eq!(world.number("SELECT count(*) FROM run_connections_v1 WHERE outcome IS NULL"), 0);
        assert_eq!(world.text("PRAGMA integrity_check").unwrap(), "ok");
    }
}

#[test]
fn a_killed_run_leaves_its_work_to_one_that_is_under_way() {
    let world = slow(30);
    let first = world.start(&[]);
    until(|| requests(&world) >= 20);
    // The second is still at work when the first is missed.
    world.sandbox.set_latency(Duration::from_secs(1));
    let second = world.start(&[]);
    until(|| world.number("SELECT count(*) FROM runs_v1") == 2);
    first.kill();
    world.place.miss(&world.text("SELECT run_id FROM runs_v1 ORDER BY started_at LIMIT 1").unwrap());
    world.sandbox.set_latency(Duration::ZERO);
    let second = second.end().expect(0);
    // What it took over was due as well.
    assert!(second.total("due") >= second.total("synced"), "{:?}", second.lines.last());
    world.assert_all_exact();
    world.assert_at_rest();
}

/// Stops a run in the middle, while several of its calls hang for good.
fn stopped_by(signal: &str, code: i32) {
    let world = World::new(small(24)).set("tink.request_timeout", "\"10m\"");
    let hang = |n: u32| {
        let hang = Fault::new(Action::Hang).user(&format!("user-{n}")).at(Endpoint::Transactions);
        world.sandbox.fault(hang.times(Times::Forever));
    };
    (16..20).for_each(hang);
    let running = world.start(&[]);
    // Whatever can end has ended: twenty connections of five calls, four that hang in their last.
    until(|| requests(&world) > 24 * 5);
    until(|| world.number("SELECT count(*) FROM run_connections_v1 WHERE outcome IS NOT NULL") == 20);
    let ran = running.stop(signal).expect(code);
    assert_eq!((ran.total("synced"), ran.total("interrupted")), (20, 4));
    assert_eq!(ran.total("exit_code"), u64::try_from(code).unwrap());
    assert_eq!(world.text("SELECT exit_code FROM runs_v1"), Some(code.to_string()));
    world.assert_at_rest();
    (0..16).chain(20..24).for_each(|n| world.assert_exact(n));
    assert_eq!(world.number("SELECT count(*) FROM connections_v1 WHERE consecutive_failures > 0"), 0);

    world.sandbox.clear_faults();
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn sigterm_ends_a_run_soon_and_cleanly() {
    stopped_by("TERM", 143);
}

#[test]
fn sigint_ends_a_run_soon_and_cleanly() {
    stopped_by("INT", 130);
}

#[test]
fn a_run_that_is_stopped_does_not_hide_why_a_connection_fails() {
    let world = World::new(small(1)).set("tink.request_timeout", "\"10m\"");
    world.run(&[]).expect(0);
    let fault = |action: Action| {
        world.sandbox.clear_faults();
        world.sandbox.fault(Fault::new(action).at(Endpoint::Accounts).times(Times::Forever));
    };
    fault(Action::status(403));
    world.run(&[]).expect(10);
    let columns = "state, reason, consecutive_failures, not_before, change_seq";
    let shown = || {
        let status = world.cli(&["status", "--connection", "c-0", "--format", "json"]);
        let error = status.lines[0]["connections"][0]["last_error"].clone();
        (world.texts(&format!("SELECT {columns} FROM connections_v1 WHERE connection_id = ?1"), "c-0"), error)
    };
    let before = shown();
    assert!(before.0[0][1].is_some() && before.1.is_string(), "{before:?}");
    fault(Action::Hang);
    let asked = world.sandbox.requests_to(Endpoint::Accounts);
    let running = world.start(&["--connection", "c-0", "--force"]);
    until(|| world.sandbox.requests_to(Endpoint::Accounts) > asked);
    assert_eq!(running.stop("TERM").expect(143).total("interrupted"), 1);
    assert_eq!(shown(), before);
    world.assert_at_rest();
}

#[test]
fn a_signal_in_a_rehearsal_is_not_said_to_have_stored_anything() {
    let world = World::new(small(1));
    world.sandbox.fault(Fault::new(Action::Hang).at(Endpoint::Accounts).times(Times::Forever));
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let before = world.sandbox.requests_to(Endpoint::Accounts);
        let running = world.start(&["--dry-run", "--verbose"]);
        until(|| world.sandbox.requests_to(Endpoint::Accounts) > before);
        let ran = running.stop(signal).expect(code);
        let said = format!("ended by SIG{signal}; a rehearsal stores nothing");
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    }
}

#[test]
fn a_signal_ends_a_pause_that_tink_asked_for() {
    let world = World::new(small(3));
    world.sandbox.fault(Fault::new(Action::too_many("60")).user("user-0").at(Endpoint::Accounts));
    let running = world.start(&[]);
    until(|| world.sandbox.faults_left() == 0);
    running.stop("TERM").expect(143);
    world.assert_at_rest();
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    world.newer_schema();
    let before = world.contents();
    let ran = world.run(&[]).expect(74);
    assert!(ran.stderr.contains("schema 99") && ran.stderr.contains("upgrade tink-sync"), "{}", ran.stderr);
    assert!(world.contents() == before);
}

#[test]
fn a_store_that_is_no_database_is_refused_and_left_alone() {
    only_on_sqlite!("what is wrong with its file");
    let world = World::new(small(2));
    let text = "my diary, which is certainly no database\n".repeat(100);
    fs::write(world.path("store.db"), &text).unwrap();
    let ran = world.run(&[]).expect(74);
    assert!(
        ran.stderr.contains("store.db") && ran.stderr.contains("not an SQLite database"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read_to_string(world.path("store.db")).unwrap(), text);
    assert_eq!(requests(&world), 0);
}

#[test]
fn a_damaged_store_is_told() {
    only_on_sqlite!("what is wrong with its file");
    let world = World::new(small(6));
    world.run(&[]).expect(0);
    let mut bytes = fs::read(world.path("store.db")).unwrap();
    bytes[8192..].fill(0xAA);
    fs::write(world.path("store.db"), bytes).unwrap();
    let ran = world.run(&[]).expect(74);
    assert!(ran.stderr.contains("store.db") && ran.stderr.contains("damaged"), "{}", ran.stderr);
}

#[test]
fn a_store_in_no_directory_is_told() {
    only_on_sqlite!("what is wrong with its file");
    let world = World::new(small(2));
    let path = world.path("missing/store.db");
    let world = world.set("store.url", &format!("\"sqlite:{}\"", path.display()));
    let ran = world.run(&[]).expect(74);
    assert!(ran.stderr.contains("directory does not exist"), "{}", ran.stderr);
}

//! The rehearsal: it says what the next run will do, and changes nothing at all.

use std::time::Duration;

use serde_json::Value;
use tink_sandbox::{Config, Rates};

use crate::harness::{Ran, World, small, until};
use crate::stored::only_on_sqlite;

/// What a report says about the data: all but times, names of the run and of Tink's requests, and who
/// happened to ask for the client's token.
fn said(ran: &Ran) -> Vec<Value> {
    let mut lines = ran.lines.clone();
    for line in &mut lines {
        let fields = line.as_object_mut().unwrap();
        for own in ["run_id", "dry_run", "started_at", "finished_at", "duration_ms", "store_round_trips"] {
            fields.remove(own);
        }
        if fields["type"] == "connection" {
            fields.remove("requests");
            fields.remove("error");
        }
    }
    lines.sort_by_key(|line| (line["type"].to_string(), line["connection_id"].to_string()));
    lines
}

/// Rehearses, checks that nothing changed, and returns what was said.
fn rehearse(world: &World, args: &[&str]) -> Ran {
    let before = world.contents();
    let mut all = vec!["--dry-run"];
    all.extend(args);
    let ran = world.run(&all);
    assert_eq!(ran.summary()["dry_run"], true);
    let after = world.contents();
    assert!(after.keys().eq(before.keys()), "{:?} became {:?}", before.keys(), after.keys());
    assert!(after == before, "a rehearsal changed a file");
    ran
}

/// Fails unless a rehearsal and the run after it say the same.
fn assert_rehearsal_is_true(world: &World, args: &[&str]) -> Ran {
    let rehearsed = rehearse(world, args);
    let ran = world.run(args);
    assert_eq!(rehearsed.code, ran.code, "{}\n{}", rehearsed.stderr, ran.stderr);
    let (rehearsed, real) = (said(&rehearsed), said(&ran));
    assert_eq!(rehearsed.len(), real.len());
    for (rehearsed, real) in rehearsed.iter().zip(&real) {
        assert_eq!(rehearsed, real);
    }
    ran
}

#[test]
fn invariant_12_it_says_what_the_next_run_does_on_each_of_four_days() {
    let rates = Rates { undated: 0, reconsent: 300, account_deleted: 100, ..Rates::everything() };
    // More connections than are worked on at once: some are copied while others make rows.
    let world = World::new(Config { rates, seed: 11, ..small(18) });
    for day in 0..4 {
        world.sandbox.set_day(day);
        let ran = assert_rehearsal_is_true(&world, &[]);
        assert!(ran.total("added") > 0);
    }
}

#[test]
fn it_says_what_the_next_run_does_when_nothing_is_new() {
    let world = World::new(small(30));
    world.run(&[]).expect(0);
    let ran = assert_rehearsal_is_true(&world, &[]).expect(0);
    assert_eq!((ran.total("unchanged"), ran.total("fetched")), (30, 0));
}

#[test]
fn it_knows_who_is_not_due() {
    let world = World::new(small(8)).set("sync.min_interval", "\"5h\"").set("quota.syncs_per_day", "2");
    let world = world.set("quota.reserved_for_manual", "0");
    world.run(&["--connection", "c-0", "c-1"]).expect(0);
    world.run(&["--connection", "c-1"]).expect(0);
    world.app("UPDATE app_connections SET enabled = 0 WHERE id = 'c-2'");
    world.app("UPDATE app_connections SET entitled = 0 WHERE id = 'c-3'");
    world.app("DELETE FROM app_connections WHERE id = 'c-4'");
    world.app("UPDATE app_connections SET user_id = 'u-5' WHERE id IN ('c-5', 'c-6', 'c-7')");
    let ran = assert_rehearsal_is_true(&world, &[]).expect(0);
    assert_eq!((ran.total("synced"), ran.skipped("recent"), ran.skipped("quota")), (2, 2, 1));
    let ran = assert_rehearsal_is_true(&world, &["--connection", "c-1", "c-2", "--force"]).expect(10);
    assert_eq!((ran.skipped("quota"), ran.total("due")), (1, 1));
}

#[test]
fn invariant_10_it_creates_nothing_where_there_is_no_store_yet() {
    let world = World::new(small(20));
    let rehearsed = rehearse(&world, &[]).expect(0);
    assert_eq!((rehearsed.total("synced"), rehearsed.total("connections")), (20, 20));
    assert!(!world.has_store());

    // Not even the directory is needed.
    only_on_sqlite!("a directory for its file");
    let path = world.path("missing/store.db");
    let world = world.set("store.url", &format!("\"sqlite:{}\"", path.display()));
    assert_eq!(rehearse(&world, &[]).expect(0).total("synced"), 20);
}

#[test]
fn it_knows_no_connections_where_neither_store_nor_application_is_there() {
    let world = World::new(small(2)).unset("source.view").unset("source.database");
    assert_eq!(rehearse(&world, &[]).expect(0).total("connections"), 0);
    assert!(!world.has_store());
}

#[test]
fn it_tells_which_migrations_an_older_store_needs_and_applies_none() {
    only_on_sqlite!("no server has an older schema yet");
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    world.forget_schema();
    let before = world.contents();
    let ran = world.run(&["--dry-run"]).expect(74);
    assert!(ran.stderr.contains("0001_initial"), "{}", ran.stderr);
    assert!(world.contents() == before);
}

#[test]
fn it_leaves_out_what_another_run_has_and_does_not_disturb_it() {
    let world = World::new(Config { latency: Duration::from_millis(20), ..small(30) });
    let running = world.start(&[]);
    until(|| world.sandbox.requests().values().sum::<u64>() > 10);
    let rehearsed = world.run(&["--dry-run"]).expect(0);
    let ran = running.end().expect(0);
    assert_eq!(ran.total("synced"), 30);
    assert!(rehearsed.skipped("leased") > 0, "{}", rehearsed.summary());
    assert_eq!(world.number("SELECT count(*) FROM runs_v1"), 1);
    world.assert_all_exact();
    world.assert_at_rest();
}

#[test]
fn it_is_not_audited_and_refuses_unknown_names_like_a_run() {
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    rehearse(&world, &["--actor", "support", "--ip", "192.0.2.7", "--connection", "c-1"]).expect(0);
    assert_eq!(world.number("SELECT count(*) FROM audit_v1"), 0);
    world.run(&["--actor", "support", "--ip", "192.0.2.7", "--connection", "c-1"]).expect(0);
    assert_eq!(world.number("SELECT count(*) FROM audit_v1 WHERE action = 'sync.requested'"), 1);
    let before = world.contents();
    world.run(&["--dry-run", "--connection", "c-9"]).expect(2);
    assert!(world.contents() == before);
    world.run(&["--connection", "c-9"]).expect(2);
    world.assert_at_rest();
    assert_eq!(world.text("SELECT exit_code FROM runs_v1 ORDER BY started_at DESC LIMIT 1").unwrap(), "2");
}

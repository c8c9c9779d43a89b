//! What is past its retention goes, by command and at the end of every pass, and nothing else.

use tink_sandbox::ScriptRow;

use crate::harness::{World, small};
use crate::inside::DAY;
use crate::scripted::{Fate, Sam, at, booked, pending, undated};

fn counts(world: &World) -> [i64; 4] {
    let [runs, attempts, acts] = ["runs_v1", "run_connections_v1", "audit_v1"]
        .map(|view| world.number(&format!("SELECT count(*) FROM {view}")));
    [runs, attempts, acts, world.originals()]
}

/// A world with a synced past and an old one.
fn aged() -> World {
    let world = World::new(small(2)).set("sync.keep_raw", "\"90d\"");
    for _ in 0..12 {
        world.run(&[]).expect(0);
    }
    world.run(&["--actor", "ann"]).expect(0);
    world.forget_originals();
    world.add_old_runs();
    world
}

#[test]
fn what_is_old_goes_and_the_rehearsal_says_what() {
    let world = aged();
    let before = counts(&world);
    let (live, raw) = (world.live(0), before[3]);
    let rehearsed = world.cli(&["prune", "--dry-run"]).expect(0).stdout.replace('\n', " ");
    let expected = format!(
        "20 runs, 40 outcomes of connections in runs, 1 row of the audit log, original JSON of {raw} transactions."
    );
    assert!(rehearsed.starts_with(&format!("Would go: {expected}")), "{rehearsed}");
    assert_eq!(counts(&world), before);
    let done = world.cli(&["prune"]).expect(0).stdout.replace('\n', " ");
    assert!(done.starts_with(&format!("Gone: {expected}")), "{done}");
    assert_eq!(counts(&world), [13, 26, 1, 0]);
    let again = world.cli(&["prune"]).expect(0).stdout;
    assert!(
        again.starts_with("Nothing is past its retention (report.history 400d, report.history_on_demand 30d, sync.keep_raw 90d, sync.keep_removed 400d)"),
        "{again}"
    );
    // The rows are as they were, and still name the run that first saw them.
    assert_eq!(world.live(0), live);
    assert_eq!(world.number("SELECT sum(first_seen_run IS NOT 'old-1') FROM transactions_v1"), 0);
    assert_eq!(world.number("SELECT count(*) FROM runs_v1 WHERE run_id = 'old-1'"), 0);
    world.assert_all_exact();
    assert_eq!(world.run(&[]).expect(0).total("unchanged"), 2);
}

#[test]
fn a_pass_does_it_at_its_end_and_a_single_sync_or_a_rehearsal_does_not() {
    let world = aged();
    let before = counts(&world);
    world.run(&["--dry-run"]).expect(0);
    assert_eq!(counts(&world), before);
    world.run(&["--connection", "c-1"]).expect(0);
    assert_eq!(world.number("SELECT count(*) FROM runs_v1 WHERE run_id LIKE 'old-%'"), 20);
    world.run(&[]).expect(0);
    assert_eq!(world.number("SELECT count(*) FROM runs_v1 WHERE run_id LIKE 'old-%'"), 0);
    assert_eq!(world.originals(), 0);
    assert_eq!(world.number("SELECT count(*) FROM audit_v1"), 1);
}

#[test]
fn what_commands_and_the_quota_need_survives_whatever_the_retention() {
    let world = World::new(small(1)).set("report.history", "\"7d\"").set("quota.syncs_per_day", "3");
    let world = world.set("quota.reserved_for_manual", "0");
    for _ in 0..3 {
        world.run(&[]).expect(0);
    }
    assert_eq!(world.run(&[]).expect(0).skipped("quota"), 1);
    world.cli(&["prune"]).expect(0);
    assert_eq!(world.run(&[]).expect(0).skipped("quota"), 1);
    // A machine that was off for a year still tells how the last pass went.
    world.age_runs(365 * DAY);
    world.age_attempts(365 * DAY);
    world.cli(&["prune"]).expect(0);
    let status = world.cli(&["status", "--format", "json"]).expect(0);
    assert_eq!(status.lines[0]["runs"].as_array().unwrap().len(), 5);
    let metrics = world.cli(&["status", "--format", "prometheus"]).expect(0).stdout;
    assert!(metrics.contains("tink_sync_last_success_timestamp_seconds 1"), "{metrics}");
}

#[test]
fn runs_on_demand_have_a_retention_of_their_own() {
    let world = World::new(small(2)).set("report.history_on_demand", "\"10d\"");
    for _ in 0..12 {
        world.run(&[]).expect(0);
        world.run(&["--connection", "c-0"]).expect(0);
        world.run(&["--user", "u-1"]).expect(0);
    }
    world.age_runs(20 * DAY);
    world.run(&[]).expect(0);
    // Of 24 on demand the last ten stay, and of the passes all.
    assert_eq!((world.runs_on_demand(true), world.runs_on_demand(false)), (10, 13));
    let passes =
        world.cli(&["status", "--format", "json"]).expect(0).lines[0]["schedule"]["last_pass_at"].clone();
    let newest = world.text("SELECT started_at FROM runs_v1 ORDER BY started_at DESC LIMIT 1");
    assert_eq!(passes.as_str().map(str::to_owned), newest);
    // What one asks for by hand is no pass, however many connections there are.
    world.run(&["--connection", "c-0", "c-1"]).expect(0);
    let status = world.cli(&["status", "--format", "json"]).expect(0);
    assert_eq!(status.lines[0]["schedule"]["last_pass_at"], passes);
}

#[test]
fn original_json_goes_when_none_is_to_be_kept_any_more() {
    let world = World::new(small(1)).set("sync.keep_raw", "\"90d\"");
    world.run(&[]).expect(0);
    assert!(world.originals() > 0);
    let world = world.unset("sync.keep_raw");
    world.cli(&["prune"]).expect(0);
    assert_eq!(world.originals(), 0);
}

#[test]
fn without_a_store_there_is_nothing_to_prune() {
    let world = World::new(small(1));
    assert!(world.cli(&["prune"]).expect(0).stdout.contains(&world.place.absence()));
    assert!(!world.has_store());
}

/// Rows that stay, and before the second refresh one that goes.
fn rows(refreshed: u32) -> Vec<ScriptRow> {
    let mut rows = vec![
        booked("b", -2, "-700", "rent"),
        undated("u", "BOOKED", "-100", "no date"),
        pending("p", -1, "-300", "taxi"),
    ];
    rows.truncate(if refreshed > 1 { 2 } else { 3 });
    rows
}

/// Sam's rows with a tombstone among them.
fn with_tombstone() -> Sam {
    let sam = Sam::with(at(1, rows(1)));
    sam.pass(at(2, rows(2))).expect(0);
    assert_eq!(sam.fate("p"), Fate::vanished());
    sam
}

#[test]
fn a_pruned_run_changes_no_exported_line() {
    let sam = with_tombstone();
    sam.0.age_runs(500 * DAY);
    let exported = || {
        ["csv", "jsonl", "ledger", "beancount"].map(|format| {
            let ran = sam.0.cli(&["export", "--format", format, "--pending", "--removed"]);
            (format, ran.code, ran.stdout)
        })
    };
    let (before, old) = (
        exported(),
        "SELECT count(*) FROM runs_v1 WHERE started_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')",
    );
    assert!(before[1].2.contains("\"first_seen_run\":\"2"), "{}", before[1].2);
    assert_eq!(sam.0.number(old), 2);
    for _ in 0..12 {
        sam.again().expect(0);
    }
    assert_eq!(sam.0.number(old), 0);
    assert_eq!(exported(), before);
}

#[test]
fn tombstones_have_a_retention_and_a_reader_that_was_away_for_longer_is_told() {
    let sam = Sam::with(at(1, rows(1)));
    let newest = || sam.0.number("SELECT last_change_seq FROM feed_v1");
    let seen = newest();
    // As packaging/reading.md has it.
    let is_whole =
        |seen: i64| sam.0.number(&format!("SELECT {seen} = 0 OR {seen} >= whole_from FROM feed_v1"));
    sam.pass(at(2, rows(2))).expect(0);
    assert_eq!((is_whole(seen), is_whole(0), is_whole(newest())), (1, 1, 1));
    sam.0.age_removals(500 * DAY);
    let said = sam.0.cli(&["prune", "--dry-run"]).expect(0).stdout;
    assert!(said.starts_with("Would go: 1 removed transaction."), "{said}");
    sam.0.run(&["--dry-run"]).expect(0);
    assert_eq!(sam.fate("p"), Fate::vanished());
    sam.again().expect(0);
    assert_eq!(sam.0.number("SELECT count(*) FROM transactions_v1 WHERE transaction_id = 'p'"), 0);
    assert_eq!(sam.live(), ["b", "u"]);
    // It has a row of which no number tells that it was removed.
    assert_eq!(sam.0.number(&format!("SELECT count(*) FROM transactions_v1 WHERE change_seq > {seen}")), 0);
    assert_eq!((is_whole(seen), is_whole(0), is_whole(newest())), (0, 1, 1));
    // What comes back is a new row.
    sam.pass(at(3, rows(1))).expect(0);
    assert_eq!((sam.fate("p"), is_whole(newest())), (Fate::live(), 1));
}

#[test]
fn a_tombstone_stays_as_long_as_the_key_says() {
    let sam = with_tombstone().set("sync.keep_removed", "\"36500d\"");
    sam.0.age_removals(500 * DAY);
    sam.again().expect(0);
    assert_eq!(sam.fate("p"), Fate::vanished());
}

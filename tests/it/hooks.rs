//! Events for programs of the operator's: each is written down once, also when a run dies, and only if
//! somebody listens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tink_sandbox::script::{account, consent};
use tink_sandbox::{Action, Endpoint, Fault, Script, ScriptRow, Times};
use tink_sync::domain::hook::HookKind;

use crate::harness::{World, quoted, small, was_killed};
use crate::scripted::{SAM, Sam, at, booked, consent_with, day, millis, pending, refresh};

/// A world in which there is a program for these kinds of events.
pub fn listening(world: World, kinds: &[HookKind]) -> World {
    fs::create_dir_all(world.path("hooks")).unwrap();
    for kind in kinds {
        fs::write(world.path("hooks").join(kind.as_str()), "").unwrap();
    }
    world
}

/// Sam, with a program for everything.
fn sam() -> Sam {
    Sam(listening(Sam::new().0, HookKind::ALL))
}

/// The files that wait, by kind and name.
fn waiting(world: &World) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for kind in HookKind::ALL {
        let Ok(entries) = fs::read_dir(world.path("spool").join(kind.as_str())) else { continue };
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    files.sort();
    files
}

/// Every event that waits, in its own words.
fn events(world: &World) -> Vec<Value> {
    waiting(world)
        .iter()
        .map(|file| serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap())
        .collect()
}

fn remove_all(world: &World) {
    for file in waiting(world) {
        fs::remove_file(file).unwrap();
    }
}

/// Takes every event that waits: how often each kind is there.
fn take(world: &World) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for event in events(world) {
        *kinds.entry(event["event"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    remove_all(world);
    assert_eq!(world.untold(), 0, "left in the store");
    kinds
}

fn told(kinds: &[&str]) -> BTreeMap<String, usize> {
    kinds.iter().map(|kind| ((*kind).to_owned(), 1)).collect()
}

/// The one event that waits.
fn only(world: &World, kind: HookKind) -> Value {
    let mut events = events(world);
    assert_eq!(events.len(), 1, "{events:?}");
    let event = events.remove(0);
    assert_eq!(event["event"], kind.as_str());
    take(world);
    event
}

fn without<const N: usize>(mut event: Value, fields: [&str; N]) -> Value {
    for field in fields {
        assert!(event.as_object_mut().unwrap().remove(field).is_some(), "no {field} in {event}");
    }
    event
}

#[test]
fn new_rows_are_told_once_with_their_counts() {
    let sam = sam();
    sam.pass(at(1, [booked("a", -2, "-100", "TRAM"), booked("b", -1, "-250", "COFFEE")])).expect(0);
    let event = only(&sam.0, HookKind::NewTransactions);
    let run = sam.0.text("SELECT run_id FROM runs_v1").unwrap();
    assert!(event["id"].as_str().unwrap().starts_with(&run) && event["at"].as_str().unwrap().ends_with('Z'));
    let expected = json!({
        "schema": 1, "event": "new-transactions", "run_id": run, "connection_id": "c-0", "user_id": "u-0",
        "added": 2, "updated": 0, "removed": 0, "replaced": 0,
    });
    assert_eq!(without(event, ["id", "at"]), expected);
    // Nothing new; then something changed; then both.
    sam.again().expect(0);
    assert_eq!(take(&sam.0), told(&[]));
    let rows = [booked("a", -2, "-100", "TRAM 7"), booked("b", -1, "-250", "COFFEE")];
    sam.pass(at(2, rows.clone())).expect(0);
    assert_eq!(take(&sam.0), told(&[]));
    let mut rows = rows.to_vec();
    rows[1] = booked("b", -1, "-260", "COFFEE");
    rows.push(booked("c", 0, "-1", "GUM"));
    sam.pass(at(3, rows)).expect(0);
    let event = only(&sam.0, HookKind::NewTransactions);
    assert_eq!((&event["added"], &event["updated"]), (&json!(1), &json!(1)));
}

#[test]
fn a_row_that_only_takes_the_place_of_another_is_no_news() {
    let sam = sam();
    sam.pass(at(1, [pending("p", 0, "-100", "TRAM")])).expect(0);
    take(&sam.0);
    let ran = sam.pass(at(2, [booked("b", 0, "-100", "TRAM")])).expect(0);
    assert_eq!((ran.total("added"), ran.total("removed")), (1, 1));
    assert_eq!(take(&sam.0), told(&[]));
    sam.pass(at(3, [booked("b", 0, "-100", "TRAM"), booked("new", 0, "-7", "GUM")])).expect(0);
    assert_eq!(only(&sam.0, HookKind::NewTransactions)["added"], 1);
}

#[test]
fn the_first_failure_and_the_recovery_are_told_once() {
    let sam = sam();
    sam.pass(at(1, [])).expect(0);
    sam.0.sandbox.fault(Fault::new(Action::status(403)).at(Endpoint::Accounts).times(Times::Forever));
    sam.again().expect(10);
    let first = events(&sam.0).remove(0);
    assert_eq!((&first["outcome"], &first["reason"]), (&json!("failed"), &json!("http_4xx")));
    assert_eq!(first.as_object().unwrap().len(), 9, "{first}");
    assert_eq!(take(&sam.0), told(&["first-failure", "pass-failed"]));
    for _ in 0..2 {
        sam.again().expect(10);
        assert_eq!(take(&sam.0), told(&["pass-failed"]));
    }
    sam.0.sandbox.clear_faults();
    sam.again().expect(0);
    assert_eq!(only(&sam.0, HookKind::Recovered)["from"], "failed");
    sam.again().expect(0);
    assert_eq!(take(&sam.0), told(&[]));
}

#[test]
fn what_the_second_round_mends_is_no_failure() {
    let sam = sam();
    sam.pass(at(1, [])).expect(0);
    // All attempts of the first round, and none of the second.
    sam.0.sandbox.fault(Fault::new(Action::status(503)).at(Endpoint::Accounts).times(Times::N(4)));
    let ran = sam.again().expect(0);
    assert!(ran.total("retries") >= 3, "{}", ran.stdout);
    assert_eq!(take(&sam.0), told(&[]));
}

#[test]
fn a_need_of_the_user_is_told_once_per_change() {
    let sam = sam();
    sam.pass(at(1, [])).expect(0);
    let mut n = 1;
    let mut pass = |status: &str, code: i32| {
        n += 1;
        sam.pass(consent_with(at(n, []), "status", status)).expect(code);
        take(&sam.0)
    };
    assert_eq!(pass("SESSION_EXPIRED", 11), told(&["needs-user"]));
    assert_eq!(pass("SESSION_EXPIRED", 11), told(&[]));
    assert_eq!(pass("AUTHENTICATION_ERROR", 11), told(&["needs-user"]));
    assert_eq!(pass("AUTHENTICATION_ERROR", 11), told(&[]));
    assert_eq!(pass("UPDATED", 0), told(&["recovered"]));
    assert_eq!(pass("UPDATED", 0), told(&[]));
    sam.pass(consent_with(at(9, []), "status", "DELETED")).expect(11);
    let event = without(only(&sam.0, HookKind::NeedsUser), ["id", "at", "run_id"]);
    let expected = json!({"schema": 1, "event": "needs-user", "connection_id": "c-0", "user_id": "u-0",
                          "reason": "consent_revoked"});
    assert_eq!(event, expected);
}

#[test]
fn the_end_of_a_consent_is_told_once_per_step() {
    let sam = sam();
    let (far, near, nearest) = (millis(20), millis(10) + 3_600_000, millis(2));
    let ends = |n: u32, end: i64| consent_with(at(n, []), "sessionExpiryDate", end);
    sam.pass(ends(1, far)).expect(0);
    assert_eq!(take(&sam.0), told(&[]));
    sam.pass(ends(2, near)).expect(0);
    let event = without(only(&sam.0, HookKind::ConsentSoon), ["id", "at", "run_id", "credentials_id"]);
    assert_eq!(event["days_left"], 10);
    assert_eq!(event.as_object().unwrap().len(), 6, "{event}");
    assert!(event["provider"].is_string(), "{event}");
    sam.pass(ends(3, near)).expect(0);
    assert_eq!(take(&sam.0), told(&[]));
    sam.pass(ends(4, nearest)).expect(0);
    assert_eq!(take(&sam.0), told(&["consent-soon"]));
}

#[test]
fn several_consents_and_connections_have_events_of_their_own() {
    let sam = sam();
    let mut script = Script {
        consents: vec![consent("c-1", &["one"]), consent("c-2", &["two"])],
        accounts: ["one", "two"].iter().map(|id| account(id, &refresh(1), "1", "0", "EUR")).collect(),
        transactions: ["one", "two"].map(|id| ScriptRow::booked(id, id, day(-1), "-1", "2", id)).into(),
    };
    for consent in &mut script.consents {
        consent["sessionExpiryDate"] = millis(2).into();
    }
    sam.pass(script).expect(0);
    let events = events(&sam.0);
    let ended: BTreeSet<_> = events.iter().filter_map(|event| event["credentials_id"].as_str()).collect();
    assert_eq!(ended, ["c-1", "c-2"].into());
    // The rows of both accounts are one event.
    assert_eq!(events.iter().find_map(|event| event["added"].as_u64()), Some(2));

    let world = listening(World::new(small(3)), &[HookKind::NewTransactions]);
    world.run(&[]).expect(0);
    let ids: BTreeSet<String> = self::events(&world).iter().map(|event| event["id"].to_string()).collect();
    assert_eq!((ids.len(), take(&world)["new-transactions"]), (3, 3));
}

#[test]
fn an_outage_is_a_failed_pass_and_nobody_s_first_failure() {
    let world =
        listening(World::new(small(4)), &[HookKind::FirstFailure, HookKind::PassFailed, HookKind::Recovered]);
    world.run(&[]).expect(0);
    world.sandbox.fault(Fault::new(Action::status(503)).times(Times::Forever));
    world.run(&[]).expect(69);
    let event = without(only(&world, HookKind::PassFailed), ["id", "at", "run_id"]);
    assert_eq!(event, json!({"schema": 1, "event": "pass-failed", "exit_code": 69}));
    world.sandbox.clear_faults();
    world.run(&[]).expect(0);
    assert_eq!(take(&world), told(&[]));
}

#[test]
fn a_pass_that_cannot_read_the_view_failed_too_and_single_connections_are_no_pass() {
    let sam = sam();
    sam.pass(at(1, [])).expect(0);
    sam.0.sandbox.fault(Fault::new(Action::status(403)).at(Endpoint::Accounts).times(Times::Forever));
    sam.0.run(&["--connection", "c-0"]).expect(10);
    assert_eq!(take(&sam.0), told(&["first-failure"]));
    sam.0.run(&["--connection", "nobody"]).expect(2);
    assert_eq!(take(&sam.0), told(&[]));
    sam.0.app("DROP VIEW tink_sync_source_v1");
    sam.0.run(&[]).expect(75);
    assert_eq!(only(&sam.0, HookKind::PassFailed)["exit_code"], 75);
}

#[test]
fn nothing_is_written_down_for_nobody() {
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    assert!(!world.path("spool").exists());
    let world = listening(world, &[HookKind::PassFailed]);
    world.run(&[]).expect(0);
    assert!(!world.path("spool").exists());
    assert_eq!(world.untold(), 0);
}

#[test]
fn what_happened_while_nobody_listened_is_not_news_later() {
    let sam = Sam::new();
    sam.0.sandbox.fault(Fault::new(Action::status(403)).at(Endpoint::Accounts).times(Times::Forever));
    sam.pass(at(1, [])).expect(10);
    let sam = Sam(listening(sam.0, HookKind::ALL));
    sam.again().expect(10);
    assert_eq!(take(&sam.0), told(&["pass-failed"]));
    sam.0.sandbox.clear_faults();
    sam.again().expect(0);
    assert_eq!(take(&sam.0), told(&["recovered"]));
}

#[test]
fn a_rehearsal_tells_nobody() {
    let sam = sam();
    sam.0.sandbox.script(SAM, at(1, [booked("a", -2, "-100", "TRAM")]));
    sam.0.run(&["--dry-run"]).expect(0);
    assert!(!sam.0.path("spool").exists());
    sam.again().expect(0);
    assert_eq!(take(&sam.0), told(&["new-transactions"]));
    sam.0.sandbox.script(SAM, consent_with(at(2, []), "status", "SESSION_EXPIRED"));
    sam.0.run(&["--dry-run"]).expect(11);
    assert_eq!(take(&sam.0), told(&[]));
}

#[test]
fn a_connection_that_is_forgotten_leaves_no_event() {
    let world = listening(World::new(small(2)), &[HookKind::NewTransactions]);
    world.run(&[]).expect(0);
    assert_eq!(events(&world).len(), 2);
    world.app("DELETE FROM app_connections WHERE id = 'c-1'");
    world.cli(&["connections", "forget", "c-1", "--yes"]).expect(0);
    assert_eq!(only(&world, HookKind::NewTransactions)["connection_id"], "c-0");
}

#[test]
fn a_spool_that_cannot_be_written_costs_no_pass_and_no_event() {
    let sam = sam();
    fs::write(sam.0.path("file"), "").unwrap();
    let (file, spool) = (sam.0.path("file"), sam.0.path("spool"));
    let sam = sam.set("hooks.spool", &quoted(&file.display().to_string()));
    let ran = sam.pass(at(1, [booked("a", -2, "-100", "TRAM")])).expect(0);
    assert!(ran.stderr.contains("hooks: events wait in the store"), "{}", ran.stderr);
    let sam = sam.set("hooks.spool", &quoted(&spool.display().to_string()));
    sam.again().expect(0);
    assert_eq!(only(&sam.0, HookKind::NewTransactions)["added"], 1);
}

#[cfg(debug_assertions)]
#[test]
fn what_is_in_the_way_of_one_event_is_moved_aside_and_silences_nobody() {
    let sam = sam();
    sam.pass(at(1, [])).expect(0);
    sam.0.sandbox.fault(Fault::new(Action::status(403)).at(Endpoint::Accounts).times(Times::Forever));
    // The names of the events to come: ids of a run are not known before, so this one dies before it tells.
    let ended =
        sam.0.pass(&[]).env(tink_sync::failpoint::VARIABLE, "write an event:before").output().unwrap();
    assert!(was_killed(ended.status), "{ended:?}");
    let named = sam.0.untold_names();
    for (kind, name) in &named {
        fs::create_dir_all(sam.0.path("spool").join(kind).join(name).join("deep")).unwrap();
    }
    // One kind cannot be written at all.
    fs::remove_dir_all(sam.0.path("spool/pass-failed")).ok();
    fs::write(sam.0.path("spool/pass-failed"), "").unwrap();
    let ran = sam.again().expect(10);
    assert!(ran.stderr.contains("hooks: events of kind pass-failed wait in the store"), "{}", ran.stderr);
    assert_eq!(sam.0.untold(), sam.0.untold_of("pass-failed"));
    assert!(sam.0.untold() >= 1);
    assert!(named.iter().any(|(kind, _)| kind == "first-failure"), "{named:?}");
    assert!(ran.stderr.contains("something that is no event had the name of one"), "{}", ran.stderr);
    let first = fs::read_dir(sam.0.path("spool/first-failure")).unwrap();
    let told = first.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file()).count();
    assert_eq!(told, 1);
    // As soon as nothing is in its way, the kind that waited is told too.
    fs::remove_file(sam.0.path("spool/pass-failed")).unwrap();
    sam.again().expect(10);
    assert_eq!(sam.0.untold(), 0);
}

/// A run that dies at this point with a new row; the ids of what waits then, and of what the next run brings.
#[cfg(debug_assertions)]
fn killed_at(point: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let sam = sam();
    sam.0.sandbox.script(SAM, at(1, [booked("a", -2, "-100", "TRAM"), booked("b", -2, "-1", "GUM")]));
    let ended = sam.0.pass(&[]).env(tink_sync::failpoint::VARIABLE, point).output().unwrap();
    assert!(was_killed(ended.status), "{point}: {ended:?}");
    let take_ids = || {
        let events = events(&sam.0);
        assert!(events.iter().all(|event| event["added"] == 2), "{events:?}");
        remove_all(&sam.0);
        events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = take_ids();
    sam.again().expect(0);
    let second = take_ids();
    sam.again().expect(0);
    assert_eq!(take(&sam.0), told(&[]), "{point}");
    (first, second)
}

#[cfg(debug_assertions)]
#[test]
fn a_run_that_dies_loses_no_event_and_tells_twice_only_under_the_same_id() {
    // Written with the rows, whatever comes after.
    for point in [
        "write the end of a walk:after",
        "record the outcome:before",
        "finish the run:before",
        "finish the run:after",
        "write an event:before",
        "write an event:after",
        "spool an event:before",
    ] {
        let (first, second) = killed_at(point);
        assert_eq!((first.len(), second.len()), (0, 1), "{point}");
    }
    for point in ["spool an event:after", "forget events:before"] {
        let (first, second) = killed_at(point);
        assert_eq!(first.len(), 1, "{point}");
        assert_eq!(first, second, "{point}");
    }
    let (first, second) = killed_at("forget events:after");
    assert_eq!((first.len(), second.len()), (1, 0));
}

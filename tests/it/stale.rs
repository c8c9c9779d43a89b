//! Data that stopped moving: everything succeeds, and Tink has had nothing new from the bank for days. It is told
//! once, in every place, and is no failure.

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tink_sandbox::Script;
use tink_sandbox::script::{account, consent};
use tink_sync::clock::{Clock as _, SystemClock};
use tink_sync::domain::event::Event;
use tink_sync::domain::outcome::Reason;

use crate::harness::Ran;
use crate::lab::Lab;
use crate::scripted::{A1, SAM, Sam, booked, consent_with, ended};

/// All times are told from the start of the tests.
static NOW: LazyLock<Timestamp> = LazyLock::new(|| SystemClock.now());

/// Sam's world with the limit as shipped.
fn shipped() -> Sam {
    Sam(Sam::new().0.unset("sync.stale_after"))
}

/// A time this many hours ago.
fn ago(hours: i64) -> String {
    let at = *NOW - SignedDuration::from_hours(hours);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// One account of which Tink had data this many hours ago.
fn aged(hours: i64) -> Script {
    Script::simple(A1, &ago(hours), vec![booked("x", -30, "-100", "TRAM")])
}

/// Two accounts of one consent.
fn two(first: i64, second: i64) -> Script {
    Script {
        consents: vec![consent("cred-1", &["a1", "a2"])],
        accounts: vec![
            account("a1", &ago(first), "100", "2", "EUR"),
            account("a2", &ago(second), "100", "2", "EUR"),
        ],
        transactions: Vec::new(),
    }
}

/// How often it was told in a run.
fn told(ran: &Ran) -> usize {
    ran.stderr.matches("Tink has had nothing new for").count()
}

fn late(sam: &Sam, args: &[&str]) -> (i32, Value) {
    let ran = sam.0.cli(&[&["status", "--format", "json"], args].concat());
    (ran.code, ran.lines[0].clone())
}

#[test]
fn it_is_told_once_everywhere_and_nothing_fails() {
    let sam = shipped();
    let ran = ended(sam.pass(aged(21 * 24)), 0, "synced", Some("data_stale"));
    assert_eq!(told(&ran), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("1 account(s) of connection c-0"), "{}", ran.stderr);
    assert_eq!(sam.0.state(0), ("ok".to_owned(), Some("data_stale".to_owned())));
    for _ in 0..2 {
        let ran = ended(sam.again(), 0, "unchanged", Some("data_stale"));
        assert_eq!(told(&ran), 0, "{}", ran.stderr);
    }
    let as_of = sam.0.text("SELECT data_as_of FROM connections_v1").unwrap();
    assert_eq!(as_of, ago(21 * 24).replace('Z', ".000Z"));

    let (code, status) = late(&sam, &["--max-data-age", "72h", "--max-age", "26h"]);
    assert_eq!(
        (code, &status["data_overdue"][0], status["overdue"].as_array().unwrap().len()),
        (10, &"c-0".into(), 0)
    );
    let age = status["connections"][0]["data_age_seconds"].as_i64().unwrap();
    assert!((21 * 86_400..22 * 86_400).contains(&age), "{age}");
    assert_eq!(late(&sam, &["--max-data-age", "22d"]).0, 0);
    let human = sam.0.cli(&["status", "--max-data-age", "72h"]).expect(10).stdout;
    assert!(human.contains("1 connection whose data at Tink are older than 3d: c-0 (21d)"), "{human}");
    assert!(human.contains("data_stale: Tink last had its data from the bank 21d ago"), "{human}");
    let why = sam.0.cli(&["why", "c-0"]).expect(0).stdout;
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(why.contains("(21d ago); that is longer than sync.stale_after"), "{why}");
    let check = sam.0.cli(&["check", "--offline"]).expect(0).stdout;
    assert!(check.contains("warn  Tink's data: the oldest came from its bank 21d ago"), "{check}");
    let metrics = sam.0.cli(&["status", "--format", "prometheus"]).expect(0).stdout;
    assert!(metrics.contains("\ntink_sync_oldest_data_age_seconds 18"), "{metrics}");
}

#[test]
fn it_is_told_anew_only_after_it_moved() {
    let sam = shipped();
    sam.pass(aged(1)).expect(0);
    assert_eq!(told(&ended(sam.pass(aged(73)), 0, "unchanged", Some("data_stale"))), 1);
    // Tink looked again, and that is still long ago.
    assert_eq!(told(&ended(sam.pass(aged(80)), 0, "unchanged", Some("data_stale"))), 0);
    assert_eq!(told(&ended(sam.pass(aged(2)), 0, "unchanged", None)), 0);
    assert_eq!(told(&ended(sam.pass(aged(100)), 0, "unchanged", Some("data_stale"))), 1);
}

#[test]
fn every_account_is_told_of_and_the_oldest_counts() {
    let sam = shipped();
    let ran = ended(sam.pass(two(1, 90)), 0, "synced", Some("data_stale"));
    assert_eq!(told(&ran), 1);
    assert_eq!(told(&sam.pass(two(91, 95)).expect(0)), 1, "the other one stands still as well now");
    let as_of = sam.0.text("SELECT data_as_of FROM connections_v1").unwrap();
    assert_eq!(as_of, ago(95).replace('Z', ".000Z"));
}

#[test]
fn the_limit_is_the_operators_and_a_user_who_is_needed_was_told_already() {
    let sam = Sam::new().set("sync.stale_after", "\"30d\"");
    assert_eq!(told(&ended(sam.pass(aged(21 * 24)), 0, "synced", None)), 0);
    let sam = shipped();
    for (status, code, outcome, reason) in [
        ("SESSION_EXPIRED", 11, "needs_user", "consent_expired"),
        ("AUTHENTICATION_ERROR", 11, "needs_user", "login_required"),
        ("TEMPORARY_ERROR", 0, "synced", "bank_unavailable"),
    ] {
        let ran = ended(sam.pass(consent_with(aged(500), "status", status)), code, outcome, Some(reason));
        assert_eq!(told(&ran), 0, "{}", ran.stderr);
        let waits = outcome == "needs_user";
        // A monitor is not called for what only a user can mend, unless it asks for all.
        let data = late(&sam, &["--max-data-age", "72h"]).0;
        assert_eq!(data, if waits { 0 } else { 10 }, "{status}");
        assert_eq!(late(&sam, &["--max-data-age", "72h", "--all"]).0, 10, "{status}");
    }
}

#[test]
fn a_bank_that_tells_no_age_is_not_judged() {
    let mut script = aged(1);
    script.accounts[0]["dates"].as_object_mut().unwrap().remove("lastRefreshed");
    let sam = shipped();
    assert_eq!(told(&ended(sam.pass(script), 0, "synced", None)), 0);
    assert_eq!(late(&sam, &["--max-data-age", "1h"]).0, 0);
    assert_eq!(sam.0.text("SELECT data_as_of FROM connections_v1"), None);
}

#[test]
fn an_account_that_the_list_lacks_though_its_consent_names_it_is_told_of() {
    let lab = Lab::of(&[SAM]);
    let list = |ids: &[&str]| {
        let now = lab.clock.now().to_string();
        let listed = ids.iter().map(|id| account(id, &now, "100", "2", "EUR")).collect();
        lab.script(
            SAM,
            Script {
                accounts: listed,
                consents: vec![consent("cred-1", &["a1", "a2"])],
                ..Script::default()
            },
        );
        let told = lab.pass();
        let news = told.events.iter().filter(|event| matches!(event, Event::DataStale { .. })).count();
        lab.wait(24);
        (told.ended(SAM).1, news)
    };
    list(&["a1", "a2"]);
    let stale = Some(Reason::DataStale);
    let told: Vec<_> = (0..5).map(|_| list(&["a1"])).collect();
    assert_eq!(told, [(None, 0), (None, 0), (None, 0), (stale, 1), (stale, 0)]);
    assert_eq!(list(&["a1", "a2"]), (None, 0));
}

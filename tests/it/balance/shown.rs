//! What is shown and told of a difference, and how a person accepts it.

use std::time::Duration;

use serde_json::Value;
use tink_sandbox::{Action, Endpoint, Fault};

use super::{assert_proven, judged, words};
use crate::harness::{until, was_killed};
use crate::scripted::{SAM, Sam, at, holding, many};

/// A connection of whose one account the bank holds 12.34 less than the rows explain.
fn lying() -> Sam {
    let sam = Sam::with(holding(at(1, many("r", 3, -2)), 100_000));
    sam.pass(holding(at(2, many("r", 3, -2)), 100_000 - 1234)).expect(0);
    sam
}

#[test]
fn a_difference_is_shown_by_every_command_and_fails_none() {
    let sam = lying();
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = "the bank holds 12.34 EUR less than the rows explain since";
    let why = sam.0.cli(&["why", "c-0"]).expect(0);
    assert!(flat(&why.stdout).contains(&format!("Balances: a1: {words}")), "{}", why.stdout);
    let json = &sam.0.cli(&["why", "c-0", "--format", "json"]).expect(0).lines[0];
    let balance = &json["balances"][0];
    assert_eq!(
        [&balance["account_id"], &balance["state"], &balance["difference"]],
        ["a1", "differs", "-12.34"]
    );
    let status = sam.0.cli(&["status"]).expect(0);
    assert!(flat(&status.stdout).contains(&format!("balance of a1: {words}")), "{}", status.stdout);
    assert!(status.stdout.contains("1 ok"), "{}", status.stdout);
    let json = &sam.0.cli(&["status", "--format", "json"]).expect(0).lines[0];
    assert_eq!(json["connections"][0]["balance_differences"][0]["difference"], "-12.34");
    let metrics = sam.0.cli(&["status", "--format", "prometheus"]).expect(0).stdout;
    assert!(metrics.contains("\ntink_sync_balance_differences 1\n"), "{metrics}");
    assert!(!metrics.contains("12.34"));
}

#[test]
fn a_difference_is_told_once_without_the_amount() {
    let sam = Sam::new().set("balance.min_days_open", "\"0s\"");
    sam.pass(holding(at(1, many("r", 3, -2)), 100_000)).expect(0);
    let lie = |n: u32| holding(at(n, many("r", 3, -2)), 100_000 - 1234);
    let told = |ran: &crate::harness::Ran| ran.stderr.matches("moved by something else").count();
    let rehearsed = {
        sam.0.sandbox.script(SAM, lie(2));
        sam.0.run(&["--dry-run", "--verbose"]).expect(0)
    };
    assert_eq!((told(&rehearsed), judged(&sam)), (1, words("proven", None, None)));
    let ran = sam.0.run(&["--verbose"]).expect(0);
    assert_eq!(told(&ran), 1, "{}", ran.stderr);
    assert!(!ran.stderr.contains("12.34") && !ran.stdout.contains("12.34"), "{ran:?}");
    sam.0.sandbox.script(SAM, lie(3));
    assert_eq!(told(&sam.0.run(&["--verbose"]).expect(0)), 0);
}

#[test]
fn a_difference_is_told_only_when_it_has_stood_and_shown_at_once() {
    let rows = || many("r", 3, -2);
    let as_of = |days: i64, cents: i64| {
        let mut script = holding(at(1, rows()), cents);
        let now = tink_sync::clock::Clock::now(&tink_sync::clock::SystemClock);
        let refresh = now.saturating_add(jiff::SignedDuration::from_hours(24 * days)).unwrap();
        script.accounts[0]["dates"]["lastRefreshed"] = refresh.to_string().into();
        script
    };
    for (setting, told_on) in [(None, 2), (Some("\"3d\""), 3)] {
        let sam = setting.map_or_else(Sam::new, |days| Sam::new().set("balance.min_days_open", days));
        sam.pass(as_of(0, 100_000)).expect(0);
        for day in 0..5 {
            sam.0.sandbox.script(SAM, as_of(day, 100_000 - 1234));
            let ran = sam.0.run(&["--verbose"]).expect(0);
            let told = ran.stderr.matches("moved by something else").count();
            assert_eq!(told, usize::from(day == told_on), "day {day}: {}", ran.stderr);
            assert_eq!(judged(&sam), words("differs", None, Some("-12.34")), "day {day}");
            let status = sam.0.cli(&["status"]).expect(0).stdout;
            assert!(status.contains("the bank holds 12.34"), "{status}");
        }
    }
}

#[test]
fn an_account_that_proves_or_cannot_says_so() {
    let sam = Sam::with(at(1, many("r", 3, -2)));
    let why = sam.0.cli(&["why", "c-0"]).expect(0).stdout;
    assert!(why.contains("a1: proven from "), "{why}");
    let mut script = at(2, many("r", 3, -2));
    script.accounts[0]["balances"] = Value::Null;
    sam.pass(script).expect(0);
    let why = sam.0.cli(&["why", "c-0"]).expect(0).stdout;
    assert!(why.contains("a1: not proven; the last walk proved nothing (no_balance)"), "{why}");
}

#[test]
fn an_accepted_difference_is_gone_and_the_next_one_is_not() {
    let sam = lying();
    let ended = sam
        .0
        .command(&["connections", "accept-balance", "c-0"])
        .env("TINK_SYNC_FAILPOINT", "accept balances:before")
        .output();
    assert!(was_killed(ended.unwrap().status));
    assert_eq!(judged(&sam), words("differs", None, Some("-12.34")));
    let accept = ["connections", "accept-balance", "c-0", "--actor", "ann"];
    let said = sam.0.cli(&accept).expect(0).stdout;
    assert!(said.starts_with("Accepted the balance of 1 account of connection c-0"), "{said}");
    assert_proven(&sam);
    let audited = "SELECT action || ' ' || actor || ' ' || connection_id || ' ' || details FROM audit_v1";
    assert_eq!(sam.0.text(audited).as_deref(), Some("balance.accepted ann c-0 accounts: 1"));
    assert!(sam.0.cli(&accept).expect(0).stdout.starts_with("No balance of connection c-0 differs"));
    assert_eq!(sam.0.number("SELECT count(*) FROM audit_v1"), 1);
    sam.pass(holding(at(3, many("r", 4, -2)), 100_000 - 1234 - 1003)).expect(0);
    assert_proven(&sam);
    sam.pass(holding(at(4, many("r", 4, -2)), 100_000 - 1234 - 1003 + 1)).expect(0);
    assert_eq!(judged(&sam), words("differs", None, Some("0.01")));
    sam.0.cli(&["connections", "accept-balance", "nobody"]).expect(2);
}

#[test]
fn a_judgement_over_what_was_accepted_meanwhile_is_dropped() {
    let sam = lying();
    sam.0.sandbox.script(SAM, holding(at(3, many("r", 3, -2)), 100_000 - 1234 - 5));
    let slow = Fault::new(Action::Delay(Duration::from_millis(1500))).at(Endpoint::Accounts).nth(2);
    sam.0.sandbox.fault(slow);
    sam.0.sandbox.reset_counters();
    let run = sam.0.start(&[]);
    until(|| sam.0.sandbox.requests_to(Endpoint::Accounts) >= 2);
    sam.0.cli(&["connections", "accept-balance", "c-0"]).expect(0);
    run.end().expect(0);
    assert_proven(&sam);
    sam.pass(holding(at(4, many("r", 3, -2)), 100_000 - 1234 - 5)).expect(0);
    assert_eq!(judged(&sam), words("differs", None, Some("-0.05")));
}

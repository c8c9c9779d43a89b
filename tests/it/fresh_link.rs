//! A link that has no data yet is no success: it stays new, says why, and is looked at again soon.

use tink_sandbox::Script;
use tink_sandbox::script::consent;

use crate::scripted::{A1, SAM, Sam, at, booked, consent_with, ended, millis};

/// State, reason, whether it ever succeeded, and minutes from the last attempt to the next.
fn standing(sam: &Sam) -> (String, Option<String>, bool, i64) {
    let (state, reason) = sam.0.state(0);
    let succeeded = sam.0.text("SELECT last_success_at FROM connections_v1").is_some();
    let minutes = sam.0.number(
        "SELECT CAST(round((julianday(next_attempt_at) - julianday(last_attempt_at)) * 1440) AS INTEGER) FROM connections_v1",
    );
    (state, reason, succeeded, minutes)
}

fn new(reason: &str, minutes: i64) -> (String, Option<String>, bool, i64) {
    ("new".to_owned(), Some(reason.to_owned()), false, minutes)
}

/// A bank that is still at work, with and without the account in the list.
fn at_work(listed: bool) -> Script {
    let script = consent_with(consent_with(at(1, []), "status", "UPDATING"), "statusUpdated", millis(0));
    if listed { script } else { Script { accounts: Vec::new(), ..script } }
}

#[test]
fn a_bank_that_is_still_at_work_is_no_success_and_is_looked_at_again_soon() {
    for listed in [false, true] {
        let sam = Sam::new().set("sync.min_interval", "\"5h\"");
        for minutes in [1, 5, 15, 60, 300, 300] {
            ended(sam.pass(at_work(listed)), 0, "unchanged", Some("bank_at_work"));
            assert_eq!(standing(&sam), new("bank_at_work", minutes), "{listed}");
        }
        ended(sam.pass(at(2, [booked("t", 0, "-100", "TRAM")])), 0, "synced", None);
        assert_eq!(standing(&sam), ("ok".to_owned(), None, true, 300));
    }
}

#[test]
fn a_tink_user_without_a_bank_is_no_success() {
    let sam = Sam::new();
    ended(sam.pass(Script::default()), 0, "unchanged", Some("no_bank"));
    assert_eq!(standing(&sam), new("no_bank", 1));
    let why = sam.0.cli(&["why", "c-0"]).expect(0).stdout;
    assert!(why.contains("link"), "{why}");
}

#[test]
fn a_bank_that_has_nothing_to_give_is_a_success() {
    let sam = Sam::new();
    ended(sam.pass(at(1, [])), 0, "synced", None);
    assert_eq!(standing(&sam).0, "ok");
    let sam = Sam::new();
    let empty = Script { consents: vec![consent("cred", &[])], ..Script::default() };
    ended(sam.pass(empty), 0, "unchanged", None);
    assert_eq!(standing(&sam).0, "ok");
}

#[test]
fn a_link_that_has_had_data_stays_well_while_its_bank_is_at_work() {
    let sam = Sam::with(at(1, [booked("t", 0, "-100", "TRAM")]));
    let busy = consent_with(at(1, [booked("t", 0, "-100", "TRAM")]), "status", "UPDATING");
    ended(sam.pass(consent_with(busy, "statusUpdated", millis(0))), 0, "unchanged", None);
    assert_eq!(standing(&sam).0, "ok");
}

#[test]
fn a_run_on_demand_waits_for_the_bank_if_it_is_told_to() {
    let sam = Sam::new();
    sam.0.sandbox.script(SAM, at_work(false));
    // The bank ends while the run waits: at the third look.
    let run = sam.0.start(&["--connection", "c-0", "--wait", "1m"]);
    crate::harness::until(|| sam.0.sandbox.requests_to(tink_sandbox::Endpoint::Consents) >= 3);
    sam.0.sandbox.script(SAM, at(2, [booked("t", 0, "-100", "TRAM")]));
    ended(run.end(), 0, "synced", None);
    assert_eq!(sam.account(A1, "account_id").as_deref(), Some(A1));
    // Without being told it does not wait.
    let sam = Sam::new();
    sam.0.sandbox.script(SAM, at_work(false));
    ended(sam.0.run(&["--connection", "c-0"]), 0, "unchanged", Some("bank_at_work"));
    assert_eq!(sam.0.sandbox.requests_to(tink_sandbox::Endpoint::Consents), 1);
}

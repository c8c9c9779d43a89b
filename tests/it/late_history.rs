//! History that Tink shows only after the first walk, and lists that stay empty.

use tink_sandbox::{Action, Endpoint, Fault, Script, ScriptRow};
use tink_sync::clock::Clock as _;
use tink_sync::domain::outcome::{Outcome, Reason};

use crate::lab::Lab;
use crate::scripted::{consent_with, moving};

const SAM: &str = "sam";

/// Forty rows of four hundred days, the newest first.
fn history() -> Vec<ScriptRow> {
    (0..40).map(|n| Lab::booked(&format!("row-{n}"), -1 - n * 10, -1000 - n, "GROCERY")).collect()
}

fn newest(count: usize) -> Vec<ScriptRow> {
    history().into_iter().take(count).collect()
}

/// Tink is still reading the bank.
fn importing(lab: &Lab, script: Script) -> Script {
    let since = lab.clock.now().as_millisecond();
    consent_with(consent_with(script, "status", "UPDATING"), "statusUpdated", since)
}

fn stored(lab: &Lab) -> usize {
    lab.live(SAM).len()
}

#[test]
fn what_tink_shows_while_it_still_reads_a_new_bank_is_not_taken_for_the_whole_history() {
    let lab = Lab::of(&[SAM]);
    let only_newest = moving(lab.refreshed(newest(3)));
    lab.script(SAM, importing(&lab, only_newest.clone()));
    lab.pass();
    assert_eq!(stored(&lab), 3);
    let (complete, proven) = ("complete_through IS NOT NULL", "state = 'proven'");
    assert_eq!(lab.number(&format!("SELECT count(*) FROM accounts_v1 WHERE {complete}")), 0);
    assert_eq!(lab.number(&format!("SELECT count(*) FROM balance_proofs_v1 WHERE {proven}")), 0);
    // Its end is no new refresh.
    lab.wait(1);
    lab.script(SAM, Script { transactions: moving(lab.refreshed(history())).transactions, ..only_newest });
    assert_eq!(lab.pass().ended(SAM), (Outcome::Synced, None));
    assert_eq!(stored(&lab), 40);
    assert_eq!(lab.number(&format!("SELECT count(*) FROM accounts_v1 WHERE {complete}")), 1);
    lab.wait(1);
    assert_eq!(lab.pass().counts(SAM).fetched, 0, "and is not read again");
}

#[test]
fn an_account_whose_first_list_was_empty_is_read_in_full_when_its_rows_come() {
    let lab = Lab::of(&[SAM]);
    lab.script(SAM, moving(lab.refreshed(Vec::new())));
    lab.pass();
    lab.wait(24);
    lab.script(SAM, moving(lab.refreshed(history())));
    lab.pass();
    lab.wait(6);
    lab.pass();
    assert_eq!(stored(&lab), 40);
    lab.wait(6);
    assert_eq!(lab.pass().counts(SAM).fetched, 0, "once");
}

#[test]
fn so_is_one_whose_first_rows_are_more_than_are_written_at_once() {
    let lab = Lab::of(&[SAM]);
    lab.script(SAM, moving(lab.refreshed(Vec::new())));
    lab.pass();
    lab.wait(24);
    let mut rows = history();
    rows.extend((0..1200).map(|n| Lab::booked(&format!("many-{n}"), 0, -100 - n, "TRAM")));
    lab.script(SAM, moving(lab.refreshed(rows)));
    lab.pass();
    lab.wait(6);
    lab.pass();
    assert_eq!(stored(&lab), 1240);
}

#[test]
fn history_that_comes_after_the_first_walk_is_found_by_the_next_deep_one() {
    let lab = Lab::of(&[SAM]);
    lab.script(SAM, moving(lab.refreshed(newest(2))));
    lab.pass();
    for _ in 0..9 {
        lab.wait(24);
        lab.script(SAM, moving(lab.refreshed(history())));
        lab.pass();
    }
    assert_eq!(stored(&lab), 40);
}

#[test]
fn a_consent_renewed_in_place_shows_a_longer_history_that_is_read_in_full_once() {
    for between in [None, Some("UPDATING")] {
        let lab = Lab::of(&[SAM]);
        let short = moving(lab.refreshed(newest(5)));
        lab.script(SAM, short.clone());
        lab.pass();
        lab.script(SAM, consent_with(short.clone(), "status", "SESSION_EXPIRED"));
        for _ in 0..3 {
            lab.wait(24);
            lab.pass();
        }
        if let Some(status) = between {
            lab.wait(1);
            let since = lab.clock.now().as_millisecond();
            lab.script(SAM, consent_with(consent_with(short, "status", status), "statusUpdated", since));
            lab.pass();
        }
        lab.wait(1);
        lab.script(SAM, moving(lab.refreshed(history())));
        lab.pass();
        assert_eq!(stored(&lab), 40, "{between:?}");
        lab.wait(1);
        assert_eq!(lab.pass().counts(SAM).fetched, 0, "once");
        lab.wait(24);
        lab.script(SAM, moving(lab.refreshed(history())));
        assert!(lab.pass().counts(SAM).fetched < 40, "and not in full again");
    }
}

#[test]
fn an_account_that_moves_and_shows_no_rows_for_days_is_told() {
    type Empty = fn(Script) -> Script;
    let ways: [(&str, Empty); 2] = [
        ("an empty list", |script| Script { transactions: Vec::new(), ..script }),
        ("no list", |script| script),
    ];
    for (name, way) in ways {
        let lab = Lab::of(&[SAM]);
        lab.script(SAM, moving(lab.refreshed(newest(9))));
        lab.pass();
        for day in 1..10 {
            lab.wait(24);
            lab.script(SAM, way(moving(lab.refreshed(newest(9)))));
            if name == "no list" {
                lab.sandbox.fault(Fault::new(Action::Garbage(b"{}".to_vec())).at(Endpoint::Transactions));
            }
            let (outcome, reason) = lab.pass().ended(SAM);
            if day > 3 {
                assert_eq!(
                    (outcome, reason),
                    (Outcome::Partial, Some(Reason::MassVanish)),
                    "{name}, day {day}"
                );
            } else {
                assert_eq!(reason, None, "{name}, day {day}");
            }
        }
        assert_eq!(stored(&lab), 9, "{name}");
        lab.wait(24);
        lab.script(SAM, moving(lab.refreshed(newest(9))));
        assert_eq!(lab.pass().ended(SAM).1, None, "{name}: over");
    }
}

#[test]
fn a_quiet_account_with_nothing_but_an_unreadable_record_misses_nothing() {
    let lab = Lab::of(&[SAM]);
    lab.script(SAM, moving(lab.refreshed(newest(9).split_off(3))));
    lab.pass();
    let unreadable = newest(1).remove(0).but(|record| record["amount"] = serde_json::Value::Null);
    for day in 1..7 {
        lab.wait(24);
        lab.script(SAM, lab.refreshed(vec![unreadable.clone()]));
        let (_, reason) = lab.pass().ended(SAM);
        assert_eq!(reason, None, "day {day}");
    }
    assert_eq!(stored(&lab), 6);
}

/// Whether each walk of a pass had a lower limit.
fn asked(lab: &Lab) -> Vec<bool> {
    let log = lab.sandbox.log().into_iter().map(|logged| logged.target);
    let walks = log.filter(|target| target.contains("/transactions?") && !target.contains("pageToken="));
    walks.map(|target| target.contains("bookedDateGte=")).collect()
}

#[test]
fn first_rows_of_a_walk_that_broke_off_are_followed_by_the_older_ones() {
    type Broken = fn(&Lab);
    let ways: [(&str, Broken); 2] = [
        ("after a part", |lab| {
            let fault = Fault::new(Action::status(404)).at(Endpoint::Transactions).nth(13);
            lab.sandbox.fault(fault);
        }),
        ("a page without its list", |lab| {
            let fault = Fault::new(Action::Garbage(b"{}".to_vec())).at(Endpoint::Transactions).nth(13);
            lab.sandbox.fault(fault);
        }),
    ];
    for (name, breaks) in ways {
        let lab = Lab::of(&[SAM]);
        lab.script(SAM, moving(lab.refreshed(Vec::new())));
        lab.pass();
        lab.wait(24);
        let mut rows: Vec<ScriptRow> =
            (0..1300).map(|n| Lab::booked(&format!("many-{n}"), 0, -100 - n, "TRAM")).collect();
        rows.extend(history());
        lab.script(SAM, moving(lab.refreshed(rows)));
        breaks(&lab);
        lab.pass();
        assert!((1000..1340).contains(&stored(&lab)), "{name}: {}", stored(&lab));
        lab.wait(6);
        lab.pass();
        assert_eq!(stored(&lab), 1340, "{name}");
        lab.wait(6);
        assert_eq!(lab.pass().counts(SAM).fetched, 0, "{name}: once");
    }
}

#[test]
fn a_consent_that_is_at_work_at_every_look_is_not_read_in_full_at_every_look() {
    let lab = Lab::of(&[SAM]);
    let mut fulls = 0;
    for day in 0..12 {
        let mut rows = history();
        rows.extend((0..=day).map(|n| Lab::booked(&format!("new-{n}"), n, -10 - n, "TRAM")));
        lab.script(SAM, importing(&lab, moving(lab.refreshed(rows))));
        lab.sandbox.reset_counters();
        lab.pass();
        assert_eq!(stored(&lab), 41 + usize::try_from(day).unwrap());
        fulls += asked(&lab).iter().filter(|narrow| !**narrow).count();
        lab.wait(24);
    }
    assert_eq!(fulls, 3, "two looks, and a deep one");
}

#[test]
fn history_that_comes_while_tink_seems_to_have_paused_is_read_when_it_has_ended() {
    let lab = Lab::of(&[SAM]);
    let paused = moving(lab.refreshed(newest(3)));
    for _ in 0..4 {
        lab.script(SAM, importing(&lab, paused.clone()));
        lab.pass();
        lab.wait(1);
    }
    lab.script(SAM, Script { transactions: history(), ..paused });
    lab.pass();
    assert_eq!(stored(&lab), 40);
    lab.wait(1);
    assert_eq!(lab.pass().counts(SAM).fetched, 0, "once");
}

#[test]
fn one_empty_list_after_days_in_which_nobody_looked_is_nothing() {
    for no_list in [false, true] {
        let lab = Lab::of(&[SAM]);
        lab.script(SAM, moving(lab.refreshed(newest(9))));
        lab.pass();
        lab.wait(24 * 7);
        for look in 0..12 {
            let script = moving(lab.refreshed(newest(9)));
            lab.script(SAM, if no_list { script } else { Script { transactions: Vec::new(), ..script } });
            if no_list {
                lab.sandbox.fault(Fault::new(Action::Garbage(b"{}".to_vec())).at(Endpoint::Transactions));
            }
            let told = lab.pass().ended(SAM).1;
            // Twice a day.
            assert_eq!(told, (look >= 6).then_some(Reason::MassVanish), "{no_list}, look {look}");
            lab.wait(12);
        }
        assert_eq!(stored(&lab), 9);
        lab.script(SAM, moving(lab.refreshed(newest(9))));
        assert_eq!(lab.pass().ended(SAM).1, None, "over");
    }
}

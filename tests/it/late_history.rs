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

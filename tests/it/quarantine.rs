//! Records that cannot be read: kept, told of once, harmless to all others.

use serde_json::json;
use tink_sandbox::{PageShape, ScriptRow};

use crate::harness::Ran;
use crate::scripted::{A1, Fate, SAM, Sam, at, booked, day, ended, many};

/// The row without its amount.
fn broken(row: ScriptRow) -> ScriptRow {
    row.but(|element| element["amount"] = json!(null))
}

/// A record that does not even say who it is.
fn nameless(offset: i64) -> ScriptRow {
    booked("nameless", offset, "-1", "x").but(|element| element["id"] = json!(null))
}

fn warnings(ran: &Ran) -> usize {
    ran.stderr.lines().filter(|line| line.contains("quarantine")).count()
}

fn in_quarantine(sam: &Sam) -> i64 {
    sam.0.number("SELECT count(*) FROM quarantine_v1")
}

#[test]
fn an_unreadable_record_harms_no_other_and_is_kept_as_sent() {
    let sam = Sam::new();
    let bad = broken(booked("bad", -1, "-1", "x"));
    let ran = ended(sam.pass(at(1, [booked("good", -1, "-100", "TRAM"), bad.clone()])), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("quarantined"), warnings(&ran)), (1, 1, 1));
    assert_eq!(sam.live(), ["good"]);
    let sql = "SELECT account_id || '|' || transaction_id || '|' || raw FROM quarantine_v1";
    assert_eq!(sam.0.text(sql), Some(format!("{A1}|bad|{}", bad.json)));
    assert_eq!(sam.account(A1, "complete_through"), Some(day(0).to_string()));
}

#[test]
fn the_second_pass_neither_counts_nor_warns_again() {
    let rows = || [booked("good", -1, "-100", "TRAM"), broken(booked("bad", -1, "-1", "x")), nameless(-1)];
    let sam = Sam::new();
    let ran = sam.pass(at(1, rows())).expect(0);
    assert_eq!((ran.total("quarantined"), warnings(&ran)), (2, 1));
    let ran = ended(sam.pass(at(2, rows())), 0, "unchanged", None);
    assert_eq!((ran.total("quarantined"), warnings(&ran)), (0, 0));
    assert_eq!(in_quarantine(&sam), 2);
}

#[test]
fn a_record_on_two_pages_is_one_record_of_the_quarantine() {
    let sam = Sam::new();
    let mut rows = many("r", 250, -1);
    rows[99] = broken(rows[99].clone());
    sam.0.sandbox.script(SAM, at(1, rows));
    sam.0.sandbox.plan(SAM, |plan| plan.shape = PageShape { repeat_row: true, ..PageShape::default() });
    let ran = ended(sam.again(), 0, "synced", None);
    assert_eq!((ran.total("quarantined"), ran.total("added"), in_quarantine(&sam)), (1, 249, 1));
}

#[test]
fn a_walk_on_which_nothing_could_be_read_is_not_complete() {
    let row = booked("old", -200, "-100", "TRAM");
    let sam = Sam::new();
    let ran = ended(sam.pass(at(1, [broken(row.clone()), nameless(-1)])), 0, "synced", None);
    assert_eq!((ran.total("quarantined"), sam.account(A1, "complete_through")), (2, None));
    // Far outside of the window that a watermark of today would give.
    ended(sam.pass(at(2, [row])), 0, "synced", None);
    assert_eq!(sam.live(), ["old"]);
    assert_eq!(sam.account(A1, "complete_through"), Some(day(0).to_string()));
}

#[test]
fn a_healed_record_leaves_the_quarantine_and_is_stored() {
    let row = booked("t", -1, "-100", "TRAM");
    let sam = Sam::with(at(1, [broken(row.clone())]));
    assert_eq!((in_quarantine(&sam), sam.live().len()), (1, 0));
    let ran = ended(sam.pass(at(2, [row])), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("quarantined"), in_quarantine(&sam)), (1, 0, 0));
    assert_eq!(sam.live(), ["t"]);
}

#[test]
fn a_record_that_is_readable_on_a_later_page_is_stored_and_not_in_quarantine() {
    let row = booked("t", -1, "-100", "TRAM");
    let mut rows = vec![broken(row.clone())];
    rows.extend(many("f", 120, -2));
    rows.push(row);
    let sam = Sam::with(at(1, rows));
    assert_eq!(sam.fate("t"), Fate::live());
    assert_eq!(in_quarantine(&sam), 0);
}

#[test]
fn a_stored_row_whose_new_version_is_unreadable_stays_as_it_is() {
    let (row, other) = (booked("t", -1, "-100", "TRAM"), booked("other", -1, "-200", "FEE"));
    let sam = Sam::with(at(1, [row.clone(), other.clone()]));
    let seq = sam.seq("t");
    for n in 2..5 {
        sam.pass(at(n, [broken(row.clone()), other.clone()])).expect(0);
    }
    assert_eq!((sam.fate("t"), sam.seq("t"), in_quarantine(&sam)), (Fate::live(), seq, 1));
    assert_eq!(sam.row("t", "amount"), "-1");
}

#[test]
fn an_unreadable_id_blocks_every_removal_of_its_walk() {
    let rows = [booked("stays", -1, "-100", "TRAM"), booked("goes", -2, "-200", "FEE")];
    let sam = Sam::with(at(1, rows.clone()));
    for n in 2..4 {
        sam.pass(at(n, [rows[0].clone(), nameless(-2)])).expect(0);
        assert_eq!(sam.fate("goes"), Fate::live());
    }
    sam.pass(at(4, [rows[0].clone()])).expect(0);
    assert_eq!(sam.fate("goes"), Fate::vanished());
}

#[test]
fn an_unreadable_record_with_an_id_blocks_no_removal() {
    let rows = [booked("stays", -1, "-100", "TRAM"), booked("goes", -2, "-200", "FEE")];
    let sam = Sam::with(at(1, rows.clone()));
    sam.pass(at(2, [rows[0].clone(), broken(booked("bad", -2, "-1", "x"))])).expect(0);
    assert_eq!(sam.fate("goes"), Fate::vanished());
}

#[test]
fn an_unreadable_id_ends_no_suspicion() {
    let sam = Sam::with(at(1, many("r", 60, -2)));
    ended(sam.pass(at(2, many("r", 5, -2))), 10, "partial", Some("mass_vanish"));
    let mut rows = many("r", 5, -2);
    rows.push(nameless(-2));
    ended(sam.pass(at(3, rows)), 10, "partial", Some("mass_vanish"));
    assert_eq!(sam.live().len(), 60);
    ended(sam.pass(at(4, many("r", 5, -2))), 0, "synced", None);
    assert_eq!(sam.live().len(), 5);
}

#[test]
fn whatever_is_not_money_a_date_or_ours_goes_to_quarantine() {
    let bad = |id: &str, field: &str, value: serde_json::Value| {
        booked(id, -1, "-100", "x").but(|element| element[field] = value)
    };
    let rows = [
        bad("no-object", "amount", json!([])),
        bad("no-value", "amount", json!({"currencyCode": "EUR"})),
        bad(
            "fraction",
            "amount",
            json!({"currencyCode": "EUR", "value": {"unscaledValue": 1.5, "scale": 0}}),
        ),
        bad("no-currency", "amount", json!({"value": {"unscaledValue": "1", "scale": "0"}})),
        bad("odd-date", "dates", json!({"booked": "yesterday"})),
        bad("other-account", "accountId", json!("somebody-elses")),
        bad("text", "descriptions", json!("text")),
        booked("good", -1, "-100", "TRAM"),
    ];
    let sam = Sam::new();
    let ran = ended(sam.pass(at(1, rows)), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("quarantined"), warnings(&ran)), (1, 7, 1));
    assert_eq!(sam.live(), ["good"]);
}

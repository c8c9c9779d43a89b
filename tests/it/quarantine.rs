//! Records that cannot be read: kept, told of once, harmless to all others.

use serde_json::json;
use tink_sandbox::{Action, Endpoint, Fault, PageShape, Script, ScriptRow};
use tink_sync::failpoint::{self, Side};

use crate::harness::{Ran, until, was_killed};
use crate::scripted::{A1, Fate, SAM, Sam, at, booked, day, ended, many, refresh, still};

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
    let sam = Sam::new();
    let ran = sam.pass(at(1, rows)).expect(0);
    assert_eq!((ran.total("fetched"), ran.total("added")), (121, 121));
    assert_eq!(sam.fate("t"), Fate::live());
    assert_eq!(in_quarantine(&sam), 0);
}

#[test]
fn every_record_counts_as_fetched_once_whether_it_can_be_read_or_not() {
    let bad = |n: usize| broken(booked(&format!("bad{n}"), -1, "-1", "x"));
    let rows = |more: Vec<ScriptRow>| [many("r", 20, -2), (0..5).map(bad).collect(), more].concat();
    let sam = Sam::new();
    let ran = sam.pass(at(1, rows(vec![booked("goes", -3, "-777", "TRAM")]))).expect(0);
    assert_eq!((ran.total("fetched"), ran.total("added"), ran.total("quarantined")), (26, 21, 5));
    // A row that has gone is looked for in a second walk, which reads the same records again.
    let ran = sam.pass(at(2, rows(many("n", 4, -1)))).expect(0);
    assert_eq!((ran.total("fetched"), ran.total("added"), ran.total("removed")), (29, 4, 1));
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
    let sam = Sam::with(still(1, many("r", 60, -2)));
    ended(sam.pass(still(2, many("r", 5, -2))), 10, "partial", Some("mass_vanish"));
    let mut rows = many("r", 5, -2);
    rows.push(nameless(-2));
    ended(sam.pass(still(3, rows)), 10, "partial", Some("mass_vanish"));
    assert_eq!(sam.live().len(), 60);
    ended(sam.pass(still(4, many("r", 5, -2))), 0, "synced", None);
    assert_eq!(sam.live().len(), 5);
}

#[test]
fn whatever_is_not_money_a_status_or_ours_goes_to_quarantine() {
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
        bad("other-account", "accountId", json!("somebody-elses")),
        bad("no-account", "accountId", json!([])),
        bad("no-status", "status", json!({})),
        booked("good", -1, "-100", "TRAM"),
    ];
    let sam = Sam::new();
    let ran = ended(sam.pass(at(1, rows)), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("quarantined"), warnings(&ran)), (1, 7, 1));
    assert_eq!(sam.live(), ["good"]);
}

/// What was kept of a record becomes this one, as if this release could read what an older one could not.
fn mend(sam: &Sam, id: &str, row: &ScriptRow) {
    sam.0.set_quarantined(Some(id), &row.json);
}

fn retry(sam: &Sam) -> Ran {
    sam.0.cli(&["quarantine", "retry"])
}

#[test]
fn what_can_be_read_now_is_stored_and_the_next_pass_finds_it_so() {
    let (row, other) = (booked("t", -1, "-100", "TRAM"), booked("u", -1, "-200", "FEE"));
    let sam = Sam::with(at(1, [broken(row.clone()), broken(other), booked("v", -1, "-300", "TAX")]));
    let (seq, requests) = (sam.seq("v"), sam.0.sandbox.requests());
    mend(&sam, "t", &row);
    let said = sam.0.cli(&["quarantine", "retry", "--connection", "c-0", "--actor", "jane"]).expect(0).stdout;
    assert_eq!(said, "Connection c-0: 1 record can be read now: 1 added, 1 still unreadable.\n");
    assert_eq!((sam.live(), in_quarantine(&sam)), (vec!["t".to_owned(), "v".to_owned()], 1));
    assert!(sam.seq("t") > seq);
    assert_eq!(sam.row("t", "amount, first_seen_run IS NOT NULL, changed_run = first_seen_run"), "-1|1|1");
    assert_eq!(sam.0.sandbox.requests(), requests, "Tink is not asked");
    let audited = "SELECT concat_ws(' ', action, connection_id, user_id, actor, details) FROM audit_v1";
    assert_eq!(sam.0.text(audited).unwrap(), "quarantine.retried c-0 u-0 jane 1 read, 0 obsolete, 1 left");
    ended(
        sam.pass(at(2, [row, booked("u", -1, "-200", "FEE"), booked("v", -1, "-300", "TAX")])),
        0,
        "synced",
        None,
    );
    assert_eq!((sam.live().len(), in_quarantine(&sam)), (3, 0));
    sam.0.assert_exact(0);
    assert!(retry(&sam).expect(0).stdout.contains("empty"));
}

#[test]
fn what_tink_does_not_have_any_more_goes_with_the_next_walk() {
    let (row, other) = (booked("t", -2, "-100", "TRAM"), booked("v", -2, "-300", "TAX"));
    let sam = Sam::with(at(1, [broken(row.clone()), other.clone()]));
    mend(&sam, "t", &row);
    retry(&sam).expect(0);
    assert_eq!(sam.live().len(), 2);
    sam.pass(at(2, [other])).expect(0);
    assert_eq!(sam.fate("t"), Fate::vanished());
}

#[test]
fn a_newer_state_of_a_row_is_stored_and_an_older_one_is_obsolete() {
    let (old, new) = (booked("t", -2, "-100", "TRAM"), booked("t", -2, "-150", "TRAM TAX"));
    let other = booked("v", -2, "-300", "TAX");
    let sam = Sam::with(at(1, [old.clone(), other.clone()]));
    sam.pass(at(2, [broken(new.clone()), other.clone()])).expect(0);
    mend(&sam, "t", &new);
    assert!(retry(&sam).expect(0).stdout.contains("1 updated"));
    assert_eq!(sam.row("t", "amount"), "-1.5");
    // Quarantined again; a later run has changed the row.
    sam.pass(at(3, [broken(old.clone()), other.clone()])).expect(0);
    assert_eq!(in_quarantine(&sam), 1);
    sam.0.rows_were_changed_later();
    mend(&sam, "t", &old);
    assert!(retry(&sam).expect(0).stdout.contains("1 obsolete"));
    assert_eq!((sam.row("t", "amount"), in_quarantine(&sam)), ("-1.5".to_owned(), 0));
    // And then gone at Tink, from the quarantine too.
    sam.pass(at(4, [broken(old), other.clone()])).expect(0);
    sam.pass(at(5, [other])).expect(0);
    assert_eq!((sam.fate("t"), in_quarantine(&sam)), (Fate::vanished(), 0));
}

#[test]
fn a_record_is_kept_with_what_is_wrong_with_it_now() {
    let row = booked("t", -1, "-100", "TRAM");
    let sam = Sam::with(at(1, [broken(row.clone())]));
    mend(&sam, "t", &row.but(|element| element["status"] = json!(5)));
    retry(&sam).expect(0);
    assert_eq!(sam.0.text("SELECT reason FROM quarantine_v1").unwrap(), "status is not a text");
    sam.0.set_quarantined(None, "{\"id\": \"t\"");
    retry(&sam).expect(0);
    assert_eq!(in_quarantine(&sam), 1);
}

#[test]
fn the_list_shows_nobodys_data_unless_asked() {
    let sam = Sam::with(at(1, [broken(booked("t", -1, "-100", "TRAM OF SAM")), nameless(-1)]));
    let list = |args: &[&str]| sam.0.cli(&[&["quarantine", "list"], args].concat()).expect(0);
    let text = list(&[]).stdout;
    assert!(
        text.contains("c-0") && text.contains("amount is missing") && text.contains("(t, account a1)"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains("TRAM") && !list(&["--format", "json"]).stdout.contains("TRAM"));
    assert!(list(&["--raw"]).stdout.contains("TRAM OF SAM"));
    let json = list(&["--raw", "--format", "json", "--connection", "c-0"]);
    assert_eq!(json.lines.len(), 2);
    let named = json.lines.iter().find(|line| line["transaction_id"] == "t").unwrap();
    assert!(named["raw"].as_str().unwrap().contains("TRAM OF SAM") && named["run_id"].is_string());
    let unknown = sam.0.cli(&["quarantine", "list", "--connection", "c-0", "nobody"]).expect(2).stderr;
    assert!(unknown.contains("unknown connection: nobody"), "{unknown}");
    sam.0.cli(&["quarantine", "retry", "--connection", "nobody"]).expect(2);
}

#[test]
fn a_run_that_is_at_work_is_not_disturbed() {
    let row = booked("t", -1, "-100", "TRAM");
    let sam = Sam::with(at(1, [broken(row.clone())])).set("tink.request_timeout", "\"10m\"");
    mend(&sam, "t", &row);
    sam.0.sandbox.reset_counters();
    sam.0.sandbox.fault(Fault::new(Action::Hang).at(Endpoint::Consents));
    let running = sam.0.start(&[]);
    until(|| sam.0.sandbox.requests_to(Endpoint::Consents) > 0);
    let said = retry(&sam).expect(10).stdout;
    assert!(said.contains("a run is at work on it"), "{said}");
    assert_eq!((sam.live().len(), in_quarantine(&sam)), (0, 1));
    // A dead run holds nothing.
    running.kill();
    retry(&sam).expect(0);
    assert_eq!((sam.live().len(), in_quarantine(&sam)), (1, 0));
}

/// Sam's account under this id.
fn link(n: u32, account: &str, rows: Vec<ScriptRow>) -> Script {
    Script::simple(account, &refresh(n), rows)
}

fn of(account: &str, id: &str, cents: &str) -> ScriptRow {
    ScriptRow::booked(id, account, day(-2), cents, "2", "TRAM")
}

#[test]
fn after_a_reconsent_a_late_row_takes_the_place_of_the_old_one_and_old_records_leave() {
    let late = of("new", "y1", "-100");
    let sam = Sam::with(link(1, "old", vec![of("old", "x1", "-100"), broken(of("old", "x2", "-200"))]));
    sam.0.set_ibans("PL1");
    let iban = |mut script: Script| {
        script.accounts[0]["identifiers"]["iban"]["iban"] = "PL1".into();
        script
    };
    sam.pass(iban(link(2, "old", vec![of("old", "x1", "-100"), broken(of("old", "x2", "-200"))]))).expect(0);
    sam.pass(iban(link(3, "new", vec![broken(late.clone()), of("new", "y2", "-200")])));
    assert_eq!((sam.live(), in_quarantine(&sam)), (vec!["x1".to_owned(), "y2".to_owned()], 1));
    mend(&sam, "y1", &late);
    let said = retry(&sam).expect(0).stdout.replace('\n', " ");
    assert!(said.contains("1 added, 1 took the place of older rows."), "{said}");
    assert_eq!((sam.live(), in_quarantine(&sam)), (vec!["y1".to_owned(), "y2".to_owned()], 0));
    assert_eq!(sam.fate("x1").by.as_deref(), Some("y1"));
    sam.pass(iban(link(4, "new", vec![late, of("new", "y2", "-200")]))).expect(0);
    assert_eq!(sam.live(), ["y1", "y2"]);
}

#[test]
fn a_death_in_between_has_stored_all_or_nothing() {
    for side in Side::BOTH {
        let row = booked("t", -1, "-100", "TRAM");
        let sam = Sam::with(at(1, [broken(row.clone())]));
        mend(&sam, "t", &row);
        let point = format!("retry the quarantine:{}", side.as_str());
        let mut command = sam.0.command(&["quarantine", "retry"]);
        let ended = command.env(failpoint::VARIABLE, &point).output().unwrap();
        assert!(was_killed(ended.status), "{ended:?}");
        let expected = if side == Side::After { (1, 0) } else { (0, 1) };
        assert_eq!((sam.live().len(), in_quarantine(&sam)), expected);
        assert_eq!(sam.0.number("SELECT count(*) FROM audit_v1"), i64::try_from(expected.0).unwrap());
        retry(&sam).expect(0);
        assert_eq!((sam.live().len(), in_quarantine(&sam)), (1, 0));
    }
}

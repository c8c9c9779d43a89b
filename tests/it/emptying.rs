//! The quarantine empties: what changes by nature is the same record, what Tink no longer lists leaves, at most a
//! hundred of an account are kept, and an operator can drop them.

use serde_json::{Value, json};
use tink_sandbox::{Action, Endpoint, Fault, PageShape, Script, ScriptRow, Times};
use tink_sync::failpoint::{self, Side};

use crate::harness::{Ran, until, was_killed};
use crate::scripted::{A1, SAM, Sam, at, booked, consent_with, day, ended, many, refresh, still};

/// A record that does not say how much.
fn broken(id: &str, offset: i64) -> ScriptRow {
    booked(id, offset, "-100", "TRAM").but(|element| element["amount"] = json!(null))
}

/// A record that does not even say who it is.
fn nameless(offset: i64, cents: &str) -> ScriptRow {
    booked("nameless", offset, cents, "BREAD").but(|element| element["id"] = json!(null))
}

fn warnings(ran: &Ran) -> usize {
    ran.stderr.lines().filter(|line| line.contains("quarantine")).count()
}

fn in_quarantine(sam: &Sam) -> i64 {
    sam.0.number("SELECT count(*) FROM quarantine_v1")
}

/// State, reason and number of the balance proof.
fn proof(sam: &Sam) -> String {
    sam.0.text("SELECT concat_ws(' ', state, reason, quarantined) FROM balance_proofs_v1").unwrap()
}

/// A row that is fine, so that the walk has seen something.
fn fine() -> ScriptRow {
    booked("fine", -3, "-500", "RENT")
}

#[test]
fn what_changes_by_nature_is_one_record_and_warned_of_once() {
    type Change = fn(&mut Value, u32);
    let changes: [(&str, Change); 5] = [
        ("a time", |element, n| element["fetchedAt"] = json!(format!("2026-06-01T00:{n:02}:00Z"))),
        ("a text", |element, n| element["descriptions"]["original"] = json!(format!("BALANCE {n}"))),
        ("a provider's id", |element, n| {
            element["identifiers"] = json!({"providerTransactionId": n.to_string()});
        }),
        ("its status", |element, n| {
            element["status"] = json!(["PENDING", "BOOKED"][usize::from(n % 2 == 0)]);
        }),
        ("what is wrong", |element, n| element["id"] = if n % 2 == 0 { json!(n) } else { json!([]) }),
    ];
    for (name, change) in changes {
        let sam = Sam::new();
        let mut told = 0;
        for n in 1..9 {
            let odd = nameless(-1, "-100").but(|element| change(element, n));
            let ran = sam.pass(at(n, [fine(), odd])).expect(0);
            told += warnings(&ran);
            assert_eq!(ran.total("quarantined"), u64::from(n == 1), "{name}, pass {n}");
        }
        assert_eq!((in_quarantine(&sam), told), (1, 1), "{name}");
        sam.pass(at(9, [fine()])).expect(0);
        assert_eq!(in_quarantine(&sam), 0, "{name}: it is not listed any more");
    }
}

#[test]
fn an_id_that_is_new_at_each_refresh_is_one_record() {
    let sam = Sam::new();
    for n in 1..8 {
        let odd =
            |id: String, cents| booked(&id, -1, cents, "TRAM").but(|element| element["status"] = json!(n));
        let ran = sam.pass(at(
            n,
            [fine(), odd(format!("a{n}"), "-100"), odd(format!("b{n}"), "-100"), odd(format!("c{n}"), "-7")],
        ));
        let ran = ran.expect(0);
        assert_eq!(
            (ran.total("quarantined"), warnings(&ran)),
            if n == 1 { (3, 1) } else { (0, 0) },
            "pass {n}"
        );
        assert_eq!(in_quarantine(&sam), 3);
    }
}

#[test]
fn records_that_are_not_one_are_told_apart() {
    let sam = Sam::with(at(
        1,
        [fine(), nameless(-1, "-100"), nameless(-1, "-200"), nameless(-2, "-100"), broken("t", -1)],
    ));
    assert_eq!(in_quarantine(&sam), 4);
    // Two of one kind: the second is new.
    let twin = nameless(-1, "-100").but(|element| element["descriptions"]["original"] = json!("ANOTHER"));
    let rows =
        [fine(), nameless(-1, "-100"), twin, nameless(-1, "-200"), nameless(-2, "-100"), broken("t", -1)];
    let ran = sam.pass(at(2, rows)).expect(0);
    assert_eq!((ran.total("quarantined"), in_quarantine(&sam)), (1, 5));
}

#[test]
fn what_is_not_listed_any_more_leaves_and_spoils_no_proof() {
    for odd in [broken("t", -1), nameless(-1, "-100")] {
        let sam = Sam::with(still(1, [fine(), odd.clone()]));
        assert_eq!((in_quarantine(&sam), proof(&sam).as_str()), (1, "unprovable quarantine 1"));
        sam.pass(still(2, [fine(), odd])).expect(0);
        assert_eq!((in_quarantine(&sam), proof(&sam).as_str()), (1, "unprovable quarantine 1"));
        let ran = sam.pass(still(3, [fine()])).expect(0);
        assert_eq!((in_quarantine(&sam), warnings(&ran)), (0, 0));
        assert_eq!(proof(&sam), "proven 0");
    }
    // Also where not one record of the walk could be read.
    let sam = Sam::with(still(1, [broken("t", -1), nameless(-1, "-100")]));
    sam.pass(still(2, [nameless(-1, "-100")])).expect(0);
    assert_eq!(in_quarantine(&sam), 1);
}

#[test]
fn what_lies_outside_of_a_walk_stays_until_one_covers_it() {
    let old = |element: &mut Value| element["amount"] = json!(null);
    let rows = || {
        [
            fine(),
            broken("near", -5),
            booked("far", -60, "-1", "x").but(old),
            booked("older", -200, "-1", "x").but(old),
        ]
    };
    let sam = Sam::with(at(1, rows()));
    assert_eq!(in_quarantine(&sam), 3);
    // An ordinary walk reads two weeks; it does not look as far back.
    sam.pass(at(2, [fine()])).expect(0);
    assert_eq!(
        sam.0.text("SELECT group_concat(transaction_id) FROM quarantine_v1").as_deref(),
        Some("far,older")
    );
    sam.0.no_deep_walk();
    sam.pass(at(3, [fine()])).expect(0);
    assert_eq!(
        sam.0.text("SELECT group_concat(transaction_id) FROM quarantine_v1").as_deref(),
        Some("older")
    );
}

#[test]
fn a_record_without_a_date_leaves_after_two_walks_without_it() {
    let undated = ScriptRow::with("u", A1, None, "BOOKED", ["1", "2", ""], "x");
    let sam = Sam::with(at(1, [fine(), undated.clone()]));
    sam.pass(at(2, [fine()])).expect(0);
    assert_eq!(in_quarantine(&sam), 1);
    sam.pass(at(3, [fine(), undated])).expect(0);
    for (n, left) in [(4, 1), (5, 0)] {
        sam.pass(at(n, [fine()])).expect(0);
        assert_eq!(in_quarantine(&sam), left, "pass {n}");
    }
}

#[test]
fn what_concludes_nothing_drops_nothing() {
    let rows = [fine(), broken("t", -1)];
    let without = |n: u32| at(n, [fine()]);
    let sam = Sam::with(at(1, rows.clone()));
    // An empty list, a consent that is not well, a page without its list, a walk without an end, a walk cut short.
    sam.pass(at(2, [])).expect(0);
    sam.pass(consent_with(without(3), "status", "TEMPORARY_ERROR")).expect(0);
    sam.0.sandbox.script(SAM, without(4));
    for action in [Action::Garbage(b"{}".to_vec()), Action::status(500)] {
        sam.0.sandbox.fault(Fault::new(action).at(Endpoint::Transactions).times(Times::N(8)));
        sam.again();
        sam.0.sandbox.clear_faults();
    }
    assert_eq!(in_quarantine(&sam), 1);
    let mut long = many("r", 120, -2);
    long.push(broken("t", -1));
    let sam = Sam::with(at(1, long));
    sam.0.sandbox.script(SAM, at(2, many("r", 120, -2)));
    sam.0.sandbox.plan(SAM, |plan| plan.shape = PageShape { page_loop: true, ..PageShape::default() });
    sam.again();
    assert_eq!(in_quarantine(&sam), 1);
}

#[test]
fn at_most_a_hundred_of_an_account_are_kept_and_the_rest_is_counted() {
    let rows = |n: u32| {
        let mut rows: Vec<ScriptRow> = (0..n).map(|n| broken(&format!("t{n:03}"), -1)).collect();
        rows.push(fine());
        rows
    };
    let sam = Sam::new();
    let ran = ended(sam.pass(at(1, rows(250))), 0, "synced", None);
    assert_eq!((ran.total("quarantined"), in_quarantine(&sam)), (250, 100));
    assert_eq!(proof(&sam), "unprovable quarantine 250");
    let list = |args: &[&str]| sam.0.cli(&[&["quarantine", "list"], args].concat()).expect(0);
    let said = list(&[]).stdout.replace('\n', " ");
    assert!(said.contains("150 more records of connection c-0, account a1, are only counted."), "{said}");
    let json = list(&["--format", "json"]);
    assert_eq!(json.lines.len(), 101);
    assert_eq!(json.lines[100], json!({"connection_id": "c-0", "account_id": "a1", "not_kept": 150}));
    assert!(sam.0.cli(&["why", "c-0"]).expect(0).stdout.contains("250 records could not be read"));
    // Nothing of it is new the next time.
    let ran = ended(sam.pass(at(2, rows(250))), 0, "unchanged", None);
    assert_eq!((ran.total("quarantined"), warnings(&ran), in_quarantine(&sam)), (0, 0, 100));
    // Some leave, and of the others some more are kept.
    sam.pass(at(3, rows(120)[60..].to_vec())).expect(0);
    assert_eq!(proof(&sam), "unprovable quarantine 60");
    sam.pass(at(4, rows(120)[60..].to_vec())).expect(0);
    assert_eq!((in_quarantine(&sam), proof(&sam).as_str()), (60, "unprovable quarantine 60"));
    sam.pass(at(5, [fine()])).expect(0);
    assert_eq!((in_quarantine(&sam), proof(&sam).as_str()), (0, "proven 0"));
}

#[test]
fn records_that_are_only_counted_are_listed_and_dropped_without_the_others() {
    let mut rows: Vec<ScriptRow> = (0..103).map(|n| broken(&format!("t{n:03}"), -1)).collect();
    rows.push(fine());
    let sam = Sam::with(at(1, rows));
    let kept = sam.0.text("SELECT group_concat(transaction_id) FROM quarantine_v1").unwrap();
    let mut drop_kept = vec!["quarantine", "drop", "--connection", "c-0", "--transaction"];
    drop_kept.extend(kept.split(','));
    sam.0.cli(&drop_kept).expect(0);
    assert_eq!(in_quarantine(&sam), 0);
    let said = sam.0.cli(&["quarantine", "list"]).expect(0).stdout;
    assert_eq!(said, "3 records of connection c-0, account a1, are only counted.\n");
    let said = sam.0.cli(&["quarantine", "retry"]).expect(0).stdout;
    assert_eq!(said, "The records left are only counted: there is nothing to read once more.\n");
    let said = sam.0.cli(&["quarantine", "drop", "--connection", "c-0"]).expect(0).stdout;
    assert_eq!(said, "Connection c-0: 3 records dropped.\n");
    assert!(sam.0.cli(&["quarantine", "list"]).expect(0).stdout.contains("empty"));
}

#[test]
fn a_store_of_an_older_release_goes_on_without_a_second_warning() {
    let rows = || {
        let mut rows: Vec<ScriptRow> = (0..130).map(|n| broken(&format!("t{n:03}"), -1)).collect();
        rows.extend([fine(), nameless(-1, "-100")]);
        rows
    };
    let sam = Sam::with(at(1, rows()));
    sam.0.age_quarantine(&nameless(-1, "-100").json);
    assert_eq!(in_quarantine(&sam), 131);
    let ran = sam.pass(at(2, rows())).expect(0);
    assert_eq!((ran.total("quarantined"), warnings(&ran), in_quarantine(&sam)), (0, 0, 100));
    assert_eq!(proof(&sam), "unprovable quarantine 131");
}

/// Sam's account under an id, with a number that stays.
fn link(n: u32, account: &str, rows: Vec<ScriptRow>) -> Script {
    let mut script = Script::simple(account, &refresh(n), rows);
    script.accounts[0]["identifiers"]["iban"]["iban"] = "PL1".into();
    script
}

fn of(account: &str, id: &str, offset: i64, cents: &str) -> ScriptRow {
    ScriptRow::booked(id, account, day(offset), cents, "2", "TRAM")
}

#[test]
fn records_of_an_older_link_leave_as_far_as_the_new_one_reaches() {
    let odd = |row: ScriptRow| row.but(|element| element["status"] = json!({}));
    let rows = vec![
        of("old", "x1", -2, "-100"),
        odd(of("old", "x2", -2, "-200")),
        odd(of("old", "x3", -2, "-300")),
        odd(of("old", "x4", -90, "-400")),
    ];
    let sam = Sam::with(link(1, "old", rows));
    assert_eq!(in_quarantine(&sam), 3);
    // One can be read now, one cannot under its new id either, one is gone, and one is older than all that is listed.
    let rows = vec![of("new", "y1", -2, "-100"), of("new", "y2", -2, "-200"), of("new", "y0", -30, "-1")];
    let ran = sam.pass(link(2, "new", rows));
    assert_eq!(ran.total("quarantined"), 0);
    assert_eq!(sam.0.text("SELECT group_concat(transaction_id) FROM quarantine_v1").as_deref(), Some("x4"));
    let rows =
        vec![of("new", "y1", -2, "-100"), of("new", "y2", -2, "-200"), odd(of("new", "y3", -2, "-300"))];
    let sam = Sam::with(link(1, "old", vec![of("old", "x1", -2, "-100"), odd(of("old", "x3", -2, "-300"))]));
    let ran = sam.pass(link(2, "new", rows));
    assert_eq!((ran.total("quarantined"), warnings(&ran)), (0, 0), "it is the same record");
    assert_eq!(sam.0.text("SELECT group_concat(transaction_id) FROM quarantine_v1").as_deref(), Some("y3"));
}

fn drop_all(sam: &Sam) -> Ran {
    sam.0.cli(&["quarantine", "drop", "--all"])
}

#[test]
fn an_operator_can_drop_what_nobody_will_read() {
    let sam = Sam::with(at(1, [fine(), broken("t", -1), broken("u", -1), nameless(-1, "-100")]));
    let requests = sam.0.sandbox.requests();
    let one = ["quarantine", "drop", "--connection", "c-0", "--transaction", "t", "--actor", "jane"];
    assert_eq!(sam.0.cli(&one).expect(0).stdout, "Connection c-0: 1 record dropped.\n");
    let audited = "SELECT concat_ws(' ', action, connection_id, user_id, actor, details) FROM audit_v1";
    assert_eq!(sam.0.text(audited).unwrap(), "quarantine.dropped c-0 u-0 jane 1 dropped");
    assert_eq!(drop_all(&sam).expect(0).stdout, "Connection c-0: 2 records dropped.\n");
    assert_eq!((in_quarantine(&sam), sam.0.sandbox.requests()), (0, requests), "Tink is not asked");
    assert!(drop_all(&sam).expect(0).stdout.contains("empty"));
    assert!(sam.0.cli(&["audit", "--action", "quarantine.dropped"]).expect(0).stdout.contains("2 dropped"));
    // What Tink still lists comes back, and is told.
    let ran = sam.pass(at(2, [fine(), broken("t", -1)])).expect(0);
    assert_eq!((in_quarantine(&sam), warnings(&ran)), (1, 1));
    for wrong in [
        &["quarantine", "drop"][..],
        &["quarantine", "drop", "--all", "--connection", "c-0"],
        &["quarantine", "drop", "--transaction", "t"],
        &["quarantine", "drop", "--connection", "nobody"],
    ] {
        sam.0.cli(wrong).expect(2);
    }
    assert_eq!(in_quarantine(&sam), 1);
}

#[test]
fn a_run_that_is_at_work_and_a_death_in_between_lose_nothing_by_halves() {
    let rows = || [fine(), broken("t", -1)];
    let sam = Sam::with(at(1, rows())).set("tink.request_timeout", "\"10m\"");
    sam.0.sandbox.reset_counters();
    sam.0.sandbox.fault(Fault::new(Action::Hang).at(Endpoint::Consents));
    let running = sam.0.start(&[]);
    until(|| sam.0.sandbox.requests_to(Endpoint::Consents) > 0);
    assert!(drop_all(&sam).expect(10).stdout.contains("a run is at work on it"));
    assert_eq!(in_quarantine(&sam), 1);
    running.kill();
    for side in Side::BOTH {
        let sam = Sam::with(at(1, rows()));
        let mut command = sam.0.command(&["quarantine", "drop", "--all"]);
        let point = format!("drop from the quarantine:{}", side.as_str());
        assert!(was_killed(command.env(failpoint::VARIABLE, &point).output().unwrap().status));
        let left = i64::from(side == Side::Before);
        assert_eq!((in_quarantine(&sam), sam.0.number("SELECT count(*) FROM audit_v1")), (left, 1 - left));
    }
}

//! The user connects the bank anew: all ids change, and nothing may be doubled, merged wrongly or lost.

use serde_json::{Value, json};
use tink_sandbox::script::{account, consent};
use tink_sandbox::{Action, Endpoint, Fault, PageShape, Script, ScriptRow};

use crate::scripted::{Fate, SAM, Sam, consent_with, day, ended, refresh};

const IBAN: &str = "PL61 1090 1014";

fn row(id: &str, account: &str, offset: i64, cents: &str, text: &str) -> ScriptRow {
    ScriptRow::booked(id, account, day(offset), cents, "2", text)
}

fn known(row: ScriptRow, provider_id: &str) -> ScriptRow {
    row.but(|element| element["identifiers"] = json!({"providerTransactionId": provider_id}))
}

fn numbered(id: &str, iban: &str, n: u32) -> Value {
    let mut account = account(id, &refresh(n), "100000", "2", "EUR");
    account["identifiers"]["iban"]["iban"] = iban.into();
    account
}

/// One bank with these accounts, under a consent named after the first of them.
fn bank(n: u32, accounts: &[(&str, &str)], rows: Vec<ScriptRow>) -> Script {
    let ids: Vec<&str> = accounts.iter().map(|(id, _)| *id).collect();
    Script {
        consents: vec![consent(&format!("cred-{}", ids.first().unwrap_or(&"")), &ids)],
        accounts: accounts.iter().map(|(id, iban)| numbered(id, iban, n)).collect(),
        transactions: rows,
    }
}

fn one(n: u32, id: &str, rows: Vec<ScriptRow>) -> Script {
    bank(n, &[(id, IBAN)], rows)
}

/// The same three rows under ids that begin with `prefix`.
fn three(prefix: &str, account: &str) -> Vec<ScriptRow> {
    vec![
        known(row(&format!("{prefix}1"), account, -3, "-100", "TRAM"), "bank-1"),
        row(&format!("{prefix}2"), account, -2, "-250", "COFFEE")
            .but(|element| element["reference"] = json!("RF18")),
        row(&format!("{prefix}3"), account, -1, "-990", "BOOKS"),
    ]
}

fn keys(sam: &Sam) -> i64 {
    sam.0.number("SELECT count(DISTINCT account_key) FROM accounts_v1")
}

#[test]
fn new_ids_of_one_account_double_nothing() {
    let sam = Sam::with(one(1, "old", three("x", "old")));
    let key = sam.account("old", "account_key");
    let ran = ended(sam.pass(one(2, "new", three("y", "new"))), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("removed"), ran.total("accounts")), (3, 3, 1));
    assert_eq!(sam.live(), ["y1", "y2", "y3"]);
    assert_eq!(sam.fate("x1"), Fate::replaced("y1", "reconsent:provider_id"));
    assert_eq!(sam.fate("x2"), Fate::replaced("y2", "reconsent:reference"));
    assert_eq!(sam.fate("x3"), Fate::replaced("y3", "reconsent:date+amount+text"));
    assert_eq!((sam.account("new", "account_key"), keys(&sam)), (key, 1));
    assert_eq!(sam.row("x1", "account_id"), "new");
    sam.0.assert_exact(0);
    ended(sam.pass(one(3, "new", three("y", "new"))), 0, "unchanged", None);
}

#[test]
fn the_first_walk_after_it_is_full() {
    let sam = Sam::with(one(1, "old", three("x", "old")));
    assert_eq!(sam.window().0, None);
    sam.pass(one(2, "old", three("x", "old"))).expect(0);
    assert_eq!(sam.window().0, Some(day(-14).to_string()));
    sam.pass(one(3, "new", three("y", "new"))).expect(0);
    assert_eq!(sam.window().0, None);
    sam.pass(one(4, "new", three("y", "new"))).expect(0);
    assert_eq!(sam.window().0, Some(day(-14).to_string()));
}

#[test]
fn rows_older_than_the_oldest_fetched_one_stay_live() {
    let mut rows = three("x", "old");
    rows.push(row("ancient", "old", -400, "-700", "RENT"));
    let sam = Sam::with(one(1, "old", rows));
    ended(sam.pass(one(2, "new", three("y", "new"))), 0, "synced", None);
    assert_eq!(sam.live(), ["ancient", "y1", "y2", "y3"]);
    assert_eq!(sam.row("ancient", "account_id"), "new");
    sam.pass(one(3, "new", three("y", "new"))).expect(0);
    assert_eq!(sam.fate("ancient"), Fate::live());
}

#[test]
fn a_booked_row_without_a_counterpart_is_kept_and_told_of() {
    let mut rows = three("x", "old");
    rows.push(row("lonely", "old", -2, "-700", "RENT"));
    let sam = Sam::with(one(1, "old", rows));
    ended(sam.pass(one(2, "new", three("y", "new"))), 0, "synced", Some("reconsent_unmatched"));
    assert_eq!(sam.fate("lonely"), Fate::live());
    ended(sam.pass(one(3, "new", three("y", "new"))), 0, "unchanged", Some("reconsent_unmatched"));
    // Also where the account has not moved and is not read.
    ended(sam.again(), 0, "unchanged", Some("reconsent_unmatched"));
    assert!(sam.asked("/transactions?").is_empty());
    assert_eq!(sam.fate("lonely"), Fate::live());
}

/// Ten days of rows, of which the bank has not the fourth any more, or only those of the last days.
fn days(prefix: &str, account: &str, days: i64) -> Vec<ScriptRow> {
    let of = |n: i64| row(&format!("{prefix}{n}"), account, -n, &format!("-{n}00"), &format!("SHOP {n}"));
    (1..=days).filter(|n| prefix == "x" || *n != 4).map(of).collect()
}

#[test]
fn a_short_list_after_a_renewal_hides_no_row_without_a_counterpart() {
    const LEFT: Option<&str> = Some("reconsent_unmatched");
    // What the first renewal left open, the second one does not close.
    let sam = Sam::with(one(1, "a", days("x", "a", 10)));
    ended(sam.pass(one(2, "b", days("y", "b", 10))), 0, "synced", LEFT);
    ended(sam.pass(one(3, "c", days("z", "c", 2))), 0, "synced", LEFT);
    ended(sam.pass(one(4, "c", days("z", "c", 10))), 0, "synced", LEFT);
    ended(sam.pass(one(5, "c", days("z", "c", 10))), 0, "unchanged", LEFT);
    assert_eq!((sam.live().len(), sam.fate("x4")), (10, Fate::live()));
    // The list is short only at first.
    let sam = Sam::with(one(1, "a", days("x", "a", 10)));
    ended(sam.pass(one(2, "b", days("y", "b", 2))), 0, "synced", None);
    ended(sam.pass(one(3, "b", days("y", "b", 10))), 0, "synced", LEFT);
    ended(sam.pass(one(4, "b", days("y", "b", 10))), 0, "unchanged", LEFT);
    assert_eq!((sam.live().len(), sam.fate("x4")), (10, Fate::live()));
    sam.0.cli(&["connections", "accept-unmatched", "c-0", "--actor", "ann"]).expect(0);
    ended(sam.pass(one(5, "b", days("y", "b", 10))), 0, "unchanged", None);
}

#[test]
fn a_row_that_got_another_id_later_is_no_counterpart_of_what_a_renewal_left_open() {
    let mut rows = three("x", "old");
    rows.push(row("lonely", "old", -2, "-700", "RENT"));
    let sam = Sam::with(one(1, "old", rows));
    ended(sam.pass(one(2, "new", three("y", "new"))), 0, "synced", Some("reconsent_unmatched"));
    // A row of the new consent goes on under another id, on a day from which rows are looked for.
    let mut renamed = three("y", "new");
    let first = renamed.remove(0);
    renamed.push(first.but(|element| element["id"] = serde_json::json!("z")));
    ended(sam.pass(one(3, "new", renamed)), 0, "synced", Some("reconsent_unmatched"));
    assert_eq!((sam.fate("y1"), sam.fate("lonely")), (Fate::replaced("z", "reissued"), Fate::live()));
}

#[test]
fn what_a_renewal_left_open_can_be_accepted() {
    let mut rows = three("x", "old");
    rows.push(row("lonely", "old", -2, "-700", "RENT"));
    let sam = Sam::with(one(1, "old", rows));
    ended(sam.pass(one(2, "new", three("y", "new"))), 0, "synced", Some("reconsent_unmatched"));
    let why = sam.0.cli(&["why", "c-0"]).expect(0).stdout;
    assert!(why.contains("reconsent_unmatched") && why.contains("accept-unmatched c-0"), "{why}");
    let accept = ["connections", "accept-unmatched", "c-0", "--actor", "ann"];
    assert!(sam.0.cli(&accept).expect(0).stdout.contains("1 account"));
    ended(sam.pass(one(3, "new", three("y", "new"))), 0, "unchanged", None);
    assert_eq!(sam.fate("lonely"), Fate::live());
    assert!(sam.0.cli(&accept).expect(0).stdout.contains("Nothing"));
    let acts =
        "SELECT count(*) FROM audit_v1 WHERE action = 'connection.unmatched_accepted' AND actor = 'ann'";
    assert_eq!(sam.0.number(acts), 1);
    sam.0.cli(&["connections", "accept-unmatched", "nobody"]).expect(2);
}

#[test]
fn twins_pair_by_their_ordinal() {
    let twins = |prefix: &str, account: &str| {
        (1..=3).map(|n| row(&format!("{prefix}{n}"), account, -2, "-250", "COFFEE")).collect::<Vec<_>>()
    };
    let sam = Sam::with(one(1, "old", twins("x", "old")));
    ended(sam.pass(one(2, "new", twins("y", "new"))), 0, "synced", None);
    assert_eq!(sam.live(), ["y1", "y2", "y3"]);
    for n in 1..=3 {
        assert_eq!(sam.fate(&format!("x{n}")).by, Some(format!("y{n}")));
    }
}

#[test]
fn a_provider_id_that_says_nothing_pairs_no_row_with_another_days() {
    let fees = |prefix: &str, account: &str, offsets: &[i64]| {
        let fee = |o: &i64| known(row(&format!("{prefix}{}", -o), account, *o, "-500", "FEE"), "NOTPROVIDED");
        offsets.iter().map(fee).collect::<Vec<_>>()
    };
    let sam = Sam::with(one(1, "old", fees("x", "old", &[-3, -2, -1])));
    // The bank lists them in another order now.
    ended(sam.pass(one(2, "new", fees("y", "new", &[-1, -2, -3]))), 0, "synced", None);
    for n in 1..=3 {
        assert_eq!(sam.fate(&format!("x{n}")).by, Some(format!("y{n}")), "x{n}");
    }
    // One is gone and one is new: that they look alike proves nothing.
    let sam = Sam::with(one(1, "old", fees("x", "old", &[-5, -3, -2])));
    let ran = sam.pass(one(2, "new", fees("y", "new", &[0, -2, -5])));
    ended(ran, 0, "synced", Some("reconsent_unmatched"));
    assert_eq!(sam.live(), ["x3", "y0", "y2", "y5"]);
}

#[test]
fn a_pending_that_vanished_at_the_same_time_takes_nobodys_successor() {
    let mut rows = vec![row("x", "old", -1, "-250", "COFFEE")];
    rows.push(ScriptRow::pending("p", "old", day(1), "-250", "2", "COFFEE"));
    let sam = Sam::with(one(1, "old", rows));
    ended(sam.pass(one(2, "new", vec![row("y", "new", -1, "-250", "COFFEE")])), 0, "synced", None);
    assert_eq!(sam.fate("x"), Fate::replaced("y", "reconsent:date+amount+text"));
    assert_eq!(sam.fate("p"), Fate::vanished());
    assert_eq!(sam.live(), ["y"]);
}

#[test]
fn a_pending_that_was_booked_at_the_same_time_is_replaced() {
    let sam = Sam::with(one(1, "old", vec![ScriptRow::pending("p", "old", day(1), "-250", "2", "COFFEE")]));
    ended(sam.pass(one(2, "new", vec![row("b", "new", 0, "-250", "COFFEE")])), 0, "synced", None);
    assert_eq!(sam.fate("p"), Fate::replaced("b", "pending_booked:amount+date+same_text"));
}

#[test]
fn two_candidates_are_never_merged() {
    let sam = Sam::with(bank(1, &[("o1", IBAN), ("o2", IBAN)], vec![row("x", "o1", -1, "-100", "TRAM")]));
    sam.pass(one(2, "new", vec![row("y", "new", -1, "-100", "TRAM")])).expect(0);
    assert_eq!(keys(&sam), 3);
    assert_eq!(sam.live(), ["x", "y"]);
    let sam = Sam::with(one(1, "old", vec![row("x", "old", -1, "-100", "TRAM")]));
    sam.pass(bank(2, &[("n1", IBAN), ("n2", IBAN)], vec![row("y", "n1", -1, "-100", "TRAM")])).expect(0);
    assert_eq!(keys(&sam), 3);
}

#[test]
fn two_ids_present_at_once_are_never_merged() {
    let sam = Sam::with(one(1, "old", three("x", "old")));
    let both = [three("x", "old"), three("y", "new")].concat();
    sam.pass(bank(2, &[("old", IBAN), ("new", IBAN)], both)).expect(0);
    assert_eq!((keys(&sam), sam.live().len()), (2, 6));
    // The old one is not listed any more, but a consent still names it.
    let sam = Sam::with(one(1, "old", three("x", "old")));
    let mut script = one(2, "new", three("y", "new"));
    script.consents.push(consent("cred-old", &["old"]));
    sam.pass(script).expect(0);
    assert_eq!((keys(&sam), sam.live().len()), (2, 6));
}

#[test]
fn an_iban_that_is_unique_on_both_sides_decides_alone() {
    let changes: [fn(&mut Value); 5] = [
        |account| account["type"] = "SAVINGS".into(),
        |account| account["type"] = "UNDEFINED".into(),
        |account| account["type"] = Value::Null,
        |account| account["balances"] = Value::Null,
        |account| account["balances"]["booked"]["amount"]["currencyCode"] = "USD".into(),
    ];
    for change in changes {
        let sam = Sam::with(one(1, "old", three("x", "old")));
        let mut script = one(2, "new", three("y", "new"));
        change(&mut script.accounts[0]);
        sam.pass(script).expect(0);
        assert_eq!((keys(&sam), sam.live()), (1, vec!["y1".to_owned(), "y2".to_owned(), "y3".to_owned()]));
    }
}

#[test]
fn another_number_is_another_account() {
    let changes: [fn(&mut Value); 1] = [|account| account["identifiers"]["iban"]["iban"] = "PL00".into()];
    for change in changes {
        let sam = Sam::with(one(1, "old", three("x", "old")));
        let mut script = one(2, "new", three("y", "new"));
        change(&mut script.accounts[0]);
        sam.pass(script).expect(0);
        assert_eq!((keys(&sam), sam.live().len()), (2, 6));
    }
}

#[test]
fn an_account_without_iban_is_known_by_bank_and_number() {
    let card = |n: u32, id: &str, prefix: &str| {
        let mut script = one(n, id, three(prefix, id));
        script.accounts[0]["identifiers"] = json!({"financialInstitution": {"accountNumber": "4711"}});
        script.accounts[0]["financialInstitutionId"] = "bank".into();
        script
    };
    let sam = Sam::with(card(1, "old", "x"));
    sam.pass(card(2, "new", "y")).expect(0);
    assert_eq!((keys(&sam), sam.live()), (1, vec!["y1".to_owned(), "y2".to_owned(), "y3".to_owned()]));
}

#[test]
fn a_second_renewal_follows_the_first() {
    let sam = Sam::with(one(1, "a", three("x", "a")));
    sam.pass(one(2, "b", three("y", "b"))).expect(0);
    ended(sam.pass(one(3, "c", three("z", "c"))), 0, "synced", None);
    assert_eq!((keys(&sam), sam.live()), (1, vec!["z1".to_owned(), "z2".to_owned(), "z3".to_owned()]));
    assert_eq!(sam.fate("y1"), Fate::replaced("z1", "reconsent:provider_id"));
}

#[test]
fn old_ids_that_come_back_double_nothing() {
    let sam = Sam::with(one(1, "a", three("x", "a")));
    sam.pass(one(2, "b", three("y", "b"))).expect(0);
    ended(sam.pass(one(3, "a", three("x", "a"))), 0, "synced", None);
    assert_eq!((keys(&sam), sam.live()), (1, vec!["x1".to_owned(), "x2".to_owned(), "x3".to_owned()]));
    assert_eq!(sam.fate("y1"), Fate::replaced("x1", "reconsent:provider_id"));
}

#[test]
fn new_account_ids_with_the_same_row_ids_change_no_row() {
    let sam = Sam::with(one(1, "old", three("x", "old")));
    let seq = sam.seq("x1");
    let ran = sam.pass(one(2, "new", three("x", "new"))).expect(0);
    assert_eq!((ran.total("added"), ran.total("updated"), ran.total("removed")), (0, 0, 0));
    assert_eq!((sam.seq("x1"), keys(&sam)), (seq, 1));
}

#[test]
fn years_of_rows_are_paired_in_one_go() {
    let years = |prefix: &str, account: &str| {
        let row =
            |n: i64| row(&format!("{prefix}{n}"), account, -n / 3, &format!("-{}", 100 + n % 50), "SHOP");
        (0..1500).map(row).collect::<Vec<_>>()
    };
    let sam = Sam::with(one(1, "old", years("x", "old")));
    let ran = ended(sam.pass(one(2, "new", years("y", "new"))), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("removed")), (1500, 1500));
    sam.0.assert_exact(0);
}

/// As many rows as fill three pages.
fn pages(prefix: &str, account: &str) -> Vec<ScriptRow> {
    let row = |n: i64| row(&format!("{prefix}{n}"), account, -n / 30, &format!("-{}", 100 + n), "SHOP");
    (0..250).map(row).collect()
}

#[test]
fn a_walk_that_breaks_off_doubles_nothing() {
    let sam = Sam::with(one(1, "old", pages("x", "old")));
    sam.0.sandbox.fault(Fault::new(Action::status(404)).at(Endpoint::Transactions).nth(3));
    sam.pass(one(2, "new", pages("y", "new"))).expect(10);
    assert_eq!(sam.live().len(), 250);
    ended(sam.again(), 0, "synced", None);
    sam.0.assert_exact(0);
}

#[test]
fn a_walk_that_never_ends_doubles_nothing() {
    let sam = Sam::with(one(1, "old", pages("x", "old")));
    sam.0.sandbox.plan(SAM, |plan| plan.shape = PageShape { page_loop: true, ..PageShape::default() });
    ended(sam.pass(one(2, "new", pages("y", "new"))), 10, "partial", Some("page_loop"));
    assert_eq!(sam.live().len(), 250);
    sam.0.sandbox.plan(SAM, |plan| plan.shape = PageShape::default());
    ended(sam.pass(one(3, "new", pages("y", "new"))), 0, "synced", None);
    sam.0.assert_exact(0);
}

#[test]
fn a_bank_that_is_unwell_just_then_doubles_nothing() {
    let sam = Sam::with(one(1, "old", three("x", "old")));
    let unwell = consent_with(one(2, "new", three("y", "new")), "status", "TEMPORARY_ERROR");
    ended(sam.pass(unwell), 0, "synced", Some("bank_unavailable"));
    assert_eq!(sam.live(), ["y1", "y2", "y3"]);
    ended(sam.pass(one(3, "new", three("y", "new"))), 0, "unchanged", None);
    assert_eq!(sam.live(), ["y1", "y2", "y3"]);
}

#[test]
fn rows_that_tink_imports_days_after_it_are_paired_too() {
    // GIVEN a new consent that shows only one row at first, with nothing wrong to be seen
    let sam = Sam::with(one(1, "old", three("x", "old")));
    let late = three("y", "new");
    ended(sam.pass(one(2, "new", late[1..].to_vec())), 0, "synced", None);
    assert_eq!(sam.live(), ["x1", "y2", "y3"]);
    // WHEN the rest comes with a later refresh, THEN it takes the place of what was kept
    ended(sam.pass(one(3, "new", late)), 0, "synced", None);
    assert_eq!(sam.live(), ["y1", "y2", "y3"]);
    assert_eq!(sam.fate("x1"), Fate::replaced("y1", "reconsent:provider_id"));
    sam.0.assert_exact(0);
}

#[test]
fn a_record_without_an_id_doubles_nothing_of_the_others() {
    let nameless =
        |account: &str| row("", account, 0, "-1", "ODD").but(|element| element["id"] = Value::Null);
    let sam = Sam::with(one(1, "old", [three("x", "old"), vec![nameless("old")]].concat()));
    for n in 2..4 {
        let renewed = [three("y", "new"), vec![nameless("new")]].concat();
        sam.pass(one(n, "new", renewed)).expect(0);
        assert_eq!(sam.live(), ["y1", "y2", "y3"]);
    }
    assert_eq!(sam.fate("x1"), Fate::replaced("y1", "reconsent:provider_id"));
    // A row of the same generation that is not shown may be the record without an id.
    sam.pass(one(4, "new", [three("y", "new")[..2].to_vec(), vec![nameless("new")]].concat())).expect(0);
    assert_eq!(sam.live(), ["y1", "y2", "y3"]);
}

/// The account, known only by its bank's number or not at all.
fn plain(n: u32, id: &str, number: Option<&str>, rows: Vec<ScriptRow>) -> Script {
    let mut script = one(n, id, rows);
    script.accounts[0]["identifiers"] = json!({"financialInstitution": {"accountNumber": number}});
    script.accounts[0]["financialInstitutionId"] = "bank".into();
    script
}

#[test]
fn an_account_without_any_number_stays_twice_and_is_told_of() {
    let sam = Sam::with(plain(1, "old", None, three("x", "old")));
    let renewed = || plain(2, "new", None, three("y", "new"));
    ended(sam.pass(renewed()), 0, "synced", Some("reconsent_ambiguous"));
    assert_eq!((keys(&sam), sam.live().len()), (2, 6));
    // A second one beside it is plainly new.
    let sam = Sam::with(plain(1, "old", None, three("x", "old")));
    let mut both = plain(2, "old", None, three("x", "old"));
    both.accounts.extend(renewed().accounts);
    both.consents.extend(renewed().consents);
    ended(sam.pass(both), 0, "synced", None);
}

#[test]
fn one_list_without_the_new_id_does_not_bring_the_old_one_back() {
    let sam = Sam::with(plain(1, "old", Some("4711"), three("x", "old")));
    let key = sam.account("old", "account_key");
    let renewed = |n| plain(n, "new", Some("4711"), three("y", "new"));
    ended(sam.pass(renewed(2)), 0, "synced", None);
    let mut odd = plain(3, "old", Some("4711"), three("x", "old"));
    odd.consents.extend(renewed(3).consents);
    ended(sam.pass(odd), 0, "unchanged", Some("reconsent_ambiguous"));
    assert_eq!((keys(&sam), sam.account("new", "account_key")), (1, key));
    ended(sam.pass(renewed(4)), 0, "unchanged", None);
    assert_eq!(sam.live(), ["y1", "y2", "y3"]);
}

#[test]
fn a_row_that_gets_or_loses_its_date_at_a_renewal_is_found_or_told_of() {
    let hut = |id: &str, account: &str, is_dated: bool, times: i64| {
        let one = |nth: i64| {
            let row = row(&format!("{id}{nth}"), account, -2 + nth, "-700", "COFFEE HUT");
            let undated = |element: &mut Value| element["dates"] = json!({});
            if is_dated { row } else { ScriptRow { booked: None, ..row.but(undated) } }
        };
        (0..times).map(one).collect::<Vec<_>>()
    };
    for is_dated in [true, false] {
        let sam = Sam::with(one(1, "old", [three("x", "old"), hut("hut-x", "old", !is_dated, 1)].concat()));
        let renewed = |n| one(n, "new", [three("y", "new"), hut("hut-y", "new", is_dated, 1)].concat());
        ended(sam.pass(renewed(2)), 0, "synced", None);
        assert_eq!(sam.live(), ["hut-y0", "y1", "y2", "y3"], "{is_dated}");
        assert_eq!(sam.fate("hut-x0"), Fate::replaced("hut-y0", "reconsent:amount+text"));
    }
    // Two that are equal may be any of the other side's.
    let sam = Sam::with(one(1, "old", [three("x", "old"), hut("hut-x", "old", false, 2)].concat()));
    for n in 2..5 {
        let renewed = one(n, "new", [three("y", "new"), hut("hut-y", "new", true, 2)].concat());
        let reason = sam.pass(renewed).expect(0).ended("c-0").1;
        assert_eq!(reason.as_deref(), Some("reconsent_unmatched"), "{n}");
        assert_eq!(sam.live().len(), 7);
    }
    sam.0.cli(&["connections", "accept-unmatched", "c-0"]).expect(0);
    ended(sam.again(), 0, "unchanged", None);
    // One that the list does not show after the renewal is not taken by a purchase of later.
    let sam = Sam::with(one(1, "old", [three("x", "old"), hut("hut-x", "old", false, 1)].concat()));
    ended(sam.pass(one(2, "new", three("y", "new"))), 0, "synced", Some("reconsent_unmatched"));
    for n in 3..6 {
        sam.pass(one(n, "new", [three("y", "new"), hut("hut-y", "new", true, 1)].concat())).expect(0);
        assert_eq!(sam.live(), ["hut-x0", "hut-y0", "y1", "y2", "y3"], "{n}");
    }
}

#[test]
fn an_account_id_that_is_given_to_another_account_removes_nothing_of_the_first() {
    const LEFT: Option<&str> = Some("reconsent_unmatched");
    let sam = Sam::with(one(1, "a", three("x", "a")));
    let other = || vec![row("y1", "a", -3, "-77", "CINEMA"), row("y2", "a", -1, "-78", "BAKERY")];
    let given_anew = |n| bank(n, &[("a", "DE89 3704 0044")], other());
    ended(sam.pass(given_anew(2)), 0, "synced", LEFT);
    for n in 3..6 {
        ended(sam.pass(given_anew(n)), 0, "unchanged", LEFT);
    }
    assert_eq!(sam.live(), ["x1", "x2", "x3", "y1", "y2"]);
}

#[test]
fn an_account_whose_iban_changes_is_read_in_full_once_and_stays_as_it_is() {
    let sam = Sam::with(one(1, "a", three("x", "a")));
    let moved = |n| bank(n, &[("a", "DE89 3704 0044")], three("x", "a"));
    ended(sam.pass(moved(2)), 0, "synced", None);
    assert_eq!(sam.window().0, None, "everything is read");
    ended(sam.pass(moved(3)), 0, "unchanged", None);
    assert!(sam.window().0.is_some());
    assert_eq!((sam.live().len(), keys(&sam)), (3, 1));
    // Written in another way it is the same.
    ended(sam.pass(bank(4, &[("a", "de8937040044")], three("x", "a"))), 0, "synced", None);
    assert!(sam.window().0.is_some());
}

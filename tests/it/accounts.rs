//! Which accounts there are: missing, closed, reopened, hidden, none at all.

use serde_json::Value;
use tink_sandbox::script::{account, consent};
use tink_sandbox::{Script, ScriptRow};

use crate::scripted::{Fate, Sam, day, ended, millis, refresh};

/// A consent over `named` with the accounts `listed`, each with one row.
fn bank(n: u32, named: &[&str], listed: &[&str]) -> Script {
    let row = |id: &&str| ScriptRow::booked(&format!("row-{id}"), id, day(-1), "-100", "2", "TRAM");
    Script {
        consents: vec![consent("cred", named)],
        accounts: listed.iter().map(|id| account(id, &refresh(n), "5", "0", "EUR")).collect(),
        transactions: listed.iter().map(row).collect(),
    }
}

fn both(n: u32) -> Script {
    bank(n, &["a1", "a2"], &["a1", "a2"])
}

fn only_first(n: u32) -> Script {
    bank(n, &["a1"], &["a1"])
}

fn is_closed(sam: &Sam, id: &str) -> bool {
    sam.account(id, "closed_at").is_some()
}

#[test]
fn an_account_that_is_missing_once_is_not_closed() {
    let sam = Sam::with(both(1));
    ended(sam.pass(only_first(2)), 0, "unchanged", None);
    assert!(!is_closed(&sam, "a2"));
    // The same list at the same refresh is no second opinion.
    ended(sam.again(), 0, "unchanged", None);
    assert!(!is_closed(&sam, "a2"));
}

#[test]
fn an_account_missing_twice_with_newer_refreshes_is_closed_and_its_rows_stay_live() {
    let sam = Sam::with(both(1));
    sam.pass(only_first(2)).expect(0);
    ended(sam.pass(only_first(3)), 0, "synced", None);
    assert!(is_closed(&sam, "a2") && !is_closed(&sam, "a1"));
    assert_eq!(sam.fate("row-a2"), Fate::live());
    let closed = sam.account("a2", "closed_at");
    ended(sam.pass(only_first(4)), 0, "unchanged", None);
    assert_eq!(sam.account("a2", "closed_at"), closed);
}

#[test]
fn an_account_that_comes_back_is_open_again() {
    let sam = Sam::with(both(1));
    let key = sam.account("a2", "account_key");
    sam.pass(only_first(2)).expect(0);
    sam.pass(only_first(3)).expect(0);
    ended(sam.pass(both(4)), 0, "synced", None);
    assert!(!is_closed(&sam, "a2"));
    assert_eq!(sam.account("a2", "account_key"), key);
    sam.0.assert_exact(0);
}

#[test]
fn an_account_that_was_back_in_between_must_be_missing_twice_again() {
    let sam = Sam::with(both(1));
    for script in [only_first(2), both(3), only_first(4)] {
        sam.pass(script).expect(0);
    }
    assert!(!is_closed(&sam, "a2"));
    sam.pass(only_first(5)).expect(0);
    assert!(is_closed(&sam, "a2"));
}

#[test]
fn an_account_that_a_consent_still_names_is_never_closed() {
    let sam = Sam::with(both(1));
    for n in 2..6 {
        ended(sam.pass(bank(n, &["a1", "a2"], &["a1"])), 0, "unchanged", None);
    }
    assert!(!is_closed(&sam, "a2"));
    assert_eq!(sam.fate("row-a2"), Fate::live());
}

#[test]
fn an_empty_list_needs_the_user_and_takes_nothing_away() {
    let sam = Sam::with(both(1));
    for n in 2..5 {
        let ran = ended(sam.pass(bank(n, &[], &[])), 11, "needs_user", Some("no_accounts"));
        assert_eq!(ran.total("removed"), 0);
    }
    assert!(!is_closed(&sam, "a1") && !is_closed(&sam, "a2"));
    assert_eq!(sam.live(), ["row-a1", "row-a2"]);
    assert_eq!(sam.0.text("SELECT state FROM connections_v1").as_deref(), Some("needs_user"));
    ended(sam.pass(both(5)), 0, "unchanged", None);
    assert_eq!(sam.0.text("SELECT state FROM connections_v1").as_deref(), Some("ok"));
}

#[test]
fn a_user_who_never_had_an_account_is_in_order() {
    let sam = Sam::new();
    ended(sam.pass(bank(1, &[], &[])), 0, "unchanged", None);
    ended(sam.pass(both(2)), 0, "synced", None);
}

#[test]
fn one_bank_that_goes_away_closes_its_accounts_and_no_others() {
    let two = |n: u32| {
        let mut script = bank(n, &["a1"], &["a1", "b1"]);
        script.consents.push(consent("other", &["b1"]));
        script
    };
    let sam = Sam::with(two(1));
    sam.pass(only_first(2)).expect(0);
    sam.pass(only_first(3)).expect(0);
    assert!(is_closed(&sam, "b1") && !is_closed(&sam, "a1"));
    assert_eq!(sam.0.number("SELECT count(*) FROM consents_v1"), 1);
}

#[test]
fn no_account_is_closed_while_a_consent_is_unwell() {
    let unwell = |n: u32, field: &str, value: Value| {
        let mut script = only_first(n);
        script.consents[0][field] = value;
        script
    };
    let sam = Sam::with(both(1));
    for n in 2..5 {
        sam.pass(unwell(n, "status", "TEMPORARY_ERROR".into())).expect(0);
        sam.pass(unwell(n + 10, "sessionExpiryDate", millis(-1).into())).expect(0);
    }
    assert!(!is_closed(&sam, "a2"));
}

#[test]
fn no_account_is_closed_while_no_consent_is_listed() {
    let sam = Sam::with(both(1));
    for n in 2..5 {
        sam.pass(Script { consents: Vec::new(), ..only_first(n) }).expect(0);
    }
    assert!(!is_closed(&sam, "a2"));
}

#[test]
fn an_account_under_two_consents_is_one_account() {
    let shared = |n: u32| {
        let mut script = bank(n, &["a1"], &["a1"]);
        script.consents.push(consent("second", &["a1"]));
        script
    };
    let sam = Sam::with(shared(1));
    assert_eq!(sam.account("a1", "credentials_ids").as_deref(), Some(r#"["cred","second"]"#));
    assert_eq!(sam.live(), ["row-a1"]);
    // One of the consents goes, which one list does not say; the account stays with the other.
    sam.pass(bank(2, &["a1"], &["a1"])).expect(0);
    assert_eq!(sam.account("a1", "credentials_ids").as_deref(), Some(r#"["cred","second"]"#));
    sam.pass(bank(3, &["a1"], &["a1"])).expect(0);
    assert_eq!(sam.account("a1", "credentials_ids").as_deref(), Some(r#"["cred"]"#));
    assert!(!is_closed(&sam, "a1"));
}

#[test]
fn a_changed_balance_or_name_is_a_change_and_a_newer_refresh_alone_is_none() {
    let sam = Sam::with(both(1));
    ended(sam.pass(both(2)), 0, "unchanged", None);
    let mut script = both(3);
    script.accounts[0]["balances"]["booked"]["amount"]["value"]["unscaledValue"] = "500".into();
    script.accounts[0]["name"] = " New name\u{a0}".into();
    ended(sam.pass(script), 0, "synced", None);
    assert_eq!(
        sam.account("a1", "booked_balance || currency || name").as_deref(),
        Some("500EUR New name\u{a0}")
    );
}

#[test]
fn an_account_with_nothing_but_an_id_is_stored() {
    let mut script = both(1);
    script.accounts[1] =
        serde_json::json!({"id": "a2", "balances": null, "dates": null, "identifiers": null});
    let sam = Sam::with(script);
    assert_eq!(sam.live(), ["row-a1", "row-a2"]);
    assert_eq!(sam.account("a2", "coalesce(currency, iban, booked_balance, last_refreshed_at)"), None);
    // Without a refresh the newest booking says how far it was read.
    let newest = sam.row("row-a2", "booked_date");
    assert_eq!(sam.account("a2", "complete_through"), Some(newest));
}

#[test]
fn a_refresh_of_the_future_keeps_no_other_account_open() {
    let odd = |mut script: Script| {
        script.accounts[0]["dates"]["lastRefreshed"] = "2099-01-01T00:00:00Z".into();
        script
    };
    let sam = Sam::with(odd(bank(1, &["a1", "a2", "a3"], &["a1", "a2", "a3"])));
    let without = |n| odd(bank(n, &["a1", "a2"], &["a1", "a2"]));
    sam.pass(without(2)).expect(0);
    sam.pass(without(2)).expect(0);
    assert!(!is_closed(&sam, "a3"), "not without a newer refresh");
    sam.pass(without(3)).expect(0);
    assert!(is_closed(&sam, "a3"));
}

#[test]
fn of_an_account_that_is_listed_twice_the_one_that_was_refreshed_later_counts() {
    let twice = |n: u32, order: [usize; 2]| {
        let shown =
            [account("a1", &refresh(n), "700", "2", "EUR"), account("a1", &refresh(1), "5", "0", "EUR")];
        Script { accounts: order.map(|at| shown[at].clone()).to_vec(), ..bank(n, &["a1"], &["a1"]) }
    };
    let sam = Sam::with(twice(2, [0, 1]));
    assert_eq!(sam.account("a1", "booked_balance").as_deref(), Some("7"));
    ended(sam.pass(twice(3, [1, 0])), 0, "unchanged", None);
    assert_eq!(sam.account("a1", "booked_balance").as_deref(), Some("7"));
    // Between two that say the same of that, the later one.
    ended(sam.pass(twice(1, [0, 1])), 0, "synced", None);
    assert_eq!(sam.account("a1", "booked_balance").as_deref(), Some("5"));
}

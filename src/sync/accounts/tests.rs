//! The laws of account identity, on small made-up banks in which numbers collide.

use proptest::collection::{hash_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::domain::amount::{Amount, Money};

const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn refreshed(hour: i64) -> Timestamp {
    now() + jiff::SignedDuration::from_hours(hour)
}

fn account(id: &str, iban: Option<&str>, kind: &str, currency: &str) -> Account {
    let money = Money { amount: Amount::from_parts("1", "0").unwrap(), currency: currency.to_owned() };
    Account {
        id: id.into(),
        name: String::new(),
        kind: kind.to_owned(),
        iban: iban.map(str::to_owned),
        account_number: None,
        masked_pan: None,
        financial_institution_id: None,
        booked: Some(money),
        available: None,
        last_refreshed: Some(refreshed(0)),
    }
}

fn stored(key: i64, account: Account) -> StoredAccount {
    StoredAccount {
        key,
        known_ids: vec![account.id.clone()],
        account,
        generation: 1,
        repairing: false,
        walks: 1,
        complete_through: None,
        walked_refresh: None,
        walked_at: None,
        deep_walked_at: None,
        suspect_refresh: None,
        missing_refresh: None,
        closed: false,
        oldest_pending: None,
    }
}

fn consent(status: &str, ids: &[&str]) -> Consent {
    Consent {
        credentials_id: "c".into(),
        provider: None,
        account_ids: ids.iter().map(|id| (*id).into()).collect(),
        status: status.to_owned(),
        status_updated: None,
        expires_at: None,
        extendable: None,
        error_type: None,
        error_reason: None,
    }
}

fn any_account(id: &'static str) -> impl Strategy<Value = Account> {
    let iban = select(vec![None, Some("PL 61"), Some("pl61"), Some("PL62")]);
    (iban, select(vec!["CHECKING", "SAVINGS"]), select(vec!["EUR", "USD"]))
        .prop_map(move |(iban, kind, currency)| account(id, iban, kind, currency))
}

fn any_list() -> impl Strategy<Value = Vec<Account>> {
    hash_set(select(&IDS[..]), 0..5).prop_flat_map(|ids| ids.into_iter().map(any_account).collect::<Vec<_>>())
}

prop_compose! {
    /// Stored accounts with former ids that no other account has.
    fn any_stored()(list in any_list(), odds in vec((any::<bool>(), proptest::option::of(-2i64..2), 0usize..5), 6))
        -> Vec<StoredAccount> {
        let mut all: Vec<StoredAccount> = (1..).zip(list).map(|(key, account)| stored(key, account)).collect();
        let mut free: Vec<AccountId> =
            IDS.iter().map(|id| (*id).into()).filter(|id| all.iter().all(|s| s.account.id != *id)).collect();
        for (account, (closed, missing, owner)) in all.iter_mut().zip(odds) {
            (account.closed, account.missing_refresh) = (closed, missing.map(refreshed));
            if owner < free.len() {
                account.known_ids.push(free.swap_remove(owner));
            }
        }
        all
    }
}

proptest! {
    #[test]
    fn every_listed_account_has_one_identity_and_no_two_the_same(
        all in any_stored(), listed in any_list(), named in vec(select(&IDS[..]), 0..3)
    ) {
        let consents = vec![consent("UPDATED", &named)];
        let overview = overview(&all, listed.clone(), consents, now());
        prop_assert_eq!(overview.accounts.iter().map(|(a, _)| a.clone()).collect::<Vec<_>>(), listed.clone());
        let mut keys = HashSet::new();
        for (account, identity) in &overview.accounts {
            let key = match identity {
                Identity::New => {
                    prop_assert!(all.iter().all(|s| s.account.id != account.id));
                    continue;
                }
                Identity::Known(key) | Identity::Alias(key) => *key,
            };
            prop_assert!(keys.insert(key), "{} continues an account that another one continues", account.id);
            let before = all.iter().find(|s| s.key == key).unwrap();
            let is_known = before.account.id == account.id;
            prop_assert_eq!(is_known, matches!(identity, Identity::Known(_)));
            if !is_known {
                prop_assert!(!named.contains(&before.account.id.as_str()));
                prop_assert!(listed.iter().all(|other| other.id != before.account.id), "two ids at once");
                prop_assert!(before.known_ids.contains(&account.id) || same_account(&before.account, account));
            }
        }
    }

    #[test]
    fn only_an_account_that_is_gone_everywhere_and_goes_on_nowhere_is_missing_or_closed(
        all in any_stored(), listed in any_list(), named in vec(select(&IDS[..]), 0..3)
    ) {
        let overview = overview(&all, listed.clone(), vec![consent("UPDATED", &named)], now());
        let missing: Vec<i64> = overview.missing.iter().map(|(key, _)| *key).collect();
        for s in &all {
            let gone = listed.iter().all(|a| a.id != s.account.id) && !named.contains(&s.account.id.as_str());
            let continued = overview.accounts.iter().any(|(_, i)| matches!(i, Identity::Alias(key) if *key == s.key));
            let lost = gone && !continued && !s.closed && !listed.is_empty();
            let first = s.missing_refresh;
            prop_assert_eq!(missing.contains(&s.key), lost && first.is_none());
            prop_assert_eq!(overview.closed.contains(&s.key), lost && first.is_some_and(|first| first < refreshed(0)));
        }
    }

    #[test]
    fn no_account_is_missing_without_healthy_consents_and_a_list(all in any_stored(), listed in any_list()) {
        for consents in [vec![], vec![consent("UPDATED", &[]), consent("TEMPORARY_ERROR", &[])]] {
            let overview = overview(&all, listed.clone(), consents, now());
            prop_assert!(overview.missing.is_empty() && overview.closed.is_empty());
        }
        let overview = overview(&all, Vec::new(), vec![consent("UPDATED", &[])], now());
        prop_assert!(overview.missing.is_empty() && overview.closed.is_empty());
    }
}

#[test]
fn numbers_are_compared_without_blanks_and_case() {
    let all = [stored(1, account("old", Some("PL 61 1090"), "CHECKING", "EUR"))];
    let listed = vec![account("new", Some("pl611090"), "CHECKING", "EUR")];
    let overview = overview(&all, listed, vec![consent("UPDATED", &["new"])], now());
    assert_eq!(overview.accounts[0].1, Identity::Alias(1));
}

#[test]
fn accounts_without_numbers_are_never_the_same() {
    let all = [stored(1, account("old", None, "CHECKING", "EUR"))];
    let overview = overview(
        &all,
        vec![account("new", None, "CHECKING", "EUR")],
        vec![consent("UPDATED", &["new"])],
        now(),
    );
    assert_eq!(overview.accounts[0].1, Identity::New);
    assert_eq!(overview.missing, [(1, refreshed(0))]);
}

#[test]
fn an_account_is_healthy_if_all_that_hold_it_are() {
    let well = consent("UPDATED", &["a", "b"]);
    let late = Consent { expires_at: Some(now()), ..consent("UPDATED", &["b"]) };
    let ill = consent("TEMPORARY_ERROR", &["c"]);
    for (consents, id, expected) in [
        (vec![well.clone()], "a", true),
        (vec![well.clone(), ill.clone()], "a", true),
        (vec![well.clone(), late], "b", false),
        (vec![well.clone(), ill.clone()], "c", false),
        // Nobody says that he holds it: it may be anybody's.
        (vec![well.clone()], "x", true),
        (vec![well, ill], "x", false),
        (vec![], "x", false),
    ] {
        assert_eq!(is_healthy(&consents, &id.into(), now()), expected, "{id}");
    }
}

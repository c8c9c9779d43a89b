//! Properties of account identity, on small made-up banks with colliding numbers.

use proptest::collection::{hash_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::likeness::{equal, same_iban};
use super::*;
use crate::domain::amount::{Amount, Money};

mod numbers;
mod several;

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
        kind: kind.to_owned(),
        iban: iban.map(str::to_owned),
        booked: Some(money),
        last_refreshed: Some(refreshed(0)),
        ..Account::unknown(id.into())
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
        deep_through: None,
        absent_from: None,
        judged_refresh: None,
        full_due: false,
        reissued: false,
        unmatched_from: None,
        unmatched: 0,
        stand: None,
        hung_at: None,
        accepted: false,
        doubted: false,
        group: None,
        suspect_refresh: None,
        missing_refresh: None,
        closed: false,
        oldest_pending: None,
        oldest_any_pending: None,
        stale: false,
        has_rows: true,
        new: false,
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
        let overview = overview(&all, listed.clone(), consents, true, now());
        let ids = |accounts: &[Account]| accounts.iter().map(|a| a.id.clone()).collect::<Vec<_>>();
        let shown: Vec<Account> = overview.accounts.iter().map(|(a, _)| a.clone()).collect();
        prop_assert_eq!(ids(&shown), ids(&listed));
        for (shown, listed) in shown.iter().zip(&listed) {
            let kept = |shown: &Option<String>, listed: &Option<String>| listed.is_none() || shown == listed;
            prop_assert!(kept(&shown.iban, &listed.iban) && kept(&shown.masked_pan, &listed.masked_pan));
            let rest = |a: &Account| (a.name.clone(), a.booked.clone(), a.available.clone(), a.last_refreshed);
            prop_assert_eq!(rest(shown), rest(listed));
        }
        let mut keys = HashSet::new();
        for (account, identity) in &overview.accounts {
            let key = match identity {
                Identity::New => {
                    prop_assert!(all.iter().all(|s| s.account.id != account.id));
                    continue;
                }
                Identity::Superseded(key) => {
                    prop_assert!(all.iter().any(|s| s.key == *key));
                    continue;
                }
                Identity::Known(key) | Identity::Alias(key) => *key,
            };
            prop_assert!(keys.insert(key), "{} continues an account that another one continues", account.id);
            let before = all.iter().find(|s| s.key == key).unwrap();
            let merged = overview.merged.iter().any(|merge| merge.keep == key);
            let is_known = before.account.id == account.id;
            let is_given_anew = is_known && has_other_number(&before.account, account);
            prop_assert!((is_known && !is_given_anew) == matches!(identity, Identity::Known(_)) || merged);
            if !is_known && !merged {
                prop_assert!(!named.contains(&before.account.id.as_str()));
                prop_assert!(listed.iter().all(|other| other.id != before.account.id), "two ids at once");
                prop_assert!(before.known_ids.contains(&account.id) || same_iban(&before.account, account));
            }
        }
    }

    #[test]
    fn joined_accounts_are_one_that_is_served_and_one_that_is_not_of_one_number(
        all in any_stored(), listed in any_list(), named in vec(select(&IDS[..]), 0..3), dead in vec(select(&IDS[..]), 0..3)
    ) {
        let consents = vec![consent("UPDATED", &named), Consent { credentials_id: "dead".into(), ..consent("SESSION_EXPIRED", &dead) }];
        let overview = overview(&all, listed.clone(), consents, true, now());
        let mut dropped = HashSet::new();
        for merge in &overview.merged {
            prop_assert!(merge.keep < merge.drop);
            prop_assert!(dropped.insert(merge.drop), "an account is joined twice");
        }
        let find = |key| all.iter().find(|s| s.key == key).unwrap();
        let kept: HashSet<i64> = overview.merged.iter().map(|merge| merge.keep).collect();
        prop_assert!(kept.is_disjoint(&dropped), "an account is joined twice");
        for keep in kept {
            // All accounts that become one: the one that is served, and those no longer served.
            let merges: Vec<_> = overview.merged.iter().filter(|merge| merge.keep == keep).collect();
            let adopted: Vec<i64> = merges.iter().filter(|merge| merge.adopts_id).map(|merge| merge.drop).collect();
            prop_assert!(adopted.len() < 2, "two ids are adopted");
            let served = find(adopted.first().copied().unwrap_or(keep));
            prop_assert!(listed.iter().any(|a| a.id == served.account.id));
            let members = merges.iter().map(|merge| merge.drop).chain([keep]);
            for old in members.map(find).filter(|old| old.key != served.key) {
                prop_assert!(same_iban(&served.account, &old.account));
                prop_assert_eq!(served.account.currency(), old.account.currency());
                prop_assert!(!named.contains(&old.account.id.as_str()), "two ids are served at once");
            }
        }
    }

    #[test]
    fn only_an_account_that_is_gone_everywhere_and_goes_on_nowhere_is_missing_or_closed(
        all in any_stored(), listed in any_list(), named in vec(select(&IDS[..]), 0..3)
    ) {
        let overview = overview(&all, listed.clone(), vec![consent("UPDATED", &named)], true, now());
        let missing: Vec<i64> = overview.missing.iter().map(|(key, _)| *key).collect();
        for s in &all {
            let gone = listed.iter().all(|a| a.id != s.account.id) && !named.contains(&s.account.id.as_str());
            let continued = overview.accounts.iter().any(|(_, i)| matches!(i, Identity::Alias(key) if *key == s.key));
            let joined = overview.merged.iter().any(|merge| merge.keep == s.key || merge.drop == s.key);
            let lost = gone && !continued && !joined && !s.closed && !listed.is_empty();
            let first = s.missing_refresh;
            prop_assert_eq!(missing.contains(&s.key), lost && first.is_none());
            prop_assert_eq!(overview.closed.contains(&s.key), lost && first.is_some_and(|first| first < refreshed(0)));
        }
    }

    #[test]
    fn no_account_is_missing_without_healthy_consents_and_a_list(all in any_stored(), listed in any_list()) {
        for consents in [vec![], vec![consent("UPDATED", &[]), consent("TEMPORARY_ERROR", &[])]] {
            let overview = overview(&all, listed.clone(), consents, true, now());
            prop_assert!(overview.missing.is_empty() && overview.closed.is_empty());
        }
        let overview = overview(&all, Vec::new(), vec![consent("UPDATED", &[])], true, now());
        prop_assert!(overview.missing.is_empty() && overview.closed.is_empty());
    }
}

#[test]
fn the_consents_are_handed_on_as_they_were_read() {
    let consents = two(("UPDATED", &["a"]), ("SESSION_EXPIRED", &["b"]));
    assert_eq!(overview(&[], Vec::new(), consents.clone(), true, now()).consents, consents);
}

#[test]
fn numbers_are_compared_without_blanks_and_case() {
    let all = [stored(1, account("old", Some("PL 61 1090"), "CHECKING", "EUR"))];
    let listed = vec![account("new", Some("pl611090"), "CHECKING", "EUR")];
    let overview = overview(&all, listed, vec![consent("UPDATED", &["new"])], true, now());
    assert_eq!(overview.accounts[0].1, Identity::Alias(1));
}

#[test]
fn accounts_without_numbers_are_never_the_same() {
    let all = [stored(1, account("old", None, "CHECKING", "EUR"))];
    let overview = overview(
        &all,
        vec![account("new", None, "CHECKING", "EUR")],
        vec![consent("UPDATED", &["new"])],
        true,
        now(),
    );
    assert_eq!(overview.accounts[0].1, Identity::New);
    assert_eq!(overview.missing, [(1, refreshed(0))]);
}

/// Two consents, each a status and its accounts.
fn two(first: (&str, &[&str]), second: (&str, &[&str])) -> Vec<Consent> {
    vec![consent(first.0, first.1), Consent { credentials_id: "d".into(), ..consent(second.0, second.1) }]
}

#[test]
fn an_iban_that_is_unique_on_both_sides_decides_alone() {
    let all = [stored(1, account("old", Some("PL61"), "UNDEFINED", "EUR"))];
    for (kind, currency) in [("CHECKING", Some("EUR")), ("SAVINGS", Some("USD")), ("", None)] {
        let mut new = account("new", Some("PL61"), kind, currency.unwrap_or_default());
        if currency.is_none() {
            new.booked = None;
        }
        let overview = overview(&all, vec![new], vec![consent("UPDATED", &["new"])], true, now());
        assert_eq!(overview.accounts[0].1, Identity::Alias(1), "{kind} {currency:?}");
        assert!(!overview.ambiguous);
    }
}

#[test]
fn type_and_currency_tell_apart_accounts_that_share_an_iban() {
    let all = [
        stored(1, account("o1", Some("PL61"), "CHECKING", "EUR")),
        stored(2, account("o2", Some("PL61"), "CHECKING", "USD")),
    ];
    let listed =
        vec![account("n1", Some("PL61"), "CHECKING", "USD"), account("n2", Some("PL61"), "CHECKING", "EUR")];
    let overview = overview(&all, listed, vec![consent("UPDATED", &["n1", "n2"])], true, now());
    let identities: Vec<&Identity> = overview.accounts.iter().map(|(_, identity)| identity).collect();
    assert_eq!(identities, [&Identity::Alias(2), &Identity::Alias(1)]);
    assert!(!overview.ambiguous);
}

#[test]
fn a_number_or_mask_decides_only_with_the_bank_and_if_it_is_unique() {
    let card = |id: &str, mask: &str, bank: Option<&str>| Account {
        masked_pan: Some(mask.to_owned()),
        financial_institution_id: bank.map(str::to_owned),
        ..account(id, None, "CREDIT_CARD", "EUR")
    };
    let mask = "4000 12** **** 9010";
    for (old, new, alias, ambiguous) in [
        (card("o", mask, Some("b")), card("n", mask, Some("b")), true, false),
        (card("o", mask, None), card("n", mask, None), true, false),
        (card("o", mask, None), card("n", mask, Some("b")), false, true),
        (card("o", mask, Some("a")), card("n", mask, Some("b")), false, true),
        (card("o", mask, Some("b")), card("n", "4000 12** **** 9011", Some("b")), false, true),
        (card("o", mask, Some("a")), card("n", "4000 12** **** 9011", Some("b")), false, false),
    ] {
        let overview =
            overview(&[stored(1, old)], vec![new.clone()], vec![consent("UPDATED", &["n"])], true, now());
        let expected = if alias { Identity::Alias(1) } else { Identity::New };
        assert_eq!((&overview.accounts[0].1, overview.ambiguous), (&expected, ambiguous), "{new:?}");
    }
    let all = [stored(1, card("o1", mask, Some("b"))), stored(2, card("o2", mask, Some("b")))];
    let overview =
        overview(&all, vec![card("n", mask, Some("b"))], vec![consent("UPDATED", &["n"])], true, now());
    assert_eq!((&overview.accounts[0].1, overview.ambiguous), (&Identity::New, true));
}

#[test]
fn two_that_are_served_at_once_are_joined_when_one_is_gone_or_only_ended_consents_name_it() {
    let both =
        || vec![account("a", Some("PL61"), "CHECKING", "EUR"), account("b", Some("PL61"), "CHECKING", "EUR")];
    let all: Vec<StoredAccount> = (1..).zip(both()).map(|(key, account)| stored(key, account)).collect();
    let healthy = two(("UPDATED", &["a"]), ("UPDATED", &["b"]));
    let served = overview(&all, both(), healthy.clone(), true, now());
    assert_eq!((served.merged.len(), served.ambiguous), (0, true));
    // One consent that names both shows that they are two.
    let together = overview(&all, both(), vec![consent("UPDATED", &["a", "b"])], true, now());
    let both_ids: Vec<Vec<AccountId>> = vec![vec!["a".into(), "b".into()]];
    assert_eq!((&together.separate, together.ambiguous), (&both_ids, false));
    let new = overview(&[], both(), vec![consent("UPDATED", &["a", "b"])], true, now());
    assert_eq!(new.separate, both_ids, "at first sight too");
    for (gone, adopts_id) in [("a", true), ("b", false)] {
        let listed: Vec<Account> = both().into_iter().filter(|a| a.id.as_str() != gone).collect();
        let consents = healthy.iter().filter(|c| c.account_ids[0].as_str() != gone).cloned().collect();
        let left = overview(&all, listed, consents, true, now());
        assert_eq!(left.merged, [Merge { keep: 1, drop: 2, adopts_id }], "{gone} is gone");
        assert_eq!((&left.accounts[0].1, left.ambiguous), (&Identity::Known(1), false));
        assert!(left.missing.is_empty());
    }
    let dead = overview(&all, both(), two(("SESSION_EXPIRED", &["a"]), ("UPDATED", &["b"])), true, now());
    assert_eq!(dead.merged, [Merge { keep: 1, drop: 2, adopts_id: true }]);
    let identities: Vec<&Identity> = dead.accounts.iter().map(|(_, identity)| identity).collect();
    assert_eq!(identities, [&Identity::Superseded(1), &Identity::Known(1)]);
    assert_eq!(dead.superseded, [CredentialsId::from("c")]);
}

#[test]
fn accounts_of_several_currencies_under_one_iban_are_never_joined() {
    let all = [
        stored(1, account("a", Some("PL61"), "CHECKING", "EUR")),
        stored(2, account("b", Some("PL61"), "CHECKING", "USD")),
    ];
    let listed = vec![account("b", Some("PL61"), "CHECKING", "USD")];
    let overview = overview(&all, listed, vec![consent("UPDATED", &["b"])], true, now());
    assert_eq!((overview.merged.len(), overview.ambiguous), (0, false));
}

#[test]
fn an_ended_consent_is_superseded_by_a_healthy_one_that_serves_all_its_accounts() {
    let all = [stored(1, account("a", Some("1"), "", "EUR")), stored(2, account("b", Some("2"), "", "EUR"))];
    let listed = || all.iter().map(|s| s.account.clone()).collect::<Vec<_>>();
    for (first, second, expected) in [
        (("SESSION_EXPIRED", &["a"][..]), ("UPDATED", &["a", "b"][..]), true),
        (("SESSION_EXPIRED", &["a", "b"]), ("UPDATED", &["a"]), false),
        (("SESSION_EXPIRED", &["a"]), ("TEMPORARY_ERROR", &["a"]), false),
        (("SESSION_EXPIRED", &[]), ("UPDATED", &["a"]), false),
        (("UPDATED", &["a"]), ("UPDATED", &["a"]), false),
    ] {
        let overview = overview(&all, listed(), two(first, second), true, now());
        assert_eq!(overview.superseded.len(), usize::from(expected), "{first:?} {second:?}");
    }
}

#[test]
fn lists_that_are_not_whole_conclude_nothing() {
    let all = [
        stored(1, account("a", Some("PL61"), "CHECKING", "EUR")),
        stored(2, account("b", Some("PL61"), "CHECKING", "EUR")),
    ];
    let gone = Some(refreshed(-1));
    let all = all.map(|account| StoredAccount { missing_refresh: gone, ..account });
    let whole = |certain| {
        overview(&all, vec![all[1].account.clone()], vec![consent("UPDATED", &["b"])], certain, now())
    };
    assert_eq!(whole(true).merged.len(), 1);
    let partial = whole(false);
    assert!(partial.merged.is_empty() && partial.missing.is_empty() && partial.closed.is_empty());
    assert_eq!(partial.accounts[0].1, Identity::Known(2));
}

#[test]
fn an_account_is_as_healthy_as_its_best_consent() {
    let well = consent("UPDATED", &["a", "b"]);
    let late = Consent { expires_at: Some(now()), ..consent("UPDATED", &["b"]) };
    let ill = consent("TEMPORARY_ERROR", &["c"]);
    for (consents, id, expected) in [
        (vec![well.clone()], "a", true),
        (vec![well.clone(), ill.clone()], "a", true),
        (vec![well.clone(), late.clone()], "b", true),
        (vec![late], "b", false),
        (vec![well.clone(), ill.clone()], "c", false),
        // No consent names it, so any may hold it.
        (vec![well.clone()], "x", true),
        (vec![well, ill], "x", false),
        (vec![], "x", false),
    ] {
        assert_eq!(is_healthy(&consents, &id.into(), now()), expected, "{id}");
    }
}

#[test]
fn an_account_that_no_consent_names_may_be_held_only_by_one_that_names_none() {
    for (consents, expected) in [
        (vec![consent("UPDATED", &["a"])], true),
        (vec![consent("UPDATED", &["b"])], false),
        (vec![consent("UPDATED", &["b"]), consent("UPDATED", &[])], true),
        (vec![], false),
    ] {
        assert_eq!(may_be_held(&consents, &"a".into()), expected, "{consents:?}");
    }
}

#[test]
fn an_older_id_that_only_an_ended_consent_lists_does_not_take_an_account_from_its_renewed_link() {
    // GIVEN two links that were joined, of which the first has ended and still lists its account
    let mut joined = stored(1, account("b", Some("PL 61"), "CHECKING", "EUR"));
    joined.known_ids.push("a".into());
    let listed = ["a", "c"].map(|id| account(id, Some("PL 61"), "CHECKING", "EUR")).to_vec();
    // WHEN the second is renewed under a new id
    let overview = overview(
        &[joined.clone()],
        listed,
        two(("SESSION_EXPIRED", &["a"]), ("UPDATED", &["c"])),
        true,
        now(),
    );
    let identities: Vec<Identity> = overview.accounts.into_iter().map(|(_, identity)| identity).collect();
    assert_eq!(identities, [Identity::Superseded(1), Identity::Alias(1)]);
    // If nothing else is served, the older id is used.
    let alone = vec![account("a", Some("PL 61"), "CHECKING", "EUR")];
    let overview =
        super::overview(&[joined], alone, two(("SESSION_EXPIRED", &["a"]), ("UPDATED", &["d"])), true, now());
    assert_eq!(overview.accounts[0].1, Identity::Alias(1));
}

#[test]
fn a_mask_of_stars_and_a_word_are_no_number() {
    let with = |text: &str| Some(text.to_owned());
    for text in ["************", "NOTPROVIDED", "n/a", "0000 0000", "xxxx", ""] {
        assert!(!equal(with(text).as_deref(), with(text).as_deref()), "{text}");
    }
    for text in ["**** 1234", "PL61 1090 1014", "10", "PL00"] {
        assert!(equal(with(text).as_deref(), with(text).as_deref()), "{text}");
    }
}

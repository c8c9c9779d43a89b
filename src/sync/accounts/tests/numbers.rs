//! Accounts that share an IBAN, and those known by another number only: each goes on as itself, or a person is told.

use super::several::{identities, note_groups};
use super::*;

type Numbered = fn(&str, usize) -> Account;

fn numbered(id: &str, iban: Option<&str>, number: &str) -> Account {
    Account {
        account_number: Some(number.to_owned()),
        financial_institution_id: Some("bank".to_owned()),
        ..account(id, iban, "CHECKING", "EUR")
    }
}

/// A main account and a space of it.
fn shared(id: &str, _: usize) -> Account {
    account(id, Some("PL61"), "CHECKING", "EUR")
}

fn shared_by_number(id: &str, n: usize) -> Account {
    numbered(id, Some("PL61"), ["77", "78"][n])
}

fn shared_by_mask(id: &str, n: usize) -> Account {
    Account { masked_pan: Some(["4000 *", "5000 *"][n].to_owned()), ..shared(id, n) }
}

/// The two accounts of a bank after a pass, named by one consent.
fn pair(of: Numbered) -> Vec<StoredAccount> {
    let listed = [of("m", 0), of("s", 1)];
    let mut all: Vec<StoredAccount> =
        (1..).zip(&listed).map(|(key, account)| stored(key, account.clone())).collect();
    let first = overview(&all, listed.to_vec(), vec![consent("UPDATED", &["m", "s"])], true, now());
    assert!(!first.ambiguous);
    note_groups(&mut all, &first);
    all
}

#[test]
fn the_other_numbers_tell_apart_accounts_that_share_an_iban() {
    for of in [shared_by_number as Numbered, shared_by_mask] {
        let all = pair(of);
        let renewed = || vec![of("n", 1), of("k", 0)];
        let both = overview(&all, renewed(), vec![consent("UPDATED", &["n", "k"])], true, now());
        assert_eq!(
            (identities(&both), both.ambiguous),
            (vec![&Identity::Alias(2), &Identity::Alias(1)], false)
        );
        // Only one of the two is renewed, the other one was closed before or not.
        for closed in [true, false] {
            let mut all = all.clone();
            all[1].closed = closed;
            let main = overview(&all, vec![of("k", 0)], vec![consent("UPDATED", &["k"])], true, now());
            assert_eq!((identities(&main), main.ambiguous), (vec![&Identity::Alias(1)], false));
        }
    }
}

#[test]
fn accounts_of_one_iban_that_nothing_tells_apart_stay_and_are_told_of_in_every_pass() {
    let mut all = pair(shared);
    for ids in [&["n", "k"][..], &["k"]] {
        let mut all = all.clone();
        all[1].closed = ids.len() == 1;
        for pass in 0..3 {
            let listed: Vec<Account> = ids.iter().map(|id| shared(id, 0)).collect();
            let renewed = overview(&all, listed.clone(), vec![consent("UPDATED", ids)], true, now());
            assert!(renewed.ambiguous && renewed.merged.is_empty(), "{ids:?} {pass}");
            if pass == 0 {
                all.extend((3..).zip(listed).map(|(key, account)| stored(key, account)));
            }
            note_groups(&mut all, &renewed);
        }
        // Until a person has accepted them.
        let accepted: Vec<StoredAccount> =
            all.into_iter().map(|s| StoredAccount { accepted: true, ..s }).collect();
        let listed = ids.iter().map(|id| shared(id, 0)).collect();
        let told = overview(&accepted, listed, vec![consent("UPDATED", ids)], true, now());
        assert!(!told.ambiguous && told.merged.is_empty());
    }
    // The space is closed: the main account goes on as it is.
    for closed in [false, true] {
        all[1].closed = closed;
        let left = overview(&all, vec![shared("m", 0)], vec![consent("UPDATED", &["m"])], true, now());
        assert_eq!((identities(&left), left.ambiguous), (vec![&Identity::Known(1)], false));
        assert!(left.merged.is_empty());
    }
}

#[test]
fn two_accounts_of_one_iban_that_are_linked_twice_are_joined_each_with_its_own_number() {
    for (of, joins) in [(shared_by_number as Numbered, true), (shared, false)] {
        let mut all = pair(of);
        let second = [of("k", 0), of("n", 1)];
        all.extend((3..).zip(second.clone()).map(|(key, account)| stored(key, account)));
        let both = [[of("m", 0), of("s", 1)], second.clone()].concat();
        let consents = two(("UPDATED", &["m", "s"]), ("UPDATED", &["k", "n"]));
        for _ in 0..3 {
            let linked = overview(&all, both.clone(), consents.clone(), true, now());
            assert!(linked.ambiguous && linked.merged.is_empty());
            note_groups(&mut all, &linked);
        }
        let left = overview(&all, second.to_vec(), consents[1..].to_vec(), true, now());
        let merge = |keep| Merge { keep, drop: keep + 2, adopts_id: true };
        let expected = if joins { vec![merge(1), merge(2)] } else { Vec::new() };
        assert_eq!((left.merged, left.ambiguous), (expected, !joins));
    }
}

#[test]
fn a_space_that_is_opened_is_not_one_that_was_closed() {
    let mut all = pair(shared_by_number);
    all[1].closed = true;
    let listed = vec![shared_by_number("m", 0), numbered("n", Some("PL61"), "79")];
    let opened = overview(&all, listed, vec![consent("UPDATED", &["m", "n"])], true, now());
    assert_eq!(identities(&opened), [&Identity::Known(1), &Identity::New]);
    assert!(opened.merged.is_empty());
}

#[test]
fn what_is_known_by_a_number_only_is_joined_when_the_other_one_is_gone() {
    let masked = |id: &str| Account {
        masked_pan: Some("4000 *".to_owned()),
        account_number: None,
        ..numbered(id, None, "")
    };
    let by_number = |id: &str| numbered(id, None, "4711");
    for of in [by_number, masked] {
        let all: Vec<StoredAccount> = (1..).zip(["a", "b"]).map(|(key, id)| stored(key, of(id))).collect();
        let both = || vec![of("a"), of("b")];
        // As long as both are shown, a person is told, however their consents are.
        for status in ["UPDATED", "TEMPORARY_ERROR"] {
            let beside = overview(&all, both(), two((status, &["a"]), ("UPDATED", &["b"])), true, now());
            assert!(beside.ambiguous && beside.merged.is_empty(), "{status}");
        }
        let joined = [Merge { keep: 1, drop: 2, adopts_id: true }];
        let gone = overview(&all, vec![of("b")], vec![consent("UPDATED", &["b"])], true, now());
        assert_eq!((gone.merged, gone.ambiguous), (joined.to_vec(), false));
        let ended = two(("SESSION_EXPIRED", &["a"]), ("UPDATED", &["b"]));
        assert_eq!(overview(&all, both(), ended, true, now()).merged, joined);
        // Never if one consent named both.
        let together = overview(&all, both(), vec![consent("UPDATED", &["a", "b"])], true, now());
        let mut all = all.clone();
        note_groups(&mut all, &together);
        assert!(!together.ambiguous);
        let left = overview(&all, vec![of("b")], vec![consent("UPDATED", &["b"])], true, now());
        assert!(left.merged.is_empty() && !left.ambiguous);
    }
}

#[test]
fn an_older_id_that_an_ended_consent_lists_gives_way_to_a_new_one_of_the_same_number() {
    let of = |id: &str| numbered(id, None, "4711");
    let mut renewed = stored(1, of("b"));
    renewed.known_ids.push("a".into());
    let consents = || two(("SESSION_EXPIRED", &["a", "b"]), ("UPDATED", &["c"]));
    for listed in [vec!["a", "c"], vec!["a", "b", "c"]] {
        let third =
            overview(&[renewed.clone()], listed.iter().map(|id| of(id)).collect(), consents(), true, now());
        assert_eq!(third.accounts.last().unwrap().1, Identity::Alias(1), "{listed:?}");
        assert!(!third.ambiguous);
        // As earlier releases stored it: as a second account.
        let all = [renewed.clone(), stored(2, of("c"))];
        let healed = overview(&all, listed.iter().map(|id| of(id)).collect(), consents(), true, now());
        assert_eq!(healed.merged, [Merge { keep: 1, drop: 2, adopts_id: true }], "{listed:?}");
    }
}

#[test]
fn a_number_that_two_banks_have_in_common_joins_nothing() {
    let of = |id: &str| Account { financial_institution_id: None, ..numbered(id, None, "4711") };
    let all = [stored(1, of("a")), stored(2, of("b"))];
    for (provider, joined) in [("one", 1), ("other", 0)] {
        let mut consents = two(("SESSION_EXPIRED", &["a"]), ("UPDATED", &["b"]));
        (consents[0].provider, consents[1].provider) = (Some("one".to_owned()), Some(provider.to_owned()));
        let ended = overview(&all, vec![of("a"), of("b")], consents, true, now());
        assert_eq!(ended.merged.len(), joined, "{provider}");
    }
}

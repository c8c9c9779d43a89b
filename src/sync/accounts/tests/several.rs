//! Several accounts that may be one: which are joined, which are separate, and which continue by their
//! number.

use super::*;

#[test]
fn what_is_joined_is_not_continued_by_another_account_as_well() {
    // GIVEN two links to one account, of which the first or the second is gone, and a third account that is gone
    let all: Vec<StoredAccount> = [("a", "PL61"), ("b", "PL61"), ("c", "PL99")]
        .into_iter()
        .zip(1..)
        .map(|((id, iban), key)| stored(key, account(id, Some(iban), "CHECKING", "EUR")))
        .collect();
    for (served, adopts_id) in [("a", false), ("b", true)] {
        // WHEN accounts are listed of which one has the same IBAN in another currency
        let listed = vec![
            account(served, Some("PL61"), "CHECKING", "EUR"),
            account("n1", Some("PL61"), "CHECKING", "USD"),
            account("n2", Some("PL99"), "CHECKING", "EUR"),
        ];
        let overview = overview(&all, listed, vec![consent("UPDATED", &[served, "n1", "n2"])], true, now());
        assert_eq!(overview.merged, [Merge { keep: 1, drop: 2, adopts_id }]);
        let identities: Vec<&Identity> = overview.accounts.iter().map(|(_, identity)| identity).collect();
        assert_eq!(identities, [&Identity::Known(1), &Identity::New, &Identity::Alias(3)], "{served}");
    }
}

#[test]
fn a_new_account_of_the_same_number_keeps_two_from_being_joined() {
    let all = [
        stored(1, account("a", Some("PL61"), "CHECKING", "EUR")),
        stored(2, account("b", Some("PL61"), "CHECKING", "EUR")),
    ];
    let listed = ["a", "n"].map(|id| account(id, Some("PL61"), "CHECKING", "EUR")).to_vec();
    let overview = overview(&all, listed, two(("UPDATED", &["a"]), ("UPDATED", &["n"])), true, now());
    assert_eq!((overview.merged.len(), &overview.accounts[1].1), (0, &Identity::Alias(2)));
}

#[test]
fn two_that_are_known_to_be_several_are_not_ambiguous_and_one_alone_never_is() {
    let listed = || ["a", "b"].map(|id| account(id, Some("PL61"), "CHECKING", "EUR")).to_vec();
    let told = |separate: [bool; 2]| {
        let all: Vec<StoredAccount> = (1..)
            .zip(listed())
            .zip(separate)
            .map(|((key, account), separate)| StoredAccount { accepted: separate, ..stored(key, account) })
            .collect();
        overview(&all, listed(), two(("UPDATED", &["a"]), ("UPDATED", &["b"])), true, now()).ambiguous
    };
    assert_eq!([[true, true], [true, false], [false, true]].map(told), [false, true, true]);
    let alone = vec![account("a", Some("PL61"), "CHECKING", "EUR")];
    assert!(
        !overview(&[], alone, vec![consent("UPDATED", &[])], true, now()).ambiguous,
        "no consent names it"
    );
}

#[test]
fn what_is_joined_neither_makes_others_ambiguous_nor_hides_that_they_are() {
    let all: Vec<StoredAccount> = [("a", "PL61"), ("b", "PL61"), ("c", "PL99"), ("d", "PL99")]
        .into_iter()
        .zip(1..)
        .map(|((id, iban), key)| stored(key, account(id, Some(iban), "CHECKING", "EUR")))
        .collect();
    let numbered = |account| Account { account_number: Some("77".to_owned()), ..account };
    let served = || account("b", Some("PL61"), "CHECKING", "EUR");
    let consents = || vec![consent("UPDATED", &["b", "n"])];
    let listed = vec![served(), account("n", Some("PL99"), "CHECKING", "EUR")];
    let hidden = overview(&all, listed, consents(), true, now());
    assert_eq!((hidden.merged.len(), hidden.ambiguous), (1, true));
    let joined: Vec<StoredAccount> = all[..2]
        .iter()
        .map(|s| StoredAccount { account: numbered(s.account.clone()), ..s.clone() })
        .collect();
    let listed = vec![numbered(served()), numbered(account("n", None, "CHECKING", "EUR"))];
    let other = overview(&joined, listed, consents(), true, now());
    assert_eq!((other.merged.len(), &other.accounts[1].1), (1, &Identity::New));
    assert!(!other.ambiguous);
}

#[test]
fn only_accounts_of_one_iban_that_one_consent_names_together_are_told_to_be_several() {
    let separate = |all: &[StoredAccount], ibans: [&str; 2], consents| {
        let listed = [("a", ibans[0]), ("b", ibans[1])].map(|(id, iban)| account(id, Some(iban), "", "EUR"));
        overview(all, listed.to_vec(), consents, true, now()).separate
    };
    let together = || vec![consent("UPDATED", &["a", "b"])];
    let both: Vec<Vec<AccountId>> = vec![vec!["a".into(), "b".into()]];
    assert_eq!(separate(&[], ["PL61", "PL61"], together()), both);
    assert!(separate(&[], ["PL61", "PL62"], together()).is_empty());
    assert!(separate(&[], ["PL61", "PL61"], two(("UPDATED", &["a"]), ("UPDATED", &["b"]))).is_empty());
    // What is already stored is not reported again.
    let known = |key, id, group| StoredAccount {
        group: Some(group),
        ..stored(key, account(id, Some("PL61"), "", "EUR"))
    };
    let all = |group| [known(1, "a", 2), known(2, "b", group)];
    assert!(separate(&all(2), ["PL61", "PL61"], together()).is_empty());
    assert_eq!(separate(&all(3), ["PL61", "PL61"], together()), both);
}

#[test]
fn a_number_decides_only_where_an_iban_does_not_and_nothing_else_differs() {
    let with = |iban: Option<&str>, number: &str, mask: &str, kind: &str, bank: Option<&str>| {
        let known = |text: &str| Some(text.to_owned()).filter(|text| text != "-");
        Account {
            account_number: known(number),
            masked_pan: known(mask),
            financial_institution_id: bank.map(str::to_owned),
            ..account("x", iban, kind, "EUR")
        }
    };
    let bank = Some("b");
    let old = || with(None, "77", "40*", "CHECKING", bank);
    let in_dollars = Account { booked: account("x", None, "", "USD").booked, ..old() };
    for (old, new, goes_on, ambiguous) in [
        (old(), old(), true, false),
        (old(), with(None, "78", "-", "CHECKING", bank), false, false),
        (old(), with(None, "78", "40*", "CHECKING", bank), false, false),
        (old(), with(None, "-", "40*", "CHECKING", bank), true, false),
        (old(), with(None, "77", "41*", "CHECKING", bank), true, false),
        (old(), with(None, "77", "40*", "SAVINGS", bank), false, true),
        (old(), with(None, "77", "40*", "UNDEFINED", bank), true, false),
        (old(), with(None, "77", "40*", "", bank), true, false),
        (old(), in_dollars, false, false),
        (with(None, " ", "-", "CHECKING", bank), with(None, " ", "-", "CHECKING", bank), false, true),
        // The bank is not known on both sides, or is another.
        (old(), with(None, "77", "-", "CHECKING", None), false, true),
        (old(), with(None, "77", "-", "SAVINGS", None), false, true),
        (old(), with(None, "77", "-", "CHECKING", Some("c")), false, true),
        // An IBAN on both sides decides alone.
        (
            with(Some("PL61"), "77", "-", "CHECKING", bank),
            with(None, "77", "-", "CHECKING", bank),
            true,
            false,
        ),
        (with(Some("PL61"), "77", "40*", "", bank), with(Some("PL62"), "77", "40*", "", bank), false, false),
        (with(Some("PL61"), "77", "-", "", bank), with(Some("PL62"), "77", "-", "", None), false, false),
    ] {
        let (old, new) = (Account { id: "o".into(), ..old }, Account { id: "n".into(), ..new });
        let told = format!("{old:?} {new:?}");
        let overview = overview(&[stored(1, old)], vec![new], vec![consent("UPDATED", &["n"])], true, now());
        let expected = if goes_on { Identity::Alias(1) } else { Identity::New };
        assert_eq!((&overview.accounts[0].1, overview.ambiguous), (&expected, ambiguous), "{told}");
    }
}

#[test]
fn an_ended_consent_is_superseded_by_who_serves_what_its_account_was_joined_with() {
    let all = [
        stored(1, account("a", Some("PL61"), "CHECKING", "EUR")),
        stored(2, account("b", Some("PL61"), "CHECKING", "EUR")),
    ];
    for (ended, served) in [("a", "b"), ("b", "a")] {
        let listed = vec![account(served, Some("PL61"), "CHECKING", "EUR")];
        let consents = two(("SESSION_EXPIRED", &[ended]), ("UPDATED", &[served]));
        let overview = overview(&all, listed, consents, true, now());
        assert_eq!(
            (overview.merged.len(), overview.superseded),
            (1, vec![CredentialsId::from("c")]),
            "{ended}"
        );
    }
    // A consent that serves others beside it does not serve it.
    let others = || [("x", "PL1"), ("y", "PL2")].map(|(id, iban)| account(id, Some(iban), "", "EUR"));
    let [x, y] = others();
    let all = [all[0].clone(), stored(2, x), stored(3, y)];
    let consents = two(("SESSION_EXPIRED", &["a"]), ("UPDATED", &["x", "y"]));
    assert_eq!(overview(&all, others().to_vec(), consents, true, now()).superseded, []);
    // Unknown accounts are not the same because of that.
    let unknown =
        overview(&[], Vec::new(), two(("SESSION_EXPIRED", &["x"]), ("UPDATED", &["y"])), true, now());
    assert_eq!(unknown.superseded, []);
}

/// Stores which accounts are several.
pub(super) fn note_groups(all: &mut [StoredAccount], overview: &Overview) {
    for group in &overview.separate {
        let members = || all.iter().filter(|s| group.contains(&s.account.id));
        let known: Vec<i64> = members().filter_map(|s| s.group).collect();
        let number = known.iter().copied().min().or(members().map(|s| s.key + 1).min());
        let is_one = |s: &StoredAccount| {
            group.contains(&s.account.id) || s.group.is_some_and(|group| known.contains(&group))
        };
        for account in all.iter_mut().filter(|s| is_one(s)) {
            account.group = number;
        }
    }
}

/// One bank of two accounts, linked as `first` and as `second`.
fn linked_twice(
    first: [Account; 2],
    second: [Account; 2],
) -> (Vec<StoredAccount>, Vec<Account>, Vec<Consent>) {
    let consents = two(
        ("UPDATED", &[first[0].id.as_str(), first[1].id.as_str()]),
        ("UPDATED", &[second[0].id.as_str(), second[1].id.as_str()]),
    );
    let listed = [first, second].concat();
    let all = (1..).zip(listed.clone()).map(|(key, account)| stored(key, account)).collect();
    (all, listed, consents)
}

#[test]
fn pairs_of_accounts_of_a_bank_that_is_linked_twice_are_ambiguous() {
    type Named = fn(&str, usize) -> Account;
    let named: [(&str, Named); 4] = [
        ("an IBAN each", |id, n| account(id, Some(["PL61", "PL62"][n]), "CHECKING", "EUR")),
        ("one IBAN in two currencies", |id, n| account(id, Some("PL61"), "CHECKING", ["EUR", "USD"][n])),
        ("an IBAN each and no balance", |id, n| Account {
            booked: account(id, None, "", "EUR").booked.filter(|_| id.starts_with('a')),
            ..account(id, Some(["PL61", "PL62"][n]), "CHECKING", "EUR")
        }),
        ("a number each", |id, n| Account {
            account_number: Some(["4711", "4712"][n].to_owned()),
            financial_institution_id: Some("bank".to_owned()),
            ..account(id, None, "CHECKING", "EUR")
        }),
    ];
    for (what, of) in named {
        let (mut all, listed, consents) =
            linked_twice([of("a1", 0), of("a2", 1)], [of("b1", 0), of("b2", 1)]);
        for _ in 0..2 {
            let overview = overview(&all, listed.clone(), consents.clone(), true, now());
            assert!(overview.ambiguous && overview.merged.is_empty(), "{what}");
            note_groups(&mut all, &overview);
        }
        // Once a person has accepted them, it is over.
        for account in &mut all {
            account.accepted = true;
        }
        assert!(!overview(&all, listed, consents, true, now()).ambiguous, "{what}");
    }
}

#[test]
fn accounts_of_one_iban_in_two_currencies_are_joined_each_with_its_own() {
    let of = |id: &str, currency: &str| account(id, Some("PL61"), "CHECKING", currency);
    let (all, listed, consents) =
        linked_twice([of("a1", "EUR"), of("a2", "USD")], [of("b1", "EUR"), of("b2", "USD")]);
    let left = |listed: &[Account]| overview(&all, listed.to_vec(), consents[1..].to_vec(), true, now());
    let joined = left(&listed[2..]);
    let merge = |keep| Merge { keep, drop: keep + 2, adopts_id: true };
    assert_eq!((joined.merged, joined.ambiguous), (vec![merge(1), merge(2)], false));
    // One whose currency has just changed, or is unknown, may be either.
    for odd in [of("b1", "USD"), Account { booked: None, ..of("b1", "EUR") }] {
        let waits = left(&[odd, of("b2", "USD")]);
        assert_eq!((waits.merged.len(), waits.ambiguous), (0, true));
    }
}

#[test]
fn an_account_without_a_number_that_comes_as_another_goes_is_ambiguous() {
    let plain = |id: &str| account(id, None, "SAVINGS", "EUR");
    let at = |bank: &str, account| Account { financial_institution_id: Some(bank.to_owned()), ..account };
    let told = |old: &StoredAccount, new: &Account, known: Option<StoredAccount>| {
        let all: Vec<StoredAccount> = [old.clone()].into_iter().chain(known).collect();
        overview(&all, vec![new.clone()], vec![consent("UPDATED", &["new"])], true, now()).ambiguous
    };
    let old = stored(1, plain("old"));
    let masked = Account { masked_pan: Some("**** 9010".to_owned()), ..plain("old") };
    for (old, new, expected) in [
        (old.clone(), plain("new"), true),
        (stored(1, masked.clone()), plain("new"), true),
        (old.clone(), account("new", Some("PL61"), "", "EUR"), true),
        (stored(1, at("b", plain("old"))), at("b", plain("new")), true),
        (stored(1, at("b", plain("old"))), at("c", plain("new")), false),
        (old.clone(), account("new", None, "CHECKING", "EUR"), false),
        (old.clone(), account("new", None, "SAVINGS", "USD"), false),
        (stored(1, masked), Account { masked_pan: Some("**** 9011".to_owned()), ..plain("new") }, false),
        // It went long ago.
        (StoredAccount { closed: true, ..old.clone() }, plain("new"), false),
    ] {
        assert_eq!(told(&old, &new, None), expected, "{old:?} {new:?}");
    }
    // Until a person has accepted both.
    for both in [false, true] {
        let [old, new] =
            [&old, &stored(2, plain("new"))].map(|s| StoredAccount { accepted: true, ..s.clone() });
        assert_eq!(told(&old, &plain("new"), Some(StoredAccount { accepted: both, ..new })), !both);
    }
    // Until it was read, it is only just coming; later, the other one goes beside it.
    let known = stored(2, plain("new"));
    assert!(told(&old, &plain("new"), Some(known.clone())));
    let read = StoredAccount { complete_through: Some("2026-05-01".parse().unwrap()), ..known };
    assert!(!told(&old, &plain("new"), Some(read)));
    // A plainly new one.
    let both = vec![plain("old"), plain("new")];
    assert!(
        !overview(std::slice::from_ref(&old), both, vec![consent("UPDATED", &["old", "new"])], true, now())
            .ambiguous
    );
    // What an ended consent of another bank names is not what this bank shows.
    for (provider, expected) in [("other", false), ("bank", true)] {
        let mut consents = two(("SESSION_EXPIRED", &["old"]), ("UPDATED", &["new"]));
        (consents[0].provider, consents[1].provider) = (Some(provider.to_owned()), Some("bank".to_owned()));
        let overview = overview(std::slice::from_ref(&old), vec![plain("new")], consents, true, now());
        assert_eq!(overview.ambiguous, expected, "{provider}");
    }
}

/// An account that went from the id `a` to the id `b`.
fn renewed(kind: &str) -> StoredAccount {
    let mut renewed = stored(1, account("b", Some("PL61"), kind, "EUR"));
    renewed.known_ids.push("a".into());
    renewed
}

pub(super) fn identities(overview: &Overview) -> Vec<&Identity> {
    overview.accounts.iter().map(|(_, identity)| identity).collect()
}

#[test]
fn an_older_id_comes_back_only_when_the_current_one_is_gone_from_all_lists() {
    for numbered in [true, false] {
        let mut all = [renewed("CHECKING")];
        let mut listed = account("a", Some("PL61"), "CHECKING", "EUR");
        for account in [&mut all[0].account, &mut listed] {
            if numbered {
                (account.iban, account.account_number) = (None, Some("4711".to_owned()));
            }
        }
        let told = |consents| overview(&all, vec![listed.clone()], consents, true, now());
        let once = told(two(("UPDATED", &["a"]), ("UPDATED", &["b"])));
        assert_eq!((identities(&once), once.ambiguous), (vec![&Identity::Superseded(1)], true));
        let unnamed = told(vec![consent("UPDATED", &["b"])]);
        assert_eq!((identities(&unnamed), unnamed.ambiguous), (vec![&Identity::Superseded(1)], false));
        let gone = told(vec![consent("UPDATED", &["a"])]);
        assert_eq!((identities(&gone), gone.ambiguous), (vec![&Identity::Alias(1)], false));
    }
}

#[test]
fn two_accounts_that_were_taken_for_one_are_both_read_when_both_are_served() {
    let of = |id: &str, kind: &str, currency: &str| account(id, Some("PL61"), kind, currency);
    let card = of("b", "CREDIT_CARD", "EUR");
    let together = || vec![consent("UPDATED", &["a", "b"])];
    let apart = || two(("UPDATED", &["a"]), ("UPDATED", &["b"]));
    let new = [&Identity::New, &Identity::Known(1)];
    let old = [&Identity::Superseded(1), &Identity::Known(1)];
    for (other, consents, expected, ambiguous, separate) in [
        (of("a", "CHECKING", "EUR"), together(), new, false, 2),
        (of("a", "CHECKING", "EUR"), apart(), new, true, 0),
        (of("a", "CREDIT_CARD", "USD"), apart(), new, false, 0),
        // The same account twice: one id is enough, but a person has to know.
        (of("a", "CREDIT_CARD", "EUR"), apart(), old, true, 0),
        (of("a", "CREDIT_CARD", "EUR"), together(), old, true, 0),
        (of("a", "UNDEFINED", "EUR"), together(), old, true, 0),
        // No healthy consent serves it.
        (of("a", "CHECKING", "EUR"), two(("SESSION_EXPIRED", &["a"]), ("UPDATED", &["b"])), old, false, 0),
    ] {
        let told = format!("{other:?} {consents:?}");
        let overview = overview(&[renewed("CREDIT_CARD")], vec![other, card.clone()], consents, true, now());
        assert_eq!((identities(&overview), overview.ambiguous), (expected.to_vec(), ambiguous), "{told}");
        assert_eq!(overview.separate.concat().len(), separate, "{told}");
    }
    // Until that person has accepted it.
    for consents in [together(), apart()] {
        let accepted = StoredAccount { accepted: true, ..renewed("CREDIT_CARD") };
        let listed = vec![of("a", "CREDIT_CARD", "EUR"), card.clone()];
        assert!(!overview(&[accepted], listed, consents, true, now()).ambiguous);
    }
    // Numbers that differ tell as well as types.
    let numbered = |id: &str, iban: Option<&str>, number: &str| Account {
        account_number: Some(number.to_owned()),
        ..account(id, iban, "CREDIT_CARD", "EUR")
    };
    for (a, b, expected) in [
        (numbered("a", None, "1"), numbered("b", None, "2"), new),
        (numbered("a", None, "1"), numbered("b", None, "1"), old),
        (
            numbered("a", Some("PL61"), "1"),
            numbered("b", Some("PL62"), "1"),
            [&Identity::New, &Identity::Alias(1)],
        ),
        (numbered("a", Some("PL61"), "1"), numbered("b", Some("PL61"), "2"), old),
    ] {
        let overview = overview(&[renewed("CREDIT_CARD")], vec![a, b], apart(), true, now());
        assert_eq!(identities(&overview), expected);
    }
}

#[test]
fn a_refresh_of_the_future_neither_closes_other_accounts_nor_keeps_them_open() {
    let all = |missing: Option<i64>| {
        let gone = stored(1, account("gone", Some("PL61"), "", "EUR"));
        [StoredAccount { missing_refresh: missing.map(refreshed), ..gone }]
    };
    let listed = |hour: i64| {
        let odd =
            Account { last_refreshed: Some(refreshed(100_000)), ..account("odd", Some("PL62"), "", "EUR") };
        vec![odd, Account { last_refreshed: Some(refreshed(hour)), ..account("b", Some("PL63"), "", "EUR") }]
    };
    let of = |missing, hour| {
        overview(&all(missing), listed(hour), vec![consent("UPDATED", &["odd", "b"])], true, now())
    };
    assert_eq!(of(None, 0).missing, [(1, refreshed(0))]);
    assert!(of(Some(0), 0).closed.is_empty(), "not without a newer refresh");
    assert_eq!(of(Some(0), 6).closed, [1]);
    assert_eq!(of(Some(100_000), 6).closed, [1], "as earlier releases noted it");
}

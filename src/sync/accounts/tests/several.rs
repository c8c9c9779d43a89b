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
            .map(|((key, account), separate)| StoredAccount { separate, ..stored(key, account) })
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
    let both: Vec<AccountId> = vec!["a".into(), "b".into()];
    assert_eq!(separate(&[], ["PL61", "PL61"], together()), both);
    assert!(separate(&[], ["PL61", "PL62"], together()).is_empty());
    assert!(separate(&[], ["PL61", "PL61"], two(("UPDATED", &["a"]), ("UPDATED", &["b"]))).is_empty());
    // What is already stored is not reported again.
    let known = StoredAccount { separate: true, ..stored(1, account("a", Some("PL61"), "", "EUR")) };
    assert_eq!(separate(&[known], ["PL61", "PL61"], together()), [AccountId::from("b")]);
}

#[test]
fn a_number_tells_only_where_an_iban_does_not_and_nothing_else_differs() {
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
        (old(), with(None, "77", "40*", "SAVINGS", bank), false, false),
        (old(), with(None, "77", "40*", "UNDEFINED", bank), true, false),
        (old(), with(None, "77", "40*", "", bank), true, false),
        (old(), in_dollars, false, false),
        (with(None, " ", "-", "CHECKING", bank), with(None, " ", "-", "CHECKING", bank), false, false),
        // The bank is not known on both sides, or is another.
        (old(), with(None, "77", "-", "CHECKING", None), false, true),
        (old(), with(None, "77", "-", "SAVINGS", None), false, false),
        (old(), with(None, "77", "-", "CHECKING", Some("c")), false, false),
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

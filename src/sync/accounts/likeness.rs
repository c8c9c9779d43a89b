//! What two accounts have in common: numbers, bank, type and currency. Decides nothing about them.

use crate::domain::account::Account;

/// When an account under a new id is one that is gone, from the strongest evidence to the weakest; each needs
/// exactly one candidate on each side.
pub(super) const RULES: [fn(&Account, &Account) -> bool; 6] = [
    same_iban,
    // Type and currency distinguish accounts that share an IBAN, then the other numbers.
    |a, b| same_iban(a, b) && is_alike(a, b),
    |a, b| same_iban(a, b) && is_alike(a, b) && same_number(a, b),
    |a, b| same_iban(a, b) && is_alike(a, b) && same_mask(a, b),
    |a, b| has_no_iban(a, b) && same_number(a, b) && same_bank(a, b) && is_alike(a, b),
    |a, b| has_no_iban(a, b) && same_mask(a, b) && same_bank(a, b) && is_alike(a, b),
];

/// Gives a listed account what it was known by and this list lacks or cannot say: an account that loses its number for a
/// day would not be found again when its id changes next.
pub(super) fn complete(account: &mut Account, before: &Account) {
    let keep = |now: &mut Option<String>, before: &Option<String>| {
        if known(now.as_deref()).is_none() && known(before.as_deref()).is_some() {
            now.clone_from(before);
        }
    };
    keep(&mut account.iban, &before.iban);
    keep(&mut account.account_number, &before.account_number);
    keep(&mut account.masked_pan, &before.masked_pan);
    keep(&mut account.financial_institution_id, &before.financial_institution_id);
    if known_kind(account).is_none() && known_kind(before).is_some() {
        account.kind.clone_from(&before.kind);
    }
}

pub(super) fn same_iban(a: &Account, b: &Account) -> bool {
    equal(a.iban.as_deref(), b.iban.as_deref())
}

/// IBANs on both sides decide alone: where they differ, no other number makes them one.
fn has_no_iban(a: &Account, b: &Account) -> bool {
    a.iban.is_none() || b.iban.is_none()
}

fn same_number(a: &Account, b: &Account) -> bool {
    equal(a.account_number.as_deref(), b.account_number.as_deref())
}

fn same_mask(a: &Account, b: &Account) -> bool {
    equal(a.masked_pan.as_deref(), b.masked_pan.as_deref())
        && !differs(a.account_number.as_deref(), b.account_number.as_deref())
}

/// Whether something shows that two accounts are not one: type, currency, or the strongest number of both.
pub(super) fn are_several(a: &Account, b: &Account) -> bool {
    !is_alike(a, b) || has_other_number(a, b)
}

/// Whether the strongest number that both have differs.
pub(super) fn has_other_number(a: &Account, b: &Account) -> bool {
    let differ = |a: &Option<String>, b: &Option<String>| {
        known(a.as_deref()).zip(known(b.as_deref())).is_some_and(|(a, b)| a != b)
    };
    differ(&a.iban, &b.iban) || has_no_iban(a, b) && differ(&a.account_number, &b.account_number)
}

/// Whether two accounts of one type and currency have no number in common that could tell them apart. The mask of a card
/// cannot: a card that replaces another has a number of its own, and the same account behind it.
pub(super) fn has_no_common_number(a: &Account, b: &Account) -> bool {
    let mask = |a: &Account| a.masked_pan.clone().filter(|_| known_kind(a) != Some("CREDIT_CARD"));
    let numbers =
        |a: &Account| [a.iban.clone(), a.account_number.clone(), mask(a)].map(|n| known(n.as_deref()));
    let mut both = numbers(a).into_iter().zip(numbers(b));
    is_alike(a, b) && !both.any(|(a, b)| a.is_some() && b.is_some())
}

/// Whether two accounts have an IBAN or, where one has none, a number or mask in common, and no currency differs.
pub(super) fn share_number(a: &Account, b: &Account) -> bool {
    let by_number = || has_no_iban(a, b) && (same_number(a, b) || same_mask(a, b));
    (same_iban(a, b) || by_number()) && !differs(a.currency(), b.currency())
}

/// Whether two accounts may be one: nothing but the type under an IBAN may differ, and no bank.
pub(super) fn may_be_one(a: &Account, b: &Account) -> bool {
    let is_same_bank =
        || !differs(a.financial_institution_id.as_deref(), b.financial_institution_id.as_deref());
    share_number(a, b) && (same_iban(a, b) || is_alike(a, b) && is_same_bank())
}

/// Whether the account numbers tell apart two accounts of one IBAN, if it is known that several share it.
pub(super) fn number_differs(a: &Account, b: &Account) -> bool {
    same_iban(a, b) && differs(a.account_number.as_deref(), b.account_number.as_deref())
}

/// The bank is the same or unknown on both sides: a number alone is not unique across banks.
fn same_bank(a: &Account, b: &Account) -> bool {
    a.financial_institution_id == b.financial_institution_id
}

/// Whether type and currency agree as far as they are known.
fn is_alike(a: &Account, b: &Account) -> bool {
    !differs(known_kind(a), known_kind(b)) && !differs(a.currency(), b.currency())
}

fn known_kind(account: &Account) -> Option<&str> {
    Some(account.kind.as_str()).filter(|kind| !kind.is_empty() && *kind != "UNDEFINED")
}

pub(super) fn differs(a: Option<&str>, b: Option<&str>) -> bool {
    a.zip(b).is_some_and(|(a, b)| plain(a) != plain(b))
}

/// What stands in the place of a number that is not known.
const PLACEHOLDERS: [&str; 7] = ["NOTPROVIDED", "NOTAVAILABLE", "NA", "NONE", "NULL", "UNKNOWN", "UNDEFINED"];

/// Whether both are the same number.
pub(super) fn equal(a: Option<&str>, b: Option<&str>) -> bool {
    known(a).zip(known(b)).is_some_and(|(a, b)| a == b)
}

/// A number in plain form. A mask of stars alone, or one character again and again, is none, nor is a word that
/// says so.
fn known(number: Option<&str>) -> Option<String> {
    let says_nothing = |text: &str| {
        let is_one = || text.chars().zip(text.chars().skip(1)).all(|(a, b)| a == b);
        PLACEHOLDERS.contains(&text) || !text.contains(char::is_alphanumeric) || text.len() > 3 && is_one()
    };
    number.map(plain).filter(|text| !says_nothing(text))
}

fn plain(number: &str) -> String {
    number.chars().filter(|c| c.is_alphanumeric() || *c == '*').flat_map(char::to_uppercase).collect()
}

//! Which listed account is which stored one, what is missing, and whose consents are healthy. Pure.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::domain::account::Account;
use crate::domain::consent::{Consent, Health};
use crate::domain::ids::AccountId;
use crate::store::types::{Identity, Overview, StoredAccount};

/// Decides the identity of every listed account and the fate of those not listed.
///
/// Two ids that are present at once are never merged; a new id continues a known account only if the
/// old id is gone everywhere and there is exactly one candidate on each side (design section 8, rule 7).
pub fn overview(
    stored: &[StoredAccount],
    listed: Vec<Account>,
    consents: Vec<Consent>,
    now: Timestamp,
) -> Overview {
    let present: HashSet<&AccountId> =
        listed.iter().map(|a| &a.id).chain(consents.iter().flat_map(|c| &c.account_ids)).collect();
    let gone: Vec<&StoredAccount> = stored.iter().filter(|s| !present.contains(&s.account.id)).collect();
    let fresh: Vec<&Account> = listed.iter().filter(|a| current(stored, &a.id).is_none()).collect();
    let identities: Vec<Identity> = listed
        .iter()
        .map(|account| match current(stored, &account.id) {
            Some(known) => Identity::Known(known.key),
            None => continued(account, &gone, &fresh).map_or(Identity::New, |old| Identity::Alias(old.key)),
        })
        .collect();
    let continued: HashSet<i64> = identities
        .iter()
        .filter_map(|i| if let Identity::Alias(key) = i { Some(*key) } else { None })
        .collect();
    let newest = listed.iter().filter_map(|a| a.last_refreshed).max();
    // A decaying consent hides accounts: only a list of healthy ones says that an account is gone.
    let trusted = !listed.is_empty()
        && !consents.is_empty()
        && consents.iter().all(|c| c.health(now) == Health::Healthy);
    let lost = gone.iter().filter(|s| trusted && !s.closed && !continued.contains(&s.key));
    let (mut missing, mut closed) = (Vec::new(), Vec::new());
    for account in lost {
        match (account.missing_refresh, newest) {
            (None, Some(newest)) => missing.push((account.key, newest)),
            (Some(first), Some(newest)) if newest > first => closed.push(account.key),
            _ => {}
        }
    }
    Overview { consents, accounts: listed.into_iter().zip(identities).collect(), missing, closed }
}

fn current<'a>(stored: &'a [StoredAccount], id: &AccountId) -> Option<&'a StoredAccount> {
    stored.iter().find(|s| s.account.id == *id)
}

/// The stored account that a new id continues, if there is exactly one on each side.
fn continued<'a>(
    account: &Account,
    gone: &[&'a StoredAccount],
    fresh: &[&Account],
) -> Option<&'a StoredAccount> {
    let returned = |s: &StoredAccount| fresh.iter().filter(|a| s.known_ids.contains(&a.id)).count();
    if let Some(known) = gone.iter().find(|s| s.known_ids.contains(&account.id)) {
        return (returned(known) == 1).then_some(*known);
    }
    let mut candidates = gone.iter().filter(|s| same_account(&s.account, account) && returned(s) == 0);
    let only = candidates.next().filter(|_| candidates.next().is_none())?;
    let rivals = fresh.iter().filter(|other| same_account(&only.account, other)).count();
    (rivals == 1).then_some(*only)
}

/// Whether the bank's own numbers say that two accounts are one.
fn same_account(a: &Account, b: &Account) -> bool {
    let equal = |x: Option<String>, y: Option<String>| x.is_some() && x == y;
    let numbers = equal(a.iban.as_deref().map(plain), b.iban.as_deref().map(plain))
        || (equal(a.financial_institution_id.clone(), b.financial_institution_id.clone())
            && equal(a.account_number.as_deref().map(plain), b.account_number.as_deref().map(plain)));
    numbers && a.kind == b.kind && a.currency() == b.currency()
}

fn plain(number: &str) -> String {
    number.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

/// Whether every consent holding the account is healthy; if none names it, every consent must be, and
/// there must be one.
pub fn is_healthy(consents: &[Consent], account: &AccountId, now: Timestamp) -> bool {
    let holds = |consent: &&Consent| consent.account_ids.contains(account);
    let healthy = |consent: &Consent| consent.health(now) == Health::Healthy;
    if consents.iter().any(|c| holds(&c)) {
        consents.iter().filter(holds).all(healthy)
    } else {
        !consents.is_empty() && consents.iter().all(healthy)
    }
}

#[cfg(test)]
mod tests;

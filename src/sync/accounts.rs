//! Which listed account is which stored one, which stored accounts are one, which are missing, and whose
//! consents are healthy. Pure. Never guesses: an ambiguous case stays as it is and is reported.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::domain::account::{Account, is_newer, is_possible};
use crate::domain::consent::{Consent, Health};
use crate::domain::ids::{AccountId, CredentialsId};
use crate::store::types::{Identity, Merge, Overview, StoredAccount};

mod joining;
mod likeness;

use self::likeness::{
    RULES, are_several, complete, differs, has_no_common_number, has_other_number, may_be_one,
    number_differs, share_number,
};

/// Decides the identity of every listed account and the fate of those not listed (DESIGN.md 8.4 and 8.7).
/// Unless the lists are `certain` to be complete, nothing is concluded from what they lack.
pub fn overview(
    stored: &[StoredAccount],
    listed: Vec<Account>,
    consents: Vec<Consent>,
    certain: bool,
    now: Timestamp,
) -> Overview {
    let known = |account: &Account| stored.iter().find(|s| s.account.id == account.id);
    let listed: Vec<_> = listed.into_iter().map(|account| completed(known(&account), account)).collect();
    let scene = Scene::new(stored, &listed, &consents, now);
    let merged = if certain { scene.merges() } else { Vec::new() };
    let identities: Vec<Identity> = listed.iter().map(|account| scene.identity(account, &merged)).collect();
    let continued: HashSet<i64> = identities
        .iter()
        .filter_map(|i| if let Identity::Alias(key) = i { Some(*key) } else { None })
        .chain(merged.iter().flat_map(|merge| [merge.keep, merge.drop]))
        .collect();
    let undecided = if certain { scene.undecided(&identities, &merged) } else { Vec::new() };
    let doubted = undecided.iter().filter(|(_, identity)| !scene.was_read(identity));
    let doubted = doubted.map(|(account, _)| account.id.clone()).collect();
    let ambiguous = !undecided.is_empty()
        || (certain && scene.is_ambiguous(&identities))
        || stored.iter().any(|s| s.doubted && !is_joined(s, &merged) && scene.is_in_doubt(s));
    let separate = scene.named_together(&identities);
    let shown: Vec<_> = listed.iter().zip(&identities).collect();
    let superseded = superseded(stored, &shown, &consents, &merged, now);
    // A refresh of the future says nothing about when the others were refreshed.
    let newest = listed.iter().filter_map(|a| a.last_refreshed).filter(|at| is_possible(*at, now)).max();
    // A decaying consent hides accounts: only if all are healthy does the list show that one is gone.
    let counts = |c: &&Consent| !superseded.contains(&c.credentials_id);
    let trusted = certain
        && !listed.is_empty()
        && consents.iter().any(|c| counts(&c))
        && consents.iter().filter(counts).all(|c| c.health(now) == Health::Healthy);
    let is_lost = |s: &&StoredAccount| {
        trusted && !s.closed && !continued.contains(&s.key) && !scene.is_shown(&s.account.id)
    };
    let (mut missing, mut closed) = (Vec::new(), Vec::new());
    for account in stored.iter().filter(is_lost) {
        match (account.missing_refresh, newest) {
            (None, Some(newest)) => missing.push((account.key, newest)),
            (Some(first), Some(newest)) if is_newer(newest, first, now) => closed.push(account.key),
            _ => {}
        }
    }
    let before = |identity: &Identity| stored.iter().find(|s| *identity == Identity::Alias(s.key));
    let accounts =
        listed.into_iter().zip(identities).map(|(account, i)| (completed(before(&i), account), i)).collect();
    Overview {
        consents,
        accounts,
        missing,
        closed,
        merged,
        separate,
        doubted,
        ambiguous,
        superseded,
        ..Overview::default()
    }
}

/// A listed account with what it was known by and the list lacks.
fn completed(before: Option<&StoredAccount>, mut account: Account) -> Account {
    if let Some(before) = before {
        complete(&mut account, &before.account);
    }
    account
}

fn is_joined(account: &StoredAccount, merged: &[Merge]) -> bool {
    merged.iter().any(|merge| merge.keep == account.key || merge.drop == account.key)
}

/// The stored accounts, and those Tink shows.
struct Scene<'a> {
    stored: &'a [StoredAccount],
    listed: &'a [Account],
    consents: &'a [Consent],
    /// Ids named by a consent that has not ended, or listed and named by no ended one.
    alive: HashSet<&'a AccountId>,
    /// Listed accounts whose id no stored one has currently.
    fresh: Vec<&'a Account>,
    /// Stored accounts whose id is not alive.
    gone: Vec<&'a StoredAccount>,
    now: Timestamp,
}

impl<'a> Scene<'a> {
    fn new(
        stored: &'a [StoredAccount],
        listed: &'a [Account],
        consents: &'a [Consent],
        now: Timestamp,
    ) -> Self {
        let is_dead = |c: &&Consent| matches!(c.health(now), Health::NeedsUser(_));
        let named = |dead: bool| -> HashSet<&'a AccountId> {
            consents.iter().filter(|c| is_dead(c) == dead).flat_map(|c| &c.account_ids).collect()
        };
        let (mut alive, dead) = (named(false), named(true));
        alive.extend(listed.iter().map(|account| &account.id).filter(|id| !dead.contains(id)));
        let is_current = |id: &AccountId| stored.iter().any(|s| s.account.id == *id);
        let fresh = listed.iter().filter(|account| !is_current(&account.id)).collect();
        let gone = stored.iter().filter(|s| !alive.contains(&s.account.id)).collect();
        Self { stored, listed, consents, alive, fresh, gone, now }
    }

    /// Whether an id is shown anywhere, even only by an ended consent.
    fn is_shown(&self, id: &AccountId) -> bool {
        self.listed.iter().any(|account| account.id == *id)
            || self.consents.iter().any(|consent| consent.account_ids.contains(id))
    }

    fn current(&self, id: &AccountId) -> Option<&'a StoredAccount> {
        self.stored.iter().find(|s| s.account.id == *id)
    }

    fn identity(&self, account: &Account, merged: &[Merge]) -> Identity {
        if let Some(known) = self.current(&account.id) {
            return match Self::merged_identity(known.key, merged) {
                // The id may have been given to another account: what is stored stays, as after a re-consent.
                Identity::Known(key) if key == known.key && has_other_number(&known.account, account) => {
                    Identity::Alias(key)
                }
                identity => identity,
            };
        }
        // An older id of an account that continues under another one.
        let owner = self.stored.iter().find(|s| s.known_ids.contains(&account.id));
        if let Some(owner) = owner.filter(|owner| self.is_superseded_by(owner, account)) {
            return Identity::Superseded(owner.key);
        }
        self.continued(account, merged).map_or(Identity::New, |old| Identity::Alias(old.key))
    }

    /// Whether an older id of a stored account stays one. While its current id is alive, it is no other's, unless
    /// a healthy consent serves both at once and their types, currencies or numbers differ: then two accounts
    /// were taken for one, and both are read.
    fn is_superseded_by(&self, owner: &StoredAccount, account: &Account) -> bool {
        if !self.alive.contains(&owner.account.id) {
            return !self.is_back(owner, account);
        }
        let current = self.listed.iter().find(|listed| listed.id == owner.account.id);
        !self.is_named_by_healthy(&account.id) || current.is_none_or(|current| !are_several(current, account))
    }

    fn is_named_by_healthy(&self, id: &AccountId) -> bool {
        let mut naming = self.consents.iter().filter(|consent| consent.account_ids.contains(id));
        naming.any(|consent| consent.health(self.now) == Health::Healthy)
    }

    /// The identity of a stored account that may be one of several to be joined: only one of them is served.
    fn merged_identity(key: i64, merged: &[Merge]) -> Identity {
        if let Some(merge) = merged.iter().find(|merge| merge.drop == key) {
            return if merge.adopts_id {
                Identity::Known(merge.keep)
            } else {
                Identity::Superseded(merge.keep)
            };
        }
        let other_serves = merged.iter().any(|merge| merge.keep == key && merge.adopts_id);
        if other_serves { Identity::Superseded(key) } else { Identity::Known(key) }
    }

    /// Whether a stored account is listed under its current id.
    fn is_served(&self, stored: &StoredAccount) -> bool {
        self.alive.contains(&stored.account.id)
            && self.listed.iter().any(|account| account.id == stored.account.id)
    }

    /// Whether a stored account continues under an older id of its own. An ended consent keeps listing the
    /// accounts it knew; such an id gives way to another id with the same number that is served.
    fn is_back(&self, stored: &StoredAccount, account: &Account) -> bool {
        let is_apart = |id: &AccountId| self.current(id).is_some_and(|other| other.is_apart_from(stored));
        let is_rival = |other: &Account| {
            self.alive.contains(&other.id) && may_be_one(&stored.account, other) && !is_apart(&other.id)
        };
        stored.known_ids.contains(&account.id)
            && (self.alive.contains(&account.id) || !self.listed.iter().any(is_rival))
    }

    /// The stored account that a new id continues, if there is exactly one on each side.
    fn continued(&self, account: &Account, merged: &[Merge]) -> Option<&'a StoredAccount> {
        let returned = |s: &StoredAccount| self.fresh.iter().filter(|a| self.is_back(s, a)).count();
        if let Some(known) = self.gone.iter().find(|s| self.is_back(s, account)) {
            return (returned(known) == 1).then_some(*known);
        }
        let old: Vec<&'a StoredAccount> =
            self.gone.iter().filter(|s| returned(s) == 0 && !is_joined(s, merged)).copied().collect();
        let news = |a: &&&Account| self.gone.iter().all(|s| !s.known_ids.contains(&a.id));
        let new: Vec<&Account> = self.fresh.iter().filter(news).copied().collect();
        RULES.iter().find_map(|same| {
            let goes_on = |s: &StoredAccount, account: &Account| {
                same(&s.account, account) && !(s.group.is_some() && number_differs(&s.account, account))
            };
            let mut candidates = old.iter().filter(|s| goes_on(s, account));
            let only = candidates.next().filter(|_| candidates.next().is_none())?;
            let rivals = new.iter().filter(|other| goes_on(only, other)).count();
            (rivals == 1).then_some(*only)
        })
    }

    /// The listed accounts that no consent shows to have ended.
    fn shown<'i>(&self, identities: &'i [Identity]) -> Vec<(&'a Account, &'i Identity)> {
        let all = self.listed.iter().zip(identities);
        all.filter(|(account, _)| self.alive.contains(&account.id)).collect()
    }

    /// Whether two accounts that are served at once may be one, without proof: with one number and currency by
    /// different consents, or one under two ids of its own, of which one is not read.
    fn is_ambiguous(&self, identities: &[Identity]) -> bool {
        let shown = self.shown(identities);
        let beside = |a: &Account, b: &Account| {
            may_be_one(a, b) && !self.are_named_together(&a.id, &b.id) && !self.are_known_apart(a, b)
        };
        let twins =
            shown.iter().enumerate().any(|(n, (a, _))| shown.iter().skip(n + 1).any(|(b, _)| beside(a, b)));
        let unread = shown.iter().any(|(account, identity)| {
            matches!(identity, Identity::Superseded(_))
                && !self.is_accepted(account)
                && self.is_named_by_healthy(&account.id)
        });
        twins || unread
    }

    /// The listed accounts that may be one that is gone, without proof.
    fn undecided<'i>(
        &self,
        identities: &'i [Identity],
        merged: &[Merge],
    ) -> Vec<(&'a Account, &'i Identity)> {
        let mut shown = self.shown(identities);
        let continued: Vec<&Identity> = shown.iter().map(|(_, identity)| *identity).collect();
        shown.retain(|(account, identity)| {
            self.gone.iter().any(|old| {
                let goes_on = continued.contains(&&Identity::Alias(old.key));
                let key = key_of(identity);
                let is_apart = self.stored.iter().any(|s| Some(s.key) == key && s.is_apart_from(old));
                let is_settled = is_joined(old, merged) || goes_on || is_apart;
                Some(old.key) != key && !is_settled && self.may_be(old, account, identity)
            })
        });
        shown
    }

    /// Whether a listed account may be one that is gone: by a number, which only an account that came later may have
    /// kept with another type or bank's id, or, if it comes as the other goes, because no number tells them apart.
    fn may_be(&self, old: &StoredAccount, account: &Account, identity: &Identity) -> bool {
        let comes = !self.was_read(identity);
        let came_later = || key_of(identity).is_none_or(|key| key > old.key);
        may_be_one(&old.account, account)
            || (came_later() && share_number(&old.account, account) && self.may_share_provider(old, account))
            || (comes
                && !old.closed
                && has_no_common_number(&old.account, account)
                && self.is_one_bank(old, account))
    }

    /// Whether a listed account is one that was read to the end before.
    fn was_read(&self, identity: &Identity) -> bool {
        let key = key_of(identity);
        self.stored.iter().any(|s| Some(s.key) == key && s.complete_through.is_some())
    }

    /// Whether an account that came as another went may still be an older one: not if both are served, for then they
    /// are two.
    fn is_in_doubt(&self, doubted: &StoredAccount) -> bool {
        let may_be = |old: &StoredAccount| {
            may_be_one(&old.account, &doubted.account) || has_no_common_number(&old.account, &doubted.account)
        };
        self.stored.iter().any(|old| {
            let are_two = old.is_apart_from(doubted) || (self.is_served(old) && self.is_served(doubted));
            old.key < doubted.key && !are_two && may_be(old) && self.is_one_bank(old, &doubted.account)
        })
    }

    /// Whether nothing shows that two accounts are of different banks.
    fn is_one_bank(&self, old: &StoredAccount, account: &Account) -> bool {
        let [old_bank, bank] = [&old.account, account].map(|a| a.financial_institution_id.as_deref());
        if old_bank.is_some() && bank.is_some() {
            return !differs(old_bank, bank);
        }
        self.may_share_provider(old, account)
    }

    fn may_share_provider(&self, old: &StoredAccount, account: &Account) -> bool {
        let providers = |id: &AccountId| -> Vec<&str> {
            let naming = self.consents.iter().filter(|consent| consent.account_ids.contains(id));
            naming.filter_map(|consent| consent.provider.as_deref()).collect()
        };
        let (old, new) = (providers(&old.account.id), providers(&account.id));
        old.is_empty() || new.is_empty() || old.iter().any(|provider| new.contains(provider))
    }

    /// Whether a person has accepted that the account is one of several, under this id or another.
    fn is_accepted(&self, account: &Account) -> bool {
        self.stored.iter().any(|s| s.accepted && s.known_ids.contains(&account.id))
    }

    /// Whether it is stored that two listed accounts are several.
    fn are_known_apart(&self, a: &Account, b: &Account) -> bool {
        let stored = |account: &Account| self.stored.iter().find(|s| s.known_ids.contains(&account.id));
        stored(a).zip(stored(b)).is_some_and(|(a, b)| a.is_apart_from(b) || a.accepted && b.accepted)
    }

    fn are_named_together(&self, a: &AccountId, b: &AccountId) -> bool {
        self.consents.iter().any(|c| c.account_ids.contains(a) && c.account_ids.contains(b))
    }
}

/// The stored account that a listed one is.
fn key_of(identity: &Identity) -> Option<i64> {
    match identity {
        Identity::New => None,
        Identity::Known(key) | Identity::Alias(key) | Identity::Superseded(key) => Some(*key),
    }
}

/// Consents ended or past their date, all of whose accounts a healthy one serves, under the same id or the
/// one under which they continue.
pub(super) fn superseded(
    stored: &[StoredAccount],
    shown: &[(&Account, &Identity)],
    consents: &[Consent],
    merged: &[Merge],
    now: Timestamp,
) -> Vec<CredentialsId> {
    let kept = |key: i64| merged.iter().find(|merge| merge.drop == key).map_or(key, |merge| merge.keep);
    let key_of = |id: &AccountId| match shown
        .iter()
        .find(|(account, _)| account.id == *id)
        .map(|(_, identity)| identity)
    {
        Some(Identity::Known(key) | Identity::Alias(key) | Identity::Superseded(key)) => Some(*key),
        Some(Identity::New) => None,
        None => stored.iter().find(|s| s.known_ids.contains(id)).map(|s| kept(s.key)),
    };
    let is_served = |id: &AccountId, by: &Consent| {
        let key = key_of(id);
        by.account_ids.iter().any(|other| other == id || (key.is_some() && key_of(other) == key))
    };
    let is_superseded = |consent: &&Consent| {
        let others = || consents.iter().filter(|other| other.credentials_id != consent.credentials_id);
        matches!(consent.health(now), Health::NeedsUser(_) | Health::PastDate)
            && !consent.account_ids.is_empty()
            && consent
                .account_ids
                .iter()
                .all(|id| others().any(|other| other.health(now) == Health::Healthy && is_served(id, other)))
    };
    consents.iter().filter(is_superseded).map(|consent| consent.credentials_id.clone()).collect()
}

/// Whether at least one consent holding the account is healthy; if none names it, every consent must be, and
/// there must be one.
pub fn is_healthy(consents: &[Consent], account: &AccountId, now: Timestamp) -> bool {
    let holds = |consent: &&Consent| consent.account_ids.contains(account);
    let healthy = |consent: &Consent| consent.health(now) == Health::Healthy;
    if consents.iter().any(|c| holds(&c)) {
        consents.iter().filter(holds).any(healthy)
    } else {
        !consents.is_empty() && consents.iter().all(healthy)
    }
}

/// Whether a consent names the account, or one that names none may hold it. If all name others only, what the account
/// lacks proves nothing.
pub fn may_be_held(consents: &[Consent], account: &AccountId) -> bool {
    consents.iter().any(|consent| consent.account_ids.is_empty() || consent.account_ids.contains(account))
}

/// Whether Tink is at work on a consent that holds the account; one that does not say since when may have been
/// left so for ever.
pub fn is_at_work(consents: &[Consent], account: &AccountId, now: Timestamp) -> bool {
    let at_work = |consent: &Consent| consent.status_updated.is_some() && consent.health(now) == Health::Busy;
    consents.iter().any(|consent| consent.account_ids.contains(account) && at_work(consent))
}

#[cfg(test)]
mod tests;

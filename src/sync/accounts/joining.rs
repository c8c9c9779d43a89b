//! Which stored accounts are one and are joined, and which are several because a consent names them together.

use super::likeness::{RULES, differs, number_differs, same_iban, share_number};
use super::{Scene, key_of};
use crate::domain::account::Account;
use crate::domain::ids::AccountId;
use crate::store::types::{Identity, Merge, StoredAccount};

impl<'a> Scene<'a> {
    /// Stored accounts that are one by their numbers, of which one is served and the others are gone or named only by
    /// ended consents: all continue under the oldest key. Accounts in different currencies may share a number and
    /// stay separate; one whose currency is unknown or has just changed waits.
    pub(super) fn merges(&self) -> Vec<Merge> {
        let mut merges: Vec<Merge> = Vec::new();
        if self.gone.is_empty() {
            return merges;
        }
        for same in RULES {
            for served in self.stored.iter().filter(|s| self.is_served(s)) {
                let is_free = |s: &StoredAccount| !merges.iter().any(|m| m.keep == s.key || m.drop == s.key);
                if !is_free(served) {
                    continue;
                }
                let gone = self.gone_of(served, same, is_free);
                let mut keys: Vec<i64> = gone.iter().map(|s| s.key).chain([served.key]).collect();
                keys.sort_unstable();
                let Some((keep, others)) = keys.split_first() else { continue };
                merges.extend(others.iter().map(|drop| Merge {
                    keep: *keep,
                    drop: *drop,
                    adopts_id: *drop == served.key,
                }));
            }
        }
        merges
    }

    /// The accounts that are gone and by this rule the one that is served; none if any of them may be another.
    fn gone_of(
        &self,
        served: &StoredAccount,
        same: fn(&Account, &Account) -> bool,
        is_free: impl Fn(&StoredAccount) -> bool,
    ) -> Vec<&'a StoredAccount> {
        let same = |a: &Account, b: &Account| same(a, b) && !differs(a.currency(), b.currency());
        // One whose older id is listed again continues under that id.
        let returns = |s: &StoredAccount| self.fresh.iter().any(|a| self.is_back(s, a));
        let is_told_apart = |s: &StoredAccount| {
            (s.group.is_some() || served.group.is_some()) && number_differs(&s.account, &served.account)
        };
        // A number alone is not unique across banks.
        let is_one_bank = |s: &StoredAccount| {
            same_iban(&s.account, &served.account) || self.is_one_bank(s, &served.account)
        };
        let is_same = |s: &StoredAccount| same(&s.account, &served.account) && is_one_bank(s);
        let candidates = self
            .gone
            .iter()
            .copied()
            .filter(|s| is_free(s) && !returns(s) && is_same(s) && !is_told_apart(s));
        let candidates: Vec<&'a StoredAccount> = candidates.collect();
        let are_several = |(n, a): (usize, &&StoredAccount)| {
            a.is_apart_from(served) || candidates.iter().skip(n + 1).any(|b| a.is_apart_from(b))
        };
        if candidates.iter().enumerate().any(are_several) {
            return Vec::new();
        }
        let now = self.listed.iter().find(|a| a.id == served.account.id).and_then(Account::currency);
        let is_certain = |a: &Account| a.currency() == now && served.account.currency() == now;
        let mut gone = candidates;
        gone.retain(|s| is_certain(&s.account));
        let members = || gone.iter().copied().chain([served]);
        let is_one = |id: &AccountId| {
            members().any(|s| s.account.id == *id || !self.alive.contains(id) && s.known_ids.contains(id))
        };
        let is_rival = |a: &Account| !is_one(&a.id) && members().any(|s| same(a, &s.account));
        let is_contested = self.listed.iter().any(is_rival)
            || self.stored.iter().any(|s| self.is_served(s) && is_rival(&s.account));
        if is_contested { Vec::new() } else { gone }
    }

    /// Listed accounts with one number and currency that one consent names together: they are separate. An older id
    /// of an account, which a consent may name for a while beside the new one, is none of them. Without those of
    /// which that is stored already.
    pub(super) fn named_together(&self, identities: &[Identity]) -> Vec<Vec<AccountId>> {
        let listed = self.listed.iter().zip(identities);
        let mut groups: Vec<Vec<(&Account, Option<i64>)>> = Vec::new();
        for (account, identity) in listed.filter(|(_, i)| !matches!(i, Identity::Superseded(_))) {
            let is_beside = |(other, _): &(&Account, Option<i64>)| {
                share_number(account, other) && self.are_named_together(&account.id, &other.id)
            };
            let (joined, others): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|group| group.iter().any(is_beside));
            groups = others;
            groups.push(joined.into_iter().flatten().chain([(account, key_of(identity))]).collect());
        }
        let stored = |key: Option<i64>| self.stored.iter().find(|s| Some(s.key) == key);
        let is_known = |group: &[(&Account, Option<i64>)]| {
            let pairs =
                group.iter().enumerate().flat_map(|(n, a)| group.iter().skip(n + 1).map(move |b| (a, b)));
            pairs
                .into_iter()
                .all(|((_, a), (_, b))| stored(*a).zip(stored(*b)).is_some_and(|(a, b)| a.is_apart_from(b)))
        };
        groups.retain(|group| !is_known(group));
        groups
            .into_iter()
            .map(|group| group.iter().map(|(account, _)| account.id.clone()).collect())
            .collect()
    }
}

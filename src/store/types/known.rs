//! The stored state of a connection before Tink is asked, and whether Tink's answer differs from it. Decides
//! nothing about the differences.

use super::{Identity, KeptConsents, Overview, StoredAccount, StoredConsent};
use crate::domain::account::Account;
use crate::domain::consent::Consent;
use crate::domain::ids::CredentialsId;

/// The stored state of a connection before Tink is asked.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its consents as they were last shown.
    pub consents: Vec<StoredConsent>,
    /// Its accounts, closed ones included.
    pub accounts: Vec<StoredAccount>,
    /// Whether another connection holds one of its consents or accounts.
    pub is_contested: bool,
}

impl StoredAccount {
    /// Whether it is known that the two are several.
    pub fn is_apart_from(&self, other: &Self) -> bool {
        self.key != other.key
            && (self.accepted && other.accepted || self.group.is_some() && self.group == other.group)
    }

    /// Whether listing the account changes nothing about it.
    pub fn shows(&self, account: &Account) -> bool {
        let is_known = self.account == *account && self.known_ids.contains(&account.id);
        is_known && !self.closed && self.missing_refresh.is_none()
    }
}

impl StoredConsent {
    /// Whether listing the consent changes nothing about it.
    fn shows(&self, consent: &Consent, superseded: &[CredentialsId]) -> bool {
        self.consent == *consent
            && self.missing_run.is_none()
            && self.undated_run.is_none()
            && self.superseded == superseded.contains(&consent.credentials_id)
    }
}

impl Overview {
    /// The stored accounts, in the order in which they are listed, if writing this would change nothing.
    pub fn is_as_stored(&self, known: &Known) -> Option<Vec<StoredAccount>> {
        let changes = known.is_contested
            || self.consents.len() != known.consents.len()
            || self.kept != KeptConsents { complete: self.kept.complete, ..KeptConsents::default() }
            || !(self.missing.is_empty() && self.closed.is_empty())
            || !(self.merged.is_empty() && self.separate.is_empty());
        let is_stored =
            |consent: &Consent| known.consents.iter().any(|stored| stored.shows(consent, &self.superseded));
        if changes || !self.consents.iter().all(is_stored) {
            return None;
        }
        let stays = |(account, identity): &(Account, Identity)| match identity {
            Identity::Known(key) => {
                known.accounts.iter().find(|stored| stored.key == *key && stored.shows(account)).cloned()
            }
            Identity::New | Identity::Alias(_) | Identity::Superseded(_) => None,
        };
        self.accounts.iter().map(stays).collect()
    }
}

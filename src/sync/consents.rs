//! The consents of a pass, listed or known, and the warnings of their end. One list proves little: a consent
//! goes only after two lists without it (or one with a new healthy consent for its bank), its date only after
//! two lists without one, and an incomplete list proves nothing about what it lacks.

use std::collections::HashSet;

use jiff::Timestamp;

use super::context::ConnectionSync;
use super::fresh_link;
use super::refresh::refresh;
use super::result::SyncError;
use crate::domain::consent::{Consent, Health};
use crate::domain::event::Event;
use crate::domain::ids::{AccountId, CredentialsId};
use crate::store::{ConsentWarning, KeptConsents, Known, Overview, StoredConsent};
use crate::tink::Listed;

/// A status that Tink does not use: not listed, for the first time.
const UNLISTED: &str = "UNLISTED";

/// The consents of a connection in this pass.
#[derive(Debug)]
pub(super) struct Consents {
    /// The consents to judge by: those listed, and those kept although they are not.
    pub all: Vec<Consent>,
    /// The listed consents: which accounts exist is judged by the lists alone.
    pub listed: Vec<Consent>,
    /// The list was complete.
    pub complete: bool,
    /// What is stored of the connection.
    pub known: Known,
    kept: KeptConsents,
}

/// Reads the list, after asking Tink to refresh what is old, and compares it with what is stored.
///
/// # Errors
/// [`SyncError`]: the call failed, or the store.
pub(super) async fn read(sync: &ConnectionSync<'_>) -> Result<Consents, SyncError> {
    let mut list = fresh_link::wait(sync, sync.session.consent_list().await?).await?;
    if let Some(rules) = &sync.ctx.options.refresh {
        list = refresh(sync, list, rules).await?;
    }
    let lease = &sync.claim.lease;
    let known = sync.ctx.store.known(lease, sync.now()).await?;
    Ok(Consents::of(list, known, lease.run, sync.now()))
}

impl Consents {
    /// The conclusions from a list in the run with this key.
    fn of(list: Listed<Consent>, known: Known, run: i64, now: Timestamp) -> Self {
        let stored = &known.consents;
        let Listed { items: mut listed, complete } = list;
        let first = |before: Option<i64>| before.is_none_or(|before| before == run);
        let mut kept = KeptConsents { complete, ..KeptConsents::default() };
        for consent in listed.iter_mut().filter(|consent| consent.expires_at.is_none()) {
            let known = stored.iter().find(|known| known.consent.credentials_id == consent.credentials_id);
            if let Some(known) =
                known.filter(|known| known.consent.expires_at.is_some() && first(known.undated_run))
            {
                consent.expires_at = known.consent.expires_at;
                kept.undated.push(consent.credentials_id.clone());
            }
        }
        kept.renewed = renewed(stored, &listed, now);
        let mut all = listed.clone();
        let ids: HashSet<&CredentialsId> = listed.iter().map(|consent| &consent.credentials_id).collect();
        let is_known = |id: &CredentialsId| stored.iter().any(|known| known.consent.credentials_id == *id);
        // The user has connected the bank again: that is more than a gap in the list.
        let is_replaced = |gone: &Consent| {
            let new = listed.iter().filter(|consent| !is_known(&consent.credentials_id));
            let mut healthy = new.filter(|consent| consent.health(now) == Health::Healthy);
            gone.provider.is_some() && healthy.any(|consent| consent.provider == gone.provider)
        };
        for known in stored.iter().filter(|known| !ids.contains(&known.consent.credentials_id)) {
            let is_gone = !first(known.missing_run) || is_replaced(&known.consent);
            if !complete || !is_gone {
                kept.unlisted.push(known.consent.credentials_id.clone());
                all.push(doubted(known.consent.clone(), now));
            }
        }
        Self { all, listed, complete, known, kept }
    }

    /// Adds them to what is written before any walk.
    pub(super) fn fill(&self, overview: &mut Overview) {
        overview.consents.clone_from(&self.listed);
        overview.kept = self.kept.clone();
    }

    /// Whether a person has renewed a consent of this account.
    pub(super) fn is_renewed(&self, account: &AccountId) -> bool {
        self.kept.renewed.contains(account)
    }

    /// The warning states that change, each with the warning that is due, if any.
    fn warnings(&self, now: Timestamp, steps: &[i64]) -> Vec<ConsentWarning> {
        let is_shown = |consent: &&Consent| !self.kept.undated.contains(&consent.credentials_id);
        let mut warnings = Vec::new();
        for consent in self.listed.iter().filter(is_shown) {
            let Some(end) = consent.expires_at else { continue };
            let known = self
                .known
                .consents
                .iter()
                .find(|known| known.consent.credentials_id == consent.credentials_id);
            let before = known.map(|known| known.told).unwrap_or_default();
            let (told, due) = before.next(end, known.and_then(|known| known.known_expiry), now, steps);
            if told != before {
                warnings.push(ConsentWarning { credentials_id: consent.credentials_id.clone(), told, due });
            }
        }
        warnings
    }
}

/// The accounts of consents that needed a person or were past their date, and no longer are. Tink at work counts:
/// that is the state between the two.
fn renewed(stored: &[StoredConsent], listed: &[Consent], now: Timestamp) -> Vec<AccountId> {
    let was_dead =
        |before: &Consent| matches!(before.health(now), Health::NeedsUser(_)) || before.is_past_date(now);
    let is_alive = |consent: &Consent| {
        matches!(consent.health(now), Health::Healthy | Health::Busy) && !consent.is_past_date(now)
    };
    let renewed = listed.iter().filter(|consent| {
        let mut before = stored.iter().filter(|known| known.consent.credentials_id == consent.credentials_id);
        is_alive(consent) && before.any(|known| was_dead(&known.consent))
    });
    renewed.flat_map(|consent| consent.account_ids.iter().cloned()).collect()
}

/// A consent that is not listed, for the first time: its stored state is kept, except that it no longer
/// proves its accounts healthy.
fn doubted(consent: Consent, now: Timestamp) -> Consent {
    if consent.health(now) != Health::Healthy {
        return consent;
    }
    Consent { status: UNLISTED.to_owned(), status_updated: Some(now), ..consent }
}

/// Warns once for each step of `consent.warn`, and once when a consent has expired; superseded consents are
/// left out.
///
/// # Errors
/// [`SyncError`]: the store failed.
pub(super) async fn warn(
    sync: &ConnectionSync<'_>,
    consents: &Consents,
    superseded: &[CredentialsId],
) -> Result<(), SyncError> {
    let (ctx, claim) = (sync.ctx, sync.claim);
    let mut warnings = consents.warnings(sync.now(), &ctx.options.consent_warn);
    warnings.retain(|warning| !superseded.contains(&warning.credentials_id));
    if warnings.is_empty() {
        return Ok(());
    }
    ctx.store.warned(&claim.lease, warnings.clone(), sync.now()).await?;
    for ConsentWarning { credentials_id, due, .. } in warnings {
        let Some(due) = due else { continue };
        let consent = consents.listed.iter().find(|consent| consent.credentials_id == credentials_id);
        (ctx.emit)(&Event::ConsentEnds {
            connection_id: claim.lease.connection_id.clone(),
            user_id: claim.user_id.clone(),
            provider: consent.and_then(|consent| consent.provider.clone()),
            days_left: due.days_left,
            credentials_id,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;

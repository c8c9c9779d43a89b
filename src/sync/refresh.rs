//! Asks Tink to fetch from the bank if its data is old, and waits a while for the result (API.md 5.3). The
//! request states that no user is present. Whatever the result, the connection is then read.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::context::ConnectionSync;
use super::context::RefreshRules;
use super::result::SyncError;
use crate::domain::consent::{Consent, Health};
use crate::domain::ids::CredentialsId;
use crate::tink::Listed;

/// The least time between two requests: a bank may withdraw a consent that is refreshed too often.
const REST: SignedDuration = SignedDuration::from_hours(6);
/// No fetch takes longer than this.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// Requests a refresh of what is old; returns the consents afterwards.
pub(super) async fn refresh(
    sync: &ConnectionSync<'_>,
    list: Listed<Consent>,
    rules: &RefreshRules,
) -> Result<Listed<Consent>, SyncError> {
    let mut asked = HashMap::new();
    for consent in list.items.iter().filter(|consent| is_old(consent, rules.age, sync.now())) {
        let id = &consent.credentials_id;
        if !sync.ctx.store.may_ask_bank(&sync.claim.lease, id, sync.now(), REST).await? {
            continue;
        }
        match sync.session.refresh(id).await {
            Ok(()) => drop(asked.insert(id.clone(), consent.status_updated)),
            // Too often, already in progress, or not permitted: what Tink has is read regardless.
            Err(error) => tracing::debug!("consent {id} was not refreshed: {error}"),
        }
    }
    if asked.is_empty() { Ok(list) } else { wait(sync, list, asked, rules).await }
}

/// A refresh is worthwhile only for a consent that works or that failed temporarily. Any other needs a
/// person, or an operation is in progress, for however long.
fn is_old(consent: &Consent, age: SignedDuration, now: Timestamp) -> bool {
    let works = consent.health(now) == Health::Healthy || consent.status == "TEMPORARY_ERROR";
    works && consent.status_updated.is_some_and(|updated| now.duration_since(updated) > age)
}

async fn wait(
    sync: &ConnectionSync<'_>,
    before: Listed<Consent>,
    asked: HashMap<CredentialsId, Option<Timestamp>>,
    rules: &RefreshRules,
) -> Result<Listed<Consent>, SyncError> {
    // The other half of the connection's time is for reading.
    let end = Instant::now() + (sync.ctx.options.connection_timeout / 2).min(LONGEST_WAIT);
    let (mut list, mut pause) = (before, rules.pause);
    while Instant::now() + pause < end {
        tokio::time::sleep(pause).await;
        list = sync.session.consent_list().await?;
        let is_done = |consent: &Consent| match asked.get(&consent.credentials_id) {
            Some(updated) => consent.status_updated > *updated && consent.health(sync.now()) != Health::Busy,
            None => true,
        };
        if list.items.iter().all(is_done) {
            return Ok(list);
        }
        pause = (pause * 2).min(rules.longest_pause);
    }
    tracing::debug!("connection {}: the bank has not answered yet", sync.claim.lease.connection_id);
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_working_consent_with_old_data_is_asked_for() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let age = SignedDuration::from_hours(12);
        for (status, hours, expires, old) in [
            ("UPDATED", 13, 24, true),
            ("UPDATED", 12, 24, false),
            ("UPDATED", 13, -1, false),
            ("TEMPORARY_ERROR", 13, 24, true),
            ("UPDATING", 13, 24, false),
            ("SESSION_EXPIRED", 13, 24, false),
            ("AUTHENTICATION_ERROR", 13, 24, false),
        ] {
            let consent = Consent {
                credentials_id: "c".into(),
                provider: None,
                account_ids: Vec::new(),
                status: status.to_owned(),
                status_updated: Some(now - SignedDuration::from_hours(hours)),
                expires_at: Some(now + SignedDuration::from_hours(expires)),
                extendable: None,
                error_type: None,
                error_reason: None,
            };
            assert_eq!(is_old(&consent, age, now), old, "{status} {hours} {expires}");
        }
    }
}

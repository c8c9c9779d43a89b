//! Stale data: an account with a healthy consent for which Tink has had nothing new from the bank for too
//! long. Everything succeeds then, so it would go unnoticed. It is reported once and fails nothing.

use jiff::{SignedDuration, Timestamp};

use super::accounts;
use super::context::ConnectionSync;
use super::result::{AttemptResult, Standstill};
use crate::domain::consent::Consent;
use crate::domain::event::Event;
use crate::domain::outcome::{Outcome, Reason};
use crate::store::{Claim, StoredAccount};

/// What is judged of an account.
#[derive(Clone, Copy, Debug)]
struct Seen {
    key: i64,
    refreshed: Option<Timestamp>,
    /// Its consent is healthy. Others are reported differently: the user is needed, or the bank has a
    /// problem.
    healthy: bool,
    /// It was already reported as stale.
    told: bool,
}

fn judge(accounts: &[Seen], now: Timestamp, limit: SignedDuration) -> Standstill {
    let is_old = |at: Timestamp| now.duration_since(at) > limit;
    let still = || accounts.iter().filter(|account| account.healthy && account.refreshed.is_some_and(is_old));
    Standstill {
        accounts: still().map(|account| account.key).collect(),
        new: still().filter(|account| !account.told).count() as u64,
        since: still().filter_map(|account| account.refreshed).min(),
    }
}

/// The result with its stale accounts; a success names the reason and stays a success. An open account that the list
/// lacks though a healthy consent names it stands still, too.
pub(super) fn noted(
    sync: &ConnectionSync<'_>,
    stored: &[StoredAccount],
    listed: &[StoredAccount],
    consents: &[Consent],
    mut result: AttemptResult,
) -> AttemptResult {
    let is_unlisted = |account: &&StoredAccount| {
        let is_named = consents.iter().any(|consent| consent.account_ids.contains(&account.account.id));
        is_named && !account.closed && listed.iter().all(|other| other.key != account.key)
    };
    let seen = |account: &StoredAccount| Seen {
        key: account.key,
        refreshed: account.account.last_refreshed,
        healthy: accounts::is_healthy(consents, &account.account.id, sync.now()),
        told: account.stale,
    };
    let seen: Vec<Seen> = listed.iter().chain(stored.iter().filter(is_unlisted)).map(seen).collect();
    let still = judge(&seen, sync.now(), sync.ctx.options.stale_after);
    let is_success = matches!(result.outcome, Outcome::Synced | Outcome::Unchanged);
    if is_success && !still.accounts.is_empty() {
        result.reason = result.reason.or(Some(Reason::DataStale));
    }
    result.stale = Some(still);
    result
}

/// The event that accounts newly became stale.
pub(super) fn news(claim: &Claim, still: Option<&Standstill>) -> Option<Event> {
    let Some(Standstill { new: accounts @ 1.., since: Some(since), .. }) = still else { return None };
    Some(Event::DataStale {
        connection_id: claim.lease.connection_id.clone(),
        user_id: claim.user_id.clone(),
        accounts: *accounts,
        since: *since,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_data_of_healthy_consents_stand_still() {
        let now: Timestamp = "2026-06-10T12:00:00Z".parse().unwrap();
        let seen = |key, hours: Option<i64>, healthy, told| Seen {
            key,
            refreshed: hours.map(|hours| now - SignedDuration::from_hours(hours)),
            healthy,
            told,
        };
        let accounts = [
            seen(1, Some(72), true, false),
            seen(2, Some(73), true, false),
            seen(3, Some(500), true, true),
            seen(4, Some(900), false, false),
            seen(5, None, true, false),
            // From a clock that was wrong.
            seen(6, Some(-500), true, false),
        ];
        let limit = SignedDuration::from_hours(72);
        let still = judge(&accounts, now, limit);
        assert_eq!((still.accounts, still.new), (vec![2, 3], 1));
        assert_eq!(still.since, Some(now - SignedDuration::from_hours(500)));
        assert_eq!(judge(&accounts[..1], now, limit), Standstill::default());
    }
}

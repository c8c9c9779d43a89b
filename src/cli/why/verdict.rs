//! What the next pass will do with a connection, by the same reasons in the same order as the plan.
//! Pure; a test compares it with the plan itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::config::Settings;
use crate::domain::outcome::Reason;
use crate::store::sqlite::reads::KnownConnection;

/// Back-off that lies further ahead comes from a clock that was wrong, and the plan ignores it.
const HORIZON: SignedDuration = SignedDuration::from_hours(25);

/// The settings that decide who is due.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Rules {
    /// A connection whose last success began less than this ago is not due.
    pub min_interval: Duration,
    /// Syncs of one user in 24 hours.
    pub syncs_per_day: u32,
    /// Of these, what the timer leaves to the user.
    pub reserved: u32,
}

impl Rules {
    /// The rules of the settings.
    pub(in crate::cli) fn of(settings: &Settings) -> Self {
        Self {
            min_interval: settings.sync.min_interval,
            syncs_per_day: settings.quota.syncs_per_day,
            reserved: settings.quota.reserved_for_manual,
        }
    }

    /// Syncs of one user in 24 hours that the timer may make.
    pub(in crate::cli) fn automatic(&self) -> u32 {
        self.syncs_per_day.saturating_sub(self.reserved)
    }

    /// What is used and left of a user's quota, for machines.
    pub(in crate::cli) fn quota_json(&self, used: u32) -> Value {
        json!({
            "used": used,
            "syncs_per_day": self.syncs_per_day,
            "left_for_automatic": self.automatic().saturating_sub(used),
            "left_for_manual": self.syncs_per_day.saturating_sub(used),
        })
    }

    /// When the connection stops being recent.
    pub(in crate::cli) fn rested(&self, began: Timestamp) -> Timestamp {
        let rest = SignedDuration::try_from(self.min_interval).unwrap_or(SignedDuration::MAX);
        began.saturating_add(rest).unwrap_or(Timestamp::MAX)
    }
}

/// Why a pass of the timer at the time `now` leaves the connection alone; none if it is due. `used` are the
/// attempts for its user in the last 24 hours.
pub(in crate::cli) fn why_not(
    c: &KnownConnection,
    rules: &Rules,
    used: u32,
    now: Timestamp,
) -> Option<Reason> {
    let horizon = now.saturating_add(HORIZON).unwrap_or(Timestamp::MAX);
    let is_recent = |began: Timestamp| began <= now && rules.rested(began) > now;
    let own = c.refused.is_none();
    if c.refused == Some(false) || (own && !c.enabled) {
        Some(if own && c.gone_at.is_some() { Reason::Gone } else { Reason::Disabled })
    } else if own && !c.is_entitled(now) {
        Some(Reason::NotEntitled)
    } else if c.held_by(now).is_some() {
        Some(Reason::Leased)
    } else if c.problem.is_some() && c.moved.is_none() {
        None
    } else if c.not_before.is_some_and(|at| at > now && at < horizon) {
        Some(Reason::NotBefore)
    } else if c.failures == 0 && c.needs_user.is_none() && c.last_success_began.is_some_and(is_recent) {
        Some(Reason::Recent)
    } else if used >= rules.automatic() {
        Some(Reason::Quota)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::reads::Holder;

    #[test]
    fn the_first_reason_counts() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let hours = SignedDuration::from_hours;
        let rules = Rules { min_interval: Duration::from_hours(5), syncs_per_day: 10, reserved: 4 };
        let mut c = KnownConnection {
            last_success_began: Some(now - hours(1)),
            not_before: Some(now + hours(1)),
            holder: Some(Holder { run_id: "r".to_owned(), until: now + hours(1) }),
            ..KnownConnection::default()
        };
        let reason = |c: &KnownConnection, used| why_not(c, &rules, used, now);
        assert_eq!(reason(&c, 6), Some(Reason::Disabled));
        assert_eq!(reason(&KnownConnection { gone_at: Some(now), ..c.clone() }, 6), Some(Reason::Gone));
        c.enabled = true;
        assert_eq!(reason(&c, 6), Some(Reason::NotEntitled));
        c.entitled = true;
        assert_eq!(reason(&c, 6), Some(Reason::Leased));
        c.holder = Some(Holder { run_id: "r".to_owned(), until: now });
        assert_eq!(reason(&c, 6), Some(Reason::NotBefore));
        c.not_before = Some(now + hours(30));
        assert_eq!(reason(&c, 6), Some(Reason::Recent));
        c.last_success_began = Some(now - hours(5));
        assert_eq!(reason(&c, 6), Some(Reason::Quota));
        assert_eq!(reason(&c, 5), None);
    }

    #[test]
    fn a_connection_that_is_not_well_is_never_recent() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let rules = Rules { min_interval: Duration::from_hours(5), syncs_per_day: 10, reserved: 4 };
        let c = KnownConnection {
            enabled: true,
            entitled: true,
            last_success_began: Some(now),
            ..KnownConnection::default()
        };
        assert_eq!(why_not(&c, &rules, 0, now), Some(Reason::Recent));
        assert_eq!(why_not(&KnownConnection { failures: 1, ..c.clone() }, &rules, 0, now), None);
        assert_eq!(why_not(&KnownConnection { needs_user: Some("x".to_owned()), ..c }, &rules, 0, now), None);
    }
}

//! The settings that decide who is due, for the plan and in words. Who is due, the plan alone says.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::config::Settings;
use crate::store::{PlanRules, Selection};

/// The settings that decide who is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// A connection whose last success began less than this ago is not due.
    pub min_interval: Duration,
    /// Syncs of one user in 24 hours.
    pub syncs_per_day: u32,
    /// Of these, what the timer leaves to the user.
    pub reserved: u32,
}

/// What is used and left of a user's quota.
#[derive(Serialize)]
pub(super) struct QuotaJson {
    used: u32,
    syncs_per_day: u32,
    left_for_automatic: u32,
    left_for_manual: u32,
}

impl Rules {
    /// The rules of the settings.
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            min_interval: settings.sync.min_interval,
            syncs_per_day: settings.quota.syncs_per_day,
            reserved: settings.quota.reserved_for_manual,
        }
    }

    /// Syncs of one user in 24 hours that the timer may make.
    pub(super) fn automatic(&self) -> u32 {
        self.syncs_per_day.saturating_sub(self.reserved)
    }

    /// What is used and left of a user's quota, for machines.
    pub(super) fn quota_json(&self, used: u32) -> QuotaJson {
        QuotaJson {
            used,
            syncs_per_day: self.syncs_per_day,
            left_for_automatic: self.automatic().saturating_sub(used),
            left_for_manual: self.syncs_per_day.saturating_sub(used),
        }
    }

    /// The rules of a pass that the timer starts now.
    pub(super) fn of_pass(&self, now: Timestamp) -> PlanRules {
        PlanRules {
            now,
            selection: Selection::default(),
            force: false,
            min_interval: self.min_interval,
            quota: self.automatic(),
        }
    }

    /// When the connection stops being recent.
    pub(super) fn rested(&self, began: Timestamp) -> Timestamp {
        let rest = SignedDuration::try_from(self.min_interval).unwrap_or(SignedDuration::MAX);
        began.saturating_add(rest).unwrap_or(Timestamp::MAX)
    }
}

//! The settings that decide which connections are due, as rules of the plan and as numbers for reports. Only
//! the plan decides what is due.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::config::Settings;
use crate::store::{PlanRules, Selection};

#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// A connection whose last success began less than this ago is not due.
    pub min_interval: Duration,
    /// Limit of syncs per user in 24 hours.
    pub syncs_per_day: u32,
    /// Syncs of that limit that the timer may not use.
    pub reserved: u32,
}

/// The used and remaining part of a user's quota.
#[derive(Serialize)]
pub(super) struct QuotaJson {
    used: u32,
    syncs_per_day: u32,
    left_for_automatic: u32,
    left_for_manual: u32,
}

impl Rules {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            min_interval: settings.sync.min_interval,
            syncs_per_day: settings.quota.syncs_per_day,
            reserved: settings.quota.reserved_for_manual,
        }
    }

    /// Syncs per user in 24 hours that the timer may make.
    pub(super) fn automatic(&self) -> u32 {
        self.syncs_per_day.saturating_sub(self.reserved)
    }

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

    /// When a connection whose last success began at `began` may be due again.
    pub(super) fn rested(&self, began: Timestamp) -> Timestamp {
        let rest = SignedDuration::try_from(self.min_interval).unwrap_or(SignedDuration::MAX);
        began.saturating_add(rest).unwrap_or(Timestamp::MAX)
    }
}

//! What a pass is given: the settings and the command line as its options.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::{Emit, RunCommand};
use crate::config::Refresh;
use crate::store::Store;
use crate::sync::context::{PassContext, RefreshRules, SyncOptions};
use crate::sync::hold::Hold;
use crate::tink::Client;

/// The pause before the first check whether the bank has answered, in `retry.base` (5 s as shipped).
const LOOKS_APART: u32 = 5;

impl RunCommand<'_> {
    pub(super) fn context(&self, store: Store, client: Client, send: Emit) -> PassContext {
        let settings = &self.env.settings;
        let signed = |duration: Duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        let reserved = if self.trigger == "timer" { settings.quota.reserved_for_manual } else { 0 };
        let options = SyncOptions {
            min_interval: settings.sync.min_interval,
            history_days: settings.sync.history_days,
            overlap_days: settings.sync.overlap_days,
            lookahead_days: settings.sync.lookahead_days,
            rewalk: signed(settings.sync.rewalk),
            deep_rewalk: signed(settings.sync.deep_rewalk),
            stale_after: signed(settings.sync.stale_after),
            balance_min_open: signed(settings.balance.min_open),
            connection_timeout: settings.sync.connection_timeout,
            deadline: settings.sync.deadline,
            outage_patience: self.patience,
            // Some connections write or reconcile while others wait for Tink.
            slots: settings.tink.concurrency + settings.tink.concurrency / 2 + 1,
            bank_wait: self.args.wait.unwrap_or_default(),
            probe_base: settings.retry.base,
            quota: settings.quota.syncs_per_day.saturating_sub(reserved),
            consent_warn: settings.consent.warn.clone(),
            refresh: match settings.tink.refresh {
                Refresh::Never => None,
                Refresh::Stale(age) => Some(RefreshRules {
                    age: signed(age),
                    pause: settings.retry.base * LOOKS_APART,
                    longest_pause: settings.retry.max,
                }),
            },
        };
        let renewals = self.renewals.clone();
        let clock = Arc::clone(&self.env.clock);
        let hold = Hold::new(Arc::clone(&clock));
        PassContext { store, client, clock, options, emit: send, renewals, hold }
    }
}

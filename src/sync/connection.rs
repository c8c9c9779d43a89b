//! Syncs one connection, top to bottom: consents, accounts, transactions, result. It reads and commits; it
//! neither claims nor records. A problem of one account does not affect another.

use std::time::Duration;

use jiff::Timestamp;

use super::balance;
use super::consents::Consents;
use super::context::ConnectionSync;
use super::fresh_link;
use super::policy::{self, Hint};
use super::result::{AttemptResult, SyncError};
use super::staleness;
use super::walk::{Walk, WalkEnd};
use super::{accounts, anomalies, consents, incomplete};
use crate::domain::account::Account;
use crate::domain::consent::{Consent, Health};
use crate::domain::ids::CredentialsId;
use crate::domain::outcome::{Outcome, Reason};
use crate::store::{Overview, OverviewSaved, StoreError, StoredAccount};
use crate::tink;

impl ConnectionSync<'_> {
    /// Runs the sync; only a broken store or a lost lease is an error.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn run(&self) -> Result<AttemptResult, StoreError> {
        let result = self.take_steps().await.or_else(SyncError::into_result)?;
        match anomalies::emit(self).await {
            Ok(()) => Ok(result),
            Err(error) => SyncError::Store(error).into_result(),
        }
    }

    async fn take_steps(&self) -> Result<AttemptResult, SyncError> {
        let known = consents::read(self).await?;
        let consents = known.all.as_slice();
        if let Some(reason) = self.needs_user_for_all(consents) {
            // Nothing can be read until a person acts; requesting the consents is how a renewal is noticed.
            self.keep_consents(&known).await?;
            return Ok(AttemptResult::because(Outcome::NeedsUser, reason, reason.sentence()));
        }
        let stored = known.known.accounts.clone();
        let listed = match self.session.account_list().await {
            Err(error) if policy::is_refusal(&error) && self.past_date(consents) => {
                self.keep_consents(&known).await?;
                let reason = Reason::ConsentExpired;
                let result = AttemptResult::because(Outcome::NeedsUser, reason, reason.sentence());
                return Ok(AttemptResult { request_id: error.request_id, ..result });
            }
            listed => listed?,
        };
        let certain = listed.complete && known.complete;
        let listed = if certain { listed.items } else { incomplete::certain(&stored, listed.items) };
        if listed.is_empty() && stored.iter().any(|account| !account.closed) {
            let reason = if self.past_date(consents) { Reason::ConsentExpired } else { Reason::NoAccounts };
            self.keep_consents(&known).await?;
            return Ok(AttemptResult::because(Outcome::NeedsUser, reason, reason.sentence()));
        }
        let (saved, overview) = self.keep_overview(&stored, listed, &known, certain).await?;
        self.counters.add(|counts| {
            counts.accounts = saved.accounts.len() as u64;
            counts.removed += saved.removed;
        });
        let mut walked = self.walk_all(&stored, &saved, consents).await?;
        let judged = balance::judge(self, std::mem::take(&mut walked.exact)).await?;
        let hung = std::mem::take(&mut walked.shares);
        let result = AttemptResult { judged, hung, ..self.conclude(walked, consents, &overview) };
        Ok(staleness::noted(self, &stored, &saved.accounts, consents, result))
    }

    fn needs_user_for_all(&self, consents: &[Consent]) -> Option<Reason> {
        let needs = |consent: &Consent| match consent.health(self.now()) {
            Health::NeedsUser(reason) => Some(reason),
            _ => None,
        };
        let reasons: Option<Vec<Reason>> = consents.iter().map(needs).collect();
        reasons?.first().copied()
    }

    fn past_date(&self, consents: &[Consent]) -> bool {
        consents.iter().any(|consent| consent.health(self.now()) == Health::PastDate)
    }

    async fn keep_consents(&self, known: &Consents) -> Result<(), SyncError> {
        let mut overview = Overview::default();
        known.fill(&mut overview);
        self.ctx.store.save_overview(&self.claim.lease, overview, self.now()).await?;
        consents::warn(self, known, &[]).await
    }

    async fn keep_overview(
        &self,
        stored: &[StoredAccount],
        listed: Vec<Account>,
        known: &Consents,
        certain: bool,
    ) -> Result<(OverviewSaved, Saved), SyncError> {
        let mut overview = accounts::overview(stored, listed, known.listed.clone(), certain, self.now());
        let shown: Vec<_> = overview.accounts.iter().map(|(account, identity)| (account, identity)).collect();
        // Also of those that this list lacks for the first time.
        overview.superseded = accounts::superseded(stored, &shown, &known.all, &overview.merged, self.now());
        known.fill(&mut overview);
        let (ambiguous, superseded) = (overview.ambiguous, overview.superseded.clone());
        let mut stored = match overview.is_as_stored(&known.known) {
            Some(accounts) => OverviewSaved { accounts, ..OverviewSaved::default() },
            None => self.ctx.store.save_overview(&self.claim.lease, overview, self.now()).await?,
        };
        // What was saved may have been read before they were noted.
        for account in &mut stored.accounts {
            account.full_due |= account.complete_through.is_some() && known.is_renewed(&account.account.id);
        }
        consents::warn(self, known, &superseded).await?;
        let saved = Saved { changed: stored.changed || stored.removed > 0, ambiguous, superseded };
        Ok((stored, saved))
    }

    /// Walks every account that is due: the one completed longest ago first, those that used up their share
    /// of the time in their last walk last. One account's failure does not end the others' turn.
    async fn walk_all(
        &self,
        stored: &[StoredAccount],
        saved: &OverviewSaved,
        consents: &[Consent],
    ) -> Result<Walked, SyncError> {
        let mut walked = Walked::default();
        let mut accounts: Vec<&StoredAccount> = saved.accounts.iter().collect();
        accounts.sort_by_key(|account| (account.hung_at, account.walked_at));
        let mut left = accounts.len();
        for account in accounts {
            if self.claim.entitled_until.is_some_and(|until| until <= self.now()) {
                walked.entitlement_over = true;
                break;
            }
            let before = stored.iter().find(|before| before.key == account.key);
            let id = &account.account.id;
            let healthy =
                accounts::may_be_held(consents, id) && accounts::is_healthy(consents, id, self.now());
            let at_work = accounts::is_at_work(consents, id, self.now());
            let walk = Walk { sync: self, before, account, healthy, at_work };
            if walk.is_due() {
                match tokio::time::timeout(self.share(left), walk.run()).await {
                    Ok(Err(SyncError::Tink(error))) if self.is_explained(&error, consents, account) => {
                        walked.explained += 1;
                    }
                    Ok(Err(error)) => walked.keep_worst(error.into_result()?),
                    Ok(Ok(end)) => walked.end(account, end),
                    Err(_) => {
                        self.session.release_unwritten();
                        walked.hung(account);
                    }
                }
            } else {
                walked.end(account, walk.at_rest());
            }
            left -= 1;
        }
        Ok(walked)
    }

    /// The time that one of `left` accounts may take, so that a slow one leaves time for the others.
    fn share(&self, left: usize) -> Duration {
        let all = self.deadline.left(&self.ctx.client, self.session, self.ctx.options.connection_timeout);
        let left = u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        // Recording the end of the connection takes time, too.
        all / left * SHARE.0 / SHARE.1
    }

    /// Whether the state of the account's consent explains a refusal.
    fn is_explained(&self, error: &tink::Error, consents: &[Consent], account: &StoredAccount) -> bool {
        policy::is_refusal(error) && !accounts::is_healthy(consents, &account.account.id, self.now())
    }

    fn conclude(&self, walked: Walked, consents: &[Consent], saved: &Saved) -> AttemptResult {
        if let Some(worst) = walked.worst {
            let partial = walked.done > 0 && matches!(worst.outcome, Outcome::Failed | Outcome::RateLimited);
            // What an endless list did show was stored.
            let partial = partial || worst.reason == Some(Reason::PageLoop);
            let limited = worst.outcome == Outcome::RateLimited;
            return AttemptResult {
                outcome: if partial && !limited { Outcome::Partial } else { worst.outcome },
                ..worst
            };
        }
        if walked.suspect {
            let reason = Reason::MassVanish;
            return AttemptResult::because(Outcome::Partial, reason, reason.sentence());
        }
        let live: Vec<&Consent> =
            consents.iter().filter(|consent| !saved.superseded.contains(&consent.credentials_id)).collect();
        if let Some(reason) = needs_user_for_some(&live, walked.explained > 0, self.now()) {
            return AttemptResult::because(Outcome::NeedsUser, reason, reason.sentence());
        }
        if walked.entitlement_over {
            return AttemptResult::new(Outcome::Skipped, Some(Reason::NotEntitled));
        }
        if let Some(reason) = fresh_link::nothing_yet(self, consents) {
            return AttemptResult {
                without_data: true,
                ..AttemptResult::because(Outcome::Unchanged, reason, reason.sentence())
            };
        }
        let counts = self.counters.counts();
        let changed = saved.changed || counts.added + counts.updated + counts.removed > 0;
        let unavailable = live.iter().any(|consent| consent.health(self.now()) == Health::Unavailable);
        let ambiguous = saved.ambiguous.then_some(Reason::ReconsentAmbiguous);
        let note = walked.note.or(ambiguous).or(unavailable.then_some(Reason::BankUnavailable));
        AttemptResult::new(if changed { Outcome::Synced } else { Outcome::Unchanged }, note)
    }
}

/// An account's share of the time that is left; the rest is for recording the result.
const SHARE: (u32, u32) = (19, 20);

/// The result of saving the overview.
struct Saved {
    changed: bool,
    ambiguous: bool,
    superseded: Vec<CredentialsId>,
}

/// The result of the walks.
#[derive(Default)]
struct Walked {
    done: usize,
    /// Accounts whose rows are complete as of the account list.
    exact: Vec<i64>,
    /// Accounts that used up their share of the time, and those that no longer do.
    shares: Vec<(i64, bool)>,
    explained: usize,
    suspect: bool,
    entitlement_over: bool,
    note: Option<Reason>,
    worst: Option<AttemptResult>,
}

impl Walked {
    fn end(&mut self, account: &StoredAccount, end: WalkEnd) {
        self.done += 1;
        self.exact.extend(end.exact.then_some(account.key));
        self.suspect |= end.suspect;
        self.note = self.note.or(end.note);
        if account.hung_at.is_some() {
            self.shares.push((account.key, false));
        }
    }

    fn hung(&mut self, account: &StoredAccount) {
        self.shares.push((account.key, true));
        let text = "an account took longer than its share of sync.connection_timeout; what was read of the others is \
                    kept, and the next pass goes on";
        let result = AttemptResult::because(Outcome::Failed, Reason::Timeout, text);
        self.keep_worst(AttemptResult { hint: Hint::MayBeAway, ..result });
    }

    /// A rate limit outweighs any other failure; otherwise the first one is kept.
    fn keep_worst(&mut self, result: AttemptResult) {
        let limited = |result: &AttemptResult| result.outcome == Outcome::RateLimited;
        if self.worst.as_ref().is_none_or(|worst| limited(&result) && !limited(worst)) {
            self.worst = Some(result);
        }
    }
}

fn needs_user_for_some(consents: &[&Consent], refused: bool, now: Timestamp) -> Option<Reason> {
    consents.iter().find_map(|consent| match consent.health(now) {
        Health::NeedsUser(reason) => Some(reason),
        Health::PastDate if refused => Some(Reason::ConsentExpired),
        _ => None,
    })
}

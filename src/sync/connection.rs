//! The story of one connection, top to bottom: consents, accounts, transactions, verdict. It reads and
//! commits; it neither claims nor records, and one account's trouble is not another's.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::balance;
use super::consents::Consents;
use super::fresh_link;
use super::freshen::Freshen;
use super::policy::{self, Hint};
use super::rotation::Renewals;
use super::staleness::{self, Standstill};
use super::walk::{End, Walk};
use super::{accounts, anomalies, consents, incomplete, policy::Verdict};
use crate::clock::Clock;
use crate::domain::account::Account;
use crate::domain::consent::{Consent, Health};
use crate::domain::event::Event;
use crate::domain::ids::CredentialsId;
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::store::{Claim, Judgement, Overview, OverviewSaved, Store, StoreError, StoredAccount};
use crate::tink::{self, Client, Session};

/// The settings of the sync that every connection shares.
#[derive(Clone, Debug)]
pub struct Options {
    /// A connection whose last success began less than this ago is not due.
    pub min_interval: Duration,
    /// How far back a first walk goes; none is everything.
    pub history_days: Option<i64>,
    /// Days read again below the watermark.
    pub overlap_days: i64,
    /// Days read beyond today.
    pub lookahead_days: i64,
    /// An unmoved account's window is walked again after this.
    pub rewalk: SignedDuration,
    /// The last 90 days of an account are walked again after this.
    pub deep_rewalk: SignedDuration,
    /// Tink's data of a healthy consent that are older than this are told of.
    pub stale_after: SignedDuration,
    /// Time for one connection, waiting for Tink's `Retry-After` not counted.
    pub connection_timeout: Duration,
    /// Time for the pass.
    pub deadline: Duration,
    /// How long to wait for Tink as a whole to come back.
    pub outage_patience: Duration,
    /// Connections worked on at once.
    pub slots: usize,
    /// Base of the waits between probes.
    pub probe_base: Duration,
    /// How long to wait for the bank of a new link that is still at work.
    pub bank_wait: Duration,
    /// Attempts a user may have in 24 hours.
    pub quota: u32,
    /// Days before a consent's end at which to warn.
    pub consent_warn: Vec<i64>,
    /// Whether and when Tink is asked to fetch from the bank.
    pub freshen: Option<Freshen>,
}

/// What the connections of one pass share.
pub struct Context<S> {
    /// Where everything is stored.
    pub store: S,
    /// The way to Tink.
    pub client: Client,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The settings.
    pub options: Options,
    /// Who is told what happens.
    pub tell: Arc<dyn Fn(&Event) + Send + Sync>,
    /// Renewals of tokens of older links.
    pub renewals: Renewals,
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// Counts that survive when a story is cut short.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

impl Tally {
    /// Changes the counts.
    pub fn add(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a story could not go on.
#[derive(Debug)]
pub enum Trouble {
    /// A call to Tink failed for good.
    Tink(tink::Error),
    /// The store failed, or the lease was lost.
    Store(StoreError),
}

impl From<tink::Error> for Trouble {
    fn from(error: tink::Error) -> Self {
        Self::Tink(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Trouble {
    /// How a story ends that meets this; an error is what no connection can be blamed for.
    ///
    /// # Errors
    /// [`StoreError`]: the lease was lost, or the store as a whole is in trouble.
    pub fn ending(self) -> Result<Ending, StoreError> {
        match self {
            Self::Tink(error) => Ok(Ending::of(&error)),
            // The database works but not with this one's data. Should it be broken after all, the record of
            // this ending cannot be written either, and that ends the run.
            Self::Store(error @ StoreError::Sql { .. }) => {
                let text = format!(
                    "the store failed for this connection alone, nothing of that step was kept: {error}"
                );
                let ending = Ending::because(Outcome::Failed, Reason::Store, text);
                Ok(Ending { hint: Hint::Nothing, ..ending })
            }
            Self::Store(error) => Err(error),
        }
    }
}

/// How a story ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<Reason>,
    /// A sentence for people.
    pub error: Option<String>,
    /// Tink's id of the failed request.
    pub request_id: Option<String>,
    /// How long Tink asked to wait.
    pub retry_after: Option<Duration>,
    /// Worth a second round in this pass.
    pub transient: bool,
    /// What it says about Tink as a whole.
    pub hint: Hint,
    /// What was judged of the accounts' balances.
    pub judged: Vec<Judgement>,
    /// Accounts that used up their share of the time, and those that no longer do.
    pub hung: Vec<(i64, bool)>,
    /// It went well, and there is nothing yet: no success.
    pub without_data: bool,
    /// Accounts of which Tink has nothing new; none if they were not looked at.
    pub stale: Option<Standstill>,
}

impl Ending {
    /// An ending without an error.
    pub fn new(outcome: Outcome, reason: Option<Reason>) -> Self {
        let hint = Hint::Answers;
        Self {
            outcome,
            reason,
            error: None,
            request_id: None,
            retry_after: None,
            transient: false,
            hint,
            judged: Vec::new(),
            hung: Vec::new(),
            without_data: false,
            stale: None,
        }
    }

    /// An ending with a sentence.
    pub fn because(outcome: Outcome, reason: Reason, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::new(outcome, Some(reason)) }
    }

    fn of(error: &tink::Error) -> Self {
        let Verdict { outcome, reason, transient, .. } = policy::verdict(error.kind);
        Self {
            outcome,
            reason: Some(reason).filter(|_| outcome != Outcome::Interrupted),
            error: Some(error.to_string()),
            request_id: error.request_id.clone(),
            retry_after: error.retry_after,
            transient,
            hint: policy::hint(error),
            judged: Vec::new(),
            hung: Vec::new(),
            without_data: false,
            stale: None,
        }
    }
}

/// The end of a connection's time; waiting because Tink asked another connection to does not count.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    began: Instant,
    paused_before: Duration,
}

impl Deadline {
    /// A time that begins now.
    pub fn begin(client: &Client) -> Self {
        Self { began: Instant::now(), paused_before: client.paused_total() }
    }

    /// When a time of this length is used up, as it stands now. Pauses that the session made itself count.
    pub fn end(&self, client: &Client, session: &Session, time: Duration) -> Instant {
        let paused = client.paused_total().saturating_sub(self.paused_before);
        self.began + time + paused.saturating_sub(session.own_pauses())
    }

    /// What is left of it.
    pub fn left(&self, client: &Client, session: &Session, time: Duration) -> Duration {
        self.end(client, session, time).saturating_duration_since(Instant::now())
    }
}

/// One connection being worked on.
pub struct Story<'a, S> {
    /// What all connections share.
    pub ctx: &'a Context<S>,
    /// The connection and its lease.
    pub claim: &'a Claim,
    /// Its calls to Tink.
    pub session: &'a Session,
    /// Its counts.
    pub tally: &'a Tally,
    /// When its time is used up.
    pub deadline: Deadline,
}

impl<S> fmt::Debug for Story<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Story").finish_non_exhaustive()
    }
}

impl<S: Store> Story<'_, S> {
    /// Tells the story; only a broken store or a lost lease is an error.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn run(&self) -> Result<Ending, StoreError> {
        let ending = self.tell_it().await.or_else(Trouble::ending)?;
        match anomalies::tell(self).await {
            Ok(()) => Ok(ending),
            Err(error) => Trouble::Store(error).ending(),
        }
    }

    async fn tell_it(&self) -> Result<Ending, Trouble> {
        let known = consents::read(self).await?;
        let consents = known.all.as_slice();
        if let Some(reason) = self.needs_user_for_all(consents) {
            // Nothing to read until a person acts; asking for the consents is how a renewal is noticed.
            self.keep_consents(&known).await?;
            return Ok(Ending::because(Outcome::NeedsUser, reason, sentence(reason)));
        }
        let stored = self.ctx.store.accounts(&self.claim.lease, self.now()).await?;
        let listed = match self.session.account_list().await {
            Err(error) if policy::is_refusal(&error) && self.past_date(consents) => {
                self.keep_consents(&known).await?;
                let reason = Reason::ConsentExpired;
                let ending = Ending::because(Outcome::NeedsUser, reason, sentence(reason));
                return Ok(Ending { request_id: error.request_id, ..ending });
            }
            listed => listed?,
        };
        let certain = listed.complete && known.complete;
        let listed = if certain { listed.items } else { incomplete::certain(&stored, listed.items) };
        if listed.is_empty() && stored.iter().any(|account| !account.closed) {
            let reason = if self.past_date(consents) { Reason::ConsentExpired } else { Reason::NoAccounts };
            self.keep_consents(&known).await?;
            return Ok(Ending::because(Outcome::NeedsUser, reason, sentence(reason)));
        }
        let (saved, overview) = self.keep_overview(&stored, listed, &known, certain).await?;
        self.tally.add(|counts| {
            counts.accounts = saved.accounts.len() as u64;
            counts.removed += saved.removed;
        });
        let mut walked = self.walk_all(&stored, &saved, consents).await?;
        let judged = balance::judge(self, std::mem::take(&mut walked.exact)).await?;
        let hung = std::mem::take(&mut walked.shares);
        let ending = Ending { judged, hung, ..self.conclude(walked, consents, &overview) };
        Ok(staleness::noted(self, &saved.accounts, consents, ending))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.ctx.clock.now()
    }

    /// Tells of records new in the quarantine.
    pub fn quarantined(&self, reason: String, records: u64) {
        let connection_id = self.claim.lease.connection_id.clone();
        (self.ctx.tell)(&Event::Quarantined { connection_id, reason, records });
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

    async fn keep_consents(&self, known: &Consents) -> Result<(), Trouble> {
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
    ) -> Result<(OverviewSaved, Saved), Trouble> {
        let mut overview = accounts::overview(stored, listed, known.listed.clone(), certain, self.now());
        known.fill(&mut overview);
        let (ambiguous, superseded) = (overview.ambiguous, overview.superseded.clone());
        let stored = self.ctx.store.save_overview(&self.claim.lease, overview, self.now()).await?;
        consents::warn(self, known, &superseded).await?;
        let saved = Saved { changed: stored.changed || stored.removed > 0, ambiguous, superseded };
        Ok((stored, saved))
    }

    /// Walks every account that is due: the one completed longest ago first, those that used up their share of the
    /// time in their last walk last. One account's failure does not end the others' turn.
    async fn walk_all(
        &self,
        stored: &[StoredAccount],
        saved: &OverviewSaved,
        consents: &[Consent],
    ) -> Result<Walked, Trouble> {
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
            let healthy = accounts::is_healthy(consents, &account.account.id, self.now());
            let walk = Walk { story: self, before, account, healthy };
            if walk.is_due() {
                match tokio::time::timeout(self.share(left), walk.run()).await {
                    Ok(Err(Trouble::Tink(error))) if self.is_explained(&error, consents, account) => {
                        walked.explained += 1;
                    }
                    Ok(Err(trouble)) => walked.keep_worst(trouble.ending()?),
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

    /// The time that one of `left` accounts may take, so that a slow one leaves the others theirs.
    fn share(&self, left: usize) -> Duration {
        let all = self.deadline.left(&self.ctx.client, self.session, self.ctx.options.connection_timeout);
        let left = u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        // The connection's end is recorded in its time too.
        all / left * SHARE.0 / SHARE.1
    }

    /// Whether a refusal is what the account's consent lets expect.
    fn is_explained(&self, error: &tink::Error, consents: &[Consent], account: &StoredAccount) -> bool {
        policy::is_refusal(error) && !accounts::is_healthy(consents, &account.account.id, self.now())
    }

    fn conclude(&self, walked: Walked, consents: &[Consent], saved: &Saved) -> Ending {
        if let Some(worst) = walked.worst {
            let partial = walked.done > 0 && matches!(worst.outcome, Outcome::Failed | Outcome::RateLimited);
            // What an endless list did show was stored.
            let partial = partial || worst.reason == Some(Reason::PageLoop);
            let limited = worst.outcome == Outcome::RateLimited;
            return Ending {
                outcome: if partial && !limited { Outcome::Partial } else { worst.outcome },
                ..worst
            };
        }
        if walked.suspect {
            let reason = Reason::MassVanish;
            return Ending::because(Outcome::Partial, reason, sentence(reason));
        }
        let live: Vec<&Consent> =
            consents.iter().filter(|consent| !saved.superseded.contains(&consent.credentials_id)).collect();
        if let Some(reason) = needs_user_for_some(&live, walked.explained > 0, self.now()) {
            return Ending::because(Outcome::NeedsUser, reason, sentence(reason));
        }
        if walked.entitlement_over {
            return Ending::new(Outcome::Skipped, Some(Reason::NotEntitled));
        }
        if let Some(reason) = fresh_link::nothing_yet(self, consents) {
            return Ending {
                without_data: true,
                ..Ending::because(Outcome::Unchanged, reason, sentence(reason))
            };
        }
        let counts = self.tally.counts();
        let changed = saved.changed || counts.added + counts.updated + counts.removed > 0;
        let unavailable = live.iter().any(|consent| consent.health(self.now()) == Health::Unavailable);
        let ambiguous = saved.ambiguous.then_some(Reason::ReconsentAmbiguous);
        let note = walked.note.or(ambiguous).or(unavailable.then_some(Reason::BankUnavailable));
        Ending::new(if changed { Outcome::Synced } else { Outcome::Unchanged }, note)
    }
}

/// An account's share of the time that is left; the rest is for the end of the connection.
const SHARE: (u32, u32) = (19, 20);

/// What became of the overview.
struct Saved {
    changed: bool,
    ambiguous: bool,
    superseded: Vec<CredentialsId>,
}

/// What became of the accounts.
#[derive(Default)]
struct Walked {
    done: usize,
    /// Accounts whose rows are complete as of the account list.
    exact: Vec<i64>,
    /// Accounts that used up their share of the time, and those that did not.
    shares: Vec<(i64, bool)>,
    explained: usize,
    suspect: bool,
    entitlement_over: bool,
    note: Option<Reason>,
    worst: Option<Ending>,
}

impl Walked {
    fn end(&mut self, account: &StoredAccount, end: End) {
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
        let ending = Ending::because(Outcome::Failed, Reason::Timeout, text);
        self.keep_worst(Ending { hint: Hint::MayBeAway, ..ending });
    }

    /// A rate limit outweighs any other failure; else the first one is told.
    fn keep_worst(&mut self, ending: Ending) {
        let limited = |ending: &Ending| ending.outcome == Outcome::RateLimited;
        if self.worst.as_ref().is_none_or(|worst| limited(&ending) && !limited(worst)) {
            self.worst = Some(ending);
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

/// What to tell a person about a reason that is no error of a call.
fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::ConsentExpired => "the bank consent has expired: the user must renew it through Tink Link",
        Reason::ConsentRevoked => "the bank consent was withdrawn: the user must connect the bank again",
        Reason::LoginRequired => "the bank wants a new login: the user must go through Tink Link",
        Reason::NoAccounts => {
            "Tink shows no accounts where there were some: nothing was removed; the user may have to connect again"
        }
        Reason::MassVanish => {
            "rows are missing and the balance or their number speaks against it: none is removed until a newer refresh agrees"
        }
        Reason::BankAtWork => {
            "Tink is still fetching from the bank for the first time: look again in some minutes"
        }
        Reason::NoBank => "this Tink user has no bank yet: its user has to link one",
        _ => "see the reason",
    }
}

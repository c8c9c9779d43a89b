//! One pass: claims due connections in batches, works on a bounded number at once, retries transient failures
//! once at the end, and waits out an outage of Tink as a whole. A failure, panic or timeout of one connection
//! never affects another; only a broken store stops the pass.

mod clock;
pub mod leases;
mod unconfirmed;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::leases::{beat, lease_end};
use self::unconfirmed::{Unconfirmed, first_durable};
use super::attempt::{Done, PassRound, attempt};
use super::context::PassContext;
use super::hold::HoldPeriod;
use super::policy::{self, Hint};
use crate::clock::Stopwatch;
use crate::domain::cause::Cause;
use crate::domain::connection::TinkUser;
use crate::domain::event::{Event, Summary};
use crate::domain::ids::UserId;
use crate::domain::outcome::{Outcome, Reason};
use crate::store::{Claims, PlanCounts, PlanRules, Result, Run, Selection, StoreError};
use crate::tink::ErrorKind;

/// Consecutive failures, possibly Tink's own, that call for a probe.
const SUSPICIONS: u32 = 3;
/// Consecutive failed probes that count as an outage.
const PROBES: u32 = 3;
/// Distinct users refused, before any was accepted, that mean that the client is refused.
const REFUSED_USERS: usize = 3;
/// Connections of one bank that must fail alike to be reported as one.
const ALIKE: u64 = 3;
/// The pause before connections that other sessions keep locked are tried again.
const LOCKED_OUT: Duration = Duration::from_secs(1);
/// The longest wait between two probes.
const LONGEST_PROBE_WAIT: Duration = Duration::from_mins(1);

/// What a run was asked to do.
#[derive(Clone, Debug)]
pub struct Task {
    pub run: Run,
    /// `timer`, `manual` or `app`.
    pub trigger: &'static str,
    pub selection: Selection,
    /// Ignore back-off (and, for named connections, that they are disabled).
    pub force: bool,
    pub dry_run: bool,
    /// When the run began.
    pub started_at: Timestamp,
    /// Emit every skipped connection, not only those requested by name.
    pub emit_skipped: bool,
}

/// Why a pass stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nothing is left to do.
    Done,
    Interrupted,
    /// Its time was used up.
    Deadline,
    /// Tink asked to come back at this time.
    Postponed(Timestamp),
    /// Tink as a whole stayed unreachable.
    Unreachable(String),
    /// Tink refuses this client.
    Refused(String),
    /// This machine cannot send anything to Tink.
    Unprepared(String),
    /// This machine's clock is far off Tink's.
    ClockOff(String),
}

#[derive(Clone, Debug)]
pub struct PassEnd {
    pub stop: Stop,
    pub summary: Summary,
    /// Connections requested by name that were not worked on.
    pub asked_but_skipped: u64,
}

/// A pass in progress.
pub struct Pass {
    ctx: Arc<PassContext>,
    task: Task,
    cancel: CancellationToken,
    stop: Stop,
    suspicion: u32,
    accepted: bool,
    refused: HashSet<UserId>,
    refusal: String,
    /// The first user for whom Tink requested a much longer wait.
    limited: Option<TinkUser>,
    deadline: Instant,
    /// Events that are emitted once they are durable, in this order.
    unconfirmed: Unconfirmed,
    watch: Stopwatch,
    /// Suspension of the machine that has been reported already.
    slept: Duration,
    /// By how much the clock was set, as far as it was checked with Tink.
    set_by: SignedDuration,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").finish_non_exhaustive()
    }
}

impl Pass {
    /// A pass that ends early when `cancel` is cancelled.
    pub fn new(ctx: Arc<PassContext>, task: Task, cancel: CancellationToken) -> Self {
        let deadline = Instant::now() + ctx.options.deadline;
        let watch = Stopwatch::start(ctx.clock.as_ref());
        Self {
            ctx,
            task,
            cancel,
            stop: Stop::Done,
            suspicion: 0,
            accepted: false,
            refused: HashSet::new(),
            refusal: String::new(),
            limited: None,
            deadline,
            unconfirmed: VecDeque::new(),
            watch,
            slept: Duration::ZERO,
            set_by: SignedDuration::ZERO,
        }
    }

    /// Runs the pass to its end.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; what was not committed by then is lost.
    pub async fn run(mut self) -> Result<PassEnd> {
        let plan = self.ctx.store.plan(&self.task.run, self.rules()).await?;
        self.emit_start(&plan).await?;
        // A pass with nothing to do needs no certificates.
        if plan.due > 0
            && let Err(error) = self.ctx.client.prepare()
        {
            self.stop = Stop::Unprepared(error.to_string());
        }
        let is_shared = self.ctx.store.is_shared() && !self.task.dry_run;
        let life = if is_shared { beat(&self.ctx, &self.ctx.store, &self.task.run).await? } else { None };
        let mut helpers = self.helpers(life, is_shared);
        let worked = leases::beside(&mut helpers, self.work()).await;
        helpers.abort_all();
        if worked.is_err() {
            // What was durable by then is still emitted; if that fails, the first error counts.
            let _ = self.confirm().await;
        }
        worked?;
        self.finish(plan).await
    }

    async fn work(&mut self) -> Result<()> {
        self.round(PassRound::First).await?;
        if self.is_open() && self.suspicion > 0 {
            self.prove().await?;
        }
        if self.is_open() {
            self.round(PassRound::Second).await?;
        }
        // A dry run sees the store as it was at its beginning, where no other run progresses.
        let listens = self.task.selection.is_all() && !self.task.dry_run;
        if self.is_open() && listens && self.others_have_gone_silent().await? {
            self.round(PassRound::First).await?;
            if self.is_open() {
                self.round(PassRound::Second).await?;
            }
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.stop == Stop::Done
    }

    fn rules(&self) -> PlanRules {
        PlanRules {
            now: self.ctx.clock.now(),
            selection: self.task.selection.clone(),
            force: self.task.force,
            min_interval: self.ctx.options.min_interval,
            quota: self.ctx.options.quota,
        }
    }

    fn emit(&self, event: &Event) {
        (self.ctx.emit)(event);
    }

    async fn emit_start(&self, plan: &PlanCounts) -> Result<()> {
        self.emit(&Event::Started {
            run_id: self.task.run.id.clone(),
            trigger: self.task.trigger,
            dry_run: self.task.dry_run,
            at: self.task.started_at,
            connections: plan.connections,
            due: plan.due,
            skipped: plan.skipped.clone(),
        });
        let asked = !self.task.selection.is_all();
        if !asked && !self.task.emit_skipped {
            return Ok(());
        }
        let mut after = None;
        loop {
            let batch = self.ctx.store.skipped(&self.task.run, self.rules(), after, 500).await?;
            for skipped in &batch {
                self.emit_skipped(skipped, asked);
            }
            match batch.into_iter().next_back() {
                None => return Ok(()),
                last => after = last,
            }
        }
    }

    fn emit_skipped(&self, skipped: &crate::store::Skipped, asked: bool) {
        self.emit(&Event::Skipped {
            connection_id: skipped.connection_id.clone(),
            user_id: skipped.user_id.clone(),
            reason: skipped.reason,
            asked,
        });
    }

    /// Claims and works until nothing is left or the pass must stop.
    async fn round(&mut self, round: PassRound) -> Result<()> {
        let mut tasks: JoinSet<Done> = JoinSet::new();
        let mut exhausted = false;
        let mut locked_out: Option<Instant> = None;
        let mut locked_until: Option<Instant> = None;
        loop {
            self.look_at_clock().await;
            while self.is_open()
                && !self.in_doubt()
                && !exhausted
                && tasks.len() < self.ctx.options.slots
                && locked_out.is_none()
            {
                let (period, claims) = self.claim(round, self.ctx.options.slots - tasks.len()).await?;
                locked_out = claims.locked_out.then(|| Instant::now() + LOCKED_OUT);
                exhausted = claims.exhausted || leases::is_locked_for_long(&mut locked_until, locked_out);
                for claim in claims.claims {
                    tasks.spawn(attempt(Arc::clone(&self.ctx), claim, round, period, self.cancel.clone()));
                }
            }
            if tasks.is_empty() && self.is_open() && self.in_doubt() {
                self.refuse(self.refusal.clone()).await?;
            }
            if tasks.is_empty() && (exhausted || !self.is_open()) {
                return Ok(());
            }
            let again = locked_out.unwrap_or(self.deadline);
            tokio::select! {
                Some(done) = tasks.join_next() => self.digest(joined(done)?).await?,
                durable = first_durable(&mut self.unconfirmed) => {
                    durable?;
                    self.emit_first();
                }
                () = self.cancel.cancelled(), if self.stop != Stop::Interrupted => self.stop = Stop::Interrupted,
                () = tokio::time::sleep_until(self.deadline), if self.is_open() => self.stop = Stop::Deadline,
                () = tokio::time::sleep_until(again), if locked_out.is_some() => locked_out = None,
            }
        }
    }

    async fn claim(&mut self, round: PassRound, limit: usize) -> Result<(HoldPeriod, Claims)> {
        // Nothing could be done with connections claimed under leases that may have ended.
        while self.ctx.hold.has_ended() {
            beat(&self.ctx, &self.ctx.store, &self.task.run).await?;
        }
        let period = self.ctx.hold.period();
        let (run, rules, until) = (&self.task.run, self.rules(), lease_end(self.ctx.clock.now()));
        let claims = match round {
            PassRound::First => self.ctx.store.claim(run, rules, limit, until).await?,
            PassRound::Second => self.ctx.store.claim_again(run, rules, limit, until).await?,
        };
        if let Some(left) = claims.paused {
            self.ctx.client.pause(left);
        }
        for skipped in &claims.skipped {
            self.emit_skipped(skipped, !self.task.selection.is_all());
        }
        Ok((period, claims))
    }

    /// Handles the end of an attempt, and what it indicates about Tink as a whole.
    async fn digest(&mut self, done: Done) -> Result<()> {
        let written = done.recorded?;
        // The last attempt may end at a signal before the pass itself has heard of it.
        if written.outcome == Outcome::Interrupted && self.cancel.is_cancelled() && self.is_open() {
            self.stop = Stop::Interrupted;
        }
        let limited = written.outcome == Outcome::RateLimited;
        if !written.news.is_empty() {
            self.unconfirmed.push_back((written.durable, written.news));
        }
        if let Some(wait) = done.retry_after.filter(|_| limited && self.is_open()) {
            self.postpone_if_all_are_limited(wait, done.tink_user.as_ref()).await?;
        }
        match done.hint {
            Hint::Nothing => {}
            Hint::Answers => {
                self.suspicion = 0;
                self.accepted = true;
            }
            Hint::MayBeAway => {
                self.suspicion += 1;
                if self.suspicion >= SUSPICIONS && self.is_open() {
                    self.prove().await?;
                }
            }
            Hint::UserRefused => {
                self.suspicion = 0;
                self.refused.insert(done.user_id);
                self.refusal = done.refused.unwrap_or_default();
                if self.in_doubt() && self.is_open() {
                    self.prove_refusal().await?;
                }
            }
            Hint::ClientRefused => self.refuse(done.refused.unwrap_or_default()).await?,
            Hint::ClockOff => self.give_up_for_clock(done.refused.unwrap_or_default()),
        }
        Ok(())
    }

    /// Whether the client may be refused and no user was ever accepted: nothing more is claimed until the
    /// attempts in progress have ended. If none of them is accepted either, the client is refused.
    fn in_doubt(&self) -> bool {
        !self.accepted && self.refused.len() >= REFUSED_USERS
    }

    /// Finds out whether the client is refused, by a user whose connection worked before. If there is none,
    /// the first users decide.
    async fn prove_refusal(&mut self) -> Result<()> {
        let Some(user) = self.ctx.store.probe_user(None).await? else { return Ok(()) };
        match self.ctx.client.prove(&user).await {
            Err(error) if policy::is_client_refused(&error) => self.refuse(error.to_string()).await?,
            Err(error) if policy::is_outage(&error) => self.prove().await?,
            // Any other result shows that the client is accepted: the refusals concern those users alone.
            _ => self.accepted = true,
        }
        Ok(())
    }

    /// A long 429 ends the claiming only if it applies to everybody: the client's own token, or another user,
    /// must meet one, too.
    async fn postpone_if_all_are_limited(&mut self, wait: Duration, user: Option<&TinkUser>) -> Result<()> {
        let Some(until) = self.far_ahead(wait) else { return Ok(()) };
        // The second user is another user.
        if self.limited.as_ref().is_some_and(|first| user.is_some_and(|user| user != first)) {
            self.stop = Stop::Postponed(until);
            return Ok(());
        }
        self.limited = user.cloned();
        let other = self.ctx.store.probe_user(user.cloned()).await?;
        if let Err(error) = self.ctx.client.probe(other.as_ref()).await
            && error.kind == ErrorKind::RateLimited
        {
            self.stop = self.far_ahead(error.retry_after.unwrap_or(wait)).map_or(Stop::Done, Stop::Postponed);
        }
        Ok(())
    }

    async fn refuse(&mut self, error: String) -> Result<()> {
        if !matches!(self.stop, Stop::Refused(_)) {
            self.confirm().await?;
            self.emit(&Event::Refused(error.clone()));
            self.stop = Stop::Refused(error);
        }
        Ok(())
    }

    /// The time at which to come back, if the wait is too long to sit out.
    fn far_ahead(&self, wait: Duration) -> Option<Timestamp> {
        let wait = SignedDuration::try_from(wait).ok().filter(|wait| *wait > SignedDuration::from_mins(1))?;
        self.ctx.clock.now().saturating_add(wait).ok()
    }

    /// Failures of single users do not prove an outage; a fresh token and a grant that fail repeatedly do. Then no
    /// connection is claimed until Tink responds again or patience runs out.
    async fn prove(&mut self) -> Result<()> {
        self.suspicion = 0;
        self.confirm().await?;
        let user = self.ctx.store.probe_user(None).await?;
        let mut failed = 0;
        let mut waiting_since: Option<Instant> = None;
        loop {
            let probed = tokio::select! {
                probed = self.ctx.client.probe(user.as_ref()) => probed,
                () = self.cancel.cancelled() => {
                    self.stop = Stop::Interrupted;
                    return Ok(());
                }
            };
            let (error, reason) = match probed {
                Err(error) if policy::is_outage(&error) => {
                    (error.to_string(), policy::meaning(error.kind).reason)
                }
                _ => {
                    if waiting_since.is_some() {
                        self.emit(&Event::Resumed);
                    }
                    return Ok(());
                }
            };
            failed += 1;
            let patience = self.ctx.options.outage_patience;
            if failed >= PROBES {
                let since = *waiting_since.get_or_insert_with(|| {
                    if !patience.is_zero() {
                        (self.ctx.emit)(&Event::Waiting { error: error.clone(), patience });
                    }
                    Instant::now()
                });
                if since.elapsed() >= patience || Instant::now() >= self.deadline {
                    self.emit(&Event::Unreachable { error: error.clone(), reason });
                    self.stop = Stop::Unreachable(error);
                    return Ok(());
                }
            }
            let wait = self.ctx.options.probe_base.saturating_mul(2u32.saturating_pow(failed.min(16) - 1));
            let left =
                waiting_since.map_or(LONGEST_PROBE_WAIT, |since| patience.saturating_sub(since.elapsed()));
            tokio::select! {
                () = tokio::time::sleep(wait.min(LONGEST_PROBE_WAIT).min(left)) => {}
                () = self.cancel.cancelled() => {
                    self.stop = Stop::Interrupted;
                    return Ok(());
                }
            }
        }
    }

    /// Closes what was left open and computes the summary.
    async fn finish(mut self, plan: PlanCounts) -> Result<PassEnd> {
        if let Stop::Postponed(until) = self.stop {
            self.ctx.store.postpone(&self.task.run, until).await?;
        }
        if let Stop::Unreachable(_) | Stop::Refused(_) = self.stop {
            // Otherwise a few such passes would cause back-offs that outlast the outage and hide it.
            self.ctx.store.reset_failures(&self.task.run).await?;
        }
        let ended = self.ctx.store.close_retries(&self.task.run).await?;
        self.confirm().await?;
        self.look_at_clock().await;
        for finished in ended {
            self.emit(&Event::Finished(finished));
        }
        if let Stop::Done | Stop::Deadline = self.stop {
            for trouble in self.ctx.store.troubled_banks(&self.task.run, ALIKE).await? {
                self.emit(&Event::BankTroubled(trouble));
            }
        }
        let left = self.ctx.store.left_over().await?;
        let totals = self.ctx.store.totals(&self.task.run).await?;
        let mut summary = Summary {
            connections: plan.connections,
            due: plan.due + left.adopted,
            outcomes: totals.outcomes,
            skipped: plan.skipped,
            counts: totals.counts,
            round_trips: self.ctx.store.round_trips(),
        };
        for (reason, number) in left.skipped {
            *summary.skipped.entry(reason).or_default() += number;
        }
        if left.waiting > 0 && self.stop == Stop::Deadline {
            summary.skipped.insert(Reason::Deadline, left.waiting);
        }
        // A connection whose entitlement ended while it was read is skipped, not an outcome of its own.
        if let Some(number) = summary.outcomes.remove(&Outcome::Skipped) {
            *summary.skipped.entry(Reason::NotEntitled).or_default() += number;
        }
        let asked = !self.task.selection.is_all();
        let asked_but_skipped = if asked { summary.skipped.values().sum() } else { 0 };
        Ok(PassEnd { stop: self.stop, summary, asked_but_skipped })
    }
}

/// Panics in the work on a connection are caught there; one that arrives here is a bug of the pass itself.
fn joined(done: std::result::Result<Done, tokio::task::JoinError>) -> Result<Done> {
    done.map_err(|error| StoreError::Internal { what: "work on a connection", source: Cause::of(error) })
}

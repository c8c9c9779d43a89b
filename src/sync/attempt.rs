//! One attempt at one connection: runs its steps within its time limit, and records how it ended, whatever
//! happens inside. Knows nothing of other connections.

use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::balance;
use super::context::{ConnectionSync, Counters, Deadline, PassContext};
use super::fresh_link;
use super::hold::HoldPeriod;
use super::moved;
use super::policy::{self, Hint};
use super::result::AttemptResult;
use super::rotation::Rotation;
use super::staleness;
use crate::clock::{Stopwatch, millis};
use crate::domain::connection::TinkUser;
use crate::domain::event::{Event, Finished};
use crate::domain::ids::UserId;
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::store::{Claim, Durable, Record, Recorded, Result, StoreError};
use crate::tink::OwnTokens;

/// A wait of up to this long may be over by the second round.
const LONGEST_REST: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PassRound {
    First,
    /// Retries transient failures.
    Second,
}

/// What one attempt reports to the pass.
#[derive(Debug)]
pub(super) struct Done {
    /// The recorded result, or why it could not be written.
    pub recorded: Result<AttemptRecord>,
    pub user_id: UserId,
    /// How Tink knows that user.
    pub tink_user: Option<TinkUser>,
    /// What it indicates about Tink as a whole.
    pub hint: Hint,
    /// How long Tink asked to wait.
    pub retry_after: Option<Duration>,
    /// The error text of the result.
    pub refused: Option<String>,
}

#[derive(Debug)]
pub(super) struct AttemptRecord {
    pub outcome: Outcome,
    /// The events to emit, in order, once the record is durable.
    pub news: Vec<Event>,
    pub durable: Durable,
}

/// Works on one connection and records how it ended, whatever happens inside.
pub(super) async fn attempt(
    ctx: Arc<PassContext>,
    claim: Claim,
    round: PassRound,
    period: HoldPeriod,
    cancel: CancellationToken,
) -> Done {
    let (began, watch) = (ctx.clock.now(), Stopwatch::start(ctx.clock.as_ref()));
    let counters = Counters::default();
    let rotation = claim.has_tokens.then(|| rotation(&ctx, &claim)).flatten();
    let no_user = claim.tink_user.is_none() && claim.moved.is_none() && rotation.is_none();
    let no_user = no_user.then(|| "the source view names no Tink user".to_owned());
    let ended = match claim.problem.clone().or(no_user) {
        None => {
            let own = rotation.map(|rotation| rotation as Arc<dyn OwnTokens>);
            let user = claim.moved.clone().or_else(|| claim.tink_user.clone());
            let session = ctx.client.session_of_link(user, own);
            let deadline = Deadline::begin(&ctx.client);
            let sync =
                ConnectionSync { ctx: &ctx, claim: &claim, session: &session, counters: &counters, deadline };
            let result = bounded(&sync, period, &cancel).await;
            counters.add(|counts| {
                counts.requests = session.requests();
                counts.retries = session.retries();
            });
            result
        }
        Some(problem) => Ok(untold(AttemptResult::because(Outcome::Failed, Reason::SourceRow, problem))),
    };
    let result = match ended {
        Ok(result) => result,
        Err(StoreError::LeaseLost(id)) => {
            let text =
                format!("another run took over connection {id}; what this run had not committed was dropped");
            let result = AttemptResult::because(Outcome::Failed, Reason::LeaseLost, text);
            AttemptResult { transient: ctx.store.is_shared(), ..untold(result) }
        }
        Err(StoreError::OtherOwner(text)) => {
            untold(AttemptResult::because(Outcome::Failed, Reason::SourceRow, text))
        }
        Err(error @ StoreError::TookOver) => {
            let result = AttemptResult::because(Outcome::Partial, Reason::SourceRow, error.to_string());
            AttemptResult { transient: true, ..untold(result) }
        }
        Err(error) => return failed_store(claim, error),
    };
    record(&ctx, claim, round, (began, watch), &counters, result).await
}

/// The connection's own tokens; `None` without a key.
fn rotation(ctx: &PassContext, claim: &Claim) -> Option<Arc<Rotation>> {
    let (store, client, clock) = (ctx.store.clone(), ctx.client.clone(), Arc::clone(&ctx.clock));
    Rotation::new(store, client, clock, &ctx.renewals, claim.lease.clone()).map(Arc::new)
}

fn failed_store(claim: Claim, error: StoreError) -> Done {
    Done {
        recorded: Err(error),
        user_id: claim.user_id,
        tink_user: claim.tink_user,
        hint: Hint::Nothing,
        retry_after: None,
        refused: None,
    }
}

/// Syncs the connection until its time is used up or the pass is stopped; turns a panic into a result.
async fn bounded(
    sync: &ConnectionSync<'_>,
    period: HoldPeriod,
    cancel: &CancellationToken,
) -> Result<AttemptResult> {
    tokio::select! {
        // First, so that nothing is requested for a connection that others may have.
        biased;
        () = sync.ctx.hold.is_over(period) => Err(StoreError::LeaseLost(sync.claim.lease.connection_id.clone())),
        told = AssertUnwindSafe(moved::told(sync)).catch_unwind() => told.unwrap_or_else(|panic| Ok(panicked(panic.as_ref()))),
        () = cancel.cancelled() => Ok(untold(AttemptResult::new(Outcome::Interrupted, None))),
        () = timeout(sync) => {
            let committed = sync.counters.counts().added > 0;
            let outcome = if committed { Outcome::Partial } else { Outcome::Failed };
            let text = "the connection took longer than sync.connection_timeout; the next pass goes on";
            Ok(AttemptResult { hint: Hint::MayBeAway, ..AttemptResult::because(outcome, Reason::Timeout, text) })
        }
    }
}

/// The result without a conclusion about Tink.
fn untold(result: AttemptResult) -> AttemptResult {
    AttemptResult { hint: Hint::Nothing, ..result }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> AttemptResult {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = format!("a bug stopped this connection, please report it: {}", text.unwrap_or("panic"));
    untold(AttemptResult::because(Outcome::Failed, Reason::Panic, text))
}

/// Returns when the connection's time is used up.
async fn timeout(sync: &ConnectionSync<'_>) {
    loop {
        let end = sync.deadline.end(&sync.ctx.client, sync.session, sync.ctx.options.connection_timeout);
        if Instant::now() >= end {
            return;
        }
        tokio::time::sleep_until(end).await;
    }
}

/// Records the result and reports to the pass what it needs to know.
async fn record(
    ctx: &PassContext,
    claim: Claim,
    round: PassRound,
    (began, watch): (Timestamp, Stopwatch),
    counters: &Counters,
    mut result: AttemptResult,
) -> Done {
    let (ended, took) = (ctx.clock.now(), watch.elapsed(ctx.clock.as_ref()));
    let rest = SignedDuration::try_from(ctx.options.min_interval).unwrap_or(SignedDuration::MAX);
    let succeeded = matches!(result.outcome, Outcome::Synced | Outcome::Unchanged) && !result.without_data;
    let look = fresh_link::next_look(claim.looks).filter(|_| result.without_data);
    let rest = look.unwrap_or(rest);
    let failures = if claim.attempt == 1 { claim.failures + 1 } else { claim.failures.max(1) };
    // If Tink requests a much longer wait, this run does not try again.
    let rests = result.retry_after.is_some_and(|wait| wait > LONGEST_REST);
    let again = round == PassRound::First && result.transient && !rests;
    let record = Record {
        outcome: result.outcome,
        reason: result.reason,
        error: result.error.clone(),
        request_id: result.request_id.take(),
        counts: counters.counts(),
        began,
        ended,
        took,
        not_before: policy::not_before(result.outcome, failures, result.retry_after, ended),
        next_due: if succeeded || result.without_data {
            began.saturating_add(rest).unwrap_or(Timestamp::MAX)
        } else {
            ended
        },
        again,
        judged: mem::take(&mut result.judged),
        hung: mem::take(&mut result.hung),
        without_data: result.without_data,
        stale: result.stale.as_ref().map(|still| still.accounts.clone()),
    };
    let differences = balance::reported(&record.judged, ctx.options.balance_min_open);
    let recorded = ctx.store.record(&claim.lease, record).await.map(|Recorded { finished, durable }| {
        let again = again && finished.is_some();
        let finished = finished.unwrap_or_else(|| forgotten(&claim, began, took));
        let outcome = finished.outcome;
        AttemptRecord { outcome, news: news(&claim, &result, differences, finished, again), durable }
    });
    Done {
        recorded,
        user_id: claim.user_id,
        tink_user: claim.tink_user,
        hint: result.hint,
        retry_after: result.retry_after,
        refused: result.error,
    }
}

/// The events of a result. One that is tried again has not ended.
fn news(
    claim: &Claim,
    result: &AttemptResult,
    differences: u64,
    finished: Finished,
    again: bool,
) -> Vec<Event> {
    let is_news = result.reason != claim.needed_user && finished.outcome == Outcome::NeedsUser;
    let needs = result.reason.filter(|_| is_news && result.outcome == Outcome::NeedsUser);
    let needs = needs.map(|reason| {
        let (connection_id, user_id) = (finished.connection_id.clone(), finished.user_id.clone());
        Event::NeedsUser { connection_id, user_id, reason }
    });
    let still = staleness::news(claim, result.stale.as_ref());
    let ended = (!again).then_some(Event::Finished(finished));
    [balance::news(claim, differences), still, needs, ended].into_iter().flatten().collect()
}

/// The end of a connection that was forgotten while this run worked on it.
fn forgotten(claim: &Claim, began: Timestamp, took: Duration) -> Finished {
    Finished {
        connection_id: claim.lease.connection_id.clone(),
        user_id: claim.user_id.clone(),
        outcome: Outcome::Skipped,
        reason: Some(Reason::Disabled),
        error: Some("it was forgotten while this run was at work on it; nothing of it was kept".to_owned()),
        request_id: None,
        started_at: began,
        duration_ms: millis(took),
        counts: Counts::default(),
        failures: 0,
        not_before: None,
    }
}

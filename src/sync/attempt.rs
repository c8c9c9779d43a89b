//! One attempt at one connection: its story told within its time, and the record of how it ended,
//! whatever happens inside. Nothing here knows of the other connections.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::balance;
use super::connection::{Context, Deadline, Ending, Story, Tally, Trouble};
use super::fresh_link;
use super::moved;
use super::policy::{self, Hint};
use super::rotation::Rotation;
use super::staleness;
use crate::clock::{Stopwatch, millis};
use crate::domain::connection::TinkUser;
use crate::domain::event::Finished;
use crate::domain::ids::UserId;
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::store::{Claim, Record, Result, Store, StoreError};
use crate::tink::OwnTokens;

/// A rest up to this long may be over when the second round comes.
const LONGEST_REST: Duration = Duration::from_mins(1);

/// The rounds of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Every due connection.
    First,
    /// What failed in passing.
    Second,
}

/// What one attempt reports to the pass.
#[derive(Debug)]
pub struct Done {
    /// What the run record says, or why it could not be written.
    pub finished: Result<Finished>,
    /// The connection's user.
    pub user_id: UserId,
    /// How Tink knows that user.
    pub tink_user: Option<TinkUser>,
    /// To be tried once more in this pass.
    pub again: bool,
    /// What it says about Tink as a whole.
    pub hint: Hint,
    /// Why it newly needs its user.
    pub needs_user: Option<Reason>,
    /// How long Tink asked to wait.
    pub retry_after: Option<Duration>,
    /// The sentence of the ending.
    pub refused: Option<String>,
}

/// Works on one connection and records how it ended, whatever happens inside.
pub async fn attempt<S: Store>(
    ctx: Arc<Context<S>>,
    claim: Claim,
    round: Round,
    cancel: CancellationToken,
) -> Done {
    let (began, watch) = (ctx.clock.now(), Stopwatch::start(ctx.clock.as_ref()));
    let tally = Tally::default();
    let rotation = claim.has_tokens.then(|| rotation(&ctx, &claim)).flatten();
    let no_user = claim.tink_user.is_none() && claim.moved.is_none() && rotation.is_none();
    let no_user = no_user.then(|| "the source view names no Tink user".to_owned());
    let ended = match claim.problem.clone().or(no_user) {
        None => {
            let own = rotation.clone().map(|rotation| rotation as Arc<dyn OwnTokens>);
            let user = claim.moved.clone().or_else(|| claim.tink_user.clone());
            let session = ctx.client.session_of_link(user, own);
            let deadline = Deadline::begin(&ctx.client);
            let story = Story { ctx: &ctx, claim: &claim, session: &session, tally: &tally, deadline };
            let told = bounded(&story, &cancel).await;
            tally.add(|counts| {
                counts.requests = session.requests();
                counts.retries = session.retries();
            });
            let trouble = rotation.and_then(|rotation| rotation.trouble());
            trouble.map_or(told, |error| Trouble::Store(error).ending())
        }
        Some(problem) => Ok(untold(Ending::because(Outcome::Failed, Reason::SourceRow, problem))),
    };
    let ending = match ended {
        Ok(ending) => ending,
        Err(StoreError::LeaseLost(id)) => {
            let text =
                format!("another run took over connection {id}; what this run had not committed was dropped");
            untold(Ending::because(Outcome::Failed, Reason::LeaseLost, text))
        }
        Err(StoreError::OtherOwner(text)) => {
            untold(Ending::because(Outcome::Failed, Reason::SourceRow, text))
        }
        Err(error @ StoreError::TookOver) => {
            let ending = Ending::because(Outcome::Partial, Reason::SourceRow, error.to_string());
            Ending { transient: true, ..untold(ending) }
        }
        Err(error) => return failed_store(claim, error),
    };
    settle(&ctx, claim, round, (began, watch), &tally, ending).await
}

/// The connection's own tokens.
fn rotation<S: Store>(ctx: &Context<S>, claim: &Claim) -> Option<Arc<Rotation<S>>> {
    let (store, client, clock) = (ctx.store.clone(), ctx.client.clone(), Arc::clone(&ctx.clock));
    Rotation::new(store, client, clock, &ctx.renewals, claim.lease.clone()).map(Arc::new)
}

fn failed_store(claim: Claim, error: StoreError) -> Done {
    Done {
        finished: Err(error),
        user_id: claim.user_id,
        tink_user: claim.tink_user,
        again: false,
        hint: Hint::Nothing,
        needs_user: None,
        retry_after: None,
        refused: None,
    }
}

/// Tells the story within its time, until the pass is stopped, and turns a panic into an ending.
async fn bounded<S: Store>(story: &Story<'_, S>, cancel: &CancellationToken) -> Result<Ending> {
    tokio::select! {
        told = AssertUnwindSafe(moved::told(story)).catch_unwind() => told.unwrap_or_else(|panic| Ok(panicked(panic.as_ref()))),
        () = cancel.cancelled() => Ok(untold(Ending::new(Outcome::Interrupted, None))),
        () = timeout(story) => {
            let committed = story.tally.counts().added > 0;
            let outcome = if committed { Outcome::Partial } else { Outcome::Failed };
            let text = "the connection took longer than sync.connection_timeout; the next pass goes on";
            Ok(Ending { hint: Hint::MayBeAway, ..Ending::because(outcome, Reason::Timeout, text) })
        }
    }
}

/// An ending that says nothing about Tink.
fn untold(ending: Ending) -> Ending {
    Ending { hint: Hint::Nothing, ..ending }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Ending {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = format!("a bug stopped this connection, please report it: {}", text.unwrap_or("panic"));
    untold(Ending::because(Outcome::Failed, Reason::Panic, text))
}

/// Ends when the connection's time is used up.
async fn timeout<S: Store>(story: &Story<'_, S>) {
    loop {
        let end = story.deadline.end(&story.ctx.client, story.session, story.ctx.options.connection_timeout);
        if Instant::now() >= end {
            return;
        }
        tokio::time::sleep_until(end).await;
    }
}

/// Records the ending and tells the pass what it needs to know.
async fn settle<S: Store>(
    ctx: &Context<S>,
    claim: Claim,
    round: Round,
    (began, watch): (Timestamp, Stopwatch),
    tally: &Tally,
    ending: Ending,
) -> Done {
    let (ended, took) = (ctx.clock.now(), watch.elapsed(ctx.clock.as_ref()));
    let rest = SignedDuration::try_from(ctx.options.min_interval).unwrap_or(SignedDuration::MAX);
    let succeeded = matches!(ending.outcome, Outcome::Synced | Outcome::Unchanged) && !ending.without_data;
    let look = fresh_link::next_look(claim.looks).filter(|_| ending.without_data);
    let rest = look.unwrap_or(rest);
    let failures = if claim.attempt == 1 { claim.failures + 1 } else { claim.failures.max(1) };
    // Who is told to come back much later is not tried again in this run.
    let rests = ending.retry_after.is_some_and(|wait| wait > LONGEST_REST);
    let again = round == Round::First && ending.transient && !rests;
    let record = Record {
        outcome: ending.outcome,
        reason: ending.reason,
        error: ending.error.clone(),
        request_id: ending.request_id,
        counts: tally.counts(),
        began,
        ended,
        took,
        not_before: policy::not_before(ending.outcome, failures, ending.retry_after, ended),
        next_due: if succeeded || ending.without_data {
            began.saturating_add(rest).unwrap_or(Timestamp::MAX)
        } else {
            ended
        },
        again,
        judged: ending.judged,
        hung: ending.hung,
        without_data: ending.without_data,
        stale: ending.stale.as_ref().map(|still| still.accounts.clone()),
    };
    let opened = balance::opened(&record.judged);
    let (finished, again) = match ctx.store.record(&claim.lease, record).await {
        Ok(Some(finished)) => (Ok(finished), again),
        Ok(None) => (Ok(forgotten(&claim, began, took)), false),
        Err(error) => (Err(error), again),
    };
    let is_news = ending.reason.is_some() && ending.reason != claim.needed_user;
    if finished.is_ok() {
        balance::tell(ctx, &claim, opened);
        staleness::tell(ctx, &claim, ending.stale.as_ref());
    }
    Done {
        finished,
        user_id: claim.user_id,
        tink_user: claim.tink_user,
        again,
        hint: ending.hint,
        needs_user: ending.reason.filter(|_| is_news && ending.outcome == Outcome::NeedsUser),
        retry_after: ending.retry_after,
        refused: ending.error,
    }
}

/// How it ends for a connection that was forgotten while this run was at work on it.
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

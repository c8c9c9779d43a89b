//! How a pass interacts with other hosts: its leases, how long they last and what keeps them alive, the wait
//! for a sign of life from other runs, and the pauses that Tink requests. Claims nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Pass, Stop};
use crate::clock::Clock;
use crate::domain::cause::Cause;
use crate::store::{Result, Run, Store, StoreError};
use crate::sync::context::PassContext;

/// A lease lives this long and is renewed four times in its life.
const LEASE: SignedDuration = SignedDuration::from_mins(4);
const HEARTBEAT: Duration = Duration::from_mins(1);
/// Other hosts hear from the run at least this often; a finished run waits up to this long for the heartbeat of
/// another.
const SHARED_HEARTBEAT: Duration = Duration::from_secs(15);
/// At least this many heartbeats in the life of a lease.
const BEATS: u32 = 16;
/// How often to check for that.
const LISTEN: Duration = Duration::from_secs(1);

impl Pass {
    /// Waits for a sign of life from the runs on other hosts that have connections of this plan. Returns
    /// `true` if one of them ended instead, or its leases expired: its connections may be free now, and would
    /// otherwise wait for the next pass.
    pub(super) async fn others_have_gone_silent(&mut self) -> Result<bool> {
        let before = self.ctx.store.holders().await?;
        let mut now = before.clone();
        while !now.is_empty() && self.is_open() {
            if before
                .iter()
                .all(|(run, heard)| now.iter().all(|(other, since)| run != other || since > heard))
            {
                return Ok(now.len() < before.len());
            }
            tokio::select! {
                () = tokio::time::sleep(LISTEN) => {}
                () = self.cancel.cancelled() => self.stop = Stop::Interrupted,
                () = tokio::time::sleep_until(self.deadline) => self.stop = Stop::Deadline,
            }
            now = self.ctx.store.holders().await?;
        }
        Ok(!before.is_empty() && self.is_open())
    }

    /// What keeps the leases of a pass, and shares each pause that Tink requests of this host with the other
    /// hosts, if there are any.
    pub(super) fn helpers(&self, life: Option<Duration>, is_shared: bool) -> JoinSet<Infallible> {
        let mut helpers = JoinSet::new();
        helpers.spawn(heartbeat(Arc::clone(&self.ctx), self.task.run.clone(), life));
        if is_shared {
            helpers.spawn(share_pauses(Arc::clone(&self.ctx)));
        }
        helpers
    }
}

/// Does `work`, for as long as none of the helpers ends: that is a panic.
pub(super) async fn beside<T>(
    helpers: &mut JoinSet<Infallible>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        worked = work => worked,
        Some(Err(error)) = helpers.join_next() => {
            Err(StoreError::Internal { what: "keep the leases", source: Cause::of(error) })
        }
    }
}

async fn heartbeat(ctx: Arc<PassContext>, run: Run, life: Option<Duration>) -> Infallible {
    let store = ctx.store.apart();
    loop {
        tokio::time::sleep(pause(life)).await;
        // A failure shows at the next commit, with its reason; here it is ignored.
        let _ = beat(&ctx, &store, &run).await;
    }
}

async fn share_pauses(ctx: Arc<PassContext>) -> Infallible {
    loop {
        let until = ctx.client.asked_to_pause().await;
        // Tink itself informs a host that misses it; a store that has failed shows at the next commit.
        let _ = ctx.store.pause_all(until).await;
    }
}

/// Whether connections have been locked by other sessions, a person's for example, for as long as a lease lasts: then
/// they are left to the next pass. `until` is when that is; `locked` is set while they are.
pub(super) fn is_locked_for_long(until: &mut Option<Instant>, locked: Option<Instant>) -> bool {
    let Some(at) = locked else {
        *until = None;
        return false;
    };
    if until.is_none() {
        tracing::warn!(
            "the rows of connections that are due are locked by other sessions; waiting for them for up to 4 minutes"
        );
    }
    let until = *until.get_or_insert_with(|| at + LEASE.unsigned_abs());
    at >= until
}

/// Renews the leases of the run; returns how long they last if hosts share the store.
pub(super) async fn beat(ctx: &PassContext, store: &Store, run: &Run) -> Result<Option<Duration>> {
    let asked = ctx.clock.steady();
    let life = store.renew(run, lease_end(ctx.clock.now())).await?;
    if let Some(life) = life {
        ctx.hold.prolong(asked, life);
    }
    Ok(life)
}

/// The time between two heartbeats of a run whose leases last this long.
fn pause(life: Option<Duration>) -> Duration {
    life.map_or(HEARTBEAT, |life| SHARED_HEARTBEAT.min(life / BEATS))
}

/// Keeps a run that is no pass alive, for as long as this is awaited.
pub async fn keep_alive(store: &Store, run: &Run, clock: &dyn Clock) -> Infallible {
    let store = store.apart();
    loop {
        // A failure shows at the commit.
        let life = store.renew(run, lease_end(clock.now())).await.ok().flatten();
        tokio::time::sleep(pause(life)).await;
    }
}

pub(super) fn lease_end(now: Timestamp) -> Timestamp {
    now.saturating_add(LEASE).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn rows_that_others_lock_are_waited_for_as_long_as_a_lease_lasts() {
        let (began, mut until) = (Instant::now(), None);
        let mut after =
            |seconds: u64| is_locked_for_long(&mut until, Some(began + Duration::from_secs(seconds)));
        assert_eq!([after(0), after(1), after(239), after(240)], [false, false, false, true]);
        // What became free in between begins anew.
        assert!(!is_locked_for_long(&mut until, None));
        assert!(!is_locked_for_long(&mut until, Some(began + Duration::from_mins(5))));
    }

    #[tokio::test]
    async fn a_heartbeat_that_panics_ends_the_pass_as_a_bug() {
        let mut helpers = JoinSet::new();
        helpers.spawn(std::future::poll_fn(|_| panic!("no heartbeat")));
        let ended = beside(&mut helpers, std::future::pending::<Result<()>>()).await;
        assert_eq!(Exit::from(&ended.unwrap_err()), Exit::Internal);
        // While it goes on, the pass is not touched.
        helpers.spawn(std::future::pending());
        assert_eq!(beside(&mut helpers, async { Ok(7) }).await.unwrap(), 7);
    }
}

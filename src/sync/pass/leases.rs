//! What a pass has to do with those on other hosts: its leases, how long they are taken for and what keeps them alive, the
//! wait for a sign of life of the others, and the pauses that Tink asks for. Claims nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Pass, Stop, Task};
use crate::store::Result;
use crate::sync::context::PassContext;

/// A lease lives this long and is renewed four times in its life.
const LEASE: SignedDuration = SignedDuration::from_mins(4);
const HEARTBEAT: Duration = Duration::from_mins(1);
/// So often other hosts hear of the run, at least: who is done waits that long for a sign of life of the others.
const SHARED_HEARTBEAT: Duration = Duration::from_secs(15);
/// And so often in the life of its leases.
const BEATS: u32 = 16;
/// How often it listens for that.
const LISTEN: Duration = Duration::from_secs(1);

impl Pass {
    /// Waits for a sign of life from the runs on other hosts that have connections of this plan. Returns `true` if one
    /// of them came to its end instead, or a lease has run out: what it had may be free now, and would wait for the next
    /// pass.
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

    /// Keeps the leases alive while the pass lives.
    pub(super) fn heartbeat(&self, life: Option<Duration>) -> tokio::task::JoinHandle<()> {
        let (ctx, task) = (Arc::clone(&self.ctx), self.task.clone());
        let every = life.map_or(HEARTBEAT, |life| SHARED_HEARTBEAT.min(life / BEATS));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                // A failure shows at the next commit, with its reason; here it changes nothing.
                let _ = beat(&ctx, &task).await;
            }
        })
    }

    /// Tells the other hosts, while the pass lives, of each pause that Tink asks this one for.
    pub(super) fn share_pauses(&self) -> tokio::task::JoinHandle<()> {
        let ctx = Arc::clone(&self.ctx);
        tokio::spawn(async move {
            loop {
                let until = ctx.client.asked_to_pause().await;
                // Those who do not hear of it are told by Tink; a store that has failed shows at the next commit.
                let _ = ctx.store.pause_all(until).await;
            }
        })
    }
}

/// Prolongs the leases of the run; returns how long they last where hosts share the store.
pub(super) async fn beat(ctx: &PassContext, task: &Task) -> Result<Option<Duration>> {
    let asked = ctx.clock.steady();
    let life = ctx.store.renew(&task.run, lease_end(ctx.clock.now())).await?;
    if let Some(life) = life {
        ctx.hold.prolong(asked, life);
    }
    Ok(life)
}

pub(super) fn lease_end(now: Timestamp) -> Timestamp {
    now.saturating_add(LEASE).unwrap_or(Timestamp::MAX)
}

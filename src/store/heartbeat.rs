//! How a run gives signs of life to other hosts, and hears theirs. `liveness` decides which runs are alive.

use std::time::Duration;

use jiff::Timestamp;

use super::engine::job::repeatable;
use super::engine::{Db, Fail};
use super::{Result, Run, Store, liveness, run_names};

#[expect(
    clippy::missing_errors_doc,
    reason = "every operation fails with what [`StoreError`] says, and so says this type"
)]
impl Store {
    /// The same store by a session of its own, for what must not wait while all others of this process do.
    pub fn apart(&self) -> Self {
        Self { worker: self.worker.apart(), ..self.clone() }
    }

    /// Extends all leases of the run; on a shared store returns how long they last from now.
    pub async fn renew(&self, run: &Run, until: Timestamp) -> Result<Option<Duration>> {
        let run = run.key;
        self.worker.apply(repeatable("renew leases"), move |tx, _| liveness::renew(tx, run, until)).await
    }

    /// The other runs that hold planned connections on a shared store, each with the time until which it
    /// counts as alive, in milliseconds.
    pub async fn holders(&self) -> Result<Vec<(i64, i64)>> {
        if !self.is_shared {
            return Ok(Vec::new());
        }
        let what = "look who is at work";
        let leased = self.of_plan(what, |plan| plan.leased.clone()).await?;
        self.worker.read(what, move |db| liveness::heard_of(db, leased.iter().copied())).await
    }

    /// The time by the clock that all hosts share; `None` for a file.
    pub async fn shared_now(&self) -> Result<Option<Timestamp>> {
        if !self.is_shared {
            return Ok(None);
        }
        self.worker.read("look at the clock", shared_now).await
    }

    /// Keeps the name of the run in a transaction of its own, once. One that writes what names it may wait long for
    /// others, and would keep the run locked meanwhile, so that it could give no sign of life.
    pub(super) async fn name(&self, run: i64) -> Result<()> {
        if !self.is_shared {
            return Ok(());
        }
        let name =
            || self.worker.apply(repeatable("name the run"), move |tx, _| run_names::keep_name(tx, run));
        self.named.get_or_try_init(name).await.copied()
    }
}

pub(super) fn shared_now(db: Db<'_>) -> Result<Option<Timestamp>, Fail> {
    db.shared_now()
}

//! The outbox of hooks for those who empty it. What is in it, `events` decides.

use super::{Store, events};
use crate::domain::hook::HookKind;
use crate::store::Result;
use crate::store::types::Outgoing;

impl Store {
    /// From now on events of these kinds are written down, as somebody listens; a rehearsal tells nobody.
    pub async fn listen(&self, kinds: Vec<HookKind>) {
        self.worker.configure(move |db| db.listened.set(kinds)).await;
    }

    /// The next events of runs that have ended, oldest first, without those of the kinds `except`.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be read.
    pub async fn outgoing(&self, limit: u32, except: Vec<HookKind>) -> Result<Vec<Outgoing>> {
        self.worker.read("read events", move |db| events::outgoing(db, limit, &except)).await
    }

    /// Forgets events that are out.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be written.
    pub async fn forget_events(&self, keys: Vec<i64>) -> Result<()> {
        self.worker.write("forget events", move |tx, _| events::forget(tx, &keys)).await
    }
}

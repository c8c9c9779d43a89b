//! The outbox of hooks, for the code that empties it. `events` decides what is in it.

use super::{Store, events};
use crate::domain::hook::HookKind;
use crate::store::Result;
use crate::store::types::Outgoing;

impl Store {
    /// Sets the kinds of events to record, to which hooks listen; a rehearsal passes none.
    pub async fn listen(&self, kinds: Vec<HookKind>) {
        self.worker.configure(move |db| db.listened.set(kinds)).await;
    }

    /// The next events of finished runs, oldest first; omits the kinds in `except`.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be read.
    pub async fn outgoing(&self, limit: u32, except: Vec<HookKind>) -> Result<Vec<Outgoing>> {
        self.worker.read("read events", move |db| events::outgoing(db, limit, &except)).await
    }

    /// Deletes events that were delivered.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub async fn forget_events(&self, keys: Vec<i64>) -> Result<()> {
        self.worker.write("forget events", move |tx, _| events::forget(tx, &keys)).await
    }
}

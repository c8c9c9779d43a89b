//! The way of events from the store into the spool, at both ends of a run. What cannot be written stays in
//! the store; a run is not worse for it. Starts no program.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::cli::Failure;
use crate::config::HooksSettings;
use crate::domain::hook::{HookEvent, HookKind};
use crate::observe::spool::{Spool, Turn};
use crate::store::sqlite::SqliteStore;

/// Events in one round trip.
const BATCH: u32 = 500;

/// The outbox of a run.
#[derive(Debug)]
pub struct Outbox<'a> {
    store: &'a SqliteStore,
    spool: Arc<Spool>,
    listened: Vec<HookKind>,
    rehearsal: bool,
}

/// The kinds of events for which there is a program. Whether it can be executed is not this process's to
/// say: in the sandbox of a pass nothing can.
pub(in crate::cli) fn listened(directory: &Path) -> Vec<HookKind> {
    HookKind::ALL.iter().copied().filter(|kind| directory.join(kind.as_str()).is_file()).collect()
}

impl<'a> Outbox<'a> {
    /// Lets the store write down what somebody listens to; a rehearsal tells nobody.
    pub async fn of(settings: &HooksSettings, store: &'a SqliteStore, rehearsal: bool) -> Self {
        let listened = if rehearsal { Vec::new() } else { listened(&settings.directory) };
        store.listen(listened.clone()).await;
        Self { store, spool: Arc::new(Spool::new(&settings.spool)), listened, rehearsal }
    }

    /// Moves what waits in the store into the spool, each event at least once and under the same id.
    pub async fn deliver(&self) {
        if self.rehearsal {
            return;
        }
        if let Err(error) = self.move_all().await {
            tracing::warn!(
                "hooks: events wait in the store, since they cannot be written for the hooks: {error}; the next run tries again (hooks.spool)"
            );
        }
    }

    async fn move_all(&self) -> Result<(), Failure> {
        // Most runs have nothing to tell, and then need no spool.
        if self.store.outgoing(1).await?.is_empty() {
            return Ok(());
        }
        let spool = Arc::clone(&self.spool);
        let turn =
            Arc::new(tokio::task::spawn_blocking(move || spool.turn()).await.map_err(io::Error::other)??);
        loop {
            let outgoing = self.store.outgoing(BATCH).await?;
            if outgoing.is_empty() {
                return Ok(());
            }
            let keys = outgoing.iter().map(|one| one.key).collect();
            let wanted = outgoing.into_iter().filter_map(|one| one.event);
            // Of a kind whose hook was removed meanwhile nobody wants to know.
            let wanted = wanted.filter(|event| self.listened.contains(&event.kind)).collect();
            self.put(Arc::clone(&turn), wanted).await?;
            self.store.forget_events(keys).await?;
        }
    }

    async fn put(&self, turn: Arc<Turn>, events: Vec<HookEvent>) -> Result<(), Failure> {
        let spool = Arc::clone(&self.spool);
        let gone = tokio::task::spawn_blocking(move || spool.put(&turn, &events))
            .await
            .map_err(io::Error::other)??;
        if gone > 0 {
            tracing::warn!(
                "hooks: {gone} of the oldest events were dropped, since too many wait to be told; is the unit of their hook enabled? sudo tink-sync check"
            );
        }
        Ok(())
    }
}

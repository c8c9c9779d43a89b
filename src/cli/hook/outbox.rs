//! Moves events from the store into the spool, at the start and end of a run: event by event and kind by
//! kind, so that an error in one delays no other. Events that cannot be written stay in the store, which does
//! not change the result of the run. Starts no program.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::Failure;
use crate::config::HooksSettings;
use crate::domain::hook::{HookEvent, HookKind};
use crate::observe::spool::{Spool, Turn};
use crate::store::Store;
use crate::store::types::Outgoing;

/// Events per round trip.
const BATCH: u32 = 100;

/// The outbox of a run.
#[derive(Debug)]
pub(crate) struct Outbox<'a> {
    store: &'a Store,
    spool: Arc<Spool>,
    listened: Vec<HookKind>,
    rehearsal: bool,
}

/// The kinds of events for which there is a program. Whether it is executable cannot be checked here: in the
/// sandbox of a pass nothing is.
pub(in crate::cli) fn listened(directory: &Path) -> Vec<HookKind> {
    HookKind::ALL.iter().copied().filter(|kind| directory.join(kind.as_str()).is_file()).collect()
}

/// The result of a batch.
#[derive(Debug, Default)]
struct Delivered {
    /// Keys of the events that were written or need not be.
    done: Vec<i64>,
    /// Kinds that cannot be written for now, with the error.
    stuck: Vec<(HookKind, io::Error)>,
    /// Where obstacles were moved to.
    aside: Vec<PathBuf>,
    /// The number of older events that were dropped to make room.
    gone: usize,
}

impl<'a> Outbox<'a> {
    /// Has the store record events of the kinds that have a hook; in a rehearsal of none.
    pub(crate) async fn of(settings: &HooksSettings, store: &'a Store, rehearsal: bool) -> Self {
        let listened = if rehearsal { Vec::new() } else { listened(&settings.directory) };
        store.listen(listened.clone()).await;
        Self { store, spool: Arc::new(Spool::new(&settings.spool)), listened, rehearsal }
    }

    /// Moves the events waiting in the store into the spool, each at least once and under the same id.
    pub(crate) async fn deliver(&self) {
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
        // Other hosts may have hooks that this one has not: what waits for them stays in the store.
        let of_others = |kind: &&HookKind| self.store.is_shared() && !self.listened.contains(*kind);
        let mut stuck: Vec<HookKind> = HookKind::ALL.iter().filter(of_others).copied().collect();
        // Most runs have no events, and then need no spool.
        if self.store.outgoing(1, stuck.clone()).await?.is_empty() {
            return Ok(());
        }
        let spool = Arc::clone(&self.spool);
        let turn = Arc::new(tokio::task::spawn_blocking(move || spool.turn()).await??);
        loop {
            let outgoing = self.store.outgoing(BATCH, stuck.clone()).await?;
            if outgoing.is_empty() {
                return Ok(());
            }
            let delivered = self.put(Arc::clone(&turn), outgoing).await?;
            log_delivered(&delivered);
            stuck.extend(delivered.stuck.iter().map(|(kind, _)| *kind));
            self.store.forget_events(delivered.done).await?;
        }
    }

    async fn put(&self, turn: Arc<Turn>, outgoing: Vec<Outgoing>) -> Result<Delivered, Failure> {
        let (spool, listened) = (Arc::clone(&self.spool), self.listened.clone());
        let put = move || put_all(&spool, &turn, &listened, outgoing);
        Ok(tokio::task::spawn_blocking(put).await?)
    }
}

fn put_all(spool: &Spool, turn: &Turn, listened: &[HookKind], outgoing: Vec<Outgoing>) -> Delivered {
    let mut delivered = Delivered::default();
    let mut kinds: BTreeMap<HookKind, Vec<(i64, HookEvent)>> = BTreeMap::new();
    for Outgoing { key, event } in outgoing {
        match event {
            Some(event) if listened.contains(&event.kind) => {
                kinds.entry(event.kind).or_default().push((key, event));
            }
            // On a store that no other host shares, the hook of this kind was removed meanwhile; or it is no news.
            _ => delivered.done.push(key),
        }
    }
    for (kind, events) in kinds {
        if let Err(error) = put_kind(spool, turn, kind, &events, &mut delivered) {
            delivered.stuck.push((kind, error));
        }
    }
    delivered
}

/// Events written before an error count as delivered, so that they are not written again.
fn put_kind(
    spool: &Spool,
    turn: &Turn,
    kind: HookKind,
    events: &[(i64, HookEvent)],
    delivered: &mut Delivered,
) -> io::Result<()> {
    delivered.gone += spool.make_room(turn, kind, events.len())?;
    let (mut written, mut failed) = (Vec::new(), None);
    for (key, event) in events {
        match spool.put(turn, event) {
            Ok(aside) => {
                delivered.aside.extend(aside);
                written.push(*key);
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    spool.sync_queue(turn, kind)?;
    delivered.done.extend(written);
    failed.map_or(Ok(()), Err)
}

fn log_delivered(delivered: &Delivered) {
    if delivered.gone > 0 {
        tracing::warn!(
            "hooks: {} of the oldest events were dropped, since too many wait; is the unit of their hook enabled? sudo tink-sync check",
            delivered.gone
        );
    }
    for place in &delivered.aside {
        tracing::warn!(
            "hooks: something that is no event had the name of one and was moved to {}; a hook has left it there: sudo tink-sync hook drop removes it",
            place.display()
        );
    }
    for (kind, error) in &delivered.stuck {
        tracing::warn!(
            "hooks: events of kind {kind} wait in the store, since they cannot be written for their hook: {error}; the next run tries again (hooks.spool)"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::store::engine::postgres::tests::server::Server;
    use crate::store::{NewRun, Place, RunEnd};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// Whether the event that a pass failed is still in the store after a host without hooks has delivered.
    async fn is_kept(place: &Place) -> bool {
        let store = Store::open(place, Duration::ZERO, NOW).unwrap();
        store.listen(vec![HookKind::PassFailed]).await;
        let new = NewRun::by_hand("r", NOW);
        let run = store.begin_run(new).await.unwrap();
        let end = RunEnd { totals: "{}".to_owned(), exit_code: 69, pass_failed: true, at: NOW };
        store.finish_run(&run, end).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::new(directory.path()));
        let outbox = Outbox { store: &store, spool, listened: Vec::new(), rehearsal: false };
        outbox.deliver().await;
        !store.outgoing(1, Vec::new()).await.unwrap().is_empty()
    }

    #[tokio::test]
    async fn events_for_which_only_other_hosts_may_have_a_hook_stay_for_them() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_kept(&Place::from(directory.path().join("store.db"))).await);
        assert!(is_kept(&Server::shared().fresh_place()).await);
    }
}

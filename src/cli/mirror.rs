//! Reads the source view, and copies it into the store for every command that must know all connections.
//! Decides nothing about them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Environment, Failure, remedy};
use crate::domain::ids::ConnectionId;
use crate::domain::view::Viewed;
use crate::store::population::LastView;
use crate::store::source;
use crate::store::{Mirrored, Place, Run, Store};
use crate::vault::Vault;

/// The source view and how it is read.
pub(super) struct Reading {
    place: Place,
    view: String,
    vault: Option<Arc<Vault>>,
    patience: Duration,
    last: Option<LastView>,
    stand_alone: bool,
    at: Timestamp,
    since: Option<Timestamp>,
}

impl Reading {
    /// `vault` encrypts tokens. A locked database is waited for up to `patience`, and so is a missing view if
    /// `last` shows that it was there.
    pub(super) fn of(
        env: &Environment,
        vault: Option<Arc<Vault>>,
        patience: Duration,
        last: Option<LastView>,
    ) -> Self {
        let (place, view) = env.source();
        let stand_alone = env.settings.source.view.is_none();
        Self { place, view, vault, patience, last, stand_alone, at: env.clock.now(), since: None }
    }

    /// Reads the view, and closes its database again.
    pub(super) fn read(self) -> Result<Viewed, Failure> {
        let source = format!("{}: {}", self.place, self.view);
        let is_known = self.last.is_some_and(|last| last.source == source);
        let read = if is_known { source::read_known_view } else { source::read_view };
        let rows = read(&self.place, &self.view, self.vault.as_deref(), self.at, self.patience)?;
        Ok(Viewed { rows, source, stand_alone: self.stand_alone, at: self.at, since: self.since })
    }
}

/// Copies the source view into the store, once it has been read and its database closed.
pub(super) async fn mirror(
    env: &Environment,
    store: &Store,
    run: &Run,
    vault: Option<Arc<Vault>>,
    patience: Duration,
) -> Result<Mirrored, Failure> {
    let (last, since) = store.last_view().await?;
    let reading = Reading { since, ..Reading::of(env, vault, patience, last) };
    let is_own = reading.view == reading.place.own_view() && env.settings.source.database.is_none();
    let read = move || {
        // A rehearsal before the first run: without a store there are no connections.
        if is_own && !reading.place.is_there()? { Ok(None) } else { reading.read().map(Some) }
    };
    let viewed = tokio::task::spawn_blocking(read).await??;
    let Some(viewed) = viewed else { return Ok(Mirrored::default()) };
    if let Some(row) = viewed.rows.iter().find(|row| row.unencrypted) {
        tracing::warn!(
            "the source view gives refresh tokens (connection {} for one), and there is no key to encrypt them with: they are passed over; set store.token_key_file, or take the column away",
            row.connection_id
        );
    }
    let unreadable = viewed.rows.iter().filter(|row| row.until_unreadable);
    let mut unreadable: Vec<ConnectionId> = unreadable.map(|row| row.connection_id).collect();
    if let Some(first) = unreadable.pop() {
        tracing::warn!("{}", remedy::until_unreadable(unreadable.len() + 1, first.as_str()));
    }
    let mirrored = store.mirror(run, viewed).await?;
    if mirrored.is_outdated {
        tracing::info!(
            "another host has stored a later reading of the source view; this pass goes on with that one"
        );
    }
    for (from, to) in &mirrored.took_over {
        tracing::info!(
            "connection {to} goes on with the data of connection {from}, which has the same user and Tink user and is not enabled any more"
        );
    }
    Ok(mirrored)
}

//! Copies the source view into the store, as every command does that must know all connections. Decides
//! nothing about them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Environment, Failure};
use crate::domain::connection::SourceRow;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::source::{self, OWN_VIEW};
use crate::store::{Run, Store as _};
use crate::vault::Vault;

/// Rows of the source view in one transaction of the mirror.
const BATCH: usize = 500;

/// Copies the source view into the store, in batches, once it has been read and closed.
pub(super) async fn mirror(
    env: &Environment,
    store: &SqliteStore,
    run: &Run,
    vault: Option<Arc<Vault>>,
    patience: Duration,
) -> Result<(), Failure> {
    let (path, view) = env.source()?;
    if view == OWN_VIEW && env.settings.source.database.is_none() && !path.exists() {
        // A rehearsal before the first run: there is no store yet, so there are no connections.
        return Ok(());
    }
    let now = env.clock.now();
    let read = move || source::read_view(&path, &view, vault.as_deref(), now, patience);
    let rows = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
    if let Some(row) = rows.iter().find(|row| row.unsealed) {
        tracing::warn!(
            "the source view gives refresh tokens (connection {} for one), and there is no key to seal them with: they are passed over; set store.token_key_file, or take the column away",
            row.connection_id
        );
    }
    let mut rows = rows.into_iter();
    loop {
        let batch: Vec<SourceRow> = rows.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return Ok(store.mirror_done().await?);
        }
        store.mirror(run, batch).await?;
    }
}

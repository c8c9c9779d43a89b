//! Reports parts of Tink's answers that deviate from the documented form: once for each kind and account, and
//! again after a month, since a bank that sends such data sends it at every refresh. Decides nothing about
//! rows.

use super::context::ConnectionSync;
use crate::domain::event::Event;
use crate::store::{NotedAnomaly, StoreError};

/// Records the anomalies met so far and emits those that are new.
///
/// # Errors
/// [`StoreError`], as for any other write.
pub(super) async fn emit(sync: &ConnectionSync<'_>) -> Result<(), StoreError> {
    let met: Vec<NotedAnomaly> = sync
        .session
        .take_anomalies()
        .into_iter()
        .flat_map(|(account, anomalies)| {
            let of = |(anomaly, times)| NotedAnomaly { account: account.clone(), anomaly, times };
            anomalies.iter().map(of).collect::<Vec<_>>()
        })
        .collect();
    if met.is_empty() {
        return Ok(());
    }
    let lease = &sync.claim.lease;
    for NotedAnomaly { anomaly, times, .. } in sync.ctx.store.note_anomalies(lease, met, sync.now()).await? {
        (sync.ctx.emit)(&Event::Anomaly { connection_id: lease.connection_id.clone(), anomaly, times });
    }
    Ok(())
}

//! A connection whose row names its Tink user in another way (by Tink's id instead of the application's, or
//! the other way round). The view is not trusted: Tink must show under the new name what the connection
//! holds. Stores nothing else.

use super::context::ConnectionSync;
use super::result::{AttemptResult, SyncError};
use crate::domain::ids::{AccountId, CredentialsId};
use crate::domain::outcome::{Outcome, Reason};
use crate::store::StoreError;

/// Syncs the connection after proving whose it is.
///
/// # Errors
/// [`StoreError`], as for the sync.
pub(super) async fn told(sync: &ConnectionSync<'_>) -> Result<AttemptResult, StoreError> {
    match is_same(sync).await {
        Ok(true) => sync.run().await,
        Ok(false) => Ok(AttemptResult::because(Outcome::Failed, Reason::SourceRow, refusal(sync))),
        Err(error) => error.into_result(),
    }
}

/// Whether Tink shows under the new name what the connection holds.
async fn is_same(sync: &ConnectionSync<'_>) -> Result<bool, SyncError> {
    let (lease, held) = (&sync.claim.lease, &sync.ctx.store);
    let Some(user) = &sync.claim.moved else { return Ok(true) };
    let consents = sync.session.consents().await?;
    let consents: Vec<CredentialsId> = consents.into_iter().map(|consent| consent.credentials_id).collect();
    if held.adopt(lease, user.clone(), consents, Vec::new()).await? {
        return Ok(true);
    }
    let accounts = sync.session.accounts().await?;
    let accounts: Vec<AccountId> = accounts.into_iter().map(|account| account.id).collect();
    Ok(held.adopt(lease, user.clone(), Vec::new(), accounts).await?)
}

fn refusal(sync: &ConnectionSync<'_>) -> String {
    let id = crate::domain::ids::shown(sync.claim.lease.connection_id.as_str());
    format!(
        "the source view names its Tink user in another way, and Tink shows nothing there that this connection holds: \
         correct the row, forget the connection first (tink-sync connections forget {id}), or give it a new id; \
         if the same person linked anew: tink-sync connections accept-user {id}"
    )
}

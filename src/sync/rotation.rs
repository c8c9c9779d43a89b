//! Tokens of an older link: used while they are valid, renewed once when they are not, and given up rather
//! than presented twice. The intent is durable before the request, its result before its use. A renewal that
//! has begun continues even if its connection is cut short.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::cause::Cause;
use crate::store::{EncryptedTokens, Lease, Renewal, RotationBegin, Store, StoreError, TokenState};
use crate::tink::{self, Client, GivenToken, OwnTokens, RenewError, Renewed};
use crate::vault::{TokenKind, Vault, VaultError};

/// A token is not used this shortly before its end.
const MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// A token, or `None` if the connection has none to give.
type GivenResult = Result<Option<GivenToken>, tink::Error>;

/// What the renewals of one run share.
#[derive(Clone, Debug, Default)]
pub struct Renewals {
    /// The key; `None` if none is configured.
    pub vault: Option<Arc<Vault>>,
    /// Renewals in progress; the run waits for them before it ends.
    pub under_way: TaskTracker,
}

/// The tokens of one connection.
pub(super) struct Rotation {
    work: RotationContext,
    under_way: TaskTracker,
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").finish_non_exhaustive()
    }
}

/// What a renewal needs, independently of its connection's sync.
#[derive(Clone)]
struct RotationContext {
    store: Store,
    client: Client,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    lease: Lease,
}

/// A call that fails because of a local error, its cause.
fn failed(kind: tink::ErrorKind, error: impl std::error::Error + Send + Sync + 'static) -> tink::Error {
    let told = tink::Error::new(kind, tink::Endpoint::TokenRefresh, &error.to_string());
    tink::Error { cause: Some(Cause::of(error)), ..told }
}

/// The call that needed a token fails because of the store.
fn unstored(error: StoreError) -> tink::Error {
    failed(tink::ErrorKind::OwnTokens, error)
}

/// The call that needed a token fails because of the key.
fn unopened(error: VaultError) -> tink::Error {
    failed(tink::ErrorKind::TokenEncrypted, error)
}

/// The result of a renewal in a task of its own. A panic there panics its connection, which reports it; a
/// task that the end of the program cut short yields no token.
fn joined(renewal: Result<GivenResult, JoinError>) -> GivenResult {
    match renewal.map_err(JoinError::try_into_panic) {
        Ok(given) => given,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => Ok(None),
    }
}

impl Rotation {
    /// The tokens of the leased connection; `None` without a key.
    pub(super) fn new(
        store: Store,
        client: Client,
        clock: Arc<dyn Clock>,
        renewals: &Renewals,
        lease: Lease,
    ) -> Option<Self> {
        let vault = Arc::clone(renewals.vault.as_ref()?);
        let work = RotationContext { store, client, clock, vault, lease };
        Some(Self { work, under_way: renewals.under_way.clone() })
    }

    async fn give(&self, refused: bool) -> GivenResult {
        let Some(stored) = self.work.store.tokens(&self.work.lease).await.map_err(unstored)? else {
            return Ok(None);
        };
        if !refused && let Some(token) = self.work.kept(&stored).map_err(unopened)? {
            return Ok(Some(token));
        }
        match stored.state {
            TokenState::Ready => {}
            // Another run is presenting it, or it must not be presented any more.
            TokenState::Asked | TokenState::Lost => return Ok(None),
        }
        let refresh = self.work.open(TokenKind::Refresh, &stored.refresh).map_err(unopened)?;
        let begun = self.work.store.begin_rotation(&self.work.lease).await.map_err(unstored)?;
        let Some(begun) = begun else { return Ok(None) };
        let work = self.work.clone();
        // In a task of its own: from here on the token may be used up, and the result must be stored.
        let renewal = self.under_way.spawn(async move { work.renew(begun, &refresh).await });
        joined(renewal.await)
    }
}

impl RotationContext {
    fn open(&self, what: TokenKind, encrypted: &[u8]) -> Result<secrecy::SecretString, VaultError> {
        self.vault.decrypt(self.lease.connection_id.as_str(), what, encrypted)
    }

    /// The stored access token, if it is good for another call.
    fn kept(&self, stored: &EncryptedTokens) -> Result<Option<GivenToken>, VaultError> {
        let Some(encrypted) = &stored.access else { return Ok(None) };
        let left = stored.access_until.map(|until| until.duration_since(self.clock.now()));
        if left.is_some_and(|left| left < MARGIN) {
            return Ok(None);
        }
        let secret = self.open(TokenKind::Access, encrypted)?;
        Ok(Some(GivenToken { secret, life: left.and_then(|left| left.try_into().ok()) }))
    }

    /// Presents the refresh token, once, and stores the result before anything uses it.
    async fn renew(&self, begun: RotationBegin, refresh: &secrecy::SecretString) -> GivenResult {
        let asked_at = self.clock.now();
        let (renewal, given) = match self.client.renew(refresh).await {
            Ok(renewed) => self.encrypted(renewed, asked_at).map_err(unopened)?,
            Err(RenewError::NotSent(error)) => {
                self.keep(begun, Renewal::NotAsked).await.map_err(unstored)?;
                return Err(error);
            }
            Err(RenewError::Refused(error) | RenewError::Unknown(error)) => {
                (Renewal::Lost(error.to_string()), None)
            }
        };
        let ours = self.keep(begun, renewal).await.map_err(unstored)?;
        Ok(given.filter(|_| ours))
    }

    fn encrypted(
        &self,
        renewed: Renewed,
        asked_at: Timestamp,
    ) -> Result<(Renewal, Option<GivenToken>), VaultError> {
        let encrypt = |what, token| self.vault.encrypt(self.lease.connection_id.as_str(), what, token);
        let life = renewed.life.and_then(|life| SignedDuration::try_from(life).ok());
        let renewal = Renewal::Renewed {
            refresh: renewed.refresh.as_ref().map(|token| encrypt(TokenKind::Refresh, token)).transpose()?,
            access: encrypt(TokenKind::Access, &renewed.access)?,
            until: life.and_then(|life| asked_at.checked_add(life).ok()),
        };
        Ok((renewal, Some(GivenToken { secret: renewed.access, life: renewed.life })))
    }

    async fn keep(&self, begun: RotationBegin, renewal: Renewal) -> Result<bool, StoreError> {
        self.store.finish_rotation(begun, renewal, self.clock.now()).await
    }
}

impl OwnTokens for Rotation {
    fn token(&self, refused: bool) -> BoxFuture<'_, GivenResult> {
        self.give(refused).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::sync::result::SyncError;

    #[tokio::test]
    async fn a_renewal_that_panics_panics_its_connection_and_one_cut_short_gives_no_token() {
        let panicked = tokio::spawn(async { panic!("a bug") }).await;
        let caught = catch_unwind(AssertUnwindSafe(|| joined(panicked))).map(drop).unwrap_err();
        assert_eq!(caught.downcast_ref::<&str>(), Some(&"a bug"));
        let cut = tokio::spawn(std::future::pending());
        cut.abort();
        assert!(matches!(joined(cut.await), Ok(None)));
    }

    #[test]
    fn what_the_store_refused_is_the_stores_error_again_where_the_sync_meets_it() {
        let lost = StoreError::LeaseLost("c-1".into());
        assert!(
            matches!(SyncError::from(unstored(lost)), SyncError::Store(StoreError::LeaseLost(id)) if id == "c-1".into())
        );
        let encrypted = SyncError::from(unopened(VaultError::Damaged));
        assert!(
            matches!(encrypted, SyncError::Tink(error) if error.detail == VaultError::Damaged.to_string())
        );
    }
}

//! Tokens of an older link: used as long as they are good, renewed once when they are not, and given up rather
//! than presented twice. The intent is durable before the request, its result before its use. A renewal that
//! has begun goes on although its connection was cut short.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::store::{Asking, Lease, Renewal, SealedTokens, Store, StoreError, TokenState};
use crate::tink::{self, Client, GivenToken, OwnTokens, RenewError, Renewed};
use crate::vault::{Vault, VaultError, What};

/// A token is not used so shortly before its end.
const MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// What the renewals of one run share.
#[derive(Clone, Debug, Default)]
pub struct Renewals {
    /// The key; none if none is configured.
    pub vault: Option<Arc<Vault>>,
    /// Those under way; the run waits for them before it ends.
    pub under_way: TaskTracker,
}

/// The tokens of one connection.
pub(super) struct Rotation<S> {
    work: Work<S>,
    under_way: TaskTracker,
    trouble: Mutex<Option<StoreError>>,
}

impl<S> fmt::Debug for Rotation<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").finish_non_exhaustive()
    }
}

/// What a renewal needs, apart from its connection's sync.
struct Work<S> {
    store: S,
    client: Client,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    lease: Lease,
}

impl<S: Clone> Clone for Work<S> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            client: self.client.clone(),
            clock: Arc::clone(&self.clock),
            vault: Arc::clone(&self.vault),
            lease: self.lease.clone(),
        }
    }
}

/// Why there is no token.
enum SyncError {
    Tink(tink::Error),
    Store(StoreError),
}

impl From<StoreError> for SyncError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<VaultError> for SyncError {
    fn from(error: VaultError) -> Self {
        Self::Tink(tink::Error::new(
            tink::ErrorKind::TokenSealed,
            tink::Endpoint::TokenRefresh,
            &error.to_string(),
        ))
    }
}

impl<S: Store> Rotation<S> {
    /// The tokens of the leased connection; none without a key.
    pub fn new(
        store: S,
        client: Client,
        clock: Arc<dyn Clock>,
        renewals: &Renewals,
        lease: Lease,
    ) -> Option<Self> {
        let vault = Arc::clone(renewals.vault.as_ref()?);
        let work = Work { store, client, clock, vault, lease };
        Some(Self { work, under_way: renewals.under_way.clone(), trouble: Mutex::default() })
    }

    /// What the store refused; the connection's story has then ended with a stand-in for it.
    pub fn trouble(&self) -> Option<StoreError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn give(&self, refused: bool) -> Result<Option<GivenToken>, SyncError> {
        let Some(stored) = self.work.store.tokens(&self.work.lease).await? else { return Ok(None) };
        if !refused && let Some(token) = self.work.kept(&stored)? {
            return Ok(Some(token));
        }
        match stored.state {
            TokenState::Ready => {}
            // What another run is asking for, or nobody may ask for any more.
            TokenState::Asked | TokenState::Lost => return Ok(None),
        }
        let refresh = self.work.open(What::Refresh, &stored.refresh)?;
        let Some(asking) = self.work.store.ask_tokens(&self.work.lease).await? else { return Ok(None) };
        let work = self.work.clone();
        // In a task of its own: from here on the token may be used up, and what came of it must be kept.
        let renewal = self.under_way.spawn(async move { work.renew(asking, &refresh).await });
        renewal.await.unwrap_or(Ok(None))
    }
}

impl<S: Store> Work<S> {
    fn open(&self, what: What, sealed: &[u8]) -> Result<secrecy::SecretString, VaultError> {
        self.vault.open(self.lease.connection_id.as_str(), what, sealed)
    }

    /// The kept access token, if it is good for another call.
    fn kept(&self, stored: &SealedTokens) -> Result<Option<GivenToken>, VaultError> {
        let Some(sealed) = &stored.access else { return Ok(None) };
        let left = stored.access_until.map(|until| until.duration_since(self.clock.now()));
        if left.is_some_and(|left| left < MARGIN) {
            return Ok(None);
        }
        let secret = self.open(What::Access, sealed)?;
        Ok(Some(GivenToken { secret, life: left.and_then(|left| left.try_into().ok()) }))
    }

    /// Presents the refresh token, once, and keeps what comes of it before anybody uses it.
    async fn renew(
        &self,
        asking: Asking,
        refresh: &secrecy::SecretString,
    ) -> Result<Option<GivenToken>, SyncError> {
        let asked_at = self.clock.now();
        let (renewal, given) = match self.client.renew(refresh).await {
            Ok(renewed) => self.sealed(renewed, asked_at)?,
            Err(RenewError::NotSent(error)) => {
                self.keep(asking, Renewal::NotAsked).await?;
                return Err(SyncError::Tink(error));
            }
            Err(RenewError::Refused(error) | RenewError::Unknown(error)) => {
                (Renewal::Lost(error.to_string()), None)
            }
        };
        let ours = self.keep(asking, renewal).await?;
        Ok(given.filter(|_| ours))
    }

    fn sealed(
        &self,
        renewed: Renewed,
        asked_at: Timestamp,
    ) -> Result<(Renewal, Option<GivenToken>), VaultError> {
        let seal = |what, token| self.vault.seal(self.lease.connection_id.as_str(), what, token);
        let life = renewed.life.and_then(|life| SignedDuration::try_from(life).ok());
        let renewal = Renewal::Renewed {
            refresh: renewed.refresh.as_ref().map(|token| seal(What::Refresh, token)).transpose()?,
            access: seal(What::Access, &renewed.access)?,
            until: life.and_then(|life| asked_at.checked_add(life).ok()),
        };
        Ok((renewal, Some(GivenToken { secret: renewed.access, life: renewed.life })))
    }

    async fn keep(&self, asking: Asking, renewal: Renewal) -> Result<bool, StoreError> {
        self.store.renew_tokens(asking, renewal, self.clock.now()).await
    }
}

impl<S: Store> OwnTokens for Rotation<S> {
    fn token(&self, refused: bool) -> BoxFuture<'_, Result<Option<GivenToken>, tink::Error>> {
        async move {
            match self.give(refused).await {
                Ok(given) => Ok(given),
                Err(SyncError::Tink(error)) => Err(error),
                Err(SyncError::Store(error)) => {
                    *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    let (kind, endpoint) = (tink::ErrorKind::TokenSealed, tink::Endpoint::TokenRefresh);
                    Err(tink::Error::new(kind, endpoint, "the store failed"))
                }
            }
        }
        .boxed()
    }
}

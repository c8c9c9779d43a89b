//! Gets tokens: the client token, cached for the process, and user tokens, returned to their session (API.md
//! 2.1 to 2.3). Must not store a token anywhere but in memory, nor log one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::error::{Endpoint, Error, ErrorKind};
use super::head::Answer;
use super::http::{Request, Transport};
use super::options::CallCounters;
use super::wire::{self, Granted};
use crate::domain::connection::TinkUser;

/// The scope of the client token.
const CLIENT_SCOPE: &str = "authorization:grant";
/// The scopes of a user token.
const USER_SCOPES: [&str; 4] =
    ["accounts:read", "balances:read", "transactions:read", "provider-consents:read"];
/// The additional scope of a user token that may ask Tink to fetch from the bank.
const REFRESH_SCOPE: &str = "credentials:refresh";
/// Attempts of a call that repeats an earlier one with a new token or code.
const SECOND_TRIES: u32 = 2;
/// Lifetime of a token without `expires_in`.
const DEFAULT_LIFE: Duration = Duration::from_mins(10);
/// No token is trusted for longer.
const LONGEST_LIFE: Duration = Duration::from_hours(24);
/// A token is replaced this long before it expires, or a quarter of its lifetime if that is less.
const MARGIN: Duration = Duration::from_mins(1);

/// A token and the time until which it is used.
pub(super) struct Bearer {
    pub secret: SecretString,
    fresh_until: Instant,
}

impl Bearer {
    /// A token that was not minted here, with its remaining lifetime.
    pub(super) fn given(secret: SecretString, life: Option<Duration>) -> Arc<Self> {
        let expires_in = life.map(|life| life.as_secs());
        Self::new(Granted { secret, expires_in, scopes: None, refresh: None }, Instant::now())
    }

    /// `asked` is the time before the request, so that a token is never taken to be younger than it is.
    fn new(granted: Granted, asked: Instant) -> Arc<Self> {
        let life = granted.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).min(LONGEST_LIFE);
        let fresh_until = asked + life.saturating_sub(MARGIN.min(life / 4));
        Arc::new(Self { secret: granted.secret, fresh_until })
    }

    /// Whether it will live long enough for another call.
    pub(super) fn is_fresh(&self) -> bool {
        Instant::now() < self.fresh_until
    }
}

/// New tokens of an older link.
pub struct Renewed {
    /// The token for calls.
    pub access: SecretString,
    /// The next refresh token; `None` if the presented one stays valid.
    pub refresh: Option<SecretString>,
    /// The lifetime of the access token, if Tink sent it.
    pub life: Option<Duration>,
}

impl std::fmt::Debug for Renewed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewed").field("life", &self.life).finish_non_exhaustive()
    }
}

/// Why there are no new tokens, by what it means for the presented one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// The token was not presented, or rejected unread (429): it is as good as before.
    #[error("the refresh token was not presented: {0}")]
    NotSent(#[source] Error),
    #[error("the refresh token was refused: {0}")]
    Refused(#[source] Error),
    /// The token may have been used up.
    #[error("the refresh token may have been used up: {0}")]
    Unknown(#[source] Error),
}

/// The app's credentials and its client token.
pub(super) struct Tokens {
    client_id: String,
    client_secret: SecretString,
    /// The scopes of a user token.
    scopes: Vec<&'static str>,
    cache: Mutex<Cache>,
    failures: AtomicU64,
    /// Whether Tink has granted a client token that may grant.
    pub accepted: AtomicBool,
    /// Whether the last client token showed that Tink's clock and ours agree on the day.
    pub clocks_agree: AtomicBool,
}

#[derive(Default)]
struct Cache {
    bearer: Option<Arc<Bearer>>,
    failure: Option<Error>,
}

/// How a call is sent: through which transport, counted where, with how many attempts.
#[derive(Clone, Copy)]
pub(super) struct Effort<'a> {
    pub transport: &'a Transport,
    pub counters: &'a CallCounters,
    pub tries: u32,
    pub repeated: bool,
}

impl Effort<'_> {
    /// For a repetition with a new token or code: few attempts, so that retries do not multiply.
    pub(super) fn second(self) -> Self {
        Self { tries: self.tries.min(SECOND_TRIES), repeated: true, ..self }
    }
}

impl Tokens {
    pub(super) fn new(client_id: String, client_secret: SecretString, refresh: bool) -> Self {
        let scopes = USER_SCOPES.into_iter().chain(refresh.then_some(REFRESH_SCOPE)).collect();
        Self {
            client_id,
            client_secret,
            scopes,
            cache: Mutex::default(),
            failures: AtomicU64::default(),
            accepted: AtomicBool::default(),
            clocks_agree: AtomicBool::default(),
        }
    }

    /// The client token of the process, a different one than `stale`. One caller fetches it; callers that
    /// wait meanwhile share the result, including a failure.
    pub(super) async fn client(
        &self,
        effort: Effort<'_>,
        stale: Option<&Arc<Bearer>>,
    ) -> Result<Arc<Bearer>, Error> {
        let failures = self.failures.load(Ordering::Acquire);
        let mut cache = self.cache.lock().await;
        if let Some(bearer) = &cache.bearer
            && bearer.is_fresh()
            && !stale.is_some_and(|stale| Arc::ptr_eq(stale, bearer))
        {
            return Ok(Arc::clone(bearer));
        }
        if self.failures.load(Ordering::Acquire) != failures
            && let Some(error) = &cache.failure
        {
            return Err(error.clone());
        }
        let asked = Instant::now();
        match self.fetch(effort).await {
            Ok(answer) => {
                let bearer = Bearer::new(answer.value, asked);
                *cache = Cache { bearer: Some(Arc::clone(&bearer)), failure: None };
                Ok(bearer)
            }
            Err(error) => {
                effort.transport.count_token_failure();
                *cache = Cache { bearer: None, failure: Some(error.clone()) };
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }

    /// Fetches the client token of the process with one attempt, to check that the clocks agree. Having no
    /// token is no error; the next call that needs one reports why.
    pub(super) async fn agree(&self, effort: Effort<'_>) -> Result<(), Error> {
        let mut cache = self.cache.lock().await;
        let asked = Instant::now();
        match self.fetch(Effort { tries: 1, ..effort }).await {
            Ok(answer) => cache.bearer = Some(Bearer::new(answer.value, asked)),
            Err(error) if error.kind == ErrorKind::ClockOff => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    /// A new client token that may grant. A refusal counts only if a second request confirms it, or if there
    /// is only one attempt.
    pub(super) async fn fetch(&self, effort: Effort<'_>) -> Result<Answer<Granted>, Error> {
        let mut answer = self.fetch_any(effort).await?;
        if answer.head.clock_is_off().is_some() {
            // A cache in between may have served one response for days, but not two.
            answer = self.fetch_any(effort.second()).await?;
        }
        let off = answer.head.clock_is_off();
        // Without a readable date in the answer nothing was compared.
        self.clocks_agree.store(answer.head.skew.is_some() && off.is_none(), Ordering::Relaxed);
        if let Some(error) = off {
            return Err(error);
        }
        if answer.value.has(CLIENT_SCOPE) {
            self.accepted.store(true, Ordering::Relaxed);
            return Ok(answer);
        }
        let detail = format!("the app's client token lacks the scope {CLIENT_SCOPE}");
        Err(answer.head.error(ErrorKind::ClientRefused, &detail))
    }

    /// A new client token, regardless of its scopes.
    pub(super) async fn fetch_any(&self, effort: Effort<'_>) -> Result<Answer<Granted>, Error> {
        // A refusal of this call in Tink's own form refuses the client, since no user is involved. Any other
        // refusal does not come from Tink.
        let refused = |error: &Error| matches!(error.status, Some(300..=407 | 409..=428 | 430..=499));
        let result = match self.ask(effort, CLIENT_SCOPE).await {
            Err(error) if refused(&error) && effort.tries > 1 => {
                sleep(effort.transport.retry.backoff(0)).await;
                self.ask(effort.second(), CLIENT_SCOPE).await
            }
            other => other,
        };
        result.map_err(|error| if refused(&error) { error.refusal(ErrorKind::ClientRefused) } else { error })
    }

    /// Returns the scopes of a user token that the app may not have: requests a token with each one and
    /// discards it.
    pub(super) async fn withheld(&self, effort: Effort<'_>) -> Result<Vec<&'static str>, Error> {
        let mut withheld = Vec::new();
        for scope in &self.scopes {
            match self.ask(effort, scope).await {
                Ok(answer) if answer.value.has(scope) => {}
                Ok(_) => withheld.push(*scope),
                Err(error) if matches!(error.status, Some(400 | 401 | 403)) => {
                    let error = error.refusal(ErrorKind::ScopeMissing);
                    if error.kind != ErrorKind::ScopeMissing {
                        return Err(error);
                    }
                    withheld.push(*scope);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(withheld)
    }

    /// A client token with one scope.
    pub(super) async fn ask(&self, effort: Effort<'_>, scope: &str) -> Result<Answer<Granted>, Error> {
        let fields = [("grant_type", "client_credentials"), ("scope", scope)];
        self.token(effort, Endpoint::ClientToken, fields).await
    }

    /// Mints a token for `user`: grant, then exchange. A refused code is replaced once, since a code whose
    /// response was lost is used up.
    pub(super) async fn user(&self, effort: Effort<'_>, user: &TinkUser) -> Result<Arc<Bearer>, Error> {
        self.minted(effort, user, &self.scopes).await
    }

    /// Like [`Self::user`], with these scopes.
    pub(super) async fn minted(
        &self,
        effort: Effort<'_>,
        user: &TinkUser,
        scopes: &[&str],
    ) -> Result<Arc<Bearer>, Error> {
        let refused = |error: &Error| {
            error.endpoint == Endpoint::CodeExchange && matches!(error.status, Some(400 | 401))
        };
        let result = match self.mint(effort, user, scopes).await {
            Err(error) if refused(&error) => self.mint(effort.second(), user, scopes).await,
            other => other,
        };
        result.map_err(|error| {
            if error.endpoint != Endpoint::ClientToken {
                effort.transport.count_token_failure();
            }
            match (error.endpoint, error.kind) {
                (Endpoint::CodeExchange, ErrorKind::Unauthorized) => error.with_kind(ErrorKind::GrantRefused),
                _ => error,
            }
        })
    }

    async fn mint(&self, effort: Effort<'_>, user: &TinkUser, scopes: &[&str]) -> Result<Arc<Bearer>, Error> {
        let client = self.client(effort, None).await?;
        let code = match self.grant(effort, &client, user, scopes).await {
            Err(error) if error.status == Some(401) && error.kind != ErrorKind::Intercepted => {
                let client = self.client(effort.second(), Some(&client)).await?;
                self.grant(effort.second(), &client, user, scopes).await?
            }
            other => other?,
        };
        self.exchange(effort, &code, scopes).await
    }

    /// Exchanges a code for a token, which must have all `scopes`.
    async fn exchange(
        &self,
        effort: Effort<'_>,
        code: &SecretString,
        scopes: &[&str],
    ) -> Result<Arc<Bearer>, Error> {
        let asked = Instant::now();
        let fields = [("grant_type", "authorization_code"), ("code", code.expose_secret())];
        let answer = self.token(effort, Endpoint::CodeExchange, fields).await?;
        let missing: Vec<_> = scopes.iter().copied().filter(|scope| !answer.value.has(scope)).collect();
        if missing.is_empty() {
            return Ok(Bearer::new(answer.value, asked));
        }
        let detail = format!("not granted: {}", missing.join(", "));
        Err(answer.head.error(ErrorKind::ScopeMissing, &detail))
    }

    /// Gets new tokens for a refresh token (API.md 2.4), which is presented only once: a lost response may
    /// have used it up. Gets the client token first, to make sure that Tink accepts the client.
    pub(super) async fn renew(
        &self,
        effort: Effort<'_>,
        refresh: &SecretString,
    ) -> Result<Renewed, RenewError> {
        self.client(effort, None).await.map_err(RenewError::NotSent)?;
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh.expose_secret())];
        let once = Effort { tries: 1, ..effort };
        match self.token(once, Endpoint::TokenRefresh, fields).await {
            Ok(Answer { value, .. }) => Ok(Renewed {
                access: value.secret,
                refresh: value.refresh,
                life: value.expires_in.map(Duration::from_secs),
            }),
            Err(error) => {
                effort.transport.count_token_failure();
                let detail = error.detail.replace(refresh.expose_secret(), "…");
                let error = Error { detail, ..error };
                Err(match error.status {
                    _ if error.is_undone() => RenewError::NotSent(error),
                    // A response that is not Tink's proves nothing about the token, and its sender may have
                    // seen it.
                    Some(400..=407 | 409..=499) if error.by_tink => RenewError::Refused(error),
                    _ => RenewError::Unknown(error),
                })
            }
        }
    }

    /// One code for `user`. Its errors have their final kinds; a caller that repeats the call checks the
    /// status.
    async fn grant(
        &self,
        effort: Effort<'_>,
        client: &Bearer,
        user: &TinkUser,
        scopes: &[&str],
    ) -> Result<SecretString, Error> {
        let (name, id) = match user {
            TinkUser::External(id) => ("external_user_id", id),
            TinkUser::Tink(id) => ("user_id", id),
        };
        let scopes = scopes.join(",");
        let request = Request {
            endpoint: Endpoint::AuthorizationGrant,
            query: &[],
            form: &[(name, id), ("scope", &scopes)],
            posted: None,
            bearer: Some(&client.secret),
            tries: effort.tries,
            repeated: effort.repeated,
        };
        let result = effort.transport.call(&request, effort.counters, wire::code).await;
        result.map(|answer| answer.value).map_err(|error| match error.status {
            _ if error.kind == ErrorKind::Intercepted => error,
            Some(401 | 403) => error.with_kind(ErrorKind::GrantRefused),
            Some(404) => error.with_kind(ErrorKind::UserUnknown),
            _ => error,
        })
    }

    async fn token(
        &self,
        effort: Effort<'_>,
        endpoint: Endpoint,
        fields: [(&'static str, &str); 2],
    ) -> Result<Answer<Granted>, Error> {
        let [first, second] = fields;
        let secret = self.client_secret.expose_secret();
        let form = [("client_id", self.client_id.as_str()), ("client_secret", secret), first, second];
        let request = Request {
            endpoint,
            query: &[],
            form: &form,
            posted: None,
            bearer: None,
            tries: effort.tries,
            repeated: effort.repeated,
        };
        // Tink may quote what it refuses: the secret is removed by its value, whatever it looks like.
        effort.transport.call(&request, effort.counters, wire::granted).await.map_err(|error| {
            let detail = error.detail.replace(secret, "…");
            Error { detail, ..error }
        })
    }

    /// Gets a new client token and a complete token for a user, as a connection does, each call tried once;
    /// caches nothing. Shows whether the client is refused or lacks a scope.
    pub(super) async fn prove(&self, effort: Effort<'_>, user: &TinkUser) -> Result<(), Error> {
        let effort = Effort { tries: 1, ..effort };
        let asked = Instant::now();
        let client = Bearer::new(self.fetch(effort).await?.value, asked);
        let code = self.grant(effort, &client, user, &self.scopes).await?;
        self.exchange(effort, &code, &self.scopes).await.map(drop)
    }

    /// Gets one client token and, with a user, one code, each tried once; caches nothing.
    pub(super) async fn probe(&self, effort: Effort<'_>, user: Option<&TinkUser>) -> Result<(), Error> {
        let effort = Effort { tries: 1, ..effort };
        let asked = Instant::now();
        let client = Bearer::new(self.fetch(effort).await?.value, asked);
        match user {
            Some(user) => self.grant(effort, &client, user, &self.scopes).await.map(|_code| ()),
            None => Ok(()),
        }
    }
}

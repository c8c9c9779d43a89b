//! Gets tokens: the client token, kept for the process, and user tokens, handed to their session
//! (API.md 2.1 to 2.3). Must not store a token anywhere but in memory, nor log one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
/// The scope of a user token that may ask the bank.
const REFRESH_SCOPE: &str = "credentials:refresh";
/// Tries of a call that repeats an earlier one with something new.
const SECOND_TRIES: u32 = 2;
/// Life of a token without `expires_in`.
const DEFAULT_LIFE: Duration = Duration::from_mins(10);
/// No token is trusted for longer.
const LONGEST_LIFE: Duration = Duration::from_hours(24);
/// A token is renewed this long before its end, or a quarter of its life if that is less.
const MARGIN: Duration = Duration::from_mins(1);

/// A token and until when to use it.
pub(super) struct Bearer {
    pub secret: SecretString,
    fresh_until: Instant,
}

impl Bearer {
    /// A token from elsewhere that lives this much longer.
    pub(super) fn given(secret: SecretString, life: Option<Duration>) -> Arc<Self> {
        let expires_in = life.map(|life| life.as_secs());
        Self::new(Granted { secret, expires_in, scopes: None, refresh: None }, Instant::now())
    }

    /// `asked` is the time before the request: a token never counts as younger than it is.
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
    /// The token of the calls.
    pub access: SecretString,
    /// The next token that renews; `None` if the one presented stays good.
    pub refresh: Option<SecretString>,
    /// How long the access token lives, if told.
    pub life: Option<Duration>,
}

impl std::fmt::Debug for Renewed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewed").field("life", &self.life).finish_non_exhaustive()
    }
}

/// Why there are no new tokens, by what it means for the one presented.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// It was not presented, or turned away unread (429): it is as good as before.
    #[error("the refresh token was not presented: {0}")]
    NotSent(#[source] Error),
    #[error("the refresh token was refused: {0}")]
    Refused(#[source] Error),
    /// It may have been used up.
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
}

#[derive(Default)]
struct Cache {
    bearer: Option<Arc<Bearer>>,
    failure: Option<Error>,
}

/// Who asks, and how hard to try.
#[derive(Clone, Copy)]
pub(super) struct Effort<'a> {
    pub transport: &'a Transport,
    pub counters: &'a CallCounters,
    pub tries: u32,
    pub repeated: bool,
}

impl Effort<'_> {
    /// A repetition with something new: few tries, so that repetitions do not multiply.
    pub(super) fn second(self) -> Self {
        Self { tries: self.tries.min(SECOND_TRIES), repeated: true, ..self }
    }
}

impl Tokens {
    pub(super) fn new(client_id: String, client_secret: SecretString, refresh: bool) -> Self {
        let scopes = USER_SCOPES.into_iter().chain(refresh.then_some(REFRESH_SCOPE)).collect();
        Self { client_id, client_secret, scopes, cache: Mutex::default(), failures: AtomicU64::new(0) }
    }

    /// The client token of the process, another one than `stale`. One caller fetches it; those who
    /// wait meanwhile share the result, a failure too.
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

    /// Gets the client token of the process, trying once: tells whether the clocks agree, as far as there is an answer.
    /// That it cannot be had is for its caller to report.
    pub(super) async fn agree(&self, effort: Effort<'_>) -> Result<bool, Error> {
        let mut cache = self.cache.lock().await;
        let asked = Instant::now();
        match self.fetch(Effort { tries: 1, ..effort }).await {
            Ok(answer) => cache.bearer = Some(Bearer::new(answer.value, asked)),
            Err(error) if error.kind == ErrorKind::ClockOff => return Err(error),
            Err(_) => return Ok(false),
        }
        Ok(true)
    }

    /// A new client token that may grant. A refusal is believed the second time, or at once if
    /// there is only one try.
    pub(super) async fn fetch(&self, effort: Effort<'_>) -> Result<Answer<Granted>, Error> {
        let mut answer = self.fetch_any(effort).await?;
        if answer.head.clock_is_off().is_some() {
            // One answer may have been kept somewhere in between for days; two were not.
            answer = self.fetch_any(effort.second()).await?;
        }
        if let Some(error) = answer.head.clock_is_off() {
            return Err(error);
        }
        if answer.value.has(CLIENT_SCOPE) {
            return Ok(answer);
        }
        let detail = format!("the app's client token lacks the scope {CLIENT_SCOPE}");
        Err(answer.head.error(ErrorKind::ClientRefused, &detail))
    }

    /// A new client token, whatever its scopes.
    pub(super) async fn fetch_any(&self, effort: Effort<'_>) -> Result<Answer<Granted>, Error> {
        // A refusal of this call in Tink's own words refuses the client: no user has a part in it. Anybody
        // else who answers here is not Tink.
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

    /// Which scopes of a user token the app may not have. A token with one of them is asked for and thrown away.
    pub(super) async fn withheld(&self, effort: Effort<'_>) -> Result<Vec<&'static str>, Error> {
        let mut withheld = Vec::new();
        for scope in &self.scopes {
            match self.ask(effort, scope).await {
                Ok(answer) if answer.value.has(scope) => {}
                Ok(_) => withheld.push(*scope),
                Err(error) if matches!(error.status, Some(400 | 401 | 403)) => withheld.push(*scope),
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

    /// A token for `user`: grant, then exchange. A refused code is replaced once, since a code whose
    /// answer was lost is used up.
    pub(super) async fn user(&self, effort: Effort<'_>, user: &TinkUser) -> Result<Arc<Bearer>, Error> {
        self.minted(effort, user, &self.scopes).await
    }

    /// The same with these scopes.
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
            Err(error) if error.status == Some(401) => {
                let client = self.client(effort.second(), Some(&client)).await?;
                self.grant(effort.second(), &client, user, scopes).await?
            }
            other => other?,
        };
        self.exchange(effort, &code, scopes).await
    }

    /// The token for a code; it must have all scopes.
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

    /// New tokens for a refresh token (API.md 2.4), which is presented once and never again: an answer
    /// that got lost may have used it up. That the client itself is accepted is made sure of before.
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
                    _ if error.unsent => RenewError::NotSent(error),
                    Some(429) => RenewError::NotSent(error),
                    // Something in between says nothing about the token, and may have seen it.
                    Some(400..=407 | 409..=499) if error.by_tink => RenewError::Refused(error),
                    _ => RenewError::Unknown(error),
                })
            }
        }
    }

    /// One code for `user`; its errors are final in kind; a caller that repeats looks at the status.
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
        // Tink may quote what it refuses; the secret is taken out by its value, whatever it looks like.
        effort.transport.call(&request, effort.counters, wire::granted).await.map_err(|error| {
            let detail = error.detail.replace(secret, "…");
            Error { detail, ..error }
        })
    }

    /// A fresh client token and a whole token for a user, as a connection gets it, each call tried once; nothing
    /// is kept. Tells whether the client is refused, or lacks a scope.
    pub(super) async fn prove(&self, effort: Effort<'_>, user: &TinkUser) -> Result<(), Error> {
        let effort = Effort { tries: 1, ..effort };
        let asked = Instant::now();
        let client = Bearer::new(self.fetch(effort).await?.value, asked);
        let code = self.grant(effort, &client, user, &self.scopes).await?;
        self.exchange(effort, &code, &self.scopes).await.map(drop)
    }

    /// One client token and, for a user, one code, each tried once; nothing is kept.
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

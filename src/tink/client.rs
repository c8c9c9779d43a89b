//! The process's client for Tink's API: takes options, opens sessions. Must not hold any state of one user.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use secrecy::SecretString;

use super::error::Error;
use super::http::Transport;
use super::memory::MemoryTurn;
use super::options::{CallCounters, ClientOptions, ClientTotals, Examination};
use super::token::{Effort, RenewError, Renewed, Tokens};
use crate::clock::Clock;
use crate::domain::connection::TinkUser;

/// Tink's API for one app. Cloning is cheap, and clones share tokens, pace and totals.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: Transport,
    tokens: Tokens,
    turn: MemoryTurn,
    keep_raw: bool,
}

impl Client {
    /// Creates a client for `options`; `seed` seeds the retry jitter. Sends nothing yet.
    ///
    /// # Errors
    /// [`Config`](super::ErrorKind::Config) if the options are unusable.
    pub fn new(options: ClientOptions, clock: Arc<dyn Clock>, seed: u64) -> Result<Self, Error> {
        let transport = Transport::new(&options, clock, seed)?;
        let tokens = Tokens::new(options.client_id, options.client_secret, options.refresh);
        Ok(Self(Arc::new(Inner {
            transport,
            tokens,
            turn: MemoryTurn::default(),
            keep_raw: options.keep_raw,
        })))
    }

    /// Builds the HTTP client, which the first request would do otherwise. Sends nothing.
    ///
    /// # Errors
    /// [`Config`](super::ErrorKind::Config): it cannot be built, for example for lack of trusted
    /// certificates.
    pub fn prepare(&self) -> Result<(), Error> {
        self.0.transport.prepare()
    }

    /// Presents a refresh token to Tink, once, for new tokens.
    ///
    /// # Errors
    /// [`RenewError`], by what it means for the token.
    pub async fn renew(&self, refresh: &SecretString) -> Result<Renewed, RenewError> {
        self.tokens().renew(self.effort(&CallCounters::default()), refresh).await
    }

    /// Requests a new client token (not the cached one) and, with a user, one code, each once. Shows whether
    /// Tink is reachable, the client accepted and the user known. The caller retries.
    ///
    /// # Errors
    /// The failed call's error; a refusal of the client token is
    /// [`ClientRefused`](super::ErrorKind::ClientRefused).
    pub async fn probe(&self, user: Option<&TinkUser>) -> Result<(), Error> {
        self.tokens().probe(self.effort(&CallCounters::default()), user).await
    }

    /// Requests a new client token and a token for `user`, each call once. Shows whether Tink accepts the
    /// client for a user that worked before.
    ///
    /// # Errors
    /// The failed call's error; [`ClientRefused`](super::ErrorKind::ClientRefused),
    /// [`GrantRefused`](super::ErrorKind::GrantRefused) and [`ScopeMissing`](super::ErrorKind::ScopeMissing)
    /// mean that it does not.
    pub async fn prove(&self, user: &TinkUser) -> Result<(), Error> {
        self.tokens().prove(self.effort(&CallCounters::default()), user).await
    }

    /// Gets a client token, once, caches it, and checks that this machine's clock and Tink's agree on the
    /// day. That no token was granted is not a failure here; [`Self::clocks_agree`] tells.
    ///
    /// # Errors
    /// [`ClockOff`](super::ErrorKind::ClockOff) if they do not agree.
    pub async fn agree_on_time(&self) -> Result<(), Error> {
        self.tokens().agree(self.effort(&CallCounters::default())).await
    }

    /// Whether Tink's last client token showed that this machine's clock and Tink's agree on the day; `false`
    /// if they were not compared.
    pub fn clocks_agree(&self) -> bool {
        self.tokens().clocks_agree.load(Ordering::Relaxed)
    }

    /// Whether Tink has accepted this client since it was created, by granting a client token.
    pub fn is_accepted(&self) -> bool {
        self.tokens().accepted.load(Ordering::Relaxed)
    }

    /// Requests a new client token; returns its scopes and the difference between the clocks.
    ///
    /// # Errors
    /// If no token could be obtained, after all retries.
    pub async fn examine(&self) -> Result<Examination, Error> {
        let answer = self.tokens().fetch_any(self.effort(&CallCounters::default())).await?;
        Ok(Examination { scopes: answer.value.scopes, skew: answer.head.skew })
    }

    /// The scopes of a user token that Tink does not grant to the app; checked without a user (API.md 2.1).
    ///
    /// # Errors
    /// A request's error, if it is not a refusal.
    pub async fn withheld_scopes(&self) -> Result<Vec<&'static str>, Error> {
        self.tokens().withheld(self.effort(&CallCounters::default())).await
    }

    /// Total time the process was paused by `Retry-After`, including a running pause up to now.
    pub fn paused_total(&self) -> Duration {
        self.0.transport.pacer.paused_total()
    }

    /// Waits until Tink requests a pause with a short `Retry-After` to a 429; returns the time at which it
    /// ends.
    pub async fn asked_to_pause(&self) -> Instant {
        self.0.transport.pacer.asked_to_pause().await.into_std()
    }

    /// Sends nothing for `length`, because Tink requested this pause from another host.
    pub fn pause(&self, length: Duration) {
        self.0.transport.pacer.pause(length);
    }

    /// Counts since the client was created.
    pub fn totals(&self) -> ClientTotals {
        self.0.transport.totals()
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    pub(super) fn turn(&self) -> MemoryTurn {
        self.0.turn.clone()
    }

    pub(super) fn keep_raw(&self) -> bool {
        self.0.keep_raw
    }

    /// The number of attempts of an ordinary call, counted in `counters`.
    pub(super) fn effort<'a>(&'a self, counters: &'a CallCounters) -> Effort<'a> {
        let transport = &self.0.transport;
        Effort { transport, counters, tries: transport.retry.attempts(), repeated: false }
    }

    #[cfg(test)]
    pub(super) fn is_paused(&self) -> bool {
        self.0.transport.pacer.is_paused()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("totals", &self.totals()).finish_non_exhaustive()
    }
}

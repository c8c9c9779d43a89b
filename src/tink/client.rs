//! The client of the process: options in, sessions out. Must not hold anything of one user.

use std::fmt;
use std::sync::Arc;
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
    /// A client for `options`; `seed` decides the jitter. Sends nothing yet.
    ///
    /// # Errors
    /// [`Config`](super::ErrorKind::Config) if no client can work with the options.
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

    /// Makes ready to send: what else the first request does. Sends nothing.
    ///
    /// # Errors
    /// [`Config`](super::ErrorKind::Config): this machine cannot, for example for want of certificates to trust.
    pub fn prepare(&self) -> Result<(), Error> {
        self.0.transport.prepare()
    }

    /// Presents a refresh token, once.
    ///
    /// # Errors
    /// [`RenewError`] says what became of the token.
    pub async fn renew(&self, refresh: &SecretString) -> Result<Renewed, RenewError> {
        self.tokens().renew(self.effort(&CallCounters::default()), refresh).await
    }

    /// Asks for a fresh client token (not the kept one) and, with a user, for one code, each once:
    /// tells whether Tink is there, the client accepted and the user known. The caller repeats.
    ///
    /// # Errors
    /// As they come; a refusal of the client token is
    /// [`ClientRefused`](super::ErrorKind::ClientRefused).
    pub async fn probe(&self, user: Option<&TinkUser>) -> Result<(), Error> {
        self.tokens().probe(self.effort(&CallCounters::default()), user).await
    }

    /// Gets a fresh client token and a token for `user`, each call once: tells whether Tink accepts the client for
    /// a user that worked before.
    ///
    /// # Errors
    /// As they come; [`ClientRefused`](super::ErrorKind::ClientRefused),
    /// [`GrantRefused`](super::ErrorKind::GrantRefused) and [`ScopeMissing`](super::ErrorKind::ScopeMissing) mean
    /// that it does not.
    pub async fn prove(&self, user: &TinkUser) -> Result<(), Error> {
        self.tokens().prove(self.effort(&CallCounters::default()), user).await
    }

    /// Gets a client token, once, and keeps it: whether this machine's clock and Tink's agree about the day. `false`
    /// if there was no answer, which is no failure here.
    ///
    /// # Errors
    /// [`ClockOff`](super::ErrorKind::ClockOff).
    pub async fn agree_on_time(&self) -> Result<bool, Error> {
        self.tokens().agree(self.effort(&CallCounters::default())).await
    }

    /// Asks for a fresh client token and tells its scopes and the difference of the clocks.
    ///
    /// # Errors
    /// When no token is to be had, after all repetitions.
    pub async fn examine(&self) -> Result<Examination, Error> {
        let answer = self.tokens().fetch_any(self.effort(&CallCounters::default())).await?;
        Ok(Examination { scopes: answer.value.scopes, skew: answer.head.skew })
    }

    /// The scopes of a user token that Tink does not grant to the app, asked for without a user (API.md 2.1).
    ///
    /// # Errors
    /// When Tink does not say.
    pub async fn withheld_scopes(&self) -> Result<Vec<&'static str>, Error> {
        self.tokens().withheld(self.effort(&CallCounters::default())).await
    }

    /// Time the process was paused by `Retry-After` so far, a running pause up to now included.
    pub fn paused_total(&self) -> Duration {
        self.0.transport.pacer.paused_total()
    }

    /// Waits until Tink has asked for a pause with a short `Retry-After` to a 429; returns when it ends.
    pub async fn asked_to_pause(&self) -> Instant {
        self.0.transport.pacer.asked_to_pause().await.into_std()
    }

    /// Sends nothing for this long, since another host was asked for it.
    pub fn pause(&self, length: Duration) {
        self.0.transport.pacer.pause(length);
    }

    /// What was done since the client was made.
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

    /// An ordinary effort counted in `counters`.
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

//! The client's options, and what it reports about itself (totals, examination). Must not read files or the
//! environment; the options come from the configuration.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::SecretString;

use super::error::{Endpoint, Error, ErrorKind};

/// Everything a [`Client`](super::Client) needs to know.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Base of every address, such as `https://api.tink.com` (API.md 1.1).
    pub api_url: String,
    pub client_id: String,
    pub client_secret: SecretString,
    /// Limit for opening a connection.
    pub connect_timeout: Duration,
    /// Limit for one request with its whole response.
    pub request_timeout: Duration,
    /// Largest response, in decoded bytes.
    pub max_response: u64,
    /// Pace of the whole process.
    pub requests_per_second: f64,
    /// Requests in flight in the whole process.
    pub concurrency: usize,
    /// How failures are retried.
    pub retry: RetryOptions,
    /// Keep the JSON of every transaction beside it.
    pub keep_raw: bool,
    /// User tokens may ask Tink to fetch from the bank.
    pub refresh: bool,
    /// The proxies to Tink; of the environment, the client reads only `NO_PROXY`.
    pub proxies: Proxies,
}

#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For `https` addresses.
    pub https: Option<SecretString>,
    /// For `http` addresses.
    pub http: Option<SecretString>,
}

/// How failures are retried: full jitter between zero and `min(max, base · 2^n)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    pub attempts: u32,
    /// Upper bound of the first wait.
    pub base: Duration,
    /// Upper bound of every wait.
    pub max: Duration,
}

impl ClientOptions {
    /// Refuses values that no client can work with.
    pub(super) fn check(&self) -> Result<(), Error> {
        let problem = if !(self.requests_per_second.is_finite() && self.requests_per_second > 0.0) {
            "requests_per_second must be above 0"
        } else if self.concurrency == 0 {
            "concurrency must be at least 1"
        } else if self.retry.attempts == 0 {
            "retry.attempts must be at least 1"
        } else if self.client_id.is_empty() {
            "client_id is empty"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Config, Endpoint::Setup, problem))
    }
}

/// Counts since the client was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientTotals {
    pub requests: u64,
    pub retries: u64,
    /// Requests without a usable response.
    pub errors: u64,
    /// Client or user tokens that could not be obtained after all retries.
    pub token_failures: u64,
}

/// What `check` learns from one client token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examination {
    /// The scopes of the client token; `None` if Tink did not list them.
    pub scopes: Option<Vec<String>>,
    /// Tink's `Date` minus our clock, exact to about a second; `None` without a readable header.
    pub skew: Option<SignedDuration>,
}

/// Request counts of one session or of the process.
#[derive(Debug, Default)]
pub(super) struct CallCounters {
    requests: AtomicU64,
    retries: AtomicU64,
    /// Milliseconds of process-wide pauses that these requests caused.
    paused: AtomicU64,
}

impl CallCounters {
    pub(super) fn count_pause(&self, pause: Duration) {
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.paused.fetch_add(millis, Ordering::Relaxed);
    }

    pub(super) fn paused(&self) -> Duration {
        Duration::from_millis(self.paused.load(Ordering::Relaxed))
    }

    pub(super) fn count(&self, repeated: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.retries.fetch_add(u64::from(repeated), Ordering::Relaxed);
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}

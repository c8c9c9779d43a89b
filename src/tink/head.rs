//! The head of a response, and the errors made from it. Must not read bodies from the network or decide about
//! retries.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use super::error::{Endpoint, Error, ErrorKind};
use super::retry::retry_after;
use super::scrub::{describe, is_tinks, scrub};
use crate::clock::Clock;
use crate::domain::cause::Cause;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is kept.
const REQUEST_ID_CHARS: usize = 100;

/// Clocks further apart than this disagree on the date in any time zone.
const CLOCKS_APART: SignedDuration = SignedDuration::from_hours(24);
/// The detail for a proxy's 407.
const PROXY_LOGIN: &str =
    "the proxy wants a login (407): write it into the proxy's variable, http://USER:PASSWORD@HOST:PORT";

/// A parsed value, and the head of its response.
pub(super) struct Answer<T> {
    pub value: T,
    pub head: Head,
}

/// The status and headers of a response.
pub(super) struct Head {
    endpoint: Endpoint,
    pub status: Option<u16>,
    pub request_id: Option<String>,
    retry_after: Option<Duration>,
    /// Tink's clock minus ours when the response began.
    pub skew: Option<SignedDuration>,
    /// Which clock that is.
    clock: &'static str,
}

impl Head {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, status: None, request_id: None, retry_after: None, skew: None, clock: "" }
    }

    pub(super) fn read(&mut self, status: u16, headers: &HeaderMap, clock: &dyn Clock) {
        let now = clock.now();
        self.clock = clock.name();
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        self.status = Some(status);
        self.request_id = text(REQUEST_ID).map(|id| id.chars().take(REQUEST_ID_CHARS).collect());
        if matches!(status, 429 | 503) {
            self.retry_after = text(RETRY_AFTER).and_then(|header| retry_after(header, now));
        }
        let date = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
        let date = date.and_then(|date| Timestamp::try_from(date).ok());
        self.skew = date.map(|date| date.duration_since(now));
    }

    /// Returns an error if Tink's clock and ours are more than a day apart.
    pub(super) fn clock_is_off(&self) -> Option<Error> {
        let skew = self.skew.filter(|skew| skew.abs() > CLOCKS_APART)?;
        let direction = if skew.is_positive() { "behind" } else { "ahead" };
        let apart = match skew.abs().as_hours() {
            hours @ ..72 => format!("{hours} hours"),
            hours => format!("{} days", hours / 24),
        };
        Some(self.error(ErrorKind::ClockOff, &format!("{} is {apart} {direction}", self.clock)))
    }

    /// An error about this response; the detail is scrubbed.
    pub(super) fn error(&self, kind: ErrorKind, detail: &str) -> Error {
        Error {
            kind,
            endpoint: self.endpoint,
            status: self.status,
            request_id: self.request_id.clone(),
            detail: scrub(detail),
            retry_after: self.retry_after,
            unsent: false,
            by_tink: false,
            cause: None,
        }
    }

    pub(super) fn refusal(&self, status: u16, body: &[u8]) -> Error {
        if (300..400).contains(&status) {
            return self.error(ErrorKind::Intercepted, "the answer is a redirect, and none is followed");
        }
        if status == 407 {
            return self.error(ErrorKind::Intercepted, PROXY_LOGIN);
        }
        let concerns_a_user = self.endpoint != Endpoint::ClientToken;
        let error = self.error(ErrorKind::of_status(status, body), &describe(body, concerns_a_user));
        Error { by_tink: is_tinks(body), ..error }
    }

    pub(super) fn transport(&self, error: reqwest::Error) -> Error {
        let kind = if error.is_builder() {
            ErrorKind::Config
        } else if error.is_timeout() {
            ErrorKind::Timeout
        } else if is_bad_data(&error) {
            ErrorKind::Malformed
        } else {
            ErrorKind::Network
        };
        let unsent = error.is_connect() || was_not_processed(&error);
        // The URL may contain data that must not be shown.
        let error = error.without_url();
        let words = chain(&error);
        // The library's wording of a proxy's 407 to our CONNECT.
        if words.contains("proxy authorization required") {
            return Error { unsent, ..self.error(ErrorKind::Intercepted, PROXY_LOGIN) };
        }
        let told = self.error(kind, &words);
        Error { unsent, cause: Some(Cause::of(error)), ..told }
    }
}

/// Whether HTTP itself guarantees that a request was not processed: refused streams, streams above the last
/// one that a GOAWAY names, and requests cancelled in our own queue (RFC 9113, sections 6.8 and 8.7).
fn was_not_processed(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            return h2.is_remote() && (refused || h2.is_go_away());
        }
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Whether the bytes arrived but do not decode (broken compression).
fn is_bad_data(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{InvalidData, InvalidInput};
            return matches!(io.kind(), InvalidData | InvalidInput);
        }
        source = cause.source();
    }
    false
}

/// An error and its causes in one line. The caller has removed the URL.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

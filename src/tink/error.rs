//! The errors of calls to Tink, as one type with enough detail to decide and to report. Must not hold tokens,
//! account numbers or whole bodies: every detail is scrubbed and short.

use std::fmt;
use std::time::Duration;

use super::scrub::scrub;
use crate::domain::cause::Cause;

/// The kind of a failure, after all retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No connection, or it broke.
    Network,
    /// No response in time (also status 408).
    Timeout,
    /// 5xx.
    Server,
    /// 429.
    RateLimited,
    /// The response could not be read.
    Malformed,
    /// The response was larger than `ClientOptions::max_response`.
    TooLarge,
    /// 400.
    BadRequest,
    /// 401 on a user's call, even with a new token.
    Unauthorized,
    /// 403 on a user's call.
    Forbidden,
    /// 404 on a user's call.
    NotFound,
    /// Any other unsuccessful status below 500.
    Client4xx,
    /// Something between us and Tink answered: a redirect, an HTML page, or a status without Tink's own error
    /// form where that form matters.
    Intercepted,
    /// A page token was repeated, or there were too many pages.
    PageLoop,
    /// The user token lacks a scope.
    ScopeMissing,
    /// Tink does not know the user (404 on the grant).
    UserUnknown,
    /// Tink refuses the client id, the secret or any request for a client token, or the app may not grant.
    ClientRefused,
    /// Tink refuses access to this user.
    GrantRefused,
    /// There is no token for the user and no way to get one: the refresh token was used up or refused.
    TokenLost,
    /// An encrypted stored token cannot be decrypted.
    TokenEncrypted,
    /// The stored tokens of an older link cannot be read or written.
    OwnTokens,
    /// The client could not be set up from its options.
    Config,
    /// The clock that counts here is more than a day off Tink's: no date can be relied on.
    ClockOff,
}

impl ErrorKind {
    /// Whether the same call may succeed a moment later.
    pub fn is_transient(self) -> bool {
        use ErrorKind::{Malformed, Network, RateLimited, Server, Timeout};
        matches!(self, Network | Timeout | Server | RateLimited | Malformed)
    }

    fn phrase(self) -> &'static str {
        match self {
            Self::Network => "the connection to Tink failed",
            Self::Timeout => "Tink gave no answer in time",
            Self::Server => "Tink failed",
            Self::RateLimited => "Tink asks to slow down",
            Self::Malformed => "Tink's answer could not be read",
            Self::TooLarge => "Tink's answer is too large",
            Self::BadRequest => "Tink refused the request as invalid",
            Self::Unauthorized => "Tink refused the token",
            Self::Forbidden => "Tink forbade the call",
            Self::NotFound => "Tink does not know what was asked for",
            Self::Client4xx => "Tink refused the call",
            Self::Intercepted => "something between here and Tink answered in its place (proxy, login page?)",
            Self::PageLoop => "Tink's pages do not end",
            Self::ScopeMissing => "the token lacks a scope",
            Self::UserUnknown => "Tink does not know the user",
            Self::ClientRefused => "Tink refused this client",
            Self::GrantRefused => "Tink refused access to the user",
            Self::TokenLost => "the refresh token is lost: the user must connect the bank again",
            Self::TokenEncrypted => "the stored token cannot be opened",
            Self::OwnTokens => "the stored tokens cannot be had",
            Self::Config => "the client for Tink could not be set up",
            Self::ClockOff => "the clock is more than a day off Tink's",
        }
    }

    /// The kind of an unsuccessful response (API.md 7.1).
    pub(super) fn of_status(status: u16, body: &[u8]) -> Self {
        match status {
            300..400 | 407 | 511 => Self::Intercepted,
            400..500 if is_page(body) => Self::Intercepted,
            400 => Self::BadRequest,
            401 => Self::Unauthorized,
            403 if mentions_scope(body) => Self::ScopeMissing,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            408 => Self::Timeout,
            429 => Self::RateLimited,
            500.. => Self::Server,
            _ => Self::Client4xx,
        }
    }
}

/// Whether a body is an HTML page, which is meant for people and not for programs.
fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

fn mentions_scope(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).to_ascii_lowercase().contains("scope")
}

/// A call to Tink's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// No call yet: reading the options.
    Setup,
    /// Client credentials for a client token (API.md 2.1).
    ClientToken,
    /// A code for one user (API.md 2.2).
    AuthorizationGrant,
    /// Exchanges the code for a user token (API.md 2.3).
    CodeExchange,
    /// New tokens for a refresh token of an older link (API.md 2.4).
    TokenRefresh,
    /// Deletes a user (API.md 2.6).
    UserDelete,
    /// A new user (API.md 2.6).
    UserCreate,
    /// A code for Tink Link (API.md 2.5).
    Delegate,
    /// The list of consents (API.md 5.1).
    ProviderConsents,
    /// Asks Tink to fetch from the bank (API.md 5.3).
    CredentialsRefresh,
    /// The list of accounts (API.md 3.1).
    Accounts,
    /// The list of transactions (API.md 4.1).
    Transactions,
}

impl Endpoint {
    /// A short name for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::ClientToken => "client_token",
            Self::AuthorizationGrant => "authorization_grant",
            Self::CodeExchange => "code_exchange",
            Self::TokenRefresh => "token_refresh",
            Self::UserDelete => "user_delete",
            Self::UserCreate => "user_create",
            Self::Delegate => "authorization_delegate",
            Self::ProviderConsents => "provider_consents",
            Self::CredentialsRefresh => "credentials_refresh",
            Self::Accounts => "accounts",
            Self::Transactions => "transactions",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Setup => "",
            Self::ClientToken | Self::CodeExchange | Self::TokenRefresh => "/api/v1/oauth/token",
            Self::AuthorizationGrant => "/api/v1/oauth/authorization-grant",
            Self::UserDelete => "/api/v1/user/delete",
            Self::UserCreate => "/api/v1/user/create",
            Self::Delegate => "/api/v1/oauth/authorization-grant/delegate",
            Self::ProviderConsents => "/api/v1/provider-consents",
            Self::CredentialsRefresh => "/api/v1/credentials/{id}/refresh",
            Self::Accounts => "/data/v2/accounts",
            Self::Transactions => "/data/v2/transactions",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why no connection can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectObstacle {
    /// The host name does not resolve.
    Name,
    Refused,
    /// This system does not trust the certificate for this name.
    Certificate,
    /// The server there does not speak TLS.
    NoTls,
}

/// A call that failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure.
    pub kind: ErrorKind,
    pub endpoint: Endpoint,
    /// The status, if there was a response.
    pub status: Option<u16>,
    /// Tink's `X-Request-ID`; support asks for it (API.md 1.3).
    pub request_id: Option<String>,
    /// More about it: scrubbed, at most 300 characters, may be empty.
    pub detail: String,
    /// How long Tink asked to wait (429 and 503), at most 24 hours.
    pub retry_after: Option<Duration>,
    /// The request was not processed: no connection could be made, or the protocol guarantees it.
    pub unsent: bool,
    /// The body has Tink's own error form.
    pub by_tink: bool,
    /// The underlying error, if there is one with a message of its own.
    pub cause: Option<Cause>,
}

impl Error {
    /// An error without a response; the detail is scrubbed.
    pub fn new(kind: ErrorKind, endpoint: Endpoint, detail: &str) -> Self {
        let detail = scrub(detail);
        Self {
            kind,
            endpoint,
            status: None,
            request_id: None,
            detail,
            retry_after: None,
            unsent: false,
            by_tink: false,
            cause: None,
        }
    }

    /// What prevents a connection, as far as the error texts of the libraries show it; else `None`.
    pub fn obstacle(&self) -> Option<ConnectObstacle> {
        let says = |words: &str| self.detail.contains(words);
        if !self.unsent {
            None
        } else if says("dns error") {
            Some(ConnectObstacle::Name)
        } else if says("certificate") {
            Some(ConnectObstacle::Certificate)
        } else if says("Connection refused") {
            Some(ConnectObstacle::Refused)
        } else if says("corrupt message") {
            Some(ConnectObstacle::NoTls)
        } else {
            None
        }
    }

    /// Whether Tink itself refuses the client or a scope: by a refusal in Tink's own error form, or by a token
    /// that arrived without a scope. Without that form, the answer may be a proxy's.
    pub fn is_tinks_refusal(&self) -> bool {
        match self.kind {
            ErrorKind::ClientRefused => true,
            ErrorKind::ScopeMissing | ErrorKind::GrantRefused => self.is_tinks_answer(),
            _ => false,
        }
    }

    fn is_tinks_answer(&self) -> bool {
        match self.status {
            Some(200..300) => true,
            Some(400 | 401 | 403) => self.by_tink,
            _ => false,
        }
    }

    /// For a response that would refuse more than one call: `kind` if it is Tink's own, else
    /// [`ErrorKind::Intercepted`].
    pub(super) fn refusal(self, kind: ErrorKind) -> Self {
        let kind = if self.is_tinks_answer() { kind } else { ErrorKind::Intercepted };
        Self { kind, ..self }
    }

    /// As [`Self::refusal`], with a detail of our own about what Tink itself refuses.
    pub(super) fn refusal_of(self, kind: ErrorKind, detail: &str) -> Self {
        let error = self.refusal(kind);
        if error.kind == kind { Self { detail: detail.to_owned(), ..error } } else { error }
    }

    /// Whether Tink did nothing about the request: it was not sent, or rejected unread (429).
    pub(super) fn is_undone(&self) -> bool {
        self.unsent || self.status == Some(429)
    }

    pub(super) fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (call {}", self.kind.phrase(), self.endpoint)?;
        if let Some(status) = self.status {
            write!(f, ", status {status}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, ", request id {id}")?;
        }
        f.write_str(")")?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_call_status_and_request() {
        let error = Error {
            status: Some(503),
            request_id: Some("r-1".to_owned()),
            ..Error::new(ErrorKind::Server, Endpoint::Accounts, "down")
        };
        assert_eq!(error.to_string(), "Tink failed (call accounts, status 503, request id r-1): down");
    }

    #[test]
    fn a_403_that_speaks_of_a_scope_is_a_missing_scope() {
        assert_eq!(ErrorKind::of_status(403, b"Insufficient SCOPE"), ErrorKind::ScopeMissing);
        assert_eq!(ErrorKind::of_status(403, b""), ErrorKind::Forbidden);
        assert_eq!(ErrorKind::of_status(408, b""), ErrorKind::Timeout);
        assert_eq!(ErrorKind::of_status(302, b""), ErrorKind::Intercepted);
        assert_eq!(ErrorKind::of_status(403, b" <html>scope</html>"), ErrorKind::Intercepted);
        assert_eq!(ErrorKind::of_status(407, b""), ErrorKind::Intercepted);
    }
}

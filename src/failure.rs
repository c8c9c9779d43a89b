//! Why a command could not do its work, before `exit` turns it into a code. Holds no secret: every part
//! of it is a message for the operator.

use tokio::task::JoinError;

use crate::config::ConfigError;
use crate::file_limit;
use crate::store::StoreError;
use crate::store::source::SourceError;
use crate::tink;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store is broken or busy.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The application's view is wrong or cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Tink did not do what was needed.
    #[error("{0}{remedy}", remedy = remedy(.0))]
    Tink(#[from] tink::Error),
    /// The request makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The output could not be written.
    #[error("standard output cannot be written: {0}")]
    Output(#[source] std::io::Error),
    /// A bug: a task ended before its work was done.
    #[error("{0}; this is a bug in tink-sync, please report it")]
    Internal(#[from] JoinError),
    /// Input or output failed.
    #[error("{told}", told = file_limit::explain(.0))]
    Io(#[from] std::io::Error),
}

/// What to do about a refusal that only the operator can fix.
fn remedy(error: &tink::Error) -> &'static str {
    use tink::ErrorKind::{
        BadRequest, Client4xx, ClientRefused, ClockOff, Config, Forbidden, GrantRefused, Intercepted,
        Malformed, Network, NotFound, OwnTokens, PageLoop, RateLimited, ScopeMissing, Server, Timeout,
        TokenEncrypted, TokenLost, TooLarge, Unauthorized, UserUnknown,
    };
    match error.kind {
        ClientRefused => {
            "; compare tink.client_id and the secret with Tink Console, where the app must have the scope authorization:grant"
        }
        ScopeMissing | GrantRefused if !error.is_tinks_refusal() => {
            "; the answer does not have the form of Tink's errors: look for a proxy or a log-in page of the network"
        }
        ScopeMissing | GrantRefused => "; have the app granted it in Tink Console, or by Tink's support",
        ClockOff => {
            "; nothing was done, since no date can be told: set the clock (timedatectl set-ntp true) and start again"
        }
        BadRequest | Client4xx | Config | Forbidden | Intercepted | Malformed | Network | NotFound
        | OwnTokens | PageLoop | RateLimited | Server | Timeout | TokenEncrypted | TokenLost | TooLarge
        | Unauthorized | UserUnknown => "",
    }
}

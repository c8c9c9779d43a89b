//! The HTTP client for Tink's API: tokens, accounts, transactions and consents of one user at a time. Must
//! not decide what a failure means for a connection, store anything, or know modules other than `domain` and
//! `clock`; it is the only place that may send HTTP requests.
//!
//! A [`Client`] is shared by the whole process and holds what Tink limits per app: the client token, the
//! pace, the pause after a `Retry-After`, the memory for bodies (API.md 1.4, 7.1). A [`Session`] serves one
//! user: it mints that user's token, keeps it in memory only and reads. Every call already retries what is
//! worth retrying; an [`Error`] that it returns is final.

/// What this client relies on in Tink's API.
#[cfg(doc)]
#[doc = include_str!("API.md")]
pub mod api {}

mod client;
mod erase;
mod error;
mod gzip;
mod head;
#[cfg(any(test, fuzzing))]
pub mod hostile;
mod http;
pub mod kept;
mod memory;
mod options;
mod pace;
mod pages;
mod retry;
mod scrub;
mod session;
#[cfg(test)]
mod tests;
mod token;
mod transactions;
mod users;
mod wire;

pub use client::Client;
pub use erase::Deletion;
pub use error::{ConnectObstacle, Endpoint, Error, ErrorKind};
pub use options::{ClientOptions, ClientTotals, Examination, Proxies, RetryOptions};
pub use session::{GivenToken, Listed, OwnTokens, Session};
pub use token::{RenewError, Renewed};
pub use transactions::TransactionPages;
pub use users::NewUser;
pub use wire::{TransactionRecord, replay};

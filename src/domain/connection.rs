//! A connection: one Tink user of this app, linked to a user of the application. The unit of work,
//! of isolation, of claim and of retry.

use jiff::Timestamp;

use super::ids::{ConnectionId, UserId};

/// How Tink knows the user (tink-api.md 2.2: exactly one of the two is sent).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TinkUser {
    /// The id this app gave the user.
    External(String),
    /// Tink's own id.
    Tink(String),
}

/// One row of the source view that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRow {
    /// The application's id of the connection.
    pub connection_id: ConnectionId,
    /// The application's id of the user.
    pub user_id: UserId,
    /// Whom to ask Tink for; none makes the row fail alone.
    pub tink_user: Option<TinkUser>,
    /// The user has not disconnected.
    pub enabled: bool,
    /// The user's plan includes bank sync.
    pub entitled: bool,
    /// End of the entitlement, if it has one.
    pub entitled_until: Option<Timestamp>,
    /// Market, for links.
    pub market: Option<String>,
    /// Higher goes first among equals.
    pub priority: i64,
    /// What is wrong with the row, if anything: such a row fails alone.
    pub problem: Option<String>,
    /// Tokens of an older link, sealed.
    pub seed: Option<Seed>,
    /// It brings tokens, and there is no key to seal them with: they are passed over.
    pub unsealed: bool,
}

/// Tokens of an older link as the application gives them, sealed at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Taken over once for each value.
    pub version: String,
    /// The token that renews.
    pub refresh: Vec<u8>,
    /// The token it last gave.
    pub access: Option<Vec<u8>>,
    /// When that one ends; none is not known.
    pub access_until: Option<Timestamp>,
}

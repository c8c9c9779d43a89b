//! Tokens of older links on their way in and out of the store, always encrypted. Plain data; no SQL, no logic.

use jiff::Timestamp;

use crate::domain::ids::ConnectionId;

/// How it stands with the tokens of an older link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// They can be used.
    Ready,
    /// A run is asking for new ones, and nobody else may.
    Asked,
    /// They were used up or refused.
    Lost,
}

/// The tokens of an older link, encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedTokens {
    /// How it stands with them.
    pub state: TokenState,
    /// The token that renews.
    pub refresh: Vec<u8>,
    /// The token it last gave.
    pub access: Option<Vec<u8>>,
    /// When that one ends; none is not known.
    pub access_until: Option<Timestamp>,
}

/// The right to present a refresh token once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationBegin {
    /// Key of the connection.
    pub connection: i64,
    /// Its id.
    pub connection_id: ConnectionId,
    /// Which asking it is.
    pub number: i64,
}

/// What came of presenting a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// New tokens, encrypted.
    Renewed {
        /// Another token that renews; none if the old one stays good.
        refresh: Option<Vec<u8>>,
        /// The new token of the calls.
        access: Vec<u8>,
        /// When that one ends.
        until: Option<Timestamp>,
    },
    /// The request never left: the token is as good as before.
    NotAsked,
    /// It was refused, or nobody knows what came of it; in words.
    Lost(String),
}

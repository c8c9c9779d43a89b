//! Tokens of older links on their way in and out of the store, always encrypted. Plain data; no SQL, no logic.

use jiff::Timestamp;

use crate::domain::ids::ConnectionId;

/// The state of the tokens of an older link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// They can be used.
    Ready,
    /// A run is requesting new ones, and no other may.
    Asked,
    /// They were used up or refused.
    Lost,
}

/// The tokens of an older link, encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedTokens {
    /// Their state.
    pub state: TokenState,
    /// The refresh token.
    pub refresh: Vec<u8>,
    /// The access token that was last received.
    pub access: Option<Vec<u8>>,
    /// When that one ends; `None` if unknown.
    pub access_until: Option<Timestamp>,
}

/// The right to present a refresh token once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationBegin {
    /// Key of the connection.
    pub connection: i64,
    /// Its id.
    pub connection_id: ConnectionId,
    /// Key of the run that asks.
    pub run: i64,
    /// The number of the rotation.
    pub number: i64,
}

/// The result of presenting a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// New tokens, encrypted.
    Renewed {
        /// Another refresh token; `None` if the old one stays valid.
        refresh: Option<Vec<u8>>,
        /// The new access token.
        access: Vec<u8>,
        /// When that one ends.
        until: Option<Timestamp>,
    },
    /// The request was not sent: the token is as good as before.
    NotAsked,
    /// It was refused, or the result is unknown; the reason as text.
    Lost(String),
}

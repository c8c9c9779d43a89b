//! A connection: one Tink user of this app, linked to a user of the application. It is the unit of work,
//! isolation, claiming and retry.

use std::sync::Arc;

use jiff::Timestamp;

use super::ids::{ConnectionId, UserId};

/// How Tink knows the user (API.md 2.2: exactly one of the two is sent).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TinkUser {
    /// The id this app gave the user.
    External(String),
    Tink(String),
}

/// One row of the source view that could be read.
#[expect(clippy::struct_excessive_bools, reason = "each is a column, or what is odd about one")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRow {
    /// The application's id of the connection.
    pub connection_id: ConnectionId,
    /// The application's id of the user.
    pub user_id: UserId,
    /// The user to request from Tink; with `None` the row alone fails, unless it has tokens of its own.
    pub tink_user: Option<TinkUser>,
    /// A second name of that user, if the row gives two.
    pub also: Option<Box<TinkUser>>,
    /// The user has not disconnected.
    pub enabled: bool,
    /// The user's plan includes bank sync.
    pub entitled: bool,
    /// Which of the two are NULL, which counts as false.
    pub nulls: Nulls,
    /// End of the entitlement, if it has one.
    pub entitled_until: Option<Timestamp>,
    /// `entitled_until` is no time: only for this does the row, which can be used, not count as entitled.
    pub until_unreadable: bool,
    pub market: Option<String>,
    /// Among equals, higher goes first.
    pub priority: i64,
    /// What is wrong with the row, if anything: such a row fails alone.
    pub problem: Option<String>,
    /// Encrypted tokens of an older link.
    pub seed: Option<Arc<Seed>>,
    /// The row has tokens, but no key is configured to encrypt them: they are ignored.
    pub unencrypted: bool,
}

impl TinkUser {
    /// Whether both are ids of one kind: then two different ones are two users.
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Which columns of a row are NULL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nulls {
    pub enabled: bool,
    pub entitled: bool,
}

impl SourceRow {
    /// Whether the row leaves open if its connection is to be synced: one of the two is NULL, and the other
    /// does not say no.
    pub fn is_silent(&self) -> bool {
        match (self.nulls.enabled, self.nulls.entitled) {
            (true, true) => true,
            (true, false) => self.entitled,
            (false, true) => self.enabled,
            (false, false) => false,
        }
    }

    /// A row that requests a sync of its connection, and sets nothing else.
    pub fn active(connection_id: &str, user_id: &str, tink_user: Option<TinkUser>) -> Self {
        Self {
            connection_id: connection_id.into(),
            user_id: user_id.into(),
            tink_user,
            also: None,
            enabled: true,
            entitled: true,
            nulls: Nulls::default(),
            entitled_until: None,
            until_unreadable: false,
            market: None,
            priority: 0,
            problem: None,
            seed: None,
            unencrypted: false,
        }
    }

    /// The names that the row gives the user at Tink, the one to request first.
    pub fn names(&self) -> impl Iterator<Item = &TinkUser> {
        self.tink_user.iter().chain(self.also.as_deref())
    }
}

/// Tokens of an older link as the application gives them, encrypted immediately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Each version is taken over once.
    pub version: String,
    /// The refresh token.
    pub refresh: Vec<u8>,
    /// The access token that it last gave.
    pub access: Option<Vec<u8>>,
    /// When that expires; `None` if unknown.
    pub access_until: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_kind_are_alike_whoever_they_name() {
        let (external, tink) = (TinkUser::External("a".to_owned()), TinkUser::Tink("a".to_owned()));
        assert!(external.is_like(&TinkUser::External("b".to_owned())) && !external.is_like(&tink));
        let row = SourceRow {
            also: Some(Box::new(tink.clone())),
            ..SourceRow::active("c", "u", Some(external.clone()))
        };
        assert_eq!(row.names().collect::<Vec<_>>(), [&external, &tink]);
    }
}

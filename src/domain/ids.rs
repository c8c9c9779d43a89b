//! Identifiers as types, so that a user id never lands where an account id belongs.
//! All of them are opaque text: nothing may parse them or assume a length.

use std::fmt;

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The id as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<String>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id!(
    /// The application's id of a connection (`connection_id` of the source view).
    ConnectionId
);
opaque_id!(
    /// The application's id of a user (`user_id` of the source view).
    UserId
);
opaque_id!(
    /// Tink's id of a bank account; changes when a bank is connected anew.
    AccountId
);
opaque_id!(
    /// Tink's id of a transaction; unique only inside one account.
    TransactionId
);
opaque_id!(
    /// Tink's id of one consent (credentials).
    CredentialsId
);
opaque_id!(
    /// One execution of `tink-sync run`.
    RunId
);

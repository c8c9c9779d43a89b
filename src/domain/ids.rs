//! Identifiers as types, so that a user id never lands where an account id belongs.
//! All of them are opaque text: nothing may parse them or assume a length. A clone shares its text.

use std::fmt;
use std::sync::Arc;

use data_encoding::HEXLOWER;

/// The limit for ids from Tink, in bytes; none comes near it. A PostgreSQL index entry holds about 2,700.
pub const LONGEST_TINK_ID: usize = 2_000;

/// The longest accepted id of a connection or a user, in bytes.
pub const LONGEST: usize = 16 * 1024;

/// Requirements on ids of connections and users, for messages.
pub const USABLE: &str = "text of at most 16 KiB without control characters";

/// Whether an id can be used: see [`USABLE`].
pub fn is_usable(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST && !id.contains(char::is_control)
}

/// The id as shown in messages: on one line, and cut after 100 characters.
pub fn shown(id: &str) -> String {
    const MOST: usize = 100;
    let mut text: String =
        id.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if id.chars().nth(MOST).is_some() {
        text = format!("{text}… ({} bytes)", id.len());
    }
    text
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<Arc<str>>> From<T> for $name {
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
    /// Tink's id of a bank account; changes when a bank is connected again.
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

impl TransactionId {
    /// The id in sixteen bytes if it has the usual form: 32 hexadecimal digits in lower case. No two ids
    /// share the same bytes.
    pub fn compact(&self) -> Option<[u8; 16]> {
        let mut bytes = [0; 16];
        let length = HEXLOWER.decode_len(self.0.len()).ok()?;
        let fits = length == bytes.len() && HEXLOWER.decode_mut(self.0.as_bytes(), &mut bytes).is_ok();
        fits.then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_usable_up_to_sixteen_kibibytes_and_without_control_characters() {
        for (id, usable) in [
            ("", false),
            ("c-1", true),
            ("c\n1", false),
            ("x".repeat(16_384).as_str(), true),
            ("x".repeat(16_385).as_str(), false),
        ] {
            assert_eq!(is_usable(id), usable, "{} bytes", id.len());
        }
    }

    #[test]
    fn an_id_is_shown_on_one_line_and_cut_after_a_hundred_characters() {
        assert_eq!(shown("c\n1"), "c\u{fffd}1");
        assert_eq!(shown(&"ż".repeat(100)), "ż".repeat(100));
        assert_eq!(shown(&"ż".repeat(101)), format!("{}… (202 bytes)", "ż".repeat(100)));
    }

    #[test]
    fn only_an_id_of_the_usual_form_is_compact() {
        let compact = |id: &str| TransactionId::from(id).compact();
        let bytes = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(compact("0123456789abcdef0001020304050607"), Some(bytes));
        for other in
            ["0123456789ABCDEF0001020304050607", "0123456789abcdef", "g123456789abcdef0001020304050607", ""]
        {
            assert_eq!(compact(other), None, "{other}");
        }
    }
}

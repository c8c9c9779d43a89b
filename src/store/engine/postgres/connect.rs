//! Where a server is and how it is reached: the address with libpq's rules, the password, TLS. Must not run a statement
//! of the store.

use std::fmt;

/// A database on one or several servers, as `store.url` or `source.database` names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The address without a password.
    url: String,
}

impl Target {
    /// The address, without a password.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.url).finish()
    }
}

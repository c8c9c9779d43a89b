//! OAuth scopes as a set.
//!
//! It knows names and set arithmetic; which call needs which scope stands with the call.

/// Every scope the sandbox has heard of.
pub const SCOPES: [&str; 25] = [
    "accounts:read",
    "balances:read",
    "accounts.balances:readonly",
    "transactions:read",
    "provider-consents:read",
    "provider-consents:write",
    "credentials:read",
    "credentials:write",
    "credentials:refresh",
    "providers:read",
    "user:create",
    "user:read",
    "user:write",
    "user:delete",
    "authorization:grant",
    "authorization:read",
    "authorization:revoke",
    "webhook-endpoints",
    "balance-refresh",
    "balance-refresh:readonly",
    "enrichment.transactions",
    "enrichment.transactions:readonly",
    "identities:readonly",
    "accounts.parties:readonly",
    "link-session:write",
];

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(pub u32);

impl Scopes {
    /// The set of one scope; empty if nobody has heard of it.
    pub fn one(name: &str) -> Self {
        Self(SCOPES.iter().position(|&known| known == name).map_or(0, |bit| 1 << bit))
    }

    /// Reads a list separated by commas or blanks; `None` if it holds an unknown scope.
    pub fn parse(list: &str) -> Option<Self> {
        let names = list.split([',', ' ']).filter(|name| !name.is_empty());
        names.map(Self::one).try_fold(Self(0), |set, one| (one.0 != 0).then_some(Self(set.0 | one.0)))
    }

    /// Whether every one of `others` is in the set.
    pub fn hold(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// The names, separated by commas.
    pub fn list(self) -> String {
        let held = SCOPES.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1);
        held.map(|(_, &name)| name).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_commas_and_blanks() {
        let set = Scopes::parse("accounts:read,transactions:read provider-consents:read").unwrap();
        assert_eq!(set.list(), "accounts:read,transactions:read,provider-consents:read");
        assert_eq!(Scopes::parse(&set.list()), Some(set));
        assert!(set.hold(Scopes::one("accounts:read")) && !set.hold(Scopes::one("user:read")));
        assert_eq!(Scopes::parse("accounts:read,make:coffee"), None);
    }
}

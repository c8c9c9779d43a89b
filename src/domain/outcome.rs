//! How a connection ended, why, and what was counted on the way. Others build on the texts (DESIGN.md 9):
//! texts are added, never renamed.

use std::ops::AddAssign;

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of the reports.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text in views and reports.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Reads the text back.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(super) use text_enum;

text_enum!(
    /// How the work on one connection ended.
    Outcome {
        /// Something changed and is stored.
        Synced = "synced",
        /// Everything was read, nothing changed.
        Unchanged = "unchanged",
        /// Only a part was read, or missing rows were not believed to be gone.
        Partial = "partial",
        /// Nothing could be read.
        Failed = "failed",
        /// Only the user can restore it.
        NeedsUser = "needs_user",
        /// Tink asked to come back later.
        RateLimited = "rate_limited",
        /// The run was stopped.
        Interrupted = "interrupted",
        /// It was not worked on.
        Skipped = "skipped",
    }
);

text_enum!(
    /// The reason for an outcome.
    Reason {
        /// Tink answered 5xx.
        Http5xx = "http_5xx",
        /// Tink refused the call for this user.
        Http4xx = "http_4xx",
        /// No connection, or it broke.
        Network = "network",
        /// No answer in time, or the connection's time was used up.
        Timeout = "timeout",
        /// The answer could not be read.
        Malformed = "malformed",
        /// The answer was larger than `tink.max_response`.
        TooLarge = "too_large",
        /// The same page token came twice.
        PageLoop = "page_loop",
        /// The token lacks a scope.
        ScopeMissing = "scope_missing",
        /// Tink does not know the user.
        TinkUserUnknown = "tink_user_unknown",
        /// Tink answered 429.
        RateLimited = "rate_limited",
        /// Tink could not reach the bank; the data are of its last success.
        BankUnavailable = "bank_unavailable",
        ConsentExpired = "consent_expired",
        /// The consent was withdrawn.
        ConsentRevoked = "consent_revoked",
        /// The bank wants a new login.
        LoginRequired = "login_required",
        /// Tink shows no accounts where there were some.
        NoAccounts = "no_accounts",
        /// The Tink user has no bank yet.
        NoBank = "no_bank",
        /// Tink is still fetching from the bank of a new link.
        BankAtWork = "bank_at_work",
        /// Tink has had nothing new from the bank for longer than `sync.stale_after`, though the consent is healthy.
        DataStale = "data_stale",
        /// Too many rows are missing, or the balance contradicts it; none was removed.
        MassVanish = "mass_vanish",
        /// Rows from before a re-consent without a counterpart were kept.
        ReconsentUnmatched = "reconsent_unmatched",
        /// Two accounts may be one, without proof: both are kept.
        ReconsentAmbiguous = "reconsent_ambiguous",
        /// The bank gave its bookings new ids; the rows continue under them.
        IdsReissued = "ids_reissued",
        /// A refresh token was lost.
        RefreshLost = "refresh_lost",
        /// The row of the source view is unusable.
        SourceRow = "source_row",
        /// Another run took the connection over.
        LeaseLost = "lease_lost",
        /// The pass ran out of time.
        Deadline = "deadline",
        /// A bug: the task panicked.
        Panic = "panic",
        Store = "store",
        /// Skip: switched off by the application or the operator.
        Disabled = "disabled",
        /// Skip: the source view no longer has it.
        Gone = "gone",
        /// Skip: the user's plan does not include bank sync now.
        NotEntitled = "not_entitled",
        /// Skip: synced less than `sync.min_interval` ago.
        Recent = "recent",
        /// Skip: the user's daily quota is used up.
        Quota = "quota",
        /// Skip: backing off.
        NotBefore = "not_before",
        /// Skip: leased by another run.
        Leased = "leased",
    }
);

/// The counters of one connection or of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub accounts: u64,
    pub fetched: u64,
    /// Rows new in the store.
    pub added: u64,
    /// Rows changed or revived.
    pub updated: u64,
    pub removed: u64,
    /// Records newly put into quarantine.
    pub quarantined: u64,
    pub requests: u64,
    pub retries: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.accounts += other.accounts;
        self.fetched += other.fetched;
        self.added += other.added;
        self.updated += other.updated;
        self.removed += other.removed;
        self.quarantined += other.quarantined;
        self.requests += other.requests;
        self.retries += other.retries;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_one_by_one() {
        let counts = |by: u64| Counts {
            accounts: by,
            fetched: 2 * by,
            added: 3 * by,
            updated: 4 * by,
            removed: 5 * by,
            quarantined: 6 * by,
            requests: 7 * by,
            retries: 8 * by,
        };
        let mut sum = counts(10);
        sum += counts(1);
        assert_eq!(sum, counts(11));
    }
}

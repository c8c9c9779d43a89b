//! The meaning of every reason and what a person can do about it, as text. The journal, the report, `why`,
//! `status` and `connections list` use these texts. `sentence` and `remedy` list every reason, so that a new
//! one cannot lack a text. Looks nothing up.

use super::outcome::{Outcome, Reason};

/// The journal priorities that outcomes use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Info,
    /// A person should look at it.
    Warning,
    Error,
}

impl Outcome {
    /// The priority of the record of a connection with this outcome.
    pub const fn priority(self) -> Priority {
        match self {
            Self::Failed => Priority::Error,
            Self::NeedsUser | Self::RateLimited | Self::Partial => Priority::Warning,
            Self::Synced | Self::Unchanged | Self::Interrupted | Self::Skipped => Priority::Info,
        }
    }
}

impl Reason {
    /// What it means; follows a sentence that names the connection.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Http5xx => "Tink failed",
            Self::Http4xx => "Tink refused the call for this user",
            Self::Network => "no connection to Tink could be made, or it broke",
            Self::Timeout => "no answer came in time, or the time of the connection was used up",
            Self::Malformed => "an answer could not be read",
            Self::TooLarge => "an answer was larger than is allowed",
            Self::PageLoop => "Tink sent the same page token twice",
            Self::ScopeMissing => "Tink does not grant the app a scope it needs",
            Self::TinkUserUnknown => "Tink does not know this user",
            Self::RateLimited => "Tink asked to come back later",
            Self::BankUnavailable => "Tink could not reach the bank; the data are those of its last success",
            Self::ConsentExpired => "the bank consent has expired: the user must renew it through Tink Link",
            Self::ConsentRevoked => "the bank consent was withdrawn: the user must connect the bank again",
            Self::LoginRequired => "the bank wants a new login: the user must go through Tink Link",
            Self::NoAccounts => {
                "Tink shows no accounts where there were some: nothing was removed; the user may have to connect again"
            }
            Self::NoBank => "this Tink user has no bank yet: its user has to link one",
            Self::BankAtWork => {
                "Tink is still fetching from the bank for the first time: look again in some minutes"
            }
            Self::DataStale => {
                "Tink has had nothing new from the bank for longer than sync.stale_after, though the consent is healthy"
            }
            Self::MassVanish => {
                "rows are missing, and the balance, their number or a refresh date that never stands still speaks against it: none is removed until a newer refresh agrees"
            }
            Self::ReconsentUnmatched => {
                "after a renewal some rows have no counterpart; they were kept, and a person has to look at them"
            }
            Self::ReconsentAmbiguous => {
                "two accounts may be one, and nothing shows whether they are; both were kept: compare them"
            }
            Self::IdsReissued => "the bank gave its bookings new ids; the rows went on under them",
            Self::RefreshLost => "a refresh token was lost: the user must connect the bank again",
            Self::SourceRow => "its row in the source view cannot be used",
            Self::LeaseLost => "another run took the connection over",
            Self::Deadline => "the time of the pass was over; the next one goes on",
            Self::Panic => "the work on it met a bug",
            Self::Store => "the store refused a statement of this connection",
            Self::Disabled => "it is disabled",
            Self::Gone => "the source view no longer has it",
            Self::NotEntitled => "its user is not entitled now",
            Self::Recent => "it was synced less than sync.min_interval ago",
            Self::Quota => "the user's syncs of the last 24 hours are used up",
            Self::NotBefore => "it is backing off after failures (--force ignores that)",
            Self::Leased => "another run has it or just had it",
        }
    }

    /// What a person can do about it for the connection `id`. Returns `None` if there is nothing to do, for
    /// example because the next pass or a later Tink refresh resolves it.
    pub fn remedy(self, id: &str) -> Option<String> {
        let renew = |why: &str| Some(format!("{why}: tink-sync renew {id}"));
        let text = match self {
            Self::ConsentExpired | Self::ConsentRevoked => return renew("let its user renew the consent"),
            Self::LoginRequired => return renew("let its user log in to the bank again"),
            Self::NoAccounts | Self::RefreshLost => return renew("let its user connect the bank again"),
            Self::NoBank => return renew("let its user link a bank"),
            Self::ReconsentUnmatched | Self::ReconsentAmbiguous => {
                return Some(format!(
                    "compare the account's rows of before and after the renewal; if they are right as they are: \
                     tink-sync connections accept-unmatched {id}"
                ));
            }
            Self::TinkUserUnknown => {
                "compare its external_user_id or tink_user_id with the users of this app at Tink"
            }
            Self::ScopeMissing => "tink-sync check names the scopes that the app needs",
            Self::SourceRow => "correct its row in the source view",
            Self::TooLarge => "raise tink.max_response",
            Self::Timeout => {
                "if it happens again: raise tink.request_timeout, or sync.connection_timeout for a long history"
            }
            Self::DataStale => {
                "tink.refresh = \"stale:24h\" has Tink ask the bank; if nothing comes, renew the consent or ask Tink's support"
            }
            Self::Panic => "this is a bug: report it with the journal of that run",
            Self::Store => "tink-sync check looks at the store",
            Self::Http5xx
            | Self::Http4xx
            | Self::Network
            | Self::Malformed
            | Self::PageLoop
            | Self::RateLimited
            | Self::BankUnavailable
            | Self::MassVanish
            | Self::IdsReissued
            | Self::BankAtWork
            | Self::LeaseLost
            | Self::Deadline
            | Self::Disabled
            | Self::Gone
            | Self::NotEntitled
            | Self::Recent
            | Self::Quota
            | Self::NotBefore
            | Self::Leased => return None,
        };
        Some(text.to_owned())
    }

    /// Whether a person has something to look at although the connection is healthy.
    pub const fn leaves_open(self) -> bool {
        matches!(self, Self::DataStale | Self::ReconsentUnmatched | Self::ReconsentAmbiguous)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_sentence_of_its_own_that_fits_into_another() {
        let sentences: HashSet<&str> = Reason::ALL.iter().map(|reason| reason.sentence()).collect();
        assert_eq!(sentences.len(), Reason::ALL.len());
        for sentence in sentences {
            assert!(!sentence.ends_with('.') && sentence.len() > 10, "{sentence}");
        }
    }

    #[test]
    fn what_is_told_to_do_names_the_connection_it_is_about() {
        for reason in Reason::ALL {
            let told = reason.remedy("c-17").unwrap_or_default();
            assert_eq!(
                told.contains("c-17"),
                told.contains("tink-sync renew") || told.contains("connections"),
                "{told}"
            );
            assert!(!told.ends_with('.'), "{told}");
        }
    }

    #[test]
    fn what_leaves_something_open_has_a_remedy() {
        let open: Vec<&Reason> = Reason::ALL.iter().filter(|reason| reason.leaves_open()).collect();
        assert_eq!(open, [&Reason::DataStale, &Reason::ReconsentUnmatched, &Reason::ReconsentAmbiguous]);
        assert!(open.iter().all(|reason| reason.remedy("c-17").is_some()));
        assert_eq!(Reason::Http5xx.remedy("c-17"), None);
    }
}

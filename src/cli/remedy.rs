//! What a person can do about a connection, by the reason of its last outcome. Pure: looks nothing up.

use jiff::Timestamp;

use crate::domain::outcome::Reason;
use crate::store::sqlite::reads::{KnownConnection, State};

/// What to do about `reason` on the connection `id`; none where waiting is all there is to do.
fn of(reason: Reason, id: &str) -> Option<String> {
    let renew = |why: &str| Some(format!("{why}: tink-sync renew {id}"));
    match reason {
        Reason::ConsentExpired | Reason::ConsentRevoked => renew("let its user renew the consent"),
        Reason::LoginRequired => renew("let its user log in to the bank again"),
        Reason::NoAccounts | Reason::RefreshLost => renew("let its user connect the bank again"),
        Reason::NoBank => renew("let its user link a bank"),
        Reason::TinkUserUnknown => {
            Some("compare its external_user_id or tink_user_id with the users of this app at Tink".to_owned())
        }
        Reason::ScopeMissing => Some("tink-sync check names the scopes that the app needs".to_owned()),
        Reason::SourceRow => Some("mend its row in the source view".to_owned()),
        Reason::TooLarge => Some("raise tink.max_response".to_owned()),
        Reason::Timeout => Some(
            "if it happens again: raise tink.request_timeout, or sync.connection_timeout for a long history"
                .to_owned(),
        ),
        Reason::ReconsentUnmatched | Reason::ReconsentAmbiguous => Some(format!(
            "compare the account's rows of before and after the renewal; if they are right as they are: \
             tink-sync connections accept-unmatched {id}"
        )),
        Reason::DataStale => Some(
            "tink.refresh = \"stale:24h\" has Tink ask the bank; if nothing comes, renew the consent or ask Tink's support"
                .to_owned(),
        ),
        Reason::Panic => Some("this is a bug: report it with the journal of that run".to_owned()),
        Reason::Store => Some("tink-sync check looks at the store".to_owned()),
        // The next pass, or a later refresh of Tink's, does what there is to do.
        Reason::Http5xx
        | Reason::Http4xx
        | Reason::Network
        | Reason::Malformed
        | Reason::PageLoop
        | Reason::RateLimited
        | Reason::BankUnavailable
        | Reason::MassVanish
        | Reason::IdsReissued
        | Reason::BankAtWork
        | Reason::LeaseLost
        | Reason::Deadline
        | Reason::Disabled
        | Reason::Gone
        | Reason::NotEntitled
        | Reason::Recent
        | Reason::Quota
        | Reason::NotBefore
        | Reason::Leased => None,
    }
}

/// What to do about a connection that is not well, or that is but has something open for a person.
/// A reason of a newer release has no remedy here.
pub(super) fn of_connection(connection: &KnownConnection, now: Timestamp) -> Option<String> {
    let unwell = matches!(connection.state(now), State::NeedsUser | State::Failing | State::RateLimited);
    let reason = connection.reason(now).and_then(Reason::parse)?;
    let open = matches!(reason, Reason::DataStale | Reason::ReconsentUnmatched | Reason::ReconsentAmbiguous);
    if !unwell && !open {
        return None;
    }
    of(reason, &connection.connection_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_needs_its_user_names_the_command_that_asks_him() {
        let told = |reason: &str| {
            let (id, needs_user) = ("c-17".to_owned(), Some(reason.to_owned()));
            let c = KnownConnection {
                connection_id: id,
                needs_user,
                enabled: true,
                entitled: true,
                ..Default::default()
            };
            of_connection(&c, Timestamp::UNIX_EPOCH)
        };
        for reason in ["consent_expired", "consent_revoked", "login_required", "no_accounts", "refresh_lost"]
        {
            assert!(told(reason).unwrap().ends_with(": tink-sync renew c-17"), "{reason}");
        }
        assert_eq!(told("a reason of a newer release"), None);
    }

    #[test]
    fn a_connection_that_is_well_names_what_is_open_for_a_person() {
        let told = |reason: &str| {
            let c = KnownConnection {
                connection_id: "c-17".to_owned(),
                last_success_at: Some(Timestamp::UNIX_EPOCH),
                last_reason: Some(reason.to_owned()),
                enabled: true,
                entitled: true,
                ..Default::default()
            };
            assert_eq!(c.state(Timestamp::UNIX_EPOCH), State::Ok);
            of_connection(&c, Timestamp::UNIX_EPOCH)
        };
        for reason in ["reconsent_unmatched", "reconsent_ambiguous"] {
            assert!(told(reason).unwrap().ends_with("connections accept-unmatched c-17"), "{reason}");
        }
        assert!(told("data_stale").is_some());
        // The next pass does what there is to do.
        assert_eq!(told("mass_vanish"), None);
    }
}

//! The remedy for a connection that needs a person; its text comes from `domain::advice`. Pure: reads nothing.

use jiff::Timestamp;

use crate::domain::outcome::Reason;
use crate::store::reads::{KnownConnection, State};

/// The remedy for a connection that is not well, or that is well and has something open for a person. `None`
/// for a reason of a newer release.
pub(super) fn of_connection(connection: &KnownConnection, now: Timestamp) -> Option<String> {
    let unwell = matches!(connection.state(now), State::NeedsUser | State::Failing | State::RateLimited);
    let reason = connection.reason(now).and_then(Reason::parse)?;
    if unwell || reason.leaves_open() { reason.remedy(&connection.connection_id) } else { None }
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
        // The next pass handles it without a person.
        assert_eq!(told("mass_vanish"), None);
    }
}

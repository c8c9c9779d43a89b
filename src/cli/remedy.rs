//! The remedy for a connection that needs a person; its text comes from `domain::advice`. Pure: reads nothing.

use jiff::Timestamp;

use super::table;
use crate::domain::outcome::Reason;
use crate::store::reads::{KnownConnection, State};

/// What is wrong with a row of the source view, and what to do about it: its problem has both, with a colon between
/// them, or only the first.
pub(super) fn of_row(problem: &str) -> (&str, String) {
    let behind_colon = problem.find(": ").map_or(problem.len(), |colon| colon + 1);
    match problem.split_at(behind_colon) {
        (problem, "") => (problem, Reason::SourceRow.remedy("").unwrap_or_default()),
        (problem, remedy) => (problem, remedy.trim_start().to_owned()),
    }
}

/// How `entitled_until` may be written.
pub(super) const TIMES: &str = "correct entitled_until in the view: RFC 3339, YYYY-MM-DD HH:MM:SS in UTC, seconds since 1970, or NULL for without end";

/// That this many rows have an `entitled_until` that is no time, one of them that of `connection`.
pub(super) fn until_unreadable(rows: usize, connection: &str) -> String {
    format!("{}; {TIMES}", until_unreadable_text(rows, connection))
}

/// As [`until_unreadable`], without the remedy.
pub(super) fn until_unreadable_text(rows: usize, connection: &str) -> String {
    let rows = table::count(rows, "row");
    format!(
        "the entitled_until of {rows} of the source view is no time, and counts as not entitled (connection {connection} for one)"
    )
}

/// The remedy for a connection that is not well, or that is well and has something open for a person. `None`
/// for a reason of a newer release.
pub(super) fn of_connection(connection: &KnownConnection, now: Timestamp) -> Option<String> {
    if let Some(problem) = connection.problem.as_deref().filter(|_| connection.is_active(now)) {
        return Some(of_row(problem).1);
    }
    if connection.until_unreadable {
        return Some(TIMES.to_owned());
    }
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

//! The permission for one bank under a connection, and the judgement of its health.
//! Judges by status and date alone (API.md 5.2, 5.1); never by the explanatory error.

use jiff::{SignedDuration, Timestamp};

use super::ids::{AccountId, CredentialsId};
use super::outcome::Reason;

/// A consent that is busy for longer than this is stuck.
const BUSY_LIMIT: SignedDuration = SignedDuration::from_hours(24);

/// One provider consent of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Its key at Tink.
    pub credentials_id: CredentialsId,
    /// Name of the bank.
    pub provider: Option<String>,
    /// The accounts it covers.
    pub account_ids: Vec<AccountId>,
    /// Tink's status text, without a `STATUS_` prefix.
    pub status: String,
    /// When the status last changed.
    pub status_updated: Option<Timestamp>,
    /// When the permission ends; `None` if the bank gave no date (Tink sends 0 or nothing).
    pub expires_at: Option<Timestamp>,
    /// Whether it can be extended without a new login.
    pub extendable: Option<bool>,
    /// Type of the last problem, for explanation only.
    pub error_type: Option<String>,
    /// Reason of the last problem, for explanation only.
    pub error_reason: Option<String>,
}

/// What a consent's state means for the data of its accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Updated and not past its date: rows of its accounts may be removed.
    Healthy,
    /// Updated but past its date: normal until reads fail; nothing is removed.
    PastDate,
    /// An operation is in progress at Tink; the data it has is read.
    Busy,
    /// The bank or Tink has a problem; the data Tink has is read.
    Unavailable,
    /// Only the user can restore it.
    NeedsUser(Reason),
}

impl Consent {
    /// Judges the consent at the time `now`.
    pub fn health(&self, now: Timestamp) -> Health {
        match self.status.as_str() {
            "UPDATED" if self.is_past_date(now) => Health::PastDate,
            "UPDATED" => Health::Healthy,
            "SESSION_EXPIRED" => Health::NeedsUser(Reason::ConsentExpired),
            "AUTHENTICATION_ERROR" | "PERMANENT_ERROR" => Health::NeedsUser(Reason::LoginRequired),
            "DELETED" => Health::NeedsUser(Reason::ConsentRevoked),
            _ if !self.is_stuck(now) => Health::Busy,
            status if status == "CREATED" || status.starts_with("AWAITING_") => {
                Health::NeedsUser(Reason::LoginRequired)
            }
            _ => Health::Unavailable,
        }
    }

    /// Whether the date of the permission has passed.
    pub fn is_past_date(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    fn is_stuck(&self, now: Timestamp) -> bool {
        if self.status == "TEMPORARY_ERROR" {
            return true;
        }
        self.status_updated.is_some_and(|since| now.duration_since(since) > BUSY_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent(status: &str, age_hours: i64, expires_in_hours: Option<i64>) -> (Consent, Timestamp) {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let consent = Consent {
            credentials_id: "c".into(),
            provider: None,
            account_ids: Vec::new(),
            status: status.to_owned(),
            status_updated: Some(now - SignedDuration::from_hours(age_hours)),
            expires_at: expires_in_hours.map(|h| now + SignedDuration::from_hours(h)),
            extendable: None,
            error_type: None,
            error_reason: None,
        };
        (consent, now)
    }

    #[test]
    fn a_consent_is_judged_by_status_and_date() {
        use Health::{Busy, Healthy, NeedsUser, PastDate, Unavailable};
        for (status, age, expires, expected) in [
            ("UPDATED", 900, None, Healthy),
            ("UPDATED", 1, Some(1), Healthy),
            ("UPDATED", 1, Some(0), PastDate),
            ("UPDATED", 1, Some(-1), PastDate),
            ("UPDATING", 1, None, Busy),
            ("UPDATING", 24, None, Busy),
            ("UPDATING", 25, None, Unavailable),
            ("TEMPORARY_ERROR", 1, None, Unavailable),
            ("AWAITING_SUPPLEMENTAL_INFORMATION", 1, None, Busy),
            ("AWAITING_SUPPLEMENTAL_INFORMATION", 25, None, NeedsUser(Reason::LoginRequired)),
            ("CREATED", 25, None, NeedsUser(Reason::LoginRequired)),
            ("AUTHENTICATION_ERROR", 1, None, NeedsUser(Reason::LoginRequired)),
            ("PERMANENT_ERROR", 1, None, NeedsUser(Reason::LoginRequired)),
            ("SESSION_EXPIRED", 1, None, NeedsUser(Reason::ConsentExpired)),
            ("DELETED", 1, None, NeedsUser(Reason::ConsentRevoked)),
            ("SOMETHING_NEW", 1, None, Busy),
            ("SOMETHING_NEW", 25, None, Unavailable),
        ] {
            let (consent, now) = consent(status, age, expires);
            assert_eq!(consent.health(now), expected, "{status}");
        }
    }
}

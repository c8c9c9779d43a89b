//! Chooses which consent is renewed, and how (API.md 5.2, 6). Pure.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use crate::cli::connections::days_left;
use crate::domain::consent::{Consent, Health};
use crate::domain::warning::span;
use crate::link::url::Purpose;

/// The requested way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    AsItFits,
    Extend,
    Update,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Picked {
    /// The consent to renew and the purpose of its session.
    One(Box<Consent>, Purpose),
    Nothing(String),
}

/// Picks the consent that needs renewal, or the one named. A consent that ends within `soon` needs it.
///
/// # Errors
/// Why no consent can be picked, and what to do.
pub(super) fn pick(
    connection_id: &str,
    consents: Vec<Consent>,
    named: Option<&str>,
    how: How,
    (now, soon): (Timestamp, SignedDuration),
) -> Result<Picked, String> {
    if consents.is_empty() {
        return Err(format!(
            "connection {connection_id} has no consent at Tink, so there is nothing to renew: link a bank with tink-sync connect --user ID --connection {connection_id}"
        ));
    }
    let list = listing(&consents, now);
    let mut wanted: Vec<Consent> = match named {
        Some(id) => consents.into_iter().filter(|consent| consent.credentials_id.as_str() == id).collect(),
        None => consents.into_iter().filter(|consent| needs_it(consent, now, soon)).collect(),
    };
    match (wanted.pop(), wanted.is_empty(), named) {
        (Some(consent), true, _) => {
            let purpose = purpose(connection_id, &consent, how)?;
            Ok(Picked::One(Box::new(consent), purpose))
        }
        (Some(_), false, _) => Err(format!(
            "more than one consent of {connection_id} needs it: say with --credentials which\n{list}"
        )),
        (None, _, Some(id)) => Err(format!("connection {connection_id} has no consent {id} at Tink\n{list}")),
        (None, _, None) => Ok(Picked::Nothing(format!(
            "No consent of {connection_id} needs to be renewed. To do it all the same: --credentials ID\n{list}"
        ))),
    }
}

fn needs_it(consent: &Consent, now: Timestamp, soon: SignedDuration) -> bool {
    match consent.health(now) {
        Health::PastDate | Health::NeedsUser(_) => true,
        Health::Healthy => consent.expires_at.is_some_and(|end| end.duration_since(now) <= soon),
        Health::Busy | Health::Unavailable => false,
    }
}

/// Extending needs no login, but only helps a consent whose only problem is its end date.
fn purpose(connection_id: &str, consent: &Consent, how: How) -> Result<Purpose, String> {
    let id = consent.credentials_id.clone();
    if matches!(consent.status.as_str(), "PERMANENT_ERROR" | "DELETED") {
        return Err(format!(
            "consent {} cannot be brought back (Tink says {}): link the bank anew with tink-sync connect --user ID --connection {connection_id}",
            name(consent),
            consent.status
        ));
    }
    let fits =
        consent.extendable == Some(true) && matches!(consent.status.as_str(), "UPDATED" | "SESSION_EXPIRED");
    match how {
        How::Extend if consent.extendable == Some(false) => {
            Err(format!("Tink says that consent {} cannot be extended: leave --extend out", name(consent)))
        }
        How::Extend => Ok(Purpose::Extend(id)),
        How::AsItFits if fits => Ok(Purpose::Extend(id)),
        How::AsItFits | How::Update => Ok(Purpose::Update(id)),
    }
}

/// The id of a consent and its bank.
pub(super) fn name(consent: &Consent) -> String {
    format!("{} ({})", consent.credentials_id, consent.provider.as_deref().unwrap_or("bank not named"))
}

fn listing(consents: &[Consent], now: Timestamp) -> String {
    let mut text = String::new();
    for consent in consents {
        let until = match consent.expires_at.map(|end| days_left(end, now)) {
            None => "without a date".to_owned(),
            Some(days) if days < 0 => "expired".to_owned(),
            Some(days) => format!("{} left", span(days)),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}: {}, {until}", name(consent), consent.status);
    }
    text
}

#[cfg(test)]
mod tests;

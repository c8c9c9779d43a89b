//! One line for each consent, account and past attempt of a connection. Must not read anything.

use jiff::Timestamp;

use crate::cli::connections::days_left;
use crate::cli::table::{age, count, minute, span};
use crate::store::reads::{KnownAccount, KnownConsent, PastAttempt};

/// A time, with its distance from now.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> String {
    let distance = at.duration_since(now);
    if distance.is_positive() {
        format!("{} UTC (in {})", minute(at), span(distance))
    } else {
        format!("{} UTC ({} ago)", minute(at), span(-distance))
    }
}

/// One consent: bank, status, days left, last error.
pub(super) fn consent(consent: &KnownConsent, now: Timestamp) -> String {
    let bank = consent.provider.as_deref().unwrap_or("unknown bank");
    let left = match consent.expires_at.map(|end| (end, days_left(end, now))) {
        Some((end, left)) if left >= 0 => {
            format!("{} left, until {}", count(usize::try_from(left).unwrap_or_default(), "day"), minute(end))
        }
        Some((end, _)) => format!("past its date, {}", minute(end)),
        None => "no end date".to_owned(),
    };
    let error = [&consent.error_type, &consent.error_reason];
    let error: Vec<&str> = error.into_iter().flatten().map(String::as_str).collect();
    let error = if error.is_empty() { String::new() } else { format!("; error: {}", error.join(", ")) };
    format!("{bank} ({}): {}, {left}{error}", consent.credentials_id, consent.status)
}

/// One account: how far its history reaches.
pub(super) fn account(account: &KnownAccount, now: Timestamp) -> String {
    let complete = account
        .complete_through
        .as_deref()
        .map_or_else(|| "not complete yet".to_owned(), |date| format!("complete through {date}"));
    let refreshed = match account.last_refreshed_at {
        Some(at) => format!("refreshed by Tink {} ago", age(Some(at), now)),
        None => "never refreshed by Tink".to_owned(),
    };
    let closed = account.closed_at.map(|at| format!(", closed {}", minute(at))).unwrap_or_default();
    format!("{} ({}): {complete}, {refreshed}{closed}", account.account_id, account.kind)
}

/// One attempt: when, by which trigger, and its outcome.
pub(super) fn attempt(attempt: &PastAttempt, now: Timestamp) -> String {
    let outcome = attempt.outcome.as_deref().unwrap_or("at work");
    let reason = attempt.reason.as_deref().map(|reason| format!(", {reason}")).unwrap_or_default();
    let (added, updated, removed) = (attempt.added, attempt.updated, attempt.removed);
    let rows = if added + updated + removed > 0 {
        format!(": {added} new, {updated} changed, {removed} removed")
    } else {
        String::new()
    };
    let error = attempt.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    let when = moment(attempt.started_at, now).replace(" UTC", "");
    format!("{when} {}: {outcome}{reason}{rows}{error}", attempt.trigger)
}

//! Describes the result of a balance reconciliation in sentences. Reads nothing.

use jiff::Timestamp;

use super::table::{count, minute};
use crate::store::reads::AccountReconciliation;

pub(super) fn sentence(account: &AccountReconciliation) -> String {
    let mut text = match account.difference.as_deref() {
        Some(difference) => differs(account, difference),
        None if account.state == "proven" => format!(
            "proven from {} through the refresh of {}",
            moment(account.anchored_at.as_deref()),
            moment(account.proven_refresh_at.as_deref())
        ),
        None => "not proven".to_owned(),
    };
    let waits = account.quarantined > 0 && account.state != "proven";
    if let Some(reason) = account.reason.as_deref().filter(|reason| !(waits && *reason == "quarantine")) {
        text = format!("{text}; the last walk proved nothing ({reason}): {}", why_not(reason));
    }
    if waits {
        let waiting = count(account.quarantined as usize, "record");
        let what = if account.difference.is_some() { "explain that" } else { "be money that moved" };
        text = format!("{text}; {waiting} of it in quarantine may {what}");
    }
    text
}

fn differs(account: &AccountReconciliation, difference: &str) -> String {
    let (amount, more) = match difference.strip_prefix('-') {
        Some(amount) => (amount, "less"),
        None => (difference, "more"),
    };
    let changed = match &account.changed_at {
        Some(changed) if Some(changed) != account.since_at.as_ref() => {
            format!(", so much since {}", moment(Some(changed)))
        }
        _ => String::new(),
    };
    format!(
        "the bank holds {amount} {} {more} than the rows explain since {}{changed}; all added up at the refresh of {}",
        account.currency.as_deref().unwrap_or_default(),
        moment(account.since_at.as_deref()),
        moment(account.proven_refresh_at.as_deref()),
    )
}

fn why_not(reason: &str) -> &'static str {
    match reason {
        "not_walked" => "it was not read to its end yet in one refresh, or rows are still to be judged",
        "no_balance" => "Tink shows no booked balance",
        "no_refresh" => "Tink does not say when it last looked at the bank",
        "currency_changed" => "the balance came in another currency",
        "unclear_rows" => "rows in another currency or of undefined status came or went",
        "quarantine" => {
            "records are in quarantine, or came out of it that the balance held from the beginning"
        }
        "balance_still" => "the balance has never moved although rows did",
        _ => "see the README",
    }
}

fn moment(at: Option<&str>) -> String {
    let time = at.and_then(|at| at.parse::<Timestamp>().ok());
    time.map_or_else(|| "an unknown time".to_owned(), |at| format!("{} UTC", minute(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_with_its_direction_and_times() {
        let text = |text: &str| Some(text.to_owned());
        let mut account = AccountReconciliation {
            state: "differs".to_owned(),
            currency: text("EUR"),
            difference: text("-12.34"),
            since_at: text("2026-06-01T10:00:00.000Z"),
            changed_at: text("2026-06-01T10:00:00.000Z"),
            proven_refresh_at: text("2026-06-01T04:00:00Z"),
            ..AccountReconciliation::default()
        };
        assert_eq!(
            sentence(&account),
            "the bank holds 12.34 EUR less than the rows explain since 2026-06-01 10:00 UTC; \
             all added up at the refresh of 2026-06-01 04:00 UTC"
        );
        (account.difference, account.changed_at, account.quarantined) =
            (text("5"), text("2026-06-02T10:00:00.000Z"), 1);
        let told = sentence(&account);
        assert!(told.contains("5 EUR more") && told.contains("so much since 2026-06-02 10:00"), "{told}");
        assert!(told.ends_with("1 record of it in quarantine may explain that"), "{told}");
        (account.state, account.difference, account.reason) =
            ("unprovable".to_owned(), None, text("quarantine"));
        assert_eq!(sentence(&account), "not proven; 1 record of it in quarantine may be money that moved");
        account.quarantined = 0;
        assert!(
            sentence(&account).contains("the last walk proved nothing (quarantine)"),
            "{}",
            sentence(&account)
        );
    }

    #[test]
    fn every_reason_has_words() {
        use crate::domain::balance::Doubt;
        let doubts = [
            Doubt::NoRefresh,
            Doubt::NoBalance,
            Doubt::CurrencyChanged,
            Doubt::UnclearRows,
            Doubt::Quarantine,
            Doubt::BalanceStill,
        ];
        let reasons = doubts.into_iter().map(Doubt::as_str).chain(["not_walked"]);
        assert!(reasons.map(why_not).all(|words| words != "see the README"));
    }
}

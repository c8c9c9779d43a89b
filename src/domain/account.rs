//! A bank account as Tink shows it. Its currency is that of its balances (API.md 3.1).

use jiff::{SignedDuration, Timestamp};

use super::amount::Money;
use super::ids::AccountId;

/// One account of a connection, with texts as Tink sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    /// The bank's name of the account.
    pub name: String,
    /// Tink's type (`CHECKING`, `SAVINGS`, `CREDIT_CARD`, …); unknown values are kept.
    pub kind: String,
    pub iban: Option<String>,
    /// The bank's own account number (financial institution or sort code number).
    pub account_number: Option<String>,
    pub masked_pan: Option<String>,
    /// Tink's id of the bank; only on aggregated accounts.
    pub financial_institution_id: Option<String>,
    pub booked: Option<Money>,
    pub available: Option<Money>,
    /// When Tink last fetched this account from the bank.
    pub last_refreshed: Option<Timestamp>,
}

/// Clocks differ by less than this.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(24);

/// Tink's types of accounts whose balance is owed.
const OWED: [&str; 3] = ["CREDIT_CARD", "LOAN", "MORTGAGE"];

/// Whether the balance of an account of this type is owed.
pub fn is_owed(kind: &str) -> bool {
    OWED.contains(&kind)
}

/// Whether a refresh is newer than one that was kept. A kept one that lies in the future was a mistake of the
/// bank or of Tink: any other is newer, or nothing would be until that day.
pub fn is_newer(refresh: Timestamp, kept: Timestamp, now: Timestamp) -> bool {
    refresh > kept || (!is_possible(kept, now) && refresh != kept)
}

/// Whether a refresh does not lie in the future.
pub fn is_possible(refresh: Timestamp, now: Timestamp) -> bool {
    refresh.duration_since(now) <= CLOCKS_DIFFER
}

impl Account {
    /// An account of which only the id is known.
    pub const fn unknown(id: AccountId) -> Self {
        Self {
            id,
            name: String::new(),
            kind: String::new(),
            iban: None,
            account_number: None,
            masked_pan: None,
            financial_institution_id: None,
            booked: None,
            available: None,
            last_refreshed: None,
        }
    }

    /// The account's currency: that of its booked balance, else of its available one.
    pub fn currency(&self) -> Option<&str> {
        let balance = self.booked.as_ref().or(self.available.as_ref())?;
        Some(&balance.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::amount::Amount;

    #[test]
    fn a_refresh_of_the_future_is_older_than_any_other() {
        let now: Timestamp = "2026-06-10T12:00:00Z".parse().unwrap();
        let at = |hours: i64| now + SignedDuration::from_hours(hours);
        for (refresh, kept, newer) in [
            (-1, -2, true),
            (-2, -2, false),
            (-3, -2, false),
            (0, 24, false),
            (0, 25, true),
            (25, 25, false),
            (400, 25, true),
        ] {
            assert_eq!(is_newer(at(refresh), at(kept), now), newer, "{refresh} {kept}");
        }
    }

    #[test]
    fn the_currency_is_that_of_the_booked_balance_first() {
        let money = |currency: &str| Money {
            amount: Amount::from_parts("1", "0").unwrap(),
            currency: currency.to_owned(),
        };
        let account = |booked: Option<&str>, available: Option<&str>| Account {
            booked: booked.map(money),
            available: available.map(money),
            ..Account::unknown("a".into())
        };
        assert_eq!(account(Some("EUR"), Some("PLN")).currency(), Some("EUR"));
        assert_eq!(account(None, Some("PLN")).currency(), Some("PLN"));
        assert_eq!(account(None, None).currency(), None);
    }
}

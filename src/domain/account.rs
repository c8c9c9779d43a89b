//! A bank account as Tink shows it. Its currency is that of its balances (API.md 3.1).

use jiff::Timestamp;

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

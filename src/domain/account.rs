//! A bank account as Tink shows it. Its currency sits on its balances (API.md 3.1).

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
    /// The account's currency: that of its booked balance, else of its available one.
    pub fn currency(&self) -> Option<&str> {
        let balance = self.booked.as_ref().or(self.available.as_ref())?;
        Some(&balance.currency)
    }
}

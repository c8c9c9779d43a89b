//! The readers of Tink's responses, for tests that feed them arbitrary bytes. Not part of the public API.

use super::wire;
use crate::domain::amount::{Amount, Money};
use crate::domain::ids::AccountId;

/// The response that the bytes are read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// A page of accounts.
    Accounts,
    /// The list of consents.
    Consents,
    /// A page of transactions.
    Transactions,
    Token,
    /// The code of a grant.
    Code,
}

impl AnswerKind {
    pub const ALL: [Self; 5] = [Self::Accounts, Self::Consents, Self::Transactions, Self::Token, Self::Code];

    /// Reads the bytes and panics if it accepted an amount that is not an exact decimal number.
    ///
    /// # Panics
    /// On such an amount: that is the finding.
    pub fn challenge(self, bytes: &[u8]) {
        for money in self.read(bytes).unwrap_or_default() {
            let text = money.amount.as_str();
            assert_eq!(Amount::from_decimal(text).as_ref(), Ok(&money.amount), "{text}");
            assert!(!text.contains(['e', 'E', '+', ' ']) && text != "-0" && !text.is_empty(), "{text}");
        }
    }

    /// Reads the bytes and returns every amount that was accepted.
    ///
    /// # Errors
    /// The reason for a refusal, which must contain no value of the response.
    pub fn read(self, bytes: &[u8]) -> Result<Vec<Money>, String> {
        match self {
            Self::Accounts => {
                let page = wire::accounts(bytes)?;
                Ok(page
                    .rows
                    .into_iter()
                    .flat_map(|(account, _)| [account.booked, account.available])
                    .flatten()
                    .collect())
            }
            Self::Consents => wire::consents(bytes).map(|_| Vec::new()),
            Self::Transactions => {
                let page = wire::transactions(bytes, &AccountId::from("a".to_owned()), true)?;
                let rows = page.rows.into_iter().filter_map(|record| match record {
                    wire::TransactionRecord::Row { transaction, .. } => Some(transaction.money),
                    wire::TransactionRecord::Unreadable(_) => None,
                });
                Ok(rows.collect())
            }
            Self::Token => wire::granted(bytes).map(|_| Vec::new()),
            Self::Code => wire::code(bytes).map(|_| Vec::new()),
        }
    }
}

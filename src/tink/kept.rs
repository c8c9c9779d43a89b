//! Transactions of Tink's as an application has kept them, read as if they had just come. Must not be kinder
//! than the reader of answers.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{self, TransactionRecord};
use crate::domain::ids::AccountId;

/// The member that says whose a transaction is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenOwner {
    account_id: Option<String>,
}

/// Reads one transaction, and the account that it says it is of. An account that is given wins over that: the
/// same account has another id after its bank was connected anew.
///
/// # Errors
/// What is wrong with it, without values.
pub fn transaction(
    raw: &RawValue,
    account: Option<&AccountId>,
    keep_raw: bool,
) -> Result<(AccountId, TransactionRecord), String> {
    let named = serde_json::from_str::<TokenOwner>(raw.get()).ok().and_then(|owner| owner.account_id);
    let named = named.filter(|id| !id.is_empty()).map(AccountId::from);
    let owner = named.as_ref().or(account).ok_or("neither account_id nor accountId in raw is given")?;
    let page = format!("{{\"transactions\":[{}]}}", raw.get());
    let page = wire::transactions(page.as_bytes(), owner, keep_raw)?;
    let record = page.rows.into_iter().next().ok_or("raw holds no transaction")?;
    Ok((account.unwrap_or(owner).clone(), record))
}

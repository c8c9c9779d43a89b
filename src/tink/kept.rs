//! Reads Tink transactions that an application has kept as if Tink had just sent them. Must not be more
//! lenient than the reader of responses.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{self, TransactionRecord};
use crate::domain::ids::AccountId;

/// The member that names the account of a transaction.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenOwner {
    account_id: Option<String>,
}

/// Reads one transaction and the account that it names. A given `account` overrides that: an account gets
/// another id when its bank is connected again.
///
/// # Errors
/// The reason why it cannot be read, without values.
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

//! Reading what the balance proofs say. The only reads for people that hold an amount: the difference itself.

use std::path::Path;

use rusqlite::{Connection, Params, Row};

use crate::store::Result;
use crate::store::sqlite::read;

/// The balance proof of one account, with the columns of `balance_proofs_v1` but the balance.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct AccountReconciliation {
    /// The connection.
    pub connection_id: String,
    /// Tink's id of the account.
    pub account_id: String,
    /// `proven`, `differs` or `unprovable`.
    pub state: String,
    /// Why the last walk proved nothing.
    pub reason: Option<String>,
    /// The currency.
    pub currency: Option<String>,
    /// What the bank holds more than the rows explain; exact.
    pub difference: Option<String>,
    /// When it was first seen.
    pub since_at: Option<String>,
    /// When it came to be this much.
    pub changed_at: Option<String>,
    /// The run that saw it first.
    pub run_id: Option<String>,
    /// Since when the proof holds without a break.
    pub anchored_at: Option<String>,
    /// The last refresh at which all added up.
    pub proven_refresh_at: Option<String>,
    /// The last refresh that was judged.
    pub judged_refresh_at: Option<String>,
    /// Records of the account in quarantine.
    pub quarantined: u32,
}

/// The accounts of all connections whose balance differs now; closed ones are left out.
///
/// # Errors
/// As [`crate::store::sqlite::open_reader`].
pub fn balance_differences(path: &Path) -> Result<Vec<AccountReconciliation>> {
    read(path, "read the balances", |db| {
        let which = "difference IS NOT NULL AND closed_at IS NULL ORDER BY connection_id, account_key";
        proofs(db, which, [])
    })
}

/// The proofs of one connection's accounts.
///
/// # Errors
/// As [`crate::store::sqlite::open_reader`].
pub fn balance_proofs(path: &Path, connection_id: &str) -> Result<Vec<AccountReconciliation>> {
    read(path, "read the balances", |db| {
        proofs(db, "connection_id = ?1 ORDER BY account_key", [connection_id])
    })
}

fn proofs(db: &Connection, which: &str, params: impl Params) -> rusqlite::Result<Vec<AccountReconciliation>> {
    let mut rows = db.prepare(&format!("SELECT * FROM balance_proofs_v1 WHERE {which}"))?;
    rows.query_map(params, proof)?.collect()
}

fn proof(row: &Row<'_>) -> rusqlite::Result<AccountReconciliation> {
    Ok(AccountReconciliation {
        connection_id: row.get("connection_id")?,
        account_id: row.get("account_id")?,
        state: row.get("state")?,
        reason: row.get("reason")?,
        currency: row.get("currency")?,
        difference: row.get("difference")?,
        since_at: row.get("since_at")?,
        changed_at: row.get("changed_at")?,
        run_id: row.get("run_id")?,
        anchored_at: row.get("anchored_at")?,
        proven_refresh_at: row.get("proven_refresh_at")?,
        judged_refresh_at: row.get("judged_refresh_at")?,
        quarantined: row.get("quarantined")?,
    })
}

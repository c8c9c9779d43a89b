//! Reads the balance proofs. Of all reads for people, only these return an amount: the difference itself.

use crate::store::engine::{Db, Fail, Params, Row, values};
use crate::store::{Reader, Result};

/// The balance proof of one account, with the columns of `balance_proofs_v1` except the balance.
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
    /// By how much the bank's balance exceeds what the rows explain; exact.
    pub difference: Option<String>,
    /// When it was first seen.
    pub since_at: Option<String>,
    /// When it reached this amount.
    pub changed_at: Option<String>,
    /// The run that saw it first.
    pub run_id: Option<String>,
    /// Since when the proof holds without interruption.
    pub anchored_at: Option<String>,
    /// The last refresh at which the numbers agreed.
    pub proven_refresh_at: Option<String>,
    /// The last refresh that was judged.
    pub judged_refresh_at: Option<String>,
    /// Records of the account in quarantine.
    pub quarantined: u32,
}

impl Reader {
    /// The accounts of all connections whose balance differs now; closed ones are left out.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if it cannot be read.
    pub fn balance_differences(&self) -> Result<Vec<AccountReconciliation>> {
        self.read("read the balances", |db| {
            let which = "difference IS NOT NULL AND closed_at IS NULL ORDER BY connection_id, account_key";
            proofs(db, which, values![])
        })
    }

    /// The proofs of one connection's accounts.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if it cannot be read.
    pub fn balance_proofs(&self, connection_id: &str) -> Result<Vec<AccountReconciliation>> {
        self.read("read the balances", |db| {
            proofs(db, "connection_id = ?1 ORDER BY account_key", values![connection_id])
        })
    }
}

fn proofs(db: Db<'_>, which: &str, params: Params<'_, '_>) -> Result<Vec<AccountReconciliation>, Fail> {
    let rows = &format!("SELECT * FROM balance_proofs_v1 WHERE {which}");
    db.all(rows, params, proof)
}

fn proof(row: Row<'_>) -> Result<AccountReconciliation, Fail> {
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

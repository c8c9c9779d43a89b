//! Reads the quarantine. Returns the records themselves, which hold people's data, only on request.

use crate::store::engine::value::{json_list, unsigned};
use crate::store::engine::{Fail, Row, values};
use crate::store::{Reader, Result};

/// A record that could not be read, with the columns of `quarantine_v1`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Quarantined {
    /// Its connection.
    pub connection_id: String,
    /// Tink's id of the account.
    pub account_id: String,
    /// Tink's id of it, if that could be read.
    pub transaction_id: Option<String>,
    /// Why it cannot be read.
    pub reason: String,
    /// When it was first seen.
    pub first_seen_at: String,
    /// The run that found it; `None` if that is no longer known.
    pub run_id: Option<String>,
    /// The record as Tink sent it; only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

impl Reader {
    /// The records of these connections (of all, if the list is empty), by connection, oldest first.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if it cannot be read.
    pub fn quarantine(&self, connections: &[String], with_raw: bool) -> Result<Vec<Quarantined>> {
        self.read("read the quarantine", |db| {
            let rows = "SELECT connection_id, account_id, transaction_id, reason, first_seen_at, run_id, CASE WHEN ?3 THEN raw END AS raw
                 FROM quarantine_v1 WHERE ?1 OR connection_id IN (SELECT j.value FROM json_each(?2) j)
                 ORDER BY connection_id, first_seen_at, account_id, transaction_id NULLS FIRST";
            let named = json_list(connections.iter().map(String::as_str));
            db.all(rows, values![connections.is_empty(), named, with_raw], quarantined)
        })
    }
}

fn quarantined(row: Row<'_>) -> Result<Quarantined, Fail> {
    Ok(Quarantined {
        connection_id: row.get("connection_id")?,
        account_id: row.get("account_id")?,
        transaction_id: row.get("transaction_id")?,
        reason: row.get("reason")?,
        first_seen_at: row.get("first_seen_at")?,
        run_id: row.get("run_id")?,
        raw: row.get("raw")?,
    })
}

/// The records of one account that are only counted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NotKept {
    /// Its connection.
    pub connection_id: String,
    /// Tink's id of the account.
    pub account_id: String,
    /// The number of records.
    pub not_kept: u64,
}

impl Reader {
    /// The numbers of records of these connections (of all, if the list is empty) that are only counted.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if it cannot be read.
    pub fn not_kept(&self, connections: &[String]) -> Result<Vec<NotKept>> {
        self.read("read the quarantine", |db| {
            let rows = "SELECT c.connection_id, a.account_id, count(*) FROM ts_quarantine q
                 JOIN ts_accounts a ON a.key = q.account JOIN ts_connections c ON c.key = a.connection
                 WHERE q.raw = '' AND (?1 OR c.connection_id IN (SELECT j.value FROM json_each(?2) j))
                 GROUP BY a.key, a.account_id, c.connection_id ORDER BY 1, 2";
            let named = json_list(connections.iter().map(String::as_str));
            let row = |row: Row<'_>| {
                let not_kept = row.get::<i64>(2).map(unsigned)?;
                Ok(NotKept { connection_id: row.get(0)?, account_id: row.get(1)?, not_kept })
            };
            db.all(rows, values![connections.is_empty(), named], row)
        })
    }

    /// The user of a connection.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if it cannot be read.
    pub fn user_of(&self, connection_id: &str) -> Result<Option<String>> {
        self.read("read the connection", |db| {
            let sql = "SELECT user_id FROM ts_connections WHERE connection_id = ?1";
            db.one(sql, values![connection_id], |row| row.get(0))
        })
    }
}

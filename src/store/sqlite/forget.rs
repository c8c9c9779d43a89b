//! Erasing one connection: everything that hangs on it goes in one transaction, and then its bytes in the
//! file and in the log beside it. Knows nothing of Tink, and asks nobody whether it may.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::codec::{self, Millis};
use super::own::{AuditRow, StandAloneSource, note};
use super::read;
use crate::domain::connection::TinkUser;
use crate::domain::ids::{LONGEST, shown};
use crate::failpoint;
use crate::store::Result;

/// The action of the audit log that says that a connection was forgotten; see [`crate::store::Run::audited`].
pub(super) const ACTION: &str = "connection.forgotten";

const ACCOUNTS: &str = "(SELECT key FROM ts_accounts WHERE connection = :key)";

/// What goes with a connection, in this order: the table, and which of its rows.
fn erased() -> [(&'static str, String); 17] {
    let of_account = format!("account IN {ACCOUNTS}");
    let of_transaction = format!("transaction_key IN (SELECT key FROM ts_transactions WHERE {of_account})");
    let of_connection = || "connection = :key".to_owned();
    [
        ("ts_raw", of_transaction),
        ("ts_transactions", of_account.clone()),
        ("ts_sums", of_account.clone()),
        ("ts_balances", of_account.clone()),
        ("ts_quarantine", of_account),
        ("ts_account_ids", of_connection()),
        ("ts_accounts", of_connection()),
        ("ts_consents", of_connection()),
        ("ts_anomalies", of_connection()),
        ("ts_former_users", of_connection()),
        ("ts_tokens", of_connection()),
        ("ts_events", of_connection()),
        ("ts_run_connections", of_connection()),
        ("ts_connections", "key = :key".to_owned()),
        ("ts_own_connections", "connection_id = :id".to_owned()),
        ("ts_links", "connection_id = :id".to_owned()),
        // A user without connections is of no use here.
        (
            "ts_own_users",
            "user_id = :user AND NOT EXISTS (SELECT 1 FROM ts_own_connections c WHERE c.user_id = :user)"
                .to_owned(),
        ),
    ]
}

/// What is kept of a connection before it is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Its user.
    pub user_id: String,
    /// How Tink knows the user.
    pub tink_user: Option<TinkUser>,
    /// Other connections of the same Tink user.
    pub same_tink_user: Vec<String>,
    /// Accounts.
    pub accounts: u64,
    /// Transactions, tombstones included.
    pub transactions: u64,
    /// Records in quarantine.
    pub quarantined: u64,
    /// Whether the user is on the list of stand-alone users and has no other connection there.
    pub user_goes: bool,
}

/// What became of the request to forget a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// So many rows of all kinds went.
    Now(u64),
    /// Nothing was here.
    Nothing,
}

/// What is kept of the connection; none if nothing is.
///
/// # Errors
/// As [`super::open_reader`].
pub fn held(path: &Path, id: &str) -> Result<Option<Held>> {
    read(path, "look at the connection", |db| held_in(db, id))
}

/// When a connection of this id was forgotten last, as far as the audit log reaches.
///
/// # Errors
/// As [`super::open_reader`].
pub fn forgotten_at(path: &Path, id: &str) -> Result<Option<jiff::Timestamp>> {
    read(path, "read the audit log", |db| {
        let sql = "SELECT max(at) FROM ts_audit WHERE action = ?1 AND connection_id = ?2";
        Ok(db.query_row(sql, [ACTION, id], |row| row.get::<_, Option<Millis>>(0))?.map(|at| at.0))
    })
}

fn held_in(db: &Connection, id: &str) -> rusqlite::Result<Option<Held>> {
    let known = "SELECT user_id, external_user_id, tink_user_id FROM ts_connections WHERE connection_id = ?1
                 UNION ALL
                 SELECT user_id, external_user_id, tink_user_id FROM ts_own_connections WHERE connection_id = ?1
                 UNION ALL
                 SELECT user_id, external_user_id, NULL FROM ts_links WHERE connection_id = ?1";
    let known = db.query_row(known, [id], |row| Ok((row.get::<_, String>(0)?, codec::tink_user(row)?)));
    let Some((user_id, tink_user)) = known.optional()? else { return Ok(None) };
    let count = |table: &str| -> rusqlite::Result<u64> {
        let sql = format!(
            "SELECT count(*) FROM ts_connections c JOIN ts_accounts a ON a.connection = c.key {table}
             WHERE c.connection_id = ?1"
        );
        db.query_row(&sql, [id], |row| row.get::<_, i64>(0)).map(super::codec::unsigned)
    };
    let user_goes = db.query_row(
        "SELECT EXISTS (SELECT 1 FROM ts_own_users WHERE user_id = ?1)
            AND NOT EXISTS (SELECT 1 FROM ts_own_connections WHERE user_id = ?1 AND connection_id <> ?2)",
        [&user_id, id],
        |row| row.get(0),
    )?;
    Ok(Some(Held {
        same_tink_user: tink_user.as_ref().map_or(Ok(Vec::new()), |user| others(db, id, user))?,
        tink_user,
        accounts: count("")?,
        transactions: count("JOIN ts_transactions t ON t.account = a.key")?,
        quarantined: count("JOIN ts_quarantine q ON q.account = a.key")?,
        user_goes,
        user_id,
    }))
}

/// Other connections of this Tink user.
fn others(db: &Connection, id: &str, user: &TinkUser) -> rusqlite::Result<Vec<String>> {
    let (external, tink) = codec::tink_user_columns(Some(user));
    let mut others = db.prepare(
        "SELECT connection_id FROM ts_connections WHERE connection_id <> ?1 AND (external_user_id = ?2 OR tink_user_id = ?3)
         UNION
         SELECT connection_id FROM ts_own_connections WHERE connection_id <> ?1 AND (external_user_id = ?2 OR tink_user_id = ?3)
         UNION
         SELECT connection_id FROM ts_links WHERE connection_id <> ?1 AND external_user_id = ?2
         ORDER BY 1",
    )?;
    others.query_map(params![id, external, tink], |row| row.get(0))?.collect()
}

impl StandAloneSource {
    /// Erases everything of a connection, all or nothing, and audits it. A run that is at work on it writes
    /// nothing more: its lease goes with the row. The audit log keeps its rows, which hold ids only.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written; then nothing is erased.
    pub fn forget(&mut self, id: &str, audit: &AuditRow<'_>) -> Result<Forgotten> {
        self.run("forget the connection", |db| {
            let Some(held) = held_in(db, id)? else { return Ok(Forgotten::Nothing) };
            never_again(db)?;
            let sql = "SELECT key FROM ts_connections WHERE connection_id = ?1";
            let key: Option<i64> = db.query_row(sql, [id], |row| row.get(0)).optional()?;
            let mut gone = 0;
            for (table, which) in erased() {
                let sql = format!("DELETE FROM {table} WHERE {which}");
                let all: [(&str, &dyn rusqlite::ToSql); 3] =
                    [(":key", &key), (":id", &id), (":user", &held.user_id)];
                let named: Vec<_> = all.into_iter().filter(|(name, _)| sql.contains(name)).collect();
                gone += db.execute(&sql, named.as_slice())? as u64;
            }
            let erased = format!("{} accounts, {} transactions", held.accounts, held.transactions);
            let details = audit.details.map_or_else(|| erased.clone(), |more| format!("{erased}; {more}"));
            // The log holds ids, but not megabytes of them.
            let (connection, user) = (audited(id), audited(&held.user_id));
            let row = AuditRow {
                connection_id: Some(&connection),
                user_id: Some(&user),
                details: Some(&details),
                ..*audit
            };
            note(db, &row)?;
            Ok(Forgotten::Now(gone))
        })
    }

    /// Overwrites what was erased: also copies of it that SQLite left in the free space of pages, and the log
    /// beside the file. Rewrites the whole file, so it takes as long as copying it twice, and as much
    /// room.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if there is no room, or if somebody else's reading stood in the way. It can
    /// be repeated.
    pub fn wipe(&mut self) -> Result<()> {
        let rewrite = "rewrite the store";
        self.db.retry_busy(rewrite, |conn| failpoint::around(rewrite, || conn.execute_batch("VACUUM")))?;
        let empty = "empty the log";
        self.db.retry_busy(empty, |conn| failpoint::around(empty, || truncate(conn)))
    }
}

/// An id as the audit log keeps it.
fn audited(id: &str) -> String {
    if id.len() > LONGEST { shown(id) } else { id.to_owned() }
}

fn truncate(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| match row.get(0)? {
        0 => Ok(()),
        _ => Err(codec::busy("somebody reads what was there before")),
    })
}

/// A key that was given once is never given again: a reader that kept an `account_key` must not find another
/// account under it, nor a run that is under way another connection.
fn never_again(db: &Connection) -> rusqlite::Result<()> {
    for table in ["ts_connections", "ts_accounts"] {
        db.execute(
            &format!(
                "INSERT INTO ts_sequences (name, value) SELECT '{table}', coalesce(max(key), 0) FROM {table} WHERE true
                 ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)"
            ),
            [],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

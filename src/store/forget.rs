//! Erases one connection: all its data in one transaction, then the bytes that remain in the file and in the
//! log beside it. Knows nothing of Tink, and does not check whether it may.

use super::Reader;
use super::engine::context::Conn;
use super::engine::sqlite::erase;
use super::engine::value::{Millis, tink_user_columns, unsigned};
use super::engine::{Db, Fail, named, values};
use super::writer::{AuditRow, Writer, note};
use crate::domain::connection::TinkUser;
use crate::domain::ids::{LONGEST, shown};
use crate::store::Result;

/// The action in the audit log for a forgotten connection; see [`crate::store::Run::audited`].
pub(super) const ACTION: &str = "connection.forgotten";

const ACCOUNTS: &str = "(SELECT key FROM ts_accounts WHERE connection = :key)";

/// What is erased with a connection, in this order: the table, and which of its rows.
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

/// The data that the store holds of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldData {
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

/// The outcome of forgetting a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// The number of rows of all kinds that were deleted.
    Now(u64),
    /// Nothing was stored.
    Nothing,
}

impl Reader {
    /// The data that the store holds of the connection; `None` if there is none.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn held(&self, id: &str) -> Result<Option<HeldData>> {
        self.read("look at the connection", |db| held_in(db, id))
    }

    /// When a connection with this id was last forgotten, as far back as the audit log reaches.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn forgotten_at(&self, id: &str) -> Result<Option<jiff::Timestamp>> {
        self.read("read the audit log", |db| {
            let sql = "SELECT max(at) FROM ts_audit WHERE action = ?1 AND connection_id = ?2";
            Ok(db.value::<Option<Millis>>(sql, values![ACTION, id])?.map(|at| at.0))
        })
    }
}

fn held_in(db: Db<'_>, id: &str) -> Result<Option<HeldData>, Fail> {
    let known = "SELECT user_id, external_user_id, tink_user_id FROM ts_connections WHERE connection_id = ?1
                 UNION ALL
                 SELECT user_id, external_user_id, tink_user_id FROM ts_own_connections WHERE connection_id = ?1
                 UNION ALL
                 SELECT user_id, external_user_id, NULL FROM ts_links WHERE connection_id = ?1";
    let known = db.one(known, values![id], |row| Ok((row.get::<String>(0)?, row.tink_user()?)))?;
    let Some((user_id, tink_user)) = known else { return Ok(None) };
    let count = |table: &str| -> Result<u64, Fail> {
        let sql = format!(
            "SELECT count(*) FROM ts_connections c JOIN ts_accounts a ON a.connection = c.key {table}
             WHERE c.connection_id = ?1"
        );
        db.value::<i64>(&sql, values![id]).map(unsigned)
    };
    let user_goes = db.value(
        "SELECT EXISTS (SELECT 1 FROM ts_own_users WHERE user_id = ?1)
            AND NOT EXISTS (SELECT 1 FROM ts_own_connections WHERE user_id = ?1 AND connection_id <> ?2)",
        values![&user_id, id],
    )?;
    Ok(Some(HeldData {
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
fn others(db: Db<'_>, id: &str, user: &TinkUser) -> Result<Vec<String>, Fail> {
    let (external, tink) = tink_user_columns(Some(user));
    let others = "SELECT connection_id FROM ts_connections WHERE connection_id <> ?1 AND (external_user_id = ?2 OR tink_user_id = ?3)
         UNION
         SELECT connection_id FROM ts_own_connections WHERE connection_id <> ?1 AND (external_user_id = ?2 OR tink_user_id = ?3)
         UNION
         SELECT connection_id FROM ts_links WHERE connection_id <> ?1 AND external_user_id = ?2
         ORDER BY 1";
    db.column(others, values![id, external, tink])
}

impl Writer {
    /// Erases everything of a connection, all or nothing, and audits it. A run that is at work on it writes
    /// nothing more: its lease is deleted with the row. The audit log keeps its rows, which hold only ids.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written; then nothing is erased.
    pub fn forget(&mut self, id: &str, audit: &AuditRow<'_>) -> Result<Forgotten> {
        self.run("forget the connection", |db| {
            lock(db, id)?;
            let Some(held) = held_in(db, id)? else { return Ok(Forgotten::Nothing) };
            never_again(db)?;
            let sql = "SELECT key FROM ts_connections WHERE connection_id = ?1";
            let key: Option<i64> = db.one(sql, values![id], |row| row.get(0))?;
            let mut gone = 0;
            for (table, which) in erased() {
                let sql = format!("DELETE FROM {table} WHERE {which}");
                gone += db.count(&sql, named! { ":key": key, ":id": id, ":user": held.user_id })?;
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

    /// Overwrites what was erased, including copies that SQLite left in the free space of pages and in the
    /// log beside the file. Rewrites the whole file, so it takes as long as copying it twice, and as much
    /// room. Does nothing on a server, where VACUUM runs by itself.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if there is no room, or if another reader stood in the way. It can be
    /// repeated.
    pub fn wipe(&mut self) -> Result<()> {
        match &mut self.session.conn {
            Conn::Sqlite(conn) => erase::wipe(conn, &self.session.context),
            Conn::Postgres(_) => Ok(()),
        }
    }
}

/// Locks the connection until the transaction ends, before anything is counted or erased. A run on another host
/// that is writing rows of it has ended then, and its next write finds no lease; a view that has just been read
/// elsewhere, and still lists it, is mirrored before or after this.
fn lock(db: Db<'_>, id: &str) -> Result<(), Fail> {
    if !db.is_shared() {
        return Ok(());
    }
    db.lock_view()?;
    db.run("SELECT key FROM ts_connections WHERE connection_id = ?1 FOR UPDATE", values![id])
}

/// An id as the audit log keeps it.
fn audited(id: &str) -> String {
    if id.len() > LONGEST { shown(id) } else { id.to_owned() }
}

/// Records the highest keys, so that none is used again: a reader that kept an `account_key` must not find
/// another account under it, nor a run that is under way another connection.
fn never_again(db: Db<'_>) -> Result<(), Fail> {
    for table in ["ts_connections", "ts_accounts"] {
        db.run(
            &format!(
                "INSERT INTO ts_sequences (name, value) SELECT '{table}', coalesce(max(key), 0) FROM {table} WHERE true
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE ts_sequences.value < excluded.value"
            ),
            values![],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! The stand-alone source: tables of users and connections, edited by `connections` and `users`. A pass never
//! reads them directly, but through the same view as an application's own.

use super::engine::{Db, Fail, Row, values};
use super::writer::{AuditRow, note};
use super::{Reader, Result, Writer, balances};

/// A connection of the stand-alone tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnConnection {
    /// Its id.
    pub connection_id: String,
    /// Its user.
    pub user_id: String,
    /// The id this app gave the Tink user.
    pub external_user_id: Option<String>,
    /// Tink's own id of the user.
    pub tink_user_id: Option<String>,
    /// Market, for links.
    pub market: Option<String>,
    /// Higher goes first.
    pub priority: i64,
}

/// A user of the stand-alone tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnUser {
    /// Its id.
    pub user_id: String,
    /// Whether bank sync is part of the plan.
    pub entitled: bool,
    /// Until when.
    pub entitled_until: Option<String>,
    /// How many connections the user has.
    pub connections: i64,
}

impl Writer {
    /// Adds connections, all or none, and their users, as entitled ones; returns the ids that exist already
    /// (then nothing was added). Writes the audit rows in the same transaction.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn add(&mut self, new: &[OwnConnection], audit: &[AuditRow<'_>]) -> Result<Vec<String>> {
        self.run("add connections", |db| {
            // Two commands that add the same one at once: the second finds it there.
            db.lock_ids(new.iter().map(|c| c.connection_id.as_str()))?;
            let exists = "SELECT 1 FROM ts_own_connections WHERE connection_id = ?1";
            let mut known = Vec::new();
            for c in new {
                if db.one(exists, values![&c.connection_id], |_| Ok(()))?.is_some() {
                    known.push(c.connection_id.clone());
                }
            }
            if known.is_empty() {
                new.iter().try_for_each(|c| insert(db, c))?;
                audit.iter().try_for_each(|row| note(db, row))?;
            }
            Ok(known)
        })
    }

    /// Enables or disables a connection, and audits it; `false` if no connection has this id.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn set_enabled(&mut self, connection_id: &str, enabled: bool, audit: &AuditRow<'_>) -> Result<bool> {
        self.run("change the connection", |db| {
            let changed = db.count(
                "UPDATE ts_own_connections SET enabled = ?2 WHERE connection_id = ?1",
                values![connection_id, enabled],
            )?;
            if changed > 0 {
                note(db, audit)?;
            }
            Ok(changed > 0)
        })
    }

    /// Accepts the open balance differences of a connection, and audits it if there are any; returns the
    /// number of accounts.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn accept_balances(&mut self, connection_id: &str, audit: &AuditRow<'_>) -> Result<u64> {
        self.run("accept balances", |db| {
            let accepted = balances::accept(db, connection_id, audit.at)?;
            if accepted > 0 {
                let details = format!("accounts: {accepted}");
                note(db, &AuditRow { details: Some(&details), ..*audit })?;
            }
            Ok(accepted)
        })
    }

    /// Accepts what a re-consent left open in the accounts of a connection, and audits it if anything may be
    /// open; returns the number of accounts. Rows stay as they are, and accounts that may be one stay
    /// separate.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn accept_unmatched(&mut self, connection_id: &str, audit: &AuditRow<'_>) -> Result<u64> {
        self.run("change the connection", |db| {
            let accepted = db.count(
                "UPDATE ts_accounts SET unmatched_from = NULL, separate = CASE WHEN separate = 0 THEN 1 ELSE abs(separate) END
                 WHERE connection = (SELECT key FROM ts_connections WHERE connection_id = ?1)
                   AND merged_into IS NULL AND (unmatched_from IS NOT NULL OR separate <= 0)
                   AND (SELECT last_reason FROM ts_connections WHERE connection_id = ?1)
                       IN ('reconsent_unmatched', 'reconsent_ambiguous')",
                values![connection_id],
            )?;
            if accepted > 0 {
                let details = format!("accounts: {accepted}");
                note(db, &AuditRow { details: Some(&details), ..*audit })?;
            }
            Ok(accepted)
        })
    }

    /// Sets a user's entitlement, creating the user if needed, and audits it.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn set_user(
        &mut self,
        user_id: &str,
        entitled: bool,
        until: Option<&str>,
        audit: &AuditRow<'_>,
    ) -> Result<()> {
        self.run("change the user", |db| {
            db.lock_ids(std::iter::once(user_id))?;
            let params = values![user_id, entitled, until];
            let update = "UPDATE ts_own_users SET entitled = ?2, entitled_until = ?3 WHERE user_id = ?1";
            if db.count(update, params)? == 0 {
                db.run(
                    "INSERT INTO ts_own_users (user_id, entitled, entitled_until) VALUES (?1, ?2, ?3)",
                    params,
                )?;
            }
            note(db, audit)
        })
    }
}

pub(super) fn insert(db: Db<'_>, c: &OwnConnection) -> Result<(), Fail> {
    db.run(
        "INSERT INTO ts_own_connections (connection_id, user_id, external_user_id, tink_user_id, market, priority)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        values![c.connection_id, c.user_id, c.external_user_id, c.tink_user_id, c.market, c.priority],
    )?;
    db.run("INSERT INTO ts_own_users (user_id) VALUES (?1) ON CONFLICT DO NOTHING", values![&c.user_id])?;
    Ok(())
}

impl Reader {
    /// The users of the stand-alone tables, by id.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if they cannot be read.
    pub fn users(&self) -> Result<Vec<OwnUser>> {
        let user = |row: Row<'_>| {
            Ok(OwnUser {
                user_id: row.get(0)?,
                entitled: row.get(1)?,
                entitled_until: row.get(2)?,
                connections: row.get(3)?,
            })
        };
        self.read("list users", |db| {
            let users = "SELECT user_id, entitled, entitled_until,
                    (SELECT count(*) FROM ts_own_connections c WHERE c.user_id = u.user_id)
                 FROM ts_own_users u ORDER BY user_id";
            db.all(users, values![], user)
        })
    }
}

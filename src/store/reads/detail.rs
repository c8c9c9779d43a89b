//! Reads what is kept about one connection beyond its own row. Leaves out everything that identifies the
//! owner: names, numbers, balances.

use jiff::Timestamp;

use crate::store::engine::value::Millis;
use crate::store::engine::{Db, Fail, Row, values};
use crate::store::{Reader, Result};

/// One consent of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownConsent {
    /// Its key at Tink.
    pub credentials_id: String,
    /// The bank.
    pub provider: Option<String>,
    /// Tink's status.
    pub status: String,
    /// Since when.
    pub status_updated_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Type of its last error.
    pub error_type: Option<String>,
    /// Reason of its last error.
    pub error_reason: Option<String>,
}

/// One account of a connection, without anything that identifies its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAccount {
    /// Tink's id.
    pub account_id: String,
    /// The type of account.
    pub kind: String,
    /// The date through which its history is complete.
    pub complete_through: Option<String>,
    /// When Tink last refreshed it.
    pub last_refreshed_at: Option<Timestamp>,
    /// Since when it is closed.
    pub closed_at: Option<Timestamp>,
}

/// How a run ended for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastAttempt {
    /// The run.
    pub run_id: String,
    /// What started it: `timer`, `manual` or `app`.
    pub trigger: String,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// How it ended; `None` while it runs.
    pub outcome: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// A sentence about it.
    pub error: Option<String>,
    /// Tink's id of the failed request.
    pub request_id: Option<String>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// Rows new in the store.
    pub added: i64,
    /// Rows changed or revived.
    pub updated: i64,
    /// Rows marked removed.
    pub removed: i64,
}

/// The data that is kept about one connection beyond its own row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Its consents.
    pub consents: Vec<KnownConsent>,
    /// Its accounts.
    pub accounts: Vec<KnownAccount>,
    /// Its last attempts, newest first.
    pub attempts: Vec<PastAttempt>,
    /// Its records in quarantine.
    pub quarantined: u32,
}

impl Reader {
    /// Everything about the connection with this key.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if it cannot be read.
    pub fn detail(&self, key: i64) -> Result<Detail> {
        self.read("read the connection", |db| {
            Ok(Detail {
                consents: consents(db, key)?,
                accounts: accounts(db, key)?,
                attempts: attempts(db, key)?,
                quarantined: db.value(
                    "SELECT count(*) FROM ts_quarantine q JOIN ts_accounts a ON a.key = q.account WHERE a.connection = ?1",
                    values![key],
                )?,
            })
        })
    }
}

fn consents(db: Db<'_>, key: i64) -> Result<Vec<KnownConsent>, Fail> {
    let rows =
        "SELECT * FROM ts_consents WHERE connection = ?1 ORDER BY provider NULLS FIRST, credentials_id";
    let consent = |row: Row<'_>| {
        Ok(KnownConsent {
            credentials_id: row.get("credentials_id")?,
            provider: row.get("provider")?,
            status: row.get("status")?,
            status_updated_at: row.time("status_updated")?,
            expires_at: row.time("expires_at")?,
            error_type: row.get("error_type")?,
            error_reason: row.get("error_reason")?,
        })
    };
    db.all(rows, values![key], consent)
}

fn accounts(db: Db<'_>, key: i64) -> Result<Vec<KnownAccount>, Fail> {
    let rows = "SELECT * FROM ts_accounts WHERE connection = ?1 ORDER BY key";
    let account = |row: Row<'_>| {
        Ok(KnownAccount {
            account_id: row.get("account_id")?,
            kind: row.get("type")?,
            complete_through: row.get("complete_through")?,
            last_refreshed_at: row.time("last_refreshed")?,
            closed_at: row.millis("closed_at")?,
        })
    };
    db.all(rows, values![key], account)
}

fn attempts(db: Db<'_>, key: i64) -> Result<Vec<PastAttempt>, Fail> {
    let rows = "SELECT x.*, r.run_id, r.trigger FROM ts_run_connections x JOIN ts_runs r ON r.key = x.run
         WHERE x.connection = ?1 ORDER BY x.started_at DESC LIMIT 5";
    let attempt = |row: Row<'_>| {
        Ok(PastAttempt {
            run_id: row.get("run_id")?,
            trigger: row.get("trigger")?,
            started_at: row.get::<Millis>("started_at")?.0,
            outcome: row.get("outcome")?,
            reason: row.get("reason")?,
            error: row.get("error")?,
            request_id: row.get("request_id")?,
            duration_ms: row.get("duration_ms")?,
            added: row.get("added")?,
            updated: row.get("updated")?,
            removed: row.get("removed")?,
        })
    };
    db.all(rows, values![key], attempt)
}

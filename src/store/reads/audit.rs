//! Reads the audit log, newest first. Shows nothing that is not in `audit_v1`.

use jiff::Timestamp;

use crate::store::engine::value::Millis;
use crate::store::engine::{Fail, Row, named, values};
use crate::store::{Reader, Result};

/// Which rows of the audit log; a field that is `None` does not narrow the selection.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Of this user.
    pub user_id: Option<String>,
    /// On this connection.
    pub connection_id: Option<String>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Of this kind.
    pub action: Option<String>,
    /// At most this many rows.
    pub limit: Option<u32>,
}

/// A row of the audit log, with the columns of `audit_v1`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Audited {
    /// When.
    pub at: String,
    /// Who.
    pub actor: Option<String>,
    /// From where.
    pub ip: Option<String>,
    /// What.
    pub action: String,
    /// On which connection.
    pub connection_id: Option<String>,
    /// Of which user.
    pub user_id: Option<String>,
    /// `ok` or why not.
    pub result: String,
    /// More.
    pub details: Option<String>,
    /// The run that it was done by or for, if any.
    pub run_id: Option<String>,
}

impl Reader {
    /// The rows that match, newest first.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if it cannot be read.
    pub fn audit(&self, query: &AuditQuery) -> Result<Vec<Audited>> {
        self.read("read the audit log", |db| {
            let rows =
                "SELECT at, actor, ip, action, connection_id, user_id, result, details FROM ts_audit
                 WHERE (user_id = :user OR :user IS NULL) AND (connection_id = :connection OR :connection IS NULL)
                   AND (action = :action OR :action IS NULL) AND at >= :since AND at < :until
                 ORDER BY at DESC, key DESC LIMIT :limit";
            db.all(
                rows,
                named! {
                    ":user": query.user_id, ":connection": query.connection_id, ":action": query.action,
                    ":since": Millis(query.since.unwrap_or(Timestamp::MIN)),
                    ":until": Millis(query.until.unwrap_or(Timestamp::MAX)),
                    ":limit": query.limit.map_or(i64::MAX, i64::from),
                },
                audited,
            )
        })
    }
}

/// As the view has it.
fn run_of(action: &str, details: Option<&str>) -> Option<String> {
    let run = match action {
        "sync.requested" | "token.refreshed" | "token.refresh_failed" => details,
        "connection.imported" => details.and_then(|details| details.split(", run ").nth(1)),
        _ => None,
    };
    run.map(str::to_owned)
}

fn audited(row: Row<'_>) -> Result<Audited, Fail> {
    let (action, details): (String, Option<String>) = (row.get("action")?, row.get("details")?);
    Ok(Audited {
        run_id: run_of(&action, details.as_deref()),
        at: row.get::<Millis>("at")?.0.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        actor: row.get("actor")?,
        ip: row.get("ip")?,
        action,
        connection_id: row.get("connection_id")?,
        user_id: row.get("user_id")?,
        result: row.get("result")?,
        details,
    })
}

impl Reader {
    /// Every action in the log, by name.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if it cannot be read.
    pub fn audited_actions(&self) -> Result<Vec<String>> {
        self.read("read the audit log", |db| {
            let rows = "SELECT DISTINCT action FROM ts_audit ORDER BY action";
            db.column(rows, values![])
        })
    }
}

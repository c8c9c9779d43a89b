//! Reading for people: what `status`, `why`, `check` and `connections` show. Opens the store read-only
//! for every question. Must not write, and does not decide who is due.

mod audit;
mod balances;
mod detail;
mod known;
mod quarantine;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::codec::{self, Millis};
use super::liveness;
use super::owners::{self, HAS_DATA};
use super::population::{self, LastView};
use super::{app, read, runs};
use crate::store::Result;
pub use audit::{AuditQuery, Audited, audit, audited_actions};
pub use balances::{AccountReconciliation, balance_differences, balance_proofs};
pub use detail::{Detail, KnownAccount, KnownConsent, PastAttempt, detail};
pub use known::{Holder, KnownConnection, Overlaid, State};
pub use quarantine::{NotKept, Quarantined, not_kept, quarantine, user_of};

/// Every mirrored connection, by id. Whoever is held by a run that died is free.
///
/// # Errors
/// As [`super::open_reader`].
pub fn connections(path: &Path) -> Result<Vec<KnownConnection>> {
    read(path, "read the connections", |db| known_connections(db, path))
}

/// The same, also as a rehearsal has them; what hangs on them is that of the file.
pub(super) fn known_connections(db: &Connection, path: &Path) -> rusqlite::Result<Vec<KnownConnection>> {
    let mut rows = db.prepare(&format!(
        "SELECT c.*, (SELECT run_id FROM ts_runs r WHERE r.key = c.lease_run) AS lease_run_id,
                (SELECT min(expires_at) FROM main.ts_consents s WHERE s.connection = c.key) AS consent_ends,
                EXISTS (SELECT 1 FROM main.ts_consents s WHERE s.connection = c.key AND s.status = 'SESSION_EXPIRED')
                    AS consent_expired,
                {HAS_DATA} AS has_data
         FROM ts_connections c ORDER BY connection_id"
    ))?;
    let mut dead = HashMap::new();
    let mut former = owners::former(db)?;
    let connections = rows.query_map([], known_connection)?;
    let freed = connections.map(|connection| {
        let connection = connection?;
        let held = connection.holder.as_ref().is_some_and(|holder| {
            !*dead.entry(holder.run_id.clone()).or_insert_with(|| has_died(path, &holder.run_id))
        });
        let former = connection.key.and_then(|key| former.remove(&key)).unwrap_or_default();
        Ok(KnownConnection { holder: connection.holder.filter(|_| held), former, ..connection })
    });
    freed.collect()
}

/// The source view as it was read last; `None` if it never was.
///
/// # Errors
/// As [`super::open_reader`].
pub fn last_view(path: &Path) -> Result<Option<LastView>> {
    read(path, "read what is remembered of the source view", population::last)
}

/// The client id of the Tink app whose data are here; `None` if none is remembered yet.
///
/// # Errors
/// As [`super::open_reader`].
pub fn app(path: &Path) -> Result<Option<String>> {
    read(path, "read the app", app::remembered)
}

/// Whether the process of a run is gone, so that its leases hold nobody up.
fn has_died(path: &Path, run_id: &str) -> bool {
    // Its lock lies beside the file under its canonical name.
    liveness::has_died(&path.canonicalize().unwrap_or_else(|_| path.to_owned()), run_id)
}

fn known_connection(row: &Row<'_>) -> rusqlite::Result<KnownConnection> {
    let holder = match (row.get("lease_run_id")?, codec::millis(row, "lease_until")?) {
        (Some(run_id), Some(until)) => Some(Holder { run_id, until }),
        _ => None,
    };
    Ok(KnownConnection {
        key: row.get("key")?,
        connection_id: row.get("connection_id")?,
        user_id: row.get("user_id")?,
        tink_user: codec::tink_user(row)?,
        mode: row.get("mode")?,
        enabled: row.get("enabled")?,
        entitled: row.get("entitled")?,
        entitled_until: codec::millis(row, "entitled_until")?,
        problem: row.get("problem")?,
        refused: row.get("refused")?,
        refused_user: row.get("refused_user")?,
        moved: owners::moved(row)?,
        former: Vec::new(),
        has_data: row.get("has_data")?,
        gone_at: codec::millis(row, "gone_at")?,
        lapsed_at: codec::millis(row, "lapsed_at")?,
        last_attempt_at: codec::millis(row, "last_attempt_at")?,
        last_success_at: codec::millis(row, "last_success_at")?,
        data_as_of: codec::time(row, "data_as_of")?,
        last_success_began: codec::millis(row, "last_success_began")?,
        next_due: codec::millis(row, "next_due")?,
        not_before: codec::millis(row, "not_before")?,
        failures: row.get("failures")?,
        last_outcome: row.get("last_outcome")?,
        last_reason: row.get("last_reason")?,
        last_error: row.get("last_error")?,
        needs_user: row.get("needs_user")?,
        holder,
        consent_ends: codec::time(row, "consent_ends")?,
        consent_expired: row.get("consent_expired")?,
        skipped: None,
    })
}

/// A run, with the columns of `runs_v1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RunRow {
    /// Its id.
    pub run_id: String,
    /// `timer`, `manual` or `app`.
    pub trigger: String,
    /// The machine.
    pub host: String,
    /// The program's version.
    pub version: String,
    /// When it began.
    pub started_at: String,
    /// When it ended; none while it runs.
    pub finished_at: Option<String>,
    /// How it ended; none while it runs, or if it died.
    pub exit_code: Option<u8>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// Whether it is at work: it has not ended, and its process lives.
    #[serde(skip)]
    pub at_work: bool,
    /// The totals; none where the run wrote none.
    #[serde(flatten)]
    pub totals: BTreeMap<String, Option<i64>>,
}

impl RunRow {
    /// One of the totals.
    pub fn total(&self, name: &str) -> Option<i64> {
        self.totals.get(name).copied().flatten()
    }
}

/// The last runs, newest first.
///
/// # Errors
/// As [`super::open_reader`].
pub fn runs(path: &Path, limit: u32) -> Result<Vec<RunRow>> {
    read(path, "read the runs", |db| {
        let mut rows = db.prepare(
            "SELECT v.* FROM (SELECT run_id, started_at FROM ts_runs ORDER BY started_at DESC LIMIT ?1) r
             JOIN runs_v1 v ON v.run_id = r.run_id ORDER BY r.started_at DESC",
        )?;
        let at_work = |run: &RunRow| run.finished_at.is_none() && !has_died(path, &run.run_id);
        let rows = rows.query_map([limit], run_row)?;
        rows.map(|run| run.map(|run| RunRow { at_work: at_work(&run), ..run })).collect()
    })
}

/// When the last passes began, newest first. A run on demand is no pass.
///
/// # Errors
/// As [`super::open_reader`].
pub fn passes(path: &Path, limit: u32) -> Result<Vec<Timestamp>> {
    read(path, "read the passes", |db| {
        let mut rows = db.prepare(
            "SELECT started_at FROM ts_runs WHERE on_demand = 0 ORDER BY started_at DESC LIMIT ?1",
        )?;
        rows.query_map([limit], |row| Ok(row.get::<_, Millis>(0)?.0))?.collect()
    })
}

/// The last run that came to its end.
///
/// # Errors
/// As [`super::open_reader`].
pub fn last_finished_run(path: &Path) -> Result<Option<RunRow>> {
    read(path, "read the last run", |db| {
        let sql = "SELECT * FROM runs_v1 WHERE run_id = (
                       SELECT run_id FROM ts_runs WHERE exit_code IS NOT NULL ORDER BY finished_at DESC LIMIT 1)";
        db.query_row(sql, [], run_row).optional()
    })
}

/// The end of the last run that did all it could.
///
/// # Errors
/// As [`super::open_reader`].
pub fn last_good_end(path: &Path) -> Result<Option<Timestamp>> {
    read(path, "read the last run", |db| {
        // In these words, by which the index of such runs is found.
        let sql = "SELECT max(finished_at) FROM ts_runs WHERE exit_code IN (0, 11)";
        Ok(db.query_row(sql, [], |row| row.get::<_, Option<Millis>>(0))?.map(|end| end.0))
    })
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let mut run = RunRow {
        run_id: row.get("run_id")?,
        trigger: row.get("trigger")?,
        host: row.get("host")?,
        version: row.get("version")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
        exit_code: row.get("exit_code")?,
        duration_ms: row.get("duration_ms")?,
        at_work: false,
        totals: BTreeMap::new(),
    };
    let columns = row.as_ref();
    let own = columns.column_index("duration_ms")?;
    for (index, name) in columns.column_names().enumerate().skip(own + 1) {
        let number = match row.get_ref(index)? {
            ValueRef::Integer(number) => Some(number),
            _ => None,
        };
        run.totals.insert(name.to_owned(), number);
    }
    Ok(run)
}

/// The ends of all dated consents of connections that are neither disabled nor paused.
///
/// # Errors
/// As [`super::open_reader`].
pub fn consent_ends(path: &Path) -> Result<Vec<Timestamp>> {
    read(path, "read the consents", |db| {
        let mut rows = db.prepare(
            "SELECT s.expires_at FROM ts_consents s JOIN ts_connections c ON c.key = s.connection
             WHERE c.enabled <> 0 AND c.entitled <> 0 AND s.expires_at IS NOT NULL",
        )?;
        rows.query_map([], |row| Ok(row.get::<_, codec::TimeColumn>(0)?.0))?.collect()
    })
}

/// A larger file takes too long to be looked through.
const LARGEST_LOOKED_THROUGH: u64 = 256 << 20;

/// What SQLite finds damaged in the file, in its words; none if it is sound, or too large to be looked through.
///
/// # Errors
/// As [`super::open_reader`].
pub fn damage(path: &Path) -> Result<Option<String>> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() > LARGEST_LOOKED_THROUGH) {
        return Ok(None);
    }
    read(path, "look for damage", |db| {
        let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok(Some(found).filter(|found| found != "ok"))
    })
}

/// Attempts that count against a user's quota.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// How many.
    pub attempts: u32,
    /// When the oldest of them began.
    pub oldest: Option<Timestamp>,
}

/// The attempts on all connections of this user since then.
///
/// # Errors
/// As [`super::open_reader`].
pub fn used(path: &Path, user_id: &str, since: Timestamp) -> Result<Used> {
    read(path, "read the quota", |db| {
        let sql = "SELECT coalesce(sum(attempts), 0), min(started_at) FROM ts_run_connections
                   WHERE user_id = ?1 AND started_at > ?2 AND reason IS NOT 'source_row'";
        db.query_row(sql, params![user_id, Millis(since)], |row| {
            Ok(Used { attempts: row.get(0)?, oldest: row.get::<_, Option<Millis>>(1)?.map(|at| at.0) })
        })
    })
}

/// As [`used`], for every user who had an attempt.
///
/// # Errors
/// As [`super::open_reader`].
pub fn used_by_user(path: &Path, since: Timestamp) -> Result<HashMap<String, Used>> {
    read(path, "read the quotas", |db| {
        let mut rows = db.prepare(&format!(
            "SELECT x.user_id, sum(x.attempts), min(x.started_at) FROM ts_run_connections x
             WHERE x.run IN ({}) AND x.started_at > ?1 AND x.reason IS NOT 'source_row' GROUP BY x.user_id",
            runs::RECENT
        ))?;
        let used = |row: &Row<'_>| {
            let oldest = row.get::<_, Option<Millis>>(2)?.map(|at| at.0);
            Ok((row.get(0)?, Used { attempts: row.get(1)?, oldest }))
        };
        rows.query_map([Millis(since)], used)?.collect()
    })
}

/// The audit log as `action connection user details`, for the tests of those who write it.
#[cfg(test)]
pub(crate) fn audited(path: &Path) -> Vec<String> {
    let sql = "SELECT action || ' ' || coalesce(connection_id, '-') || ' ' || coalesce(user_id, '-')
                      || coalesce(' ' || details, '') FROM ts_audit ORDER BY key";
    let rows = |db: &rusqlite::Connection| db.prepare(sql)?.query_map([], |row| row.get(0))?.collect();
    read(path, "read the audit log", rows).unwrap()
}

#[cfg(test)]
mod tests;

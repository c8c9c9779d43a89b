//! What is past its retention: run history, rows of the audit log, original JSON. Deleted in small steps, so
//! that a pass beside it never waits long. What a command or the next pass still needs stays, however old.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::codec::Millis;
use super::own::OwnTables;
use super::{SqliteStore, read, runs};
use crate::store::Result;

/// At most so many rows of a kind go in one step.
const STEP: u32 = 500;
/// Runs at a time.
const RUNS: u32 = 20;

/// Runs that may go: ended before `?1`, and none of the last ten, the last that came to its end, the last that
/// ended well (metrics), the newest key (keys are not given twice) or one that still asks for a token.
const OLD_RUNS: &str = "FROM ts_runs WHERE started_at < ?1 AND finished_at IS NOT NULL
    AND key < (SELECT max(key) FROM ts_runs)
    AND key NOT IN (SELECT key FROM ts_runs ORDER BY started_at DESC LIMIT 10)
    AND key NOT IN (SELECT key FROM ts_runs WHERE exit_code IS NOT NULL ORDER BY finished_at DESC LIMIT 1)
    AND key NOT IN (SELECT key FROM ts_runs WHERE exit_code IN (0, 11) ORDER BY finished_at DESC LIMIT 1)
    AND key NOT IN (SELECT asked_run FROM ts_tokens WHERE asked_run IS NOT NULL)";

/// Rows of the audit log that may go. While a run is under way the newest stays: a run tells by its key what
/// was forgotten since it began.
const OLD_ACTS: &str = "FROM ts_audit WHERE at < ?1
    AND (key < (SELECT max(key) FROM ts_audit) OR NOT EXISTS (SELECT 1 FROM ts_runs WHERE finished_at IS NULL))";

const OLD_RAW: &str = "FROM ts_raw WHERE stored_at < ?1";

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Runs that began, and acts that happened, before this time go.
    pub history: Timestamp,
    /// Original JSON stored before this time goes.
    pub raw: Timestamp,
}

/// What went, or would go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// What they did for each connection.
    pub run_connections: u64,
    /// Rows of the audit log.
    pub audit: u64,
    /// Original JSON of transactions.
    pub raw: u64,
}

impl std::ops::AddAssign for Pruned {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.run_connections += other.run_connections;
        self.audit += other.audit;
        self.raw += other.raw;
    }
}

/// What would go.
///
/// # Errors
/// As [`super::open_reader`].
pub fn prunable(path: &Path, retention: &Retention) -> Result<Pruned> {
    read(path, "look for what is old", |db| {
        let count = |what: &str, before: Timestamp| {
            let sql = format!("SELECT count(*) {what}");
            db.query_row(&sql, [Millis(before)], |row| row.get(0)).map(runs::unsigned)
        };
        let of_runs = format!("FROM ts_run_connections WHERE run IN (SELECT key {OLD_RUNS})");
        Ok(Pruned {
            runs: count(OLD_RUNS, retention.history)?,
            run_connections: count(&of_runs, retention.history)?,
            audit: count(OLD_ACTS, retention.history)?,
            raw: count(OLD_RAW, retention.raw)?,
        })
    })
}

impl OwnTables {
    /// One step; nothing is left once it did nothing.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn prune(&mut self, retention: &Retention) -> Result<Pruned> {
        self.run("prune", |db| step(db, retention))
    }
}

impl SqliteStore {
    /// As [`OwnTables::prune`], between the writes of a pass.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub async fn prune(&self, retention: Retention) -> Result<Pruned> {
        self.worker.write("prune", move |tx, _| Ok(step(tx, &retention)?)).await
    }
}

fn step(db: &Connection, retention: &Retention) -> rusqlite::Result<Pruned> {
    let mut pruned = old_runs(db, retention.history)?;
    let acts = format!("DELETE FROM ts_audit WHERE key IN (SELECT key {OLD_ACTS} ORDER BY at LIMIT ?2)");
    pruned.audit = db.execute(&acts, params![Millis(retention.history), STEP])? as u64;
    let raw = format!(
        "DELETE FROM ts_raw WHERE transaction_key IN (SELECT transaction_key {OLD_RAW} ORDER BY stored_at LIMIT ?2)"
    );
    pruned.raw = db.execute(&raw, params![Millis(retention.raw), STEP])? as u64;
    Ok(pruned)
}

fn old_runs(db: &Connection, before: Timestamp) -> rusqlite::Result<Pruned> {
    let mut old = db.prepare(&format!("SELECT key {OLD_RUNS} ORDER BY key LIMIT ?2"))?;
    let old: Vec<i64> =
        old.query_map(params![Millis(before), RUNS], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut pruned = Pruned::default();
    let mut left = u64::from(STEP);
    for run in old {
        let gone = db.execute(
            "DELETE FROM ts_run_connections WHERE run = ?1 AND connection IN (
                 SELECT connection FROM ts_run_connections WHERE run = ?1 LIMIT ?2)",
            params![run, left.cast_signed()],
        )?;
        pruned.run_connections += gone as u64;
        left = left.saturating_sub(gone as u64);
        if left == 0 {
            break;
        }
        pruned.runs += db.execute("DELETE FROM ts_runs WHERE key = ?1", [run])? as u64;
    }
    Ok(pruned)
}

#[cfg(test)]
mod tests;

//! What is past its retention: run history, rows of the audit log, original JSON, tombstones. Deleted in small steps,
//! so that a pass beside it never waits long. What a command or the next pass still needs stays, however old; what an
//! export shows stays, too.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::codec;
use super::codec::Millis;
use super::own::StandAloneSource;
use super::{SqliteStore, read};
use crate::store::Result;

/// At most so many rows of a kind go in one step.
const STEP: u32 = 500;
/// Runs at a time.
const RUNS: u32 = 250;
/// So many of the last runs of a kind stay, however old.
const LAST: u32 = 10;

/// Runs of a kind, `?1`, that may go: begun before `?2`, ended, and none of `?3`. By an index, oldest first.
const OLD_RUNS: &str = "FROM ts_runs WHERE on_demand = ?1 AND started_at < ?2 AND finished_at IS NOT NULL
    AND key NOT IN (SELECT value FROM json_each(?3))";

/// Runs that stay, however old: the newest key (keys are not given twice), the last passes and the last runs on demand,
/// the last that came to its end and the last that ended well (metrics), and those that still ask for a token. Each is
/// looked up, so that it costs the same however many runs there are.
const KEPT: &str = "SELECT json_group_array(key) FROM (
    SELECT max(key) AS key FROM ts_runs
    UNION ALL SELECT key FROM (SELECT key FROM ts_runs WHERE on_demand = 0 ORDER BY started_at DESC LIMIT ?1)
    UNION ALL SELECT key FROM (SELECT key FROM ts_runs WHERE on_demand = 1 ORDER BY started_at DESC LIMIT ?1)
    UNION ALL SELECT key FROM (SELECT key FROM ts_runs WHERE exit_code IS NOT NULL ORDER BY finished_at DESC LIMIT 1)
    UNION ALL SELECT key FROM (SELECT key FROM ts_runs WHERE exit_code IN (0, 11) ORDER BY finished_at DESC LIMIT 1)
    UNION ALL SELECT asked_run FROM ts_tokens WHERE state = 'asked')";

/// Rows of the audit log that may go. While a run is under way the newest stays: a run tells by its key what
/// was forgotten since it began.
const OLD_ACTS: &str = "FROM ts_audit WHERE at < ?1
    AND (key < (SELECT max(key) FROM ts_audit) OR NOT EXISTS (SELECT 1 FROM ts_runs WHERE finished_at IS NULL))";

const OLD_RAW: &str = "FROM ts_raw WHERE stored_at < ?1";

/// Tombstones that may go; not while a run may hold the row.
const OLD_REMOVED: &str = "FROM ts_transactions t WHERE removed_at < ?1
    AND NOT EXISTS (SELECT 1 FROM ts_accounts a JOIN ts_connections c ON c.key = a.connection
                    WHERE a.key = t.account AND c.lease_token IS NOT NULL)";

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Passes that began, and acts that happened, before this time go.
    pub history: Timestamp,
    /// Runs on demand that began before this time go.
    pub on_demand: Timestamp,
    /// Original JSON stored before this time goes.
    pub raw: Timestamp,
    /// Transactions that were removed before this time go.
    pub removed: Timestamp,
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
    /// Transactions that were removed, with their original JSON.
    pub removed: u64,
}

impl std::ops::AddAssign for Pruned {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.run_connections += other.run_connections;
        self.audit += other.audit;
        self.raw += other.raw;
        self.removed += other.removed;
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
            db.query_row(&sql, [Millis(before)], |row| row.get(0)).map(codec::unsigned)
        };
        let mut pruned = Pruned {
            audit: count(OLD_ACTS, retention.history)?,
            raw: count(OLD_RAW, retention.raw)?,
            removed: count(OLD_REMOVED, retention.removed)?,
            ..Pruned::default()
        };
        let kept = kept(db)?;
        let of_runs = format!("FROM ts_run_connections WHERE run IN (SELECT key {OLD_RUNS})");
        for (on_demand, before) in retention.runs() {
            let count = |what: &str| {
                let sql = format!("SELECT count(*) {what}");
                db.query_row(&sql, params![on_demand, Millis(before), kept], |row| row.get(0))
                    .map(codec::unsigned)
            };
            pruned.runs += count(OLD_RUNS)?;
            pruned.run_connections += count(&of_runs)?;
        }
        Ok(pruned)
    })
}

impl Retention {
    /// Whether a run is on demand, and before which time such runs go.
    fn runs(&self) -> [(bool, Timestamp); 2] {
        [(false, self.history), (true, self.on_demand)]
    }
}

fn kept(db: &Connection) -> rusqlite::Result<String> {
    db.prepare_cached(KEPT)?.query_row([LAST], |row| row.get(0))
}

impl StandAloneSource {
    /// One step; nothing is left once it did nothing.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn prune(&mut self, retention: &Retention) -> Result<Pruned> {
        self.run("prune", |db| step(db, retention))
    }
}

impl SqliteStore {
    /// As [`StandAloneSource::prune`], between the writes of a pass.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub async fn prune(&self, retention: Retention) -> Result<Pruned> {
        self.worker.write("prune", move |tx, _| Ok(step(tx, &retention)?)).await
    }
}

pub(super) fn step(db: &Connection, retention: &Retention) -> rusqlite::Result<Pruned> {
    let mut pruned = old_runs(db, retention)?;
    let acts = format!("DELETE FROM ts_audit WHERE key IN (SELECT key {OLD_ACTS} ORDER BY at LIMIT ?2)");
    pruned.audit = db.execute(&acts, params![Millis(retention.history), STEP])? as u64;
    let raw = format!(
        "DELETE FROM ts_raw WHERE transaction_key IN (SELECT transaction_key {OLD_RAW} ORDER BY stored_at LIMIT ?2)"
    );
    pruned.raw = db.execute(&raw, params![Millis(retention.raw), STEP])? as u64;
    pruned.removed = old_tombstones(db, retention.removed)?;
    Ok(pruned)
}

/// Deletes tombstones, and notes up to which number the feed is not whole any more.
fn old_tombstones(db: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    let mut old =
        db.prepare_cached(&format!("SELECT key, change_seq {OLD_REMOVED} ORDER BY removed_at LIMIT ?2"))?;
    let old = old.query_map(params![Millis(before), STEP], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let old: Vec<(i64, i64)> = old.collect::<rusqlite::Result<_>>()?;
    for (key, _) in &old {
        db.prepare_cached("DELETE FROM ts_raw WHERE transaction_key = ?1")?.execute([key])?;
        db.prepare_cached("DELETE FROM ts_transactions WHERE key = ?1")?.execute([key])?;
    }
    if let Some(newest) = old.iter().map(|(_, seq)| seq).max() {
        db.prepare_cached("UPDATE ts_sequences SET value = max(value, ?1) WHERE name = 'pruned'")?
            .execute([newest])?;
    }
    Ok(old.len() as u64)
}

fn old_runs(db: &Connection, retention: &Retention) -> rusqlite::Result<Pruned> {
    let kept = kept(db)?;
    let mut pruned = Pruned::default();
    let mut left = u64::from(STEP);
    for (on_demand, before) in retention.runs() {
        let mut old = db.prepare_cached(&format!("SELECT key {OLD_RUNS} ORDER BY started_at LIMIT ?4"))?;
        let old = old.query_map(params![on_demand, Millis(before), kept, RUNS], |row| row.get(0))?;
        for run in old.collect::<rusqlite::Result<Vec<i64>>>()? {
            if left == 0 {
                return Ok(pruned);
            }
            let gone = forget_outcomes(db, run, left)?;
            pruned.run_connections += gone;
            left -= gone;
            if left > 0 {
                db.prepare_cached(
                    "INSERT OR IGNORE INTO ts_pruned_runs (key, run_id, started_at)
                     SELECT key, run_id, started_at FROM ts_runs WHERE key = ?1 AND named",
                )?
                .execute([run])?;
                pruned.runs +=
                    db.prepare_cached("DELETE FROM ts_runs WHERE key = ?1")?.execute([run])? as u64;
                left -= 1;
            }
        }
    }
    Ok(pruned)
}

/// Deletes what a run did for at most so many connections.
fn forget_outcomes(db: &Connection, run: i64, most: u64) -> rusqlite::Result<u64> {
    let mut some = db.prepare_cached(
        "DELETE FROM ts_run_connections WHERE run = ?1 AND connection IN (
             SELECT connection FROM ts_run_connections WHERE run = ?1 LIMIT ?2)",
    )?;
    Ok(some.execute(params![run, most.cast_signed()])? as u64)
}

#[cfg(test)]
mod tests;

//! Deletes what is past its retention: run history, rows of the audit log, original JSON, tombstones. Works
//! in small steps, so that a concurrent pass never waits long. Keeps, regardless of age, what a command or
//! the next pass still needs and what an export shows.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::engine::value::{Millis, json_numbers, unsigned};
use super::engine::{Db, Fail, values};
use super::runs::pass_that_ended_last;
use super::{Reader, Store, Writer};
use crate::store::Result;

/// The most rows of a kind that one step deletes.
const STEP: u32 = 500;
/// The most runs of a kind that one step deletes.
const RUNS: u32 = 250;
/// The number of latest runs of a kind that stay, regardless of age.
const LAST: u32 = 10;

/// Runs of a kind, `?1`, that may be deleted: begun before `?2`, ended, and not in `?3`. By an index, oldest
/// first.
const OLD_RUNS: &str = "FROM ts_runs WHERE on_demand = ?1 AND started_at < ?2 AND finished_at IS NOT NULL
    AND key NOT IN (SELECT CAST(value AS BIGINT) FROM json_each(?3))";

/// Rows of the audit log that may be deleted. While a run is under way the newest stays: its key shows the
/// run what was forgotten since it began.
const OLD_ACTS: &str = "FROM ts_audit WHERE at < ?1
    AND (key < (SELECT max(key) FROM ts_audit) OR NOT EXISTS (SELECT 1 FROM ts_runs WHERE finished_at IS NULL))";

const OLD_RAW: &str = "FROM ts_raw WHERE stored_at < ?1";

/// Tombstones that may be deleted; not while a run may hold the row.
const OLD_REMOVED: &str = "FROM ts_transactions AS t WHERE removed_at < ?1
    AND NOT EXISTS (SELECT 1 FROM ts_accounts a JOIN ts_connections c ON c.key = a.connection
                    WHERE a.key = t.account AND c.lease_token IS NOT NULL)";

/// The retention limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Passes that began, and audit rows that were written, before this time are deleted.
    pub history: Timestamp,
    /// Runs on demand that began before this time are deleted.
    pub on_demand: Timestamp,
    /// Original JSON stored before this time is deleted.
    pub raw: Timestamp,
    /// Transactions that were removed before this time are deleted.
    pub removed: Timestamp,
}

/// What was deleted, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Their records for each connection.
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

impl Reader {
    /// What would be deleted.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn prunable(&self, retention: &Retention) -> Result<Pruned> {
        self.read("look for what is old", |db| {
            let count = |what: &str, before: Timestamp| {
                let sql = format!("SELECT count(*) {what}");
                db.value(&sql, values![Millis(before)]).map(unsigned)
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
                    db.value(&sql, values![on_demand, Millis(before), kept]).map(unsigned)
                };
                pruned.runs += count(OLD_RUNS)?;
                pruned.run_connections += count(&of_runs)?;
            }
            Ok(pruned)
        })
    }
}

impl Retention {
    /// Whether runs are on demand, and before which time such runs are deleted.
    fn runs(&self) -> [(bool, Timestamp); 2] {
        [(false, self.history), (true, self.on_demand)]
    }
}

/// Runs that stay, regardless of age: the newest key (keys are not used twice), the last passes and the last
/// runs on demand, the last pass that finished and the last that succeeded (for the metrics), and those with a
/// pending token request. Each is looked up, so that the cost does not depend on the number of runs.
fn kept(db: Db<'_>) -> Result<String, Fail> {
    let [ended, ended_well] = ["IS NOT NULL", "IN (0, 11)"].map(|code| pass_that_ended_last("key", code));
    let keys = format!(
        "SELECT json_group_array(key) FROM (
             SELECT max(key) AS key FROM ts_runs
             UNION ALL SELECT key FROM (SELECT key FROM ts_runs WHERE on_demand = 0 ORDER BY started_at DESC LIMIT ?1) p
             UNION ALL SELECT key FROM (SELECT key FROM ts_runs WHERE on_demand = 1 ORDER BY started_at DESC LIMIT ?1) d
             UNION ALL SELECT key FROM ({ended}) e
             UNION ALL SELECT key FROM ({ended_well}) g
             UNION ALL SELECT asked_run FROM ts_tokens WHERE state = 'asked') k"
    );
    db.value(&keys, values![LAST])
}

impl Writer {
    /// Performs one step. If a step deletes nothing, nothing is left to delete.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn prune(&mut self, retention: &Retention) -> Result<Pruned> {
        self.run("prune", |db| step(db, retention))
    }
}

impl Store {
    /// As [`Writer::prune`], between the writes of a pass.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub async fn prune(&self, retention: Retention) -> Result<Pruned> {
        self.worker.write("prune", move |tx, _| step(tx, &retention)).await
    }
}

pub(super) fn step(db: Db<'_>, retention: &Retention) -> Result<Pruned, Fail> {
    let mut pruned = old_runs(db, retention)?;
    let acts = format!("DELETE FROM ts_audit WHERE key IN (SELECT key {OLD_ACTS} ORDER BY at LIMIT ?2)");
    pruned.audit = db.count(&acts, values![Millis(retention.history), STEP])?;
    let raw = format!(
        "DELETE FROM ts_raw WHERE transaction_key IN (SELECT transaction_key {OLD_RAW} ORDER BY stored_at LIMIT ?2)"
    );
    pruned.raw = db.count(&raw, values![Millis(retention.raw), STEP])?;
    pruned.removed = old_tombstones(db, retention.removed)?;
    Ok(pruned)
}

/// Deletes tombstones, and records up to which change number the feed is no longer complete.
fn old_tombstones(db: Db<'_>, before: Timestamp) -> Result<u64, Fail> {
    let old = format!(
        "SELECT key, (SELECT connection FROM ts_accounts a WHERE a.key = t.account) {OLD_REMOVED} ORDER BY removed_at LIMIT ?2"
    );
    let old: Vec<(i64, Option<i64>)> =
        db.all(&old, values![Millis(before), STEP], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // On another host a run may have claimed the connection since, and have seen or revived the row: only what is
    // still old and held by nobody is deleted, and nobody can claim what is locked here.
    let connections: BTreeSet<i64> = old.iter().filter_map(|(_, connection)| *connection).collect();
    let locked: BTreeSet<i64> = db.lock_connections(connections.into_iter())?;
    let free = old.iter().filter(|(_, connection)| connection.is_none_or(|key| locked.contains(&key)));
    let delete = format!(
        "DELETE {OLD_REMOVED} AND key IN (SELECT CAST(value AS BIGINT) FROM json_each(?2)) RETURNING key, change_seq"
    );
    let keys = json_numbers(free.map(|(key, _)| *key));
    let old: Vec<(i64, i64)> =
        db.all(&delete, values![Millis(before), keys], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (key, _) in &old {
        db.run("DELETE FROM ts_raw WHERE transaction_key = ?1", values![key])?;
    }
    if let Some(newest) = old.iter().map(|(_, seq)| seq).max() {
        db.run("UPDATE ts_sequences SET value = ?1 WHERE name = 'pruned' AND value < ?1", values![newest])?;
    }
    Ok(old.len() as u64)
}

fn old_runs(db: Db<'_>, retention: &Retention) -> Result<Pruned, Fail> {
    let kept = kept(db)?;
    let mut pruned = Pruned::default();
    let mut left = u64::from(STEP);
    for (on_demand, before) in retention.runs() {
        let old = format!("SELECT key {OLD_RUNS} ORDER BY started_at LIMIT ?4");
        let old: Vec<i64> = db.column(&old, values![on_demand, Millis(before), kept, RUNS])?;
        for run in old {
            if left == 0 {
                return Ok(pruned);
            }
            let gone = forget_outcomes(db, run, left)?;
            pruned.run_connections += gone;
            left -= gone;
            if left > 0 {
                db.run(
                    "INSERT INTO ts_pruned_runs (key, run_id, started_at)
                     SELECT key, run_id, started_at FROM ts_runs WHERE key = ?1 AND named <> 0
                     ON CONFLICT DO NOTHING",
                    values![run],
                )?;
                pruned.runs += db.count("DELETE FROM ts_runs WHERE key = ?1", values![run])?;
                left -= 1;
            }
        }
    }
    Ok(pruned)
}

/// Deletes the records of a run for at most `most` connections.
fn forget_outcomes(db: Db<'_>, run: i64, most: u64) -> Result<u64, Fail> {
    let some = "DELETE FROM ts_run_connections WHERE run = ?1 AND connection IN (
             SELECT connection FROM ts_run_connections WHERE run = ?1 LIMIT ?2)";
    db.count(some, values![run, most.cast_signed()])
}

#[cfg(test)]
mod tests;

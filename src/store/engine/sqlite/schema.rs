//! Numbered migrations. Each runs once and is never edited after a release. The views for readers are not
//! created here, but by `feed` after the last migration.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::feed;
use crate::failpoint;
use crate::store::engine::publication::Views;

/// The migrations in order; the schema version is their number.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_initial", include_str!("migrations/0001_initial.sql")),
    ("0002_tokens", include_str!("migrations/0002_tokens.sql")),
    ("0003_events", include_str!("migrations/0003_events.sql")),
    ("0004_balances", include_str!("migrations/0004_balances.sql")),
    ("0005_links", include_str!("migrations/0005_links.sql")),
    ("0006_owners", include_str!("migrations/0006_owners.sql")),
    ("0007_feed", include_str!("migrations/0007_feed.sql")),
    ("0008_evidence", include_str!("migrations/0008_evidence.sql")),
    ("0009_odd_fields", include_str!("migrations/0009_odd_fields.sql")),
    ("0010_bounded_work", include_str!("migrations/0010_bounded_work.sql")),
];

/// The schema version this binary knows.
pub(crate) const KNOWN: i64 = MIGRATIONS.len().cast_signed() as i64;

/// The schema version of the file; 0 if it has none.
pub(crate) fn version(db: &Connection) -> rusqlite::Result<i64> {
    let exists: Option<i64> = db
        .query_row("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'ts_schema'", [], |row| {
            row.get(0)
        })
        .optional()?;
    if exists.is_none() {
        return Ok(0);
    }
    db.query_row("SELECT coalesce(max(version), 0) FROM ts_schema", [], |row| row.get(0))
}

/// Names of the migrations that a file of this version still needs.
pub(crate) fn pending(version: i64) -> Vec<String> {
    let from = usize::try_from(version).unwrap_or_default();
    MIGRATIONS.iter().skip(from).map(|(name, _)| (*name).to_owned()).collect()
}

/// Applies missing migrations and recreates the views, in one transaction: a reader sees the old schema with
/// its views or the new one. Several processes may do this at once; each checks in the transaction.
pub(crate) fn migrate(db: &mut Connection, now_ms: i64) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS ts_schema (
            version INTEGER NOT NULL PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT",
    )?;
    let found = version(&tx)?;
    if found < KNOWN || (found == KNOWN && feed::views(&tx)? == Views::Older) {
        feed::withdraw(&tx)?;
        for (number, (_, sql)) in (1i64..).zip(MIGRATIONS).filter(|(number, _)| *number > found) {
            tx.execute_batch(sql)?;
            tx.execute("INSERT INTO ts_schema (version, applied_at) VALUES (?1, ?2)", [number, now_ms])?;
        }
        // Drops what the migrations themselves created, which is not of this release.
        feed::withdraw(&tx)?;
        feed::publish(&tx)?;
    }
    failpoint::around("prepare the store", || tx.commit())
}

/// Migrates as older releases did, for tests of what becomes of their stores.
#[cfg(test)]
pub(crate) fn migrate_to(db: &mut Connection, last: usize, now_ms: i64) -> rusqlite::Result<()> {
    db.execute_batch(
        "CREATE TABLE ts_schema (version INTEGER NOT NULL PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT",
    )?;
    for (number, (_, sql)) in (1i64..).zip(MIGRATIONS.iter().take(last)) {
        db.execute_batch(sql)?;
        db.execute("INSERT INTO ts_schema (version, applied_at) VALUES (?1, ?2)", [number, now_ms])?;
    }
    Ok(())
}

//! What a pass does to the quarantine: puts records in, knows them again, lets them out when they are read well or are
//! not listed any more. At most a hundred of an account are kept; the rest is counted, as rows without their JSON.
//! Does not judge whether a walk was complete: that comes with the commit.

use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension as _, named_params, params};
use sha2::{Digest as _, Sha256};

use super::run_names;
use crate::domain::ids::TransactionId;
use crate::domain::unreadable::Unreadable;
use crate::store::sqlite::codec::{DateColumn, Millis};
use crate::store::types::{Covered, RowCommit};

/// So many records of an account are kept with their JSON.
const KEPT: i64 = 100;
/// So many are told apart at all; nobody reads more of one account.
const COUNTED: i64 = 10_000;
/// Walks that must have missed a record of which nobody knows the date.
const UNDATED_WALKS: i64 = 2;

/// Applies a commit to the quarantine; returns how many records are new in it.
pub fn apply(db: &Connection, run: i64, commit: &RowCommit) -> rusqlite::Result<u64> {
    release(db, commit.account, &commit.readable)?;
    if !commit.unreadable.is_empty() {
        run_names::keep_name(db, run)?;
    }
    let mut new = 0;
    let mut room = Room::of(db, commit)?;
    for record in &commit.unreadable {
        new += u64::from(put(db, run, commit, record, &mut room)?);
    }
    if let Some(covered) = commit.covered {
        sweep(db, commit.account, run, covered)?;
    }
    Ok(new)
}

/// How many records of an account are there, and how many of them with their JSON: counted once for a commit.
#[derive(Default)]
struct Room {
    counted: i64,
    kept: i64,
}

impl Room {
    fn of(db: &Connection, commit: &RowCommit) -> rusqlite::Result<Self> {
        if commit.unreadable.is_empty() {
            return Ok(Self::default());
        }
        let sql = "SELECT count(*), coalesce(sum(raw <> ''), 0) FROM ts_quarantine WHERE account = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok(Self { counted: row.get(0)?, kept: row.get(1)? });
        db.prepare_cached(sql)?.query_row([commit.account], read)
    }
}

/// Takes records out that were read well this time.
fn release(db: &Connection, account: i64, ids: &[TransactionId]) -> rusqlite::Result<()> {
    let any: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM ts_quarantine WHERE account = ?1)")?
        .query_row([account], |row| row.get(0))?;
    if !any {
        return Ok(());
    }
    for id in ids {
        db.prepare_cached("DELETE FROM ts_quarantine WHERE account = ?1 AND fingerprint = ?2")?
            .execute(params![account, fingerprint_of_id(id)])?;
    }
    Ok(())
}

fn fingerprint_of_id(id: &TransactionId) -> String {
    format!("id:{id}")
}

fn fingerprint(record: &Unreadable) -> String {
    record.id.as_ref().map_or_else(|| format!("raw:{:x}", Sha256::digest(&record.raw)), fingerprint_of_id)
}

/// Puts a record in; says whether it is new there. It is known again by its id, else by its JSON, else as the like of
/// a record that this run has not listed.
fn put(
    db: &Connection,
    run: i64,
    commit: &RowCommit,
    record: &Unreadable,
    room: &mut Room,
) -> rusqlite::Result<bool> {
    let fingerprint = fingerprint(record);
    let known = find(db, run, commit.account, &fingerprint, record)?;
    if known.is_none() && room.counted >= COUNTED {
        return Ok(false);
    }
    let was_kept = known.is_some_and(|(_, kept)| kept);
    let is_kept = was_kept || room.kept < KEPT;
    room.counted += i64::from(known.is_none());
    room.kept += i64::from(is_kept && !was_kept);
    let raw = if is_kept { record.raw.as_str() } else { "" };
    db.prepare_cached(
        "INSERT INTO ts_quarantine (key, account, fingerprint, transaction_id, reason, raw, booked_date, likeness,
                                    first_seen_at, run, seen_run)
         VALUES (:key, :account, :fingerprint, :id, :reason, :raw, :date, :likeness, :now, :run, :run)
         ON CONFLICT (key) DO UPDATE SET
            fingerprint = excluded.fingerprint, transaction_id = excluded.transaction_id, reason = excluded.reason,
            raw = excluded.raw, booked_date = excluded.booked_date, likeness = excluded.likeness,
            seen_run = excluded.seen_run, missed = 0",
    )?
    .execute(named_params! {
        ":key": known.map(|(key, _)| key), ":account": commit.account, ":fingerprint": fingerprint,
        ":id": record.id.as_ref().map(TransactionId::as_str), ":reason": record.reason, ":raw": raw,
        ":date": record.booked_date.map(DateColumn), ":likeness": record.likeness, ":now": Millis(commit.now),
        ":run": run,
    })?;
    Ok(known.is_none())
}

/// The row of a record that is known, and whether its JSON is kept.
fn find(
    db: &Connection,
    run: i64,
    account: i64,
    fingerprint: &str,
    record: &Unreadable,
) -> rusqlite::Result<Option<(i64, bool)>> {
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let same = db
        .prepare_cached("SELECT key, raw <> '' FROM ts_quarantine WHERE account = ?1 AND fingerprint = ?2")?
        .query_row(params![account, fingerprint], row)
        .optional()?;
    if same.is_some() {
        return Ok(same);
    }
    // An older release knew a record without id by its JSON, and no record by its like.
    // Each is one look into an index, however many are alike.
    db.prepare_cached(
        "SELECT * FROM (SELECT key, raw <> '' FROM ts_quarantine
                        WHERE account = ?1 AND likeness = ?3 AND seen_run IS NULL ORDER BY key LIMIT 1)
         UNION ALL
         SELECT * FROM (SELECT key, raw <> '' FROM ts_quarantine
                        WHERE account = ?1 AND likeness = ?3 AND seen_run < ?2 ORDER BY seen_run, key LIMIT 1)
         UNION ALL
         SELECT key, raw <> '' FROM ts_quarantine
         WHERE account = ?1 AND fingerprint = 'raw:' || ?5 AND ?4 AND likeness IS NULL AND seen_run IS NOT ?2",
    )?
    .query_row(params![account, run, record.likeness, record.id.is_none(), record.raw], row)
    .optional()
}

/// Drops what a complete walk should have listed and did not.
fn sweep(db: &Connection, account: i64, run: i64, covered: Covered) -> rusqlite::Result<()> {
    let any: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM ts_quarantine WHERE account = ?1)")?
        .query_row([account], |row| row.get(0))?;
    if !any {
        return Ok(());
    }
    let unlisted = "account = ?1 AND seen_run IS NOT ?2";
    let from = covered.from.unwrap_or(Date::MIN);
    db.prepare_cached(&format!(
        "DELETE FROM ts_quarantine WHERE {unlisted} AND booked_date BETWEEN ?3 AND ?4"
    ))?
    .execute(params![account, run, DateColumn(from), DateColumn(covered.to)])?;
    db.prepare_cached(&format!(
        "UPDATE ts_quarantine SET missed = missed + 1 WHERE {unlisted} AND booked_date IS NULL"
    ))?
    .execute(params![account, run])?;
    db.prepare_cached("DELETE FROM ts_quarantine WHERE account = ?1 AND missed >= ?2")?
        .execute(params![account, UNDATED_WALKS])?;
    // An older release kept them all.
    db.prepare_cached(
        "UPDATE ts_quarantine SET raw = '' WHERE account = ?1 AND raw <> '' AND key > coalesce(
             (SELECT key FROM ts_quarantine WHERE account = ?1 AND raw <> '' ORDER BY key LIMIT 1 OFFSET ?2), key)",
    )?
    .execute(params![account, KEPT - 1])?;
    Ok(())
}

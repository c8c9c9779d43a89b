//! What a pass does to the quarantine: adds records, recognises known ones, and releases those that could be
//! read or are no longer listed. Keeps at most a hundred records of an account; the others are counted, as
//! rows without their JSON. Does not judge whether a walk was complete: the commit carries that.

use jiff::civil::Date;
use sha2::{Digest as _, Sha256};

use super::engine::value::{DateColumn, Millis};
use super::engine::{Db, Fail, Row, named, values};
use super::run_names;
use crate::domain::ids::TransactionId;
use crate::domain::unreadable::Unreadable;
use crate::store::types::{Covered, RowCommit};

/// The number of records of an account that are kept with their JSON.
const KEPT: i64 = 100;
/// The most records of an account that are stored at all; nobody reads more of one account.
const COUNTED: i64 = 10_000;
/// The number of walks that must miss a record without a known date before it is dropped.
const UNDATED_WALKS: i64 = 2;

/// Applies a commit to the quarantine; returns how many records are new in it.
pub(super) fn apply(db: Db<'_>, run: i64, commit: &RowCommit) -> Result<u64, Fail> {
    let mut any = db.value(ANY, values![commit.account])?;
    any |= !commit.unreadable.is_empty();
    if any {
        release(db, commit.account, &commit.readable)?;
    }
    if !commit.unreadable.is_empty() {
        run_names::keep_name(db, run)?;
    }
    let mut new = 0;
    let mut room = Room::of(db, commit)?;
    for record in &commit.unreadable {
        new += u64::from(put(db, run, commit, record, &mut room)?);
    }
    if let Some(covered) = commit.covered.filter(|_| any) {
        sweep(db, commit.account, run, covered)?;
    }
    Ok(new)
}

/// The number of records of an account, and of those with their JSON; counted once for a commit.
#[derive(Default)]
struct Room {
    counted: i64,
    kept: i64,
}

impl Room {
    fn of(db: Db<'_>, commit: &RowCommit) -> Result<Self, Fail> {
        if commit.unreadable.is_empty() {
            return Ok(Self::default());
        }
        let sql = "SELECT count(*), count(*) FILTER (WHERE raw <> '') FROM ts_quarantine WHERE account = ?1";
        let read = |row: Row<'_>| Ok(Self { counted: row.get(0)?, kept: row.get(1)? });
        db.single(sql, values![commit.account], read)
    }
}

/// Prefetches the first query of [`apply`] in the next round trip.
pub(super) fn ahead(db: Db<'_>, account: i64) -> Result<(), Fail> {
    db.ahead(ANY, values![account])
}

/// Whether the account has a record.
const ANY: &str = "SELECT EXISTS (SELECT 1 FROM ts_quarantine WHERE account = ?1)";

/// Releases records that could be read this time.
fn release(db: Db<'_>, account: i64, ids: &[TransactionId]) -> Result<(), Fail> {
    for id in ids {
        db.run(
            "DELETE FROM ts_quarantine WHERE account = ?1 AND fingerprint = ?2",
            values![account, fingerprint_of_id(id)],
        )?;
    }
    Ok(())
}

fn fingerprint_of_id(id: &TransactionId) -> String {
    format!("id:{id}")
}

fn fingerprint(record: &Unreadable) -> String {
    record.id.as_ref().map_or_else(|| format!("raw:{:x}", Sha256::digest(&record.raw)), fingerprint_of_id)
}

/// Adds a record; returns whether it is new. A record is recognised by its id, else by its JSON, else by its
/// likeness to a record that this run has not listed.
fn put(db: Db<'_>, run: i64, commit: &RowCommit, record: &Unreadable, room: &mut Room) -> Result<bool, Fail> {
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
    let write = if known.is_some() {
        "UPDATE ts_quarantine SET fingerprint = :fingerprint, transaction_id = :id, reason = :reason, raw = :raw,
             booked_date = :date, likeness = :likeness, seen_run = :run, missed = 0 WHERE key = :key"
    } else {
        "INSERT INTO ts_quarantine (account, fingerprint, transaction_id, reason, raw, booked_date, likeness,
                                    first_seen_at, run, seen_run)
         VALUES (:account, :fingerprint, :id, :reason, :raw, :date, :likeness, :now, :run, :run)"
    };
    db.run(
        write,
        named! {
            ":key": known.map(|(key, _)| key), ":account": commit.account, ":fingerprint": fingerprint,
            ":id": record.id.as_ref().map(TransactionId::as_str), ":reason": record.reason, ":raw": raw,
            ":date": record.booked_date.map(DateColumn), ":likeness": record.likeness, ":now": Millis(commit.now),
            ":run": run,
        },
    )?;
    Ok(known.is_none())
}

/// The row of a known record, and whether its JSON is kept.
fn find(
    db: Db<'_>,
    run: i64,
    account: i64,
    fingerprint: &str,
    record: &Unreadable,
) -> Result<Option<(i64, bool)>, Fail> {
    let row = |row: Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let same = db.one(
        "SELECT key, raw <> '' FROM ts_quarantine WHERE account = ?1 AND fingerprint = ?2",
        values![account, fingerprint],
        row,
    )?;
    if same.is_some() {
        return Ok(same);
    }
    // An older release recognised a record without id by its JSON, and no record by its likeness.
    // Each is one lookup in an index, regardless of how many are alike.
    db.one(
        "SELECT * FROM (SELECT key, raw <> '' FROM ts_quarantine
                        WHERE account = ?1 AND likeness = ?3 AND seen_run IS NULL ORDER BY key LIMIT 1) a
         UNION ALL
         SELECT * FROM (SELECT key, raw <> '' FROM ts_quarantine
                        WHERE account = ?1 AND likeness = ?3 AND seen_run < ?2 ORDER BY seen_run, key LIMIT 1) b
         UNION ALL
         SELECT key, raw <> '' FROM ts_quarantine
         WHERE account = ?1 AND fingerprint = 'raw:' || ?5 AND ?4 AND likeness IS NULL AND seen_run IS DISTINCT FROM ?2",
        values![account, run, record.likeness, record.id.is_none(), record.raw],
        row,
    )
}

/// Drops records that a complete walk should have listed and did not.
fn sweep(db: Db<'_>, account: i64, run: i64, covered: Covered) -> Result<(), Fail> {
    let unlisted = "account = ?1 AND seen_run IS DISTINCT FROM ?2";
    let from = covered.from.unwrap_or(Date::MIN);
    db.run(
        &format!("DELETE FROM ts_quarantine WHERE {unlisted} AND booked_date BETWEEN ?3 AND ?4"),
        values![account, run, DateColumn(from), DateColumn(covered.to)],
    )?;
    db.run(
        &format!("UPDATE ts_quarantine SET missed = missed + 1 WHERE {unlisted} AND booked_date IS NULL"),
        values![account, run],
    )?;
    db.run("DELETE FROM ts_quarantine WHERE account = ?1 AND missed >= ?2", values![account, UNDATED_WALKS])?;
    // An older release kept the JSON of all records.
    db.run(
        "UPDATE ts_quarantine SET raw = '' WHERE account = ?1 AND raw <> '' AND key > coalesce(
             (SELECT key FROM ts_quarantine WHERE account = ?1 AND raw <> '' ORDER BY key LIMIT 1 OFFSET ?2), key)",
        values![account, KEPT - 1],
    )?;
    Ok(())
}

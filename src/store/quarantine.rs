//! What an operator does with the quarantine: read its records again, or drop them, each connection in one
//! transaction in which no run holds it. The caller provides how a record is read and what follows from it.

use jiff::Timestamp;

use super::engine::value::{json_list, unsigned};
use super::engine::{Db, Fail, Row, values};
use super::liveness;
use super::rows;
use super::writer::{AuditRow, Writer, note};
use crate::domain::ids::{AccountId, TransactionId};
use crate::store::Result;
use crate::store::types::{ChangeSet, FetchedRow, RowCommit, RowQuery, StoredRow, Unfinished};

/// The number of records that are read at once.
const CHUNK: u32 = 250;

/// How records are read, and what is written for them.
pub struct Rereading<'a> {
    /// Reads one record of an account; with `strict`, the record must name that account.
    pub read: &'a dyn Fn(&str, &AccountId, bool) -> Result<FetchedRow, String>,
    /// The changes to write, from the rows stored under these ids, the rows read, and the live rows of older
    /// generations.
    pub changes: fn(&[StoredRow], Vec<FetchedRow>, &[StoredRow], i64) -> ChangeSet,
}

impl std::fmt::Debug for Rereading<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rereading").finish_non_exhaustive()
    }
}

/// The result of reading the records of one connection again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records that can be read now.
    pub readable: u64,
    /// Of these, rows that are new.
    pub added: u64,
    /// Rows that changed, or came back.
    pub updated: u64,
    /// Rows of an older link that they replaced.
    pub replaced: u64,
    /// Records that left because the row has changed since then.
    pub obsolete: u64,
    /// Records that still cannot be read.
    pub unreadable: u64,
    /// Records of accounts whose re-consent a pass has to finish first.
    pub waiting: u64,
}

/// An account that has records in quarantine.
struct QuarantineAccount {
    key: i64,
    id: AccountId,
    generation: i64,
    repairing: bool,
}

/// A record of the quarantine.
struct Kept {
    key: i64,
    id: Option<TransactionId>,
    raw: String,
}

impl Writer {
    /// Reads the records of a connection again and stores those that can be read now; the others stay.
    /// Returns `None` if a run is at work on the connection. Audited if there was a record.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written; then nothing has changed.
    pub fn replay(
        &mut self,
        connection_id: &str,
        how: &Rereading<'_>,
        audit: &AuditRow<'_>,
    ) -> Result<Option<Replayed>> {
        self.session.write("retry the quarantine", |db, context| {
            let Some(key) = key_of(db, connection_id)? else { return Ok(Some(Replayed::default())) };
            // A dead run holds nothing.
            liveness::sweep(db, context, audit.at)?;
            if liveness::is_leased(db, key, audit.at)? {
                return Ok(None);
            }
            let mut sum = Replayed::default();
            for owner in owners(db, key)? {
                account(db, &owner, how, audit.at, &mut sum)?;
            }
            if sum != Replayed::default() {
                let details = format!(
                    "{} read, {} obsolete, {} left",
                    sum.readable,
                    sum.obsolete,
                    sum.unreadable + sum.waiting
                );
                note(db, &AuditRow { details: Some(&details), ..*audit })?;
            }
            Ok(Some(sum))
        })
    }

    /// Drops the records of a connection: all of them, or those with these Tink ids. Returns their number;
    /// `None` if a run is at work on the connection. Audited if there was one.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written; then nothing has changed.
    pub fn drop_quarantined(
        &mut self,
        connection_id: &str,
        transactions: &[String],
        audit: &AuditRow<'_>,
    ) -> Result<Option<u64>> {
        self.session.write("drop from the quarantine", |db, context| {
            let Some(key) = key_of(db, connection_id)? else { return Ok(Some(0)) };
            // A dead run holds nothing.
            liveness::sweep(db, context, audit.at)?;
            if liveness::is_leased(db, key, audit.at)? {
                return Ok(None);
            }
            let ids = json_list(transactions.iter().map(String::as_str));
            let dropped = db.count(
                "DELETE FROM ts_quarantine WHERE account IN (SELECT key FROM ts_accounts WHERE connection = ?1)
                    AND (?2 OR transaction_id IN (SELECT value FROM json_each(?3)))",
                values![key, transactions.is_empty(), ids],
            )?;
            if dropped > 0 {
                note(db, &AuditRow { details: Some(&format!("{dropped} dropped")), ..*audit })?;
            }
            Ok(Some(dropped))
        })
    }
}

fn key_of(db: Db<'_>, connection_id: &str) -> Result<Option<i64>, Fail> {
    let sql = "SELECT key FROM ts_connections WHERE connection_id = ?1";
    db.one(sql, values![connection_id], |row| row.get(0))
}

fn owners(db: Db<'_>, connection: i64) -> Result<Vec<QuarantineAccount>, Fail> {
    let owners = "SELECT key, account_id, generation, repairing FROM ts_accounts a
         WHERE connection = ?1 AND EXISTS (SELECT 1 FROM ts_quarantine q WHERE q.account = a.key) ORDER BY key";
    let owner = |row: Row<'_>| {
        let id = row.get::<String>(1)?.into();
        Ok(QuarantineAccount { key: row.get(0)?, id, generation: row.get(2)?, repairing: row.get(3)? })
    };
    db.all(owners, values![connection], owner)
}

/// Reads the records of one account, run by run: those of one run were fetched together.
fn account(
    db: Db<'_>,
    owner: &QuarantineAccount,
    how: &Rereading<'_>,
    now: Timestamp,
    sum: &mut Replayed,
) -> Result<(), Fail> {
    if owner.repairing {
        // Its next walk is a full one, which pairs old and new rows in one go.
        let sql = "SELECT count(*) FROM ts_quarantine WHERE account = ?1";
        sum.waiting += unsigned(db.value(sql, values![owner.key])?);
        return Ok(());
    }
    let runs = "SELECT DISTINCT coalesce(seen_run, run) FROM ts_quarantine WHERE account = ?1 AND raw <> '' ORDER BY 1";
    let runs: Vec<i64> = db.column(runs, values![owner.key])?;
    for run in runs {
        let mut last = 0;
        loop {
            let kept = chunk(db, owner.key, run, last)?;
            let Some(end) = kept.last() else { break };
            last = end.key;
            replay(db, owner, run, kept, how, now, sum)?;
        }
    }
    Ok(())
}

fn chunk(db: Db<'_>, account: i64, run: i64, after: i64) -> Result<Vec<Kept>, Fail> {
    let chunk = "SELECT key, transaction_id, raw FROM ts_quarantine
         WHERE account = ?1 AND coalesce(seen_run, run) = ?2 AND raw <> '' AND key > ?3 ORDER BY key LIMIT ?4";
    let kept = |row: Row<'_>| {
        let id: Option<String> = row.get(1)?;
        Ok(Kept { key: row.get(0)?, id: id.map(TransactionId::from), raw: row.get(2)? })
    };
    db.all(chunk, values![account, run, after, CHUNK], kept)
}

fn replay(
    db: Db<'_>,
    owner: &QuarantineAccount,
    run: i64,
    kept: Vec<Kept>,
    how: &Rereading<'_>,
    now: Timestamp,
    sum: &mut Replayed,
) -> Result<(), Fail> {
    let mut rows = Vec::new();
    for record in kept {
        if let Some(id) = &record.id
            && has_changed_since(db, owner.key, id, run)?
        {
            sum.obsolete += 1;
            leave(db, record.key)?;
            continue;
        }
        match (how.read)(&record.raw, &owner.id, owner.generation > 1) {
            Ok(row) => {
                sum.readable += 1;
                leave(db, record.key)?;
                rows.push(row);
            }
            Err(reason) => {
                sum.unreadable += 1;
                db.run(
                    "UPDATE ts_quarantine SET reason = ?2 WHERE key = ?1 AND reason <> ?2",
                    values![record.key, reason],
                )?;
            }
        }
    }
    if rows.is_empty() { Ok(()) } else { store(db, owner, run, rows, how, now, sum) }
}

/// Whether a later run has changed or removed the row: then the stored state is the newer one.
fn has_changed_since(db: Db<'_>, account: i64, id: &TransactionId, run: i64) -> Result<bool, Fail> {
    let sql = "SELECT EXISTS (SELECT 1 FROM ts_transactions
                              WHERE account = ?1 AND transaction_id = ?2 AND changed_run > ?3)";
    db.value(sql, values![account, id, run])
}

fn leave(db: Db<'_>, key: i64) -> Result<(), Fail> {
    db.run("DELETE FROM ts_quarantine WHERE key = ?1", values![key])
}

/// Writes rows as the run that fetched them would have.
fn store(
    db: Db<'_>,
    owner: &QuarantineAccount,
    run: i64,
    fetched: Vec<FetchedRow>,
    how: &Rereading<'_>,
    now: Timestamp,
    sum: &mut Replayed,
) -> Result<(), Fail> {
    let ids: Vec<TransactionId> = fetched.iter().map(|row| row.transaction.id.clone()).collect();
    let stored = rows::load(db, owner.key, &RowQuery::Ids(ids.clone()))?;
    let oldest = fetched.iter().filter_map(|row| row.transaction.booked_date).min();
    let older = match owner.generation {
        1 => Vec::new(),
        _ => rows::load(db, owner.key, &RowQuery::OlderGeneration(oldest))?,
    };
    let changes = (how.changes)(&stored, fetched, &older, owner.generation);
    let counts = changes.counts();
    sum.added += counts.added;
    sum.updated += counts.updated;
    sum.replaced += counts.removed;
    let commit = RowCommit {
        account: owner.key,
        generation: owner.generation,
        changes,
        unreadable: Vec::new(),
        readable: ids,
        covered: None,
        unfinished: Unfinished::default(),
        checkpoint: None,
        now,
    };
    rows::commit(db, run, &commit)?;
    // It is unknown whether Tink still has them: the next pass reads deeply and finds out.
    db.run("UPDATE ts_accounts SET deep_walked_at = NULL WHERE key = ?1", values![owner.key])
}

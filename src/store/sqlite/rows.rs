//! Transactions in SQLite: loading what a walk is compared with, and writing change sets. Every row
//! written, changed or removed gets the next change number in the same transaction.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Statement, ToSql, named_params, params};

use super::balances::{self, Changes};
use super::codec::{self, DateColumn, IdColumn, IdParam, Millis, StatusColumn, TimeColumn, stored_rows};
use super::run_names;
use super::unreadable;

use crate::domain::transaction::Transaction;
use crate::store::types::{
    Checkpoint, FetchedRow, LiveQuery, LiveRow, Removal, RowCommit, RowQuery, StoredRow,
};

/// Loads whole rows of one account.
pub fn load(db: &Connection, account: i64, query: &RowQuery) -> rusqlite::Result<Vec<StoredRow>> {
    match query {
        RowQuery::Ids(ids) => {
            let one = db.prepare_cached(stored_rows!("WHERE t.account = ?1 AND t.transaction_id = ?2"))?;
            each(one, ids.iter().map(|id| (account, IdParam::from(id))))
        }
        RowQuery::Keys(keys) => {
            let one = db.prepare_cached(stored_rows!("WHERE t.account = ?1 AND t.key = ?2"))?;
            each(one, keys.iter().map(|key| (account, *key)))
        }
        RowQuery::First => {
            let mut statement = db.prepare_cached(stored_rows!("WHERE t.account = ?1 LIMIT 1"))?;
            statement.query_map([account], codec::stored_row)?.collect()
        }
        RowQuery::SinceCheckpoint => {
            let mut statement = db.prepare_cached(stored_rows!(
                "WHERE t.account = ?1 AND t.removed_at IS NULL AND t.first_walk <> 0 AND t.first_walk > ?2
                   AND NOT EXISTS (SELECT 1 FROM ts_transactions r
                                   WHERE r.account = ?1 AND r.replaced_by = t.transaction_id)"
            ))?;
            let walks = column(db, account, "walks")?;
            by_key(statement.query_map([account, walks], codec::stored_row)?.collect())
        }
        RowQuery::Newest(limit) => {
            let mut statement = db.prepare_cached(stored_rows!(
                "WHERE t.account = ?1 AND t.removed_at IS NULL ORDER BY t.booked_date DESC LIMIT ?2"
            ))?;
            statement.query_map(params![account, limit], codec::stored_row)?.collect()
        }
        RowQuery::OlderGeneration(from) => {
            let mut statement = db.prepare_cached(concat!(
                stored_rows!("WHERE t.account = ?1 AND t.removed_at IS NULL AND t.generation < ?2 AND t.booked_date IS NULL"),
                " UNION ALL ",
                stored_rows!("WHERE t.account = ?1 AND t.removed_at IS NULL AND t.generation < ?2 AND t.booked_date >= ?3")
            ))?;
            let generation = column(db, account, "generation")?;
            let parameters = params![account, generation, from.map(DateColumn)];
            by_key(statement.query_map(parameters, codec::stored_row)?.collect())
        }
    }
}

/// In the order in which they came. Not asked of SQLite, which may then read everything in that order.
fn by_key(rows: rusqlite::Result<Vec<StoredRow>>) -> rusqlite::Result<Vec<StoredRow>> {
    rows.map(|mut rows| {
        rows.sort_unstable_by_key(|row| row.key);
        rows
    })
}

fn each<T: ToSql>(
    mut one: rusqlite::CachedStatement<'_>,
    keys: impl Iterator<Item = (i64, T)>,
) -> rusqlite::Result<Vec<StoredRow>> {
    let mut rows = Vec::new();
    for (account, key) in keys {
        let mut found = one.query(params![account, key])?;
        if let Some(row) = found.next()? {
            rows.push(codec::stored_row(row)?);
        }
    }
    Ok(rows)
}

/// A number of the account, for statements that read no other table: SQLite then looks only where the rows are.
fn column(db: &Connection, account: i64, column: &str) -> rusqlite::Result<i64> {
    let found = db
        .prepare_cached(&format!("SELECT {column} FROM ts_accounts WHERE key = ?1"))?
        .query_row([account], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// The live rows a walk of this window should have returned. Two ranges of one index: what lies outside of the
/// window is not read.
pub fn live(db: &Connection, query: &LiveQuery) -> rusqlite::Result<Vec<LiveRow>> {
    let mut statement = db.prepare_cached(
        "SELECT key, transaction_id, status, booked_date, generation FROM ts_transactions
         WHERE account = ?1 AND removed_at IS NULL AND booked_date IS NULL
         UNION ALL
         SELECT key, transaction_id, status, booked_date, generation FROM ts_transactions
         WHERE account = ?1 AND removed_at IS NULL AND booked_date >= ?2 AND booked_date <= ?3",
    )?;
    let from = query.window.from.map_or_else(String::new, |date| date.to_string());
    let rows = statement.query_map(params![query.account, from, DateColumn(query.window.to)], |row| {
        Ok(LiveRow {
            key: row.get(0)?,
            id: row.get::<_, IdColumn>(1)?.0,
            status: row.get::<_, StatusColumn>(2)?.0,
            booked_date: row.get::<_, Option<DateColumn>>(3)?.map(|date| date.0),
            generation: row.get(4)?,
        })
    })?;
    rows.collect()
}

/// Removes the pending rows of an account that is closed; returns how many. They never count in sums.
pub fn close(db: &Connection, run: i64, account: i64, now: Timestamp) -> rusqlite::Result<u64> {
    let pending = "account = ?1 AND removed_at IS NULL AND status = 'pending'";
    let mut keys = db.prepare_cached(&format!("SELECT key FROM ts_transactions WHERE {pending}"))?;
    let mut keys: Vec<i64> = keys.query_map([account], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    keys.sort_unstable();
    let first = reserve(db, run, keys.len())?;
    for (seq, key) in (first..).zip(&keys) {
        db.prepare_cached(
            "UPDATE ts_transactions SET removed_at = ?2, removed_reason = 'account_closed', changed_run = ?3,
                    change_seq = ?4, missed = 0 WHERE key = ?1",
        )?
        .execute(params![key, Millis(now), run, seq])?;
    }
    Ok(keys.len() as u64)
}

/// Writes one commit of rows; returns how many records are new in the quarantine.
pub fn commit(db: &Connection, run: i64, commit: &RowCommit) -> rusqlite::Result<u64> {
    let changes = &commit.changes;
    let numbered = changes.insert.len() + changes.update.len() + changes.remove.len();
    let sums = if numbered > 0 { Changes::begin(db, commit.account)? } else { None };
    let mut writer = Writer { db, run, commit, next: reserve(db, run, numbered)?, sums };
    writer.insert()?;
    writer.update()?;
    writer.remove()?;
    writer.sums.map_or(Ok(()), |sums| sums.end(db))?;
    for key in &changes.touch {
        db.prepare_cached("UPDATE ts_transactions SET generation = ?2, missed = 0 WHERE key = ?1")?
            .execute([*key, commit.generation])?;
    }
    for key in &changes.missed {
        db.prepare_cached("UPDATE ts_transactions SET missed = missed + 1 WHERE key = ?1")?
            .execute([*key])?;
    }
    let new = unreadable::apply(db, run, commit)?;
    if let Some(proof) = &commit.checkpoint {
        checkpoint(db, commit.account, proof)?;
        balances::catch_up(db, commit.account)?;
        balances::keep_stand(db, commit.account)?;
    }
    Ok(new)
}

/// Takes `count` change numbers for rows that name the run; returns the first.
pub(super) fn reserve(db: &Connection, run: i64, count: usize) -> rusqlite::Result<i64> {
    if count == 0 {
        return Ok(0);
    }
    run_names::keep_name(db, run)?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let last: i64 = db
        .prepare_cached("UPDATE ts_sequences SET value = value + ?1 WHERE name = 'change' RETURNING value")?
        .query_row([count], |row| row.get(0))?;
    Ok(last - count + 1)
}

/// Parameters 1 to 22 are those of [`Writer::bind`], here and in [`UPDATE`].
const INSERT: &str = "INSERT INTO ts_transactions (
        generation, changed_run, first_seen_run, change_seq, status, amount, currency, booked_date, value_date,
        transaction_date, booked_at, description, description_original, description_detailed, merchant_name,
        merchant_category_code, category_id, type, reference, provider_transaction_id, mutability, payer_name,
        payee_name, account, first_walk, transaction_id)
    VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
        ?23, ?24, ?25)";

const UPDATE: &str = "UPDATE ts_transactions SET
        generation = ?1, changed_run = ?2, change_seq = ?3, status = ?4, amount = ?5, currency = ?6, booked_date = ?7,
        value_date = ?8, transaction_date = ?9, booked_at = ?10, description = ?11, description_original = ?12,
        description_detailed = ?13, merchant_name = ?14, merchant_category_code = ?15, category_id = ?16, type = ?17,
        reference = ?18, provider_transaction_id = ?19, mutability = ?20, payer_name = ?21, payee_name = ?22,
        missed = 0, removed_at = NULL, removed_reason = NULL, replaced_by = NULL, match_rule = NULL
    WHERE key = ?23";

/// Writes the numbered changes of one commit.
struct Writer<'a> {
    db: &'a Connection,
    run: i64,
    commit: &'a RowCommit,
    next: i64,
    /// What it does to the sums of the account's rows.
    sums: Option<Changes>,
}

impl Writer<'_> {
    fn seq(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }

    fn count(&mut self, row: &Transaction) {
        if let Some(sums) = &mut self.sums {
            sums.add(row);
        }
    }

    /// To be called before the row changes.
    fn discount(&mut self, key: i64) -> rusqlite::Result<()> {
        self.sums.as_mut().map_or(Ok(()), |sums| sums.take(self.db, key))
    }

    fn insert(&mut self) -> rusqlite::Result<()> {
        if self.commit.changes.insert.is_empty() {
            return Ok(());
        }
        let mut statement = self.db.prepare_cached(INSERT)?;
        let walk: i64 = self
            .db
            .prepare_cached("SELECT walks + 1 FROM ts_accounts WHERE key = ?1")?
            .query_row([self.commit.account], |row| row.get(0))?;
        self.bind_shared(&mut statement)?;
        statement.raw_bind_parameter(23, self.commit.account)?;
        statement.raw_bind_parameter(24, walk)?;
        for row in &self.commit.changes.insert {
            let seq = self.seq();
            statement.raw_bind_parameter(25, IdParam::from(&row.transaction.id))?;
            bind(&mut statement, &row.transaction, seq)?;
            statement.raw_execute()?;
            self.keep_raw(self.db.last_insert_rowid(), row)?;
            self.count(&row.transaction);
        }
        Ok(())
    }

    fn update(&mut self) -> rusqlite::Result<()> {
        if self.commit.changes.update.is_empty() {
            return Ok(());
        }
        let mut statement = self.db.prepare_cached(UPDATE)?;
        self.bind_shared(&mut statement)?;
        for (key, row) in &self.commit.changes.update {
            let seq = self.seq();
            self.discount(*key)?;
            statement.raw_bind_parameter(23, key)?;
            bind(&mut statement, &row.transaction, seq)?;
            statement.raw_execute()?;
            self.keep_raw(*key, row)?;
            self.count(&row.transaction);
        }
        Ok(())
    }

    /// What is the same for all rows of the commit.
    fn bind_shared(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        statement.raw_bind_parameter(1, self.commit.generation)?;
        statement.raw_bind_parameter(2, self.run)
    }

    fn remove(&mut self) -> rusqlite::Result<()> {
        for (key, removal) in &self.commit.changes.remove {
            let (reason, by, rule) = match removal {
                Removal::Vanished => ("vanished", None, None),
                Removal::Replaced { by, rule } => ("replaced", Some(IdColumn(by.clone())), Some(*rule)),
            };
            let seq = self.seq();
            self.discount(*key)?;
            self.db
                .prepare_cached(
                    "UPDATE ts_transactions SET removed_at = :at, removed_reason = :reason, replaced_by = :by,
                            match_rule = :rule, changed_run = :run, change_seq = :seq, missed = 0 WHERE key = :key",
                )?
                .execute(named_params! {
                    ":key": key, ":at": Millis(self.commit.now), ":reason": reason, ":by": by, ":rule": rule,
                    ":run": self.run, ":seq": seq,
                })?;
        }
        Ok(())
    }

    fn keep_raw(&self, key: i64, row: &FetchedRow) -> rusqlite::Result<()> {
        let Some(raw) = &row.raw else { return Ok(()) };
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO ts_raw (transaction_key, raw, stored_at) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![key, raw.as_ref(), Millis(self.commit.now)])?;
        Ok(())
    }
}

/// What differs from row to row, by position: a name would be looked up each time.
fn bind(statement: &mut Statement<'_>, t: &Transaction, seq: i64) -> rusqlite::Result<()> {
    let [booked, value, initiated] =
        [t.booked_date, t.value_date, t.transaction_date].map(|date| date.map(DateColumn));
    let values: [&dyn ToSql; 20] = [
        &seq,
        &t.status.as_str(),
        &t.money.amount.as_str(),
        &t.money.currency,
        &booked,
        &value,
        &initiated,
        &t.booked_at.map(TimeColumn),
        &t.texts.description(),
        &t.texts.description_original(),
        &t.texts.description_detailed(),
        &t.texts.merchant_name(),
        &t.texts.merchant_category_code(),
        &t.texts.category_id(),
        &t.texts.kind(),
        &t.texts.reference(),
        &t.texts.provider_transaction_id(),
        &t.texts.mutability(),
        &t.texts.payer_name(),
        &t.texts.payee_name(),
    ];
    for (parameter, value) in (3usize..).zip(values) {
        statement.raw_bind_parameter(parameter, value)?;
    }
    Ok(())
}

/// Moves the watermark, never backward, and notes the complete walk. One of which nobody knows as of which refresh
/// it is does not make that of an earlier one unknown.
fn checkpoint(db: &Connection, account: i64, checkpoint: &Checkpoint) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE ts_accounts SET
            complete_through = iif(:watermark > coalesce(complete_through, ''), :watermark, complete_through),
            walks = walks + :settled, repairing = repairing AND NOT :repaired,
            walked_refresh = coalesce(:refresh, walked_refresh), walked_at = :at,
            deep_walked_at = iif(:deep IS NOT NULL, :at, deep_walked_at), deep_through = coalesce(:deep, deep_through),
            suspect_refresh = :suspect, absent_from = :absent, full_due = :full, reissued = :reissued,
            unmatched_from = :unmatched, judged_refresh = coalesce(iif(:judged, :refresh, NULL), judged_refresh, walked_refresh)
         WHERE key = :account",
    )?
    .execute(named_params! {
        ":account": account, ":watermark": checkpoint.watermark.map(DateColumn), ":refresh": checkpoint.refresh.map(TimeColumn),
        ":at": Millis(checkpoint.at), ":deep": checkpoint.deep.map(DateColumn), ":suspect": checkpoint.suspect.map(TimeColumn),
        ":settled": checkpoint.settled, ":absent": checkpoint.absent_from.map(DateColumn), ":full": checkpoint.full_due,
        ":judged": checkpoint.judged, ":repaired": checkpoint.repaired, ":reissued": checkpoint.reissued, ":unmatched": checkpoint.unmatched_from.map(DateColumn),
    })?;
    Ok(())
}

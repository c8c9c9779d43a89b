//! Transactions: loads what a walk is compared with, and writes change sets. Every row that is written,
//! changed or removed gets the next change number in the same transaction.

use jiff::Timestamp;

use super::balances::{self, Changes};
use super::engine::value::{DateColumn, Decimal, IdColumn, Millis, StatusColumn, TimeColumn};
use super::engine::{Db, Fail, Row, Written, named, values};
use super::run_names;
use super::unreadable;

use crate::domain::amount::Money;
use crate::domain::texts::TextFields;
use crate::domain::transaction::Transaction;
use crate::domain::window::day_of;
use crate::store::types::{
    Checkpoint, FetchedRow, LiveQuery, LiveRow, Removal, RowCommit, RowQuery, StoredRow, Unfinished,
};

/// A statement on `ts_transactions t` that selects the columns of [`stored_row`], in its order; the last one
/// is what the row succeeds.
macro_rules! stored_rows {
    ($rest:literal) => {
        stored_rows!("CAST(NULL AS BIGINT)", $rest)
    };
    ($succeeds:literal, $rest:literal) => {
        concat!(
            "SELECT t.key, t.generation, t.missed, t.removed_at, t.transaction_id, t.status, t.amount, t.currency,
                    t.booked_date, t.value_date, t.transaction_date, t.booked_at, t.description,
                    t.description_original, t.description_detailed, t.merchant_name, t.merchant_category_code,
                    t.category_id, t.type, t.reference, t.provider_transaction_id, t.mutability, t.payer_name,
                    t.payee_name, ",
            $succeeds,
            " FROM ts_transactions t ",
            $rest
        )
    };
}

/// Reads a whole row of `ts_transactions`, as [`stored_rows`] selects it.
pub(super) fn stored_row(row: Row<'_>) -> Result<StoredRow, Fail> {
    let texts = TextFields {
        description: row.text(12)?,
        description_original: row.text(13)?,
        description_detailed: row.text(14)?,
        merchant_name: row.text(15)?,
        merchant_category_code: row.text(16)?,
        category_id: row.text(17)?,
        kind: row.text(18)?,
        reference: row.text(19)?,
        provider_transaction_id: row.text(20)?,
        mutability: row.text(21)?,
        payer_name: row.text(22)?,
        payee_name: row.text(23)?,
    };
    let transaction = Transaction {
        id: row.get::<IdColumn>(4)?.0,
        status: row.get::<StatusColumn>(5)?.0,
        money: Money { amount: row.get::<Decimal>(6)?.0, currency: row.get(7)? },
        booked_date: row.day(8)?,
        value_date: row.day(9)?,
        transaction_date: row.day(10)?,
        booked_at: row.time(11)?,
        texts: texts.into(),
    };
    Ok(StoredRow {
        key: row.get(0)?,
        transaction,
        generation: row.get(1)?,
        missed: row.get(2)?,
        removed: row.get::<Option<i64>>(3)?.is_some(),
        succeeds: row.get(24)?,
    })
}

/// Loads whole rows of one account.
pub(super) fn load(db: Db<'_>, account: i64, query: &RowQuery) -> Result<Vec<StoredRow>, Fail> {
    match query {
        RowQuery::Ids(ids) => {
            let one = stored_rows!("WHERE t.account = ?1 AND t.transaction_id = ?2");
            ids.iter().try_for_each(|id| db.ahead(one, values![account, id]))?;
            let found = ids.iter().map(|id| db.one(one, values![account, id], stored_row));
            found.filter_map(Result::transpose).collect()
        }
        RowQuery::Keys(keys) => {
            let one = stored_rows!("WHERE t.account = ?1 AND t.key = ?2");
            keys.iter().try_for_each(|key| db.ahead(one, values![account, key]))?;
            let found = keys.iter().map(|key| db.one(one, values![account, key], stored_row));
            found.filter_map(Result::transpose).collect()
        }
        RowQuery::SinceCheckpoint => {
            let statement = stored_rows!(
                "(SELECT max(r.generation) FROM ts_transactions r
                  WHERE r.account = ?1 AND r.replaced_by = t.transaction_id)",
                "WHERE t.account = ?1 AND t.removed_at IS NULL AND t.first_walk <> 0 AND t.first_walk > ?2"
            );
            let walks = column(db, account, "walks")?;
            by_key(db.all(statement, values![account, walks], stored_row))
        }
        RowQuery::Newest(limit) => {
            let statement = stored_rows!(
                "WHERE t.account = ?1 AND t.removed_at IS NULL ORDER BY t.booked_date DESC NULLS LAST LIMIT ?2"
            );
            db.all(statement, values![account, limit], stored_row)
        }
        RowQuery::OlderGeneration(from) => {
            let statement = concat!(
                stored_rows!(
                    "WHERE t.account = ?1 AND t.removed_at IS NULL AND t.generation < ?2 AND t.booked_date IS NULL"
                ),
                " UNION ALL ",
                stored_rows!(
                    "WHERE t.account = ?1 AND t.removed_at IS NULL AND t.generation < ?2 AND t.booked_date >= ?3"
                )
            );
            let generation = column(db, account, "generation")?;
            by_key(db.all(statement, values![account, generation, from.map(DateColumn)], stored_row))
        }
    }
}

/// Sorts rows by key, in the order in which they were added. SQLite is not asked to: it might read everything
/// in that order.
fn by_key(rows: Result<Vec<StoredRow>, Fail>) -> Result<Vec<StoredRow>, Fail> {
    rows.map(|mut rows| {
        rows.sort_unstable_by_key(|row| row.key);
        rows
    })
}

/// A number of the account, for statements that read no other table: then SQLite reads only the wanted rows.
fn column(db: Db<'_>, account: i64, column: &str) -> Result<i64, Fail> {
    let found =
        db.one(&format!("SELECT {column} FROM ts_accounts WHERE key = ?1"), values![account], |row| {
            row.get(0)
        })?;
    Ok(found.unwrap_or_default())
}

/// The live rows that a walk of this window should have returned. Two ranges of one index: rows outside of
/// the window are not read.
pub(super) fn live(db: Db<'_>, query: &LiveQuery) -> Result<Vec<LiveRow>, Fail> {
    let rows = "SELECT key, transaction_id, status, booked_date, generation FROM ts_transactions
         WHERE account = ?1 AND removed_at IS NULL AND booked_date IS NULL
         UNION ALL
         SELECT key, transaction_id, status, booked_date, generation FROM ts_transactions
         WHERE account = ?1 AND removed_at IS NULL AND booked_date >= ?2 AND booked_date <= ?3";
    let from = query.window.from.map_or_else(String::new, |date| date.to_string());
    db.all(rows, values![query.account, from, DateColumn(query.window.to)], |row| {
        Ok(LiveRow {
            key: row.get(0)?,
            id: row.get::<IdColumn>(1)?.0,
            status: row.get::<StatusColumn>(2)?.0,
            booked_date: row.get::<Option<DateColumn>>(3)?.map(|date| date.0),
            generation: row.get(4)?,
        })
    })
}

/// Removes the pending rows of a closed account; returns their number. Pending rows never count in sums.
pub(super) fn close(db: Db<'_>, run: i64, account: i64, now: Timestamp) -> Result<u64, Fail> {
    let pending = "account = ?1 AND removed_at IS NULL AND status = 'pending'";
    let keys = &format!("SELECT key FROM ts_transactions WHERE {pending}");
    let mut keys: Vec<i64> = db.column(keys, values![account])?;
    keys.sort_unstable();
    let first = reserve(db, run, keys.len())?;
    for (seq, key) in (first..).zip(&keys) {
        db.run(
            "UPDATE ts_transactions SET removed_at = ?2, removed_reason = 'account_closed', changed_run = ?3,
                    change_seq = ?4, missed = 0 WHERE key = ?1",
            values![key, Millis(now), run, seq],
        )?;
    }
    Ok(keys.len() as u64)
}

/// The number of rows that a commit gives a change number.
pub(super) fn numbered(commit: &RowCommit) -> usize {
    let changes = &commit.changes;
    changes.insert.len() + changes.update.len() + changes.remove.len()
}

/// Writes one commit of rows; returns how many records are new in the quarantine. Reads everything it needs
/// before it takes change numbers: a transaction with numbers delays the commits of all that take later ones.
pub(super) fn commit(db: Db<'_>, run: i64, commit: &RowCommit) -> Result<u64, Fail> {
    let (changes, numbered) = (&commit.changes, numbered(commit));
    ask_ahead(db, commit, numbered)?;
    let sums = if numbered > 0 { counted(db, commit)? } else { None };
    let mut stand = None;
    if commit.checkpoint.is_some() {
        stand = balances::stand_after(db, commit.account, sums.as_ref())?;
    }
    let new = unreadable::apply(db, run, commit)?;
    for key in &changes.touch {
        db.run(
            "UPDATE ts_transactions SET generation = ?2, missed = 0 WHERE key = ?1",
            values![*key, commit.generation],
        )?;
    }
    for key in &changes.missed {
        db.run("UPDATE ts_transactions SET missed = missed + 1 WHERE key = ?1", values![*key])?;
    }
    if commit.unfinished != Unfinished::default() {
        db.run(
            "UPDATE ts_accounts SET full_due = CASE WHEN ?2 THEN 1 ELSE full_due END,
                    walked_refresh = coalesce(?3, walked_refresh) WHERE key = ?1",
            values![commit.account, commit.unfinished.full_due, commit.unfinished.unread.map(TimeColumn)],
        )?;
    }
    sums.map_or(Ok(()), |sums| sums.end(db))?;
    if numbered > 0 {
        run_names::keep_name(db, run)?;
        let is_last = commit.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.compared);
        let of = Written { account: commit.account, run, generation: commit.generation, is_last };
        let mut changing = Changing { db, of, commit, next: db.take_changes(numbered)? };
        changing.insert()?;
        changing.update()?;
        changing.remove()?;
    }
    if let Some(proof) = &commit.checkpoint {
        checkpoint(db, commit.account, proof)?;
        if balances::catch_up(db, commit.account)? {
            stand = balances::stand_after(db, commit.account, None)?;
        }
        balances::keep_stand(db, commit.account, stand.as_ref())?;
    }
    if numbered > 0 {
        db.wait_for_turn()?;
    }
    Ok(new)
}

/// Prefetches the queries of [`commit`] in its first round trip.
fn ask_ahead(db: Db<'_>, commit: &RowCommit, numbered: usize) -> Result<(), Fail> {
    unreadable::ahead(db, commit.account)?;
    if numbered > 0 {
        let (update, remove) = (&commit.changes.update, &commit.changes.remove);
        let keys = update.iter().map(|(key, _)| *key).chain(remove.iter().map(|(key, _)| *key));
        Changes::ahead(db, commit.account, keys)?;
    }
    if commit.checkpoint.is_some() {
        balances::stand_ahead(db, commit.account)?;
    }
    Ok(())
}

/// How a commit changes the sums of its account; `None` if its rows are not added up yet.
fn counted(db: Db<'_>, commit: &RowCommit) -> Result<Option<Changes>, Fail> {
    let Some(mut sums) = Changes::begin(db, commit.account)? else { return Ok(None) };
    for row in &commit.changes.insert {
        sums.add(&row.transaction);
    }
    for (key, row) in commit.changes.staying() {
        sums.take(db, *key)?;
        sums.add(&row.transaction);
    }
    for (key, _) in &commit.changes.remove {
        sums.take(db, *key)?;
    }
    Ok(Some(sums))
}

/// Takes `count` change numbers for rows that name the run; returns the first.
pub(super) fn reserve(db: Db<'_>, run: i64, count: usize) -> Result<i64, Fail> {
    if count == 0 {
        return Ok(0);
    }
    run_names::keep_name(db, run)?;
    db.reserve_changes(count)
}

/// Writes the numbered changes of one commit.
struct Changing<'a> {
    db: Db<'a>,
    of: Written,
    commit: &'a RowCommit,
    /// See [`Db::take_changes`].
    next: i64,
}

impl Changing<'_> {
    /// Takes `count` change numbers; returns the first.
    fn seqs(&mut self, count: usize) -> i64 {
        let first = self.next;
        self.next += i64::try_from(count).unwrap_or(i64::MAX);
        first
    }

    fn insert(&mut self) -> Result<(), Fail> {
        let rows = &self.commit.changes.insert;
        if rows.is_empty() {
            return Ok(());
        }
        let first = self.seqs(rows.len());
        let raw = rows.iter().any(|row| row.raw.is_some());
        let keys = self.db.insert_rows(&self.of, rows, first, raw)?;
        let kept = keys.into_iter().zip(rows).filter(|(_, row)| row.raw.is_some());
        kept.into_iter().try_for_each(|(key, row)| self.keep_raw(key, row))
    }

    fn update(&mut self) -> Result<(), Fail> {
        let rows = &self.commit.changes.update;
        if rows.is_empty() {
            return Ok(());
        }
        for (key, row) in rows {
            self.keep_raw(*key, row)?;
        }
        let first = self.seqs(rows.len());
        self.db.update_rows(&self.of, rows, first)
    }

    fn remove(&mut self) -> Result<(), Fail> {
        if self.commit.changes.remove.is_empty() {
            return Ok(());
        }
        let remove = format!(
            "UPDATE ts_transactions SET removed_at = ?2, removed_reason = ?3, replaced_by = ?4, match_rule = ?5,
                    changed_run = ?6, change_seq = CAST(?7 AS BIGINT) + {}, missed = 0 WHERE key = ?1",
            self.db.changes_base()
        );
        for (key, removal) in &self.commit.changes.remove {
            let (reason, by, rule) = match removal {
                Removal::Vanished => ("vanished", None, None),
                Removal::Replaced { by, rule } => ("replaced", Some(by), Some(*rule)),
            };
            let seq = self.seqs(1);
            self.db
                .run(&remove, values![key, Millis(self.commit.now), reason, by, rule, self.of.run, seq])?;
        }
        Ok(())
    }

    fn keep_raw(&self, key: i64, row: &FetchedRow) -> Result<(), Fail> {
        let Some(raw) = &row.raw else { return Ok(()) };
        self.db.run(
            "INSERT INTO ts_raw (transaction_key, raw, stored_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (transaction_key) DO UPDATE SET raw = excluded.raw, stored_at = excluded.stored_at",
            values![key, raw.as_ref(), Millis(self.commit.now)],
        )
    }
}

/// Moves the watermark, backward only from a day in the future, and records the complete walk. A walk whose refresh
/// is unknown does not overwrite the refresh of an earlier one, and what a person has accepted meanwhile stays
/// accepted.
fn checkpoint(db: Db<'_>, account: i64, checkpoint: &Checkpoint) -> Result<(), Fail> {
    db.run(
        "UPDATE ts_accounts SET
            complete_through = CASE WHEN :watermark > coalesce(complete_through, '') OR complete_through > :today
                                    THEN coalesce(:watermark, complete_through) ELSE complete_through END,
            walks = walks + :compared, repairing = CASE WHEN :repaired THEN 0 ELSE repairing END,
            walked_refresh = coalesce(:refresh, walked_refresh), walked_at = :at,
            deep_through = coalesce(:deep, deep_through), deep_walked_at = CASE WHEN :deep IS NOT NULL THEN :at ELSE deep_walked_at END,
            suspect_refresh = :suspect, absent_from = :absent, full_due = :full, reissued = :reissued,
            unmatched_from = CASE WHEN unmatched_from IS NOT DISTINCT FROM :before THEN :unmatched ELSE unmatched_from END,
            judged_refresh = coalesce(CASE WHEN :judged THEN :refresh END, judged_refresh, walked_refresh)
         WHERE key = :account",
        named! {
            ":account": account, ":watermark": checkpoint.watermark.map(DateColumn), ":today": DateColumn(day_of(checkpoint.at)), ":refresh": checkpoint.refresh.map(TimeColumn),
            ":at": Millis(checkpoint.at), ":deep": checkpoint.deep.map(DateColumn), ":suspect": checkpoint.suspect.map(TimeColumn),
            ":compared": checkpoint.compared, ":absent": checkpoint.absent_from.map(DateColumn), ":full": checkpoint.full_due,
            ":judged": checkpoint.judged, ":repaired": checkpoint.repaired, ":reissued": checkpoint.reissued, ":unmatched": checkpoint.unmatched_from.map(DateColumn),
            ":before": checkpoint.unmatched_before.map(DateColumn),
        },
    )?;
    Ok(())
}

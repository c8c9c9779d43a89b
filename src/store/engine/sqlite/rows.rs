//! Writes transaction rows: bound by position, and values common to all rows of a commit only once. Makes no
//! decisions about them.

use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection, Statement};

use super::rehearsal;
use crate::domain::transaction::Transaction;
use crate::store::engine::{Fail, ToValue, Value};
use crate::store::types::FetchedRow;

/// How many rows are inserted by one statement: to open the table and its indexes costs as much for ten rows as for one.
const TOGETHER: usize = 10;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insertion(1));
static INSERT_TOGETHER: LazyLock<String> = LazyLock::new(|| insertion(TOGETHER));

/// The parameters that are the same for all rows of an insertion: generation, run, account and walk.
const COMMON: usize = 4;
/// The parameters of a row: its change number, its columns and its id.
const OF_A_ROW: usize = COLUMNS + 2;
/// The columns that insertions and updates write alike.
const COLUMNS: usize = 19;

const UPDATE: &str = "UPDATE ts_transactions SET
        generation = ?1, changed_run = ?2, change_seq = ?3, status = ?4, amount = ?5, currency = ?6, booked_date = ?7,
        value_date = ?8, transaction_date = ?9, booked_at = ?10, description = ?11, description_original = ?12,
        description_detailed = ?13, merchant_name = ?14, merchant_category_code = ?15, category_id = ?16, type = ?17,
        reference = ?18, provider_transaction_id = ?19, mutability = ?20, payer_name = ?21, payee_name = ?22,
        missed = 0, removed_at = NULL, removed_reason = NULL, replaced_by = NULL, match_rule = NULL
    WHERE key = ?23";

/// The number that the current walk will have.
const WALK: &str = "SELECT walks + 1 FROM ts_accounts WHERE key = ?1";

/// The values common to all rows of a commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub account: i64,
    pub run: i64,
    pub generation: i64,
    /// The commit ends the walk, so that no later one looks for what its rows succeed: `first_walk` is 0.
    pub is_last: bool,
}

/// The statement that inserts so many rows. A failure undoes the whole commit and not this statement alone: with OR FAIL
/// SQLite need not keep, for each statement, the pages as they were before it.
fn insertion(rows: usize) -> String {
    let values = (0..rows).map(|row| {
        let first = COMMON + row * OF_A_ROW + 1;
        let own = (first..first + OF_A_ROW).map(|parameter| format!("?{parameter}")).collect::<Vec<_>>();
        format!("(?1, ?2, ?2, ?3, ?4, {})", own.join(", "))
    });
    format!(
        "INSERT OR FAIL INTO ts_transactions (generation, changed_run, first_seen_run, account, first_walk, change_seq, status,
             amount, currency, booked_date, value_date, transaction_date, booked_at, description, description_original,
             description_detailed, merchant_name, merchant_category_code, category_id, type, reference,
             provider_transaction_id, mutability, payer_name, payee_name, transaction_id)
         VALUES {}",
        values.collect::<Vec<_>>().join(", ")
    )
}

/// An insertion whose common parameters are bound.
fn prepared<'c>(
    conn: &'c Connection,
    text: &str,
    of: &Written,
    walk: i64,
) -> Result<CachedStatement<'c>, Fail> {
    let mut statement = conn.prepare_cached(text)?;
    for (parameter, value) in (1usize..).zip([of.generation, of.run, of.account, walk]) {
        statement.raw_bind_parameter(parameter, value)?;
    }
    Ok(statement)
}

/// Inserts as many rows as the statement is for, with change numbers from `first` on.
fn execute(statement: &mut Statement<'_>, rows: &[FetchedRow], first: i64) -> Result<(), Fail> {
    for (at, (seq, row)) in (first..).zip(rows).enumerate() {
        let parameter = COMMON + at * OF_A_ROW + 1;
        bind(statement, parameter, &row.transaction, seq)?;
        statement.raw_bind_parameter(parameter + OF_A_ROW - 1, row.transaction.id.to_value())?;
    }
    statement.raw_execute()?;
    Ok(())
}

/// Inserts rows with change numbers from `first` on; returns their keys, in order.
pub(crate) fn insert(
    conn: &Connection,
    of: &Written,
    rows: &[FetchedRow],
    first: i64,
) -> Result<Vec<i64>, Fail> {
    let walk: i64 =
        if of.is_last { 0 } else { conn.prepare_cached(WALK)?.query_row([of.account], |row| row.get(0))? };
    let mut one = prepared(conn, &INSERT_ONE, of, walk)?;
    let mut together = match rows.len() {
        ..TOGETHER => None,
        _ => Some(prepared(conn, &INSERT_TOGETHER, of, walk)?),
    };
    let is_rehearsal = rehearsal::is_laid(conn)?;
    let mut keys = Vec::with_capacity(rows.len());
    let mut seq = first;
    let (tens, rest) = rows.as_chunks::<TOGETHER>();
    for part in tens.iter().map(|ten| &ten[..]).chain(rest.chunks(1)) {
        let together = together.as_mut().filter(|_| part.len() == TOGETHER);
        execute(together.unwrap_or(&mut one), part, seq)?;
        let count = i64::try_from(part.len()).unwrap_or(i64::MAX);
        // Each new key is one above the greatest.
        let last = if is_rehearsal { rehearsal::last_key(conn)? } else { conn.last_insert_rowid() };
        keys.extend(last - count + 1..=last);
        seq += count;
    }
    Ok(keys)
}

/// Overwrites rows, with change numbers from `first` on.
pub(crate) fn update(
    conn: &Connection,
    of: &Written,
    rows: &[(i64, FetchedRow)],
    first: i64,
) -> Result<(), Fail> {
    let mut statement = conn.prepare_cached(UPDATE)?;
    statement.raw_bind_parameter(1, of.generation)?;
    statement.raw_bind_parameter(2, of.run)?;
    for (seq, (key, row)) in (first..).zip(rows) {
        statement.raw_bind_parameter(23, key)?;
        bind(&mut statement, 3, &row.transaction, seq)?;
        statement.raw_execute()?;
    }
    Ok(())
}

/// Binds a change number and columns from parameter `first` on, by position: a name would be looked up each time.
fn bind<'t>(
    statement: &mut Statement<'_>,
    first: usize,
    t: &'t Transaction,
    seq: i64,
) -> rusqlite::Result<()> {
    let day = |day: Option<jiff::civil::Date>| day.map_or(Value::Null, Value::Day);
    let text = |text: Option<&'t str>| text.map_or(Value::Null, |text| Value::Text(text.into()));
    let values: [Value<'t>; COLUMNS + 1] = [
        Value::Int(seq),
        t.status.as_str().to_value(),
        t.money.amount.to_value(),
        t.money.currency.to_value(),
        day(t.booked_date),
        day(t.value_date),
        day(t.transaction_date),
        t.booked_at.map_or(Value::Null, Value::Time),
        text(t.texts.description()),
        text(t.texts.description_original()),
        text(t.texts.description_detailed()),
        text(t.texts.merchant_name()),
        text(t.texts.merchant_category_code()),
        text(t.texts.category_id()),
        text(t.texts.kind()),
        text(t.texts.reference()),
        text(t.texts.provider_transaction_id()),
        text(t.texts.mutability()),
        text(t.texts.payer_name()),
        text(t.texts.payee_name()),
    ];
    for (parameter, value) in (first..).zip(values) {
        statement.raw_bind_parameter(parameter, value)?;
    }
    Ok(())
}

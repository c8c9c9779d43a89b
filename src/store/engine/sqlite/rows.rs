//! Writes transaction rows: bound by position, and values common to all rows of a commit only once. Makes no
//! decisions about them.

use rusqlite::{Connection, Statement};

use crate::domain::transaction::Transaction;
use crate::store::engine::{Fail, ToValue, Value};
use crate::store::types::FetchedRow;

/// Parameters 1 to 22 are the same here and in [`UPDATE`].
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

impl Written {
    fn bind(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        statement.raw_bind_parameter(1, self.generation)?;
        statement.raw_bind_parameter(2, self.run)
    }
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
    let mut statement = conn.prepare_cached(INSERT)?;
    of.bind(&mut statement)?;
    statement.raw_bind_parameter(23, of.account)?;
    statement.raw_bind_parameter(24, walk)?;
    let mut keys = Vec::with_capacity(rows.len());
    for (seq, row) in (first..).zip(rows) {
        statement.raw_bind_parameter(25, row.transaction.id.to_value())?;
        bind(&mut statement, &row.transaction, seq)?;
        statement.raw_execute()?;
        keys.push(conn.last_insert_rowid());
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
    of.bind(&mut statement)?;
    for (seq, (key, row)) in (first..).zip(rows) {
        statement.raw_bind_parameter(23, key)?;
        bind(&mut statement, &row.transaction, seq)?;
        statement.raw_execute()?;
    }
    Ok(())
}

/// Binds what differs from row to row, by position: a name would be looked up each time.
fn bind<'t>(statement: &mut Statement<'_>, t: &'t Transaction, seq: i64) -> rusqlite::Result<()> {
    let day = |day: Option<jiff::civil::Date>| day.map_or(Value::Null, Value::Day);
    let text = |text: Option<&'t str>| text.map_or(Value::Null, |text| Value::Text(text.into()));
    let values: [Value<'t>; 20] = [
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
    for (parameter, value) in (3usize..).zip(values) {
        statement.raw_bind_parameter(parameter, value)?;
    }
    Ok(())
}

//! Writes transaction rows: all rows of a commit in one statement, as one array. Makes no decisions about them.

use super::session::Pg;
use super::value::{Parameter, Rows};
use crate::domain::transaction::Transaction;
use crate::store::engine::value::written_day;
use crate::store::engine::{Fail, Row, Written};
use crate::store::types::FetchedRow;

const INSERT: &str = include_str!("insert_rows.sql");
/// Also returns their keys, in the order of the rows.
const INSERT_FOR_KEYS: &str = concat!(include_str!("insert_rows.sql"), " ORDER BY r.place RETURNING key");
const UPDATE: &str = include_str!("update_rows.sql");

/// The OID of the row type in this database.
const TYPE: &str = "SELECT CAST(to_regtype('tink_sync.ts_row') AS oid)::bigint";

/// The number of columns that are sent after a row's key.
const COLUMNS: usize = 20;

fn add(rows: &mut Rows, key: Option<i64>, t: &Transaction) -> Result<(), Fail> {
    let day = |day: Option<jiff::civil::Date>| day.map(|day| written_day(day).into_owned());
    let days = [day(t.booked_date), day(t.value_date), day(t.transaction_date)];
    let booked_at = t.booked_at.map(|at| at.to_string());
    let [booked, value, transacted] = &days;
    let texts: [Option<&str>; COLUMNS] = [
        Some(t.id.as_str()),
        Some(t.status.as_str()),
        Some(t.money.amount.as_str()),
        Some(&t.money.currency),
        booked.as_deref(),
        value.as_deref(),
        transacted.as_deref(),
        booked_at.as_deref(),
        t.texts.description(),
        t.texts.description_original(),
        t.texts.description_detailed(),
        t.texts.merchant_name(),
        t.texts.merchant_category_code(),
        t.texts.category_id(),
        t.texts.kind(),
        t.texts.reference(),
        t.texts.provider_transaction_id(),
        t.texts.mutability(),
        t.texts.payer_name(),
        t.texts.payee_name(),
    ];
    rows.add(key, &texts)
}

/// Queries what [`insert`] and [`update`] need to know, once per session.
pub(crate) fn get_ready(pg: &Pg) -> Result<(), Fail> {
    pg.row_type(TYPE).map(drop)
}

/// The parameters of a statement: the rows, and the numbers common to all.
fn parameters(pg: &Pg, rows: Rows, numbers: &[i64]) -> Result<Vec<Parameter>, Fail> {
    let kind = pg.row_type(TYPE)?;
    let numbers = numbers.iter().map(|number| Parameter::Text(number.to_string()));
    Ok(std::iter::once(rows.parameter(kind)).chain(numbers).collect())
}

/// Inserts rows with change numbers from `first` on; returns their keys, in order, if `keys` is set.
pub(crate) fn insert(
    pg: &Pg,
    of: &Written,
    rows: &[FetchedRow],
    first: i64,
    keys: bool,
) -> Result<Vec<i64>, Fail> {
    let mut sent = Rows::with_capacity(rows.len());
    rows.iter().try_for_each(|row| add(&mut sent, None, &row.transaction))?;
    let parameters = parameters(pg, sent, &[of.generation, of.run, of.account, first, of.is_last.into()])?;
    if !keys {
        pg.send_rows(INSERT, parameters);
        return Ok(Vec::new());
    }
    pg.ask_rows(INSERT_FOR_KEYS, parameters)?.rows.iter().map(|row| Row::Postgres(row).get(0)).collect()
}

/// Overwrites rows, with change numbers from `first` on.
pub(crate) fn update(pg: &Pg, of: &Written, rows: &[(i64, FetchedRow)], first: i64) -> Result<(), Fail> {
    let mut sent = Rows::with_capacity(rows.len());
    rows.iter().try_for_each(|(key, row)| add(&mut sent, Some(*key), &row.transaction))?;
    pg.send_rows(UPDATE, parameters(pg, sent, &[of.generation, of.run, first])?);
    Ok(())
}

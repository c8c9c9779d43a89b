//! Writing rows of transactions: all rows of a commit in one statement, a column as one array. Decides nothing about them.

use super::session::Pg;
use super::value::{Column, Parameter};
use crate::domain::transaction::Transaction;
use crate::store::engine::value::written_day;
use crate::store::engine::{Fail, Row, Written};
use crate::store::types::FetchedRow;

const INSERT: &str = include_str!("insert_rows.sql");
/// With what lets their keys be told apart.
const INSERT_FOR_KEYS: &str = concat!(include_str!("insert_rows.sql"), " ORDER BY r.place RETURNING key");
const UPDATE: &str = include_str!("update_rows.sql");

const COLUMNS: usize = 19;

/// What is written of rows, column by column.
struct Columns {
    columns: Vec<Column>,
}

impl Columns {
    fn of<'r>(rows: impl ExactSizeIterator<Item = &'r Transaction>) -> Result<Self, Fail> {
        let bytes = rows.len() * 16;
        let mut columns = Self { columns: (0..COLUMNS).map(|_| Column::of_texts(bytes)).collect() };
        for row in rows {
            columns.add(row)?;
        }
        Ok(columns)
    }

    fn add(&mut self, t: &Transaction) -> Result<(), Fail> {
        let day = |day: Option<jiff::civil::Date>| day.map(|day| written_day(day).into_owned());
        let days = [day(t.booked_date), day(t.value_date), day(t.transaction_date)];
        let booked_at = t.booked_at.map(|at| at.to_string());
        let [booked, value, transacted] = &days;
        let texts: [Option<&str>; COLUMNS] = [
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
        self.columns.iter_mut().zip(texts).try_for_each(|(column, text)| column.text(text))
    }

    /// With what else the statement takes.
    fn parameters(self, which: Column, numbers: &[i64]) -> Vec<Parameter> {
        let numbers = numbers.iter().map(|number| Parameter::Text(number.to_string()));
        self.columns.into_iter().chain([which]).map(Column::parameter).chain(numbers).collect()
    }
}

/// Inserts rows with change numbers from `first` on; returns their keys, in order, if they are asked for.
pub(crate) fn insert(
    pg: &Pg,
    of: &Written,
    rows: &[FetchedRow],
    first: i64,
    keys: bool,
) -> Result<Vec<i64>, Fail> {
    let mut ids = Column::of_texts(rows.len() * 40);
    for row in rows {
        ids.text(Some(row.transaction.id.as_str()))?;
    }
    let columns = Columns::of(rows.iter().map(|row| &row.transaction))?;
    let parameters = columns.parameters(ids, &[of.generation, of.run, of.account, first]);
    if !keys {
        pg.send_as_is(INSERT, parameters);
        return Ok(Vec::new());
    }
    pg.ask_as_is(INSERT_FOR_KEYS, parameters)?.rows.iter().map(|row| Row::Postgres(row).get(0)).collect()
}

/// Writes rows anew, with change numbers from `first` on.
pub(crate) fn update(pg: &Pg, of: &Written, rows: &[(i64, FetchedRow)], first: i64) -> Result<(), Fail> {
    let mut keys = Column::of_numbers(rows.len());
    for (key, _) in rows {
        keys.number(*key)?;
    }
    let columns = Columns::of(rows.iter().map(|(_, row)| &row.transaction))?;
    pg.send_as_is(UPDATE, columns.parameters(keys, &[of.generation, of.run, first]));
    Ok(())
}

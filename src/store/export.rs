//! Rows for an export: one snapshot of `transactions_v1` in a stable order, one row in memory at a time. Only
//! reads, and knows no output format.

use jiff::civil::Date;
use serde::{Serialize, Serializer};

use super::engine::fail::corrupt;
use super::engine::value::json_list;
use super::engine::{Fail, Params, Row, Value, value, values};
use super::{Reader, plan};
use crate::domain::ids::{ConnectionId, UserId};
use crate::store::{Result, Selection, StoreError};

/// Which rows to export.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Rows of these connections and users.
    pub selection: Selection,
    /// From this day on.
    pub since: Option<Date>,
    /// Up to and including this day.
    pub until: Option<Date>,
    /// Whether to include pending rows.
    pub pending: bool,
    /// Whether to include tombstones.
    pub removed: bool,
}

/// The day of row `v`: its booked date, or the best substitute. A row without any date gets the day on which
/// it was first seen, so that it has a fixed place in every export, even after that run is pruned.
const DAY: &str = "coalesce(v.booked_date, v.value_date, v.transaction_date, substr(v.booked_at, 1, 10),
    (SELECT substr(r.started_at, 1, 10) FROM runs_v1 r WHERE r.run_id = v.first_seen_run),
    (SELECT date(p.started_at / 1000, 'unixepoch') FROM ts_transactions t JOIN ts_pruned_runs p ON p.key = t.first_seen_run
     WHERE t.change_seq = v.change_seq), '1970-01-01')";

/// The only column that is not exact; an export is exact.
const INEXACT: &str = "amount_number";

/// Whether row `v` matches the filter, apart from its day.
const WANTED: &str = "(:all OR v.connection_id IN (SELECT j.value FROM json_each(:connections) j)
        OR v.user_id IN (SELECT j.value FROM json_each(:users) j))
    AND (:pending OR v.status <> 'pending') AND (:removed OR v.removed_at IS NULL)";

const IN_TIME: &str = "(day >= :since OR :since IS NULL) AND (day <= :until OR :until IS NULL)";

/// A value of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportCell {
    /// NULL.
    Null,
    /// An integer, never money.
    Number(i64),
    /// A text, an exact amount or a date.
    Text(String),
}

impl Serialize for ExportCell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// A row of `transactions_v1`.
#[derive(Clone, Debug)]
pub struct ExportRow<'a> {
    /// The view's columns.
    pub columns: &'a [String],
    /// Their values.
    pub cells: Vec<ExportCell>,
    /// The day it is sorted by, `YYYY-MM-DD`.
    pub day: String,
}

impl ExportRow<'_> {
    /// The text of a column; `None` if it holds none.
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.cell(column)? {
            ExportCell::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a column; `None` if it holds none.
    pub fn number(&self, column: &str) -> Option<i64> {
        match self.cell(column)? {
            ExportCell::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn cell(&self, column: &str) -> Option<&ExportCell> {
        self.cells.get(self.columns.iter().position(|name| name == column)?)
    }
}

/// An account that has rows in the export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportAccount {
    /// Its stable key.
    pub key: i64,
    /// Its connection.
    pub connection_id: String,
    /// The bank's name for it.
    pub name: String,
    /// Tink's type.
    pub kind: String,
    /// IBAN as sent.
    pub iban: Option<String>,
    /// Masked card number.
    pub masked_pan: Option<String>,
    /// The currency of these rows; an account appears once per currency.
    pub currency: String,
    /// The day of the first of these rows.
    pub first_day: String,
}

/// The rows that match a filter in one snapshot of the store, regardless of concurrent writes.
#[derive(Debug)]
pub struct Export<'r> {
    reader: &'r Reader,
    filter: Filter,
    columns: Vec<String>,
}

const WHAT: &str = "export transactions";

impl<'r> Export<'r> {
    /// Prepares an export of the rows that match the filter.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn new(reader: &'r Reader, filter: Filter) -> Result<Self> {
        let mut columns = reader.read("begin the export", |db| db.columns("transactions_v1"))?;
        columns.retain(|name| name != INEXACT);
        Ok(Self { reader, filter, columns })
    }

    /// The columns of the rows.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The ids in the filter that do not exist.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn unknown(&self) -> Result<Vec<String>> {
        self.reader.read(WHAT, |db| plan::unknown(db, &self.filter.selection))
    }

    /// The accounts of the rows, by key and currency.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn accounts(&self) -> Result<Vec<ExportAccount>> {
        let sql = format!(
            "SELECT a.*, x.currency AS row_currency, x.first_day
             FROM (SELECT account_key, currency, min(day) AS first_day
                   FROM (SELECT v.account_key, v.currency, {DAY} AS day FROM transactions_v1 v WHERE {WANTED}) d
                   WHERE {IN_TIME} GROUP BY account_key, currency) x
             JOIN accounts_v1 a ON a.account_key = x.account_key ORDER BY a.account_key, x.currency"
        );
        self.reader.read(WHAT, |db| db.all(&sql, Params::Named(&parameters(&self.filter)), account))
    }

    /// Passes every row to `take`, ordered by day, connection, account and id; returns the number of rows.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read, or the error of `take`.
    pub fn each<E: From<StoreError>>(
        &self,
        mut take: impl FnMut(&ExportRow<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        // Sorts only the positions of rows; each change number belongs to one row.
        let order = format!(
            "SELECT change_seq, day
             FROM (SELECT v.change_seq, {DAY} AS day, v.connection_id, v.account_key, v.transaction_id
                   FROM transactions_v1 v WHERE {WANTED}) d
             WHERE {IN_TIME} ORDER BY day, connection_id, account_key, transaction_id"
        );
        let one = format!("SELECT {} FROM transactions_v1 WHERE change_seq = ?1", self.columns.join(", "));
        let (mut count, mut refused) = (0, None);
        self.reader.read(WHAT, |db| {
            db.walk(&order, Params::Named(&parameters(&self.filter)), |place| {
                let (seq, day): (i64, String) = (place.get(0)?, place.get(1)?);
                let cells = db.single(&one, values![seq], cells)?;
                refused = take(&ExportRow { columns: &self.columns, cells, day }).err();
                count += u64::from(refused.is_none());
                Ok(refused.is_none())
            })
        })?;
        refused.map_or(Ok(count), Err)
    }
}

fn cells(row: Row<'_>) -> Result<Vec<ExportCell>, Fail> {
    let cell = |at| match row.cell(at)? {
        value::Cell::Null => Ok(ExportCell::Null),
        value::Cell::Int(number) => Ok(ExportCell::Number(number)),
        value::Cell::Text(text) => Ok(ExportCell::Text(String::from_utf8_lossy(text).into_owned())),
        value::Cell::Real(_) | value::Cell::Bytes(_) => {
            Err(corrupt("a column of transactions_v1 is neither text nor an integer"))
        }
    };
    (0..row.width()).map(cell).collect()
}

fn account(row: Row<'_>) -> Result<ExportAccount, Fail> {
    Ok(ExportAccount {
        key: row.get("account_key")?,
        connection_id: row.get("connection_id")?,
        name: row.get("name")?,
        kind: row.get("type")?,
        iban: row.get("iban")?,
        masked_pan: row.get("masked_pan")?,
        currency: row.get("row_currency")?,
        first_day: row.get("first_day")?,
    })
}

/// The filter as statement parameters.
fn parameters(filter: &Filter) -> [(&'static str, Value<'static>); 7] {
    let list = |ids: String| Value::Text(ids.into());
    let day = |day: Option<Date>| day.map_or(Value::Null, Value::Day);
    [
        (":all", Value::Bool(filter.selection.is_all())),
        (":connections", list(json_list(filter.selection.connections.iter().map(ConnectionId::as_str)))),
        (":users", list(json_list(filter.selection.users.iter().map(UserId::as_str)))),
        (":pending", Value::Bool(filter.pending)),
        (":removed", Value::Bool(filter.removed)),
        (":since", day(filter.since)),
        (":until", day(filter.until)),
    ]
}

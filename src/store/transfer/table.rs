//! The tables of a store, and how their rows are read in batches, in the same order and the same form from
//! every engine.

use crate::domain::ids::{TransactionId, shown};
use crate::store::engine::fail::corrupt;
use crate::store::engine::value::{Cell, IdColumn, NUL, StoredId, unsigned};
use crate::store::engine::{Db, Fail, FromCell as _, Params, Value, values};

/// The values of one row, of all columns or of its key columns.
pub(super) type RowValues = Vec<Value<'static>>;

/// One of our tables.
#[derive(Debug)]
pub(super) struct Table {
    pub name: &'static str,
    /// The columns that identify its rows, and order them.
    pub keys: &'static [&'static str],
    /// The number of rows that are read at once.
    pub at_once: usize,
}

const fn table(name: &'static str, keys: &'static [&'static str]) -> Table {
    Table { name, keys, at_once: 1000 }
}

/// A table of large rows, which hold whole records.
const fn large(name: &'static str, keys: &'static [&'static str], at_once: usize) -> Table {
    Table { name, keys, at_once }
}

/// All tables except those about the database itself: `ts_schema` and `ts_sequences`.
pub(super) const TABLES: [Table; 23] = [
    table("ts_own_users", &["user_id"]),
    table("ts_own_connections", &["connection_id"]),
    table("ts_connections", &["key"]),
    table("ts_consents", &["connection", "credentials_id"]),
    table("ts_accounts", &["key"]),
    table("ts_account_ids", &["connection", "account_id"]),
    table("ts_transactions", &["key"]),
    large("ts_raw", &["transaction_key"], 500),
    large("ts_quarantine", &["key"], 50),
    table("ts_runs", &["key"]),
    table("ts_pruned_runs", &["key"]),
    table("ts_run_connections", &["run", "connection"]),
    table("ts_audit", &["key"]),
    table("ts_tokens", &["connection"]),
    table("ts_events", &["key"]),
    table("ts_sums", &["account", "part", "currency"]),
    table("ts_balances", &["account"]),
    table("ts_links", &["connection_id"]),
    table("ts_former_users", &["connection", "kind", "id"]),
    table("ts_app", &["client_id"]),
    table("ts_view", &["source"]),
    table("ts_population", &["day"]),
    table("ts_anomalies", &["connection", "account", "kind"]),
];

/// A column that only a server has: by its clock, runs that are silent for too long are over.
const OF_A_SERVER: &str = "alive_until";

impl Table {
    /// The columns that are copied.
    pub(super) fn columns(&self, db: Db<'_>) -> Result<Vec<String>, Fail> {
        let mut columns = db.columns(&format!("main.{}", self.name))?;
        columns.retain(|column| column != OF_A_SERVER);
        Ok(columns)
    }

    pub(super) fn count(&self, db: Db<'_>) -> Result<u64, Fail> {
        db.value(&format!("SELECT count(*) FROM main.{}", self.name), values![]).map(unsigned)
    }

    /// The rows after this key, at most [`Self::at_once`].
    pub(super) fn batch(
        &self,
        db: Db<'_>,
        columns: &[String],
        after: Option<&RowValues>,
    ) -> Result<Vec<RowValues>, Fail> {
        let (keys, behind) = (self.keys.join(", "), self.behind(after));
        let sql = format!(
            "SELECT {} FROM main.{} {behind} ORDER BY {keys} LIMIT {}",
            columns.join(", "),
            self.name,
            self.at_once
        );
        db.all(&sql, Params::Positional(after.map_or(&[], Vec::as_slice)), |row| {
            let value = |(at, column): (usize, &String)| {
                let found = self.value(column, row.cell(at)?);
                found.map_err(|fail| match fail {
                    Fail::NotOurs(problem) => corrupt(format!("{}: {column} {problem}", self.name)),
                    other => other,
                })
            };
            columns.iter().enumerate().map(value).collect()
        })
    }

    fn behind(&self, after: Option<&RowValues>) -> String {
        let marks: Vec<String> = (1..=self.keys.len()).map(|at| format!("?{at}")).collect();
        after.map_or_else(String::new, |_| {
            format!("WHERE ({}) > ({})", self.keys.join(", "), marks.join(", "))
        })
    }

    /// Deletes the rows after this key.
    pub(super) fn cut(&self, db: Db<'_>, after: Option<&RowValues>) -> Result<(), Fail> {
        let sql = format!("DELETE FROM main.{} {}", self.name, self.behind(after));
        db.run(&sql, Params::Positional(after.map_or(&[], Vec::as_slice)))
    }

    /// The key of a row.
    pub(super) fn key(&self, columns: &[String], row: &RowValues) -> RowValues {
        self.keys.iter().filter_map(|key| of_column(columns, row, key)).cloned().collect()
    }

    /// A value in its form for every engine.
    fn value(&self, column: &str, cell: Cell<'_>) -> Result<Value<'static>, Fail> {
        let is_id = self.name == "ts_transactions" && matches!(column, "transaction_id" | "replaced_by");
        Ok(match cell {
            Cell::Null => Value::Null,
            Cell::Int(number) => Value::Int(number),
            cell if is_id => {
                let id: TransactionId = IdColumn::from_cell(cell)?.0;
                match id.compact() {
                    Some(bytes) => Value::Id(StoredId::Compact(bytes)),
                    None => Value::Text(id.as_str().to_owned().into()),
                }
            }
            Cell::Bytes(bytes) => Value::Bytes(bytes.to_vec().into()),
            cell => Value::Text(String::from_cell(cell)?.into()),
        })
    }

    /// Names the first row with a value that PostgreSQL cannot store; does not show the value.
    pub(super) fn unstorable(&self, db: Db<'_>) -> Result<Option<String>, Fail> {
        let columns = self.columns(db)?;
        let mut after: Option<RowValues> = None;
        loop {
            let rows = self.batch(db, &columns, after.as_ref())?;
            for row in &rows {
                let mut values = columns.iter().zip(row);
                let has_nul = |value: &Value<'_>| matches!(value, Value::Text(text) if text.contains('\0'));
                if let Some((column, _)) = values.find(|(_, value)| has_nul(value)) {
                    let whose = whose(db, &columns, row)?;
                    return Ok(Some(format!("{}: {column} of a row{whose} {NUL}", self.name)));
                }
            }
            let Some(last) = rows.last().filter(|_| rows.len() == self.at_once) else { return Ok(None) };
            after = Some(self.key(&columns, last));
        }
    }
}

/// The value of a column.
pub(super) fn of_column<'r>(
    columns: &[String],
    row: &'r RowValues,
    column: &str,
) -> Option<&'r Value<'static>> {
    row.get(columns.iter().position(|known| known == column)?)
}

/// The connection that a row belongs to, for a message; empty if it belongs to none.
fn whose(db: Db<'_>, columns: &[String], row: &RowValues) -> Result<String, Fail> {
    let of = |column| of_column(columns, row, column).cloned().unwrap_or(Value::Null);
    let id: Option<String> = db.one(
        "SELECT connection_id FROM main.ts_connections WHERE key = coalesce(?1, (SELECT connection FROM main.ts_accounts
             WHERE key = coalesce(?2, (SELECT account FROM main.ts_transactions WHERE key = ?3))))",
        values![of("connection"), of("account"), of("transaction_key")],
        |row| row.get(0),
    )?;
    Ok(id.map_or_else(String::new, |id| format!(" of connection {}", shown(&id))))
}

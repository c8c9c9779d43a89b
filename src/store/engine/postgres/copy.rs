//! Copies rows from another store unchanged: a batch in one statement, each column as one array. Knows
//! neither what they mean nor where they come from.

use super::session::Pg;
use super::statement;
use super::value::{Array, Parameter};
use crate::store::engine::{Fail, Params, Row, ToValue as _, Value, values};

/// The type of each column of a table.
const TYPES: &str = "SELECT CAST(attname AS text), format_type(atttypid, NULL) FROM pg_attribute
    WHERE attrelid = to_regclass(?1) AND attnum > 0 AND NOT attisdropped";

/// The last key given in a table, even if its row was deleted.
pub(crate) const LAST_KEY: &str =
    "SELECT coalesce(pg_sequence_last_value(to_regclass(pg_get_serial_sequence(?1, 'key'))), 0)";

pub(crate) const SET_LAST_KEY: &str = "SELECT setval(pg_get_serial_sequence(?1, 'key'), greatest(CAST(?2 AS bigint), 1), CAST(?2 AS bigint) > 0)";

/// Inserts rows with these columns.
pub(crate) fn insert(pg: &Pg, table: &str, columns: &[String], rows: &[Vec<Value<'_>>]) -> Result<(), Fail> {
    let mut types: Vec<(String, String)> = Vec::new();
    statement::each(pg, TYPES, values![format!("tink_sync.{table}")], |row: Row<'_>| {
        types.push((row.get(0)?, row.get(1)?));
        Ok(())
    })?;
    let of = |column: &String| types.iter().find(|(name, _)| name == column).map_or("text", |(_, kind)| kind);
    let casts: Vec<String> =
        (1..).zip(columns).map(|(at, column)| format!("CAST(?{at} AS {}[])", of(column))).collect();
    let sql = format!(
        "INSERT INTO main.{table} ({}) SELECT * FROM unnest({})",
        columns.join(", "),
        casts.join(", ")
    );
    let mut arrays: Vec<Array> = columns.iter().map(|_| Array::with_capacity(rows.len() * 16)).collect();
    for row in rows {
        for (array, value) in arrays.iter_mut().zip(row) {
            array.optional(Parameter::of(value)?.into_text().as_deref())?;
        }
    }
    let texts: Vec<String> = arrays.into_iter().map(Array::written).collect();
    let values: Vec<Value<'_>> = texts.iter().map(|text| text.to_value()).collect();
    pg.send(&sql, Params::Positional(&values))
}

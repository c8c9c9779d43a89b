//! PostgreSQL statements, in the form that the engine uses.

use tokio_postgres::Row as PgRow;

use super::session::Pg;
use crate::store::engine::{Fail, Params, Row};

pub(crate) fn count(pg: &Pg, sql: &str, params: Params<'_, '_>) -> Result<u64, Fail> {
    Ok(pg.ask(sql, params)?.count)
}

pub(crate) fn one<T>(
    pg: &Pg,
    sql: &str,
    params: Params<'_, '_>,
    read: impl FnOnce(Row<'_>) -> Result<T, Fail>,
) -> Result<Option<T>, Fail> {
    pg.ask(sql, params)?.rows.first().map(|row| read(Row::Postgres(row))).transpose()
}

pub(crate) fn each(
    pg: &Pg,
    sql: &str,
    params: Params<'_, '_>,
    mut take: impl FnMut(Row<'_>) -> Result<(), Fail>,
) -> Result<(), Fail> {
    pg.ask(sql, params)?.rows.iter().try_for_each(|row| take(Row::Postgres(row)))
}

pub(crate) fn columns(pg: &Pg, relation: &str) -> Result<Vec<String>, Fail> {
    let names = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
         ORDER BY attnum";
    let relation = super::translate::translate(relation).sql;
    let answer = pg.ask_as_is(names, vec![super::value::Parameter::Text(relation)])?;
    answer.rows.iter().map(|row| Row::Postgres(row).get(0)).collect()
}

/// The index of a column.
pub(crate) fn find(row: &PgRow, column: &str) -> Result<usize, Fail> {
    let place = row.columns().iter().position(|known| known.name() == column);
    place.ok_or_else(|| crate::store::engine::fail::corrupt(format!("there is no column {column}")))
}

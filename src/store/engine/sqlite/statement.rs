//! SQLite statements: binding parameters and reading rows. Each text is prepared once and cached. Does not
//! know what a statement is for.

use jiff::Timestamp;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql};

use crate::store::engine::value::{Cell, StoredId, written_day};
use crate::store::engine::{Fail, Params, Row, Value};

/// Days and Tink's times are texts (`YYYY-MM-DD`, RFC 3339), our own times integers.
impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = |text: String| ToSqlOutput::Owned(text.into());
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Bool(is) => ToSqlOutput::Borrowed(ValueRef::Integer(i64::from(*is))),
            Self::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Id(StoredId::Compact(bytes)) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Id(StoredId::Text(text)) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Day(day) => text(written_day(*day).into_owned()),
            Self::Time(time) => text(Timestamp::to_string(time)),
            Self::Millis(time) => ToSqlOutput::Borrowed(ValueRef::Integer(time.as_millisecond())),
        })
    }
}

/// The prepared statement with its parameters bound. Fails unless all are given: one that is left out would
/// silently count as NULL.
fn bound<'c>(conn: &'c Connection, sql: &str, params: Params<'_, '_>) -> Result<CachedStatement<'c>, Fail> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut given = 0;
    match params {
        Params::Positional(values) => {
            for (at, value) in (1usize..).zip(values) {
                statement.raw_bind_parameter(at, value)?;
            }
            given = values.len();
        }
        Params::Named(values) => {
            for (name, value) in values {
                // Skip a name that this form of the statement does not use.
                if let Some(at) = statement.parameter_index(name)? {
                    statement.raw_bind_parameter(at, value)?;
                    given += 1;
                }
            }
        }
    }
    let wanted = statement.parameter_count();
    if given == wanted { Ok(statement) } else { Err(Fail::parameters(sql)) }
}

pub(crate) fn count(conn: &Connection, sql: &str, params: Params<'_, '_>) -> Result<u64, Fail> {
    Ok(bound(conn, sql, params)?.raw_execute()? as u64)
}

pub(crate) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: Params<'_, '_>,
    read: impl FnOnce(Row<'_>) -> Result<T, Fail>,
) -> Result<Option<T>, Fail> {
    let (mut statement, last) = (bound(conn, sql, params)?, LastColumn::default());
    statement.raw_query().next()?.map(|row| read(Row::Sqlite(row, &last))).transpose()
}

pub(crate) fn walk(
    conn: &Connection,
    sql: &str,
    params: Params<'_, '_>,
    mut take: impl FnMut(Row<'_>) -> Result<bool, Fail>,
) -> Result<(), Fail> {
    let (mut statement, last) = (bound(conn, sql, params)?, LastColumn::default());
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        if !take(Row::Sqlite(row, &last))? {
            break;
        }
    }
    Ok(())
}

pub(crate) fn columns(conn: &Connection, relation: &str) -> Result<Vec<String>, Fail> {
    let statement = conn.prepare(&format!("SELECT * FROM {relation}"))?;
    Ok(statement.column_names().map(str::to_owned).collect())
}

/// The index after the column that was found last.
type LastColumn = std::cell::Cell<usize>;

/// The index of a column; the search starts after the last one found.
pub(crate) fn find(row: &rusqlite::Row<'_>, column: &str, last: &LastColumn) -> Result<usize, Fail> {
    let statement = row.as_ref();
    let is_it = |at: &usize| statement.column_name(*at).is_ok_and(|name| name == column);
    let mut places = (last.get()..statement.column_count()).chain(0..last.get());
    let found = places.find(is_it).ok_or_else(|| rusqlite::Error::InvalidColumnName(column.to_owned()))?;
    last.set(found + 1);
    Ok(found)
}

pub(crate) fn cell<'r>(row: &'r rusqlite::Row<'r>, at: usize) -> Result<Cell<'r>, Fail> {
    Ok(cell_of(row.get_ref(at)?))
}

pub(crate) const fn cell_of(value: ValueRef<'_>) -> Cell<'_> {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Int(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) => Cell::Text(text),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::store::engine::{Db, named, values};

    #[test]
    fn a_parameter_that_is_left_out_is_refused_and_not_null() {
        let conn = Connection::open_in_memory().unwrap();
        let db = Db::Sqlite(&conn);
        let read = |sql: &str, params: Params<'_, '_>| db.value::<Option<i64>>(sql, params).ok();
        assert_eq!(read("SELECT ?1 + ?2", values![1, 2]), Some(Some(3)));
        assert_eq!(read("SELECT ?1 + ?2", values![1]), None);
        assert_eq!(read("SELECT ?1", values![1, 2]), None);
        assert_eq!(
            read("SELECT :one", named! { ":one": 1, ":two": 2 }),
            Some(Some(1)),
            "two is not used here"
        );
        assert_eq!(read("SELECT :one + :tow", named! { ":one": 1, ":two": 2 }), None);
        let fail = db.value::<i64>("SELECT ?1", values![]).unwrap_err();
        let error = fail.explain("read", "store.db".to_owned());
        assert_eq!(Exit::from(&error), Exit::Internal, "that is a bug: {error}");
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let conn = Connection::open_in_memory().unwrap();
        let sql = "SELECT 1 AS a, 2 AS b, 3 AS c UNION ALL SELECT 4, 5, 6";
        let row = |row: Row<'_>| Ok((row.get("b")?, row.get("a")?, row.get("c")?, row.get("b")?));
        let rows: Vec<(i64, i64, i64, i64)> = Db::Sqlite(&conn).all(sql, values![], row).unwrap();
        assert_eq!(rows, [(2, 1, 3, 2), (5, 4, 6, 5)]);
        assert!(Db::Sqlite(&conn).single(sql, values![], |row| row.get::<i64>("d")).is_err());
    }
}

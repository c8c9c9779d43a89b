//! Copies rows from another store unchanged. Knows neither what they mean nor where they come from.

use rusqlite::Connection;

use super::feed;
use crate::store::engine::{Db, Fail, Params, Value, values};

/// The tables whose changes the feed numbers or derives columns from.
const OF_THE_FEED: [&str; 3] = ["ts_connections", "ts_consents", "ts_accounts"];
/// The table whose keys SQLite itself never reuses (AUTOINCREMENT).
const COUNTED: &str = "ts_events";
/// Tables whose keys must not be reused after their last row is deleted.
const REMEMBERED: [&str; 2] = ["ts_connections", "ts_accounts"];

/// Runs `work`, which changes rows of a table, without the feed's triggers on it.
pub(crate) fn quietly<T>(
    conn: &Connection,
    table: &str,
    work: impl FnOnce() -> Result<T, Fail>,
) -> Result<T, Fail> {
    if OF_THE_FEED.contains(&table) { feed::unnumbered(conn, work) } else { work() }
}

/// Inserts rows with these columns.
pub(crate) fn insert(
    conn: &Connection,
    table: &str,
    columns: &[String],
    rows: &[Vec<Value<'_>>],
) -> Result<(), Fail> {
    let marks: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
    let sql = format!("INSERT INTO main.{table} ({}) VALUES ({})", columns.join(", "), marks.join(", "));
    rows.iter().try_for_each(|row| Db::Sqlite(conn).run(&sql, Params::Positional(row)))
}

/// The last key given in a table, even if its row was deleted.
pub(crate) fn last_key(conn: &Connection, table: &str) -> Result<i64, Fail> {
    let sql = format!(
        "SELECT max(coalesce((SELECT max(key) FROM {table}), 0),
                    coalesce((SELECT value FROM ts_sequences WHERE name = ?1), 0),
                    coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?1), 0))"
    );
    Db::Sqlite(conn).value(&sql, values![table])
}

/// Makes the next row get a key above this one.
pub(crate) fn set_last_key(conn: &Connection, table: &str, key: i64) -> Result<(), Fail> {
    let db = Db::Sqlite(conn);
    if table == COUNTED {
        db.run("DELETE FROM sqlite_sequence WHERE name = ?1", values![table])?;
        let counted = "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, ?2 WHERE ?2 > 0";
        return db.run(counted, values![table, key]);
    }
    if REMEMBERED.contains(&table) {
        let sql = format!(
            "INSERT INTO ts_sequences (name, value) SELECT ?1, ?2 WHERE ?2 > (SELECT coalesce(max(key), 0) FROM {table})
             ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        );
        db.run(&sql, values![table, key])?;
    }
    Ok(())
}

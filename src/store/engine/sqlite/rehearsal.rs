//! The overlay of a rehearsal: temporary tables with the same names, over a store that is only read. SQLite
//! finds them first, so the same statements run as in a run. Transactions are not copied, however many there
//! are: a view shows those of the file, minus those that the rehearsal has written, plus its own. The rest of
//! a connection's data is small, and is copied when the connection is claimed. Must not touch the file.

use rusqlite::Connection;

use super::feed;
use crate::store::engine::{Db, Fail};

/// The rows that the rehearsal has written. A deleted row is stored under its account's negated key.
const OWN_ROWS: &str = "ts_rehearsed";

/// Keys of new rows begin this far above the file's: other processes may write to it meanwhile.
const GAP: i64 = 1 << 40;

/// The tables that are copied for a connection, and which of their rows.
const OF_CONNECTION: [(&str, &str); 4] = [
    ("ts_anomalies", "connection = ?1"),
    ("ts_consents", "connection = ?1"),
    ("ts_account_ids", "connection = ?1"),
    ("ts_accounts", "connection = ?1"),
];
const OF_ACCOUNT: [(&str, &str); 3] = [
    ("ts_sums", "account IN (SELECT key FROM temp.ts_accounts WHERE connection = ?1)"),
    ("ts_balances", "account IN (SELECT key FROM temp.ts_accounts WHERE connection = ?1)"),
    ("ts_quarantine", "account IN (SELECT key FROM temp.ts_accounts WHERE connection = ?1)"),
];

/// Creates the overlay, filled by `fill`.
pub(crate) fn lay(conn: &Connection, fill: &dyn Fn(Db<'_>) -> Result<(), Fail>) -> Result<(), Fail> {
    lay_tables(conn)?;
    fill(Db::Sqlite(conn))?;
    Ok(feed::lay(conn)?)
}

/// Runs `work` on an overlay that is dropped afterwards; the snapshot below it stays open.
pub(crate) fn within<T>(
    conn: &Connection,
    fill: &dyn Fn(Db<'_>) -> Result<(), Fail>,
    work: impl FnOnce(Db<'_>) -> Result<T, Fail>,
) -> Result<T, Fail> {
    conn.execute_batch("SAVEPOINT rehearsal")?;
    let done = lay(conn, fill).and_then(|()| work(Db::Sqlite(conn)));
    conn.execute_batch("ROLLBACK TO rehearsal; RELEASE rehearsal")?;
    done
}

/// Creates an empty temporary table over every base table, and the view over the transactions.
fn lay_tables(db: &Connection) -> rusqlite::Result<()> {
    let mut statements = db.prepare(
        "SELECT type, tbl_name, sql FROM main.sqlite_master
         WHERE tbl_name LIKE 'ts\\_%' ESCAPE '\\' AND type IN ('table', 'index') AND sql IS NOT NULL
         ORDER BY type DESC",
    )?;
    let mut rows = statements.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, table, sql): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let sql = match kind.as_str() {
            "table" => sql.replacen("CREATE TABLE ", "CREATE TEMP TABLE ", 1),
            _ => sql.replacen("INDEX ", "INDEX temp.", 1),
        };
        let sql = if table == "ts_transactions" { of_own_rows(&sql, &kind) } else { sql };
        db.execute_batch(&sql)?;
    }
    db.execute_batch(&overlay(&columns(db)?))?;
    reserve_keys(db)
}

/// Rewrites the statement that creates `ts_transactions`, or an index on it, for the rehearsal's own rows.
fn of_own_rows(sql: &str, kind: &str) -> String {
    let (before, after) = match kind {
        "table" => ("TABLE ts_transactions", format!("TABLE {OWN_ROWS}")),
        _ => (" ON ts_transactions", format!(" ON {OWN_ROWS}")),
    };
    sql.replacen(before, &after, 1)
}

/// A column of the transactions, and its default.
type TableColumn = (String, Option<String>);

fn columns(db: &Connection) -> rusqlite::Result<Vec<TableColumn>> {
    let mut columns =
        db.prepare("SELECT name, dflt_value FROM pragma_table_info('ts_transactions', 'main')")?;
    columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The SQL of the view and of its triggers.
fn overlay(columns: &[TableColumn]) -> String {
    let list =
        |value: &dyn Fn(&TableColumn) -> String| columns.iter().map(value).collect::<Vec<_>>().join(", ");
    let names = list(&|(name, _)| name.clone());
    let inserted = list(&|(name, default)| match default {
        Some(default) => format!("coalesce(new.{name}, {default})"),
        None => format!("new.{name}"),
    });
    let updated = list(&|(name, _)| format!("new.{name}"));
    let deleted = list(&|(name, _)| match name.as_str() {
        "account" => "-old.account".to_owned(),
        name => format!("old.{name}"),
    });
    let replace = format!("INSERT OR REPLACE INTO {OWN_ROWS} ({names}) VALUES");
    format!(
        "CREATE TEMP VIEW ts_transactions AS
         SELECT {names} FROM main.ts_transactions t
         WHERE NOT EXISTS (SELECT 1 FROM temp.{OWN_ROWS} r WHERE r.key = t.key)
         UNION ALL SELECT {names} FROM temp.{OWN_ROWS};
         CREATE TEMP TRIGGER {OWN_ROWS}_insert INSTEAD OF INSERT ON ts_transactions BEGIN
             INSERT INTO {OWN_ROWS} ({names}) VALUES ({inserted}); END;
         CREATE TEMP TRIGGER {OWN_ROWS}_update INSTEAD OF UPDATE ON ts_transactions BEGIN {replace} ({updated}); END;
         CREATE TEMP TRIGGER {OWN_ROWS}_delete INSTEAD OF DELETE ON ts_transactions BEGIN {replace} ({deleted}); END"
    )
}

/// Makes the keys of rows that a rehearsal creates begin above all of ours: a row created for one connection
/// must not take the key of another's.
fn reserve_keys(db: &Connection) -> rusqlite::Result<()> {
    for (ours, table, owner) in [
        ("ts_accounts", "ts_accounts", "connection"),
        (OWN_ROWS, "ts_transactions", "account"),
        ("ts_quarantine", "ts_quarantine", "account"),
    ] {
        db.execute_batch(&format!(
            "INSERT INTO temp.{ours} SELECT * FROM main.{table} ORDER BY key DESC LIMIT 1;
             UPDATE temp.{ours} SET key = key + {GAP}, {owner} = 0"
        ))?;
    }
    Ok(())
}

/// Whether there is an overlay. The rehearsal of a store that does not exist yet has none: all of it is in
/// memory.
pub(super) fn is_laid(db: &Connection) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM sqlite_temp_master WHERE name = 'ts_accounts')")?
        .query_row([], |row| row.get(0))
}

/// The key of the transaction that was inserted last: SQLite's own function does not report what a trigger of a
/// view inserts, and new keys are above all others.
pub(super) fn last_key(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached(&format!("SELECT max(key) FROM temp.{OWN_ROWS}"))?.query_row([], |row| row.get(0))
}

/// Copies a connection's rows, except its transactions, into the temporary tables.
pub(crate) fn shadow(db: &Connection, connection: i64) -> rusqlite::Result<()> {
    if !is_laid(db)? {
        return Ok(());
    }
    for (table, condition) in OF_CONNECTION.iter().chain(&OF_ACCOUNT) {
        db.prepare_cached(&format!("INSERT INTO temp.{table} SELECT * FROM main.{table} WHERE {condition}"))?
            .execute([connection])?;
    }
    Ok(())
}

/// Deletes what was copied and written for one connection, so that it does not accumulate.
pub(crate) fn unshadow(db: &Connection, connection: i64) -> rusqlite::Result<()> {
    if !is_laid(db)? {
        return Ok(());
    }
    for sign in ["", "-"] {
        db.prepare_cached(&format!(
            "DELETE FROM temp.{OWN_ROWS} WHERE account IN (SELECT {sign}key FROM temp.ts_accounts WHERE connection = ?1)"
        ))?
        .execute([connection])?;
    }
    for (table, condition) in OF_ACCOUNT.iter().chain(&OF_CONNECTION) {
        db.prepare_cached(&format!("DELETE FROM temp.{table} WHERE {condition}"))?.execute([connection])?;
    }
    Ok(())
}

/// Records that one connection takes over the data of another.
pub(crate) fn note_takeover(db: &Connection, from: i64, to: i64) -> rusqlite::Result<()> {
    db.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS takeovers (held INTEGER NOT NULL, taker INTEGER NOT NULL)",
    )?;
    db.prepare_cached("INSERT INTO temp.takeovers VALUES (?1, ?2)")?.execute([from, to]).map(drop)
}

/// The connections whose rows a connection takes over.
pub(crate) fn takeovers(db: &Connection, taker: i64) -> rusqlite::Result<Vec<i64>> {
    let made = "SELECT EXISTS (SELECT 1 FROM temp.sqlite_master WHERE name = 'takeovers')";
    if !db.prepare_cached(made)?.query_row([], |row| row.get(0))? {
        return Ok(Vec::new());
    }
    let mut held = db.prepare_cached("SELECT held FROM temp.takeovers WHERE taker = ?1")?;
    held.query_map([taker], |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{open, rows, schema};
    use super::*;
    use crate::domain::amount::{Amount, Money};
    use crate::domain::texts::TextFields;
    use crate::domain::transaction::{Status, Transaction};
    use crate::store::engine::Written;
    use crate::store::types::FetchedRow;

    fn row(id: &str) -> FetchedRow {
        let transaction = Transaction {
            id: id.into(),
            status: Status::Booked,
            money: Money { amount: Amount::from_parts("-1300", "1").unwrap(), currency: "EUR".to_owned() },
            booked_date: None,
            value_date: None,
            transaction_date: None,
            booked_at: None,
            texts: TextFields::<&str>::default().into(),
        };
        FetchedRow { transaction, raw: None }
    }

    /// Inserts 23 rows, which is more than two statements insert together; asserts that each is reported with its own key and
    /// has the next change number.
    fn assert_own_keys(db: &Connection, named: &str, first: i64) {
        let of = Written { account: 1, run: 1, generation: 1, is_last: true };
        let ids: Vec<String> = (0..23).map(|n| format!("{named}-{n}")).collect();
        let keys = rows::insert(db, &of, &ids.iter().map(|id| row(id)).collect::<Vec<_>>(), first).unwrap();
        let stored = |key: i64| -> (String, i64) {
            let sql = "SELECT transaction_id, change_seq FROM ts_transactions WHERE key = ?1";
            db.query_row(sql, [key], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
        };
        assert_eq!(
            keys.into_iter().map(stored).collect::<Vec<_>>(),
            ids.into_iter().zip(first..).collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_rows_of_a_pass_and_of_a_rehearsal_are_reported_with_their_own_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let mut file = Connection::open(&path).unwrap();
        schema::migrate(&mut file, 0).unwrap();
        assert_own_keys(&file, "t", 1);
        let db = open::connect_read_only(&path).unwrap();
        let copy = |db: Db<'_>| db.batch("INSERT INTO temp.ts_sequences SELECT * FROM main.ts_sequences");
        lay(&db, &copy).unwrap();
        assert_own_keys(&db, "u", 24);
    }
}

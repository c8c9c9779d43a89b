//! The overlay of a rehearsal: temporary tables with the same names, over a store that is only read; they are
//! found first. It lives in one transaction that is rolled back. Must not touch the tables themselves.

use super::session::Pg;
use crate::store::engine::{Db, Fail, values};

const TABLES: &str = include_str!("rehearsal.sql");
const TRIGGERS: &str = include_str!("rehearsal_triggers.sql");

/// The tables that are copied for a connection, and which of their rows.
const OF_CONNECTION: [&str; 4] = ["ts_anomalies", "ts_consents", "ts_account_ids", "ts_accounts"];
const OF_ACCOUNT: [&str; 3] = ["ts_sums", "ts_balances", "ts_quarantine"];
const OF_ITS_ACCOUNTS: &str = "account IN (SELECT key FROM temp.ts_accounts WHERE connection = ?1)";

/// Creates the overlay, filled by `fill`. From then on nothing else can be written.
pub(crate) fn lay(pg: &Pg, fill: &dyn Fn(Db<'_>) -> Result<(), Fail>) -> Result<(), Fail> {
    pg.batch_as_is(TABLES)?;
    fill(Db::Postgres(pg))?;
    pg.batch_as_is(TRIGGERS)?;
    pg.batch_as_is("SET TRANSACTION READ ONLY")
}

/// Runs `work` on an overlay that is dropped afterwards; the snapshot below it stays open.
pub(crate) fn within<T>(
    pg: &Pg,
    fill: &dyn Fn(Db<'_>) -> Result<(), Fail>,
    work: impl FnOnce(Db<'_>) -> Result<T, Fail>,
) -> Result<T, Fail> {
    pg.batch_as_is("SAVEPOINT rehearsal")?;
    let done = lay(pg, fill).and_then(|()| {
        let done = work(Db::Postgres(pg))?;
        pg.flush()?;
        Ok(done)
    });
    pg.batch_as_is("ROLLBACK TO rehearsal; RELEASE rehearsal")?;
    pg.forget_statements();
    pg.forget_answers();
    done
}

/// Copies a connection's rows, except its transactions, into the temporary tables.
pub(crate) fn shadow(pg: &Pg, connection: i64) -> Result<(), Fail> {
    let of_connection = OF_CONNECTION.iter().map(|table| (table, "connection = ?1"));
    for (table, which) in of_connection.chain(OF_ACCOUNT.iter().map(|table| (table, OF_ITS_ACCOUNTS))) {
        let copy = format!("INSERT INTO temp.{table} SELECT * FROM main.{table} WHERE {which}");
        pg.send(&copy, values![connection])?;
    }
    Ok(())
}

/// Deletes what was copied and written for one connection, so that it does not accumulate.
pub(crate) fn unshadow(pg: &Pg, connection: i64) -> Result<(), Fail> {
    let written = "DELETE FROM temp.ts_rehearsed WHERE abs(account) IN (SELECT key FROM temp.ts_accounts WHERE connection = ?1)";
    pg.send(written, values![connection])?;
    let of_accounts = OF_ACCOUNT.iter().map(|table| (table, OF_ITS_ACCOUNTS));
    for (table, which) in of_accounts.chain(OF_CONNECTION.iter().map(|table| (table, "connection = ?1"))) {
        pg.send(&format!("DELETE FROM temp.{table} WHERE {which}"), values![connection])?;
    }
    Ok(())
}

/// Records that one connection takes over the data of another.
pub(crate) fn note_takeover(pg: &Pg, from: i64, to: i64) -> Result<(), Fail> {
    pg.send("INSERT INTO temp.takeovers VALUES (?1, ?2)", values![from, to])
}

/// The connections whose rows a connection takes over.
pub(crate) fn takeovers(pg: &Pg, taker: i64) -> Result<Vec<i64>, Fail> {
    Db::Postgres(pg).column("SELECT held FROM temp.takeovers WHERE taker = ?1", values![taker])
}

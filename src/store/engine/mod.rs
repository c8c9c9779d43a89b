//! The layer below the store's logic: typed statements, rows, failures, and the thread that owns a
//! connection. The logic is written once, over [`Db`]; code specific to one database is in its own module.

pub(crate) mod context;
pub(crate) mod fail;
pub(crate) mod job;
mod numbers;
mod opening;
pub mod postgres;
pub(crate) mod publication;
pub mod sqlite;
pub(crate) mod value;
pub(crate) mod worker;

use std::cell::Cell;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::domain::amount::Money;
use crate::domain::connection::TinkUser;
use crate::store::types::FetchedRow;
pub(crate) use context::{Context, DbSession};
pub(crate) use fail::Fail;
use postgres::session::Pg;
pub(crate) use sqlite::rows::Written;
use value::{DateColumn, Decimal, Millis, TimeColumn};
pub(crate) use value::{FromCell, ToValue, Value};

/// An open connection, inside or outside a transaction, for functions that run statements.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Db<'c> {
    /// A SQLite file.
    Sqlite(&'c rusqlite::Connection),
    /// A session with a PostgreSQL server.
    Postgres(&'c Pg),
}

/// The parameters of a statement: by position (`?1` is the first), or by name (`:name`).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Params<'p, 'v> {
    Positional(&'p [Value<'v>]),
    Named(&'p [(&'p str, Value<'v>)]),
}

/// The parameters `?1`, `?2` … of a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        $crate::store::engine::Params::Positional(&[$($crate::store::engine::ToValue::to_value(&$value)),*])
    };
}
pub(crate) use values;

/// The parameters of a statement by name.
macro_rules! named {
    ($($name:literal: $value:expr),* $(,)?) => {
        $crate::store::engine::Params::Named(&[$(($name, $crate::store::engine::ToValue::to_value(&$value))),*])
    };
}
pub(crate) use named;

/// One row of a result.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row<'r> {
    /// A SQLite row, with the index after the column last found by name: the next one read is usually there.
    Sqlite(&'r rusqlite::Row<'r>, &'r Cell<usize>),
    /// A PostgreSQL row.
    Postgres(&'r tokio_postgres::Row),
}

impl Db<'_> {
    /// Runs a statement whose result does not matter. On PostgreSQL it travels with the next query, and a
    /// failure is reported by that query or by the commit.
    pub(crate) fn run(self, sql: &str, params: Params<'_, '_>) -> Result<(), Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::statement::count(conn, sql, params).map(drop),
            Self::Postgres(pg) => pg.send(sql, params),
        }
    }

    /// Prefetches the answer to a later query: on PostgreSQL it travels with the next round trip. The later
    /// query must have the same text and parameters.
    pub(crate) fn ahead(self, sql: &str, params: Params<'_, '_>) -> Result<(), Fail> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(pg) => pg.ahead(sql, params),
        }
    }

    /// Discards prefetched answers that were not used: their data has changed since.
    pub(crate) fn forget_ahead(self) {
        if let Self::Postgres(pg) = self {
            pg.forget_answers();
        }
    }

    /// Runs a statement that changes rows; returns the number of rows.
    pub(crate) fn count(self, sql: &str, params: Params<'_, '_>) -> Result<u64, Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::statement::count(conn, sql, params),
            Self::Postgres(pg) => postgres::statement::count(pg, sql, params),
        }
    }

    /// The first row of a result, if any.
    pub(crate) fn one<T>(
        self,
        sql: &str,
        params: Params<'_, '_>,
        read: impl FnOnce(Row<'_>) -> Result<T, Fail>,
    ) -> Result<Option<T>, Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::statement::one(conn, sql, params, read),
            Self::Postgres(pg) => postgres::statement::one(pg, sql, params, read),
        }
    }

    /// The row of a statement that always has one.
    ///
    /// # Errors
    /// [`Fail::NoRow`] if it has none.
    pub(crate) fn single<T>(
        self,
        sql: &str,
        params: Params<'_, '_>,
        read: impl FnOnce(Row<'_>) -> Result<T, Fail>,
    ) -> Result<T, Fail> {
        self.one(sql, params, read)?.ok_or(Fail::NoRow)
    }

    /// The first column of the first row.
    ///
    /// # Errors
    /// [`Fail::NoRow`] if there is no row.
    pub(crate) fn value<T: FromCell>(self, sql: &str, params: Params<'_, '_>) -> Result<T, Fail> {
        self.single(sql, params, |row| row.get(0))
    }

    /// Whether there is a row.
    pub(crate) fn exists(self, sql: &str, params: Params<'_, '_>) -> Result<bool, Fail> {
        Ok(self.one(sql, params, |_| Ok(()))?.is_some())
    }

    /// Passes the rows of a result to `take` one by one, until it returns `false`; for results of any length.
    pub(crate) fn walk(
        self,
        sql: &str,
        params: Params<'_, '_>,
        mut take: impl FnMut(Row<'_>) -> Result<bool, Fail>,
    ) -> Result<(), Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::statement::walk(conn, sql, params, take),
            Self::Postgres(pg) => pg.walk(sql, params, |row| take(Row::Postgres(row))),
        }
    }

    /// Passes each row of a result to `take`.
    pub(crate) fn each(
        self,
        sql: &str,
        params: Params<'_, '_>,
        mut take: impl FnMut(Row<'_>) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::statement::walk(conn, sql, params, |row| take(row).map(|()| true)),
            Self::Postgres(pg) => postgres::statement::each(pg, sql, params, take),
        }
    }

    /// All rows of a result, in any collection.
    pub(crate) fn all<T, C: Default + Extend<T> + IntoIterator<Item = T>>(
        self,
        sql: &str,
        params: Params<'_, '_>,
        mut read: impl FnMut(Row<'_>) -> Result<T, Fail>,
    ) -> Result<C, Fail> {
        let mut all = C::default();
        self.each(sql, params, |row| {
            all.extend([read(row)?]);
            Ok(())
        })?;
        Ok(all)
    }

    /// The first column of all rows.
    pub(crate) fn column<T: FromCell, C: Default + Extend<T> + IntoIterator<Item = T>>(
        self,
        sql: &str,
        params: Params<'_, '_>,
    ) -> Result<C, Fail> {
        self.all(sql, params, |row| row.get(0))
    }

    /// Runs several statements that have no parameters.
    pub(crate) fn batch(self, sql: &str) -> Result<(), Fail> {
        match self {
            Self::Sqlite(conn) => Ok(conn.execute_batch(sql)?),
            Self::Postgres(pg) => pg.batch(sql),
        }
    }

    /// Inserts rows that a walk found in an account, with change numbers from `first` on. Returns their keys;
    /// on PostgreSQL only if `keys` is set.
    pub(crate) fn insert_rows(
        self,
        of: &Written,
        rows: &[FetchedRow],
        first: i64,
        keys: bool,
    ) -> Result<Vec<i64>, Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::rows::insert(conn, of, rows, first),
            Self::Postgres(pg) => postgres::rows::insert(pg, of, rows, first, keys),
        }
    }

    /// Overwrites rows by their keys, with change numbers from `first` on.
    pub(crate) fn update_rows(
        self,
        of: &Written,
        rows: &[(i64, FetchedRow)],
        first: i64,
    ) -> Result<(), Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::rows::update(conn, of, rows, first),
            Self::Postgres(pg) => postgres::rows::update(pg, of, rows, first),
        }
    }

    /// The names of the columns of a view or table.
    pub(crate) fn columns(self, relation: &str) -> Result<Vec<String>, Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::statement::columns(conn, relation),
            Self::Postgres(pg) => postgres::statement::columns(pg, relation),
        }
    }

    /// The damage that SQLite finds in its file; `None` if it is sound or too large, and for a server.
    pub(crate) fn damage(self, path: &Path) -> Result<Option<String>, Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::open::damage(conn, path),
            Self::Postgres(_) => Ok(None),
        }
    }

    /// Runs `work` on an overlay over this snapshot, filled by `fill`. The overlay is dropped afterwards.
    pub(crate) fn rehearsing<T>(
        self,
        fill: impl Fn(Db<'_>) -> Result<(), Fail>,
        work: impl FnOnce(Db<'_>) -> Result<T, Fail>,
    ) -> Result<T, Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::rehearsal::within(conn, &fill, work),
            Self::Postgres(pg) => postgres::rehearsal::within(pg, &fill, work),
        }
    }

    /// Copies a connection's rows, except its transactions, into a rehearsal's own tables.
    pub(crate) fn shadow(self, connection: i64) -> Result<(), Fail> {
        match self {
            Self::Sqlite(conn) => Ok(sqlite::rehearsal::shadow(conn, connection)?),
            Self::Postgres(pg) => postgres::rehearsal::shadow(pg, connection),
        }
    }

    /// Deletes what a rehearsal copied and wrote for one connection, so that it does not accumulate.
    pub(crate) fn unshadow(self, connection: i64) -> Result<(), Fail> {
        match self {
            Self::Sqlite(conn) => Ok(sqlite::rehearsal::unshadow(conn, connection)?),
            Self::Postgres(pg) => postgres::rehearsal::unshadow(pg, connection),
        }
    }

    /// Records in a rehearsal that one connection takes over the data of another.
    pub(crate) fn note_takeover(self, from: i64, to: i64) -> Result<(), Fail> {
        match self {
            Self::Sqlite(conn) => Ok(sqlite::rehearsal::note_takeover(conn, from, to)?),
            Self::Postgres(pg) => postgres::rehearsal::note_takeover(pg, from, to),
        }
    }

    /// The connections whose rows a connection takes over in a rehearsal.
    pub(crate) fn takeovers(self, taker: i64) -> Result<Vec<i64>, Fail> {
        match self {
            Self::Sqlite(conn) => Ok(sqlite::rehearsal::takeovers(conn, taker)?),
            Self::Postgres(pg) => postgres::rehearsal::takeovers(pg, taker),
        }
    }

    /// Runs `work`, which copies rows of a table unchanged: none gets a new number, and no column is derived.
    pub(crate) fn copying<T>(
        self,
        table: &str,
        work: impl FnOnce(Db<'_>) -> Result<T, Fail>,
    ) -> Result<T, Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::copy::quietly(conn, table, || work(self)),
            Self::Postgres(pg) => {
                pg.send("SET LOCAL tink_sync.copying = 'on'", values![])?;
                work(self)
            }
        }
    }

    /// Inserts rows with these columns.
    pub(crate) fn copy_rows(
        self,
        table: &str,
        columns: &[String],
        rows: &[Vec<Value<'_>>],
    ) -> Result<(), Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::copy::insert(conn, table, columns, rows),
            Self::Postgres(pg) => postgres::copy::insert(pg, table, columns, rows),
        }
    }

    /// Whether processes on other hosts may use the same store.
    pub(crate) const fn is_shared(self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// The time by the clock that all hosts share; `None` for a file, which has one host.
    pub(crate) fn shared_now(self) -> Result<Option<Timestamp>, Fail> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(_) => {
                self.value::<Millis>(postgres::schema::NOW, values![]).map(|now| Some(now.0))
            }
        }
    }

    /// Prefetches [`Self::shared_now`] on PostgreSQL.
    pub(crate) fn shared_now_ahead(self) -> Result<(), Fail> {
        self.ahead(postgres::schema::NOW, values![])
    }

    /// Locks these connections until the transaction ends, so that no other process claims or mirrors them;
    /// returns those that could be locked. Does nothing for a file, which has one writer at a time.
    pub(crate) fn lock_connections<C>(self, keys: impl Iterator<Item = i64>) -> Result<C, Fail>
    where
        C: Default + Extend<i64> + FromIterator<i64> + IntoIterator<Item = i64>,
    {
        match self {
            Self::Sqlite(_) => Ok(keys.collect()),
            Self::Postgres(_) => self.column(postgres::schema::LOCK, values![value::json_numbers(keys)]),
        }
    }

    /// Sends [`Self::lock_connections`] ahead of the next query, which then sees the locked state.
    pub(crate) fn lock_ahead(self, keys: impl Iterator<Item = i64>) -> Result<(), Fail> {
        self.ahead(postgres::schema::LOCK, values![value::json_numbers(keys)])
    }

    /// Locks these ids until the transaction ends. Not needed for a file, which has one writer at a time.
    pub(crate) fn lock_ids<'i>(self, ids: impl Iterator<Item = &'i str>) -> Result<(), Fail> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => self.run(postgres::schema::LOCK_IDS, values![value::json_list(ids)]),
        }
    }

    /// Keeps other hosts from mirroring the source view until the transaction ends: what is stored of it must not
    /// change meanwhile. Call it before anything else that locks. Not needed for a file.
    pub(crate) fn lock_view(self) -> Result<(), Fail> {
        self.lock_ids(std::iter::once("the source view"))
    }

    /// Keeps other processes from beginning a run until the transaction ends, after waiting for those that just
    /// begin one. Call it before anything else that locks. Not needed for a file.
    pub(crate) fn lock_runs(self) -> Result<(), Fail> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => self.batch(postgres::schema::LOCK_RUNS),
        }
    }

    /// Keeps other processes from writing tokens until the transaction ends. Call it before anything else that
    /// locks, so that two cannot deadlock. Not needed for a file, which has one writer at a time.
    pub(crate) fn lock_tokens(self) -> Result<(), Fail> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => self.batch(postgres::schema::LOCK_TOKENS),
        }
    }

    /// Notes which entitlements have ended or resumed since a run last checked, for the feed's numbers.
    pub(crate) fn note_lapses(self) -> Result<(), Fail> {
        match self {
            Self::Sqlite(conn) => Ok(sqlite::feed::note_lapses(conn)?),
            Self::Postgres(pg) => {
                postgres::schema::note_lapses(pg);
                Ok(())
            }
        }
    }
}

/// A column, by its position or its name.
pub(crate) trait Column: Copy {
    fn find(self, row: Row<'_>) -> Result<usize, Fail>;
}

impl Column for usize {
    fn find(self, _: Row<'_>) -> Result<usize, Fail> {
        Ok(self)
    }
}

impl Column for &str {
    fn find(self, row: Row<'_>) -> Result<usize, Fail> {
        match row {
            Row::Sqlite(row, last) => sqlite::statement::find(row, self, last),
            Row::Postgres(row) => postgres::statement::find(row, self),
        }
    }
}

impl<'r> Row<'r> {
    /// Reads a column.
    ///
    /// # Errors
    /// [`Fail::NotOurs`] names the column if it holds something else.
    pub(crate) fn get<T: FromCell>(self, column: impl Column) -> Result<T, Fail> {
        let at = column.find(self)?;
        T::from_cell(self.cell(at)?).map_err(|e| e.of_column(self.name(at)).into())
    }

    /// The raw value of a column.
    pub(crate) fn cell(self, at: usize) -> Result<value::Cell<'r>, Fail> {
        match self {
            Self::Sqlite(row, _) => sqlite::statement::cell(row, at),
            Self::Postgres(row) => postgres::value::cell(row, at),
        }
    }

    /// The name of a column; empty if there is no such column.
    pub(crate) fn name(self, at: usize) -> &'r str {
        match self {
            Self::Sqlite(row, _) => row.as_ref().column_name(at).unwrap_or_default(),
            Self::Postgres(row) => row.columns().get(at).map_or("", tokio_postgres::Column::name),
        }
    }

    /// The number of columns.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Sqlite(row, _) => row.as_ref().column_count(),
            Self::Postgres(row) => row.len(),
        }
    }

    /// Reads an optional text without copying it.
    pub(crate) fn text(self, column: impl Column) -> Result<Option<&'r str>, Fail> {
        let at = column.find(self)?;
        self.cell(at)?.text_or_null().map_err(|e| e.of_column(self.name(at)).into())
    }

    /// Reads an optional day.
    pub(crate) fn day(self, column: impl Column) -> Result<Option<Date>, Fail> {
        Ok(self.get::<Option<DateColumn>>(column)?.map(|day| day.0))
    }

    /// Reads an optional timestamp from Tink.
    pub(crate) fn time(self, column: impl Column) -> Result<Option<Timestamp>, Fail> {
        Ok(self.get::<Option<TimeColumn>>(column)?.map(|time| time.0))
    }

    /// Reads an optional timestamp of our own.
    pub(crate) fn millis(self, column: impl Column) -> Result<Option<Timestamp>, Fail> {
        Ok(self.get::<Option<Millis>>(column)?.map(|time| time.0))
    }

    /// Reads an amount with its currency from two columns; `None` if one of them is NULL.
    pub(crate) fn money(self, amount: impl Column, currency: impl Column) -> Result<Option<Money>, Fail> {
        let (amount, currency) = (self.get::<Option<Decimal>>(amount)?, self.get(currency)?);
        Ok(amount.zip(currency).map(|(Decimal(amount), currency)| Money { amount, currency }))
    }

    /// Reads a Tink user from its two columns.
    pub(crate) fn tink_user(self) -> Result<Option<TinkUser>, Fail> {
        if let Some(id) = self.get::<Option<String>>("external_user_id")? {
            return Ok(Some(TinkUser::External(id)));
        }
        Ok(self.get::<Option<String>>("tink_user_id")?.map(TinkUser::Tink))
    }
}

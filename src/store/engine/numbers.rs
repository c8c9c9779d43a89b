//! Counters of a store, which each engine implements in its own way: change numbers of rows and keys of
//! tables. Does not decide which row gets one, or when.

use super::{Db, Fail, postgres, sqlite, values};

/// Takes change numbers; returns the last. A file has one writer at a time.
const TAKE_CHANGES: &str = "UPDATE ts_sequences SET value = value + ?1 WHERE name = 'change' RETURNING value";

/// A key for a new row on PostgreSQL.
const NEXT_KEY: &str = "SELECT tink_sync.ts_next_key(?1)";

/// The number of rows that a transaction may number without announcing it.
const FEW: usize = 1000;

impl Db<'_> {
    /// Takes change numbers; returns the first.
    pub(crate) fn reserve_changes(self, count: usize) -> Result<i64, Fail> {
        let before_last = i64::try_from(count).unwrap_or(i64::MAX) - 1;
        let take = match self {
            Self::Sqlite(_) => TAKE_CHANGES,
            Self::Postgres(_) => "SELECT tink_sync.ts_take_in_turn(?1)",
        };
        Ok(self.value::<i64>(take, values![count])? - before_last)
    }

    /// Takes change numbers without a round trip; returns the first, to which the caller must add
    /// [`Self::changes_base`]. The transaction must wait for its turn before it ends.
    pub(crate) fn take_changes(self, count: usize) -> Result<i64, Fail> {
        match self {
            Self::Sqlite(_) => self.reserve_changes(count),
            Self::Postgres(pg) => {
                // Queried first, because from `ts_take` on other transactions wait for this one.
                postgres::rows::get_ready(pg)?;
                self.run("SELECT tink_sync.ts_take(?1)", values![count])?;
                Ok(1 - i64::try_from(count).unwrap_or(i64::MAX))
            }
        }
    }

    /// The SQL expression to add to the numbers of [`Self::take_changes`].
    pub(crate) const fn changes_base(self) -> &'static str {
        match self {
            Self::Sqlite(_) => "0",
            Self::Postgres(_) => "tink_sync.ts_taken()",
        }
    }

    /// Makes the transaction wait until no other can commit smaller change numbers, without a round trip.
    pub(crate) fn wait_for_turn(self) -> Result<(), Fail> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => self.run("SELECT tink_sync.ts_turn()", values![]),
        }
    }

    /// Announces how many rows the transaction may number as it commits; must come before the first of them.
    /// For more than a thousand, no other transaction takes numbers meanwhile.
    pub(crate) fn expect_changes(self, count: usize) -> Result<(), Fail> {
        match self {
            Self::Postgres(_) if count > FEW => {
                self.run("SELECT set_config('tink_sync.alone', 'on', true)", values![])
            }
            _ => Ok(()),
        }
    }

    /// A key for a new row that no row has had before, deleted ones included.
    pub(crate) fn new_key(self, table: &str) -> Result<i64, Fail> {
        match self {
            Self::Sqlite(_) => {
                let sql = format!(
                    "SELECT max(coalesce((SELECT max(key) FROM {table}), 0),
                                coalesce((SELECT value FROM ts_sequences WHERE name = '{table}'), 0)) + 1"
                );
                self.value(&sql, values![])
            }
            Self::Postgres(_) => self.value(NEXT_KEY, values![table]),
        }
    }

    /// Prefetches [`Self::new_key`] on PostgreSQL.
    pub(crate) fn new_key_ahead(self, table: &str) -> Result<(), Fail> {
        self.ahead(NEXT_KEY, values![table])
    }

    /// The last key given in a table, even if its row was deleted.
    pub(crate) fn last_key(self, table: &str) -> Result<i64, Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::copy::last_key(conn, table),
            Self::Postgres(_) => self.value(postgres::copy::LAST_KEY, values![format!("tink_sync.{table}")]),
        }
    }

    /// Makes the next row of a table get a key above this one.
    pub(crate) fn set_last_key(self, table: &str, key: i64) -> Result<(), Fail> {
        match self {
            Self::Sqlite(conn) => sqlite::copy::set_last_key(conn, table, key),
            Self::Postgres(_) => {
                self.run(postgres::copy::SET_LAST_KEY, values![format!("tink_sync.{table}"), key])
            }
        }
    }
}

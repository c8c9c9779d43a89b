//! Compares two stores: reads both from end to end, and computes counts and checksums of each table and of
//! the transactions of each account.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::table::{RowValues, TABLES, Table, of_column};
use crate::store::Result;
use crate::store::engine::Value;
use crate::store::engine::value::StoredId;

/// The size and checksum of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSum {
    /// Its name.
    pub table: &'static str,
    /// The number of rows.
    pub rows: u64,
    /// The sum of the digests of all rows, in any order; `None` if they were only counted.
    pub checksum: Option<u128>,
}

/// The result of a comparison.
pub(super) struct Compared {
    pub tables: Vec<TableSum>,
    /// Descriptions of what is not equal.
    pub differing: Vec<String>,
}

/// The number of rows, and the sum of their digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RowSum {
    rows: u64,
    checksum: u128,
}

impl RowSum {
    fn add(&mut self, digest: u128) {
        self.rows = self.rows.wrapping_add(1);
        self.checksum = self.checksum.wrapping_add(digest);
    }

    fn of(self, table: &Table) -> TableSum {
        TableSum { table: table.name, rows: self.rows, checksum: Some(self.checksum) }
    }

    fn take(&mut self, digest: u128) {
        self.rows = self.rows.wrapping_sub(1);
        self.checksum = self.checksum.wrapping_sub(digest);
    }
}

/// Reads the rows of a table after a key, with these columns.
pub(super) type Batch<'a> = dyn FnMut(&Table, &[String], Option<&RowValues>) -> Result<Vec<RowValues>> + 'a;

/// Compares all tables. Rows of the audit log after the key `audited` are the new store's own.
pub(super) fn compare(
    source: &mut Batch<'_>,
    target: &mut Batch<'_>,
    columns: &dyn Fn(&Table) -> Result<Vec<String>>,
    audited: i64,
    told: &dyn Fn(u64),
) -> Result<Compared> {
    let mut compared = Compared { tables: Vec::new(), differing: Vec::new() };
    for table in &TABLES {
        let columns = columns(table)?;
        let is_own = |row: &RowValues| {
            let key = of_column(&columns, row, "key");
            table.name == "ts_audit" && matches!(key, Some(Value::Int(key)) if *key > audited)
        };
        let mut accounts = BTreeMap::new();
        let (mut old, mut new) = (Stream::default(), Stream::default());
        // By turns: the equal rows of an account cancel out, so that little is held at a time.
        while !(old.ended && new.ended) {
            told(old.step(table, &columns, source, |digest, row, sum| {
                sum.add(digest);
                account(table, &columns, row, &mut accounts, |sum| sum.add(digest));
            })?);
            new.step(table, &columns, target, |digest, row, sum| {
                if !is_own(row) {
                    sum.add(digest);
                    account(table, &columns, row, &mut accounts, |sum| sum.take(digest));
                }
            })?;
        }
        if old.sum != new.sum {
            let (old, new) = (old.sum.rows, new.sum.rows);
            compared.differing.push(format!("{} ({old} rows and {new})", table.name));
        }
        let keys: Vec<String> = accounts.keys().take(5).map(i64::to_string).collect();
        if !keys.is_empty() {
            compared.differing.push(format!("transactions of account_key {}", keys.join(", ")));
        }
        compared.tables.push(old.sum.of(table));
    }
    Ok(compared)
}

/// Reads one table, and adds it up as [`compare`] does.
pub(super) fn sum(table: &Table, columns: &[String], batch: &mut Batch<'_>) -> Result<TableSum> {
    let mut rows = Stream::default();
    while !rows.ended {
        rows.step(table, columns, batch, |digest, _, sum| sum.add(digest))?;
    }
    Ok(rows.sum.of(table))
}

/// One side of a table, as far as it was read.
#[derive(Default)]
struct Stream {
    after: Option<RowValues>,
    ended: bool,
    sum: RowSum,
}

impl Stream {
    /// Reads the next batch; returns its number of rows.
    fn step(
        &mut self,
        table: &Table,
        columns: &[String],
        batch: &mut Batch<'_>,
        mut take: impl FnMut(u128, &RowValues, &mut RowSum),
    ) -> Result<u64> {
        if self.ended {
            return Ok(0);
        }
        let rows = batch(table, columns, self.after.as_ref())?;
        for row in &rows {
            take(digest(row), row, &mut self.sum);
        }
        self.ended = rows.len() < table.at_once;
        self.after = rows.last().map(|row| table.key(columns, row));
        Ok(rows.len() as u64)
    }
}

/// Changes the sum of the account that a transaction belongs to; drops it when it is empty again.
fn account(
    table: &Table,
    columns: &[String],
    row: &RowValues,
    accounts: &mut BTreeMap<i64, RowSum>,
    change: impl FnOnce(&mut RowSum),
) {
    let (true, Some(Value::Int(key))) = (table.name == "ts_transactions", of_column(columns, row, "account"))
    else {
        return;
    };
    let sum = accounts.entry(*key).or_default();
    change(sum);
    if *sum == RowSum::default() {
        accounts.remove(key);
    }
}

/// A digest of a row, in sixteen bytes.
fn digest(row: &RowValues) -> u128 {
    let mut hash = Sha256::new();
    let mut part = |kind: u8, bytes: &[u8]| {
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    for value in row {
        match value {
            Value::Int(number) => part(1, &number.to_be_bytes()),
            Value::Text(text) => part(2, text.as_bytes()),
            Value::Bytes(bytes) => part(3, bytes),
            Value::Id(StoredId::Compact(bytes)) => part(4, bytes),
            // NULL; no other value is read from a table.
            _ => part(0, &[]),
        }
    }
    let all: [u8; 32] = hash.finalize().into();
    all.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

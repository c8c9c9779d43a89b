//! A reader as the README wants it: keeps its own copy of `transactions_v1`, told only by change numbers. Holds no
//! test.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;

use crate::harness::texts;
use crate::lab::Lab;

/// What is kept. Columns looked up from other views follow those views' numbers.
const COLUMNS: &str = "connection_id, account_key, transaction_id, change_seq, status, amount, currency, booked_date,
    value_date, description, description_original, reference, provider_transaction_id, first_seen_run, changed_run,
    removed_at, removed_reason, replaced_by, match_rule";

type Row = Vec<Option<String>>;

/// The rows of one connection, by account and id.
type Rows = BTreeMap<(Option<String>, Option<String>), Row>;

/// A copy.
#[derive(Debug, Default)]
pub struct Copy {
    rows: HashMap<String, Rows>,
    upto: i64,
}

impl Copy {
    /// Reads on from the largest number it has seen; returns how many rows came.
    pub fn read(&mut self, lab: &Lab) -> usize {
        let sql = format!(
            "SELECT {COLUMNS} FROM transactions_v1 WHERE change_seq > CAST(?1 AS INTEGER) ORDER BY change_seq"
        );
        let db = lab.reader_since("transactions_v1", self.upto);
        let news = texts(&db, &sql, &self.upto.to_string());
        let count = news.len();
        for row in news {
            self.upto = row[3].as_ref().unwrap().parse().unwrap();
            let connection = self.rows.entry(row[0].clone().unwrap()).or_default();
            connection.insert((row[1].clone(), row[2].clone()), row);
        }
        count
    }

    /// What of a connection's rows is not as in the view.
    pub fn difference(&self, db: &Connection, connection: &str) -> Option<String> {
        let sql = format!("SELECT {COLUMNS} FROM transactions_v1 WHERE connection_id = ?1");
        let view = texts(db, &sql, connection);
        let none = BTreeMap::new();
        let copy = self.rows.get(connection).unwrap_or(&none);
        for row in &view {
            let kept = copy.get(&(row[1].clone(), row[2].clone()));
            if kept != Some(row) {
                return Some(format!("a reader has {kept:?} where the view has {row:?}"));
            }
        }
        (view.len() != copy.len()).then(|| format!("a reader has {} rows of {}", copy.len(), view.len()))
    }
}

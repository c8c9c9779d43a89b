//! Results of any length, fetched in parts. Decides nothing about their rows.

use tokio_postgres::Row;

use super::Pg;
use crate::store::engine::{Fail, Params};

/// Results of any length are fetched in parts of this many rows.
const PART: usize = 1_000;

impl Pg {
    /// Passes the rows of a result to `take`, until it returns `false`. Inside a transaction they are fetched
    /// in parts; outside of one, all at once.
    pub(crate) fn walk(
        &self,
        sql: &str,
        params: Params<'_, '_>,
        mut take: impl FnMut(&Row) -> Result<bool, Fail>,
    ) -> Result<(), Fail> {
        if !self.open.get() {
            for row in &self.ask(sql, params)?.rows {
                if !take(row)? {
                    break;
                }
            }
            return Ok(());
        }
        // A walk inside another one needs a name of its own.
        let depth = self.walks.get();
        let cursor = format!("ts_walk_{depth}");
        self.send(&format!("DECLARE {cursor} NO SCROLL CURSOR FOR {sql}"), params)?;
        self.walks.set(depth + 1);
        let done = self.fetch(&cursor, &mut take);
        self.walks.set(depth);
        self.send_batch(format!("CLOSE {cursor}"));
        done
    }

    fn fetch(&self, cursor: &str, take: &mut impl FnMut(&Row) -> Result<bool, Fail>) -> Result<(), Fail> {
        loop {
            // Not prepared: the same text returns other columns for another cursor.
            let part = self.ask_rows(&format!("FETCH {PART} FROM {cursor}"), Vec::new())?.rows;
            for row in &part {
                if !take(row)? {
                    return Ok(());
                }
            }
            if part.len() < PART {
                return Ok(());
            }
        }
    }
}

//! What a server answered to a statement, all of it.

use std::pin::pin;

use futures_util::StreamExt as _;
use tokio_postgres::{Row, RowStream};

/// What a statement answered.
#[derive(Debug, Default)]
pub(crate) struct StatementAnswer {
    pub rows: Vec<Row>,
    /// How many rows it changed or gave.
    pub count: u64,
}

impl StatementAnswer {
    pub(crate) async fn of(answer: RowStream) -> Result<Self, tokio_postgres::Error> {
        let (mut answer, mut rows) = (pin!(answer), Vec::new());
        while let Some(row) = answer.next().await {
            rows.push(row?);
        }
        let count = answer.rows_affected().unwrap_or_default();
        Ok(Self { rows, count })
    }
}

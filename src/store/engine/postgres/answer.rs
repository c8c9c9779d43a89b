//! The complete answer of a server to a statement.

use std::pin::pin;

use futures_util::StreamExt as _;
use tokio_postgres::{Row, RowStream};

/// The complete answer to a statement.
#[derive(Debug, Default)]
pub(crate) struct StatementAnswer {
    pub rows: Vec<Row>,
    /// The number of rows that it changed or returned.
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

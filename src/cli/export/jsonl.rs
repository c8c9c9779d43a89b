//! One JSON object per row, with the columns of `transactions_v1` except `amount_number`, in their order.
//! Amounts are strings, since most readers would parse a JSON number as a float.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::{ExportHead, Form};
use crate::store::export::ExportRow;

pub(super) struct Jsonl;

struct RowObject<'a>(&'a ExportRow<'a>);

impl Serialize for RowObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.columns.iter().zip(&self.0.cells))
    }
}

impl Form for Jsonl {
    fn begin(&mut self, _: &mut dyn Write, _: &ExportHead<'_>) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, out: &mut dyn Write, row: &ExportRow<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &RowObject(row))?;
        out.write_all(b"\n")
    }
}

//! Comma-separated values according to RFC 4180: a header, CRLF, quotes where needed, UTF-8. Cells are exact
//! unless safe text is requested.

use std::borrow::Cow;
use std::io::{self, Write};

use csv::{Terminator, WriterBuilder};

use super::{ExportHead, Form};
use crate::store::export::{ExportCell, ExportRow};

/// Characters with which a formula begins in a spreadsheet, full-width forms included.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

pub(super) struct Csv {
    safe_text: bool,
}

impl Csv {
    pub(super) fn new(safe_text: bool) -> Self {
        Self { safe_text }
    }

    fn cell<'a>(&self, column: &str, cell: &'a ExportCell) -> Cow<'a, str> {
        match cell {
            ExportCell::Null => "".into(),
            ExportCell::Number(number) => number.to_string().into(),
            // An amount is a number, and its minus sign is part of it.
            ExportCell::Text(text) if self.safe_text && column != "amount" && text.starts_with(FORMULA) => {
                format!("'{text}").into()
            }
            ExportCell::Text(text) => text.into(),
        }
    }
}

impl Form for Csv {
    fn begin(&mut self, out: &mut dyn Write, head: &ExportHead<'_>) -> io::Result<()> {
        record(out, head.columns.iter().map(String::as_str))
    }

    fn row(&mut self, out: &mut dyn Write, row: &ExportRow<'_>) -> io::Result<()> {
        record(out, row.columns.iter().zip(&row.cells).map(|(column, cell)| self.cell(column, cell)))
    }
}

fn record(out: &mut dyn Write, cells: impl Iterator<Item = impl AsRef<str>>) -> io::Result<()> {
    let mut line = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    line.write_record(cells.map(|cell| cell.as_ref().as_bytes().to_vec())).map_err(io::Error::other)?;
    out.write_all(&line.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(safe_text: bool, columns: &[&str], cells: &[ExportCell]) -> Vec<u8> {
        let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
        let row = ExportRow { columns: &columns, cells: cells.to_vec(), day: String::new() };
        let mut out = Vec::new();
        Csv::new(safe_text).row(&mut out, &row).unwrap();
        out
    }

    fn text(text: &str) -> ExportCell {
        ExportCell::Text(text.to_owned())
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let cells = [text("-1.5"), text("a\"b;c"), text("d,e\nf"), ExportCell::Null, ExportCell::Number(7)];
        let line = written(false, &["amount", "a", "b", "c", "d"], &cells);
        assert_eq!(String::from_utf8(line).unwrap(), "-1.5,\"a\"\"b;c\",\"d,e\nf\",,7\r\n");
    }

    #[test]
    fn safe_text_takes_every_formula_its_meaning_and_no_amount_its_sign() {
        for formula in ["=1+1", "+49", "-x", "@SUM(A1)", "\t=1", "＝1"] {
            let line = written(true, &["amount", "description"], &[text("-1"), text(formula)]);
            assert!(String::from_utf8(line).unwrap().contains(&format!("'{formula}")), "{formula}");
        }
        let cells = [text("-1"), text("a=b"), text("2026-06-01")];
        let line = written(true, &["amount", "description", "booked_date"], &cells);
        assert_eq!(line, b"-1,a=b,2026-06-01\r\n");
    }

    proptest! {
        #[test]
        fn every_text_comes_back_as_it_was(cells: [String; 4]) {
            let all: Vec<ExportCell> = cells.iter().map(|cell| text(cell)).collect();
            let line = written(false, &["a", "b", "c", "d"], &all);
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_slice());
            let read: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(read[0].iter().collect::<Vec<_>>(), cells.iter().collect::<Vec<_>>());
        }
    }
}

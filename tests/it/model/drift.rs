//! How a renewed consent writes the same rows. Adds and takes away none.

use super::bank::Row;
use super::history::Drift;

/// The same rows as a renewed consent writes them. A text that became another one can be told only by day and
/// amount, where those are unique.
pub fn drifted(rows: &mut [Row], drift: Drift) {
    let told = |row: &Row| (row.day, row.cents);
    let all: Vec<(Option<i64>, i64)> = rows.iter().map(told).collect();
    for row in rows {
        match drift {
            Drift::None => {}
            Drift::Case => row.text = row.text.to_uppercase(),
            Drift::Blanks => row.text = format!(" {}\r\n", row.text.replace(' ', "  ")),
            Drift::Prefix => {
                let is_unique =
                    row.day.is_some() && all.iter().filter(|other| **other == told(row)).count() == 1;
                if is_unique {
                    row.text = format!("SEPA {}", row.text);
                }
            }
        }
    }
}

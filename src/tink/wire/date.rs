//! Dates as banks write them. Must not guess a date from another form than documented.

use jiff::civil::Date;

const LONGEST_MONTH: i8 = 31;

/// Reads `YYYY-MM-DD`, alone or before a time. A day that the month does not have becomes its last day: banks
/// that count thirty days to a month book on the 30th of February.
pub(super) fn date(text: &str) -> Option<Date> {
    let (day, rest) = text.split_at_checked(10)?;
    let has_shape = day.bytes().enumerate().all(|(at, b)| match at {
        4 | 7 => b == b'-',
        _ => b.is_ascii_digit(),
    });
    let is_alone = rest.is_empty() || rest.starts_with(['T', 't', ' ']);
    if !has_shape || !is_alone {
        return None;
    }
    // Parsed by position, which is cheaper than the general parser: each row has three dates.
    let (year, month) = (day.get(..4)?.parse().ok()?, day.get(5..7)?.parse().ok()?);
    let number = day.get(8..)?.parse().ok()?;
    Date::new(year, month, number).ok().or_else(|| last_of_month(year, month, number))
}

fn last_of_month(year: i16, month: i8, number: i8) -> Option<Date> {
    let first = Date::new(year, month, 1).ok()?;
    (1..=LONGEST_MONTH).contains(&number).then(|| first.last_of_month())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date as day;
    use proptest::prelude::*;

    #[test]
    fn a_day_that_does_not_exist_is_the_last_of_its_month() {
        for (text, expected) in [
            ("2026-02-30", day(2026, 2, 28)),
            ("2026-02-29", day(2026, 2, 28)),
            ("2024-02-30T00:00:00Z", day(2024, 2, 29)),
            ("2026-04-31", day(2026, 4, 30)),
            ("1900-02-29", day(1900, 2, 28)),
            ("2024-02-29 10:00", day(2024, 2, 29)),
            ("2026-12-31", day(2026, 12, 31)),
        ] {
            assert_eq!(date(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn dates_have_one_shape() {
        for text in [
            "2026-02-32",
            "2026-02-00",
            "2026-00-10",
            "2026-13-01",
            "0000-00-00",
            "2020-1-01",
            "20201215",
            "15.12.2020",
            "2020-12-15X",
            "2020-12-1é",
            "-2020-12-15",
            "2020-12-",
            "é",
            "",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_day_from_1_to_31_of_every_month_is_in_that_month(year in 1i16..9999, month in 1i8..=12, number in 1i8..=31) {
            let read = date(&format!("{year:04}-{month:02}-{number:02}")).unwrap();
            prop_assert_eq!((read.year(), read.month()), (year, month));
            prop_assert_eq!(read.day(), number.min(read.days_in_month()));
        }
    }
}

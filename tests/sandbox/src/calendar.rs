//! Days of the sandbox, counted from day 0, and their texts.
//!
//! It must not know the real date: which day it is, is told by the sandbox's handle.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, date};

const DAY_SECONDS: i64 = 86_400;

/// Turns day numbers into dates. Day 0 is the configured one, earlier days are negative.
#[derive(Debug, Clone, Copy)]
pub struct Calendar {
    /// Day 0, in days since 1970.
    epoch_day: i64,
}

impl Calendar {
    /// The calendar whose day 0 is `day0`.
    pub fn new(day0: Date) -> Self {
        Self { epoch_day: days_since_1970(day0) }
    }

    /// The date of `day`.
    pub fn date(self, day: i32) -> Day {
        Day::from_epoch(self.epoch_day + i64::from(day))
    }

    /// The number of `date`'s day.
    pub fn day(self, date: Date) -> i32 {
        (days_since_1970(date) - self.epoch_day) as i32
    }

    /// Epoch seconds of `seconds` past midnight UTC of `day`.
    pub fn second(self, day: i32, seconds: i64) -> i64 {
        (self.epoch_day + i64::from(day)) * DAY_SECONDS + seconds
    }
}

fn days_since_1970(day: Date) -> i64 {
    day.duration_since(date(1970, 1, 1)).as_hours() / 24
}

/// A time as text: RFC 3339, UTC, whole seconds, without its zone.
pub fn date_time(epoch_second: i64) -> String {
    let at = Timestamp::from_second(epoch_second).unwrap_or(Timestamp::MAX);
    at.to_string().trim_end_matches('Z').to_owned()
}

/// A date that prints as `YYYY-MM-DD`. Own arithmetic, because hundreds are printed per page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    year: i64,
    month: i64,
    of_month: i64,
}

impl Day {
    // Counts years from 1 March, so that the leap day is the last of its year, in eras of 400 years (146,097 days).
    fn from_epoch(days: i64) -> Self {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let of_month = of_year - (153 * from_march + 2) / 5 + 1;
        Self { year: year + era * 400 + i64::from(month <= 2), month, of_month }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, of_month } = self;
        write!(f, "{year:04}-{month:02}-{of_month:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_library() {
        let day0 = date(2024, 1, 1);
        let calendar = Calendar::new(day0);
        for day in -100_000..100_000 {
            let expected = day0.checked_add(jiff::Span::new().days(day)).unwrap();
            if day % 7 == 0 {
                assert_eq!(calendar.date(day).to_string(), expected.to_string());
                assert_eq!(calendar.day(expected), day);
            }
        }
    }

    #[test]
    fn times_are_utc() {
        let calendar = Calendar::new(date(2026, 2, 28));
        assert_eq!(date_time(calendar.second(1, 61)), "2026-03-01T00:01:01");
    }
}

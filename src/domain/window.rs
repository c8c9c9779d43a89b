//! Which dates to read again, and how far the history is known to be complete (DESIGN.md 8.1). Pure: dates
//! in, dates out.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

/// Pending rows older than this at the last complete walk no longer hold an ordinary window open.
pub const PENDING_LIMIT_DAYS: i64 = 90;
/// A deep walk reads this many days again, counted back from the last deep walk.
pub const DEEP_DAYS: i64 = 90;
/// A deep walk also covers pending rows of this age, counted back from the last deep walk.
pub const OLD_PENDING_DAYS: i64 = 400;
/// Rows nearer to the lower bound than this are never removed.
pub const REMOVAL_MARGIN_DAYS: i64 = 7;

/// The dates of one walk, both inclusive; without `from` it reads the whole history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First booked date requested.
    pub from: Option<Date>,
    /// Last booked date requested; always sent, since Tink's default is today.
    pub to: Date,
}

/// What the window of a walk is computed from. Limits count back from what was read, not from today: after a
/// gap of months the first walk still covers what could have changed since the last one.
#[derive(Clone, Copy, Debug)]
pub struct WindowInput {
    pub today: Date,
    /// The date through which the history is known to be complete; `None` reads everything.
    pub watermark: Option<Date>,
    /// Booked date of the oldest live pending row that was not older than 90 days at the watermark.
    pub oldest_pending: Option<Date>,
    /// Oldest booked date of missing rows that are still to be judged.
    pub absent_from: Option<Date>,
    /// How far back a first walk goes; `None` is everything.
    pub history_days: Option<i64>,
    /// Days read again below the watermark.
    pub overlap_days: i64,
    /// Days read beyond today.
    pub lookahead_days: i64,
    /// The last 90 days are to be read as well.
    pub deep: Option<Deep>,
}

/// What the depth of a deep walk is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Deep {
    /// The date through which the last deep walk had read.
    pub behind: Date,
    /// Booked date of the oldest live pending row of any age.
    pub oldest_pending: Option<Date>,
}

impl Window {
    /// The window of a walk: from min(watermark, oldest pending) − overlap to today + lookahead; further back
    /// for rows still to be judged and for a deep walk.
    pub fn plan(input: &WindowInput) -> Self {
        let to = shift(input.today, input.lookahead_days);
        let Some(watermark) = input.watermark else {
            return Self::all(input.today, input.history_days, input.lookahead_days);
        };
        let limit = shift(watermark, -PENDING_LIMIT_DAYS);
        let oldest = input.oldest_pending.filter(|date| *date >= limit).unwrap_or(watermark);
        let mut from = shift(watermark.min(oldest), -input.overlap_days);
        if let Some(absent) = input.absent_from {
            from = from.min(shift(absent, -REMOVAL_MARGIN_DAYS));
        }
        if let Some(deep) = input.deep {
            // Never further back than a first walk was allowed to go.
            let days = input.history_days.map_or(DEEP_DAYS, |days| days.min(DEEP_DAYS));
            from = from.min(shift(deep.behind, -days));
            let limit = shift(deep.behind, -OLD_PENDING_DAYS);
            let pending = deep.oldest_pending.map(|date| date.max(limit));
            from = pending.map_or(from, |date| from.min(shift(date, -input.overlap_days)));
        }
        Self { from: Some(from), to }
    }

    /// The window of a walk over everything.
    pub fn all(today: Date, history_days: Option<i64>, lookahead_days: i64) -> Self {
        let from = history_days.map(|days| shift(today, -days));
        Self { from, to: shift(today, lookahead_days) }
    }

    /// Whether the walk reads all rows dated from `date` on, so that it shows which of them are missing.
    pub fn covers(&self, date: Date) -> bool {
        self.is_well_inside(date) || date > self.to
    }

    /// Whether a date is so far inside that the absence of a row means something.
    pub fn is_well_inside(&self, date: Date) -> bool {
        let above = self.from.is_none_or(|from| date >= shift(from, REMOVAL_MARGIN_DAYS));
        above && date <= self.to
    }
}

impl Window {
    /// The first date well inside; `None` is the beginning.
    pub fn well_inside_from(&self) -> Option<Date> {
        self.from.map(|from| shift(from, REMOVAL_MARGIN_DAYS))
    }
}

/// The day of a time, in UTC.
pub fn day_of(at: Timestamp) -> Date {
    at.to_zoned_datetime(TimeZone::UTC).date()
}

/// `date` moved by `days`, clamped to the calendar.
pub fn shift(date: Date, days: i64) -> Date {
    let span: Span = days.clamp(-4_000_000, 4_000_000).days();
    date.saturating_add(span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;

    fn input() -> WindowInput {
        WindowInput {
            today: date(2026, 6, 15),
            watermark: Some(date(2026, 6, 14)),
            oldest_pending: None,
            absent_from: None,
            history_days: None,
            overlap_days: 14,
            lookahead_days: 45,
            deep: None,
        }
    }

    fn behind(day: Date) -> Deep {
        Deep { behind: day, oldest_pending: None }
    }

    #[test]
    fn a_first_walk_reads_everything_unless_history_is_set() {
        let first = WindowInput { watermark: None, ..input() };
        assert_eq!(Window::plan(&first), Window { from: None, to: date(2026, 7, 30) });
        let limited = WindowInput { history_days: Some(30), ..first };
        assert_eq!(Window::plan(&limited).from, Some(date(2026, 5, 16)));
    }

    #[test]
    fn the_oldest_pending_holds_the_window_open_for_ninety_days() {
        assert_eq!(Window::plan(&input()).from, Some(date(2026, 5, 31)));
        let held = WindowInput { oldest_pending: Some(date(2026, 5, 1)), ..input() };
        assert_eq!(Window::plan(&held).from, Some(date(2026, 4, 17)));
        let stale = WindowInput { oldest_pending: Some(date(2026, 3, 15)), ..input() };
        assert_eq!(Window::plan(&stale).from, Some(date(2026, 5, 31)));
        let future = WindowInput { oldest_pending: Some(date(2026, 7, 1)), ..input() };
        assert_eq!(Window::plan(&future).from, Some(date(2026, 5, 31)));
    }

    #[test]
    fn limits_count_back_from_what_was_read_and_not_from_today() {
        let away = WindowInput { today: date(2027, 1, 1), ..input() };
        assert_eq!(Window::plan(&away).from, Some(date(2026, 5, 31)));
        let held = WindowInput { oldest_pending: Some(date(2026, 4, 1)), ..away };
        assert_eq!(Window::plan(&held).from, Some(date(2026, 3, 18)));
        let deep = WindowInput { deep: Some(behind(date(2026, 6, 10))), ..away };
        assert_eq!(Window::plan(&deep).from, Some(date(2026, 3, 12)));
    }

    #[test]
    fn a_deep_walk_reads_ninety_days() {
        let deep = WindowInput { deep: Some(behind(date(2026, 6, 15))), ..input() };
        assert_eq!(Window::plan(&deep).from, Some(date(2026, 3, 17)));
        let limited = WindowInput { history_days: Some(30), ..deep };
        assert_eq!(Window::plan(&limited).from, Some(date(2026, 5, 16)));
    }

    #[test]
    fn a_deep_walk_reaches_the_oldest_pending() {
        let with = |day| {
            let deep = Some(Deep { behind: date(2026, 6, 15), oldest_pending: Some(day) });
            Window::plan(&WindowInput { deep, ..input() }).from
        };
        assert_eq!(with(date(2026, 2, 1)), Some(date(2026, 1, 18)));
        assert_eq!(with(date(2020, 1, 1)), Some(shift(date(2026, 6, 15), -414)), "not for ever");
        assert_eq!(with(date(2026, 6, 30)), Some(date(2026, 3, 17)));
    }

    #[test]
    fn rows_that_are_still_to_be_judged_lie_well_inside() {
        let window = Window::plan(&WindowInput { absent_from: Some(date(2026, 4, 1)), ..input() });
        assert!(window.is_well_inside(date(2026, 4, 1)) && window.covers(date(2026, 4, 1)));
        assert!(!window.covers(date(2026, 3, 31)));
    }

    #[test]
    fn rows_near_the_lower_bound_are_not_well_inside() {
        let window = Window { from: Some(date(2026, 5, 1)), to: date(2026, 6, 1) };
        assert!(!window.is_well_inside(date(2026, 5, 7)));
        assert!(window.is_well_inside(date(2026, 5, 8)));
        assert!(window.is_well_inside(date(2026, 6, 1)));
        assert!(!window.is_well_inside(date(2026, 6, 2)));
    }

    #[test]
    fn a_walk_covers_all_days_from_where_rows_are_well_inside() {
        let window = Window { from: Some(date(2026, 5, 1)), to: date(2026, 6, 1) };
        assert_eq!(window.well_inside_from(), Some(date(2026, 5, 8)));
        for (day, covered) in [
            (date(2026, 5, 7), false),
            (date(2026, 5, 8), true),
            (date(2026, 6, 1), true),
            (date(2026, 6, 2), true),
        ] {
            assert_eq!(window.covers(day), covered, "{day}");
        }
        let short = Window { to: date(2026, 5, 5), ..window };
        assert!(!short.covers(date(2026, 5, 5)) && short.covers(date(2026, 5, 6)));
        let all = Window { from: None, ..window };
        assert!(all.well_inside_from().is_none() && all.covers(Date::MIN));
    }

    #[test]
    fn days_end_with_the_calendar() {
        assert_eq!(shift(date(2026, 6, 1), i64::MAX), Date::MAX);
        assert!(shift(date(2026, 6, 1), i64::MIN) < date(-8000, 1, 1));
    }

    proptest! {
        #[test]
        fn the_window_never_leaves_a_gap_behind_the_watermark(
            back in 0i64..4000, pending in proptest::option::of(-90i64..40), overlap in 0i64..60,
            deep in proptest::option::of(0i64..4000)
        ) {
            let today = date(2026, 6, 15);
            let watermark = shift(today, -back);
            let window = Window::plan(&WindowInput {
                watermark: Some(watermark),
                oldest_pending: pending.map(|days| shift(watermark, days)),
                overlap_days: overlap,
                deep: deep.map(|days| behind(shift(today, -days))),
                ..input()
            });
            let from = window.from.unwrap();
            prop_assert!(from <= shift(watermark, -overlap));
            prop_assert!(window.to > today);
            if let Some(days) = pending {
                prop_assert!(from <= shift(watermark, days));
            }
        }
    }
}

//! Which dates to read again, and how far the history is known to be complete (design: window,
//! watermark). Pure: dates in, dates out.

use jiff::civil::Date;
use jiff::{Span, ToSpan};

/// Pending rows older than this no longer hold the window open.
pub const PENDING_LIMIT_DAYS: i64 = 90;
/// A deep walk reads this many days again.
pub const DEEP_DAYS: i64 = 90;
/// Rows nearer to the lower bound than this are never removed.
pub const REMOVAL_MARGIN_DAYS: i64 = 7;

/// The dates of one walk, both inclusive; no `from` reads everything there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First booked date asked for.
    pub from: Option<Date>,
    /// Last booked date asked for; always sent, since Tink's default is today.
    pub to: Date,
}

/// What the window of a walk is computed from.
#[derive(Clone, Copy, Debug)]
pub struct WindowInput {
    /// Today in UTC.
    pub today: Date,
    /// Through which date the history is known to be complete.
    pub watermark: Option<Date>,
    /// Booked date of the oldest live pending row.
    pub oldest_pending: Option<Date>,
    /// How far back a first walk goes; none is everything.
    pub history_days: Option<i64>,
    /// Days read again below the watermark.
    pub overlap_days: i64,
    /// Days read beyond today.
    pub lookahead_days: i64,
    /// Read the last 90 days as well.
    pub deep: bool,
}

impl Window {
    /// The window of a walk: from min(watermark, oldest pending) − overlap to today + lookahead.
    pub fn plan(input: &WindowInput) -> Self {
        let to = shift(input.today, input.lookahead_days);
        let Some(watermark) = input.watermark else {
            return Self { from: input.history_days.map(|days| shift(input.today, -days)), to };
        };
        let limit = shift(input.today, -PENDING_LIMIT_DAYS);
        let oldest = input.oldest_pending.filter(|date| *date >= limit).unwrap_or(watermark);
        let mut from = shift(watermark.min(oldest), -input.overlap_days);
        if input.deep {
            // Never further back than a first walk was allowed to go.
            let days = input.history_days.map_or(DEEP_DAYS, |days| days.min(DEEP_DAYS));
            from = from.min(shift(input.today, -days));
        }
        Self { from: Some(from), to }
    }

    /// Whether a row of this date lies so far inside that its absence means something.
    pub fn is_well_inside(&self, date: Date) -> bool {
        let above = self.from.is_none_or(|from| date >= shift(from, REMOVAL_MARGIN_DAYS));
        above && date <= self.to
    }
}

/// `date` moved by `days`, held at the ends of the calendar.
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
            history_days: None,
            overlap_days: 14,
            lookahead_days: 45,
            deep: false,
        }
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
        let stale = WindowInput { oldest_pending: Some(date(2026, 3, 1)), ..input() };
        assert_eq!(Window::plan(&stale).from, Some(date(2026, 5, 31)));
        let future = WindowInput { oldest_pending: Some(date(2026, 7, 1)), ..input() };
        assert_eq!(Window::plan(&future).from, Some(date(2026, 5, 31)));
    }

    #[test]
    fn a_deep_walk_reads_ninety_days() {
        let deep = WindowInput { deep: true, ..input() };
        assert_eq!(Window::plan(&deep).from, Some(date(2026, 3, 17)));
        let limited = WindowInput { history_days: Some(30), ..deep };
        assert_eq!(Window::plan(&limited).from, Some(date(2026, 5, 16)));
    }

    #[test]
    fn rows_near_the_lower_bound_are_not_well_inside() {
        let window = Window { from: Some(date(2026, 5, 1)), to: date(2026, 6, 1) };
        assert!(!window.is_well_inside(date(2026, 5, 7)));
        assert!(window.is_well_inside(date(2026, 5, 8)));
        assert!(window.is_well_inside(date(2026, 6, 1)));
        assert!(!window.is_well_inside(date(2026, 6, 2)));
    }

    proptest! {
        #[test]
        fn the_window_never_leaves_a_gap_behind_the_watermark(
            back in 0i64..4000, pending in proptest::option::of(-90i64..40), overlap in 0i64..60, deep: bool
        ) {
            let today = date(2026, 6, 15);
            let watermark = shift(today, -back);
            let window = Window::plan(&WindowInput {
                watermark: Some(watermark),
                oldest_pending: pending.map(|days| shift(today, days)),
                overlap_days: overlap,
                deep,
                ..input()
            });
            let from = window.from.unwrap();
            prop_assert!(from <= shift(watermark, -overlap));
            prop_assert!(window.to > today);
            if let Some(days) = pending {
                prop_assert!(from <= shift(today, days));
            }
        }
    }
}

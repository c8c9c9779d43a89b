//! Bounds of values, and the message for a value outside of them. Knows no key by itself and shows no value.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::value::{Bound, Days, Span, WrittenWord};

/// A key and what is wrong with it.
pub(super) struct OutOfBounds(pub &'static str, pub String);

/// A value inside its bounds.
pub(super) type Checked<T> = Result<T, OutOfBounds>;

type Range<T> = RangeInclusive<T>;

pub(super) const ZERO: Span = Span(Duration::ZERO);

pub(super) const fn minutes(count: u64) -> Span {
    Span(Duration::from_mins(count))
}

pub(super) const fn hours(count: u64) -> Span {
    Span(Duration::from_hours(count))
}

pub(super) const fn days(count: u64) -> Span {
    hours(count * 24)
}

pub(super) fn within<T: Bound>(key: &'static str, value: T, range: Range<T>) -> Checked<T> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(OutOfBounds(key, format!("expected from {} to {}", range.start().show(), range.end().show())))
}

pub(super) fn optional_span(
    key: &'static str,
    written: Option<WrittenWord<Span>>,
    range: Range<Span>,
) -> Checked<Option<Duration>> {
    written.map(|written| within(key, written.0, range).map(|span| span.0)).transpose()
}

pub(super) fn span(
    key: &'static str,
    written: Option<WrittenWord<Span>>,
    default: Duration,
    range: Range<Span>,
) -> Checked<Duration> {
    Ok(optional_span(key, written, range)?.unwrap_or(default))
}

pub(super) fn whole_days(
    key: &'static str,
    written: Option<WrittenWord<Days>>,
    default: i64,
    range: Range<i64>,
) -> Checked<i64> {
    let days = written.map_or(Days(default), |written| written.0);
    Ok(within(key, days, Days(*range.start())..=Days(*range.end()))?.0)
}

/// A whole number inside bounds that fit the type.
pub(super) fn count<T: TryFrom<i64>>(key: &'static str, number: i64, range: Range<i64>) -> Checked<T> {
    let number = within(key, number, range)?;
    T::try_from(number).map_err(|_| OutOfBounds(key, "expected a smaller number".to_owned()))
}

/// A path that does not depend on the working directory.
pub(super) fn absolute(key: &'static str, text: &str) -> Checked<PathBuf> {
    if text.starts_with('/') && !text.ends_with('/') {
        return Ok(PathBuf::from(text));
    }
    Err(OutOfBounds(key, "expected the absolute path of a file".to_owned()))
}

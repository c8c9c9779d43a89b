//! Values written as words in the file: durations, whole days, sizes, `history`, `refresh`. Each parses
//! itself and states what it expects; none repeats what it was given.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::settings::Refresh;

const DAY: u64 = 24 * 60 * 60;

/// A value that is written as a text, or as a number where that is clear.
pub(super) trait Word: Sized {
    /// What must be written, as the end of "expected …".
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self>;

    /// Reads a bare number.
    fn from_number(_number: u64) -> Option<Self> {
        None
    }
}

/// A duration such as `6h`; a bare 0 needs no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(pub Duration);

impl Word for Span {
    const EXPECTED: &'static str = "a duration such as `30s`, `6h` or `90d`";

    fn from_text(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok().map(Self)
    }

    fn from_number(number: u64) -> Option<Self> {
        (number == 0).then_some(Self(Duration::ZERO))
    }
}

/// Whole days such as `14d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Days(pub i64);

impl Word for Days {
    const EXPECTED: &'static str =
        "whole days such as `14d` (months and years are no whole days: write `365d`, not `1y`)";

    fn from_text(text: &str) -> Option<Self> {
        let span = Span::from_text(text)?.0;
        let whole = span.subsec_nanos() == 0 && span.as_secs().is_multiple_of(DAY);
        whole.then(|| i64::try_from(span.as_secs() / DAY).ok().map(Self))?
    }

    fn from_number(number: u64) -> Option<Self> {
        (number == 0).then_some(Self(0))
    }
}

/// How far back a first sync goes; `None` is everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct History(pub Option<Days>);

impl Word for History {
    const EXPECTED: &'static str = "`all` or whole days such as `730d` (write `730d`, not `2y`)";

    fn from_text(text: &str) -> Option<Self> {
        if text == "all" { Some(Self(None)) } else { Days::from_text(text).map(|days| Self(Some(days))) }
    }
}

/// A number of bytes, bare or with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub u64);

impl Word for Size {
    const EXPECTED: &'static str = "a size such as `16 MiB`, or a number of bytes";

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" => 1_000,
            "kib" => 1 << 10,
            "mb" => 1_000_000,
            "mib" => 1 << 20,
            "gb" => 1_000_000_000,
            "gib" => 1 << 30,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }

    fn from_number(number: u64) -> Option<Self> {
        Some(Self(number))
    }
}

impl Word for Refresh {
    const EXPECTED: &'static str = "`never`, or `stale:` and a duration as in `stale:12h`";

    fn from_text(text: &str) -> Option<Self> {
        if text == "never" {
            return Some(Self::Never);
        }
        let age = text.strip_prefix("stale:")?;
        Span::from_text(age).map(|span| Self::Stale(span.0))
    }
}

/// A [`Word`] as written in the file.
pub(super) struct WrittenWord<T>(pub T);

impl<'de, T: Word> Deserialize<'de> for WrittenWord<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor(PhantomData)).map(Self)
    }
}

struct WordVisitor<T>(PhantomData<T>);

impl<T: Word> Visitor<'_> for WordVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| E::invalid_value(Unexpected::Other("text"), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let value = u64::try_from(number).ok().and_then(T::from_number);
        value.ok_or_else(|| E::invalid_value(Unexpected::Other("number"), &self))
    }
}

/// A value with an order, shown in messages about its bounds.
pub(super) trait Bound: PartialOrd + Copy {
    /// The bound as the operator would write it.
    fn show(self) -> String;
}

impl Bound for i64 {
    fn show(self) -> String {
        self.to_string()
    }
}

impl Bound for Days {
    fn show(self) -> String {
        format!("{}d", self.0)
    }
}

impl Bound for Size {
    fn show(self) -> String {
        [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
            .into_iter()
            .find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit))
            .map_or_else(|| format!("{} B", self.0), |(unit, name)| format!("{} {name}", self.0 / unit))
    }
}

impl Bound for Span {
    fn show(self) -> String {
        let seconds = self.0.as_secs();
        if seconds == 0 {
            return if self.0.is_zero() { "0s".to_owned() } else { format!("{}ms", self.0.as_millis()) };
        }
        [(DAY, "d"), (3600, "h"), (60, "m")]
            .into_iter()
            .find(|(unit, _)| seconds.is_multiple_of(*unit))
            .map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(Span::from_text("6h"), Some(Span(Duration::from_hours(6))));
        assert_eq!(Span::from_text("0s"), Some(Span(Duration::ZERO)));
        assert_eq!(Span::from_text("0"), Some(Span(Duration::ZERO)));
        assert_eq!(Span::from_number(0), Some(Span(Duration::ZERO)));
        assert_eq!(Span::from_number(5), None);
        for bad in ["", "6", "h", "-1s", "6 fortnights", "1e3s"] {
            assert_eq!(Span::from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_are_whole() {
        assert_eq!(Days::from_text("14d"), Some(Days(14)));
        assert_eq!(Days::from_text("48h"), Some(Days(2)));
        assert_eq!(Days::from_text("2w"), Some(Days(14)));
        assert_eq!(Days::from_text("0s"), Some(Days(0)));
        for bad in ["36h", "1y", "1M", "1d 1ms", "x"] {
            assert_eq!(Days::from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_with_or_without_a_unit() {
        for (text, bytes) in [
            ("16 MiB", 16 << 20),
            ("16MiB", 16 << 20),
            ("1 kB", 1_000),
            ("1 KiB", 1_024),
            ("2 MB", 2_000_000),
            ("1GiB", 1 << 30),
            ("77", 77),
            ("5 B", 5),
        ] {
            assert_eq!(Size::from_text(text), Some(Size(bytes)), "{text}");
        }
        for bad in ["", "MiB", "16 M", "1.5 MiB", "-1", "99999999999 GiB"] {
            assert_eq!(Size::from_text(bad), None, "{bad}");
        }
        assert_eq!(Size::from_number(77), Some(Size(77)));
    }

    #[test]
    fn history_and_refresh_have_a_word_for_their_extreme() {
        assert_eq!(History::from_text("all"), Some(History(None)));
        assert_eq!(History::from_text("730d"), Some(History(Some(Days(730)))));
        assert_eq!(History::from_text("2y"), None);
        assert_eq!(Refresh::from_text("never"), Some(Refresh::Never));
        assert_eq!(Refresh::from_text("stale:12h"), Some(Refresh::Stale(Duration::from_hours(12))));
        for bad in ["stale", "stale:", "stale:x", "always"] {
            assert_eq!(Refresh::from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn bounds_are_shown_as_they_are_written() {
        assert_eq!(Span(Duration::from_hours(48)).show(), "2d");
        assert_eq!(Span(Duration::from_mins(90)).show(), "90m");
        assert_eq!(Span(Duration::from_secs(61)).show(), "61s");
        assert_eq!(Span(Duration::from_millis(1)).show(), "1ms");
        assert_eq!(Span(Duration::ZERO).show(), "0s");
        assert_eq!(Size(1 << 20).show(), "1 MiB");
        assert_eq!(Size(1_000).show(), "1000 B");
        assert_eq!(Days(7).show(), "7d");
    }
}

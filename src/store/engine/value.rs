//! Values of parameters and columns by meaning: a day, a time, an id. The engine decides how each is stored.
//! Runs no statement.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use jiff::civil::Date;

use super::fail::NotOurs;
use crate::domain::amount::Amount;
use crate::domain::connection::TinkUser;
use crate::domain::ids::TransactionId;
use crate::domain::transaction::Status;

/// Why PostgreSQL cannot store a text.
pub(crate) const NUL: &str = "holds the character U+0000, which PostgreSQL cannot keep";

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// A transaction id in its stored form.
    Id(StoredId<'a>),
    Day(Date),
    /// A timestamp from Tink, exact.
    Time(Timestamp),
    /// A timestamp of our own, in milliseconds.
    Millis(Timestamp),
}

/// A transaction id as it is stored: 32 lower-case hex digits as 16 bytes, any other text unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredId<'a> {
    Compact([u8; 16]),
    Text(&'a str),
}

impl<'a> From<&'a TransactionId> for StoredId<'a> {
    fn from(id: &'a TransactionId) -> Self {
        id.compact().map_or(Self::Text(id.as_str()), Self::Compact)
    }
}

/// A type that can be a parameter.
pub(crate) trait ToValue {
    fn to_value(&self) -> Value<'_>;
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl ToValue for Value<'_> {
    fn to_value(&self) -> Value<'_> {
        self.clone()
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self))
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value<'_> {
        self.as_str().to_value()
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Value<'_> {
        Value::Bytes(Cow::Borrowed(self))
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value<'_> {
        self.as_slice().to_value()
    }
}

impl ToValue for bool {
    fn to_value(&self) -> Value<'_> {
        Value::Bool(*self)
    }
}

impl ToValue for i64 {
    fn to_value(&self) -> Value<'_> {
        Value::Int(*self)
    }
}

impl ToValue for i32 {
    fn to_value(&self) -> Value<'_> {
        Value::Int(i64::from(*self))
    }
}

impl ToValue for u8 {
    fn to_value(&self) -> Value<'_> {
        Value::Int(i64::from(*self))
    }
}

impl ToValue for u16 {
    fn to_value(&self) -> Value<'_> {
        Value::Int(i64::from(*self))
    }
}

impl ToValue for u32 {
    fn to_value(&self) -> Value<'_> {
        Value::Int(i64::from(*self))
    }
}

/// A count; saturates at `i64::MAX`.
impl ToValue for u64 {
    fn to_value(&self) -> Value<'_> {
        Value::Int(i64::try_from(*self).unwrap_or(i64::MAX))
    }
}

impl ToValue for usize {
    fn to_value(&self) -> Value<'_> {
        Value::Int(i64::try_from(*self).unwrap_or(i64::MAX))
    }
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Int(i64),
    Real(f64),
    /// As the database holds it; need not be UTF-8.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
}

impl<'a> Cell<'a> {
    fn text(self) -> Result<&'a str, NotOurs> {
        match self {
            Self::Text(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| NotOurs::new("holds text that is not UTF-8"))
            }
            other => Err(other.is_not("text")),
        }
    }

    /// The text; `None` for NULL.
    pub(crate) fn text_or_null(self) -> Result<Option<&'a str>, NotOurs> {
        if self == Self::Null { Ok(None) } else { self.text().map(Some) }
    }

    fn int(self) -> Result<i64, NotOurs> {
        match self {
            Self::Int(number) => Ok(number),
            other => Err(other.is_not("an integer")),
        }
    }

    fn is_not(self, wanted: &str) -> NotOurs {
        let found = match self {
            Self::Null => "nothing",
            Self::Int(_) => "an integer",
            Self::Real(_) => "a floating-point number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        };
        NotOurs::new(format!("holds {found} in place of {wanted}"))
    }
}

/// A type that can be read from a cell.
pub(crate) trait FromCell: Sized {
    /// # Errors
    /// [`NotOurs`] if the cell holds something else.
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs>;
}

impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        if cell == Cell::Null { Ok(None) } else { T::from_cell(cell).map(Some) }
    }
}

impl FromCell for String {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        cell.text().map(str::to_owned)
    }
}

impl FromCell for Vec<u8> {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        match cell {
            Cell::Bytes(bytes) => Ok(bytes.to_vec()),
            other => Err(other.is_not("bytes")),
        }
    }
}

impl FromCell for bool {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        cell.int().map(|number| number != 0)
    }
}

impl FromCell for i64 {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        cell.int()
    }
}

/// Reads an integer of another type; fails if it is out of range.
fn narrow<T: TryFrom<i64>>(cell: Cell<'_>) -> Result<T, NotOurs> {
    let number = cell.int()?;
    T::try_from(number).map_err(|_| NotOurs::new(format!("holds {number}, which is out of range")))
}

impl FromCell for i32 {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        narrow(cell)
    }
}

impl FromCell for u8 {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        narrow(cell)
    }
}

impl FromCell for u16 {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        narrow(cell)
    }
}

impl FromCell for u32 {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        narrow(cell)
    }
}

impl FromCell for u64 {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        narrow(cell)
    }
}

/// A transaction id read from a column.
pub(crate) struct IdColumn(pub TransactionId);

impl ToValue for TransactionId {
    fn to_value(&self) -> Value<'_> {
        Value::Id(StoredId::from(self))
    }
}

impl FromCell for IdColumn {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        match cell {
            Cell::Bytes(bytes) => Ok(Self(HEXLOWER.encode(bytes).into())),
            Cell::Text(text) => Ok(Self(String::from_utf8_lossy(text).into_owned().into())),
            other => Err(other.is_not("an id")),
        }
    }
}

pub(crate) struct DateColumn(pub Date);

impl ToValue for DateColumn {
    fn to_value(&self) -> Value<'_> {
        Value::Day(self.0)
    }
}

impl FromCell for DateColumn {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        let text = cell.text()?;
        let date = read_day(text.as_bytes()).or_else(|| text.parse().ok());
        date.map(Self).ok_or_else(|| NotOurs::new("holds no date"))
    }
}

/// Formats a date as `YYYY-MM-DD`, like the general formatter, but fast enough for every row.
pub(super) fn written_day(date: Date) -> Cow<'static, str> {
    let Ok(year @ 0..=9999) = u16::try_from(date.year()) else { return date.to_string().into() };
    let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
    let digit = |n: u16| b'0' + u8::try_from(n % 10).unwrap_or_default();
    let two = |n: u8| [digit(u16::from(n / 10)), digit(u16::from(n))];
    let ([m, n], [d, e]) = (two(month), two(day));
    let digits =
        [digit(year / 1000), digit(year / 100), digit(year / 10), digit(year), b'-', m, n, b'-', d, e];
    String::from_utf8_lossy(&digits).into_owned().into()
}

/// Parses `YYYY-MM-DD`; other forms are left to the general parser.
fn read_day(text: &[u8]) -> Option<Date> {
    if text.len() != 10 || text.get(4) != Some(&b'-') || text.get(7) != Some(&b'-') {
        return None;
    }
    let number = |digits: std::ops::Range<usize>| {
        let digit = |n: i16, b: &u8| b.is_ascii_digit().then(|| n * 10 + i16::from(b - b'0'));
        text.get(digits)?.iter().try_fold(0, digit)
    };
    let (month, day) = (number(5..7)?, number(8..10)?);
    Date::new(number(0..4)?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// A timestamp from Tink, exact.
pub(crate) struct TimeColumn(pub Timestamp);

impl ToValue for TimeColumn {
    fn to_value(&self) -> Value<'_> {
        Value::Time(self.0)
    }
}

impl FromCell for TimeColumn {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        cell.text()?.parse().map(Self).map_err(|_| NotOurs::new("holds no time"))
    }
}

/// A timestamp of our own, in milliseconds.
pub(crate) struct Millis(pub Timestamp);

impl ToValue for Millis {
    fn to_value(&self) -> Value<'_> {
        Value::Millis(self.0)
    }
}

impl FromCell for Millis {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        // A time beyond the calendar, as `Timestamp::MAX` in milliseconds is, must not end a pass.
        let known = Timestamp::MIN.as_millisecond()..=Timestamp::MAX.as_second() * 1000;
        let millis = cell.int()?.clamp(*known.start(), *known.end());
        Timestamp::from_millisecond(millis).map(Self).map_err(|_| NotOurs::new("holds no time"))
    }
}

pub(crate) struct Decimal(pub Amount);

impl ToValue for Amount {
    fn to_value(&self) -> Value<'_> {
        self.as_str().to_value()
    }
}

impl FromCell for Decimal {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        Amount::from_decimal(cell.text()?).map(Self).map_err(|_| NotOurs::new("is no decimal number"))
    }
}

pub(crate) struct StatusColumn(pub Status);

impl FromCell for StatusColumn {
    fn from_cell(cell: Cell<'_>) -> Result<Self, NotOurs> {
        cell.text().map(|text| Self(Status::parse(text)))
    }
}

/// A count, which databases store with a sign.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// An optional text as a parameter; unlike [`ToValue`] it does not borrow the option.
pub(crate) fn optional_text(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Null, ToValue::to_value)
}

/// A list of texts as a JSON array, for `json_each`.
pub(crate) fn json_list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.collect::<serde_json::Value>().to_string()
}

/// A list of numbers as a JSON array, for `json_each`.
pub(crate) fn json_numbers(numbers: impl Iterator<Item = i64>) -> String {
    numbers.collect::<serde_json::Value>().to_string()
}

/// The two columns of a Tink user: (external id, Tink's id).
pub(crate) fn tink_user_columns(user: Option<&TinkUser>) -> (Option<&str>, Option<&str>) {
    match user {
        Some(TinkUser::External(id)) => (Some(id), None),
        Some(TinkUser::Tink(id)) => (None, Some(id)),
        None => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_the_calendar_is_read_as_its_end() {
        for (time, read) in [
            (Timestamp::MAX.as_millisecond(), "9999-12-30T22:00:00Z"),
            (i64::MAX, "9999-12-30T22:00:00Z"),
            (i64::MIN, "-009999-01-02T01:59:59Z"),
            (1_000, "1970-01-01T00:00:01Z"),
        ] {
            assert_eq!(Millis::from_cell(Cell::Int(time)).unwrap().0.to_string(), read);
        }
    }

    #[test]
    fn dates_are_written_and_read_as_the_general_parser_does() {
        for text in ["2026-06-01", "0001-12-31", "9999-12-31", "2024-02-29", "-000001-01-01", "0000-01-01"] {
            let date: Date = text.parse().unwrap();
            let column = |text: &str| DateColumn::from_cell(Cell::Text(text.as_bytes())).map(|date| date.0);
            assert_eq!(written_day(date), date.to_string());
            assert_eq!(column(text).unwrap(), date);
            assert!(column(&format!("{text}x")).is_err() && column("2026-02-30").is_err());
        }
    }

    #[test]
    fn ids_of_any_form_survive_the_compact_form() {
        for (id, is_compact) in [
            ("0123456789abcdef0123456789abcdef", true),
            ("0123456789ABCDEF0123456789ABCDEF", false),
            ("0123456789abcdef0123456789abcde", false),
            ("0123456789abcdef0123456789abcdeg", false),
            ("1001", false),
            ("", false),
        ] {
            let id = TransactionId::from(id);
            let stored = StoredId::from(&id);
            let cell = match &stored {
                StoredId::Compact(bytes) => Cell::Bytes(bytes),
                StoredId::Text(text) => Cell::Text(text.as_bytes()),
            };
            assert_eq!(IdColumn::from_cell(cell).unwrap().0, id);
            assert_eq!(matches!(stored, StoredId::Compact(_)), is_compact);
        }
    }
}

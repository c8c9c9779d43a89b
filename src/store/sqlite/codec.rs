//! How ids, dates, times and rows look inside the SQLite file, in both directions.
//! No statement is run here.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef};
use rusqlite::{Row, ToSql};

use crate::domain::amount::{Amount, Money};
use crate::domain::cause::Cause;
use crate::domain::connection::TinkUser;
use crate::domain::ids::TransactionId;
use crate::domain::texts::TextFields;
use crate::domain::transaction::{Status, Transaction};
use crate::store::types::StoredRow;

/// A transaction id in its compact form: 32 lower-case hex digits as 16 bytes, any other text as it is.
pub struct IdColumn(pub TransactionId);

impl ToSql for IdColumn {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self.0.compact() {
            Some(bytes) => Value::Blob(bytes.to_vec()),
            None => Value::Text(self.0.as_str().to_owned()),
        };
        Ok(ToSqlOutput::Owned(value))
    }
}

impl FromSql for IdColumn {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => Ok(Self(HEXLOWER.encode(bytes).into())),
            ValueRef::Text(text) => Ok(Self(String::from_utf8_lossy(text).into_owned().into())),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// As [`IdColumn`], to be written.
pub enum IdParam<'a> {
    Compact([u8; 16]),
    Text(&'a str),
}

impl<'a> From<&'a TransactionId> for IdParam<'a> {
    fn from(id: &'a TransactionId) -> Self {
        id.compact().map_or(Self::Text(id.as_str()), Self::Compact)
    }
}

impl ToSql for IdParam<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Compact(bytes) => ValueRef::Blob(bytes),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// A date as `YYYY-MM-DD`.
pub struct DateColumn(pub Date);

impl ToSql for DateColumn {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Text(written(self.0))))
    }
}

impl FromSql for DateColumn {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        read(text.as_bytes()).map_or_else(|| text.parse(), Ok).map(Self).map_err(FromSqlError::other)
    }
}

/// As the general formatter does it, but for every row.
fn written(date: Date) -> String {
    let Ok(year @ 0..=9999) = u16::try_from(date.year()) else { return date.to_string() };
    let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
    let digit = |n: u16| char::from(b'0' + u8::try_from(n % 10).unwrap_or_default());
    let two = |n: u8| [digit(u16::from(n / 10)), digit(u16::from(n))];
    let ([m, n], [d, e]) = (two(month), two(day));
    [digit(year / 1000), digit(year / 100), digit(year / 10), digit(year), '-', m, n, '-', d, e]
        .iter()
        .collect()
}

/// `YYYY-MM-DD`; what has another form is left to the general parser.
fn read(text: &[u8]) -> Option<Date> {
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

/// A time of Tink's, exact, as RFC 3339 text.
pub struct TimeColumn(pub Timestamp);

impl ToSql for TimeColumn {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Text(self.0.to_string())))
    }
}

impl FromSql for TimeColumn {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
    }
}

/// A time of our own, as integer milliseconds.
pub struct Millis(pub Timestamp);

impl ToSql for Millis {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Integer(self.0.as_millisecond())))
    }
}

impl FromSql for Millis {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        // One beyond the calendar, which `Timestamp::MAX` in milliseconds is, must not end a pass.
        let known = Timestamp::MIN.as_millisecond()..=Timestamp::MAX.as_second() * 1000;
        let millis = value.as_i64()?.clamp(*known.start(), *known.end());
        Timestamp::from_millisecond(millis).map(Self).map_err(FromSqlError::other)
    }
}

/// A list of texts as a JSON array, for `json_each`.
pub fn json_list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.collect::<serde_json::Value>().to_string()
}

/// Reads an optional date column.
pub fn date(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Date>> {
    Ok(row.get::<_, Option<DateColumn>>(column)?.map(|d| d.0))
}

/// Reads an optional time of Tink's.
pub fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<TimeColumn>>(column)?.map(|t| t.0))
}

/// Reads an optional time of our own.
pub fn millis(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<Millis>>(column)?.map(|t| t.0))
}

/// Reads an amount with its currency from two columns.
pub fn money(row: &Row<'_>, amount: &str, currency: &str) -> rusqlite::Result<Option<Money>> {
    let (Some(text), Some(currency)) = (row.get::<_, Option<String>>(amount)?, row.get(currency)?) else {
        return Ok(None);
    };
    let amount =
        Amount::from_decimal(&text).map_err(|_| corrupt(format!("{amount} is no decimal number")))?;
    Ok(Some(Money { amount, currency }))
}

/// The error for a value that is not what we write there, in a file that SQLite finds in order: it is its
/// row's trouble, not the store's.
pub fn corrupt(detail: String) -> rusqlite::Error {
    FromSqlError::other(NotOurs(detail)).into()
}

/// A value that is not what we write there.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotOurs(String);

/// The words of an error for people, and the error itself as the cause of another.
pub fn said(error: &rusqlite::Error) -> (String, Option<Cause>) {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => {
            let cause = rusqlite::Error::SqliteFailure(*code, text.clone());
            (error.to_string(), Some(Cause::of(cause)))
        }
        rusqlite::Error::FromSqlConversionFailure(_, _, value) => match value.downcast_ref::<NotOurs>() {
            Some(not_ours) => (not_ours.to_string(), Some(Cause::of(not_ours.clone()))),
            None => (error.to_string(), None),
        },
        _ => (error.to_string(), None),
    }
}

/// The error for a file that somebody else holds.
pub fn busy(detail: &str) -> rusqlite::Error {
    let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(failure, Some(detail.to_owned()))
}

/// The two columns of a Tink user: (external id, Tink's id).
pub fn tink_user_columns(user: Option<&TinkUser>) -> (Option<&str>, Option<&str>) {
    match user {
        Some(TinkUser::External(id)) => (Some(id), None),
        Some(TinkUser::Tink(id)) => (None, Some(id)),
        None => (None, None),
    }
}

/// Reads a Tink user from its two columns.
pub fn tink_user(row: &Row<'_>) -> rusqlite::Result<Option<TinkUser>> {
    if let Some(id) = row.get::<_, Option<String>>("external_user_id")? {
        return Ok(Some(TinkUser::External(id)));
    }
    Ok(row.get::<_, Option<String>>("tink_user_id")?.map(TinkUser::Tink))
}

/// The text of an amount; nothing if it is no decimal number.
struct Decimal(Option<Amount>);

impl FromSql for Decimal {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(Amount::from_decimal(value.as_str()?).ok()))
    }
}

/// The status of a row.
pub struct StatusColumn(pub Status);

impl FromSql for StatusColumn {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(Status::parse(value.as_str()?)))
    }
}

/// A statement that selects what [`stored_row`] reads, in its order, of `ts_transactions t`.
macro_rules! stored_rows {
    ($rest:literal) => {
        concat!(
            "SELECT t.key, t.generation, t.missed, t.removed_at, t.transaction_id, t.status, t.amount, t.currency,
                    t.booked_date, t.value_date, t.transaction_date, t.booked_at, t.description,
                    t.description_original, t.description_detailed, t.merchant_name, t.merchant_category_code,
                    t.category_id, t.type, t.reference, t.provider_transaction_id, t.mutability, t.payer_name,
                    t.payee_name
             FROM ts_transactions t ",
            $rest
        )
    };
}
pub(super) use stored_rows;

/// Reads a whole row of `ts_transactions`, as [`stored_rows`] selects it.
pub fn stored_row(row: &Row<'_>) -> rusqlite::Result<StoredRow> {
    let amount =
        row.get::<_, Decimal>(6)?.0.ok_or_else(|| corrupt("amount is no decimal number".to_owned()))?;
    let date = |column: usize| row.get::<_, Option<DateColumn>>(column).map(|date| date.map(|date| date.0));
    // Only lent. What is no text is an error in the words of everywhere else.
    let text = |column: usize| match row.get_ref(column)?.as_str_or_null() {
        Ok(text) => Ok(text),
        Err(_) => row.get::<_, Option<String>>(column).map(|_| None),
    };
    let texts = TextFields {
        description: text(12)?,
        description_original: text(13)?,
        description_detailed: text(14)?,
        merchant_name: text(15)?,
        merchant_category_code: text(16)?,
        category_id: text(17)?,
        kind: text(18)?,
        reference: text(19)?,
        provider_transaction_id: text(20)?,
        mutability: text(21)?,
        payer_name: text(22)?,
        payee_name: text(23)?,
    };
    let transaction = Transaction {
        id: row.get::<_, IdColumn>(4)?.0,
        status: row.get::<_, StatusColumn>(5)?.0,
        money: Money { amount, currency: row.get(7)? },
        booked_date: date(8)?,
        value_date: date(9)?,
        transaction_date: date(10)?,
        booked_at: row.get::<_, Option<TimeColumn>>(11)?.map(|time| time.0),
        texts: texts.into(),
    };
    Ok(StoredRow {
        key: row.get(0)?,
        transaction,
        generation: row.get(1)?,
        missed: row.get(2)?,
        removed: row.get::<_, Option<i64>>(3)?.is_some(),
    })
}

/// A count, which SQLite keeps with a sign.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_the_calendar_is_read_as_its_end() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        for (time, read) in [
            (Timestamp::MAX.as_millisecond(), "9999-12-30T22:00:00Z"),
            (i64::MAX, "9999-12-30T22:00:00Z"),
            (i64::MIN, "-009999-01-02T01:59:59Z"),
            (1_000, "1970-01-01T00:00:01Z"),
        ] {
            let back: Millis = db.query_row("SELECT ?1", [time], |row| row.get(0)).unwrap();
            assert_eq!(back.0.to_string(), read);
        }
    }

    #[test]
    fn dates_are_written_and_read_as_the_general_parser_does() {
        for text in ["2026-06-01", "0001-12-31", "9999-12-31", "2024-02-29", "-000001-01-01", "0000-01-01"] {
            let date: Date = text.parse().unwrap();
            let column =
                |text: &str| DateColumn::column_result(ValueRef::Text(text.as_bytes())).map(|date| date.0);
            assert_eq!(written(date), date.to_string());
            assert_eq!(column(text), Ok(date));
            assert!(column(&format!("{text}x")).is_err() && column("2026-02-30").is_err());
        }
    }

    #[test]
    fn ids_of_any_form_survive_the_compact_column() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        for (id, kind) in [
            ("0123456789abcdef0123456789abcdef", "blob"),
            ("0123456789ABCDEF0123456789ABCDEF", "text"),
            ("0123456789abcdef0123456789abcde", "text"),
            ("0123456789abcdef0123456789abcdeg", "text"),
            ("1001", "text"),
            ("", "text"),
        ] {
            let id = TransactionId::from(id);
            let read: (IdColumn, String, bool) = db
                .query_row(
                    "SELECT ?1, typeof(?1), ?1 IS ?2",
                    rusqlite::params![IdColumn(id.clone()), IdParam::from(&id)],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )
                .unwrap();
            assert_eq!((read.0.0, read.1.as_str(), read.2), (id, kind, true));
        }
    }
}

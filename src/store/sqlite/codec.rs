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
use crate::domain::transaction::{Status, Transaction};
use crate::store::types::StoredRow;

/// A transaction id in its compact form: 32 lower-case hex digits as 16 bytes, any other text as it is.
pub struct IdColumn(pub TransactionId);

impl ToSql for IdColumn {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = self.0.as_str();
        let value = match compact(text) {
            Some(bytes) => Value::Blob(bytes),
            None => Value::Text(text.to_owned()),
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

/// Only what comes back as it was: 32 digits, lower case.
fn compact(text: &str) -> Option<Vec<u8>> {
    if text.len() == 32 { HEXLOWER.decode(text.as_bytes()).ok() } else { None }
}

/// A date as `YYYY-MM-DD`.
pub struct DateColumn(pub Date);

impl ToSql for DateColumn {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Text(self.0.to_string())))
    }
}

impl FromSql for DateColumn {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
    }
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

/// Reads a whole row of `ts_transactions`.
pub fn stored_row(row: &Row<'_>) -> rusqlite::Result<StoredRow> {
    let money = money(row, "amount", "currency")?.ok_or_else(|| corrupt("amount is NULL".to_owned()))?;
    let transaction = Transaction {
        id: row.get::<_, IdColumn>("transaction_id")?.0,
        status: Status::parse(&row.get::<_, String>("status")?),
        money,
        booked_date: date(row, "booked_date")?,
        value_date: date(row, "value_date")?,
        transaction_date: date(row, "transaction_date")?,
        booked_at: time(row, "booked_at")?,
        description: row.get("description")?,
        description_original: row.get("description_original")?,
        description_detailed: row.get("description_detailed")?,
        merchant_name: row.get("merchant_name")?,
        merchant_category_code: row.get("merchant_category_code")?,
        category_id: row.get("category_id")?,
        kind: row.get("type")?,
        reference: row.get("reference")?,
        provider_transaction_id: row.get("provider_transaction_id")?,
        mutability: row.get("mutability")?,
        payer_name: row.get("payer_name")?,
        payee_name: row.get("payee_name")?,
    };
    Ok(StoredRow {
        key: row.get("key")?,
        transaction,
        generation: row.get("generation")?,
        missed: row.get("missed")?,
        removed: row.get::<_, Option<i64>>("removed_at")?.is_some(),
    })
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
            let read: (IdColumn, String) = db
                .query_row("SELECT ?1, typeof(?1)", [IdColumn(id.into())], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .unwrap();
            assert_eq!((read.0.0.as_str(), read.1.as_str()), (id, kind));
        }
    }
}

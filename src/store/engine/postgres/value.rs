//! Binds parameters of PostgreSQL statements and reads rows. Parameters are sent as text without a type, so
//! that the server infers it, except many rows at once, which it would have to parse; answers come in binary.

use std::error::Error;

use bytes::BytesMut;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type};

use crate::store::engine::fail::corrupt;
use crate::store::engine::value::{Cell, NUL, StoredId, written_day};
use crate::store::engine::{Fail, Value};

/// A parameter in the form in which it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    Null,
    Text(String),
    /// An array in PostgreSQL's binary form.
    Array(Vec<u8>),
}

impl Parameter {
    /// # Errors
    /// [`Fail::NotOurs`] for a text that PostgreSQL cannot hold.
    pub(crate) fn of(value: &Value<'_>) -> Result<Self, Fail> {
        Ok(Self::Text(match value {
            Value::Null => return Ok(Self::Null),
            Value::Bool(is) => if *is { "1" } else { "0" }.to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Text(text) => storable(text)?.to_owned(),
            Value::Bytes(bytes) => format!("\\x{}", HEXLOWER.encode(bytes)),
            Value::Id(StoredId::Compact(bytes)) => HEXLOWER.encode(bytes),
            Value::Id(StoredId::Text(text)) => storable(text)?.to_owned(),
            Value::Day(day) => written_day(*day).into_owned(),
            Value::Time(time) => Timestamp::to_string(time),
            Value::Millis(time) => time.as_millisecond().to_string(),
        }))
    }

    /// The text; `None` for NULL and for an array.
    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Array(_) => None,
        }
    }
}

impl From<Option<String>> for Parameter {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

/// Rows, encoded as an array of `tink_sync.ts_row`.
#[derive(Debug)]
pub(crate) struct Rows {
    /// A header of five words: dimensions, whether there are NULLs, element type (OID), number of elements, index of
    /// the first. Then each row after its length: the number of columns, and each column after its type and length.
    bytes: Vec<u8>,
    count: i32,
}

impl Rows {
    const HEAD: usize = 20;

    /// Reserves space for this number of rows.
    pub(crate) fn with_capacity(rows: usize) -> Self {
        let mut bytes = Vec::with_capacity(Self::HEAD + rows * 600);
        bytes.resize(Self::HEAD, 0);
        Self { bytes, count: 0 }
    }

    /// Adds a row: its key, if it has one, and its texts.
    ///
    /// # Errors
    /// [`Fail::NotOurs`] for a text that PostgreSQL cannot hold.
    pub(crate) fn add(&mut self, key: Option<i64>, texts: &[Option<&str>]) -> Result<(), Fail> {
        let start = self.bytes.len();
        self.word(0);
        self.word(length(texts.len() + 1)?);
        self.column(&Type::INT8, key.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice))?;
        for text in texts {
            self.column(&Type::TEXT, text.map(storable).transpose()?.map(str::as_bytes))?;
        }
        let size = length(self.bytes.len() - start - 4)?;
        self.put(start, &[size]);
        self.count += 1;
        Ok(())
    }

    fn column(&mut self, kind: &Type, value: Option<&[u8]>) -> Result<(), Fail> {
        self.bytes.extend(kind.oid().to_be_bytes());
        self.word(value.map_or(Ok(-1), |value| length(value.len()))?);
        self.bytes.extend(value.unwrap_or_default());
        Ok(())
    }

    fn word(&mut self, word: i32) {
        self.bytes.extend(word.to_be_bytes());
    }

    fn put(&mut self, at: usize, words: &[i32]) {
        let words = words.iter().flat_map(|word| word.to_be_bytes());
        self.bytes.iter_mut().skip(at).zip(words).for_each(|(place, byte)| *place = byte);
    }

    /// The parameter; `kind` is the OID of the row type in this database.
    pub(crate) fn parameter(mut self, kind: u32) -> Parameter {
        self.put(0, &[1, 0, kind.cast_signed(), self.count, 1]);
        Parameter::Array(self.bytes)
    }
}

fn length(bytes: usize) -> Result<i32, Fail> {
    i32::try_from(bytes).map_err(|_| corrupt("is longer than a column can be"))
}

/// Fails if PostgreSQL cannot store the text.
fn storable(text: &str) -> Result<&str, Fail> {
    if text.contains('\0') { Err(corrupt(NUL)) } else { Ok(text) }
}

/// The elements of an array parameter of any type, in PostgreSQL's textual form.
#[derive(Debug, Default)]
pub(crate) struct Array {
    text: String,
}

impl Array {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self { text }
    }

    fn begin(&mut self) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
    }

    pub(crate) fn null(&mut self) {
        self.begin();
        self.text.push_str("NULL");
    }

    /// # Errors
    /// As for [`Parameter::of`].
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Fail> {
        let text = storable(text)?;
        self.begin();
        self.text.push('"');
        for part in text.split_inclusive(['"', '\\']) {
            match part.char_indices().next_back() {
                Some((at, last @ ('"' | '\\'))) => {
                    self.text.push_str(part.get(..at).unwrap_or_default());
                    self.text.push('\\');
                    self.text.push(last);
                }
                _ => self.text.push_str(part),
            }
        }
        self.text.push('"');
        Ok(())
    }

    /// # Errors
    /// As for [`Parameter::of`].
    pub(crate) fn optional(&mut self, text: Option<&str>) -> Result<(), Fail> {
        if let Some(text) = text {
            return self.text(text);
        }
        self.null();
        Ok(())
    }

    pub(crate) fn written(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Text(text) => text.as_bytes(),
            Self::Array(bytes) => bytes,
        });
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(ty, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        if matches!(self, Self::Array(_)) { Format::Binary } else { Format::Text }
    }
}

/// The raw bytes of a cell.
struct RawCell<'a>(&'a [u8]);

impl<'a> FromSql<'a> for RawCell<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The value of a column.
pub(crate) fn cell(row: &Row, at: usize) -> Result<Cell<'_>, Fail> {
    let raw: Option<RawCell<'_>> = row.try_get(at).map_err(|e| Fail::Postgres(Box::new(e)))?;
    let Some(RawCell(raw)) = raw else { return Ok(Cell::Null) };
    let of_type = row.columns().get(at).map(tokio_postgres::Column::type_);
    let cell = match of_type {
        Some(&Type::BOOL) => raw.first().map(|byte| Cell::Int(i64::from(*byte))),
        Some(&Type::INT2) => raw.try_into().ok().map(|bytes| Cell::Int(i16::from_be_bytes(bytes).into())),
        Some(&Type::INT4) => raw.try_into().ok().map(|bytes| Cell::Int(i32::from_be_bytes(bytes).into())),
        Some(&Type::INT8) => raw.try_into().ok().map(|bytes| Cell::Int(i64::from_be_bytes(bytes))),
        Some(&Type::FLOAT8) => raw.try_into().ok().map(|bytes| Cell::Real(f64::from_be_bytes(bytes))),
        // The type of a sum of integers.
        Some(&Type::NUMERIC) => integral(raw).map(Cell::Int),
        Some(&Type::BYTEA) => Some(Cell::Bytes(raw)),
        Some(&(Type::TEXT | Type::VARCHAR | Type::NAME | Type::UNKNOWN | Type::JSON)) => {
            Some(Cell::Text(raw))
        }
        _ => None,
    };
    cell.ok_or_else(|| corrupt("holds a value of a type that is not ours"))
}

/// The integer of a numeric: four 16-bit words (digits, weight, sign, scale), then digits of four decimal places each.
fn integral(raw: &[u8]) -> Option<i64> {
    let word = |at: usize| raw.get(2 * at..2 * at + 2)?.try_into().ok().map(i16::from_be_bytes);
    let (digits, weight, sign) = (word(0)?, word(1)?, word(2)?);
    let mut number: i64 = 0;
    for place in 0..=weight {
        let digit = if place < digits { word(4 + usize::try_from(place).ok()?)? } else { 0 };
        number = number.checked_mul(10_000)?.checked_add(digit.into())?;
    }
    // A fraction, or not a number.
    if digits > weight + 1 || !matches!(sign, 0 | 0x4000) {
        return None;
    }
    Some(if sign == 0 { number } else { -number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_holds_texts_of_any_kind() {
        let mut array = Array::with_capacity(8);
        array.text("-7").unwrap();
        array.null();
        array.text("a\"b\\c,{}").unwrap();
        array.optional(None).unwrap();
        array.text("").unwrap();
        assert!(array.text("a\0b").is_err());
        assert_eq!(array.written(), r#"{"-7",NULL,"a\"b\\c,{}",NULL,""}"#);
    }

    #[test]
    fn rows_are_what_the_server_takes_for_an_array() {
        let mut rows = Rows::with_capacity(1);
        rows.add(None, &[Some("ab"), None]).unwrap();
        assert!(Rows::with_capacity(1).add(Some(1), &[Some("a\0b")]).is_err());
        let words = |words: &[i32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let mut expected = words(&[1, 0, 77, 1, 1, 30, 3, 20, -1, 25, 2]);
        expected.extend(b"ab");
        expected.extend(words(&[25, -1]));
        assert_eq!(rows.parameter(77), Parameter::Array(expected));
    }

    #[test]
    fn a_sum_of_integers_is_an_integer() {
        let numeric = |digits: &[i16], weight: i16, sign: i16| {
            let head = [i16::try_from(digits.len()).unwrap(), weight, sign, 0];
            head.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>()
        };
        for (digits, weight, sign, number) in [
            (&[][..], 0, 0, Some(0)),
            (&[1], 0, 0, Some(1)),
            (&[1], 1, 0, Some(10_000)),
            (&[12, 3456], 1, 0x4000, Some(-123_456)),
            (&[5], -1, 0, None),
            (&[1, 5000], 0, 0, None),
            (&[], 0, 0xC000u16.cast_signed(), None),
            (&[1], 9, 0, None),
        ] {
            assert_eq!(integral(&numeric(digits, weight, sign)), number, "{digits:?} {weight}");
        }
    }
}

//! What is bound to PostgreSQL's statements and read of its rows. Parameters are sent as text of no type, so that the server
//! takes each for what it stands beside, but for the columns of many rows, which it would have to take apart; answers come in
//! binary.

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

    /// What is sent as text; `None` for NULL.
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

/// A column of many rows, as the array that it is sent as.
#[derive(Debug)]
pub(crate) struct Column {
    /// A head of five words: dimensions, whether there are NULLs, the type, the number of elements, the index of the first. Then
    /// each element, behind its length.
    bytes: Vec<u8>,
    kind: Type,
    elements: i32,
    nulls: i32,
}

impl Column {
    const HEAD: usize = 20;

    fn of(kind: Type, bytes: usize) -> Self {
        let mut column = Self { bytes: Vec::with_capacity(Self::HEAD + bytes), kind, elements: 0, nulls: 0 };
        column.bytes.resize(Self::HEAD, 0);
        column
    }

    /// One of texts, which take about so many bytes.
    pub(crate) fn of_texts(bytes: usize) -> Self {
        Self::of(Type::TEXT, bytes)
    }

    /// One of so many numbers.
    pub(crate) fn of_numbers(count: usize) -> Self {
        Self::of(Type::INT8, count * 12)
    }

    /// # Errors
    /// [`Fail::NotOurs`] for a text that PostgreSQL cannot hold.
    pub(crate) fn text(&mut self, text: Option<&str>) -> Result<(), Fail> {
        self.element(text.map(storable).transpose()?.map(str::as_bytes))
    }

    /// # Errors
    /// As for [`Self::text`].
    pub(crate) fn number(&mut self, number: i64) -> Result<(), Fail> {
        self.element(Some(&number.to_be_bytes()))
    }

    fn element(&mut self, element: Option<&[u8]>) -> Result<(), Fail> {
        let too_long = |_| corrupt("is longer than a column can be");
        let length = element.map_or(Ok(-1), |bytes| i32::try_from(bytes.len()).map_err(too_long))?;
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(element.unwrap_or_default());
        self.elements += 1;
        self.nulls += i32::from(element.is_none());
        Ok(())
    }

    /// One without a value is NULL itself: what is put beside longer columns is filled up with NULLs.
    pub(crate) fn parameter(mut self) -> Parameter {
        if self.nulls == self.elements {
            return Parameter::Null;
        }
        let [has_nulls, kind] = [u32::from(self.nulls > 0), self.kind.oid()].map(u32::to_be_bytes);
        let head = [1_i32.to_be_bytes(), has_nulls, kind, self.elements.to_be_bytes(), 1_i32.to_be_bytes()];
        for (place, byte) in self.bytes.iter_mut().zip(head.iter().flatten()) {
            *place = *byte;
        }
        Parameter::Array(self.bytes)
    }
}

/// A text that PostgreSQL can hold.
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

/// What a cell holds, as it came.
struct RawCell<'a>(&'a [u8]);

impl<'a> FromSql<'a> for RawCell<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// What a column of a row holds.
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
        // What a sum of integers is.
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
    // Digits behind the point, or no number.
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
    fn a_column_is_what_the_server_takes_for_an_array() {
        let mut texts = Column::of_texts(8);
        texts.text(Some("ab")).unwrap();
        texts.text(None).unwrap();
        assert!(texts.text(Some("a\0b")).is_err());
        let bytes = [
            0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 97, 98, 255, 255, 255,
            255,
        ];
        assert_eq!(texts.parameter(), Parameter::Array(bytes.to_vec()));
        let mut numbers = Column::of_numbers(1);
        numbers.number(258).unwrap();
        let bytes =
            [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2];
        assert_eq!(numbers.parameter(), Parameter::Array(bytes.to_vec()));
        let mut nothing = Column::of_texts(0);
        nothing.text(None).unwrap();
        assert_eq!(nothing.parameter(), Parameter::Null);
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

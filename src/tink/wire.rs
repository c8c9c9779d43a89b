//! Tink's JSON as sent, turned into the domain's types: tolerant of what is absent, null, unknown or
//! of another type than documented (tink-api.md 1.4), strict where a mistake would be silent.
//! Must not put values of an answer into a reason, only names and places.

mod accounts;
mod consents;
mod tokens;
mod transactions;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

pub(super) use accounts::accounts;
pub(super) use consents::consents;
pub(super) use tokens::{Granted, code, granted};
pub(super) use transactions::transactions;
pub use transactions::{Record, reread};

use crate::domain::amount::{Amount, Money};

/// A JSON value as its text, so that numbers of any size stay exact.
type Raw<'a> = &'a RawValue;

/// The rows of one page and the token of the next.
pub(super) struct Page<T> {
    pub rows: Vec<T>,
    pub next: Option<String>,
}

/// Declares a JSON object of which every member may be absent or null.
macro_rules! json_object {
    ($(#[$doc:meta])* $name:ident<$lt:lifetime> { $($field:ident: $kind:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Default, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct $name<$lt> {
            $(#[serde(borrow)] $field: Option<$kind>,)+
        }
    };
}
use json_object;

json_object!(
    /// Money (tink-api.md 3.6).
    WireMoney<'a> {
        currency_code: Raw<'a>,
        value: WireValue<'a>,
    }
);
json_object!(
    WireValue<'a> {
        unscaled_value: Raw<'a>,
        scale: Raw<'a>,
    }
);

/// Reads a whole answer, which must be a JSON object.
fn body<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err("the answer is not a JSON object".to_owned());
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let problem = match error.classify() {
            Category::Eof => "the answer ends early",
            Category::Data => "the answer has another shape than documented",
            Category::Syntax | Category::Io => "the answer is not JSON",
        };
        format!("{problem} (line {}, column {})", error.line(), error.column())
    })
}

/// Reads one JSON object out of a list; the reason names the member that is wrong.
fn object<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Result<T, String> {
    if !raw.get().starts_with('{') {
        return Err("not an object".to_owned());
    }
    serde_json::from_str(raw.get()).or_else(|_| {
        let mut input = serde_json::Deserializer::from_str(raw.get());
        serde_path_to_error::deserialize(&mut input).map_err(|error| match error.path().to_string() {
            path if path == "." => "not an object of the documented shape".to_owned(),
            path => format!("{path} is not of the documented type"),
        })
    })
}

/// No answer lists more than this: a page has a hundred elements, and nobody has as many consents.
const LONGEST_LIST: usize = 10_000;

/// A list that must be there.
fn required<T>(list: Option<Vec<T>>, name: &str) -> Result<Vec<T>, String> {
    limited(list.ok_or_else(|| format!("{name} is missing"))?, name)
}

/// A list that is not longer than any honest one: what is made of its elements must fit in memory.
fn limited<T>(list: Vec<T>, name: &str) -> Result<Vec<T>, String> {
    if list.len() > LONGEST_LIST { Err(format!("{name} has far too many elements")) } else { Ok(list) }
}

/// The content of a JSON string, byte for byte; none for any other type.
fn string(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// The text of a JSON number; none for any other type.
fn number(raw: Raw<'_>) -> Option<&str> {
    let text = raw.get();
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then_some(text)
}

/// An optional text; a number counts as its text, any other type is an error.
fn text(raw: Option<Raw<'_>>, name: &str) -> Result<Option<String>, String> {
    let Some(raw) = raw else { return Ok(None) };
    let text = string(raw).or_else(|| number(raw).map(Cow::Borrowed));
    text.map(|text| Some(text.into_owned())).ok_or_else(|| format!("{name} is not a text"))
}

/// No word of Tink's own (a status, a provider, the kind of an error) is as long as this.
const LONGEST_WORD: usize = 256;

/// Whether this can be a word of Tink's own. Words are shown, so one that moves a terminal's cursor is none.
fn is_word(text: &str) -> bool {
    text.len() <= LONGEST_WORD && !text.contains(char::is_control)
}

/// An optional word that is only for explanation: of a wrong type, or no word, it is as if absent.
fn soft_word(raw: Option<Raw<'_>>) -> Option<String> {
    text(raw, "").ok().flatten().filter(|word| is_word(word))
}

/// No id and no page token is as long as this; texts are kept at any length.
const LONGEST_ID: usize = 16 * 1024;

/// An id: a JSON string that is not empty.
fn id(raw: Option<Raw<'_>>, name: &str) -> Result<String, String> {
    let id = raw.and_then(string).filter(|id| !id.is_empty());
    let id = id.map(Cow::into_owned).ok_or_else(|| format!("{name} is missing or not a text"))?;
    if id.len() > LONGEST_ID { Err(format!("{name} is far too long")) } else { Ok(id) }
}

/// An integer of any size, written as JSON string or number.
fn integer<'a>(raw: Option<Raw<'a>>, name: &str) -> Result<Cow<'a, str>, String> {
    let text = raw.and_then(|raw| string(raw).or_else(|| number(raw).map(Cow::Borrowed)));
    text.ok_or_else(|| format!("{name} is missing or not an integer"))
}

/// The page token: empty, null and absent all mean the end (tink-api.md 4.3).
fn page_token(raw: Option<Raw<'_>>) -> Result<Option<String>, String> {
    let token = text(raw, "nextPageToken")?.filter(|token| !token.is_empty());
    let is_long = token.as_ref().is_some_and(|token| token.len() > LONGEST_ID);
    if is_long { Err("nextPageToken is far too long".to_owned()) } else { Ok(token) }
}

impl WireMoney<'_> {
    /// The exact money.
    fn read(&self) -> Result<Money, String> {
        let currency = id(self.currency_code, "amount.currencyCode")?;
        let value = self.value.as_ref().ok_or("amount.value is missing")?;
        let unscaled = integer(value.unscaled_value, "amount.value.unscaledValue")?;
        let scale = integer(value.scale, "amount.value.scale")?;
        let amount = Amount::from_parts(&unscaled, &scale).map_err(|error| format!("amount: {error}"))?;
        Ok(Money { amount, currency })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn money(json: &str) -> Result<(String, String), String> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let money = object::<WireMoney<'_>>(raw)?.read()?;
        Ok((money.amount.to_string(), money.currency))
    }

    #[test]
    fn money_is_read_from_strings_and_integers_of_any_size() {
        for (unscaled, scale, expected) in [
            (r#""-1300""#, r#""1""#, "-130"),
            ("1050", "2", "10.5"),
            (r#""19""#, r#""-3""#, "19000"),
            ("9007199254740993", "2", "90071992547409.93"),
            ("123456789012345678901234567890", "0", "123456789012345678901234567890"),
            ("-18446744073709551617", r#""0""#, "-18446744073709551617"),
            (r#""\u0031""#, "0", "1"),
        ] {
            let json = format!(
                r#"{{"new":[],"value":{{"scale":{scale},"unscaledValue":{unscaled}}},"currencyCode":"KWD"}}"#
            );
            assert_eq!(money(&json), Ok((expected.to_owned(), "KWD".to_owned())));
        }
    }

    #[test]
    fn what_is_not_exact_money_is_refused_without_its_value() {
        for json in [
            "{}",
            "[]",
            "null",
            r#"{"currencyCode":"","value":{"scale":"0","unscaledValue":"77"}}"#,
            r#"{"currencyCode":5,"value":{"scale":"0","unscaledValue":"77"}}"#,
            r#"{"currencyCode":"EUR"}"#,
            r#"{"currencyCode":"EUR","value":null}"#,
            r#"{"currencyCode":"EUR","value":77}"#,
            r#"{"currencyCode":"EUR","value":{"scale":"0"}}"#,
            r#"{"currencyCode":"EUR","value":{"unscaledValue":"77"}}"#,
            r#"{"currencyCode":"EUR","value":{"scale":"0","unscaledValue":77.5}}"#,
            r#"{"currencyCode":"EUR","value":{"scale":"0","unscaledValue":77e2}}"#,
            r#"{"currencyCode":"EUR","value":{"scale":true,"unscaledValue":77}}"#,
            r#"{"currencyCode":"EUR","value":{"scale":"77","unscaledValue":"77"}}"#,
        ] {
            assert!(!money(json).unwrap_err().contains("77"), "{json}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_answer() {
        for bytes in ["", "null", "[]", "<html>", "\"x\"", "{", "{\"amount\":{\"value\":7}}", "\u{feff}{}"] {
            let result = body::<WireMoney<'_>>(bytes.as_bytes());
            assert_eq!(result.is_err(), bytes != "{\"amount\":{\"value\":7}}", "{bytes}");
        }
        assert!(body::<WireMoney<'_>>(b"{\"value\":\"\xff\"}").is_err());
    }

    proptest! {
        #[test]
        fn every_integer_comes_out_exact(value: i128, quoted: bool) {
            let unscaled = if quoted { format!("\"{value}\"") } else { value.to_string() };
            let json = format!(r#"{{"currencyCode":"X","value":{{"scale":0,"unscaledValue":{unscaled}}}}}"#);
            prop_assert_eq!(money(&json).unwrap().0, value.to_string());
        }

        #[test]
        fn every_string_comes_out_byte_for_byte(value: String) {
            let json = serde_json::to_string(&value).unwrap();
            let raw: &RawValue = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(text(Some(raw), ""), Ok(Some(value)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = body::<WireMoney<'_>>(&bytes);
            let _ = transactions(&bytes, &"a".into(), true);
            let _ = granted(&bytes);
        }
    }
}

//! Parses Tink's JSON into the domain's types: tolerant of what is absent, null, unknown or of another type
//! than documented (API.md 1.2), strict where a mistake would be silent. An odd field loses only itself: it
//! counts as absent, and an anomaly is counted. Must not put values of a response into a reason or an
//! anomaly, only names and places.

mod accounts;
mod consents;
mod date;
mod lenient;
mod shape;
mod tokens;
mod transactions;

use std::borrow::Cow;
use std::cell::OnceCell;

use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

pub(super) use accounts::accounts;
pub(super) use consents::consents;
pub(super) use tokens::{Granted, code, granted};
pub(super) use transactions::transactions;
pub use transactions::{TransactionRecord, replay};

use super::scrub::is_error;
use crate::domain::amount::{Amount, Money};
use crate::domain::anomaly::{Anomalies, Anomaly};
use crate::domain::ids::LONGEST_TINK_ID;
use shape::{Elements, Leaf, List, Object, Soft, json_object};

/// A JSON value as its text, so that numbers of any size stay exact.
type Raw<'a> = &'a RawValue;

/// The rows of one page and the token of the next.
pub(super) struct Page<T> {
    pub rows: Vec<T>,
    pub next: Option<String>,
    /// Whether `rows` is everything that was listed; if not, nothing may be concluded from an absent row.
    pub complete: bool,
    /// How the page deviated from the documented form.
    pub anomalies: Anomalies,
}

json_object!(
    /// Money (API.md 3.2).
    WireMoney<'a> {
        currency_code: Leaf<'a> = "amount.currencyCode",
        value: Object<WireValue<'a>> = "amount.value",
    }
);
json_object!(
    WireValue<'a> {
        unscaled_value: Leaf<'a> = "amount.value.unscaledValue",
        scale: Leaf<'a> = "amount.value.scale",
    }
);

/// Holds the text of a response that is valid JSON only after cleaning.
type Spare = OnceCell<String>;

/// Parses a whole response, which must be a JSON object. If it is not valid JSON, it is cleaned and parsed
/// again.
fn body<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    spare: &'a Spare,
    anomalies: &mut Anomalies,
) -> Result<T, String> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err("the answer is not a JSON object".to_owned());
    }
    let refused = match serde_json::from_slice(bytes) {
        Ok(read) => return Ok(read),
        Err(refused) => refused,
    };
    if refused.classify() == Category::Syntax
        && let Some(cleaned) = lenient::clean(bytes, anomalies)
    {
        return serde_json::from_str(spare.get_or_init(|| cleaned)).map_err(|error| problem(&error));
    }
    Err(problem(&refused))
}

fn problem(error: &serde_json::Error) -> String {
    let problem = match error.classify() {
        Category::Eof => "the answer ends early",
        Category::Data => "the answer has another shape than documented",
        Category::Syntax | Category::Io => "the answer is not JSON",
    };
    format!("{problem} (line {}, column {})", error.line(), error.column())
}

/// Reads one JSON object out of a list: in one pass, and if a member is odd, member by member.
fn object<'a, T: Deserialize<'a> + Soft<'a>>(raw: Raw<'a>, anomalies: &mut Anomalies) -> Result<T, String> {
    let not_one = || "not an object".to_owned();
    if !raw.get().starts_with('{') {
        return Err(not_one());
    }
    serde_json::from_str(raw.get()).or_else(|_| T::soft(raw, "", anomalies).ok_or_else(not_one))
}

/// Returns the elements of a list in `answer`, and whether the list was there: an absent or null one is empty
/// and proves nothing. Fails if `answer` is an error instead.
fn listed<'a>(
    answer: &[u8],
    list: Option<List<'a>>,
    name: &'static str,
    anomalies: &mut Anomalies,
) -> Result<(Vec<Raw<'a>>, bool), String> {
    let is_there = list.is_some();
    if !is_there {
        refuse_error(answer, &format!("in place of {name}"))?;
        anomalies.note(Anomaly::NoList(name));
    }
    Ok((list.unwrap_or_default().items(name)?, is_there))
}

/// Refuses a successful response whose body is an error, without quoting it.
fn refuse_error(answer: &[u8], place: &str) -> Result<(), String> {
    let answer = answer.strip_prefix("\u{feff}".as_bytes()).unwrap_or(answer);
    if is_error(answer) { Err(format!("the answer is an error {place}")) } else { Ok(()) }
}

/// Checks a response of which nothing is needed except that it is not an error.
pub(super) fn done(answer: &[u8]) -> Result<(), String> {
    refuse_error(answer, "though its status says success")
}

/// The content of a JSON string, byte for byte; `None` for any other type, and if it cannot be decoded.
fn string(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    let inner = inner(raw)?;
    if inner.contains('\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// The text between the quotes of a JSON string.
fn inner(raw: Raw<'_>) -> Option<&str> {
    raw.get().strip_prefix('"')?.strip_suffix('"')
}

/// The content of a JSON string, with U+FFFD for what cannot be decoded or stored (U+0000 ends a text in many
/// programs, and PostgreSQL rejects it).
fn decoded<'a>(raw: Raw<'a>, anomalies: &mut Anomalies) -> Option<Cow<'a, str>> {
    let inner = inner(raw)?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let (text, lost) = lenient::unescape(inner);
    anomalies.add(Anomaly::Text, lost);
    Some(Cow::Owned(text))
}

/// The text of a JSON number; `None` for any other type.
fn number(raw: Raw<'_>) -> Option<&str> {
    let text = raw.get();
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then_some(text)
}

impl<'a> Leaf<'a> {
    /// As [`string`].
    fn string(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Raw(raw) => string(raw),
        }
    }

    /// As [`decoded`].
    fn decoded(self, anomalies: &mut Anomalies) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Raw(raw) => decoded(raw, anomalies),
        }
    }

    /// As [`number`].
    fn number(&self) -> Option<&'a str> {
        match self {
            Self::Text(_) => None,
            Self::Raw(raw) => number(raw),
        }
    }

    /// The JSON as sent, or the content of a text.
    fn as_sent(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Raw(raw) => raw.get(),
        }
    }

    /// A text as [`Self::decoded`], or the text of a number.
    fn text(self, anomalies: &mut Anomalies) -> Option<Cow<'a, str>> {
        let number = self.number();
        self.decoded(anomalies).or(number.map(Cow::Borrowed))
    }
}

/// An optional text; a number counts as its text, anything else as absent.
fn text<'a>(
    leaf: Option<impl Into<Leaf<'a>>>,
    place: &'static str,
    anomalies: &mut Anomalies,
) -> Option<Cow<'a, str>> {
    let text = leaf?.into().text(anomalies);
    if text.is_none() {
        anomalies.note(Anomaly::Field(place));
    }
    text
}

/// An optional value written as a text, such as a date; absent if the text is empty or `read` refuses it.
fn soft<'a, T>(
    leaf: Option<impl Into<Leaf<'a>>>,
    place: &'static str,
    anomalies: &mut Anomalies,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let text = leaf?.into().string();
    if text.as_ref().is_some_and(|text| text.is_empty()) {
        return None;
    }
    let value = text.and_then(|text| read(&text));
    if value.is_none() {
        anomalies.note(Anomaly::Field(place));
    }
    value
}

/// An optional text on which something depends: a number counts as its text, any other type is an error.
fn hard_text<'a>(
    leaf: Option<impl Into<Leaf<'a>>>,
    name: &str,
    anomalies: &mut Anomalies,
) -> Result<Option<Cow<'a, str>>, String> {
    let Some(leaf) = leaf else { return Ok(None) };
    let text = leaf.into().text(anomalies);
    text.map(Some).ok_or_else(|| format!("{name} is not a text"))
}

/// The longest word of Tink's own (a status, a provider, an error type) that is accepted, in bytes.
const LONGEST_WORD: usize = 256;

/// Whether this can be a word of Tink's own. Words are shown, so none may move a terminal's cursor.
fn is_word(text: &str) -> bool {
    text.len() <= LONGEST_WORD && !text.contains(char::is_control)
}

/// An optional word used only for explanation; one of a wrong type, or that is no word, counts as absent.
fn soft_word(raw: Option<Raw<'_>>, place: &'static str, anomalies: &mut Anomalies) -> Option<String> {
    let word = text(raw, place, anomalies)?;
    let is_word = is_word(&word);
    if !is_word {
        anomalies.note(Anomaly::Field(place));
    }
    is_word.then(|| word.into_owned())
}

/// The longest page token that is accepted, in bytes; texts are kept at any length.
const LONGEST_TOKEN: usize = 16 * 1024;

/// An id: a non-empty JSON string. One that cannot be decoded or stored as sent is refused: with U+FFFD in
/// it, it could equal another id.
fn id<'a>(leaf: Option<impl Into<Leaf<'a>>>, name: &str) -> Result<Cow<'a, str>, String> {
    let id = leaf.and_then(|leaf| leaf.into().string()).filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| format!("{name} is missing or not a text"))?;
    if id.contains('\0') || id.contains('\u{fffd}') {
        return Err(format!("{name} cannot be decoded"));
    }
    if id.len() > LONGEST_TINK_ID { Err(format!("{name} is far too long")) } else { Ok(id) }
}

/// An integer of any size, written as JSON string or number.
fn integer<'a>(leaf: Option<impl Into<Leaf<'a>>>, name: &str) -> Result<Cow<'a, str>, String> {
    let text = leaf.map(Into::into).and_then(either);
    text.ok_or_else(|| format!("{name} is missing or not an integer"))
}

/// A text as [`string`], or the text of a number.
fn either(leaf: Leaf<'_>) -> Option<Cow<'_, str>> {
    let number = leaf.number();
    leaf.string().or(number.map(Cow::Borrowed))
}

/// The page token: empty, null and absent all mean the end (API.md 4.2).
fn page_token<'a>(leaf: Option<impl Into<Leaf<'a>>>) -> Result<Option<String>, String> {
    let Some(leaf) = leaf else { return Ok(None) };
    let token = either(leaf.into()).ok_or("nextPageToken is not a text")?;
    if token.len() > LONGEST_TOKEN {
        return Err("nextPageToken is far too long".to_owned());
    }
    Ok(Some(token.into_owned()).filter(|token| !token.is_empty()))
}

impl WireMoney<'_> {
    fn read(&self) -> Result<Money, String> {
        let currency = id(self.currency_code.clone(), "amount.currencyCode")?.into_owned();
        let value = &self.value.as_ref().ok_or("amount.value is missing or not an object")?.0;
        let unscaled = integer(value.unscaled_value.clone(), "amount.value.unscaledValue")?;
        let scale = integer(value.scale.clone(), "amount.value.scale")?;
        let amount = Amount::from_parts(&unscaled, &scale).map_err(|error| format!("amount: {error}"))?;
        Ok(Money { amount, currency })
    }
}

#[cfg(test)]
mod tests;

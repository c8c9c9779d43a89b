//! Repairs responses that are not valid JSON although their meaning is clear: bytes in a foreign encoding,
//! raw control characters, half surrogate pairs, literals that are not JSON. Used only after the strict
//! parser has failed. Must not guess where a response was cut short.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::domain::anomaly::{Anomalies, Anomaly};

/// A cleaned response may be this many times as long, and a little more; beyond that it is not text with a
/// few odd bytes.
const MOST_GROWTH: usize = 2;

/// Replaces everything that cannot be decoded.
const REPLACEMENT: char = '\u{fffd}';

/// Returns the response as valid JSON, as far as possible; `None` if nothing had to be changed or too much.
/// Texts keep their control characters; what cannot be decoded becomes U+FFFD.
pub(super) fn clean(bytes: &[u8], anomalies: &mut Anomalies) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut cleaner = Cleaner {
        rest: &text,
        out: String::with_capacity(text.len()),
        limit: bytes.len() * MOST_GROWTH + 1024,
        anomalies: Anomalies::default(),
    };
    if let Cow::Owned(text) = &text {
        let lost = text.matches(REPLACEMENT).count() - count_of_replacements(bytes);
        cleaner.anomalies.add(Anomaly::Text, lost as u64);
    }
    cleaner.run();
    if cleaner.anomalies.is_empty() || cleaner.is_over() {
        return None;
    }
    anomalies.merge(cleaner.anomalies);
    Some(cleaner.out)
}

/// The number of U+FFFD that Tink itself has sent.
fn count_of_replacements(bytes: &[u8]) -> usize {
    bytes.windows(3).filter(|window| *window == "\u{fffd}".as_bytes()).count()
}

/// The content between the quotes of a JSON string, with U+FFFD for U+0000 and half surrogate pairs, and the
/// number of these replacements.
pub(super) fn unescape(inner: &str) -> (String, u64) {
    let (mut out, mut lost, mut rest) = (String::with_capacity(inner.len()), 0, inner);
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let (read, length) = escaped(escape);
        let read = read.filter(|c| *c != '\0').unwrap_or_else(|| {
            lost += 1;
            REPLACEMENT
        });
        out.push(read);
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    (out, lost)
}

/// The character that an escape encodes, and its length without the backslash; no character for half a
/// surrogate pair.
fn escaped(escape: &str) -> (Option<char>, usize) {
    let simple = match escape.as_bytes().first() {
        Some(b'u') => return unicode(escape),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(other) if other.is_ascii() => char::from(*other),
        _ => return (Some('\\'), 0),
    };
    (Some(simple), 1)
}

fn unicode(escape: &str) -> (Option<char>, usize) {
    let unit = |at: usize| {
        let digits = escape.get(at..at + 4)?;
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    };
    match unit(1) {
        Some(high @ 0xd800..0xdc00) if escape.get(5..7) == Some("\\u") => match unit(7) {
            Some(low @ 0xdc00..0xe000) => {
                (char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 11)
            }
            _ => (None, 5),
        },
        Some(unit) => (char::from_u32(unit), 5),
        None => (Some('\\'), 0),
    }
}

/// Copies a response token by token, and repairs it.
struct Cleaner<'a> {
    rest: &'a str,
    out: String,
    limit: usize,
    anomalies: Anomalies,
}

impl Cleaner<'_> {
    /// Whether the output has become too long to go on.
    fn is_over(&self) -> bool {
        self.out.len() > self.limit
    }

    fn run(&mut self) {
        while let Some(first) = self.rest.chars().next().filter(|_| !self.is_over()) {
            match first {
                '"' => self.string(),
                '{' | '}' | '[' | ']' | ',' | ':' | ' ' | '\n' | '\r' | '\t' => self.copy(1),
                _ if first.is_control() => {
                    self.anomalies.note(Anomaly::Json);
                    self.out.push(' ');
                    self.skip(first.len_utf8());
                }
                _ => self.word(),
            }
        }
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }

    fn copy(&mut self, length: usize) {
        self.out.push_str(self.rest.get(..length).unwrap_or(self.rest));
        self.skip(length);
    }

    /// A string up to its closing quote, or to the end if there is none.
    fn string(&mut self) {
        self.copy(1);
        loop {
            let plain = self.rest.find(|c: char| c == '"' || c == '\\' || c < ' ');
            self.copy(plain.unwrap_or(self.rest.len()));
            match self.rest.chars().next().filter(|_| !self.is_over()) {
                None => return,
                Some('"') => return self.copy(1),
                Some('\\') => self.escape(),
                Some(control) => {
                    self.anomalies.note(Anomaly::Json);
                    // Writing to a String cannot fail.
                    let _ = write!(self.out, "\\u{:04x}", u32::from(control));
                    self.skip(1);
                }
            }
        }
    }

    /// Copies a valid escape; a backslash that begins none becomes an escaped backslash.
    fn escape(&mut self) {
        let after = self.rest.get(1..).unwrap_or_default();
        let (read, length) = escaped(after);
        let is_known = after.starts_with(['"', '\\', '/', 'b', 'f', 'n', 'r', 't']) || length > 1;
        match read {
            Some(_) if is_known => self.copy(1 + length),
            Some(_) => {
                self.anomalies.note(Anomaly::Json);
                self.out.push_str("\\\\");
                self.skip(1);
            }
            None => {
                self.anomalies.note(Anomaly::Text);
                self.out.push(REPLACEMENT);
                self.skip(1 + length);
            }
        }
    }

    /// A number or a literal. One that is not JSON (`007`, `.5`, `NaN`) becomes a text or null.
    fn word(&mut self) {
        let end = self.rest.find(|c: char| matches!(c, '"' | '{' | '}' | '[' | ']' | ',' | ':') || c <= ' ');
        let word = self.rest.get(..end.unwrap_or(self.rest.len())).unwrap_or_default();
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(word).is_ok();
        if is_json || !word.is_ascii() {
            return self.copy(word.len().max(1));
        }
        self.anomalies.note(Anomaly::Json);
        let is_number =
            word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
        let _ = if is_number { write!(self.out, "\"{word}\"") } else { write!(self.out, "null") };
        self.skip(word.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cleaned(bytes: &[u8]) -> Option<String> {
        clean(bytes, &mut Anomalies::default())
    }

    fn counts(bytes: &[u8]) -> Vec<(Anomaly, u64)> {
        let mut anomalies = Anomalies::default();
        clean(bytes, &mut anomalies);
        anomalies.iter().collect()
    }

    #[test]
    fn what_is_odd_is_made_json_and_nothing_else_is_touched() {
        for (odd, plain) in [
            (&b"{\"a\":\"x\x01\ny\"}"[..], r#"{"a":"x\u0001\u000ay"}"#),
            (b"{\"a\":\"caf\xe9\",\"b\":1}", "{\"a\":\"caf\u{fffd}\",\"b\":1}"),
            (br#"{"a":"\ud800x\udc00"}"#, "{\"a\":\"\u{fffd}x\u{fffd}\"}"),
            (br#"{"a":"\ud83d\ude00\ud83d"}"#, "{\"a\":\"\\ud83d\\ude00\u{fffd}\"}"),
            (br#"{"a":"C:\dir \' \u12","b":"\\\"\n\/"}"#, r#"{"a":"C:\\dir \\' \\u12","b":"\\\"\n\/"}"#),
            (
                b"{\"a\":NaN,\"b\":0742,\"c\":+1.,\"d\":-Infinity,\"e\":true}\x00\x00",
                "{\"a\":null,\"b\":\"0742\",\"c\":\"+1.\",\"d\":null,\"e\":true}  ",
            ),
        ] {
            assert_eq!(cleaned(odd).as_deref(), Some(plain));
        }
        for valid in [
            r#"{"a":"é\u00e9\n\u0000","b":[1,-2.5e3,true,null,"\ud83d\ude00"]}"#,
            "{}",
            "",
            "{\"a\":\"\u{fffd}\"}",
        ] {
            assert_eq!(cleaned(valid.as_bytes()), None, "{valid}");
        }
    }

    #[test]
    fn what_was_cut_short_stays_so() {
        for (odd, plain) in
            [(&b"{\"a\":\"\xff"[..], "{\"a\":\"\u{fffd}"), (b"{\"a\":\"\xff\\", "{\"a\":\"\u{fffd}\\\\")]
        {
            assert_eq!(cleaned(odd).as_deref(), Some(plain));
        }
    }

    #[test]
    fn an_answer_of_nothing_but_odd_bytes_is_none() {
        let bytes = [b"{\"a\":\"", &vec![1; 5000][..], b"\"}"].concat();
        assert_eq!(cleaned(&bytes), None);
        let few = [b"{\"a\":\"", &vec![1; 50][..], &vec![b'a'; 5000][..], b"\"}"].concat();
        assert!(cleaned(&few).is_some());
    }

    #[test]
    fn a_word_ends_at_a_blank_and_one_that_is_not_ascii_is_not_guessed() {
        assert_eq!(cleaned(b"{\"a\":007 ,\"b\":NaN\n}").as_deref(), Some("{\"a\":\"007\" ,\"b\":null\n}"));
        assert_eq!(cleaned("{\"a\":é,\"b\":NaN}".as_bytes()).as_deref(), Some("{\"a\":é,\"b\":null}"));
    }

    #[test]
    fn an_answer_may_become_twice_as_long_and_a_little_more() {
        // Each control character becomes six: 259 of them and four letters reach the limit exactly.
        let answer = |letters: usize, odd: usize| {
            cleaned(&[b"{\"a\":\"", &vec![1; odd][..], &vec![b'a'; letters][..], b"\"}"].concat())
        };
        assert_eq!(answer(4, 259).map(|cleaned| cleaned.len()), Some(2 * 271 + 1024));
        assert_eq!((answer(4, 260), answer(3, 259)), (None, None));
        assert!(answer(5000, 1000).is_some());
    }

    #[test]
    fn each_kind_is_counted() {
        assert_eq!(counts(b"{\"a\":\"\xff\xfe\xef\xbf\xbd\"}"), [(Anomaly::Text, 2)]);
        assert_eq!(counts(b"{\"a\":\"\x01\x02\xff\"}"), [(Anomaly::Text, 1), (Anomaly::Json, 2)]);
    }

    #[test]
    fn escapes_are_read_and_half_pairs_are_told() {
        for (inner, text, lost) in [
            (r#"\"\\\/\b\f\n\r\t\u00e9"#, "\"\\/\u{8}\u{c}\n\r\té", 0),
            (r"\ud83d\ude00", "😀", 0),
            (r"a\ud83db", "a\u{fffd}b", 1),
            (r"\udc00\ud800\u0041", "\u{fffd}\u{fffd}A", 2),
            (r"\ud800\ud83d\ude00", "\u{fffd}😀", 1),
            (r"a\u0000b", "a\u{fffd}b", 1),
            // Not the second half of the pair, and not an escape.
            (r"\ud83d, dc00", "\u{fffd}, dc00", 1),
            (r"a\éb", r"a\éb", 0),
        ] {
            assert_eq!(unescape(inner), (text.to_owned(), lost), "{inner}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_a_text_leave_the_rest_readable(noise: Vec<u8>) {
            let noise: Vec<u8> = noise.into_iter().filter(|b| !matches!(b, b'"' | b'\\')).collect();
            let bytes = [b"{\"a\":\"", &noise[..], b"\",\"b\":[1,{}]}"].concat();
            let text = cleaned(&bytes).unwrap_or_else(|| String::from_utf8(bytes).unwrap());
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&value["b"], &serde_json::json!([1, {}]));
            prop_assert_eq!(value["a"].as_str().unwrap(), String::from_utf8_lossy(&noise));
        }

        #[test]
        fn valid_json_is_left_alone(value in ".{0,40}", number: i64) {
            let json = serde_json::json!({"k": value, "n": [number, null]}).to_string();
            prop_assert_eq!(cleaned(json.as_bytes()), None);
            let inner = serde_json::to_string(&value).unwrap();
            let (text, lost) = unescape(&inner[1..inner.len() - 1]);
            let nuls = value.matches('\0').count();
            prop_assert_eq!((text, lost), (value.replace('\0', "\u{fffd}"), nuls as u64));
        }
    }
}

//! Makes Tink's error texts fit to be shown: short, and without what may be a name, a token or an account
//! number. Must not decide anything by an error's text.

use serde_json::{Map, Value};

/// Longest detail, in characters.
const DETAIL_CHARS: usize = 300;
/// A run of this many letters and digits may be a token or a personal number.
const SECRET_CHARS: usize = 12;
/// This many digits in groups may be an account number.
const NUMBER_DIGITS: usize = 9;

/// The longest error code.
const CODE_CHARS: usize = 80;
/// A longer run of digits is not a code but a personal number.
const CODE_DIGITS: usize = 6;

/// Describes an error body: by its code, if it has one of the known JSON shapes (API.md 7.2). The message
/// beside it may name a person, so it is included only if no user is involved in the call. Of any other body,
/// only the kind is given.
pub(super) fn describe(body: &[u8], concerns_a_user: bool) -> String {
    let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(body) else {
        let kind = match body.trim_ascii().first() {
            None => "",
            Some(b'<') => "the body is a page for people",
            Some(_) => "the body is not JSON",
        };
        return kind.to_owned();
    };
    let code = ["errorCode", "code", "detailCode", "error"].iter().find_map(|name| code(fields.get(*name)?));
    let messages = ["errorMessage", "message", "error_description"];
    let message = messages.iter().find_map(|name| fields.get(*name)?.as_str());
    match (code, message.filter(|text| !concerns_a_user && !text.is_empty())) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (code, message) => code.or(message.map(str::to_owned)).unwrap_or_default(),
    }
}

/// Whether an error body has one of the shapes of Tink's errors (API.md 7.2).
pub(super) fn is_tinks(body: &[u8]) -> bool {
    let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(body) else { return false };
    let is_said = |name: &str| fields.get(name).is_some_and(|value| value.is_string() || value.is_number());
    ["errorCode", "errorMessage", "code", "detailCode", "error", "error_description"].into_iter().any(is_said)
}

/// Whether a body is an error, regardless of its status and encoding: of Tink's form, or with an `error`
/// object.
pub(super) fn is_error(body: &[u8]) -> bool {
    let body = String::from_utf8_lossy(body);
    let nested = |fields: Map<String, Value>| fields.get("error").is_some_and(Value::is_object);
    is_tinks(body.as_bytes()) || serde_json::from_str(&body).is_ok_and(nested)
}

/// A value that looks like a code: a word without spaces, or a short number.
fn code(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let is_member = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    let digits = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or_default();
    let is_code =
        (1..=CODE_CHARS).contains(&text.len()) && text.chars().all(is_member) && digits <= CODE_DIGITS;
    is_code.then_some(text)
}

/// Replaces what may be a token or an account number, and control characters; cuts at 300 characters.
pub(super) fn scrub(text: &str) -> String {
    // Text far beyond the cut need not be examined; scrubbing only ever shortens.
    let text = text.chars().take(DETAIL_CHARS * 20).map(|c| if c.is_control() { ' ' } else { c });
    let text: String = text.collect();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let text = replace_runs(&text, is_word, |run| {
        run.len() >= SECRET_CHARS && run.bytes().any(|b| b.is_ascii_digit())
    });
    let is_group = |c: char| c.is_ascii_digit() || c == ' ';
    let text =
        replace_runs(&text, is_group, |run| run.bytes().filter(u8::is_ascii_digit).count() >= NUMBER_DIGITS);
    text.chars().take(DETAIL_CHARS).collect()
}

/// Replaces every maximal run of `member` characters for which `secret` holds with an ellipsis.
fn replace_runs(text: &str, member: impl Fn(char) -> bool, secret: impl Fn(&str) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !member(c)).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        clean.push_str(if secret(run) { "…" } else { run });
        let next = tail.find(&member).unwrap_or(tail.len());
        clean.push_str(&tail[..next]);
        rest = &tail[next..];
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_error_bodies_give_code_and_message_where_no_user_has_a_part() {
        for (body, expected) in [
            (r#"{"errorCode":"oauth.x","errorMessage":"no"}"#, "oauth.x: no"),
            (r#"{"code":3,"message":"bad token","details":[]}"#, "3: bad token"),
            (r#"{"detailCode":8,"message":null}"#, "8"),
            (r#"{"error":"invalid_grant","error_description":"used"}"#, "invalid_grant: used"),
            (r#"{"error":"invalid_grant"}"#, "invalid_grant"),
            (r#"{"message":"only a text"}"#, "only a text"),
            ("{}", ""),
            ("", ""),
            (" <html>Bad gateway</html>\n", "the body is a page for people"),
            ("Jane Doe owes 3 euros", "the body is not JSON"),
        ] {
            assert_eq!(describe(body.as_bytes(), false), expected);
        }
    }

    #[test]
    fn of_a_call_that_concerns_a_user_only_the_code_is_told() {
        for (body, expected) in [
            (r#"{"errorCode":"oauth.x","errorMessage":"Jane Doe is unknown"}"#, "oauth.x"),
            (r#"{"errorCode":"","code":"permission-denied:consents"}"#, "permission-denied:consents"),
            (r#"{"errorCode":"Jane Doe","code":7}"#, "7"),
            (r#"{"code":"DE89370400440532013000","error":"x"}"#, "x"),
            (r#"{"code":1234567,"detailCode":"a1234567"}"#, ""),
            (r#"{"error":"Müller"}"#, ""),
            (r#"{"error":["Jane"],"message":"Jane"}"#, ""),
            (r#"{"error":{"code":"Jane"}}"#, ""),
        ] {
            assert_eq!(describe(body.as_bytes(), true), expected, "{body}");
        }
        assert_eq!(describe(format!(r#"{{"code":"{}"}}"#, "x".repeat(81)).as_bytes(), true), "");
    }

    #[test]
    fn tokens_and_account_numbers_are_scrubbed() {
        for (text, clean) in [
            ("user c50cd6960a6f44ffb701ef60fafa7761 unknown", "user … unknown"),
            ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOjEyMzQ1Njc4OTB9.x", "….….x"),
            ("IBAN SE6930000000011273547693!", "IBAN …!"),
            ("IBAN SE69 3000 0000 0112 7354 7693", "IBAN SE…"),
            ("scope provider-consents:read on 2026-01-01\n", "scope provider-consents:read on 2026-01-01 "),
        ] {
            assert_eq!(scrub(text), clean);
        }
    }

    proptest! {
        #[test]
        fn no_long_run_with_a_digit_survives(text in "[ a-z0-9+/=._é-]{0,400}") {
            let clean = scrub(&text);
            prop_assert!(clean.chars().count() <= DETAIL_CHARS);
            let runs = clean.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
            for run in runs {
                prop_assert!(run.len() < SECRET_CHARS || !run.bytes().any(|b| b.is_ascii_digit()));
            }
        }
    }
}

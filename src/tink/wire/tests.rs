//! Tests of what all readers of responses share.

use super::*;
use proptest::prelude::*;

fn money(json: &str) -> Result<(String, String), String> {
    let raw: &RawValue = serde_json::from_str(json).unwrap();
    let money = object::<WireMoney<'_>>(raw, &mut Anomalies::default())?.read()?;
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    currency_code: Option<Raw<'a>>,
}

fn answer(bytes: &[u8]) -> Result<(String, Anomalies), String> {
    let (spare, mut anomalies) = (Spare::new(), Anomalies::default());
    let answer: Answer<'_> = body(bytes, &spare, &mut anomalies)?;
    let text = text(answer.currency_code, "x", &mut anomalies).unwrap_or_default();
    Ok((text.into_owned(), anomalies))
}

#[test]
fn what_is_no_object_is_no_answer() {
    for bytes in ["", "null", "[]", "<html>", "\"x\"", "{", "{\"currencyCode\":\"E", "{\"a\":1}{}", "{'a':1}"]
    {
        assert!(answer(bytes.as_bytes()).is_err(), "{bytes}");
    }
    for bytes in ["{}", "\u{feff}{}", "\u{feff} \n{}", "{\"value\":{}}"] {
        assert_eq!(answer(bytes.as_bytes()), Ok((String::new(), Anomalies::default())), "{bytes}");
    }
}

#[test]
fn a_byte_that_cannot_be_decoded_costs_nothing_but_itself() {
    for (bytes, read, anomaly) in [
        (&b"{\"currencyCode\":\"a\xffb\"}"[..], "a\u{fffd}b", Anomaly::Text),
        (b"{\"x\":[\"\xe9\",\"\x01\"],\"currencyCode\":\"a\"}", "a", Anomaly::Text),
        (b"{\"\xe9\":1,\"currencyCode\":\"a\"}", "a", Anomaly::Text),
        (br#"{"\ud800":1,"currencyCode":"a"}"#, "a", Anomaly::Text),
        (br#"{"currencyCode":"a\udfffb"}"#, "a\u{fffd}b", Anomaly::Text),
        (br#"{"currencyCode":"a\u0000b"}"#, "a\u{fffd}b", Anomaly::Text),
        (b"{\"currencyCode\":\"a\x00b\"}", "a\u{fffd}b", Anomaly::Json),
        (b"{\"currencyCode\":\"a\nb\x1f\"}", "a\nb\u{1f}", Anomaly::Json),
        (b"{\"x\":NaN,\"currencyCode\":\"a\"}", "a", Anomaly::Json),
        (b"{\"currencyCode\":\"a\"}\x00", "a", Anomaly::Json),
    ] {
        let (text, anomalies) = answer(bytes).unwrap();
        assert_eq!(text, read);
        assert!(anomalies.contains(anomaly), "{anomalies:?}");
    }
}

#[test]
fn an_id_is_exact_or_none() {
    for json in [r#""""#, "7", "{}", r#""a\ud800""#, r#""a\u0000""#, "\"a\u{fffd}\""] {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        assert!(id(Some(raw), "id").is_err(), "{json}");
    }
    let raw: &RawValue = serde_json::from_str(r#""a\u00e9\n""#).unwrap();
    assert_eq!(id(Some(raw), "id").as_deref(), Ok("a\u{e9}\n"));
}

#[test]
fn a_list_stands_for_no_object() {
    for json in ["[]", r#"[{"unscaledValue":"1","scale":"2"}]"#, r#"["1","2"]"#] {
        let json = format!(r#"{{"currencyCode":"EUR","value":{json}}}"#);
        assert_eq!(money(&json), Err("amount.value is missing or not an object".to_owned()), "{json}");
    }
}

#[test]
fn members_that_come_twice_count_as_the_last() {
    let mut anomalies = Anomalies::default();
    let json = r#"{"currencyCode":"A","currencyCode":"B","value":{"scale":0,"unscaledValue":1}}"#;
    let money: WireMoney<'_> = object(serde_json::from_str(json).unwrap(), &mut anomalies).unwrap();
    assert_eq!(money.read().unwrap().currency, "B");
    assert!(anomalies.contains(Anomaly::Field("amount.currencyCode")));
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
        let read = text(Some(raw), "", &mut Anomalies::default());
        prop_assert_eq!(read, Some(value.replace('\0', "\u{fffd}").into()));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = answer(&bytes);
        let _ = transactions(&bytes, &"a".into(), true);
        let _ = granted(&bytes);
    }
}

#[test]
fn an_error_in_place_of_a_list_is_no_list() {
    for error in [
        &br#"{"errorCode":"x","errorMessage":"no"}"#[..],
        br#"{"errorMessage":"Jane","transactions":null,"accounts":null,"providerConsents":null}"#,
        br#"{"error":"invalid_grant"}"#,
        br#"{"error":{"code":500}}"#,
        b"\xef\xbb\xbf{\"errorMessage\":\"M\xfcller\"}",
    ] {
        let account = "a".to_owned().into();
        let read = [
            super::accounts(error).map(drop),
            super::consents(error).map(drop),
            super::transactions(error, &account, false).map(drop),
            done(error),
        ];
        for told in read {
            let told = told.unwrap_err();
            assert!(told.starts_with("the answer is an error") && !told.contains("Jane"), "{told}");
        }
    }
    for answer in [&b""[..], b"{}", br#"{"errorMessage":null}"#] {
        assert_eq!(done(answer), Ok(()));
    }
    assert!(!super::accounts(br#"{"errorMessage":null}"#).ok().unwrap().complete);
    assert!(super::accounts(br#"{"errorMessage":"x","accounts":[]}"#).ok().unwrap().complete);
}

#[test]
fn why_an_answer_cannot_be_read_is_told_with_its_place() {
    for (bytes, told) in [
        (&b"{\"currencyCode\":\"E"[..], "the answer ends early (line 1, column 18)"),
        (
            b"{\"currencyCode\":1,\n\"currencyCode\":2}",
            "the answer has another shape than documented (line 2, column 14)",
        ),
        (b"{'a':1}", "the answer is not JSON (line 1, column 2)"),
        (b"[]", "the answer is not a JSON object"),
    ] {
        assert_eq!(answer(bytes).map(drop), Err(told.to_owned()));
    }
}

#[test]
fn words_ids_and_page_tokens_have_a_length_that_is_still_taken() {
    assert!(is_word("") && is_word(&"x".repeat(256)) && !is_word(&"x".repeat(257)) && !is_word("a\n"));
    for (length, is_id, is_token) in
        [(2_000, true, true), (2_001, false, true), (16 * 1024, false, true), (16 * 1024 + 1, false, false)]
    {
        let json = format!("\"{}\"", "x".repeat(length));
        let raw: &RawValue = serde_json::from_str(&json).unwrap();
        assert_eq!(id(Some(raw), "id").is_ok(), is_id, "{length}");
        assert_eq!(page_token(Some(raw)).is_ok(), is_token, "{length}");
    }
}

#[test]
fn a_word_that_is_none_is_absent_and_told() {
    let read = |json: &str| {
        let mut anomalies = Anomalies::default();
        let word = soft_word(Some(serde_json::from_str(json).unwrap()), "x", &mut anomalies);
        (word, anomalies.contains(Anomaly::Field("x")))
    };
    assert_eq!(read(r#""OK""#), (Some("OK".to_owned()), false));
    assert_eq!(read(r#""\u001b[2J""#), (None, true));
}

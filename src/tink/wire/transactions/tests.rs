//! Tests of reading transactions.

use super::*;
use crate::domain::anomaly::Anomaly;
use jiff::civil::date as day;
use proptest::prelude::*;

const FULL: &str = r#"{"id":"t","accountId":"a","amount":{"currencyCode":"GBP","value":{"scale":"1","unscaledValue":"-1300"}},
    "dates":{"booked":"2020-12-15","value":"2020-12-16T00:00:00Z","transaction":"2020-12-14"},
    "bookedDateTime":"2020-12-15T09:25:12+01:00","valueDateTime":"string",
    "descriptions":{"display":" Tesco ","original":"TESCO\u00a0STORES","detailed":{"unstructured":"long"}},
    "identifiers":{"providerTransactionId":"p"},"status":"BOOKED","types":{"type":"DEFAULT","financialInstitutionTypeCode":"DEB"},
    "merchantInformation":{"merchantName":"Tesco","merchantCategoryCode":5411},"categories":{"pfm":{"id":"c","name":""}},
    "reference":"RF1","counterparties":{"payer":{"name":"Me"},"payee":{"name":"You","identifiers":{}}},
    "providerMutability":"IMMUTABLE","brandNew":{"x":[1]}}"#;

fn page(records: &str) -> Vec<TransactionRecord> {
    let json = format!(r#"{{"transactions":[{records}],"nextPageToken":""}}"#);
    transactions(json.as_bytes(), &"a".into(), false).ok().unwrap().rows
}

/// A record with a valid id and amount, and these members besides.
fn with(members: &str) -> String {
    let amount = r#"{"currencyCode":"EUR","value":{"scale":"2","unscaledValue":"1"}}"#;
    format!(r#"{{"id":"t","amount":{amount}{members}}}"#)
}

type Read = Result<(Vec<TransactionRecord>, Option<String>, Anomalies), String>;

/// Reads a page in one pass, and record by record.
fn both_ways(json: &[u8]) -> [Read; 2] {
    [false, true].map(|keep_raw| {
        let page = transactions(json, &"a".into(), keep_raw)?;
        let rows = page.rows.into_iter().map(|record| match record {
            TransactionRecord::Row { transaction, .. } => {
                TransactionRecord::Row { transaction, raw: None, size: 0 }
            }
            other @ TransactionRecord::Unreadable(_) => other,
        });
        Ok((rows.collect(), page.next, page.anomalies))
    })
}

fn row(record: &str) -> Transaction {
    match page(record).remove(0) {
        TransactionRecord::Row { transaction, .. } => transaction,
        other @ TransactionRecord::Unreadable(_) => panic!("{other:?}"),
    }
}

fn unreadable(record: &str) -> (Option<TransactionId>, String) {
    match page(record).remove(0) {
        TransactionRecord::Unreadable(record) => (record.id, record.reason),
        TransactionRecord::Row { .. } => panic!("was read: {record}"),
    }
}

#[test]
fn a_page_in_one_pass_is_what_it_is_record_by_record() {
    let plain = FULL.replace("5411", "\"5411\"");
    for odd in [
        plain.clone(),
        FULL.to_owned(),
        with(r#","reference":"a\\\"\u00e9\n\ud83d\ude00","status":"Pending""#),
        with(r#","reference":"\u0000","descriptions":{"display":"\ud800"}"#),
        with(r#","reference":null,"reference":"twice","dates":{"booked":"2026-02-30","value":"soon"}"#),
        with(r#","dates":["2026-01-01"],"status":7,"counterparties":null,"categories":{"pfm":[]}"#),
        with(r#","accountId":"b""#),
        with(r#","accountId":"","descriptions":{"original":"","display":5.50}"#),
        with("").replace("\"t\"", "\"\u{fffd}\""),
        with("").replace("\"1\"", "\"1.5\""),
        with("").replace("\"2\"", "2"),
        "7".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
    ] {
        for records in [odd.clone(), format!("{plain},{odd}"), format!("{odd},{plain},{plain}")] {
            for rest in [r#","nextPageToken":"n\u0041""#, r#","nextPageToken":17,"new":{}"#, ""] {
                let json = format!(r#"{{"transactions":[{records}]{rest}}}"#);
                let [at_once, one_by_one] = both_ways(json.as_bytes());
                assert_eq!(at_once, one_by_one, "{json}");
            }
        }
    }
    for json in
        [r#"{"transactions":null}"#, "{}", r#"[[],""]"#, r#"{"transactions":{}}"#, "{\"transactions\":[]}  x"]
    {
        let [at_once, one_by_one] = both_ways(json.as_bytes());
        assert_eq!(at_once, one_by_one, "{json}");
    }
    // Plain pages must take the one pass, or the comparison above shows nothing.
    let page = format!(r#"{{"transactions":[{plain},{plain}],"nextPageToken":""}}"#);
    assert_eq!(at_once(page.as_bytes(), &"a".into()).unwrap().rows.len(), 2);
    assert!(at_once(FULL.as_bytes(), &"a".into()).is_none());
}

#[test]
fn a_full_record_is_read_byte_for_byte() {
    let row = row(FULL);
    let texts = &row.texts;
    assert_eq!((row.id.as_str(), row.status), ("t", Status::Booked));
    assert_eq!((row.money.amount.as_str(), row.money.currency.as_str()), ("-130", "GBP"));
    assert_eq!(row.booked_date, Some(day(2020, 12, 15)));
    assert_eq!(row.value_date, Some(day(2020, 12, 16)));
    assert_eq!(row.transaction_date, Some(day(2020, 12, 14)));
    assert_eq!(row.booked_at, Some("2020-12-15T08:25:12Z".parse().unwrap()));
    assert_eq!(texts.description(), Some(" Tesco "));
    assert_eq!(texts.description_original(), Some("TESCO\u{a0}STORES"));
    assert_eq!(texts.description_detailed(), Some("long"));
    assert_eq!((texts.merchant_name(), texts.merchant_category_code()), (Some("Tesco"), Some("5411")));
    assert_eq!((texts.category_id(), texts.kind()), (Some("c"), Some("DEFAULT")));
    assert_eq!((texts.reference(), texts.provider_transaction_id()), (Some("RF1"), Some("p")));
    assert_eq!(texts.mutability(), Some("IMMUTABLE"));
    assert_eq!((texts.payer_name(), texts.payee_name()), (Some("Me"), Some("You")));
}

#[test]
fn every_optional_member_may_be_absent_or_null() {
    let bare = row(&with(""));
    let members = [
        "accountId",
        "status",
        "dates",
        "bookedDateTime",
        "descriptions",
        "merchantInformation",
        "categories",
        "types",
        "reference",
        "identifiers",
        "providerMutability",
        "counterparties",
    ];
    for name in members {
        assert_eq!(row(&with(&format!(r#","{name}":null"#))), bare, "{name}");
    }
    for nested in [
        r#""dates":{"booked":null,"value":null}"#,
        r#""dates":{"booked":""}"#,
        r#""descriptions":{"detailed":null,"display":null}"#,
        r#""counterparties":{"payer":null,"payee":{}}"#,
        r#""categories":{"pfm":null}"#,
        r#""bookedDateTime":"string""#,
        r#""status":"SOMETHING_NEW""#,
    ] {
        assert_eq!(row(&with(&format!(",{nested}"))), bare, "{nested}");
    }
}

/// The anomalies of a page with this one record.
fn anomalies(record: &str) -> Vec<&'static str> {
    let json = format!(r#"{{"transactions":[{record}]}}"#);
    let page = transactions(json.as_bytes(), &"a".into(), false).ok().unwrap();
    page.anomalies.iter().map(|(anomaly, _)| anomaly.as_str()).collect()
}

#[test]
fn only_id_account_amount_and_status_make_a_record_unreadable() {
    let amount = r#""amount":{"currencyCode":"EUR","value":{"scale":"2","unscaledValue":"1"}}"#;
    for record in [
        "null",
        "7",
        "[]",
        "{}",
        &format!("{{{amount}}}"),
        &format!(r#"{{"id":"",{amount}}}"#),
        &format!(r#"{{"id":7,{amount}}}"#),
        &format!(r#"{{"id":"\ud800",{amount}}}"#),
        &format!(r#"{{"id":"\u0000",{amount}}}"#),
    ] {
        assert_eq!(unreadable(record).0, None, "{record}");
        assert!(anomalies(record).is_empty(), "its quarantine tells of it");
    }
    for (record, place) in [
        (r#"{"id":"t"}"#.to_owned(), "amount"),
        (r#"{"id":"t","amount":7}"#.to_owned(), "amount"),
        (r#"{"id":"t","amount":[]}"#.to_owned(), "amount"),
        (with(r#","accountId":"b""#), "accountId"),
        (with(r#","accountId":{}"#), "accountId"),
        (with(r#","status":5"#), "status"),
        (with(r#","status":{},"reference":[]"#), "status"),
    ] {
        let (id, reason) = unreadable(&record);
        assert_eq!(id, Some("t".into()), "{record}");
        assert!(reason.starts_with(place), "{reason}");
    }
}

/// Every member that is not part of id, account, amount or status, with its place in the response.
const SOFT: [&str; 26] = [
    "dates",
    "dates.booked",
    "dates.value",
    "dates.transaction",
    "bookedDateTime",
    "descriptions",
    "descriptions.display",
    "descriptions.original",
    "descriptions.detailed",
    "descriptions.detailed.unstructured",
    "merchantInformation",
    "merchantInformation.merchantName",
    "merchantInformation.merchantCategoryCode",
    "categories",
    "categories.pfm",
    "categories.pfm.id",
    "types",
    "types.type",
    "reference",
    "identifiers",
    "identifiers.providerTransactionId",
    "providerMutability",
    "counterparties",
    "counterparties.payer",
    "counterparties.payer.name",
    "counterparties.payee.name",
];

#[test]
fn any_other_member_of_another_type_is_absent_and_told() {
    let odd = ["[]", "{}", "true", "[[1]]", r#"[{"id":"x"}]"#, r#"["a","b","c"]"#, r#""""#, r#""text""#, "5"];
    for place in SOFT {
        for value in odd {
            let mut record: serde_json::Value = serde_json::from_str(FULL).unwrap();
            let path = format!("/{}", place.replace('.', "/"));
            *record.pointer_mut(&path).unwrap() = serde_json::from_str(value).unwrap();
            let read = row(&record.to_string());
            *record.pointer_mut(&path).unwrap() = serde_json::Value::Null;
            let absent = row(&record.to_string());
            let told = anomalies(&FULL.replace("FULL", "")).is_empty();
            assert!(told, "a full record has none");
            let mut with_odd: serde_json::Value = serde_json::from_str(FULL).unwrap();
            *with_odd.pointer_mut(&path).unwrap() = serde_json::from_str(value).unwrap();
            let told = anomalies(&with_odd.to_string());
            if told.is_empty() {
                // An object without known members, an empty date, or a value that counts as a text.
                assert!(matches!(value, "{}" | r#""""# | r#""text""# | "5"), "{place} {value}");
            } else {
                assert_eq!(read, absent, "{place} {value}");
                assert!(told.iter().all(|name| name.starts_with(place)), "{told:?}");
            }
        }
    }
}

#[test]
fn the_cases_that_were_reported_are_rows() {
    let bare = row(&with(""));
    for (members, told) in [
        (r#","merchantInformation":[]"#, "merchantInformation"),
        (r#","categories":"FOOD""#, "categories"),
        (r#","identifiers":"""#, "identifiers"),
        (r#","descriptions":"text""#, "descriptions"),
        (r#","dates":"""#, "dates"),
        (r#","dates":"2020-12-15""#, "dates"),
        (r#","dates":{"booked":"15.12.2020"}"#, "dates.booked"),
        (r#","dates":{"booked":20201215}"#, "dates.booked"),
        (r#","dates":{"value":"soon"}"#, "dates.value"),
        (r#","bookedDateTime":5"#, "bookedDateTime"),
        (r#","counterparties":[{"name":"x"}]"#, "counterparties"),
        (r#","types":[["DEFAULT"]]"#, "types"),
        (r#","reference":{}"#, "reference"),
    ] {
        assert_eq!(row(&with(members)), bare, "{members}");
        assert_eq!(anomalies(&with(members)), [told]);
    }
    let row = row(&with(r#","descriptions":{"original":"a\ud800b\u0000","display":true}"#));
    assert_eq!(
        (row.texts.description_original(), row.texts.description()),
        (Some("a\u{fffd}b\u{fffd}"), None)
    );
}

#[test]
fn a_day_that_does_not_exist_is_the_last_of_its_month_in_every_date() {
    let dates =
        r#","dates":{"booked":"2026-02-30","value":"2026-04-31","transaction":"2026-02-29T00:00:00Z"}"#;
    let row = row(&with(dates));
    assert_eq!(row.booked_date, Some(day(2026, 2, 28)));
    assert_eq!(row.value_date, Some(day(2026, 4, 30)));
    assert_eq!(row.transaction_date, Some(day(2026, 2, 28)));
    assert!(anomalies(&with(dates)).is_empty());
}

#[test]
fn an_unreadable_record_harms_no_other_and_its_json_is_kept() {
    let long = with(&format!(r#","status":["{}"]"#, "é".repeat(40_000)));
    let records = page(&format!("{FULL},{long},{}", with("")));
    assert!(
        matches!(records[0], TransactionRecord::Row { .. })
            && matches!(records[2], TransactionRecord::Row { .. })
    );
    let TransactionRecord::Unreadable(Unreadable { raw, .. }) = &records[1] else { panic!("was read") };
    assert!(raw.len() <= MAX_RAW && raw.len() > MAX_RAW - 4 && long.starts_with(raw.as_str()));
}

#[test]
fn raw_json_is_kept_on_demand() {
    let json = format!(r#"{{"transactions":[{FULL}]}}"#);
    let page = transactions(json.as_bytes(), &"a".into(), true).ok().unwrap();
    let TransactionRecord::Row { raw, .. } = &page.rows[0] else { panic!("unreadable") };
    assert_eq!(raw.as_deref(), Some(FULL));
    assert_eq!(format!("{:?}", page.rows[0]), r#"Row(TransactionId("t"))"#);
}

#[test]
fn a_list_that_was_left_out_is_empty_and_concludes_nothing() {
    for (json, complete) in [
        (r#"{"transactions":[],"nextPageToken":""}"#, true),
        (r#"{"transactions":null,"nextPageToken":""}"#, false),
        ("{}", false),
    ] {
        let page = transactions(json.as_bytes(), &"a".into(), false).ok().unwrap();
        assert_eq!((page.rows.len(), page.complete), (0, complete), "{json}");
        assert_eq!(page.anomalies.contains(Anomaly::NoList("transactions")), !complete);
    }
    for json in [r#"{"transactions":{}}"#, r#"{"transactions":"x"}"#, r#"{"transactions":["#, "[]"] {
        assert!(transactions(json.as_bytes(), &"a".into(), false).is_err(), "{json}");
    }
}

proptest! {
    #[test]
    fn texts_survive_whatever_they_contain(text in "[^\\x00]*") {
        let json = serde_json::to_string(&text).unwrap();
        let row = row(&with(&format!(r#","descriptions":{{"original":{json}}}"#)));
        prop_assert_eq!(row.texts.description_original(), Some(text.as_str()));
    }

    #[test]
    fn a_damaged_page_in_one_pass_is_what_it_is_record_by_record(
        damages in prop::collection::vec((any::<prop::sample::Index>(), 0..3, any::<prop::sample::Index>()), 1..4),
    ) {
        let plain = FULL.replace("5411", "\"5411\"");
        let mut page = format!(r#"{{"transactions":[{plain},{plain}],"nextPageToken":"n"}}"#).into_bytes();
        for (place, kind, byte) in damages {
            let place = place.index(page.len());
            let byte = *byte.get(b"\"\\{}[],:0-eut \x00\x01\x1f\x7f\xc3\xed\xff");
            match kind {
                0 => page[place] = byte,
                1 => page.insert(place, byte),
                _ => drop(page.remove(place)),
            }
        }
        let [at_once, one_by_one] = both_ways(&page);
        prop_assert_eq!(at_once, one_by_one, "{}", String::from_utf8_lossy(&page));
    }

    #[test]
    fn a_cut_page_is_refused_and_never_panics(at in 1usize..600) {
        let json = format!(r#"{{"transactions":[{FULL}]}}"#);
        let cut = &json.as_bytes()[..at.min(json.len() - 1)];
        prop_assert!(transactions(cut, &"a".into(), true).is_err());
    }
}

#[test]
fn a_page_longer_than_any_is_refused_and_one_of_odd_length_is_not() {
    for (count, is_read) in [(101, true), (10_000, true), (10_001, false)] {
        let records = vec!["{}"; count].join(",");
        let page = transactions(format!(r#"{{"transactions":[{records}]}}"#).as_bytes(), &"a".into(), false);
        assert_eq!(page.map(|page| page.rows.len()).ok(), is_read.then_some(count));
    }
    let token = "t".repeat(16 * 1024 + 1);
    let page = transactions(
        format!(r#"{{"transactions":[],"nextPageToken":"{token}"}}"#).as_bytes(),
        &"a".into(),
        false,
    );
    assert_eq!(page.err().as_deref(), Some("nextPageToken is far too long"));
}

/// What is kept of an unreadable record.
fn kept(record: &str) -> Unreadable {
    match page(record).remove(0) {
        TransactionRecord::Unreadable(record) => record,
        TransactionRecord::Row { .. } => panic!("was read: {record}"),
    }
}

#[test]
fn an_unreadable_record_is_like_another_of_its_amount_and_day_or_of_its_texts() {
    let like = |a: &str, b: &str| kept(a).likeness == kept(b).likeness;
    let money = |id: &str, unscaled: i32, rest: &str| {
        let value = format!(r#"{{"scale":"2","unscaledValue":"{unscaled}"}}"#);
        format!(r#"{{"id":"{id}","status":5,"amount":{{"currencyCode":"EUR","value":{value}}}{rest}}}"#)
    };
    let text = r#","descriptions":{"original":"x"}"#;
    assert!(like(&money("t", 1, ""), &money("u", 1, text)), "texts are written anew");
    assert!(!like(&money("t", 1, ""), &money("t", 2, "")));
    let day = r#","dates":{"booked":"2026-01-02"}"#;
    assert!(!like(&money("t", 1, ""), &money("t", 1, day)));
    let words = |members: &str| format!(r#"{{"id":"t",{members}}}"#);
    for (a, b) in [
        (r#""reference":"a""#, r#""reference":"b""#),
        (r#""descriptions":{"original":"a"}"#, r#""descriptions":{"original":"b"}"#),
        (r#""descriptions":{"display":7}"#, r#""descriptions":{"display":8}"#),
        (r#""identifiers":{"providerTransactionId":"a"}"#, r#""identifiers":{"providerTransactionId":"b"}"#),
    ] {
        assert!(!like(&words(a), &words(b)), "{a}");
        assert!(like(&words(a), &words(a).replace("\"t\"", "\"u\"")), "{a}");
    }
    assert_eq!(kept("{}").likeness.len(), 32);
}

#[test]
fn a_record_that_was_kept_as_a_whole_is_read_again() {
    let account = AccountId::from("a");
    let read = |kept: &str, strict| replay(kept, &account, strict, false).map(|(row, raw)| (row.id, raw));
    assert_eq!(read(FULL, true), Ok(("t".into(), None)));
    let (row, raw) = replay(FULL, &account, true, true).unwrap();
    assert_eq!((row.money.amount.as_str(), raw.as_deref()), ("-130", Some(FULL)));
    // It need not name its account, unless it may be of an older link.
    assert!(read(&with(""), false).is_ok());
    assert!(read(&with(""), true).unwrap_err().contains("does not name its account"));
    assert_eq!(read(&with(r#","accountId":"b""#), false), Err("accountId is another account's".to_owned()));
    assert_eq!(read("{", false), Err("not JSON".to_owned()));
}

#[test]
fn a_record_of_64_kib_is_cut_and_not_read_again() {
    let long = |length: usize| {
        let empty = with(r#","status":[""]"#).len();
        with(&format!(r#","status":["{}"]"#, "x".repeat(length - empty)))
    };
    for (length, is_kept) in [(65_536, 65_536), (65_537, 65_536), (60_000, 60_000)] {
        assert_eq!(kept(&long(length)).raw.len(), is_kept);
    }
    // A cut may split a character, so a record this long may be incomplete.
    for (length, told) in [(65_532, "status is not a text"), (65_533, "too long to be kept as a whole")] {
        assert_eq!(replay(&long(length), &"a".into(), false, false).map(drop), Err(told.to_owned()));
    }
}

#[test]
fn a_record_has_an_id_if_it_can_be_read_and_about_a_size() {
    let records = page(&format!(r#"{FULL},{{"id":"u"}},{{}}"#));
    let ids: Vec<_> = records.iter().map(|record| record.id().map(TransactionId::as_str)).collect();
    assert_eq!(ids, [Some("t"), Some("u"), None]);
    let size = |records: &str| match page(records).remove(0) {
        TransactionRecord::Row { size, .. } => size,
        other @ TransactionRecord::Unreadable(_) => panic!("{other:?}"),
    };
    // Read by itself, and as its share of a page read in one pass.
    let plain = FULL.replace("5411", "\"5411\"");
    let whole = format!(r#"{{"transactions":[{plain},{plain}],"nextPageToken":""}}"#).len();
    assert_eq!((size(&format!("{plain},7")), size(&format!("{plain},{plain}"))), (plain.len(), whole / 2));
}

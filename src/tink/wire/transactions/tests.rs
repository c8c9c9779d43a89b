//! Tests of reading transactions.

use super::*;
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

fn page(records: &str) -> Vec<Record> {
    let json = format!(r#"{{"transactions":[{records}],"nextPageToken":""}}"#);
    transactions(json.as_bytes(), &"a".into(), false).ok().unwrap().rows
}

/// A record with a fine id and amount and these members besides.
fn with(members: &str) -> String {
    let amount = r#"{"currencyCode":"EUR","value":{"scale":"2","unscaledValue":"1"}}"#;
    format!(r#"{{"id":"t","amount":{amount}{members}}}"#)
}

fn row(record: &str) -> Transaction {
    match page(record).remove(0) {
        Record::Row { transaction, .. } => transaction,
        other @ Record::Unreadable { .. } => panic!("{other:?}"),
    }
}

fn unreadable(record: &str) -> (Option<TransactionId>, String) {
    match page(record).remove(0) {
        Record::Unreadable { id, reason, .. } => (id, reason),
        Record::Row { .. } => panic!("was read: {record}"),
    }
}

#[test]
fn a_full_record_is_read_byte_for_byte() {
    let text = |text: &str| Some(text.to_owned());
    let row = row(FULL);
    assert_eq!((row.id.as_str(), row.status), ("t", Status::Booked));
    assert_eq!((row.money.amount.as_str(), row.money.currency.as_str()), ("-130", "GBP"));
    assert_eq!(row.booked_date, Some(day(2020, 12, 15)));
    assert_eq!(row.value_date, Some(day(2020, 12, 16)));
    assert_eq!(row.transaction_date, Some(day(2020, 12, 14)));
    assert_eq!(row.booked_at, Some("2020-12-15T08:25:12Z".parse().unwrap()));
    assert_eq!(row.description, text(" Tesco "));
    assert_eq!(row.description_original, text("TESCO\u{a0}STORES"));
    assert_eq!(row.description_detailed, text("long"));
    assert_eq!((row.merchant_name, row.merchant_category_code), (text("Tesco"), text("5411")));
    assert_eq!((row.category_id, row.kind), (text("c"), text("DEFAULT")));
    assert_eq!((row.reference, row.provider_transaction_id), (text("RF1"), text("p")));
    assert_eq!(row.mutability, text("IMMUTABLE"));
    assert_eq!((row.payer_name, row.payee_name), (text("Me"), text("You")));
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
        r#""bookedDateTime":"string","dates":{"value":"soon","transaction":7}"#,
        r#""status":"SOMETHING_NEW""#,
        r#""status":5"#,
    ] {
        assert_eq!(row(&with(&format!(",{nested}"))), bare, "{nested}");
    }
}

#[test]
fn a_record_without_id_amount_or_with_wrong_types_is_unreadable() {
    let amount = r#""amount":{"currencyCode":"EUR","value":{"scale":"2","unscaledValue":"1"}}"#;
    for record in [
        "null",
        "7",
        "[]",
        "{}",
        &format!("{{{amount}}}"),
        &format!(r#"{{"id":"",{amount}}}"#),
        &format!(r#"{{"id":7,{amount}}}"#),
    ] {
        assert_eq!(unreadable(record).0, None, "{record}");
    }
    for (record, place) in [
        (r#"{"id":"t"}"#.to_owned(), "amount"),
        (r#"{"id":"t","amount":7}"#.to_owned(), "amount"),
        (with(r#","accountId":"b""#), "accountId"),
        (with(r#","dates":{"booked":"15.12.2020"}"#), "dates.booked"),
        (with(r#","dates":{"booked":20201215}"#), "dates.booked"),
        (with(r#","dates":"2020-12-15""#), "dates"),
        (with(r#","reference":{}"#), "reference"),
        (with(r#","descriptions":{"display":true}"#), "descriptions.display"),
        (with(r#","descriptions":{"original":"\ud800"}"#), "descriptions.original"),
        (with(r#","types":[["DEFAULT"]]"#), "types"),
    ] {
        let (id, reason) = unreadable(&record);
        assert_eq!(id, Some("t".into()), "{record}");
        assert!(reason.starts_with(place), "{reason}");
    }
}

#[test]
fn an_unreadable_record_harms_no_other_and_its_json_is_kept() {
    let long = with(&format!(r#","reference":["{}"]"#, "é".repeat(40_000)));
    let records = page(&format!("{FULL},{long},{}", with("")));
    assert!(matches!(records[0], Record::Row { .. }) && matches!(records[2], Record::Row { .. }));
    let Record::Unreadable { raw, .. } = &records[1] else { panic!("was read") };
    assert!(raw.len() <= MAX_RAW && raw.len() > MAX_RAW - 4 && long.starts_with(raw.as_str()));
}

#[test]
fn raw_json_is_kept_on_demand() {
    let json = format!(r#"{{"transactions":[{FULL}]}}"#);
    let page = transactions(json.as_bytes(), &"a".into(), true).ok().unwrap();
    let Record::Row { raw, .. } = &page.rows[0] else { panic!("unreadable") };
    assert_eq!(raw.as_deref(), Some(FULL));
    assert_eq!(format!("{:?}", page.rows[0]), r#"Row(TransactionId("t"))"#);
}

#[test]
fn a_page_without_its_list_is_refused() {
    for json in ["{}", r#"{"transactions":null}"#, r#"{"transactions":{}}"#, r#"{"transactions":["#, "[]"] {
        assert!(transactions(json.as_bytes(), &"a".into(), false).is_err(), "{json}");
    }
}

#[test]
fn dates_have_one_shape() {
    for text in ["2020-02-30", "2020-1-01", "20201215", "2020-12-15X", "2020-12-1é", "-2020-12-15", "é"] {
        assert_eq!(date(text), None, "{text}");
    }
    assert_eq!(date("2024-02-29 10:00"), Some(day(2024, 2, 29)));
}

proptest! {
    #[test]
    fn texts_survive_whatever_they_contain(text: String) {
        let json = serde_json::to_string(&text).unwrap();
        let row = row(&with(&format!(r#","descriptions":{{"original":{json}}}"#)));
        prop_assert_eq!(row.description_original, Some(text));
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

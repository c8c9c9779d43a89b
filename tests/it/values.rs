//! What a row says: exact amounts at every scale, texts byte for byte, whatever is left out or unknown.

use serde_json::{Value, json};
use tink_sandbox::ScriptRow;

use crate::scripted::{A1, Fate, Sam, at, booked, day, ended, still};
use crate::stored::only_on_sqlite;

fn amount(id: &str, unscaled: &str, scale: &str, currency: &str) -> ScriptRow {
    ScriptRow::with(id, A1, Some(day(-1)), "BOOKED", [unscaled, scale, currency], id)
}

/// A row whose unscaled value and scale are JSON integers.
fn integer(id: &str, unscaled: &str, scale: &str) -> ScriptRow {
    let json = format!(
        r#"{{"id":"{id}","accountId":"{A1}","status":"BOOKED","dates":{{"booked":"{}"}},
            "amount":{{"currencyCode":"EUR","value":{{"unscaledValue":{unscaled},"scale":{scale}}}}}}}"#,
        day(-1)
    );
    ScriptRow::raw(id, A1, Some(day(-1)), "BOOKED", &json)
}

#[test]
fn amounts_of_every_scale_and_size_are_exact() {
    let cases = [
        (amount("thousands", "19", "-3", "EUR"), "19000|EUR"),
        (amount("four", "3000", "4", "EUR"), "0.3|EUR"),
        (amount("small", "-5", "3", "EUR"), "-0.005|EUR"),
        (amount("eighteen", "-123456789012345678", "2", "EUR"), "-1234567890123456.78|EUR"),
        (amount("beyond-f64", "9007199254740993", "2", "EUR"), "90071992547409.93|EUR"),
        (amount("yen", "-1300", "0", "JPY"), "-1300|JPY"),
        (amount("dinar", "1234567", "3", "KWD"), "1234.567|KWD"),
        (amount("minus-zero", "-0", "2", "EUR"), "0|EUR"),
        (amount("zero", "000", "2", "EUR"), "0|EUR"),
        (amount("trailing", "-13000", "2", "EUR"), "-130|EUR"),
        (integer("integer", "-1050", "2"), "-10.5|EUR"),
        (integer("beyond-u64", "18446744073709551617", "2"), "184467440737095516.17|EUR"),
        (integer("below-i64", "-9223372036854775809", "-1"), "-92233720368547758090|EUR"),
    ];
    let sam = Sam::with(at(1, cases.clone().map(|(row, _)| row)));
    for (row, expected) in cases {
        assert_eq!(sam.row(&row.id, "amount, currency"), expected, "{}", row.id);
    }
    sam.0.assert_exact(0);
}

#[test]
fn the_same_amount_at_another_scale_is_no_change() {
    let sam = Sam::with(still(1, [amount("t", "2308", "0", "EUR"), amount("zero", "0", "0", "EUR")]));
    let before = (sam.seq("t"), sam.seq("zero"), sam.row("t", "changed_run"));
    let rows = [amount("t", "23080", "1", "EUR"), amount("zero", "-000", "2", "EUR")];
    let ran = ended(sam.pass(still(2, rows)), 0, "unchanged", None);
    assert_eq!((ran.total("updated"), ran.total("added"), ran.total("removed")), (0, 0, 0));
    assert_eq!((sam.seq("t"), sam.seq("zero"), sam.row("t", "changed_run")), before);
}

#[test]
fn the_currency_is_the_rows_and_a_change_of_it_is_a_change() {
    let sam = Sam::with(at(1, [amount("t", "100", "2", "USD")]));
    assert_eq!(sam.row("t", "amount, currency"), "1|USD");
    assert_eq!(sam.pass(at(2, [amount("t", "100", "2", "GBP")])).expect(0).total("updated"), 1);
    assert_eq!(sam.row("t", "amount, currency"), "1|GBP");
}

#[test]
fn texts_are_stored_byte_for_byte() {
    let odd = [
        "\u{a0}Café\u{a0}",
        "  outer blanks \t",
        "👩‍👩‍👧 🍕 שלום Żabka",
        "line\nfeed\r\nbell\u{7}nul\u{0}end\u{1b}[31m",
        "quote\" back\\slash 'single' <b>&amp;",
        "e\u{301} is not é, \u{feff}and \u{200b}nothing",
        "",
    ];
    let row = |n: usize, text: &str| {
        booked(&format!("t{n}"), -1, "-100", "x").but(|element| {
            element["descriptions"] =
                json!({"display": text, "original": text, "detailed": {"unstructured": text}});
            element["merchantInformation"] = json!({"merchantName": text});
            element["counterparties"] = json!({"payer": {"name": text}, "payee": {"name": text}});
            element["reference"] = json!(text);
        })
    };
    let rows: Vec<_> = odd.iter().enumerate().map(|(n, text)| row(n, text)).collect();
    let sam = Sam::with(at(1, rows.clone()));
    for (n, text) in odd.iter().enumerate() {
        for column in [
            "description",
            "description_original",
            "description_detailed",
            "merchant_name",
            "payer_name",
            "payee_name",
            "reference",
        ] {
            let sql = format!("SELECT {column} FROM transactions_v1 WHERE transaction_id = 't{n}'");
            // U+0000 alone is not kept: it ends a text in many programs, and PostgreSQL takes none.
            let stored = text.replace('\0', "\u{fffd}");
            assert_eq!(sam.0.text(&sql), Some(stored), "{column} of {n}");
        }
    }
    ended(sam.pass(at(2, rows)), 0, "unchanged", None);
}

#[test]
fn texts_that_differ_only_in_blanks_are_a_correction() {
    let sam = Sam::with(at(1, [booked("t", -1, "-100", "TRAM 9")]));
    assert_eq!(sam.pass(at(2, [booked("t", -1, "-100", "TRAM\u{a0}9 ")])).expect(0).total("updated"), 1);
    assert_eq!(sam.row("t", "description_original"), "TRAM\u{a0}9 ");
}

/// Every field a row may lack, with a value, as path and JSON.
fn optional_fields() -> Vec<(&'static str, Value)> {
    vec![
        ("status", json!("BOOKED")),
        ("accountId", json!(A1)),
        ("bookedDateTime", json!("2026-01-02T03:04:05Z")),
        (
            "dates",
            json!({"booked": day(-1).to_string(), "value": day(-1).to_string(), "transaction": day(-2).to_string()}),
        ),
        ("descriptions", json!({"display": "d", "original": "o", "detailed": {"unstructured": "u"}})),
        ("merchantInformation", json!({"merchantName": "m", "merchantCategoryCode": "5411"})),
        ("categories", json!({"pfm": {"id": "c", "name": "n"}})),
        ("types", json!({"type": "PAYMENT"})),
        ("reference", json!("r")),
        ("identifiers", json!({"providerTransactionId": "p"})),
        ("providerMutability", json!("MUTABLE")),
        ("counterparties", json!({"payer": {"name": "a"}, "payee": {"name": "b"}})),
    ]
}

fn full(id: &str) -> ScriptRow {
    booked(id, -1, "-100", "x").but(|element| {
        for (name, value) in optional_fields() {
            element[name] = value;
        }
    })
}

#[test]
fn a_full_row_is_stored_in_full() {
    let sam = Sam::with(at(1, [full("t")]));
    let columns = "status, value_date, transaction_date, booked_at, description, description_original,
        description_detailed, merchant_name, merchant_category_code, category_id, type, reference,
        provider_transaction_id, mutability, payer_name, payee_name";
    let expected =
        format!("booked|{}|{}|2026-01-02T03:04:05Z|d|o|u|m|5411|c|PAYMENT|r|p|MUTABLE|a|b", day(-1), day(-2));
    assert_eq!(sam.row("t", columns), expected);
}

#[test]
fn every_optional_field_may_be_absent_or_null_at_every_depth() {
    let mut rows = Vec::new();
    for (name, value) in optional_fields() {
        rows.push(full(&format!("{name}-null")).but(|element| element[name] = Value::Null));
        rows.push(full(&format!("{name}-absent")).but(|element| {
            element.as_object_mut().unwrap().remove(name);
        }));
        for inner in value.as_object().into_iter().flatten().map(|(inner, _)| inner) {
            rows.push(
                full(&format!("{name}-{inner}-null")).but(|element| element[name][inner] = Value::Null),
            );
            rows.push(full(&format!("{name}-{inner}-absent")).but(|element| {
                element[name].as_object_mut().unwrap().remove(inner);
            }));
        }
    }
    let sam = Sam::new();
    let ran = ended(sam.pass(at(1, rows.clone())), 0, "synced", None);
    assert_eq!((ran.total("quarantined"), ran.total("added")), (0, rows.len() as u64));
    for (null, absent) in [
        ("status-null", "status-absent"),
        ("dates-null", "dates-absent"),
        ("types-type-null", "types-absent"),
    ] {
        let columns = "status, coalesce(booked_date, '-'), coalesce(type, '-'), coalesce(description, '-')";
        assert_eq!(sam.row(null, columns), sam.row(absent, columns));
    }
    assert_eq!(sam.row("status-null", "status"), "undefined");
    ended(sam.pass(at(2, rows)), 0, "unchanged", None);
}

#[test]
fn a_field_that_is_filled_in_later_is_stored_and_one_that_is_taken_away_is_emptied() {
    let bare = booked("t", -1, "-100", "TRAM");
    let rich =
        bare.clone().but(|element| element["merchantInformation"] = json!({"merchantName": "Tram Ltd"}));
    let sam = Sam::with(at(1, [bare.clone()]));
    assert_eq!(sam.pass(at(2, [rich])).expect(0).total("updated"), 1);
    assert_eq!(sam.row("t", "merchant_name"), "Tram Ltd");
    assert_eq!(sam.pass(at(3, [bare])).expect(0).total("updated"), 1);
    assert_eq!(sam.row("t", "coalesce(merchant_name, 'none')"), "none");
}

#[test]
fn values_nobody_has_heard_of_do_no_harm() {
    let row = booked("t", -1, "-100", "x").but(|element| {
        element["status"] = json!("HALF_BOOKED");
        element["types"] = json!({"type": "TELEPATHY", "financialInstitutionTypeCode": 7});
        element["providerMutability"] = json!("SOMEWHAT");
        element["somethingNew"] = json!({"deep": [1, 2.5, null]});
    });
    let mut script = at(1, [row]);
    script.accounts[0]["type"] = json!("PIGGY_BANK");
    script.accounts[0]["somethingNew"] = json!([1]);
    script.consents[0]["somethingNew"] = json!(true);
    let sam = Sam::with(script);
    assert_eq!(sam.row("t", "status, type, mutability"), "undefined|TELEPATHY|SOMEWHAT");
    assert_eq!(sam.account(A1, "type").as_deref(), Some("PIGGY_BANK"));
    assert_eq!(sam.fate("t"), Fate::live());
}

#[test]
fn ids_are_opaque_texts_of_any_form() {
    let hex = "0123456789abcdef0123456789abcdef";
    let upper = "0123456789ABCDEF0123456789ABCDEF";
    let ids = [hex, upper, "7", "ťab\tle '; --", &"x".repeat(300)].map(str::to_owned);
    let rows = ids.clone().map(|id| booked(&id, -1, "-100", "x"));
    let sam = Sam::with(at(1, rows.clone()));
    let mut expected = ids.to_vec();
    expected.sort();
    assert_eq!(sam.live(), expected);
    ended(sam.pass(at(2, rows)), 0, "unchanged", None);
}

#[test]
fn amounts_are_filtered_as_numbers_and_added_up_exactly_as_documented() {
    let sam = Sam::with(at(
        1,
        vec![
            amount("small", "-99", "0", "EUR"),
            amount("large", "-1000", "0", "EUR"),
            amount("cents", "-10001", "2", "EUR"),
            amount("huge", "123456789012345678", "2", "EUR"),
            amount("tenth", "1", "1", "EUR"),
            amount("fifth", "2", "1", "EUR"),
        ],
    ));
    let text = include_str!("../../packaging/reading.md");
    let recipes: Vec<&str> =
        text.split("```sql\n").skip(1).filter_map(|text| text.split("```").next()).collect();
    let recipe = |word: &str| *recipes.iter().find(|recipe| recipe.contains(word)).unwrap();
    let store = sam.0.store();
    let mut filtered = store.prepare(recipe("amount_number <")).unwrap();
    let found: Vec<String> =
        filtered.query_map([], |row| row.get(1)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(found, ["-1000", "-100.01"]);
    only_on_sqlite!("the recipe for its program");
    let path = sam.0.path("store.db");
    let sum =
        std::process::Command::new("sqlite3").arg("-readonly").arg(path).arg(recipe("decimal_sum")).output();
    match sum {
        Ok(sum) => {
            let said = String::from_utf8(sum.stdout).unwrap();
            assert_eq!(said.trim(), "EUR|1234567890122258.07", "{}", String::from_utf8_lossy(&sum.stderr));
        }
        Err(error) => println!("skipped: no program sqlite3 here ({error})"),
    }
}

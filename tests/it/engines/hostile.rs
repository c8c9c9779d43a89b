//! Hostile values of Tink's answers and of the application's view: kept, put aside or refused on both engines alike.

use fastrand::Rng;
use serde_json::{Value, json};
use tink_sandbox::script::{account, consent};
use tink_sandbox::{Script, ScriptRow};

use super::Both;
use crate::scripted::{A1, SAM, booked, many, refresh};
use crate::stored::literal;

/// A text of this length that no compression makes shorter, the same each time.
fn noise(seed: u64, length: usize) -> String {
    let mut rng = Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.alphanumeric()).take(length).collect()
}

/// Texts that mean something somewhere.
fn hostile_texts() -> Vec<String> {
    let mut texts = [
        "nul\u{0}in\u{0}it",
        "\u{0}",
        "",
        " ",
        "NaN",
        "infinity",
        "-Infinity",
        "now",
        "epoch",
        "allballs",
        "0001-01-01 BC",
        "'; DROP TABLE users; --",
        "$1 ?1 :id %s {0}",
        "\\x00\\000\\",
        "{a,\"b\",NULL}",
        "NULL",
        "\\N",
        "(1,2)",
        "E'\\''",
        "$$x$$",
        "\u{feff}bom",
        "\u{fffe}\u{ffff}\u{10ffff}",
        "e\u{301} é",
        "ß SS ı İ",
        "\u{202e}rtl",
        "\r\n\t\u{1}\u{7f}\u{85}",
        "+1.0e5",
        "1_000",
        "0x10",
        "true",
        "[1]",
        "{}",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.extend([noise(1, 3_000), noise(2, 16_000), noise(3, 300_000), "ž".repeat(9_000)]);
    texts
}

/// A row with a text in every place that takes one.
fn row_of(id: &str, text: &str) -> ScriptRow {
    booked(id, -2, "-100", "x").but(|element| {
        element["descriptions"] =
            json!({"display": text, "original": text, "detailed": {"unstructured": text}});
        element["merchantInformation"] = json!({"merchantName": text, "merchantCategoryCode": text});
        element["categories"] = json!({"pfm": {"id": text, "name": text}});
        element["counterparties"] = json!({"payer": {"name": text}, "payee": {"name": text}});
        element["identifiers"] = json!({"providerTransactionId": text});
        element["types"] = json!({"type": text});
        element["providerMutability"] = json!(text);
        element["reference"] = json!(text);
    })
}

/// A row whose fields are these, whatever they are.
fn with(id: &str, change: impl FnOnce(&mut Value)) -> ScriptRow {
    booked(id, -2, "-100", "x").but(change)
}

fn amounts() -> Vec<ScriptRow> {
    let nines = "9".repeat(400);
    let mut cases: Vec<(String, String)> = [
        ("NaN", "2"),
        ("Infinity", "0"),
        ("-inf", "0"),
        ("1e5", "2"),
        ("0x10", "0"),
        ("1.5", "0"),
        ("", "2"),
        ("-", "2"),
        ("+5", "2"),
        ("-0", "2"),
        ("1", "NaN"),
        ("1", "-400"),
        ("1", "400"),
        ("1", "20000"),
        ("1", "-200000"),
        ("1", "9223372036854775808"),
        ("9223372036854775808", "0"),
        ("-9223372036854775809", "18"),
        ("1", "16383"),
        ("1", "16384"),
        ("1\u{0}", "2"),
    ]
    .map(|(unscaled, scale)| (unscaled.to_owned(), scale.to_owned()))
    .to_vec();
    cases.extend([(nines.clone(), "2".to_owned()), (format!("-{nines}"), "399".to_owned())]);
    let row = |(n, (unscaled, scale)): (usize, (String, String))| {
        with(&format!("amount-{n}"), |element| {
            element["amount"]["value"] = json!({"unscaledValue": unscaled, "scale": scale});
        })
    };
    let mut rows: Vec<_> = cases.into_iter().enumerate().map(row).collect();
    for (n, currency) in
        ["E\u{0}R", "eur", "", "NaN", "EURO AND MORE", &noise(4, 3_000)].into_iter().enumerate()
    {
        rows.push(with(&format!("currency-{n}"), |element| {
            element["amount"]["currencyCode"] = json!(currency);
        }));
    }
    rows
}

fn days_and_times() -> Vec<ScriptRow> {
    let days = [
        "9999-12-31",
        "0001-01-01",
        "0000-01-01",
        "0000-12-31",
        "-0001-01-01",
        "10000-01-01",
        "+010000-01-01",
        "4713-01-01 BC",
        "infinity",
        "-infinity",
        "now",
        "epoch",
        "2026-02-30",
        "2024-02-29",
        "20260101",
        "2026-1-1",
        "01.02.2026",
        "2026-001",
        "2026-01-01\u{0}",
        "",
    ];
    let times = [
        "9999-12-31T23:59:59.999999999Z",
        "9999-12-31T23:59:59.9999996Z",
        "0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "-000001-06-01T00:00:00Z",
        "+010000-01-01T00:00:00Z",
        "2026-06-01T00:00:00.123456Z",
        "2026-06-01T00:00:00.1Z",
        "2026-06-01T00:00:00.000000Z",
        "2026-06-01T24:00:00Z",
        "2026-06-30T23:59:60Z",
        "2026-06-01T12:00:00+14:00",
        "2026-06-01T12:00:00-00:00",
        "2026-06-01",
        "infinity",
        "1750000000000",
        "now",
        "",
    ];
    let mut rows = Vec::new();
    for (n, day) in days.into_iter().enumerate() {
        for part in ["booked", "value", "transaction"] {
            rows.push(with(&format!("day-{part}-{n}"), |element| element["dates"][part] = json!(day)));
        }
    }
    for (n, time) in times.into_iter().enumerate() {
        rows.push(with(&format!("time-{n}"), |element| element["bookedDateTime"] = json!(time)));
    }
    for (n, time) in [i64::MAX, i64::MIN, 0, -1, 253_402_300_800_000].into_iter().enumerate() {
        rows.push(with(&format!("number-{n}"), |element| {
            element["bookedDateTime"] = json!(time);
            element["dates"]["booked"] = json!(time);
        }));
    }
    rows
}

fn ids() -> Vec<ScriptRow> {
    let hex = "0123456789abcdef0123456789abcdef";
    let mut ids = ["nul\u{0}id", "\u{0}", "", " ", "NULL", "NaN", "\\x00", "'", "ž\u{301}", hex]
        .map(str::to_owned)
        .to_vec();
    ids.extend([
        hex.to_uppercase(),
        noise(5, 2_700),
        noise(6, 3_000),
        noise(7, 16_000),
        noise(8, 16_384),
        noise(9, 16_385),
        noise(10, 70_000),
    ]);
    // Alike up to where an index might stop.
    ids.extend(["a", "b"].map(|end| noise(11, 3_000) + end));
    ids.into_iter().map(|id| booked(&id, -3, "-700", "by its id")).collect()
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_hostile_rows_of_tink_are_kept_or_put_aside_alike() {
    let texts = || {
        hostile_texts().into_iter().enumerate().map(|(n, text)| row_of(&format!("text-{n}"), &text)).collect()
    };
    let groups: [(&str, Vec<ScriptRow>); 4] =
        [("texts", texts()), ("amounts", amounts()), ("days", days_and_times()), ("ids", ids())];
    for (what, rows) in groups {
        let both = Both::of_sam();
        let script = |n: u32, rows: Vec<ScriptRow>| {
            let mut script = Script::simple(A1, &refresh(n), rows);
            script.transactions.extend(many("plain", 5, -1));
            script
        };
        both.each(|world| world.sandbox.script(SAM, script(1, rows.clone())));
        let ran = both.pass(what);
        assert!(ran.total("added") > 5, "{what}: {}", ran.summary());
        // Half of them go, and come again.
        let half = rows.iter().step_by(2).cloned().collect::<Vec<_>>();
        for (n, rows) in [(2, half.clone()), (3, half), (4, rows)] {
            both.each(|world| world.sandbox.script(SAM, script(n, rows.clone())));
            both.pass(&format!("{what}, refresh {n}"));
        }
        both.each(|world| world.app("DELETE FROM app_connections"));
        both.compare_views(&format!("{what}, erased"), |world| {
            world.cli(&["connections", "forget", "c-0", "--yes"])
        });
    }
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_hostile_accounts_and_consents_are_kept_or_refused_alike() {
    for (n, text) in hostile_texts().into_iter().filter(|text| text.len() < 20_000).enumerate() {
        let both = Both::of_sam();
        let mut script = Script::simple(A1, &refresh(1), many("plain", 3, -1));
        let mut other = account("other", &refresh(1), "100000", "2", "EUR");
        for field in ["name", "type", "financialInstitutionId"] {
            other[field] = json!(text);
        }
        other["identifiers"] = json!({"iban": {"iban": text, "bban": text}, "pan": {"masked": text}});
        other["balances"]["booked"]["amount"]["currencyCode"] = json!(text);
        script.accounts.push(other);
        script.accounts.push(account(&text, &refresh(1), "5", "2", "EUR"));
        let mut odd = consent(&text, &[A1, "other", &text]);
        for field in ["providerName", "status"] {
            odd[field] = json!(text);
        }
        odd["detailedError"] = json!({"type": text, "details": {"reason": text}, "displayMessage": text});
        script.consents.push(odd);
        both.each(|world| world.sandbox.script(SAM, script.clone()));
        both.pass(&format!("text {n}: {:.40}", text.escape_debug().to_string()));
    }
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_times_of_accounts_and_consents_are_shown_alike() {
    let times = [
        json!("9999-12-31T23:59:59.999999999Z"),
        json!("0001-01-01T00:00:00Z"),
        json!("-000001-01-01T00:00:00Z"),
        json!("2026-06-01T00:00:00.123456Z"),
        json!("2026-06-01T00:00:00.5Z"),
        json!("infinity"),
        json!(null),
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(1_750_000_000_123_i64),
        json!("2026-06-01T02:00:00+02:00"),
    ];
    for time in times {
        let both = Both::of_sam();
        let mut script = Script::simple(A1, &refresh(1), many("plain", 3, -1));
        script.accounts.push(account("other", &refresh(1), "100000", "2", "EUR"));
        script.accounts[1]["dates"]["lastRefreshed"] = time.clone();
        script.consents[0]["statusUpdated"] = time.clone();
        script.consents[0]["sessionExpiryDate"] = time.clone();
        script.consents[0]["accountIds"] = json!([A1, "other"]);
        both.each(|world| world.sandbox.script(SAM, script.clone()));
        both.pass(&format!("the time {time}"));
    }
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_hostile_rows_of_the_view_fail_alone_and_alike() {
    let both = Both::of_sam();
    both.each(|world| {
        world.sandbox.script(SAM, Script::simple(A1, &refresh(1), many("plain", 5, -1)));
        let insert = |id: &str, user: &str, until: &str, tink: &str| {
            world.app(&format!("INSERT INTO app_connections VALUES ({id}, {user}, 1, 1, {until}, {tink})"));
        };
        let nobody = "'nobody'";
        for (n, id) in
            ["'a' || char(0) || 'b'", "char(0)", "''", "x'00ff'", "7", "1e308", "9e999", "NULL", "'NaN'"]
                .into_iter()
                .enumerate()
        {
            insert(id, "'u'", "NULL", nobody);
            insert(&format!("'user-of-{n}'"), id, "NULL", nobody);
            insert(&format!("'tink-of-{n}'"), "'u'", "NULL", id);
        }
        for length in [2_700, 3_000, 16_000, 16_384, 16_385] {
            let id = literal(&noise(length, usize::try_from(length).unwrap()));
            insert(&id, "'u'", "NULL", nobody);
            insert(&format!("'long-user-{length}'"), &id, "NULL", nobody);
            insert(&format!("'long-tink-{length}'"), "'u'", "NULL", &id);
        }
        for (n, until) in [
            "'9999-12-31T23:59:59Z'",
            "'9999-12-31 23:59:59.999999'",
            "'0001-01-01T00:00:00Z'",
            "'0001-01-01 00:00:00 BC'",
            "'-0001-01-01T00:00:00Z'",
            "'infinity'",
            "'-infinity'",
            "'NaN'",
            "'now'",
            "253402300800",
            "9223372036854775807",
            "-9223372036854775808",
            "1e300",
            "-62135596801",
            "'2999-01-01T00:00:00.123456Z'",
            "x'00'",
            "''",
            "'2999-01-01 00:00:00' || char(0)",
        ]
        .into_iter()
        .enumerate()
        {
            insert(&format!("'until-{n}'"), "'u'", until, nobody);
        }
    });
    let ran = both.pass("hostile rows of the view");
    assert!(ran.total("connections") > 40 && ran.code == 10, "{}", ran.summary());
    both.each(|world| world.assert_exact(0));
}

//! Exports: exact, in an order that stays, readable by the programs they are for.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tink_sandbox::ScriptRow;
use tink_sync::failpoint;

use crate::harness::{Ran, World, small, until, was_killed};
use crate::scripted::{A1, Sam, at, booked, day, many, pending, undated};

/// Texts that are syntax somewhere, or break a line.
const NASTY: [&str; 12] = [
    "plain",
    "say \"hi\", twice; or |once|",
    "line\r\nfeed\tand  blanks ",
    "=1+1",
    "+49 30 1234",
    "-x @y",
    "(code) text",
    "! * # ^ tag: value, :a:b:",
    "  ; comment",
    "\\\" \\n \\",
    "Żabka 👩‍👩‍👧 שלום \u{202e}txt",
    "[2026-99-99] {1 EUR} @ 2 = 3",
];

fn export(world: &World, args: &[&str]) -> String {
    let mut all = vec!["export"];
    all.extend(args);
    world.cli(&all).expect(0).stdout
}

fn amount(id: &str, offset: i64, unscaled: &str, scale: &str, currency: &str, text: &str) -> ScriptRow {
    ScriptRow::with(id, A1, Some(day(offset)), "BOOKED", [unscaled, scale, currency], text)
}

/// Sam with every odd text, amount, currency and date there is.
fn odd() -> Sam {
    let mut rows: Vec<ScriptRow> = NASTY
        .iter()
        .enumerate()
        .map(|(n, text)| {
            let row = booked(&format!("n-{n:02}"), -3, &format!("-{}", 100 + n), text);
            row.but(|element| {
                element["merchantInformation"] = json!({"merchantName": format!("{text} & Co")});
            })
        })
        .collect();
    rows.extend([
        amount("big", -2, "-9007199254740993", "2", "EUR", "beyond a float"),
        amount("fine", -2, "1234567890123456789", "12", "EUR", "twelve decimals"),
        amount("zero", -2, "0", "2", "EUR", "nothing"),
        amount("yen", -2, "19", "-3", "JPY", "thousands"),
        amount("lower", -2, "-500", "2", "eur", "no currency of theirs"),
        amount("sign", -2, "-500", "2", "€;\"x", "nor this"),
        booked("early", -1, "1", "x").but(|element| element["dates"]["booked"] = json!("0001-01-01")),
        booked("late", -1, "1", "x").but(|element| element["dates"]["booked"] = json!("9999-12-31")),
        undated("undated", "BOOKED", "700", "no date"),
        booked("long", -1, "-1", &"long €".repeat(1000)),
        undated("odd id; with: [2026-01-01], \"all\"", "UNDEFINED", "-900", "id"),
        pending("p", 1, "-250", "COFFEE"),
    ]);
    Sam::with(at(1, rows))
}

/// All rows of the view in text, by id.
fn stored(world: &World) -> BTreeMap<String, Vec<Option<String>>> {
    let sql = format!(
        "SELECT {} FROM transactions_v1 WHERE connection_id = ?1",
        columns(world).iter().map(|name| format!("CAST({name} AS TEXT)")).collect::<Vec<_>>().join(", ")
    );
    let place = columns(world).iter().position(|name| name == "transaction_id").unwrap();
    world.texts(&sql, "c-0").into_iter().map(|row| (row[place].clone().unwrap(), row)).collect()
}

fn columns(world: &World) -> Vec<String> {
    let store = world.store();
    let view = store.prepare("SELECT * FROM transactions_v1").unwrap();
    // An export is exact.
    view.column_names().filter(|name| *name != "amount_number").map(str::to_owned).collect()
}

fn ids(world: &World, args: &[&str]) -> Vec<String> {
    let mut all = vec!["--format", "jsonl"];
    all.extend(args);
    let text = export(world, &all);
    let id = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["transaction_id"].as_str().unwrap().to_owned()
    };
    text.lines().map(id).collect()
}

#[test]
fn csv_holds_every_column_and_every_text_as_stored() {
    let sam = odd();
    let text = export(&sam.0, &["--pending"]);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), columns(&sam.0));
    let place = columns(&sam.0).iter().position(|name| name == "transaction_id").unwrap();
    let read: BTreeMap<String, Vec<String>> = reader
        .records()
        .map(|record| record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>())
        .map(|cells| (cells[place].clone(), cells))
        .collect();
    let stored = stored(&sam.0);
    assert_eq!(read.keys().collect::<Vec<_>>(), stored.keys().collect::<Vec<_>>());
    for (id, row) in stored {
        let row: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
        assert_eq!(read[&id], row);
    }
    assert!(text.lines().next().is_some_and(|header| text.starts_with(&format!("{header}\r\n"))));
}

#[test]
fn json_lines_hold_amounts_as_text_and_tell_null_from_nothing() {
    let sam = odd();
    let text = export(&sam.0, &["--format", "jsonl", "--pending"]);
    let stored = stored(&sam.0);
    assert_eq!(text.lines().count(), stored.len());
    let columns = columns(&sam.0);
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        assert!(row["amount"].is_string() && row["change_seq"].is_i64() && row["removed_at"].is_null());
        for (column, expected) in columns.iter().zip(&stored[row["transaction_id"].as_str().unwrap()]) {
            let value = match &row[column] {
                Value::Number(number) => Some(number.to_string()),
                other => other.as_str().map(str::to_owned),
            };
            assert_eq!(&value, expected, "{column}");
        }
        let at = |name: &str| line.find(&format!("\"{name}\":")).unwrap();
        assert!(columns.windows(2).all(|pair| at(&pair[0]) < at(&pair[1])), "columns in their order");
    }
}

#[test]
fn a_text_of_any_length_fits_on_a_line_of_a_journal() {
    let long = "€".repeat(5000);
    let row = booked("long", -2, "-100", &long).but(|element| {
        element["merchantInformation"] = json!({"merchantName": "x".repeat(5000)});
    });
    let mut script = at(1, [row]);
    script.accounts[0]["name"] = json!(long);
    let sam = Sam::with(script);
    for format in ["ledger", "beancount"] {
        let journal = export(&sam.0, &["--format", format]);
        let longest = journal.lines().map(str::len).max().unwrap();
        let between = if format == "ledger" { " | " } else { "\" \"" };
        assert!(journal.contains(&format!("xx…{between}€€")) && journal.contains("€€…"), "{format}");
        assert!(format == "beancount" || longest < 4096, "{longest}");
    }
    for format in ["csv", "jsonl"] {
        assert!(export(&sam.0, &["--format", format]).contains(&long), "{format}");
    }
}

#[test]
fn an_export_is_the_same_twice_and_later_differs_only_by_what_changed() {
    let world = World::new(small(3));
    world.run(&[]).expect(0);
    for format in ["csv", "jsonl", "ledger", "beancount"] {
        let before = export(&world, &["--format", format]);
        assert_eq!(before, export(&world, &["--format", format]), "{format}");
        assert!(before.len() > 1000, "{format}");
    }
    let sam = Sam::with(at(1, [booked("b", -2, "-100", "x"), booked("a", -2, "-100", "x")]));
    let before = export(&sam.0, &[]);
    let more = [booked("c", -5, "-300", "y"), booked("b", -2, "-100", "x"), booked("a", -2, "-100", "x")];
    sam.pass(at(2, more)).expect(0);
    let after = export(&sam.0, &[]);
    let left: Vec<&str> = after.lines().filter(|line| !line.contains(",c,")).collect();
    assert_eq!(left, before.lines().collect::<Vec<_>>());
    assert_eq!(ids(&sam.0, &[]), ["c", "a", "b"]);
}

#[test]
fn rows_come_by_the_nearest_date_they_have() {
    let date = |field: &'static str, offset: i64| {
        move |element: &mut Value| element["dates"] = json!({field: day(offset).to_string()})
    };
    let rows = vec![
        booked("booked", -4, "-100", "x"),
        undated("value", "BOOKED", "-100", "x").but(date("value", -3)),
        undated("transaction", "BOOKED", "-100", "x").but(date("transaction", -5)),
        undated("none", "BOOKED", "-100", "x"),
    ];
    let sam = Sam::with(at(1, rows));
    // One without any date stands at the day it was first seen.
    assert_eq!(ids(&sam.0, &[]), ["transaction", "booked", "value", "none"]);
    let (from, to) = (day(-4).to_string(), day(-3).to_string());
    assert_eq!(ids(&sam.0, &["--since", &from, "--until", &to]), ["booked", "value"]);
    let beancount = export(&sam.0, &["--format", "beancount"]);
    assert!(beancount.contains(&format!("\n{to} * \"x\"\n  tink_id: \"value\"\n  booked_date: \"unknown\"")));
}

#[test]
fn pending_and_removed_rows_come_only_when_asked_for() {
    let sam = Sam::with(at(1, [booked("b", -20, "-100", "x"), pending("p", 1, "-250", "COFFEE")]));
    sam.pass(at(2, [booked("b", -20, "-100", "x"), booked("c", 0, "-250", "COFFEE")])).expect(0);
    assert_eq!(sam.live(), ["b", "c"]);
    assert_eq!(ids(&sam.0, &[]), ["b", "c"]);
    assert_eq!(ids(&sam.0, &["--removed", "--pending"]), ["b", "c", "p"]);
    let all = export(&sam.0, &["--format", "jsonl", "--removed", "--pending"]);
    let last: Value = serde_json::from_str(all.lines().last().unwrap()).unwrap();
    assert_eq!((&last["removed_reason"], &last["replaced_by"]), (&json!("replaced"), &json!("c")));
    for format in ["ledger", "beancount"] {
        let ran = sam.0.cli(&["export", "--format", format, "--removed"]).expect(2);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("--removed goes with csv and jsonl"));
    }
}

#[test]
fn connections_and_users_are_chosen_and_unknown_ones_refused() {
    let world = World::new(small(3));
    world.run(&[]).expect(0);
    let count = |args: &[&str]| ids(&world, args).len();
    let (all, one) = (count(&[]), count(&["--connection", "c-1"]));
    assert!(one > 0 && one < all);
    assert_eq!(one, count(&["--user", "u-1"]));
    assert_eq!(all, count(&["--connection", "c-0", "c-1", "--user", "u-2"]));
    let ran = world.cli(&["export", "--connection", "c-1", "nobody"]).expect(2);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("unknown connection or user: nobody"), "{ran:?}");
    let ran = world.cli(&["export", "--since", "yesterday"]).expect(2);
    assert!(ran.stderr.contains("YYYY-MM-DD"), "{}", ran.stderr);
}

#[test]
fn a_file_appears_as_a_whole_or_not_at_all() {
    let sam = Sam::with(at(1, [booked("b", -2, "-100", "x")]));
    let file = sam.0.path("out.csv");
    let path = file.display().to_string();
    let ran = sam.0.cli(&["export", "--output", &path]).expect(0);
    assert_eq!(ran.stdout, format!("1 transaction in {path}\n"));
    let before = std::fs::read_to_string(&file).unwrap();
    assert_eq!(before, export(&sam.0, &[]));
    sam.pass(at(2, [booked("b", -2, "-100", "x"), booked("c", -2, "-200", "y")])).expect(0);
    let files = sam.0.files();
    for point in ["write the export:before", "write the export:after", "replace the export:before"] {
        let mut command = sam.0.command(&["export", "--output", &path]);
        let status = command.env(failpoint::VARIABLE, point).status().unwrap();
        assert!(was_killed(status), "{point}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before, "{point}");
        // No half of it is left under another name.
        assert_eq!(sam.0.files(), files, "{point}");
    }
    sam.0.cli(&["export", "--output", &path]).expect(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), export(&sam.0, &[]));
    // A database of all places.
    let app = sam.0.path("app.db").display().to_string();
    let ran = sam.0.cli(&["export", "--output", &app]).expect(2);
    assert!(ran.stderr.contains("nothing is put in its place"), "{}", ran.stderr);
    assert_eq!(sam.live(), ["b", "c"]);
}

#[test]
fn a_place_that_is_not_there_and_days_that_make_no_sense_are_wrong_usage() {
    let sam = Sam::with(at(1, [booked("b", -2, "-100", "x")]));
    let refused = |args: &[&str], why: &str| {
        let ran = sam.0.cli(&[&["export"], args].concat()).expect(2);
        assert!(ran.stderr.contains(why) && ran.stdout.is_empty(), "{args:?}: {}", ran.stderr);
    };
    refused(&["--output", "/nonexistent/x"], "the directory /nonexistent does not exist");
    refused(
        &["--since", "2026-11-20", "--until", "2026-11-01"],
        "--until 2026-11-01 is before --since 2026-11-20",
    );
    refused(&["--since", "2026-02-30"], "there is no such day");
    refused(&["--since", "20.11.2026"], "YYYY-MM-DD");
    export(&sam.0, &["--since", "2026-11-20", "--until", "2026-11-20"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let sam = Sam::with(at(1, many("m", 900, -2)));
    let mut child = sam.0.command(&["export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    until(|| child.try_wait().unwrap().is_some());
    let ran = Ran::of(child.wait_with_output().unwrap()).expect(0);
    assert_eq!(ran.stderr, "");
}

#[test]
fn an_export_shows_one_moment_while_others_write() {
    let sam = Sam::with(at(1, [booked("b", -2, "-100", "x")]));
    let before = export(&sam.0, &[]);
    let writer = sam.0.writing_amounts("7");
    assert_eq!(export(&sam.0, &[]), before);
    writer.commit();
    assert!(export(&sam.0, &[]).contains(",7,EUR,"));
}

#[test]
fn without_a_store_there_is_nothing_to_export() {
    let sam = Sam::new();
    let ran = sam.0.cli(&["export"]).expect(74);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("tink-sync run"), "{}", ran.stderr);
    assert!(!sam.0.has_store());
}

#[test]
fn an_option_of_another_form_is_refused() {
    let sam = Sam::with(at(1, [booked("b", -2, "-100", "=x")]));
    for (args, said) in [
        (&["--safe-text", "--format", "jsonl"][..], "--safe-text goes with --format csv"),
        (&["--format", "beancount", "--expenses", "food"], "--expenses: \"food\" is no account name"),
        (&["--format", "ledger", "--income", "a;b"], "--income: "),
    ] {
        let ran = sam.0.cli(&[&["export"], args].concat()).expect(2);
        assert!(ran.stdout.is_empty() && ran.stderr.contains(said), "{}", ran.stderr);
    }
    assert!(export(&sam.0, &["--safe-text"]).contains(",'=x,"));
    assert!(export(&sam.0, &[]).contains(",=x,"));
    let own = export(&sam.0, &["--format", "ledger", "--expenses", "Ausgaben:Öl und Gas"]);
    assert!(own.contains("\n    Ausgaben:Öl und Gas  "), "{own}");
}

/// The sums of the live rows by currency, at twelve decimals.
fn sums(world: &World) -> BTreeMap<String, i128> {
    let sql = "SELECT amount, currency FROM transactions_v1 WHERE connection_id = ?1 AND removed_at IS NULL";
    let mut sums = BTreeMap::new();
    for row in world.texts(sql, "c-0") {
        *sums.entry(row[1].clone().unwrap()).or_default() += scaled(row[0].as_deref().unwrap());
    }
    sums
}

fn scaled(amount: &str) -> i128 {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    format!("{whole}{fraction:0<12}").parse().unwrap()
}

/// What a program says about a journal.
fn ask(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{program} {args:?}: {out}{err}");
    out.into_owned()
}

#[test]
fn an_amount_that_is_longer_than_beancounts_is_told_of_once_and_written_in_full() {
    let long = "-12345678901234567890123456789";
    let rows = [amount("l1", -2, long, "2", "EUR", "long"), amount("l2", -2, long, "2", "EUR", "long")];
    let sam = Sam::with(at(1, rows));
    let told = |format: &str| sam.0.cli(&["export", "--format", format]).expect(0);
    let ran = told("beancount");
    assert_eq!(ran.stdout.matches("-123456789012345678901234567.89 EUR").count(), 2, "{}", ran.stdout);
    assert_eq!(ran.stderr.matches("more than 28 digits").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("transaction l1") && !ran.stderr.contains("12345"), "{}", ran.stderr);
    assert_eq!(told("ledger").stderr, "");
    let sam = Sam::with(at(1, [amount("fits", -2, &long[..29], "30", "EUR", "28 digits")]));
    assert_eq!(sam.0.cli(&["export", "--format", "beancount"]).expect(0).stderr, "");
}

/// Fails unless these sums by currency, told as `currency|amount`, are the store's, in both directions.
fn assert_sums(
    world: &World,
    own: &[(String, String)],
    other: &[(String, String)],
    name: fn(&str) -> String,
) {
    let expected: BTreeSet<(String, i128)> =
        sums(world).into_iter().map(|(currency, sum)| (name(&currency), sum)).collect();
    let told = |sums: &[(String, String)], sign: i128| {
        let mut all = BTreeMap::<String, i128>::new();
        for (currency, amount) in sums {
            *all.entry(currency.clone()).or_default() += sign * scaled(amount);
        }
        all.into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(told(own, 1), expected);
    assert_eq!(told(other, -1), expected);
}

fn same(currency: &str) -> String {
    match currency {
        "€;\"x" => "_E2_82_AC_3B_22x".to_owned(),
        other => other.to_owned(),
    }
}

#[test]
#[ignore = "needs hledger: tests/run installs it"]
fn hledger_reads_the_journal_and_adds_up_what_is_stored() {
    let sam = odd();
    let file = sam.0.path("out.journal").display().to_string();
    sam.0.cli(&["export", "--format", "ledger", "--pending", "--output", &file]).expect(0);
    ask("hledger", &["-f", &file, "check", "accounts", "ordereddates"]);
    let balances = ask("hledger", &["-f", &file, "balance", "-O", "csv", "--layout=bare", "-N", "--flat"]);
    let mut reader = csv::Reader::from_reader(balances.as_bytes());
    let rows: Vec<Vec<String>> =
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
    let of = |own: bool| -> Vec<(String, String)> {
        let mine = rows.iter().filter(|row| row[0].starts_with("Assets:Bank:") == own);
        mine.map(|row| (row[1].clone(), row[2].clone())).collect()
    };
    // What adds up to nothing is not shown.
    assert_sums(&sam.0, &of(true), &of(false), same);
    let entries: Value =
        serde_json::from_str(&ask("hledger", &["-f", &file, "print", "-O", "json"])).unwrap();
    let tags: BTreeSet<&str> =
        entries.as_array().unwrap().iter().map(|entry| entry["ttags"][0][1].as_str().unwrap()).collect();
    assert_eq!(tags.len(), stored(&sam.0).len());
    assert!(tags.contains("odd%20id%3B%20with%3A%20%5B2026-01-01%5D%2C%20%22all%22"), "{tags:?}");
}

#[test]
#[ignore = "needs ledger: tests/run installs it"]
fn ledger_reads_the_journal_and_adds_up_what_is_stored() {
    let sam = odd();
    let file = sam.0.path("out.ledger").display().to_string();
    sam.0.cli(&["export", "--format", "ledger", "--pending", "--output", &file]).expect(0);
    let form = "%(account)|%(commodity)|%(quantity(amount))|%(tag(\"tink_id\"))\n";
    let postings = ask("ledger", &["-f", &file, "register", "--empty", "--format", form]);
    let rows: Vec<Vec<String>> =
        postings.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect();
    let of = |own: bool| -> Vec<(String, String)> {
        let mine = rows.iter().filter(|row| row[0].starts_with("Assets:Bank:") == own);
        mine.map(|row| (row[1].trim_matches('"').to_owned(), row[2].clone())).collect()
    };
    assert_sums(&sam.0, &of(true), &of(false), same);
    let ids: BTreeSet<&str> = rows.iter().map(|row| row[3].as_str()).collect();
    assert_eq!(ids.len(), stored(&sam.0).len());
    assert!(ask("ledger", &["-f", &file, "balance"]).contains("Assets:Bank:Checking-"));
}

#[test]
#[ignore = "needs beancount: tests/run installs it"]
fn beancount_reads_the_journal_and_adds_up_what_is_stored() {
    let sam = odd();
    let file = sam.0.path("out.beancount").display().to_string();
    sam.0.cli(&["export", "--format", "beancount", "--pending", "--output", &file]).expect(0);
    assert_eq!(ask("bean-check", &[&file]), "");
    // What it shows is rounded; what it holds is not.
    let program = "
import sys
from beancount import loader
for entry in loader.load_file(sys.argv[1])[0]:
    for posting in getattr(entry, 'postings', ()):
        print(posting.account, posting.units.currency, format(posting.units.number, 'f'), entry.meta['tink_id'], sep='|')
";
    let postings = ask("/usr/bin/python3", &["-c", program, &file]);
    let rows: Vec<Vec<String>> =
        postings.lines().map(|line| line.splitn(4, '|').map(str::to_owned).collect()).collect();
    let of = |own: bool| -> Vec<(String, String)> {
        let mine = rows.iter().filter(|row| row[0].starts_with("Assets:Bank:") == own);
        mine.map(|row| (row[1].clone(), row[2].clone())).collect()
    };
    let name = |currency: &str| match currency {
        "eur" => "X-BA1E95C8297BF091CE7F".to_owned(),
        "€;\"x" => "X-B72A130B649948CD2FCB".to_owned(),
        other => other.to_owned(),
    };
    assert_sums(&sam.0, &of(true), &of(false), name);
    assert_eq!(rows.iter().map(|row| &row[3]).collect::<BTreeSet<_>>().len(), stored(&sam.0).len());
}

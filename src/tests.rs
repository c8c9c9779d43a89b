//! Arbitrary input from outside for its readers: responses, configuration, redirects, the rows of the view.
//! Nothing panics, nothing hangs, what is accepted is exact, and no message quotes its input. The corpus is
//! that of the fuzz targets, which call the same readers.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::store::source;
use crate::tink::hostile::AnswerKind;

const FOLDERS: [(&str, AnswerKind); 5] = [
    ("accounts", AnswerKind::Accounts),
    ("consents", AnswerKind::Consents),
    ("transactions", AnswerKind::Transactions),
    ("token", AnswerKind::Token),
    ("code", AnswerKind::Code),
];

/// The files of a folder of the corpus.
fn seeds(folder: &str) -> Vec<Vec<u8>> {
    let place: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(folder);
    let files = fs::read_dir(place).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let files: Vec<Vec<u8>> = files.collect();
    assert!(!files.is_empty());
    files
}

/// The documents of a folder of the corpus.
fn corpus(folder: &str) -> Vec<String> {
    seeds(folder).into_iter().filter_map(|bytes| String::from_utf8(bytes).ok()).collect()
}

/// Replaces the nth value inside a JSON document.
fn replaced(document: &mut Value, left: &mut usize, by: &Value) {
    let inner: Vec<&mut Value> = match document {
        Value::Object(fields) => fields.values_mut().collect(),
        Value::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    for value in inner {
        if *left == 0 {
            *value = by.clone();
            *left = usize::MAX;
            return;
        }
        *left -= 1;
        replaced(value, left, by);
        if *left == usize::MAX {
            return;
        }
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        Just(json!([])),
        Just(json!({})),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,40}".prop_map(Value::from),
        Just(Value::from("9".repeat(5000))),
        (1usize..300).prop_map(|depth| (0..depth).fold(json!(1), |inner, _| json!([inner]))),
    ]
}

proptest! {
    #[test]
    fn answers_with_odd_values_are_read_or_refused(
        which in 0..FOLDERS.len(), nth in 0usize..60, odd in odd_value()
    ) {
        let (folder, answer) = FOLDERS[which];
        for text in corpus(folder) {
            let Ok(mut document) = serde_json::from_str::<Value>(&text) else { continue };
            replaced(&mut document, &mut nth.clone(), &odd);
            answer.challenge(document.to_string().as_bytes());
        }
    }

    #[test]
    fn damaged_answers_are_read_or_refused(
        which in 0..FOLDERS.len(), cut in any::<prop::sample::Index>(), byte in any::<u8>(), at in any::<prop::sample::Index>()
    ) {
        let (folder, answer) = FOLDERS[which];
        for mut bytes in seeds(folder) {
            answer.challenge(&bytes);
            let place = at.index(bytes.len());
            bytes[place] = byte;
            answer.challenge(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            answer.challenge(&bytes);
        }
    }

    #[test]
    fn a_damaged_redirect_is_never_believed(
        cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), odd in "\\PC{0,20}"
    ) {
        for text in corpus("redirect") {
            let whole: Vec<char> = text.chars().collect();
            let (head, tail) = whole.split_at(at.index(whole.len()));
            let damaged: String = head.iter().copied().chain(odd.chars()).chain(tail.iter().skip(1).copied()).collect();
            crate::link::hostile::challenge(&damaged);
            let cut: String = damaged.chars().take(cut.index(whole.len())).collect();
            crate::link::hostile::challenge(&cut);
            crate::link::hostile::challenge(&odd);
        }
    }

    #[test]
    fn a_damaged_configuration_is_understood_or_refused_without_a_quote(
        line in any::<prop::sample::Index>(), odd in "[ -~]{0,30}"
    ) {
        let mark = "m4rk3dv4lue";
        for text in corpus("configuration") {
            let mut lines: Vec<String> = text.lines().map(|line| line.trim_start_matches("# ").to_owned()).collect();
            let place = line.index(lines.len());
            let key = lines[place].split(" = ").next().unwrap_or_default().to_owned();
            lines[place] = format!("{key} = '{mark}{}'", odd.replace('\'', ""));
            if let Err(error) = crate::config::read(Path::new("/c.toml"), &lines.join("\n")) {
                prop_assert!(!error.to_string().contains(mark), "{error}");
            }
            let _ = crate::config::read(Path::new("/c.toml"), &odd);
        }
    }
}

/// A line of a row, in the form of the fuzz target.
fn odd_line() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        "[itrb-]-?[0-9]{1,20}",
        "t(true|t|yes|1| TRUE |9999-12-31|-009999-01-02 00:00:00|2026-02-29|24:00|1e9)",
        "[tb][ -~]{0,20}",
        "r(NaN|inf|-inf|1e300|-0.0|253402207201)",
    ];
    prop_oneof![word.prop_map(String::into_bytes), vec(any::<u8>(), 0..20)]
}

proptest! {
    #[test]
    fn odd_and_damaged_rows_of_the_view_are_read_or_fail_alone(
        lines in vec(odd_line(), 0..16), nth in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        source::hostile::challenge(&lines.join(&b'\n'));
        for mut bytes in seeds("view_row") {
            source::hostile::challenge(&bytes);
            let place = nth.index(bytes.len());
            bytes[place] = byte;
            source::hostile::challenge(&bytes);
        }
    }
}

#[test]
fn an_answer_nested_beyond_reason_does_no_harm() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for answer in AnswerKind::ALL {
        // Nothing in it is what a reader looks for: a list is empty, a token is missing.
        let is_list = !matches!(answer, AnswerKind::Token | AnswerKind::Code);
        let read = answer.read(format!("{{\"x\":{deep}}}").as_bytes());
        assert_eq!(read.is_ok_and(|money| money.is_empty()), is_list);
        for list in ["transactions", "accounts", "providerConsents"] {
            answer.challenge(format!("{{\"{list}\":{deep}}}").as_bytes());
            answer.challenge(format!("{{\"{list}\":[{{\"id\":{deep},\"dates\":{deep}}}]}}").as_bytes());
        }
    }
}

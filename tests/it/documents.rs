//! The documents say what is so: every command that they show is one that the program takes, every view,
//! column, key and file that they name is there.

use std::collections::BTreeSet;

use clap::Parser as _;
use tink_sync::cli::Cli;

use crate::harness::{World, small};

const DOCUMENTS: [(&str, &str); 7] = [
    ("README.md", include_str!("../../README.md")),
    ("SECURITY.md", include_str!("../../SECURITY.md")),
    ("packaging/deployment.md", include_str!("../../packaging/deployment.md")),
    ("packaging/postgres.md", include_str!("../../packaging/postgres.md")),
    ("packaging/reading.md", include_str!("../../packaging/reading.md")),
    ("packaging/scale.md", include_str!("../../packaging/scale.md")),
    ("packaging/monitoring/README.md", include_str!("../../packaging/monitoring/README.md")),
];

/// Code in a document: the lines of its blocks, and what stands between backticks.
fn code(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (n, part) in text.split("```").enumerate() {
        if n % 2 == 1 {
            found.extend(part.lines().skip(1).map(str::to_owned));
        } else {
            // A span may be broken over two lines.
            found.extend(part.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
        }
    }
    found
}

/// The command lines of the program in a line of shell, each as its words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap();
    let pieces = line.split([';', '|', '&', '>', '<', '(', ')']).map(str::trim);
    let ours = pieces.filter_map(|piece| {
        let piece = piece.strip_prefix("sudo ").unwrap_or(piece);
        let rest = piece.strip_prefix("/usr/bin/").unwrap_or(piece).strip_prefix("tink-sync ")?;
        Some(rest.split_whitespace().map(|word| word.trim_matches(['\'', '"']).to_owned()).collect())
    });
    ours.collect()
}

#[test]
fn every_command_in_the_documents_is_one_that_the_program_takes() {
    let (mut tried, mut wrong) = (0, Vec::<String>::new());
    for (name, text) in DOCUMENTS {
        for words in code(text).iter().map(String::as_str).flat_map(commands) {
            // `tink-sync …` and `tink-sync 700`, owner and mode of a directory, name no command.
            if words.iter().any(|word| word.contains('…')) || words[0].parse::<u32>().is_ok() {
                continue;
            }
            let parsed = Cli::try_parse_from(std::iter::once("tink-sync".to_owned()).chain(words.clone()));
            let refused = parsed.err().filter(clap::Error::use_stderr);
            // Words that a sentence names without what it needs: "`tink-sync rekey`".
            let named = refused.as_ref().is_some_and(|error| {
                use clap::error::ErrorKind::{
                    DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument, MissingSubcommand,
                };
                matches!(
                    error.kind(),
                    DisplayHelpOnMissingArgumentOrSubcommand | MissingRequiredArgument | MissingSubcommand
                )
            });
            if let Some(error) = refused.filter(|_| !named) {
                wrong.push(format!("{name}: tink-sync {}: {error}", words.join(" ")));
            }
            tried += 1;
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(tried > 50, "only {tried} commands were found");
}

#[test]
fn every_view_and_column_in_the_documents_is_there() {
    let world = World::new(small(1));
    world.run(&[]).expect(0);
    let store = world.store();
    let mut statement = store
        .prepare(
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'view'",
        )
        .unwrap();
    let columns: BTreeSet<(String, String)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let is_view = |word: &str| word == "tink_sync_source_v1" || columns.iter().any(|(view, _)| view == word);
    let mut seen = BTreeSet::new();
    for (name, text) in DOCUMENTS {
        for word in code(text)
            .iter()
            .flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c))))
        {
            // `consents_v1.expires_at` names a column, too.
            let (view, column) = word
                .split_once("_v1.")
                .map_or((word.to_owned(), None), |(view, column)| (format!("{view}_v1"), Some(column)));
            if view.ends_with("_v1") {
                assert!(is_view(&view), "{name}: there is no view {view}");
                assert!(
                    column.is_none_or(|column| columns.contains(&(view.clone(), column.to_owned()))),
                    "{name}: {word}"
                );
                seen.insert(view);
            }
        }
    }
    let all: BTreeSet<String> =
        columns.into_iter().map(|(view, _)| view).filter(|view| view.ends_with("_v1")).collect();
    assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new(), "in no document");
}

#[test]
fn every_file_of_the_project_in_the_documents_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in DOCUMENTS {
        for word in code(text).iter().flat_map(|line| line.split_whitespace()) {
            let ours =
                ["packaging/", "tests/", "src/", "systemd/"].iter().any(|place| word.starts_with(place));
            if !ours {
                continue;
            }
            let path = root.join(word);
            // A module is named as a path without its ending.
            assert!(path.exists() || path.with_extension("rs").exists(), "{name}: there is no {word}");
        }
    }
}

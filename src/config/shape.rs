//! Parses the text of the file into its shape, with an error that names line and key. The TOML library's own
//! report would print the offending line, which may hold a secret, so only parts of it are used.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::error::ConfigError;
use super::file::File;
use super::keys;

/// Reads the file's text, whatever keys it has.
pub(super) fn document<'t>(path: &Path, text: &'t str) -> Result<Spanned<DeTable<'t>>, ConfigError> {
    DeTable::parse(text).map_err(|error| syntax_error(path, text, &error))
}

/// Reads the keys of the document of a text, up to the first that is unknown or has the wrong type.
pub(super) fn file(path: &Path, text: &str, document: Spanned<DeTable<'_>>) -> Result<File, ConfigError> {
    let document = toml::Deserializer::from(document);
    let mut track = serde_path_to_error::Track::new();
    let document = serde_path_to_error::Deserializer::new(document, &mut track);
    File::deserialize(document).map_err(|error| key_error(path, text, &track.path().to_string(), &error))
}

/// The parser's messages are fixed phrases without any of the text.
fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let (line, column) = error.span().map_or((1, 1), |span| position(text, span.start));
    ConfigError::Syntax { path: path.to_owned(), line, column, problem: error.message().to_owned() }
}

fn key_error(path: &Path, text: &str, key: &str, error: &toml::de::Error) -> ConfigError {
    let message = error.message();
    let problem = if message.starts_with("unknown field ") {
        keys::unknown(key)
    } else {
        // "invalid type: string "…", expected u64": the part before the last comma shows the value
        let expected = message.rsplit_once(", expected ").map_or("another value", |(_, end)| end);
        format!("expected {}", in_plain_words(expected))
    };
    let line = error.span().map(|span| position(text, span.start).0);
    ConfigError::Key { path: path.to_owned(), line, key: key.to_owned(), problem }
}

/// Translates serde's name of a type into the terms of the file.
fn in_plain_words(expected: &str) -> &str {
    match expected {
        "a string" => "a text in quotes",
        "a boolean" => "`true` or `false`, without quotes",
        "i64" => "a whole number, without quotes",
        "f64" => "a number, without quotes",
        "a sequence" => "a list such as `[\"14d\", \"7d\"]`",
        table if table.starts_with("struct ") => "a table with keys of its own",
        other => other,
    }
}

/// Line and column, both from 1, of a byte of the text.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    (line, column)
}

//! Generates tink-sync.toml(5) from the comments of the example configuration, so that each key is described
//! only once. Knows only the form of that file.

use roff::{Roff, bold, roman};

/// A key of the example.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    name: String,
    /// Default or example, as written.
    value: String,
    text: String,
}

pub(super) fn page(example: &str) -> String {
    let mut page = Roff::new();
    section(&mut page, "NAME", "tink-sync.toml - configuration of tink-sync");
    section(&mut page, "SYNOPSIS", "/etc/tink-sync/tink-sync.toml");
    section(&mut page, "DESCRIPTION", &introduction(example));
    page.control("SH", ["KEYS"]);
    for Key { name, value, text } in keys(example) {
        page.control("TP", []).text([bold(format!("{name} = {value}"))]).text([roman(text)]);
    }
    section(&mut page, "SEE ALSO", "tink-sync(1), systemd-creds(1)");
    super::page::ascii(&(super::page::title("TINK-SYNC.TOML", 5) + &page.to_roff()))
}

fn section(page: &mut Roff, title: &str, text: &str) {
    page.control("SH", [title]).text([roman(text)]);
}

/// The first block of comments, without the line that names the file.
fn introduction(example: &str) -> String {
    let block = example.lines().take_while(|line| line.starts_with('#'));
    let text: Vec<&str> = block.skip(1).map(|line| line.trim_start_matches('#').trim()).collect();
    text.join(" ").trim().to_owned()
}

/// Every key with the comment above it. Keys without a comment of their own share that of the key above.
fn keys(example: &str) -> Vec<Key> {
    let (mut found, mut table, mut text, mut above) = (Vec::new(), String::new(), Vec::new(), String::new());
    for line in example.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = format!("{name}.");
            text.clear();
        } else if let Some((name, value)) = setting(line) {
            if !text.is_empty() {
                above = text.join(" ");
                text.clear();
            }
            found.push(Key { name: format!("{table}{name}"), value: value.to_owned(), text: above.clone() });
        } else if let Some(words) = line.strip_prefix('#') {
            text.push(words.trim());
        } else {
            text.clear();
        }
    }
    found
}

/// `# name = value` or `name = value`.
fn setting(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_start_matches("# ").split_once(" = ")?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_name.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;

    #[test]
    fn every_key_is_described() {
        let found = keys(include_str!("../../../tink-sync.toml.example"));
        let names: Vec<&str> = found.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, KEYS);
        for key in &found {
            assert!(key.text.len() > 20 && !key.value.is_empty(), "{key:?}");
        }
    }

    #[test]
    fn a_comment_belongs_to_the_keys_below_it() {
        let example = "# File.\n#\n# All of it.\n\n[a]\n\n# About both\n# of them.\n# one = 1\n# two = 2\n\n# Not a key = sentence.\n# three = \"x\"\n";
        let found = keys(example);
        let key = |name: &str, value: &str, text: &str| Key {
            name: name.to_owned(),
            value: value.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(
            found,
            [
                key("a.one", "1", "About both of them."),
                key("a.two", "2", "About both of them."),
                key("a.three", "\"x\"", "Not a key = sentence."),
            ]
        );
        assert_eq!(introduction(example), "All of it.");
    }
}

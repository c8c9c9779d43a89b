//! The shipped example: it loads, it names every key, and what it shows as defaults are the defaults.

use super::{picture, settings, shipped};
use crate::config::KEYS;

/// Keys whose line is an example, since they have no default.
const NO_DEFAULT: &[&str] = &[
    "tink.client_id",
    "tink.client_secret_file",
    "store.token_key_file",
    "store.pgpass_file",
    "source.view",
    "source.database",
    "sync.outage_patience",
    "report.metrics_file",
];

/// The example with those lines `# key = value` uncommented that `wanted` selects, and all keys seen.
fn uncommented(wanted: impl Fn(&str) -> bool) -> (String, Vec<String>) {
    let (mut text, mut keys, mut table) = (String::new(), Vec::new(), String::new());
    for line in shipped("tink-sync.toml.example").lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = format!("{name}.");
        }
        let setting = line.strip_prefix("# ").and_then(|rest| Some((rest, setting_name(rest)?)));
        let kept = setting.map_or(line, |(rest, name)| {
            let key = format!("{table}{name}");
            let kept = if wanted(&key) { rest } else { line };
            keys.push(key);
            kept
        });
        text.push_str(kept);
        text.push('\n');
    }
    (text, keys)
}

fn setting_name(line: &str) -> Option<&str> {
    let (name, _) = line.split_once(" = ")?;
    name.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some(name)
}

#[test]
fn the_example_as_it_is_gives_the_defaults() {
    assert_eq!(picture(settings(&shipped("tink-sync.toml.example"))), picture(settings("")));
}

#[test]
fn every_line_of_the_example_can_be_uncommented() {
    let (text, keys) = uncommented(|_| true);
    assert_eq!(keys, KEYS);
    let all = settings(&text);
    assert_eq!(all.source.view.as_deref(), Some("tink_sync_source_v1"));
    assert_eq!(all.sync.outage_patience, Some(std::time::Duration::from_mins(30)));
}

#[test]
fn the_values_of_the_example_are_the_defaults() {
    for key in KEYS.iter().filter(|key| !NO_DEFAULT.contains(key)) {
        let (text, _) = uncommented(|name| name == *key);
        assert_eq!(picture(settings(&text)), picture(settings("")), "{key}");
    }
}

#[test]
fn the_unit_leaves_room_for_the_program_s_own_limits() {
    let unit = shipped("systemd/tink-sync.service");
    let written = unit.lines().find_map(|line| line.strip_prefix("TimeoutStartSec=")).unwrap();
    let stopped = humantime::parse_duration(written).unwrap();
    let own = settings("").sync.deadline + std::time::Duration::from_mins(30);
    assert!(own < stopped && stopped < std::time::Duration::from_hours(6));
}

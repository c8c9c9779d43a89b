//! What is shipped beside the program agrees with it: the message catalog, the alert rules, the dashboard.
//! Reads them as text; whether Prometheus and journald accept them is for their own tools to say.

use std::collections::{BTreeMap, BTreeSet};

use clap::Parser as _;
use serde_json::Value;
use tink_sync::cli::Cli;
use tink_sync::domain::hook::HookKind;
use tink_sync::domain::outcome::{Outcome, Reason};
use tink_sync::exit::Exit;

use crate::harness::{World, plain, quoted};
use crate::stored::only_on_sqlite;

const JOURNAL: &str = include_str!("../../src/observe/journal.rs");
const CATALOG: &str = include_str!("../../systemd/tink-sync.catalog");
const ALERTS: &str = include_str!("../../packaging/monitoring/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../packaging/monitoring/alerts_test.yml");
const DASHBOARD: &str = include_str!("../../packaging/monitoring/dashboard.json");
const README: &str = include_str!("../../packaging/monitoring/README.md");

/// Written by the unit that reports failures, not by the program's events.
const UNIT_FAILED: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a0a";
const UNIT_FAILED_FIELDS: [&str; 4] = ["TINK_UNIT", "TINK_RESULT", "TINK_EXIT_CODE", "TINK_INVOCATION_ID"];

/// The records of the source: message id, and the fields that each of them always has.
fn records() -> BTreeMap<String, BTreeSet<String>> {
    let constants = JOURNAL.lines().filter_map(|line| line.strip_prefix("const ")?.split_once(": &str = \""));
    let ids: Vec<_> = constants.map(|(name, id)| (name, id.trim_end_matches("\";"))).collect();
    assert!(ids.iter().all(|(_, id)| is_id(id)), "not a message id: {ids:?}");
    let mut records: BTreeMap<String, BTreeSet<String>> =
        ids.iter().map(|(name, id)| ((*id).to_owned(), fields_of(name))).collect();
    assert_eq!(records.len(), ids.len(), "an id is there twice");
    records.entry(UNIT_FAILED.to_owned()).or_insert_with(|| UNIT_FAILED_FIELDS.map(str::to_owned).into());
    records
}

/// The fields of the record with this constant, without those that are left out when they are none.
fn fields_of(constant: &str) -> BTreeSet<String> {
    let place = format!("message_id = {constant},");
    let (_, rest) = JOURNAL.split_once(&place).unwrap_or_else(|| panic!("nothing writes {constant}"));
    let fields = rest.split('"').next().unwrap().split("tink.").skip(1);
    let always = fields.filter(|field| !field.contains(".as_deref()") && !field.contains(".map("));
    always.map(|field| format!("TINK_{}", field.split_once(" =").unwrap().0.to_uppercase())).collect()
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

/// The entries of the catalog, by id.
fn catalog() -> BTreeMap<String, String> {
    let entries: Vec<(&str, &str)> =
        CATALOG.split("\n-- ").skip(1).map(|entry| entry.split_once('\n').unwrap()).collect();
    let by_id: BTreeMap<String, String> =
        entries.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect();
    assert_eq!(by_id.len(), entries.len(), "an entry is there twice");
    by_id
}

/// What stands between two marks, such as `@FIELD@`, all through a text.
fn between(text: &str, mark: char) -> impl Iterator<Item = &str> {
    text.split(mark).skip(1).step_by(2)
}

#[test]
fn every_record_has_its_entry_in_the_catalog_and_none_is_left_over() {
    let (records, catalog) = (records(), catalog());
    assert!(records.len() >= 10, "{records:?}");
    assert_eq!(catalog.keys().collect::<Vec<_>>(), records.keys().collect::<Vec<_>>());
}

#[test]
fn entries_use_only_fields_that_their_record_always_has() {
    let records = records();
    for (id, text) in catalog() {
        let used: BTreeSet<String> = between(&text, '@').map(str::to_owned).collect();
        let strange: Vec<_> = used.difference(&records[&id]).collect();
        assert!(strange.is_empty(), "{id}: {strange:?} is not in {:?}", records[&id]);
    }
}

#[test]
fn entries_have_the_form_that_journald_wants() {
    assert!(CATALOG.ends_with('\n') && !CATALOG.ends_with("\n\n"));
    let long: Vec<_> = CATALOG.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(long.is_empty(), "{long:#?}");
    for (id, text) in catalog() {
        let head: Vec<_> = text.lines().take(5).collect();
        let expected =
            ["Subject: ", "Defined-By: tink-sync", "Support: man:tink-sync(1)", "Documentation: man:", ""];
        assert!(head.iter().zip(expected).all(|(line, start)| line.starts_with(start)), "{id}: {head:#?}");
        assert_eq!(head[4], "", "{id}: a blank line ends the head");
        assert!(text.matches('@').count() % 2 == 0, "{id}: an @ is alone");
    }
}

#[test]
fn the_catalog_explains_every_outcome_reason_and_exit_code() {
    let catalog = catalog();
    let entry = |end: &str| catalog.iter().find(|(id, _)| id.ends_with(end)).unwrap().1;
    let words = |text: &str| -> BTreeSet<String> {
        let separates = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        text.split(separates).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let connection = words(entry("2a02"));
    for outcome in Outcome::ALL {
        assert!(connection.contains(outcome.as_str()), "{outcome}");
    }
    let either = words(&format!("{}\n{}", entry("2a02"), entry("2a03")));
    for reason in Reason::ALL {
        assert!(either.contains(reason.as_str()), "{reason}");
    }
    // The code of a run stands with the end of the pass, or with the failure of the unit.
    let either = words(&format!("{}\n{}", entry("2a04"), entry("2a0a")));
    for exit in Exit::ALL {
        assert!(either.contains(&exit.code().to_string()), "{exit:?}");
    }
}

#[test]
fn every_kind_of_event_has_its_places_and_is_described() {
    let places = include_str!("../../systemd/tmpfiles.conf");
    let manual = include_str!("../../README.md");
    let example = include_str!("../../tink-sync.toml.example");
    for kind in HookKind::ALL {
        for place in ["hooks", "hooks/failed"] {
            let line = format!("d /var/lib/tink-sync/{place}/{kind} 2770 tink-sync tink-sync-hook - -\n");
            assert!(places.contains(&line), "no place: {line}");
        }
        assert!(manual.contains(&format!("\n| `{kind}` | ")), "{kind} is not in the README");
        assert!(example.contains(kind.as_str()), "{kind} is not in the example");
    }
}

#[test]
fn every_command_that_is_advised_exists() {
    let mut seen = 0;
    for text in [CATALOG, ALERTS, README] {
        for command in text.split("sudo tink-sync ").skip(1) {
            let end = command.find(['`', '\n', ')']).unwrap();
            // journald puts the kind of the event there.
            let command = command[..end].replace("@TINK_EVENT@", "recovered");
            let words = ["tink-sync"].into_iter().chain(command.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{command}: {error}");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
}

/// The metrics of a real pass, as text.
fn exported() -> String {
    let world = World::new(plain(1));
    let file = world.path("tink_sync.prom");
    let world = world.set("report.metrics_file", &quoted(&file.display().to_string()));
    world.run(&[]).expect(0);
    std::fs::read_to_string(file).unwrap()
}

/// The names of the metrics in a text of the exposition format.
fn families(exported: &str) -> BTreeSet<String> {
    let types = exported.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Every metric of ours in a text, with what follows its name.
fn named(text: &str) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices("tink_sync_") {
        let rest = &text[start..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        found.push((rest[..end].to_owned(), &rest[end..]));
    }
    found
}

/// The values that a selector such as `{within="7d"}` wants of our own labels.
fn wanted(selector: &str) -> Vec<(String, String)> {
    let Some(inside) = selector.strip_prefix('{').and_then(|rest| rest.split('}').next()) else {
        return Vec::new();
    };
    let inside = inside.replace("\\\"", "\"");
    let mut wanted = Vec::new();
    for part in inside.split(", ") {
        let (label, values) = part.split_once('=').unwrap();
        let values = values.trim_start_matches('~').trim_matches('"');
        let label = label.trim_end_matches('!');
        if !["instance", "job"].contains(&label) {
            wanted.extend(values.split('|').map(|value| (label.to_owned(), value.to_owned())));
        }
    }
    wanted
}

#[test]
fn rules_and_dashboard_name_only_what_is_exported() {
    only_on_sqlite!("the metrics of the log beside a file are not those of a server");
    let exported = exported();
    let families = families(&exported);
    let mut selected = 0;
    for (file, text) in [("alerts", ALERTS), ("their tests", ALERTS_TEST), ("dashboard", DASHBOARD)] {
        for (name, rest) in named(text) {
            assert!(families.contains(&name), "{file}: {name} is not in {families:?}");
            for (label, value) in wanted(rest) {
                let sample = format!("{name}{{{label}=\"{value}\"}} ");
                assert!(exported.contains(&sample), "{file}: no {sample}in\n{exported}");
                selected += 1;
            }
        }
    }
    assert!(selected > 20, "only {selected} selections were found");
}

#[test]
fn every_metric_is_on_the_dashboard() {
    only_on_sqlite!("the metrics of the log beside a file are not those of a server");
    let shown: BTreeSet<String> = named(&expressions().concat()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(shown, families(&exported()));
}

#[test]
fn every_alert_is_complete_and_tested() {
    let alerts: Vec<&str> = ALERTS.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 10, "{}", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for part in [" expr: ", " for: ", " severity: ", " summary: ", " description: "] {
            assert_eq!(alert.matches(part).count(), 1, "{name}:{part}");
        }
        let severity = alert.split(" severity: ").nth(1).unwrap().lines().next().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        let advice = ["tink-sync status", "tink-sync why ID", "tink-sync check", "journalctl "];
        assert!(advice.iter().any(|command| alert.contains(command)), "{name} says nothing to do");
        // Both ways: it fires, and it does not.
        let tests: Vec<_> =
            ALERTS_TEST.split(&format!("alertname=\"{name}\", alertstate=\"firing\"}}\n")).skip(1).collect();
        let silent = tests.iter().filter(|test| second_line(test).ends_with("exp_samples: []"));
        assert!(silent.clone().count() > 0 && silent.count() < tests.len(), "{name} is not tested both ways");
    }
}

fn second_line(text: &str) -> &str {
    text.lines().nth(1).unwrap_or_default()
}

#[test]
fn message_ids_in_the_alerts_are_those_of_records() {
    let records = records();
    let ids: Vec<_> = ALERTS.split("MESSAGE_ID=").skip(1).map(|rest| &rest[..32]).collect();
    assert!(!ids.is_empty());
    for id in ids {
        assert!(records.contains_key(id), "{id}");
    }
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

fn panels() -> Vec<Value> {
    dashboard()["panels"].as_array().unwrap().clone()
}

fn expressions() -> Vec<String> {
    let panels = panels();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn panels_have_ids_of_their_own_and_do_not_overlap() {
    let panels = panels();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeMap::new();
    for panel in &panels {
        let title = panel["title"].as_str().unwrap();
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(at("w") > 0 && at("h") > 0 && at("x") + at("w") <= 24, "{title} is outside of the grid");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                let other = taken.insert((x, y), title);
                assert_eq!(other, None, "{title} lies over it");
            }
        }
    }
}

#[test]
fn panels_are_described_and_follow_the_variables() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<_> = variables.iter().map(|v| (v["name"].as_str(), v["type"].as_str())).collect();
    assert_eq!(variables, [(Some("datasource"), Some("datasource")), (Some("instance"), Some("query"))]);
    for panel in panels().iter().filter(|panel| panel["type"] != "row") {
        let title = &panel["title"];
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    for expression in expressions() {
        let metrics = named(&expression).len() + expression.matches("node_textfile_mtime_seconds").count();
        assert_eq!(expression.matches("instance=~\"$instance\"}").count(), metrics, "{expression}");
    }
}

/// The numbers of the thresholds anywhere below.
fn thresholds(value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Object(fields) => {
            if let Some(steps) = fields.get("steps").and_then(Value::as_array) {
                found.extend(steps.iter().filter_map(|step| step["value"].as_f64()));
            }
            fields.values().for_each(|field| thresholds(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| thresholds(item, found)),
        _ => {}
    }
}

#[test]
fn thresholds_of_the_dashboard_are_limits_of_the_alerts() {
    let limits: Vec<f64> = ALERTS
        .split("> ")
        .skip(1)
        .filter_map(|rest| {
            let line = rest.lines().next().unwrap();
            let (number, hours) = line.strip_suffix(" * 3600").map_or((line, 1.0), |hours| (hours, 3600.0));
            number.parse::<f64>().ok().map(|number| number * hours)
        })
        // More than none is one, where whole things are counted.
        .map(|limit| if limit == 0.0 { 1.0 } else { limit })
        .collect();
    let mut found = Vec::new();
    thresholds(&dashboard(), &mut found);
    assert!(found.len() > 5, "{found:?}");
    for threshold in found {
        assert!(limits.contains(&threshold), "{threshold} is not in {limits:?}");
    }
}

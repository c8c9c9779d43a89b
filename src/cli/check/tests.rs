//! Checks of set-ups, good and bad.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::cli::fixture::{self, Fixture};
use crate::domain::outcome::Outcome;

/// The exit code and all output.
fn checked(env: &Environment, offline: bool) -> (Exit, String) {
    let mut text = String::new();
    let mut write = |more: &str| {
        text.push_str(more);
        Ok(())
    };
    let exit = check(env, &Args { offline, format: Format::Human }, &mut write).unwrap();
    (exit, text)
}

fn grades(findings: &[Finding]) -> Vec<(&'static str, Grade)> {
    findings.iter().map(|finding| (finding.what, finding.grade)).collect()
}

#[test]
fn without_secrets_only_an_offline_check_passes() {
    let fixture = Fixture::new();
    let env = fixture.env();
    assert_eq!(checked(&env, true).0, Exit::Success);
    let (exit, text) = checked(&env, false);
    assert_eq!(exit, Exit::Configuration);
    assert!(text.contains("FAIL  client secret: ") && text.ends_with("2 failures to fix.\n"), "{text}");
    assert!(!fixture.path("store.db").exists(), "a check makes no store");
}

#[test]
fn a_secret_open_to_others_fails_with_the_remedy() {
    let fixture = Fixture::new();
    let file = fixture.path("secret");
    std::fs::write(&file, "hidden\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let fixture =
        Fixture::with(&format!("[tink]\nclient_id = \"i\"\nclient_secret_file = \"{}\"\n", file.display()));
    let findings = settings::secrets(&fixture.env(), true, None);
    let open = findings.iter().find(|finding| finding.what == "permissions").unwrap();
    assert_eq!(open.grade, Grade::Fail(Exit::Configuration));
    assert!(open.remedy.as_deref().unwrap().contains("chmod 600"), "{open:?}");
    assert!(!format!("{findings:?}").contains("hidden"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let all_ok = [("client id", Grade::Ok), ("client secret", Grade::Ok), ("permissions", Grade::Ok)];
    assert_eq!(grades(&settings::secrets(&fixture.env(), false, None)), all_ok);
}

#[test]
fn a_store_is_judged_without_touching_it() {
    let fixture = Fixture::new();
    let env = fixture.env();
    assert!(store::findings(&env)[0].text.ends_with("will be created by the first run"));
    std::fs::write(
        fixture.path("store.db"),
        "no database at all, but long enough to be looked at".repeat(40),
    )
    .unwrap();
    assert_eq!(store::findings(&env)[0].grade, Grade::Fail(Exit::Database));
    std::fs::remove_file(fixture.path("store.db")).unwrap();
    fixture.add(&["c"]);
    assert!(
        store::findings(&env)[0].text.ends_with("of this release, and writable"),
        "{:?}",
        store::findings(&env)
    );
    let mut elsewhere = fixture.env();
    elsewhere.settings.store.url = crate::store::Place::Sqlite(fixture.path("no/where/store.db"));
    let finding = store::findings(&elsewhere).remove(0);
    assert_eq!(finding.grade, Grade::Fail(Exit::Database));
    assert!(finding.remedy.unwrap().contains("install -d"));
}

#[test]
fn of_a_server_no_file_is_looked_at() {
    let mut env = Fixture::new().env();
    env.settings.store.url = fixture::server();
    let [refused] = &store::findings(&env)[..] else { panic!("{:?}", store::findings(&env)) };
    assert!(matches!(refused.grade, Grade::Fail(_)), "{refused:?}");
    assert!(refused.text.contains("postgres://app@127.0.0.1:1/bank"), "{refused:?}");
    let said = format!("{refused:?}");
    assert!(
        !["fuser", "install -d", "chmod", "its directory"].iter().any(|word| said.contains(word)),
        "{said}"
    );
    assert!(log::look(env.place()).is_none(), "there is no log beside it");
}

#[test]
fn connections_are_counted_by_kind() {
    let fixture = Fixture::new();
    fixture.add(&["a", "b", "c", "d"]);
    fixture.tables().set_enabled("a", false, &fixture::act()).unwrap();
    fixture.pass(&[("b", Outcome::Synced, None)], 0);
    fixture.later(1);
    let (findings, someone) =
        source::findings(&fixture.env(), true, fixture.env().reader_if_there().unwrap().as_ref());
    assert_eq!(findings[0].text, "4 in all: 3 enabled and entitled, 1 disabled; about 2 due now");
    assert_eq!(someone.unwrap().0, "b", "one that worked before");
}

#[test]
fn a_view_that_is_missing_is_a_mistake_of_the_configuration() {
    let fixture = Fixture::with("[source]\nview = \"app_view\"\n");
    fixture.add(&["a"]);
    let (findings, someone) =
        source::findings(&fixture.env(), true, fixture.env().reader_if_there().unwrap().as_ref());
    assert_eq!((findings[0].grade, someone), (Grade::Fail(Exit::Configuration), None));
    assert!(findings[0].text.contains("app_view"), "{findings:?}");
    assert_eq!(checked(&fixture.env(), true).0, Exit::Configuration);
}

#[test]
fn the_first_failure_decides_the_exit_code() {
    let mut write = |_: &str| Ok(());
    let mut checks = Checks::new(false, true, Format::Human, &mut write);
    checks.findings.push(Finding::warn("a", "x", "y"));
    assert_eq!((checks.exit(), checks.closing()), (Exit::Success, "Nothing fails; 1 warning.\n".to_owned()));
    checks.findings.push(Finding::fail(Exit::Database, "b", "x"));
    checks.findings.push(Finding::fail(Exit::Refused, "c", "x"));
    assert_eq!(
        (checks.exit(), checks.closing()),
        (Exit::Database, "2 failures to fix, 1 warning.\n".to_owned())
    );
    assert_eq!(Finding::warn("a", "x", "y").show(false), "warn  a: x\n      y\n");
}

#[test]
fn the_shipped_example_is_accepted() {
    let text = include_str!("../../../tink-sync.toml.example");
    let fixture = Fixture::new();
    std::fs::write(fixture.path("example.toml"), text).unwrap();
    let mut env = fixture.env();
    env.settings = crate::config::load(&fixture.path("example.toml"), &|_: &str| None).unwrap();
    env.settings.store.url = crate::store::Place::Sqlite(fixture.path("tink-sync.db"));
    assert_eq!(checked(&env, true).0, Exit::Success);
}

#[test]
fn the_findings_come_as_json_too() {
    let fixture = Fixture::new();
    let mut text = String::new();
    let mut write = |more: &str| {
        text.push_str(more);
        Ok(())
    };
    let exit = check(&fixture.env(), &Args { offline: true, format: Format::Json }, &mut write).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["schema"], &json["exit_code"]), (&1.into(), &exit.code().into()));
    let client_id = &json["findings"][1];
    assert_eq!((&client_id["check"], &client_id["grade"]), (&"client id".into(), &"warn".into()));
    assert!(client_id["remedy"].as_str().unwrap().contains("tink.client_id"));
}

#[test]
fn long_findings_are_wrapped_and_remedies_stay_on_their_line() {
    let long = "word ".repeat(40);
    let text = Finding::warn("a", long.clone(), long.trim()).show(false);
    let (remedy, lines): (Vec<_>, Vec<_>) =
        text.lines().partition(|line| line.chars().count() > table::WIDTH);
    assert_eq!(remedy, [format!("      {}", long.trim())]);
    assert!(
        lines.len() > 2 && lines[0].starts_with("warn  a: word") && lines[1].starts_with("      word"),
        "{text}"
    );
}

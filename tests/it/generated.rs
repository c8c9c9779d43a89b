//! What the program makes for packages: man pages and completions. And what the failure unit says.

use std::fs;
use std::process::Command;

use crate::harness::Ran;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tink-sync"));
    // Neither configuration nor service user are needed.
    command.env_clear().args(["--config", "/nowhere/tink-sync.toml"]);
    command
}

fn generated(what: &str) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    Ran::of(program().args(["generate", what, &path]).output().unwrap()).expect(0);
    let mut files: Vec<(String, String)> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The commands that `--help` shows.
fn commands() -> Vec<String> {
    let help = Ran::of(program().arg("--help").output().unwrap()).stdout;
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = list.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    names.filter(|name| name != "help").collect()
}

#[test]
fn every_command_has_a_man_page_that_the_first_page_names() {
    let pages = generated("man");
    let page = |name: &str| {
        let found = pages.iter().find(|(file, _)| file == name).unwrap_or_else(|| panic!("no {name}"));
        found.1.as_str()
    };
    let first = page("tink-sync.1").replace("\\-", "-");
    assert!(commands().len() >= 6);
    for command in commands() {
        let own = page(&format!("tink-sync-{command}.1"));
        let title = format!(".TH \"TINK-SYNC-{}\" \"1\" ", command.to_uppercase());
        assert!(own.starts_with(&title), "{own}");
        assert!(first.contains(&format!("tink-sync-{command}(1)")), "{command}");
    }
    assert!(pages.iter().any(|(file, _)| file == "tink-sync-connections-add.1"));
    assert!(!pages.iter().any(|(file, _)| file.contains("generate") || file.contains("report")));
    for exit in tink_sync::exit::Exit::ALL {
        assert!(first.contains(&format!("\\fB{}\\fR", exit.code())), "{exit:?}");
    }
    let settings = page("tink-sync.toml.5").replace("\\-", "-");
    for key in tink_sync::config::KEYS {
        assert!(settings.contains(&format!("\\fB{key} = ")), "{key}");
    }
    for (file, text) in &pages {
        assert!(text.is_ascii(), "{file} needs an encoding");
        let own: &[&str] = if file.ends_with(".5") { &[] } else { &["EXAMPLES", "\"EXIT STATUS\""] };
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "\"SEE ALSO\""].iter().chain(own) {
            assert!(text.contains(&format!("\n.SH {section}\n")), "{file} has no {section}");
        }
    }
    let forget = page("tink-sync-connections-enable.1").replace("\\-", "-");
    assert!(forget.contains("\n\\fBtink-sync connections enable\\fR "), "{forget}");
    assert!(forget.contains("tink-sync-connections(1), tink-sync(1)"), "{forget}");
    assert_eq!(pages, generated("man"), "the same program makes the same pages");
}

#[test]
fn every_page_of_ours_that_is_named_exists() {
    let pages = generated("man");
    let named = |word: &str| {
        let (name, section) = word.trim_end_matches(['.', ',', ';']).strip_suffix(')')?.split_once('(')?;
        name.starts_with("tink-sync").then(|| format!("{name}.{section}"))
    };
    let mut seen = 0;
    for (file, text) in &pages {
        for wanted in text.replace("\\-", "-").split_whitespace().filter_map(named) {
            assert!(pages.iter().any(|(file, _)| *file == wanted), "{file} names {wanted}");
            seen += 1;
        }
    }
    assert!(seen > pages.len());
}

#[test]
fn completions_know_every_command_and_none_that_is_hidden() {
    let files = generated("completions");
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["_tink-sync", "tink-sync.bash", "tink-sync.fish"]);
    for (name, text) in &files {
        for command in commands() {
            assert!(text.contains(&command), "{command} in {name}");
        }
        assert!(!text.contains("report-failure") && !text.contains("generate"), "{name}");
    }
}

#[test]
fn a_failed_unit_is_told_of_with_the_next_command_to_type() {
    let report = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = program();
        command
            .args(["report-failure", "--unit", "tink-sync.service"])
            .args(args)
            .envs(variables.iter().copied());
        Ran::of(command.output().unwrap())
    };
    let variables = [
        ("MONITOR_SERVICE_RESULT", "exit-code"),
        ("MONITOR_EXIT_STATUS", "78"),
        ("MONITOR_INVOCATION_ID", "0a1b"),
    ];
    let ran = report(&variables, &["--text"]).expect(0);
    for said in [
        "tink-sync.service failed: ",
        "exit status 78",
        "sudo tink-sync check",
        "_SYSTEMD_INVOCATION_ID=0a1b",
    ] {
        assert!(ran.stdout.contains(said) && ran.stderr.contains(said), "{ran:?}");
    }
    let silent = report(&variables, &[]).expect(0);
    assert!(silent.stdout.is_empty() && silent.stderr.contains("exit status 78"));
    assert!(report(&[], &["--text"]).expect(0).stdout.contains("systemd did not say how"));
    // What systemd passes on may come from anywhere.
    let odd = report(&[("MONITOR_SERVICE_RESULT", "\u{1b}[31mred\nline")], &["--text"]).expect(0);
    assert!(!odd.stdout.contains('\u{1b}') && odd.stdout.lines().count() == 1, "{}", odd.stdout);
}

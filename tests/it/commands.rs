//! What root is told to type, by documents, packages, units and the program itself: nothing of it acts as root below
//! a directory that another user owns, where that one may have laid a link or planted a view. Reads text only.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use tink_sync::cli::{Cli, Command};

/// Directories of other users that commands name; `{` stands for a path that the program fills in.
const OTHERS: [&str; 7] =
    ["/var/lib/tink-sync/", "/var/lib/myapp/", "/var/lib/prometheus/", "/home/", "failed/", "{", "$SPOOL"];
/// What root may be told to run; the tests below look at what it is given.
const PROGRAMS: [&str; 20] = [
    "/usr/bin/tink-sync",
    "apt",
    "cat",
    "chown",
    "dnf",
    "install",
    "journalctl",
    "loginctl",
    "rm",
    "sh",
    "sudoedit",
    "systemctl",
    "systemd-creds",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "tee",
    "tink-sync",
    "usermod",
    "…",
    "which",
];
/// What changes or follows a file; root is told to type it without `sudo`, too.
const CHANGERS: [&str; 13] = [
    "chgrp ", "chmod ", "chown ", "cp ", "dd ", "install ", "ln ", "mkdir ", "mv ", "rm ", "setfacl ",
    "tee ", "touch ",
];
/// These drop root's rights before they open a file.
const DROPS_ROOT: [&str; 2] = ["tink-sync", "/usr/bin/tink-sync"];

fn files(place: &Path, found: &mut Vec<PathBuf>) {
    if place.is_file() {
        return found.push(place.to_owned());
    }
    for entry in fs::read_dir(place).unwrap() {
        files(&entry.unwrap().path(), found);
    }
}

/// Every line that is shipped, printed or read by an operator, with the name of its file.
fn lines() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for place in ["README.md", "SECURITY.md", "tink-sync.toml.example", "packaging", "systemd", "src"] {
        files(&root.join(place), &mut found);
    }
    let mut lines = Vec::new();
    for path in found {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        // Neither tests nor what a line of shell goes on with on the next.
        let text = text.split("#[cfg(test)]").next().unwrap().replace("\\\n", " ");
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
        lines.extend(text.lines().filter(|_| !is_test).map(|line| (name.clone(), line.to_owned())));
    }
    lines
}

/// The commands in a line.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    line.split([';', '|', '&', '`', '(', ')']).map(|piece| piece.trim().trim_start_matches('"'))
}

/// What follows `sudo` in a command: as whom, and the words.
fn by_sudo(piece: &str) -> Option<(&str, Vec<&str>)> {
    let start = if piece.starts_with("sudo ") { 0 } else { piece.find(" sudo ")? + 1 };
    let mut words: Vec<&str> = piece[start..].split_whitespace().skip(1).collect();
    let mut user = "root";
    while words.first().is_some_and(|word| word.starts_with('-')) {
        if words.remove(0) == "-u" && !words.is_empty() {
            user = words.remove(0);
        }
    }
    Some((user, words))
}

fn is_others(word: &str) -> bool {
    OTHERS.iter().any(|place| word.trim_matches(['\'', '"', '<', '>']).starts_with(place))
}

/// What is wrong with a command, if anything is.
fn judge(name: &str, piece: &str) -> Option<&'static str> {
    if let Some((user, words)) = by_sudo(piece) {
        let program = words.first().copied().unwrap_or_default().trim_matches(['\'', ',', '.', ':']);
        // A sentence about sudo.
        let is_command = PROGRAMS.contains(&program) || words.iter().any(|word| word.starts_with('/'));
        if user != "root" {
            return (program == "sqlite3" && !is_safe(&words)).then_some("sqlite3 without -safe -readonly");
        }
        if program == "sqlite3" {
            return Some("sqlite3 as root");
        }
        if is_command && !PROGRAMS.contains(&program) {
            return Some("a program that nobody has thought about");
        }
        let looks = !DROPS_ROOT.contains(&program) && !words.contains(&"-h");
        return (looks && words.iter().any(|word| is_others(word)))
            .then_some("root in a directory of others");
    }
    let (verb, rest) = CHANGERS.iter().find_map(|verb| {
        let is_it = piece.starts_with(*verb) || piece.contains(&format!(": {verb}"));
        Some((*verb, piece.split_once(*verb)?.1)).filter(|_| is_it)
    })?;
    // The one place that knows how; and a directory of root's own.
    let knows = name == "src/identity.rs" || verb == "install " && rest.starts_with("-d ");
    (!knows && rest.split_whitespace().any(is_others)).then_some("root changes a file of others")
}

/// Whether what `sqlite3` is to do runs nothing that was planted in the file. Two commands of its own refuse
/// `-safe`: they copy pages, and run neither views nor functions.
fn is_safe(words: &[&str]) -> bool {
    let copies = words.iter().any(|word| [".backup", ".recover"].contains(&word.trim_matches(['"', '\\'])));
    copies || (words.contains(&"-safe") && words.contains(&"-readonly"))
}

#[test]
fn nothing_that_root_is_told_to_type_acts_where_others_may_lay_a_link() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for (name, line) in lines() {
        for piece in pieces(&line) {
            tried += usize::from(by_sudo(piece).is_some());
            if let Some(problem) = judge(&name, piece) {
                wrong.push(format!("{name}: {problem}: {piece}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(tried > 150, "only {tried} commands were found");
}

#[test]
fn what_must_not_be_told_is_noticed() {
    for bad in [
        "sudo sqlite3 -readonly /var/lib/tink-sync/tink-sync.db",
        "sudo -u tink-sync sqlite3 -readonly /var/lib/tink-sync/tink-sync.db 'SELECT 1'",
        "sudo tee /var/lib/tink-sync/hooks/needs-user/test.json",
        "sudo install -o tink-sync -m 640 backup.db /var/lib/tink-sync/tink-sync.db",
        "sudo rm -f /var/lib/tink-sync/tink-sync.db-wal",
        "sudo setfacl -m u:tink-sync:r /var/lib/myapp/app.db",
        "sudo vi /var/lib/tink-sync/notes",
        "mv failed/needs-user/* needs-user/",
        "to tell them again: mv {}/* {}/",
        "chown tink-sync: {shown}",
    ] {
        assert!(pieces(bad).any(|piece| judge("README.md", piece).is_some()), "{bad}");
    }
    for good in [
        "sudo -u tink-sync sqlite3 -safe -readonly /var/lib/tink-sync/tink-sync.db 'SELECT 1'",
        "sudo install -m 755 hook-mail /etc/tink-sync/hooks/needs-user",
        "sudo tink-sync export > all.csv",
        "sudo -u myapp setfacl -m u:tink-sync:r /var/lib/myapp/app.db",
    ] {
        assert!(pieces(good).all(|piece| judge("README.md", piece).is_none()), "{good}");
    }
}

#[test]
fn every_documented_command_of_the_program_gives_root_up() {
    let mut stays = Vec::new();
    for (name, line) in lines() {
        for piece in pieces(line.split(" #").next().unwrap()) {
            let Some(("root", words)) = by_sudo(piece) else { continue };
            if !words.first().is_some_and(|word| DROPS_ROOT.contains(word)) {
                continue;
            }
            let call = words.iter().map(|word| word.trim_matches(['\'', '"', ',', '.']));
            let end: Vec<&str> = call.take_while(|word| !["<", ">"].contains(word)).collect();
            let Ok(cli) = Cli::try_parse_from(end) else { continue };
            match cli.command {
                // The timer's changes a unit, in a directory of root's.
                Command::Service(_) | Command::Hook(_) | Command::Timer(_) => {}
                other => stays.push(format!("{name}: {other:?}")),
            }
        }
    }
    assert_eq!(stays, Vec::<String>::new());
}

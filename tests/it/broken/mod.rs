//! Set-ups that are broken on purpose, each for real: `check` finds what is wrong, names it and the remedy, ends
//! with the code of the area, and neither changes nor makes anything.

mod data;
mod settings;
mod tink;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tink_sandbox::Config;

use crate::harness::{Ran, World, private, small};
use crate::permissions::bound;

/// What the check has to say.
#[derive(Clone, Copy)]
struct Told {
    /// `FAIL` or `warn`.
    grade: &'static str,
    check: &'static str,
    /// The thing.
    text: &'static str,
    /// A command, a key, or where to look.
    remedy: &'static str,
    code: i32,
}

fn fails(code: i32, check: &'static str, text: &'static str, remedy: &'static str) -> Told {
    Told { grade: "FAIL", check, text, remedy, code }
}

fn warns(check: &'static str, text: &'static str, remedy: &'static str) -> Told {
    Told { grade: "warn", check, text, remedy, code: 0 }
}

/// How a set-up is broken, and what must be said of it.
type Case = (&'static str, fn(World) -> World, Told);

/// Every file below a directory, with its mode and content; not what SQLite keeps beside a store for its readers.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        if path.is_dir() {
            all.extend(snapshot(&path));
            all.insert(path, (mode, Vec::new()));
        } else {
            let content = fs::read(&path).unwrap();
            let name = path.to_string_lossy();
            if !(name.ends_with("-shm") || (name.ends_with("-wal") && content.is_empty())) {
                all.insert(path, (mode, content));
            }
        }
    }
    all
}

/// Fails unless `check` says it, to people and to machines, and leaves everything as it is.
fn assert_told(name: &str, world: &World, told: Told, run: impl Fn(&[&str]) -> Option<Ran>) {
    let before = snapshot(world.dir.path());
    let Some(ran) = run(&["check", "--format", "json"]) else { return };
    let report = &ran.lines[0];
    assert_eq!((ran.code, &report["exit_code"]), (told.code, &told.code.into()), "{name}: {ran:?}");
    let is_it = |finding: &Value| {
        finding["check"] == told.check
            && finding["grade"] == told.grade.to_ascii_lowercase()
            && finding["text"].as_str().unwrap().contains(told.text)
            && finding["remedy"].as_str().is_some_and(|remedy| remedy.contains(told.remedy))
    };
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(is_it), "{name}: {findings:#?}");
    let human = run(&["check"]).unwrap().expect(told.code).stdout;
    let line = format!("{}  {}: ", told.grade, told.check);
    assert!(human.lines().any(|text| text.starts_with(&line)), "{name}: {human}");
    assert!(
        human.lines().any(|text| text.starts_with("      ") && text.contains(told.remedy)),
        "{name}: {human}"
    );
    assert!(!human.contains("All is well"), "{name}: {human}");
    let after = snapshot(world.dir.path());
    let changed: Vec<_> = after
        .iter()
        .filter(|(path, file)| before.get(*path) != Some(file))
        .map(|(path, _)| path)
        .chain(before.keys().filter(|path| !after.contains_key(*path)))
        .collect();
    assert!(changed.is_empty(), "{name}: the check changed {changed:?}");
}

fn assert_all(cases: &[Case]) {
    for (name, broken, told) in cases {
        let world = broken(made(small(3)));
        assert_told(name, &world, *told, |args| Some(world.cli(args)));
    }
}

/// The same as somebody whom file permissions bind.
fn assert_bound(cases: &[Case]) {
    for (name, broken, told) in cases {
        let world = broken(passed());
        // The first call gives everything to that somebody, and is no part of what is looked at.
        if bound(&world, &["--version"]).is_none() {
            return;
        }
        assert_told(name, &world, *told, |args| bound(&world, args));
    }
}

fn write(world: &World, name: &str, text: &str) {
    fs::write(world.path(name), text).unwrap();
    private(&world.path(name));
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A world whose application keeps no write-ahead log: beside one, any reader that may write there leaves files.
fn made(config: Config) -> World {
    let world = World::new(config);
    world.app("PRAGMA journal_mode = delete;");
    world
}

/// A world after a good pass.
fn passed() -> World {
    let world = made(small(3));
    world.run(&[]).expect(0);
    world
}

#[test]
fn a_healthy_set_up_is_well_and_stays_as_it_is() {
    for world in [made(small(3)), passed()] {
        let before = snapshot(world.dir.path());
        let ran = world.cli(&["check"]).expect(0);
        assert!(ran.stdout.ends_with("All is well.\n"), "{}", ran.stdout);
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
        assert!(ran.stdout.contains("3 in all: 3 enabled and entitled"), "{}", ran.stdout);
        assert!(world.cli(&["check", "--quiet"]).expect(0).stdout.is_empty());
        assert!(snapshot(world.dir.path()) == before, "the check changed something");
    }
}

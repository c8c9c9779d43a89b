//! Reads the sources and fails where a module uses what it must not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

mod arrows;

/// A source without the items that are only for tests: each ends with its line, or at the `}` of its indentation.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() != "#[cfg(test)]" {
            kept.extend([line, "\n"]);
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &str| {
            line.strip_prefix(indent).is_some_and(|item| {
                !item.starts_with(' ') && (item.starts_with('}') || item.ends_with([';', ',', '}']))
            })
        };
        let _last = lines.find(|line| ends(line));
    }
    kept
}

#[test]
fn only_the_items_for_tests_are_hidden_from_these_rules() {
    let source = "\
mod one;
#[cfg(test)]
mod tests;
impl One {
    #[cfg(test)]
    pub fn kinds(
        &self,
    ) -> Kinds {
        if self.is_empty() {
            none();
        }
    }

    fn seen() {}
}
struct Two {
    #[cfg(test)]
    calls: u32,
    also_seen: u32,
}
#[cfg(test)]
#[derive(Debug)]
struct Unit;
#[cfg(test)]
mod tests {
    fn hidden() {}
}
fn seen_at_the_end() {}
";
    let seen = "\
mod one;
impl One {

    fn seen() {}
}
struct Two {
    also_seen: u32,
}
fn seen_at_the_end() {}
";
    assert_eq!(without_tests(source), seen);
}

/// Production sources below `src`, by their places there.
fn sources() -> Vec<(PathBuf, String)> {
    fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let text = without_tests(&text);
        (path.strip_prefix(&root).unwrap().to_owned(), text)
    };
    let is_test = |path: &PathBuf| {
        path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs")
    };
    files.into_iter().filter(|path| !is_test(path)).map(read).collect()
}

/// Lines of code (no comments) of the files below `place` that contain one of `words`.
fn offenders(place: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources() {
        if !path.starts_with(place) {
            continue;
        }
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let bad = lines.filter(|line| words.iter().any(|word| line.contains(word)));
        found.extend(bad.map(|line| format!("{}: {}", path.display(), line.trim())));
    }
    found
}

/// What each module uses of the others: the map of `lib.rs`. Only `cli` uses what it likes.
const MAP: [(&str, &[&str]); 16] = [
    ("atomic_file", &["failpoint", "identity"]),
    ("clock", &[]),
    ("config", &["domain", "identity", "store"]),
    ("domain", &[]),
    ("exit", &["config", "domain", "failure", "file_limit", "store", "sync", "tink"]),
    ("failpoint", &[]),
    ("failure", &["config", "file_limit", "store", "tink"]),
    ("file_limit", &[]),
    ("identity", &[]),
    ("lifecycle", &["exit"]),
    ("link", &["domain"]),
    ("observe", &["atomic_file", "domain", "exit", "failpoint"]),
    ("store", &["domain", "failpoint", "file_limit", "identity", "vault"]),
    ("sync", &["clock", "domain", "store", "tink", "vault"]),
    ("tink", &["clock", "domain"]),
    ("vault", &[]),
];

/// The modules of the crate that a source names, its own left out.
fn named_modules(own: &str, text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let paths = code.flat_map(|line| line.split("crate::").skip(1));
    let name = |path: &str| path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
    paths.map(name).filter(|name| name != own).collect()
}

#[test]
fn each_module_uses_what_the_map_says_and_nothing_else() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let top = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        used.entry(top.to_owned()).or_default().extend(named_modules(top, &text));
    }
    // The roots of the program and the library only name the modules.
    used.retain(|name, _| !["cli", "lib", "main"].contains(&name.as_str()));
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let allowed: BTreeMap<String, BTreeSet<String>> =
        MAP.iter().map(|(name, names)| ((*name).to_owned(), set(names))).collect();
    assert_eq!(used, allowed);
    // Where a database lies is a value like others, and is checked as such.
    let mut of_store = offenders("config", &["crate::store"]);
    of_store.retain(|line| !line.ends_with(": use crate::store::Place;"));
    assert_eq!(of_store, Vec::<String>::new());
    assert_eq!(offenders("sync", &["engine::"]), Vec::<String>::new());
}

#[test]
fn each_outside_crate_has_one_place() {
    for (name, home) in
        [("reqwest::", "tink"), ("h2::", "tink"), ("rusqlite", "store"), ("tracing_journald", "observe")]
    {
        let strays: Vec<String> = sources()
            .into_iter()
            .filter(|(path, text)| !path.starts_with(home) && text.contains(name))
            .map(|(path, _)| path.display().to_string())
            .collect();
        assert_eq!(strays, Vec::<String>::new(), "{name} belongs into {home}");
    }
    // What hyper says of a request that was not processed is looked at where errors are made.
    let hyper = |path: &Path| path.starts_with("link") || path == Path::new("tink/head.rs");
    let strays: Vec<_> =
        sources().into_iter().filter(|(path, text)| !hyper(path) && text.contains("hyper::")).collect();
    assert!(strays.is_empty(), "hyper:: belongs into link: {strays:?}");
}

#[test]
fn all_that_is_written_to_a_terminal_goes_through_one_door() {
    let door = Path::new("observe/terminal.rs");
    let words = [
        " stdout()",
        ":stdout()",
        " stderr()",
        ":stderr()",
        "println!",
        "eprint",
        "print!(",
        "/dev/tty",
        "Term::",
    ];
    let found: Vec<_> = sources()
        .into_iter()
        // A test that stands in a file of its own.
        .filter(|(path, _)| path != door && path != Path::new("store/runs/cost.rs"))
        .flat_map(|(path, text)| {
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let bad = lines.filter(|line| words.iter().any(|word| line.contains(word)));
            bad.map(|line| format!("{}: {}", path.display(), line.trim())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(found, Vec::<String>::new(), "observe::terminal cleans what is written");
}

#[test]
fn invariant_04_what_runs_inside_a_transaction_cannot_wait_for_the_network() {
    // A transaction is a plain function that a thread without a runtime runs. Only those files may wait that hand one over,
    // or make the connection that it will run on.
    let hand_over = [
        "store/mod.rs",
        "store/app.rs",
        "store/import.rs",
        "store/outbox.rs",
        "store/heartbeat.rs",
        "store/population.rs",
        "store/prune.rs",
        "store/types/durable.rs",
        "store/engine/worker.rs",
        // What drives a session with a server while the thread waits for its answer, and starts those threads.
        "store/engine/postgres/answer.rs",
        "store/engine/postgres/connect.rs",
        "store/engine/postgres/driver.rs",
        "store/engine/postgres/lanes.rs",
        "store/engine/postgres/session.rs",
        "store/engine/postgres/connect/role.rs",
    ];
    let mut waiting = offenders("store", &["await", "async ", "block_on", "spawn("]);
    waiting.retain(|line| !hand_over.iter().any(|file| line.starts_with(&format!("{file}:"))));
    assert_eq!(waiting, Vec::<String>::new());
    // What is handed over is no future, in every way there is.
    for (file, ways) in [("context.rs", 1), ("worker.rs", 6)] {
        let handed_over =
            offenders(&format!("store/engine/{file}"), &["work: impl FnOnce(", "work: impl FnMut("]);
        assert_eq!(handed_over.len(), ways, "{handed_over:#?}");
    }
}

/// The logic of the store is written once, over `engine::Db`; what commands may know of a file, `store::file` hands on.
#[test]
fn only_the_engine_knows_a_database() {
    let mut found = offenders("", &["rusqlite", "PRAGMA", "last_insert_rowid", "sqlite_master"]);
    let mut around = offenders("", &["store::engine"]);
    around.retain(|line| !line.starts_with("store/"));
    found.extend(around);
    // Tests that stand in files of their own.
    let own = ["store/engine/", "store/cost", "store/runs/cost.rs", "store/source/hostile.rs"];
    found.retain(|line| !own.iter().any(|file| line.starts_with(file)));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn invariant_07_decisions_know_neither_the_clock_nor_chance() {
    for file in ["sync/reconcile.rs", "sync/accounts.rs", "sync/policy.rs", "domain"] {
        let words = ["clock::", "dyn Clock", "Timestamp::now", "fastrand", "async fn", ".await"];
        assert_eq!(offenders(file, &words), Vec::<String>::new(), "in {file}");
    }
}

/// The operators of times panic at the ends of the calendar, where a wrong clock, a row or an option may lead.
#[test]
fn no_time_is_reckoned_with_operators_that_panic() {
    let words = [
        "now() + ",
        "now() - ",
        " now + ",
        " now - ",
        "+ SignedDuration",
        "- SignedDuration",
        ".now() +=",
        "today() + ",
        "today() - ",
        "today + ",
        "today - ",
        "Timestamp::now()",
        "humantime::parse_duration,",
    ];
    let mut found = offenders("", &words);
    // Instants, and durations of a day at most; tests that stand beside what they test.
    let bounded = ["cli/fixture.rs", "store/cost", "store/runs/cost.rs", "tink/pace.rs"];
    found.retain(|line| {
        !line.contains("Instant::now()") && !bounded.iter().any(|file| line.starts_with(file))
    });
    assert_eq!(found, Vec::<String>::new(), "use saturating_add, checked_add and the like");
}

#[test]
fn invariant_11_no_float_comes_near_money() {
    for place in ["domain", "sync", "tink/wire", "store/rows.rs", "store/engine/sqlite/rows.rs"] {
        assert_eq!(offenders(place, &["f64", "f32"]), Vec::<String>::new(), "in {place}");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert_eq!(silent, Vec::<String>::new());
}

/// The type that a line defines; types of implementations do not count.
fn defined(line: &str) -> Option<&str> {
    let (indented, line) = (line.starts_with(' '), line.trim_start());
    let visible = line.strip_prefix("pub").and_then(|rest| rest.split_once(' '));
    let (kind, rest) = visible.map_or(line, |(_, rest)| rest).split_once(' ')?;
    let is_kind = matches!(kind, "struct" | "enum" | "trait") || (kind == "type" && !indented);
    let name = rest.split(|c: char| !c.is_alphanumeric()).next()?;
    // That of a macro is written where the macro is used.
    (is_kind && !name.is_empty()).then_some(name)
}

#[test]
fn a_name_of_a_type_has_one_meaning() {
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (path, text) in sources() {
        for name in text.lines().filter_map(defined) {
            places.entry(name.to_owned()).or_default().push(path.clone());
        }
    }
    assert!(places.len() > 300, "{} types: they are not seen any more", places.len());
    // The arguments of each command, results by the error of the place, and tests that stand in a file of their own.
    let is_test = |path: &PathBuf| path.starts_with("store/cost");
    places.retain(|name, paths| {
        name != "Args" && name != "Result" && paths.iter().filter(|path| !is_test(path)).count() > 1
    });
    assert_eq!(places, BTreeMap::new(), "two types share a name");
}

/// All of a source as one line, so that a citation may be broken over two.
fn flat(text: &str) -> String {
    text.lines().map(|line| line.trim_start().trim_start_matches(['/', '!'])).collect::<String>()
}

#[test]
fn what_comments_cite_stands_in_the_papers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut cited = 0;
    for paper in ["tink/API.md", "DESIGN.md"] {
        let text = fs::read_to_string(root.join(paper)).unwrap();
        let sections: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("## ") || line.starts_with("### "))
            .map(|line| line.trim_start_matches('#').trim().split(' ').next().unwrap().trim_end_matches('.'))
            .collect();
        let name = paper.rsplit('/').next().unwrap();
        for (path, source) in sources() {
            for rest in flat(&source).split(&format!("{name} ")).skip(1) {
                let number: String =
                    rest.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect();
                let number = number.trim_end_matches('.');
                assert!(sections.contains(&number), "{}: {name} has no section {number:?}", path.display());
                cited += 1;
            }
        }
    }
    assert!(cited > 50, "{cited}");
    let strangers = offenders_in_comments(&["tink-api.md", "design section", "contract section"]);
    assert_eq!(strangers, Vec::<String>::new(), "a reader of the project does not have these");
}

fn offenders_in_comments(words: &[&str]) -> Vec<String> {
    let found = sources().into_iter().filter(|(_, text)| words.iter().any(|word| flat(text).contains(word)));
    found.map(|(path, _)| path.display().to_string()).collect()
}

#[test]
fn every_invariant_of_the_map_has_a_test_of_its_number() {
    fn texts(dir: &Path, all: &mut String) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                texts(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    texts(&root.join("src"), &mut all);
    texts(&root.join("tests/it"), &mut all);
    let map = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let number = |line: &str| line.strip_prefix("//! ")?.split_once(". ")?.0.parse::<u32>().ok();
    let numbers: Vec<u32> = map.lines().filter_map(number).collect();
    assert!(
        numbers.len() >= 15 && numbers.iter().copied().eq(1..=numbers.len().try_into().unwrap()),
        "{numbers:?}"
    );
    let is_untested = |n: &&u32| !all.contains(&format!("fn invariant_{n:02}_"));
    assert_eq!(numbers.iter().find(is_untested), None);
}

/// The sources of these tests, by path below tests/it.
fn tests() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files
                    .push((path.strip_prefix(&root).unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

#[test]
fn tests_see_the_store_through_views_and_helpers() {
    // A base table, by its prefix; and a database that is opened by hand.
    let base = ["ts", "_"].concat();
    let names_a_table = |line: &str| {
        line.match_indices(&base).any(|(at, _)| {
            !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
                && line[at + base.len()..].starts_with(|after: char| after.is_ascii_lowercase())
        })
    };
    let opening = ["Connection::", "open"].concat();
    for (rule, allowed) in [("names a base table", "inside"), ("opens a database", "harness.rs")] {
        let breaks = |line: &str| match rule {
            "names a base table" => names_a_table(line),
            _ => line.contains(&opening),
        };
        let found: Vec<_> = tests()
            .into_iter()
            // SQLite's file itself is what store_faults.rs is about.
            .filter(|(path, _)| !path.starts_with(allowed) && path != Path::new("store_faults.rs"))
            .flat_map(|(path, text)| {
                let bad = text.lines().filter(|line| breaks(line));
                bad.map(|line| format!("{}: {}", path.display(), line.trim())).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(found, Vec::<String>::new(), "{rule}: that goes through tests/it/{allowed}");
    }
}

//! Counts of a small fixed pass, which must not creep up. `packaging/build` and then
//! `cargo bench --profile dev --bench pass -- counts target/release/tink-sync` compare them with tests/bench/counts.txt and
//! fail where one is more than a twentieth above; `renew` in place of `counts` writes that file.
//!
//! Requests are the pass's own; fsyncs and commits are seen by `strace`; instructions are those that `valgrind` counts of
//! the program that is shipped, all of it: our code, SQLite and the C library; statements are what SQLite runs, seen in the
//! build of the tests, which has the names of functions: hence the profile. One request is in flight, so that nothing
//! depends on who comes first.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::bank::Bank;
use crate::measure::{self, Measured};
use crate::{Size, passes};

const SMALL: Size = Size { name: "small", connections: 20, accounts: 2, rows: 60 };
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/counts.txt");
const NAMES: [&str; 5] = ["requests", "statements", "commits", "fsyncs", "instructions"];
/// A count may be this part of it above the one that is written down.
const MARGIN: u64 = 20;
/// Commits and fsyncs depend on what waits at the same time, and so on what else the machine does: the fewest of so many
/// passes count, and so many more are borne. Ungrouped they would be sixty.
const PASSES: usize = 9;
/// Statements as well, by a little.
const LOOKS: usize = 3;
const MORE: u64 = 4;
/// What SQLite does at the end of every statement.
const STATEMENT: &str = "sqlite3VdbeHalt";

const HEAD: &str = "\
# What a small pass costs (20 connections with 2 accounts of 60 rows, 1 request in flight), counted; renewed by
#   packaging/build && cargo bench --profile dev --bench pass -- renew target/release/tink-sync
# and checked by the same with `counts`, which fails where a count is more than a twentieth above its own here; of
# commits and fsyncs, the fewest of nine passes, up to four more are borne. Instructions are of one compiler and C library:
# after an update of these they may be renewed without a change of the program. For no other reason: find what the program
# does more often, and whether it must.
";

/// Counts passes of `program`, a release build, and compares, or writes.
pub fn run(program: &Path, renew: bool) {
    assert!(measure::has_names(), "statements are seen in a build with names: cargo bench --profile dev");
    let counted = count(program);
    let mut text = format!("{HEAD}# pass       {}\n", NAMES.map(|name| format!("{name:>13}")).concat());
    for (pass, counts) in &counted {
        let _ = writeln!(text, "{pass:<13}{}", counts.map(|count| format!("{count:>13}")).concat());
    }
    println!("{text}");
    if renew {
        return fs::write(FILE, text).unwrap();
    }
    let known = fs::read_to_string(FILE).unwrap();
    let known: HashMap<&str, Vec<u64>> = known
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words.map(|count| count.parse().unwrap()).collect())
        })
        .collect();
    let mut grown = String::new();
    for (pass, counts) in counted {
        for ((name, count), known) in NAMES.iter().zip(counts).zip(&known[pass]) {
            let more = if matches!(*name, "commits" | "fsyncs") { MORE } else { 0 };
            if count > known + more.max(known / MARGIN) {
                let _ = writeln!(grown, "{pass}: {count} {name} where {known} were enough");
            } else if count + more.max(count / MARGIN) < *known {
                println!("{pass}: {count} {name}, fewer than the {known} written down; renew them");
            }
        }
    }
    assert!(grown.is_empty(), "a pass costs more than it did (tests/bench/counts.txt):\n{grown}");
}

/// The counts of the three passes, in the order of [`NAMES`].
fn count(program: &Path) -> Vec<(&'static str, [u64; 5])> {
    let (dir, copy) = (measure::directory(), measure::directory());
    let bank = Bank::start(SMALL, Duration::ZERO);
    bank.configure(dir.path(), 1);
    bank.configure(copy.path(), 1);
    let mut counted = Vec::new();
    for ((_, day, _), name) in passes().into_iter().zip(["first", "nothing-new", "a-day-later"]) {
        bank.set_day(day);
        take_over(dir.path(), copy.path());
        let instructions = instructions(program, copy.path());
        let statements = (0..LOOKS).map(|_| {
            take_over(dir.path(), copy.path());
            statements(measure::built(), copy.path())
        });
        let statements = statements.min().unwrap();
        let passes = std::iter::repeat_with(|| {
            take_over(dir.path(), copy.path());
            measure::pass(program, &bank, copy.path())
        });
        let passes: Vec<_> = passes.take(PASSES).collect();
        let fewest =
            |count: fn(&Measured) -> usize| passes.iter().map(count).min().unwrap().try_into().unwrap();
        let (commits, fsyncs) = (fewest(|pass| pass.commits), fewest(|pass| pass.fsyncs));
        // The store of the next one.
        let pass = measure::pass(program, &bank, dir.path());
        counted.push((name, [pass.requests, statements, commits, fsyncs, instructions]));
    }
    counted
}

/// Makes the copy's store that of the original.
fn take_over(original: &Path, copy: &Path) {
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(copy.join(name));
        if original.join(name).exists() {
            fs::copy(original.join(name), copy.join(name)).unwrap();
        }
    }
}

/// Runs a pass in `dir` under valgrind; what it wrote down.
fn watched(program: &Path, dir: &Path) -> String {
    let out = dir.join("callgrind");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .arg("--config")
        .arg(dir.join("tink-sync.toml"))
        .args(["run", "--format", "json"])
        .env("TINK_SYNC_USER", "root")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(out).unwrap()
}

fn instructions(program: &Path, dir: &Path) -> u64 {
    let written = watched(program, dir);
    let total = written.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    total.unwrap().trim().parse().unwrap()
}

fn statements(program: &Path, dir: &Path) -> u64 {
    let written = watched(program, dir);
    let mut called = "";
    let mut statements = 0;
    for line in written.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(calls) = line.strip_prefix("calls=")
            && called.starts_with(STATEMENT)
        {
            statements += calls.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    assert!(statements > 0, "{STATEMENT} is not called by that name any more");
    statements
}

//! A report that nobody reads for a while, or ever: the pass goes on, ends and lets go of everything, and only then
//! waits for its reader. Real pipes, which are full after a page.

use std::io::{self, BufRead as _, BufReader, PipeReader, Read as _};
use std::process::{Child, Command};

use nix::fcntl::{FcntlArg, fcntl};

use crate::harness::{World, small, until};

const CONNECTIONS: u32 = 40;

/// A pipe that holds one page.
fn pipe() -> (PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    (reader, writer)
}

/// A pass whose standard output, and with `both` also its standard error, is a pipe.
fn started(mut command: Command, both: bool) -> (Child, PipeReader) {
    let (reader, writer) = pipe();
    if both {
        command.stderr(writer.try_clone().unwrap());
    }
    let child = command.stdout(writer).spawn().unwrap();
    // The command holds the writing end too.
    drop(command);
    (child, reader)
}

fn is_over(world: &World) -> bool {
    let runs = "SELECT count(*) FROM sqlite_master WHERE name = 'runs_v1'";
    world.has_store()
        && world.number(runs) == 1
        && world.number("SELECT count(*) FROM runs_v1 WHERE finished_at IS NOT NULL") == 1
}

fn assert_all_synced(world: &World) {
    let synced = "SELECT count(*) FROM run_connections_v1 WHERE outcome = 'synced'";
    assert_eq!(world.number(synced), i64::from(CONNECTIONS));
    assert_eq!(world.number("SELECT count(*) FROM runs_v1 WHERE exit_code = 0"), 1);
}

#[test]
fn a_report_that_nobody_reads_holds_up_nothing_and_is_all_there_afterwards() {
    let world = World::new(small(CONNECTIONS));
    let (mut child, mut reader) = started(world.pass(&[]), false);
    until(|| is_over(&world));
    assert_all_synced(&world);
    until(|| world.leased() == 0);
    assert!(child.try_wait().unwrap().is_none(), "it did not wait for its reader");
    let mut report = String::new();
    reader.read_to_string(&mut report).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let lines: Vec<serde_json::Value> =
        report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types.len(), CONNECTIONS as usize + 2);
    assert_eq!((types[0], *types.last().unwrap()), ("run", "summary"));
}

#[test]
fn records_that_nobody_reads_hold_up_nothing_either() {
    let world = World::new(small(CONNECTIONS));
    let mut command = world.command(&["--verbose", "run"]);
    command.args(["--format", "human"]);
    let (mut child, mut reader) = started(command, true);
    until(|| is_over(&world));
    assert_all_synced(&world);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // The report stands behind the records of the pass.
    let (records, report) = text.split_once("\n40 synced; ").unwrap_or_else(|| panic!("{text}"));
    assert!(records.contains(" finished with 0 ") && !report.contains(" finished with 0 "), "{text}");
}

#[test]
fn a_signal_ends_the_wait_for_a_reader() {
    let world = World::new(small(CONNECTIONS));
    let (mut child, reader) = started(world.pass(&[]), false);
    until(|| is_over(&world));
    let kill = format!("kill -TERM {}", child.id());
    until(|| {
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        child.try_wait().unwrap().is_some()
    });
    // The pass had ended before.
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_all_synced(&world);
    drop(reader);
}

#[test]
fn a_reader_that_goes_away_is_no_error_of_the_pass() {
    let world = World::new(small(CONNECTIONS));
    let (mut child, reader) = started(world.pass(&[]), false);
    let mut first = String::new();
    let mut reader = BufReader::new(reader);
    reader.read_line(&mut first).unwrap();
    assert!(first.contains(r#""type":"run""#), "{first}");
    drop(reader);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_all_synced(&world);
    world.assert_at_rest();
}

#[test]
fn a_report_that_cannot_be_written_is_told_and_not_taken_for_success() {
    let world = World::new(small(1));
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = world.pass(&[]).stdout(full()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    // As of any file on a full disk.
    assert_eq!(output.status.code(), Some(74), "{told}");
    assert!(told.contains("standard output cannot be written: No space left"), "{told}");
    assert_eq!(world.number("SELECT count(*) FROM run_connections_v1 WHERE outcome = 'synced'"), 1);
}

//! Runs a program once and says what it took: times and memory from `time`, waits for the disk from `strace`, which stops
//! the program at nothing else, and bytes written from the kernel's accounts.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::bank::Bank;

/// Whose line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Limit,
    TinkSync,
}

/// What a program took, and what it did.
#[derive(Debug, Default)]
pub struct Measured {
    pub requests: u64,
    pub wall: f64,
    pub peak: u64,
    pub rows: u64,
    pub cpu: f64,
    written: u64,
    bank: f64,
    pub fsyncs: usize,
    pub commits: usize,
    /// Times that it waited for a server that holds the store.
    pub round_trips: u64,
    megabytes: u64,
}

impl Measured {
    pub const HEADING: &'static str = "\
size and pass    program    requests     rows  written           wall            cpu   peak  fsyncs  commits    MB   Tink";

    /// A line of the table.
    pub fn line(&self, title: &str, program: Program, least: Option<&Self>) -> String {
        let times = |ours: f64, theirs: fn(&Self) -> f64| match least {
            Some(least) => format!("{ours:>6.2} ({:>5.2})", ours / theirs(least)),
            None => format!("{ours:>6.2}        "),
        };
        let name = if program == Program::Limit { "limit" } else { "tink-sync" };
        let requests = if program == Program::Limit { "-".to_owned() } else { self.requests.to_string() };
        format!(
            "{title:<16} {name:<9} {requests:>9} {:>8} {:>8} {} {} {:>6} {:>7} {:>8} {:>5} {:>6.1}",
            self.rows,
            self.written,
            times(self.wall, |least| least.wall),
            times(self.cpu, |least| least.cpu),
            self.peak,
            self.fsyncs,
            self.commits,
            self.megabytes,
            self.bank,
        )
    }
}

/// A place on the disk, not in memory: what is waited for there is part of the cost.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The limit program.
pub fn limit(bank: &Bank, args: &[String], dir: &Path) -> Measured {
    let program = std::env::current_exe().unwrap();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (measured, stdout) = measure(bank, dir, &program, &args, true);
    let rows = stdout.trim().parse().unwrap();
    Measured { rows, written: rows, ..measured }
}

/// The program that was built with this bench.
pub fn built() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tink-sync"))
}

/// Whether that has the names of its functions: a release build is stripped of them.
pub const fn has_names() -> bool {
    cfg!(debug_assertions)
}

/// A pass of `program`.
pub fn pass(program: &Path, bank: &Bank, dir: &Path) -> Measured {
    pass_with(program, bank, dir, true)
}

/// The same without counting what it waits for of the disk, which costs a program that waits for a server some of its time.
pub fn pass_on_server(bank: &Bank, dir: &Path) -> Measured {
    pass_with(built(), bank, dir, false)
}

fn pass_with(program: &Path, bank: &Bank, dir: &Path, syncs: bool) -> Measured {
    let configuration = dir.join("tink-sync.toml").display().to_string();
    let args = ["--config", &configuration, "run", "--format", "json"];
    let (measured, stdout) = measure(bank, dir, program, &args, syncs);
    let summary: Value = serde_json::from_str(stdout.lines().next_back().unwrap()).unwrap();
    assert_eq!(summary["exit_code"], 0, "{summary}");
    let total = |field: &str| summary[field].as_u64().unwrap();
    let round_trips = summary["store_round_trips"].as_u64().unwrap_or_default();
    let written = total("added") + total("updated") + total("removed");
    Measured { requests: total("requests"), rows: total("fetched"), written, round_trips, ..measured }
}

fn measure(bank: &Bank, dir: &Path, program: &Path, args: &[&str], counts_syncs: bool) -> (Measured, String) {
    let (times, syncs) = (dir.join("times"), dir.join("syncs"));
    let (bank_before, written_before) = (bank.cpu(), written());
    fs::write(&syncs, "").unwrap();
    let mut command = Command::new(if counts_syncs { "strace" } else { "time" });
    if counts_syncs {
        command.args(["-f", "-y", "-q", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o"]).arg(&syncs);
        command.arg("time");
    }
    let output = command
        .args(["-f", "%e %U %S %M", "-o"])
        .arg(&times)
        .arg(program)
        .args(args)
        .env("TINK_SYNC_USER", "root")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(times).unwrap();
    let times: Vec<f64> =
        text.lines().next_back().unwrap().split(' ').map(|number| number.parse().unwrap()).collect();
    let [wall, user, system, kilobytes] = times[..] else { panic!("{text}") };
    let syncs = fs::read_to_string(syncs).unwrap();
    let syncs: Vec<&str> =
        syncs.lines().filter(|line| line.contains("sync(") && !line.contains("resumed")).collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of kilobytes")]
    let peak = (kilobytes / 1024.0) as u64;
    let measured = Measured {
        wall,
        cpu: user + system,
        peak,
        bank: bank.cpu() - bank_before,
        fsyncs: syncs.len(),
        commits: syncs.iter().filter(|line| line.contains("-wal>")).count(),
        megabytes: (written() - written_before) / 1_000_000,
        ..Measured::default()
    };
    (measured, String::from_utf8(output.stdout).unwrap())
}

/// What this process and those that it has waited for have written to the disk.
fn written() -> u64 {
    let counts = fs::read_to_string("/proc/self/io").unwrap();
    counts.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap()
}

/// Ticks of the kernel's clock in a second, as it shows times in `/proc`.
const TICKS: f64 = 100.0;

/// The CPU that a process and its children have taken so far, in seconds; those that have ended are its own.
pub fn cpu_of_family(process: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    let children = children.split_whitespace().map(|child| cpu(child, 2));
    cpu(&process.to_string(), 4) + children.sum::<f64>()
}

/// The first so many of: user, system, both of the children that were waited for. One that has just ended has taken nothing.
pub fn cpu(process: &str, counts: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks =
        after_name.split_whitespace().skip(11).take(counts).map(|field| field.parse::<f64>().unwrap());
    ticks.sum::<f64>() / TICKS
}

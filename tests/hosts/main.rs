//! Many hosts on one PostgreSQL while everything goes wrong: `cargo test --test hosts -- --faults 200`. Needs root, for network
//! namespaces, and PostgreSQL's server; without `--faults` it does nothing.
//!
//! What it makes: a primary with a synchronous standby, the fake Tink, and hosts, each with a network namespace of its own,
//! which run `tink-sync run` one after the other. What it does to them (storm.rs): kills processes, stops them for longer
//! than a lease lasts and lets them go on, cuts links and mends them, ends sessions, restarts the server without a goodbye,
//! kills the primary and promotes the standby. What must hold (judge.rs): no two hosts read one Tink user's data at a time
//! (but for a request that a host was about to send as it was frozen),
//! nobody is left behind, the rows are Tink's, a reader who polled all the while has missed nothing, no refresh token was
//! presented twice, no quota was exceeded, and runs ended with codes that the contract has for such trouble.
//!
//! `--asynchronous` lets no commit wait for the standby, so that a failover loses the last ones: then rows must be Tink's all the
//! same after the next pass, and no change number is given twice; what was lost may be done again, and a reader begins anew.
//!
//! `--seed N` draws the faults of an earlier time again (what they meet differs), `--only freeze,cut` draws of these alone,
//! `--hosts N` makes more or fewer, `--minutes N` ends it earlier. Everything lives in namespaces of its own, and ends with this program, however that ends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test fails loudly and prints"
)]

mod bank;
mod cluster;
mod host;
mod judge;
mod lab;
mod reader;
mod storm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bank::Bank;
use cluster::Cluster;
use host::Hosts;
use reader::Reader;

const ASYNCHRONOUS: &str = "--asynchronous";
const ONLY: &str = "--only";

/// What was asked for.
#[derive(Clone, Debug)]
struct Asked {
    faults: u32,
    seed: u64,
    hosts: usize,
    time: Duration,
    synchronous: bool,
    /// Names of faults; empty for all.
    only: Vec<String>,
}

impl Asked {
    /// `None` if no faults were asked for.
    fn parse(args: &[String]) -> Option<Self> {
        let number = |name: &str| -> Option<u64> {
            let at = args.iter().position(|arg| arg == name)?;
            let text = args.get(at + 1).unwrap_or_else(|| panic!("{name} wants a number"));
            Some(text.parse().unwrap_or_else(|_| panic!("{name} wants a number, not {text}")))
        };
        let faults = u32::try_from(number("--faults")?).unwrap();
        let minutes = number("--minutes").unwrap_or(5 + u64::from(faults) / 20);
        Some(Self {
            faults,
            seed: number("--seed").unwrap_or_else(|| fastrand::u64(1..1_000_000)),
            hosts: usize::try_from(number("--hosts").unwrap_or(8)).unwrap(),
            time: Duration::from_mins(minutes),
            synchronous: !args.iter().any(|arg| arg == ASYNCHRONOUS),
            only: args
                .iter()
                .position(|arg| arg == ONLY)
                .and_then(|at| args.get(at + 1))
                .map(|names| names.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
        })
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|arg| arg == lab::INSIDE) {
        let asked = Asked::parse(&args).unwrap();
        let (directory, isolated) = (PathBuf::from(&args[at + 1]), args[at + 2] == "isolated");
        return if storm(&asked, &directory, isolated) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match Asked::parse(&args) {
        None => {
            println!("many hosts on one PostgreSQL: NOT RUN without --faults N; tests/run does");
            ExitCode::SUCCESS
        }
        Some(asked) => {
            let mut again = vec![
                "--faults".to_owned(),
                asked.faults.to_string(),
                "--seed".to_owned(),
                asked.seed.to_string(),
                "--hosts".to_owned(),
                asked.hosts.to_string(),
                "--minutes".to_owned(),
                (asked.time.as_secs() / 60).to_string(),
            ];
            again.extend((!asked.synchronous).then(|| ASYNCHRONOUS.to_owned()));
            if !asked.only.is_empty() {
                again.extend([ONLY.to_owned(), asked.only.join(",")]);
            }
            lab::enter(&again)
        }
    }
}

/// The whole test; says whether all held.
fn storm(asked: &Asked, directory: &Path, isolated: bool) -> bool {
    let began = Instant::now();
    let standby = if asked.synchronous { "a synchronous" } else { "an asynchronous" };
    println!("{} faults on {} hosts and {standby} standby, seed {}", asked.faults, asked.hosts, asked.seed);
    let lab = lab::Lab::make(asked.hosts, isolated);
    let cluster = Arc::new(Cluster::start(directory, &lab, asked.synchronous));
    let bank = Arc::new(Bank::open(directory, &lab, &cluster));
    bank.first_pass(&lab);
    cluster.shorten_leases(storm::LEASE);
    let stop = Arc::new(AtomicBool::new(false));
    let reader = Reader::start(Arc::clone(&cluster), Arc::clone(&stop));
    let (ended, past) = std::thread::scope(|scope| {
        let hosts = Hosts::start(scope, &lab, &bank, asked.hosts, asked.seed);
        let _stop = host::StopOnDrop(&hosts);
        let (figures, past) = storm::Storm::new(asked, &lab, &cluster, &bank, &hosts).rage(began);
        println!("{:?}: the storm is over; {figures}", began.elapsed());
        (hosts.ended_at_last(), past)
    });
    let used = judge::used(&cluster);
    bank.settle(&lab, &cluster);
    // The reader sees what came last.
    reader.wait_for(&cluster);
    stop.store(true, Relaxed);
    let verdict = judge::judge(&cluster, &bank, &lab, (&ended, &past), used, reader.end(), asked.synchronous);
    println!("{verdict}");
    println!("it took {:?}", began.elapsed());
    verdict.is_good()
}

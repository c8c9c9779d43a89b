//! What a pass costs, beside the least that its work can cost: `cargo bench --bench pass -- [S] [M] [L] [XL] [latency]`,
//! or `tests/bench/run`, which needs Debian's `time` and `strace` and prints the other benches too. Without sizes: S and M.
//!
//! How to read the table. Each size is so many connections × accounts × rows per account; each has three passes: the
//! first one, one with nothing new, and one a day later, when three of ten accounts have had rows that were pending. For
//! each pass the line `limit` is a program that fetches the same bytes from the same fake Tink, parses them into plain
//! structs and inserts them in large transactions, without one check (tests/bench/limit). The line `tink-sync` is the
//! built program, with 32 requests in flight; the numbers in brackets are its multiples of the limit.
//! `rows` are rows fetched, `written` rows that were new or changed. `wall` and `cpu` are seconds, CPU of the user and
//! of the kernel; `peak` is the resident memory in MiB; `fsyncs` counts fsync and fdatasync, `commits` those of
//! them that are for the store's log; `MB` is what was written to the disk. `Tink` is the CPU that the fake Tink took
//! meanwhile, in a process of its own: as long as wall is longer than that divided by the number of cores, and cpu and Tink
//! together fill the cores, the fake Tink is no bottleneck but a neighbour, and both lines have it.
//! Below it: what one connection and one row cost, made of these numbers: the CPU of an idle pass by connections, and
//! that of the other passes, less an idle one's, by the rows they fetched.
//! `engines` compares the engines of the store (engines.rs).
//! `latency` is another table: M and 5,000 connections at 80 ms per answer, next to requests × latency ÷ 32.
//!
//! It judges nothing: times are for people to compare, in one run on one machine. Counts that must not grow are asserted
//! by `counts` (counts.rs).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench fails loudly and prints"
)]

mod bank;
mod counts;
mod engines;
mod measure;
#[path = "../../postgres_server.rs"]
mod postgres_server;

use std::path::Path;
use std::time::Duration;

use tink_limit::{Task, Walk};

use bank::Bank;
use measure::{Measured, Program};

const CONCURRENCY: usize = 32;

/// Connections, accounts of each, and rows of each account.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    name: &'static str,
    connections: u32,
    accounts: u32,
    rows: u32,
}

const SIZES: [Size; 4] = [
    Size { name: "S", connections: 50, accounts: 2, rows: 200 },
    Size { name: "M", connections: 500, accounts: 2, rows: 500 },
    Size { name: "L", connections: 5_000, accounts: 2, rows: 200 },
    Size { name: "XL", connections: 50_000, accounts: 1, rows: 40 },
];

/// A pass: its name, the day at the bank, and what of the transactions the limit fetches.
fn passes() -> [(&'static str, u32, Walk); 3] {
    [
        ("first", 0, Walk::All),
        ("nothing new", 0, Walk::Nothing),
        // As the program does it: two weeks back from the newest row.
        ("a day later", 1, Walk::Since(bank::date(-14), bank::date(1))),
    ]
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    // The other processes of a measurement are this very program.
    match args.first().map(String::as_str) {
        Some("serve") => return bank::serve(&args[1..]),
        Some("limit") => return limit(&args[1..]),
        Some(word @ ("counts" | "renew")) => {
            let program = args.get(1).map(Path::new);
            let program = program.unwrap_or_else(|| {
                panic!("of which program? packaging/build makes target/release/tink-sync")
            });
            return counts::run(program, word == "renew");
        }
        Some("engines") => return engines::tables(&args[1..]),
        _ => {}
    }
    let wanted = |name: &str| args.iter().any(|arg| arg == name);
    let sizes: Vec<Size> = SIZES
        .into_iter()
        .filter(|size| wanted(size.name) || args.is_empty() && matches!(size.name, "S" | "M"))
        .collect();
    assert!(!sizes.is_empty() || wanted("latency"), "unknown size; there are S, M, L, XL and latency");
    if !sizes.is_empty() {
        println!("{}", Measured::HEADING);
    }
    let mut costs = String::new();
    for size in sizes {
        costs.push_str(&table(size));
    }
    if !costs.is_empty() {
        println!("\n{COSTS}\n{costs}");
    }
    if wanted("latency") {
        println!("\nat 80 ms    pass         requests  wall s  least s  ratio  peak");
        at_latency(SIZES[1]);
        at_latency(Size { name: "L", connections: 5_000, accounts: 2, rows: 50 });
    }
}

/// What [`table`] gives: costs of the program alone, that is without those of the fake Tink.
const COSTS: &str = "\
of a pass  ms CPU an idle connection  fsyncs of it  \u{b5}s CPU a row at first  \u{b5}s CPU a row later  requests later";

/// Prints what is measured of one size; a line of costs per connection and row.
fn table(size: Size) -> String {
    let dir = measure::directory();
    let bank = Bank::start(size, Duration::ZERO);
    bank.configure(dir.path(), CONCURRENCY);
    let mut all = Vec::new();
    for (name, day, walk) in passes() {
        bank.set_day(day);
        let title = format!("{:<3} {name}", size.name);
        let database = dir.path().join(format!("limit-{day}-{}.db", name.len()));
        let least = measure::limit(&bank, &limit_args(&bank, size, &database, &walk), dir.path());
        std::fs::remove_file(&database).unwrap();
        println!("{}", least.line(&title, Program::Limit, None));
        let ours = measure::pass(measure::built(), &bank, dir.path());
        println!("{}", ours.line(&title, Program::TinkSync, Some(&least)));
        all.push(ours);
    }
    let [first, idle, later] = &all[..] else { panic!("three passes") };
    let connections = f64::from(size.connections);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let per = |part: f64, number: u64| part / number as f64;
    format!(
        "{:<10} {:>24.2} {:>13.3} {:>21.1} {:>18.1} {:>15.2}\n",
        size.name,
        idle.cpu * 1e3 / connections,
        f64::from(u32::try_from(idle.fsyncs).unwrap()) / connections,
        per((first.cpu - idle.cpu) * 1e6, first.rows),
        per((later.cpu - idle.cpu) * 1e6, later.rows),
        f64::from(u32::try_from(later.requests).unwrap()) / connections,
    )
}

/// Only the time, where it is Tink's answers that are waited for.
fn at_latency(size: Size) {
    const LATENCY: Duration = Duration::from_millis(80);
    let dir = measure::directory();
    let bank = Bank::start(size, LATENCY);
    bank.configure(dir.path(), CONCURRENCY);
    for (name, day, _) in passes() {
        bank.set_day(day);
        let ours = measure::pass(measure::built(), &bank, dir.path());
        let waves = f64::from(u32::try_from(ours.requests).unwrap()) / 32.0;
        let least = LATENCY.as_secs_f64() * waves;
        println!(
            "{:>5} conn.  {name:<12} {:>8}  {:>6.1}  {least:>7.1}  {:>5.2}  {:>4}",
            size.connections,
            ours.requests,
            ours.wall,
            ours.wall / least,
            ours.peak
        );
    }
}

fn limit_args(bank: &Bank, size: Size, database: &Path, walk: &Walk) -> Vec<String> {
    let (from, refreshed) = match walk {
        Walk::All => ("all".to_owned(), String::new()),
        Walk::Nothing => ("nothing".to_owned(), String::new()),
        Walk::Since(from, refreshed) => (from.clone(), refreshed.clone()),
    };
    let database = database.display().to_string();
    let (url, users) = (bank.url.clone(), size.connections.to_string());
    vec!["limit".to_owned(), url, users, database, from, refreshed]
}

/// The limit program, as a process of its own; prints the number of rows.
fn limit(args: &[String]) {
    let [url, users, database, from, refreshed] = args else { panic!("limit URL USERS FILE FROM REFRESHED") };
    let walk = match from.as_str() {
        "all" => Walk::All,
        "nothing" => Walk::Nothing,
        _ => Walk::Since(from.clone(), refreshed.clone()),
    };
    let users = users.parse().unwrap();
    let task = Task { url: url.clone(), users, concurrency: CONCURRENCY, database: database.into(), walk };
    println!("{}", tink_limit::run(task).unwrap());
}

//! How fast and how small a pass is: the real binary against the sandbox at 80 ms per answer.
//! `cargo bench` prints, for 500 and for 5,000 connections, the time next to the least that latency and
//! concurrency allow, and the peak memory. It judges nothing: figures are for people to compare.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench fails loudly and prints"
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use serde_json::Value;
use tink_sandbox::{Config, Rates, Sandbox};

const LATENCY: Duration = Duration::from_millis(80);
const CONCURRENCY: u32 = 32;

fn main() {
    println!("connections  rows     requests  seconds  least   ratio  peak MiB  pass");
    for (connections, history) in [(500, 250), (5_000, 25)] {
        measure(connections, history);
    }
}

/// A first pass, a pass with nothing new and a pass a day later over two accounts per connection.
fn measure(connections: u32, history_days: u32) {
    let config = Config {
        users: connections,
        rates: Rates::none(),
        rows_per_day: 2.0,
        pending_per_day: 0.2,
        history_days,
        max_accounts: 2,
        latency: LATENCY,
        ..Config::default()
    };
    let sandbox = Sandbox::start(config);
    for n in 0..connections {
        sandbox.plan(&format!("user-{n}"), |plan| plan.accounts = 2);
    }
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path(), &sandbox, connections);
    for (day, pass) in [(0, "first"), (0, "nothing new"), (1, "a day later")] {
        sandbox.set_day(day);
        let began = Instant::now();
        let (summary, peak) = run(dir.path());
        let seconds = began.elapsed().as_secs_f64();
        let requests = summary["requests"].as_u64().unwrap();
        let waves = u32::try_from(requests).unwrap() / CONCURRENCY;
        let least = LATENCY.as_secs_f64() * f64::from(waves);
        println!(
            "{connections:>11}  {:>7}  {requests:>8}  {seconds:>7.1}  {least:>5.1}  {:>5.2}  {peak:>8}  {pass}",
            summary["fetched"],
            seconds / least
        );
        assert_eq!(summary["exit_code"], 0, "{summary}");
    }
}

fn prepare(dir: &Path, sandbox: &Sandbox, connections: u32) {
    let mut app = Connection::open(dir.join("app.db")).unwrap();
    app.execute_batch("CREATE TABLE links (id TEXT, tink TEXT)").unwrap();
    let tx = app.transaction().unwrap();
    for n in 0..connections {
        tx.execute("INSERT INTO links VALUES (?1, ?2)", params![format!("c-{n}"), format!("user-{n}")])
            .unwrap();
    }
    tx.execute_batch(
        "CREATE VIEW tink_sync_source_v1 AS
         SELECT id AS connection_id, id AS user_id, 1 AS enabled, 1 AS entitled, tink AS external_user_id FROM links",
    )
    .unwrap();
    tx.commit().unwrap();
    std::fs::write(dir.join("secret"), "sandbox-secret").unwrap();
    let text = format!(
        "[tink]\nclient_id = \"sandbox-client\"\nclient_secret_file = \"{dir}/secret\"\napi_url = \"{url}\"\n\
         requests_per_second = 10000\nconcurrency = {CONCURRENCY}\n[store]\nurl = \"sqlite:{dir}/store.db\"\n\
         [source]\nview = \"tink_sync_source_v1\"\ndatabase = \"{dir}/app.db\"\n[sync]\nmin_interval = \"0s\"\n",
        dir = dir.display(),
        url = sandbox.url(),
    );
    std::fs::write(dir.join("tink-sync.toml"), text).unwrap();
}

/// Runs a pass; returns its summary and its peak memory in MiB, as `/usr/bin/time` counts it.
fn run(dir: &Path) -> (Value, u64) {
    let output = Command::new("/usr/bin/time")
        .env("TINK_SYNC_USER", "root")
        .args(["-f", "%M", "-o"])
        .arg(dir.join("peak"))
        .arg(env!("CARGO_BIN_EXE_tink-sync"))
        .arg("--config")
        .arg(dir.join("tink-sync.toml"))
        .args(["run", "--format", "json"])
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let summary = serde_json::from_str(stdout.lines().next_back().unwrap()).unwrap();
    let peak = std::fs::read_to_string(dir.join("peak")).unwrap();
    (summary, peak.lines().next_back().unwrap().trim().parse::<u64>().unwrap() / 1024)
}

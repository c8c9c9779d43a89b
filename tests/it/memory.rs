//! What is made of Tink's answers has bounds of its own: each kind of answer that grows in memory is given to eight
//! users at once, and the program stays below what its own unit allows.

use std::fmt::Write as _;
use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzEncoder;
use tink_sandbox::{Action, Endpoint, Fault, Script, ScriptRow};

use crate::harness::{World, small};
use crate::scripted::{booked, day, refresh};

const UNIT: &str = include_str!("../../systemd/tink-sync.service");
const USERS: usize = 8;
/// The most rows of a source view, and two numbers of them that show what one costs.
const MOST: u64 = 500_000;
const FEW: u64 = 20_000;
const MANY: u64 = 60_000;

/// The unit's `MemoryMax`, in bytes.
fn allowed() -> u64 {
    let line = UNIT.lines().find_map(|line| line.strip_prefix("MemoryMax=")).unwrap();
    line.strip_suffix('M').unwrap().parse::<u64>().unwrap() << 20
}

fn world() -> World {
    let users = (0..USERS).map(|n| format!("user-{n}")).collect();
    let world = World::with_users(small(0), users).set("retry.attempts", "1");
    for n in 0..USERS {
        world.sandbox.script(&format!("user-{n}"), link(1, "old", vec![booked("t", -1, "-1", "x")]));
    }
    world
}

/// A user's account under an id, with a number that stays.
fn link(n: u32, account: &str, rows: Vec<ScriptRow>) -> Script {
    let mut script = Script::simple(account, &refresh(n), rows);
    script.accounts[0]["identifiers"]["iban"]["iban"] = "PL1".into();
    script
}

fn pack(text: &str) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(text.as_bytes(), Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

/// Answers every user's calls to a place by these bodies, one after the other.
fn serve(world: &World, place: Endpoint, bodies: &[String]) {
    let packed: Vec<Vec<u8>> = bodies.iter().map(|body| pack(body)).collect();
    for (n, body) in (0..USERS).flat_map(|n| packed.iter().map(move |body| (n, body))) {
        world.sandbox.fault(Fault::new(Action::Gzip(body.clone())).at(place).user(&format!("user-{n}")));
    }
}

/// Runs a pass; the most memory that it held at any moment must be what its unit allows, with room to spare for
/// connections that need more. Returns its exit code.
fn run(world: &World, name: &str) -> i32 {
    let (code, peak) = measured(world);
    assert!(peak < allowed(), "{name}: {} MiB", peak >> 20);
    say(&format!("{name}: {} MiB", peak >> 20));
    world.assert_at_rest();
    code
}

/// Runs a pass; returns its exit code and the most memory that it held, in bytes.
fn measured(world: &World) -> (i32, u64) {
    let mut pass = world.pass(&[]);
    let mut child = pass.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        // The kernel keeps the highest value, so the last look before the end sees it.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let highest = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let highest = highest.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        peak = highest.map_or(peak, |kilobytes| kilobytes << 10);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(peak > 0);
    (ended.code().expect("nothing ended it"), peak)
}

#[expect(clippy::print_stdout, reason = "shown when it fails, or when a person asks")]
fn say(line: &str) {
    println!("{line}");
}

/// This many copies of a text, with commas between.
fn many(text: &str, count: usize) -> String {
    vec![text; count].join(",")
}

/// The view and what is stored of it are compared as a whole; for the metrics all connections are read as well, and of
/// so many rows four fifths fit into the unit then (packaging/scale.md).
#[test]
fn a_source_view_of_as_many_rows_as_are_read() {
    for rows in ["fine", "broken"] {
        let (few, many) = (peaks(FEW, rows == "fine"), peaks(MANY, rows == "fine"));
        for (pass, (few, many)) in ["all are new", "all are known"].iter().zip(few.into_iter().zip(many)) {
            let each = many.saturating_sub(few) / (MANY - FEW);
            say(&format!("{pass} and {rows}: {each} bytes for each row"));
            assert!(few + each * (MOST - FEW) < allowed() * 4 / 5, "{pass} and {rows}: {each} bytes");
        }
    }
}

/// The most memory of a pass to which so many rows are new, and of the one after it; metrics are written as well.
fn peaks(rows: u64, are_fine: bool) -> [u64; 2] {
    let world = World::new(small(0));
    let metrics = format!("\"{}\"", world.path("metrics.prom").display());
    let world = world.set("report.metrics_file", &metrics);
    let id = |first: &str| format!("'{first}0ffee00-1234-4567-89ab-' || printf('%012d', i)");
    world.app(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1)
         INSERT INTO app_connections SELECT {}, {}, 1, 0, NULL, {} FROM n",
        id("c"),
        if are_fine { id("d") } else { "NULL".to_owned() },
        id("e")
    ));
    [(); 2].map(|()| {
        let (code, peak) = measured(&world);
        assert_eq!(code, 0);
        peak
    })
}

#[test]
fn lists_of_millions_of_nothings() {
    for (place, list) in [
        (Endpoint::Consents, "providerConsents"),
        (Endpoint::Accounts, "accounts"),
        (Endpoint::Transactions, "transactions"),
    ] {
        let world = world();
        serve(&world, place, &[format!("{{\"{list}\":[{}]}}", many("0", 2_000_000))]);
        assert_eq!(run(&world, list), 0, "in the second round all is well");
    }
}

#[test]
fn consents_that_name_millions_of_accounts() {
    let each = |n| {
        format!(r#"{{"credentialsId":"c{n}","status":"UPDATED","accountIds":[{}]}}"#, many("\"a\"", 9_999))
    };
    let consents: Vec<String> = (0..390).map(each).collect();
    let world = world();
    serve(&world, Endpoint::Consents, &[format!("{{\"providerConsents\":[{}]}}", consents.join(","))]);
    assert_eq!(run(&world, "consents"), 0, "in the second round all is well");
}

#[test]
fn accounts_with_names_of_megabytes_on_many_pages() {
    let page = |n: usize| {
        let names: Vec<String> =
            (0..15).map(|k| format!(r#"{{"id":"{n}-{k}","name":"{}"}}"#, "x".repeat(1 << 20))).collect();
        format!("{{\"accounts\":[{}],\"nextPageToken\":\"{n}\"}}", names.join(","))
    };
    let world = world();
    let pages: Vec<String> = (0..6).map(page).collect();
    serve(&world, Endpoint::Accounts, &pages);
    assert_eq!(run(&world, "names"), 10);
}

#[test]
fn a_reconsent_of_records_that_cannot_be_read() {
    let world = world();
    assert_eq!(run(&world, "first"), 0);
    for n in 0..USERS {
        world.sandbox.script(&format!("user-{n}"), link(2, "new", Vec::new()));
    }
    let date = day(-1);
    let page = |n: usize| {
        let mut records = Vec::new();
        for k in 0..240 {
            let mut record = format!(r#"{{"id":"{n}-{k}","dates":{{"booked":"{date}"}},"reference":""#);
            write!(record, "{}\"}}", "x".repeat(60 << 10)).unwrap();
            records.push(record);
        }
        let next = if n == 4 { String::new() } else { n.to_string() };
        format!("{{\"transactions\":[{}],\"nextPageToken\":\"{next}\"}}", records.join(","))
    };
    serve(&world, Endpoint::Transactions, &(0..5).map(page).collect::<Vec<_>>());
    assert_eq!(run(&world, "unreadable"), 0);
    let kept = "SELECT count(*) FROM quarantine_v1";
    assert_eq!(world.number(kept), 100 * i64::try_from(USERS).unwrap());
    assert_eq!(world.number("SELECT min(quarantined) FROM balance_proofs_v1"), 5 * 240);
}

#[test]
fn rows_with_texts_of_megabytes() {
    let world = world();
    let date = day(-1);
    let row = |n: usize| {
        let amount = r#""amount":{"currencyCode":"EUR","value":{"scale":"2","unscaledValue":"1"}}"#;
        let text = "x".repeat(1 << 20);
        format!(
            r#"{{"id":"{n}",{amount},"dates":{{"booked":"{date}"}},"descriptions":{{"original":"{text}"}}}}"#
        )
    };
    let rows: Vec<String> = (0..8).map(row).collect();
    let page = format!("{{\"transactions\":[{}]}}", rows.join(","));
    for (round, name) in [(1, "new"), (2, "stored before")] {
        for n in 0..USERS {
            world.sandbox.script(&format!("user-{n}"), link(round, "old", Vec::new()));
        }
        serve(&world, Endpoint::Transactions, std::slice::from_ref(&page));
        assert_eq!(run(&world, name), 0);
        assert_eq!(world.number("SELECT count(*) FROM transactions_v1"), 8 * i64::try_from(USERS).unwrap());
    }
}

#[test]
fn an_answer_of_odd_bytes_alone() {
    let world = world();
    let odd = format!("{{\"transactions\":[\"{}\"]}}", "\u{1}".repeat(15 << 20));
    serve(&world, Endpoint::Transactions, &[odd]);
    assert_eq!(run(&world, "control characters"), 0, "in the second round all is well");
}

//! The kill storm: the binary dies at named points and at random moments, hundreds of times over evolving
//! days. After every death the store is whole, and one clean pass right after the last makes it exact.
//!
//! A longer storm: `TINK_SYNC_STORM_KILLS=20000 TINK_SYNC_STORM_SEED=7 cargo test --test it storm -- --ignored`

mod bank;
mod power;
mod proof;

use std::collections::VecDeque;
use std::process::{Command, Stdio};

use fastrand::Rng;
use tink_sync::clock::{Clock as _, SystemClock};
use tink_sync::config;
use tink_sync::failpoint::{self, STEPS, Side};
use tink_sync::store::NewRun;

use crate::harness::{World, small, was_killed};
use crate::stored::{Engine, Place, open};
use bank::{Bank, died};
use proof::{Proof, Reader, assert_misses_nothing, assert_told};

/// Steps that no pass of a few seconds takes; each has a test of its own below.
const ELSEWHERE: [&str; 33] = [
    "renew leases",
    "add connections",
    "change the connection",
    "change the user",
    // of the command: tests/it/balance.rs
    "accept balances",
    // of connect: tests/it/connect.rs
    "begin the link",
    "end the link",
    // of commands, of older stores and of users who are named in another way: tests/it/owners.rs
    "accept users",
    "accept the change",
    "accept the app",
    "remember the app",
    "change the Tink user",
    // only with tink.refresh: tests/it/refresh.rs
    "record the refresh request",
    // only of hosts that share a store: tests/it/engines/mod.rs, tests/it/import.rs
    "note a pause",
    "name the run",
    // only when Tink answers oddly: tests/it/odd.rs
    "record anomalies",
    // tests/it/forget.rs
    "forget the connection",
    "forget spooled events",
    "rewrite the store",
    "empty the log",
    // tests/it/quarantine.rs
    "retry the quarantine",
    "drop from the quarantine",
    // of older links: tests/it/refresh.rs
    "note the use of a token",
    "write new tokens",
    "encrypt tokens anew",
    // of commands: tests/it/export.rs, tests/it/import.rs
    "write the export",
    "replace the export",
    // of root's command on a machine with systemd: src/atomic_file/tests.rs
    "write the drop-in",
    "replace the drop-in",
    "take over rows",
    // of the command: tests/it/migrate.rs
    "begin the move",
    "copy rows",
    "complete the move",
];
/// Steps that a pass takes once per connection or account.
const REPEATED: [&str; 5] = [
    "claim connections",
    "write accounts",
    "write transactions",
    "write the end of a walk",
    "record the outcome",
];

/// How a pass dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    /// At this point, when it gets there for the nth time.
    At(&'static str, &'static str, u32),
    /// At the nth point, whichever that is.
    Point(u32),
    /// When Tink has been asked so often.
    Request(u64),
    /// When the store's log has changed so often.
    Write(u32),
}

/// A bank, what was done to it, and how to tell whether it bore it.
struct Storm {
    bank: Bank,
    rng: Rng,
    proof: Proof,
    reader: Reader,
    kills: u32,
}

impl Storm {
    fn new(seed: u64) -> Self {
        say(&format!("storm with seed {seed}"));
        let (rng, bank) = (Rng::with_seed(seed), Bank::new(seed));
        Self { proof: Proof::of(&bank), bank, rng, reader: Reader::default(), kills: 0 }
    }

    /// Lets a pass die; says whether it did, and fails unless the store is whole.
    fn strike(&mut self, blow: Blow) -> bool {
        say(&format!("day {}: {blow:?}", self.bank.day));
        let world = &self.bank.world;
        let killed = match blow {
            Blow::At(step, side, nth) => self.bank.die_at(step, &format!("{step}:{side}#{nth}")),
            Blow::Point(nth) => self.bank.die_at("", &format!("*#{nth}")),
            Blow::Request(nth) => {
                world.sandbox.reset_counters();
                world.start(&[]).kill_when(|| world.sandbox.requests().values().sum::<u64>() >= nth)
            }
            Blow::Write(nth) => {
                let mut writes = Writes { place: &world.place, last: None, changes: 0 };
                world.start(&[]).kill_when(|| writes.seen() >= nth)
            }
        };
        self.kills += u32::from(killed);
        self.proof.check(&self.bank.world, &mut self.reader);
        killed
    }

    /// One clean pass: everything is exact and at rest. Then the next day begins.
    fn clear(&mut self) {
        let world = &self.bank.world;
        let ran = world.run(&[]).expect(self.bank.code());
        assert_eq!(ran.skipped("leased") + ran.skipped("not_before") + ran.skipped("quota"), 0);
        world.assert_all_exact();
        assert_eq!(world.leased(), 0);
        assert_eq!(world.number("SELECT count(*) FROM runs_v1 WHERE finished_at IS NULL"), 0);
        // One that died before its run was written down leaves an empty file that means nothing.
        for file in world.files().iter().filter(|name| name.contains("-run-")) {
            let known = format!("SELECT count(*) FROM runs_v1 WHERE '{file}' LIKE '%' || run_id || '%'");
            assert_eq!(world.number(&known), 0, "{file} is left of a run that is known");
        }
        self.proof.check(world, &mut self.reader);
        assert_misses_nothing(&self.reader, world);
        assert_told(world);
        if self.bank.is_over() {
            self.bank = Bank::new(self.rng.u64(..));
            self.reader = Reader::default();
        } else {
            self.bank.next_day();
        }
        self.proof = Proof::of(&self.bank);
    }

    /// A blow in the midst of what a day's first pass does, or later ones.
    fn random_blow(&mut self) -> Blow {
        match self.rng.u8(..8) {
            0..3 => Blow::Point(self.rng.u32(1..80)),
            3 => {
                let step = self.rng.choice(pass_steps().collect::<Vec<_>>()).unwrap();
                Blow::At(step, self.rng.choice(Side::BOTH).unwrap().as_str(), self.rng.u32(1..4))
            }
            4..6 => Blow::Request(self.rng.u64(1..40)),
            _ => Blow::Write(self.rng.u32(1..40)),
        }
    }

    /// Random blows until this many passes have died, a few each day. A pass that got away has done the
    /// day's work.
    fn rage(&mut self, kills: u32) {
        while self.kills < kills {
            for _ in 0..self.rng.u32(3..12) {
                let blow = self.random_blow();
                if !self.strike(blow) {
                    break;
                }
            }
            self.clear();
        }
    }
}

/// The store's write-ahead log, watched from outside.
struct Writes<'a> {
    place: &'a Place,
    last: Option<String>,
    changes: u32,
}

impl Writes<'_> {
    fn seen(&mut self) -> u32 {
        let now = self.place.written();
        self.changes += u32::from(now != self.last);
        self.last = now;
        self.changes
    }
}

#[expect(clippy::print_stdout, reason = "shown when a storm fails")]
fn say(line: &str) {
    println!("{line}");
}

/// Steps of a pass that there are on files alone; with a server an account of a storm is one commit.
const OF_FILES: [&str; 5] =
    ["create the file", "open the store", "close the store", "unlock the run", "write transactions"];

fn pass_steps() -> impl Iterator<Item = &'static str> {
    let is_there = |step: &&str| Engine::asked() == Engine::Sqlite || !OF_FILES.contains(step);
    STEPS.into_iter().filter(|step| !ELSEWHERE.contains(step)).filter(is_there)
}

fn number_of(variable: &str) -> Option<u64> {
    config::process_env(variable)?.to_str()?.parse().ok()
}

#[test]
fn a_pass_may_die_before_and_after_every_durable_step() {
    let mut storm = Storm::new(1);
    let sides =
        |step: &'static str, nth: u32| Side::BOTH.map(|side| Blow::At(step, side.as_str(), nth)).to_vec();
    let mut first: Vec<Blow> = pass_steps().flat_map(|step| sides(step, 1)).collect();
    let mut later: Vec<Blow> =
        (2..5).flat_map(|nth| REPEATED.into_iter().flat_map(move |step| sides(step, nth))).collect();
    storm.rng.shuffle(&mut first);
    storm.rng.shuffle(&mut later);
    for _ in 0..80 {
        for blow in later.drain(..later.len().min(3)).collect::<Vec<_>>() {
            storm.strike(blow);
        }
        // A store is made once, and before all else.
        let makes_it = |blow: &Blow| matches!(blow, Blow::At("create the file" | "prepare the store", ..));
        let is_new = storm.bank.is_new();
        let (mut making, others): (Vec<_>, Vec<_>) = first.drain(..).partition(makes_it);
        let mut today: VecDeque<Blow> =
            if is_new { making.drain(..).chain(others).collect() } else { others.into() };
        // What is done for the day is not done again: with a blow that found nothing the day is over, and that blow is
        // tried when all others were.
        let mut missed = None;
        for _ in 0..8 {
            let Some(blow) = today.pop_front() else { break };
            if !storm.strike(blow) {
                missed = Some(blow);
                break;
            }
        }
        first = today.into_iter().chain(making).chain(missed).collect();
        storm.clear();
        if first.is_empty() && later.is_empty() {
            break;
        }
    }
    assert_eq!(first, [], "points that no pass ever got to");
    assert!(storm.kills >= 50, "{} kills", storm.kills);
}

#[test]
fn a_pass_may_die_at_any_moment_while_rows_are_corrected() {
    Storm::new(2).rage(75);
}

#[test]
fn a_pass_may_die_at_any_moment_while_users_connect_anew() {
    Storm::new(3).rage(75);
}

#[test]
#[ignore = "takes minutes: TINK_SYNC_STORM_KILLS says how long, TINK_SYNC_STORM_SEED repeats one"]
fn a_storm_of_thousands() {
    let seed = number_of("TINK_SYNC_STORM_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let kills = number_of("TINK_SYNC_STORM_KILLS").unwrap_or(5000);
    Storm::new(seed).rage(u32::try_from(kills).unwrap());
}

#[test]
fn of_two_passes_one_may_die_and_nothing_is_done_twice() {
    let mut storm = Storm::new(4);
    if Engine::asked() == Engine::Postgres {
        // The one that lives on waits for as long as the dead one could be alive.
        storm.clear();
        storm.bank.world.leases_last(12);
    }
    // Where both get little done before the point, nobody dies: on a machine that is busy that is so more often.
    for _ in 0..64 {
        if storm.kills >= 8 {
            break;
        }
        let world = &storm.bank.world;
        let point = format!("*#{}", storm.rng.u32(20..60));
        say(&format!("day {}: {point} of two", storm.bank.day));
        let mut dying = world.pass(&[]);
        dying.env(failpoint::VARIABLE, &point).stdout(Stdio::piped()).stderr(Stdio::piped());
        let dying = dying.spawn().unwrap();
        let ran = world.run(&[]);
        storm.kills += u32::from(died(&dying.wait_with_output().unwrap()));
        // One that came too late to do anything knows of nobody who needs attention.
        assert!(ran.code == 0 || ran.code == storm.bank.code(), "{ran:?}");
        assert_eq!(world.done_twice(), 0, "connections done by both");
        storm.proof.check(world, &mut storm.reader);
        storm.clear();
    }
    assert!(storm.kills >= 8, "{} kills", storm.kills);
}

#[test]
fn what_the_operator_changes_is_there_or_not() {
    let world = World::new(small(1)).unset("source.view").unset("source.database");
    world.cli(&["connections", "list"]).expect(0);
    let run = |args: &[&str], point: &str| {
        let ended = world.command(args).env(failpoint::VARIABLE, point).output().unwrap();
        assert!(was_killed(ended.status), "{point}: {ended:?}");
        assert_eq!(world.text("PRAGMA integrity_check").unwrap(), "ok");
    };
    let is = |sql: &str, expected: i64| assert_eq!(world.number(sql), expected, "{sql}");
    for side in Side::BOTH {
        let done = i64::from(side == Side::After);
        let point = |step: &str| format!("{step}:{}", side.as_str());
        let (id, tink) = (format!("c-{}", side.as_str()), format!("user-{}", side.as_str()));
        let add = ["connections", "add", &id, "--user", "u-0", "--external-user-id", &tink];
        run(&add, &point("add connections"));
        is(&format!("SELECT count(*) FROM tink_sync_source_v1 WHERE connection_id = '{id}'"), done);
        if done == 0 {
            world.cli(&add).expect(0);
        }
        run(&["connections", "disable", &id], &point("change the connection"));
        is(
            &format!("SELECT count(*) FROM tink_sync_source_v1 WHERE connection_id = '{id}' AND NOT enabled"),
            done,
        );
        run(&["users", "set", "u-0", "--entitled", "no"], &point("change the user"));
        is("SELECT count(DISTINCT user_id) FROM tink_sync_source_v1 WHERE NOT entitled", done);
    }
}

/// Where the store of a process of this test's own lies.
const CHILD: &str = "TINK_SYNC_TEST_CHILD";

/// A minute would have to pass before a run renews its leases: a process of this test's own does it.
#[test]
fn a_run_may_die_when_it_renews_its_leases() {
    for side in Side::BOTH {
        let (_dir, place) = Place::of_its_own();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "storm::child_that_renews_its_leases", "--ignored"]);
        child.env(failpoint::VARIABLE, format!("renew leases:{}", side.as_str())).env(CHILD, place.url());
        let ended = child.output().unwrap();
        assert!(was_killed(ended.status), "{ended:?}");
        let db = place.look();
        let ok: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(ok, "ok");
    }
}

#[tokio::test]
#[ignore = "started by another test"]
async fn child_that_renews_its_leases() {
    failpoint::arm(config::process_env);
    let (_dir, own) = Place::of_its_own();
    let now = SystemClock.now();
    let store =
        config::process_env(CHILD).map_or_else(|| own.open(now), |url| open(url.to_str().unwrap(), now));
    let new = NewRun {
        run_id: "run-1".into(),
        trigger: "manual",
        on_demand: false,
        host: String::new(),
        version: "0",
        process_started: now,
        started_at: now,
    };
    let run = store.begin_run(new).await.unwrap();
    store.renew(&run, now).await.unwrap();
    // What is applied is not durable yet.
    store.close().await;
}

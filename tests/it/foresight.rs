//! What `why` says the next run will do is what the next run does: for connections in any state, and views that say
//! anything of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use tink_sync::clock::{Clock as _, SystemClock};

use crate::harness::{Ran, World, quoted, small};
use crate::inside::{HOUR, left};

const CONNECTIONS: usize = 20;

/// What the application says of a connection; `{n}` is its number, `{other}` that of a Tink user who is nobody's.
const SAID: [&str; 9] = [
    "",
    "UPDATE app_connections SET enabled = 0 WHERE id = 'c-{n}'",
    "UPDATE app_connections SET entitled = 0 WHERE id = 'c-{n}'",
    "UPDATE app_connections SET entitled_until = '2020-01-01' WHERE id = 'c-{n}'",
    "UPDATE app_connections SET entitled_until = '2999-01-01' WHERE id = 'c-{n}'",
    "UPDATE app_connections SET tink = 'user-{other}' WHERE id = 'c-{n}'",
    "UPDATE app_connections SET user_id = 'other-{n}' WHERE id = 'c-{n}'",
    "UPDATE app_connections SET tink = NULL WHERE id = 'c-{n}'",
    "DELETE FROM app_connections WHERE id = 'c-{n}'",
];

/// What is kept of a connection, in any combination: times are hours from now.
#[derive(Clone, Debug)]
struct Kept {
    said: &'static str,
    has_data: bool,
    failures: u32,
    not_before: Option<i64>,
    needs_user: bool,
    succeeded: Option<i64>,
    outcome: &'static str,
    leased: bool,
}

fn kept() -> impl Strategy<Value = Kept> {
    let times = || select(vec![None, Some(-30), Some(-1), Some(1), Some(40)]);
    (
        select(SAID.to_vec()),
        any::<bool>(),
        0..3u32,
        times(),
        prop::bool::weighted(0.2),
        times(),
        select(vec!["synced", "failed", "rate_limited", "interrupted"]),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(said, has_data, failures, not_before, needs_user, succeeded, outcome, leased)| {
            Kept { said, has_data, failures, not_before, needs_user, succeeded, outcome, leased }
        })
}

impl Kept {
    /// Makes connection `c-<n>` so.
    fn make(&self, world: &World, n: usize, now: Timestamp) {
        let said = self.said.replace("{n}", &n.to_string());
        world.app(&said.replace("{other}", &(n + CONNECTIONS).to_string()));
        let at = |hours: i64| now.as_millisecond() + hours * HOUR;
        let kept = left::Kept {
            failures: self.failures,
            not_before: self.not_before.map(at),
            needs_user: self.needs_user.then_some("login_required"),
            last_success_began: self.succeeded.map(at),
            last_outcome: self.outcome,
            leased_until: self.leased.then(|| at(1)),
            has_data: self.has_data,
        };
        world.keep(&format!("c-{n}"), &kept);
    }
}

/// Whether `why` says that the next run works on the connection, or the reason for which it does not.
fn foretold(world: &World, id: &str) -> Option<String> {
    let why: Value =
        serde_json::from_str(&world.cli(&["why", id, "--format", "json"]).expect(0).stdout).unwrap();
    let (due, reason) = (&why["next_run"]["due"], &why["next_run"]["reason"]);
    assert_eq!(due.as_bool(), Some(reason.is_null()), "{why}");
    let next: Option<Timestamp> = why["connection"]["next_attempt_at"].as_str().map(|at| at.parse().unwrap());
    assert!(!reason.is_null() || next <= Some(SystemClock.now()), "what is due waits for nothing: {why}");
    reason.as_str().map(str::to_owned)
}

/// What a pass of the timer did with each connection: nothing for one that it worked on, else the reason.
fn done(ran: &Ran) -> BTreeMap<String, Option<String>> {
    let field = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!(" tink.{name}=\""))?;
        Some(rest.split('"').next().unwrap().to_owned())
    };
    let skipped = ran.stderr.lines().filter(|line| line.contains(" was not synced: "));
    let skipped =
        skipped.map(|line| (field(line, "connection_id").unwrap(), Some(field(line, "reason").unwrap())));
    let worked = ran.connections().into_keys().map(|id| (id, None));
    worked.chain(skipped).collect()
}

fn rehearsed(world: &World) -> Ran {
    let now = SystemClock.now().as_microsecond().to_string();
    let mut command = world.command(&["--verbose", "run", "--format", "json", "--dry-run"]);
    Ran::of(command.env("TRIGGER_TIMER_REALTIME_USEC", now).output().unwrap())
}

fn assert_foretold(world: &World) {
    let foretold: BTreeMap<String, Option<String>> =
        (0..CONNECTIONS).map(|n| format!("c-{n}")).map(|id| (id.clone(), foretold(world, &id))).collect();
    let ran = rehearsed(world);
    assert_eq!(foretold, done(&ran), "{}\n{}", ran.stdout, ran.stderr);
}

fn world() -> World {
    let users = (0..CONNECTIONS).map(|n| format!("user-{n}")).collect();
    let world = World::with_users(small(2 * u32::try_from(CONNECTIONS).unwrap()), users);
    world.run(&[]).expect(0);
    world.set("sync.min_interval", &quoted("5h"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn what_why_foretells_is_what_the_next_run_does(
        kept in prop::collection::vec(kept(), CONNECTIONS), poor in prop::bool::weighted(0.3)
    ) {
        let world = world();
        let world = if poor { world.set("quota.syncs_per_day", "3").set("quota.reserved_for_manual", "2") } else { world };
        let now = SystemClock.now();
        for (n, kept) in kept.iter().enumerate() {
            kept.make(&world, n, now);
        }
        assert_foretold(&world);
    }
}

#[test]
fn another_tink_user_in_the_view_begins_anew_for_why_as_for_the_run() {
    let world = world();
    // Of the first nothing is kept: it has another owner now. Of the second something is: that is refused.
    for (n, has_data) in [(0, false), (1, true)] {
        let kept = Kept {
            said: "UPDATE app_connections SET tink = 'user-{other}' WHERE id = 'c-{n}'",
            has_data,
            failures: 3,
            not_before: Some(1),
            needs_user: true,
            succeeded: Some(-1),
            outcome: "rate_limited",
            leased: false,
        };
        kept.make(&world, n, SystemClock.now());
    }
    assert_eq!((foretold(&world, "c-0"), foretold(&world, "c-1")), (None, None));
    let said = world.cli(&["why", "c-0", "--format", "json"]).stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["connection"]["state"], &said["connection"]["reason"]),
        (&"new".into(), &Value::Null),
        "{said}"
    );
    assert!(
        said["connection"]["last_error"].is_null() && said["connection"]["not_before"].is_null(),
        "{said}"
    );
    assert_foretold(&world);
    let ran = world.run(&[]).expect(10);
    assert_eq!(ran.ended("c-0").0, "synced");
    assert_eq!(ran.ended("c-1"), ("failed".to_owned(), Some("source_row".to_owned())));
}

#[test]
fn a_row_that_cannot_be_used_fails_in_every_pass_and_nothing_says_that_it_rests() {
    let world = world();
    world.app("UPDATE app_connections SET tink = NULL WHERE id = 'c-1'");
    assert_eq!(foretold(&world, "c-1"), None);
    for _ in 0..3 {
        let ran = world.run(&[]).expect(10);
        assert_eq!(ran.ended("c-1"), ("failed".to_owned(), Some("source_row".to_owned())));
        assert!(!ran.stderr.contains("not tried again before"), "{}", ran.stderr);
        assert_eq!(foretold(&world, "c-1"), None);
        let sql = "SELECT count(*) FROM connections_v1 WHERE connection_id = 'c-1' AND state = 'failing'
                   AND coalesce(next_attempt_at, not_before) IS NULL";
        assert_eq!(world.number(sql), 1);
    }
    // Nor does it rest once it is corrected.
    world.app("UPDATE app_connections SET tink = 'user-1' WHERE id = 'c-1'");
    assert_eq!(world.run(&[]).expect(0).ended("c-1").0, "unchanged");
}

#[test]
fn the_state_that_status_tells_is_that_of_the_view() {
    let world = world();
    let odd = |n: usize, outcome, failures, needs_user| Kept {
        said: SAID[n % SAID.len()],
        has_data: n.is_multiple_of(2),
        failures,
        not_before: Some(1),
        needs_user,
        succeeded: None,
        outcome,
        leased: false,
    };
    for n in 0..CONNECTIONS {
        let outcome = ["synced", "failed", "rate_limited"][n % 3];
        odd(n, outcome, u32::from(n % 4 == 1), n % 5 == 4).make(&world, n, SystemClock.now());
    }
    world.run(&["--connection", "c-0", "--force"]).expect(0);
    let told: Value =
        serde_json::from_str(&world.cli(&["status", "--format", "json"]).expect(0).stdout).unwrap();
    let told = told["connections"].as_array().unwrap();
    assert_eq!(told.len(), CONNECTIONS);
    let mut states = std::collections::BTreeSet::new();
    for told in told {
        let id = told["connection_id"].as_str().unwrap();
        let sql = "SELECT state, reason, next_attempt_at FROM connections_v1 WHERE connection_id = ?1";
        let stored = world.texts(sql, id).pop().unwrap();
        let text = |name: &str| told[name].as_str().map(str::to_owned);
        assert_eq!(vec![text("state"), text("reason"), text("next_attempt_at")], stored, "{told}");
        states.extend(text("state"));
    }
    assert!(states.len() >= 6, "{states:?}");
}

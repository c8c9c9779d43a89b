//! Tink's limits and ours: a long `Retry-After`, the daily quota, the rest between two syncs.

use tink_sandbox::{Action, Endpoint, Fault, Times};
use tink_sync::clock::{Clock as _, SystemClock};

use crate::harness::{World, small};
use crate::inside::{DAY, HOUR};

/// How many connections wait for about an hour.
const WAITING: &str = "SELECT count(*) FROM connections_v1
    WHERE strftime('%s', not_before) - strftime('%s', 'now') BETWEEN 3300 AND 3600";
const SUCCEEDED: &str = "SELECT count(*) FROM connections_v1 WHERE last_success_at IS NOT NULL";

fn limited(place: Endpoint) -> Fault {
    Fault::new(Action::too_many("3600")).at(place)
}

#[test]
fn a_long_retry_after_stops_claiming_and_is_kept_by_the_next_run() {
    let world = World::new(small(30)).set("tink.concurrency", "2");
    world.sandbox.fault(limited(Endpoint::Accounts).user("user-3"));
    // It is the app's limit: another user's grant meets it too.
    world.sandbox.fault(limited(Endpoint::Grant).nth(6).times(Times::Forever));
    let ran = world.run(&[]).expect(10);
    world.sandbox.clear_faults();
    let (synced, left, limited) = (ran.total("synced"), ran.skipped("not_before"), ran.total("rate_limited"));
    assert_eq!(synced + left + limited, 30);
    assert!(left > 0 && limited > 0, "claiming stopped");
    assert_eq!(u64::try_from(world.number(WAITING)).unwrap(), left + limited, "whoever is not done waits");
    assert_eq!(u64::try_from(world.number(SUCCEEDED)).unwrap(), synced, "a limit is no success");
    world.assert_at_rest();

    world.sandbox.reset_counters();
    let next = world.run(&[]).expect(0);
    assert_eq!((next.skipped("not_before"), next.total("due")), (left + limited, synced));

    let forced = world.run(&["--force"]).expect(0);
    assert_eq!((forced.skipped("not_before"), forced.total("due")), (0, 30));
    world.assert_all_exact();
    assert_eq!(world.number(WAITING), 0, "a success ends the waiting");
}

#[test]
fn one_users_long_retry_after_rests_that_user_alone() {
    for action in [Action::too_many("3600"), busy("3600"), busy("86400")] {
        let world = World::new(small(30));
        world.run(&[]).expect(0);
        world.sandbox.set_day(1);
        world.sandbox.reset_counters();
        world.sandbox.fault(Fault::new(action).at(Endpoint::Accounts).user("user-3").times(Times::Forever));
        let ran = world.run(&[]).expect(10);
        assert_eq!((ran.total("synced") + ran.total("unchanged"), ran.skipped("not_before")), (29, 0));
        assert_eq!(world.sandbox.requests_of("user-3")[&Endpoint::Accounts], 1, "nobody insists");
        assert_eq!(world.number("SELECT count(*) FROM connections_v1 WHERE not_before IS NOT NULL"), 1);
    }
}

/// A 503 that asks to come back later.
fn busy(after: &str) -> Action {
    Action::Status {
        code: 503,
        headers: vec![("Retry-After".to_owned(), after.to_owned())],
        body: String::new(),
    }
}

#[test]
fn a_limit_on_the_client_token_makes_everybody_wait() {
    let world = World::new(small(20));
    world.sandbox.fault(limited(Endpoint::ClientToken).times(Times::Forever));
    let ran = world.run(&[]).expect(10);
    assert_eq!((ran.total("synced"), world.number(WAITING)), (0, 20));
    assert!(world.sandbox.requests_to(Endpoint::ClientToken) < 20);
    world.sandbox.reset_counters();
    assert_eq!(world.run(&[]).expect(0).skipped("not_before"), 20);
    assert!(world.sandbox.requests().is_empty());
}

#[test]
fn a_connection_asked_for_by_name_is_told_to_wait_unless_forced() {
    let world = World::new(small(3));
    world.sandbox.fault(limited(Endpoint::Transactions).user("user-1"));
    world.run(&[]).expect(10);
    let ran = world.run(&["--connection", "c-1"]).expect(10);
    assert_eq!(ran.skipped("not_before"), 1);
    assert!(ran.stderr.contains("c-1"), "{}", ran.stderr);
    world.run(&["--connection", "c-1", "--force"]).expect(0);
    world.assert_exact(1);
}

#[test]
fn a_limit_without_a_time_that_lasts_is_no_success_either() {
    let world = World::new(small(6));
    let every = Fault::new(Action::status(429)).user("user-0").at(Endpoint::Consents);
    world.sandbox.fault(every.times(Times::Forever));
    let ran = world.run(&[]).expect(10);
    assert_eq!(ran.ended("c-0").0, "rate_limited");
    assert_eq!((ran.total("synced"), world.number(SUCCEEDED)), (5, 5));
    // No time was named, so the next pass asks again, and tells again.
    assert_eq!(world.run(&[]).expect(10).ended("c-0").0, "rate_limited");
    world.sandbox.clear_faults();
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

/// Two connections of one user and one of another, with three syncs a day of which one is for people.
fn rationed() -> World {
    let world = World::new(small(3)).set("quota.syncs_per_day", "3").set("quota.reserved_for_manual", "1");
    world.app("UPDATE app_connections SET user_id = 'u-0' WHERE id = 'c-1'");
    world
}

#[test]
fn the_timer_leaves_the_reserved_syncs_to_people() {
    let world = rationed();
    let first = world.run_by_timer().expect(0);
    assert_eq!((first.total("synced"), first.skipped("quota")), (3, 0));
    assert_eq!(world.text("SELECT trigger FROM runs_v1").unwrap(), "timer");
    // Each connection of the user counts: two of two are used up. The other user has one left.
    let second = world.run_by_timer().expect(0);
    assert_eq!((second.total("unchanged"), second.skipped("quota")), (1, 2));
    let third = world.run_by_timer().expect(0);
    assert_eq!((third.total("due"), third.skipped("quota")), (0, 3));

    // Both are planned, but one attempt is left for the two of them.
    let manual = world.run(&[]).expect(0);
    assert_eq!((manual.total("unchanged"), manual.skipped("quota")), (2, 1));
    world.sandbox.reset_counters();
    assert_eq!(world.run(&[]).expect(0).skipped("quota"), 3);
    let asked = world.run(&["--force", "--connection", "c-0", "c-2"]).expect(10);
    assert_eq!((asked.total("due"), asked.skipped("quota")), (0, 2), "nothing ignores the quota");
    assert!(world.sandbox.requests().is_empty());
}

#[test]
fn a_sync_counts_for_a_day_and_failed_ones_count_too() {
    let world = rationed();
    let broken = Fault::new(Action::status(404)).user("user-2").at(Endpoint::Consents);
    world.sandbox.fault(broken.times(Times::N(2)));
    world.run_by_timer().expect(10);
    world.run_by_timer().expect(10);
    assert_eq!(world.run_by_timer().expect(0).skipped("quota"), 3);
    world.age_attempts(DAY);
    let tomorrow = world.run_by_timer().expect(0);
    assert_eq!((tomorrow.total("due"), tomorrow.skipped("quota")), (3, 0));
    world.assert_all_exact();
}

#[test]
fn what_was_synced_just_now_rests() {
    let world = World::new(small(10)).set("sync.min_interval", "\"5h\"");
    let broken = Fault::new(Action::status(500)).user("user-9").at(Endpoint::Accounts);
    world.sandbox.fault(broken.times(Times::Forever));
    world.run(&[]).expect(10);
    world.sandbox.clear_faults();
    world.sandbox.reset_counters();
    let again = world.run(&[]).expect(0);
    assert_eq!((again.skipped("recent"), again.total("due")), (9, 1), "what failed is due at once");
    assert!(world.sandbox.requests_of("user-0").is_empty());
    assert_eq!(world.run(&[]).expect(0).skipped("recent"), 10);

    let asked = world.run(&["--connection", "c-0", "c-1"]).expect(0);
    assert_eq!((asked.total("due"), asked.total("unchanged")), (2, 2));
    let asked = world.run(&["--user", "u-4"]).expect(0);
    assert_eq!((asked.total("due"), asked.connections().len()), (1, 1));

    world.age_successes(6 * HOUR);
    assert_eq!(world.run(&[]).expect(0).total("due"), 10);
}

#[test]
fn a_clock_that_was_ahead_does_not_hold_anybody_back() {
    let world = World::new(small(4)).set("sync.min_interval", "\"5h\"");
    world.run(&[]).expect(0);
    world.age_successes(-900 * DAY);
    world.rest_until(0, SystemClock.now().as_millisecond() + 900 * DAY);
    assert_eq!(world.run(&[]).expect(0).total("due"), 4);
}

#[test]
fn the_switch_stops_passes_and_not_what_a_person_asks_for() {
    let world = World::new(small(4)).set("enabled", "false");
    let off = world.run(&[]).expect(0);
    assert_eq!(off.total("due"), 0);
    assert!(world.sandbox.requests().is_empty());
    world.run(&["--connection", "c-1"]).expect(0);
    world.assert_exact(1);
    assert_eq!(world.run(&["--force"]).expect(0).total("due"), 4);
    world.assert_all_exact();
}

#[test]
fn a_connection_backs_off_after_six_failures_and_force_tries_all_the_same() {
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    let fault = Fault::new(Action::status(403)).user("user-0").at(Endpoint::Accounts);
    world.sandbox.fault(fault.times(Times::Forever));
    (0..6).for_each(|_| drop(world.run(&[]).expect(10)));
    world.sandbox.clear_faults();
    assert_eq!(world.run(&[]).expect(0).skipped("not_before"), 1);
    assert_eq!(world.run(&["--connection", "c-0"]).expect(10).skipped("not_before"), 1);
    world.run(&["--connection", "c-0", "--force"]).expect(0);
    world.assert_all_exact();
}

#[test]
fn a_pass_that_is_switched_off_says_so_to_a_person() {
    let world = World::new(small(1)).set("enabled", "false");
    let ran = world.cli(&["run"]).expect(0);
    assert!(ran.stdout.contains("switched off"), "{}", ran.stdout);
    assert!(!world.has_store());
}

#[test]
fn every_line_of_the_report_names_its_run() {
    let world = World::new(small(2));
    let ran = world.run(&[]).expect(0);
    let run_id = &ran.summary()["run_id"];
    assert!(ran.lines.len() == 4 && ran.lines.iter().all(|line| &line["run_id"] == run_id), "{}", ran.stdout);
}

#[test]
fn a_pass_whose_time_is_over_leaves_the_rest_to_the_next() {
    let world = World::new(small(8)).set("sync.deadline", "\"1ms\"").set("tink.concurrency", "1");
    let ran = world.run(&[]).expect(10);
    assert!(ran.skipped("deadline") > 0, "{}", ran.stdout);
    world.assert_at_rest();
    let world = world.set("sync.deadline", "\"5h\"");
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

//! Clocks that are wrong, time zones, days that are longer or shorter: none changes what is stored, and what a
//! wrong clock has left behind holds nobody up.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tink_sandbox::{Action, Endpoint, Fault, Script, ScriptRow, Times};
use tink_sync::clock::{Clock as _, ManualClock, Stopwatch, SystemClock};
use tink_sync::domain::consent::Consent;
use tink_sync::domain::outcome::Outcome;
use tink_sync::domain::warning::Told;
use tink_sync::domain::window::{Deep, Window, WindowInput};
use tink_sync::sync::policy;

use crate::harness::{Ran, World, plain, small};
use crate::inside::{DAY, HOUR};
use crate::scripted::{A1, Sam, at, booked, day, pending};

const YEAR: i64 = 365 * DAY;

#[test]
fn what_a_clock_that_was_wrong_has_left_behind_holds_nobody_up() {
    for by in [YEAR, -YEAR, 7 * HOUR, -7 * HOUR] {
        let world = World::new(small(4))
            .set("sync.min_interval", "\"5h\"")
            .set("quota.syncs_per_day", "1")
            .set("quota.reserved_for_manual", "0");
        world.run(&[]).expect(0);
        world.as_if_ahead(by);
        world.sandbox.set_day(2);
        let ran = world.run(&[]).expect(0);
        // A time within a day could be right: the quota of that day is used up.
        let waits = by.abs() < YEAR;
        assert_eq!((ran.total("due"), ran.skipped("quota")), if waits { (0, 4) } else { (4, 0) }, "{by}");
        if by == YEAR {
            world.assert_all_exact();
        }
        // By hand it is done at once, and all is exact, whatever the clock did.
        let all = ["--connection", "c-0", "c-1", "c-2", "c-3"];
        let world = world.set("quota.syncs_per_day", "50");
        world.run(&all).expect(0);
        world.assert_all_exact();
    }
}

#[test]
fn a_watermark_of_the_future_hides_no_rows_and_is_put_right() {
    let old = || vec![booked("old", -60, "-1", "x"), pending("held", -40, "-2", "y")];
    let more = || [old(), vec![booked("new", 0, "-3", "z")]].concat();
    for deep in [false, true] {
        let sam = Sam::with(at(1, old()));
        sam.0.watermarks_ahead(365);
        if deep {
            sam.0.as_if_ahead(YEAR);
        }
        sam.pass(at(2, more())).expect(0);
        let from = day(if deep { -90 } else { -54 }).to_string();
        assert_eq!(
            (sam.window().0, sam.live()),
            (Some(from), vec!["held".into(), "new".into(), "old".into()])
        );
        assert_eq!(sam.account(A1, "complete_through"), Some(day(0).to_string()));
        sam.0.assert_exact(0);
    }
    // A refresh of yesterday puts it right as well; a walk that shows nothing leaves it.
    let sam = Sam::with(at(1, old()));
    sam.0.watermarks_ahead(2);
    sam.pass(Script::simple(A1, &format!("{}T06:00:00Z", day(-1)), more())).expect(0);
    assert_eq!(sam.account(A1, "complete_through"), Some(day(-1).to_string()));
}

#[test]
fn a_clock_that_jumped_in_mid_pass_and_was_put_right_holds_nobody_up() {
    for hours in [10, 72, -10] {
        let world = World::new(small(4));
        world.run(&[]).expect(0);
        // Half of the pass came before the jump; its end, and what came after it, bear the other time.
        world.as_if_ahead_since_its_middle(hours * HOUR);
        world.sandbox.set_day(1);
        let ran = world.run(&[]).expect(0);
        assert_eq!((ran.total("due"), ran.total("synced"), ran.skipped("leased")), (4, 4, 0), "{hours}");
        world.assert_all_exact();
    }
}

#[test]
fn a_back_off_of_a_clock_that_was_wrong_is_not_obeyed() {
    let world = World::new(small(1));
    world.run(&[]).expect(0);
    world.rest_until(9, SystemClock.now().as_millisecond() + YEAR);
    assert_eq!(world.run(&[]).expect(0).total("due"), 1);
}

#[test]
fn a_clock_that_is_wrong_is_told_by_the_check() {
    for (date, said) in
        [("Thu, 01 Jan 2026 00:00:00 GMT", "ahead of"), ("Thu, 01 Jan 2099 00:00:00 GMT", "behind")]
    {
        let world = World::new(small(1));
        let body = r#"{"access_token":"t","expires_in":1800,"scope":"authorization:grant"}"#.to_owned();
        let headers = vec![("Date".to_owned(), date.to_owned())];
        world
            .sandbox
            .fault(Fault::new(Action::Status { code: 200, headers, body }).at(Endpoint::ClientToken));
        let ran = world.cli(&["check"]).expect(78);
        let line = ran.stdout.lines().find(|line| line.contains("clock: ")).unwrap();
        assert!(line.starts_with("FAIL") && line.contains(said), "{line}");
    }
    let ran = World::new(small(1)).cli(&["check"]).expect(0);
    assert!(
        ran.stdout.lines().any(|line| line.starts_with("ok") && line.contains("clock: ")),
        "{}",
        ran.stdout
    );
}

#[test]
fn the_time_zone_of_the_machine_changes_nothing() {
    let rows = |world: &World| -> BTreeSet<Vec<Option<String>>> {
        let sql = "SELECT account_id, transaction_id, status, amount, booked_date, value_date, booked_at, description
                   FROM transactions_v1 WHERE connection_id = ?1";
        let accounts = "SELECT account_id, booked_balance, complete_through, last_refreshed_at FROM accounts_v1 WHERE connection_id = ?1";
        let mut all = BTreeSet::new();
        for connection in ["c-0", "c-1", "c-2"] {
            all.extend(world.texts(sql, connection));
            all.extend(world.texts(accounts, connection));
        }
        all
    };
    let read = |zone: Option<&str>| {
        let world = World::new(plain(3));
        for day in [0, 1] {
            world.sandbox.set_day(day);
            let mut pass = world.pass(&[]);
            pass.envs(zone.map(|zone| ("TZ", zone)));
            Ran::of(pass.output().unwrap()).expect(0);
        }
        rows(&world)
    };
    let without = read(None);
    assert!(without.len() > 20);
    for zone in ["America/St_Johns", "Pacific/Kiritimati", "Pacific/Niue", "Asia/Kathmandu", "Not/A-Zone"] {
        assert_eq!(read(Some(zone)), without, "{zone}");
    }
}

#[test]
fn days_that_are_odd_in_the_calendar_are_stored_as_they_are() {
    // A leap day, the days of summer time in Europe and America, the turn of a year.
    let dates = ["2024-02-29", "2026-03-29", "2026-10-25", "2026-03-08", "2025-12-31", "2026-01-01"];
    let row = |(n, date): (usize, &&str)| {
        ScriptRow::booked(&format!("t-{n}"), A1, date.parse().unwrap(), &format!("-{}", 100 + n), "2", "x")
    };
    let rows: Vec<ScriptRow> = dates.iter().enumerate().map(row).collect();
    let sam = Sam::with(at(1, rows.clone()));
    for (n, date) in dates.iter().enumerate() {
        assert_eq!(sam.row(&format!("t-{n}"), "booked_date"), *date);
    }
    assert_eq!(sam.pass(at(1, rows)).expect(0).total("unchanged"), 1);
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    let known = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    prop_oneof![
        Just(Timestamp::MIN),
        Just(Timestamp::MAX),
        Just(Timestamp::UNIX_EPOCH),
        known.prop_map(|second| Timestamp::from_second(second).unwrap()),
    ]
}

proptest! {
    #[test]
    fn no_time_makes_a_decision_panic(
        times in proptest::collection::vec(any_time(), 6), failures in any::<u32>(), days in any::<i64>(),
        seconds in any::<u64>()
    ) {
        let date = |n: usize| times[n].to_zoned_datetime(TimeZone::UTC).date();
        let consent = Consent {
            credentials_id: "c".into(),
            provider: None,
            account_ids: Vec::new(),
            status: "AUTHENTICATING".to_owned(),
            status_updated: Some(times[1]),
            expires_at: Some(times[2]),
            extendable: None,
            error_type: None,
            error_reason: None,
        };
        let _ = (consent.health(times[0]), consent.is_past_date(times[0]));
        let told = Told { step: Some(days.rem_euclid(366)), date: Some(times[3]) };
        let _ = told.next(times[2], Some(times[4]), times[0], &[0, 1, 14, 365]);
        let wait = Duration::from_secs(seconds);
        for outcome in Outcome::ALL {
            let _ = policy::not_before(*outcome, failures, Some(wait), times[0]);
        }
        let deep = Deep { behind: date(3), oldest_pending: Some(date(4)) };
        let input = WindowInput {
            today: date(0),
            watermark: Some(date(1)),
            oldest_pending: Some(date(2)),
            absent_from: Some(date(5)),
            history_days: Some(days),
            overlap_days: days,
            lookahead_days: days,
            deep: Some(deep),
        };
        let window = Window::plan(&input);
        let _ = (window.covers(date(2)), window.well_inside_from(), Window::all(date(0), Some(days), days));
        let clock = ManualClock::new(times[0]);
        let watch = Stopwatch::start(&clock);
        clock.set(times[1]);
        clock.suspend(wait);
        clock.advance(SignedDuration::from_secs(days));
        let _ = (watch.elapsed(&clock), watch.suspended(&clock), watch.set_by(&clock), clock.today());
    }
}

/// A client token as Tink gives it, from a server whose clock shows this many hours more than ours.
fn dated(hours: i64) -> Action {
    let then = SystemClock.now() + SignedDuration::from_hours(hours);
    let date = httpdate::fmt_http_date(SystemTime::try_from(then).unwrap());
    Action::Status {
        code: 200,
        headers: vec![("Date".to_owned(), date)],
        body: r#"{"access_token":"t","token_type":"bearer","expires_in":1800,"scope":"authorization:grant"}"#
            .to_owned(),
    }
}

#[test]
fn a_pass_whose_clock_is_more_than_a_day_off_tinks_does_nothing() {
    for (hours, apart) in
        [(25, "2? hours"), (-47, "4? hours"), (24 * 365, "36? days"), (-24 * 365, "36? days")]
    {
        let world = World::new(small(2));
        world.sandbox.fault(Fault::new(dated(hours)).at(Endpoint::ClientToken).times(Times::Forever));
        for args in [&[][..], &["--dry-run"], &["--connection", "c-0", "--force"]] {
            let ran = world.run(args).expect(78);
            let words = if hours > 0 { "behind" } else { "ahead" };
            assert!(
                ran.stderr.contains("clock is more than a day off") && ran.stderr.contains(words),
                "{}",
                ran.stderr
            );
            assert!(ran.stderr.contains("set the clock"), "{}", ran.stderr);
            let (tens, unit) = apart.split_once('?').unwrap();
            assert!(
                ran.stderr.contains(&format!("this machine's clock is {tens}")) && ran.stderr.contains(unit),
                "{}",
                ran.stderr
            );
        }
        assert_eq!(world.number("SELECT count(*) FROM accounts_v1"), 0);
        assert_eq!(world.number("SELECT count(*) FROM connections_v1 WHERE consecutive_failures > 0"), 0);
        // What one answer says may be somebody's else.
        world.sandbox.clear_faults();
        world.sandbox.fault(Fault::new(dated(hours)).at(Endpoint::ClientToken));
        world.run(&[]).expect(0);
        world.assert_all_exact();
        // A clock that became wrong: what is here stays as it is, run history too.
        world.age_runs(hours * HOUR);
        world.app("DELETE FROM app_connections WHERE id = 'c-1'");
        let world = world.set("report.history", "\"7d\"").set("report.history_on_demand", "\"7d\"");
        let before = world.text("SELECT group_concat(run_id) FROM runs_v1");
        world.sandbox.fault(Fault::new(dated(hours)).at(Endpoint::ClientToken).times(Times::Forever));
        world.sandbox.set_day(3);
        world.run(&[]).expect(78);
        assert_eq!(world.text("SELECT group_concat(run_id) FROM runs_v1"), before);
        assert_eq!(world.state(1), ("ok".to_owned(), None), "not even the view was taken in");
    }
    let world = World::new(small(1));
    world.sandbox.fault(Fault::new(dated(23)).at(Endpoint::ClientToken));
    world.run(&[]).expect(0);
}

#[test]
fn only_a_run_that_compared_the_clocks_vouches_for_ours() {
    let world = World::new(small(1));
    // The last ten runs stay, however old they are.
    for _ in 0..12 {
        world.run(&[]).expect(0);
    }
    let world = world.set("sync.min_interval", "\"5h\"");
    world.add_old_runs();
    let old = || world.number("SELECT count(*) FROM runs_v1 WHERE run_id LIKE 'old-%'");
    let idle = || world.run(&[]).expect(0).total("due");
    // Nothing is due, and Tink is not asked: a run of yesterday has compared the clocks.
    world.age_runs(23 * HOUR);
    let requests = || world.sandbox.requests_to(Endpoint::ClientToken);
    let before = requests();
    assert_eq!((idle(), requests(), old()), (0, before, 0));
    // Neither a pass without a request nor an import has compared them, however short ago.
    world.add_old_runs();
    world.age_runs(2 * HOUR);
    std::fs::write(world.path("rows.jsonl"), "").unwrap();
    world.cli(&["import", &world.path("rows.jsonl").display().to_string()]).expect(0);
    idle();
    assert_eq!((requests(), old()), (before + 1, 0), "Tink was asked once");
    // Where Tink does not tell, nothing is pruned.
    world.add_old_runs();
    world.age_runs(25 * HOUR);
    world.sandbox.fault(Fault::new(Action::status(503)).at(Endpoint::ClientToken).times(Times::Forever));
    idle();
    assert!(old() > 0);
}

#[test]
fn a_pass_that_cannot_compare_the_clocks_prunes_nothing_and_says_so() {
    let undated = Action::Status {
        code: 200,
        headers: vec![("Date".to_owned(), "today".to_owned())],
        body: r#"{"access_token":"t","token_type":"bearer","expires_in":1800,"scope":"authorization:grant"}"#
            .to_owned(),
    };
    let world = World::new(small(1));
    // The last ten runs stay, however old they are.
    for _ in 0..12 {
        world.run(&[]).expect(0);
    }
    world.add_old_runs();
    world.age_runs(25 * HOUR);
    let world = world.set("sync.min_interval", "\"5h\"");
    world.sandbox.fault(Fault::new(undated).at(Endpoint::ClientToken).times(Times::Forever));
    let ran = world.run(&[]).expect(0);
    assert!(ran.stderr.contains("nothing was pruned"), "{}", ran.stderr);
    assert!(world.number("SELECT count(*) FROM runs_v1 WHERE run_id LIKE 'old-%'") > 0);
    // By hand it is done all the same.
    world.age_runs(25 * HOUR);
    world.cli(&["prune"]).expect(0);
    assert_eq!(world.number("SELECT count(*) FROM runs_v1 WHERE run_id LIKE 'old-%'"), 0);
}

#[test]
fn pruning_by_hand_asks_for_the_day_as_a_pass_does() {
    let world = World::new(small(1));
    for _ in 0..12 {
        world.run(&[]).expect(0);
    }
    world.add_old_runs();
    let old = || world.number("SELECT count(*) FROM runs_v1 WHERE run_id LIKE 'old-%'");
    // By a clock that is twelve years ahead everything is old.
    world.age_runs(25 * HOUR);
    let fault = |action: Action| {
        world.sandbox.clear_faults();
        world.sandbox.fault(Fault::new(action).at(Endpoint::ClientToken).times(Times::Forever));
    };
    fault(dated(-12 * 365 * 24));
    for args in [&["prune"][..], &["prune", "--dry-run"]] {
        let ran = world.cli(args).expect(78);
        assert!(ran.stderr.contains("set the clock"), "{}", ran.stderr);
    }
    assert_eq!(old(), 20);
    // Where Tink cannot be asked, a run of the last days vouches for the clock, and no older one.
    fault(Action::status(503));
    world.age_runs(7 * DAY);
    let ran = world.cli(&["prune"]).expect(69);
    assert!(ran.stderr.contains("nothing was pruned"), "{}", ran.stderr);
    assert_eq!(old(), 20);
    world.age_runs(-2 * DAY);
    world.cli(&["prune"]).expect(0);
    assert_eq!(old(), 0);
    // With nothing to delete nothing is asked.
    let before = world.sandbox.requests_to(Endpoint::ClientToken);
    world.cli(&["prune"]).expect(0);
    assert_eq!(world.sandbox.requests_to(Endpoint::ClientToken), before);
}

#[test]
fn runs_from_before_the_clock_was_set_back_do_not_vouch_for_it() {
    let world = World::new(small(1));
    world.run(&[]).expect(0);
    world.age_runs(20 * HOUR);
    world.run(&[]).expect(0);
    // One run of the last day, and one that is still to come.
    world.age_runs(-2 * HOUR);
    let world = world.set("sync.min_interval", "\"5h\"");
    let before = world.sandbox.requests_to(Endpoint::ClientToken);
    assert_eq!(world.run(&[]).expect(0).total("due"), 0);
    assert_eq!(world.sandbox.requests_to(Endpoint::ClientToken), before + 1, "Tink is asked");
}

#[test]
fn a_clock_that_is_found_wrong_in_mid_pass_ends_it_and_is_nobodys_failure() {
    let world = World::new(small(6));
    world.sandbox.fault(Fault::new(dated(48)).at(Endpoint::ClientToken).nth(2).times(Times::Forever));
    // The first token is refused at one user's grant, and a new one must be had.
    world.sandbox.fault(Fault::new(Action::status(401)).at(Endpoint::Grant).nth(2).times(Times::Forever));
    let ran = world.run(&[]).expect(78);
    assert!(ran.stderr.contains("clock is more than a day off"), "{}", ran.stderr);
    assert_eq!((ran.total("failed"), ran.total("partial")), (0, 0), "{}", ran.stdout);
    assert!(ran.total("interrupted") > 0);
    assert_eq!(world.number("SELECT count(*) FROM connections_v1 WHERE consecutive_failures > 0"), 0);
    world.sandbox.clear_faults();
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

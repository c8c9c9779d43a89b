//! Calls that go wrong, once and for ever, in every way: what passes is cured within the pass; what
//! stays fails its connection alone, says why, and loses nothing.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use jiff::SignedDuration;
use tink_sandbox::{Action, Config, Endpoint, Fault, Script, ScriptRow, Times};
use tink_sync::clock::{Clock as _, SystemClock};

use crate::harness::{Ran, World, small, until};

const ALL: [Endpoint; 5] =
    [Endpoint::Grant, Endpoint::CodeExchange, Endpoint::Consents, Endpoint::Accounts, Endpoint::Transactions];

/// A connection that ended like this, for this reason.
fn ended(outcome: &str, reason: &str) -> (String, Option<String>) {
    (outcome.to_owned(), Some(reason.to_owned()))
}

fn named(n: usize) -> String {
    format!("user-{n}")
}

/// The next full second as an HTTP date.
fn soon() -> String {
    let then = SystemClock.now() + SignedDuration::from_secs(1);
    httpdate::fmt_http_date(SystemTime::try_from(then).unwrap())
}

/// Everything that can go wrong once, at places where it can.
fn passing() -> Vec<(Action, Endpoint)> {
    let everywhere = [
        Action::status(500),
        Action::status(502),
        Action::status(503),
        Action::status(429),
        Action::Reset,
        Action::Malformed,
        Action::Html,
        Action::Truncate(10),
        Action::Garbage(vec![0, 255]),
    ];
    let places = ALL.into_iter().cycle();
    let mut faults: Vec<_> = everywhere.iter().cycle().cloned().zip(places).take(18).collect();
    faults.extend([
        // Two pauses of the whole process that overlap.
        (Action::too_many("1"), Endpoint::Accounts),
        (Action::too_many(&soon()), Endpoint::Accounts),
        (Action::too_many("0"), Endpoint::Transactions),
        (Action::too_many("-1"), Endpoint::Consents),
        (Action::too_many("soon"), Endpoint::Grant),
        (Action::status(401), Endpoint::Grant),
        (Action::status(401), Endpoint::CodeExchange),
        (Action::status(401), Endpoint::Consents),
        (Action::status(401), Endpoint::Accounts),
        (Action::status(401), Endpoint::Transactions),
        (Action::LoseReply, Endpoint::CodeExchange),
        (Action::LoseReply, Endpoint::Transactions),
    ]);
    faults
}

#[test]
fn whatever_passes_is_cured_within_the_pass() {
    let world = World::new(small(45));
    for (n, (action, place)) in passing().into_iter().enumerate() {
        world.sandbox.fault(Fault::new(action).user(&named(n)).at(place));
    }
    for action in [Action::status(401), Action::status(500), Action::Malformed] {
        world.sandbox.fault(Fault::new(action).at(Endpoint::ClientToken));
    }
    let ran = world.run(&[]).expect(0);
    assert_eq!(world.sandbox.faults_left(), 0, "every fault was met");
    assert_eq!((ran.total("synced"), ran.total("removed")), (45, 0));
    assert!(ran.total("retries") >= 30, "{}", ran.summary());
    world.assert_all_exact();
    world.assert_at_rest();
}

#[test]
fn what_outlasts_the_repetitions_of_a_call_is_cured_by_the_second_round() {
    let world = World::new(small(12));
    for (n, place) in ALL.into_iter().enumerate() {
        let four = Times::N(4);
        world.sandbox.fault(Fault::new(Action::status(500)).user(&named(n)).at(place).times(four));
    }
    let ran = world.run(&[]).expect(0);
    assert_eq!(world.sandbox.faults_left(), 0);
    assert_eq!((ran.total("synced"), ran.connections().len()), (12, 12), "each is reported once");
    world.assert_all_exact();
    assert_eq!(world.number("SELECT count(*) FROM connections_v1 WHERE consecutive_failures > 0"), 0);
}

/// Gives user 3 one account with this many rows, as of `day`.
fn script_third(world: &World, day: i64, rows: usize) {
    let date = world.sandbox.config().day0;
    let row = |n| ScriptRow::booked(&format!("row-{n}"), "acc", date, "-100", "2", "bread");
    let refreshed = format!("{}T06:00:00Z", date + SignedDuration::from_hours(24 * day));
    world.sandbox.script("user-3", Script::simple("acc", &refreshed, (0..rows).map(row).collect()));
}

/// Lets the first eight users of a world fail for ever, each in another way.
fn break_eight(world: &World) -> [(String, Option<String>); 8] {
    let forever = |n: usize, action, place| {
        world.sandbox.fault(Fault::new(action).user(&named(n)).at(place).times(Times::Forever));
    };
    // A first page without rows, and then nothing: all rows would seem to be gone.
    world.sandbox.plan(&named(0), |plan| plan.shape.empty_page = Some(0));
    let second = Fault::new(Action::status(500)).user(&named(0)).at(Endpoint::Transactions).nth(2);
    world.sandbox.fault(second.times(Times::Forever));
    forever(1, Action::Malformed, Endpoint::Accounts);
    forever(2, Action::Truncate(20), Endpoint::Transactions);
    // Its third page is the second one again: two hundred of the rows can be seen.
    script_third(world, 3, 250);
    world.sandbox.plan(&named(3), |plan| plan.shape.page_loop = true);
    forever(4, Action::status(404), Endpoint::Accounts);
    forever(5, Action::status(403), Endpoint::Transactions);
    forever(6, Action::Html, Endpoint::Consents);
    forever(7, Action::BigBody(10 << 20), Endpoint::Transactions);
    [
        ended("failed", "http_5xx"),
        ended("failed", "malformed"),
        ended("failed", "network"),
        ended("partial", "page_loop"),
        ended("failed", "http_4xx"),
        ended("failed", "http_4xx"),
        ended("failed", "malformed"),
        ended("failed", "too_large"),
    ]
}

#[test]
fn what_stays_broken_fails_alone_and_loses_nothing() {
    let world = World::new(small(24)).set("tink.max_response", "\"1 MiB\"");
    script_third(&world, 0, 150);
    world.run(&[]).expect(0);
    let before: Vec<BTreeSet<_>> = (0..8).map(|n| world.live(n)).collect();
    // Three days on, pending rows have gone: whoever reads to the end removes them.
    world.sandbox.set_day(3);
    let expected = break_eight(&world);
    let ran = world.run(&[]).expect(10);
    for (n, expected) in expected.iter().enumerate() {
        assert_eq!(ran.ended(&format!("c-{n}")), *expected, "c-{n}");
        assert!(ran.connections()[&format!("c-{n}")]["error"].is_string(), "c-{n} says what happened");
        assert!(world.live(n).is_superset(&before[n]), "c-{n} lost rows");
        assert_eq!(world.state(n), ("failing".to_owned(), expected.1.clone()), "c-{n}");
    }
    let removed = "SELECT count(*) FROM transactions_v1 WHERE removed_at IS NOT NULL AND connection_id";
    let eight = "('c-0', 'c-1', 'c-2', 'c-3', 'c-4', 'c-5', 'c-6', 'c-7')";
    assert_eq!(world.number(&format!("{removed} IN {eight}")), 0);
    assert!(world.number(&format!("{removed} NOT IN {eight}")) > 0, "the others saw rows go");
    (8..24).for_each(|n| world.assert_exact(n));
    assert_eq!((before[3].len(), world.live(3).len()), (150, 200), "what an endless list showed is kept");
    assert_eq!((ran.total("failed"), ran.total("partial")), (7, 1));

    world.sandbox.clear_faults();
    world.sandbox.plan(&named(3), |plan| plan.shape.page_loop = false);
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

/// A pass in which one connection hangs: only that one is `timeout`.
fn assert_only_the_first_timed_out(world: &World, ran: &Ran) {
    assert_eq!(ran.ended("c-0"), ended("failed", "timeout"));
    assert_eq!((ran.total("failed"), ran.total("synced")), (1, 9));
    (1..10).for_each(|n| world.assert_exact(n));
}

#[test]
fn a_call_that_hangs_ends_with_the_request_timeout() {
    let world = World::new(small(10)).set("tink.request_timeout", "\"300ms\"").set("retry.attempts", "2");
    let hang = Fault::new(Action::Hang).user("user-0").at(Endpoint::Consents);
    world.sandbox.fault(hang.times(Times::Forever));
    let ran = world.run(&[]).expect(10);
    assert_only_the_first_timed_out(&world, &ran);
}

#[test]
fn a_connection_that_hangs_ends_with_its_own_timeout() {
    let world = World::new(small(10)).set("sync.connection_timeout", "\"1s\"");
    world.sandbox.fault(Fault::new(Action::Hang).user("user-0").at(Endpoint::Transactions));
    let ran = world.run(&[]).expect(10);
    assert_only_the_first_timed_out(&world, &ran);
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn tokens_that_end_in_the_middle_of_a_pass_are_replaced() {
    let latency = Duration::from_millis(10);
    let world = World::new(Config { latency, enforce_expiry: true, ..small(20) });
    let running = world.start(&[]);
    until(|| world.sandbox.requests().values().sum::<u64>() >= 45);
    world.sandbox.age_tokens(Duration::from_hours(3));
    let ran = running.end().expect(0);
    assert_eq!((ran.total("synced"), ran.total("failed")), (20, 0));
    assert!(world.sandbox.requests_to(Endpoint::Grant) > 20, "some were asked for again");
    world.assert_all_exact();
}

#[test]
fn a_slow_answer_is_no_failure() {
    let world = World::new(small(3));
    let pieces = Action::SlowBody { chunk: 500, every: Duration::from_millis(1) };
    world.sandbox.fault(Fault::new(pieces).times(Times::N(12)));
    let ran = world.run(&[]).expect(0);
    assert_eq!(ran.total("retries"), 0);
    world.assert_all_exact();
}

#[test]
fn a_redirect_is_never_followed() {
    let world = World::new(small(6));
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let redirect = |code| {
        let location = format!("http://{}/take", elsewhere.local_addr().unwrap());
        Action::Status { code, headers: vec![("Location".to_owned(), location)], body: String::new() }
    };
    // 307 would send the client secret again, in the form.
    for (n, (code, place)) in
        [(302, Endpoint::Accounts), (301, Endpoint::Consents), (307, Endpoint::CodeExchange)]
            .into_iter()
            .enumerate()
    {
        world.sandbox.fault(Fault::new(redirect(code)).user(&named(n)).at(place).times(Times::Forever));
    }
    let ran = world.run(&[]).expect(10);
    for n in 0..3 {
        assert_eq!(ran.ended(&format!("c-{n}")), ended("failed", "network"));
    }
    assert!(ran.stdout.contains("redirect"), "{}", ran.stdout);
    (3..6).for_each(|n| world.assert_exact(n));
    let called = elsewhere.accept().map(|_| ());
    assert_eq!(called.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody called elsewhere");
}

#[test]
fn an_endless_list_of_accounts_fails_the_connection() {
    let world = World::new(small(3));
    world.run(&[]).expect(0);
    world.sandbox.plan("user-0", |plan| {
        plan.shape.trailing_empty = true;
        plan.shape.page_loop = true;
    });
    world.sandbox.set_day(3);
    let ran = world.run(&[]).expect(10);
    assert_eq!(ran.ended("c-0"), ended("failed", "page_loop"));
    assert_eq!(world.number("SELECT count(*) FROM accounts_v1 WHERE closed_at IS NOT NULL"), 0);
    (1..3).for_each(|n| world.assert_exact(n));
}

#[test]
fn a_page_token_refused_in_the_middle_starts_the_walk_again() {
    let world = World::new(small(4));
    for n in 0..4 {
        world.sandbox.plan(&named(n), |plan| {
            plan.shape.empty_page = Some(1);
            plan.shape.trailing_empty = true;
            plan.refuse_token_once = true;
        });
    }
    let ran = world.run(&[]).expect(0);
    assert_eq!((ran.total("synced"), ran.total("removed")), (4, 0));
    world.assert_all_exact();
}

//! Tink as a whole: away, back again, or refusing the client. Users' own failures never look like that,
//! and the secret is never told.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::time::Duration;

use tink_sandbox::{Action, Config, Endpoint, Fault, SCOPES, Times};

use crate::harness::{Ran, World, small, until};

const SECRET: &str = "marked-and-never-to-be-shown";

/// A world whose secret can be told from anything else.
fn marked(users: u32) -> World {
    World::new(Config { client_secret: SECRET.to_owned(), ..small(users) })
}

/// Points the world at a port where nobody listens.
fn unplugged(world: World) -> World {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.set("tink.api_url", &format!("\"http://127.0.0.1:{port}\""))
}

fn plugged(world: World) -> World {
    let url = format!("\"{}\"", world.sandbox.url());
    world.set("tink.api_url", &url)
}

/// Queues a fault for everybody, at this endpoint or at all, for ever.
fn for_everybody(world: &World, action: Action, place: Option<Endpoint>) {
    world.sandbox.fault(Fault { endpoint: place, ..Fault::new(action).times(Times::Forever) });
}

fn for_one(world: &World, n: usize, action: Action, place: Endpoint) {
    world.sandbox.fault(Fault::new(action).user(&format!("user-{n}")).at(place).times(Times::Forever));
}

fn rows(world: &World, users: usize) -> Vec<BTreeSet<Vec<Option<String>>>> {
    (0..users).map(|n| world.live(n)).collect()
}

/// Fails if the secret stands in any output or in any file but its own.
fn assert_secret_kept(world: &World, ran: &Ran) {
    let shows = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    assert!(!shows(ran.stdout.as_bytes()) && !shows(ran.stderr.as_bytes()), "{ran:?}");
    for (name, bytes) in world.contents().iter().filter(|(name, _)| *name != "secret") {
        assert!(!shows(bytes), "the secret is in {name}");
    }
}

#[test]
fn tink_away_from_the_start_ends_the_pass_and_loses_nothing() {
    let world = World::new(small(20));
    world.run(&[]).expect(0);
    let before = rows(&world, 20);
    let world = unplugged(world);
    let ran = world.run(&[]).expect(69);
    assert!(ran.stderr.contains("cannot be reached"), "{}", ran.stderr);
    assert_eq!((ran.total("synced"), ran.total("unchanged")), (0, 0));
    world.assert_at_rest();
    assert_eq!(rows(&world, 20), before);
    assert_eq!(world.text("SELECT exit_code FROM runs_v1 ORDER BY started_at DESC LIMIT 1").unwrap(), "69");

    let world = plugged(world);
    world.sandbox.set_day(1);
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn tink_away_on_the_first_run_of_all_leaves_everybody_due() {
    let world = unplugged(World::new(small(20)));
    world.run(&[]).expect(69);
    world.assert_at_rest();
    let world = plugged(world);
    assert_eq!(world.run(&[]).expect(0).total("synced"), 20);
    world.assert_all_exact();
}

#[test]
fn an_outage_or_a_refused_client_is_held_against_nobody() {
    let world = unplugged(World::new(small(6)));
    // More often than a connection may fail before it backs off.
    for _ in 0..7 {
        world.run(&[]).expect(69);
    }
    let world = plugged(world);
    for place in [Endpoint::ClientToken, Endpoint::Grant] {
        for_everybody(&world, Action::status(401), Some(place));
        (0..7).for_each(|_| drop(world.run(&[]).expect(77)));
        world.sandbox.clear_faults();
    }
    assert_eq!(world.run(&[]).expect(0).total("synced"), 6, "nobody backs off");
    world.assert_all_exact();
}

#[test]
fn whatever_keeps_the_client_token_back_is_held_against_nobody() {
    let world = World::new(small(6));
    for (action, code) in [
        (Action::Html, 69),
        (Action::gzip_bomb(32 << 20), 69),
        (Action::status(404), 69),
        (Action::status(409), 69),
        (Action::status(403), 77),
    ] {
        for_everybody(&world, action, Some(Endpoint::ClientToken));
        // More often than a connection may fail before it backs off.
        (0..7).for_each(|_| drop(world.run(&[]).expect(code)));
        world.sandbox.clear_faults();
        assert_eq!(world.number("SELECT count(*) FROM connections_v1 WHERE consecutive_failures > 0"), 0);
    }
    assert_eq!(world.run(&[]).expect(0).total("synced"), 6, "nobody backs off");
    world.assert_all_exact();
}

#[test]
fn requests_that_no_connection_made_are_counted_like_their_failures() {
    let world = World::new(small(20));
    world.run(&[]).expect(0);
    for_everybody(&world, Action::status(503), Some(Endpoint::ClientToken));
    world.run(&[]).expect(69);
    let number = |column: &str| {
        world.number(&format!("SELECT {column} FROM runs_v1 ORDER BY started_at DESC LIMIT 1"))
    };
    assert!(number("request_errors") > 0);
    assert!(number("request_errors") <= number("requests"), "all of them failed");
}

#[test]
fn server_errors_for_everybody_are_an_outage() {
    let world = World::new(small(20));
    world.run(&[]).expect(0);
    for code in [500, 503] {
        for_everybody(&world, Action::status(code), None);
        world.run(&[]).expect(69);
        world.sandbox.clear_faults();
        world.assert_at_rest();
    }
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn a_few_users_errors_are_no_outage() {
    let world = World::new(small(20));
    for n in 0..5 {
        for_one(&world, n, Action::status(500), Endpoint::Transactions);
    }
    let ran = world.run(&[]).expect(10);
    assert_eq!((ran.total("failed"), ran.total("synced")), (5, 15));
    assert!(!ran.stderr.contains("as a whole"), "{}", ran.stderr);
    (5..20).for_each(|n| world.assert_exact(n));
}

#[test]
fn data_that_fails_for_everybody_while_grants_work_is_no_outage() {
    let world = World::new(small(20));
    for_everybody(&world, Action::status(502), Some(Endpoint::Accounts));
    let ran = world.run(&[]).expect(10);
    assert_eq!(ran.total("failed"), 20, "each was tried");
    world.assert_at_rest();
}

#[test]
fn a_pass_waits_until_tink_is_back() {
    let world = World::new(small(30)).set("sync.outage_patience", "\"30s\"");
    for_everybody(&world, Action::status(503), None);
    let mut running = world.start(&[]);
    let mut told = BufReader::new(running.stderr()).lines();
    let waits = "waiting for it for up to 30s (sync.outage_patience)";
    assert!(told.any(|line| line.unwrap().contains(waits)), "it said that it waits");
    world.sandbox.clear_faults();
    let ran = running.end().expect(0);
    assert_eq!(ran.total("synced"), 30);
    world.assert_all_exact();
    world.assert_at_rest();
}

#[test]
fn a_signal_ends_the_waiting_even_while_a_probe_hangs() {
    let world =
        World::new(small(20)).set("sync.outage_patience", "\"1h\"").set("tink.request_timeout", "\"10m\"");
    for_everybody(&world, Action::status(503), None);
    let mut running = world.start(&[]);
    let mut told = BufReader::new(running.stderr()).lines();
    assert!(told.any(|line| line.unwrap().contains("waiting for it")));
    // From now on no answer comes, and the next probe waits for one.
    world.sandbox.set_latency(Duration::from_hours(1));
    let before = world.sandbox.requests_to(Endpoint::ClientToken);
    until(|| world.sandbox.requests_to(Endpoint::ClientToken) > before);
    running.stop("TERM").expect(143);
    world.assert_at_rest();
}

#[test]
fn a_refused_client_is_told_at_once_and_never_with_its_secret() {
    let world = marked(20);
    world.run(&["--verbose"]).expect(0);
    for_everybody(&world, Action::status(401), Some(Endpoint::ClientToken));
    let ran = world.run(&["--verbose"]).expect(77);
    assert_secret_kept(&world, &ran);
    world.assert_at_rest();
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1 WHERE removed_at IS NOT NULL"), 0);

    world.sandbox.clear_faults();
    std::fs::write(world.path("secret"), format!("{SECRET}-but-wrong")).unwrap();
    let ran = world.run(&[]).expect(77);
    assert!(ran.stderr.contains("refused this client"), "{}", ran.stderr);
    assert_secret_kept(&world, &ran);
    assert_secret_kept(&world, &world.cli(&["run"]).expect(77));
}

#[test]
fn a_secret_that_tink_repeats_is_not_told() {
    let world = marked(6);
    let body = format!(r#"{{"errorCode":"x","errorMessage":"bad client_secret {SECRET}"}}"#);
    let echo = |code| Action::Status { code, headers: Vec::new(), body: body.clone() };
    for_one(&world, 0, echo(500), Endpoint::CodeExchange);
    for_one(&world, 1, Action::Garbage(format!("{SECRET} {SECRET}").into_bytes()), Endpoint::CodeExchange);
    let ran = world.run(&["--verbose"]).expect(10);
    assert_eq!(ran.total("failed"), 2);
    assert_secret_kept(&world, &ran);
}

#[test]
fn three_users_refused_before_any_other_mean_that_the_client_is_refused() {
    let world = World::new(small(20));
    for_everybody(&world, Action::status(401), Some(Endpoint::Grant));
    world.run(&[]).expect(77);
    world.assert_at_rest();
    let tried = world.number("SELECT count(*) FROM run_connections_v1");
    assert!(tried < 20, "claiming stopped, yet {tried} were tried");
    world.sandbox.clear_faults();
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn an_app_without_a_scope_is_refused() {
    for missing in ["balances:read", "authorization:grant"] {
        let app_scopes = SCOPES.iter().filter(|scope| **scope != missing).map(|s| (*s).to_owned()).collect();
        let world = World::new(Config { app_scopes, ..small(6) });
        world.run(&[]).expect(77);
        world.assert_at_rest();
    }
}

#[test]
fn tokens_that_lack_a_scope_are_the_clients_fault_only_if_all_do() {
    let poor = br#"{"access_token":"x","token_type":"bearer","expires_in":7200,"scope":"accounts:read"}"#;
    let world = World::new(small(6));
    for_one(&world, 5, Action::Garbage(poor.to_vec()), Endpoint::CodeExchange);
    let ran = world.run(&[]).expect(10);
    assert_eq!(ran.ended("c-5"), ("failed".to_owned(), Some("scope_missing".to_owned())));
    for_everybody(&world, Action::Garbage(poor.to_vec()), Some(Endpoint::CodeExchange));
    let ran = world.run(&[]).expect(77);
    assert!(ran.stderr.contains("transactions:read"), "it names what is missing: {}", ran.stderr);
}

#[test]
fn refused_users_fail_alone_however_many_they_are() {
    // GIVEN users who have worked, and more new ones whose grant or whose token is refused
    let poor = br#"{"access_token":"x","token_type":"bearer","expires_in":7200,"scope":"accounts:read"}"#;
    for (action, place) in
        [(Action::status(403), Endpoint::Grant), (Action::Garbage(poor.to_vec()), Endpoint::CodeExchange)]
    {
        let world = World::new(small(24));
        world.app(
            "CREATE TABLE later AS SELECT * FROM app_connections WHERE CAST(substr(id, 3) AS INTEGER) >= 12;
                   DELETE FROM app_connections WHERE CAST(substr(id, 3) AS INTEGER) >= 12;",
        );
        world.run(&[]).expect(0);
        world.app("INSERT INTO app_connections SELECT * FROM later");
        (12..24).for_each(|n| for_one(&world, n, action.clone(), place));
        for day in 1..4 {
            world.sandbox.set_day(day);
            // WHEN they go first, THEN the others are synced all the same
            let ran = world.run(&[]).expect(10);
            assert_eq!((ran.total("synced") + ran.total("unchanged"), ran.total("failed")), (12, 12));
            (0..12).for_each(|n| world.assert_exact(n));
        }
        // AND a client that is refused is still told from that
        for_everybody(&world, action, Some(place));
        world.run(&[]).expect(77);
    }
}

#[test]
fn whoever_answers_in_tinks_place_refuses_nobody() {
    let redirect = Action::Status {
        code: 302,
        headers: vec![("Location".to_owned(), "https://login.invalid/".to_owned())],
        body: String::new(),
    };
    let page = |code| Action::Status { code, headers: Vec::new(), body: "<html>sign in</html>".to_owned() };
    for action in [redirect, page(401), page(403), page(404), page(405), page(407), page(451)] {
        let world = World::new(small(4));
        world.run(&[]).expect(0);
        for_everybody(&world, action.clone(), None);
        let ran = world.run(&[]).expect(69);
        assert!(ran.stderr.contains("something between here and Tink"), "{action:?}: {}", ran.stderr);
        assert_eq!(world.number("SELECT count(*) FROM connections_v1 WHERE consecutive_failures > 0"), 0);
        world.sandbox.clear_faults();
        // On one user's calls they are no trouble of a bank, and the others go on.
        for_one(&world, 1, action, Endpoint::Accounts);
        world.sandbox.set_day(1);
        let ran = world.run(&[]).expect(10);
        assert_eq!(ran.ended("c-1"), ("failed".to_owned(), Some("network".to_owned())));
        assert_eq!(ran.total("failed"), 1);
    }
}

#[test]
fn a_refused_user_fails_alone() {
    let world = World::new(small(10));
    for_one(&world, 0, Action::status(401), Endpoint::Accounts);
    for_one(&world, 2, Action::status(403), Endpoint::Transactions);
    for_one(&world, 4, Action::status(404), Endpoint::Consents);
    for_one(&world, 6, Action::status(401), Endpoint::Grant);
    world.sandbox.forget("user-8");
    let ran = world.run(&[]).expect(10);
    for n in [0, 2, 4, 6] {
        assert_eq!(ran.ended(&format!("c-{n}")), ("failed".to_owned(), Some("http_4xx".to_owned())));
    }
    assert_eq!(ran.ended("c-8"), ("failed".to_owned(), Some("tink_user_unknown".to_owned())));
    for n in [1, 3, 5, 7, 9] {
        world.assert_exact(n);
    }
    assert_eq!(ran.total("synced"), 5);
}

#[test]
fn three_refused_users_at_the_head_of_the_plan_do_not_stop_the_others() {
    let world = World::new(small(30));
    (0..3).for_each(|n| for_one(&world, n, Action::status(401), Endpoint::Grant));
    let ran = world.run(&[]).expect(10);
    assert_eq!((ran.total("failed"), ran.total("synced")), (3, 27));
    (3..30).for_each(|n| world.assert_exact(n));
}

#[test]
fn many_connections_of_one_bank_that_fail_alike_are_told_of_as_one() {
    let world = World::new(small(40));
    world.run(&[]).expect(0);
    let banks = "SELECT provider FROM consents_v1 WHERE ?1 <> '' GROUP BY 1 ORDER BY count(*) DESC";
    let bank = world.texts(banks, "-")[0][0].clone().unwrap();
    let of_bank = world.texts("SELECT connection_id FROM consents_v1 WHERE provider = ?1", &bank);
    assert!(of_bank.len() >= 4, "a bank with some connections");
    let failing = of_bank.len() / 2 + 1;
    world.sandbox.set_day(1);
    for row in of_bank.iter().take(failing) {
        let n = row[0].as_deref().unwrap().strip_prefix("c-").unwrap().parse().unwrap();
        for_one(&world, n, Action::status(500), Endpoint::Accounts);
    }
    let ran = world.run(&[]).expect(10);
    let told: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("failed alike")).collect();
    let said = format!("{failing} of {} connections of {bank} failed alike (http_5xx)", of_bank.len());
    assert!(matches!(&told[..], [only] if only.contains(&said)), "{told:?}");
    // Two are no pattern, and neither are a few of many.
    world.sandbox.clear_faults();
    for_one(&world, 0, Action::status(500), Endpoint::Accounts);
    assert!(!world.run(&[]).expect(10).stderr.contains("failed alike"));
}

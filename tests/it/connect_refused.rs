//! `tink-sync connect` where Tink refuses, people err, or the data have to wait.

use tink_sandbox::{Action, Config, Endpoint, Fault, SCOPES, Times};

use crate::connect::audited;
use crate::harness::{World, plain};
use crate::visitor::{Browser, Waiting, alone, redirect_uri, visit, with_link};

const ME: [&str; 4] = ["connect", "--user", "me", "--test"];

#[test]
fn what_tink_refuses_has_its_exit_code_and_names_what_is_missing() {
    let without = |scope: &str| {
        let scopes =
            SCOPES.iter().filter(|known| **known != scope).map(|known| (*known).to_owned()).collect();
        let config = Config { app_scopes: scopes, ..plain(0) };
        with_link(World::with_users(config, Vec::new())).unset("source.view").unset("source.database")
    };
    for scope in ["user:create", "authorization:grant", "credentials:write"] {
        let world = without(scope);
        let ran = Waiting::start(&world, &ME).end().expect(77);
        assert!(ran.stderr.contains(scope), "{scope}: {}", ran.stderr);
    }
    let world = alone().set("tink.client_id", "\"nobody\"");
    Waiting::start(&world, &ME).end().expect(77);
    let world = alone();
    world.sandbox.fault(Fault::new(Action::status(503)).at(Endpoint::Delegate).times(Times::Forever));
    Waiting::start(&world, &ME).end().expect(69);
    world.sandbox.clear_faults();
    world.sandbox.fault(Fault::new(Action::status(400)).at(Endpoint::UserCreate).times(Times::Forever));
    let ran = Waiting::start(&world, &ME).end().expect(2);
    assert!(ran.stderr.contains("does not accept market SE with locale en_US"), "{}", ran.stderr);
    let world = alone().unset("tink.client_id");
    Waiting::start(&world, &ME).end().expect(78);
}

#[test]
fn a_lost_reply_makes_no_second_user() {
    let world = alone();
    world.sandbox.fault(Fault::new(Action::LoseReply).at(Endpoint::UserCreate));
    world.sandbox.fault(Fault::new(Action::LoseReply).at(Endpoint::Delegate));
    visit(&world, &ME, "demo-bank").1.expect(0);
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1"), 30);
}

#[test]
fn obvious_mistakes_are_caught_before_anything_happens() {
    let world = alone();
    for (args, words) in [
        (&["connect"][..], "--user"),
        (&["connect", "--user", "me", "--market", "UK"], "the United Kingdom is GB"),
        (&["connect", "--user", "me", "--market", "Sweden"], "a country of two letters"),
        (&["connect", "--user", "me", "--locale", "english"], "sv_SE"),
        (&["connect", "--user", "me", "--redirect-uri", "http://app.example/"], "https is needed"),
        (&["connect", "--user", "me", "--timeout", "2h"], "at most 15m"),
        (&["connect", "--user", "me", "--external-user-id", "a b"], "without blanks"),
        (&["connect", "--user", ""], "without control characters"),
        (&["renew"], "<ID>"),
        (&["renew", "nobody"], "unknown connection: nobody"),
        (&["renew", "me", "--extend", "--update"], "cannot be used with"),
    ] {
        let ran = world.cli(args).expect(2);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(world.sandbox.requests().values().sum::<u64>(), 0);
    let uri = redirect_uri(&world);
    let port = uri.rsplit(':').next().unwrap().trim_end_matches("/callback");
    let _taken = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let ran = world.cli(&["connect", "--user", "me", "--redirect-uri", &uri]).expect(2);
    assert!(ran.stderr.contains("another program has this port"), "{}", ran.stderr);
    world.cli(&["users", "set", "me", "--entitled", "no"]).expect(0);
    let ran = Waiting::start(&world, &ME).end().expect(2);
    assert!(ran.stderr.contains("tink-sync users set me --entitled yes"), "{}", ran.stderr);
    assert_eq!(world.sandbox.requests_to(Endpoint::UserCreate), 0);
}

#[test]
fn a_bank_beyond_the_quota_is_linked_and_its_data_wait() {
    let world = alone().set("quota.syncs_per_day", "1").set("quota.reserved_for_manual", "0");
    visit(&world, &ME, "demo-bank").1.expect(0);
    let mut command = world.command(&[&ME[..], &["--redirect-uri", &redirect_uri(&world)]].concat());
    command.env("SUDO_USER", "ann");
    let mut waiting = Waiting::of(command);
    Browser::new().visit(&waiting.link(), "demo-bank");
    let ran = waiting.end().expect(10);
    assert!(ran.stdout.contains("The bank is linked"), "{}", ran.stdout);
    assert!(ran.stderr.contains("of the last 24 hours are used up"), "{}", ran.stderr);
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1"), 30);
    // One act is one row.
    let acts: Vec<_> =
        audited(&world).into_iter().map(|row| (row[0].clone().unwrap(), row[3].clone())).collect();
    let ann = Some("ann".to_owned());
    assert_eq!(acts.last(), Some(&("connection.linked".to_owned(), ann)));
    assert_eq!(acts.len(), 2);
}

#[test]
fn without_a_sync_the_data_wait_for_the_next_pass() {
    let world = alone();
    let (_, ran) = visit(&world, &["connect", "--user", "me", "--test", "--no-sync"], "demo-bank");
    assert!(ran.expect(0).stdout.contains("tink-sync run --connection me"));
    world.cli(&["run"]).expect(0);
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1"), 30);
}

#[test]
fn the_code_of_a_link_is_printed_once_and_kept_nowhere() {
    let world = alone();
    let mut waiting = Waiting::start(&world, &["connect", "--user", "me", "--test", "--verbose"]);
    let link = waiting.link();
    let code = link.split("authorization_code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let state = link.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    Browser::new().visit(&link, "demo-bank");
    let ran = waiting.end().expect(0);
    for secret in [&code, &state, &world.sandbox.config().client_secret] {
        assert!(!ran.stderr.contains(secret.as_str()), "{}", ran.stderr);
        assert_eq!(world.traces(secret), 0, "the store holds {secret}");
    }
    assert_eq!(ran.stdout.matches(code.as_str()).count(), 1);
    let hint = world.sandbox.requests_to(Endpoint::Delegate);
    assert_eq!(hint, 1);
}

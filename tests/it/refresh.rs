//! Tokens of older links: used, renewed once, encrypted, and given up rather than presented twice. The fake Tink
//! takes each refresh token for one use.

use std::fs;
use std::time::Duration;

use tink_sandbox::{Action, Config, Endpoint, Fault, RefreshMode};

use crate::harness::{Ran, World, private, quoted, small, until};

const SCOPES: &str = "accounts:read,balances:read,transactions:read,provider-consents:read";
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// A world of older links: the view brings a refresh token for each, and a Tink user besides if `mintable`.
fn links(users: u32, life: u64, mintable: bool) -> World {
    let world = World::new(Config { refresh: RefreshMode::Rotating, user_expires_in: life, ..small(users) });
    let tink = if mintable { "tink" } else { "NULL" };
    world.app(&format!(
        "ALTER TABLE app_connections ADD COLUMN token TEXT; ALTER TABLE app_connections ADD COLUMN version INT;
         DROP VIEW tink_sync_source_v1;
         CREATE VIEW tink_sync_source_v1 AS SELECT id AS connection_id, user_id, enabled, entitled,
             {tink} AS external_user_id, token AS refresh_token, version AS token_version FROM app_connections"
    ));
    for n in 0..users {
        seed(&world, n, 1);
    }
    fs::write(world.path("key"), format!("{KEY}\n")).unwrap();
    private(&world.path("key"));
    let file = quoted(&world.path("key").display().to_string());
    world.set("store.token_key_file", &file)
}

/// The application brings a new token for connection `c-<n>`; returns it.
fn seed(world: &World, n: u32, version: u32) -> String {
    let token = world.sandbox.refresh_token(&format!("user-{n}"), SCOPES);
    world.app(&format!(
        "UPDATE app_connections SET token = '{token}', version = {version} WHERE id = 'c-{n}'"
    ));
    token
}

fn renewals(world: &World) -> u64 {
    world.sandbox.requests_to(Endpoint::RefreshToken)
}

fn grants(world: &World) -> u64 {
    world.sandbox.requests_to(Endpoint::Grant)
}

/// Action and result of the token events.
fn events(world: &World) -> Vec<String> {
    let store = world.store();
    let mut rows =
        store.prepare("SELECT action FROM audit_v1 WHERE action LIKE 'token.%' ORDER BY at").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn invariant_09_a_token_is_renewed_once_and_kept_before_it_is_used() {
    // Every pass needs a new token.
    let world = links(3, 1, false);
    for day in 0..4 {
        world.sandbox.set_day(day);
        assert_eq!(world.run(&[]).expect(0).total("failed"), 0);
        assert_eq!((renewals(&world), grants(&world)), (3 * u64::from(day + 1), 0));
    }
    world.assert_all_exact();
    assert_eq!(events(&world), vec!["token.refreshed"; 12]);
    let named = "SELECT count(*) FROM audit_v1 a JOIN runs_v1 r ON r.run_id = a.run_id";
    assert_eq!(world.number(named), 12);
    let mode: String =
        world.store().query_row("SELECT mode FROM connections_v1 LIMIT 1", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "refresh");
}

#[test]
fn a_token_that_is_still_good_is_used_again() {
    let world = links(2, 7200, false);
    world.run(&[]).expect(0);
    world.sandbox.set_day(1);
    world.run(&[]).expect(0);
    assert_eq!((renewals(&world), grants(&world)), (2, 0));
    // One that Tink takes back is renewed, although its time is not over.
    world.sandbox.revoke("user-0");
    world.run(&[]).expect(0);
    assert_eq!((renewals(&world), grants(&world)), (3, 0));
}

#[test]
fn no_token_lies_in_the_store_in_the_clear() {
    let world = links(2, 7200, true);
    let mut tokens = vec![seed(&world, 0, 7), seed(&world, 1, 7)];
    tokens.push(KEY.to_owned());
    world.run(&["--verbose"]).expect(0);
    for token in &tokens {
        assert_eq!(world.traces(token), 0);
    }
}

#[test]
fn a_lost_answer_is_resolved_by_minting_and_the_token_never_presented_again() {
    for action in [Action::LoseReply, Action::status(500), Action::Malformed, Action::status(400)] {
        let world = links(1, 1, true);
        world.sandbox.fault(Fault::new(action.clone()).at(Endpoint::RefreshToken));
        assert_eq!(world.run(&[]).expect(0).total("synced"), 1, "{action:?}");
        assert_eq!((renewals(&world), grants(&world)), (1, 1), "{action:?}");
        world.sandbox.set_day(1);
        world.run(&[]).expect(0);
        assert_eq!((renewals(&world), grants(&world)), (1, 2), "{action:?}");
        assert_eq!(events(&world), ["token.refresh_failed"]);
        world.assert_all_exact();
        // A token of a new version is taken.
        seed(&world, 0, 2);
        world.run(&[]).expect(0);
        assert_eq!((renewals(&world), grants(&world)), (2, 2), "{action:?}");
    }
}

#[test]
fn a_lost_token_without_a_tink_user_needs_the_user() {
    let world = links(2, 1, false);
    world.sandbox.fault(Fault::new(Action::LoseReply).at(Endpoint::RefreshToken).user("user-1"));
    let ran = world.run(&[]).expect(11);
    assert_eq!(ran.ended("c-1"), ("needs_user".to_owned(), Some("refresh_lost".to_owned())));
    assert_eq!(ran.ended("c-0").0, "synced");
    assert_eq!(world.run(&[]).expect(11).ended("c-1").1.as_deref(), Some("refresh_lost"));
    assert_eq!(renewals(&world), 3, "the lost one was presented once");
    seed(&world, 1, 2);
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn a_token_that_was_not_presented_stays_good() {
    let world = links(1, 1, false);
    world.sandbox.fault(Fault::new(Action::too_many("0")).at(Endpoint::RefreshToken));
    // Turned away unread; the second round of the same pass presents it.
    let ran = world.run(&[]).expect(0);
    assert_eq!((ran.total("synced"), renewals(&world)), (1, 2));
    // Tink cannot be reached at all: the client token comes first.
    world
        .sandbox
        .fault(Fault::new(Action::Reset).at(Endpoint::ClientToken).times(tink_sandbox::Times::Forever));
    world.run(&[]).expect(69);
    world.sandbox.clear_faults();
    world.run(&[]).expect(0);
    assert!(!events(&world).contains(&"token.refresh_failed".to_owned()));
}

#[test]
fn a_run_that_dies_around_a_renewal_loses_nothing_but_the_token() {
    for (point, grants_after) in [
        ("note the use of a token:before", 0),
        ("note the use of a token:after", 1),
        ("write new tokens:before", 1),
        ("write new tokens:after", 0),
    ] {
        let world = links(1, 7200, true);
        let mut dying = world.pass(&[]);
        let output = dying.env("TINK_SYNC_FAILPOINT", point).output().unwrap();
        assert_eq!(output.status.code(), None, "{point}: the run was not killed");
        let before = renewals(&world);
        world.run(&[]).expect(0);
        world.assert_all_exact();
        assert_eq!(grants(&world), grants_after, "{point}");
        assert!(renewals(&world) <= 1 && before <= 1, "{point}: a token was presented twice");
    }
}

#[test]
fn a_run_ends_in_the_store_after_the_renewals_that_it_has_begun() {
    let world = links(1, 7200, true).set("sync.connection_timeout", "\"1s\"");
    world.sandbox.fault(Fault::new(Action::Delay(Duration::from_secs(3))).at(Endpoint::RefreshToken));
    world.run(&[]);
    assert_eq!((renewals(&world), events(&world)), (1, vec!["token.refreshed".to_owned()]));
    let ended = "SELECT count(*) FROM runs_v1 WHERE finished_at >= (SELECT max(at) FROM audit_v1)";
    assert_eq!(world.number(ended), 1);
    // Nobody has given the token up meanwhile.
    world.run(&[]).expect(0);
    assert_eq!(renewals(&world), 1);
}

#[test]
fn runs_beside_each_other_present_each_token_once() {
    let world = links(8, 7200, false);
    let (one, two) = (world.start(&[]), world.start(&[]));
    let (one, two) = (one.end(), two.end());
    assert_eq!((one.code, two.code), (0, 0), "{one:?} {two:?}");
    assert_eq!(renewals(&world), 8);
    world.assert_all_exact();
}

#[test]
fn a_rehearsal_renews_nothing() {
    let world = links(1, 7200, true);
    let rehearsed = world.run(&["--dry-run"]).expect(0);
    assert_eq!((renewals(&world), rehearsed.total("synced")), (0, 1));
    world.run(&[]).expect(0);
    assert_eq!(renewals(&world), 1);
    world.run(&["--dry-run"]).expect(0);
    assert_eq!((renewals(&world), events(&world).len()), (1, 1));
}

#[test]
fn without_a_key_tokens_are_passed_over_with_a_warning() {
    let world = links(1, 7200, true).unset("store.token_key_file");
    let ran = world.run(&[]).expect(0);
    assert!(ran.stderr.contains("store.token_key_file"), "{}", ran.stderr);
    assert_eq!((renewals(&world), grants(&world)), (0, 1));
    let world = links(1, 7200, false).unset("store.token_key_file");
    let ran = world.run(&[]).expect(10);
    assert_eq!(ran.ended("c-0").1.as_deref(), Some("source_row"));
}

#[test]
fn tokens_are_sealed_with_another_key_all_or_none() {
    let world = links(3, 7200, false);
    world.run(&[]).expect(0);
    fs::write(world.path("new"), OTHER_KEY).unwrap();
    private(&world.path("new"));
    let new = world.path("new").display().to_string();
    // A run at work has the old key, and goes on writing tokens with it.
    world.sandbox.fault(Fault::new(Action::Hang).at(Endpoint::Consents));
    let before = world.sandbox.requests_to(Endpoint::Consents);
    let running = world.start(&[]);
    until(|| world.sandbox.requests_to(Endpoint::Consents) > before);
    let refused = world.cli(&["rekey", "--new-key-file", &new]).expect(2);
    assert!(refused.stderr.contains("is at work"), "{}", refused.stderr);
    assert_eq!(running.stop("TERM").code, 143);
    world.sandbox.clear_faults();
    let ran = world.cli(&["rekey", "--new-key-file", &new]).expect(0);
    assert!(ran.stdout.contains("3 connections encrypted"), "{}", ran.stdout);
    // The old key opens nothing any more, and says which one it was.
    let refused = world.run(&[]).expect(10);
    assert!(refused.stdout.contains("encrypted with another key"), "{}", refused.stdout);
    assert!(!refused.stdout.contains("id …"), "{}", refused.stdout);
    let check = world.cli(&["check", "--offline"]).expect(78);
    assert!(
        check.stdout.contains("token key: the store holds tokens encrypted with another key"),
        "{}",
        check.stdout
    );
    // Again with the same keys: done before, nothing to lose.
    world.cli(&["rekey", "--new-key-file", &new]).expect(0);
    fs::copy(world.path("new"), world.path("key")).unwrap();
    world.run(&[]).expect(0);
    assert_eq!((renewals(&world), grants(&world)), (3, 0));
    for (key, said) in [("short", "32 bytes in base64"), ("", "is empty")] {
        fs::write(world.path("new"), key).unwrap();
        let ran: Ran = world.cli(&["rekey", "--new-key-file", &new]).expect(2);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    fs::write(world.path("key"), "no key").unwrap();
    assert!(world.run(&[]).expect(78).stderr.contains("store.token_key_file"));
}

//! `tink.refresh = "stale:…"`: Tink is asked to fetch what is old, seldom, with nobody there; whatever comes of it,
//! the connection is read.

use tink_sandbox::{Action, Endpoint, Fault, RefreshOutcome};

use crate::harness::{World, small};
use crate::inside::HOUR;

/// A world two days behind, in which data is old after twelve hours.
fn behind(users: u32) -> World {
    let world = World::new(small(users)).set("tink.refresh", "\"stale:12h\"");
    // The first pass stores the consents; what it reads is as fresh as it gets.
    world.run(&[]).expect(0);
    world.sandbox.reset_counters();
    world
}

fn asked(world: &World) -> u64 {
    world.sandbox.requests_to(Endpoint::CredentialsRefresh)
}

/// Makes what was asked look six hours older.
fn six_hours_pass(world: &World) {
    world.age_refreshes_asked_for(6 * HOUR);
}

#[test]
fn old_data_is_fetched_before_it_is_read_and_seldom_again() {
    let world = behind(3);
    let refreshed = || -> String {
        let sql = "SELECT max(last_refreshed_at) FROM accounts_v1 WHERE connection_id = 'c-0'";
        world.store().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let before = refreshed();
    world.run(&[]).expect(0);
    assert_eq!(asked(&world), 3);
    assert!(refreshed() > before, "what the bank gave was read in the same pass");
    world.assert_all_exact();
    // However often somebody presses a button, a bank is left in peace for six hours.
    world.run(&[]).expect(0);
    world.run(&["--connection", "c-0"]).expect(0);
    assert_eq!(asked(&world), 3);
    six_hours_pass(&world);
    world.run(&[]).expect(0);
    assert_eq!(asked(&world), 6);
}

#[test]
fn whatever_comes_of_asking_the_connection_is_read() {
    // A bank that asks for the user instead has dropped the session: only the user can bring it back.
    for (outcome, code) in
        [(RefreshOutcome::NoChange, 0), (RefreshOutcome::NeverEnds, 0), (RefreshOutcome::Awaiting, 11)]
    {
        let world = behind(1).set("sync.connection_timeout", "\"1s\"");
        world.sandbox.plan("user-0", |plan| plan.refresh = outcome);
        let ran = world.run(&[]).expect(code);
        assert_eq!((asked(&world), ran.total("failed")), (1, 0), "{outcome:?}");
        // One that is busy is not asked again.
        six_hours_pass(&world);
        world.run(&[]).expect(code);
        let again = u64::from(outcome == RefreshOutcome::NoChange);
        assert_eq!(asked(&world), 1 + again, "{outcome:?}");
    }
    for action in [
        Action::status(403),
        Action::status(409),
        Action::too_many("0"),
        Action::status(500),
        Action::LoseReply,
    ] {
        let world = behind(1).set("sync.connection_timeout", "\"1s\"");
        world.sandbox.fault(Fault::new(action.clone()).at(Endpoint::CredentialsRefresh));
        world.run(&[]).expect(0);
        assert_eq!(asked(&world), 1, "{action:?}: it is not repeated");
    }
}

#[test]
fn a_rehearsal_and_a_bank_without_consent_ask_nobody() {
    let world = behind(2);
    world.run(&["--dry-run"]).expect(0);
    assert_eq!(asked(&world), 0);
    world.sandbox.plan("user-0", |plan| {
        plan.consent.entry(0).or_default().status = Some("SESSION_EXPIRED".to_owned());
    });
    world.run(&[]).expect(11);
    assert_eq!(asked(&world), 1);
    // As shipped, nobody is asked at all.
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    world.run(&[]).expect(0);
    assert_eq!(asked(&world), 0);
}

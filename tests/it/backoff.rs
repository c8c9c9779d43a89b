//! The circuit: a user whom Tink refuses again and again is probed rarely, each attempt says that it is known, and
//! the first success forgets it all.

use tink_sandbox::{Action, Endpoint, Fault, Times};

use crate::harness::{Ran, World, small};
use crate::inside::HOUR;

const REFUSALS: [(Endpoint, u16, &str); 6] = [
    (Endpoint::Grant, 401, "http_4xx"),
    (Endpoint::Grant, 404, "tink_user_unknown"),
    (Endpoint::CodeExchange, 403, "http_4xx"),
    (Endpoint::Consents, 404, "http_4xx"),
    (Endpoint::Accounts, 403, "http_4xx"),
    (Endpoint::Transactions, 401, "http_4xx"),
];

/// A pass, as the journal has it.
fn pass(world: &World) -> Ran {
    world.run(&["--verbose"])
}

/// Lets so many hours go by for whoever backs off.
fn hours_pass(world: &World, hours: u32) {
    world.shorten_rests(i64::from(hours) * HOUR + 60_000);
}

/// How many hours the connections have to wait, by failures in a row.
fn waits(world: &World, n: usize) -> (i64, i64) {
    let of = |column: &str| {
        world.number(&format!("SELECT {column} FROM connections_v1 WHERE connection_id = 'c-{n}'"))
    };
    (
        of("consecutive_failures"),
        of("coalesce((strftime('%s', not_before) - strftime('%s', 'now') + 300) / 3600, 0)"),
    )
}

#[test]
fn whoever_is_refused_again_and_again_is_asked_for_rarely_and_told_as_known() {
    let world = World::new(small(7));
    for (n, (place, code, _)) in REFUSALS.into_iter().enumerate() {
        let refusal = Fault::new(Action::status(code)).user(&format!("user-{n}")).at(place);
        world.sandbox.fault(refusal.times(Times::Forever));
    }
    for failure in 1..=6 {
        let ran = pass(&world).expect(10);
        for (n, (_, _, reason)) in REFUSALS.into_iter().enumerate() {
            assert_eq!(ran.ended(&format!("c-{n}")), ("failed".to_owned(), Some(reason.to_owned())));
            let told: Vec<&str> =
                ran.stderr.lines().filter(|line| line.contains(&format!("c-{n} "))).collect();
            let [told] = told[..] else { panic!("one record each: {told:?}") };
            assert_eq!(told.contains(&format!("failure {failure} in a row")), failure > 1, "{told}");
            assert_eq!(told.contains("not tried again before 20"), failure == 6, "{told}");
            assert_eq!(waits(&world, n), (failure, if failure == 6 { 8 } else { 0 }));
        }
    }
    // For eight hours there is nothing to tell, and Tink is not asked.
    world.sandbox.reset_counters();
    let ran = pass(&world).expect(0);
    assert_eq!((ran.skipped("not_before"), ran.total("failed")), (6, 0));
    assert!(!ran.stderr.contains("error") && !ran.stderr.contains("warning"), "{}", ran.stderr);
    assert!((0..6).all(|n| world.sandbox.requests_of(&format!("user-{n}")).is_empty()));
    for (failures, hours, next) in [(7, 8, 16), (8, 16, 24), (9, 24, 24)] {
        hours_pass(&world, hours);
        let ran = pass(&world).expect(10);
        assert_eq!(ran.total("failed"), 6);
        assert!(
            ran.stderr.contains(&format!("failure {failures} in a row, not tried again before")),
            "{}",
            ran.stderr
        );
        assert_eq!(waits(&world, 0), (failures, next));
        assert_eq!(pass(&world).expect(0).total("due"), 1, "only the neighbour");
    }
    // A success forgets everything: the next failure is the first.
    world.sandbox.clear_faults();
    hours_pass(&world, 24);
    pass(&world).expect(0);
    world.assert_all_exact();
    assert_eq!(
        world.number(
            "SELECT count(*) FROM connections_v1 WHERE consecutive_failures > 0 OR not_before IS NOT NULL"
        ),
        0
    );
    world.sandbox.fault(Fault::new(Action::status(403)).user("user-4").at(Endpoint::Accounts));
    let ran = pass(&world).expect(10);
    assert!(!ran.stderr.contains("in a row"), "{}", ran.stderr);
    assert_eq!(waits(&world, 4), (1, 0));
    pass(&world).expect(0);
}

#[test]
fn a_limit_is_never_a_success_wherever_it_strikes() {
    let world = World::new(small(6));
    world.run(&[]).expect(0);
    let before = world.successes();
    for place in [
        Endpoint::ClientToken,
        Endpoint::Grant,
        Endpoint::CodeExchange,
        Endpoint::Consents,
        Endpoint::Accounts,
        Endpoint::Transactions,
    ] {
        for header in ["0", "3600", "soon"] {
            world.sandbox.set_day(world.sandbox.day() + 1);
            let limit = Fault::new(Action::too_many(header)).at(place).times(Times::Forever);
            world.sandbox.fault(limit);
            let ran = world.run(&["--force"]).expect(10);
            assert_eq!((ran.total("synced"), ran.total("unchanged")), (0, 0), "{place:?} {header}");
            assert!(ran.total("rate_limited") > 0, "{place:?} {header}");
            assert_eq!(world.successes(), before, "{place:?} {header}");
            world.sandbox.clear_faults();
        }
    }
    world.run(&["--force"]).expect(0);
    world.assert_all_exact();
}

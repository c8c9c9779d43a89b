//! How often a pass waits for the server of its store, counted: on another machine each time costs a millisecond or more.

use tink_sandbox::Config;

use super::Engine;
use crate::harness::{World, plain};

/// Connections of the larger world beyond those of the smaller one.
const MORE: u32 = 16;

/// What a pass over more connections waits for the server more often, for each of them; one connection at a time. In
/// order: a first pass, one with nothing new, and one a day later.
fn per_connection(accounts: usize) -> [f64; 3] {
    let trips = |users: u32| -> [u64; 3] {
        let config = Config { history_days: 30, rows_per_day: 10.0, pending_per_day: 0.5, ..plain(users) };
        let world = World::on(Engine::Postgres, Engine::Sqlite, config, names(users));
        for n in 0..users {
            world.sandbox.plan(&format!("user-{n}"), |plan| plan.accounts = accounts);
        }
        let world = world.set("tink.concurrency", "1");
        [0, 0, 1].map(|day| {
            world.sandbox.set_day(day);
            let ran = world.run(&["--force"]).expect(0);
            assert_eq!(ran.total("connections"), u64::from(users));
            ran.total("store_round_trips")
        })
    };
    let (few, many) = (trips(2), trips(2 + MORE));
    std::array::from_fn(|pass| {
        let more = u32::try_from(many[pass].checked_sub(few[pass]).unwrap()).unwrap();
        f64::from(more) / f64::from(MORE)
    })
}

fn names(users: u32) -> Vec<String> {
    (0..users).map(|n| format!("user-{n}")).collect()
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_a_connection_waits_for_the_server_a_few_times() {
    let [one_first, one_idle, one_later] = per_connection(1);
    let [two_first, two_idle, two_later] = per_connection(2);
    println!("first {one_first} {two_first}, idle {one_idle} {two_idle}, later {one_later} {two_later}");
    // Three of its own and two of its claim, which it has alone here; accounts that are not walked cost nothing.
    assert!(one_idle <= 5.1 && two_idle <= 5.1, "idle: {one_idle}, {two_idle}");
    // An account that is read: its commit, and where there are rows, what is stored of them.
    assert!(one_first <= 13.1 && two_first - one_first <= 2.1, "first: {one_first}, {two_first}");
    assert!(two_later - one_later <= 5.1, "a day later: {one_later}, {two_later}");
}

/// Neither connections that are new in the view nor those that change there.
#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_nobody_waits_for_each_row_of_the_view() {
    let trips = |connections: u32| {
        let world = World::on(Engine::Postgres, Engine::Sqlite, plain(0), names(0));
        world.app(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {connections})
             INSERT INTO app_connections SELECT 'c-' || i, 'u-' || i, 1, 0, NULL, 'user-' || i FROM n"
        ));
        let first = world.run(&[]).expect(0).total("store_round_trips");
        world.app("UPDATE app_connections SET user_id = user_id || 'x'");
        [first, world.run(&[]).expect(0).total("store_round_trips")]
    };
    let (few, many) = (trips(10), trips(1_200));
    // Once for each part of 500 that is written, and once for each that is read again before.
    assert!(many[0] <= few[0] + 3 && many[1] <= few[1] + 6, "{few:?} {many:?}");
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_rows_whose_keys_are_asked_for_come_in_any_number() {
    let config = Config { history_days: 80, rows_per_day: 40.0, ..plain(1) };
    let world = World::on(Engine::Postgres, Engine::Sqlite, config, names(1));
    let world = world.set("sync.keep_raw", "\"90d\"");
    let rows = world.run(&[]).expect(0).total("added");
    assert!(rows > 3000, "{rows} rows");
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1"), i64::try_from(rows).unwrap());
}

//! Passes over days of evolving data: after each of them the store holds what Tink holds.

use tink_sandbox::{Config, Rates};

use crate::harness::{World, plain};

/// A lively world: every oddity of the data, but no row without a date, which takes two walks to go.
fn lively(users: u32) -> Config {
    let rates = Rates { undated: 0, ..Rates::lively() };
    Config { rates, seed: 7, ..plain(users) }
}

#[test]
fn after_each_of_five_days_the_store_is_exact() {
    let world = World::new(lively(40));
    for day in 0..5 {
        world.sandbox.set_day(day);
        world.run(&[]).expect(0);
        world.assert_all_exact();
    }
}

#[test]
fn a_pass_with_nothing_new_writes_no_row_and_sends_four_requests_per_connection() {
    let world = World::new(plain(20));
    world.run(&[]).expect(0);
    let before = world.number("SELECT last_change_seq FROM feed_v1");
    world.sandbox.reset_counters();
    let ran = world.run(&[]).expect(0);
    assert_eq!(
        (ran.total("unchanged"), ran.total("added"), ran.total("updated"), ran.total("removed")),
        (20, 0, 0, 0)
    );
    assert_eq!(world.sandbox.requests().values().sum::<u64>(), 20 * 4 + 1);
    assert_eq!(world.number("SELECT last_change_seq FROM feed_v1"), before);
}

//! What a pass does while somebody else's session has something locked for long.

use crate::harness::{World, small, until};
use crate::stored::Engine;

use super::signal;

/// A world with one connection, which has been synced.
fn synced() -> World {
    let world = World::on(Engine::Postgres, Engine::Sqlite, small(1), vec!["user-0".to_owned()]);
    world.run(&[]).expect(0);
    world
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_a_pass_asks_for_a_locked_connection_about_once_a_second() {
    let world = synced().set("sync.deadline", "\"3s\"");
    let _other = world.with_connections_locked();
    let ran = world.run(&["--force"]).expect(0);
    assert_eq!(ran.skipped("leased"), 1);
    let trips = ran.total("store_round_trips");
    assert!(trips < 60, "{trips} round trips");
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_a_pass_goes_on_when_a_locked_connection_is_free_and_ends_when_it_is_told_to() {
    let world = synced();
    let other = world.with_connections_locked();
    let waiting = world.start(&["--force"]);
    until(|| world.a_run_is_at_work());
    drop(other);
    assert_eq!(waiting.end().expect(0).total("unchanged"), 1);
    let _other = world.with_connections_locked();
    let waiting = world.start(&["--force"]);
    until(|| world.a_run_is_at_work());
    signal(&waiting, "TERM");
    waiting.end().expect(143);
}

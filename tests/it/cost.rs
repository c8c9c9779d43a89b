//! What a pass costs, in things that can be counted.

use std::fs;

use crate::harness::{World, plain};
use crate::stored::only_on_sqlite;

/// The commits of what `act` writes into the store: each is one wait for the disk. Counted in the log, which a reader
/// keeps from being put away meanwhile.
fn commits(world: &World, act: impl FnOnce()) -> usize {
    let _reader = world.reading();
    act();
    let log = fs::read(world.path("store.db-wal")).unwrap();
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let page = usize::try_from(number(8)).unwrap();
    let frames = (32..log.len()).step_by(24 + page).filter(|frame| frame + 24 + page <= log.len());
    // Of this log and not of an earlier one that it is written over; with the size of the file at a commit's end.
    frames.filter(|frame| number(frame + 8) == number(16) && number(frame + 4) > 0).count()
}

#[test]
fn a_pass_waits_for_the_disk_once_for_many_connections() {
    const CONNECTIONS: u32 = 100;
    only_on_sqlite!("commits are counted in its log");
    let world = World::new(plain(CONNECTIONS));
    world.cli(&["check", "--offline"]);
    world.run(&["--connection", "c-0"]).expect(0);
    for day in 0..3 {
        world.sandbox.set_day(day.min(1));
        let commits = commits(&world, || drop(world.run(&[]).expect(0)));
        // Each connection is claimed, written and recorded: alone that would be three each. Twenty and more go
        // together on a machine that is not busy with other things; on one that is, fewer come at the same time.
        // tests/bench/counts.txt has what a pass needs when nothing disturbs it.
        assert!(
            commits > 2 && commits < 2 * CONNECTIONS as usize,
            "{commits} commits on the pass of day {day}"
        );
    }
    world.assert_all_exact();
}

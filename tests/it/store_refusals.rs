//! A database that works and refuses one connection's data: that connection fails alone and says why, and the
//! pass goes on. Only where its record is refused too is the store broken.

use crate::harness::{Ran, World, plain, small};
use crate::inside::left::Refused;
use crate::stored::{Engine, only_on_sqlite};

fn assert_told(world: &World, ran: &Ran, connection: &str) {
    assert_eq!(ran.ended(connection), ("failed".to_owned(), Some("store".to_owned())));
    let error = ran.connections()[connection]["error"].as_str().unwrap().to_owned();
    for told in [world.place.name(), "not allowed here", "write"] {
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_row_that_the_database_refuses_fails_its_connection_alone() {
    let world = World::new(small(6));
    world.run(&[]).expect(0);
    let before = world.live(2);
    let through = "SELECT complete_through FROM accounts_v1 WHERE connection_id = 'c-2'";
    let watermark = world.text(through);
    world.refuse(Refused::RowsOf("c-2"));
    world.sandbox.set_day(5);
    let ran = world.run(&[]).expect(10);
    assert_told(&world, &ran, "c-2");
    assert_eq!((ran.total("failed"), ran.total("synced")), (1, 5));
    assert_eq!(world.state(2), ("failing".to_owned(), Some("store".to_owned())));
    assert_eq!((world.live(2), world.text(through)), (before, watermark), "nothing of that walk was kept");
    (0..6).filter(|n| *n != 2).for_each(|n| world.assert_exact(n));
    world.assert_at_rest();

    world.allow();
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn an_account_that_the_database_refuses_leaves_the_others_of_its_connection_alone() {
    let world = World::new(plain(8));
    world.run(&[]).expect(0);
    let two = "SELECT connection_id FROM accounts_v1 WHERE ?1 <> '' GROUP BY 1 HAVING count(*) = 2";
    let connection = world.texts(two, "-")[0][0].clone().unwrap();
    let keys = world
        .texts("SELECT CAST(account_key AS TEXT) FROM accounts_v1 WHERE connection_id = ?1", &connection);
    let (good, bad) = (keys[0][0].as_deref().unwrap(), keys[1][0].as_deref().unwrap());
    world.refuse(Refused::RowsOfAccount(bad));
    let before = [world.walks(good), world.walks(bad)];
    world.sandbox.set_day(8);
    let ran = world.run(&[]).expect(10);
    assert_eq!(ran.ended(&connection), ("partial".to_owned(), Some("store".to_owned())));
    let walks = [world.walks(good), world.walks(bad)];
    assert_eq!(walks, [before[0] + 1, before[1]]);
    world.allow();
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn a_record_that_the_database_refuses_is_a_broken_store() {
    let world = World::new(small(3));
    world.run(&[]).expect(0);
    world.refuse(Refused::OutcomeOf("c-1"));
    world.sandbox.set_day(1);
    let ran = world.run(&[]).expect(74);
    for told in [world.place.name(), "record the outcome", "not allowed here"] {
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
    world.allow();
    world.run(&[]).expect(0);
    world.assert_all_exact();
    world.assert_at_rest();
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_a_run_that_a_broken_store_ends_leaves_its_connections_to_others() {
    let world = World::on(Engine::Postgres, Engine::Sqlite, small(3), vec!["user-0".to_owned()]);
    world.run(&[]).expect(0);
    world.refuse(Refused::Outcome("synced"));
    world.sandbox.set_day(1);
    let ran = world.run(&[]).expect(74);
    assert!(ran.stderr.contains("not allowed here"), "{}", ran.stderr);
    let left = "SELECT count(*) FROM runs_v1 WHERE ?1 <> '' AND finished_at IS NULL";
    assert_eq!(world.texts(left, "-")[0][0].as_deref(), Some("0"));
    let ended = "SELECT exit_code FROM runs_v1 WHERE ?1 <> '' ORDER BY started_at DESC LIMIT 1";
    assert_eq!(world.texts(ended, "-")[0][0].as_deref(), Some("74"));
    let outcome = "SELECT outcome FROM run_connections_v1 WHERE ?1 <> '' ORDER BY started_at DESC LIMIT 1";
    assert_eq!(world.texts(outcome, "-")[0][0].as_deref(), Some("interrupted"));
    world.allow();
    assert_eq!(world.run(&[]).expect(0).total("due"), 1);
    world.assert_exact(0);
    world.assert_at_rest();
}

#[test]
fn a_stored_value_that_is_not_ours_fails_its_connection_alone() {
    only_on_sqlite!("a server refuses it as it is written");
    for (change, told) in
        [("amount = 'much'", "amount is no decimal number"), ("booked_date = 'soon'", "holds no date")]
    {
        let world = World::new(small(4));
        world.run(&[]).expect(0);
        // The database finds it in order: somebody wrote there.
        world.spoil_rows(1, change);
        let first = "SELECT connection_id FROM accounts_v1 WHERE account_key = 1";
        let broken = world.text(first).unwrap();
        world.sandbox.set_day(2);
        let ran = world.run(&[]).expect(10);
        assert_eq!(ran.ended(&broken), ("failed".to_owned(), Some("store".to_owned())));
        let error = ran.connections()[&broken]["error"].to_string();
        assert!(error.contains(told) && !error.contains("much"), "{error}");
        assert_eq!((ran.total("failed"), ran.total("synced")), (1, 3));
    }
}

#[test]
fn what_the_store_refuses_is_not_said_to_be_the_banks_trouble() {
    let world = World::new(small(40));
    world.run(&[]).expect(0);
    world.refuse(Refused::Rows);
    world.sandbox.set_day(5);
    let ran = world.run(&[]).expect(10);
    assert!(ran.total("failed") > 20, "{}", ran.summary());
    assert!(!ran.stderr.contains("failed alike"), "{}", ran.stderr);
}

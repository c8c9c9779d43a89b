//! Anything at all from outside, to the binary: nothing panics, nothing hangs, and nobody else is harmed. What the
//! readers alone make of anything is tested beside them (`src/tests.rs`).

use proptest::collection::vec;
use proptest::prelude::*;
use rusqlite::types::Value as Sql;
use tink_sandbox::{Action, Endpoint, Fault, Times};
use tink_sync::clock::{Clock as _, SystemClock};
use tink_sync::store::source;

use crate::harness::{World, opened, small};
use crate::scripted::{Sam, at, booked, many};

fn sql_value() -> impl Strategy<Value = Sql> {
    prop_oneof![
        Just(Sql::Null),
        any::<i64>().prop_map(Sql::Integer),
        any::<f64>().prop_filter("SQLite has no such number", |n| !n.is_nan()).prop_map(Sql::Real),
        ".{0,30}".prop_map(Sql::Text),
        vec(any::<u8>(), 0..30).prop_map(Sql::Blob),
        Just(Sql::Text("2026-01-01 00:00:00".to_owned())),
        Just(Sql::Text("true".to_owned())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rows_of_the_view_may_hold_anything(rows in vec(vec(sql_value(), 9..10), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        let db = opened(&path);
        db.execute_batch(
            "CREATE TABLE v (connection_id, user_id, enabled, entitled, entitled_until, external_user_id, market, priority, refresh_token)",
        ).unwrap();
        for row in &rows {
            db.execute("INSERT INTO v VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", rusqlite::params_from_iter(row)).unwrap();
        }
        drop(db);
        let read = source::read_view(&path.into(), "v", None, SystemClock.now(), std::time::Duration::ZERO).unwrap();
        prop_assert_eq!(read.number(), rows.len());
        for row in read.iter() {
            let usable = !row.connection_id.as_str().is_empty() && !row.user_id.as_str().is_empty() && row.tink_user.is_some();
            prop_assert_eq!(row.problem.is_none(), usable);
        }
    }
}

#[test]
fn what_is_far_too_long_harms_nobody_else() {
    let world = World::with_users(small(0), vec!["long".to_owned(), "well".to_owned()]);
    let id = "i".repeat(1 << 20);
    let text = "x".repeat(2 << 20);
    world.sandbox.script("long", at(1, [booked(&id, -2, "-100", "one"), booked("t-2", -2, "-200", &text)]));
    world.sandbox.script("well", at(1, many("w", 5, -2)));
    world.run(&[]).expect(0);
    assert_eq!((world.live(0).len(), world.live(1).len()), (1, 5));
    let told = "SELECT count(*) FROM quarantine_v1 WHERE reason LIKE '%far too long%'";
    assert_eq!(world.text(told).unwrap(), "1", "an id of a megabyte is none");
    let kept = "SELECT max(length(description_original)) FROM transactions_v1";
    assert_eq!(world.text(kept).unwrap(), text.len().to_string(), "a text is stored as sent, however long");
    // Unless the answer as a whole is too long.
    let sam = Sam::new().set("tink.max_response", "\"64 KiB\"");
    let ran = sam.pass(at(1, [booked("t", -2, "-1", &text)])).expect(10);
    assert_eq!(ran.ended("c-0").1.as_deref(), Some("too_large"));
}

#[test]
fn a_list_longer_than_any_fails_its_connection_alone() {
    let world = World::new(small(4));
    let places = [
        (Endpoint::Consents, "providerConsents"),
        (Endpoint::Accounts, "accounts"),
        (Endpoint::Transactions, "transactions"),
    ];
    for (n, (place, list)) in places.into_iter().enumerate() {
        let body = format!("{{\"{list}\":[{}]}}", vec!["{}"; 10_001].join(","));
        let fault = Fault::new(Action::Garbage(body.into_bytes())).at(place).user(&format!("user-{n}"));
        world.sandbox.fault(fault.times(Times::Forever));
    }
    let ran = world.run(&[]).expect(10);
    for (n, (_, list)) in places.into_iter().enumerate() {
        let id = format!("c-{n}");
        assert_eq!(ran.ended(&id), ("failed".to_owned(), Some("malformed".to_owned())));
        let error = ran.connections()[&id]["error"].to_string();
        assert!(error.contains(&format!("{list} has far too many elements")), "{error}");
    }
    world.assert_exact(3);
    world.sandbox.clear_faults();
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

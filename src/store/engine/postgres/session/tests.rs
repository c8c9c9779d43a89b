//! What becomes of a session whose server does not answer, and how results are walked.

use super::*;
use crate::store::engine::postgres::tests::server::Server;
use crate::store::engine::{Db, values};

fn target() -> Arc<Target> {
    Arc::new(Target::parse(&Server::shared().fresh_database(), &|_| None).unwrap())
}

fn session() -> Pg {
    Pg::connect(&target()).unwrap()
}

#[test]
fn a_session_without_an_answer_is_lost_and_so_is_its_transaction() {
    let pg = session();
    pg.begin_alone();
    pg.batch_as_is("CREATE TABLE public.begun ()").unwrap();
    pg.limit.set(Some(Duration::ZERO));
    let silent = pg.batch_as_is("SELECT pg_sleep(60)");
    assert!(matches!(silent, Err(Fail::NoAnswer)), "{silent:?}");
    assert!(pg.is_lost());
    // Nothing more reaches the transaction on the server.
    assert!(pg.batch_as_is("COMMIT").is_err());
    pg.limit.set(Some(ANSWER));
    pg.reconnect().unwrap();
    assert!(!pg.is_lost());
    pg.begin_alone();
    let there = "SELECT CAST(to_regclass('public.begun') IS NOT NULL AS integer)";
    assert_eq!(Db::Postgres(&pg).value::<i64>(there, values![]).unwrap(), 0);
    pg.commit().unwrap();
}

#[test]
fn unhurried_work_waits_for_every_answer() {
    let pg = session();
    pg.limit.set(Some(Duration::ZERO));
    pg.unhurried(|| pg.batch_as_is("SELECT 1")).unwrap();
    assert!(matches!(pg.batch_as_is("SELECT pg_sleep(60)"), Err(Fail::NoAnswer)));
}

/// Every pair of an outer and an inner walk that stops after the second row.
fn pairs(pg: &Pg) -> Vec<(i64, i64)> {
    let (db, numbers) = (Db::Postgres(pg), "SELECT n FROM generate_series(1, 9) n");
    let mut seen = Vec::new();
    db.walk(numbers, values![], |outer| {
        let outer: i64 = outer.get(0)?;
        db.walk(numbers, values![], |inner| {
            let inner: i64 = inner.get(0)?;
            seen.push((outer, inner));
            Ok(inner < 2)
        })?;
        Ok(outer < 2)
    })
    .unwrap();
    seen
}

#[test]
fn a_walk_stops_when_told_to_and_may_hold_another_one() {
    let pg = session();
    let expected = [(1, 1), (1, 2), (2, 1), (2, 2)];
    assert_eq!(pairs(&pg), expected, "outside a transaction");
    pg.begin_alone();
    assert_eq!(pairs(&pg), expected, "inside a transaction");
    pg.commit().unwrap();
}

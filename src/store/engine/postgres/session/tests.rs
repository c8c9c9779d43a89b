//! What becomes of a session whose server does not answer.

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

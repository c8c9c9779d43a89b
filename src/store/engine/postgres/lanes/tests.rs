use jiff::Timestamp;

use super::*;
use crate::domain::server::Target;
use crate::store::engine::Db;
use crate::store::engine::job::{Step, repeatable};
use crate::store::engine::postgres::testing::Server;
use crate::store::engine::values;
use crate::store::engine::worker::Worker;
use crate::store::{Place, Result, StoreError, Writer};

/// A store in a database of its own.
fn store() -> (Place, DbSession) {
    let url = Server::shared().fresh_database();
    let place = Place::Postgres(Target::parse(&url, &|_| None).unwrap().into());
    drop(Writer::open(&place, Timestamp::UNIX_EPOCH).unwrap());
    let session = place.for_groups(Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap();
    (place, session)
}

/// Lets the first commit that writes an audit row end its session, and no other.
const CUT: &str = "CREATE SEQUENCE cuts;
    CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('public.cuts') = 1 THEN
            PERFORM pg_terminate_backend(pg_backend_pid());
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON tink_sync.ts_audit DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION cut()";

/// Writes an audit row; the session ends in the first commit.
async fn write(step: impl Into<Step>) -> (Result<()>, i64) {
    let (place, session) = store();
    let Place::Postgres(target) = &place else { panic!("{place} is a file") };
    Pg::plain(target).unwrap().batch_as_is(CUT).unwrap();
    let worker = Worker::start(session);
    let insert = "INSERT INTO ts_audit (at, action, result) VALUES (0, 'a', 'ok')";
    let written = worker.write(step, move |db: Db<'_>, _: &Context| db.run(insert, values![])).await;
    let count = |db: Db<'_>| db.value("SELECT count(*) FROM ts_audit", values![]);
    (written, worker.read("count", count).await.unwrap())
}

#[tokio::test]
async fn a_commit_of_which_nobody_knows_is_done_again_where_that_does_no_harm() {
    let (written, rows) = write("write the audit log").await;
    assert!(matches!(written, Err(StoreError::CommitUnknown { .. })), "{written:?}");
    assert_eq!(rows, 0);
    let (written, rows) = write(repeatable("write the audit log")).await;
    assert!(written.is_ok(), "{written:?}");
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn who_stands_still_in_a_transaction_loses_it_and_does_it_again() {
    let (place, _session) = store();
    let worker = Worker::start(place.for_groups(Duration::from_secs(30), Timestamp::UNIX_EPOCH).unwrap());
    let mut times = 0;
    let written = worker.write("write the audit log", move |db: Db<'_>, _: &Context| {
        times += 1;
        if times == 1 {
            // What the server tells one that stood still.
            db.batch("DO $$ BEGIN RAISE EXCEPTION 'idle' USING ERRCODE = '25P03'; END $$")?;
        }
        let limit: String =
            db.value("SELECT current_setting('idle_in_transaction_session_timeout')", values![])?;
        Ok((times, limit))
    });
    assert_eq!(written.await.unwrap(), (2, "10s".to_owned()));
}

#[test]
fn numbers_go_on_far_above_all_others_once_the_timeline_has_changed() {
    let (_place, session) = store();
    let db = session.db();
    let next = || -> i64 {
        let next = "UPDATE ts_sequences SET value = value + 1 WHERE name = 'change' RETURNING value";
        db.value(next, values![]).unwrap()
    };
    let first = next();
    assert_eq!(next(), first + 1);
    let timeline: i64 =
        db.value("SELECT value FROM ts_sequences WHERE name = 'timeline'", values![]).unwrap();
    assert_eq!(timeline, 1);
    // What a promoted standby finds.
    db.run("UPDATE ts_sequences SET value = 7 WHERE name = 'timeline'", values![]).unwrap();
    let after = next();
    assert_eq!((after, next()), (first + 2 + (1 << 32), first + 3 + (1 << 32)));
    // Numbers of another store are kept as they are.
    db.run("UPDATE ts_sequences SET value = 7 WHERE name = 'timeline'", values![]).unwrap();
    db.batch("BEGIN; SET LOCAL tink_sync.copying = 'on'").unwrap();
    assert_eq!(next(), after + 2);
    db.batch("COMMIT").unwrap();
}

use jiff::Timestamp;

use super::*;
use crate::store::engine::Db;
use crate::store::engine::job::{Step, once, repeatable};
use crate::store::engine::postgres::tests::server::Server;
use crate::store::engine::values;
use crate::store::engine::worker::Worker;
use crate::store::{Place, Result, StoreError, Writer};

/// A store in a database of its own.
fn store() -> (Place, DbSession) {
    let place = Server::shared().fresh_place();
    drop(Writer::open(&place, Timestamp::UNIX_EPOCH).unwrap());
    let session = place.for_groups(Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap();
    (place, session)
}

/// Makes the first commit that writes an audit row end its session, and no other.
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

#[test]
fn a_job_that_waits_for_a_lock_under_the_packaged_roles_is_repeated_before_it_is_given_up() {
    let roles = include_str!("../../../../../packaging/postgres/roles.sql");
    let (_, limit) = roles.split_once("SET lock_timeout = '").unwrap();
    let seconds: u64 = limit.split_once("s'").unwrap().0.parse().unwrap();
    assert!(Duration::from_secs(seconds) * 2 < CONTENDED);
}

#[tokio::test]
async fn a_job_that_can_run_only_once_fails_with_what_stood_in_its_way() {
    let worker = Worker::start(store().1);
    let mut times = 0;
    let written = worker.write(once("take over rows"), move |db: Db<'_>, _: &Context| {
        times += 1;
        db.batch(&format!("DO $$ BEGIN RAISE EXCEPTION 'attempt {times}' USING ERRCODE = '40P01'; END $$"))
    });
    let error = written.await.unwrap_err().to_string();
    assert!(error.contains("attempt 1 (40P01)"), "{error}");
}

#[tokio::test]
async fn who_stands_still_in_a_transaction_loses_it_and_does_it_again() {
    let (place, _session) = store();
    let worker = Worker::start(place.for_groups(Duration::from_secs(30), Timestamp::UNIX_EPOCH).unwrap());
    let mut times = 0;
    let written = worker.write("write the audit log", move |db: Db<'_>, _: &Context| {
        times += 1;
        if times == 1 {
            // The error that the server sends to a transaction that was idle for too long.
            db.batch("DO $$ BEGIN RAISE EXCEPTION 'idle' USING ERRCODE = '25P03'; END $$")?;
        }
        let limit: String =
            db.value("SELECT current_setting('idle_in_transaction_session_timeout')", values![])?;
        Ok((times, limit))
    });
    assert_eq!(written.await.unwrap(), (2, "10s".to_owned()));
}

/// The sessions that are open in the worker's database.
async fn sessions(worker: &Worker) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'";
    worker.read("count", move |db| db.value(count, values![])).await.unwrap()
}

#[tokio::test]
async fn jobs_one_after_the_other_share_a_session_and_those_at_the_same_time_do_not() {
    let worker = Worker::start(store().1);
    for _ in 0..20 {
        worker.write("write the audit log", |db, _| db.batch("SELECT 1")).await.unwrap();
    }
    assert_eq!(sessions(&worker).await, 1);
    // Each waits until the other has begun.
    let both = Arc::new(std::sync::Barrier::new(2));
    let meet = |_: i32| {
        let both = Arc::clone(&both);
        worker.write("write the audit log", move |_, _| {
            both.wait();
            Ok(())
        })
    };
    let (one, other) = tokio::join!(meet(1), meet(2));
    one.and(other).unwrap();
    assert_eq!(sessions(&worker).await, 2);
    worker.close().await;
}

#[tokio::test]
async fn a_job_that_panics_takes_its_thread_along_and_no_other() {
    let worker = Worker::start(store().1);
    let panic = || worker.write("write the audit log", |_, _| -> Result<(), Fail> { panic!("on purpose") });
    let work = || worker.write("write the audit log", |_, _| Ok(()));
    assert!(panic().await.is_err());
    work().await.unwrap();
    // Until no thread is left: then every job fails, and none waits.
    while panic().await.is_err() && work().await.is_ok() {}
    assert!(work().await.is_err());
    worker.close().await;
}

#[test]
fn numbers_go_on_far_above_all_others_once_the_timeline_has_changed() {
    let (_place, session) = store();
    let db = session.db();
    let next = || -> i64 { db.value("SELECT tink_sync.ts_next_change()", values![]).unwrap() };
    let first = next();
    assert_eq!(next(), first + NUMBERS);
    let timeline: i64 =
        db.value("SELECT value FROM ts_sequences WHERE name = 'timeline'", values![]).unwrap();
    assert_eq!(timeline, 1);
    // What a promoted standby finds.
    db.run("UPDATE ts_sequences SET value = 7 WHERE name = 'timeline'", values![]).unwrap();
    let after = next();
    let behind = first + (1 << 32);
    assert_eq!((after, next()), (behind + 2 * NUMBERS, behind + 3 * NUMBERS));
}

/// A heartbeat, for example, while commits wait for a command that numbers many rows.
#[tokio::test]
async fn a_job_apart_is_done_while_all_sessions_wait_for_another_transaction() {
    let (place, session) = store();
    let holder = Taking::begin(&place);
    holder.0.batch_as_is("SELECT pg_advisory_xact_lock(1)").unwrap();
    let worker = Worker::start(session);
    let apart = worker.apart();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let worker = worker.clone();
            let wait = |db: Db<'_>, _: &Context| db.batch("SELECT pg_advisory_xact_lock(1)");
            tokio::spawn(async move { worker.write("write the audit log", wait).await })
        })
        .collect();
    let looking = Taking::looking(&place);
    while looking.waiting() < 8 {
        tokio::task::yield_now().await;
    }
    let one: i64 = apart.read("count", |db| db.value("SELECT CAST(1 AS BIGINT)", values![])).await.unwrap();
    assert_eq!(one, 1);
    holder.0.commit().unwrap();
    for done in waiting {
        done.await.unwrap().unwrap();
    }
}

/// Also before the first number is taken: a key is drawn earlier than that.
#[test]
fn keys_that_readers_see_go_on_far_above_all_others_once_the_timeline_has_changed() {
    let (_place, session) = store();
    let db = session.db();
    let key = |table: &str| db.new_key(table).unwrap();
    let promoted = || db.run("UPDATE ts_sequences SET value = value + 7 WHERE name = 'timeline'", values![]);
    let (account, connection) = (key("ts_accounts"), key("ts_connections"));
    promoted().unwrap();
    assert_eq!((key("ts_accounts"), key("ts_accounts")), (account + MISSED + 1, account + MISSED + 2));
    assert_eq!(key("ts_connections"), connection + MISSED + 1);
    promoted().unwrap();
    db.run("SELECT tink_sync.ts_next_change()", values![]).unwrap();
    assert_eq!(key("ts_accounts"), account + 2 * MISSED + 3);
}

/// More keys than a standby misses.
const MISSED: i64 = 1_000_000;

/// The number of change numbers per ticket.
const NUMBERS: i64 = 8192;

/// A transaction in its own session that takes numbers.
struct Taking(Pg);

impl Taking {
    fn begin(place: &Place) -> Self {
        let taking = Self::looking(place);
        taking.0.begin("");
        taking
    }

    /// One without a transaction, in which the server would show an older snapshot of its activity.
    fn looking(place: &Place) -> Self {
        let Place::Postgres(target) = place else { panic!("{place} is a file") };
        Self(Pg::connect(target).unwrap())
    }

    fn number(&self, sql: &str) -> i64 {
        Db::Postgres(&self.0).value(sql, values![]).unwrap()
    }

    /// Takes `count` numbers; returns the last.
    fn take(&self, count: i64) -> i64 {
        Db::Postgres(&self.0).value("SELECT tink_sync.ts_take(?1)", values![count]).unwrap()
    }

    fn turn(&self) {
        self.0.batch_as_is("SELECT tink_sync.ts_turn()").unwrap();
    }

    /// The number of sessions that wait for a lock in this database.
    fn waiting(&self) -> i64 {
        self.number(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
    }
}

/// Ends the first of two transactions that took numbers while the second waits for it; returns both numbers.
fn in_turn(end: impl FnOnce(&Taking)) -> (i64, i64) {
    let (place, _session) = store();
    let (earlier, later, looking) = (Taking::begin(&place), Taking::begin(&place), Taking::looking(&place));
    let numbers = (earlier.take(1), later.take(1));
    std::thread::scope(|scope| {
        let later = scope.spawn(move || {
            later.turn();
            later.0.commit().unwrap();
        });
        while looking.waiting() == 0 {
            assert!(!later.is_finished(), "the later one went ahead");
            thread::yield_now();
        }
        end(&earlier);
        later.join().unwrap();
    });
    assert_eq!(looking.number("SELECT value FROM ts_sequences WHERE name = 'change'") % NUMBERS, NUMBERS - 1);
    numbers
}

#[test]
fn no_number_is_seen_before_a_smaller_one_whatever_becomes_of_who_took_it() {
    let (earlier, later) = in_turn(|earlier| {
        earlier.turn();
        earlier.0.commit().unwrap();
    });
    assert!(earlier < later, "{earlier} {later}");
    // A transaction that is rolled back does not hold up others either.
    let (earlier, later) = in_turn(|earlier| earlier.0.rollback());
    assert!(earlier < later, "{earlier} {later}");
}

#[test]
fn who_needs_more_numbers_says_so_before_the_first_and_holds_up_nobody_if_not() {
    let (place, _session) = store();
    let (earlier, later, looking) = (Taking::begin(&place), Taking::begin(&place), Taking::looking(&place));
    // No other transaction draws in between: they are consecutive.
    let first = earlier.take(1);
    assert_eq!(earlier.take(3 * NUMBERS), first + 3 * NUMBERS);
    let between = later.take(1);
    earlier.turn();
    let refused = earlier.0.batch_as_is(&format!("SELECT tink_sync.ts_take({})", 10 * NUMBERS)).unwrap_err();
    assert_eq!(remedy(&refused), Remedy::Again, "{refused:?}");
    earlier.0.rollback();
    // Its next transaction waits for those that have numbers, and no other gets any until it has ended.
    earlier.0.begin_briefly();
    std::thread::scope(|scope| {
        let more = scope.spawn(move || {
            let first = earlier.take(1);
            (first, earlier.take(10 * NUMBERS), earlier)
        });
        while looking.waiting() == 0 {
            assert!(!more.is_finished(), "it has not waited");
            thread::yield_now();
        }
        later.turn();
        later.0.commit().unwrap();
        let (first, last, earlier) = more.join().unwrap();
        assert!(between < first && last == first + 10 * NUMBERS, "{between} {first} {last}");
        let next = scope.spawn(move || {
            let next = Taking::begin(&place);
            let number = next.take(1);
            next.turn();
            next.0.commit().unwrap();
            number
        });
        while looking.waiting() == 0 {
            assert!(!next.is_finished(), "it was not held up");
            thread::yield_now();
        }
        earlier.turn();
        earlier.0.commit().unwrap();
        assert!(next.join().unwrap() > last);
    });
}

#[test]
fn a_thousand_changes_that_nobody_announced_are_made_in_another_attempt() {
    let (_place, session) = store();
    let worker = Worker::start(session);
    let mut attempts = 0;
    let write = move |db: Db<'_>, _: &Context| {
        attempts += 1;
        // In the first attempt a ticket is drawn in between, as by another transaction.
        let (first, more) = (db.reserve_changes(1)?, "SELECT tink_sync.ts_take(?1)");
        if attempts == 1 {
            db.batch("SELECT nextval('tink_sync.ts_tickets')")?;
        }
        Ok((attempts, first, db.value::<i64>(more, values![20_000])?))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (attempts, first, last) = runtime.block_on(worker.write("write the audit log", write)).unwrap();
    assert_eq!((attempts, last), (2, first + 20_000));
}

#[test]
fn numbers_go_on_behind_those_that_are_seen_also_if_the_sequence_was_not_restored() {
    let (place, _session) = store();
    let one = |count: i64| {
        let one = Taking::begin(&place);
        let last = one.take(count);
        one.turn();
        one.0.commit().unwrap();
        last
    };
    let seen = one(50_000);
    let lost = Taking::begin(&place);
    lost.number("SELECT setval('tink_sync.ts_tickets', 1)");
    lost.0.commit().unwrap();
    let after = one(1);
    assert!(after > seen && one(1) > after, "{after} after {seen}");
}

#[test]
fn a_claim_holds_the_quotas_of_its_own_users_alone() {
    let (place, session) = store();
    for key in 1..=3 {
        let insert = "INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, enabled, entitled) VALUES (?1, ?2, ?2, ?2, 1, 1)";
        session.db().count(insert, values![key, format!("c-{key}")]).unwrap();
    }
    let (one, other) = (Taking::begin(&place), Taking::begin(&place));
    let claimed = |by: &Taking, keys: &str| -> Vec<i64> {
        Db::Postgres(&by.0).column(crate::store::engine::postgres::schema::LOCK, values![keys]).unwrap()
    };
    assert_eq!(claimed(&one, "[1]"), [1]);
    assert_eq!(claimed(&other, "[3,2,1]"), [2, 3]);
}

#[test]
fn answers_that_come_in_parts_have_the_columns_of_their_own_question() {
    let (place, _session) = store();
    let one = Taking::begin(&place);
    let walk = |sql: &str, columns: usize| {
        let mut seen = Vec::new();
        let walked = Db::Postgres(&one.0).walk(sql, values![], |row| {
            seen.push(
                (0..columns)
                    .map(|column| row.get::<Option<String>>(column))
                    .collect::<Result<Vec<_>, _>>()?,
            );
            Ok(true)
        });
        walked.unwrap();
        seen
    };
    let text = |text: &str| Some(text.to_owned());
    for _ in 0..3 {
        let many = walk("SELECT CAST(n AS text), 'a', 'b' FROM generate_series(1, 2500) n", 3);
        assert_eq!((many.len(), &many[2_499]), (2_500, &vec![text("2500"), text("a"), text("b")]));
        assert_eq!(walk("SELECT 'c'", 1), [[text("c")]]);
        assert_eq!(walk("SELECT 'd', NULL WHERE 1 = 1", 2), [[text("d"), None]]);
    }
    one.0.commit().unwrap();
}

#[tokio::test]
async fn a_rehearsal_that_loses_its_session_says_so_from_then_on() {
    let (place, _session) = store();
    let rehearsal = place.rehearsal(Duration::from_secs(30), Timestamp::UNIX_EPOCH, |_| Ok(())).unwrap();
    let worker = Worker::start(rehearsal);
    let work = || worker.write("write the audit log", |db, _| db.batch("SELECT 1"));
    work().await.unwrap();
    let Place::Postgres(target) = &place else { panic!("{place} is a file") };
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    Pg::plain(target).unwrap().batch_as_is(end).unwrap();
    for _ in 0..3 {
        let lost = work().await.unwrap_err();
        assert!(matches!(lost, StoreError::Unavailable { .. }), "{lost:?}");
    }
    worker.close().await;
}

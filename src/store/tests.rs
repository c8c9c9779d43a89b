//! Two hosts on one server: what comes of one that begins something while the other is in the middle of something
//! else. No test waits for a time: the second is known to wait for the first before the first goes on.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;

use super::app::AppAccepted;
use super::forget::Forgotten;
use super::prune::Retention;
use super::stand_alone::OwnConnection;
use super::*;
use crate::domain::connection::SourceRow;
use crate::domain::owner::accept::Acceptance;
use crate::domain::population::Numbers;
use crate::domain::view::{ViewRows, Viewed};
use crate::store::engine::postgres::tests::server::Server;
use crate::store::engine::{DbSession, values};
use crate::tink::replay;

const NOW: Timestamp = Timestamp::constant(1_000_000, 0);

const ACT: AuditRow<'static> = AuditRow {
    at: NOW,
    actor: None,
    ip: None,
    action: "test",
    connection_id: None,
    user_id: None,
    result: "ok",
    details: None,
};

/// A connection that a run holds, and another of the same user that is not held.
const SEED: &str = "
    INSERT INTO ts_runs (key, run_id, trigger, host, version, started_at) VALUES (1, 'r', 'timer', 'h', '0', 1);
    INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, enabled, entitled) VALUES
        (1, 'c', 'u', 'x', 1, 1), (2, 'd', 'u', 'x', 1, 1);
    INSERT INTO ts_accounts (key, connection, account_id, name, type) VALUES (1, 1, 'a', '', '');
    INSERT INTO ts_run_connections (run, connection, user_id, started_at) VALUES (1, 1, 'u', 1);
    UPDATE ts_connections SET lease_run = 1, lease_token = 5, lease_until = 240000 WHERE key = 1";

/// What a run does first in each commit of the held connection.
const FENCE: &str = "SELECT tink_sync.ts_held(1, 5, 1)";

fn seeded(sql: &str) -> Place {
    let place = Server::shared().fresh_place();
    let mut writer = Writer::open(&place, NOW).unwrap();
    let seed = |db: Db<'_>| {
        db.batch(&format!("{SEED}; {sql}"))?;
        db.set_last_key("ts_runs", 1)
    };
    writer.run("write the audit log", seed).unwrap();
    place
}

/// Another host in a transaction.
struct Other {
    session: DbSession,
    looking: Writer,
    place: Place,
}

impl Other {
    /// One that has done this, and has not committed it.
    fn after(place: &Place, work: impl FnOnce(Db<'_>, &Context) -> Result<(), Fail>) -> Self {
        let mut session = place.writer(Duration::ZERO, NOW).unwrap();
        session.begin_write("write transactions").unwrap();
        work(session.db(), &session.context).unwrap();
        // Nothing is on its way any more.
        session.db().batch("SELECT 1").unwrap();
        Self { session, looking: Writer::open(place, NOW).unwrap(), place: place.clone() }
    }

    fn after_sql(place: &Place, sql: &str) -> Self {
        Self::after(place, |db, _| db.batch(sql))
    }

    /// Has a host of ours `act` until it waits for this one, which then does this, too, and commits.
    fn held_up<T: Send>(mut self, sql: &str, act: impl FnOnce(&mut Writer) -> T + Send) -> T {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let mut ours = Writer::open(&self.place, NOW).unwrap();
        std::thread::scope(|scope| {
            let acting = scope.spawn(move || act(&mut ours));
            while self.looking.look("look", |db| db.value::<i64>(waiting, values![])).unwrap() == 0 {
                assert!(!acting.is_finished(), "it has not waited");
                std::thread::yield_now();
            }
            self.session.db().batch(sql).unwrap();
            self.session.commit().unwrap();
            acting.join().unwrap()
        })
    }
}

fn number(place: &Place, sql: &str) -> i64 {
    Reader::open(place).unwrap().read("look", |db| db.value(sql, values![])).unwrap()
}

/// A host at the end of beginning a run.
fn beginning(place: &Place) -> Other {
    Other::after(place, |db, context| runs::begin(db, context, &NewRun::by_hand("new", NOW)).map(drop))
}

#[test]
fn a_connection_that_is_forgotten_while_a_run_writes_its_rows_leaves_none() {
    let place = seeded("");
    let run = Other::after_sql(&place, FENCE);
    let more = "INSERT INTO ts_accounts (key, connection, account_id, name, type) VALUES (2, 1, 'b', '', '')";
    let forgotten = run.held_up(more, |writer| writer.forget("c", &ACT).unwrap());
    assert!(matches!(forgotten, Forgotten::Now(_)), "{forgotten:?}");
    assert_eq!(number(&place, "SELECT count(*) FROM ts_accounts"), 0);
    assert_eq!(number(&place, "SELECT count(*) FROM ts_connections"), 1);
    let told = "SELECT count(*) FROM ts_audit WHERE details = '2 accounts, 0 transactions'";
    assert_eq!(number(&place, told), 1);
}

const TOMBSTONE: &str = "UPDATE ts_connections SET lease_run = NULL, lease_token = NULL, lease_until = NULL;
    INSERT INTO ts_transactions (key, account, transaction_id, generation, status, amount, currency, first_seen_run,
        first_walk, changed_run, change_seq, removed_at, removed_reason)
    VALUES (1, 1, 't', 1, 'booked', '-1', 'EUR', 1, 1, 1, 1, 5, 'vanished');
    INSERT INTO ts_raw (transaction_key, raw, stored_at) VALUES (1, '{}', 2000000000)";

/// Only old tombstones.
const TOMBSTONES: Retention = Retention {
    history: Timestamp::UNIX_EPOCH,
    on_demand: Timestamp::UNIX_EPOCH,
    raw: Timestamp::UNIX_EPOCH,
    removed: NOW,
};

#[test]
fn a_tombstone_that_another_host_revives_is_not_pruned() {
    let place = seeded(TOMBSTONE);
    let revive = "UPDATE ts_transactions SET removed_at = NULL, removed_reason = NULL WHERE key = 1";
    let run = Other::after_sql(&place, revive);
    let pruned = run.held_up("SELECT 1", |writer| writer.prune(&TOMBSTONES).unwrap());
    assert_eq!(pruned.removed, 0);
    assert_eq!(number(&place, "SELECT count(*) FROM ts_transactions WHERE removed_at IS NULL"), 1);
    assert_eq!(number(&place, "SELECT count(*) FROM ts_raw"), 1);
}

#[test]
fn a_tombstone_stays_while_another_host_claims_its_connection() {
    let place = seeded(TOMBSTONE);
    let mut writer = Writer::open(&place, NOW).unwrap();
    let claim =
        Other::after_sql(&place, "UPDATE ts_connections SET lease_run = 1, lease_token = 6 WHERE key = 1");
    assert_eq!(writer.prune(&TOMBSTONES).unwrap().removed, 0);
    claim.session.rollback();
    assert_eq!(writer.prune(&TOMBSTONES).unwrap().removed, 1);
    assert_eq!(number(&place, "SELECT count(*) FROM ts_raw"), 0);
}

#[test]
fn what_an_operator_accepts_or_forgets_waits_for_a_host_that_mirrors_the_view() {
    let place = seeded("");
    let mirroring = || Other::after(&place, |db, _| db.lock_view());
    mirroring().held_up("SELECT 1", |writer| writer.accept_change(Numbers::default(), &[], &ACT).unwrap());
    mirroring().held_up("SELECT 1", |writer| {
        let accepted = writer.accept_users(&ViewRows::default(), Acceptance::TinkUser("c"), &ACT).unwrap();
        assert!(accepted.is_err());
    });
    mirroring().held_up("SELECT 1", |writer| writer.forget("c", &ACT).unwrap());
}

#[test]
fn a_run_that_is_just_beginning_counts_as_one_at_work() {
    let place = seeded("UPDATE ts_runs SET finished_at = 1");
    let encrypt = |_: &str, refresh: &[u8], _: Option<&[u8]>| Ok::<_, Infallible>((refresh.to_vec(), None));
    let done = beginning(&place).held_up("SELECT 1", |writer| writer.reencrypt(&encrypt).unwrap());
    assert_eq!(done, Reencryption::RunAtWork("new".to_owned()));
    let place = seeded("UPDATE ts_runs SET finished_at = 1");
    let done = beginning(&place).held_up("SELECT 1", |writer| writer.accept_app("app", &ACT).unwrap());
    assert_eq!(done, AppAccepted::RunAtWork("new".to_owned()));
}

#[test]
fn a_run_that_is_ended_while_it_records_an_outcome_does_not_deadlock() {
    let place = seeded("UPDATE ts_runs SET alive_until = clock_timestamp() - interval '1 minute'");
    let recording = Other::after_sql(&place, FENCE);
    let record = "UPDATE ts_run_connections SET outcome = 'synced' WHERE run = 1 AND connection = 1";
    let ended = recording.held_up(record, |writer| {
        writer.session.write("begin the run", |db, context| liveness::sweep(db, context, NOW))
    });
    assert!(ended.unwrap());
    assert_eq!(number(&place, "SELECT count(*) FROM ts_run_connections WHERE outcome = 'synced'"), 1);
}

#[test]
fn a_takeover_takes_along_what_a_run_is_just_writing() {
    let place = seeded("");
    let run = Other::after_sql(&place, FENCE);
    let more = "INSERT INTO ts_accounts (key, connection, account_id, name, type) VALUES (2, 1, 'b', '', '')";
    run.held_up(more, |writer| {
        writer.run("mirror the source view", |db| owners::take_over(db, 1, 2)).unwrap();
    });
    assert_eq!(number(&place, "SELECT count(*) FROM ts_accounts WHERE connection = 2"), 2);
    assert_eq!(number(&place, "SELECT count(*) FROM ts_connections WHERE lease_token IS NOT NULL"), 0);
}

#[test]
fn two_commands_that_write_one_user_or_connection_at_once_both_succeed() {
    let place = seeded("");
    let first = Other::after(&place, |db, _| {
        db.lock_ids(std::iter::once("alice"))?;
        db.run("INSERT INTO ts_own_users (user_id) VALUES ('alice')", values![])
    });
    first.held_up("SELECT 1", |writer| writer.set_user("alice", false, None, &ACT)).unwrap();
    assert_eq!(number(&place, "SELECT count(*) FROM ts_own_users WHERE entitled = 0"), 1);
    let new = OwnConnection {
        connection_id: "n".to_owned(),
        user_id: "alice".to_owned(),
        external_user_id: Some("x".to_owned()),
        tink_user_id: None,
        market: None,
        priority: 0,
    };
    let first = Other::after(&place, |db, _| {
        db.lock_ids(std::iter::once("n"))?;
        stand_alone::insert(db, &new)
    });
    let known = first.held_up("SELECT 1", |writer| writer.add(std::slice::from_ref(&new), &[])).unwrap();
    assert_eq!(known, ["n"]);
}

#[test]
fn a_command_that_stalls_in_the_middle_holds_up_others_for_a_minute_at_most() {
    let place = seeded("");
    let mut writer = Writer::open(&place, NOW).unwrap();
    let limit = |db: Db<'_>| db.value::<String>("SHOW idle_in_transaction_session_timeout", values![]);
    assert_eq!(writer.run("write the audit log", limit).unwrap(), "1min");
}

/// A reading of the view that began at this second, with `c` switched on or off.
fn reading(second: i64, enabled: bool) -> Viewed {
    let user = TinkUser::External("x".to_owned());
    let row = SourceRow { enabled, ..SourceRow::active("c", "u", Some(user)) };
    Viewed {
        rows: [row].into_iter().collect(),
        source: "view".to_owned(),
        stand_alone: true,
        at: NOW,
        since: Some(Timestamp::from_second(second).unwrap()),
    }
}

#[test]
fn a_reading_of_the_view_that_began_before_the_stored_one_changes_nothing() {
    let place = seeded("");
    let mut session = place.writer(Duration::ZERO, NOW).unwrap();
    let run = session
        .write("begin the run", |db, context| runs::begin(db, context, &NewRun::by_hand("new", NOW)))
        .unwrap();
    let mut mirror = |viewed: Viewed| {
        session.write("mirror the source view", |db, context| mirror::all(db, context, &run, viewed)).unwrap()
    };
    let enabled =
        || number(&place, "SELECT count(*) FROM ts_connections WHERE connection_id = 'c' AND enabled <> 0");
    assert!(!mirror(reading(100, true)).is_outdated);
    assert!(!mirror(reading(200, false)).is_outdated);
    assert!(mirror(reading(150, true)).is_outdated);
    assert_eq!(enabled(), 0);
    // As when it is repeated, since its commit was uncertain.
    assert!(!mirror(reading(200, false)).is_outdated);
    assert!(!mirror(Viewed { source: "another".to_owned(), ..reading(150, true) }).is_outdated);
    assert_eq!(enabled(), 1);
    // A time that has not come yet is of a clock that was wrong.
    assert!(!mirror(reading(100_000_000_000, true)).is_outdated);
    assert!(!mirror(Viewed { source: "another".to_owned(), ..reading(300, false) }).is_outdated);
    assert_eq!(enabled(), 0);
}

#[test]
fn a_run_that_others_have_ended_mirrors_nothing() {
    let place = seeded("");
    let mut session = place.writer(Duration::ZERO, NOW).unwrap();
    let run = session
        .write("begin the run", |db, context| runs::begin(db, context, &NewRun::by_hand("new", NOW)))
        .unwrap();
    let end = "UPDATE ts_runs SET finished_at = 1 WHERE run_id = 'new'";
    session.write("finish the run", |db, _| db.batch(end)).unwrap();
    let mirrored = session.write("mirror the source view", |db, context| {
        mirror::all(db, context, &run, reading(100, false)).map(drop)
    });
    assert!(mirrored.is_err());
    assert_eq!(number(&place, "SELECT count(*) FROM ts_connections WHERE enabled <> 0"), 2);
}

/// The end of a walk that found rows without a counterpart from this day on, and had read the same before.
fn walked(day: &str) -> RowCommit {
    let day = Some(day.parse().unwrap());
    let checkpoint = Checkpoint {
        watermark: None,
        refresh: None,
        at: NOW,
        deep: None,
        suspect: None,
        absent_from: None,
        judged: true,
        repaired: true,
        full_due: false,
        reissued: false,
        unmatched_from: day,
        unmatched_before: day,
        compared: true,
    };
    RowCommit {
        account: 1,
        generation: 1,
        changes: ChangeSet::default(),
        unreadable: Vec::new(),
        readable: Vec::new(),
        covered: None,
        unfinished: Unfinished::default(),
        checkpoint: Some(checkpoint),
        now: NOW,
    }
}

#[test]
fn rows_that_a_person_accepted_as_unmatched_during_a_walk_stay_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let file = Place::from(directory.path().join("store.db"));
    drop(Writer::open(&file, NOW).unwrap());
    for place in [file, Server::shared().fresh_place()] {
        let mut writer = Writer::open(&place, NOW).unwrap();
        let seed = "UPDATE ts_accounts SET unmatched_from = '2026-05-01';
            UPDATE ts_connections SET last_reason = 'reconsent_unmatched'";
        writer.run("write the audit log", |db| db.batch(&format!("{SEED}; {seed}"))).unwrap();
        let walk = || {
            let walk = |db: Db<'_>| rows::commit(db, 1, &walked("2026-05-01")).map(drop);
            Writer::open(&place, NOW).unwrap().run("write the end of a walk", walk).unwrap();
            number(&place, "SELECT count(*) FROM ts_accounts WHERE unmatched_from IS NOT NULL")
        };
        assert_eq!(walk(), 1, "{place}");
        assert_eq!(writer.accept_unmatched("c", &ACT).unwrap(), 1);
        assert_eq!(walk(), 0, "{place}");
    }
}

/// Twelve new rows, which is more than one statement inserts; the last has the id of another.
fn twelve(last: &str) -> RowCommit {
    let ids = (1..12).map(|n| format!("t-{n}")).chain([last.to_owned()]);
    let row = |id: String| {
        let sent = format!(
            r#"{{"id":"{id}","accountId":"a","status":"BOOKED","dates":{{"booked":"2026-05-01"}},
                "amount":{{"value":{{"unscaledValue":"-1","scale":"0"}},"currencyCode":"EUR"}}}}"#
        );
        let (transaction, raw) = replay(&sent, &"a".into(), true, false).unwrap();
        FetchedRow { transaction, raw }
    };
    RowCommit {
        changes: ChangeSet { insert: ids.map(row).collect(), ..ChangeSet::default() },
        ..walked("2026-05-01")
    }
}

#[test]
fn a_commit_of_which_one_row_cannot_be_stored_stores_none_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = Place::from(directory.path().join("store.db"));
    drop(Writer::open(&file, NOW).unwrap());
    for place in [file, Server::shared().fresh_place()] {
        let mut writer = Writer::open(&place, NOW).unwrap();
        writer.run("write the audit log", |db| db.batch(SEED)).unwrap();
        let mut commit = |rows: &RowCommit| {
            writer.run("write transactions", |db| rows::commit(db, 1, rows).map(drop)).map_err(drop)
        };
        for (last, stored, live) in [("t-3", Err(()), 0), ("t-11", Err(()), 0), ("t-12", Ok(()), 12)] {
            assert_eq!(commit(&twelve(last)), stored, "{place}");
            assert_eq!(number(&place, "SELECT count(*) FROM ts_transactions"), live, "{place}");
        }
    }
}

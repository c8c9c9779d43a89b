//! How long a run holds a connection on a server, for everybody who asks.

use super::*;
use crate::store::engine::postgres::tests::server::Server;
use crate::store::quarantine::Rereading;
use crate::store::types::ChangeSet;
use crate::store::{AuditRow, Place, Reader, Writer};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
/// By a clock that is far ahead of the server's.
const LATER: Timestamp = Timestamp::constant(100_000_000_000, 0);

const ACT: AuditRow<'static> = AuditRow {
    at: LATER,
    actor: None,
    ip: None,
    action: "quarantine.retried",
    connection_id: Some("c"),
    user_id: Some("u"),
    result: "ok",
    details: None,
};

/// The run that holds the connection `c`, as a reader shows it.
fn holder(place: &Place) -> Option<String> {
    let known = Reader::open(place).unwrap().connections().unwrap().remove(0);
    known.held_by(LATER).map(|holder| holder.run_id.clone())
}

#[test]
fn on_a_server_a_connection_is_held_for_as_long_as_its_run_lives() {
    let place = Server::shared().fresh_place();
    let mut writer = Writer::open(&place, NOW).unwrap();
    // The lease was taken for four minutes by the clock of its host, and the run has lived on since.
    let seed =
        "INSERT INTO ts_runs (key, run_id, trigger, host, version, started_at) VALUES (1, 'r', 'timer', 'h', '0', 1);
         INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, enabled, entitled, lease_run, lease_token, lease_until)
             VALUES (1, 'c', 'u', 'x', 1, 1, 1, 5, 240000);
         INSERT INTO ts_run_connections (run, connection, user_id, started_at) VALUES (1, 1, 'u', 1)";
    writer.run("write the audit log", |db| db.batch(seed)).unwrap();
    let how = Rereading { read: &|_, _, _| Err(String::new()), changes: |_, _, _, _| ChangeSet::default() };
    assert_eq!(holder(&place), Some("r".to_owned()));
    assert_eq!(writer.drop_quarantined("c", &[], &ACT).unwrap(), None);
    assert_eq!(writer.replay("c", &how, &ACT).unwrap(), None);

    // It was not heard of for four minutes.
    let silent = "UPDATE ts_runs SET alive_until = clock_timestamp() - interval '1 minute' WHERE key = 1";
    writer.run("write the audit log", |db| db.batch(silent)).unwrap();
    assert_eq!(holder(&place), None);
    assert_eq!(writer.drop_quarantined("c", &[], &ACT).unwrap(), Some(0));
}

#[test]
fn a_connection_that_was_found_free_cannot_be_claimed_before_the_transaction_ends() {
    let place = Server::shared().fresh_place();
    let mut writer = Writer::open(&place, NOW).unwrap();
    let seed = "INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, enabled, entitled)
         VALUES (1, 'c', 'u', 'x', 1, 1)";
    writer.run("write the audit log", |db| db.batch(seed)).unwrap();
    let mut claiming = place.writer(Duration::ZERO, NOW).unwrap();
    let mut claimable = || -> Vec<i64> {
        claiming.write("claim connections", |db, _| db.lock_connections([1].into_iter())).unwrap()
    };
    let during = writer.run("retry the quarantine", |db| {
        assert!(!is_leased(db, 1, NOW)?);
        Ok(claimable())
    });
    assert_eq!((during.unwrap(), claimable()), (vec![], vec![1]));
}

#[test]
fn a_run_that_holds_nothing_and_is_silent_is_no_reason_to_leave_connections_alone() {
    let place = Server::shared().fresh_place();
    let mut writer = Writer::open(&place, NOW).unwrap();
    let seed =
        "INSERT INTO ts_runs (key, run_id, trigger, host, version, started_at) VALUES (1, 'r', 'timer', 'h', '0', 1);
         INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, enabled, entitled, lease_run, lease_token, lease_until)
             VALUES (1, 'c', 'u', 'x', 1, 1, 1, 5, 240000);
         INSERT INTO ts_run_connections (run, connection, user_id, started_at) VALUES (1, 1, 'u', 1)";
    writer.run("write the audit log", |db| db.batch(seed)).unwrap();
    let mut counts = |change: &str| {
        let counted = |db: Db<'_>| {
            db.batch(change)?;
            db.exists(&format!("SELECT 1 FROM ts_runs r WHERE {}", may_be_at_work(db)), values![])
        };
        writer.run("write the audit log", counted).unwrap()
    };
    assert!(counts("SELECT 1"));
    // Silent for a minute: it may hold on to its connection for three more.
    assert!(counts("UPDATE ts_runs SET alive_until = clock_timestamp() + interval '3 minutes'"));
    assert!(!counts("UPDATE ts_connections SET lease_run = NULL, lease_token = NULL, lease_until = NULL"));
    assert!(counts("UPDATE ts_runs SET alive_until = DEFAULT"));
    assert!(!counts("UPDATE ts_runs SET finished_at = 1"));
}

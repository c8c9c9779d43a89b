//! The reads agree with the views.

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::store::{Place, Store};

fn store() -> (tempfile::TempDir, Place, Timestamp) {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::from(directory.path().join("store.db"));
    // The view uses the system's clock, so this test must use the present day.
    let now = crate::clock::Clock::now(&crate::clock::SystemClock);
    drop(Store::open(&place, std::time::Duration::ZERO, now).unwrap());
    (directory, place, now)
}

fn write(place: &Place, sql: &str) {
    rusqlite::Connection::open(place.file().unwrap()).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn states_reasons_and_times_are_those_of_the_view() {
    let (_guard, place, now) = store();
    let (past, future) = (now - SignedDuration::from_hours(9), now + SignedDuration::from_hours(9));
    let (past, future) = (past.as_millisecond(), future.as_millisecond());
    let mut id = 0;
    for enabled in ["0, 1", "1, 0", "1, 1"] {
        for until in ["NULL".to_owned(), past.to_string(), future.to_string()] {
            for user in ["NULL", "'consent_expired'"] {
                for (outcome, failures) in
                    [("NULL", 0), ("'rate_limited'", 1), ("'failed'", 2), ("'synced'", 0)]
                {
                    for success in ["NULL".to_owned(), past.to_string()] {
                        id += 1;
                        write(&place, &format!(
                            "INSERT INTO ts_connections (connection_id, user_id, enabled, entitled, entitled_until, needs_user,
                                 last_outcome, last_reason, failures, last_success_at, next_due, not_before)
                             VALUES ('c{id}', 'u', {enabled}, {until}, {user}, {outcome}, 'network', {failures}, {success},
                                 {success}, iif({failures} > 1, {future}, NULL))"
                        ));
                    }
                }
            }
        }
    }
    let sql = "SELECT state, reason, next_attempt_at FROM connections_v1 WHERE connection_id = ?1";
    let known = Reader::open(&place).unwrap().connections().unwrap();
    assert_eq!(known.len(), id);
    for connection in known {
        let seen: (String, Option<String>, Option<String>) = Reader::open(&place)
            .unwrap()
            .read("compare", |db| {
                db.single(sql, values![connection.connection_id], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
            })
            .unwrap();
        assert_eq!(connection.state(now).as_str(), seen.0, "{connection:?}");
        assert_eq!(connection.reason(now).map(str::to_owned), seen.1, "{connection:?}");
        assert_eq!(connection.next_attempt(now).map(|at| format!("{at:.3}")), seen.2, "{connection:?}");
    }
}

#[test]
fn runs_come_newest_first_with_their_totals() {
    let (_guard, place, _) = store();
    write(
        &place,
        "INSERT INTO ts_runs (run_id, trigger, host, version, started_at, finished_at, exit_code, totals) VALUES
            ('a', 'timer', 'h', '1', 1000, 61000, 0, '{\"due\": 4, \"skipped\": {\"recent\": 2}}'),
            ('b', 'timer', 'h', '1', 70000, 80000, 10, '{}'),
            ('c', 'manual', 'h', '1', 90000, NULL, NULL, '{}')",
    );
    let runs = Reader::open(&place).unwrap().runs(5).unwrap();
    assert_eq!(runs.iter().map(|run| run.run_id.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
    assert_eq!(
        (runs[2].total("due"), runs[2].total("skipped_recent"), runs[2].total("failed")),
        (Some(4), Some(2), None)
    );
    assert_eq!((runs[2].duration_ms, runs[0].duration_ms), (Some(60_000), None));
    let json = serde_json::to_value(&runs[2]).unwrap();
    assert_eq!((&json["due"], &json["started_at"]), (&4.into(), &"1970-01-01T00:00:01.000Z".into()));
}

#[test]
fn the_last_pass_is_no_run_on_demand() {
    let (_guard, place, _) = store();
    write(
        &place,
        "INSERT INTO ts_runs (run_id, trigger, on_demand, host, version, started_at, finished_at, exit_code) VALUES
            ('good', 'timer', 0, 'h', '1', 1000, 61000, 0),
            ('long', 'timer', 0, 'h', '1', 70000, 95000, 10),
            ('short', 'timer', 0, 'other', '1', 75000, 80000, 10),
            ('died', 'timer', 0, 'h', '1', 90000, 91000, NULL),
            ('on demand', 'app', 1, 'h', '1', 100000, 101000, 0),
            ('mistyped', 'manual', 1, 'h', '1', 200000, 201000, 2)",
    );
    let reader = Reader::open(&place).unwrap();
    assert_eq!(reader.last_pass().unwrap().unwrap().run_id, "died");
    assert_eq!(reader.last_finished_pass().unwrap().unwrap().run_id, "long");
    assert_eq!(reader.last_good_end().unwrap().unwrap().as_millisecond(), 61_000);
    write(&place, "DELETE FROM ts_runs WHERE on_demand = 0");
    let reader = Reader::open(&place).unwrap();
    assert_eq!((reader.last_pass().unwrap(), reader.last_finished_pass().unwrap()), (None, None));
    assert_eq!(reader.last_good_end().unwrap(), None);
}

#[test]
fn the_quota_counts_all_connections_of_a_user() {
    let (_guard, place, _) = store();
    write(
        &place,
        "INSERT INTO ts_run_connections (run, connection, user_id, attempts, started_at) VALUES
            (1, 1, 'u', 1, 1000), (2, 1, 'u', 2, 5000), (2, 2, 'u', 1, 6000), (2, 3, 'other', 1, 6000)",
    );
    let since = Timestamp::from_millisecond(1000).unwrap();
    let used = Reader::open(&place).unwrap().used("u", since).unwrap();
    assert_eq!((used.attempts, used.oldest.map(Timestamp::as_millisecond)), (3, Some(5000)));
}

#[test]
fn a_connection_is_told_without_what_shows_whose_it_is() {
    let (_guard, place, _) = store();
    write(
        &place,
        "INSERT INTO ts_connections (key, connection_id, user_id, enabled, entitled) VALUES (7, 'c', 'u', 1, 1);
         INSERT INTO ts_consents (connection, credentials_id, status, expires_at, account_ids)
            VALUES (7, 'k2', 'UPDATED', '2026-09-01T00:00:00Z', '[]'), (7, 'k1', 'UPDATED', '2026-08-01T00:00:00Z', '[]');
         INSERT INTO ts_accounts (key, connection, account_id, name, type, iban) VALUES (3, 7, 'a', 'Salary', 'CHECKING', 'SE00');
         INSERT INTO ts_quarantine (account, fingerprint, reason, raw, first_seen_at, run) VALUES (3, 'f', 'r', '{}', 0, 1);
         INSERT INTO ts_runs (key, run_id, trigger, host, version, started_at) VALUES (1, 'r', 'timer', 'h', '1', 0);
         INSERT INTO ts_run_connections (run, connection, user_id, outcome, started_at) VALUES (1, 7, 'u', 'synced', 5);",
    );
    let detail = Reader::open(&place).unwrap().detail(7).unwrap();
    assert_eq!(
        (detail.consents.len(), detail.accounts.len(), detail.attempts.len(), detail.quarantined),
        (2, 1, 1, 1)
    );
    assert!(!format!("{detail:?}").contains("SE00") && !format!("{detail:?}").contains("Salary"));
    let known = Reader::open(&place).unwrap().connections().unwrap();
    assert_eq!(known[0].consent_ends.unwrap().to_string(), "2026-08-01T00:00:00Z");
    assert_eq!(Reader::open(&place).unwrap().consent_ends(Timestamp::UNIX_EPOCH).unwrap().len(), 2);
}

#[test]
fn consents_of_a_user_whose_entitlement_has_ended_do_not_end_for_anybody() {
    let (_guard, place, now) = store();
    let ended = now.as_millisecond();
    write(
        &place,
        &format!(
            "INSERT INTO ts_connections (key, connection_id, user_id, enabled, entitled, entitled_until) VALUES
                 (1, 'unlimited', 'u', 1, 1, NULL), (2, 'entitled', 'u', 1, 1, {ended} + 1), (3, 'ended', 'u', 1, 1, {ended}),
                 (4, 'not_entitled', 'u', 1, 0, NULL), (5, 'disabled', 'u', 0, 1, NULL);
             INSERT INTO ts_consents (connection, credentials_id, status, expires_at, account_ids)
                 SELECT key, 'k', 'UPDATED', '2026-08-0' || key || 'T00:00:00Z', '[]' FROM ts_connections"
        ),
    );
    let reader = Reader::open(&place).unwrap();
    let mut ends = reader.consent_ends(now).unwrap();
    ends.sort_unstable();
    let mut active: Vec<Timestamp> = reader
        .connections()
        .unwrap()
        .into_iter()
        .filter(|known| known.is_active(now))
        .filter_map(|known| known.consent_ends)
        .collect();
    active.sort_unstable();
    assert_eq!((ends.len(), ends), (2, active));
}

#[test]
fn the_quota_that_is_shown_leaves_out_what_a_claim_leaves_out() {
    let (_guard, place, now) = store();
    let since = now - SignedDuration::from_hours(24);
    let at = now.as_millisecond();
    // An attempt far ahead comes from a clock that was wrong.
    write(
        &place,
        &format!(
            "INSERT INTO ts_runs (key, run_id, trigger, host, version, started_at) VALUES (1, 'r', 'timer', 'h', '1', 0);
             INSERT INTO ts_run_connections (run, connection, user_id, attempts, started_at, reason) VALUES
                 (1, 1, 'u', 1, {at}, NULL), (1, 2, 'u', 2, {at}, 'source_row'), (1, 3, 'u', 4, {at} + 100 * 3600000, NULL)"
        ),
    );
    let reader = Reader::open(&place).unwrap();
    assert_eq!(reader.used("u", since).unwrap().attempts, 1);
    assert_eq!(reader.used_by_user(since).unwrap()["u"].attempts, 1);
}

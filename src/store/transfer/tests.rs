use std::cell::Cell;
use std::fs::File;
use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::store::liveness::lock_path;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn act(action: &'static str) -> AuditRow<'static> {
    AuditRow {
        at: NOW,
        actor: None,
        ip: None,
        action,
        connection_id: None,
        user_id: None,
        result: "ok",
        details: None,
    }
}

/// Two places in a directory; the first has a store.
fn places(directory: &Path) -> (Place, Place) {
    let (from, to) = (Place::from(directory.join("old.db")), Place::from(directory.join("new.db")));
    add_user(&from, "first");
    (from.clone(), to)
}

fn add_user(place: &Place, id: &str) {
    Writer::open(place, NOW).unwrap().set_user(id, true, None, &act("users.set")).unwrap();
}

fn users(place: &Place) -> Vec<String> {
    let sql = "SELECT user_id FROM ts_own_users ORDER BY user_id";
    Reader::open(place).unwrap().read("look", |db| db.column(sql, values![])).unwrap()
}

/// Moves the store; calls `meanwhile` after each batch that was copied or compared, with the number of
/// earlier calls.
fn moving(from: &Place, to: &Place, meanwhile: &dyn Fn(usize)) -> Result<Result<Moved, String>> {
    let times = Cell::new(0);
    let told = |_| meanwhile(times.replace(times.get() + 1));
    Transfer { from, to, told: &told }.run(&act(ACTION))
}

#[test]
fn what_is_written_while_a_store_is_copied_or_compared_comes_along() {
    // Each table is reported once while it is copied, and once while it is compared.
    for at in [0, 3, TABLES.len() - 1, TABLES.len(), TABLES.len() + 5, 2 * TABLES.len() - 1] {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = places(directory.path());
        moving(&from, &to, &|n| {
            if n == at {
                add_user(&from, "later");
            }
        })
        .unwrap()
        .unwrap();
        assert_eq!(users(&to), ["first", "later"], "at {at}");
    }
}

#[test]
fn what_only_overwrites_or_deletes_rows_after_the_comparison_comes_along() {
    // Each shows in no sequence and no last key: as `rekey`, `connect`, the delivery of events, and `prune`.
    for (change, look) in [
        ("UPDATE ts_tokens SET refresh = x'02'", "SELECT hex(refresh) FROM ts_tokens"),
        ("UPDATE ts_links SET market = 'DE'", "SELECT market FROM ts_links"),
        ("DELETE FROM ts_events WHERE key = 1", "SELECT group_concat(key) FROM ts_events"),
        ("DELETE FROM ts_runs WHERE key = 1", "SELECT group_concat(key) FROM ts_runs"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = places(directory.path());
        let write = |sql: &str| {
            Writer::open(&from, NOW).unwrap().run("write the audit log", |db| db.batch(sql)).unwrap();
        };
        write(
            "INSERT INTO ts_connections (key, connection_id, user_id, enabled, entitled) VALUES (1, 'c', 'u', 1, 1);
             INSERT INTO ts_tokens (connection, version, state, refresh, asking) VALUES (1, '1', 'ready', x'01', 5);
             INSERT INTO ts_links (connection_id, user_id, external_user_id, begun_at) VALUES ('l', 'u', 'x', 0);
             INSERT INTO ts_runs (key, run_id, trigger, host, version, started_at, finished_at)
                 VALUES (1, 'r', 'timer', 'h', '0', 1, 2), (2, 's', 'timer', 'h', '0', 3, 4);
             INSERT INTO ts_events (key, kind, run, connection, at, details)
                 VALUES (1, 'recovered', 1, 1, 0, '{}'), (2, 'recovered', 2, 1, 0, '{}');",
        );
        let last = 2 * TABLES.len() - 1;
        let moved = moving(&from, &to, &|n| {
            if n == last {
                write(change);
            }
        });
        moved.unwrap().unwrap();
        let read = |place: &Place| -> Option<String> {
            Reader::open(place).unwrap().read("look", |db| db.value(look, values![])).unwrap()
        };
        assert_eq!(read(&to), read(&from), "{change}");
    }
}

#[test]
fn a_store_that_never_rests_is_not_completed_and_a_later_try_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = places(directory.path());
    let error = moving(&from, &to, &|n| add_user(&from, &format!("u-{n}"))).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("it changed each time"), "{error}");
    assert!(matches!(Writer::open(&to, NOW), Err(StoreError::Unfinished { .. })));
    moving(&from, &to, &|_| ()).unwrap().unwrap();
    assert_eq!(users(&to), users(&from));
}

#[test]
fn a_pass_that_begins_meanwhile_keeps_the_new_store_from_being_used() {
    for at in [0, TABLES.len(), 2 * TABLES.len() - 1] {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = places(directory.path());
        let lock = lock_path(&from.file().unwrap().canonicalize().unwrap(), "alive");
        let (lock, insert) = (
            File::create(lock).unwrap(),
            "INSERT INTO ts_runs (run_id, trigger, host, version, started_at)
            VALUES ('alive', 'timer', 'h', '0', 1)",
        );
        let begin = |n| {
            if n == at {
                lock.lock().unwrap();
                Writer::open(&from, NOW)
                    .unwrap()
                    .run("begin the run", |db| db.run(insert, values![]))
                    .unwrap();
            }
        };
        let error = moving(&from, &to, &begin).unwrap_err();
        assert!(error.to_string().contains("run alive is at work on it"), "at {at}: {error}");
        assert!(matches!(Writer::open(&to, NOW), Err(StoreError::Unfinished { .. })));
    }
}

#[test]
fn of_two_moves_to_one_place_the_later_one_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = places(directory.path());
    let second = |n| {
        if n == TABLES.len() {
            moving(&from, &to, &|_| ()).unwrap().unwrap();
        }
    };
    let error = moving(&from, &to, &second).unwrap_err();
    assert!(error.to_string().contains("let only one of them run"), "{error}");
    assert_eq!(users(&to), ["first"]);
}

//! Tests that no table is overlooked, and that no key is used again.

use jiff::Timestamp;

use super::*;
use crate::domain::connection::SourceRow;
use crate::domain::view::{ViewRows, Viewed};
use crate::store::engine::sqlite::open::connect_read_only;
use crate::store::{NewRun, Place, Run, Store, mirror};

const SEED: &str = "
    INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, enabled, entitled) VALUES
        (1, 'a', 'u', 'x', 1, 1), (2, 'b', 'u', 'y', 1, 1), (3, 'c', 'u', 'x', 1, 1);
    INSERT INTO ts_accounts (key, connection, account_id, name, type) VALUES (1, 1, 'a1', '', ''), (9, 3, 'c1', '', '');
    INSERT INTO ts_own_users (user_id) VALUES ('u');
    INSERT INTO ts_own_connections (connection_id, user_id, external_user_id) VALUES ('a', 'u', 'x'), ('c', 'u', 'x');";

/// Tables that keep their rows, and why.
const KEPT: [(&str, &str); 8] = [
    ("ts_schema", "versions of the schema"),
    ("ts_sequences", "counters, and keys that are never given again"),
    ("ts_runs", "numbers of a whole run"),
    ("ts_pruned_runs", "names of runs"),
    ("ts_app", "the Tink app, which is nobody's"),
    ("ts_view", "numbers of a whole view"),
    ("ts_population", "numbers of whole views"),
    ("ts_audit", "ids only: the proof of who asked for what, the forgetting included"),
];

fn store() -> (tempfile::TempDir, Place, Writer) {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::from(directory.path().join("store.db"));
    let tables = Writer::open(&place, Timestamp::UNIX_EPOCH).unwrap();
    (directory, place, tables)
}

fn forget(tables: &mut Writer, id: &str) -> Forgotten {
    let audit = AuditRow {
        at: Timestamp::UNIX_EPOCH,
        actor: None,
        ip: None,
        action: ACTION,
        connection_id: Some(id),
        user_id: None,
        result: "ok",
        details: None,
    };
    tables.forget(id, &audit).unwrap()
}

#[test]
fn every_table_is_either_erased_or_kept_for_a_reason() {
    let (_guard, place, _tables) = store();
    let db = connect_read_only(place.file().unwrap()).unwrap();
    let mut names = db
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'ts\\_%' ESCAPE '\\'")
        .unwrap();
    let names: Vec<String> =
        names.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap();
    assert!(names.len() > 10);
    for name in &names {
        let places = erased().iter().filter(|(table, _)| table == name).count()
            + KEPT.iter().filter(|(table, _)| table == name).count();
        assert_eq!(
            places, 1,
            "table {name}: if it holds anything of one connection, `erased()` in store/forget.rs must say which of its \
             rows go with it; else give the reason here why it is kept"
        );
    }
}

#[test]
fn what_is_held_names_others_of_the_same_tink_user() {
    let (_guard, place, tables) = store();
    tables.session.file().execute_batch(SEED).unwrap();
    let found = Reader::open(&place).unwrap().held("a").unwrap().unwrap();
    assert_eq!((found.user_id.as_str(), found.accounts, found.transactions), ("u", 1, 0));
    assert_eq!((found.same_tink_user, found.user_goes), (vec!["c".to_owned()], false));
    assert_eq!(Reader::open(&place).unwrap().held("b").unwrap().unwrap().same_tink_user, [""; 0]);
    assert_eq!(Reader::open(&place).unwrap().held("nobody").unwrap(), None);
}

#[test]
fn the_last_connection_takes_its_user_along_and_leaves_the_audit_log() {
    let (_guard, place, mut tables) = store();
    tables.session.file().execute_batch(SEED).unwrap();
    assert_eq!(forget(&mut tables, "a"), Forgotten::Now(3));
    assert_eq!(forget(&mut tables, "a"), Forgotten::Nothing);
    assert!(Reader::open(&place).unwrap().held("c").unwrap().unwrap().user_goes);
    assert_eq!(forget(&mut tables, "c"), Forgotten::Now(4));
    let expected = [
        "connection.forgotten a u 1 accounts, 0 transactions",
        "connection.forgotten c u 1 accounts, 0 transactions",
    ];
    assert_eq!(Reader::open(&place).unwrap().audited(), expected);
    assert_eq!(Reader::open(&place).unwrap().forgotten_at("c").unwrap(), Some(Timestamp::UNIX_EPOCH));
    assert_eq!(Reader::open(&place).unwrap().forgotten_at("b").unwrap(), None);
}

#[test]
fn a_server_has_no_file_to_rewrite() {
    let place = crate::store::engine::postgres::tests::server::Server::shared().fresh_place();
    let mut tables = Writer::open(&place, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(forget(&mut tables, "a"), Forgotten::Nothing);
    tables.wipe().unwrap();
}

#[test]
fn keys_that_were_given_once_are_remembered() {
    let (_guard, place, mut tables) = store();
    tables.session.file().execute_batch(SEED).unwrap();
    forget(&mut tables, "c");
    let db = connect_read_only(place.file().unwrap()).unwrap();
    let highest = |table: &str| -> i64 {
        db.query_row("SELECT value FROM ts_sequences WHERE name = ?1", [table], |row| row.get(0)).unwrap()
    };
    assert_eq!((highest("ts_connections"), highest("ts_accounts")), (3, 9));
}

fn listed(id: &str) -> SourceRow {
    SourceRow::active(id, "u", Some(TinkUser::External(if id == "a" { "x" } else { "y" }.to_owned())))
}

async fn begin(store: &Store, id: &str) -> Run {
    let now = Timestamp::UNIX_EPOCH;
    let new = NewRun::by_hand(id, now);
    store.begin_run(new).await.unwrap()
}

/// The connections that are known after a run has mirrored a view with `a` and `b`.
async fn mirrored(store: &Store, run: &Run, place: &Place) -> Vec<String> {
    let viewed = Viewed { rows: [listed("a"), listed("b")].into_iter().collect(), ..Viewed::default() };
    store.mirror(run, viewed).await.unwrap();
    Reader::open(place).unwrap().connections().unwrap().into_iter().map(|known| known.connection_id).collect()
}

#[tokio::test]
async fn a_run_that_read_the_view_before_does_not_bring_it_back() {
    let (_guard, place, mut tables) = store();
    tables.session.file().execute_batch(SEED).unwrap();
    let store = Store::open(&place, std::time::Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap();
    let before = begin(&store, "before").await;
    forget(&mut tables, "a");
    assert_eq!(mirrored(&store, &before, &place).await, ["b", "c"]);
    // A view that lists it later does so on purpose.
    let after = begin(&store, "after").await;
    assert_eq!(mirrored(&store, &after, &place).await, ["a", "b", "c"]);
}

/// As if another host forgot it while a pass that writes in many steps is at work.
#[tokio::test]
async fn one_that_is_forgotten_while_the_view_is_compared_stays_forgotten() {
    let (_guard, place, mut tables) = store();
    tables.session.file().execute_batch(SEED).unwrap();
    let store = Store::open(&place, std::time::Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap();
    let run = begin(&store, "run").await;
    mirrored(&store, &run, &place).await;
    // GIVEN news of both, found by the survey
    let rows: ViewRows = ["a", "b"].map(|id| SourceRow { priority: 1, ..listed(id) }).into_iter().collect();
    let survey = tables
        .session
        .write("mirror the source view", |db, _| mirror::survey(db, rows, Timestamp::UNIX_EPOCH))
        .unwrap();
    // WHEN one is forgotten before they are written
    forget(&mut tables, "a");
    let written = tables.session.write("mirror the source view", |db, context| {
        survey.open_parts().try_for_each(|part| mirror::write_part(db, context, &run, part, None).map(drop))
    });
    written.unwrap();
    // THEN it is not created again
    let known = Reader::open(&place).unwrap().connections().unwrap();
    let known: Vec<&str> = known.iter().map(|known| known.connection_id.as_str()).collect();
    assert_eq!(known, ["b", "c"]);
}

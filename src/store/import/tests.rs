//! Imports on a server, beside runs and other transactions.

use std::time::Duration;

use super::*;
use crate::domain::amount::{Amount, Money};
use crate::domain::texts::TextFields;
use crate::domain::transaction::{Status, Transaction};
use crate::store::engine::postgres::session::Pg;
use crate::store::engine::postgres::tests::server::Server;
use crate::store::types::NewRun;
use crate::store::{Place, Writer};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A booked transaction with this id.
fn transaction(id: &str) -> Transaction {
    Transaction {
        id: id.into(),
        status: Status::Booked,
        money: Money { amount: Amount::from_decimal("-3.5").unwrap(), currency: "EUR".to_owned() },
        booked_date: Some("2026-06-01".parse().unwrap()),
        value_date: None,
        transaction_date: None,
        booked_at: None,
        texts: TextFields { description: Some("a purchase"), ..TextFields::default() }.into(),
    }
}

/// Imports one row into the connection `c`, as this run.
async fn import(place: &Place, run_id: &str) -> Result<Imported> {
    let store = Store::open(place, Duration::ZERO, NOW).unwrap();
    let new = NewRun {
        run_id: run_id.into(),
        trigger: "manual",
        on_demand: true,
        host: String::new(),
        version: "1",
        process_started: NOW,
        started_at: NOW,
    };
    let run = store.begin_run(new).await.unwrap();
    let row = FetchedRow { transaction: transaction("t"), raw: None };
    let row = ImportRow { connection: "c".into(), account: "a".into(), row };
    let lines = Box::new([Ok((1, Ok(row)))].into_iter());
    let import = Import { lines, skip_bad: false, actor: (None, None), now: NOW };
    store.import(&run, import).await.map(io::Result::unwrap)
}

/// A store with the connection `c`.
fn store() -> (Place, Writer) {
    let place = Server::shared().fresh_place();
    let mut writer = Writer::open(&place, NOW).unwrap();
    let seed = "INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, enabled, entitled)
         VALUES (1, 'c', 'u', 'x', 1, 1)";
    writer.run("write the audit log", |db| db.batch(seed)).unwrap();
    (place, writer)
}

/// Makes the first insert of a transaction fail as the victim of a deadlock.
const DEADLOCK: &str = "CREATE SEQUENCE public.inserts;
    CREATE FUNCTION public.victim() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('public.inserts') = 1 THEN
            RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01';
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER victim AFTER INSERT ON tink_sync.ts_transactions FOR EACH STATEMENT EXECUTE FUNCTION public.victim()";

#[tokio::test]
async fn an_import_that_another_transaction_stood_in_the_way_of_says_so_and_can_be_repeated() {
    let (place, _writer) = store();
    let Place::Postgres(target) = &place else { panic!("{place} is a file") };
    Pg::plain(target).unwrap().batch_as_is(DEADLOCK).unwrap();
    let error = import(&place, "first").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("deadlock detected (40P01); repeat the import"), "{text}");
    let imported = import(&place, "second").await.unwrap();
    assert_eq!((imported.kept, imported.connections["c"].added), (true, 1));
}

#[tokio::test]
async fn nothing_is_imported_beside_a_run_that_lives_longer_than_its_lease_was_taken_for() {
    let (place, mut writer) = store();
    let claimed = "INSERT INTO ts_runs (key, run_id, trigger, host, version, started_at) VALUES (7, 'r', 'timer', 'h', '1', 1);
         INSERT INTO ts_run_connections (run, connection, user_id, started_at) VALUES (7, 1, 'u', 1);
         UPDATE ts_connections SET lease_run = 7, lease_token = 5, lease_until = -1";
    writer.run("write the audit log", |db| db.batch(claimed)).unwrap();
    let imported = import(&place, "first").await.unwrap();
    assert!(!imported.kept);
    assert!(imported.problems[0].1.contains("a run is working on connection c"), "{imported:?}");
    // It was not heard of for four minutes.
    let silent = "UPDATE ts_runs SET alive_until = clock_timestamp() - interval '1 minute' WHERE key = 7";
    writer.run("write the audit log", |db| db.batch(silent)).unwrap();
    assert_eq!(import(&place, "second").await.unwrap().connections["c"].added, 1);
}

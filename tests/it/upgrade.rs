//! Stores that earlier programs have written, one for each of their schemas: this one continues with them, numbers
//! nothing anew, forgets nothing and doubles nothing. `stores/*.sql` are their dumps after days of passes over one bank, whose
//! answers `stores/bank.json` has as of the last day.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};
use tink_sandbox::{Script, ScriptRow};
use tink_sync::domain::outcome::Outcome;

use crate::harness::{opened, texts};
use crate::lab::Lab;
use crate::stored::{Place, only_on_sqlite};

const USERS: [&str; 2] = ["eve", "sam"];

/// What readers keep: rows with their keys and change numbers, accounts, and the history of runs.
const KEPT: [&str; 4] = [
    "SELECT account_key, transaction_id, status, amount, currency, booked_date, description, first_seen_run, changed_run,
         change_seq, removed_at, removed_reason, replaced_by FROM transactions_v1 WHERE connection_id = ?1 ORDER BY change_seq",
    "SELECT account_key, account_id, name, iban, complete_through, closed_at FROM accounts_v1 WHERE connection_id = ?1 ORDER BY 1",
    "SELECT run_id, outcome, reason, added, updated, removed FROM run_connections_v1 WHERE connection_id = ?1 ORDER BY 1",
    "SELECT run_id, trigger, started_at, finished_at, exit_code FROM runs_v1 WHERE ?1 <> '' AND run_id LIKE '2%' ORDER BY 1",
];

fn stores() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stores")
}

fn kept(store: &Connection) -> Vec<Vec<Vec<Option<String>>>> {
    USERS.iter().flat_map(|user| KEPT.map(|sql| texts(store, sql, user))).collect()
}

/// What the bank shows of a user, with these rows more, and refreshed anew if there are any.
fn bank(user: &str, more: &[Value]) -> Script {
    let all: Value = serde_json::from_slice(&fs::read(stores().join("bank.json")).unwrap()).unwrap();
    let list = |name: &str| all[user][name].as_array().unwrap().clone();
    let row = |row: Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let booked = text(&row["dates"]["booked"]).parse().unwrap();
        ScriptRow::of(&text(&row["id"]), &text(&row["accountId"]), Some(booked), &text(&row["status"]), &row)
    };
    let mut accounts = list("accounts");
    if !more.is_empty() {
        accounts[0]["dates"]["lastRefreshed"] = "2027-01-04T05:00:00Z".into();
    }
    let transactions = list("transactions").into_iter().chain(more.iter().cloned()).map(row).collect();
    Script { consents: list("consents"), accounts, transactions }
}

/// A lab that goes on with the store of this dump.
fn continued(dump: &Path, dir: &Path) -> (Lab, Vec<Vec<Vec<Option<String>>>>) {
    let file = dir.join("old.db");
    let old = opened(&file);
    old.execute_batch(&fs::read_to_string(dump).unwrap()).unwrap();
    let before = kept(&old);
    drop(old);
    let mut lab = Lab::of(&USERS);
    lab.restore(Place::File(file));
    for user in USERS {
        lab.script(user, bank(user, &[]));
    }
    (lab, before)
}

#[test]
fn a_store_of_every_earlier_schema_goes_on_as_it_was() {
    only_on_sqlite!("files of earlier releases");
    let is_dump = |path: &PathBuf| path.extension().is_some_and(|is| is == "sql");
    let dumps: Vec<PathBuf> =
        fs::read_dir(stores()).unwrap().map(|entry| entry.unwrap().path()).filter(is_dump).collect();
    assert!(dumps.len() > 1, "{dumps:?}");
    for dump in dumps {
        let dir = tempfile::tempdir().unwrap();
        let (lab, before) = continued(&dump, dir.path());
        let name = dump.display();
        assert_eq!(kept(&lab.looking("")), before, "{name}: opened");
        let told = lab.pass();
        for user in USERS {
            assert_eq!(told.ended(user), (Outcome::Unchanged, None), "{name}: {user}");
        }
        let rows = |user| texts(&lab.looking(""), KEPT[0], user);
        let (all, last) = (USERS.map(rows), lab.number("SELECT max(change_seq) FROM transactions_v1"));
        assert_eq!(all, [before[0].clone(), before[KEPT.len()].clone()], "{name}: a pass");

        let more = json!({
            "id": "new", "accountId": "a1", "status": "BOOKED", "dates": {"booked": "2027-01-03"},
            "amount": {"currencyCode": "EUR", "value": {"unscaledValue": "-1", "scale": "0"}},
        });
        lab.script("sam", bank("sam", &[more]));
        lab.wait(1);
        assert_eq!(lab.pass().counts("sam").added, 1, "{name}");
        let [eve, mut sam] = USERS.map(rows);
        let new = sam.pop().unwrap();
        assert_eq!([eve, sam], all, "{name}: a new row");
        assert_eq!(new[1].as_deref(), Some("new"), "{name}");
        assert!(new[9].as_ref().unwrap().parse::<i64>().unwrap() > last, "{name}");
    }
}

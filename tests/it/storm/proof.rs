//! What must hold of the store at any moment of a day, told from what it held that morning and from what
//! the bank has. Holds no test.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Row};
use serde_json::Value;
use tink_sync::clock::{Clock as _, SystemClock};
use tink_sync::domain::hook::HookKind;

use super::bank::{Bank, LONG};
use crate::balance::assert_stored_sums_are_those_of_the_rows;
use crate::harness::World;
use crate::inside::{
    NEEDING, NUMBERS_GIVEN_TWICE, STRAY_LEASES, TOLD_FAILING, WALKED_ACCOUNTS, has_accounts, has_balances,
};

/// Live rows by id: status, amount, date, text.
type Rows = BTreeMap<String, [Option<String>; 4]>;

/// Rows by account and id as a reader sees them, tombstones included.
type Known = BTreeMap<(i64, String), Vec<Option<String>>>;

/// An account as the store has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Account {
    connection: String,
    id: String,
    /// The refresh of its last complete walk.
    walked: Option<String>,
    /// The watermark.
    through: Option<String>,
    /// The bank has it no more.
    closed: bool,
    rows: Rows,
}

/// The accounts of the store by key, and when each connection last succeeded.
#[derive(Default)]
struct Stored {
    accounts: BTreeMap<i64, Account>,
    successes: BTreeMap<String, Option<String>>,
}

impl Stored {
    fn read(db: &Connection) -> Self {
        let mut stored = Self::default();
        each(db, "SELECT connection_id, last_success_at FROM connections_v1", |row| {
            stored.successes.insert(text(row, 0), row.get(1).unwrap());
        });
        each(db, WALKED_ACCOUNTS, |row| {
            let account = Account {
                connection: text(row, 1),
                id: text(row, 2),
                walked: row.get(3).unwrap(),
                through: row.get(4).unwrap(),
                closed: row.get(5).unwrap(),
                rows: Rows::new(),
            };
            stored.accounts.insert(row.get(0).unwrap(), account);
        });
        let rows = "SELECT account_key, transaction_id, status, amount, booked_date, description_original
                    FROM transactions_v1 WHERE removed_at IS NULL";
        each(db, rows, |row| {
            let account = stored.accounts.get_mut(&row.get(0).unwrap()).expect("the account of a row");
            let told = [2, 3, 4, 5].map(|column| row.get(column).unwrap());
            assert!(account.rows.insert(text(row, 1), told).is_none(), "{} is there twice", text(row, 1));
        });
        stored
    }
}

/// A reader of the store that asks only for what is new to it.
#[derive(Default)]
pub struct Reader {
    seen: i64,
    rows: Known,
}

impl Reader {
    fn read(&mut self, db: &Connection) {
        let (seen, rows) = Self::newer_than(db, self.seen);
        self.seen = seen;
        self.rows.extend(rows);
    }

    fn newer_than(db: &Connection, seen: i64) -> (i64, Known) {
        let (mut last, mut rows) = (seen, Known::new());
        let sql = format!(
            "SELECT change_seq, account_key, transaction_id, status, amount, booked_date, description_original,
                    removed_reason, replaced_by
             FROM transactions_v1 WHERE change_seq > {seen}"
        );
        each(db, &sql, |row| {
            last = last.max(row.get(0).unwrap());
            let told = (3..9).map(|column| row.get(column).unwrap()).collect();
            rows.insert((row.get(1).unwrap(), text(row, 2)), told);
        });
        (last, rows)
    }
}

/// What a day's passes are judged by.
pub struct Proof {
    morning: Stored,
    /// Tink's rows by account.
    truth: BTreeMap<String, Rows>,
    /// Tink's accounts by connection.
    listed: BTreeMap<String, Vec<String>>,
}

impl Proof {
    /// Looks at the store before the day's first pass.
    pub fn of(bank: &Bank) -> Self {
        let (mut truth, mut listed) = (BTreeMap::new(), BTreeMap::new());
        for n in 0..=LONG {
            let user = if n == LONG { "long".to_owned() } else { format!("user-{n}") };
            let all = bank.world.sandbox.truth(&user);
            let ids = all.accounts.iter().map(|account| account.id.clone());
            truth.extend(ids.clone().map(|id| (id, Rows::new())));
            listed.insert(format!("c-{n}"), ids.collect());
            for row in all.transactions {
                let told = [Some(row.status), Some(row.amount), row.booked_date, row.description_original];
                truth.get_mut(&row.account_id).expect("the account of a row").insert(row.id, told);
            }
        }
        let morning = open(&bank.world).map(|db| Stored::read(&db)).unwrap_or_default();
        Self { morning, truth, listed }
    }

    /// Fails unless everything in the store is whole; what is not done yet need not be there.
    pub fn check(&self, world: &World, reader: &mut Reader) {
        let Some(db) = open(world) else { return };
        sound(&db);
        // Each migration is a step of its own.
        if has_balances(&db) {
            assert_stored_sums_are_those_of_the_rows(world);
        }
        let stored = Stored::read(&db);
        let mut done = BTreeSet::new();
        for (key, account) in &stored.accounts {
            let before = self.morning.accounts.get(key).cloned().unwrap_or_default();
            if account.walked == before.walked {
                self.untouched(&before, account);
            } else {
                self.complete(&before, account);
                done.insert(account.id.as_str());
            }
        }
        for (connection, at) in &stored.successes {
            if at.as_ref() <= self.morning.successes.get(connection).and_then(Option::as_ref) {
                continue;
            }
            let open: Vec<_> =
                self.listed[connection].iter().filter(|id| !done.contains(id.as_str())).collect();
            assert!(open.is_empty(), "{connection} is said to be done, but these are not: {open:?}");
        }
        reader.read(&db);
    }

    /// An account whose walk is said to be complete has all of Tink's rows, and its watermark.
    fn complete(&self, before: &Account, account: &Account) {
        let (name, truth) = (&account.id, &self.truth[&account.id]);
        assert_eq!(differences(truth, &account.rows), Vec::<String>::new(), "{name} is said to be complete");
        let refreshed = account.walked.as_deref().map(|at| at[..10].to_owned());
        let through = refreshed.map(|date| date.min(SystemClock.today().to_string()));
        assert_eq!(account.through, through.max(before.through.clone()), "watermark of {name}");
    }

    /// An account whose walk is not complete has its old watermark and has lost nothing; only the long one,
    /// which takes several commits, may have gained something.
    fn untouched(&self, before: &Account, account: &Account) {
        let name = &account.id;
        assert_eq!(account.through, before.through, "watermark of {name} without a walk");
        if account.connection != format!("c-{LONG}") {
            // The reservations of a closed account go with it.
            let goes = |row: &[Option<String>; 4]| account.closed && row[0].as_deref() == Some("pending");
            let mut stays = before.rows.clone();
            stays.retain(|id, row| !goes(row) || account.rows.contains_key(id));
            assert_eq!(differences(&stays, &account.rows), Vec::<String>::new(), "{name} without a walk");
            return;
        }
        let lost: Vec<&String> = before.rows.keys().filter(|id| !account.rows.contains_key(*id)).collect();
        assert!(lost.is_empty(), "{name} lost without a walk: {lost:?}");
        let theirs = |(id, row): &(&String, &[Option<String>; 4])| {
            before.rows.get(*id) == Some(row) || self.truth.get(name).and_then(|t| t.get(*id)) == Some(row)
        };
        let strange: Vec<_> = account.rows.iter().filter(|row| !theirs(row)).take(3).collect();
        assert!(strange.is_empty(), "{name} has rows that nobody sent: {strange:?}");
    }
}

/// Fails unless the reader who saw only what was new knows everything.
pub fn assert_misses_nothing(reader: &Reader, world: &World) {
    let all = Reader::newer_than(&world.store(), 0).1;
    assert_eq!(all.len(), reader.rows.len(), "rows a reader knows");
    let missed: Vec<_> = all.iter().filter(|(key, row)| reader.rows.get(key) != Some(row)).take(3).collect();
    assert!(missed.is_empty(), "a reader missed {missed:#?}");
}

/// Fails unless every row was told of in the run that brought it, unless it only took another's place; and
/// unless a connection's failures and recoveries were told in turn.
pub fn assert_told(world: &World) {
    let db = world.store();
    assert_eq!(world.untold(), 0, "events left in the store");
    let events = |kind: HookKind| {
        let Ok(files) = std::fs::read_dir(world.path("spool").join(kind.as_str())) else { return Vec::new() };
        let read = |file: std::fs::DirEntry| std::fs::read(file.path()).unwrap();
        files.map(|file| serde_json::from_slice::<Value>(&read(file.unwrap())).unwrap()).collect()
    };
    let part = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    let mut told: BTreeMap<(String, String), i64> = events(HookKind::NewTransactions)
        .iter()
        .map(|event| {
            ((part(event, "run_id"), part(event, "connection_id")), event["added"].as_i64().unwrap())
        })
        .collect();
    let rows = "SELECT first_seen_run, connection_id, count(*),
                       sum(NOT EXISTS (SELECT 1 FROM transactions_v1 o WHERE o.account_key = t.account_key
                                       AND o.replaced_by = t.transaction_id))
                FROM transactions_v1 t GROUP BY 1, 2";
    each(&db, rows, |row| {
        let (added, unmatched): (i64, i64) = (row.get(2).unwrap(), row.get(3).unwrap());
        match told.remove(&(text(row, 0), text(row, 1))) {
            Some(number) => assert_eq!(number, added, "{} in {}", text(row, 1), text(row, 0)),
            None => assert_eq!(unmatched, 0, "{} in {} was not told", text(row, 1), text(row, 0)),
        }
    });
    assert_eq!(told, BTreeMap::new(), "told of rows that are not there");
    let failing = number(&db, TOLD_FAILING);
    let (failed, needed) = (events(HookKind::FirstFailure).len(), events(HookKind::NeedsUser).len());
    let needing = number(&db, NEEDING);
    let back = i64::try_from(failed + needed).unwrap() - failing - needing;
    assert_eq!(i64::try_from(events(HookKind::Recovered).len()).unwrap(), back, "recoveries");
}

/// The store, if there is one with tables in it.
fn open(world: &World) -> Option<Connection> {
    let db = world.has_store().then(|| world.store())?;
    has_accounts(&db).then_some(db)
}

/// Fails unless the file is sound, and its numbers and ids are given once.
fn sound(db: &Connection) {
    let ok: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(ok, "ok");
    let twice = "SELECT count(*) FROM (SELECT 1 FROM transactions_v1 WHERE removed_at IS NULL
                 GROUP BY connection_id, transaction_id HAVING count(*) > 1)";
    assert_eq!(number(db, twice), 0, "ids that are live twice");
    assert_eq!(number(db, NUMBERS_GIVEN_TWICE), 0, "change numbers given twice");
    let ahead = "SELECT count(*) FROM transactions_v1
                 WHERE change_seq > (SELECT last_change_seq FROM feed_v1)";
    assert_eq!(number(db, ahead), 0, "change numbers that will be given again");
    // Nobody is alive who could end them: a lease is of a run that has not ended.
    assert_eq!(number(db, STRAY_LEASES), 0, "leases of runs that have ended");
}

fn differences(expected: &Rows, found: &Rows) -> Vec<String> {
    let missing = expected.iter().filter(|(id, row)| found.get(*id) != Some(row));
    let extra = found.keys().filter(|id| !expected.contains_key(*id));
    let missing = missing.map(|(id, row)| format!("{id} is not {row:?} but {:?}", found.get(id)));
    missing.chain(extra.map(|id| format!("{id} is too much"))).take(3).collect()
}

fn each(db: &Connection, sql: &str, mut take: impl FnMut(&Row<'_>)) {
    let mut statement = db.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        take(row);
    }
}

fn text(row: &Row<'_>, column: usize) -> String {
    row.get(column).unwrap()
}

fn number(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

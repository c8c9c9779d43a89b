//! The laws of reconciling, on small made-up stores in which everything collides.

use jiff::civil::date;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::domain::amount::{Amount, Money};
use crate::domain::window::{REMOVAL_MARGIN_DAYS, shift};

mod removals;

fn row(id: &str, status: Status, cents: &str, day: Option<i8>, text: &str) -> Transaction {
    Transaction {
        id: id.into(),
        status,
        money: Money { amount: Amount::from_parts(cents, "2").unwrap(), currency: "EUR".to_owned() },
        booked_date: day.map(|day| date(2026, 6, day)),
        description_original: Some(text.to_owned()),
        value_date: None,
        transaction_date: None,
        booked_at: None,
        description: None,
        description_detailed: None,
        merchant_name: None,
        merchant_category_code: None,
        category_id: None,
        kind: None,
        reference: None,
        provider_transaction_id: None,
        mutability: None,
        payer_name: None,
        payee_name: None,
    }
}

fn booked(id: &str, cents: &str, day: i8, text: &str) -> Transaction {
    row(id, Status::Booked, cents, Some(day), text)
}

fn pending(id: &str, cents: &str, day: i8, text: &str) -> Transaction {
    row(id, Status::Pending, cents, Some(day), text)
}

fn stored(key: i64, transaction: Transaction) -> StoredRow {
    StoredRow { key, transaction, generation: 1, missed: 0, removed: false }
}

fn store(rows: Vec<Transaction>) -> Vec<StoredRow> {
    (1..).zip(rows).map(|(key, row)| stored(key, row)).collect()
}

fn fetched(rows: &[Transaction]) -> Vec<FetchedRow> {
    rows.iter().map(|row| FetchedRow { transaction: row.clone(), raw: None }).collect()
}

/// Does what the store does with a change set.
fn apply(store: &mut Vec<StoredRow>, changes: &ChangeSet, generation: i64) {
    let next = store.iter().map(|row| row.key).max().unwrap_or_default() + 1;
    for row in store.iter_mut() {
        if let Some((_, new)) = changes.update.iter().find(|(key, _)| *key == row.key) {
            *row = StoredRow { generation, ..stored(row.key, new.transaction.clone()) };
        }
        if changes.touch.contains(&row.key) {
            (row.generation, row.missed) = (generation, 0);
        }
        row.missed += u32::from(changes.missed.contains(&row.key));
        row.removed |= changes.remove.iter().any(|(key, _)| *key == row.key);
    }
    let new = changes.insert.iter().map(|row| row.transaction.clone());
    store.extend((next..).zip(new).map(|(key, row)| StoredRow { generation, ..stored(key, row) }));
}

fn live(store: &[StoredRow]) -> Vec<Transaction> {
    let mut rows: Vec<_> =
        store.iter().filter(|row| !row.removed).map(|row| row.transaction.clone()).collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
}

fn any_row(ids: &'static [&'static str]) -> impl Strategy<Value = Transaction> {
    let status = select(vec![Status::Booked, Status::Pending, Status::Undefined]);
    let provider = select(vec![None, Some("NOTPROVIDED"), Some("p-1"), Some("p-2")]);
    let day = prop_oneof![1 => Just(None), 6 => (1i8..28).prop_map(Some)];
    let texts = select(vec!["COFFEE", "Coffee bar", "RENT", "", "Żabka"]);
    (select(ids), status, select(vec!["-100", "-250", "0"]), day, texts, provider).prop_map(
        |(id, status, cents, day, text, provider)| {
            let provider_transaction_id = provider.map(str::to_owned);
            Transaction { provider_transaction_id, ..row(id, status, cents, day, text) }
        },
    )
}

const OLD: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "h"];
const NEW: &[&str] = &["t", "u", "v", "w", "x", "y", "z"];
const ALL: &[&str] = &["a", "b", "c", "d", "t", "u", "v"];

fn distinct(rows: &[Transaction]) -> Vec<Transaction> {
    latest(fetched(rows)).into_iter().map(|row| row.transaction).collect()
}

fn rows(ids: &'static [&'static str]) -> impl Strategy<Value = Vec<Transaction>> {
    vec(any_row(ids), 0..12).prop_map(|rows| distinct(&rows))
}

prop_compose! {
    fn any_store(ids: &'static [&'static str])
        (rows in rows(ids), odds in vec((1i64..3, 0u32..3, any::<bool>()), 12)) -> Vec<StoredRow> {
        let odd = |(row, (generation, missed, removed))| StoredRow { generation, missed, removed, ..row };
        store(rows).into_iter().zip(odds).map(odd).collect()
    }
}

fn replaced_by(changes: &[(i64, Removal)]) -> Vec<TransactionId> {
    let by = |(_, removal): &(i64, Removal)| match removal {
        Removal::Replaced { by, .. } => Some(by.clone()),
        Removal::Vanished => None,
    };
    changes.iter().filter_map(by).collect()
}

fn is_distinct<T: std::hash::Hash + Eq>(items: &[T]) -> bool {
    items.iter().collect::<HashSet<_>>().len() == items.len()
}

proptest! {
    #[test]
    fn invariant_05_what_was_written_once_is_not_written_again(mut store in any_store(ALL), rows in vec(any_row(ALL), 0..12)) {
        let changes = upserts(&store, fetched(&rows), 2);
        apply(&mut store, &changes, 2);
        prop_assert!(upserts(&store, fetched(&rows), 2).is_empty());
    }

    #[test]
    fn the_store_converges_to_what_was_fetched_and_touches_no_other_row(
        store in any_store(ALL), rows in vec(any_row(ALL), 0..12)
    ) {
        let mut after = store.clone();
        apply(&mut after, &upserts(&store, fetched(&rows), 2), 2);
        let last = distinct(&rows);
        for row in &last {
            let found: Vec<_> = after.iter().filter(|stored| stored.transaction.id == row.id).collect();
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].transaction, row);
            prop_assert!(!found[0].removed && found[0].missed == 0 && found[0].generation == 2);
        }
        let is_fetched = |stored: &&StoredRow| last.iter().any(|row| row.id == stored.transaction.id);
        let others = |rows: &[StoredRow]| rows.iter().filter(|row| !is_fetched(row)).cloned().collect::<Vec<_>>();
        prop_assert_eq!(others(&after), others(&store));
    }

    #[test]
    fn the_order_of_distinct_rows_does_not_matter(
        store in any_store(ALL), (rows, shuffled) in rows(ALL).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))
    ) {
        let outcome = |rows: &[Transaction]| {
            let mut after = store.clone();
            apply(&mut after, &upserts(&store, fetched(rows), 2), 2);
            live(&after)
        };
        prop_assert_eq!(outcome(&rows), outcome(&shuffled));
    }

    #[test]
    fn chunks_give_the_same_as_all_at_once(store in any_store(ALL), rows in vec(any_row(ALL), 0..16), cut: Index) {
        let (first, second) = rows.split_at(cut.index(rows.len() + 1));
        let (mut whole, mut parts) = (store.clone(), store);
        let changes = upserts(&whole, fetched(&rows), 2);
        apply(&mut whole, &changes, 2);
        for part in [first, second] {
            let changes = upserts(&parts, fetched(part), 2);
            apply(&mut parts, &changes, 2);
        }
        prop_assert_eq!(live(&whole), live(&parts));
    }

    #[test]
    fn arrivals_are_the_rows_that_were_not_live(store in any_store(ALL), rows in rows(ALL)) {
        let changes = upserts(&store, fetched(&rows), 2);
        let arrived: HashSet<_> = arrivals(&store, &changes).into_iter().map(|row| row.id.clone()).collect();
        let was_live = |id: &TransactionId| store.iter().any(|row| row.transaction.id == *id && !row.removed);
        let expected: HashSet<_> = rows.iter().map(|row| row.id.clone()).filter(|id| !was_live(id)).collect();
        prop_assert_eq!(arrived, expected);
    }
}

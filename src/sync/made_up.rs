//! Made-up rows and stores in which everything collides, for property tests of reconciling and pairing.

use jiff::civil::date;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::domain::amount::{Amount, Money};
use crate::domain::texts::TextFields;
use crate::domain::transaction::{Status, Transaction};
use crate::store::types::{FetchedRow, StoredRow};

pub(super) fn row(id: &str, status: Status, cents: &str, day: Option<i8>, text: &str) -> Transaction {
    Transaction {
        id: id.into(),
        status,
        money: Money { amount: Amount::from_parts(cents, "2").unwrap(), currency: "EUR".to_owned() },
        booked_date: day.map(|day| date(2026, 6, day)),
        value_date: None,
        transaction_date: None,
        booked_at: None,
        texts: TextFields { description_original: Some(text), ..TextFields::default() }.into(),
    }
}

/// The row with this bank id.
pub(super) fn known_as(row: Transaction, provider_transaction_id: Option<&str>) -> Transaction {
    let description_original = row.texts.description_original();
    let texts = TextFields { description_original, provider_transaction_id, ..TextFields::default() };
    Transaction { texts: texts.into(), ..row }
}

pub(super) fn booked(id: &str, cents: &str, day: i8, text: &str) -> Transaction {
    row(id, Status::Booked, cents, Some(day), text)
}

pub(super) fn pending(id: &str, cents: &str, day: i8, text: &str) -> Transaction {
    row(id, Status::Pending, cents, Some(day), text)
}

pub(super) fn stored(key: i64, transaction: Transaction) -> StoredRow {
    StoredRow { key, transaction, generation: 1, missed: 0, removed: false, succeeds: None }
}

pub(super) fn store(rows: Vec<Transaction>) -> Vec<StoredRow> {
    (1..).zip(rows).map(|(key, row)| stored(key, row)).collect()
}

pub(super) fn fetched(rows: &[Transaction]) -> Vec<FetchedRow> {
    rows.iter().map(|row| FetchedRow { transaction: row.clone(), raw: None }).collect()
}

pub(super) fn live(store: &[StoredRow]) -> Vec<Transaction> {
    let mut rows: Vec<_> =
        store.iter().filter(|row| !row.removed).map(|row| row.transaction.clone()).collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
}

pub(super) fn any_row(ids: &'static [&'static str]) -> impl Strategy<Value = Transaction> {
    let status = select(vec![Status::Booked, Status::Pending, Status::Undefined]);
    let provider = select(vec![None, Some("NOTPROVIDED"), Some("p-1"), Some("p-2")]);
    let day = prop_oneof![1 => Just(None), 6 => (1i8..28).prop_map(Some)];
    let texts = select(vec!["COFFEE", "Coffee bar", "RENT", "", "Żabka"]);
    (select(ids), status, select(vec!["-100", "-250", "0"]), day, texts, provider).prop_map(
        |(id, status, cents, day, text, provider)| known_as(row(id, status, cents, day, text), provider),
    )
}

pub(super) const OLD: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "h"];
pub(super) const NEW: &[&str] = &["t", "u", "v", "w", "x", "y", "z"];

pub(super) fn rows(ids: &'static [&'static str]) -> impl Strategy<Value = Vec<Transaction>> {
    vec(any_row(ids), 0..12).prop_map(|mut rows| {
        let mut seen = std::collections::HashSet::new();
        rows.retain(|row| seen.insert(row.id.clone()));
        rows
    })
}

prop_compose! {
    pub fn any_store(ids: &'static [&'static str])
        (rows in rows(ids), odds in vec((1i64..3, 0u32..3, any::<bool>()), 12)) -> Vec<StoredRow> {
        let odd = |(row, (generation, missed, removed))| StoredRow { generation, missed, removed, ..row };
        store(rows).into_iter().zip(odds).map(odd).collect()
    }
}

//! Properties of reconciling, on small made-up stores in which everything collides.

use jiff::civil::date;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::domain::window::{REMOVAL_MARGIN_DAYS, shift};
use crate::sync::made_up::{any_row, any_store, booked, fetched, live, pending, rows, store, stored};

mod removals;

/// Applies a change set as the store does.
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

const ALL: &[&str] = &["a", "b", "c", "d", "t", "u", "v"];

fn distinct(rows: &[Transaction]) -> Vec<Transaction> {
    latest(fetched(rows)).into_iter().map(|row| row.transaction).collect()
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
        // A walk drops unbooked rows whose id it read as booked before (see its own tests).
        let mut seen = HashSet::new();
        let rows: Vec<Transaction> = rows
            .into_iter()
            .filter(|row| {
                let is_booked = row.status == Status::Booked;
                if is_booked { seen.insert(row.id.clone()); }
                is_booked || !seen.contains(&row.id)
            })
            .collect();
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

#[test]
fn of_one_id_that_is_booked_and_pending_the_booking_wins() {
    let (b, p) = (booked("x", "-100", 1, "COFFEE"), pending("x", "-100", 1, "COFFEE"));
    let later = booked("x", "-101", 1, "COFFEE");
    for (sent, kept) in [
        (vec![b.clone(), p.clone()], &b),
        (vec![p.clone(), b.clone()], &b),
        (vec![b.clone(), p.clone(), later.clone()], &later),
        (vec![b.clone(), later.clone(), p], &later),
    ] {
        assert_eq!(&distinct(&sent), std::slice::from_ref(kept));
    }
}

#[test]
fn a_row_that_came_again_as_it_was_is_touched_where_its_bookkeeping_is_old() {
    let row = booked("a", "-100", 1, "COFFEE");
    for (generation, missed, is_touched) in [(2, 0, false), (1, 0, true), (2, 1, true), (1, 1, true)] {
        let old = [StoredRow { generation, missed, ..stored(7, row.clone()) }];
        let changes = upserts(&old, fetched(std::slice::from_ref(&row)), 2);
        assert_eq!(changes.touch.contains(&7), is_touched, "generation {generation}, missed {missed}");
        assert!(changes.insert.is_empty() && changes.update.is_empty());
    }
}

#[test]
fn a_latecomer_takes_the_place_of_an_older_row_of_its_days_and_of_no_other() {
    let late = |stored: &[StoredRow], new: &[Transaction], older: &[StoredRow]| {
        let changes = latecomers(stored, fetched(new), older, 2);
        (changes.insert.len(), changes.remove.iter().map(|(key, _)| *key).collect::<Vec<_>>())
    };
    let new = booked("n", "-100", 5, "RENT");
    let before = |row| [stored(1, row)];
    assert_eq!(late(&[], std::slice::from_ref(&new), &before(booked("a", "-100", 5, "RENT"))), (1, vec![1]));
    let reserved = before(pending("p", "-100", 4, "RENT"));
    assert_eq!(late(&[], std::slice::from_ref(&new), &reserved), (1, vec![]), "dated before all that came");
    let twin = booked("m", "-100", 5, "RENT");
    let known = before(new.clone());
    assert_eq!(late(&known, &[new, twin], &known), (1, vec![]), "it came itself: its twin is another row");
}

#[test]
fn successors_are_the_rows_that_took_anothers_place() {
    let replaced = |by: &str| Removal::Replaced { by: by.into(), rule: "reissued" };
    let pairs = [(1, replaced("n1")), (2, Removal::Vanished), (3, replaced("n2"))];
    let ids: HashSet<&str> = successors_of(&pairs).into_iter().map(TransactionId::as_str).collect();
    assert_eq!(ids, HashSet::from(["n1", "n2"]));
}

#[test]
fn history_is_rewritten_if_a_tenth_of_old_rows_changed_or_a_currency() {
    let rows: Vec<StoredRow> = store((0..20).map(|n| booked(&n.to_string(), "-100", 1, "x")).collect());
    let rewritten = |changed: usize, from: i8, currency: bool| {
        let new = rows.iter().take(changed).map(|row| {
            let mut row = row.transaction.clone();
            row.money = booked("", "-101", 1, "").money;
            if currency {
                row.money.currency = "BGN".to_owned();
            }
            row
        });
        let changes = upserts(&rows, fetched(&new.collect::<Vec<_>>()), 1);
        let mut rewritten = Rewritten::default();
        rewritten.count(&rows, &changes, Some(date(2026, 6, from)));
        rewritten.is_history_rewritten()
    };
    assert!(!rewritten(2, 15, false));
    assert!(rewritten(3, 15, false));
    assert!(!rewritten(20, 1, false), "rows of the ordinary window change every day");
    assert!(rewritten(1, 1, true), "a currency that changed is always told");
}

#[test]
fn history_comes_late_if_most_old_rows_of_a_walk_are_new_and_go_on_from_no_other() {
    let rows = store((0..4).map(|n| booked(&n.to_string(), "-100", 1, "x")).collect());
    let all: Vec<_> = (0..9).map(|n| booked(&n.to_string(), "-100", 1, "x")).collect();
    let mut late = Rewritten::default();
    late.count(&rows, &upserts(&rows, fetched(&all), 1), Some(date(2026, 6, 15)));
    assert_eq!((late.seen, late.late), (4, 5));
    assert!(late.is_history_rewritten());
    assert!(!late.without_late(1).is_history_rewritten(), "one of them is an old row with a new id");
    assert!(!late.without_late(9).is_history_rewritten());
}

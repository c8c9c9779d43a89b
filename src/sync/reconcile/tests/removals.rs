//! The laws of removing: who is absent, who took whose place, who was renamed.

use super::*;

proptest! {
    #[test]
    fn a_row_is_absent_only_if_its_id_was_not_fetched_and_its_date_is_well_inside(
        store in any_store(OLD), ids in vec(select(OLD), 0..8), from in 1i8..20, days in 0i64..20, bounded: bool
    ) {
        let from = date(2026, 6, from);
        let window = Window { from: bounded.then_some(from), to: shift(from, days) };
        let ids: HashSet<TransactionId> = ids.into_iter().map(TransactionId::from).collect();
        let live: Vec<LiveRow> = store.iter().filter(|row| !row.removed).map(light).collect();
        let absent = absent(&live, &ids, &window, 2);
        for row in &live {
            let expected = !ids.contains(&row.id)
                && row.booked_date.is_none_or(|date| {
                    date <= window.to && (!bounded || shift(from, REMOVAL_MARGIN_DAYS) <= date)
                })
                && (row.generation == 2 || row.status == Status::Pending);
            prop_assert_eq!(absent.contains(&row), expected, "{:?}", row);
        }
    }

    #[test]
    fn removals_take_only_absent_rows_and_each_arrival_once(absent in any_store(OLD), arrived in rows(NEW)) {
        let changes = removals(&absent, &arrived);
        prop_assert!(changes.insert.is_empty() && changes.update.is_empty() && changes.touch.is_empty());
        prop_assert!(is_distinct(&replaced_by(&changes.remove)));
        for row in &absent {
            let removed = changes.remove.iter().find(|(key, _)| *key == row.key).map(|(_, removal)| removal);
            let missed = changes.missed.contains(&row.key);
            let ripe = row.transaction.booked_date.is_some() || row.missed > 0;
            prop_assert_eq!((removed.is_some(), missed), (!row.removed && ripe, !row.removed && !ripe));
            if let Some(Removal::Replaced { by, .. }) = removed {
                let successor = arrived.iter().find(|new| new.id == *by).unwrap();
                prop_assert_eq!(row.transaction.status, Status::Pending);
                prop_assert_eq!(&row.transaction.money, &successor.money);
                let dates = row.transaction.booked_date.zip(successor.booked_date);
                prop_assert!(dates.is_none_or(|(a, b)| shift(a, -7) <= b && b <= shift(a, 7)));
            }
        }
    }

    #[test]
    fn removals_depend_on_no_order_and_are_not_repeated(
        (absent, shuffled) in any_store(OLD).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        (arrived, mixed) in rows(NEW).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        let sorted = |mut changes: ChangeSet| {
            changes.remove.sort_by_key(|(key, _)| *key);
            changes.missed.sort_unstable();
            changes
        };
        let changes = sorted(removals(&absent, &arrived));
        prop_assert_eq!(&changes, &sorted(removals(&shuffled, &mixed)));
        let mut after = absent;
        apply(&mut after, &changes, 1);
        let again = removals(&after, &arrived);
        prop_assert!(again.remove.iter().all(|(key, _)| changes.missed.contains(key)));
        prop_assert!(again.missed.is_empty());
    }

    #[test]
    fn generations_pair_one_to_one_and_within_reach(
        old in any_store(OLD), new in rows(NEW), oldest in proptest::option::of(1i8..28)
    ) {
        let oldest = oldest.map(|day| date(2026, 6, day));
        let arrived: Vec<&Transaction> = new.iter().collect();
        let pairs = pair_generations(&old, &arrived, oldest);
        prop_assert!(is_distinct(&pairs.iter().map(|(key, _)| *key).collect::<Vec<_>>()));
        let successors = replaced_by(&pairs);
        prop_assert_eq!(successors.len(), pairs.len());
        prop_assert!(is_distinct(&successors));
        prop_assert!(successors.iter().all(|id| new.iter().any(|row| row.id == *id)));
        for row in old.iter().filter(|row| pairs.iter().any(|(key, _)| *key == row.key)) {
            prop_assert!(!row.removed);
            prop_assert!(row.transaction.booked_date.is_none_or(|date| Some(date) >= oldest));
        }
    }

    #[test]
    fn a_walk_after_a_re_consent_changes_nothing_the_second_time(mut store in any_store(ALL), rows in rows(ALL)) {
        let walk = |store: &[StoredRow]| {
            let mut changes = upserts(store, fetched(&rows), 3);
            let seen = |row: &StoredRow| rows.iter().any(|new| new.id == row.transaction.id);
            let old: Vec<StoredRow> = store.iter().filter(|row| row.generation < 3 && !seen(row)).cloned().collect();
            changes.remove = pair_generations(&old, &arrivals(store, &changes), None);
            changes
        };
        let changes = walk(&store);
        apply(&mut store, &changes, 3);
        prop_assert!(walk(&store).is_empty());
        let live = live(&store);
        prop_assert!(rows.iter().all(|row| live.contains(row)));
    }

    #[test]
    fn rows_that_only_changed_their_ids_all_pair_with_their_equals(
        (old, new) in rows(OLD).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))
    ) {
        let renamed: Vec<Transaction> =
            new.iter().map(|row| Transaction { id: format!("new-{}", row.id).into(), ..row.clone() }).collect();
        let old = store(old);
        let pairs = pair_generations(&old, &renamed.iter().collect::<Vec<_>>(), Some(date(2026, 6, 1)));
        prop_assert_eq!(pairs.len(), old.len());
        for (key, removal) in pairs {
            let Removal::Replaced { by, .. } = removal else { panic!("nothing vanishes here") };
            let before = &old.iter().find(|row| row.key == key).unwrap().transaction;
            let after = renamed.iter().find(|row| row.id == by).unwrap();
            prop_assert_eq!((&before.money, before.booked_date), (&after.money, after.booked_date));
            prop_assert_eq!(before.text(), after.text());
        }
    }
}

fn light(row: &StoredRow) -> LiveRow {
    LiveRow {
        key: row.key,
        id: row.transaction.id.clone(),
        status: row.transaction.status,
        booked_date: row.transaction.booked_date,
        generation: row.generation,
    }
}

#[test]
fn too_many_begins_beyond_twenty_rows_and_a_fifth() {
    for (going, all, expected) in [
        (20, 20, false),
        (21, 21, true),
        (20, 100, false),
        (21, 100, true),
        (21, 104, true),
        (21, 105, false),
        (22, 109, true),
        (40, 200, false),
        (41, 200, true),
        (0, 0, false),
    ] {
        let id = |n: usize| n.to_string();
        let live: Vec<LiveRow> =
            store((0..all).map(|n| booked(&id(n), "-1", 1, "")).collect()).iter().map(light).collect();
        let absent: Vec<&LiveRow> = live.iter().take(going).collect();
        assert_eq!(too_many(&absent, &live), expected, "{going} of {all}");
    }
}

#[test]
fn pendings_are_not_counted_among_too_many() {
    let rows = (0..50).map(|n| pending(&n.to_string(), "-1", 1, "")).collect();
    let live: Vec<LiveRow> = store(rows).iter().map(light).collect();
    assert!(!too_many(&live.iter().collect::<Vec<_>>(), &live));
}

#[test]
fn the_most_alike_successor_is_taken() {
    let old = store(vec![pending("p", "-100", 10, "COFFEE BAR")]);
    for (better, worse) in [
        (booked("z", "-100", 3, "other coffee"), pending("a", "-100", 10, "COFFEE BAR")),
        (booked("z", "-100", 3, "coffee  bar"), booked("a", "-100", 10, "COFFEE BAR PRAHA")),
        (booked("z", "-100", 9, "COFFEE BAR"), booked("a", "-100", 12, "COFFEE BAR")),
    ] {
        let changes = removals(&old, &[worse, better]);
        assert_eq!(replaced_by(&changes.remove), [TransactionId::from("z")]);
    }
}

#[test]
fn texts_of_every_script_are_compared() {
    for (old, new, expected) in [
        ("Żabka", "ŻABKA  ", true),
        ("Кафе", "КАФЕ", true),
        ("Кафе", "Хлеб", false),
        ("", "", true),
        ("", "COFFEE", false),
        ("to be", "to go", false),
        ("COFFEE BAR", "1234*coffee*PRG", true),
    ] {
        let alike = likeness(&pending("p", "-1", 1, old), &booked("b", "-1", 1, new)).is_some();
        assert_eq!(alike, expected, "{old:?} and {new:?}");
    }
}

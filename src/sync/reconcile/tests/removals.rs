//! Properties of missing rows: which are missing, and how many are too many.

use super::*;
use crate::sync::made_up::OLD;

proptest! {
    #[test]
    fn a_row_is_missing_only_if_its_id_was_not_fetched_and_its_date_is_well_inside(
        store in any_store(OLD), ids in vec(select(OLD), 0..8), from in 1i8..20, days in 0i64..20, bounded: bool
    ) {
        let from = date(2026, 6, from);
        let window = Window { from: bounded.then_some(from), to: shift(from, days) };
        let ids: HashMap<TransactionId, bool> =
            ids.into_iter().map(|id| (TransactionId::from(id), true)).collect();
        let live: Vec<LiveRow> = store.iter().filter(|row| !row.removed).map(light).collect();
        let gone = not_returned(&live, |id| ids.contains_key(id));
        for row in store.iter().filter(|row| !row.removed) {
            let not_fetched = gone.iter().any(|light| light.key == row.key);
            prop_assert_eq!(not_fetched, !ids.contains_key(&row.transaction.id));
            let expected = row.transaction.booked_date.is_none_or(|date| {
                date <= window.to && (!bounded || shift(from, REMOVAL_MARGIN_DAYS) <= date)
            }) && (row.generation == 2 || row.transaction.status == Status::Pending);
            prop_assert_eq!(is_missing(row, &window, 2), expected, "{:?}", row);
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
fn too_many_begins_beyond_two_rows_and_a_fifth() {
    for (going, all, expected) in [
        (0, 0, false),
        (2, 2, false),
        (3, 3, true),
        (3, 14, true),
        (3, 15, false),
        (4, 19, true),
        (5, 6, true),
        (17, 18, true),
        (19, 40, true),
        (8, 40, false),
        (9, 40, true),
        (40, 200, false),
        (41, 200, true),
    ] {
        assert_eq!(too_many(going, all), expected, "{going} of {all}");
    }
}

#[test]
fn a_row_without_a_date_is_ripe_when_it_is_missing_for_the_second_time() {
    let undated = crate::sync::made_up::row("u", Status::Booked, "-1", None, "");
    for (row, missed, ripe) in
        [(undated.clone(), 0, false), (undated, 1, true), (booked("b", "-1", 1, ""), 0, true)]
    {
        assert_eq!(is_ripe(&StoredRow { missed, ..stored(1, row) }), ripe);
    }
}

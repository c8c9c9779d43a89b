//! Properties of pairing, and cases that users of bank syncs have met.

use proptest::prelude::*;

use super::*;
use crate::domain::texts::TextFields;
use crate::sync::made_up::{NEW, OLD, any_store, booked, known_as, pending, rows, store, stored};

fn run(old: &[StoredRow], new: &[Transaction], generation: i64) -> Vec<(i64, Removal)> {
    let ids = ProviderIds::default();
    let texts = old.iter().map(|row| row.transaction.text()).chain(new.iter().map(Transaction::text));
    let common = CommonWords::of(texts);
    let new: Vec<&Transaction> = new.iter().collect();
    pair(&Sides {
        old,
        new: &new,
        generation,
        is_first: true,
        taken: &HashMap::new(),
        ids: &ids,
        common: &common,
    })
}

/// Each pair's old key, new id and rule.
fn told(pairs: &[(i64, Removal)]) -> Vec<(i64, String, &'static str)> {
    let mut told: Vec<_> = pairs
        .iter()
        .map(|(key, removal)| match removal {
            Removal::Replaced { by, rule } => (*key, by.to_string(), *rule),
            Removal::Vanished => panic!("pairing removes nothing"),
        })
        .collect();
    told.sort_unstable();
    told
}

fn known(row: Transaction, id: &str) -> Transaction {
    known_as(row, Some(id))
}

/// Rows of an older generation.
fn older(rows: Vec<StoredRow>) -> Vec<StoredRow> {
    rows.into_iter().map(|row| StoredRow { generation: 1, ..row }).collect()
}

proptest! {
    #[test]
    fn rows_pair_one_to_one_and_never_one_that_is_removed(old in any_store(OLD), new in rows(NEW)) {
        let pairs = run(&old, &new, 2);
        let keys: HashSet<i64> = pairs.iter().map(|(key, _)| *key).collect();
        prop_assert_eq!(keys.len(), pairs.len());
        let ids: HashSet<String> = told(&pairs).into_iter().map(|(_, id, _)| id).collect();
        prop_assert_eq!(ids.len(), pairs.len());
        for (key, id, rule) in told(&pairs) {
            let before = old.iter().find(|row| row.key == key).unwrap();
            let after = new.iter().find(|row| row.id.as_str() == id).unwrap();
            prop_assert!(!before.removed);
            if rule != "pending_booked:provider_id_only" {
                prop_assert_eq!(&before.transaction.money, &after.money, "{}", rule);
            }
            if before.generation == 2 {
                let statuses = (before.transaction.status, after.status);
                prop_assert!(statuses.0 == statuses.1 || statuses == (Status::Pending, Status::Booked));
            }
        }
    }

    #[test]
    fn no_order_matters(
        (old, shuffled) in any_store(OLD).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        (new, mixed) in rows(NEW).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        prop_assert_eq!(told(&run(&old, &new, 2)), told(&run(&shuffled, &mixed, 2)));
    }

    #[test]
    fn rows_that_only_changed_their_ids_all_pair_with_their_equals(
        (old, new) in rows(OLD).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())), renewal: bool
    ) {
        let renamed: Vec<Transaction> =
            new.iter().map(|row| Transaction { id: format!("new-{}", row.id).into(), ..row.clone() }).collect();
        let old = older(store(old));
        let pairs = run(&old, &renamed, if renewal { 2 } else { 1 });
        prop_assert_eq!(pairs.len(), old.len());
        for (key, id, _) in told(&pairs) {
            let before = &old.iter().find(|row| row.key == key).unwrap().transaction;
            let after = renamed.iter().find(|row| row.id.as_str() == id).unwrap();
            prop_assert_eq!((&before.money, before.status), (&after.money, after.status));
        }
    }
}

#[test]
fn ids_that_are_re_issued_in_place_pair_by_day_money_and_folded_text() {
    let old = store(vec![
        booked("a", "-100", 3, "Grand  HOTEL"),
        booked("b", "-100", 4, "RENT"),
        booked("c", "-1", 5, "x"),
    ]);
    let new = [
        booked("n1", "-100", 3, "GRAND HOTEL\r\n"),
        booked("n2", "-100", 5, "RENT"),
        booked("n3", "-2", 5, "x"),
    ];
    assert_eq!(told(&run(&old, &new, 1)), [(1, "n1".to_owned(), "reissued")]);
}

#[test]
fn honest_twins_pair_as_often_as_they_are_there() {
    let old = store(["a", "b", "c"].map(|id| booked(id, "-100", 3, "COFFEE")).to_vec());
    let new = ["n1", "n2"].map(|id| booked(id, "-100", 3, "COFFEE"));
    assert_eq!(told(&run(&old, &new, 1)).len(), 2);
}

#[test]
fn a_reservation_never_takes_the_successor_of_a_booking() {
    // Two coffees of one day; the reservation is cancelled while the user renews.
    for generation in [1, 2] {
        let old = older(store(vec![pending("p", "-350", 10, "COFFEE"), booked("b", "-350", 10, "COFFEE")]));
        let new = [booked("n", "-350", 10, "COFFEE")];
        let pairs = told(&run(&old, &new, generation));
        assert_eq!((pairs.len(), pairs[0].0, pairs[0].1.as_str()), (1, 2, "n"));
    }
}

#[test]
fn rows_that_the_last_walk_saw_come_first() {
    let phantom = StoredRow { generation: 1, ..stored(1, booked("phantom", "-350", 10, "COFFEE")) };
    let missed = StoredRow { generation: 2, missed: 1, ..stored(2, booked("missed", "-350", 10, "COFFEE")) };
    let seen = StoredRow { generation: 2, ..stored(3, booked("seen", "-350", 10, "COFFEE")) };
    let new = [booked("n", "-350", 10, "COFFEE")];
    assert_eq!(told(&run(&[phantom, missed, seen], &new, 3))[0].0, 3);
}

#[test]
fn a_provider_id_that_says_nothing_proves_nothing() {
    for id in ["", "0", "000", "NOTPROVIDED", "Not provided", "none", "-", "N/A", "null"] {
        for generation in [1, 2] {
            let old = older(store(vec![known(booked("a", "-500", 1, "BARBER"), id)]));
            let new = [known(booked("n", "-500", 19, "CINEMA"), id)];
            assert!(run(&old, &new, generation).is_empty(), "{id:?}");
        }
    }
    let old = store(vec![known(booked("a", "-500", 1, "BARBER"), "77")]);
    let new = [known(booked("n", "-500", 19, "CINEMA"), "77")];
    assert_eq!(told(&run(&old, &new, 1)), [(1, "n".to_owned(), "reissued")]);
    let other = [known(booked("n", "-501", 1, "BARBER"), "77")];
    assert!(run(&old, &other, 1).is_empty(), "another amount");
}

#[test]
fn a_successor_succeeds_another_row_only_if_a_merge_brought_it() {
    let new = booked("n", "-500", 1, "BARBER");
    let (ids, common) = (ProviderIds::default(), CommonWords::default());
    let taken = HashMap::from([(&new.id, 2)]);
    for (generation, fits) in [(1, false), (2, false), (3, true), (4, false)] {
        let old = [StoredRow { generation, ..stored(1, booked("a", "-500", 1, "BARBER")) }];
        let sides = Sides {
            old: &old,
            new: &[&new],
            generation: 4,
            is_first: true,
            taken: &taken,
            ids: &ids,
            common: &common,
        };
        assert_eq!(!pair(&sides).is_empty(), fits, "{generation}");
    }
}

#[test]
fn a_provider_id_is_telling_only_if_it_occurs_once_on_each_side() {
    let old = store(vec![known(booked("a", "-500", 1, "BARBER"), "77")]);
    let new = known(booked("n", "-500", 19, "CINEMA"), "77");
    let mut ids = ProviderIds::default();
    let common = CommonWords::default();
    let taken = HashMap::new();
    let pairs = |ids: &ProviderIds| {
        pair(&Sides {
            old: &old,
            new: &[&new],
            generation: 1,
            is_first: true,
            taken: &taken,
            ids,
            common: &common,
        })
    };
    ids.add(&new);
    assert_eq!(told(&pairs(&ids)), [(1, "n".to_owned(), "reissued")]);
    ids.add(&known(booked("listed", "-9", 2, "TRAM"), "77"));
    assert!(pairs(&ids).is_empty(), "a row that was listed all the time has it too");
    let twice =
        store(vec![known(booked("a", "-500", 1, "x"), "77"), known(booked("b", "-600", 2, "y"), "77")]);
    assert!(run(&twice, &[new], 1).is_empty());
}

#[test]
fn a_reservation_is_booked_near_its_day_with_the_same_money_and_telling_words() {
    let old = store(vec![pending("p", "-4500", 10, "CARD PAYMENT TO GRAND HOTEL")]);
    for (new, expected) in [
        (
            booked("n", "-4500", 9, "CARD PAYMENT TO GRAND HOTEL"),
            Some("pending_booked:amount+date+same_text"),
        ),
        (
            booked("n", "-4500", 17, "Card payment to Grand Hotel"),
            Some("pending_booked:amount+date+same_text"),
        ),
        (booked("n", "-4500", 12, "GRAND HOTEL 0815"), Some("pending_booked:amount+date+similar_text")),
        (booked("n", "-4500", 8, "CARD PAYMENT TO GRAND HOTEL"), None),
        (booked("n", "-4500", 18, "CARD PAYMENT TO GRAND HOTEL"), None),
        (booked("n", "-4501", 10, "CARD PAYMENT TO GRAND HOTEL"), None),
        (booked("n", "-4500", 10, "CARD PAYMENT TO CITY BOOKSTORE"), None),
        (
            pending("n", "-4500", 11, "CARD PAYMENT TO GRAND HOTEL"),
            Some("pending_reissued:amount+date+same_text"),
        ),
    ] {
        let pairs = told(&run(&old, std::slice::from_ref(&new), 1));
        assert_eq!(pairs.first().map(|(_, _, rule)| *rule), expected, "{new:?}");
    }
}

#[test]
fn a_reservation_that_is_booked_with_another_amount_needs_the_banks_id() {
    let old = store(vec![known(pending("p", "-4500", 10, "FUEL"), "77")]);
    let new = [known(booked("n", "-3871", 12, "FUEL"), "77")];
    assert_eq!(told(&run(&old, &new, 1)), [(1, "n".to_owned(), "pending_booked:provider_id_only")]);
    assert!(run(&old, &[booked("n", "-3871", 12, "FUEL")], 1).is_empty());
}

#[test]
fn after_a_re_consent_a_drifted_text_pairs_by_day_and_money_where_that_is_unique() {
    let old = older(store(vec![
        booked("a", "-100", 3, "TRAM"),
        booked("b", "-200", 4, "RENT"),
        booked("c", "-200", 4, "FLAT"),
    ]));
    let new = [
        booked("n1", "-100", 3, "CARD: TRAM"),
        booked("n2", "-200", 4, "CARD: RENT"),
        booked("n3", "-200", 4, "CARD: FLAT"),
    ];
    assert_eq!(told(&run(&old, &new, 2)), [(1, "n1".to_owned(), "reconsent:date+amount")]);
    assert!(run(&old, &new, 1).is_empty(), "not without a re-consent");
    // A reservation of the same money does not make a booking less unique; alone, it is the one that was
    // booked.
    let both = older(store(vec![booked("a", "-100", 3, "TRAM"), pending("p", "-100", 3, "TAXI")]));
    let n1 = std::slice::from_ref(&new[0]);
    assert_eq!(told(&run(&both, n1, 2)), [(1, "n1".to_owned(), "reconsent:date+amount")]);
    assert_eq!(told(&run(&both[1..], n1, 2)), [(2, "n1".to_owned(), "reconsent:date+amount")]);
}

#[test]
fn the_most_alike_successor_is_taken() {
    let old = store(vec![pending("p", "-100", 10, "COFFEE BAR")]);
    for (better, worse) in [
        (booked("z", "-100", 11, "coffee bar"), pending("a", "-100", 11, "COFFEE BAR")),
        (booked("z", "-100", 12, "coffee  bar"), booked("a", "-100", 10, "COFFEE BAR PRAHA")),
        (booked("z", "-100", 11, "COFFEE BAR"), booked("a", "-100", 12, "COFFEE BAR")),
    ] {
        assert_eq!(told(&run(&old, &[worse, better], 1))[0].1, "z");
    }
}

#[test]
fn after_a_re_consent_a_reference_pairs_rows_whose_texts_have_drifted() {
    let referring = |row: Transaction, reference: &str| {
        let text = row.text().to_owned();
        let (description_original, reference) = (Some(text.as_str()), Some(reference));
        let texts = TextFields { description_original, reference, ..TextFields::default() };
        Transaction { texts: texts.into(), ..row }
    };
    let rows = |ids: [&str; 2], texts: [&str; 2], references: [&str; 2]| {
        [0, 1].map(|n| referring(booked(ids[n], "-200", 4, texts[n]), references[n]))
    };
    let old = older(store(rows(["a", "b"], ["RENT", "FLAT"], ["r-1", "r-2"]).to_vec()));
    let new = rows(["n1", "n2"], ["CARD: FLAT", "CARD: RENT"], ["r-2", "r-1"]);
    let by_reference = "reconsent:reference";
    let pairs = told(&run(&old, &new, 2));
    assert_eq!(pairs, [(1, "n2".to_owned(), by_reference), (2, "n1".to_owned(), by_reference)]);
    assert!(run(&old, &new, 1).is_empty(), "not without a re-consent");
    let old = older(store(rows(["a", "b"], ["RENT", "FLAT"], ["NOTPROVIDED"; 2]).to_vec()));
    let new = rows(["n1", "n2"], ["CARD: FLAT", "CARD: RENT"], ["NOTPROVIDED"; 2]);
    assert!(run(&old, &new, 2).is_empty(), "a reference that says nothing");
}

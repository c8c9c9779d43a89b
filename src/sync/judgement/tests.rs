//! When missing rows are believed to be gone.

use super::*;
use crate::domain::balance::{BalanceInput, Reconciliation, Sums};
use crate::domain::total::Total;
use crate::sync::made_up::{booked, pending, store};

/// A check of these cents, whose balance is given.
fn check(balance: i64, rows: &[i64]) -> BalanceCheck {
    let money = |cents: i64| booked("", &cents.to_string(), 1, "").money;
    let mut sums = Sums::default();
    for cents in rows {
        sums.add(Part::Booked, &money(*cents));
    }
    BalanceCheck {
        account: 1,
        account_id: "a".into(),
        first_day: None,
        input: BalanceInput {
            balance: Some(money(balance)),
            refresh: Some("2026-06-20T00:00:00Z".parse().unwrap()),
            sums,
            ..BalanceInput::default()
        },
        reconciliation: Reconciliation::default(),
    }
}

fn stand(balance: i64, rows: i64) -> Stand {
    let money = |cents: i64| booked("", &cents.to_string(), 1, "").money;
    Stand { balance: money(balance), rows: Total::from(&money(rows).amount) }
}

fn rows(count: u32) -> Vec<StoredRow> {
    store((0..count).map(|n| booked(&n.to_string(), "-100", 3, "x")).collect())
}

fn look(booked: usize) -> Look<'static> {
    Look { booked, check: None, stand: None, suspected: false }
}

#[test]
fn a_list_cut_short_on_a_small_account_is_suspicious() {
    for (missing, all, expected) in
        [(17, 18, true), (5, 6, true), (19, 40, true), (2, 6, false), (8, 40, false)]
    {
        assert_eq!(look(all).is_suspicious(&rows(missing)), expected, "{missing} of {all}");
    }
}

#[test]
fn a_removal_that_the_balance_contradicts_is_suspicious_and_one_that_it_proves_is_not() {
    let before = stand(10_000, -1800);
    let all = vec![-100; 18];
    let contradicted = Look { check: Some(&check(10_000, &all)), stand: Some(&before), ..look(18) };
    assert!(contradicted.is_suspicious(&rows(1)));
    let proven = Look { check: Some(&check(11_700, &all)), stand: Some(&before), ..look(18) };
    assert!(!proven.is_suspicious(&rows(17)));
    assert!(!contradicted.is_suspicious(&[]));
}

#[test]
fn pendings_alone_are_never_suspicious() {
    let missing = store((0..30).map(|n| pending(&n.to_string(), "-100", 3, "x")).collect());
    let check = check(10_000, &[-5]);
    let before = stand(10_000, -5);
    assert!(!Look { check: Some(&check), stand: Some(&before), ..look(1) }.is_suspicious(&missing));
}

#[test]
fn rows_that_were_missing_at_an_older_refresh_too_have_been_looked_at_twice() {
    let mut missing = rows(17);
    for row in &mut missing {
        row.missed = 1;
    }
    assert!(!Look { suspected: true, ..look(18) }.is_suspicious(&missing));
    assert!(look(18).is_suspicious(&missing), "without a suspicion nothing was looked at");
    for row in missing.iter_mut().take(3) {
        row.missed = 0;
    }
    assert!(!Look { suspected: true, ..look(18) }.is_suspicious(&missing), "three of eighteen are new");
    for row in missing.iter_mut().take(4) {
        row.missed = 0;
    }
    assert!(Look { suspected: true, ..look(18) }.is_suspicious(&missing), "four of eighteen are too many");
}

#[test]
fn what_is_open_stays_open_beside_what_is_new() {
    let at = "2026-06-01T00:00:00Z".parse().unwrap();
    let day = |day| jiff::civil::date(2026, 5, day);
    let before = Absence::open(Some(at), Some(day(3)));
    assert_eq!(Absence::waits(&rows(1), before), before);
    assert_eq!(before.and(Absence::nothing_missing()), before);
    assert!(Absence::nothing_missing().complete && !before.complete);
    assert_eq!(Absence::open(None, Some(day(1))).and(before), Absence::open(Some(at), Some(day(1))));
}

#[test]
fn changes_that_are_not_written_yet_count() {
    let stored =
        store(vec![booked("a", "-100", 3, "x"), pending("p", "-50", 4, "y"), booked("r", "-7", 5, "z")]);
    let mut made = check(0, &[-100, -7]);
    let row = |transaction| crate::store::types::FetchedRow { transaction, raw: None };
    let changes = ChangeSet {
        insert: vec![row(booked("n", "-30", 6, "new")), row(booked("ahead", "-1000", 25, "later"))],
        update: vec![(1, row(booked("a", "-110", 3, "x"))), (2, row(booked("p", "-50", 4, "y")))],
        remove: vec![(3, crate::store::types::Removal::Vanished)],
        ..ChangeSet::default()
    };
    count(&mut made, &changes, &stored);
    let mut expected = check(0, &[-110, -50, -30, -1000]);
    expected.input.ahead.add(Part::Booked, &booked("", "-1000", 25, "").money);
    let (a, b) = (made.input.stand().unwrap(), expected.input.stand().unwrap());
    assert_eq!(a, b);
}

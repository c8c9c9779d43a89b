//! When missing rows are believed to be gone.

use super::*;
use crate::domain::balance::{BalanceInput, Reconciliation, Sums};
use crate::domain::total::Total;
use crate::store::types::Removal;
use crate::sync::made_up::{booked, fetched, pending, store};

/// A check of rows of these cents, with the given balance.
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

fn june(day: i8) -> Date {
    jiff::civil::date(2026, 6, day)
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
    assert_eq!((before.suspect, before.absent_from), (Some(at), Some(day(3))));
    assert_eq!(Absence::waits(&rows(1), before), before);
    assert_eq!(Absence::waits(&rows(1), Absence::nothing_missing()).absent_from, Some(june(3)));
    assert_eq!(before.and(Absence::nothing_missing()), before);
    assert!(Absence::nothing_missing().complete && !before.complete);
    assert_eq!(Absence::open(None, Some(day(1))).and(before), Absence::open(Some(at), Some(day(1))));
}

#[test]
fn what_is_not_known_of_either_is_not_known_of_both() {
    let nothing = Absence::nothing_missing();
    for odd in [
        Absence { disbelieved: true, ..nothing },
        Absence { reissued: true, ..nothing },
        Absence { complete: false, ..nothing },
        nothing.again_from(Some(june(5))),
    ] {
        assert_eq!((nothing.and(odd), odd.and(nothing)), (odd, odd));
    }
}

#[test]
fn a_row_that_one_walk_updates_and_then_removes_counts_for_nothing() {
    let (mut check, stored) = (check(0, &[-100]), rows(1));
    let amended = fetched(&[booked("0", "-150", 3, "x")]).remove(0);
    let changes = ChangeSet {
        update: vec![(stored[0].key, amended)],
        remove: vec![(stored[0].key, Removal::Vanished)],
        ..ChangeSet::default()
    };
    count(&mut check, &changes, &stored);
    assert!(check.input.sums.0.values().all(|sum| sum.total == Total::default()));
    assert_eq!((changes.counts().updated, changes.counts().removed), (0, 1));
}

#[test]
fn a_list_that_is_not_believed_is_not_exact() {
    let at = "2026-06-01T00:00:00Z".parse().unwrap();
    let nothing = Absence::nothing_missing();
    assert!(nothing.is_exact() && nothing.again_from(Some(june(5))).is_exact());
    let open = Absence::open(Some(at), Some(june(3)));
    let disbelieved =
        Absence { disbelieved: true, complete: true, again_from: None, reissued: false, ..open };
    assert_eq!(Absence::suspicious(&rows(1), Some(at)), disbelieved);
    assert_eq!(Absence::shows_nothing(open, None), Absence { disbelieved: true, ..open });
    let unread = Absence::shows_nothing(nothing, Some(at));
    assert_eq!((unread.suspect, unread.absent_from), (Some(at), None));
    for open in [
        Absence::open(Some(at), None),
        Absence::open(None, Some(june(3))),
        Absence::shows_nothing(nothing, None),
        Absence { suspect: None, absent_from: None, ..disbelieved },
    ] {
        assert!(!open.is_exact(), "{open:?}");
    }
}

#[test]
fn the_next_walk_looks_from_the_oldest_day_that_is_open() {
    let nothing = Absence::nothing_missing();
    assert_eq!(nothing.look_from(), None);
    let again = nothing.again_from(Some(june(7))).again_from(Some(june(5))).again_from(None);
    assert_eq!((again.look_from(), again.absent_from), (Some(june(5)), None));
    let open = |day| Absence::open(None, Some(june(day))).and(again).look_from();
    assert_eq!((open(3), open(9)), (Some(june(3)), Some(june(5))));
}

#[test]
fn what_goes_without_a_proof_is_looked_at_once_more_from_its_oldest_day() {
    let mut missing = store(vec![
        pending("p", "-50", 2, "no booking"),
        booked("a", "-100", 3, "x"),
        booked("ahead", "-1000", 25, "later than the refresh"),
        crate::sync::made_up::row("undated", Status::Booked, "-30", None, "missing for the first time"),
    ]);
    assert_eq!(look(18).unproven_from(&missing), Some(june(3)));
    let before = stand(10_000, -1800);
    let all = vec![-100; 18];
    let proven = Look { check: Some(&check(10_100, &all)), stand: Some(&before), ..look(18) };
    assert_eq!(
        proven.unproven_from(&missing),
        None,
        "only the ripe booking of the past has moved the balance"
    );
    let contradicted = Look { check: Some(&check(10_000, &all)), stand: Some(&before), ..look(18) };
    assert_eq!(contradicted.unproven_from(&missing), Some(june(3)));
    missing.truncate(1);
    assert_eq!(look(18).unproven_from(&missing), None, "pendings come and go");
}

#[test]
fn changes_that_are_not_written_yet_count() {
    let mut stored = store(vec![
        booked("a", "-100", 3, "x"),
        pending("p", "-50", 4, "y"),
        booked("r", "-7", 5, "z"),
        booked("same", "-9", 5, "same"),
        booked("back", "-40", 5, "back"),
    ]);
    stored[4].removed = true;
    let mut made = check(0, &[-100, -7, -9]);
    let row = |transaction| crate::store::types::FetchedRow { transaction, raw: None };
    let changes = ChangeSet {
        insert: vec![
            row(booked("n", "-30", 6, "new")),
            row(booked("today", "-2000", 20, "of the refresh's day")),
            row(booked("ahead", "-1000", 25, "later")),
        ],
        update: vec![
            (1, row(booked("a", "-110", 3, "x"))),
            (2, row(booked("p", "-50", 4, "y"))),
            (5, row(booked("back", "-40", 5, "back"))),
        ],
        remove: vec![(3, crate::store::types::Removal::Vanished)],
        ..ChangeSet::default()
    };
    count(&mut made, &changes, &stored);
    let mut expected = check(0, &[-110, -50, -9, -40, -30, -2000, -1000]);
    expected.input.ahead.add(Part::Booked, &booked("", "-1000", 25, "").money);
    let (a, b) = (made.input.stand().unwrap(), expected.input.stand().unwrap());
    assert_eq!(a, b);
}

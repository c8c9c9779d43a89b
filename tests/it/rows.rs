//! Which row is which: twins, repeated ids, pending rows and their successors, corrections, revivals.

use tink_sandbox::PageShape;

use crate::scripted::{Fate, SAM, Sam, at, booked, day, ended, many, pending};

#[test]
fn honest_twins_of_one_page_stay_two() {
    let sam = Sam::with(at(1, [booked("t1", -2, "-250", "COFFEE"), booked("t2", -2, "-250", "COFFEE")]));
    assert_eq!(sam.live(), ["t1", "t2"]);
    let ran = ended(
        sam.pass(at(2, [booked("t1", -2, "-250", "COFFEE"), booked("t2", -2, "-250", "COFFEE")])),
        0,
        "unchanged",
        None,
    );
    assert_eq!((ran.total("added"), ran.total("removed")), (0, 0));
}

#[test]
fn honest_twins_on_two_pages_stay_two() {
    let mut rows = vec![booked("t1", -2, "-250", "COFFEE")];
    rows.extend(many("f", 120, -3));
    rows.push(booked("t2", -2, "-250", "COFFEE"));
    let sam = Sam::with(at(1, rows));
    assert_eq!(sam.asked("/transactions?").len(), 2);
    assert_eq!(sam.fate("t1"), Fate::live());
    assert_eq!(sam.fate("t2"), Fate::live());
    sam.0.assert_exact(0);
}

#[test]
fn a_third_twin_that_comes_later_is_a_third_row() {
    let twins = [booked("t1", -2, "-250", "COFFEE"), booked("t2", -2, "-250", "COFFEE")];
    let sam = Sam::with(at(1, twins.clone()));
    let third = booked("t3", -2, "-250", "COFFEE");
    let ran = ended(sam.pass(at(2, [&twins[..], &[third]].concat())), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("updated")), (1, 0));
    assert_eq!(sam.live(), ["t1", "t2", "t3"]);
}

#[test]
fn twins_whose_pendings_are_booked_anew_pair_one_to_one() {
    let sam = Sam::with(at(1, [pending("p1", 1, "-250", "COFFEE"), pending("p2", 1, "-250", "COFFEE")]));
    sam.pass(at(2, [booked("b1", 0, "-250", "COFFEE"), booked("b2", 0, "-250", "COFFEE")])).expect(0);
    let successors: Vec<_> = ["p1", "p2"].iter().map(|id| sam.fate(id).by.unwrap()).collect();
    assert_ne!(successors[0], successors[1]);
    assert_eq!(sam.live(), ["b1", "b2"]);
}

#[test]
fn one_of_two_equal_pendings_is_booked_and_the_other_vanishes() {
    let sam = Sam::with(at(1, [pending("p1", 1, "-250", "COFFEE"), pending("p2", 1, "-250", "COFFEE")]));
    let ran = sam.pass(at(2, [booked("b1", 0, "-250", "COFFEE")])).expect(0);
    assert_eq!((ran.total("added"), ran.total("removed")), (1, 2));
    let reasons: Vec<_> = ["p1", "p2"].iter().map(|id| sam.fate(id).removed.unwrap()).collect();
    assert!(
        reasons.contains(&"replaced".to_owned()) && reasons.contains(&"vanished".to_owned()),
        "{reasons:?}"
    );
}

#[test]
fn the_same_id_on_two_pages_is_one_row_and_the_later_page_wins() {
    let mut rows = vec![booked("t1", -2, "-250", "COFFEE")];
    rows.extend(many("f", 120, -3));
    rows.push(booked("t1", -2, "-260", "COFFEE AND CAKE"));
    let sam = Sam::with(at(1, rows));
    assert_eq!(sam.row("t1", "amount, description"), "-2.6|COFFEE AND CAKE");
    assert_eq!(sam.live().len(), 121);
    sam.0.assert_exact(0);
}

#[test]
fn an_id_that_comes_again_after_its_row_was_written_is_still_one_row() {
    // More rows than one commit takes, under an id of the usual form and one of another.
    for id in ["0123456789abcdef0123456789abcdef", "t1"] {
        let mut rows = vec![booked(id, -2, "-250", "COFFEE")];
        rows.extend(many("f", 400, -3));
        rows.push(booked(id, -2, "-260", "COFFEE AND CAKE"));
        let sam = Sam::with(at(1, rows));
        assert_eq!(sam.row(id, "amount, description"), "-2.6|COFFEE AND CAKE");
        assert_eq!(sam.live().len(), 401);
        sam.0.assert_exact(0);
    }
}

#[test]
fn a_tombstone_of_an_account_that_was_never_read_to_its_end_is_known() {
    let rows = [booked("t1", -2, "-250", "COFFEE"), booked("t2", -2, "-300", "TEA")];
    let sam = Sam::with(at(1, rows.clone()));
    sam.0.rows_were_removed_by_a_walk_without_end();
    let ran = sam.pass(at(2, rows)).expect(0);
    assert_eq!((ran.total("added"), ran.total("updated")), (0, 2));
    assert_eq!(sam.live(), ["t1", "t2"]);
}

#[test]
fn a_pending_that_is_booked_under_its_own_id_is_the_same_row() {
    let sam = Sam::with(at(1, [pending("t1", 1, "-250", "COFFEE")]));
    let (key, seq) = (sam.row("t1", "first_seen_run"), sam.seq("t1"));
    let ran = ended(sam.pass(at(2, [booked("t1", 0, "-250", "COFFEE")])), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("updated"), ran.total("removed")), (0, 1, 0));
    assert_eq!(sam.row("t1", "status, booked_date"), format!("booked|{}", day(0)));
    assert_eq!(sam.row("t1", "first_seen_run"), key);
    assert!(sam.seq("t1") > seq);
}

#[test]
fn a_pending_that_is_booked_under_a_new_id_names_its_successor() {
    let sam = Sam::with(at(1, [pending("p", 1, "-250", "COFFEE")]));
    let ran = ended(sam.pass(at(2, [booked("b", 0, "-250", "COFFEE")])), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("removed")), (1, 1));
    assert_eq!(sam.fate("p"), Fate::replaced("b", "pending_booked:amount+date+same_text"));
    assert_eq!(sam.live(), ["b"]);
}

#[test]
fn a_successor_may_have_a_longer_text_and_comes_through_pages_and_chunks() {
    let sam = Sam::with(at(1, [pending("p", 1, "-250", "COFFEE BAR")]));
    // The successor is on the first page, long before the walk ends.
    let mut rows = vec![booked("b", 0, "-250", "CARD 1234 COFFEE BAR PRAHA")];
    rows.extend(many("f", 1100, -3));
    sam.pass(at(2, rows)).expect(0);
    assert_eq!(sam.fate("p"), Fate::replaced("b", "pending_booked:amount+date+similar_text"));
}

#[test]
fn only_a_near_row_of_equal_money_and_kindred_text_is_a_successor() {
    for (name, other) in [
        ("another amount", booked("b", 0, "-255", "COFFEE")),
        ("another text", booked("b", 0, "-250", "BAKERY")),
        ("a date too far away", booked("b", -9, "-250", "COFFEE")),
        ("another currency", {
            tink_sandbox::ScriptRow::with("b", "a1", Some(day(0)), "BOOKED", ["-250", "2", "USD"], "COFFEE")
        }),
    ] {
        let sam = Sam::with(at(1, [pending("p", 1, "-250", "COFFEE")]));
        sam.pass(at(2, [other])).expect(0);
        assert_eq!(sam.fate("p"), Fate::vanished(), "{name}");
        assert_eq!(sam.live(), ["b"], "{name}");
    }
}

#[test]
fn a_row_that_was_there_before_is_nobodys_successor() {
    let old = booked("old", 0, "-250", "COFFEE");
    let sam = Sam::with(at(1, [pending("p", 1, "-250", "COFFEE"), old.clone()]));
    sam.pass(at(2, [old])).expect(0);
    assert_eq!(sam.fate("p"), Fate::vanished());
}

#[test]
fn a_pending_that_is_gone_has_vanished() {
    let keep = booked("t", -1, "-100", "TRAM");
    let sam = Sam::with(at(1, [keep.clone(), pending("p", 1, "-250", "COFFEE")]));
    let ran = ended(sam.pass(at(2, [keep])), 0, "synced", None);
    assert_eq!(ran.total("removed"), 1);
    assert_eq!(sam.fate("p"), Fate::vanished());
}

#[test]
fn a_pending_that_is_issued_anew_is_replaced_by_the_new_one() {
    let sam = Sam::with(at(1, [pending("p1", 1, "-250", "COFFEE")]));
    sam.pass(at(2, [pending("p2", 3, "-250", "COFFEE")])).expect(0);
    assert_eq!(sam.fate("p1"), Fate::replaced("p2", "pending_reissued:amount+date+same_text"));
    sam.pass(at(3, [booked("b", 2, "-250", "COFFEE")])).expect(0);
    assert_eq!(sam.fate("p2"), Fate::replaced("b", "pending_booked:amount+date+same_text"));
    assert_eq!(sam.live(), ["b"]);
}

#[test]
fn a_booked_successor_is_preferred_to_a_pending_one() {
    let sam = Sam::with(at(1, [pending("p", 1, "-250", "COFFEE")]));
    sam.pass(at(2, [pending("q", 2, "-250", "COFFEE"), booked("b", 0, "-250", "COFFEE")])).expect(0);
    assert_eq!(sam.fate("p").by.as_deref(), Some("b"));
}

#[test]
fn a_tombstone_whose_id_comes_back_is_revived() {
    let (keep, p) = (booked("t", -1, "-100", "TRAM"), pending("p", 1, "-250", "COFFEE"));
    let sam = Sam::with(at(1, [keep.clone(), p.clone()]));
    sam.pass(at(2, [keep.clone(), booked("b", 0, "-250", "COFFEE")])).expect(0);
    assert_eq!(sam.fate("p").by.as_deref(), Some("b"));
    let seq = sam.seq("p");
    let ran = ended(sam.pass(at(3, [keep, p])), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("updated"), ran.total("removed")), (0, 1, 1));
    assert_eq!(sam.fate("p"), Fate::live());
    assert_eq!(sam.fate("b"), Fate::vanished());
    assert!(sam.seq("p") > seq);
}

#[test]
fn corrections_of_text_dates_and_amount_change_the_row_in_place() {
    let sam = Sam::with(at(1, [booked("t", -1, "-100", "TRAM")]));
    for (n, other, expected) in [
        (2, booked("t", -1, "-100", "TRAM LINE 9"), format!("-1|TRAM LINE 9|{}", day(-1))),
        (3, booked("t", -2, "-100", "TRAM LINE 9"), format!("-1|TRAM LINE 9|{}", day(-2))),
        (4, booked("t", -2, "-110", "TRAM LINE 9"), format!("-1.1|TRAM LINE 9|{}", day(-2))),
    ] {
        let seq = sam.seq("t");
        let ran = ended(sam.pass(at(n, [other])), 0, "synced", None);
        assert_eq!((ran.total("updated"), ran.total("added"), ran.total("removed")), (1, 0, 0));
        assert_eq!(sam.row("t", "amount, description, booked_date"), expected);
        assert!(sam.seq("t") > seq);
    }
}

#[test]
fn a_row_that_appears_late_inside_the_overlap_is_found() {
    let sam = Sam::with(at(1, [booked("t", -1, "-100", "TRAM")]));
    let late = booked("late", -12, "-300", "LUNCH");
    ended(sam.pass(at(2, [booked("t", -1, "-100", "TRAM"), late])), 0, "synced", None);
    assert_eq!(sam.live(), ["late", "t"]);
}

#[test]
fn the_same_id_in_two_accounts_is_two_rows() {
    let mut script = at(1, [booked("t", -1, "-100", "TO SAVINGS")]);
    script.accounts.push(tink_sandbox::script::account("a2", &crate::scripted::refresh(1), "1", "0", "EUR"));
    script.consents = vec![tink_sandbox::script::consent("cred", &["a1", "a2"])];
    script.transactions.push(tink_sandbox::ScriptRow::booked("t", "a2", day(-1), "100", "2", "FROM CURRENT"));
    let sam = Sam::with(script);
    assert_eq!(sam.live(), ["t", "t"]);
}

#[test]
fn more_than_a_thousand_rows_come_in_chunks_with_a_row_on_both_sides_of_a_border() {
    let sam = Sam::new();
    let mut rows = many("r", 2300, -4);
    // The last row of the first thousand comes again, changed, in the next chunk.
    rows.insert(1005, booked("r-999", -4, "-777", "r 999 corrected"));
    sam.0.sandbox.script(SAM, at(1, rows));
    sam.0.sandbox.plan(SAM, |plan| plan.shape = PageShape { repeat_row: true, ..PageShape::default() });
    let ran = ended(sam.again(), 0, "synced", None);
    assert_eq!((ran.total("fetched"), ran.total("added")), (2300, 2300));
    assert_eq!(sam.row("r-999", "amount"), "-7.77");
    assert_eq!(sam.live().len(), 2300);
    sam.0.assert_exact(0);
}

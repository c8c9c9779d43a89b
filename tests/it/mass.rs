//! Rows that are missing in masses: none is removed until a later pass with a newer refresh agrees.

use crate::scripted::{Fate, SAM, Sam, at, ended, many, pending, still};

/// A connection's rows in the store.
fn live(sam: &Sam) -> usize {
    sam.live().len()
}

#[test]
fn a_list_cut_short_on_a_small_account_removes_nothing() {
    for (all, listed) in [(18, 1), (6, 1), (40, 21), (3, 0)] {
        let sam = Sam::with(still(1, [many("r", all, -2), many("other", 1, -1)].concat()));
        let cut = [many("r", listed, -2), many("other", 1, -1)].concat();
        let ran = ended(sam.pass(still(2, cut)), 10, "partial", Some("mass_vanish"));
        assert_eq!(ran.total("removed"), 0, "{listed} of {all}");
        let back = [many("r", all, -2), many("other", 1, -1)].concat();
        ended(sam.pass(still(3, back)), 0, "unchanged", None);
        assert_eq!(live(&sam), all as usize + 1);
    }
}

#[test]
fn two_rows_or_a_fifth_may_go_at_once_where_the_balance_says_nothing() {
    let silent = |n: u32, count: u32| {
        let mut script = still(n, many("r", count, -2));
        script.accounts[0]["balances"] = serde_json::Value::Null;
        script
    };
    for (all, missing, code) in
        [(6, 2, 0), (6, 3, 10), (60, 12, 0), (60, 13, 10), (200, 40, 0), (200, 41, 10)]
    {
        let sam = Sam::with(silent(1, all));
        let ran = sam.pass(silent(2, all - missing));
        assert_eq!(ran.code, code, "{missing} of {all}");
        assert_eq!(ran.total("removed"), if code == 0 { u64::from(missing) } else { 0 });
    }
}

#[test]
fn a_balance_that_moved_by_just_their_sum_is_proof() {
    let sam = Sam::with(at(1, many("r", 18, -2)));
    let ran = ended(sam.pass(at(2, many("r", 1, -2))), 0, "synced", None);
    assert_eq!((ran.total("removed"), live(&sam)), (17, 1));
}

#[test]
fn a_balance_that_did_not_move_holds_even_one_row_back_until_a_newer_refresh_agrees() {
    let sam = Sam::with(still(1, many("r", 18, -2)));
    let ran = ended(sam.pass(still(2, many("r", 17, -2))), 10, "partial", Some("mass_vanish"));
    assert_eq!(ran.total("removed"), 0);
    let ran = ended(sam.pass(still(3, many("r", 17, -2))), 0, "synced", None);
    assert_eq!(ran.total("removed"), 1);
}

#[test]
fn a_newer_refresh_that_agrees_removes_them() {
    let sam = Sam::with(still(1, many("r", 60, -2)));
    ended(sam.pass(still(2, many("r", 10, -2))), 10, "partial", Some("mass_vanish"));
    // The same refresh says nothing new, and the suspicion is not forgotten.
    ended(sam.again(), 10, "partial", Some("mass_vanish"));
    assert_eq!(live(&sam), 60);
    let ran = ended(sam.pass(still(3, many("r", 10, -2))), 0, "synced", None);
    assert_eq!(ran.total("removed"), 50);
    assert_eq!(live(&sam), 10);
    ended(sam.pass(still(4, many("r", 10, -2))), 0, "unchanged", None);
}

#[test]
fn rows_that_are_back_end_the_suspicion() {
    let sam = Sam::with(still(1, many("r", 60, -2)));
    ended(sam.pass(still(2, many("r", 9, -2))), 10, "partial", Some("mass_vanish"));
    ended(sam.pass(still(3, many("r", 60, -2))), 0, "unchanged", None);
    ended(sam.pass(still(4, many("r", 9, -2))), 10, "partial", Some("mass_vanish"));
    assert_eq!(live(&sam), 60);
}

#[test]
fn the_second_look_does_not_count_if_the_account_was_refreshed_meanwhile() {
    let sam = Sam::with(still(1, many("r", 60, -2)));
    ended(sam.pass(still(2, many("r", 9, -2))), 10, "partial", Some("mass_vanish"));
    sam.0.sandbox.on_page(SAM, 1, still(4, many("r", 9, -2)));
    ended(sam.pass(still(3, many("r", 9, -2))), 10, "partial", Some("mass_vanish"));
    assert_eq!(live(&sam), 60);
    assert_eq!(ended(sam.again(), 0, "synced", None).total("removed"), 51);
}

#[test]
fn an_empty_list_is_no_second_look() {
    let sam = Sam::with(still(1, many("r", 60, -2)));
    ended(sam.pass(still(2, many("r", 9, -2))), 10, "partial", Some("mass_vanish"));
    ended(sam.pass(still(3, [])), 10, "partial", Some("mass_vanish"));
    assert_eq!(live(&sam), 60);
}

#[test]
fn pendings_do_not_count_but_none_goes_while_the_rest_is_suspect() {
    let pendings = |count: u32| (0..count).map(|n| pending(&format!("p-{n}"), 1, "-100", "x"));
    let with =
        |rows: u32, count: u32| many("r", rows, -2).into_iter().chain(pendings(count)).collect::<Vec<_>>();
    let sam = Sam::with(still(1, with(1, 30)));
    assert_eq!(ended(sam.pass(still(2, with(1, 0))), 0, "synced", None).total("removed"), 30);
    let sam = Sam::with(still(1, with(60, 1)));
    ended(sam.pass(still(2, with(1, 0))), 10, "partial", Some("mass_vanish"));
    assert_eq!(sam.fate("p-0"), Fate::live());
}

#[test]
fn what_is_new_is_stored_although_the_rest_is_suspect() {
    let sam = Sam::with(still(1, many("r", 60, -2)));
    let ran = ended(sam.pass(still(2, many("new", 3, -1))), 10, "partial", Some("mass_vanish"));
    assert_eq!((ran.total("added"), ran.total("removed")), (3, 0));
    assert_eq!(live(&sam), 63);
}

#[test]
fn the_share_is_of_the_window_and_not_of_all_there_is() {
    // 300 rows are out of the window's reach; of the 60 inside, 13 are missing.
    let rows =
        |young: u32| many("old", 300, -200).into_iter().chain(many("r", young, -2)).collect::<Vec<_>>();
    let sam = Sam::with(still(1, rows(60)));
    ended(sam.pass(still(2, rows(47))), 10, "partial", Some("mass_vanish"));
    assert_eq!(live(&sam), 360);
}

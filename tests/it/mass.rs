//! Rows that are missing in masses: none is removed until a later pass with a newer refresh agrees.

use crate::scripted::{Fate, SAM, Sam, at, ended, many, pending};

/// A connection's rows in the store.
fn live(sam: &Sam) -> usize {
    sam.live().len()
}

#[test]
fn twenty_rows_may_go_at_once_and_the_twenty_first_stops_all() {
    for (missing, code, outcome, reason) in
        [(20, 0, "synced", None), (21, 10, "partial", Some("mass_vanish"))]
    {
        let sam = Sam::with(at(1, many("r", 60, -2)));
        let ran = ended(sam.pass(at(2, many("r", 60 - missing, -2))), code, outcome, reason);
        let gone = if code == 0 { u64::from(missing) } else { 0 };
        assert_eq!(ran.total("removed"), gone);
        assert_eq!(live(&sam), 60 - usize::try_from(gone).unwrap());
    }
}

#[test]
fn a_fifth_of_many_rows_may_go_at_once_and_no_more() {
    for (missing, code) in [(40, 0), (41, 10)] {
        let sam = Sam::with(at(1, many("r", 200, -2)));
        assert_eq!(sam.pass(at(2, many("r", 200 - missing, -2))).code, code, "{missing} missing");
    }
}

#[test]
fn a_newer_refresh_that_agrees_removes_them() {
    let sam = Sam::with(at(1, many("r", 60, -2)));
    ended(sam.pass(at(2, many("r", 10, -2))), 10, "partial", Some("mass_vanish"));
    // The same refresh says nothing new, and the suspicion is not forgotten.
    ended(sam.again(), 10, "partial", Some("mass_vanish"));
    assert_eq!(live(&sam), 60);
    let ran = ended(sam.pass(at(3, many("r", 10, -2))), 0, "synced", None);
    assert_eq!(ran.total("removed"), 50);
    assert_eq!(live(&sam), 10);
    ended(sam.pass(at(4, many("r", 10, -2))), 0, "unchanged", None);
}

#[test]
fn rows_that_are_back_end_the_suspicion() {
    let sam = Sam::with(at(1, many("r", 60, -2)));
    ended(sam.pass(at(2, many("r", 9, -2))), 10, "partial", Some("mass_vanish"));
    ended(sam.pass(at(3, many("r", 60, -2))), 0, "unchanged", None);
    ended(sam.pass(at(4, many("r", 9, -2))), 10, "partial", Some("mass_vanish"));
    assert_eq!(live(&sam), 60);
}

#[test]
fn the_second_look_does_not_count_if_the_account_was_refreshed_meanwhile() {
    let sam = Sam::with(at(1, many("r", 60, -2)));
    ended(sam.pass(at(2, many("r", 9, -2))), 10, "partial", Some("mass_vanish"));
    sam.0.sandbox.on_page(SAM, 1, at(4, many("r", 9, -2)));
    ended(sam.pass(at(3, many("r", 9, -2))), 10, "partial", Some("mass_vanish"));
    assert_eq!(live(&sam), 60);
    assert_eq!(ended(sam.again(), 0, "synced", None).total("removed"), 51);
}

#[test]
fn an_empty_list_is_no_second_look() {
    let sam = Sam::with(at(1, many("r", 60, -2)));
    ended(sam.pass(at(2, many("r", 9, -2))), 10, "partial", Some("mass_vanish"));
    ended(sam.pass(at(3, [])), 10, "partial", Some("mass_vanish"));
    assert_eq!(live(&sam), 60);
}

#[test]
fn pendings_do_not_count_but_none_goes_while_the_rest_is_suspect() {
    let pendings = |count: u32| (0..count).map(|n| pending(&format!("p-{n}"), 1, "-100", "x"));
    let with =
        |rows: u32, count: u32| many("r", rows, -2).into_iter().chain(pendings(count)).collect::<Vec<_>>();
    let sam = Sam::with(at(1, with(1, 30)));
    assert_eq!(ended(sam.pass(at(2, with(1, 0))), 0, "synced", None).total("removed"), 30);
    let sam = Sam::with(at(1, with(60, 1)));
    ended(sam.pass(at(2, with(1, 0))), 10, "partial", Some("mass_vanish"));
    assert_eq!(sam.fate("p-0"), Fate::live());
}

#[test]
fn what_is_new_is_stored_although_the_rest_is_suspect() {
    let sam = Sam::with(at(1, many("r", 60, -2)));
    let ran = ended(sam.pass(at(2, many("new", 3, -1))), 10, "partial", Some("mass_vanish"));
    assert_eq!((ran.total("added"), ran.total("removed")), (3, 0));
    assert_eq!(live(&sam), 63);
}

#[test]
fn the_share_is_of_the_window_and_not_of_all_there_is() {
    // 300 rows are out of the window's reach; of the 60 inside, 21 are missing.
    let rows =
        |young: u32| many("old", 300, -200).into_iter().chain(many("r", young, -2)).collect::<Vec<_>>();
    let sam = Sam::with(at(1, rows(60)));
    ended(sam.pass(at(2, rows(39))), 10, "partial", Some("mass_vanish"));
    assert_eq!(live(&sam), 360);
}

//! When a missing row is removed, and everything that forbids it.

use serde_json::json;
use tink_sandbox::script::consent;
use tink_sandbox::{Action, Endpoint, Fault, Script, ScriptRow, Times};

use crate::scripted::{
    Fate, SAM, Sam, at, booked, consent_with, day, ended, many, millis, pending, still, undated,
};

/// A row that stays and one that goes.
fn before() -> [ScriptRow; 2] {
    [booked("stays", -1, "-100", "TRAM"), booked("goes", -2, "-200", "FEE")]
}

fn after(n: u32) -> Script {
    at(n, [booked("stays", -1, "-100", "TRAM")])
}

/// The same script, of an account that Tink says it refreshed in more than a year.
fn of_the_future(mut script: Script) -> Script {
    script.accounts[0]["dates"]["lastRefreshed"] = format!("{}T00:00:00Z", day(400)).into();
    script
}

#[test]
fn a_refresh_of_the_future_stops_neither_removals_nor_proofs() {
    let mut rows = many("r", 10, -2);
    let mut with_hold = rows.clone();
    with_hold.push(pending("hold", -1, "-999", "HOTEL"));
    let sam = Sam::with(at(1, with_hold.clone()));
    sam.pass(of_the_future(at(2, with_hold))).expect(0);
    ended(sam.pass(at(3, rows.clone())), 0, "synced", None);
    assert_eq!(sam.fate("hold"), Fate::vanished());
    let taken_back = rows.pop().unwrap().id;
    ended(sam.pass(at(4, rows.clone())), 0, "synced", None);
    assert_eq!(sam.fate(&taken_back), Fate::vanished());
    let proof = "SELECT state || ' ' || proven_refresh_at FROM balance_proofs_v1";
    assert!(sam.0.text(proof).unwrap().starts_with(&format!("proven {}", day(0))));
    // Also a suspicion that began then ends with the next refresh.
    let few = || Vec::from(&rows[..3]);
    ended(sam.pass(of_the_future(still(5, few()))), 10, "partial", Some("mass_vanish"));
    assert_eq!(sam.live().len(), 9);
    ended(sam.pass(still(6, few())), 0, "synced", None);
    assert_eq!(sam.live().len(), 3);
}

#[test]
fn a_booked_row_that_the_bank_took_back_vanishes() {
    let sam = Sam::with(at(1, before()));
    let seq = sam.seq("goes");
    let ran = ended(sam.pass(after(2)), 0, "synced", None);
    assert_eq!(ran.total("removed"), 1);
    assert_eq!(sam.fate("goes"), Fate::vanished());
    assert!(sam.seq("goes") > seq);
}

#[test]
fn nothing_goes_while_all_consents_hold_other_accounts() {
    let beside = |mut script: Script, named: &[&[&str]]| {
        script.consents = named.iter().zip(["cred-1", "cred-2"]).map(|(ids, id)| consent(id, ids)).collect();
        script
    };
    let sam = Sam::with(beside(at(1, before()), &[&["a1"], &["b1"]]));
    for n in 2..6 {
        sam.pass(beside(after(n), &[&["b1"]])).expect(0);
    }
    assert_eq!(sam.fate("goes"), Fate::live());
    // One that names none may hold it.
    ended(sam.pass(beside(after(6), &[&[], &["b1"]])), 0, "synced", None);
    assert_eq!(sam.fate("goes"), Fate::vanished());
}

#[test]
fn the_account_list_is_read_again_only_if_something_would_go() {
    let sam = Sam::with(at(1, before()));
    sam.pass(at(2, before())).expect(0);
    assert_eq!(sam.asked("/accounts?").len(), 1);
    // The fee is paid back: the balance agrees, so nothing else is a reason to look again.
    sam.pass(after(3)).expect(0);
    assert_eq!((sam.asked("/accounts?").len(), sam.asked("/transactions?").len()), (2, 2));
}

#[test]
fn nothing_is_removed_while_the_refresh_has_not_moved() {
    let sam = Sam::new().set("sync.rewalk", "\"0s\"");
    sam.pass(at(1, before())).expect(0);
    ended(sam.pass(after(1)), 0, "synced", None);
    assert_eq!(sam.asked("/transactions?").len(), 1);
    assert_eq!(sam.fate("goes"), Fate::live());
    sam.pass(after(2)).expect(0);
    assert_eq!(sam.fate("goes"), Fate::vanished());
}

#[test]
fn nothing_is_removed_if_the_refresh_went_back() {
    let sam = Sam::with(at(5, before()));
    sam.pass(after(4)).expect(0);
    assert_eq!(sam.fate("goes"), Fate::live());
}

#[test]
fn nothing_is_removed_if_the_account_says_no_refresh() {
    let bare = |mut script: Script| {
        script.accounts[0].as_object_mut().unwrap().remove("dates");
        script
    };
    let sam = Sam::with(bare(at(1, before())));
    sam.pass(bare(after(1))).expect(0);
    sam.pass(bare(after(1))).expect(0);
    assert_eq!(sam.fate("goes"), Fate::live());
}

#[test]
fn nothing_is_removed_if_the_account_was_refreshed_during_the_walk() {
    let sam = Sam::with(at(1, before()));
    sam.0.sandbox.on_page(SAM, 1, after(3));
    ended(sam.pass(after(2)), 0, "synced", None);
    assert_eq!(sam.fate("goes"), Fate::live());
    ended(sam.again(), 0, "synced", None);
    assert_eq!(sam.fate("goes"), Fate::vanished());
}

#[test]
fn a_refresh_date_that_differs_at_every_look_removes_nothing_and_is_told_after_days() {
    let told = |offset: i64, second: u32, hold: bool| {
        let mut rows = vec![booked("stays", -9, "-100", "TRAM"), pending("hold", -1, "-900", "HOTEL")];
        rows.truncate(if hold { 2 } else { 1 });
        let mut script = at(1, rows);
        let refreshed = format!("{}T00:00:{second:02}Z", day(offset));
        script.accounts[0]["dates"]["lastRefreshed"] = refreshed.into();
        script
    };
    let sam = Sam::with(told(-6, 0, true));
    // A pass with the seconds of what the second and the third account list say.
    let pass = |offset, seconds: [u32; 2]| {
        sam.0.sandbox.clear_faults();
        for (nth, second) in (2..).zip(seconds) {
            let list = json!({ "accounts": told(offset, second, false).accounts, "nextPageToken": "" });
            let answer = Action::Garbage(list.to_string().into_bytes());
            sam.0.sandbox.fault(Fault::new(answer).at(Endpoint::Accounts).nth(nth));
        }
        sam.pass(told(offset, 0, false))
    };
    ended(pass(-4, [1, 2]), 0, "unchanged", None);
    ended(pass(-3, [1, 2]), 10, "partial", Some("mass_vanish"));
    assert_eq!(sam.fate("hold"), Fate::live());
    // One refresh during the walk is usual, however long nothing could be judged.
    ended(pass(-2, [1, 1]), 0, "unchanged", None);
    assert_eq!(sam.fate("hold"), Fate::live());
    ended(pass(-1, [0, 0]), 0, "synced", None);
    assert_eq!(sam.fate("hold"), Fate::vanished());
}

#[test]
fn a_successor_proves_itself_though_the_account_was_refreshed_during_the_walk() {
    let sam = Sam::with(at(1, [pending("p", 1, "-250", "COFFEE")]));
    let booked = [booked("b", 0, "-250", "COFFEE")];
    sam.0.sandbox.on_page(SAM, 1, at(3, booked.clone()));
    sam.pass(at(2, booked)).expect(0);
    assert_eq!(sam.live(), ["b"]);
    assert_eq!(sam.fate("p"), Fate::replaced("b", "pending_booked:amount+date+same_text"));
}

#[test]
fn nothing_is_removed_if_the_account_cannot_be_looked_at_again() {
    let sam = Sam::with(at(1, before()));
    sam.0.sandbox.fault(Fault::new(Action::status(503)).at(Endpoint::Accounts).nth(2).times(Times::Forever));
    sam.pass(after(2)).expect(10);
    assert_eq!(sam.fate("goes"), Fate::live());
}

#[test]
fn invariant_02_nothing_is_removed_under_a_consent_that_is_not_updated() {
    for status in ["TEMPORARY_ERROR", "UPDATING", "AWAITING_SUPPLEMENTAL_INFORMATION", "SOMETHING_NEW"] {
        let sam = Sam::with(at(1, before()));
        let unwell = |n| consent_with(consent_with(after(n), "status", status), "statusUpdated", millis(0));
        sam.pass(unwell(2)).expect(0);
        sam.pass(unwell(3)).expect(0);
        assert_eq!(sam.fate("goes"), Fate::live(), "{status}");
        sam.pass(after(4)).expect(0);
        assert_eq!(sam.fate("goes"), Fate::vanished(), "{status}");
    }
}

#[test]
fn what_went_under_an_unwell_consent_is_judged_once_that_is_well_although_nothing_was_refreshed_since() {
    let sam = Sam::with(at(1, before()));
    let unwell = || consent_with(after(2), "status", "TEMPORARY_ERROR");
    sam.pass(unwell()).expect(0);
    // Nothing can be concluded before: it is not read again for that.
    sam.pass(unwell()).expect(0);
    assert_eq!(sam.asked("/transactions?").len(), 0);
    assert_eq!(sam.fate("goes"), Fate::live());
    sam.pass(after(2)).expect(0);
    assert_eq!(sam.fate("goes"), Fate::vanished());
    sam.again().expect(0);
    assert_eq!(sam.asked("/transactions?").len(), 0);
}

#[test]
fn nothing_is_removed_under_a_consent_that_is_past_its_date() {
    let sam = Sam::with(at(1, before()));
    let late = consent_with(after(2), "sessionExpiryDate", millis(-1));
    ended(sam.pass(late), 0, "synced", None);
    assert_eq!(sam.fate("goes"), Fate::live());
    sam.pass(consent_with(after(3), "sessionExpiryDate", millis(90))).expect(0);
    assert_eq!(sam.fate("goes"), Fate::vanished());
}

#[test]
fn an_account_is_as_well_as_its_best_consent() {
    let two = |mut script: Script, first: &str, second: &str| {
        script.consents.push(consent("second", &["a1"]));
        script.consents[0]["status"] = first.into();
        script.consents[1]["status"] = second.into();
        script
    };
    let sam = Sam::with(two(at(1, before()), "UPDATED", "UPDATED"));
    assert_eq!(sam.account("a1", "json_array_length(credentials_ids)").as_deref(), Some("2"));
    sam.pass(two(after(2), "TEMPORARY_ERROR", "TEMPORARY_ERROR")).expect(0);
    assert_eq!(sam.fate("goes"), Fate::live());
    for (n, unwell) in [(3, "SESSION_EXPIRED"), (4, "TEMPORARY_ERROR")] {
        let sam = Sam::with(two(at(1, before()), "UPDATED", "UPDATED"));
        sam.pass(two(after(n), unwell, "UPDATED")).expect(0);
        assert_eq!(sam.fate("goes"), Fate::vanished(), "{unwell}");
    }
}

#[test]
fn nothing_is_removed_while_no_consent_is_listed() {
    let sam = Sam::with(at(1, before()));
    sam.pass(Script { consents: Vec::new(), ..after(2) }).expect(0);
    sam.pass(Script { consents: Vec::new(), ..after(3) }).expect(0);
    assert_eq!(sam.fate("goes"), Fate::live());
}

#[test]
fn invariant_02_nothing_is_removed_when_transactions_are_refused_or_fail_midway() {
    let sam = Sam::with(at(1, many("r", 150, -2)));
    for code in [403, 404, 500] {
        sam.0
            .sandbox
            .fault(Fault::new(Action::status(code)).at(Endpoint::Transactions).nth(2).times(Times::Forever));
        let mut rows = many("r", 150, -2);
        rows.remove(0);
        sam.pass(at(code.into(), rows));
        sam.0.sandbox.clear_faults();
        assert_eq!(sam.fate("r-0"), Fate::live(), "{code}");
    }
}

#[test]
fn a_row_nearer_than_seven_days_to_the_lower_bound_stays() {
    let far = many("keep", 1, -1);
    let rows = |missing: bool| {
        let mut rows = far.clone();
        if !missing {
            rows.extend([booked("edge", -8, "-1", "x"), booked("inside", -7, "-2", "y")]);
        }
        rows
    };
    let sam = Sam::with(at(1, rows(false)));
    sam.pass(at(2, rows(true))).expect(0);
    assert_eq!(sam.window().0, Some(day(-14).to_string()));
    assert_eq!(sam.fate("edge"), Fate::live());
    assert_eq!(sam.fate("inside"), Fate::vanished());
}

#[test]
fn a_row_that_moved_to_a_date_outside_the_window_is_not_missing() {
    let sam = Sam::with(at(1, before()));
    // The filters still find it by its old date; what is served says another one.
    let moved = booked("goes", -2, "-200", "FEE").but(|e| e["dates"]["booked"] = day(-60).to_string().into());
    sam.pass(at(2, [booked("stays", -1, "-100", "TRAM"), moved])).expect(0);
    assert_eq!(sam.row("goes", "booked_date"), day(-60).to_string());
    assert_eq!(sam.fate("goes"), Fate::live());
}

#[test]
fn a_row_without_a_date_goes_after_two_complete_walks_with_newer_refreshes() {
    let sam = Sam::new().set("sync.rewalk", "\"0s\"");
    let stays = booked("stays", -1, "-100", "TRAM");
    sam.pass(at(1, [stays.clone(), undated("goes", "BOOKED", "-200", "FEE")])).expect(0);
    ended(sam.pass(after(2)), 0, "synced", None);
    assert_eq!(sam.fate("goes"), Fate::live());
    sam.pass(after(2)).expect(0);
    assert_eq!(sam.fate("goes"), Fate::live(), "the same refresh says nothing new");
    ended(sam.pass(after(3)), 0, "synced", None);
    assert_eq!(sam.fate("goes"), Fate::vanished());
}

#[test]
fn a_row_without_a_date_that_comes_back_in_between_starts_anew() {
    let stays = booked("stays", -1, "-100", "TRAM");
    let both = || [stays.clone(), undated("u", "BOOKED", "-200", "FEE")];
    let sam = Sam::with(at(1, both()));
    sam.pass(after(2)).expect(0);
    let seq = sam.seq("u");
    sam.pass(at(3, both())).expect(0);
    assert_eq!(sam.seq("u"), seq, "bookkeeping is no change");
    sam.pass(after(4)).expect(0);
    assert_eq!(sam.fate("u"), Fate::live());
    sam.pass(after(5)).expect(0);
    assert_eq!(sam.fate("u"), Fate::vanished());
}

#[test]
fn a_pending_without_a_date_still_names_its_successor() {
    let sam = Sam::with(at(1, [undated("p", "PENDING", "-250", "COFFEE")]));
    let booked = [booked("b", 0, "-250", "COFFEE")];
    sam.pass(at(2, booked.clone())).expect(0);
    sam.pass(at(3, booked)).expect(0);
    assert_eq!(sam.fate("p"), Fate::replaced("b", "pending_booked:amount+date+same_text"));
}

#[test]
fn a_successor_is_not_given_twice_over_several_passes() {
    // The row without a date keeps what arrived open for one more walk.
    let pendings = ["p1", "p2"].map(|id| pending(id, 1, "-250", "COFFEE"));
    let (u, b) = (undated("u", "BOOKED", "-200", "FEE"), booked("b", 0, "-250", "COFFEE"));
    let sam = Sam::with(at(1, [&pendings[..], &[u]].concat()));
    sam.pass(at(2, [pendings[1].clone(), b.clone()])).expect(0);
    assert_eq!(sam.fate("p1").by.as_deref(), Some("b"));
    sam.pass(at(3, [b])).expect(0);
    assert_eq!(sam.fate("p2"), Fate::vanished());
}

#[test]
fn an_empty_list_never_removes_anything() {
    let sam = Sam::with(still(1, before()));
    for n in 2..5 {
        ended(sam.pass(still(n, [])), 0, "unchanged", None);
    }
    assert_eq!(sam.live(), ["goes", "stays"]);
    assert_eq!(sam.account("a1", "complete_through"), Some(day(0).to_string()));
    sam.pass(after(5)).expect(0);
    assert_eq!(sam.fate("goes"), Fate::vanished());
}

#[test]
fn a_row_that_moved_to_another_date_is_no_missing_row() {
    // Tink's own filters do not find it by its old date any more.
    let stays = booked("stays", -1, "-100", "TRAM");
    let rows = |near: i64, far: i64| {
        [stays.clone(), booked("late", far, "-200", "RENT"), booked("back", near, "-300", "FEE")]
    };
    let sam = Sam::with(at(1, rows(-5, 40)));
    let seq = sam.seq("late");
    let ran = ended(sam.pass(at(2, rows(-60, 460))), 0, "synced", None);
    assert_eq!((ran.total("removed"), ran.total("updated")), (0, 2));
    assert_eq!(
        (sam.row("late", "booked_date"), sam.row("back", "booked_date")),
        (day(460).to_string(), day(-60).to_string())
    );
    assert!(sam.seq("late") > seq);
    assert_eq!(sam.live(), ["back", "late", "stays"]);
    let asked = sam.asked("/transactions?");
    assert_eq!(asked.len(), 2);
    assert!(!asked[1].contains("bookedDateGte"), "the second walk has no lower limit: {}", asked[1]);
    // Looking twice is for bookings that would go; an ordinary day costs no more than before.
    sam.pass(at(3, rows(-60, 460))).expect(0);
    assert_eq!(sam.asked("/transactions?").len(), 1);
}

#[test]
fn reservations_go_without_a_second_walk() {
    let sam = Sam::with(at(1, [booked("stays", -1, "-100", "TRAM"), pending("p", 1, "-250", "COFFEE")]));
    ended(sam.pass(after(2)), 0, "synced", None);
    assert_eq!((sam.fate("p"), sam.asked("/transactions?").len()), (Fate::vanished(), 1));
}

#[test]
fn a_second_walk_that_fails_removes_nothing_and_moves_nothing() {
    let sam = Sam::with(at(1, before()));
    sam.0
        .sandbox
        .fault(Fault::new(Action::status(500)).at(Endpoint::Transactions).nth(2).times(Times::Forever));
    sam.pass(after(2)).expect(10);
    assert_eq!(sam.fate("goes"), Fate::live());
    sam.0.sandbox.clear_faults();
    ended(sam.again(), 0, "synced", None);
    assert_eq!(sam.fate("goes"), Fate::vanished());
}

#[test]
fn pendings_pair_with_their_bookings_under_any_consent() {
    let unwell: [fn(Script) -> Script; 4] = [
        |script| consent_with(script, "status", "TEMPORARY_ERROR"),
        |script| consent_with(script, "sessionExpiryDate", millis(-1)),
        |script| Script { consents: Vec::new(), ..script },
        |mut script| {
            script.accounts[0].as_object_mut().unwrap().remove("dates");
            script
        },
    ];
    for (n, change) in unwell.into_iter().enumerate() {
        let stays = || booked("stays", -1, "-100", "TRAM");
        let sam = Sam::with(change(at(1, [stays(), pending("p", 1, "-250", "COFFEE")])));
        sam.pass(change(at(2, [stays(), booked("b", 0, "-250", "COFFEE")]))).expect(0);
        assert_eq!(sam.fate("p").by.as_deref(), Some("b"), "{n}");
        assert_eq!(sam.live(), ["b", "stays"], "{n}");
    }
}

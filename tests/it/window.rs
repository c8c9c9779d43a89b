//! Which dates are asked for, and how far the history is known to be complete.

use tink_sandbox::{Action, Endpoint, Fault, PageShape, Script, ScriptRow};

use crate::scripted::{A1, SAM, Sam, at, booked, consent_with, day, ended, many, millis, pending};

/// Sam's account as refreshed on a day told from today.
fn refreshed(offset: i64, rows: Vec<ScriptRow>) -> Script {
    Script::simple(A1, &format!("{}T06:00:00.123456Z", day(offset)), rows)
}

fn watermark(sam: &Sam) -> Option<String> {
    sam.account(A1, "complete_through")
}

#[expect(clippy::unnecessary_wraps, reason = "what it is compared with may be missing")]
fn on(offset: i64) -> Option<String> {
    Some(day(offset).to_string())
}

#[test]
fn a_first_walk_reads_everything_up_to_the_lookahead() {
    let sam =
        Sam::with(refreshed(-1, vec![booked("ancient", -3000, "-1", "x"), pending("soon", 45, "-2", "y")]));
    assert_eq!(sam.window(), (None, on(400)));
    assert_eq!(sam.live(), ["ancient", "soon"]);
}

#[test]
fn a_first_walk_with_a_history_begins_there() {
    let sam = Sam::new().set("sync.history", "\"30d\"");
    let rows = || vec![booked("young", -30, "-1", "x"), booked("old", -31, "-2", "y")];
    sam.pass(refreshed(-1, rows())).expect(0);
    assert_eq!(sam.window(), (on(-30), on(400)));
    assert_eq!(sam.live(), ["young"]);
    sam.pass(refreshed(0, rows())).expect(0);
    assert_eq!((sam.window().0, sam.live()), (on(-15), vec!["young".to_owned()]));
}

#[test]
fn later_walks_read_the_overlap_below_the_watermark() {
    let sam = Sam::new().set("sync.overlap", "\"20d\"").set("sync.lookahead", "\"3d\"");
    sam.pass(refreshed(-1, vec![])).expect(0);
    sam.pass(refreshed(0, vec![])).expect(0);
    assert_eq!(sam.window(), (on(-21), on(3)));
}

#[test]
fn every_page_of_a_walk_is_asked_for_with_the_same_dates() {
    let sam = Sam::with(refreshed(-1, many("r", 250, -2)));
    sam.pass(refreshed(0, many("r", 250, -2))).expect(0);
    let pages = sam.asked("/transactions?");
    assert_eq!(pages.len(), 3);
    for page in pages {
        assert!(page.contains(&format!("bookedDateGte={}", day(-15))), "{page}");
        assert!(page.contains(&format!("bookedDateLte={}", day(400))), "{page}");
    }
}

#[test]
fn the_oldest_pending_of_ninety_days_holds_the_window_open() {
    let rows = || {
        vec![pending("held", -40, "-1", "x"), pending("stale", -95, "-2", "y"), pending("next", 5, "-3", "z")]
    };
    let sam = Sam::with(refreshed(-2, rows()));
    sam.pass(refreshed(-1, rows())).expect(0);
    assert_eq!(sam.window().0, on(-54));
    // It is gone: the next window is the plain one.
    sam.pass(at(1, [pending("next", 5, "-3", "z")])).expect(0);
    sam.pass(at(2, [pending("next", 5, "-3", "z")])).expect(0);
    assert_eq!(sam.window().0, on(-14));
}

#[test]
fn the_watermark_is_the_day_of_the_refresh_and_at_most_today() {
    for (offset, expected) in [(-3, on(-3)), (0, on(0)), (2, on(0))] {
        assert_eq!(watermark(&Sam::with(refreshed(offset, vec![]))), expected);
    }
}

#[test]
fn the_watermark_never_moves_back() {
    let sam = Sam::with(refreshed(-1, vec![]));
    sam.pass(refreshed(-9, vec![])).expect(0);
    assert_eq!((sam.asked("/transactions?").len(), watermark(&sam)), (1, on(-1)));
    sam.pass(refreshed(0, vec![])).expect(0);
    assert_eq!(watermark(&sam), on(0));
}

#[test]
fn the_watermark_stays_without_a_complete_walk() {
    let sam = Sam::with(refreshed(-9, many("r", 150, -10)));
    let more = || [many("r", 150, -10), many("new", 20, -3)].concat();
    // A page that fails, a list that never ends.
    sam.0.sandbox.fault(Fault::new(Action::status(404)).at(Endpoint::Transactions).nth(2));
    sam.pass(refreshed(-8, more())).expect(10);
    assert_eq!(watermark(&sam), on(-9));
    sam.0.sandbox.plan(SAM, |plan| plan.shape = PageShape { page_loop: true, ..PageShape::default() });
    ended(sam.pass(refreshed(-7, more())), 10, "partial", Some("page_loop"));
    assert_eq!(watermark(&sam), on(-9));
    sam.0.sandbox.plan(SAM, |plan| plan.shape = PageShape::default());
    // What was read to its end under an unwell consent was read; only removals wait.
    sam.pass(consent_with(refreshed(-6, more()), "status", "TEMPORARY_ERROR")).expect(0);
    assert_eq!(watermark(&sam), on(-6));
    sam.pass(consent_with(refreshed(-5, more()), "sessionExpiryDate", millis(-1))).expect(0);
    assert_eq!(watermark(&sam), on(-5));
    sam.pass(refreshed(-4, more())).expect(0);
    assert_eq!(watermark(&sam), on(-4));
    sam.0.assert_exact(0);
}

#[test]
fn a_refresh_that_ends_during_the_walk_does_not_count_for_the_watermark() {
    let sam = Sam::with(refreshed(-9, vec![]));
    sam.0.sandbox.on_page(SAM, 1, refreshed(0, vec![booked("late", -2, "-1", "x")]));
    sam.pass(refreshed(-5, vec![])).expect(0);
    assert_eq!(watermark(&sam), on(-5));
    sam.again().expect(0);
    assert_eq!((watermark(&sam), sam.live()), (on(0), vec!["late".to_owned()]));
}

#[test]
fn a_user_who_lost_the_entitlement_gets_the_gap_after_regaining_it() {
    let old = booked("old", -61, "-100", "TRAM");
    let sam = Sam::with(refreshed(-60, vec![old.clone()]));
    sam.0.app("UPDATE app_connections SET entitled = 0");
    let gap = booked("gap", -50, "-200", "LUNCH");
    let ran = sam.pass(refreshed(0, vec![old.clone(), gap.clone()])).expect(0);
    assert_eq!((ran.skipped("not_entitled"), ran.total("requests")), (1, 0));
    assert_eq!(watermark(&sam), on(-60));
    assert_eq!(sam.0.text("SELECT state FROM connections_v1").as_deref(), Some("paused_not_entitled"));
    sam.0.app("UPDATE app_connections SET entitled = 1");
    ended(sam.again(), 0, "synced", None);
    assert_eq!((sam.window().0, watermark(&sam)), (on(-74), on(0)));
    assert_eq!(sam.live(), ["gap", "old"]);
}

#[test]
fn an_account_that_has_not_moved_is_not_walked_again_before_its_time() {
    let sam = Sam::with(at(1, [booked("t", -1, "-100", "TRAM")]));
    ended(sam.again(), 0, "unchanged", None);
    assert_eq!(sam.asked("/transactions?").len(), 0);
    let sam = sam.set("sync.rewalk", "\"0s\"");
    sam.again().expect(0);
    assert_eq!(sam.window().0, on(-14));
    let sam = sam.set("sync.deep_rewalk", "\"0s\"");
    sam.again().expect(0);
    assert_eq!(sam.window().0, on(-90));
}

#[test]
fn a_deep_walk_is_due_in_its_own_time() {
    let sam = Sam::with(at(1, [booked("t", -1, "-100", "TRAM")])).set("sync.rewalk", "\"30d\"");
    sam.again().expect(0);
    assert_eq!(sam.asked("/transactions?").len(), 0);
    let sam = sam.set("sync.deep_rewalk", "\"0s\"");
    sam.again().expect(0);
    assert_eq!(sam.window().0, on(-90));
}

#[test]
fn an_account_whose_currency_changed_is_read_in_full_although_it_was_not_refreshed() {
    let rows = || [booked("t", -1, "-100", "TRAM"), booked("old", -300, "-200", "RENT")];
    let sam = Sam::with(at(1, rows()));
    let mut script = at(1, rows());
    let balance = script.accounts[0].pointer_mut("/balances/booked/amount/currencyCode");
    *balance.unwrap() = "SEK".into();
    sam.pass(script).expect(0);
    assert_eq!(sam.window().0, None);
}

#[test]
fn pages_of_any_shape_show_every_row() {
    for shape in [
        PageShape { short: true, ..PageShape::default() },
        PageShape { empty_page: Some(1), ..PageShape::default() },
        PageShape { trailing_empty: true, ..PageShape::default() },
    ] {
        let sam = Sam::new();
        sam.0.sandbox.script(SAM, at(1, many("r", 300, -2)));
        sam.0.sandbox.plan(SAM, |plan| plan.shape = shape.clone());
        ended(sam.again(), 0, "synced", None);
        sam.0.assert_exact(0);
        ended(sam.pass(at(2, many("r", 299, -2))), 0, "synced", None);
        assert_eq!(sam.live().len(), 299, "{shape:?}");
    }
}

#[test]
fn a_page_token_refused_midway_starts_the_walk_again_once() {
    let sam = Sam::with(at(1, []));
    sam.0.sandbox.plan(SAM, |plan| plan.refuse_token_once = true);
    let ran = ended(sam.pass(at(2, many("r", 250, -2))), 0, "synced", None);
    assert_eq!((ran.total("fetched"), ran.total("added")), (250, 250));
    assert_eq!(sam.asked("/transactions?").len(), 5);
    sam.0.assert_exact(0);
}

//! Months without a pass or without a healthy consent: what changed meanwhile is found, and what goes on costs no
//! more with every day.

use tink_sandbox::{Endpoint, Script, ScriptRow};
use tink_sync::domain::outcome::{Outcome, Reason};

use crate::lab::Lab;
use crate::scripted::{consent_with, moving};

const SAM: &str = "sam";

/// What the bank has after the first of this many days: a cancelled reservation, an amended row, one taken back.
fn rows(changed: bool, today: i64) -> Vec<ScriptRow> {
    let mut rows: Vec<ScriptRow> =
        (-40..0).map(|n| Lab::booked(&format!("old-{n}"), n, -1000 + n, "GROCERY")).collect();
    rows.extend((1..=today).map(|n| Lab::booked(&format!("new-{n}"), n, -2000 - n, "LUNCH")));
    rows.push(Lab::booked("amended", -1, if changed { -777 } else { -700 }, "FUEL"));
    if !changed {
        rows.push(Lab::pending("cancelled", 1, -4500, "GRAND HOTEL"));
        rows.push(Lab::booked("back", -2, -3300, "FEE"));
    }
    rows
}

fn assert_right(lab: &Lab, away: i64) {
    let live = lab.live(SAM);
    assert_eq!(live.len(), 41 + usize::try_from(away).unwrap(), "after {away} days");
    assert!(
        !live.contains(&"cancelled".to_owned()) && !live.contains(&"back".to_owned()),
        "after {away} days"
    );
    assert_eq!(lab.row("amended", "amount"), "-7.77", "after {away} days");
    assert_eq!(lab.row("back", "removed_reason"), "vanished");
}

#[test]
fn what_changed_while_a_user_did_not_pay_is_found() {
    for away in [30, 60, 80, 120, 200] {
        let mut lab = Lab::of(&[SAM]);
        lab.script(SAM, moving(lab.refreshed(rows(false, 0))));
        lab.pass();
        lab.entitle(SAM, false);
        lab.wait(24);
        lab.pass();
        lab.wait(24 * (away - 1));
        lab.entitle(SAM, true);
        lab.script(SAM, moving(lab.refreshed(rows(true, away))));
        assert_eq!(lab.pass().ended(SAM), (Outcome::Synced, None));
        assert_right(&lab, away);
    }
}

#[test]
fn what_changed_while_a_bank_was_away_is_found() {
    for away in [30, 80, 120, 200] {
        let lab = Lab::of(&[SAM]);
        lab.script(SAM, moving(lab.refreshed(rows(false, 0))));
        let stale = moving(lab.refreshed(rows(false, 0)));
        lab.pass();
        // The data stand still and the consent says why.
        for _ in 0..away {
            lab.wait(24);
            lab.script(SAM, consent_with(stale.clone(), "status", "TEMPORARY_ERROR"));
            assert_eq!(lab.pass().ended(SAM).1, Some(Reason::BankUnavailable));
        }
        lab.wait(6);
        lab.script(SAM, moving(lab.refreshed(rows(true, away))));
        assert_eq!(lab.pass().ended(SAM), (Outcome::Synced, None));
        assert_right(&lab, away);
    }
}

#[test]
fn a_reservation_that_was_listed_for_months_and_then_booked_under_a_new_id_goes_on() {
    let lab = Lab::of(&[SAM]);
    for today in 0..103 {
        let mut rows: Vec<ScriptRow> =
            (0..=today).map(|n| Lab::booked(&format!("new-{n}"), n, -2000 - n, "LUNCH")).collect();
        // 95 days after its date it is booked, or cancelled.
        rows.push(Lab::booked("tram", 0, -100, "TRAM"));
        if today < 95 {
            rows.push(Lab::pending("hotel", 0, -45_000, "GRAND HOTEL"));
            rows.push(Lab::pending("car", 0, -30_000, "CAR RENTAL"));
        } else {
            rows.push(Lab::booked("stay", 3, -45_000, "GRAND HOTEL"));
        }
        lab.script(SAM, moving(lab.refreshed(rows)));
        lab.pass();
        lab.wait(24);
    }
    let live = lab.live(SAM);
    assert!(live.contains(&"stay".to_owned()) && !live.contains(&"hotel".to_owned()), "{live:?}");
    assert_eq!(lab.row("hotel", "removed_reason, replaced_by"), "replaced|stay");
    assert_eq!(lab.row("car", "removed_reason"), "vanished");
}

/// Sixty days of daily refreshes under a consent that was made so; requests and rows of each pass.
fn sixty_days(spoil: impl Fn(Script) -> Script) -> Vec<(u64, u64)> {
    let lab = Lab::of(&[SAM]);
    let mut costs = Vec::new();
    for today in 0..60 {
        // New rows in the first month, then only refreshes.
        let rows = (-30..=today.min(30)).map(|n| Lab::booked(&format!("r{n}"), n, -1000 - n, "GROCERY"));
        let script = moving(lab.refreshed(rows.collect()));
        lab.script(SAM, if today > 0 { spoil(script) } else { script });
        let told = lab.pass();
        assert!(matches!(told.ended(SAM).0, Outcome::Synced | Outcome::Unchanged), "day {today}");
        let counts = told.counts(SAM);
        costs.push((counts.requests, counts.fetched));
        let through = format!("SELECT complete_through = '{}' FROM accounts_v1", Lab::date(today));
        assert_eq!(lab.number(&through), 1, "day {today}");
        // A second pass of the same day rests.
        lab.wait(6);
        lab.sandbox.reset_counters();
        lab.pass();
        assert_eq!(lab.sandbox.requests_to(Endpoint::Transactions), 0, "day {today}");
        lab.wait(18);
    }
    let proven = "SELECT count(*) FROM balance_proofs_v1 WHERE state = 'proven'
                    AND judged_refresh_at = (SELECT last_refreshed_at FROM accounts_v1)";
    assert_eq!(lab.number(proven), 1);
    costs
}

#[test]
fn a_consent_that_is_unwell_for_months_costs_no_more_every_day() {
    type Change = fn(Script) -> Script;
    let ways: [(&str, Change); 2] = [
        ("past its date", |script| consent_with(script, "sessionExpiryDate", 1_700_000_000_000_i64)),
        ("TEMPORARY_ERROR", |script| consent_with(script, "status", "TEMPORARY_ERROR")),
    ];
    for (name, way) in ways {
        for (day, (requests, fetched)) in sixty_days(way).into_iter().enumerate().skip(1) {
            // Once a week 90 days are read.
            let most = if day % 7 == 0 { 90 } else { 16 };
            assert!(
                requests <= 6 && fetched <= most,
                "{name}, day {day}: {requests} requests, {fetched} rows"
            );
        }
    }
}

#[test]
fn an_account_without_a_refresh_is_not_read_in_full_at_every_pass() {
    let lab = Lab::of(&[SAM]);
    for today in 0..10 {
        let rows = (-60..=today).map(|n| Lab::booked(&format!("r{n}"), n, -1000 - n, "GROCERY"));
        let mut script = lab.refreshed(rows.collect());
        script.accounts[0].as_object_mut().unwrap().remove("dates");
        lab.script(SAM, script);
        let fetched = lab.pass().counts(SAM).fetched;
        let most = if today % 7 == 0 { 100 } else { 16 };
        assert!(fetched <= most, "day {today}: {fetched} rows");
        assert_eq!(lab.live(SAM).len(), 61 + usize::try_from(today).unwrap());
        lab.wait(24);
    }
}

#[test]
fn old_rows_that_two_lists_lacked_are_back_with_the_next_one_that_shows_them() {
    let lab = Lab::of(&[SAM]);
    let old = |count: i64| (0..count).map(|n| Lab::booked(&format!("old-{n}"), -60, -1000 - n, "RENT"));
    let list = |count: i64| {
        lab.script(SAM, lab.refreshed(old(count).chain([Lab::booked("new", -1, -500, "TRAM")]).collect()));
        lab.pass().ended(SAM).1
    };
    list(40);
    // A deep walk, then one that has to look as deep again.
    lab.wait(24 * 7);
    assert_eq!(list(20), Some(Reason::MassVanish));
    assert_eq!(lab.live(SAM).len(), 41);
    lab.wait(24);
    assert_eq!(list(20), None);
    assert_eq!(lab.live(SAM).len(), 21);
    lab.wait(24);
    assert_eq!(list(40), None);
    assert_eq!(lab.live(SAM).len(), 41);
}

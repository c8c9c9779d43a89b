//! Day after day: rows that a bank took back long after, and ids that it gives anew in place.

use tink_sandbox::ScriptRow;
use tink_sync::domain::outcome::{Outcome, Reason};

use crate::lab::Lab;
use crate::scripted::moving;

const SAM: &str = "sam";

/// How passes ended.
type Ends = Vec<(Outcome, Option<Reason>)>;

/// On which day the thirty rows went that the bank took back on day 3, and how each pass ended.
fn taken_back(moves: bool) -> (Vec<(i64, u64)>, Ends) {
    let lab = Lab::of(&[SAM]);
    let (mut went, mut ended) = (Vec::new(), Vec::new());
    for today in 0..30 {
        let mut rows: Vec<ScriptRow> = (0..=today)
            .flat_map(|n| (0..2).map(move |m| (n, m)))
            .map(|(n, m)| Lab::booked(&format!("day-{n}-{m}"), n, -100 - n, "GROCERY"))
            .collect();
        if today < 3 {
            // 31 to 60 days back on day 3.
            rows.extend((0..30).map(|n| Lab::booked(&format!("back-{n}"), -28 - n, -1000 - n, "FEE")));
        }
        let script = lab.refreshed(rows);
        lab.script(SAM, if moves { moving(script) } else { script });
        let told = lab.pass();
        let removed = told.counts(SAM).removed;
        if removed > 0 {
            went.push((today, removed));
        }
        ended.push(told.ended(SAM));
        lab.wait(24);
    }
    assert_eq!(lab.live(SAM).len(), 60, "no phantom is left");
    assert_eq!(lab.number("SELECT count(*) FROM transactions_v1 WHERE removed_reason = 'vanished'"), 30);
    (went, ended)
}

#[test]
fn a_suspicion_lasts_until_a_walk_has_judged_the_days_it_is_about() {
    // GIVEN a balance that says nothing; the first deep walk after day 3 is that of day 7
    let (went, ended) = taken_back(false);
    assert_eq!(went, [(8, 30)], "looked at twice, a day apart");
    for (day, (outcome, reason)) in ended.into_iter().enumerate() {
        let suspects = day == 7;
        let expected =
            if suspects { (Outcome::Partial, Some(Reason::MassVanish)) } else { (Outcome::Synced, None) };
        assert_eq!((outcome, reason), expected, "day {day}");
    }
}

#[test]
fn a_balance_that_moved_by_just_their_sum_proves_it_days_later_too() {
    let (went, ended) = taken_back(true);
    assert_eq!(went, [(7, 30)]);
    assert!(ended.iter().all(|end| *end == (Outcome::Synced, None)), "{ended:?}");
}

/// A bank whose rows carry the number of their issue; `issue` tells it for each day.
fn reissued(issue: impl Fn(i64) -> i64, taken_back: Option<i64>) -> Ends {
    let lab = Lab::of(&[SAM]);
    let mut ended = Vec::new();
    for today in 0..8 {
        let is_there = |n: &i64| taken_back.is_none_or(|day| *n != -1 || today < day);
        // Two months of rows, honest twins among them, one of long ago, one new each day.
        let ordinary = (-60..=today).step_by(2).chain([-300, -1]).map(|n| (n, "a"));
        let twins = (0..=today).map(|n| (n, "b"));
        let rows: Vec<ScriptRow> = ordinary
            .chain(twins)
            .filter(|(n, _)| is_there(n))
            .map(|(n, twin)| {
                let id = format!("{n}{twin}-{}", issue(today));
                Lab::booked(&id, n, -250 - n.rem_euclid(3), ["COFFEE", "TRAM"][usize::from(n % 2 != 0)])
            })
            .collect();
        let count = rows.len();
        lab.script(SAM, moving(lab.refreshed(rows)));
        let told = lab.pass();
        assert_eq!(lab.live(SAM).len(), count, "doubled or lost on day {today}");
        ended.push(told.ended(SAM));
        lab.wait(24);
    }
    let sql = "SELECT count(*) FROM transactions_v1
               WHERE removed_at IS NOT NULL AND (removed_reason, match_rule) IS NOT ('replaced', 'reissued')";
    assert_eq!(lab.number(sql), i64::from(taken_back.is_some()), "a row that goes on has not vanished");
    assert!(lab.number("SELECT count(*) FROM transactions_v1 WHERE match_rule = 'reissued'") > 5);
    assert!(ended.iter().all(|(outcome, _)| *outcome == Outcome::Synced), "{ended:?}");
    ended
}

fn times_told(ended: &[(Outcome, Option<Reason>)]) -> usize {
    ended.iter().filter(|(_, reason)| *reason == Some(Reason::IdsReissued)).count()
}

#[test]
fn ids_that_are_given_anew_once_double_nothing() {
    let ended = reissued(|today| i64::from(today >= 1), None);
    assert_eq!(ended[1].1, Some(Reason::IdsReissued));
    // The older rows are met by the deep walk, and it is the same event to nobody but us.
    assert!(times_told(&ended) <= 2, "{ended:?}");
}

#[test]
fn ids_that_are_given_anew_at_every_refresh_double_nothing_and_are_told_once() {
    let ended = reissued(|today| today, None);
    assert_eq!((ended[1].1, times_told(&ended)), (Some(Reason::IdsReissued), 1), "{ended:?}");
}

#[test]
fn a_row_that_is_taken_back_among_new_ids_doubles_nothing() {
    reissued(|today| i64::from(today >= 2), Some(2));
    reissued(|today| today, Some(3));
}

#[test]
fn one_new_id_among_many_is_no_reissue() {
    let lab = Lab::of(&[SAM]);
    for issue in 0..2 {
        let mut rows: Vec<ScriptRow> =
            (0..9).map(|n| Lab::booked(&format!("stays-{n}"), -n, -100 - n, "GROCERY")).collect();
        rows.push(Lab::booked(&format!("new-{issue}"), -3, -777, "RENT"));
        lab.script(SAM, moving(lab.refreshed(rows)));
        let told = lab.pass();
        assert_eq!(told.ended(SAM), (Outcome::Synced, None));
        assert_eq!(lab.live(SAM).len(), 10);
        lab.wait(24);
    }
    assert_eq!(lab.row("new-0", "match_rule"), "reissued");
}

//! The report about connections in a real store, and its verdict compared with the plan's.

use super::*;
use crate::cli::fixture::{self, Fixture};
use crate::domain::outcome::Outcome;

fn human(fixture: &Fixture, id: &str) -> String {
    human::text(&WhyReport::read(&fixture.env(), id, None).unwrap())
}

/// Every connection's verdict must be the plan's.
fn compare(fixture: &Fixture, ids: &[&str]) {
    let ours = ids
        .iter()
        .filter_map(|id| Some((*id, WhyReport::read(&fixture.env(), id, None).unwrap().why_not()?)));
    let mut ours: Vec<_> = ours.map(|(id, reason)| (id.to_owned(), reason)).collect();
    ours.sort();
    let plan = fixture.skipped().into_iter().map(|s| (s.connection_id.as_str().to_owned(), s.reason));
    assert_eq!(ours, plan.collect::<Vec<_>>());
}

#[test]
fn the_verdict_is_that_of_the_plan() {
    let ids = ["dead", "fresh", "new", "off", "poor", "user"];
    let fixture = Fixture::with("[quota]\nsyncs_per_day = 3\nreserved_for_manual = 1\n");
    fixture.add(&ids);
    let mut tables = fixture.tables();
    tables.set_enabled("off", false, &fixture::act()).unwrap();
    tables.set_user("u-poor", true, Some("2026-06-01T12:30:00Z"), &fixture::act()).unwrap();
    compare(&fixture, &ids);
    let ends = [
        ("dead", Outcome::Failed, Some(Reason::Network)),
        ("fresh", Outcome::Synced, None),
        ("user", Outcome::NeedsUser, Some(Reason::LoginRequired)),
    ];
    for _ in 0..5 {
        fixture.pass(&ends, 10);
        fixture.later(1);
        compare(&fixture, &ids);
    }
    for _ in 0..10 {
        fixture.later(4);
        compare(&fixture, &ids);
    }
}

#[test]
fn the_answer_names_the_remedy() {
    let fixture = Fixture::new();
    fixture.add(&["c", "p"]);
    assert!(
        human(&fixture, "c").contains("Next run: syncs it for the first time."),
        "{}",
        human(&fixture, "c")
    );
    assert!(human(&fixture, "c").contains("no run has seen it yet"));
    fixture.tables().set_enabled("c", false, &fixture::act()).unwrap();
    fixture.tables().set_user("u-p", false, None, &fixture::act()).unwrap();
    assert!(human(&fixture, "c").contains("tink-sync connections enable c"));
    assert!(human(&fixture, "p").contains("tink-sync users set u-p --entitled yes"));
}

#[test]
fn the_report_tells_quota_backoff_and_attempts() {
    let fixture = Fixture::new();
    fixture.add(&["c"]);
    fixture.pass(&[("c", Outcome::Failed, Some(Reason::Http5xx))], 10);
    // The pass has ended by then.
    fixture.later(1);
    let text = human(&fixture, "c");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for words in [
        "State: failing (http_5xx); it never succeeded;",
        "skips it before 2026-06-01 14:00 UTC (in 1h) (not_before)",
        "Quota: 1 of 100 syncs used",
        "left: 79 for automatic runs, 99",
        "Back-off: not before",
        "Consents: none yet.",
        "2026-06-01 12:00 (1h ago) timer: failed, http_5xx: the words for http_5xx",
    ] {
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{words}\n{text}");
    }
    let report = WhyReport::read(&fixture.env(), "c", None).unwrap();
    let json = table::json(&json::WhyJson::of(&report));
    assert_eq!(
        (&json["next_run"]["reason"], &json["next_run"]["due"]),
        (&"not_before".into(), &false.into())
    );
    assert_eq!(
        (&json["quota"]["left_for_automatic"], &json["attempts"][0]["outcome"]),
        (&79.into(), &"failed".into())
    );
}

#[test]
fn whatever_needs_its_user_names_the_command_for_it() {
    let fixture = Fixture::new();
    fixture.add(&["c"]);
    fixture.pass(&[("c", Outcome::NeedsUser, Some(Reason::LoginRequired))], 11);
    let text = human(&fixture, "c");
    assert!(
        text.contains("What to do: let its user log in to the bank again: tink-sync renew c.\n"),
        "{text}"
    );
    let report = WhyReport::read(&fixture.env(), "c", None).unwrap();
    let json = table::json(&json::WhyJson::of(&report));
    assert!(json["connection"]["remedy"].as_str().unwrap().ends_with("tink-sync renew c"), "{json}");
}

#[test]
fn an_unknown_connection_is_wrong_usage() {
    let fixture = Fixture::new();
    fixture.add(&["c"]);
    assert!(
        matches!(WhyReport::read(&fixture.env(), "nope", None), Err(Failure::Usage(text)) if text.contains("nope"))
    );
}

#[test]
fn a_view_that_cannot_be_read_is_told_beside_the_rest() {
    let fixture = Fixture::new();
    fixture.add(&["c"]);
    fixture.pass(&[("c", Outcome::Synced, None)], 0);
    let mut env = fixture.env();
    env.settings.source.view = Some("gone_view".to_owned());
    let text = human::text(&WhyReport::read(&env, "c", None).unwrap());
    assert!(text.contains("gone_view") && text.contains("as of the last run"), "{text}");
}

#[test]
fn a_story_can_be_told_at_any_time() {
    for time in ["0002-01-01T00:00:00Z", "9997-12-31T00:00:00Z"] {
        let fixture = Fixture::new();
        fixture.add(&["c"]);
        fixture.clock.set(time.parse().unwrap());
        fixture.pass(&[("c", Outcome::Failed, Some(Reason::Network))], 10);
        fixture.later(1);
        assert!(human(&fixture, "c").contains("failing"), "{time}");
        compare(&fixture, &["c"]);
    }
}

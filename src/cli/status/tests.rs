//! The status of a real store after real passes.

use super::*;
use crate::cli::fixture::{self, Fixture};
use crate::domain::outcome::{Outcome, Reason};
use jiff::SignedDuration;

const ENDS: [(&str, Outcome, Option<Reason>); 5] = [
    ("well", Outcome::Synced, None),
    ("part", Outcome::Partial, Some(Reason::BankUnavailable)),
    ("slow", Outcome::RateLimited, Some(Reason::RateLimited)),
    ("dead", Outcome::Failed, Some(Reason::Http5xx)),
    ("user", Outcome::NeedsUser, Some(Reason::ConsentExpired)),
];

fn read(env: &Environment) -> Report {
    Report::read(env, &env.reader().unwrap(), &args(), None).unwrap()
}

fn args() -> Args {
    Args {
        max_age: None,
        max_data_age: None,
        connection: Vec::new(),
        all: false,
        format: StatusFormat::Human,
    }
}

fn mixed() -> Fixture {
    let fixture = Fixture::new();
    fixture.add(&["well", "part", "slow", "dead", "user", "off"]);
    fixture.tables().set_enabled("off", false, &fixture::act()).unwrap();
    fixture.pass(&ENDS, 10);
    fixture.add(&["young"]);
    fixture.later(1);
    fixture
}

fn ids_of(report: &Report) -> Vec<&str> {
    report.connections.iter().map(|c| c.connection_id.as_str()).collect()
}

/// The report as JSON; it has all its connections, so that nothing is read for it.
fn json_of(report: &Report) -> serde_json::Value {
    let fixture = Fixture::new();
    fixture.add(&[]);
    fixture.pass(&[], 0);
    json::value(report, &fixture.env().reader().unwrap())
}

#[test]
fn connections_that_are_read_again_are_the_same_in_the_same_order() {
    let fixture = mixed();
    let mut env = fixture.env();
    env.settings.source.view = Some("v".to_owned());
    let reader = env.reader().unwrap();
    let with = Args { max_age: Some(Duration::from_hours(1)), all: true, ..args() };
    let of = |args: &Args| Report::read(&env, &reader, args, None).unwrap();
    let kept = of(&Args { format: StatusFormat::Human, ..with.clone() });
    let brief = of(&Args { format: StatusFormat::Json, ..with });
    assert!(kept.connections.len() > 5 && brief.connections.is_empty());
    let json = |report: &Report| json::value(report, &reader).to_string();
    assert_eq!(json(&brief), json(&kept));
    assert_eq!(brief.late_sentences(), kept.late_sentences());
}

#[test]
fn what_needs_attention_comes_first() {
    let report = read(&mixed().env());
    assert_eq!(ids_of(&report), ["user", "dead", "slow", "part", "young", "well", "off"]);
}

#[test]
fn the_text_fits_80_columns_and_explains_problems() {
    let report = read(&mixed().env());
    let text = human::text(&report, false, false);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(
        text.contains(
            "dead        failing       never  -     -        1h\n  http_5xx: the words for http_5xx\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("7 connections: 1 new, 1 ok, 2 failing, 1 rate_limited, 1 needs_user, 1 disabled\n"),
        "{text}"
    );
    assert!(text.contains("2026-06-01 12:00  timer    1m    10    5    5   3"), "{text}");
}

#[test]
fn why_a_user_is_needed_is_not_mixed_with_a_later_trouble() {
    let fixture = mixed();
    fixture.pass(&[("user", Outcome::Failed, Some(Reason::Network))], 10);
    let report = read(&fixture.env());
    let text = human::text(&report, false, false);
    assert!(text.contains("consent_expired; since then network: the words for network"), "{text}");
}

#[test]
fn only_connections_that_should_be_fresh_can_be_too_old() {
    let fixture = mixed();
    fixture.later(30);
    let with = Args { max_age: Some(Duration::from_hours(26)), ..args() };
    let late = |args: &Args| {
        let report = Report::read(&fixture.env(), &fixture.env().reader().unwrap(), args, None).unwrap();
        let mut late: Vec<_> = report.late[0].ids.iter().cloned().collect();
        late.sort_unstable();
        (late, report)
    };
    let (ids, report) = late(&with);
    assert_eq!(ids, ["dead", "part", "slow", "well", "young"]);
    let sentence = report.late_sentences().remove(0);
    assert!(sentence.starts_with("5 connections without success in the last 26h: "), "{sentence}");
    assert!(sentence.ends_with(", well (31h)"), "{sentence}");
    assert_eq!(json_of(&report)["overdue"].as_array().unwrap().len(), 5);
    // Connections that wait for their user count only with --all.
    let (ids, _) = late(&Args { all: true, ..with.clone() });
    assert_eq!(ids, ["dead", "part", "slow", "user", "well", "young"]);
    let (ids, report) = late(&Args { connection: vec!["off".to_owned()], ..with });
    assert!(ids.is_empty() && report.late_sentences().is_empty());
}

#[test]
fn data_that_tink_has_not_renewed_are_told_by_age() {
    let fixture = mixed();
    let sql = "INSERT INTO ts_accounts (connection, account_id, name, type, last_refreshed)
         SELECT key, 'a', '', '', CASE connection_id WHEN 'well' THEN '2026-05-28T12:00:00Z' ELSE '2026-06-01T06:00:00Z' END
         FROM ts_connections WHERE connection_id IN ('well', 'part', 'user')";
    rusqlite::Connection::open(fixture.path("store.db")).unwrap().execute_batch(sql).unwrap();
    let with = Args { max_data_age: Some(Duration::from_hours(72)), ..args() };
    let report = Report::read(&fixture.env(), &fixture.env().reader().unwrap(), &with, None).unwrap();
    // Three without any data, and one with old data.
    assert_eq!(
        report.late_sentences(),
        [
            "4 connections whose data at Tink are older than 3d: dead (never), slow (never), young (never), well (4d)"
        ]
    );
    let json = json_of(&report);
    assert_eq!((&json["max_data_age_seconds"], json.get("overdue")), (&259_200.into(), None));
    assert!(json["data_overdue"].as_array().unwrap().contains(&"well".into()));
    let well = json["connections"].as_array().unwrap().iter().find(|c| c["connection_id"] == "well").unwrap();
    assert_eq!(well["data_as_of"], "2026-05-28T12:00:00.000Z");
    assert_eq!(well["data_age_seconds"], 4 * 86_400 + 3600);
    let text = human::text(&report, false, false);
    assert!(text.contains("CONNECTION  STATE         AGE    DATA  CONSENT  NEXT\n"), "{text}");
    assert!(text.contains("well        ok            1h     4d    -        4h\n"), "{text}");
    let metrics =
        metrics(&fixture.env(), &fixture.env().reader().unwrap(), Some(Log::default()), &args(), &report)
            .unwrap();
    assert!(metrics.contains("\ntink_sync_oldest_data_age_seconds 349200\n"), "{metrics}");
}

#[test]
fn a_table_with_long_ids_and_states_fits_80_columns() {
    let fixture = Fixture::new();
    let id = "123e4567-e89b-12d3-a456-426614174000";
    fixture.add(&[id]);
    fixture.tables().set_user(&format!("u-{id}"), false, None, &fixture::act()).unwrap();
    fixture.pass(&[], 0);
    let text = text_of(&fixture, &args());
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains(&format!("\n{id} paused_not_entitled never ")), "{text}");
}

#[test]
fn many_healthy_connections_are_counted_only() {
    let fixture = Fixture::new();
    let ids: Vec<String> = (0..45).map(|number| format!("c-{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    fixture.add(&ids);
    let mut ends: Vec<_> = ids.iter().map(|id| (*id, Outcome::Synced, None)).collect();
    ends[7] = (ids[7], Outcome::NeedsUser, Some(Reason::LoginRequired));
    fixture.pass(&ends, 11);
    let report = read(&fixture.env());
    let text = human::text(&report, false, false);
    assert!(
        text.contains("c-7 ") && !text.contains("c-8 ") && text.contains("and 44 connections: 44 ok (--all"),
        "{text}"
    );
    assert_eq!(ids_of(&report), ["c-7"], "the others are not held");
    let reader = fixture.env().reader().unwrap();
    let metrics = metrics(&fixture.env(), &reader, None, &args(), &report).unwrap();
    assert!(metrics.contains("tink_sync_connections{state=\"ok\"} 44\n"), "{metrics}");
    assert!(text_of(&fixture, &Args { all: true, ..args() }).contains("c-8 "));
    let json = Args { format: StatusFormat::Json, ..args() };
    assert_eq!(Report::read(&fixture.env(), &reader, &json, None).unwrap().connections.len(), 45);
    // A connection listed for another reason does not list the others again.
    let late = Args { max_age: Some(Duration::from_secs(1)), connection: vec!["c-8".to_owned()], ..args() };
    assert!(text_of(&fixture, &late).contains("c-8 "));
}

#[test]
fn a_consent_that_has_ended_is_told_in_words() {
    let mut report = read(&mixed().env());
    let now = report.now;
    for (connection, (days, expired)) in
        report.connections.iter_mut().zip([(136, true), (-7, false), (0, false), (3, false)])
    {
        connection.consent_ends = Some(now + SignedDuration::from_hours(24 * days));
        connection.consent_expired = expired;
    }
    let text = human::text(&report, false, false);
    let told = ["user", "dead", "slow", "part"].map(|id| {
        let line = text.lines().find(|line| line.starts_with(&format!("{id} "))).unwrap();
        line.split_whitespace().nth(4).unwrap()
    });
    assert_eq!(told, ["expired", "expired", "expired", "3d"], "{text}");
}

#[test]
fn an_unknown_connection_is_wrong_usage() {
    let with = Args { connection: vec!["well".to_owned(), "nope".to_owned()], ..args() };
    let failure = run(&mixed().env(), &with).unwrap_err();
    assert!(matches!(failure, Failure::Usage(text) if text.starts_with("unknown connection: nope;")));
}

#[test]
fn the_json_has_the_names_of_the_views() {
    let json = json_of(&read(&mixed().env()));
    assert_eq!((&json["schema"], &json["runs"][0]["exit_code"]), (&1.into(), &10.into()));
    let dead = &json["connections"][1];
    assert_eq!(
        (&dead["connection_id"], &dead["state"], &dead["reason"]),
        (&"dead".into(), &"failing".into(), &"http_5xx".into())
    );
    assert_eq!((&dead["enabled"], &dead["consecutive_failures"]), (&true.into(), &1.into()));
    assert_eq!(dead["next_attempt_at"], "2026-06-01T14:00:00.000Z");
}

#[test]
fn the_metrics_have_help_type_and_no_ids() {
    let fixture = mixed();
    let report = read(&fixture.env());
    let text =
        metrics(&fixture.env(), &fixture.env().reader().unwrap(), Some(Log::default()), &args(), &report)
            .unwrap();
    for line in [
        "# HELP tink_sync_connections Connections by state.",
        "# TYPE tink_sync_connections gauge",
        "tink_sync_connections{state=\"failing\"} 2",
        "tink_sync_connections{state=\"paused_not_entitled\"} 0",
        "tink_sync_last_run_exit_code 10",
        "tink_sync_last_run_duration_seconds 90",
        "tink_sync_last_run_timestamp_seconds 1780315290",
        "tink_sync_oldest_success_age_seconds 3600",
        "tink_sync_transactions{change=\"added\"} 3",
        "tink_sync_consents_expiring{within=\"14d\"} 0",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert!(!text.contains("last_success_timestamp"), "no run ended well");
    assert!(["well", "dead", "u-well"].iter().all(|id| !text.contains(id)), "{text}");
    for name in
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(['{', ' ']).next().unwrap())
    {
        assert!(
            text.contains(&format!("# TYPE {name} gauge\n")) && text.contains(&format!("# HELP {name} ")),
            "{name}"
        );
    }
    // A server has no log.
    let without = metrics(&fixture.env(), &fixture.env().reader().unwrap(), None, &args(), &report).unwrap();
    let of_log = |text: &str| text.lines().filter(|line| line.contains("store_log")).count();
    assert_eq!((of_log(&text), of_log(&without)), (5, 0));
    assert_eq!(without.lines().count() + 5, text.lines().count());
    let with = Args { connection: vec!["well".to_owned()], ..args() };
    assert!(matches!(
        metrics(&fixture.env(), &fixture.env().reader().unwrap(), Some(Log::default()), &with, &report),
        Err(Failure::Usage(_))
    ));
}

fn text_of(fixture: &Fixture, args: &Args) -> String {
    human::text(
        &Report::read(&fixture.env(), &fixture.env().reader().unwrap(), args, None).unwrap(),
        args.all,
        false,
    )
}

#[test]
fn passes_that_do_not_come_any_more_are_told_first_of_all() {
    let fixture = mixed();
    assert!(text_of(&fixture, &args()).starts_with("CONNECTION"));
    fixture.later(12);
    let text = text_of(&fixture, &args());
    assert!(
        text.starts_with("No pass has begun for 13h, and one is due every 6h.\n  look at what starts"),
        "{text}"
    );
    let json = json_of(&read(&fixture.env()));
    assert_eq!(json["schedule"]["troubles"][0]["kind"], "no_pass");
    assert_eq!(json["schedule"]["last_pass_at"], "2026-06-01T12:00:00.000Z");
}

#[test]
fn a_switch_that_is_off_is_told_first_of_all() {
    let fixture = Fixture::with("");
    fixture.add(&["c"]);
    let mut env = fixture.env();
    env.settings.enabled = false;
    let text = human::text(&read(&env), false, false);
    assert!(
        text.starts_with("Passes are switched off: nothing is kept fresh.\n  remove enabled = false"),
        "{text}"
    );
}

#[test]
fn with_a_timer_the_next_attempt_is_that_of_a_pass() {
    let timer = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
        TimersCalendar={ OnCalendar=*-*-* 00/6:00:00 UTC ; next_elapse=x }\n\
        NextElapseUSecRealtime=Mon 2026-06-01 18:00:00 UTC\n";
    let report =
        Report::read(&mixed().env(), &mixed().env().reader().unwrap(), &args(), Some(Timer::read(timer)))
            .unwrap();
    let text = human::text(&report, false, false);
    assert!(text.contains("dead        failing       never  -     -        5h\n"), "{text}");
    assert!(text.contains("Next pass: 2026-06-01 18:00 UTC (in 5h), a pass every 6h.\n"), "{text}");
}

#[test]
fn a_connection_asked_for_by_name_comes_with_its_last_outcomes_and_quota() {
    let fixture = mixed();
    fixture.pass(&ENDS, 10);
    fixture.later(1);
    let with = Args { connection: vec!["dead".to_owned()], ..args() };
    let text = text_of(&fixture, &with);
    assert!(text.contains("  last: failed 1h ago (http_5xx), failed 2h ago (http_5xx)\n"), "{text}");
    let json = json_of(&Report::read(&fixture.env(), &fixture.env().reader().unwrap(), &with, None).unwrap());
    let dead = &json["connections"][0];
    assert_eq!((&dead["quota"]["used"], &dead["quota"]["left_for_automatic"]), (&2.into(), &78.into()));
    assert_eq!(dead["attempts"].as_array().unwrap().len(), 2);
    let all = json_of(&read(&fixture.env()));
    assert_eq!(all["connections"][0].get("attempts"), None);
}

#[test]
fn a_quota_that_is_used_up_is_told() {
    let fixture = Fixture::with("[quota]\nsyncs_per_day = 3\nreserved_for_manual = 2\n");
    fixture.add(&["c"]);
    fixture.pass(&[("c", Outcome::Synced, None)], 0);
    let text = text_of(&fixture, &args());
    assert!(text.contains("  1 sync of its user in 24 hours: passes wait"), "{text}");
}

#[test]
fn many_broken_connections_are_counted_too() {
    let fixture = Fixture::new();
    let ids: Vec<String> = (0..60).map(|number| format!("c-{number:02}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    fixture.add(&ids);
    let ends: Vec<_> = ids.iter().map(|id| (*id, Outcome::Failed, Some(Reason::Network))).collect();
    fixture.pass(&ends, 10);
    let text = text_of(&fixture, &args());
    assert!(text.contains("c-39 ") && !text.contains("c-40 "), "{text}");
    assert!(text.contains("and 20 connections: 20 failing (--all lists them)\n"), "{text}");
    assert!(text_of(&fixture, &Args { all: true, ..args() }).contains("c-59 "));
    let late = Args { max_age: Some(Duration::from_hours(1)), ..args() };
    assert!(text_of(&fixture, &late).contains("and 40 more"));
}

#[test]
fn a_run_that_died_is_told_from_one_at_work() {
    let fixture = mixed();
    let mut run = read(&fixture.env()).runs.remove(0);
    (run.exit_code, run.finished_at) = (None, None);
    assert_eq!(human::run_notes(&run), ["died before its end; the next run takes over"]);
    run.at_work = true;
    assert_eq!(human::run_notes(&run), ["at work"]);
}

#[test]
fn no_clock_makes_a_pass_or_a_look_at_it_panic() {
    for time in
        ["0002-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9997-12-31T00:00:00Z", "0002-01-01T00:00:00Z"]
    {
        let fixture = mixed();
        fixture.clock.set(time.parse().unwrap());
        let env = fixture.env();
        let report = read(&env);
        assert!(human::text(&report, true, false).contains("well"));
        assert!(json_of(&report).is_object() && !report.late_sentences().iter().any(String::is_empty));
        assert!(metrics_text(&env).unwrap().contains("tink_sync_connections"));
        fixture.pass(&ENDS, 10);
        let report = read(&fixture.env());
        assert!(human::text(&report, true, false).contains("well"), "{time}");
    }
}

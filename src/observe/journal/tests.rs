//! Records against the table that others build on: message id, level and field names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use super::*;
use crate::domain::anomaly::Anomaly;
use crate::domain::outcome::Counts;

/// A record as the journal gets it: fields in capitals, dots as underscores.
#[derive(Clone, Debug, Default)]
struct Seen {
    level: String,
    fields: BTreeMap<String, String>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name().replace('.', "_").to_uppercase(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

struct Capture(Arc<Mutex<Vec<Seen>>>);

impl<S: tracing::Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let notice = event.metadata().target() == NOTICE;
        let level = if notice { "NOTICE".to_owned() } else { event.metadata().level().to_string() };
        let mut seen = Seen { level, ..Seen::default() };
        event.record(&mut seen);
        self.0.lock().unwrap().push(seen);
    }
}

fn records(write: impl FnOnce()) -> Vec<Seen> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::with_default(Registry::default().with(Capture(Arc::clone(&seen))), write);
    let seen = seen.lock().unwrap();
    seen.clone()
}

fn one(event: &Event) -> Seen {
    let mut all = records(|| write("r-1", event));
    assert_eq!(all.len(), 1, "{event:?}");
    all.remove(0)
}

fn check(seen: &Seen, id: &str, level: &str, fields: &str) {
    let mut expected: Vec<&str> = fields.split_whitespace().chain(["MESSAGE", "MESSAGE_ID"]).collect();
    expected.sort_unstable();
    assert_eq!(seen.fields.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!((seen.level.as_str(), seen.fields["MESSAGE_ID"].as_str()), (level, id));
    assert!(seen.fields["MESSAGE"].len() > 10, "a sentence");
}

fn finished(outcome: Outcome) -> Finished {
    Finished {
        connection_id: "c-1".into(),
        user_id: "u-1".into(),
        outcome,
        reason: Some(Reason::Network),
        error: Some("the line is dead".to_owned()),
        request_id: Some("x-1".to_owned()),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        duration_ms: 5,
        counts: Counts::default(),
        failures: 0,
        not_before: None,
    }
}

#[test]
fn a_failure_that_is_known_says_so_and_when_the_next_attempt_is() {
    let at = "2026-06-01T12:00:30Z".parse().unwrap();
    for (failures, not_before, told, fields) in [
        (1, None, "connection c-1 failed: the line is dead", "TINK_CONSECUTIVE_FAILURES"),
        (
            5,
            None,
            "connection c-1 failed (failure 5 in a row): the line is dead",
            "TINK_CONSECUTIVE_FAILURES",
        ),
        (
            6,
            Some(at),
            "connection c-1 failed (failure 6 in a row, not tried again before 2026-06-01T12:00Z): the line is dead",
            "TINK_CONSECUTIVE_FAILURES TINK_NOT_BEFORE",
        ),
    ] {
        let seen = one(&Event::Finished(Finished { failures, not_before, ..finished(Outcome::Failed) }));
        assert_eq!(seen.fields["MESSAGE"], told);
        check(&seen, "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a02", "ERROR", &format!("{OF_A_CONNECTION} {fields}"));
    }
}

const OF_A_CONNECTION: &str = "TINK_RUN_ID TINK_CONNECTION_ID TINK_USER_ID TINK_OUTCOME TINK_REASON TINK_REQUEST_ID
    TINK_ACCOUNTS TINK_FETCHED TINK_ADDED TINK_UPDATED TINK_REMOVED TINK_QUARANTINED TINK_REQUESTS TINK_RETRIES
    TINK_DURATION_MS";

#[test]
fn a_connection_is_told_of_at_the_priority_of_its_outcome() {
    for (outcome, level) in [
        (Outcome::Synced, "INFO"),
        (Outcome::Unchanged, "INFO"),
        (Outcome::Interrupted, "INFO"),
        (Outcome::NeedsUser, "WARN"),
        (Outcome::RateLimited, "WARN"),
        (Outcome::Partial, "WARN"),
        (Outcome::Failed, "ERROR"),
    ] {
        let seen = one(&Event::Finished(finished(outcome)));
        check(&seen, "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a02", level, OF_A_CONNECTION);
    }
}

#[test]
fn start_and_end_of_a_pass_carry_its_totals() {
    let at = jiff::Timestamp::UNIX_EPOCH;
    let started = Event::Started {
        run_id: "r-1".into(),
        trigger: "timer",
        dry_run: false,
        at,
        connections: 3,
        due: 2,
        skipped: BTreeMap::new(),
    };
    let fields = "TINK_RUN_ID TINK_TRIGGER TINK_CONNECTIONS TINK_DUE";
    check(&one(&started), "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a01", "INFO", fields);
    let fields = "TINK_RUN_ID TINK_TRIGGER TINK_DURATION_MS TINK_EXIT_CODE TINK_CONNECTIONS TINK_DUE TINK_SYNCED
        TINK_UNCHANGED TINK_PARTIAL TINK_FAILED TINK_NEEDS_USER TINK_RATE_LIMITED TINK_INTERRUPTED
        TINK_SKIPPED_DISABLED TINK_SKIPPED_NOT_ENTITLED TINK_SKIPPED_RECENT TINK_SKIPPED_QUOTA
        TINK_SKIPPED_NOT_BEFORE TINK_SKIPPED_LEASED TINK_SKIPPED_DEADLINE TINK_ACCOUNTS TINK_FETCHED TINK_ADDED
        TINK_UPDATED TINK_REMOVED TINK_QUARANTINED TINK_REQUESTS TINK_RETRIES";
    for (exit_code, level) in
        [(0, "NOTICE"), (143, "NOTICE"), (11, "WARN"), (10, "WARN"), (69, "ERROR"), (77, "ERROR")]
    {
        let ended = Event::Ended {
            run_id: "r-1".into(),
            trigger: "timer",
            dry_run: false,
            started_at: at,
            finished_at: at,
            duration_ms: 0,
            exit_code,
            summary: Summary::default(),
        };
        check(&one(&ended), "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a04", level, fields);
    }
}

fn consent_ends(days_left: i64) -> Event {
    Event::ConsentEnds {
        connection_id: "c-1".into(),
        user_id: "u-1".into(),
        credentials_id: "k-1".into(),
        provider: Some("bank".to_owned()),
        days_left,
    }
}

#[test]
fn the_time_until_a_consent_ends_is_told_in_words() {
    for (days_left, told) in [
        (3, "expires in 3 days:"),
        (1, "expires in 1 day:"),
        (0, "expires in less than a day:"),
        (-1, "has expired:"),
    ] {
        let text = &one(&consent_ends(days_left)).fields["MESSAGE"];
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn what_needs_a_person_is_a_warning_with_its_own_id() {
    let ends = consent_ends(3);
    let fields = "TINK_CONNECTION_ID TINK_USER_ID TINK_CREDENTIALS_ID TINK_PROVIDER TINK_DAYS_LEFT";
    check(&one(&ends), "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a05", "WARN", fields);
    let needs = Event::NeedsUser {
        connection_id: "c-1".into(),
        user_id: "u-1".into(),
        reason: Reason::ConsentExpired,
    };
    let fields = "TINK_CONNECTION_ID TINK_USER_ID TINK_REASON";
    check(&one(&needs), "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a06", "WARN", fields);
    let quarantined =
        Event::Quarantined { connection_id: "c-1".into(), reason: "no amount".to_owned(), records: 1 };
    let fields = "TINK_CONNECTION_ID TINK_REASON";
    check(&one(&quarantined), "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a07", "WARN", fields);
    let (connection_id, anomaly) = ("c-1".into(), Anomaly::Field("dates.value"));
    let odd = one(&Event::Anomaly { connection_id, anomaly, times: 3 });
    assert_eq!(odd.fields.keys().collect::<Vec<_>>(), ["MESSAGE", "TINK_CONNECTION_ID", "TINK_REASON"]);
    assert_eq!((odd.level.as_str(), odd.fields["TINK_REASON"].as_str()), ("WARN", "dates.value"));
    let differs = Event::BalanceDiffers { connection_id: "c-1".into(), user_id: "u-1".into(), accounts: 2 };
    let fields = "TINK_CONNECTION_ID TINK_USER_ID TINK_ACCOUNTS";
    check(&one(&differs), "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a0d", "NOTICE", fields);
}

#[test]
fn skips_are_debug_unless_asked_for_and_the_rest_has_its_id() {
    let skipped = |asked| Event::Skipped {
        connection_id: "c-1".into(),
        user_id: "u-1".into(),
        reason: Reason::Quota,
        asked,
    };
    let fields = "TINK_RUN_ID TINK_CONNECTION_ID TINK_USER_ID TINK_REASON";
    check(&one(&skipped(false)), "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a03", "DEBUG", fields);
    check(&one(&skipped(true)), "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a03", "WARN", fields);
    let away = Event::Unreachable { error: "connection refused".to_owned(), reason: Reason::Network };
    check(&one(&away), "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a08", "ERROR", "TINK_RUN_ID TINK_REASON");
    let off = records(|| switched_off("switched off")).remove(0);
    check(&off, "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a09", "NOTICE", "");
}

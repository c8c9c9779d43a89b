//! Every bound of every key: the values just inside, and the message just outside.

use super::{MARK, message, settings};
use crate::config::Refresh;
use crate::store::Place;
use std::time::Duration;

/// Both ends are accepted; values beyond are refused with a message that names both ends.
fn bounded(key: &str, inside: [&str; 2], outside: &[&str]) {
    for value in inside {
        settings(&format!("{key} = {value}"));
    }
    let [low, high] = inside.map(|text| text.trim_matches('\'').to_owned());
    for value in outside {
        let expected = format!("tink-sync.toml:1: {key}: expected from {low} to {high}");
        assert_eq!(message(&format!("{key} = {value}")), expected);
    }
}

#[test]
fn durations_have_bounds() {
    bounded("tink.connect_timeout", ["'1ms'", "'10m'"], &["'0s'", "'601s'"]);
    bounded("tink.request_timeout", ["'1ms'", "'10m'"], &["'0s'", "'1h'"]);
    bounded("sync.min_interval", ["'0s'", "'30d'"], &["'31d'"]);
    bounded("sync.stale_after", ["'1h'", "'365d'"], &["'59m'", "'366d'"]);
    bounded("balance.min_days_open", ["'0s'", "'365d'"], &["'366d'"]);
    bounded("sync.rewalk", ["'0s'", "'365d'"], &["'366d'"]);
    bounded("sync.deep_rewalk", ["'0s'", "'365d'"], &["'366d'"]);
    bounded("sync.connection_timeout", ["'1ms'", "'1d'"], &["'0s'", "'25h'"]);
    bounded("sync.deadline", ["'1ms'", "'7d'"], &["0", "'8d'"]);
    bounded("sync.outage_patience", ["'0s'", "'1d'"], &["'25h'"]);
    bounded("sync.keep_raw", ["'0s'", "'36500d'"], &["'36501d'"]);
    assert!(message("retry.base = '11m'").contains("retry.base: expected from 0s to 10m"));
}

#[test]
fn days_have_bounds() {
    bounded("sync.history", ["'1d'", "'36500d'"], &["'0s'", "'36501d'"]);
    bounded("sync.overlap", ["'7d'", "'365d'"], &["'6d'", "'366d'"]);
    bounded("sync.lookahead", ["'0d'", "'3650d'"], &["'3651d'"]);
    bounded("sync.keep_removed", ["'90d'", "'36500d'"], &["'89d'", "'36501d'"]);
    bounded("report.history", ["'7d'", "'36500d'"], &["'6d'", "'36501d'"]);
    assert_eq!(
        message("consent.warn = ['1d', '366d']"),
        "tink-sync.toml:1: consent.warn: expected from 0d to 365d"
    );
}

#[test]
fn numbers_have_bounds() {
    bounded("tink.concurrency", ["1", "1024"], &["0", "-1", "1025"]);
    bounded("tink.max_response", ["'1 KiB'", "'1 GiB'"], &["0", "1023", "'2 GiB'"]);
    bounded("retry.attempts", ["1", "20"], &["0", "21"]);
    for value in ["0", "-1", "0.0", "10000.1", "nan", "inf", "-inf"] {
        assert_eq!(
            message(&format!("tink.requests_per_second = {value}")),
            "tink-sync.toml:1: tink.requests_per_second: expected more than 0 and at most 10000"
        );
    }
    for value in ["0.1", "5", "10000"] {
        settings(&format!("tink.requests_per_second = {value}"));
    }
}

#[test]
fn the_reserve_fits_into_the_quota() {
    let quota = settings("[quota]\nsyncs_per_day = 10000\nreserved_for_manual = 0").quota;
    assert_eq!((quota.syncs_per_day, quota.reserved_for_manual), (10_000, 0));
    for (text, part) in [
        ("[quota]\nsyncs_per_day = 0", "quota.syncs_per_day: expected from 1 to 10000"),
        ("[quota]\nsyncs_per_day = 5", "quota.reserved_for_manual: expected at most `quota.syncs_per_day`"),
        ("[quota]\nreserved_for_manual = 101", "quota.reserved_for_manual: expected at most"),
        ("[quota]\nreserved_for_manual = -1", "quota.reserved_for_manual: expected from 0 to 10000"),
    ] {
        assert!(message(text).contains(part), "{text}");
    }
    let all = settings("[quota]\nsyncs_per_day = 5\nreserved_for_manual = 5");
    assert!(all.warnings.iter().any(|text| text.starts_with("quota.reserved_for_manual: ")));
}

#[test]
fn pauses_grow() {
    let retry = settings("[retry]\nattempts = 1\nbase = 0\nmax = '0s'").retry;
    assert_eq!((retry.attempts, retry.base, retry.max), (1, Duration::ZERO, Duration::ZERO));
    assert_eq!(message("retry.base = '31s'"), "tink-sync.toml: retry.max: expected at least `retry.base`");
    assert_eq!(message("retry.max = '2h'"), "tink-sync.toml:1: retry.max: expected from 0s to 1h");
}

#[test]
fn refresh_is_never_or_by_age() {
    assert_eq!(settings("tink.refresh = 'never'").tink.refresh, Refresh::Never);
    let stale = settings("tink.refresh = 'stale:12h'").tink.refresh;
    assert_eq!(stale, Refresh::Stale(Duration::from_hours(12)));
    assert_eq!(
        message("tink.refresh = 'stale:1m'"),
        "tink-sync.toml:1: tink.refresh: expected from 1h to 90d"
    );
}

#[test]
fn warnings_about_consents_are_sorted_and_single() {
    assert_eq!(settings("consent.warn = ['1d', '14d', '1d', '2w']").consent.warn, [14, 1]);
    assert!(settings("consent.warn = []").consent.warn.is_empty());
}

#[test]
fn raw_data_are_kept_only_if_asked_for() {
    for text in ["sync.keep_raw = 0", "sync.keep_raw = '0'", "sync.keep_raw = '0s'"] {
        assert_eq!(settings(text).sync.keep_raw, None);
    }
    assert_eq!(settings("sync.keep_raw = '90d'").sync.keep_raw, Some(Duration::from_hours(90 * 24)));
    assert_eq!(settings("sync.outage_patience = 0").sync.outage_patience, Some(Duration::ZERO));
}

#[test]
fn a_view_is_a_plain_name() {
    let longest = "v".repeat(63);
    for name in ["tink_sync_source_v1", "app.view", "_a", &longest] {
        assert_eq!(settings(&format!("source.view = '{name}'")).source.view.as_deref(), Some(name));
    }
    let too_long = "v".repeat(64);
    for name in ["", "1a", "a-b", "a b", "a.b.c", ".a", "a.", "a\"b", "a;drop", "ä", &too_long] {
        let text = message(&format!("source.view = '{name}'"));
        assert!(text.starts_with("tink-sync.toml:1: source.view: expected a plain name"), "{text}");
    }
}

#[test]
fn a_database_of_the_application_needs_a_view() {
    let both = settings("[source]\nview = 'v'\ndatabase = '/srv/app.db'").source;
    assert_eq!(both.database, Some(Place::Sqlite("/srv/app.db".into())));
    let server = settings("[source]\nview = 'v'\ndatabase = 'postgres://app@db/bank'").source.database;
    assert_eq!(server.unwrap().to_string(), "postgres://app@db/bank");
    assert!(message("source.database = '/srv/app.db'").contains("only together with `source.view`"));
    assert!(message("[source]\nview = 'v'\ndatabase = ''").contains("source.database: expected the path"));
}

#[test]
fn addresses_are_checked_and_not_shown() {
    for key in ["tink.api_url", "tink.link_url"] {
        let text = message(&format!("{key} = 'https://app:{MARK}@api.tink.com'"));
        assert_eq!(
            text,
            format!("tink-sync.toml:1: {key}: expected an address without user name or password")
        );
    }
    assert!(message("tink.api_url = 'http://api.tink.com'").contains("expected https"));
    assert_eq!(settings("tink.api_url = 'http://[::1]:8080/'").tink.api_url, "http://[::1]:8080");
    let text = message(&format!("store.url = 'postgres://app:{MARK}@db/bank'"));
    assert!(
        text.starts_with("tink-sync.toml:1: store.url: expected an address without a password"),
        "{text}"
    );
    assert!(text.contains("`store.pgpass_file`"));
    let text = message(&format!("source.database = 'postgres://app:{MARK}@db/bank'\nsource.view = 'v'"));
    assert!(text.starts_with("tink-sync.toml:1: source.database: expected an address without"), "{text}");
    assert_eq!(settings("store.url = 'sqlite:a.db'").store.url, Place::Sqlite("a.db".into()));
    assert_eq!(settings("store.url = 'postgres://db/bank'").store.url.to_string(), "postgres://db/bank");
}

#[test]
fn the_metrics_file_is_absolute_and_ends_as_the_collector_wants() {
    assert!(settings("report.metrics_file = '/x/tink_sync.prom'").warnings.is_empty());
    let warned = settings("report.metrics_file = '/x/tink_sync.txt'").warnings;
    assert!(warned.iter().any(|text| text.contains(".prom")), "{warned:?}");
    for name in ["", "tink_sync.prom", "/x/"] {
        assert!(message(&format!("report.metrics_file = '{name}'")).contains("expected the absolute path"));
    }
}

#[test]
fn what_is_odd_together_is_warned_of_with_what_to_do() {
    for (text, key) in [
        ("quota.syncs_per_day = 5\nquota.reserved_for_manual = 5", "quota.reserved_for_manual: "),
        ("consent.warn = []", "consent.warn: "),
        ("sync.rewalk = '8d'", "sync.rewalk (8days) "),
        ("tink.request_timeout = '6m'", "tink.request_timeout (6m) "),
        ("sync.deadline = '4m'", "sync.connection_timeout (5m) "),
        ("sync.history = '10d'", "sync.history (10d) "),
        ("sync.keep_raw = '500d'", "sync.keep_raw (500d) "),
    ] {
        let warned = settings(text).warnings;
        assert!(
            matches!(&warned[..], [only] if only.starts_with(key) && only.contains("; ")),
            "{text}: {warned:?}"
        );
    }
    assert!(
        settings("sync.history = '14d'\nsync.keep_raw = '400d'\nsync.deadline = '5m'").warnings.is_empty()
    );
}

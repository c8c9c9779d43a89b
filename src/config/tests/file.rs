//! The file itself: absent, unreadable, not TOML, unknown keys, wrong types.

use super::{Case, MARK, message, picture, settings};
use crate::config::{ConfigError, KEYS, Refresh, Settings, load};
use crate::exit::Exit;
use crate::store::Place;
use std::path::Path;
use std::time::Duration;

#[test]
fn an_empty_file_gives_the_documented_defaults() {
    let Settings { enabled, tink, store, source, sync, quota, retry, consent, report, .. } = settings("");
    assert!(enabled);
    assert_eq!(
        (tink.api_url.as_str(), tink.link_url.as_str()),
        ("https://api.tink.com", "https://link.tink.com")
    );
    assert_eq!(
        (tink.connect_timeout, tink.request_timeout),
        (Duration::from_secs(10), Duration::from_secs(30))
    );
    assert_eq!((tink.max_response, tink.concurrency, tink.refresh), (16 * 1024 * 1024, 8, Refresh::Never));
    assert!((tink.requests_per_second - 20.0).abs() < f64::EPSILON);
    assert_eq!(store.url, Place::Sqlite("/var/lib/tink-sync/tink-sync.db".into()));
    assert!(source.view.is_none() && source.database.is_none());
    assert_eq!((sync.min_interval, sync.deadline), (Duration::from_hours(5), Duration::from_hours(5)));
    assert_eq!((sync.history_days, sync.overlap_days, sync.lookahead_days), (None, 14, 400));
    assert_eq!((sync.rewalk, sync.deep_rewalk), (Duration::from_hours(24), Duration::from_hours(168)));
    assert_eq!(
        (sync.connection_timeout, sync.outage_patience, sync.keep_raw),
        (Duration::from_mins(5), None, None)
    );
    assert_eq!(sync.keep_removed, Duration::from_hours(400 * 24));
    assert_eq!((quota.syncs_per_day, quota.reserved_for_manual), (100, 20));
    assert_eq!((retry.attempts, retry.base, retry.max), (4, Duration::from_secs(1), Duration::from_secs(30)));
    assert_eq!(consent.warn, [14, 7, 3, 1]);
    assert_eq!((report.metrics_file, report.history), (None, Duration::from_hours(400 * 24)));
}

#[test]
fn a_missing_file_is_named_with_what_to_do() {
    let error = load(Path::new("/nowhere/tink-sync.toml"), &|_| None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/tink-sync.toml: no configuration file here; copy tink-sync.toml.example to this path and \
         fill it in, or name another file with --config"
    );
    assert_eq!(Exit::from(&error), Exit::Configuration);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = load(directory.path(), &|_| None).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    let denied = ConfigError::reading(Path::new("/c"), std::io::ErrorKind::PermissionDenied.into());
    assert!(denied.to_string().starts_with("/c: cannot be read: permission denied; "), "{denied}");
}

#[test]
fn a_mistake_in_the_syntax_is_placed_without_showing_the_line() {
    for (text, place) in [
        (format!("[tink]\nclient_id = {MARK}"), "tink-sync.toml:2:"),
        (format!("[tink]\nclient_id = \"{MARK}"), "tink-sync.toml:2:"),
        (format!("{MARK}\n"), "tink-sync.toml:1:"),
        (format!("enabled = true\nenabled = \"{MARK}\""), "tink-sync.toml:2:"),
        (format!("[tink]\n[tink]\nx = '{MARK}'"), "tink-sync.toml:2:"),
    ] {
        let message = message(&text);
        assert!(message.starts_with(place), "{message}");
        assert!(message.contains("not valid TOML: "), "{message}");
    }
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_one() {
    for (text, expected) in [
        (
            "[sync]\noverlp = '14d'",
            "tink-sync.toml:2: sync.overlp: unknown key; did you mean `sync.overlap`?",
        ),
        ("enabeld = false", "tink-sync.toml:1: enabeld: unknown key; did you mean `enabled`?"),
        ("[snyc]\noverlap = '14d'", "tink-sync.toml:1: snyc: unknown key; did you mean `sync`?"),
        (
            "min_interval = '5h'",
            "tink-sync.toml:1: min_interval: unknown key; did you mean `sync.min_interval`?",
        ),
        ("tink.colour = 1", "tink-sync.toml:1: tink.colour: unknown key"),
    ] {
        assert_eq!(message(text), expected);
    }
}

#[test]
fn every_key_and_no_other_is_known() {
    for key in KEYS {
        // no key takes a table: the message distinguishes a known key from an unknown one
        let text = format!("{key} = {{}}");
        assert!(!message(&text).contains("unknown"), "{key}");
        let longer = format!("{key}_and_more = {{}}");
        assert!(message(&longer).contains("unknown key"), "{key}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_explained_without_showing_it() {
    for (key, expected) in [
        ("enabled", "`true` or `false`, without quotes"),
        ("tink", "a table with keys of its own"),
        ("tink.concurrency", "a whole number, without quotes"),
        ("tink.requests_per_second", "a number, without quotes"),
        ("tink.connect_timeout", "a duration such as `30s`, `6h` or `90d`"),
        ("tink.max_response", "a size such as `16 MiB`, or a number of bytes"),
        ("tink.refresh", "`never`, or `stale:` and a duration as in `stale:12h`"),
        ("sync.history", "`all` or whole days such as `730d` (write `730d`, not `2y`)"),
        ("consent.warn", "a list such as `[\"14d\", \"7d\"]`"),
    ] {
        let text = format!("\n{key} = \"{MARK}, expected {MARK}\"");
        assert_eq!(message(&text), format!("tink-sync.toml:2: {key}: expected {expected}"));
    }
    assert_eq!(
        message("[tink]\nclient_id = 5\n"),
        "tink-sync.toml:2: tink.client_id: expected a text in quotes"
    );
}

#[test]
fn days_must_be_whole() {
    let days =
        "expected whole days such as `14d` (months and years are no whole days: write `365d`, not `1y`)";
    for key in ["sync.overlap", "sync.lookahead", "report.history"] {
        assert_eq!(message(&format!("{key} = '36h'")), format!("tink-sync.toml:1: {key}: {days}"));
    }
    let message = message("[consent]\nwarn = ['14d',\n '1h']");
    assert_eq!(message, format!("tink-sync.toml:3: consent.warn[1]: {days}"));
}

#[test]
fn tables_may_be_written_in_either_way() {
    let dotted = settings("sync.overlap = '30d'\ntink.concurrency = 9\n");
    let tables = settings("[sync]\noverlap = '30d'\n[tink]\nconcurrency = 9\n");
    assert_eq!(picture(dotted), picture(tables));
    assert_eq!(Case::new("\r\n# nothing\r\n").load().unwrap().sync.overlap_days, 14);
}

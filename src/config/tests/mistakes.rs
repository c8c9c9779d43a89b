//! All mistakes are told at once, each with its line, and none that only follows from another.

use super::{Case, MARK};

/// The mistakes of a case, without the file's name.
fn mistakes(case: &Case) -> Vec<String> {
    let error = case.load().expect_err("the configuration is wrong");
    assert!(!format!("{error} {error:?}").contains(MARK));
    let file = case.path("tink-sync.toml").display().to_string();
    error.each().iter().map(|error| error.to_string().replace(&file, "")).collect()
}

#[test]
fn all_mistakes_of_every_kind_are_told_at_once() {
    let text = format!(
        "enabled = \"yes\"\nfoo = 1\n[tink]\nrequests_per_second = 0\nconcurrency = \"{MARK}\"\nrefresh = \"stale:1m\"\n\
         [bogus]\na = 1\nb = 2\n[sync]\noverlap = \"6d\"\noverlp = \"7d\"\ndeadline = 7\n[consent]\nwarn = [\"1d\", \"{MARK}\"]\n"
    );
    let case = Case::new(&text).env("TINK_SYNC_ENABLED", MARK).env("TINK_CLIENT_ID", "a b");
    let told = mistakes(&case);
    let begin = [
        ":1: enabled",
        ":2: foo",
        ":4: tink.requests_per_second",
        ":5: tink.concurrency",
        ":6: tink.refresh",
        ":7: bogus",
        ":11: sync.overlap",
        ":12: sync.overlp",
        ":13: sync.deadline",
        ":15: consent.warn[1]",
    ];
    // Those without a line come first: they are of the environment.
    assert_eq!(told.len(), 2 + begin.len(), "{told:#?}");
    assert!(told[2..].iter().zip(begin).all(|(one, begin)| one.starts_with(begin)), "{told:#?}");
}

#[test]
fn what_only_follows_from_another_mistake_is_not_told() {
    for (text, key) in [
        ("[source]\nview = 5\ndatabase = '/a.db'", "source.view"),
        ("[retry]\nbase = 'x'\nmax = '0s'", "retry.base"),
        ("[quota]\nsyncs_per_day = 0\nreserved_for_manual = 5000", "quota.syncs_per_day"),
    ] {
        let told = mistakes(&Case::new(text));
        assert!(matches!(&told[..], [one] if one.contains(key)), "{told:?}");
    }
}

#[test]
fn a_default_that_does_not_fit_hides_no_other_mistake() {
    let told = mistakes(&Case::new("quota.syncs_per_day = 10\nretry.base = '31s'\nreport.history = '1d'"));
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn a_name_in_quotes_with_dots_is_a_key_like_any_other() {
    let told = mistakes(&Case::new("'tink.refresh' = 1\n'a.b' = 2\n[tink]\nrefresh = 3"));
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn a_file_full_of_mistakes_is_read_in_no_time() {
    let lines: Vec<String> = (0..5000).map(|n| format!("k{n} = {n}")).collect();
    assert_eq!(mistakes(&Case::new(&lines.join("\n"))).len(), 100);
}

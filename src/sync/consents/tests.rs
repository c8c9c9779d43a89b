//! What lists of consents do and do not prove.

use super::*;
use crate::domain::warning::Told;
use crate::store::StoredConsent;
use jiff::SignedDuration;

const RUN: i64 = 7;

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn days(days: i64) -> Timestamp {
    now() + SignedDuration::from_hours(24 * days)
}

fn consent(id: &str, status: &str, expires_at: Option<Timestamp>) -> Consent {
    Consent {
        credentials_id: id.into(),
        provider: None,
        account_ids: vec!["a".into()],
        status: status.to_owned(),
        status_updated: None,
        expires_at,
        extendable: None,
        error_type: None,
        error_reason: None,
    }
}

fn stored(consent: Consent) -> StoredConsent {
    let known_expiry = consent.expires_at;
    StoredConsent {
        consent,
        told: Told::default(),
        known_expiry,
        missing_run: None,
        undated_run: None,
        superseded: false,
    }
}

fn stands(consents: Vec<StoredConsent>) -> Known {
    Known { consents, ..Known::default() }
}

fn list(items: Vec<Consent>, complete: bool) -> Listed<Consent> {
    Listed { items, complete }
}

fn ids(consents: &[Consent]) -> Vec<&str> {
    consents.iter().map(|consent| consent.credentials_id.as_str()).collect()
}

#[test]
fn a_consent_goes_only_after_the_lists_of_two_runs_without_it() {
    let known = |missing_run| StoredConsent { missing_run, ..stored(consent("c", "SESSION_EXPIRED", None)) };
    for (missing_run, complete, stays) in [
        (None, true, true),
        // The same run, in its second round.
        (Some(RUN), true, true),
        (Some(RUN - 1), true, false),
        (Some(RUN - 1), false, true),
        (None, false, true),
    ] {
        let read = Consents::of(list(Vec::new(), complete), stands(vec![known(missing_run)]), RUN, now());
        assert_eq!(ids(&read.all), if stays { vec!["c"] } else { Vec::new() }, "{missing_run:?} {complete}");
        assert_eq!((read.kept.unlisted.len(), read.kept.complete), (usize::from(stays), complete));
        let health = read.all.first().map(|consent| consent.health(now()));
        assert_eq!(health.is_some(), stays);
        assert!(
            health.is_none_or(|health| matches!(health, Health::NeedsUser(_))),
            "what was told of it stands"
        );
    }
}

#[test]
fn a_consent_that_is_not_listed_is_no_proof_that_its_accounts_are_well() {
    for (status, expires, health) in [
        ("UPDATED", None, Health::Busy),
        ("UPDATED", Some(days(30)), Health::Busy),
        ("UPDATED", Some(days(-1)), Health::PastDate),
        ("TEMPORARY_ERROR", None, Health::Unavailable),
    ] {
        let known = vec![stored(consent("c", status, expires)), stored(consent("d", "UPDATED", None))];
        let read = Consents::of(list(vec![consent("d", "UPDATED", None)], true), stands(known), RUN, now());
        assert_eq!(ids(&read.all), ["d", "c"]);
        assert_eq!(read.all[1].health(now()), health);
        let mut overview = Overview::default();
        read.fill(&mut overview);
        assert_eq!(
            (ids(&overview.consents), overview.kept.unlisted.len()),
            (vec!["d"], 1),
            "it is not written"
        );
    }
}

#[test]
fn a_bank_that_is_connected_anew_replaces_its_old_consent_at_once() {
    let of = |id, status, bank: Option<&str>| Consent {
        provider: bank.map(str::to_owned),
        ..consent(id, status, None)
    };
    for (old, new, known, goes) in [
        (Some("bank"), of("new", "UPDATED", Some("bank")), false, true),
        (Some("bank"), of("new", "UPDATED", Some("bank")), true, false),
        (Some("bank"), of("new", "UPDATED", Some("other")), false, false),
        (Some("bank"), of("new", "CREATED", Some("bank")), false, false),
        (None, of("new", "UPDATED", None), false, false),
    ] {
        let mut before = vec![stored(of("old", "SESSION_EXPIRED", old))];
        before.extend(known.then(|| stored(new.clone())));
        let read = Consents::of(list(vec![new], true), stands(before), RUN, now());
        assert_eq!(read.kept.unlisted.is_empty(), goes, "{:?}", read.all);
    }
}

#[test]
fn a_date_goes_only_after_the_lists_of_two_runs_without_it() {
    for (undated_run, stays) in [(None, true), (Some(RUN), true), (Some(RUN - 1), false)] {
        let known = StoredConsent { undated_run, ..stored(consent("c", "UPDATED", Some(days(-1)))) };
        let read =
            Consents::of(list(vec![consent("c", "UPDATED", None)], true), stands(vec![known]), RUN, now());
        assert_eq!(read.all[0].expires_at, stays.then(|| days(-1)));
        assert_eq!(read.kept.undated.len(), usize::from(stays));
        assert_eq!(read.warnings(now(), &[14]), Vec::new(), "a date that is not shown is not told");
    }
    let read = Consents::of(list(vec![consent("c", "UPDATED", None)], true), Known::default(), RUN, now());
    assert_eq!((read.all[0].expires_at, read.kept.undated.len()), (None, 0));
}

#[test]
fn what_is_told_is_remembered_and_not_told_again() {
    let listed =
        || list(vec![consent("c", "UPDATED", Some(days(2))), consent("d", "UPDATED", Some(days(30)))], true);
    let first = Consents::of(listed(), Known::default(), RUN, now()).warnings(now(), &[14, 7, 3, 1]);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].due.map(|due| (due.step, due.days_left)), Some((3, 2)));
    let known = StoredConsent { told: first[0].told, ..stored(consent("c", "UPDATED", Some(days(2)))) };
    let again =
        Consents::of(listed(), stands(vec![known.clone()]), RUN, now()).warnings(now(), &[14, 7, 3, 1]);
    assert_eq!(again, Vec::new());
    // A renewal is recorded, too, so that its own end is reported.
    let renewed = list(vec![consent("c", "UPDATED", Some(days(90)))], true);
    let renewed = Consents::of(renewed, stands(vec![known]), RUN, now()).warnings(now(), &[14, 7, 3, 1]);
    assert_eq!((renewed[0].told, renewed[0].due), (Told::default(), None));
}

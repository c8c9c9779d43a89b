//! Which consent is renewed and how, by status, date and options.

use super::*;

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// A consent of this id and status that ends in this many days.
fn consent(id: &str, status: &str, days: Option<i64>, extendable: Option<bool>) -> Consent {
    Consent {
        credentials_id: id.into(),
        provider: Some("se-bank".to_owned()),
        account_ids: Vec::new(),
        status: status.to_owned(),
        status_updated: Some(now()),
        expires_at: days.map(|days| now() + SignedDuration::from_hours(days * 24)),
        extendable,
        error_type: None,
        error_reason: None,
    }
}

fn picked(consents: &[Consent], named: Option<&str>, how: How) -> Result<Picked, String> {
    pick("c-1", consents.to_vec(), named, how, (now(), SignedDuration::from_hours(14 * 24)))
}

fn purpose_of(consent: Consent, how: How) -> Result<Purpose, String> {
    match picked(&[consent], None, how)? {
        Picked::One(_, purpose) => Ok(purpose),
        Picked::Nothing(words) => Err(words),
    }
}

#[test]
fn what_only_its_date_has_ended_is_extended_if_the_bank_allows_it() {
    let (extend, update) = (Purpose::Extend("c".into()), Purpose::Update("c".into()));
    for (status, days, extendable, how, expected) in [
        ("UPDATED", Some(13), Some(true), How::AsItFits, &extend),
        ("UPDATED", Some(-1), Some(true), How::AsItFits, &extend),
        ("SESSION_EXPIRED", Some(-1), Some(true), How::AsItFits, &extend),
        ("SESSION_EXPIRED", None, Some(true), How::AsItFits, &extend),
        ("SESSION_EXPIRED", Some(-1), Some(false), How::AsItFits, &update),
        ("SESSION_EXPIRED", Some(-1), None, How::AsItFits, &update),
        ("AUTHENTICATION_ERROR", Some(40), Some(true), How::AsItFits, &update),
        ("UPDATED", Some(13), Some(true), How::Update, &update),
        ("UPDATED", Some(13), None, How::Extend, &extend),
    ] {
        let consent = consent("c", status, days, extendable);
        assert_eq!(purpose_of(consent, how).as_ref(), Ok(expected), "{status} {days:?} {extendable:?}");
    }
}

#[test]
fn what_is_well_is_left_alone_unless_it_is_named() {
    let well = [consent("a", "UPDATED", Some(15), None), consent("b", "UPDATED", None, None)];
    let Ok(Picked::Nothing(words)) = picked(&well, None, How::AsItFits) else { panic!() };
    assert!(words.contains("  a (se-bank): UPDATED, 15 days left\n  b (se-bank): UPDATED, without a date\n"));
    assert!(matches!(picked(&well, Some("b"), How::AsItFits), Ok(Picked::One(_, Purpose::Update(_)))));
    assert!(
        picked(&well, Some("z"), How::AsItFits)
            .unwrap_err()
            .contains("has no consent z at Tink\n  a (se-bank)")
    );
    let busy = [consent("a", "UPDATING", Some(1), None), consent("b", "TEMPORARY_ERROR", Some(1), None)];
    assert!(matches!(picked(&busy, None, How::AsItFits), Ok(Picked::Nothing(_))));
}

#[test]
fn of_several_one_must_be_named() {
    let two = [consent("a", "SESSION_EXPIRED", Some(-2), None), consent("b", "UPDATED", Some(3), Some(true))];
    let refused = picked(&two, None, How::AsItFits).unwrap_err();
    assert!(refused.contains("--credentials") && refused.contains("a (se-bank): SESSION_EXPIRED, expired"));
    assert!(matches!(picked(&two, Some("b"), How::AsItFits), Ok(Picked::One(_, Purpose::Extend(_)))));
}

#[test]
fn what_cannot_be_brought_back_is_said_so() {
    for status in ["PERMANENT_ERROR", "DELETED"] {
        let refused = purpose_of(consent("c", status, None, None), How::AsItFits).unwrap_err();
        assert!(refused.contains("tink-sync connect") && refused.contains(status), "{refused}");
    }
    assert!(picked(&[], None, How::AsItFits).unwrap_err().contains("tink-sync connect"));
    let refused = purpose_of(consent("c", "UPDATED", Some(1), Some(false)), How::Extend).unwrap_err();
    assert!(refused.contains("leave --extend out"));
}

//! The list of consents: v1 shape, times in epoch milliseconds (API.md 5.1). Only a bad id or status makes a
//! consent unreadable: it is left out and the list is marked incomplete. Must not judge a consent.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{
    List, Raw, Soft, Spare, body, hard_text, id, integer, is_word, json_object, listed, object, soft_word,
};
use crate::domain::anomaly::{Anomalies, Anomaly};
use crate::domain::consent::Consent;
use crate::domain::ids::AccountId;

/// The most accounts that all consents of one user together may name.
const MOST_ACCOUNTS: usize = 20_000;
/// The member that names them.
const ACCOUNT_IDS: &str = "accountIds";

json_object!(
    WireConsents<'a> {
        provider_consents: List<'a> = "providerConsents",
    }
);
json_object!(
    WireConsent<'a> {
        credentials_id: Raw<'a> = "credentialsId",
        provider_name: Raw<'a> = "providerName",
        account_ids: Raw<'a> = "accountIds",
        status: Raw<'a> = "status",
        status_updated: Raw<'a> = "statusUpdated",
        session_expiry_date: Raw<'a> = "sessionExpiryDate",
        session_extendable: Raw<'a> = "sessionExtendable",
        detailed_error: Raw<'a> = "detailedError",
    }
);
json_object!(
    WireError<'a> {
        r#type: Raw<'a> = "detailedError.type",
        details: Raw<'a> = "detailedError.details",
    }
);
json_object!(
    WireDetails<'a> {
        reason: Raw<'a> = "detailedError.details.reason",
    }
);

/// A parsed list of consents.
pub(in crate::tink) struct ConsentList {
    /// Those that could be read; if an id occurs twice, the last one.
    pub readable: Vec<Consent>,
    /// Whether `readable` has every listed consent, with all its accounts; if not, nothing may be concluded
    /// from an absent one.
    pub complete: bool,
    pub anomalies: Anomalies,
}

pub(in crate::tink) fn consents(bytes: &[u8]) -> Result<ConsentList, String> {
    let (spare, mut anomalies) = (Spare::new(), Anomalies::default());
    let list: WireConsents<'_> = body(bytes, &spare, &mut anomalies)?;
    let (list, mut complete) = listed(bytes, list.provider_consents, "providerConsents", &mut anomalies)?;
    let (mut consents, mut seen) = (Vec::<Consent>::new(), HashSet::new());
    let mut room = MOST_ACCOUNTS;
    for raw in list {
        let Some(consent) = consent(raw, &mut room, &mut anomalies)? else {
            anomalies.note(Anomaly::Consent);
            continue;
        };
        if !seen.insert(consent.credentials_id.clone()) {
            consents.retain(|known| known.credentials_id != consent.credentials_id);
        }
        consents.push(consent);
    }
    complete &= !anomalies.contains(Anomaly::Consent) && !anomalies.contains(Anomaly::Field(ACCOUNT_IDS));
    Ok(ConsentList { readable: consents, complete, anomalies })
}

/// Reads one consent; `None` if its id or its status cannot be read. `room` is how many account ids are still
/// allowed.
fn consent(raw: Raw<'_>, room: &mut usize, anomalies: &mut Anomalies) -> Result<Option<Consent>, String> {
    let mut own = Anomalies::default();
    let Ok(wire) = object::<WireConsent<'_>>(raw, &mut own) else { return Ok(None) };
    let status = hard_text(wire.status, "status", &mut own).map(Option::unwrap_or_default);
    let (Ok(credentials_id), Ok(status)) = (id(wire.credentials_id, "credentialsId"), status) else {
        return Ok(None);
    };
    if !is_word(&status) {
        return Ok(None);
    }
    let account_ids = account_ids(wire.account_ids, room, &mut own)?;
    let error: Option<WireError<'_>> = inner(wire.detailed_error, "detailedError", &mut own);
    let (kind, details) = error.map_or((None, None), |error| (error.r#type, error.details));
    let details: Option<WireDetails<'_>> = inner(details, "detailedError.details", &mut own);
    let consent = Consent {
        credentials_id: credentials_id.into(),
        provider: soft_word(wire.provider_name, "providerName", &mut own),
        account_ids,
        status: status.strip_prefix("STATUS_").unwrap_or(&status).to_owned(),
        status_updated: time(wire.status_updated, "statusUpdated", &mut own),
        expires_at: time(wire.session_expiry_date, "sessionExpiryDate", &mut own),
        extendable: flag(wire.session_extendable, "sessionExtendable", &mut own),
        error_type: soft_word(kind, "detailedError.type", &mut own),
        error_reason: soft_word(
            details.and_then(|details| details.reason),
            "detailedError.details.reason",
            &mut own,
        ),
    };
    anomalies.merge(own);
    Ok(Some(consent))
}

fn inner<'a, T: Soft<'a>>(raw: Option<Raw<'a>>, place: &'static str, own: &mut Anomalies) -> Option<T> {
    T::soft(raw?, place, own)
}

/// The accounts that a consent names; unreadable ids are left out.
fn account_ids(
    raw: Option<Raw<'_>>,
    room: &mut usize,
    anomalies: &mut Anomalies,
) -> Result<Vec<AccountId>, String> {
    let list: Option<List<'_>> = inner(raw, ACCOUNT_IDS, anomalies);
    let list = list.unwrap_or_default().items(ACCOUNT_IDS)?;
    *room = room.checked_sub(list.len()).ok_or("accountIds name far too many accounts")?;
    let mut ids = Vec::with_capacity(list.len());
    for raw in list {
        match id(Some(raw), ACCOUNT_IDS) {
            Ok(id) => ids.push(id.into()),
            Err(_) => anomalies.note(Anomaly::Field(ACCOUNT_IDS)),
        }
    }
    Ok(ids)
}

/// Epoch milliseconds; Tink sends 0 for "none" (API.md 5.1), and an invalid time counts as none.
fn time(raw: Option<Raw<'_>>, place: &'static str, anomalies: &mut Anomalies) -> Option<Timestamp> {
    let millis = integer(Some(raw?), place).ok().and_then(|text| text.parse::<i64>().ok());
    match millis {
        Some(..=0) => None,
        Some(millis) if let Ok(time) = Timestamp::from_millisecond(millis) => Some(time),
        _ => {
            anomalies.note(Anomaly::Field(place));
            None
        }
    }
}

fn flag(raw: Option<Raw<'_>>, place: &'static str, anomalies: &mut Anomalies) -> Option<bool> {
    let flag = serde_json::from_str(raw?.get()).ok();
    if flag.is_none() {
        anomalies.note(Anomaly::Field(place));
    }
    flag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(members: &str) -> Result<Consent, String> {
        let json = format!(r#"{{"providerConsents":[{{"credentialsId":"c"{members}}}]}}"#);
        consents(json.as_bytes()).map(|mut list| list.readable.remove(0))
    }

    #[test]
    fn a_full_consent_is_read() {
        let consent = one(r#","providerName":"uk-bank","accountIds":["a","b"],"status":"STATUS_UPDATED",
               "statusUpdated":1493379467000,"sessionExpiryDate":1493379467001,"sessionExtendable":true,
               "detailedError":{"type":"USER_LOGIN_ERROR","displayMessage":"…",
               "details":{"reason":"USER_BLOCKED","retryable":true}}"#);
        let consent = consent.unwrap();
        assert_eq!(consent.provider.as_deref(), Some("uk-bank"));
        assert_eq!(consent.account_ids, ["a", "b"].map(AccountId::from));
        assert_eq!(consent.status, "UPDATED");
        assert_eq!(consent.status_updated, Some("2017-04-28T11:37:47Z".parse().unwrap()));
        assert_eq!(consent.expires_at, Some("2017-04-28T11:37:47.001Z".parse().unwrap()));
        assert_eq!(consent.extendable, Some(true));
        assert_eq!(consent.error_type.as_deref(), Some("USER_LOGIN_ERROR"));
        assert_eq!(consent.error_reason.as_deref(), Some("USER_BLOCKED"));
    }

    #[test]
    fn zero_null_absent_and_absurd_times_are_none() {
        for time in ["0", "null", "-1", "9223372036854775807", "99999999999999999999", "1.5e12", "{}"] {
            let consent = one(&format!(r#","status":"NEW_ONE","sessionExpiryDate":{time}"#)).unwrap();
            assert_eq!((consent.expires_at, consent.status.as_str()), (None, "NEW_ONE"));
        }
        let bare = one("").unwrap();
        assert_eq!((bare.expires_at, bare.account_ids, bare.extendable), (None, Vec::new(), None));
        assert!(one(r#","accountIds":null,"detailedError":null,"status":null"#).is_ok());
        assert!(one(r#","detailedError":"text","sessionExtendable":"yes","providerName":{}"#).is_ok());
    }

    /// The list, whether it is complete, and its anomalies.
    fn list(json: &str) -> (Vec<Consent>, bool, Vec<&'static str>) {
        let list = consents(json.as_bytes()).ok().unwrap();
        let told = list.anomalies.iter().map(|(anomaly, _)| anomaly.as_str()).collect();
        (list.readable, list.complete, told)
    }

    #[test]
    fn a_member_of_another_type_is_absent_and_told() {
        let bare = one("").unwrap();
        for (members, place) in [
            (r#""statusUpdated":"soon""#, "statusUpdated"),
            (r#""sessionExpiryDate":{}"#, "sessionExpiryDate"),
            (r#""sessionExpiryDate":99999999999999999999"#, "sessionExpiryDate"),
            (r#""sessionExtendable":"yes""#, "sessionExtendable"),
            (r#""providerName":[]"#, "providerName"),
            (r#""detailedError":"text""#, "detailedError"),
            (r#""detailedError":{"type":{}}"#, "detailedError.type"),
            (r#""detailedError":{"details":[]}"#, "detailedError.details"),
            (r#""accountIds":"a""#, "accountIds"),
            (r#""accountIds":{}"#, "accountIds"),
            (r#""accountIds":[1]"#, "accountIds"),
        ] {
            let (read, complete, told) =
                list(&format!(r#"{{"providerConsents":[{{"credentialsId":"c",{members}}}]}}"#));
            assert_eq!((&read[..], &told[..]), (&[bare.clone()][..], &[place][..]), "{members}");
            assert_eq!(
                complete,
                place != "accountIds",
                "whose accounts are not known names more than it says"
            );
        }
    }

    #[test]
    fn a_consent_without_id_or_status_is_left_out_and_the_list_says_so() {
        for lost in [
            "null",
            "[]",
            "{}",
            r#"{"credentialsId":""}"#,
            r#"{"credentialsId":5}"#,
            r#"{"credentialsId":"a","status":{}}"#,
            r#"{"credentialsId":"a","status":["UPDATED"]}"#,
            r#"{"credentialsId":"a","status":"UPDATED\n"}"#,
        ] {
            let json =
                format!(r#"{{"providerConsents":[{lost},{{"credentialsId":"c","status":"UPDATED"}}]}}"#);
            let (read, complete, told) = list(&json);
            assert_eq!((read.len(), complete, &told[..]), (1, false, &["unreadable consent"][..]), "{lost}");
        }
        for json in ["{}", r#"{"providerConsents":null}"#] {
            assert_eq!(list(json), (Vec::new(), false, vec!["consents left out"]));
        }
        assert_eq!(list(r#"{"providerConsents":[]}"#), (Vec::new(), true, Vec::new()));
        assert!(consents(br#"{"providerConsents":{}}"#).is_err());
    }

    #[test]
    fn of_an_id_that_comes_twice_the_last_one_counts() {
        let both = r#"{"credentialsId":"c","status":"CREATED"},{"credentialsId":"d"},{"credentialsId":"c","status":"UPDATED"}"#;
        let (read, ..) = list(&format!(r#"{{"providerConsents":[{both}]}}"#));
        let read: Vec<_> = read.iter().map(|c| (c.credentials_id.as_str(), c.status.as_str())).collect();
        assert_eq!(read, [("d", ""), ("c", "UPDATED")]);
    }

    #[test]
    fn words_and_lists_beyond_reason_are_left_out_or_refused() {
        let long = "x".repeat(257);
        let soft = format!(
            r#","providerName":"{long}","detailedError":{{"type":"{long}","details":{{"reason":"{long}"}}}}"#
        );
        let consent = one(&soft).unwrap();
        assert_eq!((consent.provider, consent.error_type, consent.error_reason), (None, None, None));
        let moving = one(r#","providerName":"bank\u001b[2J""#).unwrap();
        assert_eq!(moving.provider, None, "it would clear the terminal");
        let json = format!(r#"{{"providerConsents":[{{"credentialsId":"c","status":"{long}"}}]}}"#);
        assert_eq!(list(&json), (Vec::new(), false, vec!["unreadable consent"]));
        let ids = vec!["\"a\""; 10_001].join(",");
        let reason = one(&format!(r#","accountIds":[{ids}]"#)).unwrap_err();
        assert_eq!(reason, "accountIds has far too many elements");
        let ids = vec!["\"a\""; 7_000].join(",");
        let one = format!(r#"{{"credentialsId":"c","accountIds":[{ids}]}}"#);
        let many = vec![one; 3].join(",");
        let reason = consents(format!(r#"{{"providerConsents":[{many}]}}"#).as_bytes()).err().unwrap();
        assert_eq!(reason, "accountIds name far too many accounts");
        let many = vec![r#"{"credentialsId":"c"}"#; 10_001].join(",");
        let reason = consents(format!(r#"{{"providerConsents":[{many}]}}"#).as_bytes()).err().unwrap();
        assert_eq!(reason, "providerConsents has far too many elements");
    }
}

//! The list of consents: v1 shape, times in epoch milliseconds (tink-api.md 8.1).
//! Must not judge a consent.

use jiff::Timestamp;

use super::{Raw, body, id, integer, is_word, json_object, limited, object, required, soft_word, text};
use crate::domain::consent::Consent;
use crate::domain::ids::AccountId;

json_object!(
    WireConsents<'a> {
        provider_consents: Vec<Raw<'a>>,
    }
);
json_object!(
    WireConsent<'a> {
        credentials_id: Raw<'a>,
        provider_name: Raw<'a>,
        account_ids: Vec<Raw<'a>>,
        status: Raw<'a>,
        status_updated: Raw<'a>,
        session_expiry_date: Raw<'a>,
        session_extendable: Raw<'a>,
        detailed_error: Raw<'a>,
    }
);
json_object!(
    WireError<'a> {
        r#type: Raw<'a>,
        details: WireDetails<'a>,
    }
);
json_object!(
    WireDetails<'a> {
        reason: Raw<'a>,
    }
);

/// Reads the list; one consent that cannot be read makes it unreadable.
pub(in crate::tink) fn consents(bytes: &[u8]) -> Result<Vec<Consent>, String> {
    let list: WireConsents<'_> = body(bytes)?;
    let list = required(list.provider_consents, "providerConsents")?;
    let read = |(index, raw)| consent(raw).map_err(|reason| format!("consent {index}: {reason}"));
    list.into_iter().enumerate().map(read).collect()
}

fn consent(raw: Raw<'_>) -> Result<Consent, String> {
    let wire: WireConsent<'_> = object(raw)?;
    let account_ids = limited(wire.account_ids.unwrap_or_default(), "accountIds")?.into_iter();
    let account_ids: Result<Vec<AccountId>, String> =
        account_ids.map(|raw| id(Some(raw), "accountIds").map(AccountId::from)).collect();
    let status = text(wire.status, "status")?.unwrap_or_default();
    if !is_word(&status) {
        return Err("status is no word".to_owned());
    }
    let error: Option<WireError<'_>> = wire.detailed_error.and_then(|raw| object(raw).ok());
    let details = error.as_ref().and_then(|error| error.details.as_ref());
    Ok(Consent {
        credentials_id: id(wire.credentials_id, "credentialsId")?.into(),
        provider: soft_word(wire.provider_name),
        account_ids: account_ids?,
        status: status.strip_prefix("STATUS_").unwrap_or(&status).to_owned(),
        status_updated: time(wire.status_updated),
        expires_at: time(wire.session_expiry_date),
        extendable: wire.session_extendable.and_then(|raw| serde_json::from_str(raw.get()).ok()),
        error_type: error.as_ref().and_then(|error| soft_word(error.r#type)),
        error_reason: details.and_then(|details| soft_word(details.reason)),
    })
}

/// Epoch milliseconds; Tink sends 0 for "none" (tink-api.md 7.2), and what is no time is none.
fn time(raw: Option<Raw<'_>>) -> Option<Timestamp> {
    let millis: i64 = integer(raw, "").ok()?.parse().ok()?;
    if millis <= 0 {
        return None;
    }
    Timestamp::from_millisecond(millis).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(members: &str) -> Result<Consent, String> {
        let json = format!(r#"{{"providerConsents":[{{"credentialsId":"c"{members}}}]}}"#);
        consents(json.as_bytes()).map(|mut list| list.remove(0))
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

    #[test]
    fn a_list_that_cannot_be_trusted_is_refused() {
        for json in [
            "{}",
            r#"{"providerConsents":null}"#,
            r#"{"providerConsents":{}}"#,
            r#"{"providerConsents":[null]}"#,
            r#"{"providerConsents":[{}]}"#,
            r#"{"providerConsents":[{"credentialsId":"c","accountIds":"a"}]}"#,
            r#"{"providerConsents":[{"credentialsId":"c","accountIds":[1]}]}"#,
        ] {
            assert!(consents(json.as_bytes()).is_err(), "{json}");
        }
        assert_eq!(consents(br#"{"providerConsents":[]}"#), Ok(Vec::new()));
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
        for status in [long.as_str(), "UPDATED\\n"] {
            let reason = one(&format!(r#","status":"{status}""#)).unwrap_err();
            assert_eq!(reason, "consent 0: status is no word");
        }
        let ids = vec!["\"a\""; 10_001].join(",");
        let reason = one(&format!(r#","accountIds":[{ids}]"#)).unwrap_err();
        assert_eq!(reason, "consent 0: accountIds has far too many elements");
        let many = vec![r#"{"credentialsId":"c"}"#; 10_001].join(",");
        let reason = consents(format!(r#"{{"providerConsents":[{many}]}}"#).as_bytes()).unwrap_err();
        assert_eq!(reason, "providerConsents has far too many elements");
    }
}

//! The responses of the token endpoints (API.md 2.1 to 2.3). Must not put a token into anything that can be
//! printed.

use secrecy::SecretString;
use serde::Deserialize;

use super::{Raw, Spare, body, id, integer, string};
use crate::domain::anomaly::Anomalies;

#[derive(Deserialize)]
struct WireToken<'a> {
    #[serde(borrow)]
    access_token: Option<Raw<'a>>,
    #[serde(borrow)]
    expires_in: Option<Raw<'a>>,
    #[serde(borrow)]
    scope: Option<Raw<'a>>,
    #[serde(borrow)]
    refresh_token: Option<Raw<'a>>,
}

#[derive(Deserialize)]
struct WireCode<'a> {
    #[serde(borrow)]
    code: Option<Raw<'a>>,
}

/// A granted token.
pub(in crate::tink) struct Granted {
    pub secret: SecretString,
    /// Its lifetime in seconds, if sent.
    pub expires_in: Option<u64>,
    /// Its scopes, if sent.
    pub scopes: Option<Vec<String>>,
    /// A refresh token, if there is one.
    pub refresh: Option<SecretString>,
}

impl Granted {
    /// Whether the scope is granted; also true if Tink did not list the scopes.
    pub(in crate::tink) fn has(&self, scope: &str) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|granted| granted == scope))
    }
}

/// Reads a response of the token endpoint.
pub(in crate::tink) fn granted(bytes: &[u8]) -> Result<Granted, String> {
    let spare = Spare::new();
    let token: WireToken<'_> = body(bytes, &spare, &mut Anomalies::default())?;
    let secret = id(token.access_token, "access_token")?.into_owned();
    // Other characters could not be sent in a header.
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("access_token has characters that no token has".to_owned());
    }
    let expires_in = match token.expires_in {
        Some(raw) => Some(seconds(raw)?),
        None => None,
    };
    let scopes = token.scope.and_then(string).filter(|scope| !scope.is_empty());
    let scopes = scopes.map(|scope| {
        let names = scope.split([',', ' ']).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    });
    let refresh = token.refresh_token.and_then(string).filter(|token| !token.is_empty());
    Ok(Granted {
        secret: secret.into(),
        expires_in,
        scopes,
        refresh: refresh.map(|token| token.into_owned().into()),
    })
}

/// A lifetime in whole seconds; a negative one counts as 0.
fn seconds(raw: Raw<'_>) -> Result<u64, String> {
    let text = integer(Some(raw), "expires_in")?;
    let seconds: i64 = text.parse().map_err(|_| "expires_in is not an integer")?;
    Ok(u64::try_from(seconds).unwrap_or(0))
}

/// Reads the code of an authorization grant.
pub(in crate::tink) fn code(bytes: &[u8]) -> Result<SecretString, String> {
    let spare = Spare::new();
    let answer: WireCode<'_> = body(bytes, &spare, &mut Anomalies::default())?;
    Ok(id(answer.code, "code")?.into_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn scopes_are_split_at_commas_and_blanks() {
        let token = granted(br#"{"access_token":"t","expires_in":1800,"scope":"a:b, c:d e","id_hint":null}"#);
        let token = token.unwrap();
        assert_eq!(token.scopes.as_deref(), Some(["a:b", "c:d", "e"].map(str::to_owned).as_slice()));
        assert!(token.has("c:d") && !token.has("c"));
        assert_eq!((token.secret.expose_secret(), token.expires_in), ("t", Some(1800)));
    }

    #[test]
    fn life_and_scopes_may_be_absent() {
        for json in [r#"{"access_token":"t"}"#, r#"{"access_token":"t","expires_in":null,"scope":""}"#] {
            let token = granted(json.as_bytes()).unwrap();
            assert_eq!((token.expires_in, token.scopes.as_ref()), (None, None));
            assert!(token.has("anything"));
        }
        for (life, expected) in [("\"7200\"", 7200), ("0", 0), ("-1", 0)] {
            let json = format!(r#"{{"access_token":"t","expires_in":{life}}}"#);
            assert_eq!(granted(json.as_bytes()).unwrap().expires_in, Some(expected));
        }
    }

    #[test]
    fn a_token_that_renews_is_read_if_there_is_one() {
        for (members, expected) in
            [("", None), (r#","refresh_token":"""#, None), (r#","refresh_token":"r""#, Some("r"))]
        {
            let token = granted(format!(r#"{{"access_token":"t"{members}}}"#).as_bytes()).unwrap();
            assert_eq!(token.refresh.as_ref().map(ExposeSecret::expose_secret), expected, "{members}");
        }
    }

    #[test]
    fn an_unusable_token_is_refused() {
        for json in [
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":7}"#,
            r#"{"access_token":"a\nb"}"#,
            r#"{"access_token":"t","expires_in":"soon"}"#,
        ] {
            assert!(granted(json.as_bytes()).is_err(), "{json}");
        }
        assert!(code(br#"{"code":null}"#).is_err());
        assert_eq!(code(br#"{"code":"c"}"#).unwrap().expose_secret(), "c");
    }
}

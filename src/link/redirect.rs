//! Parses the redirect from Tink Link (API.md 6); `explain` interprets it. Keeps none of Tink's texts for
//! people, only codes and ids of a known form.

mod explain;

use ::url::form_urlencoded;

use crate::domain::ids::CredentialsId;
pub(crate) use explain::{Class, Explanation, explain};

/// Longest code or id that is kept.
const LONGEST: usize = 128;

/// A parsed redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// The state, if there is exactly one.
    pub state: Option<String>,
    /// Whether it is the link that leads to Tink, not a redirect from Tink.
    pub is_link: bool,
    /// How the session ended.
    pub answer: LinkOutcome,
}

/// How a Link session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkOutcome {
    /// The user finished; the consent, if the redirect named it.
    Linked(Option<CredentialsId>),
    /// Tink Link reported an error.
    Refused(LinkError),
}

/// An error that the redirect carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkError {
    /// `error`, such as `USER_CANCELLED`; `None` if its value is not a code.
    pub error: Option<String>,
    /// `error_reason`.
    pub reason: Option<String>,
    /// `error_type`, with `AUTHENTICATION_ERROR`.
    pub kind: Option<String>,
    /// The id that support asks for.
    pub tracking_id: Option<String>,
    /// The consent concerned.
    pub credentials_id: Option<CredentialsId>,
    /// The bank concerned.
    pub provider: Option<String>,
}

impl Redirect {
    /// Parses a query without its question mark. Accepts any text.
    pub(crate) fn parse(query: &str) -> Self {
        let fields: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let first = |names: &[&str], form: fn(char) -> bool| {
            let mut values = names.iter().flat_map(|name| all(&fields, name));
            values.find(|value| has_form(value, form)).cloned()
        };
        let mut states = all(&fields, "state");
        let state = match (states.next(), states.next()) {
            (Some(one), None) => Some(one.clone()),
            _ => None,
        };
        let credentials_id = first(&["credentials_id", "credentialsId", "credentials"], is_id);
        let credentials_id = credentials_id.map(CredentialsId::from);
        let has = |name: &&str| all(&fields, name).next().is_some();
        let is_link = ["client_id", "authorization_code"].iter().any(has);
        let is_error = ["error", "error_reason", "error_type"].iter().any(has);
        let answer = if is_error {
            LinkOutcome::Refused(LinkError {
                error: first(&["error"], is_code),
                reason: first(&["error_reason"], is_code),
                kind: first(&["error_type"], is_code),
                tracking_id: first(&["tracking_id", "trackingId"], is_id),
                credentials_id,
                provider: first(&["provider_name", "providerName"], is_id),
            })
        } else {
            LinkOutcome::Linked(credentials_id)
        };
        Self { state, is_link, answer }
    }
}

/// The query of a pasted address, after its question mark; `None` without a question mark.
pub(crate) fn query_of(pasted: &str) -> Option<&str> {
    let (_, query) = pasted.trim().split_once('?')?;
    Some(query.split('#').next().unwrap_or(query))
}

fn all<'a>(fields: &'a [(String, String)], name: &'a str) -> impl Iterator<Item = &'a String> {
    fields.iter().filter(move |(key, _)| key == name).map(|(_, value)| value)
}

fn has_form(value: &str, form: fn(char) -> bool) -> bool {
    !value.is_empty() && value.len() <= LONGEST && value.chars().all(form)
}

fn is_code(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

fn is_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.:".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(query: &str) -> LinkError {
        match Redirect::parse(query).answer {
            LinkOutcome::Refused(refusal) => refusal,
            LinkOutcome::Linked(_) => panic!("{query} is no error"),
        }
    }

    #[test]
    fn every_spelling_of_the_consent_is_read() {
        for query in [
            "state=s&credentials_id=c-1",
            "credentialsId=c-1&state=s",
            "credentials=c-1&state=s&code=x",
            "credentials_id=&state=s&credentialsId=c-1",
        ] {
            let redirect = Redirect::parse(query);
            assert_eq!(redirect.state.as_deref(), Some("s"));
            assert_eq!(redirect.answer, LinkOutcome::Linked(Some("c-1".into())), "{query}");
        }
        assert_eq!(Redirect::parse("state=s").answer, LinkOutcome::Linked(None));
        let odd = format!("state=s&credentials_id={}", "c".repeat(129));
        assert_eq!(Redirect::parse(&odd).answer, LinkOutcome::Linked(None));
        assert_eq!(Redirect::parse("credentials_id=<b>x").answer, LinkOutcome::Linked(None));
    }

    #[test]
    fn two_states_are_none() {
        assert_eq!(Redirect::parse("state=a&state=b").state, None);
        assert_eq!(Redirect::parse("state=a&state=a").state, None);
        assert_eq!(Redirect::parse("credentials_id=c").state, None);
        assert_eq!(Redirect::parse("st%61te=a%2Bb").state.as_deref(), Some("a+b"));
    }

    #[test]
    fn an_error_is_read_and_its_message_is_not() {
        let read = refusal(
            "error=AUTHENTICATION_ERROR&error_reason=X_1&error_type=USER_LOGIN_ERROR&message=Jane+Doe+owes&tracking_id=t-1\
             &credentials=c1&provider_name=se-bank&state=s",
        );
        let text = |text: &str| Some(text.to_owned());
        let expected = LinkError {
            error: text("AUTHENTICATION_ERROR"),
            reason: text("X_1"),
            kind: text("USER_LOGIN_ERROR"),
            tracking_id: text("t-1"),
            credentials_id: Some("c1".into()),
            provider: text("se-bank"),
        };
        assert_eq!(read, expected);
        assert!(!format!("{read:?}").contains("Jane"));
    }

    #[test]
    fn an_error_in_another_form_is_still_an_error() {
        for query in
            ["error=", "error=<script>", "error=a+b&credentials_id=c", "error_reason=X", "error_type=%00"]
        {
            assert_eq!(refusal(query).error, None, "{query}");
        }
    }

    #[test]
    fn a_pasted_address_is_taken_apart() {
        for (pasted, query) in [
            ("http://localhost:8765/callback?state=s&code=a#frag\n", Some("state=s&code=a")),
            ("  localhost:8765/callback?state=s ", Some("state=s")),
            ("http://localhost:8765/callback", None),
            ("", None),
        ] {
            assert_eq!(query_of(pasted), query);
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_and_nothing_else_gets_in(query in "(\\PC|[a-z_=&%0-9A-Z+]){0,200}") {
            let redirect = Redirect::parse(&query);
            let id = match &redirect.answer {
                LinkOutcome::Linked(id) => id.clone(),
                LinkOutcome::Refused(refusal) => {
                    let explained = explain(refusal, false);
                    prop_assert!(!explained.what.is_empty() && !explained.next.is_empty());
                    refusal.credentials_id.clone()
                }
            };
            prop_assert!(id.is_none_or(|id| has_form(id.as_str(), is_id)));
        }
    }
}

//! A call as received: which endpoint, with which parameters, by whose token.
//!
//! It reads and names things; it must not judge whether the call is allowed.

use hyper::body::Bytes;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, header};
use serde::{Deserialize, Serialize};

use crate::link;
use crate::reply::{Family, Reply};

/// What can be called. The token endpoint counts as three, by grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// Token endpoint with `client_credentials`.
    ClientToken,
    /// Token endpoint with `authorization_code`.
    CodeExchange,
    /// Token endpoint with `refresh_token`.
    RefreshToken,
    /// Code for our own use.
    Grant,
    /// Code for Tink Link.
    Delegate,
    /// Revocation of a user's tokens.
    RevokeAll,
    /// New user.
    UserCreate,
    /// The user of the token.
    User,
    /// End of a user.
    UserDelete,
    /// Provider consents.
    Consents,
    /// Refresh on demand.
    CredentialsRefresh,
    /// End of a consent.
    CredentialsDelete,
    /// List of accounts.
    Accounts,
    /// One account.
    Account,
    /// List of transactions.
    Transactions,
    /// A page of Tink Link's; the id is what it is for.
    Link,
    /// What was chosen on such a page.
    LinkChoice,
    /// Anything else.
    Unknown,
}

impl Endpoint {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::ClientToken,
        Self::CodeExchange,
        Self::RefreshToken,
        Self::Grant,
        Self::Delegate,
        Self::RevokeAll,
        Self::UserCreate,
        Self::User,
        Self::UserDelete,
        Self::Consents,
        Self::CredentialsRefresh,
        Self::CredentialsDelete,
        Self::Accounts,
        Self::Account,
        Self::Transactions,
        Self::Link,
        Self::LinkChoice,
        Self::Unknown,
    ];
}

/// Parameters of a query or form, decoded, in the order sent.
#[derive(Debug, Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `a=b&c=d`; a plus is a blank, as everywhere on the web.
    pub fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of `name`.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of `name`; `None` if it is not there at all.
    pub fn list(&self, name: &str) -> Option<Vec<&str>> {
        let values =
            self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>();
        (!values.is_empty()).then_some(values)
    }

    /// The others than `name`.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(key, _)| key != name).cloned().collect())
    }

    /// All parameters.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where it goes.
    pub endpoint: Endpoint,
    /// The id in the path, if there is one.
    pub id: String,
    /// The query.
    pub query: Params,
    /// The form, if the body is one.
    pub form: Option<Params>,
    /// The body.
    pub body: Bytes,
    /// The bearer token.
    pub bearer: Option<String>,
    /// Style of its errors.
    pub family: Family,
}

impl Call {
    /// Reads a request.
    pub fn new(head: &Parts, body: Bytes) -> Self {
        let path = head.uri.path();
        let form = header_text(&head.headers, header::CONTENT_TYPE)
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
            .then(|| Params::parse(&body));
        let (endpoint, id) = route(&head.method, path, form.as_ref());
        Self {
            endpoint,
            id: id.to_owned(),
            query: Params::parse(head.uri.query().unwrap_or_default().as_bytes()),
            form,
            body,
            bearer: header_text(&head.headers, header::AUTHORIZATION)
                .and_then(|text| text.strip_prefix("Bearer "))
                .map(str::to_owned),
            family: if path.starts_with("/data/v2/") { Family::V2 } else { Family::V1 },
        }
    }

    /// The form, or the answer to a call without one.
    pub fn form(&self) -> Result<&Params, Reply> {
        self.form.as_ref().ok_or_else(|| self.refuse(400, "request.content_type", "a form is needed"))
    }

    /// An error in the style of the endpoint.
    pub fn refuse(&self, status: u16, code: &str, message: &str) -> Reply {
        Reply::refusal(self.family, status, code, message)
    }
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn route<'a>(method: &Method, path: &'a str, form: Option<&Params>) -> (Endpoint, &'a str) {
    let tail = |prefix: &str| path.strip_prefix(prefix).unwrap_or_default();
    let endpoint = match (method.as_str(), path) {
        ("POST", "/api/v1/oauth/token") => return (token_endpoint(form), ""),
        ("POST", "/api/v1/oauth/authorization-grant") => Endpoint::Grant,
        ("POST", "/api/v1/oauth/authorization-grant/delegate") => Endpoint::Delegate,
        ("POST", "/api/v1/oauth/revoke-all") => Endpoint::RevokeAll,
        ("POST", "/api/v1/user/create") => Endpoint::UserCreate,
        ("POST", "/api/v1/user/delete") => Endpoint::UserDelete,
        ("GET", "/api/v1/user") => Endpoint::User,
        ("GET", "/api/v1/provider-consents") => Endpoint::Consents,
        ("GET", "/data/v2/accounts") => Endpoint::Accounts,
        ("GET", "/data/v2/transactions") => Endpoint::Transactions,
        ("POST", link::CHOOSE) => Endpoint::LinkChoice,
        ("GET", _) if path.starts_with("/1.0/transactions/") => {
            return (Endpoint::Link, tail("/1.0/transactions/"));
        }
        ("GET", _) if path.starts_with("/data/v2/accounts/") => {
            return (Endpoint::Account, tail("/data/v2/accounts/"));
        }
        ("POST", _) if path.starts_with("/api/v1/credentials/") && path.ends_with("/refresh") => {
            let id = tail("/api/v1/credentials/").strip_suffix("/refresh").unwrap_or_default();
            return (Endpoint::CredentialsRefresh, id);
        }
        ("DELETE", _) if path.starts_with("/api/v1/credentials/") => {
            return (Endpoint::CredentialsDelete, tail("/api/v1/credentials/"));
        }
        _ => Endpoint::Unknown,
    };
    (endpoint, "")
}

fn token_endpoint(form: Option<&Params>) -> Endpoint {
    match form.and_then(|form| form.first("grant_type")) {
        Some("authorization_code") => Endpoint::CodeExchange,
        Some("refresh_token") => Endpoint::RefreshToken,
        _ => Endpoint::ClientToken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_endpoints_are_their_places() {
        assert!(Endpoint::ALL.iter().enumerate().all(|(place, &endpoint)| endpoint as usize == place));
    }

    #[test]
    fn paths_lead_to_endpoints() {
        let form = Params::parse(b"grant_type=authorization_code&x=a+b%2B");
        assert_eq!(form.first("x"), Some("a b+"));
        assert_eq!(route(&Method::POST, "/api/v1/oauth/token", Some(&form)).0, Endpoint::CodeExchange);
        assert_eq!(
            route(&Method::POST, "/api/v1/credentials/c1/refresh", None),
            (Endpoint::CredentialsRefresh, "c1")
        );
        assert_eq!(route(&Method::GET, "/data/v2/accounts/a1", None), (Endpoint::Account, "a1"));
        assert_eq!(route(&Method::GET, "/api/v1/oauth/token", None).0, Endpoint::Unknown);
    }
}

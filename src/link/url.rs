//! Addresses: the one at Tink Link that the browser is opened at, and the redirect URI it is sent back to.
//! Must not know what listens there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ::url::{Host, Url};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::ids::CredentialsId;

/// The purpose of a Link session (API.md 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Connect {
        /// Country of the banks shown, such as `SE`.
        market: String,
        /// Language of the pages, such as `en_US`.
        locale: String,
        test: bool,
    },
    /// Prolong a consent without a new login.
    Extend(CredentialsId),
    /// Log in again for an existing consent.
    Update(CredentialsId),
}

/// The parts of the address.
#[derive(Debug)]
pub(crate) struct Link<'a> {
    /// Address of Tink Link, without a trailing slash.
    pub base: &'a str,
    pub client_id: &'a str,
    pub redirect_uri: &'a RedirectUri,
    /// The authorization code of the user; works once.
    pub code: &'a SecretString,
    pub state: &'a str,
    pub purpose: &'a Purpose,
}

impl Link<'_> {
    /// The address. It lets its holder link a bank to the user, once, so only the user may see it.
    pub(crate) fn address(&self) -> String {
        let (path, rest) = match self.purpose {
            Purpose::Connect { market, locale, test } => {
                let mut rest = vec![("market", market.as_str()), ("locale", locale.as_str())];
                rest.extend(test.then_some(("test", "true")));
                ("connect-accounts", rest)
            }
            Purpose::Extend(id) => ("extend-consent", vec![("credentials_id", id.as_str())]),
            Purpose::Update(id) => ("update-consent", vec![("credentials_id", id.as_str())]),
        };
        let mut query = ::url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("client_id", self.client_id)
            .append_pair("redirect_uri", self.redirect_uri.as_str())
            .append_pair("authorization_code", self.code.expose_secret())
            .append_pair("state", self.state)
            .extend_pairs(rest);
        format!("{}/1.0/transactions/{path}?{}", self.base, query.finish())
    }
}

/// The address to which Tink sends the browser back. Kept verbatim: Tink compares it with those registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    path: String,
    sockets: Vec<SocketAddr>,
}

impl RedirectUri {
    /// Parses a redirect URI.
    ///
    /// # Errors
    /// The problem with it, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let example =
            "expected an address such as http://localhost:8765/callback or https://app.example/tink";
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("blanks are not allowed; {example}"));
        }
        let url = Url::parse(text).map_err(|error| format!("{error}; {example}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a user name or password is not allowed there".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("what follows a ? or # is not allowed: the answer is added there".to_owned());
        }
        let port = url.port_or_known_default().filter(|port| *port > 0).ok_or(example)?;
        let sockets = loopback(&url.host().ok_or(example)?, port);
        match url.scheme() {
            "https" => Ok(Self { text: text.to_owned(), path: url.path().to_owned(), sockets: Vec::new() }),
            "http" if !sockets.is_empty() => {
                Ok(Self { text: text.to_owned(), path: url.path().to_owned(), sockets })
            }
            "http" => Err("https is needed, unless it is an address of this machine itself".to_owned()),
            _ => Err(example.to_owned()),
        }
    }

    /// The URI as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path, from the first slash on.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The sockets for a listener of ours; empty unless it is an `http` address of this machine.
    pub fn sockets(&self) -> &[SocketAddr] {
        &self.sockets
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Includes both addresses of `localhost`, since a browser may use either.
fn loopback(host: &Host<&str>, port: u16) -> Vec<SocketAddr> {
    let addresses: Vec<IpAddr> = match host {
        Host::Domain(name) if name.eq_ignore_ascii_case("localhost") => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        Host::Domain(_) => Vec::new(),
        Host::Ipv4(address) => vec![(*address).into()],
        Host::Ipv6(address) => vec![(*address).into()],
    };
    let own = addresses.into_iter().filter(IpAddr::is_loopback);
    own.map(|address| SocketAddr::new(address, port)).collect()
}

/// The user id as a hint for the person in the browser: reduced to ISO-8859-1 (API.md 2.5) and 100 characters.
pub(crate) fn id_hint(user_id: &str) -> String {
    let fits = |c: char| u32::from(c) < 0x100 && !c.is_control();
    user_id.chars().take(100).map(|c| if fits(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(purpose: &Purpose) -> String {
        let redirect_uri = RedirectUri::parse("http://localhost:8765/callback").unwrap();
        let code = SecretString::from("c+/=&d");
        let link = Link {
            base: "https://link.tink.com",
            client_id: "app",
            redirect_uri: &redirect_uri,
            code: &code,
            state: "s-_1",
            purpose,
        };
        assert!(!format!("{link:?}").contains("c+/=&d"));
        link.address()
    }

    #[test]
    fn a_first_link_goes_to_connect_accounts() {
        let purpose = |test| Purpose::Connect { market: "SE".to_owned(), locale: "sv_SE".to_owned(), test };
        let plain = "https://link.tink.com/1.0/transactions/connect-accounts?client_id=app\
                     &redirect_uri=http%3A%2F%2Flocalhost%3A8765%2Fcallback&authorization_code=c%2B%2F%3D%26d\
                     &state=s-_1&market=SE&locale=sv_SE";
        assert_eq!(address(&purpose(false)), plain);
        assert_eq!(address(&purpose(true)), format!("{plain}&test=true"));
    }

    #[test]
    fn a_repair_never_goes_to_connect_accounts() {
        for (purpose, path) in [
            (Purpose::Extend("c 1".into()), "/extend-consent?"),
            (Purpose::Update("c 1".into()), "/update-consent?"),
        ] {
            let address = address(&purpose);
            assert!(
                address.contains(path) && address.ends_with("&state=s-_1&credentials_id=c+1"),
                "{address}"
            );
            assert!(!address.contains("market") && !address.contains("connect-accounts"));
        }
    }

    #[test]
    fn addresses_of_this_machine_can_be_listened_on() {
        for (text, path, sockets) in [
            ("http://localhost:8765/callback", "/callback", &["127.0.0.1:8765", "[::1]:8765"][..]),
            ("http://LOCALHOST:1", "/", &["127.0.0.1:1", "[::1]:1"]),
            ("http://127.0.0.1:9000/a/b", "/a/b", &["127.0.0.1:9000"]),
            ("http://[::1]/x", "/x", &["[::1]:80"]),
            ("https://app.example/tink", "/tink", &[]),
            ("https://localhost/tink", "/tink", &[]),
        ] {
            let uri = RedirectUri::parse(text).unwrap();
            let expected: Vec<SocketAddr> = sockets.iter().map(|socket| socket.parse().unwrap()).collect();
            assert_eq!((uri.as_str(), uri.path(), uri.sockets()), (text, path, expected.as_slice()));
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "expected an address"),
            ("callback", "expected an address"),
            ("http://localhost:0/", "expected an address"),
            ("ftp://localhost/", "expected an address"),
            ("http://app.example/tink", "https is needed"),
            ("http://127.0.0.1.example/", "https is needed"),
            ("http://u:p@localhost/", "user name"),
            ("https://app.example/tink?x=1", "the answer is added there"),
            ("https://app.example/#a", "the answer is added there"),
            (" https://app.example/", "blanks"),
        ] {
            let refused = RedirectUri::parse(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn the_hint_is_latin() {
        assert_eq!(id_hint("jörg-17"), "jörg-17");
        assert_eq!(id_hint("Łukasz\n✓"), "?ukasz??");
        assert_eq!(id_hint(&"x".repeat(500)).len(), 100);
    }

    proptest! {
        #[test]
        fn whatever_stands_in_it_comes_out_of_the_query(client_id: String, state: String, id: String) {
            let redirect_uri = RedirectUri::parse("http://localhost:8765/callback").unwrap();
            let code = SecretString::from("code");
            let purpose = Purpose::Update(id.clone().into());
            let link = Link { base: "http://l", client_id: &client_id, redirect_uri: &redirect_uri, code: &code, state: &state, purpose: &purpose };
            let url = Url::parse(&link.address()).unwrap();
            let sent: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            prop_assert_eq!(&sent[0].1, &client_id);
            prop_assert_eq!(&sent[3].1, &state);
            prop_assert_eq!(&sent[4].1, &id);
        }
    }
}

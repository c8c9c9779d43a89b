//! The addresses of Tink's services: https, or http on this machine only, for the sandbox. Refuses every
//! character that such an address does not need, so that no other parser can understand it differently.

use std::net::{Ipv4Addr, Ipv6Addr};

const EXPECTED: &str = "expected an address such as `https://api.tink.com`";
const NOT_SECURE: &str = "expected https (plain http is for loopback addresses only)";
const USER_INFO: &str = "expected an address without user name or password";
const QUERY: &str = "expected an address without `?` and `#`";

/// Checks the address and removes its trailing slashes; the error states what was expected.
pub(super) fn base_url(text: &str) -> Result<String, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
    if rest.contains('@') {
        return Err(USER_INFO);
    }
    if rest.contains(['?', '#']) {
        return Err(QUERY);
    }
    if !rest.chars().all(|c| c.is_ascii_alphanumeric() || "-._~/:[]".contains(c)) {
        return Err(EXPECTED);
    }
    let host = host(rest.split('/').next().unwrap_or(rest)).ok_or(EXPECTED)?;
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => return Err(NOT_SECURE),
        _ => return Err(EXPECTED),
    }
    Ok(format!("{scheme}://{}", rest.trim_end_matches('/')))
}

/// The host of `host`, `host:port` or `[v6]:port`; `None` if any part is malformed.
fn host(authority: &str) -> Option<&str> {
    let end = match authority.find(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let port_is_fine = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok_and(|port| port > 0);
    let host_is_fine = match v6(host) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(['[', ']']),
    };
    (port_is_fine && host_is_fine).then_some(host)
}

fn v6(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

fn is_loopback(host: &str) -> bool {
    if let Some(address) = v6(host) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_and_loopback_are_accepted() {
        for (text, kept) in [
            ("https://api.tink.com", "https://api.tink.com"),
            ("https://api.tink.com/", "https://api.tink.com"),
            ("HTTPS://api.tink.com/base//", "https://api.tink.com/base"),
            ("https://10.0.0.1:8443", "https://10.0.0.1:8443"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
            ("http://127.9.9.9", "http://127.9.9.9"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(base_url(text).as_deref(), Ok(kept), "{text}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for text in [
            "http://api.tink.com",
            "http://127.0.0.1.example",
            "http://localhost.example",
            "http://[::2]",
            "http://0.0.0.0",
            "http://2130706433",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert_eq!(base_url(text), Err(NOT_SECURE), "{text}");
        }
    }

    #[test]
    fn user_names_and_queries_are_refused() {
        for text in ["https://u:p@api.tink.com", "http://localhost@api.tink.com", "https://a/b@c"] {
            assert_eq!(base_url(text), Err(USER_INFO), "{text}");
        }
        for text in ["https://api.tink.com/?x=1", "https://api.tink.com#a"] {
            assert_eq!(base_url(text), Err(QUERY), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "api.tink.com",
            "https://",
            "https:///path",
            "ftp://localhost",
            "https://a b",
            "https://a:0",
            "https://a:99999",
            "https://a:",
            "https://[::1",
            "https://::1]",
            "https://[x]",
            "https://[::1]x",
            "https://a\\b",
            "https://a\n",
            "https://ä.example",
            "http://localhost:80:80",
        ] {
            assert_eq!(base_url(text), Err(EXPECTED), "{text}");
        }
    }
}

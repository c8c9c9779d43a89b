//! What the environment defines about the connection to Tink: proxies and certificate authorities. A mistake
//! in it ends the program before anything is sent; otherwise the traffic would take another route than the
//! intended one. No message shows a value: a proxy's address may hold a password.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use secrecy::SecretString;

use super::{ConfigError, Env};

/// The variables that name a proxy, by purpose; the first one that is set counts.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];

/// A file of certificates that replaces the system's.
const CERT_FILE: &str = "SSL_CERT_FILE";
/// Directories of such files.
const CERT_DIR: &str = "SSL_CERT_DIR";
/// What every such file must contain.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
/// How much of such a file is read, at most.
const LARGEST: u64 = 16 << 20;

const EXPECTED: &str =
    "is not the address of a proxy; expected http://HOST:PORT, or https, socks5 or socks5h in place of http";

/// A proxy, and the variable that names it.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub variable: &'static str,
    /// Its full address, including a login.
    pub address: SecretString,
}

/// The connection to Tink.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// For `https` addresses.
    pub https: Option<Proxy>,
    /// For `http` addresses.
    pub http: Option<Proxy>,
    /// The variables that name authorities to trust instead of the system's.
    pub authorities: Vec<&'static str>,
}

impl Network {
    /// Reads the proxies and authorities from the environment.
    ///
    /// # Errors
    /// [`ConfigError::Variable`] for a proxy without a valid address, and for certificates that cannot be
    /// used.
    pub fn of(env: &Env<'_>) -> Result<Self, ConfigError> {
        let [https, http, all] = [proxy(HTTPS, env)?, proxy(HTTP, env)?, proxy(ALL, env)?];
        let authorities = authorities(env)?;
        Ok(Self { https: https.or_else(|| all.clone()), http: http.or(all), authorities })
    }
}

fn proxy(names: [&'static str; 2], env: &Env<'_>) -> Result<Option<Proxy>, ConfigError> {
    let mut found = None;
    for variable in names {
        let Some(value) = env(variable).filter(|value| !value.is_empty()) else { continue };
        let address = value.into_string().ok().and_then(|text| address(&text));
        let address = address.ok_or_else(|| wrong(variable, EXPECTED))?;
        found = found.or(Some(Proxy { variable, address: address.into() }));
    }
    Ok(found)
}

fn wrong(name: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Variable { name, problem: problem.into() }
}

/// The full address of a proxy; `None` if there is any doubt about it.
fn address(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h") {
        return None;
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (login, place) = match authority.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:%".contains(c);
    let is_login = login.is_none_or(|login| !login.is_empty() && login.chars().all(fits));
    (is_login && is_place(place)).then(|| format!("{scheme}://{authority}"))
}

/// `HOST` or `HOST:PORT`, the host a name, an IPv4 address, or an IPv6 address in brackets.
fn is_place(place: &str) -> bool {
    let (host, port) = match place.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, rest))) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, rest),
        Some(_) => return false,
        None => {
            let (host, _) = place.split_once(':').unwrap_or((place, ""));
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            if !host.starts_with(|c: char| c.is_ascii_alphanumeric()) || !host.chars().all(fits) {
                return false;
            }
            (host, place.strip_prefix(host).unwrap_or_default())
        }
    };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|n| n > 0);
    !host.is_empty() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// Returns the variables that name authorities; each must name at least one usable certificate.
fn authorities(env: &Env<'_>) -> Result<Vec<&'static str>, ConfigError> {
    let mut named = Vec::new();
    if let Some(file) = env(CERT_FILE) {
        usable_file(&file).map_err(|problem| wrong(CERT_FILE, problem))?;
        named.push(CERT_FILE);
    }
    if let Some(directories) = env(CERT_DIR) {
        usable_directories(&directories).map_err(|problem| wrong(CERT_DIR, problem))?;
        named.push(CERT_DIR);
    }
    Ok(named)
}

fn usable_file(file: &OsString) -> Result<(), String> {
    if file.is_empty() {
        return Err("is set and empty, so that no certificate is trusted; unset it".to_owned());
    }
    match holds_certificate(Path::new(file)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("the file it names holds no certificate ({CERTIFICATE})")),
        Err(error) => Err(format!("the file it names cannot be read: {error}")),
    }
}

fn usable_directories(directories: &OsString) -> Result<(), String> {
    let mut is_found = false;
    for directory in std::env::split_paths(directories).filter(|path| !path.as_os_str().is_empty()) {
        let entries = std::fs::read_dir(directory)
            .map_err(|error| format!("a directory that it names cannot be read: {error}"))?;
        // A file that cannot be read is skipped, as the library does.
        is_found |= entries.flatten().any(|entry| holds_certificate(&entry.path()).unwrap_or(false));
    }
    if is_found { Ok(()) } else { Err("the directories it names hold no certificate".to_owned()) }
}

fn holds_certificate(path: &Path) -> io::Result<bool> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn of(variables: &[(&str, &str)]) -> Result<Network, ConfigError> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        Network::of(&find)
    }

    #[test]
    fn addresses_are_taken_as_they_are_meant_or_refused() {
        for (written, meant) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("proxy.example:3128", "http://proxy.example:3128"),
            ("10.0.0.1", "http://10.0.0.1"),
            ("HTTPS://proxy/", "https://proxy"),
            ("socks5h://user:p%40ss@[::1]:1080", "socks5h://user:p%40ss@[::1]:1080"),
        ] {
            assert_eq!(address(written).as_deref(), Some(meant), "{written}");
        }
        for wrong in [
            "htp://proxy:3128",
            "http:/proxy:3128",
            "http//proxy:3128",
            "http:proxy:3128",
            " http://proxy:3128",
            "http://proxy:3128 ",
            "http://proxy:99999",
            "http://proxy:0",
            "http://proxy:",
            "http://:3128",
            "http://",
            "http://proxy:31a8",
            "http://proxy:+80",
            "http://@proxy",
            "http://us er@proxy",
            "http://p@ss@proxy:1",
            "http://[::1",
            "http://[x]:1",
            "http://proxy/path",
            "http://proxy?x",
            "ftp://proxy",
            "://proxy",
            ".proxy",
            "\"http://proxy:3128\"",
            "http://http://proxy",
            "-",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_mistyped_proxy_is_named_and_not_shown() {
        for variable in [HTTPS, HTTP, ALL].concat() {
            let text = of(&[(variable, "htp://ann:hunter2@proxy:3128")]).unwrap_err().to_string();
            assert!(text.contains(variable) && !text.contains("hunter2"), "{text}");
        }
        let network =
            of(&[("https_proxy", "proxy:1"), ("ALL_PROXY", "proxy:2"), ("HTTP_PROXY", "")]).unwrap();
        let shown = |proxy: Option<Proxy>| {
            proxy.map(|proxy| (proxy.variable, proxy.address.expose_secret().to_owned()))
        };
        assert_eq!(shown(network.https), Some(("https_proxy", "http://proxy:1".to_owned())));
        assert_eq!(shown(network.http), Some(("ALL_PROXY", "http://proxy:2".to_owned())));
        assert!(of(&[]).unwrap().https.is_none());
    }

    #[test]
    fn certificates_that_cannot_be_used_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(path("none")).unwrap();
        std::fs::write(path("empty.pem"), "").unwrap();
        for (variable, value) in [
            (CERT_FILE, path("missing.pem")),
            (CERT_FILE, path("empty.pem")),
            (CERT_FILE, path("none")),
            (CERT_FILE, String::new()),
            (CERT_DIR, path("missing")),
            (CERT_DIR, path("none")),
            (CERT_DIR, path("empty.pem")),
        ] {
            let text = of(&[(variable, &value)]).unwrap_err().to_string();
            assert!(text.contains(variable), "{text}");
        }
        std::fs::write(path("one.pem"), format!("x\n{CERTIFICATE}\n")).unwrap();
        let both = format!("{}:{}", path("none"), dir.path().display());
        assert_eq!(of(&[(CERT_FILE, &path("one.pem")), (CERT_DIR, &both)]).unwrap().authorities.len(), 2);
    }
}

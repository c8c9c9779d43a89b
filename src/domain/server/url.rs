//! Splits the text of an address, `postgres://user@host1:port,host2/database?parameter=value`, by libpq's
//! rules. Knows which parameters exist, not what their values mean. Never puts a value into a message: it may
//! be a misplaced password.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// The error for an address that contains a password.
pub(super) const PASSWORD: &str = "expected an address without a password; put that into a password file and name it \
     in `store.pgpass_file`";
const SCHEME: &str = "expected `postgres://user@host/database`";
const OPTIONS: &str = "the parameter `options` is not taken, since the program sends its own; set what the database \
     needs with ALTER ROLE … SET";

/// The parameters that an address may have. `ssl=true` is an old way to write `sslmode=require`.
pub(super) const KNOWN: [&str; 21] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "passfile",
    "port",
    "ssl",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// The contents of an address, by parameter name; several hosts are separated by commas.
pub(super) type Parts = BTreeMap<&'static str, String>;

pub(super) fn take_apart(url: &str) -> Result<Parts, String> {
    let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or(SCHEME)?;
    if holds_password(rest) {
        return Err(PASSWORD.to_owned());
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut given = Parts::new();
    let (names, ports) = hosts_and_ports(hosts)?;
    for (name, value) in [("user", decoded(user)?), ("dbname", decoded(database)?)] {
        if !value.is_empty() {
            given.insert(name, value);
        }
    }
    for (name, values) in [("host", names), ("port", ports)] {
        if values.iter().any(|value| !value.is_empty()) {
            given.insert(name, values.join(","));
        }
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        parameter(pair, &mut given)?;
    }
    Ok(given)
}

/// Whether it may contain a password anywhere; takes the last `@`, since a password may contain any
/// character.
fn holds_password(rest: &str) -> bool {
    let user = rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    let parameter =
        rest.split_once('?').is_some_and(|(_, query)| query.to_ascii_lowercase().contains("password"));
    user || parameter
}

/// The hosts, and the port of each, empty if there is none.
fn hosts_and_ports(hosts: &str) -> Result<(Vec<String>, Vec<String>), String> {
    let mut both = (Vec::new(), Vec::new());
    for one in hosts.split(',') {
        let (host, port) = match one.strip_prefix('[') {
            Some(six) => {
                let (host, behind) =
                    six.split_once(']').ok_or("a host that begins with `[` has no `]` at its end")?;
                let port = behind.strip_prefix(':');
                if port.is_none() && !behind.is_empty() {
                    return Err("expected `:` and a port, or nothing, behind the `]` of a host".to_owned());
                }
                (host, port.unwrap_or(""))
            }
            None => one.split_once(':').unwrap_or((one, "")),
        };
        both.0.push(decoded(host)?);
        both.1.push(decoded(port)?);
    }
    Ok(both)
}

fn parameter(pair: &str, given: &mut Parts) -> Result<(), String> {
    let (name, value) = pair.split_once('=').ok_or("expected `parameter=value` behind `?` and each `&`")?;
    let (name, value) = (decoded(name)?, decoded(value)?);
    if name.to_ascii_lowercase().contains("password") {
        return Err(PASSWORD.to_owned());
    }
    if name == "options" {
        return Err(OPTIONS.to_owned());
    }
    let Some(known) = KNOWN.into_iter().find(|known| *known == name) else {
        let shown: String = name.escape_debug().take(40).collect();
        return Err(format!(
            "`{shown}` is no parameter of an address; expected one of: {}",
            KNOWN.join(", ")
        ));
    };
    let (known, value) = match (known, value.as_str()) {
        ("ssl", "true") => ("sslmode", "require".to_owned()),
        ("ssl", _) => return Err("expected `true` for `ssl`; use `sslmode`".to_owned()),
        _ => (known, value),
    };
    match given.insert(known, value) {
        Some(_) => Err(format!("`{known}` is given twice")),
        None => Ok(()),
    }
}

/// Decodes percent-encoding. A `+` is kept, as in libpq.
fn decoded(text: &str) -> Result<String, String> {
    let mut parts = text.split('%');
    parts.next();
    let is_code = |part: &str| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !parts.all(is_code) {
        return Err(
            "a `%` must be followed by two hexadecimal digits; write the sign itself as %25".to_owned()
        );
    }
    let text =
        percent_decode_str(text).decode_utf8().map_err(|_| "a percent-encoding is no text in UTF-8")?;
    if text.chars().any(char::is_control) {
        return Err("an address must not hold control characters".to_owned());
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(url: &str) -> String {
        let given = take_apart(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        given.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_address_is_taken_apart_as_libpq_does() {
        for (url, expected) in [
            ("postgres://", ""),
            ("postgresql://db", "host=db"),
            ("postgres://db/", "host=db"),
            ("postgres:///bank", "dbname=bank"),
            ("postgres://app@db:5433/bank", "dbname=bank host=db port=5433 user=app"),
            ("postgres://@:5433", "port=5433"),
            ("postgres://a,b:2,c/x", "dbname=x host=a,b,c port=,2,"),
            ("postgres://[::1]:5433,[fe80::1%25eth0]/x", "dbname=x host=::1,fe80::1%eth0 port=5433,"),
            ("postgres://%2Frun%2Fpg/x", "dbname=x host=/run/pg"),
            ("postgres:///x?host=/run/pg&port=1", "dbname=x host=/run/pg port=1"),
            ("postgres://a%40b%3Ac@db/y%2Fz%20+", "dbname=y/z + host=db user=a@b:c"),
            ("postgres://db?sslmode=verify-full&", "host=db sslmode=verify-full"),
            ("postgres://db?ssl=true", "host=db sslmode=require"),
            ("postgres://db/x?application_name=a=b%26c", "application_name=a=b&c dbname=x host=db"),
        ] {
            assert_eq!(given(url), expected, "{url}");
        }
    }

    #[test]
    fn a_password_is_refused_wherever_it_stands_and_is_not_repeated() {
        for url in [
            "postgres://app:hunter2@db/bank",
            "postgres://app:hunter2/w@x@db/bank",
            "postgres://app:hunter2?@db/bank",
            "postgresql://db/bank?user=app&password=hunter2",
            "postgres://db/bank?PassWord=hunter2",
            "postgres://db/bank?pass%77ord=hunter2",
            "postgres://db/bank?sslpassword=hunter2",
        ] {
            assert_eq!(take_apart(url).unwrap_err(), PASSWORD, "{url}");
        }
        // Half typed: it may contain one.
        for url in ["postgres://app:hunter2", "postgres://app:%hunter2@db", "postgres://db?sslmode=a&hunter2"]
        {
            if let Err(error) = take_apart(url) {
                assert!(!error.contains("hunter2"), "{error}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (url, expected) in [
            ("sqlite:/a.db", "expected `postgres://"),
            ("postgres:db", "expected `postgres://"),
            (
                "postgres://db?sslmod=require",
                "`sslmod` is no parameter of an address; expected one of: application_name",
            ),
            ("postgres://db?options=-c%20work_mem%3D1", "ALTER ROLE"),
            ("postgres://db?sslmode=require&sslmode=disable", "`sslmode` is given twice"),
            ("postgres://db/x?dbname=y", "`dbname` is given twice"),
            ("postgres://db?ssl=on", "expected `true` for `ssl`"),
            ("postgres://db?sslmode", "expected `parameter=value`"),
            ("postgres://[::1", "`]`"),
            ("postgres://[::1]5432/x", "behind the `]`"),
            ("postgres://db/50%", "%25"),
            ("postgres://db/5%é0", "%25"),
            ("postgres://db/%ff", "UTF-8"),
            ("postgres://db/x%00y", "control"),
        ] {
            let error = take_apart(url).unwrap_err();
            assert!(error.contains(expected), "{url}: {error}");
        }
    }
}

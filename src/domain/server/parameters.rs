//! Builds a [`Target`] from the parameters of an address, the variables and libpq's defaults. Never puts a
//! value into a message: it may be a misplaced password.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{
    ChannelBinding, Host, Liveness, Lookup, MODES, Password, Pgpass, Roots, SOCKETS, Security, Server,
    SessionKind, SslMode, Target, url,
};

const PORT: u16 = 5432;
const TIMEOUT: Duration = Duration::from_secs(10);
/// A server that has silently gone must be noticed long before a lease ends.
const GONE: Duration = Duration::from_mins(1);
const IDLE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
const APPLICATION: &str = "tink-sync";

/// The variables for parameters that the address does not give.
const VARIABLES: [(&str, &str); 13] = [
    ("application_name", "PGAPPNAME"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("dbname", "PGDATABASE"),
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("passfile", "PGPASSFILE"),
    ("port", "PGPORT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];

const BINDINGS: [(&str, ChannelBinding); 3] = [
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];
const SESSIONS: [(&str, SessionKind); 6] = [
    ("any", SessionKind::Any),
    ("read-write", SessionKind::ReadWrite),
    ("read-only", SessionKind::ReadOnly),
    ("primary", SessionKind::Primary),
    ("standby", SessionKind::Standby),
    ("prefer-standby", SessionKind::PreferStandby),
];

/// Parses an address; `env` supplies what it leaves out.
pub(super) fn target(url: &str, env: &Lookup<'_>) -> Result<Target, String> {
    let mut given = Parameters::new(url, env)?;
    if given.take("client_encoding").is_some_and(|name| !is_utf8(&name)) {
        return Err("expected `UTF8` for `client_encoding`, or nothing".to_owned());
    }
    let places = places(&mut given)?;
    Ok(Target {
        url: url.to_owned(),
        places,
        user: given.take("user"),
        database: given.take("dbname"),
        application_name: given.take("application_name").unwrap_or_else(|| APPLICATION.to_owned()),
        security: security(&mut given)?,
        channel_binding: given.one_of("channel_binding", &BINDINGS)?.unwrap_or(ChannelBinding::Prefer),
        connect_timeout: given.span("connect_timeout", Duration::from_secs, Some(TIMEOUT))?,
        liveness: liveness(&mut given)?,
        session: given.one_of("target_session_attrs", &SESSIONS)?,
        password: variable(env, "PGPASSWORD")?.map(|text| Password(text.into())),
        pgpass: given.take("passfile").map_or(Pgpass::Home, |path| Pgpass::File(path.into())),
        credentials: variable(env, "CREDENTIALS_DIRECTORY")?.map(PathBuf::from),
    })
}

/// The parameters of an address, supplemented by the environment.
struct Parameters(url::Parts);

impl Parameters {
    fn new(url: &str, env: &Lookup<'_>) -> Result<Self, String> {
        let mut given = url::take_apart(url)?;
        // A host from the address must not be sought where a variable locates another one.
        let names_host = given.contains_key("host") || given.contains_key("hostaddr");
        for (name, variable) in VARIABLES.into_iter().chain([("user", "PGUSER")]) {
            let covered = given.contains_key(name) || (names_host && name.starts_with("host"));
            if let (false, Some(value)) = (covered, self::variable(env, variable)?) {
                given.insert(name, value);
            }
        }
        Ok(Self(given))
    }

    /// The value, if given and not empty.
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// The value of this name in `values`.
    fn one_of<T: Copy>(&mut self, name: &str, values: &[(&str, T)]) -> Result<Option<T>, String> {
        let Some(given) = self.0.remove(name) else { return Ok(None) };
        let found = values.iter().find(|(value, _)| *value == given);
        let names = || values.iter().map(|(value, _)| *value).collect::<Vec<_>>().join(", ");
        found
            .map(|(_, value)| Some(*value))
            .ok_or_else(|| format!("expected one of {} for `{name}`", names()))
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(given) = self.take(name) else { return Ok(None) };
        given.trim().parse().map(Some).map_err(|_| format!("expected a whole number for `{name}`"))
    }

    /// A duration; `None` if 0 or less, `default` if not given.
    fn span(
        &mut self,
        name: &str,
        unit: fn(u64) -> Duration,
        default: Option<Duration>,
    ) -> Result<Option<Duration>, String> {
        let given: Option<i32> = self.number(name)?;
        Ok(given.map_or(default, |number| u64::try_from(number).ok().filter(|n| *n > 0).map(unit)))
    }
}

fn variable(env: &Lookup<'_>, name: &str) -> Result<Option<String>, String> {
    let text = env(name).map(OsString::into_string).transpose();
    let text = text.map_err(|_| format!("the variable {name} is no text in UTF-8"))?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn is_utf8(name: &str) -> bool {
    ["auto", "utf8", "utf-8"].contains(&name.to_ascii_lowercase().as_str())
}

fn places(given: &mut Parameters) -> Result<Vec<Server>, String> {
    let split = |text: Option<String>| -> Vec<String> {
        text.map(|text| text.split(',').map(|one| one.trim().to_owned()).collect()).unwrap_or_default()
    };
    let (hosts, addresses) = (split(given.take("host")), split(given.take("hostaddr")));
    let ports = split(given.0.remove("port"));
    let count = hosts.len().max(addresses.len()).max(1);
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(format!(
            "{} in `host`, but {} in `hostaddr`: one for each",
            hosts.len(),
            addresses.len()
        ));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(format!("{} ports, but {count} hosts: expected one port, or one for each", ports.len()));
    }
    let at = |index: usize| {
        let text = |list: &[String]| list.get(index).filter(|one| !one.is_empty()).cloned();
        let port = if ports.len() == 1 { ports.first() } else { ports.get(index) };
        place(text(&hosts), text(&addresses), port.map_or("", String::as_str))
    };
    (0..count).map(at).collect()
}

fn place(host: Option<String>, address: Option<String>, port: &str) -> Result<Server, String> {
    let port = match port {
        "" => Ok(PORT),
        port => port.parse().ok().filter(|port| *port > 0).ok_or("a port must be a number from 1 to 65535"),
    };
    let address = address.map(|text| text.parse::<IpAddr>()).transpose();
    let address = address.map_err(|_| "expected an IP address in `hostaddr`; names belong into `host`")?;
    let host = match (host, address) {
        (Some(path), _) if path.starts_with('/') => Host::Socket(PathBuf::from(path)),
        (Some(name), _) if name.starts_with('@') => {
            return Err(
                "abstract Unix sockets (`@…`) are not supported; name the socket's directory".to_owned()
            );
        }
        (Some(name), _) => Host::Name(name),
        (None, Some(address)) => Host::Name(address.to_string()),
        (None, None) => Host::Socket(PathBuf::from(SOCKETS)),
    };
    Ok(Server { host, address, port: port? })
}

fn security(given: &mut Parameters) -> Result<Security, String> {
    let mode = given.one_of("sslmode", &MODES)?;
    let roots = match given.take("sslrootcert").as_deref() {
        None => Roots::Unset,
        Some("system") => Roots::System,
        Some(path) => Roots::File(PathBuf::from(path)),
    };
    if roots == Roots::System && mode.is_some_and(|mode| mode < SslMode::VerifyFull) {
        return Err(
            "`sslrootcert=system` works only with `sslmode=verify-full`: anybody can have a certificate \
                    of those authorities"
                .to_owned(),
        );
    }
    let usual = if roots == Roots::System { SslMode::VerifyFull } else { SslMode::Prefer };
    let own = match (given.take("sslcert"), given.take("sslkey")) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        _ => return Err("`sslcert` and `sslkey` work only together".to_owned()),
    };
    Ok(Security { mode: mode.unwrap_or(usual), roots, own })
}

fn liveness(given: &mut Parameters) -> Result<Liveness, String> {
    let on = given.one_of("keepalives", &[("1", true), ("0", false)])?;
    let probes: Option<u32> = given.number("keepalives_count")?;
    Ok(Liveness {
        keepalives: on.unwrap_or(true),
        idle: given.span("keepalives_idle", Duration::from_secs, Some(IDLE))?,
        interval: given.span("keepalives_interval", Duration::from_secs, Some(INTERVAL))?,
        probes: probes.map_or(Some(PROBES), |count| Some(count).filter(|count| *count > 0)),
        unanswered: given.span("tcp_user_timeout", Duration::from_millis, Some(GONE))?,
    })
}

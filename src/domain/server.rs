//! Which database on which PostgreSQL servers, and how they are to be reached: an address with libpq's parameters,
//! variables and defaults. Reads no file, asks nobody; shows no password.

mod url;

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

/// How a variable of the environment is looked up.
pub type Lookup<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Where PostgreSQL's packages put the server's Unix socket.
const SOCKETS: &str = "/var/run/postgresql";
const PORT: u16 = 5432;
const TIMEOUT: Duration = Duration::from_secs(10);
/// A server that has gone without a word must be noticed long before a lease ends.
const GONE: Duration = Duration::from_mins(1);
const IDLE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
const APPLICATION: &str = "tink-sync";

/// The variables that stand in for parameters that the address does not give.
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

/// A database on one or several servers, as `store.url` or `source.database` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address as it was given; it holds no password.
    url: String,
    pub(crate) places: Vec<Place>,
    /// `None` is the user of the process, who may become another one after this was read.
    pub(crate) user: Option<String>,
    /// `None` is the database of the user's name.
    pub(crate) database: Option<String>,
    pub(crate) application_name: String,
    pub(crate) security: Security,
    pub(crate) channel_binding: ChannelBinding,
    /// How long one address may take to be ready; `None` is for ever.
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) liveness: Liveness,
    session: Option<Session>,
    pub(crate) password: Option<Secret>,
    pub(crate) pgpass: Pgpass,
    /// systemd guards the files in this directory, whatever their modes are.
    pub(crate) credentials: Option<PathBuf>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: Host,
    /// Where it is, if that need not be looked up.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
}

/// What a server is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    /// The directory of its Unix socket.
    Socket(PathBuf),
}

/// What is asked of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Security {
    pub(crate) mode: SslMode,
    pub(crate) roots: Roots,
    /// The files of a certificate of our own and its key.
    pub(crate) own: Option<(PathBuf, PathBuf)>,
}

/// `sslmode`, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// `sslrootcert`: whose signatures on a server's certificate count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Nothing is said: the system's, where certificates are looked at at all.
    Unset,
    System,
    File(PathBuf),
}

/// `channel_binding`: whether the password proves who is at the other end of the TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// `target_session_attrs`: which servers of several will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// How it is noticed that a server has gone without a word. `None` leaves it to the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Liveness {
    pub(crate) keepalives: bool,
    pub(crate) idle: Option<Duration>,
    pub(crate) interval: Option<Duration>,
    pub(crate) probes: Option<u32>,
    /// How long something sent may stay without an answer.
    pub(crate) unanswered: Option<Duration>,
}

/// Where the password is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pgpass {
    /// `.pgpass` in the home directory of the user, if it is there.
    Home,
    File(PathBuf),
    /// The text of a file that was read where it could be read.
    Text(Secret),
}

/// A secret that can be compared with another.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) SecretString);

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl Target {
    /// Reads an address; `env` has what it does not say.
    ///
    /// # Errors
    /// What is wrong and what was expected; no value of a parameter that may be a password.
    pub fn parse(url: &str, env: &Lookup<'_>) -> Result<Self, String> {
        let mut given = Parameters::new(url, env)?;
        if given.take("client_encoding").is_some_and(|name| !is_utf8(&name)) {
            return Err("expected `UTF8` for `client_encoding`, or nothing".to_owned());
        }
        let places = places(&mut given)?;
        Ok(Self {
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
            password: variable(env, "PGPASSWORD")?.map(|text| Secret(text.into())),
            pgpass: given.take("passfile").map_or(Pgpass::Home, |path| Pgpass::File(path.into())),
            credentials: variable(env, "CREDENTIALS_DIRECTORY")?.map(PathBuf::from),
        })
    }

    /// With this password file in place of what the address and the environment name; `None` changes nothing.
    #[must_use]
    pub fn with_pgpass(self, path: Option<PathBuf>) -> Self {
        match path {
            Some(path) => Self { pgpass: Pgpass::File(path), ..self },
            None => self,
        }
    }

    /// With the text of a password file that only somebody else could read; `None` changes nothing.
    #[must_use]
    pub fn with_pgpass_text(self, text: Option<SecretString>) -> Self {
        match text {
            Some(text) => Self { pgpass: Pgpass::Text(Secret(text)), ..self },
            None => self,
        }
    }

    /// For reading alone: any server will do unless the address says more.
    #[must_use]
    pub fn for_reading(self) -> Self {
        Self { session: self.session.or(Some(Session::Any)), ..self }
    }

    /// The address as it was given. There is no password in it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Which servers will do: with several to choose from, one that can be written to.
    pub(crate) fn session(&self) -> Session {
        let several = self.places.len() > 1;
        self.session.unwrap_or(if several { Session::ReadWrite } else { Session::Any })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Place {
    /// Whether the way to it is a Unix socket, where there is no TLS.
    pub(crate) fn is_socket(&self) -> bool {
        matches!(self.host, Host::Socket(_))
    }

    /// Whether a password file may call this server `localhost`.
    pub(crate) fn is_usual_socket(&self) -> bool {
        let usual = ["/run/postgresql", SOCKETS, "/tmp"].map(Path::new);
        matches!(&self.host, Host::Socket(directory) if usual.contains(&directory.as_path()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Socket(directory) => write!(f, "{}/.s.PGSQL.{}", directory.display(), self.port),
            Host::Name(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];
const BINDINGS: [(&str, ChannelBinding); 3] = [
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];
const SESSIONS: [(&str, Session); 6] = [
    ("any", Session::Any),
    ("read-write", Session::ReadWrite),
    ("read-only", Session::ReadOnly),
    ("primary", Session::Primary),
    ("standby", Session::Standby),
    ("prefer-standby", Session::PreferStandby),
];

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MODES.iter().find(|(_, mode)| mode == self).map_or("", |(name, _)| name))
    }
}

/// The parameters of an address, with those of the environment below them.
struct Parameters(url::Given);

impl Parameters {
    fn new(url: &str, env: &Lookup<'_>) -> Result<Self, String> {
        let mut given = url::take_apart(url)?;
        // A host of the address must not be looked for where a variable says another one is.
        let names_host = given.contains_key("host") || given.contains_key("hostaddr");
        for (name, variable) in VARIABLES.into_iter().chain([("user", "PGUSER")]) {
            let covered = given.contains_key(name) || (names_host && name.starts_with("host"));
            if let (false, Some(value)) = (covered, self::variable(env, variable)?) {
                given.insert(name, value);
            }
        }
        Ok(Self(given))
    }

    /// What is given, and not empty.
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// The value of this name.
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

    /// A length of time; none if it is 0 or less.
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

fn places(given: &mut Parameters) -> Result<Vec<Place>, String> {
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

fn place(host: Option<String>, address: Option<String>, port: &str) -> Result<Place, String> {
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
    Ok(Place { host, address, port: port? })
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

#[cfg(test)]
mod tests;

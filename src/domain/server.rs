//! Which database on which PostgreSQL servers, and how to reach them: an address with libpq's parameters,
//! variables and defaults. Reads no file, sends nothing, shows no password.

mod parameters;
mod url;

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

/// Looks up an environment variable.
pub type Lookup<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Where PostgreSQL's packages put the server's Unix socket.
const SOCKETS: &str = "/var/run/postgresql";
/// A database on one or several servers, as `store.url` or `source.database` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address as it was given; it holds no password.
    url: String,
    pub(crate) places: Vec<Server>,
    /// `None` is the user of the process, which may change after this was read.
    pub(crate) user: Option<String>,
    /// `None` is the database named after the user.
    pub(crate) database: Option<String>,
    pub(crate) application_name: String,
    pub(crate) security: Security,
    pub(crate) channel_binding: ChannelBinding,
    /// The time limit for one address to become ready; `None` is no limit.
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) liveness: Liveness,
    session: Option<SessionKind>,
    pub(crate) password: Option<Password>,
    pub(crate) pgpass: Pgpass,
    /// The directory whose files systemd protects, whatever their modes are.
    pub(crate) credentials: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) host: Host,
    /// The address, if the name need not be looked up.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    /// The directory of its Unix socket.
    Socket(PathBuf),
}

/// The TLS requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Security {
    pub(crate) mode: SslMode,
    pub(crate) roots: Roots,
    /// The files of our own certificate and its key.
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
    /// Not given: the system's, if certificates are checked at all.
    Unset,
    System,
    File(PathBuf),
}

/// `channel_binding`: whether the password exchange also proves the peer of the TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// `target_session_attrs`: which of several servers are acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// How to notice that a server has silently gone. `None` leaves it to the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Liveness {
    pub(crate) keepalives: bool,
    pub(crate) idle: Option<Duration>,
    pub(crate) interval: Option<Duration>,
    pub(crate) probes: Option<u32>,
    /// How long sent data may stay unacknowledged.
    pub(crate) unanswered: Option<Duration>,
}

/// Where to look for the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pgpass {
    /// `.pgpass` in the home directory of the user, if it exists.
    Home,
    File(PathBuf),
    /// The text of a password file, read where it was readable.
    Text(Password),
}

/// A secret that can be compared with another.
#[derive(Clone)]
pub(crate) struct Password(pub(crate) SecretString);

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl Target {
    /// Parses an address; `env` supplies what it leaves out.
    ///
    /// # Errors
    /// What is wrong and what was expected; no value of a parameter, which may be a password.
    pub fn parse(url: &str, env: &Lookup<'_>) -> Result<Self, String> {
        parameters::target(url, env)
    }

    /// Replaces the password file that the address or the environment names; `None` changes nothing.
    #[must_use]
    pub fn with_pgpass(self, path: Option<PathBuf>) -> Self {
        match path {
            Some(path) => Self { pgpass: Pgpass::File(path), ..self },
            None => self,
        }
    }

    /// Uses the text of a password file that only another user could read; `None` changes nothing.
    #[must_use]
    pub fn with_pgpass_text(self, text: Option<SecretString>) -> Self {
        match text {
            Some(text) => Self { pgpass: Pgpass::Text(Password(text)), ..self },
            None => self,
        }
    }

    /// For reading only: any server is acceptable unless the address says more.
    #[must_use]
    pub fn for_reading(self) -> Self {
        Self { session: self.session.or(Some(SessionKind::Any)), ..self }
    }

    /// The address as given. It contains no password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Which servers are acceptable: if there are several, one that can be written to.
    pub(crate) fn session(&self) -> SessionKind {
        let several = self.places.len() > 1;
        self.session.unwrap_or(if several { SessionKind::ReadWrite } else { SessionKind::Any })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Server {
    /// Whether it is reached over a Unix socket, where there is no TLS.
    pub(crate) fn is_socket(&self) -> bool {
        matches!(self.host, Host::Socket(_))
    }

    /// Whether a password file may call this server `localhost`.
    pub(crate) fn is_usual_socket(&self) -> bool {
        let usual = ["/run/postgresql", SOCKETS, "/tmp"].map(Path::new);
        matches!(&self.host, Host::Socket(directory) if usual.contains(&directory.as_path()))
    }
}

impl fmt::Display for Server {
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
impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MODES.iter().find(|(_, mode)| mode == self).map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests;

//! Why no server could be reached, what to do about it, and whether a retry can help. Never holds a password.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::CertificateError;
use tokio_postgres::error::DbError;

use super::pgpass::Passwords;
use crate::domain::cause::Cause;
use crate::domain::server::Server;

/// Why there is no connection: the failure of each server, in the order in which they were tried.
#[derive(Debug)]
pub(crate) struct ConnectError {
    user: String,
    database: String,
    failures: Vec<ServerFailure>,
}

impl ConnectError {
    pub(super) fn new(user: &str, database: &str) -> Self {
        Self { user: user.to_owned(), database: database.to_owned(), failures: Vec::new() }
    }

    pub(super) fn with(mut self, failure: ServerFailure) -> Self {
        self.failures.push(failure);
        self
    }

    /// Whether the problem may resolve itself: a server that is away, starting, or not the primary now. A
    /// refusal is final: the other servers would refuse, too.
    pub(crate) fn is_transient(&self) -> bool {
        !self.is_final() && self.failures.iter().any(|failure| failure.problem.is_transient())
    }

    /// Whether something on this machine is in the way, and not a server.
    pub(crate) fn is_local(&self) -> bool {
        self.failures.last().is_some_and(|failure| failure.problem.kind == Kind::Local)
    }

    /// Whether the next server need not be tried.
    pub(super) fn is_final(&self) -> bool {
        self.failures.last().is_some_and(|failure| failure.problem.is_final())
    }

    #[cfg(test)]
    pub(super) fn kinds(&self) -> Vec<Kind> {
        self.failures.iter().map(|failure| failure.problem.kind).collect()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database `{}` as user `{}`", self.database, self.user)?;
        for (index, failure) in self.failures.iter().enumerate() {
            write!(f, "{}{failure}", if index == 0 { ": " } else { "; " })?;
        }
        if self.failures.is_empty() { f.write_str(": no address of a server was found") } else { Ok(()) }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failures.last()?.problem.source()
    }
}

/// The failure of one server.
#[derive(Debug)]
pub(super) struct ServerFailure {
    place: Option<String>,
    problem: ConnectProblem,
}

impl ServerFailure {
    pub(super) fn at(place: &Server, problem: ConnectProblem) -> Self {
        Self { place: Some(place.to_string()), problem }
    }

    /// A problem found before any server is contacted.
    pub(super) fn anywhere(problem: ConnectProblem) -> Self {
        Self { place: None, problem }
    }
}

impl fmt::Display for ServerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place} {}", self.problem),
            None => self.problem.fmt(f),
        }
    }
}

/// The kind of a problem, which determines the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The server is away or not ready: wait.
    Away,
    /// The server has the wrong role: wait for the right one.
    Role,
    /// The server has no TLS, or its certificate is not accepted.
    Tls,
    /// The server does not admit this user from here in this way.
    NoEntry,
    /// The server refuses user, password, database or a request.
    Refused,
    /// The server does not accept start-up options.
    Options,
    /// A local file or setting cannot be used.
    Local,
}

/// A problem of one way to a server; its text continues after the server's name.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct ConnectProblem {
    kind: Kind,
    text: String,
    source: Option<Cause>,
}

impl ConnectProblem {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), source: None }
    }

    fn because(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Cause::of(source)), ..self }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Away | Kind::Role)
    }

    /// Whether asking another address would only repeat it.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.kind, Kind::NoEntry | Kind::Refused | Kind::Local)
    }

    /// Whether the attempt may succeed with or without TLS instead.
    pub(super) fn is_about_encryption(&self) -> bool {
        matches!(self.kind, Kind::Tls | Kind::NoEntry)
    }

    pub(super) fn unknown_host(error: io::Error) -> Self {
        let text = format!("cannot be resolved: {error}; check the name, and DNS");
        Self::new(Kind::Away, text).because(error)
    }

    pub(super) fn timed_out(limit: Duration) -> Self {
        let text = format!(
            "was not ready within {} s (connect_timeout); check the network, firewalls, and the server",
            limit.as_secs()
        );
        Self::new(Kind::Away, text)
    }

    pub(super) fn closed() -> Self {
        Self::new(Kind::Away, "closed the connection before it was ready; its log says why")
    }

    /// The problem that ended an attempt to connect.
    pub(super) fn of(error: tokio_postgres::Error, passwords: &Passwords, had_password: bool) -> Self {
        let asked_in_vain = !had_password && is_missing_password(&error);
        let wrong = error.code().is_some_and(|code| code.code() == "28P01");
        let text = if asked_in_vain {
            format!("asks for a password, and {}", passwords.remedy())
        } else if wrong {
            format!("refuses the password, or knows no such user; check {}", passwords.name())
        } else {
            return Self::from(error);
        };
        Self::new(Kind::Refused, text).because(error)
    }
}

impl From<tokio_postgres::Error> for ConnectProblem {
    fn from(error: tokio_postgres::Error) -> Self {
        let known = if let Some(answer) = error.as_db_error() {
            answered(answer)
        } else if let Some(tls) = below::<rustls::Error>(&error) {
            (Kind::Tls, certificate(tls))
        } else if let Some(io) = below::<io::Error>(&error) {
            network(io)
        } else if error.is_closed() {
            return Self::closed();
        } else {
            said(&error)
        };
        Self::new(known.0, known.1).because(error)
    }
}

/// Classifies an error response of the server.
fn answered(answer: &DbError) -> (Kind, String) {
    let (code, message) = (answer.code().code(), answer.message());
    let told = |kind, remedy: &str| (kind, format!("answers: {message}; {remedy}"));
    if message.contains("startup parameter") {
        return (Kind::Options, format!("answers: {message}"));
    }
    match code {
        "28000" => told(Kind::NoEntry, "check the user, and pg_hba.conf on the server"),
        "3D000" => told(Kind::Refused, "create it, or name another one in the address"),
        // Messages of pgbouncer, which has no codes for them.
        _ if ["no such database", "no such user", "bouncer config error"]
            .iter()
            .any(|says| message.contains(says)) =>
        {
            told(Kind::Refused, "check pgbouncer.ini")
        }
        _ if code.starts_with("28") => told(Kind::Refused, "check user and password"),
        "42501" => told(Kind::Refused, "GRANT CONNECT ON DATABASE lets a role in"),
        "53300" => told(Kind::Away, "raise max_connections, or lower `tink.concurrency`"),
        "57P01" | "57P02" | "57P03" => (Kind::Away, format!("answers: {message}")),
        "25006" => (Kind::Role, format!("answers: {message}")),
        _ if code.starts_with("08") => (Kind::Away, format!("answers: {message}")),
        _ => (Kind::Refused, format!("answers: {message} (SQLSTATE {code})")),
    }
}

fn certificate(error: &rustls::Error) -> String {
    use CertificateError as Of;
    let rustls::Error::InvalidCertificate(why) = error else {
        return format!("and we find no common TLS: {error}");
    };
    let what = match why {
        Of::Expired | Of::ExpiredContext { .. } => "has expired; renew it on the server",
        Of::NotValidYet | Of::NotValidYetContext { .. } => "is not valid yet; check the clocks",
        Of::UnknownIssuer => "is of an authority that is not trusted; name that authority in `sslrootcert`",
        Of::NotValidForName | Of::NotValidForNameContext { .. } => {
            "is for another name; use that name in the address, or a certificate with this one among its \
             alternative names"
        }
        Of::Revoked => "was revoked",
        _ if is_authority(why) => {
            "is that of an authority; give the server one of its own, signed by that authority"
        }
        _ => "cannot be used",
    };
    format!("shows a certificate that {what} ({error})")
}

/// Whether the server shows a self-signed certificate that may sign others.
fn is_authority(error: &CertificateError) -> bool {
    format!("{error:?}").contains("CaUsedAsEndEntity")
}

fn network(error: &io::Error) -> (Kind, String) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            let text = "refuses connections; start PostgreSQL there, and check the port and listen_addresses";
            (Kind::Away, text.to_owned())
        }
        io::ErrorKind::NotFound => {
            let text = "is not there; start PostgreSQL, and check the directory and the port of its socket";
            (Kind::Away, text.to_owned())
        }
        io::ErrorKind::PermissionDenied => (Kind::Refused, format!("cannot be opened: {error}")),
        io::ErrorKind::InvalidInput => (Kind::Refused, format!("cannot be used: {error}")),
        io::ErrorKind::InvalidData => (Kind::Refused, format!("does not speak as PostgreSQL does: {error}")),
        io::ErrorKind::UnexpectedEof => {
            (Kind::Away, "closed the connection before it was ready; its log says why".to_owned())
        }
        _ => (Kind::Away, format!("cannot be reached, or broke off: {error}")),
    }
}

/// Classifies an error of tokio-postgres itself.
fn said(error: &tokio_postgres::Error) -> (Kind, String) {
    let why = error.source().map(ToString::to_string).unwrap_or_default();
    if why == "server does not support TLS" {
        let text =
            "offers no TLS; turn `ssl` on in its postgresql.conf, or choose an `sslmode` that does without";
        return (Kind::Tls, text.to_owned());
    }
    let colon = if why.is_empty() { "" } else { ": " };
    (Kind::Refused, format!("does not let us in: {error}{colon}{why}"))
}

fn is_missing_password(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(|source| source.to_string() == "password missing")
}

/// The first error of this type among the causes.
fn below<T: Error + 'static>(error: &tokio_postgres::Error) -> Option<&T> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An `io::Error` that wraps an error returns only that error's cause as its source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

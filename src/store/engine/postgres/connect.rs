//! Connects to a server: tries each host with each of its addresses, with or without TLS, until one is
//! suitable. Must not run a statement of the store.

mod error;
mod pgpass;
mod role;
mod tls;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use nix::unistd::{User, geteuid};
use secrecy::ExposeSecret as _;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, Socket, config};
use tokio_postgres_rustls::MakeRustlsConnect;

pub(crate) use crate::domain::server::Target;
use crate::domain::server::{ChannelBinding, Host, Password, Server, SessionKind, SslMode};
pub(crate) use error::ConnectError;
use error::{ConnectProblem, Kind, ServerFailure};
use role::Role;

/// The future that does a connection's I/O; it must be polled for as long as the client is used.
pub(crate) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that is ready.
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) driver: Driver,
    /// Whether the server accepted the start-up options. pgbouncer does not.
    pub(crate) took_options: bool,
    /// The server that it is connected to.
    pub(crate) place: String,
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Connects to the first suitable server. `options` are for the server's command line (`-c name=value`).
///
/// # Errors
/// [`ConnectError`] with the reason for each server.
pub(crate) async fn connect(target: &Target, options: Option<&str>) -> Result<Connected, ConnectError> {
    let (user, database) = names(target);
    let mut error = ConnectError::new(&user, &database);
    let attempt = match Attempt::prepare(target, &user, &database, options) {
        Ok(attempt) => attempt,
        Err(problem) => return Err(error.with(ServerFailure::anywhere(problem))),
    };
    let rounds = match target.session() {
        SessionKind::PreferStandby => vec![SessionKind::Standby, SessionKind::Any],
        session => vec![session],
    };
    for session in rounds {
        error = ConnectError::new(&user, &database);
        for place in &target.places {
            match attempt.place(place, session).await {
                Ok(connected) => return Ok(connected),
                Err(failures) => {
                    error = failures.into_iter().fold(error, ConnectError::with);
                    // A refusal of this user is final: the next server is not tried.
                    if error.is_final() {
                        return Err(error);
                    }
                }
            }
        }
    }
    Err(error)
}

/// The user and the database, by libpq's defaults.
fn names(target: &Target) -> (String, String) {
    let own = || User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    let user = target.user.clone().or_else(own).unwrap_or_default();
    let database = target.database.clone().unwrap_or_else(|| user.clone());
    (user, database)
}

/// One way to speak to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    /// TLS, or plain if the server has none.
    Either,
    Tls,
}

impl Way {
    /// The ways for a mode, in libpq's order.
    fn of(mode: SslMode, is_socket: bool) -> &'static [Self] {
        match mode {
            _ if is_socket => &[Self::Plain],
            SslMode::Disable => &[Self::Plain],
            SslMode::Allow => &[Self::Plain, Self::Tls],
            SslMode::Prefer => &[Self::Either, Self::Plain],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Self::Tls],
        }
    }
}

/// What all attempts of one call have in common.
struct Attempt<'t> {
    target: &'t Target,
    config: Config,
    options: Option<&'t str>,
    tls: Option<MakeRustlsConnect>,
    passwords: pgpass::Passwords,
    user: &'t str,
    database: &'t str,
}

impl<'t> Attempt<'t> {
    fn prepare(
        target: &'t Target,
        user: &'t str,
        database: &'t str,
        options: Option<&'t str>,
    ) -> Result<Self, ConnectProblem> {
        if user.is_empty() {
            return Err(ConnectProblem::new(
                Kind::Local,
                "the system has no name for this user; name one in the address",
            ));
        }
        let secure = target.security.mode != SslMode::Disable && !target.places.iter().all(Server::is_socket);
        let tls = secure.then(|| tls::connector(&target.security)).transpose();
        let tls = tls.map_err(|text| ConnectProblem::new(Kind::Local, text))?;
        let passwords =
            pgpass::Passwords::of(target).map_err(|text| ConnectProblem::new(Kind::Local, text))?;
        Ok(Self { target, config: settings(target, user, database), options, tls, passwords, user, database })
    }

    /// Tries all addresses of a server.
    async fn place(&self, place: &Server, session: SessionKind) -> Result<Connected, Vec<ServerFailure>> {
        let addresses = match self.within(addresses(place)).await {
            Ok(addresses) => addresses,
            Err(problem) => return Err(vec![ServerFailure::at(place, problem)]),
        };
        let mut failures = Vec::new();
        for address in addresses {
            match self.address(place, address, session).await {
                Ok(connected) => return Ok(connected),
                Err(problems) => {
                    let is_final = problems.last().is_some_and(ConnectProblem::is_final);
                    failures.extend(problems.into_iter().map(|problem| ServerFailure::at(place, problem)));
                    if is_final {
                        break;
                    }
                }
            }
        }
        Err(failures)
    }

    /// Tries all ways to speak to an address.
    async fn address(
        &self,
        place: &Server,
        address: Option<IpAddr>,
        session: SessionKind,
    ) -> Result<Connected, Vec<ConnectProblem>> {
        let mut problems: Vec<ConnectProblem> = Vec::new();
        for way in Way::of(self.target.security.mode, place.is_socket()) {
            let problem = match self.within(self.once(place, address, *way, session)).await {
                Ok(connected) => return Ok(connected),
                Err(problem) => problem,
            };
            let may_go_otherwise = problem.is_about_encryption();
            if problems.iter().all(|earlier| earlier.to_string() != problem.to_string()) {
                problems.push(problem);
            }
            if !may_go_otherwise {
                break;
            }
        }
        Err(problems)
    }

    /// Connects once, and again without the options if the server refuses only those.
    async fn once(
        &self,
        place: &Server,
        address: Option<IpAddr>,
        way: Way,
        session: SessionKind,
    ) -> Result<Connected, ConnectProblem> {
        let mut took_options = self.options.is_some();
        let opened = match self.open(place, address, way, self.options).await {
            Err(problem) if took_options && problem.kind() == Kind::Options => {
                took_options = false;
                self.open(place, address, way, None).await
            }
            opened => opened,
        };
        let (client, mut driver) = opened?;
        if session != SessionKind::Any {
            Role::of(&client, &mut driver).await?.suits(session)?;
        }
        Ok(Connected { client, driver, took_options, place: place.to_string() })
    }

    async fn open(
        &self,
        place: &Server,
        address: Option<IpAddr>,
        way: Way,
        options: Option<&str>,
    ) -> Result<(Client, Driver), ConnectProblem> {
        let mut config = self.config.clone();
        match &place.host {
            Host::Name(name) => config.host(name),
            Host::Socket(directory) => config.host_path(directory),
        };
        address.map(|address| config.hostaddr(address));
        options.map(|options| config.options(options));
        config.port(place.port).ssl_mode(match way {
            Way::Plain => config::SslMode::Disable,
            Way::Either => config::SslMode::Prefer,
            Way::Tls => config::SslMode::Require,
        });
        let password = self.passwords.find(place, self.database, self.user);
        if let Some(Password(password)) = &password {
            config.password(password.expose_secret());
        }
        let opened = match &self.tls {
            Some(tls) if way != Way::Plain => opened(&config, tls.clone()).await,
            _ => opened(&config, NoTls).await,
        };
        opened.map_err(|error| ConnectProblem::of(error, &self.passwords, password.is_some()))
    }

    /// Runs `work` within the time limit for an address.
    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, ConnectProblem>>,
    ) -> Result<T, ConnectProblem> {
        // Boxed: it is large, and would be part of every caller's future.
        let work = Box::pin(work);
        match self.target.connect_timeout {
            Some(limit) => {
                timeout(limit, work).await.unwrap_or_else(|_| Err(ConnectProblem::timed_out(limit)))
            }
            None => work.await,
        }
    }
}

/// The addresses of a server; `None` stands for its socket.
async fn addresses(place: &Server) -> Result<Vec<Option<IpAddr>>, ConnectProblem> {
    match (&place.host, place.address) {
        (Host::Socket(_), _) => Ok(vec![None]),
        (Host::Name(_), Some(address)) => Ok(vec![Some(address)]),
        (Host::Name(name), None) => {
            let found =
                lookup_host((name.as_str(), place.port)).await.map_err(ConnectProblem::unknown_host)?;
            let mut seen = BTreeSet::new();
            let addresses = found.map(|address| address.ip()).filter(|ip| seen.insert(*ip));
            Ok(addresses.map(Some).collect())
        }
    }
}

async fn opened<T>(config: &Config, tls: T) -> Result<(Client, Driver), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    // An error that ends it is reported to the pending requests.
    Ok((client, Box::pin(async move { drop(connection.await) })))
}

/// The settings of every attempt.
fn settings(target: &Target, user: &str, database: &str) -> Config {
    let mut config = Config::new();
    config.user(user).dbname(database).application_name(&target.application_name);
    config.channel_binding(match target.channel_binding {
        ChannelBinding::Disable => config::ChannelBinding::Disable,
        ChannelBinding::Prefer => config::ChannelBinding::Prefer,
        ChannelBinding::Require => config::ChannelBinding::Require,
    });
    let live = &target.liveness;
    config.keepalives(live.keepalives);
    live.idle.map(|idle| config.keepalives_idle(idle));
    live.interval.map(|interval| config.keepalives_interval(interval));
    live.probes.map(|probes| config.keepalives_retries(probes));
    live.unanswered.map(|limit| config.tcp_user_timeout(limit));
    config
}

#[cfg(test)]
mod tests;

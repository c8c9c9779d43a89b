//! Where a server is and how it is reached: the address with libpq's rules, the password, TLS. Must not run a statement
//! of the store.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

/// A database on one or several servers, as `store.url` or `source.database` names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The address without a password.
    url: String,
    /// The password file, in place of the user's own.
    pgpass: Option<PathBuf>,
}

/// An open session.
pub(crate) struct Connected {
    pub client: tokio_postgres::Client,
    /// What moves its messages.
    pub driver: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Whether it took the start-up options.
    pub took_options: bool,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConnectError(#[source] tokio_postgres::Error);

impl ConnectError {
    pub(crate) fn is_transient(&self) -> bool {
        self.0.as_db_error().is_none()
    }
}

pub(crate) async fn connect(target: &Target, options: Option<&str>) -> Result<Connected, ConnectError> {
    let mut config: tokio_postgres::Config = target.url.parse().map_err(ConnectError)?;
    if let Some(options) = options {
        config.options(options);
    }
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(ConnectError)?;
    let driver = Box::pin(async move { drop(connection.await) });
    Ok(Connected { client, driver, took_options: options.is_some() })
}

impl Target {
    /// Reads an address. Looks at nothing besides the `PG*` variables.
    ///
    /// # Errors
    /// What was expected, without showing what was there.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or_else(|| "expected `postgres://…`".to_owned())?;
        let in_user = rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
        let query = rest.split_once('?').map(|(_, query)| query.to_ascii_lowercase());
        if in_user || query.is_some_and(|query| query.contains("password")) {
            return Err("expected an address without a password; put that into a password file and name it \
                 in `store.pgpass_file`"
                .to_owned());
        }
        Ok(Self { url: url.to_owned(), pgpass: None })
    }

    /// With this password file, if there is one, in place of the user's own.
    #[must_use]
    pub fn with_pgpass(self, path: Option<PathBuf>) -> Self {
        Self { pgpass: path.or(self.pgpass), ..self }
    }

    /// The address, without a password.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.url).finish()
    }
}

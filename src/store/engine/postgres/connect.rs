//! Where a server is and how it is reached: the address with libpq's rules, the password, TLS. Must not run a statement
//! of the store.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A database on one or several servers, as `store.url` or `source.database` names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The address without a password.
    url: String,
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

//! Builds the client for Tink from the settings.

use std::sync::Arc;

use super::{Environment, Failure};
use crate::config::{ConfigError, Network, Refresh};
use crate::tink::{Client, ClientOptions, Proxies, RetryOptions};

/// # Errors
/// [`Failure::Config`] if id or secret is missing, or the address or the system's certificates cannot be used.
pub(super) fn client(env: &Environment) -> Result<Client, Failure> {
    let client = unprepared(env)?;
    client.prepare().map_err(|error| unusable(env, error.to_string()))?;
    Ok(client)
}

/// Builds the client without reading certificates; `prepare` does that.
///
/// # Errors
/// [`Failure::Config`] if id or secret is missing or the address cannot be used.
pub(super) fn unprepared(env: &Environment) -> Result<Client, Failure> {
    let tink = &env.settings.tink;
    let (client_id, client_secret) = tink.credentials()?;
    let network = Network::of(&env.variable)?;
    let retry = &env.settings.retry;
    let options = ClientOptions {
        api_url: tink.api_url.clone(),
        client_id: client_id.to_owned(),
        client_secret: client_secret.clone(),
        connect_timeout: tink.connect_timeout,
        request_timeout: tink.request_timeout,
        max_response: tink.max_response,
        requests_per_second: tink.requests_per_second,
        concurrency: tink.concurrency,
        retry: RetryOptions { attempts: retry.attempts, base: retry.base, max: retry.max },
        keep_raw: env.settings.sync.keep_raw.is_some(),
        refresh: tink.refresh != Refresh::Never,
        proxies: Proxies {
            https: network.https.map(|proxy| proxy.address),
            http: network.http.map(|proxy| proxy.address),
        },
    };
    Client::new(options, Arc::clone(&env.clock), fastrand::u64(..))
        .map_err(|error| unusable(env, error.to_string()))
}

/// The failure for an address to which nothing can be sent.
pub(super) fn unusable(env: &Environment, problem: String) -> Failure {
    let authorities = Network::of(&env.variable).map(|network| network.authorities).unwrap_or_default();
    // The library's text when it finds no usable certificate.
    match authorities.first() {
        Some(&name) if problem.contains("CA cert") => ConfigError::Variable { name, problem },
        None if problem.contains("CA cert") => {
            let problem = format!("{problem}; install ca-certificates");
            ConfigError::key(&env.settings.file, "tink.api_url", problem)
        }
        _ => ConfigError::key(&env.settings.file, "tink.api_url", problem),
    }
    .into()
}

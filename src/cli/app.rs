//! Whether the configured Tink app is the one whose data the store holds. Another app has other users, even
//! under equal ids: nothing is mirrored, fetched, linked or deleted under it. Changes nothing.

use super::{Environment, Failure};
use crate::config::ConfigError;
use crate::domain::ids::shown;
use crate::store::{Reader, StoreError};

/// The command for an operator who has replaced the app for good.
pub(super) const ACCEPT: &str = "tink-sync connections accept-app";

/// The app that the store remembers, if it differs from the configured one.
pub(super) fn other(env: &Environment) -> Result<Option<String>, Failure> {
    match Reader::open(env.place()) {
        // Older releases did not record the app.
        Err(StoreError::Missing { .. } | StoreError::Older { .. }) => Ok(None),
        opened => other_in(env, &opened?),
    }
}

/// As [`other`], in this snapshot.
pub(super) fn other_in(env: &Environment, reader: &Reader) -> Result<Option<String>, Failure> {
    Ok(reader.app()?.filter(|app| is_other(env, app)))
}

/// Whether the configured app differs from the remembered one.
pub(super) fn is_other(env: &Environment, remembered: &str) -> bool {
    env.settings.tink.client_id.as_deref().is_some_and(|configured| configured != remembered)
}

/// Fails if the store holds another app's data.
///
/// # Errors
/// [`Failure::Config`] with the remedies.
pub(super) fn ours(env: &Environment) -> Result<(), Failure> {
    match other(env)? {
        None => Ok(()),
        Some(remembered) => Err(refused(env, &remembered)),
    }
}

/// The failure for a command refused because another app is configured.
pub(super) fn refused(env: &Environment, remembered: &str) -> Failure {
    let file = &env.settings.file;
    ConfigError::key(file, "tink.client_id", sentence(env, remembered)).into()
}

/// The problem and its remedies.
pub(super) fn sentence(env: &Environment, remembered: &str) -> String {
    let configured = env.settings.tink.client_id.as_deref().unwrap_or_default();
    format!(
        "the store {} holds the data of another Tink app (client id {}, not {}), so nothing was changed; \
         correct tink.client_id or store.url, give an app that goes live a store of its own, \
         or, if it has replaced the other for good: {ACCEPT}",
        env.place(),
        shown(remembered),
        shown(configured)
    )
}

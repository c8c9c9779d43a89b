//! The configuration: the TOML file, merged with the environment, validated into [`Settings`]. Only this
//! module and `cli` know where values come from. No message made here shows a value: whatever was typed may
//! be a secret in the wrong place.
//!
//! Three stages, each with its own types: `file` (as written) → `merge` (with the environment) →
//! `validate` (domain values inside their bounds, nothing to check twice). Each stops at the first mistake;
//! `mistakes` repeats them without it, until all are known.

mod base_url;
mod bounds;
pub mod credentials;
pub mod environment;
mod error;
mod file;
mod keys;
mod merge;
mod mistakes;
mod network;
mod odd;
mod place;
pub mod secrets;
mod settings;
mod shape;
mod validate;
mod value;
mod variables;

use std::ffi::OsString;
use std::io::{self, ErrorKind::NotFound};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

pub use crate::identity::SERVICE_USER;
pub use credentials::Credentials;
pub use error::ConfigError;
pub use keys::KEYS;
pub use network::{Network, Proxy};
pub use settings::{
    ConsentSettings, HooksSettings, QuotaSettings, Refresh, ReportSettings, RetrySettings, Settings,
    SourceSettings, StoreSettings, SyncSettings, TinkSettings,
};
pub use validate::store_place;
pub use variables::{
    CLIENT_ID_VARIABLE, CLIENT_SECRET_VARIABLE, CREDENTIALS_VARIABLE, ENABLED_VARIABLE, Env,
    HOOK_USER_VARIABLE, PASSWORD_VARIABLE, PATH_VARIABLE, USER_VARIABLE,
};

/// Where the configuration is unless `--config` or [`PATH_VARIABLE`] names another path.
pub const DEFAULT_PATH: &str = "/etc/tink-sync/tink-sync.toml";
/// Where hooks are unless the configuration names another directory.
pub const HOOKS_DIRECTORY: &str = "/etc/tink-sync/hooks";
/// Where events wait for them unless the configuration names another directory.
pub const HOOKS_SPOOL: &str = "/var/lib/tink-sync/hooks";
/// The user that hooks run as.
pub const HOOK_USER: &str = "tink-sync-hook";
/// Where the units keep the store.
pub const STATE_DIRECTORY: &str = "/var/lib/tink-sync";
/// The group whose members may read the store, as the package creates it.
pub const READERS: &str = "tink-sync-read";

/// Reads, merges and validates the configuration.
///
/// A missing client id or secret is not an error here, since most commands need neither; see
/// [`TinkSettings::credentials`].
///
/// # Errors
/// [`ConfigError`] if the file cannot be read or anything in it or in the environment is wrong.
pub fn load(path: &Path, env: &Env<'_>) -> Result<Settings, ConfigError> {
    load_with(path, env, &Credentials::of_unit(env))
}

/// Like [`load`], with credentials that do not come from the environment.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, env: &Env<'_>, credentials: &Credentials) -> Result<Settings, ConfigError> {
    let text = text(path).map_err(|error| ConfigError::reading(path, error))?;
    mistakes::all(path, &text, env, |file, env| {
        validate::settings(path, merge::merge(path, file, env, credentials.clone())?, env)
    })
}

/// Reads the places of hooks alone: no secret, and nothing else of the configuration. Without a file at
/// [`DEFAULT_PATH`] they are the usual ones.
///
/// # Errors
/// As [`load`], for the form of the file and for these keys.
pub fn hooks(path: &Path) -> Result<HooksSettings, ConfigError> {
    match text(path) {
        Ok(text) => mistakes::all(path, &text, &|_| None, |file, _| validate::hooks_of(path, file)),
        Err(error) if error.kind() == NotFound && path == Path::new(DEFAULT_PATH) => {
            Ok(HooksSettings::default())
        }
        Err(error) => Err(ConfigError::reading(path, error)),
    }
}

/// The text of the file. A named pipe is refused, since opening it may wait for ever; one without a name, as
/// `--config <(…)` and `/dev/stdin` give it, has its writer already.
fn text(path: &Path) -> io::Result<String> {
    let is_pipe = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    let is_open = std::fs::canonicalize(path).is_err();
    if is_pipe && !is_open {
        return Err(io::Error::other("it is a named pipe and not a regular file"));
    }
    std::fs::read_to_string(path)
}

/// Like [`load`], from the text of a file and without an environment; for tests with arbitrary input.
///
/// # Errors
/// As [`load`].
#[cfg(any(test, fuzzing))]
pub fn read(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    mistakes::all(path, text, &|_| None, |file, env| {
        validate::settings(path, merge::merge(path, file, env, Credentials::None)?, env)
    })
}

/// Looks up a variable in the environment of this process; `cli` passes this to [`load`].
#[expect(clippy::disallowed_methods, reason = "the one place that reads the process environment")]
pub fn process_env(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

#[cfg(test)]
mod tests;

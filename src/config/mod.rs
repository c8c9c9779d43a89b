//! The configuration: the TOML file, merged with the environment, validated into [`Settings`].
//! Only this module and `main.rs` know where values come from. No message made here shows a value:
//! whatever was typed may be a secret in the wrong place.
//!
//! Three stages, each with its own types: `file` (as written) → `merge` (with the environment) →
//! `validate` (domain values inside their bounds, nothing to check twice).

mod base_url;
mod bounds;
pub mod credentials;
mod error;
mod file;
mod keys;
mod merge;
mod network;
mod odd;
pub mod secrets;
mod settings;
mod shape;
mod store_url;
mod validate;
mod value;

use std::ffi::OsString;
use std::path::Path;

pub use credentials::Credentials;
pub use error::ConfigError;
pub use keys::KEYS;
pub use network::{Network, Proxy};
pub use settings::{
    ConsentSettings, HooksSettings, QuotaSettings, Refresh, ReportSettings, RetrySettings, Settings,
    SourceSettings, StoreSettings, StoreUrl, SyncSettings, TinkSettings,
};

/// Where the configuration lies unless `--config` or [`PATH_VARIABLE`] says otherwise.
pub const DEFAULT_PATH: &str = "/etc/tink-sync/tink-sync.toml";
/// Where hooks lie unless the configuration says otherwise.
pub const HOOKS_DIRECTORY: &str = "/etc/tink-sync/hooks";
/// Where events wait for them unless the configuration says otherwise.
pub const HOOKS_SPOOL: &str = "/var/lib/tink-sync/hooks";
/// Environment: the path of the configuration file.
pub const PATH_VARIABLE: &str = "TINK_SYNC_CONFIG";
/// Environment: the client id, over `tink.client_id`.
pub const CLIENT_ID_VARIABLE: &str = "TINK_CLIENT_ID";
/// Environment: the client secret; the last place that is looked at, accepted with a warning.
pub const CLIENT_SECRET_VARIABLE: &str = "TINK_CLIENT_SECRET";
/// Environment: the emergency switch, over `enabled`.
pub const ENABLED_VARIABLE: &str = "TINK_SYNC_ENABLED";
/// Environment: where systemd puts the credentials of the unit.
pub const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// Environment: the user that root's commands become instead of [`SERVICE_USER`]; `root` stays root.
pub const USER_VARIABLE: &str = "TINK_SYNC_USER";
/// The user that the units run as.
pub const SERVICE_USER: &str = "tink-sync";
/// The group whose members may read the store, as the package makes it.
pub const READERS: &str = "tink-sync-read";

/// How a variable of the environment is looked up; tests pass a closure over a list.
pub type Env<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Reads, merges and validates the configuration.
///
/// A missing client id or secret is no error here, since most commands do without; see
/// [`TinkSettings::credentials`].
///
/// # Errors
/// [`ConfigError`] if the file cannot be read or anything in it or in the environment is wrong.
pub fn load(path: &Path, env: &Env<'_>) -> Result<Settings, ConfigError> {
    load_with(path, env, Credentials::of_unit(env))
}

/// As [`load`], with credentials that were found elsewhere than in the environment.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, env: &Env<'_>, credentials: Credentials) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::reading(path, error))?;
    let file = shape::parse(path, &text)?;
    let merged = merge::merge(path, file, env, credentials)?;
    validate::settings(path, merged)
}

/// As [`load`], from the text of a file and without an environment; for tests that throw anything at it.
///
/// # Errors
/// As [`load`].
#[doc(hidden)]
pub fn read(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    let merged = merge::merge(path, shape::parse(path, text)?, &|_| None, Credentials::None)?;
    validate::settings(path, merged)
}

/// Looks a variable up in the environment of this process; what `main` passes to [`load`].
#[expect(clippy::disallowed_methods, reason = "the one place that reads the process environment")]
pub fn process_env(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

#[cfg(test)]
mod tests;

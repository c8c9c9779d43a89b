//! The names of the environment variables, and the type of their lookup. Reads none.

use std::ffi::OsString;

/// Environment: the path of the configuration file.
pub const PATH_VARIABLE: &str = "TINK_SYNC_CONFIG";
/// Environment: the client id; overrides `tink.client_id`.
pub const CLIENT_ID_VARIABLE: &str = "TINK_CLIENT_ID";
/// Environment: the client secret; searched last, accepted with a warning.
pub const CLIENT_SECRET_VARIABLE: &str = "TINK_CLIENT_SECRET";
/// Environment: the emergency switch; overrides `enabled`.
pub const ENABLED_VARIABLE: &str = "TINK_SYNC_ENABLED";
/// Environment: where systemd puts the credentials of the unit.
pub const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// Environment: the user that root's commands become instead of `SERVICE_USER`; `root` stays root.
pub const USER_VARIABLE: &str = "TINK_SYNC_USER";

/// Environment: the user that root's `hook` commands become instead of `HOOK_USER`.
pub const HOOK_USER_VARIABLE: &str = "TINK_SYNC_HOOK_USER";

/// Environment: the password for PostgreSQL, as libpq takes it.
pub const PASSWORD_VARIABLE: &str = "PGPASSWORD";

/// Looks up an environment variable; tests pass a closure over a list.
pub type Env<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

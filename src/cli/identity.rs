//! Who a command runs as, and with which secrets. Root by hand fetches the secrets from where the units get
//! them and becomes their user, before anything is opened: no file of root's is ever left in the store.

use std::path::Path;

use crate::cli::Failure;
use crate::config::credentials::systemd_creds;
use crate::config::{Credentials, Env, SERVICE_USER, USER_VARIABLE};
use crate::identity;

/// The credential stores of the system lie here.
const ETC: &str = "/etc";

/// Settles both. Stays as it is in a unit, for any other user, and where the service has no user.
///
/// # Errors
/// [`Failure::Usage`] if the environment names a user that does not exist, [`Failure::Io`] if the system
/// refuses to become that user.
pub(super) fn settle(variable: &Env<'_>) -> Result<Credentials, Failure> {
    let given = Credentials::of_unit(variable);
    if !identity::is_root() || given.is_of_service() {
        return Ok(given);
    }
    let named = variable(USER_VARIABLE).filter(|name| !name.is_empty());
    let name = named.as_ref().map_or(SERVICE_USER.into(), |name| name.to_string_lossy());
    let Some(user) = identity::find(&name)? else {
        return match named {
            Some(_) if name != "root" => {
                Err(Failure::Usage(format!("environment variable {USER_VARIABLE}: there is no user {name}")))
            }
            _ => Ok(given),
        };
    };
    let stored = Credentials::of_stores(Path::new(ETC), &systemd_creds);
    identity::become_user(&user)?;
    tracing::debug!("root became user {name}");
    Ok(stored)
}

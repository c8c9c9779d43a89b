//! The user a command runs as, and its secrets. Started by root, a command reads the secrets from where the
//! units get them and becomes the service user before it opens anything, so that root never owns a file in
//! the store. Neither root's rights nor root's environment is kept.

use std::io::ErrorKind;
use std::path::Path;

use nix::unistd::User;

use crate::cli::Failure;
use crate::config::credentials::systemd_creds;
use crate::config::{
    Credentials, Env, HOOK_USER, HOOK_USER_VARIABLE, SERVICE_USER, USER_VARIABLE, environment,
};
use crate::identity;
use crate::observe::spool::Spool;

/// The parent of the system's credential stores.
const ETC: &str = "/etc";

/// Finds the secrets and becomes the service user. In a unit, for any user but root, and without a service
/// user, the process stays as it is.
///
/// # Errors
/// [`Failure::Usage`] if the environment names a user that does not exist, [`Failure::Io`] if the system
/// refuses to become that user.
pub(super) fn become_service_user(variable: &Env<'_>) -> Result<Credentials, Failure> {
    let given = Credentials::of_unit(variable);
    if !identity::is_root() || given.is_of_service() {
        return Ok(given);
    }
    let Some(user) = wanted(variable, USER_VARIABLE, SERVICE_USER)? else { return Ok(given) };
    clean_environment(&user)?;
    let stored = Credentials::of_stores(Path::new(ETC), &systemd_creds);
    identity::become_user(&user)?;
    tracing::debug!("root became user {}", user.name);
    Ok(stored)
}

/// Enters the spool of hooks as the user that works on it. Root becomes the hook user, which cannot even
/// traverse the directory above.
///
/// # Errors
/// As [`become_service_user`]; [`Failure::Usage`] also if the system has no hook user, since root runs no hooks.
pub(super) fn become_hook_user(variable: &Env<'_>, spool: &Path) -> Result<Spool, Failure> {
    let stays = variable(USER_VARIABLE).is_some_and(|name| name == "root");
    if !identity::is_root() || stays {
        return Ok(Spool::new(spool));
    }
    let Some(user) = wanted(variable, HOOK_USER_VARIABLE, HOOK_USER)? else {
        return Err(Failure::Usage(format!(
            "there is no user {HOOK_USER}, and root runs no hook; the package makes it: systemd-sysusers tink-sync.conf"
        )));
    };
    clean_environment(&user)?;
    identity::enter(spool).map_err(|error| spool_unusable(spool, &error))?;
    identity::become_user(&user)?;
    tracing::debug!("root became user {}", user.name);
    Ok(Spool::here(spool))
}

/// The user that root becomes: the one that the environment names, else `usual`; `None` if it does not exist
/// or root is to stay root.
fn wanted(variable: &Env<'_>, name: &str, usual: &str) -> Result<Option<User>, Failure> {
    let named = variable(name).filter(|user| !user.is_empty());
    let user = named.as_ref().map_or(usual.into(), |user| user.to_string_lossy());
    match identity::find(&user)? {
        None if named.is_some() && user != "root" => {
            Err(Failure::Usage(format!("environment variable {name}: there is no user {user}")))
        }
        found => Ok(found),
    }
}

/// Re-executes this program if root's environment holds more than may stay: a process cannot erase the
/// environment it was started with.
fn clean_environment(user: &User) -> Result<(), Failure> {
    let given = environment::of_process();
    let clean = environment::cleaned(given.iter().cloned(), &user.dir);
    if clean == given {
        return Ok(());
    }
    let error = identity::begin_anew(&environment::arguments(), clean);
    let text =
        format!("root's environment cannot be given up, since this program cannot be started anew: {error}");
    Err(Failure::Io(std::io::Error::new(error.kind(), text)))
}

pub(super) fn spool_unusable(path: &Path, error: &std::io::Error) -> Failure {
    let text = format!(
        "cannot use {}: {error}; the package makes this place: systemd-tmpfiles --create tink-sync.conf",
        path.display()
    );
    match error.kind() {
        // A wrong --spool, a missing package, or a user without access: not a bug.
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied => Failure::Usage(text),
        kind => Failure::Io(std::io::Error::new(kind, text)),
    }
}

//! Merges the file with the environment: the environment wins for the client id and the switch, and comes
//! last for the secret. Decides where values come from, not whether they are sensible.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::credentials::Credentials;
use super::error::ConfigError;
use super::file::File;
use super::secrets;
use super::variables::{CLIENT_ID_VARIABLE, CLIENT_SECRET_VARIABLE, ENABLED_VARIABLE, Env};

/// Everything that was chosen, from any source.
pub(super) struct Merged {
    pub file: File,
    pub secret: Secret,
    pub credentials: Credentials,
    pub warnings: Vec<String>,
}

/// The client secret, or why there is none.
#[derive(Default)]
pub(super) struct Secret {
    pub value: Option<SecretString>,
    pub file: Option<PathBuf>,
    pub problem: Option<String>,
}

/// Applies the environment to the file and finds the client secret.
pub(super) fn merge(
    path: &Path,
    mut file: File,
    env: &Env<'_>,
    credentials: Credentials,
) -> Result<Merged, ConfigError> {
    if let Some(id) = text(env, CLIENT_ID_VARIABLE)? {
        file.tink.client_id = Some(id);
    }
    if let Some(switch) = text(env, ENABLED_VARIABLE)? {
        file.enabled = Some(truth(&switch)?);
    }
    let mut warnings = Vec::new();
    let secret = match named_secret(path, &file, &credentials)? {
        Some(secret) => {
            warnings.extend(passed_over(&file, env, &credentials));
            secret
        }
        None => variable_secret(env, &mut warnings)?,
    };
    Ok(Merged { file, secret, credentials, warnings })
}

/// The secret from the file that the configuration names, else from the credential.
fn named_secret(path: &Path, file: &File, credentials: &Credentials) -> Result<Option<Secret>, ConfigError> {
    if let Some(name) = &file.tink.client_secret_file {
        // a relative name is most likely the secret itself, pasted into the wrong place
        if !name.starts_with('/') {
            let problem = "expected the absolute path of a file that holds the secret";
            return Err(ConfigError::key(path, "tink.client_secret_file", problem));
        }
        let value = secrets::read(Path::new(name)).map_err(|error| error.to_string());
        return Ok(Some(found(value, Some(PathBuf::from(name)), "the file that this key names")));
    }
    let credential = credentials.one_line(secrets::CLIENT_SECRET);
    Ok(credential.map(|value| {
        let path = credentials.path(secrets::CLIENT_SECRET);
        found(value, path, "the systemd credential `tink-sync.client-secret`")
    }))
}

/// A warning about a second client secret, which is ignored.
fn passed_over(file: &File, env: &Env<'_>, credentials: &Credentials) -> Option<String> {
    let named = file.tink.client_secret_file.is_some();
    let first = if named { "the file of tink.client_secret_file" } else { "the systemd credential" };
    if env(CLIENT_SECRET_VARIABLE).is_some_and(|value| !value.is_empty()) {
        Some(format!(
            "there are two client secrets: {first} counts, {CLIENT_SECRET_VARIABLE} does not; unset {CLIENT_SECRET_VARIABLE}"
        ))
    } else if named && let Some(other) = credentials.path(secrets::CLIENT_SECRET) {
        Some(format!(
            "there are two client secrets: {first} counts, {} does not; remove tink.client_secret_file from the configuration, or that credential",
            other.display()
        ))
    } else {
        None
    }
}

fn found(value: Result<SecretString, String>, file: Option<PathBuf>, what: &str) -> Secret {
    match value {
        Ok(value) => Secret { value: Some(value), file, problem: None },
        Err(error) => Secret { value: None, file, problem: Some(format!("{what} {error}")) },
    }
}

/// The secret from the environment, which other processes of the same user can see.
fn variable_secret(env: &Env<'_>, warnings: &mut Vec<String>) -> Result<Secret, ConfigError> {
    let name = CLIENT_SECRET_VARIABLE;
    let Some(value) = text(env, name)? else { return Ok(Secret::default()) };
    let expected =
        |_| ConfigError::Variable { name, problem: "expected the secret on a single line".to_owned() };
    let value = secrets::one_line(value).map_err(expected)?;
    warnings.push(format!(
        "the client secret comes from {name}, where other programs can see it; put it into a file and name \
         that in tink.client_secret_file, or store it as the systemd credential {}",
        secrets::CLIENT_SECRET
    ));
    Ok(Secret { value: Some(value), file: None, problem: None })
}

/// An environment variable; an empty one counts as not set.
fn text(env: &Env<'_>, name: &'static str) -> Result<Option<String>, ConfigError> {
    let Some(value) = env(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let problem = || ConfigError::Variable { name, problem: "expected text in UTF-8".to_owned() };
    value.into_string().map(Some).map_err(|_| problem())
}

/// An emergency switch must never be misunderstood, so anything unclear is an error.
fn truth(text: &str) -> Result<bool, ConfigError> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => {
            let problem = "expected `true` or `false`".to_owned();
            Err(ConfigError::Variable { name: ENABLED_VARIABLE, problem })
        }
    }
}

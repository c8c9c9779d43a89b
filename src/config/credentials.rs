//! Finds the secrets of the service: in the directory that systemd gives to a unit or, for commands that root
//! runs by hand, in the stores from which the unit gets them. Decides which of several counts; shows no byte
//! of any.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secrecy::SecretString;

use super::secrets::{self, CLIENT_SECRET, PGPASS, SecretError, TOKEN_KEY};
use super::variables::{CREDENTIALS_VARIABLE, Env};

/// The suffix that the unit gives to a credential stored unencrypted, since one name cannot have both kinds.
const PLAIN: &str = ".plain";
/// Size of what the unit supplies in place of an absent encrypted credential: an empty line.
const PLACEHOLDER: u64 = 1;

/// The credentials of the service.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// None: a command of another user, outside a unit.
    #[default]
    None,
    /// The directory that systemd made for this process.
    Unit(PathBuf),
    /// What root found in the system's credential stores before it became the service user.
    Stores(Vec<StoredCredential>),
}

/// A credential from one of the system's stores.
#[derive(Clone, Debug)]
pub struct StoredCredential {
    name: &'static str,
    path: PathBuf,
    value: Result<SecretString, String>,
    problem: Option<String>,
}

/// Decrypts a credential: takes its name and file, returns the plain text or the reason why not.
pub type Decrypt<'a> = dyn Fn(&str, &Path) -> Result<Vec<u8>, String> + 'a;

impl Credentials {
    /// The credentials that systemd gave to this process.
    pub fn of_unit(env: &Env<'_>) -> Self {
        match env(CREDENTIALS_VARIABLE).filter(|value| !value.is_empty()) {
            Some(directory) => Self::Unit(PathBuf::from(directory)),
            None => Self::None,
        }
    }

    /// The credentials in the stores below `etc`, encrypted ones before plain ones, as the unit takes them.
    pub fn of_stores(etc: &Path, decrypt: &Decrypt<'_>) -> Self {
        let stored = [CLIENT_SECRET, TOKEN_KEY, PGPASS].into_iter().filter_map(|name| {
            let encrypted = etc.join("credstore.encrypted").join(name);
            if encrypted.exists() {
                let value = decrypt(name, &encrypted).and_then(|bytes| {
                    let text = String::from_utf8(bytes).map_err(|_| SecretError::NotOneLine.to_string())?;
                    Ok(SecretString::from(text))
                });
                return Some(StoredCredential { name, path: encrypted, value, problem: None });
            }
            let plain = etc.join("credstore").join(name);
            plain.exists().then(|| StoredCredential {
                name,
                value: secrets::text(&plain).map_err(|error| error.to_string()),
                problem: secrets::permission_problem(&plain),
                path: plain,
            })
        });
        Self::Stores(stored.collect())
    }

    /// Whether the unit supplies the client secret, or at least a placeholder for it.
    pub fn is_of_service(&self) -> bool {
        match self {
            Self::Unit(directory) => directory.join(CLIENT_SECRET).exists(),
            Self::None | Self::Stores(_) => false,
        }
    }

    /// The path of the credential of this name, if it exists.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::None => None,
            Self::Unit(directory) => in_directory(directory, name),
            Self::Stores(stored) => Some(stored.iter().find(|one| one.name == name)?.path.clone()),
        }
    }

    /// The credential of this name, which must be a one-line secret; `None` if it does not exist.
    pub(super) fn one_line(&self, name: &str) -> Option<Result<SecretString, String>> {
        match self {
            Self::None => None,
            Self::Unit(directory) => {
                let path = in_directory(directory, name)?;
                Some(secrets::read(&path).map_err(|error| error.to_string()))
            }
            Self::Stores(stored) => {
                let value = &stored.iter().find(|one| one.name == name)?.value;
                Some(value.clone().and_then(|text| secrets::line(&text).map_err(|error| error.to_string())))
            }
        }
    }

    /// The text of the credential of this name, if only root can read its file; `None` where its reader can.
    pub(super) fn text_of_root(&self, name: &str) -> Option<Result<SecretString, String>> {
        match self {
            Self::None | Self::Unit(_) => None,
            Self::Stores(stored) => Some(stored.iter().find(|one| one.name == name)?.value.clone()),
        }
    }

    /// Whether systemd itself protects this file: its mode differs by version, and the directory is closed.
    pub fn guards(&self, path: &Path) -> bool {
        matches!(self, Self::Unit(directory) if path.starts_with(directory))
    }

    /// Problems with the permissions of plain files in the stores.
    pub(super) fn problems(&self) -> impl Iterator<Item = &str> {
        let stored: &[StoredCredential] = match self {
            Self::Stores(stored) => stored,
            Self::None | Self::Unit(_) => &[],
        };
        stored.iter().filter_map(|one| one.problem.as_deref())
    }
}

/// The encrypted one if it is more than the placeholder, else the plain one, if any.
fn in_directory(directory: &Path, name: &str) -> Option<PathBuf> {
    let encrypted = directory.join(name);
    if std::fs::metadata(&encrypted).is_ok_and(|file| file.len() == PLACEHOLDER) {
        let plain = directory.join(format!("{name}{PLAIN}"));
        return plain.exists().then_some(plain);
    }
    // One that cannot be accessed is returned, so that reading it reports why.
    if encrypted.try_exists().unwrap_or(true) {
        return Some(encrypted);
    }
    let plain = directory.join(format!("{name}{PLAIN}"));
    plain.exists().then_some(plain)
}

/// Decrypts a credential with the keys of this machine, as systemd does for the unit. The error quotes the
/// last line of its message.
///
/// # Errors
/// The reason why it cannot be decrypted.
pub fn systemd_creds(name: &str, path: &Path) -> Result<Vec<u8>, String> {
    let mut command = Command::new("systemd-creds");
    command.arg(format!("--name={name}")).arg("decrypt").arg(path).arg("-").stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("systemd-creds cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(format!("cannot be decrypted: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn place(root: &Path, name: &str, text: &str, mode: u32) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn secret(credentials: &Credentials) -> Option<Result<String, String>> {
        let found = credentials.one_line(CLIENT_SECRET)?;
        Some(found.map(|secret| secret.expose_secret().to_owned()))
    }

    #[test]
    fn an_encrypted_credential_of_the_unit_comes_before_a_plain_one() {
        let root = tempfile::tempdir().unwrap();
        let unit = Credentials::Unit(root.path().to_owned());
        assert!(secret(&unit).is_none() && !unit.is_of_service());
        place(root.path(), "tink-sync.client-secret", "\n", 0o400);
        assert!(secret(&unit).is_none() && unit.path(CLIENT_SECRET).is_none() && unit.is_of_service());
        place(root.path(), "tink-sync.client-secret.plain", "plain\n", 0o400);
        assert_eq!(secret(&unit), Some(Ok("plain".to_owned())));
        place(root.path(), "tink-sync.client-secret", "sealed", 0o600);
        assert_eq!(secret(&unit), Some(Ok("sealed".to_owned())));
        fs::remove_file(root.path().join("tink-sync.client-secret")).unwrap();
        assert_eq!(unit.path(CLIENT_SECRET), Some(root.path().join("tink-sync.client-secret.plain")));
    }

    #[test]
    fn root_finds_what_the_unit_would_get() {
        let etc = tempfile::tempdir().unwrap();
        let reversed = |name: &str, path: &Path| {
            assert_eq!(name, CLIENT_SECRET);
            let text = fs::read_to_string(path).unwrap();
            Ok(text.chars().rev().collect::<String>().into_bytes())
        };
        let found = || Credentials::of_stores(etc.path(), &reversed);
        assert!(secret(&found()).is_none());
        place(etc.path(), "credstore/tink-sync.client-secret", "plain\n", 0o644);
        assert_eq!(secret(&found()), Some(Ok("plain".to_owned())));
        let problems = found().problems().map(str::to_owned).collect::<Vec<_>>();
        assert!(matches!(&problems[..], [text] if text.contains("chmod 600")), "{problems:?}");
        place(etc.path(), "credstore.encrypted/tink-sync.client-secret", "delaes", 0o644);
        assert_eq!(secret(&found()), Some(Ok("sealed".to_owned())));
        assert_eq!(found().problems().count(), 0, "ciphertext may be read by everyone");
        assert!(!format!("{:?}", found()).contains("sealed"));
    }

    #[test]
    fn what_cannot_be_opened_is_not_passed_over() {
        let etc = tempfile::tempdir().unwrap();
        place(etc.path(), "credstore/tink-sync.client-secret", "plain\n", 0o600);
        place(etc.path(), "credstore.encrypted/tink-sync.client-secret", "junk", 0o600);
        let refusing = Credentials::of_stores(etc.path(), &|_, _| Err("wrong key".to_owned()));
        assert_eq!(secret(&refusing), Some(Err("wrong key".to_owned())));
        let two = Credentials::of_stores(etc.path(), &|_, _| Ok(b"a\nb".to_vec()));
        assert!(secret(&two).unwrap().unwrap_err().contains("single line"));
    }
}

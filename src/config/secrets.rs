//! Reads secrets from files and systemd credentials, and checks the permissions of their files. Never puts a
//! byte of a secret, or a path that could be a pasted secret, into a message.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt, OpenOptionsExt as _, PermissionsExt};
use std::path::Path;

use super::error::access_hint;
use crate::identity::closing;
use nix::fcntl::OFlag;
use secrecy::{ExposeSecret as _, SecretString};

/// Name of the credential with the client secret.
pub const CLIENT_SECRET: &str = "tink-sync.client-secret";
/// Name of the credential with the key that encrypts refresh tokens.
pub const TOKEN_KEY: &str = "tink-sync.token-key";
/// Name of the credential with the PostgreSQL password file.
pub const PGPASS: &str = "tink-sync.pgpass";

/// The message when no client secret was found anywhere.
pub(super) const NO_CLIENT_SECRET: &str = "no client secret found; either write it into a file that only \
     its owner can read and name the file in this key, or store it for the service with `systemd-creds \
     encrypt --name=tink-sync.client-secret - /etc/credstore.encrypted/tink-sync.client-secret`";

/// Larger than any secret; limits reading if the path is wrong and names something endless.
const LARGEST: u64 = 64 * 1024;
/// Read and write for group and others.
const OPEN_TO_OTHERS: u32 = 0o066;

/// Why a file with a secret cannot be used; the message continues "the file ".
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no such file.
    #[error("does not exist")]
    Missing,
    /// The file cannot be read.
    #[error("cannot be read: {source}{}", access_hint(source))]
    Unreadable {
        /// The operating system's error.
        source: io::Error,
    },
    /// The file is not a regular file, but this.
    #[error("is {0} and not a regular file")]
    NotAFile(&'static str),
    /// The file is empty.
    #[error("is empty")]
    Empty,
    /// It holds more than one line, or bytes that are not text.
    #[error("must hold the secret alone on a single line of text")]
    NotOneLine,
    /// The file is far too large.
    #[error("is too large for a secret")]
    TooLarge,
}

impl From<io::Error> for SecretError {
    fn from(error: io::Error) -> Self {
        // A credentials directory that is named but absent counts like one without the file.
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            _ => Self::Unreadable { source: error },
        }
    }
}

/// Reads a one-line secret; one newline at its end is not part of it.
///
/// # Errors
/// [`SecretError`] if the file is absent, unreadable, empty or holds anything but one line.
pub fn read(path: &Path) -> Result<SecretString, SecretError> {
    line(&text(path)?)
}

/// Reads a file that holds a secret of any number of lines.
///
/// # Errors
/// [`SecretError`] if the file is absent, unreadable, too large or not text.
pub(super) fn text(path: &Path) -> Result<SecretString, SecretError> {
    // Opened without waiting for the other end of a pipe. The opened file is checked, since the name may mean
    // something else a moment later.
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(SecretError::NotAFile(kind(&found)));
    }
    let mut bytes = Vec::with_capacity(256);
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST) {
        return Err(SecretError::TooLarge);
    }
    String::from_utf8(bytes).map(SecretString::from).map_err(|_| SecretError::NotOneLine)
}

/// What a file is that is not a regular one.
fn kind(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else {
        "a device"
    }
}

/// Takes the single line of a text; a newline at its end is not part of it.
pub(super) fn line(text: &SecretString) -> Result<SecretString, SecretError> {
    let text = text.expose_secret();
    one_line(text.strip_suffix('\n').map_or(text, |line| line.trim_end_matches('\r')).to_owned())
}

/// Accepts a text as a secret if it is one line and not empty.
pub(super) fn one_line(text: String) -> Result<SecretString, SecretError> {
    if text.trim().is_empty() {
        Err(SecretError::Empty)
    } else if text.chars().any(char::is_control) {
        Err(SecretError::NotOneLine)
    } else {
        Ok(SecretString::from(text))
    }
}

/// What looks like a mistake in a pasted or typed secret; the message continues "the client secret ".
pub fn oddity(secret: &SecretString, client_id: Option<&str>) -> Option<&'static str> {
    let text = secret.expose_secret();
    let quoted = |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    if text.trim() != text {
        Some("begins or ends with a blank")
    } else if quoted('"') || quoted('\'') {
        Some("stands in quotes, which would be part of it")
    } else if !text.is_ascii() {
        Some("has letters that no secret of Tink's has")
    } else if text.to_ascii_lowercase().contains("client_secret") {
        Some("looks like a whole line of a configuration and not like the secret alone")
    } else if client_id == Some(text) {
        Some("is the client id")
    } else {
        None
    }
}

/// What is wrong with the permissions of a file that holds a secret, with what fixes it; `None` if they are right
/// or the file cannot be inspected or is not a regular one: such a file is refused, and its rights are right for others.
pub fn permission_problem(path: &Path) -> Option<String> {
    let file = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
    let mode = file.permissions().mode() & 0o7777;
    if mode & OPEN_TO_OTHERS == 0 {
        return None;
    }
    // A file owned by root that the service reads through its group must change its owner before it is closed.
    let remedy = closing(path, (file.uid() == 0).then_some(super::SERVICE_USER));
    Some(format!("{} is open to other users (mode {mode:04o}); {remedy}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::fs;
    use std::path::PathBuf;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, bytes).unwrap();
        (directory, path)
    }

    #[test]
    fn one_newline_at_the_end_is_stripped() {
        for (bytes, secret) in
            [("abc", "abc"), ("abc\n", "abc"), ("abc\r\n", "abc"), (" a b ", " a b "), ("ä\n", "ä")]
        {
            let (_guard, path) = written(bytes.as_bytes());
            assert_eq!(read(&path).unwrap().expose_secret(), secret);
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for bytes in ["", "\n", " \n", "\r\n"] {
            let (_guard, path) = written(bytes.as_bytes());
            assert!(matches!(read(&path), Err(SecretError::Empty)), "{bytes:?}");
        }
        for bytes in [&b"a\nb"[..], b"a\n\n", b"\xff\xfe", b"a\0"] {
            let (_guard, path) = written(bytes);
            assert!(matches!(read(&path), Err(SecretError::NotOneLine)), "{bytes:?}");
        }
        let (guard, path) = written("a".repeat(70_000).as_bytes());
        assert!(matches!(read(&path), Err(SecretError::TooLarge)));
        assert!(matches!(read(guard.path()), Err(SecretError::NotAFile("a directory"))));
        assert!(matches!(read(&path.join("below")), Err(SecretError::Missing)));
        assert!(matches!(read(Path::new("/nowhere/at/all")), Err(SecretError::Missing)));
    }

    #[test]
    fn what_was_pasted_wrongly_is_noticed() {
        let odd = |text: &str| oddity(&SecretString::from(text), Some("the-id"));
        assert_eq!(odd("0c5f2b7e9a1d4c3e8f6a5b4c3d2e1f0a"), None);
        for text in [
            " a",
            "a ",
            "a\u{a0}",
            "\"a\"",
            "'a'",
            "\u{feff}a",
            "TINK_CLIENT_SECRET=a",
            "client_secret: a",
            "the-id",
        ] {
            assert!(odd(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn what_belongs_to_the_system_is_not_to_be_closed_to_others() {
        for path in ["/etc/passwd", "/etc/../etc/passwd", "/proc/version", "/proc/self/root/etc/passwd"] {
            let problem = permission_problem(Path::new(path)).unwrap();
            assert!(problem.contains("; name a file of its own, such as /etc/tink-sync/"), "{problem}");
            assert!(!problem.contains("chmod") && !problem.contains("chown"), "{problem}");
        }
        for (path, what) in [("/etc", "a directory"), ("/dev/zero", "a device")] {
            assert_eq!(permission_problem(Path::new(path)), None, "{path}");
            let refused = read(Path::new(path)).unwrap_err().to_string();
            assert_eq!(refused, format!("is {what} and not a regular file"));
        }
    }

    #[test]
    fn a_file_open_to_others_is_a_problem_with_a_remedy() {
        let (_guard, path) = written(b"abc");
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let problem = permission_problem(&path);
            assert_eq!(problem.is_none(), fine, "{mode:o}");
            assert!(problem.is_none_or(|text| text.ends_with(&format!("chmod 600 {}", path.display()))));
        }
        assert_eq!(permission_problem(Path::new("/nowhere")), None);
    }
}

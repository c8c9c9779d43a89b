//! Passwords from the environment and from libpq's password file. A file that others can read is refused.
//! Never puts any part of a password into a message.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{User, geteuid};
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::server::{Host, Password, Pgpass, Server, Target};
use crate::identity::closing;

/// Larger than any password file; stops a mistaken path to something endless.
const LARGEST: u64 = 1024 * 1024;
/// All access of group and others.
const OPEN_TO_OTHERS: u32 = 0o077;
/// Read access for the group: libpq allows it for a key that root owns, but not for a password file.
pub(super) const GROUP_READS: u32 = 0o040;
const HOME: &str = ".pgpass";
const SHAPE: &str = "host:port:database:user:password";

/// Where passwords come from, read once for all hosts of an address.
pub(super) struct Passwords {
    /// The password for every server (PGPASSWORD).
    any: Option<Password>,
    file: Option<Password>,
    /// The name of the source in messages; `None` if there is no source.
    name: Option<String>,
}

impl Passwords {
    /// Reads the passwords of `target`.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub(super) fn of(target: &Target) -> Result<Self, String> {
        if let Some(password) = &target.password {
            return Ok(Self { any: Some(password.clone()), file: None, name: Some("PGPASSWORD".to_owned()) });
        }
        let (file, name) = match &target.pgpass {
            Pgpass::Text(text) => (Some(text.clone()), Some("the password file".to_owned())),
            Pgpass::File(path) => {
                let guarded =
                    target.credentials.as_ref().is_some_and(|directory| path.starts_with(directory));
                (Some(read(path, guarded)?), Some(path.display().to_string()))
            }
            Pgpass::Home => match home().map(|path| (read_if_there(&path), path)) {
                Some((text, path)) => (text?, Some(path.display().to_string())),
                None => (None, None),
            },
        };
        Ok(Self { any: None, name: name.filter(|_| file.is_some()), file })
    }

    /// The password of this user in this database.
    pub(super) fn find(&self, place: &Server, database: &str, user: &str) -> Option<Password> {
        let text = match (&self.any, &self.file) {
            (Some(any), _) => return Some(any.clone()),
            (None, Some(Password(text))) => text.expose_secret(),
            (None, None) => return None,
        };
        let port = place.port.to_string();
        let hosts = match &place.host {
            Host::Name(name) => vec![name.clone()],
            Host::Socket(directory) => {
                let directory = directory.display().to_string();
                if place.is_usual_socket() {
                    vec![directory, "localhost".to_owned()]
                } else {
                    vec![directory]
                }
            }
        };
        let password = text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
            let (fields, password) = fields(line)?;
            let [of_host, of_port, of_database, of_user] = &fields;
            let suits = hosts.iter().any(|host| of_host.suits(host))
                && of_port.suits(&port)
                && of_database.suits(database)
                && of_user.suits(user);
            suits.then_some(password)
        });
        // As libpq: the first line that fits decides, and an empty password counts as none.
        password.filter(|password| !password.is_empty()).map(|text| Password(SecretString::from(text)))
    }

    /// What to do if the server requires a password and there is none.
    pub(super) fn remedy(&self) -> String {
        match &self.name {
            Some(name) => format!("no line `{SHAPE}` of {name} is for it; add one"),
            None => format!("put a line `{SHAPE}` into a password file (pgpass)"),
        }
    }

    /// The name of the password's source.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("the password file")
    }
}

/// A field of a line.
#[derive(Debug)]
enum Field {
    Any,
    Text(String),
}

impl Field {
    fn suits(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Text(text) => text == value,
        }
    }
}

/// The four fields of a line and the password after them; a backslash escapes the next character.
fn fields(line: &str) -> Option<([Field; 4], String)> {
    let mut rest = line;
    let mut next = || {
        let (field, behind) = field(rest)?;
        rest = behind;
        Some(field)
    };
    let fields = [next()?, next()?, next()?, next()?];
    Some((fields, unescaped(rest)))
}

fn field(text: &str) -> Option<(Field, &str)> {
    if let Some(rest) = text.strip_prefix("*:") {
        return Some((Field::Any, rest));
    }
    let mut escaped = false;
    let end = text.find(|letter| {
        let is_end = letter == ':' && !escaped;
        escaped = letter == '\\' && !escaped;
        is_end
    })?;
    let (field, rest) = text.split_at(end);
    Some((Field::Text(unescaped(field)), rest.strip_prefix(':')?))
}

fn unescaped(text: &str) -> String {
    let mut letters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next().unwrap_or(letter) } else { letter });
    }
    plain
}

fn home() -> Option<PathBuf> {
    let user = User::from_uid(geteuid()).ok().flatten()?;
    Some(user.dir.join(HOME))
}

/// The text of the file in the home directory; `None` if it is missing or unreachable.
fn read_if_there(path: &Path) -> Result<Option<Password>, String> {
    match File::open(path).map_err(|error| error.kind()) {
        Err(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied) => {
            Ok(None)
        }
        _ => read(path, false).map(Some),
    }
}

/// The text of a password file. One in systemd's credentials directory may have any mode.
fn read(path: &Path, guarded: bool) -> Result<Password, String> {
    let wrong = |why: String| format!("the password file {} {why}", path.display());
    // Non-blocking: opening a pipe would wait for its other end.
    let opened = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let file = opened.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(wrong("is not a regular file".to_owned()));
    }
    if let (false, Some(problem)) = (guarded, open_to_others(path, 0)) {
        return Err(problem);
    }
    let mut text = String::new();
    let read = file.take(LARGEST + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > LARGEST) {
        return Err(wrong("is too large for one".to_owned()));
    }
    Ok(Password(text.into()))
}

/// The problem with the permissions of a secret file, with the command that fixes it.
pub(super) fn open_to_others(path: &Path, allowed: u32) -> Option<String> {
    let file = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
    let mode = file.permissions().mode() & 0o7777;
    // Only a file of root, read by another user, may be shared with a group.
    let allowed = if file.uid() == 0 && !geteuid().is_root() { allowed } else { 0 };
    if mode & OPEN_TO_OTHERS & !allowed == 0 {
        return None;
    }
    let remedy = closing(path, None);
    Some(format!("{} is open to other users (mode {mode:04o}); {remedy}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::engine::postgres::tests::server::write_private;

    fn place(host: &str, port: u16) -> Server {
        let host =
            if host.starts_with('/') { Host::Socket(host.into()) } else { Host::Name(host.to_owned()) };
        Server { host, address: None, port }
    }

    fn target(path: &Path) -> Target {
        Target::parse("postgres://db/bank", &|_| None).unwrap().with_pgpass(Some(path.to_owned()))
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let text = "# comment:*:*:*:no\n\n\
                    short:line\n\
                    db:5432:bank:app:first\n\
                    db:5432:bank:app:second\n\
                    db:*:*:other:back\\\\slash\\:colon:rest#\r\n\
                    od\\:d:5432:a\\\\b:app:\u{e4} blank \n\
                    localhost:*:*:app:socket\n\
                    /srv/pg:*:*:app:own socket\n\
                    *:1:*:app:\n\
                    db:1:*:app:behind an empty one\n\
                    ::1:*:*:app:unescaped\n\
                    \\:\\:1:*:*:app:six\n\
                    *:*:*:last\\*:any";
        let target = Target::parse("postgres://db", &|_| None).unwrap();
        let passwords = Passwords::of(&target.with_pgpass_text(Some(text.to_owned().into()))).unwrap();
        for (host, port, database, user, expected) in [
            ("db", 5432, "bank", "app", Some("first")),
            ("db", 5433, "bank", "app", None),
            ("db", 5432, "bank2", "app", None),
            ("db", 1, "x", "other", Some("back\\slash:colon:rest#")),
            ("od:d", 5432, "a\\b", "app", Some("\u{e4} blank ")),
            ("/var/run/postgresql", 5432, "x", "app", Some("socket")),
            ("/run/postgresql", 5432, "x", "app", Some("socket")),
            ("/srv/pg", 5432, "x", "app", Some("own socket")),
            ("/srv/other", 5432, "x", "app", None),
            ("db", 1, "x", "app", None),
            ("::1", 5432, "x", "app", Some("six")),
            ("db", 1, "x", "last*", Some("any")),
            ("comment", 1, "x", "y", None),
        ] {
            let found = passwords.find(&place(host, port), database, user);
            let found = found.as_ref().map(|Password(text)| text.expose_secret());
            assert_eq!(found, expected, "{host}:{port}:{database}:{user}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_unless_systemd_guards_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("pgpass");
        write_private(&path, "db:*:*:app:hunter2\n");
        assert!(Passwords::of(&target(&path)).unwrap().find(&place("db", 1), "bank", "app").is_some());
        for mode in [0o640, 0o604, 0o620, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Passwords::of(&target(&path)).err().unwrap();
            assert!(error.contains(&format!("(mode {mode:04o})")) && error.contains("chmod 600"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
        let directory = root.path().as_os_str().to_owned();
        let env = move |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| directory.clone());
        let guarded = Target::parse("postgres://db/bank", &env).unwrap().with_pgpass(Some(path));
        assert!(Passwords::of(&guarded).unwrap().file.is_some());
    }

    #[test]
    fn what_is_no_password_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        for (path, expected) in
            [(root.path().join("missing"), "No such file"), (root.path().to_owned(), "is not a regular file")]
        {
            let error = Passwords::of(&target(&path)).err().unwrap();
            assert!(error.contains(expected) && error.contains(&path.display().to_string()), "{error}");
        }
        let large = root.path().join("large");
        write_private(&large, &"x".repeat(usize::try_from(LARGEST).unwrap() + 1));
        assert!(Passwords::of(&target(&large)).err().unwrap().contains("too large"));
    }

    #[test]
    fn the_variable_comes_before_the_file() {
        let env = |name: &str| (name == "PGPASSWORD").then(|| "hunter2".into());
        let target = Target::parse("postgres://db/bank", &env).unwrap();
        assert!(!format!("{target:?}").contains("hunter2"), "{target:?}");
        let passwords = Passwords::of(&target.with_pgpass(Some("/no/such/file".into()))).unwrap();
        assert_eq!(passwords.find(&place("db", 1), "x", "y"), Some(Password("hunter2".to_owned().into())));
    }
}

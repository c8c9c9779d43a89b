//! The user this process runs as: root's commands by hand become the user of the service, and a user who may
//! not open something gets a hint. Must be decided while the process has one thread and nothing open.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Component, Path};
use std::process::Command;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, fstat, umask};
use nix::unistd::{Uid, User, fchdir, geteuid, initgroups, setgid, setuid};

/// The user that the units run as.
pub const SERVICE_USER: &str = "tink-sync";

/// Group and others get nothing, as in the units.
const PRIVATE: Mode = Mode::from_bits_truncate(0o077);

/// This program, even if its file was replaced by a newer one.
const MYSELF: &str = "/proc/self/exe";
/// Write permission for group and others.
const OTHERS_WRITE: u32 = 0o022;

/// Protects the memory of this process, which holds secrets: only root can inspect it, and it never leaves a
/// core file, in a unit or by hand.
///
/// # Errors
/// The system's error; the process works all the same.
pub(crate) fn hide_memory() -> io::Result<()> {
    set_dumpable(false)?;
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}

/// Executes this program again, with only these arguments and this environment, so that programs it starts
/// later inherit nothing else. Returns only if that fails.
pub(crate) fn begin_anew(arguments: &[OsString], environment: Vec<(OsString, OsString)>) -> io::Error {
    let mut command = Command::new(MYSELF);
    if let Some((name, rest)) = arguments.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_clear().envs(environment).exec()
}

/// Changes the working directory, over a path that only root can have made: a link is followed only where
/// root has made it. For places that are reached before the rights to reach them are dropped.
pub(crate) fn enter(directory: &Path) -> io::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut here: OwnedFd = open(if directory.is_absolute() { "/" } else { "." }, flags, Mode::empty())?;
    for part in directory.components() {
        let name = match part {
            Component::Prefix(_) | Component::RootDir | Component::CurDir => continue,
            Component::ParentDir => "..".as_ref(),
            Component::Normal(name) => name,
        };
        let found = fstat(&here)?;
        let is_roots = found.st_uid == 0 && found.st_mode & OTHERS_WRITE == 0;
        let links = if is_roots { OFlag::empty() } else { OFlag::O_NOFOLLOW };
        here = openat(&here, name, flags | links, Mode::empty())?;
    }
    Ok(fchdir(&here)?)
}

/// Whether this process has root's rights.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether this process runs as the user of this number.
pub(crate) fn is_me(uid: u32) -> bool {
    geteuid().as_raw() == uid
}

/// Whether this process runs as the user of this name.
pub(crate) fn is_called(name: &str) -> bool {
    User::from_uid(geteuid()).ok().flatten().is_some_and(|user| user.name == name)
}

/// The user of this name, if the system knows one that is not root.
pub(crate) fn find(name: &str) -> io::Result<Option<User>> {
    Ok(User::from_name(name)?.filter(|user| !user.uid.is_root()))
}

/// Makes this process the given user for good: its groups, its rights, and files that nobody else can read.
///
/// # Errors
/// The system's error; the process must then end.
pub(crate) fn become_user(user: &User) -> io::Result<()> {
    let name = CString::new(user.name.as_str())?;
    initgroups(&name, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    umask(PRIVATE);
    // The way back must be closed: if the system allows it, nothing was dropped.
    if setuid(Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("root's rights could not be given up"));
    }
    Ok(())
}

/// The command by which root gives a file an owner, if one is named, and a mode. In a directory that another
/// user owns, that user may have placed a link: there, the command follows none and sets modes as the owner.
pub(crate) fn mending(path: &Path, owner: Option<&str>, mode: &str) -> String {
    let name = quoted(path);
    if is_roots_alone(path.parent()) {
        let chown = owner.map(|owner| format!("chown {owner}: {name} && ")).unwrap_or_default();
        return format!("{chown}chmod {mode} {name}");
    }
    if owner == Some("root") {
        return format!("chown -h root: {name}");
    }
    let chown = owner.map(|owner| format!("chown -h {owner}: {name} && ")).unwrap_or_default();
    let theirs = std::fs::symlink_metadata(path).ok().and_then(|file| user_name(file.uid()));
    let by = owner.map(str::to_owned).or(theirs).unwrap_or_else(|| SERVICE_USER.to_owned());
    format!("{chown}sudo -u {by} chmod {mode} {name}")
}

/// What closes a file with a secret to other users: the command, or for a file of the system, which others read by
/// design, another place for the secret.
pub(crate) fn closing(path: &Path, owner: Option<&str>) -> String {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is_of_system = real.parent() == Some(Path::new("/etc"))
        || ["/usr", "/dev", "/proc", "/sys"].iter().any(|place| real.starts_with(place));
    if is_of_system {
        return "name a file of its own, such as /etc/tink-sync/client-secret".to_owned();
    }
    format!("fix it with: {}", mending(path, owner, "600"))
}

/// The command that gives a user these rights to a file, to be run by root or by the file's owner.
pub(crate) fn granting(path: &Path, user: &str, rights: &str) -> String {
    let command = format!("setfacl -m u:{user}:{rights} {}", quoted(path));
    let owner = std::fs::symlink_metadata(path).ok().and_then(|file| user_name(file.uid()));
    match owner {
        Some(owner) if !is_roots_alone(path.parent()) => format!("sudo -u {owner} {command}"),
        _ => command,
    }
}

/// Whether only root can have put something into this directory.
fn is_roots_alone(directory: Option<&Path>) -> bool {
    directory
        .and_then(|directory| std::fs::metadata(directory).ok())
        .is_some_and(|found| found.uid() == 0 && found.mode() & OTHERS_WRITE == 0)
}

fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// A path quoted for the shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A hint about something that this user may not open.
pub(crate) fn access_hint() -> String {
    let me = User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    hint_for(me.as_deref())
}

fn hint_for(me: Option<&str>) -> String {
    let service = SERVICE_USER;
    match me {
        Some(name) if name == service => {
            format!("have its owner give user {name} access to it: setfacl -m u:{name}:r FILE")
        }
        Some("root") => "even root may not: look at the file system and at access lists".to_owned(),
        Some(_) | None => format!("run it with sudo, which makes it user {service}: sudo tink-sync …"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_fits_who_asks() {
        assert!(hint_for(Some("tink-sync")).contains("setfacl -m u:tink-sync:r"));
        assert!(hint_for(Some("ann")).contains("sudo tink-sync"));
        assert!(hint_for(None).contains("sudo tink-sync"));
        assert!(!hint_for(Some("root")).contains("sudo"));
    }

    #[test]
    fn no_link_of_somebody_else_is_followed_on_the_way() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(place("real/below")).unwrap();
        symlink(place("real"), place("link")).unwrap();
        // Others may write here, as in a directory of their own.
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        // The working directory belongs to the whole process; a refused call does not change it.
        assert!(enter(&place("link")).is_err());
        assert!(enter(&place("link/below")).is_err());
        assert!(enter(&place("nowhere")).is_err());
    }

    #[test]
    fn what_root_is_to_type_follows_no_link_of_somebody_else() {
        assert_eq!(mending(Path::new("/etc/passwd"), None, "600"), "chmod 600 /etc/passwd");
        let plain = mending(Path::new("/etc/passwd"), Some("tink-sync"), "600");
        assert_eq!(plain, "chown tink-sync: /etc/passwd && chmod 600 /etc/passwd");
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let file = dir.path().join("a file");
        std::fs::write(&file, "").unwrap();
        let theirs = mending(&file, Some("tink-sync"), "600");
        let name = quoted(&file);
        assert!(name.starts_with('\'') && name.ends_with("a file'"));
        assert_eq!(theirs, format!("chown -h tink-sync: {name} && sudo -u tink-sync chmod 600 {name}"));
        assert!(mending(&file, None, "600").starts_with("sudo -u "));
        assert!(granting(&file, "ann", "r").starts_with("sudo -u "));
        assert_eq!(granting(Path::new("/etc/passwd"), "ann", "r"), "setfacl -m u:ann:r /etc/passwd");
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/etc/a-b.c")), "/etc/a-b.c");
        assert_eq!(quoted(Path::new("/etc/it's it")), r"'/etc/it'\''s it'");
    }

    #[test]
    fn root_is_nobody_to_become() {
        assert!(find("root").unwrap().is_none());
        assert!(find("no-such-user-here").unwrap().is_none());
    }
}

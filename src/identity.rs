//! Who this process runs as: root's commands by hand become the user of the service, and whoever may not
//! open something is told how they may. Must be settled while the process has one thread and nothing open.

use std::ffi::CString;
use std::io;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Uid, User, geteuid, initgroups, setgid, setuid};

/// The user that the units run as.
pub const SERVICE_USER: &str = "tink-sync";

/// Group and others get nothing, as in the units.
const PRIVATE: Mode = Mode::from_bits_truncate(0o077);

/// Whether this process has root's rights.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether this process runs as the user of this number.
pub fn is_me(uid: u32) -> bool {
    geteuid().as_raw() == uid
}

/// Whether this process runs as the user of this name.
pub fn is_called(name: &str) -> bool {
    User::from_uid(geteuid()).ok().flatten().is_some_and(|user| user.name == name)
}

/// The user of this name, if the system knows one that is not root.
///
/// # Errors
/// As the system reports it.
pub fn find(name: &str) -> io::Result<Option<User>> {
    Ok(User::from_name(name)?.filter(|user| !user.uid.is_root()))
}

/// Makes this process the given user for good: its groups, its rights, and files that nobody else reads.
///
/// # Errors
/// As the system reports it; the process must then end.
pub fn become_user(user: &User) -> io::Result<()> {
    let name = CString::new(user.name.as_str())?;
    initgroups(&name, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    umask(PRIVATE);
    // The way back must be closed: a system that grants it has not dropped anything.
    if setuid(Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("root's rights could not be given up"));
    }
    Ok(())
}

/// What to do about something that this user may not open.
pub fn access_hint() -> String {
    let me = User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    hint_for(me.as_deref())
}

fn hint_for(me: Option<&str>) -> String {
    let service = SERVICE_USER;
    match me {
        Some(name) if name == service => {
            format!("give user {name} access to it: chgrp {name} FILE && chmod g+r FILE")
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
        assert!(hint_for(Some("tink-sync")).contains("chgrp tink-sync"));
        assert!(hint_for(Some("ann")).contains("sudo tink-sync"));
        assert!(hint_for(None).contains("sudo tink-sync"));
        assert!(!hint_for(Some("root")).contains("sudo"));
    }

    #[test]
    fn root_is_nobody_to_become() {
        assert!(find("root").unwrap().is_none());
        assert!(find("no-such-user-here").unwrap().is_none());
    }
}

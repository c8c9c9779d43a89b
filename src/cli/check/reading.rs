//! The check of who else may read the store: the group of its directory, if that is set up for it, and what
//! keeps that group from reading.

use std::path::Path;

use nix::unistd::{Gid, Group};

use super::Finding;
use crate::config::{READERS, STATE_DIRECTORY};
use crate::identity::quoted;
use crate::store::file::sharing::{self, Obstacle};

/// Whether users besides the service user read the store in this directory, and what keeps them from it.
pub(super) fn finding(directory: &Path, path: &Path) -> Finding {
    let what = "readers";
    let shown = directory.display();
    let Some(gid) = sharing::reading_group(directory) else {
        let text =
            format!("only its owner reads the store; a group does once {shown} has that group and mode 2750");
        return Finding::ok(what, text);
    };
    let (name, members) = group(gid);
    let all = sharing::obstacles(path, gid);
    let Some(first) = all.first() else {
        return Finding::ok(what, format!("members of group {name} may read the store{members}"));
    };
    let text = format!("members of group {name} cannot read the store: {}", told(first, &name));
    Finding::warn(what, text, remedy(directory, first, &name))
}

/// The name of the group and its members besides the service user.
fn group(gid: u32) -> (String, String) {
    let Some(group) = Group::from_gid(Gid::from_raw(gid)).ok().flatten() else {
        return (gid.to_string(), String::new());
    };
    let ours = |member: &&String| *member != crate::config::SERVICE_USER;
    let members: Vec<&str> = group.mem.iter().filter(ours).map(String::as_str).collect();
    let members = match members.as_slice() {
        [] => format!("; it has no member yet: usermod -aG {} USER", group.name),
        members => format!(": {}", members.join(", ")),
    };
    (group.name, members)
}

fn told(obstacle: &Obstacle, name: &str) -> String {
    match obstacle {
        Obstacle::Missing(file) => format!("{} is not there", file.display()),
        Obstacle::Closed { file, gid, mode } => {
            let theirs = Group::from_gid(Gid::from_raw(*gid)).ok().flatten();
            let theirs = theirs.map_or_else(|| gid.to_string(), |group| group.name);
            let group = if theirs == name { String::new() } else { format!("group {theirs}, ") };
            format!("{} has {group}mode {mode:04o}", file.display())
        }
    }
}

fn remedy(directory: &Path, obstacle: &Obstacle, name: &str) -> String {
    match obstacle {
        // The next process that may open the store creates it.
        Obstacle::Missing(_) => "tink-sync status".to_owned(),
        Obstacle::Closed { .. } if directory == Path::new(STATE_DIRECTORY) && name == READERS => {
            "systemd-tmpfiles --create tink-sync.conf".to_owned()
        }
        Obstacle::Closed { file, .. } => {
            let (shown, service) = (quoted(file), crate::config::SERVICE_USER);
            format!("sudo -u {service} chgrp {name} {shown} && sudo -u {service} chmod g+r {shown}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Grade;
    use super::*;
    use crate::cli::fixture::Fixture;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn it_says_who_reads_and_what_is_in_the_way() {
        let fixture = Fixture::new();
        let path = fixture.path("store.db");
        let directory = path.parent().unwrap().to_owned();
        let finding = || super::finding(&directory, &path);
        chmod(&directory, 0o700);
        assert!(finding().text.contains("only its owner reads the store"), "{:?}", finding());
        chmod(&directory, 0o2750);
        fixture.add(&["c"]);
        assert_eq!(finding().grade, Grade::Ok, "{:?}", finding());
        assert!(finding().text.contains("may read the store"), "{:?}", finding());

        chmod(&path, 0o600);
        let closed = finding();
        assert_eq!(closed.grade, Grade::Warn);
        assert!(closed.text.ends_with("store.db has mode 0600"), "{closed:?}");
        assert!(closed.remedy.unwrap().contains("chmod g+r"));
        chmod(&path, 0o640);
        fs::remove_file(fixture.path("store.db-shm")).unwrap();
        assert!(finding().text.ends_with("store.db-shm is not there"), "{:?}", finding());
        // The suggested remedy works.
        crate::store::Reader::open(&fixture.place()).unwrap().connections().unwrap();
        assert_eq!(finding().grade, Grade::Ok, "{:?}", finding());
    }
}

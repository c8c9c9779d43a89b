//! What must never be replaced: the databases with everything beside them, the files that the configuration
//! names, the spool. Identified by device and inode, so that no other path to it helps. Opens none of them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::target::{Destination, is_kind, refusal};

/// The first bytes of a database's files: the database itself, its two kinds of logs.
const DATABASES: [&[u8]; 4] =
    [b"SQLite format 3\0", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"];

/// Files and directories that are kept from being replaced.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    files: Vec<PathBuf>,
    families: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

type Id = (u64, u64);

impl Protected {
    pub fn file(mut self, path: &Path) -> Self {
        self.files.push(path.to_owned());
        self
    }

    /// A database, with everything beside it whose name continues its own: `-wal`, `-shm`, `-journal`, locks,
    /// backups.
    pub fn family(mut self, path: &Path) -> Self {
        // SQLite keeps the others beside the file itself.
        self.families.extend(path.canonicalize());
        self.families.push(path.to_owned());
        self
    }

    /// Everything in a directory, at any depth.
    pub fn directory(mut self, path: &Path) -> Self {
        self.directories.push(path.to_owned());
        self
    }

    /// Fails if no file may be put there.
    pub(super) fn allow(&self, target: &Destination) -> io::Result<()> {
        let refused = |why: &dyn std::fmt::Display| Err(refusal(format!("{} {why}", target.path.display())));
        if let Some(owner) = self.owner_of(target)? {
            return refused(&format_args!("belongs to {}; nothing is put in its place", owner.display()));
        }
        let Ok(found) = fstatat(&target.directory, target.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
        else {
            return Ok(());
        };
        if is_kind(&found, SFlag::S_IFLNK) {
            return refused(&"is a link; name the file it leads to");
        }
        if !is_kind(&found, SFlag::S_IFREG) {
            return refused(&"is not a regular file");
        }
        // Never reads one that is open here: closing it would release SQLite's locks. Those were refused
        // above.
        if is_database(target) {
            return refused(&"is a database; nothing is put in its place");
        }
        Ok(())
    }

    /// The protected path that the target belongs to.
    fn owner_of(&self, target: &Destination) -> io::Result<Option<&Path>> {
        let here = id(&fstat(&target.directory)?);
        let existing = fstatat(&target.directory, target.name.as_os_str(), AtFlags::empty())
            .ok()
            .map(|found| id(&found));
        let is_file = |path: &&PathBuf| {
            existing.is_some() && existing == id_of(path)
                || path.file_name() == Some(target.name.as_os_str()) && parent_id(path) == Some(here)
        };
        let is_relative = |path: &&PathBuf| {
            let base = path.file_name().unwrap_or_default();
            let is_named = parent_id(path) == Some(here) && is_of_family(&target.name, base);
            is_named || existing.is_some() && relatives(path).any(|relative| existing == id_of(&relative))
        };
        let above = if self.directories.is_empty() { Vec::new() } else { above(&target.directory)? };
        let is_above = |path: &&PathBuf| id_of(path).is_some_and(|id| above.contains(&id));
        let found = self.files.iter().find(is_file);
        let found = found.or_else(|| self.families.iter().find(is_relative));
        Ok(found.or_else(|| self.directories.iter().find(is_above)).map(PathBuf::as_path))
    }
}

/// Whether a name is that of a database or of a file beside it.
fn is_of_family(name: &OsStr, base: &OsStr) -> bool {
    let rest = name.as_bytes().strip_prefix(base.as_bytes());
    !base.is_empty() && rest.is_some_and(|rest| rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric()))
}

/// A database, and everything beside it whose name continues its own.
fn relatives(path: &Path) -> impl Iterator<Item = PathBuf> {
    let base = path.file_name().unwrap_or_default().to_owned();
    let entries =
        path.parent().and_then(|parent| std::fs::read_dir(parent).ok()).into_iter().flatten().flatten();
    let beside =
        entries.filter(move |entry| is_of_family(&entry.file_name(), &base)).map(|entry| entry.path());
    std::iter::once(path.to_owned()).chain(beside)
}

fn above(directory: &OwnedFd) -> io::Result<Vec<Id>> {
    let mut ids = vec![id(&fstat(directory)?)];
    let mut at = directory.try_clone()?;
    loop {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        // Above a directory that may not be entered nothing can be seen, nor named from here.
        let Ok(up) = openat(at.as_fd(), "..", flags, Mode::empty()) else { return Ok(ids) };
        let next = id(&fstat(&up)?);
        if ids.last() == Some(&next) {
            return Ok(ids);
        }
        ids.push(next);
        at = up;
    }
}

fn is_database(target: &Destination) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(file) = openat(&target.directory, target.name.as_os_str(), flags, Mode::empty()) else {
        return false;
    };
    let mut start = Vec::new();
    let read = File::from(file).take(16).read_to_end(&mut start);
    read.is_ok() && DATABASES.iter().any(|beginning| start.starts_with(beginning))
}

fn id(found: &FileStat) -> Id {
    (found.st_dev, found.st_ino)
}

fn id_of(path: &Path) -> Option<Id> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

fn parent_id(path: &Path) -> Option<Id> {
    let parent = path.parent()?;
    id_of(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

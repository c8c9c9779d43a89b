//! The destination of a file: its directory, opened, and its name there. The path is walked step by step, so
//! that a link made by another user leads nowhere, even if it is made meanwhile. Writes nothing.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::identity;

/// The same as the kernel's limit.
const MOST_LINKS: u32 = 40;

/// The place of a file.
#[derive(Debug)]
pub(super) struct Destination {
    /// As it was named, for messages.
    pub path: PathBuf,
    pub directory: OwnedFd,
    pub name: OsString,
}

impl Destination {
    /// Opens the directory of `path`.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let no_file = || refusal(format!("{} names no file", path.display()));
        let name = path.file_name().ok_or_else(no_file)?.to_owned();
        let directory = open_directory(directory_of(path))?;
        Ok(Self { path: path.to_owned(), directory, name })
    }

    /// Makes the names in the directory durable, if this user may.
    pub(super) fn sync(&self) -> io::Result<()> {
        match openat(
            &self.directory,
            ".",
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        ) {
            // A user who may write into a directory may not always read it.
            Err(Errno::EACCES) => Ok(()),
            opened => match nix::unistd::fsync(opened?) {
                // Some file systems have nothing to sync here.
                Err(Errno::EINVAL) => Ok(()),
                done => Ok(done?),
            },
        }
    }
}

/// The directory of a file; `.` for a bare name, whose parent is the empty path.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

/// The error for a destination where nothing may be put.
pub(super) fn refusal(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Opens a directory, following only links of root and of this user.
pub(super) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let start = |path: &Path| if path.is_absolute() { "/" } else { "." };
    let mut at = step(&AT_FDCWD, OsStr::new(start(path)))?;
    let mut rest = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        let next = step(&at, &part)?;
        let found = fstat(&next)?;
        if !is_kind(&found, SFlag::S_IFLNK) {
            at = next;
            continue;
        }
        if found.st_uid != 0 && !identity::is_me(found.st_uid) {
            let part = Path::new(&part).display();
            return Err(refusal(format!(
                "in {}, {part} is a link of another user; name the directory it leads to",
                path.display()
            )));
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::ELOOP.into());
        }
        let target = PathBuf::from(readlinkat(&next, "")?);
        if target.is_absolute() {
            at = step(&AT_FDCWD, OsStr::new("/"))?;
        }
        rest.extend(parts(&target));
    }
    Ok(openat(&at, ".", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

fn step(from: &impl std::os::fd::AsFd, part: &OsStr) -> io::Result<OwnedFd> {
    Ok(openat(from, part, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// The parts of a path, in reverse order.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| part.as_os_str().to_owned()).rev().collect()
}

pub(super) fn is_kind(found: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == kind
}

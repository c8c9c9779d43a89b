//! Replaces a file in one step: complete or not at all. Every file that is replaced goes through here, and
//! every temporary file for bank data is created here. Until it is in its place the file has no name, so that
//! a killed process leaves nothing behind; where the file system does not support that, it has a random one.
//! Must not follow the links of other users, nor know what is written.

mod protected;
mod target;

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use crate::failpoint;
pub(crate) use protected::Protected;
use target::Destination;
pub(crate) use target::directory_of;

/// For the owner only, until it is finished.
const PRIVATE: Mode = Mode::from_bits_truncate(0o600);
/// Prefix of a temporary name; hidden, so that no collector, unit or queue takes the file for its own …
const BEFORE: &str = ".tink-sync-";
const AFTER: &str = ".tmp";
/// A name is random, so a second try is enough; more guard against a sweeper that is faster each time.
const TRIES: u32 = 8;

/// A file that will replace another one. Discarded when dropped.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    file: File,
    /// Where it is created, usually its final directory.
    temporary_directory: OwnedFd,
    /// Its name there; `None` as long as it has none.
    temporary: Option<String>,
    target: Destination,
    mode: u32,
}

impl AtomicFile {
    /// Creates a file that will be put at `path` with these permissions.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if nothing may be put there: it is protected, a database, a link, or
    /// not a regular file; else the file system's error.
    pub(crate) fn create(path: &Path, mode: u32, protected: &Protected) -> io::Result<Self> {
        let target = Destination::of(path)?;
        protected.allow(&target)?;
        let temporary_directory = target.directory.try_clone()?;
        Self::make(target, temporary_directory, mode)
    }

    /// Creates a file in another directory of the same file system, so that other users who may write at
    /// `path` cannot reach it before it is complete. It replaces whatever is there by then, except a
    /// directory.
    pub(crate) fn create_in(temporary_directory: &Path, path: &Path, mode: u32) -> io::Result<Self> {
        let target = Destination::of(path)?;
        let temporary_directory = target::open_directory(temporary_directory)?;
        Self::make(target, temporary_directory, mode)
    }

    fn make(target: Destination, temporary_directory: OwnedFd, mode: u32) -> io::Result<Self> {
        sweep(&temporary_directory);
        let (file, temporary) = match unnamed(&temporary_directory) {
            Ok(file) => (file, None),
            Err(_) => named(&temporary_directory).map(|(file, name)| (file, Some(name)))?,
        };
        Ok(Self { file, temporary_directory, temporary, target, mode })
    }

    /// Makes the file durable and puts it in its place; the two steps are the failpoints of writing and of
    /// replacing. The old file stays if writing or renaming fails.
    pub(crate) fn replace(mut self, [write, replace]: [&'static str; 2]) -> io::Result<()> {
        failpoint::around(write, || {
            self.file.set_permissions(Permissions::from_mode(self.mode))?;
            self.file.sync_all()
        })?;
        failpoint::around(replace, || {
            self.put_in_place()?;
            self.target.sync()
        })
    }

    fn put_in_place(&mut self) -> io::Result<()> {
        let name = match self.temporary.take() {
            Some(name) => name,
            None => give_name(&self.file, &self.temporary_directory)?,
        };
        let moved = renameat(
            &self.temporary_directory,
            name.as_str(),
            &self.target.directory,
            self.target.name.as_os_str(),
        );
        self.temporary = moved.is_err().then_some(name);
        Ok(moved?)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(name) = &self.temporary {
            // If it cannot be removed, only its owner can read it, and the next file sweeps it up.
            let _ = unlinkat(&self.temporary_directory, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Replaces the file at `path` with a text; see [`AtomicFile::replace`].
///
/// # Errors
/// As for [`AtomicFile::create`].
pub(crate) fn replace(
    path: &Path,
    mode: u32,
    text: &str,
    protected: &Protected,
    steps: [&'static str; 2],
) -> io::Result<()> {
    let mut file = AtomicFile::create(path, mode, protected)?;
    file.write_all(text.as_bytes())?;
    file.replace(steps)
}

/// A file without a name, for reading and writing; it disappears with the process.
pub(crate) fn scratch(directory: &Path) -> io::Result<File> {
    let directory = target::open_directory(directory)?;
    sweep(&directory);
    unnamed(&directory).or_else(|_| {
        let (file, name) = named(&directory)?;
        unlinkat(&directory, name.as_str(), UnlinkatFlags::NoRemoveDir)?;
        Ok(file)
    })
}

/// A private file that other programs open by its name; removed when dropped.
#[derive(Debug)]
pub(crate) struct PrivateFile {
    file: File,
    directory: OwnedFd,
    name: String,
    pub path: PathBuf,
}

impl PrivateFile {
    /// Writes a text for programs of this user that require this `ending` of the file's name.
    pub(crate) fn create(directory: &Path, ending: &str, text: &str) -> io::Result<Self> {
        let opened = target::open_directory(directory)?;
        sweep(&opened);
        let (file, name) = with_name(&opened, "tink-sync-", ending)?;
        let path = directory.join(&name);
        let mut private = Self { file, directory: opened, name, path };
        private.file.write_all(text.as_bytes())?;
        Ok(private)
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        // If it cannot be removed, only its owner can read it.
        let _ = unlinkat(&self.directory, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
}

/// A file without a name; fails where that is not possible, or where it could not get a name later.
fn unnamed(directory: &OwnedFd) -> io::Result<File> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let file = File::from(openat(directory, ".", flags, PRIVATE)?);
    std::fs::metadata(own(&file))?;
    lock(&file);
    Ok(file)
}

/// The path of an open file that has no name.
fn own(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn give_name(file: &File, directory: &OwnedFd) -> io::Result<String> {
    let name = random_name(BEFORE, AFTER)?;
    linkat(AT_FDCWD, &own(file), directory, name.as_str(), AtFlags::AT_SYMLINK_FOLLOW)?;
    Ok(name)
}

/// A file with a random name.
fn named(directory: &OwnedFd) -> io::Result<(File, String)> {
    with_name(directory, BEFORE, AFTER)
}

fn with_name(directory: &OwnedFd, before: &str, after: &str) -> io::Result<(File, String)> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let mut tries = 0..TRIES;
    loop {
        let name = random_name(before, after)?;
        let file = File::from(openat(directory, name.as_str(), flags, PRIVATE)?);
        lock(&file);
        // A sweeper may have removed it in between.
        if file.metadata()?.nlink() > 0 || tries.next().is_none() {
            return Ok((file, name));
        }
    }
}

/// The lock distinguishes a file that is being written from an abandoned one. Where there are no locks,
/// nothing is swept up.
fn lock(file: &File) {
    let _ = file.lock();
}

fn random_name(before: &str, after: &str) -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{before}{:032x}{after}", u128::from_be_bytes(bytes)))
}

/// Whether a name is one of [`random_name`], with any ending.
fn is_ours(name: &str) -> bool {
    let name = name.strip_prefix('.').unwrap_or(name);
    let rest = name.strip_prefix("tink-sync-").unwrap_or_default().as_bytes();
    let (number, rest) = rest.split_at(rest.len().min(32));
    number.len() == 32 && number.iter().all(u8::is_ascii_hexdigit) && rest.first() == Some(&b'.')
}

/// Removes what killed processes have left in a directory.
pub(crate) fn sweep_directory(directory: &Path) {
    if let Ok(directory) = target::open_directory(directory) {
        sweep(&directory);
    }
}

fn sweep(directory: &OwnedFd) {
    // A user who may write into a directory may not always list it; then what is there stays.
    let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()));
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if is_ours(&name) && is_abandoned(directory, &name) {
            let _ = unlinkat(directory, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn is_abandoned(directory: &OwnedFd, name: &str) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(file) = openat(directory, name, flags, Mode::empty()).map(File::from) else { return false };
    let is_mine = file.metadata().is_ok_and(|found| found.is_file() && crate::identity::is_me(found.uid()));
    is_mine && file.try_lock().is_ok()
}

#[cfg(test)]
mod tests;

//! What the spool does in a directory in which another user writes too: follows no link, reads only regular
//! files, and moves whatever is in the way aside. Knows no event, and keeps at most `NAMES` names in memory.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// The most names of a directory that are read at once; twice what a queue may hold.
const NAMES: usize = 20_000;
/// Prefix of what was moved aside. systemd does not count hidden names.
const ASIDE: &[u8] = b".aside-";
/// How many things are kept aside, at most.
const MOST_ASIDE: usize = 100;
/// The unit in which the system counts the size of a file on disk.
const BLOCK: u64 = 512;
/// The longest name on Linux, in bytes.
const LONGEST_NAME: usize = 255;

/// Reads a regular file of at most `most` bytes.
pub(super) fn read(file: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let opened = File::options().read(true).custom_flags(flags.bits()).open(file);
    let opened = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ELOOP) => io::Error::other("it is a link"),
        Some(Errno::ENXIO) => io::Error::other("it is a socket"),
        _ => error,
    })?;
    if !opened.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = Vec::new();
    opened.take(most.saturating_add(1)).read_to_end(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > most) {
        return Err(io::Error::other("it is larger than any event"));
    }
    Ok(text)
}

/// Whether something else has the name of a file, and cannot be replaced by it.
pub(super) fn is_obstacle(error: &io::Error) -> bool {
    use ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory};
    // Some file systems refuse to unlink a directory with this error.
    let forbidden = error.raw_os_error().map(Errno::from_raw) == Some(Errno::EPERM);
    matches!(error.kind(), IsADirectory | DirectoryNotEmpty | AlreadyExists) || forbidden
}

/// Gives something a hidden name in its own directory: a directory of another user could not be moved
/// elsewhere. If there are too many of them, the oldest are removed.
pub(super) fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let kept = moved_aside(path.parent().unwrap_or(Path::new(".")))?;
    for old in kept.iter().take((kept.len() + 1).saturating_sub(MOST_ASIDE)) {
        remove(old)?;
    }
    let number = kept.last().map_or(0, |newest| number(newest).saturating_add(1));
    let to = path.with_file_name(hidden(number, path.file_name().unwrap_or_default()));
    // The user of the hooks may have given this name to something.
    remove(&to)?;
    gone_is_fine(fs::rename(path, &to))?;
    Ok(to)
}

/// The number in the name of something moved aside, which grows with each; 0 for a number that is not ours.
fn number(path: &Path) -> u64 {
    let name = path.file_name().and_then(|name| name.as_bytes().strip_prefix(ASIDE)).unwrap_or_default();
    let digits = name.split(|byte| *byte == b'-').next().unwrap_or_default();
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u32>().ok());
    number.map_or(0, u64::from)
}

fn hidden(number: u64, name: &OsStr) -> OsString {
    let mut whole = [ASIDE, format!("{number}-").as_bytes(), name.as_bytes()].concat();
    whole.truncate(LONGEST_NAME);
    OsString::from_vec(whole)
}

/// What was moved aside in a directory, oldest first.
pub(super) fn moved_aside(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = entries(directory, |name| name.as_bytes().starts_with(ASIDE))?;
    all.sort_by_key(|path| number(path));
    Ok(all)
}

/// Everything in a directory that systemd counts, sorted by name; empty if there is no directory.
pub(super) fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    entries(directory, |name| !name.as_bytes().starts_with(b"."))
}

/// Everything in a directory, hidden or not; empty if there is no directory.
pub(super) fn all(directory: &Path) -> io::Result<Vec<PathBuf>> {
    entries(directory, |_| true)
}

/// Reads at most [`NAMES`] names; the rest is left for another time.
fn entries(directory: &Path, wanted: impl Fn(&OsStr) -> bool) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if wanted(&entry.file_name()) {
            files.push(entry.path());
        }
        if files.len() >= NAMES {
            break;
        }
    }
    files.sort();
    Ok(files)
}

/// Removes the oldest files until at most `most` are left; returns how many were removed. What is not a file
/// is moved aside instead.
pub(super) fn thin(directory: &Path, most: usize) -> io::Result<usize> {
    let mut gone = 0;
    loop {
        let files = list(directory)?;
        let surplus = files.len().saturating_sub(most);
        for file in files.iter().take(surplus) {
            match fs::remove_file(file) {
                Err(error) if is_obstacle(&error) => move_aside(file).map(|_| ())?,
                done => {
                    gone_is_fine(done)?;
                    gone += 1;
                }
            }
        }
        // A list that was cut short does not cover the rest.
        if files.len() < NAMES {
            return Ok(gone);
        }
    }
}

/// Removes regular files larger than any event, including hidden ones: they only take space.
pub(super) fn remove_larger(directory: &Path, most: u64) -> io::Result<()> {
    for file in all(directory)? {
        if fs::symlink_metadata(&file).is_ok_and(|found| found.is_file() && found.len() > most) {
            gone_is_fine(fs::remove_file(&file))?;
            tracing::warn!(
                "hooks: {} was larger than any event and is removed; a hook has left it there",
                file.display()
            );
        }
    }
    Ok(())
}

/// The bytes that a directory takes on the disk, with everything below it; `u64::MAX` if it has more than
/// `most` entries.
pub(super) fn usage(directory: &Path, most: usize) -> u64 {
    let (mut bytes, mut seen, mut open) = (0_u64, 0_usize, vec![directory.to_owned()]);
    while let Some(directory) = open.pop() {
        // What is gone or closed holds nothing that this user could have put there.
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > most {
                return u64::MAX;
            }
            let Ok(found) = entry.metadata() else { continue };
            bytes = bytes.saturating_add(found.blocks().saturating_mul(BLOCK));
            if found.is_dir() {
                open.push(entry.path());
            }
        }
    }
    bytes
}

/// Removes everything that is not an event: hidden, larger than `most`, not a file, or not named like one.
pub(super) fn sweep(directory: &Path, most: u64) -> io::Result<()> {
    for path in all(directory)? {
        let is_hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
        let is_named = path.extension().is_some_and(|ending| ending == "json");
        let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= most);
        if is_hidden || !is_named || !is_file {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a file, or a directory with its contents; follows no link.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => gone_is_fine(fs::remove_dir_all(path)),
        Ok(_) => gone_is_fine(fs::remove_file(path)),
        Err(error) => gone_is_fine(Err(error)),
    }
}

/// Ignores a missing file: another process may have been faster.
pub(super) fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

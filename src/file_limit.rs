//! The limit on the sizes of files (`ulimit -f`, `LimitFSIZE=`): a write beyond it fails like any other, with
//! an explanation. Changes no limit.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::{SigSet, Signal};

/// A database writes whole pages of at most this size: a file closer to the limit has reached it.
const NEAR: u64 = 64 * 1024;

/// Makes a write beyond the limit fail instead of killing the process. Must be called before there is a
/// second thread: threads inherit it, and so do programs that are started.
pub(crate) fn survive() {
    // A blocked signal does nothing; where it cannot be blocked, it kills as before.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
}

/// The limit in bytes, if there is one.
fn limit() -> Option<u64> {
    getrlimit(Resource::RLIMIT_FSIZE).ok().map(|(soft, _)| soft).filter(|soft| *soft != RLIM_INFINITY)
}

/// Explains why one of these files could not be written, if a limit is in force: names the one that has
/// reached it.
pub(crate) fn met_by(files: impl IntoIterator<Item = PathBuf>) -> Option<String> {
    let limit = limit()?;
    let size = |file: &PathBuf| std::fs::metadata(file).map_or(0, |found| found.len());
    let met = files.into_iter().find(|file| size(file).saturating_add(NEAR) > limit);
    Some(told(met, limit))
}

fn told(file: Option<PathBuf>, limit: u64) -> String {
    let what = match file {
        Some(file) => format!("{} has met the limit on file sizes, {limit} bytes", file.display()),
        None => format!("no file of this process may grow beyond {limit} bytes"),
    };
    format!("{what}: raise LimitFSIZE= of the unit, or ulimit -f")
}

/// A system error, with what to do about it if space ran out. An error that was already explained stays as it
/// is.
pub(crate) fn explain(error: &io::Error) -> String {
    if error.raw_os_error().is_none() {
        return error.to_string();
    }
    match (error.kind(), limit()) {
        (ErrorKind::FileTooLarge, Some(limit)) => format!("{error}; {}", told(None, limit)),
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => format!("{error}; make room there"),
        _ => error.to_string(),
    }
}

/// Whether the target of a write is full or read-only: not a bug of ours.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::FileTooLarge
            | ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::ReadOnlyFilesystem
    )
}

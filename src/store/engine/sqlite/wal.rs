//! The log beside a store (`-wal`): its size, and which processes keep it from being emptied. A transaction
//! that never ends sees the store as of its start, so all that is written since has to stay in the log. Reads
//! metadata and the kernel's list of locks; opens the shared-memory file only without that list.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_UNLCK, F_WRLCK, SEEK_SET, flock};
use nix::sys::stat::{major, minor};
use nix::unistd::{Uid, User};

use super::sharing;

/// A log of this size does not come from one pass: a reader keeps it from being emptied.
pub const LARGE: u64 = 64 << 20;

/// The bytes of the shared-memory file that readers of a snapshot lock, one byte each
/// (<https://sqlite.org/walformat.html>, section 2.3.1).
const READ_LOCKS: std::ops::RangeInclusive<u64> = 123..=127;

/// The kernel's list of locks (`proc_locks(5)`).
const LOCKS: &str = "/proc/locks";

/// The log of a store at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Its size.
    pub bytes: u64,
    /// The processes that read the store right now, as far as this user may see.
    pub readers: Vec<LogReader>,
}

/// A process that holds a read transaction open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReader {
    /// Its process id; `None` if it is in another container.
    pub pid: Option<u32>,
    /// The name of its program.
    pub command: Option<String>,
    /// Its user.
    pub user: Option<String>,
}

impl std::fmt::Display for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("a process of another container")?,
        }
        let known: Vec<String> =
            [self.command.clone(), self.user.as_ref().map(|user| format!("user {user}"))]
                .into_iter()
                .flatten()
                .collect();
        if known.is_empty() { Ok(()) } else { write!(f, " ({})", known.join(", ")) }
    }
}

/// Inspects the log of the store at `path`, which must not be open in this process: see [`asked`].
pub fn look(path: &Path) -> Log {
    let [_, log, index] = sharing::family(path);
    let bytes = fs::metadata(log).map_or(0, |file| file.len());
    let readers = match (fs::metadata(&index), fs::read_to_string(LOCKS)) {
        (Ok(file), Ok(locks)) => {
            let device = (major(file.dev()), minor(file.dev()));
            holders(&locks, device, file.ino(), std::process::id())
        }
        // The sandbox of the unit hides that list.
        (Ok(_), Err(_)) => asked(&index),
        (Err(_), _) => Vec::new(),
    };
    Log { bytes, readers: readers.into_iter().map(reader).collect() }
}

/// Asks the kernel for each byte which process would block a lock; it names one process per byte. Closing the
/// file releases all locks of this process on it, so no connection may be open.
fn asked(index: &Path) -> Vec<Option<u32>> {
    let Ok(file) = fs::File::open(index) else { return Vec::new() };
    let mut pids: Vec<Option<u32>> = READ_LOCKS
        .filter_map(|byte| {
            let mut lock = flock {
                l_type: i16::try_from(F_WRLCK).ok()?,
                l_whence: i16::try_from(SEEK_SET).ok()?,
                l_start: i64::try_from(byte).ok()?,
                l_len: 1,
                l_pid: 0,
            };
            fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
            let is_free = i32::from(lock.l_type) == F_UNLCK;
            (!is_free).then(|| u32::try_from(lock.l_pid).ok().filter(|pid| *pid > 0))
        })
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// The processes other than `own` that lock a reader's byte of a file. Some file systems have another device
/// number in the list than elsewhere: if no line matches the device, the inode alone decides.
fn holders(locks: &str, device: (u64, u64), inode: u64, own: u32) -> Vec<Option<u32>> {
    let found: Vec<ReaderLock> =
        locks.lines().filter_map(ReaderLock::read).filter(|held| held.inode == inode).collect();
    let fits = found.iter().any(|held| held.device == device);
    let mut pids: Vec<Option<u32>> = found
        .into_iter()
        .filter(|held| (!fits || held.device == device) && held.pid != Some(own))
        .map(|held| held.pid)
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// One line of the list, if it is the lock of a reader.
struct ReaderLock {
    pid: Option<u32>,
    device: (u64, u64),
    inode: u64,
}

impl ReaderLock {
    /// `1: POSIX  ADVISORY  READ 4711 08:01:131 124 124`; a waiting lock has an arrow after its number.
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["POSIX", _, "READ", pid, file, start, end] = words.get(1..)? else { return None };
        let mut file = file.split(':');
        let mut hex = || u64::from_str_radix(file.next()?, 16).ok();
        let device = (hex()?, hex()?);
        let inode = file.next()?.parse().ok()?;
        let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().unwrap_or(u64::MAX));
        let touches = start <= *READ_LOCKS.end() && end >= *READ_LOCKS.start();
        // A process that is not visible from here has no id here.
        let pid = pid.parse().ok().filter(|pid| *pid > 0);
        touches.then_some(Self { pid, device, inode })
    }
}

fn reader(pid: Option<u32>) -> LogReader {
    let place = pid.map(|pid| Path::new("/proc").join(pid.to_string()));
    let command = place.as_ref().and_then(|place| fs::read_to_string(place.join("comm")).ok());
    let uid = place.as_ref().and_then(|place| fs::metadata(place).ok()).map(|file| file.uid());
    let user = uid.map(|uid| {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        user.map_or_else(|| uid.to_string(), |user| user.name)
    });
    LogReader { pid, command: command.map(|name| name.trim_end().to_owned()), user }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_told_from_all_other_locks() {
        let locks = "1: POSIX  ADVISORY  READ 11 08:01:131 124 124\n\
                     2: POSIX  ADVISORY  READ 11 08:01:131 128 128\n\
                     3: POSIX  ADVISORY  WRITE 12 08:01:131 120 120\n\
                     4: FLOCK  ADVISORY  WRITE 13 08:01:131 0 EOF\n\
                     5: POSIX  ADVISORY  READ 14 08:01:132 124 124\n\
                     6: POSIX  ADVISORY  READ 15 08:01:131 123 127\n\
                     6: -> POSIX  ADVISORY  READ 16 08:01:131 124 124\n\
                     7: OFDLCK ADVISORY  READ -1 08:01:131 124 124\n\
                     8: POSIX  ADVISORY  READ 0 08:01:131 125 EOF\n\
                     9: POSIX  ADVISORY  READ 17 08:02:131 124 124\n\
                     10: POSIX  ADVISORY  READ 18 08:01:131 124 124\n\
                     nonsense\n";
        assert_eq!(holders(locks, (8, 1), 131, 18), [None, Some(11), Some(15)]);
        // A file system with another device number in the list.
        assert_eq!(holders(locks, (0, 99), 132, 18), [Some(14)]);
        assert_eq!(holders("", (8, 1), 131, 18), []);
    }

    #[test]
    fn a_reader_that_stays_is_found_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (x); BEGIN; SELECT * FROM t").unwrap();
        let log = look(&path);
        assert!(log.bytes > 0 && log.readers.is_empty(), "nobody but ourselves: {log:?}");
        assert_eq!(look(&dir.path().join("none")), Log::default());
        let us = reader(Some(std::process::id()));
        assert!(us.command.is_some() && us.user.is_some());
        assert!(us.to_string().starts_with(&format!("process {} (", std::process::id())), "{us}");
    }

    /// Not a test, but the other process of the next test.
    #[test]
    #[ignore = "the next test starts it"]
    fn reads_until_its_input_ends() {
        let mut path = String::new();
        std::io::stdin().read_line(&mut path).unwrap();
        let db = rusqlite::Connection::open(path.trim_end()).unwrap();
        db.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        println!("reading");
        std::io::stdin().read_line(&mut path).unwrap();
    }

    #[test]
    fn both_ways_name_the_process_that_reads() {
        use std::io::{BufRead as _, BufReader, Write as _};
        use std::process::{Command, Stdio};

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (x)").unwrap();
        let mut other = Command::new(std::env::current_exe().unwrap());
        other.args(["--ignored", "--exact", "--nocapture"]);
        other.arg("store::engine::sqlite::wal::tests::reads_until_its_input_ends");
        let mut other = other.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = other.stdin.take().unwrap();
        writeln!(input, "{}", path.display()).unwrap();
        let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("reading")));
        drop(db);
        let [_, _, index] = sharing::family(&path);
        assert_eq!(asked(&index), [Some(other.id())]);
        let log = look(&path);
        assert_eq!(log.readers.iter().map(|reader| reader.pid).collect::<Vec<_>>(), [Some(other.id())]);
        drop(input);
        assert!(other.wait().unwrap().success());
        assert!(asked(&index).is_empty() && look(&path).readers.is_empty());
    }
}

//! Who may read a store's files besides their owner. The directory decides: if it is setgid, its group may
//! enter it, and neither group nor others may write it, then that group may read the store. Only the store
//! and the files that SQLite keeps beside it are opened to it. Opens no file: see `open::create`.

use std::ffi::OsString;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The store, and what SQLite keeps beside it.
const FAMILY: [&str; 3] = ["", "-wal", "-shm"];
/// The permission bits of a mode.
const MODE: u32 = 0o7777;
/// Files inherit the directory's group, and that group may enter it …
const SHARED: u32 = 0o2010;
/// … and nobody but the owner may write in it, and so replace a file.
const FOREIGN_WRITE: u32 = 0o022;
/// The group may read.
const GROUP_READS: u32 = 0o040;
/// All access of group and others.
const NOT_OWNER: u32 = 0o077;

/// The files of the store at `path`.
pub fn family(path: &Path) -> [PathBuf; 3] {
    FAMILY.map(|suffix| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// The id of the group that may read a store in this directory, if any.
pub fn reading_group(directory: &Path) -> Option<u32> {
    let found = fs::metadata(directory).ok()?;
    let mode = found.mode();
    (mode & SHARED == SHARED && mode & FOREIGN_WRITE == 0).then(|| found.gid())
}

/// Why the group may not read a file of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It does not exist, and a reader cannot create it.
    Missing(PathBuf),
    /// It has another group, or the group may not read it.
    Closed {
        /// The file.
        file: PathBuf,
        /// Number of its group.
        gid: u32,
        /// Its mode.
        mode: u32,
    },
}

/// What keeps the group `gid` from reading the store.
pub fn obstacles(path: &Path, gid: u32) -> Vec<Obstacle> {
    let judge = |file: PathBuf| match fs::metadata(&file) {
        Err(_) => Some(Obstacle::Missing(file)),
        Ok(found) if is_open(&found, gid) => None,
        Ok(found) => Some(Obstacle::Closed { file, gid: found.gid(), mode: found.mode() & MODE }),
    };
    family(path).into_iter().filter_map(judge).collect()
}

fn is_open(file: &Metadata, gid: u32) -> bool {
    file.gid() == gid && file.mode() & GROUP_READS != 0
}

/// Opens the store to the group of its directory, if the directory is set up for that. What this user may not
/// change stays as it is; `check` reports it.
pub(super) fn mend(path: &Path) {
    let Some(gid) = path.parent().and_then(reading_group) else { return };
    for file in family(path) {
        if let Err(error) = open_to(&file, gid)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!("{} is not opened to its group: {error}", file.display());
        }
    }
}

fn open_to(file: &Path, gid: u32) -> io::Result<()> {
    let found = fs::symlink_metadata(file)?;
    if !found.is_file() || is_open(&found, gid) || !crate::identity::is_me(found.uid()) {
        return Ok(());
    }
    // The group first, so that the file is never opened to another one.
    if found.gid() != gid {
        std::os::unix::fs::lchown(file, None, Some(gid))?;
    }
    let mode = (found.mode() & MODE & !NOT_OWNER) | GROUP_READS;
    fs::set_permissions(file, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::engine::sqlite::open;

    fn modes(path: &Path) -> Vec<Option<u32>> {
        family(path).iter().map(|file| fs::metadata(file).ok().map(|file| file.mode() & MODE)).collect()
    }

    fn shared(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
        let path = directory.path().join("store.db");
        (directory, path)
    }

    fn open(path: &Path) {
        let now = jiff::Timestamp::UNIX_EPOCH;
        drop(Store::open(&path.to_owned().into(), std::time::Duration::ZERO, now).unwrap());
    }

    /// Reads the store, which waits while its thread closes it.
    fn closed(path: &Path) {
        let session = open::reader(path).unwrap();
        session.file().query_row("SELECT count(*) FROM runs_v1", [], |row| row.get::<_, i64>(0)).unwrap();
    }

    #[test]
    fn the_directory_says_who_reads() {
        for (directory, file) in [
            (0o700, 0o600),
            (0o750, 0o600),
            (0o2700, 0o600),
            (0o2750, 0o640),
            (0o2710, 0o640),
            // With write access, group or others could replace the file.
            (0o2770, 0o600),
            (0o2752, 0o600),
        ] {
            let (_guard, path) = shared(directory);
            open(&path);
            closed(&path);
            assert_eq!(modes(&path), [Some(file); 3], "in a directory {directory:o}");
        }
    }

    #[test]
    fn an_older_store_is_opened_by_the_next_run_and_nothing_else_is() {
        let (_guard, path) = shared(0o700);
        open(&path);
        closed(&path);
        let directory = path.parent().unwrap();
        let other = directory.join("store.db-run-x.lock");
        fs::write(&other, "").unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(directory, Permissions::from_mode(0o2750)).unwrap();
        let gid = reading_group(directory).unwrap();
        assert_eq!(obstacles(&path, gid).len(), 3);
        open(&path);
        closed(&path);
        assert_eq!(obstacles(&path, gid), []);
        assert_eq!(fs::metadata(&other).unwrap().mode() & MODE, 0o600);
    }

    #[test]
    fn what_is_missing_is_told() {
        let (_guard, path) = shared(0o2750);
        open(&path);
        closed(&path);
        let gid = reading_group(path.parent().unwrap()).unwrap();
        let [_, log, _] = family(&path);
        fs::remove_file(&log).unwrap();
        assert_eq!(obstacles(&path, gid), [Obstacle::Missing(log)]);
    }
}

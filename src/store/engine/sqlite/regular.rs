//! The files of a database, and the refusal of anything but regular files. Reads metadata; opens nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::store::{Result, StoreError};

/// Whether there is a database. An empty file, as a mistyped command creates one, does not count: it has no
/// schema, and the next run creates one in it.
pub(crate) fn is_there(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| !file.is_file() || file.len() > 0)
}

/// Device and inode number of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(u64, u64);

impl FileId {
    /// The file that is now at the path, if any.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|file| Self(file.dev(), file.ino()))
    }
}

/// The files of the database at `path`.
pub(super) fn family(path: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|suffix| {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        PathBuf::from(file)
    })
}

/// Refuses other files: opening a pipe waits for its other end, and a device may be endless.
pub(super) fn refuse_odd(path: &Path) -> Result<()> {
    for file in family(path) {
        // A missing file or a directory has its own error.
        if std::fs::metadata(&file).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            return Err(StoreError::Unusable {
                what: "open the database",
                path: file.display().to_string(),
                detail: "this is not a regular file; store.url and source.database each name an SQLite file"
                    .to_owned(),
                source: None,
            });
        }
    }
    Ok(())
}

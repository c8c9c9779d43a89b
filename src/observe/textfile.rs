//! Writes the metrics where the textfile collector of `node_exporter` reads them: complete or not at all.
//! Knows nothing about the metrics.

use std::io;
use std::path::Path;

use crate::atomic_file::{self, Protected};

/// Replaces the file at `path` with `text` in one step, readable by everyone: it names nobody.
///
/// # Errors
/// The file system's error, or why nothing may be put there; the old file then stays.
pub(crate) fn replace(path: &Path, text: &str, protected: &Protected) -> io::Result<()> {
    atomic_file::replace(path, 0o644, text, protected, ["write the metrics", "replace the metrics"])
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_is_replaced_as_a_whole_and_readable_by_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tink_sync.prom");
        let protected = Protected::default();
        for text in ["first\n", "second\n"] {
            replace(&path, text, &protected).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&dir.path().join("nowhere/tink_sync.prom"), "x", &protected).is_err());
    }
}

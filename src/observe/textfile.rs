//! Writes the metrics where the textfile collector of `node_exporter` looks: complete or not at all. Knows
//! nothing of what the metrics say.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::failpoint;

/// Puts `text` in place of the file at `path` in one step, readable by everyone: it names nobody.
///
/// # Errors
/// As the file system reports it; the old file then stays.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let write = || {
        failpoint::around("write the metrics", || {
            let mut file = File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.sync_all()
        })?;
        failpoint::around("replace the metrics", || fs::rename(&temporary, path))
    };
    write().inspect_err(|_| {
        // The collector ignores other endings; what is left behind at worst is a small file.
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_as_a_whole_and_readable_by_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tink_sync.prom");
        for text in ["first\n", "second\n"] {
            replace(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&dir.path().join("nowhere/tink_sync.prom"), "x").is_err());
    }
}

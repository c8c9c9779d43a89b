//! Where an export goes: standard output, or a file that appears complete or not at all. Knows nothing of what
//! is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::cli::Failure;
use crate::failpoint;
use crate::observe::terminal;

/// The beginning of every SQLite file.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Where an export goes.
pub(super) enum Target {
    /// Standard output.
    Stdout(BufWriter<terminal::Data>),
    /// A file beside the one that it becomes.
    File {
        /// What is written to; it is gone once it has taken its place.
        out: BufWriter<File>,
        /// Its name until then.
        temporary: PathBuf,
        /// Its name at the end.
        path: PathBuf,
        done: bool,
    },
}

impl Target {
    /// Opens it; a file must be new, or a regular file that is no database.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(Self::Stdout(BufWriter::new(terminal::Data::open()))) };
        // Through a link to the file itself.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        refuse(&path).map_err(Failure::Usage)?;
        let mut temporary = path.clone().into_os_string();
        temporary.push(format!(".{}.part", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let out = BufWriter::new(opened.map_err(|error| cannot_open(&path, &error))?);
        Ok(Self::File { out, temporary, path, done: false })
    }

    /// Makes it durable and puts it in its place.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let Self::File { out, temporary, path, done } = &mut self else { return Ok(()) };
        let place = || {
            failpoint::around("write the export", || out.get_ref().sync_all())?;
            failpoint::around("replace the export", || fs::rename(&*temporary, &*path))
        };
        place().map_err(|error| cannot_write(path, &error))?;
        *done = true;
        Ok(())
    }

    /// A failure to write, with what it was written to.
    pub(super) fn explain(&self, error: io::Error) -> Failure {
        match self {
            Self::Stdout(_) => Failure::Output(error),
            Self::File { path, .. } => cannot_write(path, &error),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::File { temporary, done: false, .. } = self {
            // What cannot be removed is readable by its owner only.
            let _ = fs::remove_file(temporary);
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File { out, .. } => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File { out, .. } => out.flush(),
        }
    }
}

/// Why nothing may be put in the place of this file.
fn refuse(path: &Path) -> Result<(), String> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    if !metadata.is_file() {
        return Err(format!(
            "--output: {} is not a regular file; leave --output out and use > instead",
            path.display()
        ));
    }
    let mut start = [0; SQLITE.len()];
    let is_database = File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok();
    if is_database && start == SQLITE {
        return Err(format!("--output: {} is a database; nothing is put in its place", path.display()));
    }
    Ok(())
}

/// Why a file cannot be begun: whoever named it can name another one.
fn cannot_open(path: &Path, error: &io::Error) -> Failure {
    let directory = path.parent().unwrap_or(path).display();
    let why = match error.kind() {
        io::ErrorKind::NotFound => format!("the directory {directory} does not exist"),
        io::ErrorKind::NotADirectory => format!("{directory} is not a directory"),
        io::ErrorKind::PermissionDenied => format!(
            "this user may not write to the directory {directory}; the command runs as the service user: let your shell write the file (… export > FILE)"
        ),
        io::ErrorKind::ReadOnlyFilesystem => format!("the directory {directory} is read-only"),
        _ => return cannot_write(path, error),
    };
    Failure::Usage(format!("--output: cannot write {}: {why}", path.display()))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    io::Error::new(error.kind(), format!("--output: cannot write {}: {error}", path.display())).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn write(path: &Path, text: &str) -> Result<(), Failure> {
        let mut target = Target::open(Some(path))?;
        target.write_all(text.as_bytes())?;
        target.flush()?;
        target.finish()
    }

    fn files(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_complete_and_private_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        for text in ["first\n", "second\n"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let mut given_up = Target::open(Some(&path)).unwrap();
        given_up.write_all(b"third\n").unwrap();
        drop(given_up);
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(files(directory.path()), ["out.csv"]);
    }

    #[test]
    fn a_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("out.csv"), directory.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, "new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn databases_devices_and_directories_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store.db");
        fs::write(&store, [SQLITE, b"more"].concat()).unwrap();
        for path in [store.as_path(), Path::new("/dev/null"), directory.path()] {
            assert!(matches!(write(path, "x"), Err(Failure::Usage(_))), "{}", path.display());
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        for (name, why) in [("no/where.csv", "no does not exist"), ("file/x.csv", "file is not a directory")]
        {
            let Err(Failure::Usage(text)) = write(&directory.path().join(name), "x") else {
                panic!("written")
            };
            assert!(text.ends_with(&format!("{}/{why}", directory.path().display())), "{text}");
        }
    }
}

//! The target of an export: standard output, or a file that appears complete or not at all. Knows nothing of
//! the contents.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::atomic_file::{AtomicFile, Protected, directory_of};
use crate::cli::Failure;
use crate::file_limit;
use crate::observe::terminal;

pub(super) enum OutputTarget {
    Stdout(BufWriter<terminal::Data>),
    /// A file and its final path.
    File(BufWriter<AtomicFile>, PathBuf),
}

impl OutputTarget {
    /// Opens the target; a file must be new, or a regular file that is no database and none of ours.
    pub(super) fn open(file: Option<&Path>, protected: &Protected) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(Self::Stdout(BufWriter::new(terminal::Data::open()))) };
        let opened = AtomicFile::create(path, 0o600, protected).map_err(|error| cannot_open(path, &error))?;
        Ok(Self::File(BufWriter::new(opened), path.to_owned()))
    }

    /// Makes the file durable and moves it to its path.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Self::File(out, path) = self else { return Ok(()) };
        let out = out.into_inner().map_err(io::IntoInnerError::into_error);
        let placed = out.and_then(|out| out.replace(["write the export", "replace the export"]));
        placed.map_err(|error| cannot_write(&path, &error))
    }

    /// A write error with the name of the target.
    pub(super) fn explain(&self, error: &io::Error) -> Failure {
        match self {
            Self::Stdout(_) => Failure::Output(io::Error::new(error.kind(), file_limit::explain(error))),
            Self::File(_, path) => cannot_write(path, error),
        }
    }
}

impl Write for OutputTarget {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(out, _) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(out, _) => out.flush(),
        }
    }
}

/// The failure to create a file; mostly a usage error, since another path can be given.
fn cannot_open(path: &Path, error: &io::Error) -> Failure {
    let directory = directory_of(path).display();
    let why = match error.kind() {
        io::ErrorKind::NotFound => format!("the directory {directory} does not exist"),
        io::ErrorKind::NotADirectory => format!("{directory} is not a directory"),
        io::ErrorKind::PermissionDenied => format!(
            "this user may not write to the directory {directory}; the command runs as the service user: let your shell write the file (… export > FILE)"
        ),
        io::ErrorKind::InvalidInput => {
            let remedy = "name another file, or let your shell write it (… export > FILE)";
            return Failure::Usage(format!("--output: {error}; {remedy}"));
        }
        io::ErrorKind::ReadOnlyFilesystem => format!("the directory {directory} is read-only"),
        _ => return cannot_write(path, error),
    };
    Failure::Usage(format!("--output: cannot write {}: {why}", path.display()))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    told(format_args!("--output: cannot write {}", path.display()), error)
}

fn told(what: std::fmt::Arguments<'_>, error: &io::Error) -> Failure {
    io::Error::new(error.kind(), format!("{what}: {}", file_limit::explain(error))).into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn write(path: &Path, text: &str) -> Result<(), Failure> {
        let mut target = OutputTarget::open(Some(path), &Protected::default())?;
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
        let mut given_up = OutputTarget::open(Some(&path), &Protected::default()).unwrap();
        given_up.write_all(b"third\n").unwrap();
        drop(given_up);
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(files(directory.path()), ["out.csv"]);
        let refused = write(directory.path(), "x");
        assert!(
            matches!(&refused, Err(Failure::Usage(text)) if text.starts_with("--output: ")),
            "{refused:?}"
        );
    }

    #[test]
    fn a_bare_file_name_is_in_the_working_directory() {
        let error = io::ErrorKind::PermissionDenied.into();
        let Failure::Usage(text) = cannot_open(Path::new("x.csv"), &error) else { panic!("another failure") };
        assert!(text.contains("may not write to the directory .;"), "{text}");
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

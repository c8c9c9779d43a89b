//! The lines of an import, one in memory at a time. Input from a pipe is first copied into an unnamed file,
//! so that the store is never locked while waiting for a writer. Knows nothing of the contents.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::atomic_file;
use crate::cli::Failure;
use crate::config::STATE_DIRECTORY;

/// The longest accepted line.
const LONGEST: u64 = 1024 * 1024;

/// The text of a line, or why it cannot be read.
pub(super) type InputText = Result<String, String>;

/// The lines with their numbers; skips blank ones.
pub(super) struct Lines {
    input: BufReader<File>,
    number: u64,
}

impl Lines {
    /// Opens the file, or standard input for `-`; `beside` is the file of the store, if it has one.
    pub(super) fn open(file: &Path, beside: Option<&Path>) -> Result<Self, Failure> {
        let input = if file.as_os_str() == "-" {
            standard_input(beside)?
        } else {
            File::open(file).map_err(|error| cannot_read(file, &error))?
        };
        if !input.metadata()?.is_file() {
            let text = format!("{} is not a regular file; tink-sync import - reads a pipe", file.display());
            return Err(Failure::Usage(text));
        }
        Ok(Self { input: BufReader::new(input), number: 0 })
    }

    fn line(&mut self) -> io::Result<Option<InputText>> {
        let mut bytes = Vec::new();
        if (&mut self.input).take(LONGEST).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if !bytes.ends_with(b"\n") && bytes.len() as u64 == LONGEST {
            self.input.skip_until(b'\n')?;
            return Ok(Some(Err("longer than a megabyte".to_owned())));
        }
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
        Ok(Some(match str::from_utf8(bytes.trim_ascii()) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err("not UTF-8".to_owned()),
        }))
    }
}

impl Iterator for Lines {
    type Item = io::Result<(u64, InputText)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.line().transpose()? {
                Ok(Ok(text)) if text.is_empty() => {}
                line => return Some(line.map(|text| (self.number, text))),
            }
        }
    }
}

fn standard_input(beside: Option<&Path>) -> Result<File, Failure> {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        return Err(Failure::Usage("give a file, or rows through a pipe".to_owned()));
    }
    let own = File::from(stdin.as_fd().try_clone_to_owned()?);
    if own.metadata()?.is_file() {
        return Ok(own);
    }
    let directory = beside.map_or(Path::new(STATE_DIRECTORY), atomic_file::directory_of).display();
    let explain = |error: io::Error| {
        let text = format!(
            "cannot keep the input in {directory} while it is read: {error}; give a file, not a pipe"
        );
        io::Error::new(error.kind(), text)
    };
    let mut file = scratch(beside).map_err(explain)?;
    io::copy(&mut stdin, &mut file).map_err(explain)?;
    file.rewind()?;
    Ok(file)
}

/// An unnamed file: beside the store, else in the service's state directory, else in memory.
fn scratch(beside: Option<&Path>) -> io::Result<File> {
    let Some(store) = beside else {
        let of_service = atomic_file::scratch(Path::new(STATE_DIRECTORY));
        return of_service.or_else(|_| Ok(memfd_create(c"import", MFdFlags::MFD_CLOEXEC)?.into()));
    };
    atomic_file::scratch(atomic_file::directory_of(store))
}

fn cannot_read(file: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the command runs as the service user: let your shell read it (… import - < FILE)"
        }
        _ => "",
    };
    Failure::Usage(format!("cannot read {}: {error}{hint}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<(u64, InputText)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Lines::open(file.path(), None).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn what_comes_through_a_pipe_is_kept_beside_the_store_or_without_one() {
        use std::io::Write as _;

        let directory = tempfile::tempdir().unwrap();
        for beside in [Some(directory.path().join("store.db")), None] {
            let mut file = scratch(beside.as_deref()).unwrap();
            file.write_all(b"a\nb").unwrap();
            file.rewind().unwrap();
            assert!(file.metadata().unwrap().is_file());
            let lines: Vec<_> =
                Lines { input: BufReader::new(file), number: 0 }.map(Result::unwrap).collect();
            assert_eq!(lines, [(1, Ok("a".to_owned())), (2, Ok("b".to_owned()))]);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "it has no name");
    }

    #[test]
    fn lines_are_numbered_as_an_editor_does() {
        let text = |text: &str| Ok(text.to_owned());
        assert_eq!(
            lines("\u{feff}{}\r\n\n  \n {\"a\":1} \n\"\u{e9}\"".as_bytes()),
            [(1, text("{}")), (4, text("{\"a\":1}")), (5, text("\"\u{e9}\""))]
        );
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn a_line_that_cannot_be_one_harms_no_other() {
        let long = vec![b'x'; 3 * 1024 * 1024];
        let all = lines(&[b"a\n", &long[..], b"\n\xff\nb\n"].concat());
        let seen: Vec<_> = all.iter().map(|(number, line)| (*number, line.is_ok())).collect();
        assert_eq!(seen, [(1, true), (2, false), (3, false), (4, true)]);
    }
}

//! The errors of the configuration, worded for the person who has to fix it: file, line if known, key, what
//! was expected. Never holds a value that was typed.

use std::io;
use std::path::{Path, PathBuf};

/// Why the configuration cannot be used; ends the program with exit code 78.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no file at the path.
    #[error(
        "{}: no configuration file here; copy tink-sync.toml.example to this path and fill it in, \
         or name another file with --config", path.display()
    )]
    Missing {
        /// Where it was expected.
        path: PathBuf,
    },
    /// The file is there but cannot be read.
    #[error("{}: cannot be read: {source}{}", path.display(), access_hint(source))]
    Unreadable {
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}:{column}: not valid TOML: {problem}", path.display())]
    Syntax {
        path: PathBuf,
        /// Line of the mistake, from 1.
        line: usize,
        /// Column of the mistake, from 1.
        column: usize,
        problem: String,
    },
    /// A key has a value that is not allowed.
    #[error("{}{}: {key}: {problem}", path.display(), at_line(*line))]
    Key {
        path: PathBuf,
        /// Line of the value, if known.
        line: Option<usize>,
        /// Dotted name of the key.
        key: String,
        /// What was expected, or what is wrong.
        problem: String,
    },
    /// An environment variable has a value that is not allowed.
    #[error("environment variable {name}: {problem}")]
    Variable {
        /// Name of the variable.
        name: &'static str,
        problem: String,
    },
    /// Several of these, each on a line.
    #[error("{}", lines(.0))]
    Several(Vec<Self>),
}

impl ConfigError {
    /// The error for a file that could not be read.
    pub(super) fn reading(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing { path }
        } else {
            Self::Unreadable { path, source }
        }
    }

    /// The error for a key, without a line.
    pub fn key(path: &Path, key: &str, problem: impl Into<String>) -> Self {
        Self::Key { path: path.to_owned(), line: None, key: key.to_owned(), problem: problem.into() }
    }

    /// One error for all of them, in the order of their lines.
    pub(super) fn all(mut errors: Vec<Self>) -> Self {
        errors.sort_by_key(|error| if let Self::Key { line, .. } = error { *line } else { None });
        if errors.len() == 1 { errors.remove(0) } else { Self::Several(errors) }
    }

    /// The mistakes, one by one.
    pub fn each(&self) -> &[Self] {
        if let Self::Several(errors) = self { errors } else { std::slice::from_ref(self) }
    }
}

fn lines(errors: &[ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

pub(super) fn access_hint(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        format!("; {}", crate::identity::access_hint())
    } else {
        String::new()
    }
}

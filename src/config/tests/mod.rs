//! Tests of the configuration as a whole: a file and an environment in, settings or a message out.

mod bounds;
mod environment;
mod example;
mod file;
mod mistakes;
mod secret;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{ConfigError, Settings, load};

/// A value that must never appear in a message.
const MARK: &str = "hunter2-s3cr3t";

/// A directory with a configuration file, and an environment.
struct Case {
    directory: tempfile::TempDir,
    env: Vec<(String, OsString)>,
}

impl Case {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("tink-sync.toml"), text).unwrap();
        Self { directory, env: Vec::new() }
    }

    fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// The path of a file beside the configuration.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file beside the configuration, closed to others.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn load(&self) -> Result<Settings, ConfigError> {
        let env =
            |name: &str| self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        load(&self.path("tink-sync.toml"), &env)
    }
}

/// The settings of a file that must be valid.
fn settings(text: &str) -> Settings {
    Case::new(text).load().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The message about a file that must be invalid; never shows the marked value, in any form.
fn message(text: &str) -> String {
    message_of(&Case::new(text))
}

fn message_of(case: &Case) -> String {
    let error = case.load().expect_err("the configuration is wrong");
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains(MARK), "shows a secret: {shown}");
        assert!(shown.len() < 500, "too long: {shown}");
    }
    let directory = format!("{}/", case.directory.path().display());
    error.to_string().replace(&directory, "")
}

/// The settings as text, for comparison; without the path.
fn picture(mut settings: Settings) -> String {
    settings.file = PathBuf::new();
    settings.tink.config_file = PathBuf::new();
    format!("{settings:#?}")
}

/// The text of a file below the repository's root.
fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap()
}

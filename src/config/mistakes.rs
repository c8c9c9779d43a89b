//! Finds all mistakes of a configuration at once: what was found wrong is taken out, and what is left is read again,
//! until nothing is wrong with it. Knows no bounds, and shows no value.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::file::File;
use super::shape;
use super::variables::{CLIENT_ID_VARIABLE, Env};

/// More mistakes than anybody reads at once.
const MOST: usize = 100;

/// Reads the text of a file with `read`, or tells everything that is wrong with it.
///
/// # Errors
/// [`ConfigError`], several in the order of their lines.
pub(super) fn all<T>(
    path: &Path,
    text: &str,
    env: &Env<'_>,
    read: impl Fn(File, &Env<'_>) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let mut left = Left { text, document: shape::document(path, text)?, ignored: Vec::new() };
    let mut found = Vec::new();
    while found.len() < MOST {
        let variables = |name: &str| env(name).filter(|_| !left.ignores(name));
        let file = shape::file(path, text, left.document.clone());
        let error = match file.and_then(|file| read(file, &variables)) {
            Ok(value) if found.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(error) => error,
        };
        let is_client_id_set = variables(CLIENT_ID_VARIABLE).is_some_and(|id| !id.is_empty());
        let follows = follows(&found, &error);
        let (error, is_gone) = left.take_out(error, is_client_id_set);
        if !follows {
            found.push(error);
        }
        if !is_gone {
            break;
        }
    }
    Err(ConfigError::all(found))
}

/// Whether an error is only about how a value compares with one that was found wrong and taken out.
fn follows(found: &[ConfigError], error: &ConfigError) -> bool {
    let ConfigError::Key { problem, line: None, .. } = error else { return false };
    let is_named = |key: &str| problem.contains(&format!("`{key}`"));
    found.iter().any(|known| matches!(known, ConfigError::Key { key, .. } if is_named(key)))
}

/// What is left of the configuration.
struct Left<'t> {
    text: &'t str,
    document: Spanned<DeTable<'t>>,
    /// Environment variables that count as not set.
    ignored: Vec<&'static str>,
}

impl Left<'_> {
    fn ignores(&self, name: &str) -> bool {
        self.ignored.contains(&name)
    }

    /// Takes out what an error is about. Returns the error with its line, and whether anything was taken out.
    fn take_out(&mut self, error: ConfigError, is_client_id_set: bool) -> (ConfigError, bool) {
        match error {
            ConfigError::Variable { name, .. } => {
                let is_new = !self.ignores(name);
                self.ignored.push(name);
                (error, is_new)
            }
            // The id of the environment wins over the one in the file.
            ConfigError::Key { ref key, line: None, .. } if key == "tink.client_id" && is_client_id_set => {
                self.ignored.push(CLIENT_ID_VARIABLE);
                (error, true)
            }
            ConfigError::Key { path, line, key, problem } => {
                let table = self.document.get_mut();
                let line = line.or_else(|| start(table, &key).map(|at| shape::position(self.text, at).0));
                // A key that is not written has its default; what is wrong then is the one that it is compared with.
                let other = problem.split('`').nth(1);
                let is_gone = remove(table, &key) || other.is_some_and(|other| remove(table, other));
                (ConfigError::Key { path, line, key, problem }, is_gone)
            }
            other => (other, false),
        }
    }
}

/// The name of the entry of a table that a dotted key is about, and what the key names inside of it.
fn entry<'k>(table: &DeTable<'_>, key: &'k str) -> Option<(String, Option<&'k str>)> {
    table.keys().find_map(|name| {
        let name = name.get_ref();
        let rest = key.strip_prefix(name.as_ref())?;
        // An element of a list goes with the list.
        let below = rest.strip_prefix('.');
        (rest.is_empty() || rest.starts_with('[') || below.is_some()).then(|| (name.to_string(), below))
    })
}

/// Where the value of a key begins.
fn start(table: &DeTable<'_>, key: &str) -> Option<usize> {
    let (name, below) = entry(table, key)?;
    let value = table.get(name.as_str())?;
    match (below, value.get_ref()) {
        (Some(below), DeValue::Table(inner)) => start(inner, below),
        _ => Some(value.span().start),
    }
}

/// Takes a key out of a table; `false` if it is not there.
fn remove(table: &mut DeTable<'_>, key: &str) -> bool {
    let Some((name, below)) = entry(table, key) else { return false };
    if let (Some(below), Some(value)) = (below, table.get_mut(name.as_str()))
        && let DeValue::Table(inner) = value.get_mut()
    {
        return remove(inner, below);
    }
    table.remove(name.as_str()).is_some()
}

//! What is asked of a view, in whatever database: its columns, how much is read of it, and what is said where it will not do.
//! Runs no statement.

use std::time::Duration;

use super::row::{OPTIONAL, REQUIRED};
use crate::domain::ids::LONGEST;

/// Tokens may be longer than ids (API.md 2.1).
const LONGEST_TOKEN: usize = 64 * 1024;

/// How much is read of a view at most.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct ViewLimits {
    /// For so long.
    pub time: Duration,
    /// So many rows: they are compared as a whole, within the unit's memory (tests/it/memory.rs).
    pub rows: usize,
    /// So many bytes.
    pub bytes: usize,
    /// The longest value that the view may make on its way.
    pub value: i32,
}

pub(in crate::store) const LIMITS: ViewLimits =
    ViewLimits { time: Duration::from_secs(30), rows: 500_000, bytes: 64 << 20, value: 64 << 20 };

/// What is longer than this is not even loaded.
pub(in crate::store) fn longest(column: &str) -> usize {
    if column.ends_with("_token") { LONGEST_TOKEN } else { LONGEST }
}

/// The columns of ours that a view has; the required ones must be there.
///
/// # Errors
/// What is missing.
pub(in crate::store) fn columns(view: &str, present: &[&str]) -> Result<Vec<&'static str>, String> {
    let has = |name: &&&str| present.iter().any(|p| p.eq_ignore_ascii_case(name));
    let missing: Vec<&str> = REQUIRED.iter().filter(|name| !has(name)).copied().collect();
    if !missing.is_empty() {
        return Err(format!("the view {view} lacks the column(s) {}", missing.join(", ")));
    }
    if !["external_user_id", "tink_user_id", "refresh_token"].iter().any(|name| has(&name)) {
        return Err(format!("the view {view} needs a column external_user_id or tink_user_id"));
    }
    Ok(REQUIRED.iter().chain(&OPTIONAL).filter(has).copied().collect())
}

/// The name of a view, or of a schema and a view, as it stands in a statement.
pub(in crate::store) fn quoted(view: &str) -> String {
    view.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect::<Vec<_>>().join(".")
}

/// What to do about a view that is not there, of which the database says this.
pub(in crate::store) fn missing(view: &str, said: &str) -> String {
    format!(
        "{said}: create the view {view} there, or correct source.view (README, \"Connect your application\")"
    )
}

impl ViewLimits {
    pub(in crate::store) fn too_much(&self, view: &str) -> String {
        format!(
            "the view {view} gives more than {} rows or {} MiB: nothing of it was used; let it give each bank link once",
            self.rows,
            self.bytes >> 20
        )
    }

    pub(in crate::store) fn too_slow(&self, view: &str) -> String {
        format!(
            "the view {view} did not come to its end within {} s: nothing of it was used; \
             make it faster in the application (an index, a table that is kept up to date)",
            self.time.as_secs()
        )
    }
}

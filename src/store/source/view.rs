//! The requirements for a view, in any database: its columns, how much of it is read, and the messages for a
//! view that does not meet them. Runs no statement.

use std::time::Duration;

use super::row::{OPTIONAL, REQUIRED};
use crate::domain::ids::LONGEST;

/// Tokens may be longer than ids (API.md 2.1).
const LONGEST_TOKEN: usize = 64 * 1024;

/// The limits for reading a view.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct ViewLimits {
    /// The longest time.
    pub time: Duration,
    /// The number of rows: they are compared as a whole, within the unit's memory (tests/it/memory.rs).
    pub rows: usize,
    /// The number of bytes.
    pub bytes: usize,
    /// The longest value that the view may produce, including intermediate ones.
    pub value: i32,
}

pub(in crate::store) const LIMITS: ViewLimits =
    ViewLimits { time: Duration::from_secs(30), rows: 500_000, bytes: 64 << 20, value: 64 << 20 };

/// Longer values are not even loaded.
pub(in crate::store) fn longest(column: &str) -> usize {
    if column.ends_with("_token") { LONGEST_TOKEN } else { LONGEST }
}

/// Those of our columns that a view has; the required ones must be there.
///
/// # Errors
/// The message that names what is missing.
pub(in crate::store) fn columns(view: &str, present: &[&str]) -> Result<Vec<&'static str>, String> {
    let has = |name: &&&str| present.iter().any(|p| p.eq_ignore_ascii_case(name));
    let missing: Vec<&str> = REQUIRED.iter().filter(|name| !has(name)).copied().collect();
    let lacks = (!missing.is_empty()).then(|| format!("lacks the column(s) {}", missing.join(", ")));
    let is_unnamed = !["external_user_id", "tink_user_id", "refresh_token"].iter().any(|name| has(&name));
    let needs = is_unnamed.then(|| "needs a column external_user_id or tink_user_id".to_owned());
    let problems: Vec<String> = lacks.into_iter().chain(needs).collect();
    if !problems.is_empty() {
        return Err(format!("the view {view} {}", problems.join(" and ")));
    }
    Ok(REQUIRED.iter().chain(&OPTIONAL).filter(has).copied().collect())
}

/// The name of a view, or of a schema and a view, quoted for a statement.
pub(in crate::store) fn quoted(view: &str) -> String {
    view.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect::<Vec<_>>().join(".")
}

/// What to do about a missing view; `said` is the database's message.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_a_view_lacks_is_named_at_once() {
        let said = columns("v", &["connection_id", "ENABLED", "market"]).unwrap_err();
        assert_eq!(
            said,
            "the view v lacks the column(s) user_id, entitled and needs a column external_user_id or tink_user_id"
        );
        let said = columns("v", &REQUIRED).unwrap_err();
        assert_eq!(said, "the view v needs a column external_user_id or tink_user_id");
        let all = columns("v", &["connection_id", "user_id", "enabled", "entitled", "refresh_token"]);
        assert_eq!(all.unwrap().len(), 5);
    }
}

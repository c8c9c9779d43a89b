//! Reads the source view of an application's SQLite database: on a connection of its own, read-only,
//! closed after one query that has an end. Understands nothing else of the application.

#[cfg(any(test, fuzzing))]
pub mod hostile;
mod row;

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::ErrorCode;
use rusqlite::limits::Limit;

use super::explain::explain;
use super::open::connect_read_only;
use crate::domain::cause::Cause;
use crate::domain::connection::SourceRow;
use crate::domain::ids::LONGEST;
use crate::store::StoreError;
use crate::store::engine::context::BUSY_PAUSE;
use crate::vault::Vault;
pub use row::parse_time;
use row::source_row;

/// Name of the view over our own tables, used when the application brings none.
pub const OWN_VIEW: &str = "tink_sync_source_v1";

const REQUIRED: [&str; 4] = ["connection_id", "user_id", "enabled", "entitled"];
const OPTIONAL: [&str; 9] = [
    "entitled_until",
    "external_user_id",
    "tink_user_id",
    "market",
    "priority",
    "refresh_token",
    "access_token",
    "access_expires_at",
    "token_version",
];
/// Tokens may be longer than ids (API.md 2.1).
const LONGEST_TOKEN: usize = 64 * 1024;

/// How much is read of a view at most.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// For so long.
    time: Duration,
    /// So many rows: more than a pass of six hours could serve by far.
    rows: usize,
    /// So many bytes.
    bytes: usize,
    /// The longest value that the view may make on its way.
    value: i32,
}

const LIMITS: Limits =
    Limits { time: Duration::from_secs(30), rows: 250_000, bytes: 64 << 20, value: 64 << 20 };

/// The time is looked at after so many steps of SQLite's machine.
const STEPS: i32 = 10_000;

/// What went wrong with the source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The view is missing or lacks a column (exit 78).
    #[error("{path}: {detail}")]
    View {
        /// The application's database.
        path: String,
        /// What is missing and what to do.
        detail: String,
        /// What SQLite said, if anything.
        source: Option<Cause>,
    },
    /// The view is missing, and was there at the last pass (exit 75).
    #[error(
        "{path}: the view {view} was there at the last pass and is missing now, nothing was changed; \
         wait if the application is being upgraded, or create it again there (README, \"Connect your application\")"
    )]
    Missing {
        /// The application's database.
        path: String,
        /// The view.
        view: String,
    },
    /// The database cannot be read (exit 74 or 75).
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Result<T> = std::result::Result<T, SourceError>;

/// Reads the whole view in one short query, so that the application's database is not held while the
/// store may be waiting for something. A locked database is tried again until `patience` is over, after
/// SQLite's own 30 s.
///
/// # Errors
/// [`SourceError::View`] names a missing view or column; otherwise as SQLite reports it. An unreadable
/// row is no error: it comes with its problem.
pub fn read_view(
    path: &Path,
    view: &str,
    vault: Option<&Vault>,
    now: Timestamp,
    patience: Duration,
) -> Result<Vec<SourceRow>> {
    patiently(patience, || Source { path, view, vault, now, limits: LIMITS }.read())
}

/// As [`read_view`], for a view that was there at the last pass: if it is missing it is waited for as well.
///
/// # Errors
/// [`SourceError::Missing`], or as [`read_view`].
pub fn read_known_view(
    path: &Path,
    view: &str,
    vault: Option<&Vault>,
    now: Timestamp,
    patience: Duration,
) -> Result<Vec<SourceRow>> {
    let missing = || SourceError::Missing { path: path.display().to_string(), view: view.to_owned() };
    patiently(patience, || {
        let source = Source { path, view, vault, now, limits: LIMITS };
        source.read().map_err(|error| match error {
            SourceError::View { .. } if source.is_missing() => missing(),
            other => other,
        })
    })
}

fn patiently<T>(patience: Duration, mut read: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match read() {
            Err(SourceError::Store(StoreError::Busy { .. }) | SourceError::Missing { .. })
                if began.elapsed() < patience =>
            {
                std::thread::sleep(BUSY_PAUSE);
            }
            other => return other,
        }
    }
}

/// A view and how it is read.
struct Source<'a> {
    path: &'a Path,
    view: &'a str,
    vault: Option<&'a Vault>,
    now: Timestamp,
    limits: Limits,
}

impl Source<'_> {
    fn read(&self) -> Result<Vec<SourceRow>> {
        if !self.path.exists() {
            return Err(self.unusable("the application's database does not exist: check source.database"));
        }
        let mut db = connect_read_only(self.path)?;
        let sql = |e: rusqlite::Error| self.explain(e);
        db.set_limit(Limit::SQLITE_LIMIT_LENGTH, self.limits.value).map_err(sql)?;
        let end = Instant::now() + self.limits.time;
        db.progress_handler(STEPS, Some(move || Instant::now() >= end)).map_err(sql)?;
        let columns = self.columns(&db)?;
        let selected: Vec<String> = columns.iter().map(|column| bounded(column)).collect();
        let select = format!("SELECT {} FROM {}", selected.join(", "), quoted(self.view));
        let mut statement = db.prepare(&select).map_err(sql)?;
        let mut found = statement.query([]).map_err(sql)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next().map_err(sql)? {
            bytes += (0..columns.len()).map(|index| row.get_ref(index).map_or(0, length)).sum::<usize>();
            if rows.len() >= self.limits.rows || bytes > self.limits.bytes {
                return Err(self.unusable(&format!(
                    "the view {} gives more than {} rows or {} MiB: nothing of it was used; let it give each bank link once",
                    self.view,
                    self.limits.rows,
                    self.limits.bytes >> 20
                )));
            }
            rows.push(source_row(&columns, |index| row.get_ref(index).ok(), self.vault, self.now));
        }
        Ok(rows)
    }

    fn unusable(&self, detail: &str) -> SourceError {
        SourceError::Store(StoreError::Unusable {
            what: "read the source view",
            path: self.path.display().to_string(),
            detail: detail.to_owned(),
            source: None,
        })
    }

    fn explain(&self, error: rusqlite::Error) -> SourceError {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => self.unusable(&format!(
                "the view {} did not come to its end within {} s: nothing of it was used; \
                 make it faster in the application (an index, a table that is kept up to date)",
                self.view,
                self.limits.time.as_secs()
            )),
            Some(ErrorCode::TooBig) => self.unusable(&format!(
                "the view {} makes a value of more than {} MiB: nothing of it was used",
                self.view,
                self.limits.value >> 20
            )),
            _ => explain("read the source view", self.path, error).into(),
        }
    }

    /// Whether there is no view or table of this name.
    fn is_missing(&self) -> bool {
        let Ok(db) = connect_read_only(self.path) else { return false };
        matches!(
            db.prepare(&format!("SELECT * FROM {} LIMIT 0", quoted(self.view))),
            Err(rusqlite::Error::SqliteFailure(_, Some(text))) if is_missing(&text, self.view)
        )
    }

    /// The columns of ours that the view has; the required ones must be there.
    fn columns(&self, db: &rusqlite::Connection) -> Result<Vec<&'static str>> {
        let view = self.view;
        let fail = |detail: String, source: Option<Cause>| SourceError::View {
            path: self.path.display().to_string(),
            detail,
            source,
        };
        let statement = db.prepare(&format!("SELECT * FROM {} LIMIT 0", quoted(view))).map_err(|e| match e {
            rusqlite::Error::SqliteFailure(code, Some(text)) if is_missing(&text, view) => {
                let detail = format!("{text}: create the view {view} there, or correct source.view (README, \"Connect your application\")");
                fail(detail, Some(Cause::of(rusqlite::Error::SqliteFailure(code, Some(text)))))
            }
            rusqlite::Error::SqliteFailure(code, text) if code.code == ErrorCode::Unknown => {
                let detail = format!("the view {view} does not work: {}", text.as_deref().unwrap_or_default());
                fail(detail, Some(Cause::of(rusqlite::Error::SqliteFailure(code, text))))
            }
            e => self.explain(e),
        })?;
        let present: Vec<&str> = statement.column_names().collect();
        let has = |name: &&&str| present.iter().any(|p| p.eq_ignore_ascii_case(name));
        let missing: Vec<&str> = REQUIRED.iter().filter(|name| !has(name)).copied().collect();
        if !missing.is_empty() {
            return Err(fail(format!("the view {view} lacks the column(s) {}", missing.join(", ")), None));
        }
        if !["external_user_id", "tink_user_id", "refresh_token"].iter().any(|name| has(&name)) {
            return Err(fail(
                format!("the view {view} needs a column external_user_id or tink_user_id"),
                None,
            ));
        }
        Ok(REQUIRED.iter().chain(&OPTIONAL).filter(has).copied().collect())
    }
}

/// A column as it is asked for: what is too long for it is not even loaded, and comes as an empty blob, which is
/// no id, no time and not true.
fn bounded(column: &str) -> String {
    let most = if column.ends_with("_token") { LONGEST_TOKEN } else { LONGEST };
    format!("iif(octet_length({column}) > {most}, x'', {column})")
}

fn length(value: rusqlite::types::ValueRef<'_>) -> usize {
    use rusqlite::types::ValueRef::{Blob, Integer, Null, Real, Text};
    match value {
        Null | Integer(_) | Real(_) => 8,
        Text(bytes) | Blob(bytes) => bytes.len(),
    }
}

fn quoted(view: &str) -> String {
    view.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect::<Vec<_>>().join(".")
}

/// Whether SQLite says that the view itself is missing, not a table it is made of.
fn is_missing(text: &str, view: &str) -> bool {
    text.strip_prefix("no such table: ").is_some_and(|name| name == view)
}

#[cfg(test)]
mod tests;

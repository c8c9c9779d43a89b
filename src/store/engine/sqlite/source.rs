//! Reads the source view of an application's SQLite database, on its own read-only connection, closed after
//! one bounded query. Knows nothing else of the application.

use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;
use rusqlite::ErrorCode;
use rusqlite::limits::Limit;

use super::explain::explain;
use super::open::connect_read_only;
use super::statement::cell_of;
use crate::domain::cause::Cause;
use crate::domain::view::ViewRows;
use crate::store::StoreError;
use crate::store::source::error::SourceError;
use crate::store::source::row::source_row;
use crate::store::source::view::{LIMITS, ViewLimits, columns, longest, missing, quoted};
use crate::vault::Vault;

/// The time limit is checked after this many steps of SQLite's virtual machine.
const STEPS: i32 = 10_000;

type Result<T> = std::result::Result<T, SourceError>;

/// A view and how it is read.
struct Source<'a> {
    path: &'a Path,
    view: &'a str,
    vault: Option<&'a Vault>,
    now: Timestamp,
    limits: ViewLimits,
}

/// Reads the whole view.
///
/// # Errors
/// As [`crate::store::source::read_view`], without patience.
pub(crate) fn read(path: &Path, view: &str, vault: Option<&Vault>, now: Timestamp) -> Result<ViewRows> {
    Source { path, view, vault, now, limits: LIMITS }.read()
}

/// Whether there is no view or table of this name.
pub(crate) fn is_missing(path: &Path, view: &str) -> bool {
    let Ok(db) = connect_read_only(path) else { return false };
    matches!(
        db.prepare(&format!("SELECT * FROM {} LIMIT 0", quoted(view))),
        Err(rusqlite::Error::SqliteFailure(_, Some(text))) if names_missing(&text, view)
    )
}

impl Source<'_> {
    fn read(&self) -> Result<ViewRows> {
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
        let (mut rows, mut bytes) = (ViewRows::default(), 0);
        while let Some(row) = found.next().map_err(sql)? {
            bytes += (0..columns.len()).map(|index| row.get_ref(index).map_or(0, length)).sum::<usize>();
            if rows.number() >= self.limits.rows || bytes > self.limits.bytes {
                return Err(self.unusable(&self.limits.too_much(self.view)));
            }
            rows.push(source_row(
                &columns,
                |index| row.get_ref(index).ok().map(cell_of),
                self.vault,
                self.now,
            ));
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

    fn wrong(&self, detail: String, source: Option<Cause>) -> SourceError {
        SourceError::View { path: self.path.display().to_string(), detail, source }
    }

    fn explain(&self, error: rusqlite::Error) -> SourceError {
        match error {
            // An error in the view itself, which may also show only while it is evaluated.
            rusqlite::Error::SqliteFailure(code, Some(said)) if code.code == ErrorCode::Unknown => {
                let detail = format!("the view {} does not work: {said}", self.view);
                self.wrong(detail, Some(Cause::of(rusqlite::Error::SqliteFailure(code, Some(said)))))
            }
            error => match error.sqlite_error_code() {
                Some(ErrorCode::OperationInterrupted) => self.unusable(&self.limits.too_slow(self.view)),
                Some(ErrorCode::TooBig) => self.unusable(&format!(
                    "the view {} makes a value of more than {} MiB: nothing of it was used",
                    self.view,
                    self.limits.value >> 20
                )),
                _ => explain("read the source view", self.path, error).into(),
            },
        }
    }

    /// The known columns that the view has; fails if a required one is missing.
    fn columns(&self, db: &rusqlite::Connection) -> Result<Vec<&'static str>> {
        let view = self.view;
        let statement =
            db.prepare(&format!("SELECT * FROM {} LIMIT 0", quoted(view))).map_err(|e| match e {
                rusqlite::Error::SqliteFailure(code, Some(text)) if names_missing(&text, view) => {
                    let detail = missing(view, &text);
                    let source = Cause::of(rusqlite::Error::SqliteFailure(code, Some(text)));
                    self.wrong(detail, Some(source))
                }
                e => self.explain(e),
            })?;
        columns(view, &statement.column_names().collect::<Vec<_>>())
            .map_err(|detail| self.wrong(detail, None))
    }
}

/// The SQL for a column. A value that is too long is not loaded, but replaced by an empty blob, which is no
/// id, no time and not true.
fn bounded(column: &str) -> String {
    format!("iif(octet_length({column}) > {}, x'', {column})", longest(column))
}

fn length(value: rusqlite::types::ValueRef<'_>) -> usize {
    use rusqlite::types::ValueRef::{Blob, Integer, Null, Real, Text};
    match value {
        Null | Integer(_) | Real(_) => 8,
        Text(bytes) | Blob(bytes) => bytes.len(),
    }
}

/// Whether SQLite reports that the view itself is missing, not a table that it uses.
fn names_missing(text: &str, view: &str) -> bool {
    text.strip_prefix("no such table: ").is_some_and(|name| name == view)
}

#[cfg(test)]
mod tests;

//! The source view of an application: its columns, what a row contains, and how long to wait for it.
//! Understands nothing else of the application.

pub(super) mod error;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub(super) mod row;
pub(super) mod view;

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::engine::context::{BUSY_PAUSE, BUSY_TIMEOUT, log_wait};
use super::engine::{postgres, sqlite};
pub use super::place::OWN_VIEW;
use super::{Place, StoreError};
use crate::domain::view::ViewRows;
use crate::vault::Vault;
pub use error::SourceError;
pub use row::{is_never, parse_time};

type Result<T> = std::result::Result<T, SourceError>;

/// Reads the whole view in one short query, so that the application's database is not held while the store
/// may be waiting for something. Tries again until `patience` is over if the server is away, and if a file is
/// locked, for up to 30 s (SQLite's own wait) plus `patience`.
///
/// # Errors
/// [`SourceError::View`] names a missing view or column; other errors as the database reports them. An
/// unreadable row is no error: it is returned with its problem.
pub fn read_view(
    place: &Place,
    view: &str,
    vault: Option<&Vault>,
    now: Timestamp,
    patience: Duration,
) -> Result<ViewRows> {
    patiently(patience, || read(place, view, vault, now))
}

/// As [`read_view`], for a view that existed at the last pass: if it is missing, waits for it as well.
///
/// # Errors
/// [`SourceError::Missing`], or as [`read_view`].
pub fn read_known_view(
    place: &Place,
    view: &str,
    vault: Option<&Vault>,
    now: Timestamp,
    patience: Duration,
) -> Result<ViewRows> {
    let missing = || SourceError::Missing { path: place.to_string(), view: view.to_owned() };
    patiently(patience, || {
        read(place, view, vault, now).map_err(|error| match error {
            SourceError::View { .. } if is_missing(place, view) => missing(),
            other => other,
        })
    })
}

fn read(place: &Place, view: &str, vault: Option<&Vault>, now: Timestamp) -> Result<ViewRows> {
    match place {
        Place::Sqlite(path) => sqlite::source::read(path, view, vault, now),
        Place::Postgres(target) => postgres::source::read(target, view, vault, now),
    }
}

fn is_missing(place: &Place, view: &str) -> bool {
    match place {
        Place::Sqlite(path) => sqlite::source::is_missing(path, view),
        Place::Postgres(target) => postgres::source::is_missing(target, view),
    }
}

fn patiently<T>(patience: Duration, mut read: impl FnMut() -> Result<T>) -> Result<T> {
    let (began, mut logged) = (Instant::now(), false);
    loop {
        let error = match read() {
            Ok(rows) => return Ok(rows),
            Err(error) => error,
        };
        let (waited, longest) = (began.elapsed(), longest_wait(&error, patience));
        if waited >= longest {
            return Err(error);
        }
        if !logged && waited.saturating_add(patience) >= longest {
            log_wait(patience, &error);
            logged = true;
        }
        std::thread::sleep(BUSY_PAUSE);
    }
}

/// How long to try again in all, in spite of this error.
fn longest_wait(error: &SourceError, patience: Duration) -> Duration {
    match error {
        // A try may have waited that long by itself; the patience begins after it, as for the store's own file.
        SourceError::Store(StoreError::Busy { .. }) => BUSY_TIMEOUT.saturating_add(patience),
        SourceError::Store(StoreError::Unavailable { .. }) | SourceError::Missing { .. } => patience,
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patience_with_a_locked_file_begins_after_the_wait_of_sqlite_itself() {
        let patience = Duration::from_secs(10);
        let busy = SourceError::Store(StoreError::Busy { what: "read", path: "app.db".to_owned() });
        assert_eq!(longest_wait(&busy, patience), Duration::from_secs(40));
        let missing = SourceError::Missing { path: "app.db".to_owned(), view: "v".to_owned() };
        assert_eq!(longest_wait(&missing, patience), patience);
        let other = SourceError::Store(StoreError::TookOver);
        assert_eq!(longest_wait(&other, patience), Duration::ZERO);
    }
}

//! The source view of an application: its columns, what a row contains, and how long to wait for it.
//! Understands nothing else of the application.

pub(super) mod error;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub(super) mod row;
pub(super) mod view;

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::engine::context::BUSY_PAUSE;
use super::engine::{postgres, sqlite};
pub use super::place::OWN_VIEW;
use super::{Place, StoreError};
use crate::domain::view::ViewRows;
use crate::vault::Vault;
pub use error::SourceError;
pub use row::parse_time;

type Result<T> = std::result::Result<T, SourceError>;

/// Reads the whole view in one short query, so that the application's database is not held while the store
/// may be waiting for something. Tries again until `patience` is over if the database is locked or the server
/// is away; each try on a file waits up to 30 s for a lock.
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
    let began = Instant::now();
    loop {
        match read() {
            Err(
                SourceError::Store(StoreError::Busy { .. } | StoreError::Unavailable { .. })
                | SourceError::Missing { .. },
            ) if began.elapsed() < patience => std::thread::sleep(BUSY_PAUSE),
            other => return other,
        }
    }
}

//! The errors of the source view, sorted by what the operator has to do.

use crate::domain::cause::Cause;
use crate::store::StoreError;

/// An error of the source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The view is missing or lacks a column (exit 78).
    #[error("{path}: {detail}")]
    View {
        /// The application's database.
        path: String,
        /// What is missing and what to do.
        detail: String,
        /// The database's error, if any.
        source: Option<Cause>,
    },
    /// The view is missing, but was there at the last pass (exit 75).
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

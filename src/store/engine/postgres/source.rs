//! Reads the source view of an application's PostgreSQL database: on a connection of its own, read-only, closed after one
//! query that has an end. Understands nothing else of the application.

use std::sync::Arc;

use jiff::Timestamp;

use super::connect::Target;
use crate::domain::connection::SourceRow;
use crate::store::source::error::SourceError;
use crate::vault::Vault;

/// Reads the whole view.
///
/// # Errors
/// As [`crate::store::source::read_view`], without patience.
pub(crate) fn read(
    target: &Arc<Target>,
    _view: &str,
    _vault: Option<&Vault>,
    _now: Timestamp,
) -> Result<Vec<SourceRow>, SourceError> {
    Err(crate::store::StoreError::Unusable {
        what: "read the source view",
        path: target.url().to_owned(),
        detail: "PostgreSQL is not built in yet; use sqlite:/path/to/file".to_owned(),
        source: None,
    }
    .into())
}

/// Whether there is no view or table of this name.
pub(crate) const fn is_missing(_target: &Arc<Target>, _view: &str) -> bool {
    false
}

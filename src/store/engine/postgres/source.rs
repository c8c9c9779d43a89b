//! Reads the source view of an application's PostgreSQL database: on a connection of its own, read-only, closed after one
//! query that has an end. Understands nothing else of the application.

use std::sync::Arc;

use jiff::Timestamp;

use super::connect::Target;
use super::open::not_built_in;
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
    Err(not_built_in("read the source view", target).into())
}

/// Whether there is no view or table of this name.
pub(crate) const fn is_missing(_target: &Arc<Target>, _view: &str) -> bool {
    false
}

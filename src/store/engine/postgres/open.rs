//! Opening a store on a server, for writing and for reading, and refusing one of another release.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::connect::Target;
use crate::store::engine::{Db, DbSession, Fail};
use crate::store::{Result, StoreError};

/// Whether our tables are there.
///
/// # Errors
/// [`StoreError`] if the server cannot be asked.
pub(crate) fn is_there(target: &Arc<Target>) -> Result<bool> {
    Err(not_built_in("look for the store", target))
}

/// Opens an existing store for statements that only read, in a transaction that shows it as it is now.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Older`], or as for [`writer`].
pub(crate) fn reader(target: &Arc<Target>) -> Result<DbSession> {
    Err(not_built_in("open read-only", target))
}

/// Opens a store for writing, making and migrating it as needed.
pub(crate) fn writer(target: &Arc<Target>, _patience: Duration, _now: Timestamp) -> Result<DbSession> {
    Err(not_built_in("open the store", target))
}

/// As [`writer`], for the thread that commits in groups.
pub(crate) fn for_groups(target: &Arc<Target>, _patience: Duration, _now: Timestamp) -> Result<DbSession> {
    Err(not_built_in("open the store", target))
}

/// A rehearsal on the store, with what `fill` copies of it.
pub(crate) fn rehearsal(
    target: &Arc<Target>,
    _patience: Duration,
    _fill: impl Fn(Db<'_>) -> std::result::Result<(), Fail>,
) -> Result<DbSession> {
    Err(not_built_in("rehearse", target))
}

/// What is not there yet.
pub(super) fn not_built_in(what: &'static str, target: &Target) -> StoreError {
    StoreError::Unusable {
        what,
        path: target.url().to_owned(),
        detail: "PostgreSQL is not built in yet; use sqlite:/path/to/file".to_owned(),
        source: None,
    }
}

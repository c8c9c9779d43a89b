//! The schema `tink_sync`: numbered migrations, and what is published anew after each: functions, views and triggers. Each
//! migration runs once and only adds, since hosts of the release before may be at work.

use super::session::Pg;
use crate::store::engine::Fail;

/// Locks connections that nobody else has locked, and their users' quotas with them.
pub(crate) const LOCK: &str = "SELECT key FROM ts_connections
    WHERE key IN (SELECT CAST(value AS BIGINT) FROM json_each(?1)) AND pg_try_advisory_xact_lock(hashtextextended(user_id, 0))
    ORDER BY key FOR NO KEY UPDATE SKIP LOCKED";

/// Notes whose entitlement has ended since a run last looked, or lasts again, by the clock of the views.
pub(crate) fn note_lapses(pg: &Pg) -> Result<(), Fail> {
    pg.send_as_is(
        "UPDATE ts_connections SET lapsed = 1 - lapsed
         WHERE lapsed <> CASE WHEN entitled_until <= extract(epoch FROM clock_timestamp()) * 1000 THEN 1 ELSE 0 END",
        Vec::new(),
    )
}

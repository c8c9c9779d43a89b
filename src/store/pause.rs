//! The pause that Tink asked one host for, shared with all hosts of the store: Tink limits the app, not the
//! host (API.md 1.4). Uses the database's clock. Runs on a file share nothing here: Tink refuses each of them
//! by itself.

use std::time::{Duration, Instant};

use super::engine::value::unsigned;
use super::engine::{Db, Fail, values};

/// No pause that is kept here lasts longer, regardless of a restored database or a wrong clock.
const LONGEST: Duration = Duration::from_mins(1);

/// A stored pause that would last longer than [`LONGEST`] counts as none.
const NOTE: &str = "INSERT INTO ts_sequences (name, value)
         VALUES ('paused until', CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) + ?1)
     ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE excluded.value > ts_sequences.value
         OR ts_sequences.value > excluded.value - ?1 + ?2";

const LEFT: &str = "SELECT value - CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)
     FROM ts_sequences WHERE name = 'paused until'";

/// Makes all hosts pause until then; a pause that ends later stays. Ignores a pause that is over when the
/// database is reached.
pub(super) fn note(db: Db<'_>, until: Instant) -> Result<(), Fail> {
    let pause = until.saturating_duration_since(Instant::now());
    if !db.is_shared() || pause.is_zero() {
        return Ok(());
    }
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    db.run(NOTE, values![millis(pause.min(LONGEST)), millis(LONGEST)])
}

/// Prefetches the query of [`left`] in the next round trip.
pub(super) fn ahead(db: Db<'_>) -> Result<(), Fail> {
    if db.is_shared() { db.ahead(LEFT, values![]) } else { Ok(()) }
}

/// How much longer hosts have to pause; `None` if they do not.
pub(super) fn left(db: Db<'_>) -> Result<Option<Duration>, Fail> {
    if !db.is_shared() {
        return Ok(None);
    }
    let left: Option<i64> = db.one(LEFT, values![], |row| row.get(0))?;
    let left = left.map(|millis| Duration::from_millis(unsigned(millis)));
    Ok(left.filter(|left| !left.is_zero() && *left <= LONGEST))
}

//! What is remembered of the source view from pass to pass: where it lay, how many it gave, and whether a fall of
//! that number waits to be confirmed. Decides nothing: see `domain::population`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::SqliteStore;
use super::codec::{self, DateColumn, Millis};
use crate::domain::population::{Fall, Numbers, RECENT, Remembered};
use crate::store::Result;

/// The view as it was read last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastView {
    /// Where it lay and what it was called.
    pub source: String,
    /// How many it gave.
    pub numbers: Numbers,
    /// Since when there are far fewer than before, and what there were.
    pub fallen: Option<(Timestamp, Numbers)>,
}

/// What is remembered for the next look at the view. Of the file itself: a rehearsal writes beside it.
pub(super) fn remembered(db: &Connection) -> rusqlite::Result<Remembered> {
    let most = "SELECT max(enabled), max(entitled) FROM main.ts_population";
    let before = db.query_row(most, [], |row| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?)))?;
    let before = match before {
        Some((enabled, entitled)) => numbers(enabled, entitled),
        // A store of an older release knows only what it mirrored last.
        None => db.query_row(
            "SELECT coalesce(sum(enabled), 0), coalesce(sum(enabled AND entitled), 0) FROM main.ts_connections",
            [],
            |row| Ok(numbers(row.get(0)?, row.get(1)?)),
        )?,
    };
    let fallen_at = last(db)?.and_then(|view| view.fallen).map(|(since, _)| since);
    Ok(Remembered { before: Some(before), fallen_at })
}

fn numbers(enabled: i64, entitled: i64) -> Numbers {
    Numbers { enabled: super::codec::unsigned(enabled), entitled: super::codec::unsigned(entitled) }
}

/// The view as it was read last; `None` if it never was.
pub(super) fn last(db: &Connection) -> rusqlite::Result<Option<LastView>> {
    let read = |row: &Row<'_>| {
        let before = numbers(
            row.get::<_, Option<i64>>("enabled_before")?.unwrap_or_default(),
            row.get::<_, Option<i64>>("entitled_before")?.unwrap_or_default(),
        );
        Ok(LastView {
            source: row.get("source")?,
            numbers: numbers(row.get("enabled")?, row.get("entitled")?),
            fallen: codec::millis(row, "fallen_at")?.map(|since| (since, before)),
        })
    };
    db.query_row("SELECT * FROM main.ts_view LIMIT 1", [], read).optional()
}

/// Remembers what the view gave.
pub(super) fn remember(
    db: &Connection,
    source: &str,
    now: Numbers,
    fall: Option<Fall>,
    at: Timestamp,
) -> rusqlite::Result<()> {
    db.execute("DELETE FROM ts_view", [])?;
    db.execute(
        "INSERT INTO ts_view (source, read_at, enabled, entitled, fallen_at, enabled_before, entitled_before)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            source,
            Millis(at),
            now.enabled.cast_signed(),
            now.entitled.cast_signed(),
            fall.map(|fall| Millis(fall.since)),
            fall.map(|fall| fall.before.enabled.cast_signed()),
            fall.map(|fall| fall.before.entitled.cast_signed()),
        ],
    )?;
    if fall.is_none() { take(db, now, at) } else { Ok(()) }
}

/// Takes a number as it is: one of those that the next ones are compared with.
fn take(db: &Connection, now: Numbers, at: Timestamp) -> rusqlite::Result<()> {
    let day = |at: Timestamp| DateColumn(at.to_zoned_datetime(TimeZone::UTC).date());
    db.execute(
        "INSERT INTO ts_population (day, enabled, entitled) VALUES (?1, ?2, ?3)
         ON CONFLICT (day) DO UPDATE SET enabled = max(enabled, excluded.enabled), entitled = max(entitled, excluded.entitled)
         WHERE excluded.enabled > enabled OR excluded.entitled > entitled",
        params![day(at), now.enabled.cast_signed(), now.entitled.cast_signed()],
    )?;
    let oldest = at.saturating_sub(RECENT).unwrap_or(Timestamp::MIN);
    db.execute("DELETE FROM ts_population WHERE day < ?1", [day(oldest)])?;
    Ok(())
}

/// Takes the number of now as the one that later ones are compared with.
pub(super) fn confirm(db: &Connection, now: Numbers, at: Timestamp) -> rusqlite::Result<()> {
    db.execute("DELETE FROM ts_population", [])?;
    db.execute("UPDATE ts_view SET fallen_at = NULL, enabled_before = NULL, entitled_before = NULL", [])?;
    take(db, now, at)
}

impl SqliteStore {
    /// The source view as it was read last; `None` if it never was.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be read.
    pub async fn last_view(&self) -> Result<Option<LastView>> {
        self.worker.read("read what is remembered of the source view", last).await
    }
}

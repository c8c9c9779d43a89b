//! What is remembered of the source view from pass to pass: its location, the number of connections it gave,
//! and whether a fall of that number waits to be confirmed. Decides nothing: see `domain::population`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Store;
use super::engine::value::{DateColumn, Millis, unsigned};
use super::engine::{Db, Fail, Row, values};
use crate::domain::population::{Fall, Numbers, RECENT, Remembered};
use crate::store::Result;

/// The view as it was last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastView {
    /// Its location and name.
    pub source: String,
    /// The number of connections it gave.
    pub numbers: Numbers,
    /// Since when there are far fewer than before, and the numbers before.
    pub fallen: Option<(Timestamp, Numbers)>,
}

/// The numbers that the next reading of the view is compared with. Reads the store itself, because a
/// rehearsal writes to an overlay.
pub(super) fn remembered(db: Db<'_>) -> Result<Remembered, Fail> {
    let most = "SELECT max(enabled), max(entitled) FROM main.ts_population";
    let before = db.single(most, values![], |row| Ok(row.get::<Option<i64>>(0)?.zip(row.get(1)?)))?;
    let before = match before {
        Some((enabled, entitled)) => numbers(enabled, entitled),
        // A store of an older release knows only what it mirrored last.
        None => db.single(
            "SELECT count(*) FILTER (WHERE enabled <> 0), count(*) FILTER (WHERE enabled <> 0 AND entitled <> 0) FROM main.ts_connections",
            values![],
            |row| Ok(numbers(row.get(0)?, row.get(1)?)),
        )?,
    };
    let fallen_at = last(db)?.and_then(|view| view.fallen).map(|(since, _)| since);
    Ok(Remembered { before: Some(before), fallen_at })
}

fn numbers(enabled: i64, entitled: i64) -> Numbers {
    Numbers { enabled: unsigned(enabled), entitled: unsigned(entitled) }
}

/// The view as it was last read; `None` if it never was.
pub(super) fn last(db: Db<'_>) -> Result<Option<LastView>, Fail> {
    let read = |row: Row<'_>| {
        let before = numbers(
            row.get::<Option<i64>>("enabled_before")?.unwrap_or_default(),
            row.get::<Option<i64>>("entitled_before")?.unwrap_or_default(),
        );
        Ok(LastView {
            source: row.get("source")?,
            numbers: numbers(row.get("enabled")?, row.get("entitled")?),
            fallen: row.millis("fallen_at")?.map(|since| (since, before)),
        })
    };
    db.one("SELECT * FROM main.ts_view LIMIT 1", values![], read)
}

/// What another host stored of the same view, if its reading began after `since`; `None` without one. A time that
/// has not come yet was written by the clock of a host, in an older release, and tells nothing.
pub(super) fn newer(db: Db<'_>, source: &str, since: Option<Timestamp>) -> Result<Option<LastView>, Fail> {
    let Some(since) = since else { return Ok(None) };
    let read_at = "SELECT read_at FROM main.ts_view WHERE source = ?1";
    let read_at = db.one(read_at, values![source], |row| row.get::<Millis>(0))?.map(|at| at.0);
    match read_at.filter(|read_at| *read_at > since) {
        Some(read_at) if db.shared_now()?.is_none_or(|now| read_at <= now) => last(db),
        _ => Ok(None),
    }
}

/// Records the numbers of the view, which was read `at` this time, or `since` then by the clock of all hosts.
pub(super) fn remember(
    db: Db<'_>,
    source: &str,
    now: Numbers,
    fall: Option<Fall>,
    (at, since): (Timestamp, Option<Timestamp>),
) -> Result<(), Fail> {
    db.run("DELETE FROM ts_view", values![])?;
    db.run(
        "INSERT INTO ts_view (source, read_at, enabled, entitled, fallen_at, enabled_before, entitled_before)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        values![
            source,
            Millis(since.unwrap_or(at)),
            now.enabled.cast_signed(),
            now.entitled.cast_signed(),
            fall.map(|fall| Millis(fall.since)),
            fall.map(|fall| fall.before.enabled.cast_signed()),
            fall.map(|fall| fall.before.entitled.cast_signed()),
        ],
    )?;
    if fall.is_none() { take(db, now, at) } else { Ok(()) }
}

/// Accepts a number as one that later ones are compared with.
fn take(db: Db<'_>, now: Numbers, at: Timestamp) -> Result<(), Fail> {
    let day = |at: Timestamp| DateColumn(at.to_zoned_datetime(TimeZone::UTC).date());
    db.run(
        "INSERT INTO ts_population (day, enabled, entitled) VALUES (?1, ?2, ?3)
         ON CONFLICT (day) DO UPDATE SET
            enabled = CASE WHEN excluded.enabled > ts_population.enabled THEN excluded.enabled ELSE ts_population.enabled END,
            entitled =
                CASE WHEN excluded.entitled > ts_population.entitled THEN excluded.entitled ELSE ts_population.entitled END
         WHERE excluded.enabled > ts_population.enabled OR excluded.entitled > ts_population.entitled",
        values![day(at), now.enabled.cast_signed(), now.entitled.cast_signed()],
    )?;
    let oldest = at.saturating_sub(RECENT).unwrap_or(Timestamp::MIN);
    db.run("DELETE FROM ts_population WHERE day < ?1", values![day(oldest)])?;
    Ok(())
}

/// Makes the current number the only one that later ones are compared with.
pub(super) fn confirm(db: Db<'_>, now: Numbers, at: Timestamp) -> Result<(), Fail> {
    db.run("DELETE FROM ts_population", values![])?;
    db.run("UPDATE ts_view SET fallen_at = NULL, enabled_before = NULL, entitled_before = NULL", values![])?;
    take(db, now, at)
}

impl Store {
    /// The source view as it was last read, `None` if it never was; and the time by the clock that all hosts
    /// share, if others may use this store. For a reading that begins now.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be read.
    pub async fn last_view(&self) -> Result<(Option<LastView>, Option<Timestamp>)> {
        let look = |db: Db<'_>| {
            db.shared_now_ahead()?;
            let last = last(db)?;
            Ok((last, db.shared_now()?))
        };
        self.worker.read("read what is remembered of the source view", look).await
    }
}

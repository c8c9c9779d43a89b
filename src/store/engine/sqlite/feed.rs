//! The interface for readers: the views, and the change numbers of their rows. Both are recreated as a whole
//! after every migration, from `views.sql` and `feed.sql`. Must not touch a view that an application keeps in
//! the same file.

use rusqlite::{Connection, OptionalExtension as _};

use crate::store::engine::Fail;
use crate::store::engine::publication::{self, Publication, Views, fingerprint};

const VIEWS: &str = include_str!("views.sql");
const FEED: &str = include_str!("feed.sql");

/// The number of this publication. A test requires a higher one with every other fingerprint.
const NUMBER: i64 = 3;

const CREATE_VIEW: &str = "CREATE VIEW ";
/// For the source view, which an application may own.
const CREATE_VIEW_IF: &str = "CREATE VIEW IF NOT EXISTS ";
const CREATE_TRIGGER: &str = "CREATE TRIGGER ";

/// Derives columns again and renumbers every row: columns may be new, or mean something else for old rows.
const RENUMBER: &str = "
    UPDATE ts_accounts SET credentials_ids = (SELECT h.credentials_ids FROM ts_feed_held h WHERE h.key = ts_accounts.key);
    UPDATE ts_connections SET data_as_of = (SELECT r.data_as_of FROM ts_feed_refreshed r WHERE r.key = ts_connections.key);
    UPDATE ts_accounts SET change_seq = n.place + (SELECT value FROM ts_sequences WHERE name = 'change')
    FROM (SELECT key, row_number() OVER (ORDER BY key) AS place FROM ts_accounts) n WHERE n.key = ts_accounts.key;
    UPDATE ts_sequences SET value = value + (SELECT count(*) FROM ts_accounts) WHERE name = 'change';
    UPDATE ts_connections SET change_seq = n.place + (SELECT value FROM ts_sequences WHERE name = 'change')
    FROM (SELECT key, row_number() OVER (ORDER BY key) AS place FROM ts_connections) n WHERE n.key = ts_connections.key;
    UPDATE ts_sequences SET value = value + (SELECT count(*) FROM ts_connections) WHERE name = 'change'";

/// What this release publishes.
pub(crate) fn ours() -> Publication {
    Publication { number: NUMBER, fingerprint: fingerprint(&[VIEWS, FEED]) }
}

/// What the file has; `None` if nothing was published.
pub(crate) fn found(db: &Connection) -> rusqlite::Result<Option<Publication>> {
    let value = |name| {
        let sql = "SELECT value FROM ts_sequences WHERE name = ?1";
        db.query_row(sql, [name], |row| row.get(0)).optional()
    };
    let number = value(publication::NUMBER)?.unwrap_or_default();
    Ok(value(publication::FINGERPRINT)?.map(|fingerprint| Publication { number, fingerprint }))
}

/// Whose views and triggers the file has.
pub(crate) fn views(db: &Connection) -> rusqlite::Result<Views> {
    Ok(Views::of(found(db)?, ours()))
}

/// Drops what this or an older release has published, so that it does not get in a migration's way.
pub(crate) fn withdraw(db: &Connection) -> rusqlite::Result<()> {
    let ours: Vec<&str> = names(VIEWS, CREATE_VIEW).collect();
    drop_of_ours(db, &ours)
}

/// Runs `work` without the feed's triggers: rows are copied without new numbers or derived columns.
pub(crate) fn unnumbered<T>(db: &Connection, work: impl FnOnce() -> Result<T, Fail>) -> Result<T, Fail> {
    drop_of_ours(db, &[])?;
    let done = work()?;
    db.execute_batch(FEED)?;
    Ok(done)
}

/// Drops the feed's triggers, the views that they read, and the given views.
fn drop_of_ours(db: &Connection, views: &[&str]) -> rusqlite::Result<()> {
    let mut found = db.prepare(
        "SELECT type, name FROM sqlite_master
         WHERE type = 'view' OR (type = 'trigger' AND name LIKE 'ts\\_feed\\_%' ESCAPE '\\')",
    )?;
    let found: Vec<(String, String)> =
        found.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    for (kind, name) in found {
        if kind == "trigger" || name.starts_with("ts_feed_") || views.contains(&name.as_str()) {
            db.execute_batch(&format!("DROP {kind} {name}"))?;
        }
    }
    Ok(())
}

/// Creates the views and triggers, and gives every account and connection a new number.
pub(crate) fn publish(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(VIEWS)?;
    db.execute_batch(FEED)?;
    db.execute_batch(RENUMBER)?;
    let Publication { number, fingerprint } = ours();
    db.execute(
        "INSERT INTO ts_sequences (name, value) VALUES (?1, ?2), (?3, ?4)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        rusqlite::params![publication::FINGERPRINT, fingerprint, publication::NUMBER, number],
    )?;
    Ok(())
}

/// Creates the same views and triggers over the temporary tables of a rehearsal, except the source view,
/// which may be the application's.
pub(crate) fn lay(db: &Connection) -> rusqlite::Result<()> {
    for sql in [VIEWS, FEED] {
        let sql = sql.split_once(CREATE_VIEW_IF).map_or(sql.to_owned(), |(before, source)| {
            let (_, after) = source.split_once(";\n").unwrap_or_default();
            format!("{before}{after}")
        });
        let sql =
            sql.replace(CREATE_VIEW, "CREATE TEMP VIEW ").replace(CREATE_TRIGGER, "CREATE TEMP TRIGGER ");
        db.execute_batch(&sql)?;
    }
    Ok(())
}

/// Notes which entitlements have ended or resumed since a run last checked: a connection's state changes as
/// time passes, without a write. Uses the clock of the views.
pub(crate) fn note_lapses(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE ts_connections SET lapsed = NOT lapsed
         WHERE lapsed <> coalesce(entitled_until <= CAST(strftime('%s', 'now') AS INTEGER) * 1000, 0)",
    )?
    .execute([])
    .map(drop)
}

/// The names of what a script creates with this phrase.
fn names<'a>(sql: &'a str, create: &'a str) -> impl Iterator<Item = &'a str> {
    let ours = sql.lines().filter(|line| !line.starts_with(CREATE_VIEW_IF));
    ours.filter_map(move |line| line.strip_prefix(create)?.split_whitespace().next())
}

#[cfg(test)]
mod tests;

//! The schema `tink_sync`: numbered migrations, and what is published anew after each: functions, views and triggers. Each
//! migration runs once and only adds, since hosts of the release before may be at work.

use super::session::Pg;
use super::statement;
use super::value::Parameter;
use crate::failpoint;
use crate::store::engine::{Fail, Row};

/// The migrations in order; the schema version is their number.
const MIGRATIONS: &[(&str, &str)] = &[("0001_initial", include_str!("migrations/0001_initial.sql"))];

/// The schema version this binary knows.
pub(crate) const KNOWN: i64 = MIGRATIONS.len().cast_signed() as i64;

/// What every statement may call. Before the migrations, which use some of it.
const FUNCTIONS: &str = include_str!("functions.sql");
/// What readers are promised.
const VIEWS: &str = include_str!("views.sql");
/// The numbers of what changes in it.
const FEED: &str = include_str!("feed.sql");
/// New numbers for every account and connection.
const RENUMBER: &str = include_str!("renumber.sql");
const SOURCE_VIEW: &str = include_str!("source_view.sql");

/// The functions that give native types, of which each has one beside it that gives the text.
const NATIVE: [&str; 5] = ["ts_time(", "ts_rounded(", "ts_day(", "ts_amount(", "ts_bool("];

/// Under this name the fingerprint of what was published stands among the sequences.
const FINGERPRINT: &str = "published";

/// One at a time makes or changes the schema, on whatever host.
const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtextextended('tink_sync schema', 0))";

/// Locks connections that nobody else has locked, and their users' quotas with them. Step by step: were the quota a condition
/// beside others, it might be locked of connections that are not asked for.
pub(crate) const LOCK: &str = "WITH wanted AS MATERIALIZED (
        SELECT key, user_id FROM ts_connections WHERE key IN (SELECT CAST(value AS BIGINT) FROM json_each(?1))),
    free AS MATERIALIZED (SELECT key FROM wanted WHERE pg_try_advisory_xact_lock(hashtextextended(user_id, 0)))
    SELECT key FROM ts_connections WHERE key = ANY (ARRAY(SELECT key FROM free)) ORDER BY key FOR NO KEY UPDATE SKIP LOCKED";

/// Waits until nobody else writes what these ids belong to. In one order, so that two do not wait for each other.
pub(crate) const LOCK_IDS: &str = "SELECT pg_advisory_xact_lock(id) FROM (
    SELECT DISTINCT hashtextextended(value, 1) AS id FROM json_each(?1) ORDER BY id) ids";

/// The schema version of the database; 0 for one that has none.
pub(crate) fn version(pg: &Pg) -> Result<i64, Fail> {
    // In the catalogue, which everybody may read: what a role may not look into is there all the same.
    let there = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'tink_sync' AND c.relname = 'ts_schema'";
    if !ask(pg, there, Vec::new())?.contains(&1) {
        return Ok(0);
    }
    let found = ask(pg, "SELECT coalesce(max(version), 0) FROM tink_sync.ts_schema", Vec::new())?;
    Ok(found.first().copied().unwrap_or_default())
}

/// Names of the migrations that a database of this version still needs.
pub(crate) fn pending(version: i64) -> Vec<String> {
    let from = usize::try_from(version).unwrap_or_default();
    MIGRATIONS.iter().skip(from).map(|(name, _)| (*name).to_owned()).collect()
}

/// Applies what is missing and makes anew what is published, all in one transaction; returns the version that is there then.
pub(crate) fn migrate(pg: &Pg, now_ms: i64) -> Result<i64, Fail> {
    let found = version(pg)?;
    if found > KNOWN || (found == KNOWN && is_published(pg)?) {
        return Ok(found);
    }
    pg.begin(" ISOLATION LEVEL READ COMMITTED; SET LOCAL tink_sync.alone = 'on'");
    statement::count(pg, ALONE, crate::store::engine::values![])?;
    // Somebody may have done it meanwhile.
    let found = version(pg)?;
    if found < KNOWN || (found == KNOWN && !is_published(pg)?) {
        if found == 0 {
            pg.batch_as_is(
                "CREATE SCHEMA IF NOT EXISTS tink_sync;
                 CREATE TABLE tink_sync.ts_schema (version bigint NOT NULL PRIMARY KEY, applied_at bigint NOT NULL)",
            )?;
        }
        pg.batch_as_is(FUNCTIONS)?;
        for (number, (_, sql)) in (1i64..).zip(MIGRATIONS).filter(|(number, _)| *number > found) {
            pg.batch_as_is(sql)?;
            pg.batch_as_is(&format!("INSERT INTO tink_sync.ts_schema VALUES ({number}, {now_ms})"))?;
        }
        pg.batch_as_is(VIEWS)?;
        pg.batch_as_is(&textual_views())?;
        pg.batch_as_is(FEED)?;
        pg.batch_as_is(SOURCE_VIEW)?;
        // Columns may have come, or mean something else for the rows that are there.
        pg.batch_as_is(RENUMBER)?;
        pg.batch_as_is(&format!(
            "INSERT INTO tink_sync.ts_sequences (name, value) VALUES ('{FINGERPRINT}', {0})
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            fingerprint()
        ))?;
    }
    failpoint::around("prepare the store", || pg.commit())?;
    Ok(found.max(KNOWN))
}

/// Whether the functions, views and triggers of the database are those of this release.
pub(crate) fn is_published(pg: &Pg) -> Result<bool, Fail> {
    let sql = "SELECT value FROM tink_sync.ts_sequences WHERE name = $1";
    Ok(ask(pg, sql, vec![Parameter::Text(FINGERPRINT.to_owned())])?.first() == Some(&fingerprint()))
}

fn ask(pg: &Pg, sql: &'static str, parameters: Vec<Parameter>) -> Result<Vec<i64>, Fail> {
    pg.ask_as_is(sql, parameters)?.rows.iter().map(|row| Row::Postgres(row).get(0)).collect()
}

/// The views as the program reads them: texts in the form in which SQLite shows them. See [`super::translate`].
fn textual_views() -> String {
    let views = VIEWS.replace("VIEW tink_sync.", "VIEW tink_sync.ts_text_");
    NATIVE.iter().fold(views, |views, native| views.replace(native, &native.replace('(', "_text(")))
}

/// Tells one text of the statements from another (FNV-1a).
fn fingerprint() -> i64 {
    let byte = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let text = [FUNCTIONS, VIEWS, FEED, RENUMBER, SOURCE_VIEW].into_iter().flat_map(str::bytes);
    text.fold(0xcbf2_9ce4_8422_2325, byte).cast_signed()
}

/// Notes whose entitlement has ended since a run last looked, or lasts again, by the clock of the views.
pub(crate) fn note_lapses(pg: &Pg) {
    pg.send_as_is("SELECT tink_sync.ts_note_lapses()", Vec::new());
}

//! The schema `tink_sync`: numbered migrations, and what is recreated with each: functions, views and triggers. Each
//! migration runs once and only adds, since hosts of the previous release may still be at work.

use std::thread;
use std::time::Duration;

use super::explain::{Remedy, remedy};
use super::session::Pg;
use super::statement;
use super::value::Parameter;
use crate::failpoint;
use crate::store::engine::publication::{self, Publication, Views, fingerprint};
use crate::store::engine::{Fail, Row};

/// The migrations in order; the schema version is their number.
const MIGRATIONS: &[(&str, &str)] = &[("0001_initial", include_str!("migrations/0001_initial.sql"))];

/// The schema version this binary knows.
pub(crate) const KNOWN: i64 = MIGRATIONS.len().cast_signed() as i64;

/// Functions that every statement may call. Created before the migrations, which use some of them.
const FUNCTIONS: &str = include_str!("functions.sql");
/// The views for readers.
const VIEWS: &str = include_str!("views.sql");
/// The change numbers of their rows.
const FEED: &str = include_str!("feed.sql");
/// New numbers for every account and connection.
const RENUMBER: &str = include_str!("renumber.sql");
const SOURCE_VIEW: &str = include_str!("source_view.sql");

/// The functions that return native types; beside each there is one that returns the text.
const NATIVE: [&str; 5] = ["ts_time(", "ts_rounded(", "ts_day(", "ts_amount(", "ts_bool("];

/// The number of this publication. A test requires a higher one with every other fingerprint.
const NUMBER: i64 = 3;

/// Only one process at a time creates or changes the schema, on any host.
const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtextextended('tink_sync schema', 0))";

/// Whoever comes to a table or view waits behind one that waits to change it, readers of the application included: so
/// it waits briefly, lets them pass, and tries again.
const BRIEFLY: &str = "SET LOCAL lock_timeout = '2s'";
const PAUSE: Duration = Duration::from_secs(3);
/// As long as a file is waited for: half a minute.
const TRIES: u32 = 6;

/// The sessions that use our tables and views. A role may see only that they exist.
const USERS: &str = "SELECT concat('session ', a.pid, ' (', concat_ws(', ', 'role ' || a.usename, nullif(a.application_name, ''),
        'in a transaction since ' || to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')), ')')
    FROM pg_stat_activity a WHERE a.pid <> pg_backend_pid() AND a.pid IN (
        SELECT l.pid FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_database d ON d.oid = l.database
        WHERE l.granted AND d.datname = current_database() AND c.relnamespace = to_regnamespace('tink_sync'))
    ORDER BY a.xact_start, a.pid LIMIT 3";

/// Locks connections that no other transaction has locked, and their users' quotas with them. Step by step:
/// as one condition among others, the quota might be locked for connections that were not requested.
pub(crate) const LOCK: &str = "WITH wanted AS MATERIALIZED (
        SELECT key, user_id FROM ts_connections WHERE key IN (SELECT CAST(value AS BIGINT) FROM json_each(?1))),
    free AS MATERIALIZED (SELECT key FROM wanted WHERE pg_try_advisory_xact_lock(hashtextextended(user_id, 0)))
    SELECT key FROM ts_connections WHERE key = ANY (ARRAY(SELECT key FROM free)) ORDER BY key FOR NO KEY UPDATE SKIP LOCKED";

/// Waits until no other transaction writes what these ids belong to. Sorted, so that two cannot deadlock.
pub(crate) const LOCK_IDS: &str = "SELECT pg_advisory_xact_lock(id) FROM (
    SELECT DISTINCT hashtextextended(value, 1) AS id FROM json_each(?1) ORDER BY id) ids";

/// The server's clock, which all hosts share, in milliseconds.
pub(crate) const NOW: &str = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// Waits until no other transaction writes tokens, and holds up those that want to.
pub(crate) const LOCK_TOKENS: &str = "LOCK TABLE ts_tokens IN SHARE ROW EXCLUSIVE MODE";

/// Waits for runs that just begin, and holds up those that want to begin, and the signs of life of others.
pub(crate) const LOCK_RUNS: &str = "LOCK TABLE ts_runs IN SHARE MODE";

/// The schema version of the database; 0 if it has none.
pub(crate) fn version(pg: &Pg) -> Result<i64, Fail> {
    // From the catalog, which every role may read: tables exist even if this role may not read them.
    let there = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'tink_sync' AND c.relname = 'ts_schema'";
    if !ask(pg, there, Vec::new())?.contains(&1) {
        return Ok(0);
    }
    let found = ask(pg, "SELECT coalesce(max(version), 0) FROM tink_sync.ts_schema", Vec::new())?;
    Ok(found.first().copied().unwrap_or_default())
}

/// Whether an older release made the tables or the views of a database of this version, or nobody has yet.
pub(super) fn is_older(pg: &Pg, found: i64) -> Result<bool, Fail> {
    Ok(found < KNOWN || (found == KNOWN && views(pg)? == Views::Older))
}

/// Names of the migrations that a database of this version still needs.
pub(crate) fn pending(version: i64) -> Vec<String> {
    let from = usize::try_from(version).unwrap_or_default();
    MIGRATIONS.iter().skip(from).map(|(name, _)| (*name).to_owned()).collect()
}

/// Applies missing migrations and recreates the rest, in one transaction; returns the version after that.
pub(crate) fn migrate(pg: &Pg, now_ms: i64) -> Result<i64, Fail> {
    let found = version(pg)?;
    if !is_older(pg, found)? {
        return Ok(found);
    }
    for _ in 1..TRIES {
        match prepare(pg, now_ms) {
            Err(fail) if remedy(&fail) == Remedy::Again => pg.rollback(),
            done => return done,
        }
        thread::sleep(PAUSE);
    }
    prepare(pg, now_ms).or_else(|fail| {
        pg.rollback();
        if remedy(&fail) == Remedy::Again { Err(Fail::Blocked(users(pg)?)) } else { Err(fail) }
    })
}

/// The sessions that use our tables and views, for an error.
fn users(pg: &Pg) -> Result<String, Fail> {
    let found = pg.ask_as_is(USERS, Vec::new())?;
    let found: Vec<String> =
        found.rows.iter().map(|row| Row::Postgres(row).get(0)).collect::<Result<_, _>>()?;
    Ok(if found.is_empty() { "one that has just ended".to_owned() } else { found.join("; ") })
}

/// It may wait for another process that does the same, and renumber any number of rows.
fn prepare(pg: &Pg, now_ms: i64) -> Result<i64, Fail> {
    pg.unhurried(|| prepare_alone(pg, now_ms))
}

fn prepare_alone(pg: &Pg, now_ms: i64) -> Result<i64, Fail> {
    pg.begin_alone();
    // Another process may need minutes, and is no reason to give up.
    pg.batch_as_is("SET LOCAL lock_timeout = 0")?;
    statement::count(pg, ALONE, crate::store::engine::values![])?;
    pg.batch_as_is(BRIEFLY)?;
    // Another process may have done it meanwhile.
    let found = version(pg)?;
    if is_older(pg, found)? {
        if found == 0 {
            // IF NOT EXISTS would need the right to create schemas also where there is one.
            pg.batch_as_is(
                "DO $$ BEGIN IF pg_catalog.to_regnamespace('tink_sync') IS NULL THEN CREATE SCHEMA tink_sync; END IF; END $$;
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
        // Columns may be new, or mean something else for existing rows.
        pg.batch_as_is(RENUMBER)?;
        let Publication { number, fingerprint } = ours();
        let (of_fingerprint, of_number) = (publication::FINGERPRINT, publication::NUMBER);
        pg.batch_as_is(&format!(
            "INSERT INTO tink_sync.ts_sequences (name, value)
             VALUES ('{of_fingerprint}', {fingerprint}), ('{of_number}', {number})
             ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ))?;
    }
    failpoint::around("prepare the store", || pg.commit())?;
    Ok(found.max(KNOWN))
}

/// What this release publishes.
fn ours() -> Publication {
    let fingerprint = fingerprint(&[FUNCTIONS, VIEWS, FEED, RENUMBER, SOURCE_VIEW]);
    Publication { number: NUMBER, fingerprint }
}

/// What the database has; `None` if nothing was published.
fn found(pg: &Pg) -> Result<Option<Publication>, Fail> {
    // One query for both: each is a round trip of every start.
    let sql = "SELECT f.value, coalesce(n.value, 0) FROM tink_sync.ts_sequences f
         LEFT JOIN tink_sync.ts_sequences n ON n.name = $2 WHERE f.name = $1";
    let names = [publication::FINGERPRINT, publication::NUMBER];
    let answer = pg.ask_as_is(sql, names.map(|name| Parameter::Text(name.to_owned())).to_vec())?;
    let read = |row| {
        let row = Row::Postgres(row);
        Ok(Publication { fingerprint: row.get(0)?, number: row.get(1)? })
    };
    answer.rows.first().map(read).transpose()
}

/// Whose functions, views and triggers the database has.
pub(crate) fn views(pg: &Pg) -> Result<Views, Fail> {
    Ok(Views::of(found(pg)?, ours()))
}

fn ask(pg: &Pg, sql: &'static str, parameters: Vec<Parameter>) -> Result<Vec<i64>, Fail> {
    pg.ask_as_is(sql, parameters)?.rows.iter().map(|row| Row::Postgres(row).get(0)).collect()
}

/// The views as the program reads them: texts in the form of SQLite's views. See [`super::translate`].
fn textual_views() -> String {
    let views = VIEWS.replace("VIEW tink_sync.", "VIEW tink_sync.ts_text_");
    NATIVE.iter().fold(views, |views, native| views.replace(native, &native.replace('(', "_text(")))
}

/// Notes which entitlements have ended or resumed since a run last checked, by the clock of the views.
pub(crate) fn note_lapses(pg: &Pg) {
    pg.send_as_is("SELECT tink_sync.ts_note_lapses()", Vec::new());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::server::Target;
    use crate::store::engine::postgres::tests::server::Server;
    use crate::store::engine::{Db, values};

    /// A session with a store of one connection.
    fn store() -> Pg {
        let target = Target::parse(&Server::shared().fresh_database(), &|_| None).unwrap();
        let pg = Pg::connect(&Arc::new(target)).unwrap();
        migrate(&pg, 0).unwrap();
        pg.batch(
            "INSERT INTO ts_connections (connection_id, user_id, external_user_id, enabled, entitled)
                  VALUES ('c', 'u', 'x', 1, 1)",
        )
        .unwrap();
        pg
    }

    fn number(pg: &Pg) -> i64 {
        Db::Postgres(pg).value("SELECT change_seq FROM ts_connections", values![]).unwrap()
    }

    /// The number of the connection before and after a start on a store in which `sql` was changed.
    fn started(pg: &Pg, sql: &str) -> (i64, i64) {
        pg.batch(sql).unwrap();
        let before = number(pg);
        migrate(pg, 0).unwrap();
        (before, number(pg))
    }

    /// Sessions with a store whose views another release published; the second is in a transaction that has read one.
    fn read_by_another() -> [Pg; 3] {
        let target = Arc::new(Target::parse(&Server::shared().fresh_database(), &|_| None).unwrap());
        let sessions = [0; 3].map(|_| Pg::connect(&target).unwrap());
        migrate(&sessions[0], 0).unwrap();
        sessions[0].batch("DELETE FROM ts_sequences WHERE name = 'publication'").unwrap();
        sessions[0].batch("UPDATE ts_sequences SET value = 1 WHERE name = 'published'").unwrap();
        sessions[1].begin("");
        sessions[1].batch_as_is(READ).unwrap();
        sessions
    }

    const READ: &str = "SELECT count(*) FROM tink_sync.transactions_v1";

    #[test]
    fn readers_are_not_held_up_by_a_release_that_waits_for_one_of_them() {
        let [pg, reader, other] = read_by_another();
        std::thread::scope(|scope| {
            let migrating = scope.spawn(move || migrate(&pg, 0).is_ok());
            let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'";
            while Db::Postgres(&other).value::<i64>(waits, values![]).unwrap() == 0 {
                assert!(!migrating.is_finished(), "it has not waited");
                std::thread::yield_now();
            }
            // While the first reader still reads.
            other.batch_as_is(READ).unwrap();
            reader.rollback();
            assert!(migrating.join().unwrap());
        });
        assert_eq!(views(&other).unwrap(), Views::Ours);
    }

    #[test]
    fn whoever_keeps_a_release_from_changing_the_views_is_named() {
        let [pg, reader, _] = read_by_another();
        let pid: i64 =
            Db::Postgres(&reader).value("SELECT CAST(pg_backend_pid() AS BIGINT)", values![]).unwrap();
        let named = users(&pg).unwrap();
        assert!(named.contains(&format!("session {pid} (role ")), "{named}");
        reader.rollback();
        assert_eq!(users(&pg).unwrap(), "one that has just ended");
    }

    #[test]
    fn a_changed_fingerprint_has_a_higher_number() {
        // Changed scripts: raise NUMBER, and add a line; a line that was released is never changed.
        let all = [
            Publication { number: 1, fingerprint: -6_903_682_725_321_625_869 },
            Publication { number: 2, fingerprint: -4_459_195_567_754_402_546 },
            Publication { number: 3, fingerprint: -9_180_895_714_591_738_183 },
        ];
        assert!(all.is_sorted_by(|a, b| a.number < b.number && a.fingerprint != b.fingerprint));
        assert_eq!(all.last(), Some(&ours()));
    }

    #[test]
    fn views_of_a_newer_release_are_left_alone_and_those_of_an_older_one_published_anew_once() {
        let pg = store();
        let other = "UPDATE ts_sequences SET value = 1 WHERE name = 'published'";
        let newer =
            format!("{other}; UPDATE ts_sequences SET value = {NUMBER} + 1 WHERE name = 'publication'");
        let (before, after) = started(&pg, &newer);
        assert_eq!(before, after);
        assert_eq!(views(&pg).unwrap(), Views::Newer);
        // What releases stored that knew no numbers.
        let older = format!("{other}; DELETE FROM ts_sequences WHERE name = 'publication'");
        let (before, after) = started(&pg, &older);
        assert!(after > before, "{before} {after}");
        assert_eq!(views(&pg).unwrap(), Views::Ours);
        let (before, after) = started(&pg, "SELECT 1");
        assert_eq!(before, after);
    }
}

//! The outbox of hooks: what happened, written in the transaction that makes it true, until it is a file of
//! the spool. Decides what is news; knows no file but the store, and starts no program.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use super::codec::{IdColumn, Millis};
use super::thread::Context;
use crate::domain::hook::{HookEvent, HookKind};
use crate::domain::ids::{ConnectionId, RunId, UserId};
use crate::domain::outcome::{Outcome, Reason};
use crate::store::types::{ConsentWarning, Lease, Outgoing, Record, Removal, RowCommit};

/// So many events of one kind wait at most.
const MOST: i64 = 10_000;

/// What was told of a connection before.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// That it fails.
    failing: bool,
    /// That it needs its user, and why.
    needs_user: Option<String>,
}

impl Before {
    /// Reads it.
    pub fn of(db: &Connection, connection: i64) -> rusqlite::Result<Self> {
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Self { failing: row.get::<_, Option<i64>>(0)?.is_some(), needs_user: row.get(1)? })
        };
        let mut told =
            db.prepare_cached("SELECT failing_run, needs_user FROM ts_connections WHERE key = ?1")?;
        Ok(told.query_row([connection], read).optional()?.unwrap_or_default())
    }
}

/// Writes down one event, if anybody listens.
fn note(
    db: &Connection,
    context: &Context,
    kind: HookKind,
    (run, connection): (i64, Option<i64>),
    at: Timestamp,
    details: &Value,
) -> rusqlite::Result<()> {
    if !context.listened.borrow().contains(&kind) {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO ts_events (kind, run, connection, at, details) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![kind.as_str(), run, connection, Millis(at), details.to_string()])?;
    Ok(())
}

/// Rows were just written: all commits of a connection in a run are one event.
pub fn committed(
    db: &Connection,
    context: &Context,
    lease: &Lease,
    commit: &RowCommit,
) -> rusqlite::Result<()> {
    let counts = commit.changes.counts();
    let listened = context.listened.borrow().contains(&HookKind::NewTransactions);
    if !listened || counts.added + counts.updated + counts.removed == 0 {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO ts_events (kind, run, connection, at, details)
         VALUES ('new-transactions', ?1, ?2, ?3, json_object('added', ?4, 'updated', ?5, 'removed', ?6, 'replaced', ?7))
         ON CONFLICT (run, connection) WHERE kind = 'new-transactions' DO UPDATE SET at = ?3, details = json_object(
             'added', details ->> 'added' + ?4, 'updated', details ->> 'updated' + ?5,
             'removed', details ->> 'removed' + ?6, 'replaced', details ->> 'replaced' + ?7)",
    )?
    .execute(params![
        lease.run,
        lease.connection,
        Millis(commit.now),
        counts.added.cast_signed(),
        counts.updated.cast_signed(),
        counts.removed.cast_signed(),
        replaced(db, lease.run, commit)?,
    ])?;
    Ok(())
}

/// How many rows that are new in this run only took the place of another.
fn replaced(db: &Connection, run: i64, commit: &RowCommit) -> rusqlite::Result<i64> {
    let mut new = db.prepare_cached(
        "SELECT count(*) FROM ts_transactions WHERE account = ?1 AND transaction_id = ?2 AND first_seen_run = ?3",
    )?;
    let mut replaced = 0;
    for (_, how) in &commit.changes.remove {
        if let Removal::Replaced { by, .. } = how {
            replaced += new
                .query_row(params![commit.account, IdColumn(by.clone()), run], |row| row.get::<_, i64>(0))?;
        }
    }
    Ok(replaced)
}

/// A consent came to a step of the warnings, if it did.
pub fn consent_ends(
    db: &Connection,
    context: &Context,
    lease: &Lease,
    warning: &ConsentWarning,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let Some(due) = warning.due else { return Ok(()) };
    let mut provider =
        db.prepare_cached("SELECT provider FROM ts_consents WHERE connection = ?1 AND credentials_id = ?2")?;
    let provider: Option<String> = provider
        .query_row(params![lease.connection, warning.credentials_id.as_str()], |row| row.get(0))
        .optional()?
        .flatten();
    let details = json!({
        "credentials_id": warning.credentials_id.as_str(), "provider": provider, "days_left": due.days_left,
    });
    note(db, context, HookKind::ConsentSoon, of(lease), at, &details)
}

/// An attempt ended for good; `before` is what had been told.
pub fn recorded(
    db: &Connection,
    context: &Context,
    lease: &Lease,
    record: &Record,
    before: &Before,
) -> rusqlite::Result<()> {
    if record.again {
        return Ok(());
    }
    let reason = record.reason.map(Reason::as_str);
    match record.outcome {
        Outcome::Failed | Outcome::Partial => failed(db, context, of(lease), record.ended),
        Outcome::NeedsUser => {
            failing(db, lease.connection, None)?;
            if before.needs_user.as_deref() == reason {
                return Ok(());
            }
            note(db, context, HookKind::NeedsUser, of(lease), record.ended, &json!({ "reason": reason }))
        }
        Outcome::Synced | Outcome::Unchanged => {
            failing(db, lease.connection, None)?;
            if !before.failing && before.needs_user.is_none() {
                return Ok(());
            }
            let from = if before.failing { "failed" } else { "needs_user" };
            note(db, context, HookKind::Recovered, of(lease), record.ended, &json!({ "from": from }))
        }
        // Tink's own limit, or no end at all, says nothing about the connection.
        Outcome::RateLimited | Outcome::Interrupted | Outcome::Skipped => Ok(()),
    }
}

fn of(lease: &Lease) -> (i64, Option<i64>) {
    (lease.run, Some(lease.connection))
}

/// Remembers which run told that a connection fails.
fn failing(db: &Connection, connection: i64, run: Option<i64>) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE ts_connections SET failing_run = ?2 WHERE key = ?1 AND failing_run IS NOT ?2")?
        .execute(params![connection, run])?;
    Ok(())
}

/// Tells of a failure as the run record has it, unless it was told before or is retracted.
fn failed(
    db: &Connection,
    context: &Context,
    place: (i64, Option<i64>),
    at: Timestamp,
) -> rusqlite::Result<()> {
    let mut first = db.prepare_cached(
        "SELECT x.outcome, x.reason FROM ts_run_connections x JOIN ts_connections c ON c.key = x.connection
         WHERE x.run = ?1 AND x.connection = ?2 AND x.outcome IN ('failed', 'partial')
           AND c.failing_run IS NULL AND c.failures > 0",
    )?;
    let found: Option<(String, Option<String>)> =
        first.query_row(params![place.0, place.1], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (Some((outcome, reason)), (run, Some(connection))) = (found, place) else { return Ok(()) };
    failing(db, connection, Some(run))?;
    let details = json!({ "outcome": outcome, "reason": reason });
    note(db, context, HookKind::FirstFailure, place, at, &details)
}

/// Connections of a run that were to be tried again and were not: their first outcome stands.
pub fn close_retries(db: &Connection, context: &Context, run: i64) -> rusqlite::Result<()> {
    let mut left = db.prepare(
        "SELECT connection, started_at + coalesce(duration_ms, 0) FROM ts_run_connections
         WHERE run = ?1 AND again <> 0",
    )?;
    let left = left.query_map([run], |row| Ok((row.get(0)?, row.get::<_, Millis>(1)?)))?;
    for row in left {
        let (connection, ended) = row?;
        failed(db, context, (run, Some(connection)), ended.0)?;
    }
    Ok(())
}

/// What this run told of these connections' failures was none of theirs. `connections` is a query over the
/// run, `?1`.
pub fn retract_failures(db: &Connection, run: i64, connections: &str) -> rusqlite::Result<()> {
    let events = format!(
        "DELETE FROM ts_events WHERE run = ?1 AND kind = 'first-failure' AND connection IN ({connections})"
    );
    db.execute(&events, [run])?;
    let told = format!(
        "UPDATE ts_connections SET failing_run = NULL WHERE failing_run = ?1 AND key IN ({connections})"
    );
    db.execute(&told, [run])?;
    Ok(())
}

/// A pass ended as a failure.
pub fn pass_failed(
    db: &Connection,
    context: &Context,
    run: i64,
    exit_code: u8,
    at: Timestamp,
) -> rusqlite::Result<()> {
    note(db, context, HookKind::PassFailed, (run, None), at, &json!({ "exit_code": exit_code }))
}

/// Drops what nobody will ever fetch: the oldest beyond the limit, and events of runs and connections that
/// are not known any more.
pub fn tidy(db: &Connection) -> rusqlite::Result<()> {
    let mut oldest = db.prepare(
        "DELETE FROM ts_events WHERE kind = ?1 AND key <= (
             SELECT key FROM ts_events WHERE kind = ?1 ORDER BY key DESC LIMIT 1 OFFSET ?2)",
    )?;
    for kind in HookKind::ALL {
        oldest.execute(params![kind.as_str(), MOST])?;
    }
    db.execute(
        "DELETE FROM ts_events WHERE run NOT IN (SELECT key FROM ts_runs)
            OR connection NOT IN (SELECT key FROM ts_connections)",
        [],
    )?;
    Ok(())
}

/// The next events of runs that have ended, oldest first, each with its key; without those of the kinds `except`.
pub fn outgoing(db: &Connection, limit: u32, except: &[HookKind]) -> rusqlite::Result<Vec<Outgoing>> {
    let except = except.iter().map(|kind| kind.as_str()).collect::<Value>().to_string();
    let mut events = db.prepare_cached(
        "SELECT e.key, e.kind, e.at, e.details, r.run_id, c.connection_id, c.user_id,
                coalesce(e.details ->> 'added' <= e.details ->> 'replaced', 0)
         FROM ts_events e JOIN ts_runs r ON r.key = e.run LEFT JOIN ts_connections c ON c.key = e.connection
         WHERE r.finished_at IS NOT NULL AND e.kind NOT IN (SELECT value FROM json_each(?2))
         ORDER BY e.key LIMIT ?1",
    )?;
    let rows = events.query_map(params![limit, except], |row| {
        let (key, kind): (i64, String) = (row.get(0)?, row.get(1)?);
        let run: String = row.get(4)?;
        let event = |kind| -> rusqlite::Result<HookEvent> {
            Ok(HookEvent {
                kind,
                id: format!("{run}-{key:010}"),
                at: row.get::<_, Millis>(2)?.0,
                details: row.get(3)?,
                connection_id: row.get::<_, Option<String>>(5)?.map(ConnectionId::from),
                user_id: row.get::<_, Option<String>>(6)?.map(UserId::from),
                run_id: RunId::from(run.clone()),
            })
        };
        // Rows that only took the place of others are no news.
        let is_news = !row.get::<_, bool>(7)?;
        let event = HookKind::parse(&kind).filter(|_| is_news).map(event).transpose()?;
        Ok(Outgoing { key, event })
    })?;
    rows.collect()
}

/// Forgets events that are out.
pub fn forget(db: &Connection, keys: &[i64]) -> rusqlite::Result<()> {
    let keys = keys.iter().copied().collect::<Value>().to_string();
    db.execute("DELETE FROM ts_events WHERE key IN (SELECT value FROM json_each(?1))", [keys])?;
    Ok(())
}

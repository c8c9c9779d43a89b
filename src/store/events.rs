//! The outbox of hooks: an event is written in the transaction that makes it true, and stays until it is a
//! file of the spool. Decides what is news. Touches no file but the store, and starts no program.

use jiff::Timestamp;
use serde::Serialize;

use super::engine::value::{Millis, json_list, json_numbers};
use super::engine::{Context, Db, Fail, Row, values};
use crate::domain::hook::{HookEvent, HookKind};
use crate::domain::ids::{ConnectionId, RunId, UserId};
use crate::domain::outcome::{Outcome, Reason};
use crate::store::types::{ConsentWarning, Lease, Outgoing, Record, Removal, RowCommit};

/// At most this many events of one kind wait.
const MOST: i64 = 10_000;

/// What was reported about a connection before.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    /// Whether its failure was reported.
    failing: bool,
    /// Why it needed its user, if it did.
    needs_user: Option<String>,
}

const BEFORE: &str = "SELECT failing_run, needs_user FROM ts_connections WHERE key = ?1";

impl Before {
    pub(super) fn of(db: Db<'_>, connection: i64) -> Result<Self, Fail> {
        let read = |row: Row<'_>| {
            Ok(Self { failing: row.get::<Option<i64>>(0)?.is_some(), needs_user: row.get(1)? })
        };
        Ok(db.one(BEFORE, values![connection], read)?.unwrap_or_default())
    }

    /// Prefetches the query of [`Self::of`] in the next round trip.
    pub(super) fn ahead(db: Db<'_>, connection: i64) -> Result<(), Fail> {
        db.ahead(BEFORE, values![connection])
    }

    /// Takes note that no failure is reported any more.
    fn no_longer_fails(&self, db: Db<'_>, connection: i64) -> Result<(), Fail> {
        if self.failing {
            db.run("UPDATE ts_connections SET failing_run = NULL WHERE key = ?1", values![connection])?;
        }
        Ok(())
    }
}

/// The details of an event, by its kind.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum EventDetails<'a> {
    ConsentSoon { credentials_id: &'a str, provider: Option<String>, days_left: i64 },
    NeedsUser { reason: Option<&'a str> },
    Recovered { from: &'static str },
    FirstFailure { outcome: String, reason: Option<String> },
    PassFailed { exit_code: u8 },
}

impl EventDetails<'_> {
    const fn kind(&self) -> HookKind {
        match self {
            Self::ConsentSoon { .. } => HookKind::ConsentSoon,
            Self::NeedsUser { .. } => HookKind::NeedsUser,
            Self::Recovered { .. } => HookKind::Recovered,
            Self::FirstFailure { .. } => HookKind::FirstFailure,
            Self::PassFailed { .. } => HookKind::PassFailed,
        }
    }
}

/// Writes one event, if a hook listens to its kind.
fn note(
    db: Db<'_>,
    context: &Context,
    (run, connection): (i64, Option<i64>),
    at: Timestamp,
    details: &EventDetails<'_>,
) -> Result<(), Fail> {
    let kind = details.kind();
    if !context.listened.get().contains(&kind) {
        return Ok(());
    }
    // Numbers and texts can always be written as JSON.
    let details = serde_json::to_string(details).unwrap_or_default();
    db.run(
        "INSERT INTO ts_events (kind, run, connection, at, details) VALUES (?1, ?2, ?3, ?4, ?5)",
        values![kind.as_str(), run, connection, Millis(at), details],
    )
}

/// Records that rows were written; all commits of a connection in a run are one event.
pub(super) fn committed(
    db: Db<'_>,
    context: &Context,
    lease: &Lease,
    commit: &RowCommit,
) -> Result<(), Fail> {
    let counts = commit.changes.counts();
    let listened = context.listened.get().contains(&HookKind::NewTransactions);
    if !listened || counts.added + counts.updated + counts.removed == 0 {
        return Ok(());
    }
    db.run(
        "INSERT INTO ts_events (kind, run, connection, at, details)
         VALUES ('new-transactions', ?1, ?2, ?3, 
                 '{\"added\":' || CAST(?4 AS BIGINT) || ',\"updated\":' || CAST(?5 AS BIGINT)
                 || ',\"removed\":' || CAST(?6 AS BIGINT) || ',\"replaced\":' || CAST(?7 AS BIGINT) || '}')
         ON CONFLICT (run, connection) WHERE kind = 'new-transactions' DO UPDATE SET at = excluded.at, details =
                 '{\"added\":' || (CAST(json_extract(ts_events.details, '$.added') AS BIGINT) + CAST(?4 AS BIGINT))
                 || ',\"updated\":' || (CAST(json_extract(ts_events.details, '$.updated') AS BIGINT) + CAST(?5 AS BIGINT))
                 || ',\"removed\":' || (CAST(json_extract(ts_events.details, '$.removed') AS BIGINT) + CAST(?6 AS BIGINT))
                 || ',\"replaced\":' || (CAST(json_extract(ts_events.details, '$.replaced') AS BIGINT) + CAST(?7 AS BIGINT)) || '}'",
        values![
            lease.run,
            lease.connection,
            Millis(commit.now),
            counts.added.cast_signed(),
            counts.updated.cast_signed(),
            counts.removed.cast_signed(),
            replaced(db, lease.run, commit)?,
        ],
    )?;
    Ok(())
}

/// The number of rows that are new in this run and only replaced another.
fn replaced(db: Db<'_>, run: i64, commit: &RowCommit) -> Result<i64, Fail> {
    let new = "SELECT count(*) FROM ts_transactions WHERE account = ?1 AND transaction_id = ?2 AND first_seen_run = ?3";
    let mut replaced = 0;
    for (_, how) in &commit.changes.remove {
        if let Removal::Replaced { by, .. } = how {
            replaced += db.value::<i64>(new, values![commit.account, by, run])?;
        }
    }
    Ok(replaced)
}

/// Records an event if a consent reached a step of the warnings.
pub(super) fn consent_ends(
    db: Db<'_>,
    context: &Context,
    lease: &Lease,
    warning: &ConsentWarning,
    at: Timestamp,
) -> Result<(), Fail> {
    let Some(due) = warning.due else { return Ok(()) };
    let provider = "SELECT provider FROM ts_consents WHERE connection = ?1 AND credentials_id = ?2";
    let provider: Option<String> = db
        .one(provider, values![lease.connection, warning.credentials_id.as_str()], |row| row.get(0))?
        .flatten();
    let credentials_id = warning.credentials_id.as_str();
    let details = EventDetails::ConsentSoon { credentials_id, provider, days_left: due.days_left };
    note(db, context, of(lease), at, &details)
}

/// Records the event of an attempt's final outcome, if it is news; `before` is what was reported earlier.
pub(super) fn recorded(
    db: Db<'_>,
    context: &Context,
    lease: &Lease,
    record: &Record,
    before: &Before,
) -> Result<(), Fail> {
    if record.again {
        return Ok(());
    }
    let reason = record.reason.map(Reason::as_str);
    match record.outcome {
        Outcome::Failed | Outcome::Partial => failed(db, context, of(lease), record.ended),
        Outcome::NeedsUser => {
            before.no_longer_fails(db, lease.connection)?;
            if before.needs_user.as_deref() == reason {
                return Ok(());
            }
            note(db, context, of(lease), record.ended, &EventDetails::NeedsUser { reason })
        }
        Outcome::Synced | Outcome::Unchanged => {
            before.no_longer_fails(db, lease.connection)?;
            if !before.failing && before.needs_user.is_none() {
                return Ok(());
            }
            let from = if before.failing { "failed" } else { "needs_user" };
            note(db, context, of(lease), record.ended, &EventDetails::Recovered { from })
        }
        // A rate limit, or an attempt without an end, is no sign of the connection's state.
        Outcome::RateLimited | Outcome::Interrupted | Outcome::Skipped => Ok(()),
    }
}

fn of(lease: &Lease) -> (i64, Option<i64>) {
    (lease.run, Some(lease.connection))
}

/// Reports the failure in the run record, unless it was reported before or is retracted.
fn failed(db: Db<'_>, context: &Context, place: (i64, Option<i64>), at: Timestamp) -> Result<(), Fail> {
    let first =
        "SELECT x.outcome, x.reason FROM ts_run_connections x JOIN ts_connections c ON c.key = x.connection
         WHERE x.run = ?1 AND x.connection = ?2 AND x.outcome IN ('failed', 'partial')
           AND c.failing_run IS NULL AND c.failures > 0";
    let found: Option<(String, Option<String>)> =
        db.one(first, values![place.0, place.1], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some((outcome, reason)), (run, Some(connection))) = (found, place) else { return Ok(()) };
    db.run("UPDATE ts_connections SET failing_run = ?2 WHERE key = ?1", values![connection, run])?;
    note(db, context, place, at, &EventDetails::FirstFailure { outcome, reason })
}

/// Reports the failures of connections that were to be tried again and were not: their first outcome is
/// final.
pub(super) fn close_retries(db: Db<'_>, context: &Context, run: i64) -> Result<(), Fail> {
    let left = "SELECT connection, started_at + coalesce(duration_ms, 0) FROM ts_run_connections
         WHERE run = ?1 AND again <> 0";
    let left: Vec<(i64, Millis)> = db.all(left, values![run], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (connection, ended) in left {
        failed(db, context, (run, Some(connection)), ended.0)?;
    }
    Ok(())
}

/// Retracts the failures that this run reported for these connections, which did not cause them.
/// `connections` is a query over the run, `?1`.
pub(super) fn retract_failures(db: Db<'_>, run: i64, connections: &str) -> Result<(), Fail> {
    let events = format!(
        "DELETE FROM ts_events WHERE run = ?1 AND kind = 'first-failure' AND connection IN ({connections})"
    );
    db.run(&events, values![run])?;
    let told = format!(
        "UPDATE ts_connections SET failing_run = NULL WHERE failing_run = ?1 AND key IN ({connections})"
    );
    db.run(&told, values![run])?;
    Ok(())
}

/// Reports that a pass failed.
pub(super) fn pass_failed(
    db: Db<'_>,
    context: &Context,
    run: i64,
    exit_code: u8,
    at: Timestamp,
) -> Result<(), Fail> {
    note(db, context, (run, None), at, &EventDetails::PassFailed { exit_code })
}

/// Deletes events that will never be delivered: the oldest beyond the limit, and those of runs and
/// connections that no longer exist.
pub(super) fn tidy(db: Db<'_>) -> Result<(), Fail> {
    let oldest = "DELETE FROM ts_events WHERE kind = ?1 AND key <= (
             SELECT key FROM ts_events WHERE kind = ?1 ORDER BY key DESC LIMIT 1 OFFSET ?2)";
    for kind in HookKind::ALL {
        db.run(oldest, values![kind.as_str(), MOST])?;
    }
    db.run(
        "DELETE FROM ts_events WHERE run NOT IN (SELECT key FROM ts_runs)
            OR connection NOT IN (SELECT key FROM ts_connections)",
        values![],
    )?;
    Ok(())
}

/// The next events of finished runs, oldest first, each with its key; omits the kinds in `except`.
pub(super) fn outgoing(db: Db<'_>, limit: u32, except: &[HookKind]) -> Result<Vec<Outgoing>, Fail> {
    let except = json_list(except.iter().map(|kind| kind.as_str()));
    let events = "SELECT e.key, e.kind, e.at, e.details, r.run_id, c.connection_id, c.user_id,
                coalesce(CAST(json_extract(e.details, '$.added') AS BIGINT)
                         <= CAST(json_extract(e.details, '$.replaced') AS BIGINT), FALSE)
         FROM ts_events e JOIN ts_runs r ON r.key = e.run LEFT JOIN ts_connections c ON c.key = e.connection
         WHERE r.finished_at IS NOT NULL AND e.kind NOT IN (SELECT value FROM json_each(?2))
         ORDER BY e.key LIMIT ?1";
    db.all(events, values![limit, except], |row| {
        let (key, kind): (i64, String) = (row.get(0)?, row.get(1)?);
        let run: String = row.get(4)?;
        let event = |kind| -> Result<HookEvent, Fail> {
            Ok(HookEvent {
                kind,
                id: format!("{run}-{key:010}"),
                at: row.get::<Millis>(2)?.0,
                details: row.get(3)?,
                connection_id: row.get::<Option<String>>(5)?.map(ConnectionId::from),
                user_id: row.get::<Option<String>>(6)?.map(UserId::from),
                run_id: RunId::from(run.clone()),
            })
        };
        // Not news if no row was added, or only rows that replaced others.
        let is_news = !row.get::<bool>(7)?;
        let event = HookKind::parse(&kind).filter(|_| is_news).map(event).transpose()?;
        Ok(Outgoing { key, event })
    })
}

/// Deletes events that were delivered.
pub(super) fn forget(db: Db<'_>, keys: &[i64]) -> Result<(), Fail> {
    db.run(
        "DELETE FROM ts_events WHERE key IN (SELECT CAST(value AS BIGINT) FROM json_each(?1))",
        values![json_numbers(keys.iter().copied())],
    )
}

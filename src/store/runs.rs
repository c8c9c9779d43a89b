//! Runs and their records, from registration to end. `liveness` determines which runs are alive.

use jiff::{SignedDuration, Timestamp};

use super::engine::value::{Millis, json_numbers, optional_text, tink_user_columns, unsigned};
use super::engine::{Context, Db, Fail, Params, Row, ToValue as _, Value, named, values};
use super::liveness;
use super::tokens;
use super::{balances, events, owners};
use crate::domain::cause::Cause;
use crate::domain::connection::TinkUser;
use crate::domain::event::{BankTrouble, Finished};
use crate::domain::ids::ConnectionId;
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::failpoint;
use crate::store::types::{Lease, NewRun, Plan, Record, Run, RunEnd, RunTotals};

/// The longest time from the start of a process to the registration of its run, which may wait for the store.
const LONGEST_START: SignedDuration = SignedDuration::from_hours(1);

/// An attempt by an overlapping run that is older than this is no reason to leave a connection alone.
const LONGEST_OVERLAP: SignedDuration = SignedDuration::from_hours(6);

/// The keys of runs that were at work after the time `?1`: those that have not ended, those that finished,
/// and those whose process died, each by its own index. Reads the store itself.
pub(super) const RECENT: &str = "SELECT key FROM main.ts_runs WHERE finished_at IS NULL
    UNION ALL SELECT key FROM main.ts_runs WHERE exit_code IS NOT NULL AND finished_at > ?1
    UNION ALL SELECT key FROM main.ts_runs WHERE exit_code IS NULL AND finished_at > ?1";

/// The column of the pass that ended last, among those whose exit code meets the condition. By the index of starts:
/// the one that began last, and those that began in the day before it, since they may have taken longer.
pub(super) fn pass_that_ended_last(column: &str, exit_code: &str) -> String {
    format!(
        "SELECT {column} FROM ts_runs WHERE on_demand = 0 AND exit_code {exit_code} AND started_at > (
             SELECT started_at - 86400000 FROM ts_runs WHERE on_demand = 0 AND exit_code {exit_code}
             ORDER BY started_at DESC LIMIT 1)
         ORDER BY finished_at DESC LIMIT 1"
    )
}

/// Registers the run, and releases what dead runs left behind.
pub(super) fn begin(db: Db<'_>, context: &Context, new: &NewRun) -> Result<Run, Fail> {
    let id = new.run_id.as_str();
    failpoint::around("lock the run", || liveness::hold(context, id)).map_err(|e| {
        let file = liveness::lock_path(&context.path, id);
        Fail::Unusable { detail: format!("cannot lock {}: {e}", file.display()), source: Some(Cause::of(e)) }
    })?;
    liveness::sweep(db, context, new.started_at)?;
    tokens::give_up(db, new.started_at)?;
    events::tidy(db)?;
    // Runs that overlap this process share one cohort; what one of them attempted, the others leave alone. A
    // dead run (ended without an exit code, or silent) is not part of it: its connections are free. Neither is a run
    // that ends long after now: its clock jumped, and no run should wait for that time.
    let latest = new.process_started.saturating_add(LONGEST_START).unwrap_or(Timestamp::MAX);
    let oldest = format!(
        "SELECT min(began) FROM (
             SELECT min(started_at) AS began FROM ts_runs r WHERE {}
             UNION ALL
             SELECT min(started_at) FROM ts_runs WHERE exit_code IS NOT NULL AND finished_at > ?1 AND finished_at <= ?2) r",
        liveness::may_be_at_work(db)
    );
    let oldest: Option<Millis> = db.value(&oldest, values![Millis(new.process_started), Millis(latest)])?;
    // Hosts that overlap endlessly do not push it back endlessly.
    let earliest = new.process_started.saturating_sub(LONGEST_OVERLAP).unwrap_or(Timestamp::MIN);
    let cohort = oldest.map_or(new.process_started, |m| m.0.clamp(earliest, new.process_started));
    let insert = "INSERT INTO ts_runs (run_id, trigger, on_demand, host, version, started_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING key";
    let key = db.value(
        insert,
        values![id, new.trigger, new.on_demand, new.host, new.version, Millis(new.started_at)],
    )?;
    let audited = db.value("SELECT coalesce(max(key), 0) FROM ts_audit", values![])?;
    Ok(Run { key, id: new.run_id.clone(), cohort, audited })
}

/// Failures that are not a bank's fault, regardless of how many of its connections have them.
const NOT_THE_BANKS: &str =
    "'store', 'panic', 'lease_lost', 'source_row', 'tink_user_unknown', 'scope_missing', 'refresh_lost'";

/// Banks of which at least half of the run's connections, and at least `least`, failed for the same reason.
pub(super) fn troubled_banks(db: Db<'_>, run: i64, least: u64) -> Result<Vec<BankTrouble>, Fail> {
    let banks = format!(
        "WITH worked AS MATERIALIZED (
             SELECT DISTINCT s.provider, x.connection, CASE WHEN x.outcome IN ('failed', 'partial') AND x.reason NOT IN ({NOT_THE_BANKS}) THEN x.reason END AS reason
             FROM ts_run_connections x JOIN ts_consents s ON s.connection = x.connection
             WHERE x.run = ?1 AND x.outcome IS NOT NULL AND s.provider IS NOT NULL),
         reasons AS (SELECT provider, reason, count(*) AS failed FROM worked GROUP BY provider, reason)
         SELECT * FROM (
             SELECT provider, reason, failed, CAST(sum(failed) OVER (PARTITION BY provider) AS BIGINT) AS all_of_it FROM reasons) r
         WHERE reason IS NOT NULL AND failed >= ?2 AND failed * 2 >= all_of_it
         ORDER BY failed DESC, provider, reason",
    );
    let mut troubled = Vec::new();
    db.each(&banks, values![run, least], |row| {
        let reason: String = row.get("reason")?;
        let (provider, connections, of) = (row.get("provider")?, row.get("failed")?, row.get("all_of_it")?);
        let trouble =
            |reason| BankTrouble { provider, reason, connections: unsigned(connections), of: unsigned(of) };
        troubled.extend(Reason::parse(&reason).map(trouble));
        Ok(())
    })?;
    Ok(troubled)
}

/// Writes the outcome of one attempt and, if the lease is still ours, the connection's state and the release
/// of the lease. Returns `None` if the connection was forgotten meanwhile: then it counts as skipped.
pub(super) fn record(
    db: Db<'_>,
    context: &Context,
    lease: &Lease,
    record: &Record,
    ours: bool,
) -> Result<Option<Finished>, Fail> {
    let of_connection = connection_parameters(lease, record);
    if ours {
        events::Before::ahead(db, lease.connection)?;
        db.ahead(UPDATE_CONNECTION, Params::Named(&of_connection))?;
        balances::save_ahead(db, &record.judged)?;
    }
    let attempt = update_attempt(db, lease, record, ours)?;
    let mut state = None;
    if ours {
        let before = events::Before::of(db, lease.connection)?;
        state = db.one(UPDATE_CONNECTION, Params::Named(&of_connection), connection_state)?;
        balances::save(db, lease.run, &record.judged)?;
        for (account, hung) in &record.hung {
            db.run(
                "UPDATE ts_accounts SET hung_at = CASE WHEN ?2 THEN CAST(?3 AS BIGINT) END WHERE key = ?1",
                values![account, hung, Millis(record.ended)],
            )?;
        }
        note_stale(db, lease.connection, record.stale.as_deref())?;
        events::recorded(db, context, lease, record, &before)?;
    } else {
        let stands = "SELECT connection_id, failures, not_before FROM ts_connections WHERE key = ?1";
        state = db.one(stands, values![lease.connection], connection_state)?.or(state);
    }
    let finished = attempt.zip(state).map(|(attempt, state)| attempt.of(state));
    if finished.is_none() {
        context.then(Plan::exclude);
    }
    if context.rehearsal {
        db.unshadow(lease.connection)?;
    }
    Ok(finished)
}

/// Adds what an attempt did to the record of the run; `None` if that is gone. Without the lease an existing
/// outcome stays: it was written before, or the run was ended by others.
fn update_attempt(db: Db<'_>, lease: &Lease, record: &Record, ours: bool) -> Result<Option<Finished>, Fail> {
    let updated = db.one(
        "UPDATE ts_run_connections SET
            outcome = :outcome, reason = :reason, error = :error, request_id = :request_id, again = :again,
            duration_ms = coalesce(duration_ms, 0) + :duration, accounts = :accounts, fetched = :fetched,
            added = added + :added, updated = updated + :updated, removed = removed + :removed,
            quarantined = quarantined + :quarantined, requests = requests + :requests, retries = retries + :retries
         WHERE run = :run AND connection = :connection AND (:ours OR outcome IS NULL)
         RETURNING reason, outcome, user_id, error, request_id, started_at, duration_ms, accounts, fetched, added, updated,
            removed, quarantined, requests, retries",
        named! {
            ":ours": ours,
            ":run": lease.run, ":connection": lease.connection,
            ":outcome": record.outcome.as_str(), ":reason": record.reason.map(Reason::as_str),
            ":error": record.error, ":request_id": record.request_id, ":again": record.again,
            ":duration": i64::try_from(record.took.as_millis()).unwrap_or(i64::MAX),
            ":accounts": record.counts.accounts.cast_signed(), ":fetched": record.counts.fetched.cast_signed(),
            ":added": record.counts.added.cast_signed(), ":updated": record.counts.updated.cast_signed(),
            ":removed": record.counts.removed.cast_signed(), ":quarantined": record.counts.quarantined.cast_signed(),
            ":requests": record.counts.requests.cast_signed(), ":retries": record.counts.retries.cast_signed(),
        },
        attempt,
    )?;
    let stands = "SELECT * FROM ts_run_connections WHERE run = ?1 AND connection = ?2";
    match updated {
        None if !ours => db.one(stands, values![lease.run, lease.connection], attempt),
        updated => Ok(updated),
    }
}

/// A second attempt in the same run does not count as a second failure. One that was interrupted found nothing out:
/// what is known of the connection stays. A problem with its row is reported by every pass, and nothing is waited for.
const UPDATE_CONNECTION: &str = "UPDATE ts_connections SET
        last_success_at = CASE WHEN :success THEN :ended ELSE last_success_at END,
        last_success_began = CASE WHEN :success THEN :began ELSE last_success_began END,
        failures = CASE WHEN :success OR :needs_user THEN 0
                        WHEN :failure THEN failures + (SELECT CASE WHEN attempts = 1 THEN 1 ELSE 0 END FROM ts_run_connections
                                                       WHERE run = :run AND connection = :connection)
                        ELSE failures END,
        looks = CASE WHEN :interrupted THEN looks WHEN :without_data THEN looks + 1 ELSE 0 END,
        needs_user = CASE WHEN :needs_user THEN :reason WHEN :success THEN NULL ELSE needs_user END,
        not_before = CASE WHEN :success OR :needs_user OR problem IS NOT NULL THEN NULL WHEN :failure THEN :not_before ELSE not_before END,
        next_due = CASE WHEN problem IS NULL THEN CAST(:next_due AS BIGINT) END,
        last_outcome = CASE WHEN :interrupted THEN last_outcome ELSE :outcome END,
        last_reason = CASE WHEN :interrupted THEN last_reason ELSE :reason END,
        last_error = CASE WHEN :interrupted THEN last_error ELSE :error END,
        lease_run = NULL, lease_token = NULL, lease_until = NULL
    WHERE key = :connection RETURNING connection_id, failures, not_before";

/// The parameters of [`UPDATE_CONNECTION`].
fn connection_parameters<'r>(lease: &Lease, record: &'r Record) -> [(&'static str, Value<'r>); 14] {
    let optional = |at: Option<Timestamp>| at.map_or(Value::Null, Value::Millis);
    [
        (":connection", Value::Int(lease.connection)),
        (":run", Value::Int(lease.run)),
        (":without_data", Value::Bool(record.without_data)),
        (
            ":success",
            Value::Bool(
                matches!(record.outcome, Outcome::Synced | Outcome::Unchanged) && !record.without_data,
            ),
        ),
        (":needs_user", Value::Bool(record.outcome == Outcome::NeedsUser)),
        (":interrupted", Value::Bool(record.outcome == Outcome::Interrupted)),
        (
            ":failure",
            Value::Bool(matches!(record.outcome, Outcome::Partial | Outcome::Failed | Outcome::RateLimited)),
        ),
        (":outcome", optional_text(Some(record.outcome.as_str()))),
        (":reason", optional_text(record.reason.map(Reason::as_str))),
        (":error", record.error.to_value()),
        (":ended", Value::Millis(record.ended)),
        (":began", Value::Millis(record.began)),
        (":next_due", Value::Millis(record.next_due)),
        (":not_before", optional(record.not_before)),
    ]
}

/// The state of a connection after an attempt.
struct ConnectionState {
    id: ConnectionId,
    failures: u64,
    not_before: Option<Timestamp>,
}

fn connection_state(row: Row<'_>) -> Result<ConnectionState, Fail> {
    Ok(ConnectionState {
        id: row.get::<String>("connection_id")?.into(),
        failures: unsigned(row.get("failures")?),
        not_before: row.millis("not_before")?,
    })
}

impl Finished {
    fn of(self, state: ConnectionState) -> Self {
        let ConnectionState { id, failures, not_before } = state;
        Self { connection_id: id, failures, not_before, ..self }
    }
}

/// Records which accounts of the connection have stale data, so that each is reported once.
fn note_stale(db: Db<'_>, connection: i64, stale: Option<&[i64]>) -> Result<(), Fail> {
    match stale {
        None => Ok(()),
        // Nearly always; a list, though an empty one, would cost SQLite temporary tables.
        Some([]) => db.run(
            "UPDATE ts_accounts SET stale = 0 WHERE connection = ?1 AND stale <> 0",
            values![connection],
        ),
        Some(stale) => db.run(
            "UPDATE ts_accounts SET stale = 1 - stale
             WHERE connection = ?1 AND (stale <> 0) <> (key IN (SELECT CAST(value AS BIGINT) FROM json_each(?2)))",
            values![connection, json_numbers(stale.iter().copied())],
        ),
    }
}

const FINISHED: &str = "SELECT x.*, c.connection_id, c.failures, c.not_before FROM ts_run_connections x JOIN ts_connections c ON c.key = x.connection";

fn finished(row: Row<'_>) -> Result<Finished, Fail> {
    Ok(attempt(row)?.of(connection_state(row)?))
}

/// Reads an attempt from the record of a run; the connection's id is not part of it.
fn attempt(row: Row<'_>) -> Result<Finished, Fail> {
    let reason: Option<String> = row.get("reason")?;
    let outcome: Option<String> = row.get("outcome")?;
    Ok(Finished {
        connection_id: String::new().into(),
        user_id: row.get::<String>("user_id")?.into(),
        outcome: outcome.and_then(|text| Outcome::parse(&text)).unwrap_or(Outcome::Interrupted),
        reason: reason.and_then(|text| Reason::parse(&text)),
        error: row.get("error")?,
        request_id: row.get("request_id")?,
        started_at: row.get::<Millis>("started_at")?.0,
        duration_ms: unsigned(row.get::<Option<i64>>("duration_ms")?.unwrap_or_default()),
        counts: counts(row)?,
        failures: 0,
        not_before: None,
    })
}

fn counts(row: Row<'_>) -> Result<Counts, Fail> {
    let count = |column| row.get::<Option<i64>>(column).map(|n| unsigned(n.unwrap_or_default()));
    Ok(Counts {
        accounts: count("accounts")?,
        fetched: count("fetched")?,
        added: count("added")?,
        updated: count("updated")?,
        removed: count("removed")?,
        quarantined: count("quarantined")?,
        requests: count("requests")?,
        retries: count("retries")?,
    })
}

/// Closes connections that were to be tried again in this run and were not: their first outcome is final.
pub(super) fn close_retries(db: Db<'_>, context: &Context, run: i64) -> Result<Vec<Finished>, Fail> {
    events::close_retries(db, context, run)?;
    let left = &format!("{FINISHED} WHERE x.run = ?1 AND x.again <> 0");
    let left = db.all(left, values![run], finished)?;
    db.run("UPDATE ts_run_connections SET again = 0 WHERE run = ?1 AND again <> 0", values![run])?;
    Ok(left)
}

/// Undoes the failure that an outage, or a refusal of the client, caused for each connection.
pub(super) fn reset_failures(db: Db<'_>, run: i64) -> Result<(), Fail> {
    let met = "SELECT connection FROM ts_run_connections
         WHERE run = ?1 AND outcome IN ('failed', 'partial') AND reason IN ('network', 'timeout', 'http_5xx', 'http_4xx', 'scope_missing', 'malformed', 'too_large')";
    let reset = format!(
        "UPDATE ts_connections SET failures = max(failures - 1, 0), not_before = NULL
         WHERE last_attempt_run = ?1 AND key IN ({met})"
    );
    let reset = db.count(&reset, values![run])?;
    db.expect_changes(usize::try_from(reset).unwrap_or(usize::MAX))?;
    events::retract_failures(db, run, met)
}

/// Sums over the run by outcome.
pub(super) fn totals(db: Db<'_>, run: i64) -> Result<RunTotals, Fail> {
    let mut totals = RunTotals::default();
    let groups =
        "SELECT outcome, count(*) AS connections, sum(accounts) AS accounts, sum(fetched) AS fetched,
                sum(added) AS added, sum(updated) AS updated, sum(removed) AS removed,
                sum(quarantined) AS quarantined, sum(requests) AS requests, sum(retries) AS retries
         FROM ts_run_connections WHERE run = ?1 AND outcome IS NOT NULL GROUP BY outcome";
    db.each(groups, values![run], |row| {
        if let Some(outcome) = Outcome::parse(&row.get::<String>("outcome")?) {
            totals.outcomes.insert(outcome, unsigned(row.get("connections")?));
        }
        totals.counts += counts(row)?;
        Ok(())
    })?;
    Ok(totals)
}

/// Writes the end of the run, releases its leases and removes its lock.
pub(super) fn finish(db: Db<'_>, context: &Context, run: &Run, end: &RunEnd) -> Result<(), Fail> {
    let is_first = db.count(
        "UPDATE ts_runs SET finished_at = ?2, exit_code = ?3, totals = ?4 WHERE key = ?1 AND exit_code IS NULL",
        values![run.key, Millis(end.at), end.exit_code, end.totals],
    )? > 0;
    if end.pass_failed && is_first {
        events::pass_failed(db, context, run.key, end.exit_code, end.at)?;
    }
    db.run(
        "UPDATE ts_connections SET lease_run = NULL, lease_token = NULL, lease_until = NULL
         WHERE lease_run = ?1 AND key IN (SELECT connection FROM ts_run_connections WHERE run = ?1)",
        values![run.key],
    )?;
    if end.exit_code > 0 {
        // What it had claimed when it failed is free for runs that overlap with it.
        db.run(
            "UPDATE ts_run_connections SET outcome = 'interrupted', again = 0 WHERE run = ?1 AND outcome IS NULL",
            values![run.key],
        )?;
    }
    if let Some(Some(lock)) = context.run_locks.borrow_mut().remove(run.id.as_str()) {
        // The run is over in the store; a lock file that stays behind is never removed, but does no harm.
        let path = liveness::lock_path(&context.path, run.id.as_str());
        let _ = failpoint::around("unlock the run", || std::fs::remove_file(path));
        drop(lock);
    }
    Ok(())
}

/// The Tink user other than `except` whose connection worked most recently.
pub(super) fn probe_user(db: Db<'_>, except: Option<&TinkUser>) -> Result<Option<TinkUser>, Fail> {
    let (external, tink) = tink_user_columns(except);
    db.one(
        "SELECT external_user_id, tink_user_id FROM ts_connections
         WHERE last_success_at IS NOT NULL AND problem IS NULL AND (external_user_id, tink_user_id) IS DISTINCT FROM (?1, ?2)
         ORDER BY last_success_at DESC LIMIT 1",
        values![external, tink],
        owners::name,
    )
    .map(Option::flatten)
}

/// Copies what all connections share into a rehearsal's temporary tables.
pub(super) fn shadow_shared(db: Db<'_>, now: Timestamp) -> Result<(), Fail> {
    for table in ["ts_sequences", "ts_own_users", "ts_own_connections", "ts_connections"] {
        db.batch(&format!("INSERT INTO temp.{table} SELECT * FROM main.{table}"))?;
    }
    // Older attempts do not count for the quota.
    let day_ago = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
    db.run(
        &format!(
            "INSERT INTO temp.ts_run_connections
         SELECT x.* FROM main.ts_run_connections x WHERE x.run IN ({RECENT}) AND x.started_at > ?1"
        ),
        values![Millis(day_ago)],
    )?;
    shadow_runs(db, day_ago)
}

/// Copies the runs that a run looks at: those that have not ended or may overlap with it, the last one that
/// attempted each connection, and the newest, so that its key is not used again.
fn shadow_runs(db: Db<'_>, since: Timestamp) -> Result<(), Fail> {
    // UNION ALL: to remove duplicates, SQLite would walk through all runs by key.
    db.run(
        &format!(
            "INSERT INTO temp.ts_runs SELECT * FROM main.ts_runs WHERE key IN (
                 {RECENT}
                 UNION ALL SELECT last_attempt_run FROM main.ts_connections
                 UNION ALL SELECT max(key) FROM main.ts_runs)"
        ),
        values![Millis(since)],
    )
}

#[cfg(test)]
mod cost;

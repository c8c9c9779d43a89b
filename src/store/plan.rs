//! The plan: which connections are due, in which order, and why the others are not. The reasons are one SQL
//! expression, used by the plan and by every claim.

mod claims;

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::engine::fail::corrupt;
use super::engine::value::{Millis, json_list, json_numbers, unsigned};
use super::engine::{Context, Db, Fail, Params, Row, Value, values};
use super::liveness;
use crate::domain::ids::{ConnectionId, UserId};
use crate::domain::outcome::Reason;
use crate::store::types::{Plan, PlanCounts, PlanRules, Planned, Run, Selection, Skipped};
pub(super) use claims::{claim, claim_again};

/// A back-off or a rest is at most this far ahead; anything beyond comes from a clock that was wrong.
const HORIZON: SignedDuration = SignedDuration::from_hours(25);

/// Why connection `c` is not due; NULL if it is. Parameters: see [`PlanParams`]. A problem with a row of the
/// source view is reported in every pass: finding it costs no request.
const REASON: &str = "CASE
    WHEN c.refused = 0 THEN 'disabled'
    WHEN c.refused IS NULL AND c.enabled = 0 AND NOT (:force AND :named) THEN CASE WHEN c.gone_at IS NULL THEN 'disabled' ELSE 'gone' END
    WHEN c.refused IS NULL AND (c.entitled = 0 OR c.entitled_until <= :now) THEN 'not_entitled'
    WHEN {LEASED} THEN 'leased'
    WHEN c.last_attempt_run = :run AND NOT :again THEN 'leased'
    WHEN NOT :named AND c.last_attempt_at BETWEEN :cohort AND :now AND c.last_attempt_run <> :run
         AND NOT EXISTS (SELECT 1 FROM ts_run_connections i
                         WHERE i.run = c.last_attempt_run AND i.connection = c.key AND i.outcome = 'interrupted')
         AND EXISTS (SELECT 1 FROM ts_runs r WHERE r.key = c.last_attempt_run AND
                     (r.finished_at IS NULL OR r.exit_code IS NOT NULL)) THEN 'leased'
    WHEN c.problem IS NOT NULL THEN NULL
    WHEN NOT :force AND NOT :again AND c.not_before > :now AND c.not_before < :horizon THEN 'not_before'
    WHEN NOT :named AND c.last_success_began > :rest AND c.last_success_began <= :now
         AND c.failures = 0 AND c.needs_user IS NULL THEN 'recent'
    WHEN {USED} >= :quota THEN 'quota'
    END";

/// The attempts on all connections of the user of connection `c` that count for the quota.
const USED: &str = "(SELECT coalesce(sum(attempts), 0) FROM ts_run_connections q
    WHERE substr(q.user_id, 1, 200) = substr(c.user_id, 1, 200) AND q.user_id = c.user_id AND {COUNTED})";

/// The condition that an attempt `q` counts for the quota.
pub(super) const COUNTED: &str =
    "q.started_at > :day_ago AND q.started_at < :horizon AND q.reason IS DISTINCT FROM 'source_row'";

/// [`USED`] with [`COUNTED`] filled in.
fn used() -> String {
    USED.replace("{COUNTED}", COUNTED)
}

/// The end of what counts for the quota of a day that began at `day_ago`.
pub(super) fn horizon(day_ago: Timestamp) -> Timestamp {
    day_ago.saturating_add(SignedDuration::from_hours(24) + HORIZON).unwrap_or(Timestamp::MAX)
}

/// [`REASON`] with [`USED`] and the engine's condition for a connection that a run holds filled in.
fn reason_of(db: Db<'_>) -> String {
    REASON.replace("{USED}", &used()).replace("{LEASED}", liveness::leased(db))
}

/// Whether connection `c` is named by id or by user; each name is looked up, regardless of the number of
/// connections.
const NAMED: &str = "c.key IN (
    SELECT key FROM ts_connections WHERE connection_id IN (SELECT value FROM json_each(:connections))
    UNION ALL SELECT key FROM ts_connections WHERE user_id IN (SELECT value FROM json_each(:users))
    UNION ALL SELECT key FROM ts_connections WHERE refused_user IN (SELECT value FROM json_each(:users)))";

/// The parameters of [`REASON`] and [`NAMED`], and those of the statement around them.
struct PlanParams {
    values: Vec<(&'static str, Value<'static>)>,
    named: bool,
    again: bool,
    run: i64,
    quota: u64,
    taking: HashMap<i64, i64>,
}

impl PlanParams {
    fn new(run: &Run, rules: &PlanRules) -> Self {
        let back = |by: SignedDuration| rules.now.saturating_sub(by).unwrap_or(Timestamp::MIN);
        let rest = SignedDuration::try_from(rules.min_interval).unwrap_or(SignedDuration::MAX);
        let horizon = rules.now.saturating_add(HORIZON).unwrap_or(Timestamp::MAX);
        let named = !rules.selection.is_all();
        let list = |ids: String| Value::Text(ids.into());
        let values = vec![
            (":run", Value::Int(run.key)),
            (":cohort", Value::Millis(run.cohort)),
            (":now", Value::Millis(rules.now)),
            (":horizon", Value::Millis(horizon)),
            (":rest", Value::Millis(back(rest))),
            (":day_ago", Value::Millis(back(SignedDuration::from_hours(24)))),
            (":quota", Value::Int(rules.quota.into())),
            (":force", Value::Bool(rules.force)),
            (":named", Value::Bool(named)),
            (":again", Value::Bool(false)),
            (":connections", list(json_list(rules.selection.connections.iter().map(ConnectionId::as_str)))),
            (":users", list(json_list(rules.selection.users.iter().map(UserId::as_str)))),
        ];
        Self { values, named, again: false, run: run.key, quota: rules.quota.into(), taking: HashMap::new() }
    }

    /// Adds a parameter, or replaces the value of one.
    fn with(mut self, name: &'static str, value: Value<'static>) -> Self {
        self.values.retain(|(known, _)| *known != name);
        self.values.push((name, value));
        self
    }

    /// Whether a connection's lease is one that this run was taking.
    fn is_taken(&self, connection: i64, lease_run: Option<i64>, token: Option<i64>) -> bool {
        lease_run == Some(self.run) && token.is_some() && self.taking.get(&connection).copied() == token
    }

    fn params_with<'v>(&'v self, name: &'static str, value: Value<'v>) -> Vec<(&'static str, Value<'v>)> {
        self.values.iter().cloned().chain([(name, value)]).collect()
    }

    /// The condition that selects the connections of the run.
    const fn selected(&self) -> &'static str {
        if self.named { NAMED } else { "TRUE" }
    }

    fn params(&self) -> Params<'_, 'static> {
        Params::Named(&self.values)
    }
}

/// Ids and users in the selection that no connection has.
pub(super) fn unknown(db: Db<'_>, selection: &Selection) -> Result<Vec<String>, Fail> {
    let mut unknown = Vec::new();
    let mut find = |which: &str, id: &str| -> Result<(), Fail> {
        let sql = format!("SELECT 1 FROM ts_connections WHERE {which} LIMIT 1");
        if db.one(&sql, values![id], |_| Ok(()))?.is_none() {
            unknown.push(id.to_owned());
        }
        Ok(())
    };
    for id in &selection.connections {
        find("connection_id = ?1", id.as_str())?;
    }
    for id in &selection.users {
        find("user_id = ?1 OR refused_user = ?1", id.as_str())?;
    }
    Ok(unknown)
}

/// Orders the due connections and counts the others; [`Plan::left_over`] counts the leased ones.
pub(super) fn plan(db: Db<'_>, context: &Context, run: &Run, rules: &PlanRules) -> Result<PlanCounts, Fail> {
    let asked = PlanParams::new(run, rules);
    let (selected, reason_of) = (asked.selected(), reason_of(db));
    let order = format!(
        "SELECT c.key, c.last_attempt_at FROM ts_connections c WHERE {selected} AND {reason_of} IS NULL
         ORDER BY c.failures > 0, CASE WHEN c.failures > 0 THEN coalesce(c.not_before, c.last_attempt_at) ELSE coalesce(c.last_success_at, c.last_attempt_at) END NULLS FIRST,
                  c.priority DESC, c.key"
    );
    let mut waiting = VecDeque::new();
    db.walk(&order, asked.params(), |row| {
        waiting.push_back(Planned { connection: row.get(0)?, attempted: row.get(1)?, reported: false });
        Ok(true)
    })?;
    let leased = format!("SELECT c.key FROM ts_connections c WHERE {selected} AND {reason_of} = 'leased'");
    let leased: Vec<i64> = db.column(&leased, asked.params())?;
    let (due, uncounted) = (waiting.len() as u64, leased.iter().copied().collect());
    context.plan.set(Plan { waiting, leased, uncounted, ..Plan::default() });
    let mut counts = PlanCounts { due, connections: due, ..PlanCounts::default() };
    let others = format!(
        "SELECT reason, count(*) FROM (SELECT {reason_of} AS reason FROM ts_connections c WHERE {selected}) r
         WHERE reason IS NOT NULL GROUP BY reason"
    );
    db.each(&others, asked.params(), |row| {
        let number = unsigned(row.get(1)?);
        counts.connections += number;
        let reason = reason(row)?;
        if reason != Reason::Leased {
            counts.skipped.insert(reason, number);
        }
        Ok(())
    })?;
    Ok(counts)
}

/// The reasons of connections that are not due, by key.
pub(super) fn reasons(db: Db<'_>, run: &Run, rules: &PlanRules) -> Result<HashMap<i64, Reason>, Fail> {
    let asked = PlanParams::new(run, rules);
    let sql = format!(
        "SELECT reason, key FROM (SELECT {} AS reason, c.key AS key FROM ts_connections c WHERE {}) r
         WHERE reason IS NOT NULL",
        reason_of(db),
        asked.selected()
    );
    let rows = &sql;
    db.all(rows, asked.params(), |row| Ok((row.get(1)?, reason(row)?)))
}

fn reason(row: Row<'_>) -> Result<Reason, Fail> {
    known_reason(&row.get::<String>(0)?)
}

fn known_reason(text: &str) -> Result<Reason, Fail> {
    Reason::parse(text).ok_or_else(|| corrupt(format!("unknown reason {text}")))
}

/// Connections that are not due, ordered by id.
pub(super) fn skipped(
    db: Db<'_>,
    run: &Run,
    rules: &PlanRules,
    after: Option<&Skipped>,
    limit: usize,
) -> Result<Vec<Skipped>, Fail> {
    let asked = PlanParams::new(run, rules);
    let sql = format!(
        "SELECT * FROM (SELECT {} AS reason, c.connection_id, c.user_id FROM ts_connections c
                        WHERE {} AND c.connection_id > :after ORDER BY c.connection_id) r
         WHERE reason IS NOT NULL LIMIT :limit",
        reason_of(db),
        asked.selected()
    );
    let after = after.map_or("", |skipped| skipped.connection_id.as_str()).to_owned();
    let limit = Value::Int(i64::try_from(limit).unwrap_or(i64::MAX));
    let asked = asked.with(":after", Value::Text(after.into())).with(":limit", limit);
    db.all(&sql, asked.params(), |row| {
        Ok(Skipped {
            reason: reason(row)?,
            connection_id: row.get::<String>(1)?.into(),
            user_id: row.get::<String>(2)?.into(),
        })
    })
}

/// Makes the rest of the plan wait until `until`; returns the number of planned connections.
pub(super) fn postpone(db: Db<'_>, context: &Context, run: i64, until: Timestamp) -> Result<u64, Fail> {
    let plan = context.plan.get();
    let waiting: Vec<i64> = plan.waiting.iter().map(|place| place.connection).collect();
    drop(plan);
    let wait = |which: &str| {
        format!(
            "UPDATE ts_connections SET not_before = max(coalesce(not_before, 0), ?1) WHERE key IN ({which})"
        )
    };
    db.expect_changes(waiting.len())?;
    let listed = wait("SELECT CAST(value AS BIGINT) FROM json_each(?2)");
    for some in waiting.chunks(1000) {
        db.run(&listed, values![Millis(until), json_numbers(some.iter().copied())])?;
    }
    let begun =
        wait("SELECT connection FROM ts_run_connections WHERE run = ?2 AND (again <> 0 OR outcome IS NULL)");
    db.run(&begun, values![Millis(until), run])?;
    let postponed = waiting.len() as u64;
    context.then(move |plan| {
        plan.waiting.clear();
        if postponed > 0 {
            *plan.skipped.entry(Reason::NotBefore).or_default() += postponed;
        }
    });
    Ok(postponed)
}

#[cfg(test)]
mod tests;

//! The plan and the claims: who is due, in which order, and why the
//! others are not. The reasons stand in one SQL expression, used by the plan and by every claim.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::engine::fail::corrupt;
use super::engine::value::{Millis, json_list, unsigned};
use super::engine::{Context, Db, Fail, Params, Row, Value, values};
use super::liveness;
use super::{mirror, owners};
use crate::domain::ids::{ConnectionId, UserId};
use crate::domain::outcome::Reason;
use crate::store::types::{Claim, Claims, Lease, LeftOver, PlanCounts, PlanRules, Run, Selection, Skipped};

/// A back-off or a rest can lie this far ahead at most; anything beyond comes from a clock that was wrong.
const HORIZON: SignedDuration = SignedDuration::from_hours(25);

/// Why connection `c` is not due; NULL if it is. Parameters: see [`Params`]. What is wrong with a row of the source
/// view is told in every pass: finding it out asks nobody for anything.
const REASON: &str = "CASE
    WHEN c.refused = 0 THEN 'disabled'
    WHEN c.refused IS NULL AND c.enabled = 0 AND NOT (:force AND :named) THEN CASE WHEN c.gone_at IS NULL THEN 'disabled' ELSE 'gone' END
    WHEN c.refused IS NULL AND (c.entitled = 0 OR c.entitled_until <= :now) THEN 'not_entitled'
    WHEN c.lease_token IS NOT NULL AND c.lease_until > :now THEN 'leased'
    WHEN c.last_attempt_run = :run AND NOT :again THEN 'leased'
    WHEN NOT :named AND c.last_attempt_at BETWEEN :cohort AND :now AND c.last_attempt_run <> :run
         AND c.last_outcome IS DISTINCT FROM 'interrupted'
         AND EXISTS (SELECT 1 FROM ts_runs r WHERE r.key = c.last_attempt_run AND
                     (r.finished_at IS NULL OR r.exit_code IS NOT NULL)) THEN 'leased'
    WHEN c.problem IS NOT NULL THEN NULL
    WHEN NOT :force AND NOT :again AND c.not_before > :now AND c.not_before < :horizon THEN 'not_before'
    WHEN NOT :named AND c.last_success_began > :rest AND c.last_success_began <= :now
         AND c.failures = 0 AND c.needs_user IS NULL THEN 'recent'
    WHEN (SELECT coalesce(sum(attempts), 0) FROM ts_run_connections q
          WHERE q.user_id = c.user_id AND q.started_at > :day_ago AND q.started_at < :horizon
            AND q.reason IS DISTINCT FROM 'source_row') >= :quota THEN 'quota'
    END";

/// Whether connection `c` is one of those named by id or by user; each is looked up, however many others there are.
const NAMED: &str = "c.key IN (
    SELECT key FROM ts_connections WHERE connection_id IN (SELECT value FROM json_each(:connections))
    UNION ALL SELECT key FROM ts_connections WHERE user_id IN (SELECT value FROM json_each(:users))
    UNION ALL SELECT key FROM ts_connections WHERE refused_user IN (SELECT value FROM json_each(:users)))";

/// The parameters of [`REASON`] and [`NAMED`], and those of the statement around them.
struct PlanParams {
    values: Vec<(&'static str, Value<'static>)>,
    named: bool,
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
        Self { values, named }
    }

    /// With another parameter, or another value of one.
    fn with(mut self, name: &'static str, value: Value<'static>) -> Self {
        self.values.retain(|(known, _)| *known != name);
        self.values.push((name, value));
        self
    }

    /// Which connections the run is about.
    const fn selected(&self) -> &'static str {
        if self.named { NAMED } else { "TRUE" }
    }

    fn params(&self) -> Params<'_, 'static> {
        Params::Named(&self.values)
    }
}

/// Ids and users of the selection that no connection has.
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

/// Writes the order of the due connections into a temporary table and counts the others; those that are
/// leased are counted by [`left_over`].
pub(super) fn plan(db: Db<'_>, run: &Run, rules: &PlanRules) -> Result<PlanCounts, Fail> {
    let asked = PlanParams::new(run, rules);
    let selected = asked.selected();
    // state: 0 waiting, 1 claimed, 2 found not due any more, for the reason beside it.
    db.batch(
        "DROP TABLE IF EXISTS temp.ts_plan;
         CREATE TEMP TABLE ts_plan (pos INTEGER PRIMARY KEY, connection INTEGER NOT NULL, attempted INTEGER,
                                    state INTEGER NOT NULL DEFAULT 0, reason TEXT)",
    )?;
    let order = format!(
        "INSERT INTO temp.ts_plan (connection, attempted)
         SELECT c.key, c.last_attempt_at FROM ts_connections c WHERE {selected} AND {REASON} IS NULL
         ORDER BY c.failures > 0, CASE WHEN c.failures > 0 THEN coalesce(c.not_before, c.last_attempt_at) ELSE coalesce(c.last_success_at, c.last_attempt_at) END NULLS FIRST,
                  c.priority DESC, c.key"
    );
    let due = db.count(&order, asked.params())?;
    // Those another run has may come free: see `adopt`.
    let leased = format!(
        "INSERT INTO temp.ts_plan (connection, attempted, state, reason)
         SELECT c.key, c.last_attempt_at, 2, 'leased' FROM ts_connections c WHERE {selected} AND {REASON} = 'leased'"
    );
    db.run(&leased, asked.params())?;
    // Without the first, each claim would walk over all that were claimed before.
    db.batch(
        "CREATE INDEX temp.ts_plan_waiting ON ts_plan (pos) WHERE state = 0;
         CREATE INDEX temp.ts_plan_connection ON ts_plan (connection)",
    )?;
    let mut counts = PlanCounts { due, connections: due, ..PlanCounts::default() };
    let others = format!(
        "SELECT reason, count(*) FROM (SELECT {REASON} AS reason FROM ts_connections c WHERE {selected})
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

/// Why connections are not due, by key.
pub(super) fn reasons(db: Db<'_>, run: &Run, rules: &PlanRules) -> Result<HashMap<i64, Reason>, Fail> {
    let asked = PlanParams::new(run, rules);
    let sql = format!(
        "SELECT reason, key FROM (SELECT {REASON} AS reason, c.key AS key FROM ts_connections c WHERE {})
         WHERE reason IS NOT NULL",
        asked.selected()
    );
    let rows = &sql;
    db.all(rows, asked.params(), |row| Ok((row.get(1)?, reason(row)?)))
}

fn reason(row: Row<'_>) -> Result<Reason, Fail> {
    let text: String = row.get(0)?;
    Reason::parse(&text).ok_or_else(|| corrupt(format!("unknown reason {text}")))
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
        "SELECT * FROM (SELECT {REASON} AS reason, c.connection_id, c.user_id FROM ts_connections c
                        WHERE {} AND c.connection_id > :after ORDER BY c.connection_id)
         WHERE reason IS NOT NULL LIMIT :limit",
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

/// The next planned connections: place in the plan, key, last attempt as planned.
fn waiting(db: Db<'_>, limit: usize) -> Result<Vec<(i64, i64, Option<i64>)>, Fail> {
    let waiting = "SELECT pos, connection, attempted FROM temp.ts_plan INDEXED BY ts_plan_waiting
         WHERE state = 0 ORDER BY pos LIMIT ?1";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    db.all(waiting, values![limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

/// Claims the next `limit` planned connections, looking at each again at this moment.
pub(super) fn claim(
    db: Db<'_>,
    context: &Context,
    run: &Run,
    rules: &PlanRules,
    limit: usize,
    lease_until: Timestamp,
) -> Result<Claims, Fail> {
    let mut next = waiting(db, limit)?;
    if next.is_empty() && adopt(db, context, run, rules)? {
        next = waiting(db, limit)?;
    }
    let mut claims = Claims { exhausted: next.is_empty(), ..Claims::default() };
    for (pos, connection, attempted) in next {
        let planned = Planned { connection, round: Round::First(attempted) };
        let (state, reason) = match claim_one(db, run, rules, &planned, lease_until)? {
            None => (2, Some(Reason::Disabled.as_str())),
            Some(Ok(claim)) => {
                claims.claims.push(claim);
                (1, None)
            }
            Some(Err(skipped)) => {
                let reason = skipped.reason;
                claims.skipped.push(skipped);
                (2, Some(reason.as_str()))
            }
        };
        db.run(
            "UPDATE temp.ts_plan SET state = ?2, reason = ?3 WHERE pos = ?1",
            values![pos, state, reason],
        )?;
    }
    shadow_claimed(db, context, &claims)?;
    Ok(claims)
}

/// Claims connections of this run that failed in a way that may have passed.
pub(super) fn claim_again(
    db: Db<'_>,
    context: &Context,
    run: &Run,
    rules: &PlanRules,
    limit: usize,
    lease_until: Timestamp,
) -> Result<Claims, Fail> {
    // again: 0 final, 1 to be tried again, 2 could not be claimed again (its first outcome stands).
    let waiting = "SELECT connection FROM ts_run_connections INDEXED BY ts_run_connections_again
         WHERE run = ?1 AND again = 1 LIMIT ?2";
    let again: Vec<i64> = db.column(waiting, values![run.key, limit])?;
    let mut claims = Claims { exhausted: again.is_empty(), ..Claims::default() };
    for connection in again {
        match claim_one(db, run, rules, &Planned { connection, round: Round::Second }, lease_until)? {
            Some(Ok(claim)) => claims.claims.push(claim),
            None | Some(Err(_)) => {
                db.run(
                    "UPDATE ts_run_connections SET again = 2 WHERE run = ?1 AND connection = ?2",
                    values![run.key, connection],
                )?;
            }
        }
    }
    shadow_claimed(db, context, &claims)?;
    Ok(claims)
}

fn shadow_claimed(db: Db<'_>, context: &Context, claims: &Claims) -> Result<(), Fail> {
    if context.rehearsal {
        for claim in &claims.claims {
            mirror::shadow(db, claim.lease.connection)?;
        }
    }
    Ok(())
}

/// A connection and in which round it is to be claimed.
struct Planned {
    connection: i64,
    round: Round,
}

/// The two rounds of a run.
#[derive(PartialEq, Eq)]
enum Round {
    /// Of the plan, which knows when the connection had last been attempted.
    First(Option<i64>),
    /// Neither this run's own attempt nor the back-off it set counts.
    Second,
}

/// The claim, or why not; none if the connection was forgotten since it was planned.
fn claim_one(
    db: Db<'_>,
    run: &Run,
    rules: &PlanRules,
    planned: &Planned,
    lease_until: Timestamp,
) -> Result<Option<Result<Claim, Skipped>>, Fail> {
    let reason = match claimable(db, run, rules, planned)? {
        Claimable::Gone => return Ok(None),
        Claimable::Yes => {
            return lease(db, run, rules, planned.connection, lease_until).map(|claim| Some(Ok(claim)));
        }
        Claimable::No(reason) => reason,
    };
    let names = "SELECT connection_id, user_id FROM ts_connections WHERE key = ?1";
    let skipped = db.single(names, values![planned.connection], |row| {
        Ok(Skipped {
            connection_id: row.get::<String>(0)?.into(),
            user_id: row.get::<String>(1)?.into(),
            reason,
        })
    })?;
    Ok(Some(Err(skipped)))
}

/// Whether a connection can be claimed now.
enum Claimable {
    Yes,
    /// Not any more, also because somebody attempted it since it was planned.
    No(Reason),
    /// It was forgotten.
    Gone,
}

fn claimable(db: Db<'_>, run: &Run, rules: &PlanRules, planned: &Planned) -> Result<Claimable, Fail> {
    let again = Value::Bool(planned.round == Round::Second);
    let asked =
        PlanParams::new(run, rules).with(":again", again).with(":key", Value::Int(planned.connection));
    let sql = format!("SELECT {REASON}, c.last_attempt_at FROM ts_connections c WHERE c.key = :key");
    let found = db.one(&sql, asked.params(), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some((reason, attempted)): Option<(Option<String>, Option<i64>)> = found else {
        return Ok(Claimable::Gone);
    };
    let attempted_since = matches!(planned.round, Round::First(before) if before != attempted);
    if reason.is_none() && attempted_since {
        return Ok(Claimable::No(Reason::Leased));
    }
    Ok(reason.as_deref().and_then(Reason::parse).map_or(Claimable::Yes, Claimable::No))
}

/// Takes the lease with a fresh fencing token and reserves the attempt in the user's quota.
fn lease(
    db: Db<'_>,
    run: &Run,
    rules: &PlanRules,
    connection: i64,
    lease_until: Timestamp,
) -> Result<Claim, Fail> {
    let token: i64 = db
        .value("UPDATE ts_sequences SET value = value + 1 WHERE name = 'lease' RETURNING value", values![])?;
    db.run(
        "UPDATE ts_connections SET lease_run = ?2, lease_token = ?3, lease_until = ?4,
                last_attempt_at = ?5, last_attempt_run = ?2 WHERE key = ?1",
        values![connection, run.key, token, Millis(lease_until), Millis(rules.now)],
    )?;
    let attempt: u32 = db.value(
        "INSERT INTO ts_run_connections (run, connection, user_id, started_at)
             SELECT ?1, key, user_id, ?3 FROM ts_connections WHERE key = ?2
             ON CONFLICT (run, connection) DO UPDATE SET attempts = attempts + 1, again = 0, outcome = NULL
             RETURNING attempts",
        values![run.key, connection, Millis(rules.now)],
    )?;
    db.single("SELECT * FROM ts_connections WHERE key = ?1", values![connection], |row| {
        let connection_id: String = row.get("connection_id")?;
        let needed_user: Option<String> = row.get("needs_user")?;
        Ok(Claim {
            lease: Lease { connection, connection_id: connection_id.into(), run: run.key, token },
            user_id: row.get::<String>("user_id")?.into(),
            tink_user: row.tink_user()?,
            moved: owners::moved(row)?,
            has_tokens: row.get::<String>("mode")? == "refresh",
            entitled_until: row.millis("entitled_until")?,
            problem: row.get("problem")?,
            failures: row.get("failures")?,
            is_new: row.get::<Option<i64>>("last_success_at")?.is_none(),
            looks: row.get("looks")?,
            needed_user: needed_user.and_then(|text| Reason::parse(&text)),
            attempt,
        })
    })
}

/// Makes what is left of the plan wait until `until`.
pub(super) fn postpone(db: Db<'_>, run: i64, until: Timestamp) -> Result<u64, Fail> {
    db.run(
        "UPDATE ts_connections SET not_before = max(coalesce(not_before, 0), ?1)
         WHERE key IN (SELECT connection FROM temp.ts_plan WHERE state = 0)
            OR key IN (SELECT connection FROM ts_run_connections WHERE run = ?2 AND (again <> 0 OR outcome IS NULL))",
        values![Millis(until), run],
    )?;
    db.count("UPDATE temp.ts_plan SET state = 2, reason = 'not_before' WHERE state = 0", values![])
}

/// A claimed connection that was forgotten meanwhile: for this run it is one that is switched off.
pub(super) fn exclude(db: Db<'_>, connection: i64) -> Result<(), Fail> {
    db.run(
        "UPDATE temp.ts_plan SET state = 2, reason = 'disabled' WHERE connection = ?1",
        values![connection],
    )?;
    Ok(())
}

/// What became of the plan: connections nobody has claimed, and those found not due any more.
pub(super) fn left_over(db: Db<'_>) -> Result<LeftOver, Fail> {
    let mut left = LeftOver::default();
    let groups = "SELECT reason, count(*) FROM temp.ts_plan
         WHERE state = 0 OR (state = 2 AND reason IS NOT NULL) GROUP BY reason";
    db.each(groups, values![], |row| {
        let number = unsigned(row.get(1)?);
        match row.get::<Option<String>>(0)? {
            None => left.waiting = number,
            Some(_) => {
                left.skipped.insert(reason(row)?, number);
            }
        }
        Ok(())
    })?;
    Ok(left)
}

/// Whether a dead run's connections came free while this one was at work: they join the plan.
fn adopt(db: Db<'_>, context: &Context, run: &Run, rules: &PlanRules) -> Result<bool, Fail> {
    if !liveness::sweep(db, context, rules.now)? {
        return Ok(false);
    }
    let asked = PlanParams::new(run, rules);
    let sql = format!(
        "UPDATE temp.ts_plan SET state = 0, reason = NULL,
                attempted = (SELECT last_attempt_at FROM ts_connections c WHERE c.key = connection)
         WHERE state = 2 AND (SELECT {REASON} FROM ts_connections c WHERE c.key = ts_plan.connection) IS NULL"
    );
    Ok(db.count(&sql, asked.params())? > 0)
}

//! The plan and the claims: who is due, in which order, and why the
//! others are not. The reasons stand in one SQL expression, used by the plan and by every claim.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::codec::unsigned;
use super::codec::{self, Millis, json_list};
use super::liveness;
use super::thread::Context;
use super::{Fail, mirror, owners};
use crate::domain::ids::{ConnectionId, UserId};
use crate::domain::outcome::Reason;
use crate::store::types::{Claim, Claims, Lease, LeftOver, PlanCounts, PlanRules, Run, Selection, Skipped};

/// A back-off or a rest can lie this far ahead at most; anything beyond comes from a clock that was wrong.
const HORIZON: SignedDuration = SignedDuration::from_hours(25);

/// Why connection `c` is not due; NULL if it is. Parameters: see [`Params`]. What is wrong with a row of the source
/// view is told in every pass: finding it out asks nobody for anything.
const REASON: &str = "CASE
    WHEN c.refused = 0 THEN 'disabled'
    WHEN c.refused IS NULL AND c.enabled = 0 AND NOT (:force AND :named) THEN iif(c.gone_at IS NULL, 'disabled', 'gone')
    WHEN c.refused IS NULL AND (c.entitled = 0 OR c.entitled_until <= :now) THEN 'not_entitled'
    WHEN c.lease_token IS NOT NULL AND c.lease_until > :now THEN 'leased'
    WHEN c.last_attempt_run = :run AND NOT :again THEN 'leased'
    WHEN NOT :named AND c.last_attempt_at BETWEEN :cohort AND :now AND c.last_attempt_run <> :run
         AND c.last_outcome IS NOT 'interrupted'
         AND EXISTS (SELECT 1 FROM ts_runs r WHERE r.key = c.last_attempt_run AND
                     (r.finished_at IS NULL OR r.exit_code IS NOT NULL)) THEN 'leased'
    WHEN c.problem IS NOT NULL THEN NULL
    WHEN NOT :force AND NOT :again AND c.not_before > :now AND c.not_before < :horizon THEN 'not_before'
    WHEN NOT :named AND c.last_success_began > :rest AND c.last_success_began <= :now
         AND c.failures = 0 AND c.needs_user IS NULL THEN 'recent'
    WHEN (SELECT coalesce(sum(attempts), 0) FROM ts_run_connections q
          WHERE q.user_id = c.user_id AND q.started_at > :day_ago AND q.started_at < :horizon
            AND q.reason IS NOT 'source_row') >= :quota THEN 'quota'
    END";

/// Whether connection `c` is one of those named by id or by user; each is looked up, however many others there are.
const NAMED: &str = "c.key IN (
    SELECT key FROM ts_connections WHERE connection_id IN (SELECT value FROM json_each(:connections))
    UNION ALL SELECT key FROM ts_connections WHERE user_id IN (SELECT value FROM json_each(:users))
    UNION ALL SELECT key FROM ts_connections WHERE refused_user IN (SELECT value FROM json_each(:users)))";

/// The parameters of [`REASON`] and [`NAMED`].
struct Params {
    run: i64,
    cohort: Millis,
    now: Millis,
    horizon: Millis,
    rest: Millis,
    day_ago: Millis,
    quota: u32,
    force: bool,
    named: bool,
    again: bool,
    connections: String,
    users: String,
}

impl Params {
    fn new(run: &Run, rules: &PlanRules) -> Self {
        let back = |by: SignedDuration| rules.now.saturating_sub(by).unwrap_or(Timestamp::MIN);
        let rest = SignedDuration::try_from(rules.min_interval).unwrap_or(SignedDuration::MAX);
        Self {
            run: run.key,
            cohort: Millis(run.cohort),
            now: Millis(rules.now),
            horizon: Millis(rules.now.saturating_add(HORIZON).unwrap_or(Timestamp::MAX)),
            rest: Millis(back(rest)),
            day_ago: Millis(back(SignedDuration::from_hours(24))),
            quota: rules.quota,
            force: rules.force,
            named: !rules.selection.is_all(),
            again: false,
            connections: json_list(rules.selection.connections.iter().map(ConnectionId::as_str)),
            users: json_list(rules.selection.users.iter().map(UserId::as_str)),
        }
    }

    /// Which connections the run is about.
    const fn selected(&self) -> &'static str {
        if self.named { NAMED } else { "TRUE" }
    }

    /// The parameters a statement names, in the form rusqlite takes.
    fn bind<'a>(&'a self, sql: &str) -> Vec<(&'a str, &'a dyn ToSql)> {
        let all: [(&str, &dyn ToSql); 12] = [
            (":run", &self.run),
            (":cohort", &self.cohort),
            (":now", &self.now),
            (":horizon", &self.horizon),
            (":rest", &self.rest),
            (":day_ago", &self.day_ago),
            (":quota", &self.quota),
            (":force", &self.force),
            (":named", &self.named),
            (":again", &self.again),
            (":connections", &self.connections),
            (":users", &self.users),
        ];
        all.into_iter().filter(|(name, _)| sql.contains(name)).collect()
    }
}

/// Ids and users of the selection that no connection has.
pub fn unknown(db: &Connection, selection: &Selection) -> rusqlite::Result<Vec<String>> {
    let mut unknown = Vec::new();
    let mut find = |which: &str, id: &str| -> rusqlite::Result<()> {
        let sql = format!("SELECT 1 FROM ts_connections WHERE {which} LIMIT 1");
        if db.prepare_cached(&sql)?.query_row([id], |_| Ok(())).optional()?.is_none() {
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
pub fn plan(db: &Connection, run: &Run, rules: &PlanRules) -> rusqlite::Result<PlanCounts> {
    let params = Params::new(run, rules);
    let selected = params.selected();
    // state: 0 waiting, 1 claimed, 2 found not due any more, for the reason beside it.
    db.execute_batch(
        "DROP TABLE IF EXISTS temp.ts_plan;
         CREATE TEMP TABLE ts_plan (pos INTEGER PRIMARY KEY, connection INTEGER NOT NULL, attempted INTEGER,
                                    state INTEGER NOT NULL DEFAULT 0, reason TEXT)",
    )?;
    let order = format!(
        "INSERT INTO temp.ts_plan (connection, attempted)
         SELECT c.key, c.last_attempt_at FROM ts_connections c WHERE {selected} AND {REASON} IS NULL
         ORDER BY c.failures > 0, iif(c.failures > 0, coalesce(c.not_before, c.last_attempt_at), coalesce(c.last_success_at, c.last_attempt_at)) NULLS FIRST,
                  c.priority DESC, c.key"
    );
    let due = db.execute(&order, params.bind(&order).as_slice())?;
    // Those another run has may come free: see `adopt`.
    let leased = format!(
        "INSERT INTO temp.ts_plan (connection, attempted, state, reason)
         SELECT c.key, c.last_attempt_at, 2, 'leased' FROM ts_connections c WHERE {selected} AND {REASON} = 'leased'"
    );
    db.execute(&leased, params.bind(&leased).as_slice())?;
    // Without the first, each claim would walk over all that were claimed before.
    db.execute_batch(
        "CREATE INDEX temp.ts_plan_waiting ON ts_plan (pos) WHERE state = 0;
         CREATE INDEX temp.ts_plan_connection ON ts_plan (connection)",
    )?;
    let mut counts = PlanCounts { due: due as u64, connections: due as u64, ..PlanCounts::default() };
    let others = format!(
        "SELECT reason, count(*) FROM (SELECT {REASON} AS reason FROM ts_connections c WHERE {selected})
         WHERE reason IS NOT NULL GROUP BY reason"
    );
    let mut others_statement = db.prepare(&others)?;
    let mut groups = others_statement.query(params.bind(&others).as_slice())?;
    while let Some(row) = groups.next()? {
        let number = unsigned(row.get(1)?);
        counts.connections += number;
        let reason = reason(row)?;
        if reason != Reason::Leased {
            counts.skipped.insert(reason, number);
        }
    }
    Ok(counts)
}

/// Why connections are not due, by key.
pub fn reasons(db: &Connection, run: &Run, rules: &PlanRules) -> rusqlite::Result<HashMap<i64, Reason>> {
    let params = Params::new(run, rules);
    let sql = format!(
        "SELECT reason, key FROM (SELECT {REASON} AS reason, c.key AS key FROM ts_connections c WHERE {})
         WHERE reason IS NOT NULL",
        params.selected()
    );
    let mut rows = db.prepare(&sql)?;
    rows.query_map(params.bind(&sql).as_slice(), |row| Ok((row.get(1)?, reason(row)?)))?.collect()
}

fn reason(row: &Row<'_>) -> rusqlite::Result<Reason> {
    let text: String = row.get(0)?;
    Reason::parse(&text).ok_or_else(|| codec::corrupt(format!("unknown reason {text}")))
}

/// Connections that are not due, ordered by id.
pub fn skipped(
    db: &Connection,
    run: &Run,
    rules: &PlanRules,
    after: Option<&Skipped>,
    limit: usize,
) -> rusqlite::Result<Vec<Skipped>> {
    let params = Params::new(run, rules);
    let sql = format!(
        "SELECT * FROM (SELECT {REASON} AS reason, c.connection_id, c.user_id FROM ts_connections c
                        WHERE {} AND c.connection_id > :after ORDER BY c.connection_id)
         WHERE reason IS NOT NULL LIMIT :limit",
        params.selected()
    );
    let after = after.map_or("", |s| s.connection_id.as_str());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut bound = params.bind(&sql);
    bound.push((":after", &after));
    bound.push((":limit", &limit));
    let mut statement = db.prepare(&sql)?;
    let rows = statement.query_map(bound.as_slice(), |row| {
        Ok(Skipped {
            reason: reason(row)?,
            connection_id: row.get::<_, String>(1)?.into(),
            user_id: row.get::<_, String>(2)?.into(),
        })
    })?;
    rows.collect()
}

/// The next planned connections: place in the plan, key, last attempt as planned.
fn waiting(db: &Connection, limit: usize) -> rusqlite::Result<Vec<(i64, i64, Option<i64>)>> {
    let mut waiting = db.prepare_cached(
        "SELECT pos, connection, attempted FROM temp.ts_plan INDEXED BY ts_plan_waiting
         WHERE state = 0 ORDER BY pos LIMIT ?1",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    waiting.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

/// Claims the next `limit` planned connections, looking at each again at this moment.
pub fn claim(
    db: &Connection,
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
        db.prepare_cached("UPDATE temp.ts_plan SET state = ?2, reason = ?3 WHERE pos = ?1")?
            .execute(params![pos, state, reason])?;
    }
    shadow_claimed(db, context, &claims)?;
    Ok(claims)
}

/// Claims connections of this run that failed in a way that may have passed.
pub fn claim_again(
    db: &Connection,
    context: &Context,
    run: &Run,
    rules: &PlanRules,
    limit: usize,
    lease_until: Timestamp,
) -> Result<Claims, Fail> {
    // again: 0 final, 1 to be tried again, 2 could not be claimed again (its first outcome stands).
    let again: Vec<i64> = {
        let mut waiting = db.prepare_cached(
            "SELECT connection FROM ts_run_connections INDEXED BY ts_run_connections_again
             WHERE run = ?1 AND again = 1 LIMIT ?2",
        )?;
        let rows =
            waiting.query_map([run.key, i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get(0))?;
        rows.collect::<Result<_, _>>()?
    };
    let mut claims = Claims { exhausted: again.is_empty(), ..Claims::default() };
    for connection in again {
        match claim_one(db, run, rules, &Planned { connection, round: Round::Second }, lease_until)? {
            Some(Ok(claim)) => claims.claims.push(claim),
            None | Some(Err(_)) => {
                db.prepare_cached(
                    "UPDATE ts_run_connections SET again = 2 WHERE run = ?1 AND connection = ?2",
                )?
                .execute([run.key, connection])?;
            }
        }
    }
    shadow_claimed(db, context, &claims)?;
    Ok(claims)
}

fn shadow_claimed(db: &Connection, context: &Context, claims: &Claims) -> rusqlite::Result<()> {
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
    db: &Connection,
    run: &Run,
    rules: &PlanRules,
    planned: &Planned,
    lease_until: Timestamp,
) -> rusqlite::Result<Option<Result<Claim, Skipped>>> {
    let Some(reason) = why_not(db, run, rules, planned).optional()? else { return Ok(None) };
    if let Some(reason) = reason {
        let mut names =
            db.prepare_cached("SELECT connection_id, user_id FROM ts_connections WHERE key = ?1")?;
        let skipped = names.query_row([planned.connection], |row| {
            Ok(Skipped {
                connection_id: row.get::<_, String>(0)?.into(),
                user_id: row.get::<_, String>(1)?.into(),
                reason,
            })
        })?;
        return Ok(Some(Err(skipped)));
    }
    lease(db, run, rules, planned.connection, lease_until).map(|claim| Some(Ok(claim)))
}

/// Why a connection cannot be claimed now, also because somebody attempted it since it was planned.
fn why_not(
    db: &Connection,
    run: &Run,
    rules: &PlanRules,
    planned: &Planned,
) -> rusqlite::Result<Option<Reason>> {
    let params = Params { again: planned.round == Round::Second, ..Params::new(run, rules) };
    let sql = format!("SELECT {REASON}, c.last_attempt_at FROM ts_connections c WHERE c.key = :key");
    let mut bound = params.bind(&sql);
    bound.push((":key", &planned.connection));
    let (reason, attempted): (Option<String>, Option<i64>) =
        db.prepare_cached(&sql)?.query_row(bound.as_slice(), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let attempted_since = matches!(planned.round, Round::First(before) if before != attempted);
    if reason.is_none() && attempted_since {
        return Ok(Some(Reason::Leased));
    }
    Ok(reason.as_deref().and_then(Reason::parse))
}

/// Takes the lease with a fresh fencing token and reserves the attempt in the user's quota.
fn lease(
    db: &Connection,
    run: &Run,
    rules: &PlanRules,
    connection: i64,
    lease_until: Timestamp,
) -> rusqlite::Result<Claim> {
    let token: i64 = db
        .prepare_cached("UPDATE ts_sequences SET value = value + 1 WHERE name = 'lease' RETURNING value")?
        .query_row([], |row| row.get(0))?;
    db.prepare_cached(
        "UPDATE ts_connections SET lease_run = ?2, lease_token = ?3, lease_until = ?4,
                last_attempt_at = ?5, last_attempt_run = ?2 WHERE key = ?1",
    )?
    .execute(params![connection, run.key, token, Millis(lease_until), Millis(rules.now)])?;
    let attempt: u32 = db
        .prepare_cached(
            "INSERT INTO ts_run_connections (run, connection, user_id, started_at)
             SELECT ?1, key, user_id, ?3 FROM ts_connections WHERE key = ?2
             ON CONFLICT (run, connection) DO UPDATE SET attempts = attempts + 1, again = 0, outcome = NULL
             RETURNING attempts",
        )?
        .query_row(params![run.key, connection, Millis(rules.now)], |row| row.get(0))?;
    db.prepare_cached("SELECT * FROM ts_connections WHERE key = ?1")?.query_row([connection], |row| {
        let connection_id: String = row.get("connection_id")?;
        let needed_user: Option<String> = row.get("needs_user")?;
        Ok(Claim {
            lease: Lease { connection, connection_id: connection_id.into(), run: run.key, token },
            user_id: row.get::<_, String>("user_id")?.into(),
            tink_user: codec::tink_user(row)?,
            moved: owners::moved(row)?,
            has_tokens: row.get::<_, String>("mode")? == "refresh",
            entitled_until: codec::millis(row, "entitled_until")?,
            problem: row.get("problem")?,
            failures: row.get("failures")?,
            is_new: row.get::<_, Option<i64>>("last_success_at")?.is_none(),
            looks: row.get("looks")?,
            needed_user: needed_user.and_then(|text| Reason::parse(&text)),
            attempt,
        })
    })
}

/// Makes what is left of the plan wait until `until`.
pub fn postpone(db: &Connection, run: i64, until: Timestamp) -> rusqlite::Result<u64> {
    db.execute(
        "UPDATE ts_connections SET not_before = max(coalesce(not_before, 0), ?1)
         WHERE key IN (SELECT connection FROM temp.ts_plan WHERE state = 0)
            OR key IN (SELECT connection FROM ts_run_connections WHERE run = ?2 AND (again <> 0 OR outcome IS NULL))",
        params![Millis(until), run],
    )?;
    let left = db.execute("UPDATE temp.ts_plan SET state = 2, reason = 'not_before' WHERE state = 0", [])?;
    Ok(left as u64)
}

/// A claimed connection that was forgotten meanwhile: for this run it is one that is switched off.
pub fn exclude(db: &Connection, connection: i64) -> rusqlite::Result<()> {
    db.execute("UPDATE temp.ts_plan SET state = 2, reason = 'disabled' WHERE connection = ?1", [connection])?;
    Ok(())
}

/// What became of the plan: connections nobody has claimed, and those found not due any more.
pub fn left_over(db: &Connection) -> rusqlite::Result<LeftOver> {
    let mut left = LeftOver::default();
    let mut groups = db.prepare(
        "SELECT reason, count(*) FROM temp.ts_plan WHERE state = 0 OR (state = 2 AND reason IS NOT NULL) GROUP BY reason",
    )?;
    let mut groups = groups.query([])?;
    while let Some(row) = groups.next()? {
        let number = unsigned(row.get(1)?);
        match row.get::<_, Option<String>>(0)? {
            None => left.waiting = number,
            Some(_) => {
                left.skipped.insert(reason(row)?, number);
            }
        }
    }
    Ok(left)
}

/// Whether a dead run's connections came free while this one was at work: they join the plan.
fn adopt(db: &Connection, context: &Context, run: &Run, rules: &PlanRules) -> rusqlite::Result<bool> {
    if !liveness::sweep(db, context, rules.now)? {
        return Ok(false);
    }
    let params = Params::new(run, rules);
    let sql = format!(
        "UPDATE temp.ts_plan SET state = 0, reason = NULL,
                attempted = (SELECT last_attempt_at FROM ts_connections c WHERE c.key = connection)
         WHERE state = 2 AND (SELECT {REASON} FROM ts_connections c WHERE c.key = ts_plan.connection) IS NULL"
    );
    Ok(db.execute(&sql, params.bind(&sql).as_slice())? > 0)
}

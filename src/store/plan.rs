//! The plan and the claims: which connections are due, in which order, and why the others are not. The
//! reasons are one SQL expression, used by the plan and by every claim.

use std::collections::{HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::engine::fail::corrupt;
use super::engine::value::{Millis, json_list, json_numbers, unsigned};
use super::engine::{Context, Db, Fail, Params, Row, Value, values};
use super::liveness;
use super::{mirror, owners, pause};
use crate::domain::ids::{ConnectionId, UserId};
use crate::domain::outcome::Reason;
use crate::store::types::{
    Claim, Claims, Lease, Plan, PlanCounts, PlanRules, Planned, Run, Selection, Skipped,
};

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
    let leased = db.column(&leased, asked.params())?;
    let due = waiting.len() as u64;
    context.plan.set(Plan { waiting, leased, ..Plan::default() });
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

/// Claims the next `limit` planned connections, after checking each again.
pub(super) fn claim(
    db: Db<'_>,
    context: &Context,
    run: &Run,
    rules: &PlanRules,
    limit: usize,
    lease_until: Timestamp,
) -> Result<Claims, Fail> {
    let mut plan = context.plan.get();
    if plan.waiting.is_empty() {
        adopt(db, context, run, rules, &mut plan)?;
    }
    let next: Vec<Planned> = plan.waiting.iter().take(limit).copied().collect();
    let asked = PlanParams { taking: plan.taking.clone(), ..PlanParams::new(run, rules) };
    drop(plan);
    let looked = claim_all(db, &asked, &next)?;
    let mut claims = Claims { exhausted: next.is_empty(), locked_out: !next.is_empty(), ..Claims::default() };
    let mut found_not_due = Vec::new();
    for (place, looked) in next.iter().zip(looked) {
        let is_locked =
            matches!(&looked, Looked::Skipped(skipped) if place.reported && skipped.reason == Reason::Leased);
        claims.locked_out &= is_locked;
        match looked {
            Looked::Claimed(claim) => claims.claims.push(claim),
            Looked::Skipped(skipped) => {
                found_not_due.push((place.connection, skipped.reason));
                claims.skipped.extend((!is_locked).then_some(skipped));
            }
            Looked::Forgotten => found_not_due.push((place.connection, Reason::Disabled)),
        }
    }
    claims.paused = if next.is_empty() { None } else { pause::left(db)? };
    lease(db, context, run, rules, &mut claims, lease_until)?;
    shadow_claimed(db, context, &claims)?;
    context.then(move |plan| {
        plan.taking.clear();
        plan.waiting.drain(..next.len().min(plan.waiting.len()));
        for (connection, reason) in found_not_due {
            plan.skip(connection, reason);
        }
    });
    Ok(claims)
}

/// Claims connections of this run that failed for a reason that may have passed.
pub(super) fn claim_again(
    db: Db<'_>,
    context: &Context,
    run: &Run,
    rules: &PlanRules,
    limit: usize,
    lease_until: Timestamp,
) -> Result<Claims, Fail> {
    // again: 0 final, 1 to be tried again, 2 could not be claimed again (its first outcome is final).
    let waiting = "SELECT connection FROM ts_run_connections INDEXED BY ts_run_connections_again
         WHERE run = ?1 AND again = 1 LIMIT ?2";
    let place = |row: Row<'_>| Ok(Planned { connection: row.get(0)?, attempted: None, reported: false });
    let mut next: Vec<Planned> = db.all(waiting, values![run.key, limit], place)?;
    let taking = context.plan.get().taking.clone();
    let taken = taking.keys().filter(|taken| next.iter().all(|place| place.connection != **taken));
    let place = |taken: &i64| Planned { connection: *taken, attempted: None, reported: false };
    let taken: Vec<Planned> = taken.map(place).collect();
    next.extend(taken);
    let mut claims = Claims { exhausted: next.is_empty(), ..Claims::default() };
    let again = PlanParams::new(run, rules).with(":again", Value::Bool(true));
    let again = PlanParams { taking, again: true, ..again };
    for (place, looked) in next.iter().zip(claim_all(db, &again, &next)?) {
        match looked {
            Looked::Claimed(claim) => claims.claims.push(claim),
            Looked::Skipped(_) | Looked::Forgotten => {
                db.run(
                    "UPDATE ts_run_connections SET again = 2 WHERE run = ?1 AND connection = ?2",
                    values![run.key, place.connection],
                )?;
            }
        }
    }
    claims.paused = if next.is_empty() { None } else { pause::left(db)? };
    lease(db, context, run, rules, &mut claims, lease_until)?;
    shadow_claimed(db, context, &claims)?;
    context.then(|plan| plan.taking.clear());
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

/// The result of checking a planned connection.
enum Looked {
    /// It can be claimed. Its lease is still to be taken, unless it has a token.
    Claimed(Claim),
    /// It is no longer due, or it was attempted since it was planned.
    Skipped(Skipped),
    Forgotten,
}

/// A connection to claim, as read from the store.
struct Candidate {
    claim: Claim,
    reason: Option<Reason>,
    /// This run has claimed it already, in a transaction whose commit was uncertain.
    is_claimed: bool,
    attempted: Option<i64>,
    /// The attempts on all connections of its user that count for the quota.
    used: u64,
}

/// Checks whether connections can be claimed, all at one moment.
fn claim_all(db: Db<'_>, asked: &PlanParams, places: &[Planned]) -> Result<Vec<Looked>, Fail> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    pause::ahead(db)?;
    db.lock_ahead(places.iter().map(|place| place.connection))?;
    let keys = json_numbers(places.iter().map(|place| place.connection));
    let sql = format!(
        "SELECT c.connection_id, c.needs_user, {} AS reason, c.key, c.lease_token, c.lease_run,
                (SELECT attempts FROM ts_run_connections a WHERE a.run = :run AND a.connection = c.key) AS attempts,
                c.user_id, c.external_user_id, c.tink_user_id, c.moved_external_user_id, c.moved_tink_user_id, c.mode,
                c.entitled_until, c.problem, c.failures, c.last_success_at, c.looks, c.last_attempt_at, {} AS used
         FROM ts_connections c WHERE c.key IN (SELECT CAST(value AS BIGINT) FROM json_each(:keys))",
        reason_of(db),
        used()
    );
    let params = asked.params_with(":keys", Value::Text(keys.into()));
    let found: Vec<_> = db.all(&sql, Params::Named(&params), |row| candidate(row, asked))?;
    let mut found: HashMap<i64, Candidate> = found.into_iter().collect();
    let ours: HashSet<i64> = db.lock_connections(places.iter().map(|place| place.connection))?;
    let mut claimed: HashMap<String, u64> = HashMap::new();
    let look = |place: &Planned| {
        let Some(found) = found.remove(&place.connection) else { return Looked::Forgotten };
        if found.is_claimed {
            return Looked::Claimed(found.claim);
        }
        let since = !asked.again && found.attempted != place.attempted;
        let used = claimed.entry(found.claim.user_id.as_str().to_owned()).or_default();
        let reason = found.reason.or(if since || !ours.contains(&place.connection) {
            Some(Reason::Leased)
        } else if found.claim.problem.is_none() && found.used + *used >= asked.quota {
            Some(Reason::Quota)
        } else {
            None
        });
        let Claim { lease, user_id, .. } = &found.claim;
        if let Some(reason) = reason {
            return Looked::Skipped(Skipped {
                connection_id: lease.connection_id.clone(),
                user_id: user_id.clone(),
                reason,
            });
        }
        *used += 1;
        Looked::Claimed(found.claim)
    };
    Ok(places.iter().map(look).collect())
}

/// A candidate with its key, from columns in the order in which they are read here.
fn candidate(row: Row<'_>, asked: &PlanParams) -> Result<(i64, Candidate), Fail> {
    let (connection_id, needed_user): (String, Option<String>) =
        (row.get("connection_id")?, row.get("needs_user")?);
    let reason: Option<String> = row.get("reason")?;
    let connection = row.get("key")?;
    let token: Option<i64> = row.get("lease_token")?;
    let is_claimed = asked.is_taken(connection, row.get("lease_run")?, token);
    let token = token.filter(|_| is_claimed).unwrap_or_default();
    let attempts = row.get::<Option<u32>>("attempts")?.unwrap_or_default();
    let claim = Claim {
        lease: Lease { connection, connection_id: connection_id.into(), run: asked.run, token },
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
        attempt: if is_claimed { attempts } else { attempts + 1 },
    };
    let candidate = Candidate {
        claim,
        reason: reason.as_deref().map(known_reason).transpose()?,
        is_claimed,
        attempted: row.get("last_attempt_at")?,
        used: unsigned(row.get("used")?),
    };
    Ok((connection, candidate))
}

/// Takes the leases, each with its own fencing token, and reserves the attempts in the quotas of the users.
fn lease(
    db: Db<'_>,
    context: &Context,
    run: &Run,
    rules: &PlanRules,
    claims: &mut Claims,
    lease_until: Timestamp,
) -> Result<(), Fail> {
    if !claims.claims.is_empty() {
        liveness::at_work_still(db, run.key)?;
    }
    for claim in claims.claims.iter_mut().filter(|claim| claim.lease.token == 0) {
        claim.lease.token = fencing_token();
        context.plan.get().taking.insert(claim.lease.connection, claim.lease.token);
        db.run(
            "UPDATE ts_connections SET lease_run = ?2, lease_token = ?3, lease_until = ?4,
                    last_attempt_at = ?5, last_attempt_run = ?2 WHERE key = ?1",
            values![
                claim.lease.connection,
                run.key,
                claim.lease.token,
                Millis(lease_until),
                Millis(rules.now)
            ],
        )?;
        db.run(
            "INSERT INTO ts_run_connections (run, connection, user_id, started_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (run, connection) DO UPDATE SET attempts = ts_run_connections.attempts + 1, again = 0, outcome = NULL",
            values![run.key, claim.lease.connection, claim.user_id.as_str(), Millis(rules.now)],
        )?;
    }
    Ok(())
}

/// A number that no lease had before: 63 random bits, so that nothing needs to count them, and none is used
/// twice after a database has lost its last transactions.
fn fencing_token() -> i64 {
    fastrand::i64(1..)
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

/// Adds connections to the plan that another run held and that became free meanwhile.
fn adopt(db: Db<'_>, context: &Context, run: &Run, rules: &PlanRules, plan: &mut Plan) -> Result<(), Fail> {
    let freed = liveness::sweep(db, context, rules.now)?;
    if plan.leased.is_empty() || !(freed || db.is_shared()) {
        return Ok(());
    }
    let asked = PlanParams::new(run, rules);
    let sql = format!(
        "SELECT c.key, c.last_attempt_at FROM ts_connections c
         WHERE c.key IN (SELECT CAST(value AS BIGINT) FROM json_each(:keys)) AND {} IS NULL ORDER BY c.key",
        reason_of(db)
    );
    let leased = json_numbers(plan.leased.iter().copied());
    let params = asked.params_with(":keys", Value::Text(leased.into()));
    let place =
        |row: Row<'_>| Ok(Planned { connection: row.get(0)?, attempted: row.get(1)?, reported: true });
    let free: Vec<Planned> = db.all(&sql, Params::Named(&params), place)?;
    let is_free: HashSet<i64> = free.iter().map(|place| place.connection).collect();
    plan.leased.retain(|connection| !is_free.contains(connection));
    plan.waiting.extend(free);
    Ok(())
}

#[cfg(test)]
mod tests;

//! Claims planned connections: checks each again, takes its lease, and reserves the attempt in the quota of its
//! user.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::{PlanParams, known_reason, reason_of, used};
use crate::domain::outcome::Reason;
use crate::store::engine::value::{Millis, json_numbers, unsigned};
use crate::store::engine::{Context, Db, Fail, Params, Row, Value, values};
use crate::store::types::{Claim, Claims, Lease, Plan, PlanRules, Planned, Run, Skipped};
use crate::store::{liveness, mirror, owners, pause};

/// Claims the next `limit` planned connections, after checking each again.
pub(in crate::store) fn claim(
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
pub(in crate::store) fn claim_again(
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
    plan.adopted += is_free.iter().filter(|connection| plan.uncounted.remove(connection)).count() as u64;
    plan.waiting.extend(free);
    Ok(())
}

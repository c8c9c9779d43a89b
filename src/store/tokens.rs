//! Encrypted tokens of older links. Every change of a token's state is one statement that names the state it
//! expects, so that no token is presented twice. Sees no token in the clear.

use jiff::Timestamp;

use super::engine::value::Millis;
use super::engine::{Context, Db, Fail, named, values};
use crate::domain::connection::Seed;
use crate::store::types::{EncryptedTokens, Lease, Renewal, RotationBegin, TokenState};

/// Takes the refresh and access token of a connection and returns them under the new encryption.
pub(super) type Reencrypt<'a, E> =
    dyn Fn(&str, &[u8], Option<&[u8]>) -> Result<(Vec<u8>, Option<Vec<u8>>), E> + 'a;

/// Stores a seed, once for each version of it.
pub(super) fn seed(db: Db<'_>, connection: i64, seed: &Seed) -> Result<(), Fail> {
    // Rotations are numbered from a random start: an answer for a former owner of the connection must not be
    // taken for one for the next owner.
    db.run(
        "INSERT INTO ts_tokens (connection, version, state, refresh, access, access_until, asking)
         VALUES (:key, :version, 'ready', :refresh, :access, :until, :number)
         ON CONFLICT (connection) DO UPDATE SET version = excluded.version, state = 'ready',
            refresh = excluded.refresh, access = excluded.access, access_until = excluded.access_until,
            asked_run = NULL, asking = ts_tokens.asking + 1
         WHERE ts_tokens.version <> excluded.version",
        named! {
            ":key": connection, ":version": seed.version, ":refresh": seed.refresh,
            ":access": seed.access, ":until": seed.access_until.map(Millis), ":number": fastrand::i64(0..1_000_000_000_000),
        },
    )?;
    db.run(
        "UPDATE ts_connections SET mode = 'refresh' WHERE key = ?1 AND mode <> 'refresh'",
        values![connection],
    )?;
    Ok(())
}

/// The tokens of a connection, if it has any. A rehearsal reads those of the store itself.
pub(super) fn load(db: Db<'_>, connection: i64) -> Result<Option<EncryptedTokens>, Fail> {
    let read = |table: &str| {
        db.one(
            &format!("SELECT state, refresh, access, access_until FROM {table} WHERE connection = ?1"),
            values![connection],
            |row| {
                let state: String = row.get("state")?;
                Ok(EncryptedTokens {
                    state: match state.as_str() {
                        "ready" => TokenState::Ready,
                        "asked" => TokenState::Asked,
                        _ => TokenState::Lost,
                    },
                    refresh: row.get("refresh")?,
                    access: row.get("access")?,
                    access_until: row.millis("access_until")?,
                })
            },
        )
    };
    match read("ts_tokens")? {
        Some(found) => Ok(Some(found)),
        None => read("main.ts_tokens"),
    }
}

/// Records that new tokens are about to be requested; `None` if the token is not ready, or in a rehearsal.
/// With `again`, this run has done so before and the commit was uncertain, so it may be recorded already.
pub(super) fn ask(
    db: Db<'_>,
    context: &Context,
    lease: &Lease,
    again: bool,
) -> Result<Option<RotationBegin>, Fail> {
    if context.rehearsal {
        return Ok(None);
    }
    db.one(
        "UPDATE ts_tokens SET state = 'asked', asked_run = ?2, asking = asking + 1
         WHERE connection = ?1 AND (state = 'ready' OR (?3 AND state = 'asked' AND asked_run = ?2)) RETURNING asking",
        values![lease.connection, lease.run, again],
        |row| {
            Ok(RotationBegin {
                connection: lease.connection,
                connection_id: lease.connection_id.clone(),
                run: lease.run,
                number: row.get(0)?,
            })
        },
    )
}

/// Writes the result of a rotation; `false` if it was finished elsewhere meanwhile. A token that was given up
/// while its answer was under way is presented by nobody, so that the answer is still the only one.
pub(super) fn renewed(
    db: Db<'_>,
    asking: &RotationBegin,
    renewal: &Renewal,
    now: Timestamp,
) -> Result<bool, Fail> {
    let (state, refresh, access, until) = match renewal {
        Renewal::Renewed { refresh, access, until } => ("ready", refresh.as_ref(), Some(access), *until),
        Renewal::NotAsked => ("ready", None, None, None),
        Renewal::Lost(_) => ("lost", None, None, None),
    };
    let changed = db.count(
        "UPDATE ts_tokens SET state = :state, refresh = coalesce(:refresh, refresh), access = :access,
                                  access_until = :until, asked_run = NULL
             WHERE connection = :connection AND state IN ('asked', 'lost') AND asking = :number",
        named! {
            ":connection": asking.connection, ":number": asking.number, ":state": state,
            ":refresh": refresh, ":access": access, ":until": until.map(Millis),
        },
    )?;
    // Nobody else could have encrypted it to the same bytes.
    let kept =
        "SELECT 1 FROM ts_tokens WHERE connection = ?1 AND asking = ?2 AND state = 'ready' AND access = ?3";
    if changed == 0
        && let Some(access) = access
        && db.exists(kept, values![asking.connection, asking.number, access])?
    {
        return Ok(true);
    }
    match renewal {
        Renewal::NotAsked => {}
        Renewal::Renewed { .. } if changed > 0 => {
            audit(db, asking.connection, Some(asking.run), "token.refreshed", "ok", now)?;
        }
        Renewal::Renewed { .. } => {
            let late = "the answer came too late";
            audit(db, asking.connection, Some(asking.run), "token.refresh_failed", late, now)?;
        }
        Renewal::Lost(why) => {
            audit(db, asking.connection, Some(asking.run), "token.refresh_failed", why, now)?;
        }
    }
    Ok(changed > 0)
}

/// Gives up the requests of ended runs that never got an answer: the token may have been used up.
pub(super) fn give_up(db: Db<'_>, now: Timestamp) -> Result<(), Fail> {
    let abandoned = "UPDATE ts_tokens SET state = 'lost', access = NULL, asked_run = NULL
         WHERE state = 'asked'
           AND EXISTS (SELECT 1 FROM ts_runs r WHERE r.key = asked_run AND r.finished_at IS NOT NULL)
         RETURNING connection";
    let keys: Vec<i64> = db.column(abandoned, values![])?;
    keys.into_iter().try_for_each(|key| {
        audit(db, key, None, "token.refresh_failed", "a run ended before it knew what came of it", now)
    })
}

/// Writes an audit row. One that is there already was written by the same job, whose commit was uncertain.
fn audit(
    db: Db<'_>,
    connection: i64,
    run: Option<i64>,
    action: &str,
    result: &str,
    now: Timestamp,
) -> Result<(), Fail> {
    db.run(
        "INSERT INTO ts_audit (at, action, connection_id, user_id, result, details)
         SELECT ?2, ?3, c.connection_id, c.user_id, ?4, (SELECT r.run_id FROM ts_runs r WHERE r.key = ?5) FROM ts_connections c WHERE c.key = ?1
            AND NOT EXISTS (SELECT 1 FROM ts_audit a WHERE a.at = ?2 AND a.action = ?3
                            AND a.connection_id = c.connection_id AND a.result = ?4)",
        values![connection, Millis(now), action, result, run],
    )
}

/// Replaces every encrypted token by what `encrypt` returns for its connection, refresh and access token;
/// returns the number of connections that have tokens. The caller has locked them. An answer that is still to come
/// for one of them is encrypted with the former key, and must not be stored: hence the new number.
///
/// # Errors
/// As the database reports it; what `encrypt` refuses is the inner error, and then no token was replaced.
pub(super) fn reencrypt<E>(db: Db<'_>, encrypt: &Reencrypt<'_, E>) -> Result<Result<u64, E>, Fail> {
    type Encrypted = (i64, String, Vec<u8>, Option<Vec<u8>>);
    let all = "SELECT t.connection, c.connection_id, t.refresh, t.access
         FROM ts_tokens t JOIN ts_connections c ON c.key = t.connection";
    let all: Vec<Encrypted> =
        db.all(all, values![], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    // All before the first is written: the inner error does not undo the transaction.
    let again = |(key, id, refresh, access): Encrypted| {
        encrypt(&id, &refresh, access.as_deref()).map(|(refresh, access)| (key, refresh, access))
    };
    let all: Vec<(i64, Vec<u8>, Option<Vec<u8>>)> = match all.into_iter().map(again).collect() {
        Ok(all) => all,
        Err(error) => return Ok(Err(error)),
    };
    let update = "UPDATE ts_tokens SET refresh = ?2, access = ?3, asking = asking + 1 WHERE connection = ?1";
    all.iter()
        .try_for_each(|(key, refresh, access)| db.run(update, values![key, refresh, access.as_deref()]))?;
    Ok(Ok(all.len() as u64))
}

#[cfg(test)]
mod tests;

//! The mirror of the source view: what the application says of its connections, copied before each run.
//! Says nothing of who is due.

use rusqlite::{Connection, named_params, params};

use super::codec::{Millis, tink_user_columns};
use super::{forget, tokens};
use crate::domain::connection::SourceRow;
use crate::store::types::Run;

/// Mirrors a batch of the source view; a connection that comes twice fails alone, and one that was forgotten
/// since the run began stays forgotten.
pub fn batch(db: &Connection, run: &Run, rows: &[SourceRow]) -> rusqlite::Result<()> {
    db.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS ts_seen (connection_id TEXT PRIMARY KEY) WITHOUT ROWID",
    )?;
    for row in rows {
        let id = row.connection_id.as_str();
        let first = db.prepare_cached("INSERT OR IGNORE INTO temp.ts_seen VALUES (?1)")?.execute([id])? == 1;
        if forgotten_since(db, run, id)? {
            continue;
        }
        if first {
            upsert(db, row)?;
            tokens::seed(db, row)?;
        } else {
            db.prepare_cached("UPDATE ts_connections SET problem = ?2 WHERE connection_id = ?1")?
                .execute([id, "the source view has this connection_id more than once"])?;
        }
    }
    Ok(())
}

fn forgotten_since(db: &Connection, run: &Run, id: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM ts_audit WHERE key > ?1 AND action = ?2 AND connection_id = ?3)";
    db.prepare_cached(sql)?.query_row(params![run.audited, forget::ACTION, id], |row| row.get(0))
}

fn upsert(db: &Connection, row: &SourceRow) -> rusqlite::Result<()> {
    let (external, tink) = tink_user_columns(row.tink_user.as_ref());
    // Another Tink user is another connection in all but name: old failures say nothing about it.
    db.prepare_cached(
        "INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, tink_user_id, enabled, entitled,
                                     entitled_until, market, priority, problem)
         VALUES ((SELECT max(coalesce((SELECT max(key) FROM ts_connections), 0),
                             coalesce((SELECT value FROM ts_sequences WHERE name = 'ts_connections'), 0)) + 1),
                 :id, :user, :external, :tink, :enabled, :entitled, :until, :market, :priority, :problem)
         ON CONFLICT (connection_id) DO UPDATE SET
            user_id = excluded.user_id, external_user_id = excluded.external_user_id,
            tink_user_id = excluded.tink_user_id, enabled = excluded.enabled, entitled = excluded.entitled,
            entitled_until = excluded.entitled_until, market = excluded.market, priority = excluded.priority,
            problem = excluded.problem,
            failures = iif((external_user_id, tink_user_id) IS (excluded.external_user_id, excluded.tink_user_id), failures, 0),
            not_before = iif((external_user_id, tink_user_id) IS (excluded.external_user_id, excluded.tink_user_id), not_before, NULL),
            needs_user = iif((external_user_id, tink_user_id) IS (excluded.external_user_id, excluded.tink_user_id), needs_user, NULL),
            last_success_began = iif((external_user_id, tink_user_id) IS (excluded.external_user_id, excluded.tink_user_id), last_success_began, NULL),
            last_outcome = iif((external_user_id, tink_user_id) IS (excluded.external_user_id, excluded.tink_user_id), last_outcome, NULL),
            last_reason = iif((external_user_id, tink_user_id) IS (excluded.external_user_id, excluded.tink_user_id), last_reason, NULL)
         WHERE (user_id, external_user_id, tink_user_id, enabled, entitled, entitled_until, market, priority, problem)
            IS NOT (excluded.user_id, excluded.external_user_id, excluded.tink_user_id, excluded.enabled,
                    excluded.entitled, excluded.entitled_until, excluded.market, excluded.priority, excluded.problem)",
    )?
    .execute(named_params! {
        ":id": row.connection_id.as_str(), ":user": row.user_id.as_str(), ":external": external, ":tink": tink,
        ":enabled": row.enabled, ":entitled": row.entitled, ":until": row.entitled_until.map(Millis),
        ":market": row.market, ":priority": row.priority, ":problem": row.problem,
    })?;
    Ok(())
}

/// Disables what the view no longer has; its data stays.
pub fn done(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS ts_seen (connection_id TEXT PRIMARY KEY) WITHOUT ROWID;
         UPDATE ts_connections SET enabled = 0, entitled = 0, problem = NULL
         WHERE (enabled <> 0 OR entitled <> 0 OR problem IS NOT NULL)
           AND connection_id NOT IN (SELECT connection_id FROM temp.ts_seen);
         DROP TABLE temp.ts_seen;",
    )
}

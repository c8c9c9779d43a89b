//! The mirror of the source view: what the application says of its connections, written before each run in one
//! transaction. What it makes of them is `domain::mirroring`'s to say. Says nothing of who is due.

use std::collections::HashSet;

use rusqlite::{Connection, named_params, params};

use super::codec::{Millis, tink_user_columns};
use super::thread::Context;
use super::{forget, owners, population, rehearsal, tokens};
use crate::domain::connection::Viewed;
use crate::domain::mirroring::{self, Change, MirroredState, Stored};
use crate::store::types::{Mirrored, Run};

/// The columns that the view decides, and their values.
const COLUMNS: &str =
    "user_id, external_user_id, tink_user_id, enabled, entitled, entitled_until, market, priority, problem,
    refused, refused_user, moved_external_user_id, moved_tink_user_id, gone_at, lapsed_at";
const VALUES: &str = ":user, :external, :tink, :enabled, :entitled, :until, :market, :priority, :problem,
    :refused, :refused_user, :moved_external, :moved_tink, :gone, :lapsed";

/// Takes the whole view in. Connections that were forgotten since the run began stay forgotten.
pub fn all(db: &Connection, context: &Context, run: &Run, mut viewed: Viewed) -> rusqlite::Result<Mirrored> {
    let forgotten = forgotten_since(db, run)?;
    viewed.rows.retain(|row| !forgotten.contains(row.connection_id.as_str()));
    let (keys, stored): (Vec<i64>, Vec<Stored>) = owners::stored(db)?.into_iter().unzip();
    let (source, at) = (viewed.source.clone(), viewed.at);
    let mirrored = mirroring::mirror(&stored, viewed, population::remembered(db)?);
    let mut took_over = Vec::new();
    for change in &mirrored.changes {
        let before = change.place.and_then(|place| Some((*keys.get(place)?, stored.get(place)?)));
        let key = write(db, change, before)?;
        if let Some((from, gone)) =
            change.takes_over.and_then(|place| Some((*keys.get(place)?, stored.get(place)?)))
        {
            take_over(db, context, from, key)?;
            took_over.push((gone.held.connection_id.as_str().into(), change.connection_id.as_str().into()));
        }
    }
    population::remember(db, &source, mirrored.numbers, mirrored.fall, at)?;
    Ok(Mirrored { numbers: mirrored.numbers, fall: mirrored.fall, took_over })
}

fn forgotten_since(db: &Connection, run: &Run) -> rusqlite::Result<HashSet<String>> {
    let sql =
        "SELECT connection_id FROM ts_audit WHERE key > ?1 AND action = ?2 AND connection_id IS NOT NULL";
    db.prepare_cached(sql)?.query_map(params![run.audited, forget::ACTION], |row| row.get(0))?.collect()
}

/// Writes one connection; returns its key.
fn write(db: &Connection, change: &Change, before: Option<(i64, &Stored)>) -> rusqlite::Result<i64> {
    let key = match before {
        None => insert(db, &change.connection_id, &change.state)?,
        Some((key, before)) => {
            let former = before.state.tink_user.as_ref().filter(|_| before.held.has_data);
            if let Some(former) = former.filter(|former| change.state.tink_user.as_ref() != Some(former)) {
                owners::remember(db, key, former)?;
            }
            update(db, key, &change.state)?;
            if change.other_owner {
                owners::forget_progress(db, key)?;
            }
            key
        }
    };
    if let Some(seed) = &change.seed {
        tokens::seed(db, key, seed)?;
    }
    Ok(key)
}

/// A new connection, under a key that none had before.
fn insert(db: &Connection, id: &str, state: &MirroredState) -> rusqlite::Result<i64> {
    let sql = format!(
        "INSERT INTO ts_connections (key, connection_id, {COLUMNS})
         VALUES ((SELECT max(coalesce((SELECT max(key) FROM ts_connections), 0),
                             coalesce((SELECT value FROM ts_sequences WHERE name = 'ts_connections'), 0)) + 1),
                 :id, {VALUES})"
    );
    let mut statement = db.prepare_cached(&sql)?;
    bind(state, |values| {
        statement.execute([&[(":id", &id as &dyn rusqlite::ToSql)], values].concat().as_slice())
    })?;
    Ok(db.last_insert_rowid())
}

/// Brings a connection up to date; one that is as it was is not written.
fn update(db: &Connection, key: i64, state: &MirroredState) -> rusqlite::Result<usize> {
    let sql = format!(
        "UPDATE ts_connections SET ({COLUMNS}) = ({VALUES}) WHERE key = :key AND ({COLUMNS}) IS NOT ({VALUES})"
    );
    let mut statement = db.prepare_cached(&sql)?;
    bind(state, |values| {
        statement.execute([&[(":key", &key as &dyn rusqlite::ToSql)], values].concat().as_slice())
    })
}

/// Hands on the parameters of [`VALUES`].
fn bind<T>(state: &MirroredState, run: impl FnOnce(&[(&str, &dyn rusqlite::ToSql)]) -> T) -> T {
    let (external, tink) = tink_user_columns(state.tink_user.as_ref());
    let (moved_external, moved_tink) = tink_user_columns(state.moved.as_ref());
    run(named_params! {
        ":user": state.user_id, ":external": external, ":tink": tink,
        ":enabled": state.enabled, ":entitled": state.entitled, ":until": state.entitled_until.map(Millis),
        ":market": state.market, ":priority": state.priority, ":problem": state.problem,
        ":refused": state.refused, ":refused_user": state.refused_user,
        ":moved_external": moved_external, ":moved_tink": moved_tink,
        ":gone": state.gone_at.map(Millis), ":lapsed": state.lapsed_at.map(Millis),
    })
}

/// A rehearsal copies a connection's rows only when it claims it, and lets them change hands then.
pub fn take_over(db: &Connection, context: &Context, from: i64, to: i64) -> rusqlite::Result<()> {
    if !context.rehearsal {
        return owners::take_over(db, from, to);
    }
    owners::hand_over(db, from, to)?;
    db.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS takeovers (held INTEGER NOT NULL, taker INTEGER NOT NULL)",
    )?;
    db.execute("INSERT INTO temp.takeovers VALUES (?1, ?2)", [from, to]).map(drop)
}

/// Copies a connection's rows into a rehearsal's temporary tables, with those that it takes over.
pub fn shadow(db: &Connection, connection: i64) -> rusqlite::Result<()> {
    rehearsal::shadow(db, connection)?;
    let made = "SELECT EXISTS (SELECT 1 FROM temp.sqlite_master WHERE name = 'takeovers')";
    if !db.query_row(made, [], |row| row.get::<_, bool>(0))? {
        return Ok(());
    }
    let mut held = db.prepare("SELECT held FROM temp.takeovers WHERE taker = ?1")?;
    let held: Vec<i64> = held.query_map([connection], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    held.into_iter().try_for_each(|from| {
        rehearsal::shadow(db, from)?;
        owners::move_accounts(db, from, connection)
    })
}

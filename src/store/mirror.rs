//! The mirror of the source view: what the application declares about its connections, written before each
//! run in one transaction. `domain::mirroring` decides what follows from it. Does not decide which
//! connections are due.

use std::collections::HashSet;

use jiff::Timestamp;

use super::engine::value::{optional_text, tink_user_columns};
use super::engine::{Context, Db, Fail, Params, ToValue, Value, values};
use super::owners::MIRRORED;
use super::population::LastView;
use super::{forget, liveness, owners, population, tokens};
use crate::domain::ids::ConnectionId;
use crate::domain::mirroring::survey::{Survey, Surveyed, ViewPart};
use crate::domain::mirroring::{Change, MirroredState, Stored};
use crate::domain::population::Fall;
use crate::domain::view::{ViewRows, Viewed};
use crate::store::types::{Mirrored, Run};

/// The values of [`MIRRORED`].
const VALUES: &str = ":user, :external, :tink, :enabled, :entitled, :until, :market, :priority, :problem,
    :refused, :refused_user, :moved_external, :moved_tink, :gone, :lapsed";

/// About this many connections are compared at a time; those that share a Tink user stay together. The keys
/// of new ones are requested in one round trip to a server.
const AT_ONCE: usize = 500;

/// Mirrors the whole view. Connections that were forgotten since the run began stay forgotten. Writes nothing if
/// another host has mirrored a reading of it that began later: what the application has changed in between must
/// not be undone.
pub(super) fn all(db: Db<'_>, context: &Context, run: &Run, viewed: Viewed) -> Result<Mirrored, Fail> {
    // One mirroring at a time, on all hosts: the stored side must not change meanwhile.
    db.lock_view()?;
    // Nor may a run that others have ended meanwhile write what it read before.
    if !context.rehearsal {
        liveness::at_work_still(db, run.key)?;
    }
    let Viewed { rows, source, stand_alone, at, since } = viewed;
    if let Some(LastView { numbers, fallen, .. }) = population::newer(db, &source, since)? {
        let fall = fallen.map(|(since, before)| Fall { before, now: numbers, gone: 0, since });
        return Ok(Mirrored { numbers, fall, is_outdated: true, ..Mirrored::default() });
    }
    let surveyed = survey(db, without(rows, &forgotten_since(db, run)?), at)?;
    let (mut taken, mut news) = (0, surveyed.open_alone());
    for part in surveyed.shared_parts() {
        let (more_taken, more_news) = part.taken_and_news(&owners::stored_of(db, &part.keys())?.1);
        taken += more_taken;
        news += more_news;
    }
    // An operator maintains our own tables, so that a fall there is intended.
    let fall = surveyed.fall(population::remembered(db)?, taken).filter(|_| !stand_alone);
    // The accounts of a renamed connection get numbers, too.
    db.expect_changes(news * 16)?;
    let mut took_over = Vec::new();
    for part in surveyed.open_parts() {
        took_over.extend(write_part(db, context, run, part, fall)?);
    }
    let numbers = surveyed.numbers();
    population::remember(db, &source, numbers, fall, (at, since))?;
    Ok(Mirrored { numbers, fall, took_over, is_outdated: false })
}

/// Writes the changes of a part; returns whose data was taken over, and by which connection.
pub(super) fn write_part(
    db: Db<'_>,
    context: &Context,
    run: &Run,
    part: ViewPart<'_>,
    fall: Option<Fall>,
) -> Result<Vec<(ConnectionId, ConnectionId)>, Fail> {
    let known = part.keys();
    let (keys, stored) = owners::stored_of(db, &known)?;
    let at_place = |place: usize| Some((*keys.get(place)?, stored.get(place)?));
    let mut changes = part.changes(&stored, fall);
    if keys.len() < known.len() {
        // Forgotten since both sides were read, which may happen on a store with many hosts.
        let forgotten = forgotten_since(db, run)?;
        changes.retain(|change| change.place.is_some() || !forgotten.contains(&change.connection_id));
    }
    let mut took_over = Vec::new();
    for changes in changes.chunks(AT_ONCE) {
        let mut new = changes.iter().filter(|change| change.place.is_none());
        new.try_for_each(|_| db.new_key_ahead("ts_connections"))?;
        for change in changes {
            let key = write(db, change, change.place.and_then(at_place))?;
            if let Some((from, gone)) = change.takes_over.and_then(at_place) {
                take_over(db, context, from, key)?;
                took_over
                    .push((gone.held.connection_id.as_str().into(), change.connection_id.as_str().into()));
            }
        }
    }
    Ok(took_over)
}

/// Reads both sides once, and cuts them into parts.
pub(super) fn survey(db: Db<'_>, rows: ViewRows, at: Timestamp) -> Result<Surveyed, Fail> {
    let mut survey = Survey::of(rows, at);
    owners::each_stored(db, |key, stored| survey.add(key, &stored))?;
    Ok(survey.done(AT_ONCE))
}

fn without(rows: ViewRows, forgotten: &HashSet<String>) -> ViewRows {
    if forgotten.is_empty() {
        return rows;
    }
    rows.iter().filter(|row| !forgotten.contains(row.connection_id.as_str())).collect()
}

fn forgotten_since(db: Db<'_>, run: &Run) -> Result<HashSet<String>, Fail> {
    let sql =
        "SELECT connection_id FROM ts_audit WHERE key > ?1 AND action = ?2 AND connection_id IS NOT NULL";
    db.column(sql, values![run.audited, forget::ACTION])
}

/// Writes one connection; returns its key.
fn write(db: Db<'_>, change: &Change, before: Option<(i64, &Stored)>) -> Result<i64, Fail> {
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

/// Inserts a connection under a key that none had before.
fn insert(db: Db<'_>, id: &str, state: &MirroredState) -> Result<i64, Fail> {
    let key = db.new_key("ts_connections")?;
    let sql =
        format!("INSERT INTO ts_connections (key, connection_id, {MIRRORED}) VALUES (:key, :id, {VALUES})");
    let mut bound = parameters(state);
    bound.extend([(":key", Value::Int(key)), (":id", id.to_value())]);
    db.run(&sql, Params::Named(&bound))?;
    Ok(key)
}

/// Updates a connection, if anything has changed.
fn update(db: Db<'_>, key: i64, state: &MirroredState) -> Result<(), Fail> {
    let sql = format!(
        "UPDATE ts_connections SET ({MIRRORED}) = ({VALUES}) WHERE key = :key AND ({MIRRORED}) IS DISTINCT FROM ({VALUES})"
    );
    let mut bound = parameters(state);
    bound.push((":key", Value::Int(key)));
    db.run(&sql, Params::Named(&bound))
}

/// The parameters of [`VALUES`].
fn parameters(state: &MirroredState) -> Vec<(&'static str, Value<'_>)> {
    let (external, tink) = tink_user_columns(state.tink_user.as_ref());
    let (moved_external, moved_tink) = tink_user_columns(state.moved.as_ref());
    vec![
        (":user", state.user_id.to_value()),
        (":external", optional_text(external)),
        (":tink", optional_text(tink)),
        (":enabled", state.enabled.to_value()),
        (":entitled", state.entitled.to_value()),
        (":until", state.entitled_until.map_or(Value::Null, Value::Millis)),
        (":market", state.market.to_value()),
        (":priority", state.priority.to_value()),
        (":problem", state.problem.to_value()),
        (":refused", state.refused.to_value()),
        (":refused_user", state.refused_user.to_value()),
        (":moved_external", optional_text(moved_external)),
        (":moved_tink", optional_text(moved_tink)),
        (":gone", state.gone_at.map_or(Value::Null, Value::Millis)),
        (":lapsed", state.lapsed_at.map_or(Value::Null, Value::Millis)),
    ]
}

/// Moves the data of `from` to `to`. A rehearsal copies the rows of a connection only when it claims it, and
/// moves them then.
pub(super) fn take_over(db: Db<'_>, context: &Context, from: i64, to: i64) -> Result<(), Fail> {
    if !context.rehearsal {
        return owners::take_over(db, from, to);
    }
    owners::hand_over(db, from, to)?;
    db.note_takeover(from, to)
}

/// Copies a connection's rows into a rehearsal's temporary tables, including those that it takes over.
pub(super) fn shadow(db: Db<'_>, connection: i64) -> Result<(), Fail> {
    db.shadow(connection)?;
    db.takeovers(connection)?.into_iter().try_for_each(|from| {
        db.shadow(from)?;
        owners::move_accounts(db, from, connection)
    })
}

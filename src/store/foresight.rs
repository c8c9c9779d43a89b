//! What the next run will see, and which connections it will leave alone: the beginning of a run, rehearsed
//! on temporary tables with the statements of the run itself. So `why`, `check` and `connections` always
//! agree with the run.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::engine::sqlite::open;
use super::engine::{Context, Db, Fail, values};
use super::{Place, Reader, mirror, plan, reads, runs};
use crate::domain::connection::Nulls;
use crate::domain::ids::ConnectionId;
use crate::domain::outcome::Reason;
use crate::domain::view::Viewed;
use crate::store::reads::{KnownConnection, Overlaid};
use crate::store::{Mirrored, NewRun, PlanRules, Result, StoreError};

const WHAT: &str = "foresee the next run";

/// The connections as a pass that began now would see them: with `viewed` mirrored, and for each skipped
/// connection the reason. A store that does not exist yet, or that the run will migrate to this release,
/// counts as empty.
///
/// # Errors
/// [`StoreError`] if the store cannot be read.
pub fn foresee(place: &Place, viewed: Option<Viewed>, rules: &PlanRules) -> Result<Overlaid> {
    if !place.is_there()? {
        return foresee_anew(viewed, rules);
    }
    match Reader::open(place) {
        Err(StoreError::Older { .. }) => foresee_anew(viewed, rules),
        opened => opened?.foresee(viewed, rules),
    }
}

/// As [`foresee`], for an empty store.
///
/// # Errors
/// As [`foresee`].
pub fn foresee_anew(viewed: Option<Viewed>, rules: &PlanRules) -> Result<Overlaid> {
    let session = open::empty(Path::new(":memory:"), Duration::ZERO, rules.now)?;
    let done = rehearse(session.db(), &session.context, viewed, rules);
    let mut overlaid = done.map_err(|fail| session.explain(WHAT, fail))?;
    for connection in &mut overlaid.connections {
        connection.key = None;
    }
    Ok(overlaid)
}

impl Reader {
    /// The connections as a pass that began at the moment of this snapshot would see them; see [`foresee`].
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn foresee(&self, viewed: Option<Viewed>, rules: &PlanRules) -> Result<Overlaid> {
        let mut context = Context::new(&self.path(), Duration::ZERO);
        context.rehearsal = true;
        self.read(WHAT, |db| {
            let fill = |db: Db<'_>| runs::shadow_shared(db, rules.now);
            db.rehearsing(fill, |db| rehearse(db, &context, viewed, rules))
        })
    }
}

fn rehearse(
    db: Db<'_>,
    context: &Context,
    viewed: Option<Viewed>,
    rules: &PlanRules,
) -> Result<Overlaid, Fail> {
    let new = NewRun {
        run_id: "foreseen".into(),
        trigger: "timer",
        on_demand: false,
        host: String::new(),
        version: env!("CARGO_PKG_VERSION"),
        process_started: rules.now,
        started_at: rules.now,
    };
    let run = runs::begin(db, context, &new)?;
    let rows = viewed.iter().flat_map(|viewed| viewed.rows.iter());
    let odd = rows.filter(|row| row.until_unreadable || row.nulls != Nulls::default());
    let odd: HashMap<ConnectionId, (bool, Nulls)> =
        odd.map(|row| (row.connection_id, (row.until_unreadable, row.nulls))).collect();
    let mirrored = viewed.map(|viewed| mirror::all(db, context, &run, viewed)).transpose()?;
    let mirrored = mirrored.unwrap_or_default();
    let (reasons, kept) = (plan::reasons(db, &run, rules)?, kept(db)?);
    let mut connections = connections(db, context, &mirrored)?;
    for connection in &mut connections {
        connection.skipped = connection.key.and_then(|key| reasons.get(&key).copied());
        if connection.skipped.is_none() {
            // The pass takes it, whatever its last attempt has put off.
            let past = |at: &Timestamp| *at <= rules.now;
            connection.next_due = connection.next_due.filter(past);
            connection.not_before = connection.not_before.filter(past);
        }
        connection.key = connection.key.filter(|key| kept.contains(key));
        let odd = odd.get(&connection.connection_id.as_str().into()).copied();
        (connection.until_unreadable, connection.nulls) = odd.unwrap_or_default();
    }
    Ok(Overlaid { connections, numbers: mirrored.numbers, fall: mirrored.fall })
}

fn connections(db: Db<'_>, context: &Context, mirrored: &Mirrored) -> Result<Vec<KnownConnection>, Fail> {
    let mut connections = reads::known_connections(db, &context.path)?;
    for connection in &mut connections {
        let id = connection.connection_id.as_str();
        // Its rows move when the run claims the connection that takes them over.
        let gave = mirrored.took_over.iter().any(|(from, _)| from.as_str() == id);
        connection.has_data &= !gave;
        // The run asks Tink again for what it did not show in the last run; until then, that is the problem.
        let unproven = connection.moved.is_some()
            && connection.last_reason.as_deref() == Some(Reason::SourceRow.as_str());
        if connection.problem.is_none() && unproven {
            connection.problem.clone_from(&connection.last_error);
        }
    }
    Ok(connections)
}

/// The keys of the connections in the store itself, without those that the rehearsal added.
fn kept(db: Db<'_>) -> Result<HashSet<i64>, Fail> {
    db.column("SELECT key FROM main.ts_connections", values![])
}

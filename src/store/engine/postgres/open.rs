//! Opens a store on a server, for writing and for reading, and refuses one of another release.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::connect::Target;
use super::session::Pg;
use super::{rehearsal as overlay, schema};
use crate::store::engine::context::Conn;
use crate::store::engine::{Context, Db, DbSession, Fail};
use crate::store::place::Place;
use crate::store::{Result, StoreError};

/// Whether the database has our tables.
///
/// # Errors
/// [`StoreError`] if the server cannot be queried.
pub(crate) fn is_there(target: &Arc<Target>) -> Result<bool> {
    let (pg, context) = connect("look for the store", target, Duration::ZERO)?;
    let found = schema::version(&pg).map_err(|fail| context.explain("look for the store", fail))?;
    Ok(found > 0)
}

pub(super) fn connect(what: &'static str, target: &Arc<Target>, patience: Duration) -> Result<(Pg, Context)> {
    let context = Context::of_server(target, patience);
    let pg = context.patiently(what, || Pg::connect(target))?;
    Ok((pg, context))
}

/// Opens an existing store for reading, in a transaction that shows its current state.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Older`], or as for [`writer`].
pub(crate) fn reader(target: &Arc<Target>) -> Result<DbSession> {
    snapshot("read the store", target, Duration::ZERO)
}

fn snapshot(what: &'static str, target: &Arc<Target>, patience: Duration) -> Result<DbSession> {
    let (pg, context) = connect(what, target, patience)?;
    // A reader may be slow: output to a pipe, a rehearsal that waits for Tink.
    pg.begin(" ISOLATION LEVEL REPEATABLE READ; SET LOCAL idle_in_transaction_session_timeout = 0");
    let found = schema::version(&pg).map_err(|fail| context.explain(what, fail))?;
    let path = || target.url().to_owned();
    if found == 0 {
        return Err(StoreError::Missing { place: Place::Postgres(Arc::clone(target)) });
    }
    if found > schema::KNOWN {
        return Err(StoreError::newer(path(), found, schema::KNOWN));
    }
    if found < schema::KNOWN {
        return Err(StoreError::Older { path: path(), found, pending: schema::pending(found) });
    }
    Ok(DbSession::of_server(pg, context))
}

/// Opens a store for writing, creating and migrating it as needed.
///
/// # Errors
/// [`StoreError`] if there is no session, or the store is of a newer release.
pub(crate) fn writer(target: &Arc<Target>, patience: Duration, now: Timestamp) -> Result<DbSession> {
    let (pg, context) = connect("open the store", target, patience)?;
    let prepared = context.patiently("prepare the store", || {
        if pg.is_lost() {
            pg.reconnect()?;
        }
        let done = schema::migrate(&pg, now.as_millisecond());
        if done.is_err() {
            pg.rollback();
        }
        done
    });
    let found = prepared?;
    if found > schema::KNOWN {
        return Err(StoreError::newer(target.url().to_owned(), found, schema::KNOWN));
    }
    Ok(DbSession::of_server(pg, context))
}

/// As [`writer`], but also opens a store that a move has not completed.
///
/// # Errors
/// As for [`writer`].
pub(crate) fn unfinished(target: &Arc<Target>, now: Timestamp) -> Result<DbSession> {
    match writer(target, Duration::ZERO, now) {
        Err(StoreError::Unfinished { .. }) => {
            let (pg, context) = connect("open the store", target, Duration::ZERO)?;
            Ok(DbSession::of_server(pg, context))
        }
        opened => opened,
    }
}

/// A rehearsal on the store, with the data that `fill` copies: one transaction that is never committed.
///
/// # Errors
/// As for [`reader`].
pub(crate) fn rehearsal(
    target: &Arc<Target>,
    patience: Duration,
    fill: impl Fn(Db<'_>) -> std::result::Result<(), Fail>,
) -> Result<DbSession> {
    let mut session = snapshot("rehearse", target, patience)?;
    session.context.rehearsal = true;
    if let Conn::Postgres(pg) = &session.conn {
        overlay::lay(pg, &fill).map_err(|fail| session.context.explain("rehearse", fail))?;
    }
    Ok(session)
}

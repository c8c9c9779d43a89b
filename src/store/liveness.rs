//! Which runs are alive, and what they hold. On a file store, a run holds an operating-system lock on a file
//! while it lives, so a dead run's leases end at once, regardless of the clock. Writes no outcome of a live
//! run.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::engine::value::{Millis, json_numbers, unsigned};
use super::engine::{Context, Db, Fail, named, values};
use crate::store::types::Lease;

pub(super) fn lock_path(store: &Path, run_id: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(format!("-run-{run_id}.lock"));
    PathBuf::from(name)
}

pub(super) fn hold(context: &Context, run_id: &str) -> std::io::Result<()> {
    let file = if context.rehearsal || context.target.is_some() {
        None
    } else {
        Some(lock_file(&lock_path(&context.path, run_id))?)
    };
    file.as_ref().map_or(Ok(()), File::lock)?;
    context.run_locks.borrow_mut().insert(run_id.to_owned(), file);
    Ok(())
}

/// Opens a lock file. Only its owner may use it, regardless of the umask and of who may read the store.
fn lock_file(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let no_link = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    File::options().write(true).create(true).truncate(true).mode(0o600).custom_flags(no_link).open(path)
}

/// Whether a run of another process is gone: its lock file is missing or no longer locked.
fn is_dead(context: &Context, run_id: &str) -> bool {
    !context.run_locks.borrow().contains_key(run_id) && has_died(&context.path, run_id)
}

/// As [`is_dead`], for a run of another process; `store` is the file under the name that its runs use. On a
/// server: whether the run's `alive_until` has passed.
pub(super) fn is_over(db: Db<'_>, store: &Path, run_id: &str) -> Result<bool, Fail> {
    match db {
        Db::Sqlite(_) => Ok(has_died(store, run_id)),
        Db::Postgres(_) => {
            let alive = "SELECT 1 FROM ts_runs WHERE run_id = ?1 AND alive_until > clock_timestamp()";
            db.exists(alive, values![run_id]).map(|alive| !alive)
        }
    }
}

/// As [`is_over`], for a file.
fn has_died(store: &Path, run_id: &str) -> bool {
    // A lock file that cannot be checked counts as locked; the leases of its run expire.
    let file = match File::open(lock_path(store, run_id)) {
        Ok(file) => file,
        Err(error) => return error.kind() == std::io::ErrorKind::NotFound,
    };
    match file.try_lock_shared() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

/// The id of a run that is at work on this store now, if there is one.
pub(super) fn at_work(db: Db<'_>, store: &Path) -> Result<Option<String>, Fail> {
    let open = "SELECT run_id FROM ts_runs WHERE finished_at IS NULL ORDER BY key";
    let open: Vec<String> = db.column(open, values![])?;
    for run_id in open {
        if !is_over(db, store, &run_id)? {
            return Ok(Some(run_id));
        }
    }
    Ok(None)
}

/// The SQL condition that a run holds connection `c` at the time `:now`. The only place that decides it: on a
/// server a lease lasts as long as its run, and `lease_until` keeps the value that it had when it was taken.
pub(super) const fn leased(db: Db<'_>) -> &'static str {
    match db {
        Db::Sqlite(_) => "(c.lease_token IS NOT NULL AND c.lease_until > :now)",
        // Uses the database's clock, which all hosts share.
        Db::Postgres(_) => {
            "(c.lease_token IS NOT NULL AND EXISTS (SELECT 1 FROM ts_runs l
              WHERE l.key = c.lease_run AND l.finished_at IS NULL AND l.alive_until > clock_timestamp()))"
        }
    }
}

/// The SQL condition that run `r`, which has not ended, may still be at work. On a server nobody can see that a process
/// is gone: one that holds nothing and has missed two signs of life counts as gone. If it is not, it claims what others
/// have left, as any run.
pub(super) const fn may_be_at_work(db: Db<'_>) -> &'static str {
    match db {
        Db::Sqlite(_) => "r.finished_at IS NULL",
        // It was last heard of four minutes before `alive_until`, and is heard of every 15 seconds.
        Db::Postgres(_) => {
            "(r.finished_at IS NULL AND (r.alive_until > clock_timestamp() + interval '210 seconds' OR EXISTS (
                SELECT 1 FROM ts_run_connections n JOIN ts_connections c ON c.key = n.connection
                WHERE n.run = r.key AND n.outcome IS NULL AND c.lease_run = r.key)))"
        }
    }
}

/// Whether a run holds the connection. If none does, none can claim it until the transaction ends.
pub(super) fn is_leased(db: Db<'_>, connection: i64, now: Timestamp) -> Result<bool, Fail> {
    if db.is_shared() {
        // A claim leaves out what another transaction has locked. Nor is it waited for here: a run that commits
        // on the connection has the lock, and may itself wait for what this transaction holds.
        let lock = "SELECT key FROM ts_connections WHERE key = ?1 FOR NO KEY UPDATE SKIP LOCKED";
        if !db.exists(lock, values![connection])? {
            return Ok(true);
        }
    }
    let sql = format!("SELECT 1 FROM ts_connections c WHERE c.key = :key AND {}", leased(db));
    db.exists(&sql, named! { ":key": connection, ":now": Millis(now) })
}

/// The SQL expression for when the lease of connection `c` ends unless its run renews it, in milliseconds.
pub(super) const fn lease_end(db: Db<'_>) -> &'static str {
    match db {
        Db::Sqlite(_) => "c.lease_until",
        Db::Postgres(_) => {
            "(SELECT CAST(extract(epoch FROM l.alive_until) * 1000 AS BIGINT) FROM ts_runs l WHERE l.key = c.lease_run)"
        }
    }
}

/// Ends runs whose process is gone and releases their leases; returns whether there was one.
pub(super) fn sweep(db: Db<'_>, context: &Context, now: Timestamp) -> Result<bool, Fail> {
    let open = match db {
        Db::Sqlite(_) => "SELECT key, run_id FROM ts_runs WHERE finished_at IS NULL",
        Db::Postgres(_) => {
            "SELECT key, run_id FROM ts_runs WHERE finished_at IS NULL AND alive_until <= clock_timestamp()
             FOR UPDATE SKIP LOCKED"
        }
    };
    let open: Vec<(i64, String)> = db.all(open, values![], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut found = false;
    for (key, run_id) in open {
        if !db.is_shared() && !is_dead(context, &run_id) {
            continue;
        }
        found = true;
        // In the order in which a run records its outcomes, so that the two cannot deadlock: first the connection.
        db.run(
            "UPDATE ts_connections SET lease_run = NULL, lease_token = NULL, lease_until = NULL
             WHERE lease_run = ?1 AND key IN (SELECT connection FROM ts_run_connections WHERE run = ?1)",
            values![key],
        )?;
        db.run(
            "UPDATE ts_run_connections SET outcome = 'interrupted', again = 0 WHERE run = ?1 AND outcome IS NULL",
            values![key],
        )?;
        db.run("UPDATE ts_runs SET finished_at = ?2 WHERE key = ?1", values![key, Millis(now)])?;
        if !context.rehearsal && !db.is_shared() {
            // If it is left behind: an unlocked file means the same as a missing one.
            let _ = std::fs::remove_file(lock_path(&context.path, &run_id));
        }
    }
    Ok(found)
}

/// Fails with [`Fail::LeaseLost`] unless the lease is still ours; on a server with the next answer.
pub(super) fn held(db: Db<'_>, lease: &Lease) -> Result<(), Fail> {
    if let Db::Postgres(pg) = db {
        pg.fence(lease);
        return Ok(());
    }
    let ours: Option<i64> = db.one(
        "SELECT 1 FROM ts_connections WHERE key = ?1 AND lease_token = ?2 AND lease_run = ?3",
        values![lease.connection, lease.token, lease.run],
        |row| row.get(0),
    )?;
    ours.map(|_| ()).ok_or_else(|| Fail::LeaseLost(lease.clone()))
}

/// Fails if other hosts have ended the run because it was silent for too long.
pub(super) fn at_work_still(db: Db<'_>, run: i64) -> Result<(), Fail> {
    match db {
        // Its lock shows that it lives as long as its process does.
        Db::Sqlite(_) => Ok(()),
        Db::Postgres(pg) => pg.send("SELECT tink_sync.ts_at_work(?1)", values![run]),
    }
}

/// The runs that hold these connections, each with the time until which it counts as alive, in milliseconds.
/// Empty for a file: a run dies with its process there, so there is no sign of life to wait for.
pub(super) fn heard_of(db: Db<'_>, connections: impl Iterator<Item = i64>) -> Result<Vec<(i64, i64)>, Fail> {
    if !db.is_shared() {
        return Ok(Vec::new());
    }
    let sql = "SELECT r.key, CAST(extract(epoch FROM r.alive_until) * 1000 AS BIGINT) FROM ts_runs r
         WHERE r.finished_at IS NULL AND r.alive_until > clock_timestamp() AND r.key IN (
             SELECT c.lease_run FROM ts_connections c
             WHERE c.key IN (SELECT CAST(value AS BIGINT) FROM json_each(?1))) ORDER BY r.key";
    db.all(sql, values![json_numbers(connections)], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Extends every lease of the run. On a server a lease lasts as long as its run; returns for how long from
/// now.
pub(super) fn renew(db: Db<'_>, run: i64, until: Timestamp) -> Result<Option<Duration>, Fail> {
    if db.is_shared() {
        let alive = "UPDATE ts_runs SET alive_until = DEFAULT WHERE key = ?1 AND finished_at IS NULL
             RETURNING CAST(extract(epoch FROM alive_until - clock_timestamp()) * 1000 AS BIGINT)";
        let life: Option<i64> = db.one(alive, values![run], |row| row.get(0))?;
        return life.map(|life| Some(Duration::from_millis(unsigned(life)))).ok_or(Fail::RunOver);
    }
    db.run("UPDATE ts_connections SET lease_until = ?2 WHERE lease_run = ?1", values![run, Millis(until)])?;
    Ok(None)
}

#[cfg(test)]
mod tests;

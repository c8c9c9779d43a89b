//! Reads for people: what `status`, `why`, `check` and `connections` show. Must not write, and does not
//! decide which connections are due.

mod audit;
mod balances;
mod detail;
mod known;
mod quarantine;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use jiff::Timestamp;

use super::engine::value::{Cell, Millis, TimeColumn, json_numbers};
use super::engine::{Db, Fail, Row, named, values};
use super::liveness;
use super::owners::{self, HAS_DATA};
use super::plan::{self, COUNTED};
use super::population::{self, LastView};
use super::{Reader, app, runs};
use crate::domain::connection::Nulls;
use crate::store::Result;
use crate::vault::KEY_ID;
pub use audit::{AuditQuery, Audited};
pub use balances::AccountReconciliation;
pub use detail::{Detail, KnownAccount, KnownConsent, PastAttempt};
pub use known::{Holder, KnownConnection, Overlaid, State};
pub use quarantine::{NotKept, Quarantined};

impl Reader {
    /// Every mirrored connection, by id. One that a dead run holds counts as free.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn connections(&self) -> Result<Vec<KnownConnection>> {
        self.read("read the connections", |db| known_connections(db, &self.path()))
    }

    /// As [`Self::connections`], but passes them to `take` one by one, so that not all are held in memory.
    ///
    /// # Errors
    /// [`super::StoreError`] if they cannot be read.
    pub fn each_connection(&self, mut take: impl FnMut(KnownConnection)) -> Result<()> {
        self.read("read the connections", |db| each_known(db, &self.path(), None, &mut take))
    }

    /// As [`Self::connections`], those with these keys.
    ///
    /// # Errors
    /// [`super::StoreError`] if they cannot be read.
    pub fn connections_of(&self, keys: &[i64]) -> Result<Vec<KnownConnection>> {
        let mut some = Vec::with_capacity(keys.len());
        let keys = json_numbers(keys.iter().copied());
        let take = &mut |connection| some.push(connection);
        self.read("read the connections", |db| each_known(db, &self.path(), Some(&keys), take))?;
        Ok(some)
    }
}

/// As [`Reader::connections`], also in a rehearsal; consents, accounts and former users are those of the
/// store itself.
pub(super) fn known_connections(db: Db<'_>, path: &Path) -> Result<Vec<KnownConnection>, Fail> {
    let mut all = Vec::new();
    each_known(db, path, None, &mut |connection| all.push(connection))?;
    Ok(all)
}

/// `keys` is a JSON list; without one, all are read.
fn each_known(
    db: Db<'_>,
    path: &Path,
    keys: Option<&str>,
    take: &mut impl FnMut(KnownConnection),
) -> Result<(), Fail> {
    let these = keys.map_or("TRUE", |_| "c.key IN (SELECT CAST(value AS BIGINT) FROM json_each(?1))");
    let rows = format!(
        "SELECT (SELECT run_id FROM ts_runs r WHERE r.key = c.lease_run) AS lease_run_id, {} AS lease_end, {KNOWN},
                {HAS_DATA} AS has_data,
                (SELECT min(expires_at) FROM main.ts_consents s WHERE s.connection = c.key AND s.superseded = 0)
                    AS consent_ends,
                EXISTS (SELECT 1 FROM main.ts_consents s
                        WHERE s.connection = c.key AND s.superseded = 0 AND s.status = 'SESSION_EXPIRED') AS consent_expired
         FROM ts_connections c WHERE {these} ORDER BY connection_id",
        liveness::lease_end(db)
    );
    let mut dead = HashMap::new();
    let mut former = owners::former(db, keys)?;
    let mut read = |row: Row<'_>| {
        let mut connection = known_connection(row)?;
        if let Some(holder) = &mut connection.holder {
            let known = dead.get(&holder.run_id).copied();
            let is_over = known.map_or_else(|| liveness::is_over(db, path, &holder.run_id), Ok)?;
            dead.insert(holder.run_id.clone(), is_over);
            // A server has compared with its own clock, which decides; that of this host may differ.
            holder.is_certain = db.is_shared() && !is_over;
            connection.holder = connection.holder.filter(|_| !is_over);
        }
        let former = connection.key.and_then(|key| former.remove(&key)).unwrap_or_default();
        take(KnownConnection { former, ..connection });
        Ok(true)
    };
    match keys {
        Some(keys) => db.walk(&rows, values![keys], &mut read),
        None => db.walk(&rows, values![], &mut read),
    }
}

impl Reader {
    /// The source view as it was last read; `None` if it never was.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn last_view(&self) -> Result<Option<LastView>> {
        self.read("read what is remembered of the source view", population::last)
    }

    /// The first bytes of the tokens in use, which are the ids of the keys that they were encrypted with, each once.
    ///
    /// # Errors
    /// [`super::StoreError`] if they cannot be read.
    pub fn token_keys(&self) -> Result<Vec<Vec<u8>>> {
        let keys = format!(
            "SELECT DISTINCT substr(t.refresh, 1, {KEY_ID}) FROM ts_tokens t JOIN ts_connections c ON c.key = t.connection
             WHERE t.refresh IS NOT NULL AND t.state <> 'lost' AND c.enabled <> 0 AND c.gone_at IS NULL"
        );
        self.read("read the keys of the tokens", |db| db.all(&keys, values![], |row| row.get(0)))
    }

    /// The client id of the Tink app whose data is stored; `None` if none is recorded yet.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn app(&self) -> Result<Option<String>> {
        self.read("read the app", app::remembered)
    }
}

/// The columns of a connection in the order in which they are read, so that each is found at once.
const KNOWN: &str = "c.key, c.connection_id, c.user_id, c.external_user_id, c.tink_user_id, c.mode, c.enabled, c.entitled,
    c.entitled_until, c.problem, c.refused, c.refused_user, c.moved_external_user_id, c.moved_tink_user_id, c.gone_at,
    c.lapsed_at, c.last_attempt_at, c.last_success_at, c.data_as_of, c.last_success_began, c.next_due, c.not_before,
    c.failures, c.last_outcome, c.last_reason, c.last_error, c.needs_user";

fn known_connection(row: Row<'_>) -> Result<KnownConnection, Fail> {
    let holder = match (row.get("lease_run_id")?, row.millis("lease_end")?) {
        (Some(run_id), Some(until)) => Some(Holder { run_id, until, is_certain: false }),
        _ => None,
    };
    Ok(KnownConnection {
        key: row.get("key")?,
        connection_id: row.get("connection_id")?,
        user_id: row.get("user_id")?,
        tink_user: row.tink_user()?,
        mode: row.get("mode")?,
        enabled: row.get("enabled")?,
        entitled: row.get("entitled")?,
        entitled_until: row.millis("entitled_until")?,
        problem: row.get("problem")?,
        refused: row.get("refused")?,
        refused_user: row.get("refused_user")?,
        moved: owners::moved(row)?,
        former: Vec::new(),
        gone_at: row.millis("gone_at")?,
        lapsed_at: row.millis("lapsed_at")?,
        last_attempt_at: row.millis("last_attempt_at")?,
        last_success_at: row.millis("last_success_at")?,
        data_as_of: row.time("data_as_of")?,
        last_success_began: row.millis("last_success_began")?,
        next_due: row.millis("next_due")?,
        not_before: row.millis("not_before")?,
        failures: row.get("failures")?,
        last_outcome: row.get("last_outcome")?,
        last_reason: row.get("last_reason")?,
        last_error: row.get("last_error")?,
        needs_user: row.get("needs_user")?,
        has_data: row.get("has_data")?,
        holder,
        consent_ends: row.time("consent_ends")?,
        consent_expired: row.get("consent_expired")?,
        until_unreadable: false,
        nulls: Nulls::default(),
        skipped: None,
    })
}

/// A run, with the columns of `runs_v1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RunRow {
    /// Its id.
    pub run_id: String,
    /// `timer`, `manual` or `app`.
    pub trigger: String,
    /// The machine.
    pub host: String,
    /// The program's version.
    pub version: String,
    /// When it began.
    pub started_at: String,
    /// When it ended; `None` while it runs.
    pub finished_at: Option<String>,
    /// Its exit code; `None` while it runs, or if it died.
    pub exit_code: Option<u8>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// Whether it is at work: it has not ended, and its process lives.
    #[serde(skip)]
    pub at_work: bool,
    /// The totals; `None` for a number that the run did not write.
    #[serde(flatten)]
    pub totals: BTreeMap<String, Option<i64>>,
}

impl RunRow {
    /// One of the totals.
    pub fn total(&self, name: &str) -> Option<i64> {
        self.totals.get(name).copied().flatten()
    }
}

impl Reader {
    /// The last runs, newest first.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn runs(&self, limit: u32) -> Result<Vec<RunRow>> {
        self.newest_runs("", limit)
    }

    fn newest_runs(&self, condition: &str, limit: u32) -> Result<Vec<RunRow>> {
        let sql = format!(
            "SELECT v.* FROM (SELECT run_id, started_at FROM ts_runs {condition} ORDER BY started_at DESC LIMIT ?1) r
             JOIN runs_v1 v ON v.run_id = r.run_id ORDER BY r.started_at DESC"
        );
        self.read("read the runs", |db| {
            let path = self.path();
            let row = |row: Row<'_>| {
                let run = run_row(row)?;
                let at_work = run.finished_at.is_none() && !liveness::is_over(db, &path, &run.run_id)?;
                Ok(RunRow { at_work, ..run })
            };
            db.all(&sql, values![limit], row)
        })
    }

    /// When the last passes began, newest first. A run on demand is not a pass.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn passes(&self, limit: u32) -> Result<Vec<Timestamp>> {
        self.read("read the passes", |db| {
            let rows = "SELECT started_at FROM ts_runs WHERE on_demand = 0 ORDER BY started_at DESC LIMIT ?1";
            db.all(rows, values![limit], |row| Ok(row.get::<Millis>(0)?.0))
        })
    }

    /// The pass that began last, whether it has ended or not.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn last_pass(&self) -> Result<Option<RunRow>> {
        Ok(self.newest_runs("WHERE on_demand = 0", 1)?.pop())
    }

    /// The pass that ended last; one that died did not.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn last_finished_pass(&self) -> Result<Option<RunRow>> {
        self.read("read the last pass", |db| {
            let ended = runs::pass_that_ended_last("run_id", "IS NOT NULL");
            db.one(&format!("SELECT * FROM runs_v1 WHERE run_id = ({ended})"), values![], run_row)
        })
    }

    /// The end of the last pass that succeeded (exit code 0 or 11).
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn last_good_end(&self) -> Result<Option<Timestamp>> {
        self.read("read the last pass", |db| {
            let ended = runs::pass_that_ended_last("finished_at", "IN (0, 11)");
            Ok(db.one(&ended, values![], |row| row.get::<Millis>(0))?.map(|end| end.0))
        })
    }

    /// Whether the newest run that found this machine's clock and Tink's to agree began between these times. One
    /// that began later shows that the clock was set back since.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn clocks_agreed(&self, since: Timestamp, until: Timestamp) -> Result<bool> {
        self.read("read the last runs", |db| {
            let sql = "SELECT max(started_at) FROM ts_runs WHERE started_at >= ?1 AND totals LIKE ?2";
            let newest: Option<Millis> = db.value(sql, values![Millis(since), "%\"clocks_agree\":true%"])?;
            Ok(newest.is_some_and(|began| began.0 <= until))
        })
    }
}

fn run_row(row: Row<'_>) -> Result<RunRow, Fail> {
    let mut run = RunRow {
        run_id: row.get("run_id")?,
        trigger: row.get("trigger")?,
        host: row.get("host")?,
        version: row.get("version")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
        exit_code: row.get("exit_code")?,
        duration_ms: row.get("duration_ms")?,
        at_work: false,
        totals: BTreeMap::new(),
    };
    // The totals are the last columns.
    let totals = (0..row.width()).skip_while(|at| row.name(*at) != "duration_ms").skip(1);
    for at in totals {
        let number = match row.cell(at)? {
            Cell::Int(number) => Some(number),
            _ => None,
        };
        run.totals.insert(row.name(at).to_owned(), number);
    }
    Ok(run)
}

impl Reader {
    /// The ends of all dated consents of connections that are enabled and entitled at the time `now`, as
    /// [`KnownConnection::is_active`] says; not of consents whose accounts a healthy one serves.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn consent_ends(&self, now: Timestamp) -> Result<Vec<Timestamp>> {
        self.read("read the consents", |db| {
            let rows = "SELECT s.expires_at FROM ts_consents s JOIN ts_connections c ON c.key = s.connection
                 WHERE c.enabled <> 0 AND c.entitled <> 0 AND (c.entitled_until IS NULL OR c.entitled_until > ?1)
                   AND s.superseded = 0 AND s.expires_at IS NOT NULL";
            db.all(rows, values![Millis(now)], |row| Ok(row.get::<TimeColumn>(0)?.0))
        })
    }
}

impl Reader {
    /// The damage in the file, in the database's words; `None` if it is sound or too large to check, and for
    /// a server.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn damage(&self) -> Result<Option<String>> {
        self.read("look for damage", |db| db.damage(&self.path()))
    }
}

/// Attempts that count against a user's quota.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The number of attempts.
    pub attempts: u32,
    /// When the oldest of them began.
    pub oldest: Option<Timestamp>,
}

impl Reader {
    /// The attempts on all connections of this user in the day from `since` on that count for the quota.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn used(&self, user_id: &str, since: Timestamp) -> Result<Used> {
        self.read("read the quota", |db| {
            let sql = format!(
                "SELECT CAST(coalesce(sum(attempts), 0) AS BIGINT), min(started_at) FROM ts_run_connections q
                 WHERE substr(user_id, 1, 200) = substr(:user, 1, 200) AND user_id = :user AND {COUNTED}"
            );
            let (since, horizon) = (Millis(since), Millis(plan::horizon(since)));
            db.single(&sql, named! { ":user": user_id, ":day_ago": since, ":horizon": horizon }, |row| {
                Ok(Used { attempts: row.get(0)?, oldest: row.get::<Option<Millis>>(1)?.map(|at| at.0) })
            })
        })
    }

    /// As [`Self::used`], for every user who had an attempt.
    ///
    /// # Errors
    /// [`super::StoreError`] if it cannot be read.
    pub fn used_by_user(&self, since: Timestamp) -> Result<HashMap<String, Used>> {
        self.read("read the quotas", |db| {
            let rows = &format!(
                "SELECT q.user_id, sum(q.attempts), min(q.started_at) FROM ts_run_connections q
                 WHERE q.run IN ({}) AND {COUNTED} GROUP BY q.user_id",
                runs::RECENT.replace("?1", ":day_ago")
            );
            let used = |row: Row<'_>| {
                let oldest = row.get::<Option<Millis>>(2)?.map(|at| at.0);
                Ok((row.get(0)?, Used { attempts: row.get(1)?, oldest }))
            };
            let (since, horizon) = (Millis(since), Millis(plan::horizon(since)));
            db.all(rows, named! { ":day_ago": since, ":horizon": horizon }, used)
        })
    }
}

#[cfg(test)]
impl Reader {
    /// The audit log as `action connection user details`, for tests of the code that writes it.
    pub(crate) fn audited(&self) -> Vec<String> {
        let sql = "SELECT action || ' ' || coalesce(connection_id, '-') || ' ' || coalesce(user_id, '-')
                          || coalesce(' ' || details, '') FROM ts_audit ORDER BY key";
        self.read("read the audit log", |db| db.column(sql, values![])).unwrap()
    }
}

#[cfg(test)]
mod tests;

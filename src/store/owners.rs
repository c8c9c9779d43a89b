//! Whose data a connection holds: the input of `domain::owner`, and the changes when a connection gets
//! another owner or takes over another's data. Decides nothing.

use std::collections::HashMap;

use jiff::Timestamp;

use super::engine::value::{Millis, json_list, json_numbers, tink_user_columns};
use super::engine::{Db, Fail, Row, values};
use crate::domain::connection::TinkUser;
use crate::domain::ids::{AccountId, CredentialsId, shown};
use crate::domain::mirroring::{MirroredState, Stored};
use crate::domain::owner::HeldConnection;
use crate::store::types::{Lease, Overview};

/// Whether anything is kept of the user of connection `c`, or is being fetched. Reads accounts and consents
/// of the store itself: a rehearsal's overlay does not change the answer.
pub(super) const HAS_DATA: &str = "(c.lease_token IS NOT NULL OR c.last_success_at IS NOT NULL
    OR EXISTS (SELECT 1 FROM main.ts_accounts a WHERE a.connection = c.key)
    OR EXISTS (SELECT 1 FROM main.ts_consents s WHERE s.connection = c.key))";

/// An id of at least this length belongs to one Tink user only: it is not a number chosen by a test or a
/// bank.
const TELLING: usize = 32;

/// The columns that are mirrored from the view; see [`state`].
pub(super) const MIRRORED: &str =
    "user_id, external_user_id, tink_user_id, enabled, entitled, entitled_until, market, priority, problem,
    refused, refused_user, moved_external_user_id, moved_tink_user_id, gone_at, lapsed_at";

/// Every connection with its key, in the order in which they were added.
pub(super) fn stored(db: Db<'_>) -> Result<(Vec<i64>, Vec<Stored>), Fail> {
    let mut all = (Vec::new(), Vec::new());
    each_stored(db, |key, stored| {
        all.0.push(key);
        all.1.push(stored);
    })?;
    Ok(all)
}

/// Passes every connection with its key to `take`, in the order in which they were added.
pub(super) fn each_stored(db: Db<'_>, mut take: impl FnMut(i64, Stored)) -> Result<(), Fail> {
    let mut rows = StoredRows(None);
    db.walk(&select_stored("TRUE"), values![], |row| {
        rows.add(row)?.into_iter().for_each(|(key, stored)| take(key, stored));
        Ok(true)
    })?;
    rows.0.into_iter().for_each(|(key, stored)| take(key, stored));
    Ok(())
}

/// The connections with these keys, in the order in which they were added.
pub(super) fn stored_of(db: Db<'_>, keys: &[i64]) -> Result<(Vec<i64>, Vec<Stored>), Fail> {
    if keys.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let (mut rows, mut all) = (StoredRows(None), Vec::with_capacity(keys.len()));
    let sql = select_stored("c.key IN (SELECT CAST(value AS BIGINT) FROM json_each(?1))");
    db.each(&sql, values![json_numbers(keys.iter().copied())], |row| {
        all.extend(rows.add(row)?);
        Ok(())
    })?;
    all.extend(rows.0);
    Ok(all.into_iter().unzip())
}

/// Selects a row for each former Tink user whose data a connection holds, or a single row if there is none.
fn select_stored(of: &str) -> String {
    format!(
        "SELECT c.key, f.kind AS former_kind, f.id AS former_id, {MIRRORED}, c.connection_id, {HAS_DATA} AS has_data
         FROM ts_connections c LEFT JOIN main.ts_former_users f ON f.connection = c.key WHERE {of} ORDER BY c.key"
    )
}

/// Builds connections from the rows of [`select_stored`].
struct StoredRows(Option<(i64, Stored)>);

impl StoredRows {
    /// Returns the previous connection, if this row belongs to another.
    fn add(&mut self, row: Row<'_>) -> Result<Option<(i64, Stored)>, Fail> {
        let key: i64 = row.get("key")?;
        let former = match row.get::<Option<String>>("former_kind")? {
            Some(kind) => Some(former_user(&kind, row.get("former_id")?)),
            None => None,
        };
        if let Some((last, stored)) = &mut self.0
            && *last == key
        {
            stored.held.former.extend(former);
            return Ok(None);
        }
        let state = state(row)?;
        let held = HeldConnection {
            connection_id: row.get("connection_id")?,
            user_id: state.user_id.clone(),
            tink_user: state.tink_user.clone(),
            former: former.into_iter().collect(),
            has_data: row.get("has_data")?,
        };
        Ok(self.0.replace((key, Stored { held, state })))
    }
}

fn former_user(kind: &str, id: String) -> TinkUser {
    if kind == "tink" { TinkUser::Tink(id) } else { TinkUser::External(id) }
}

/// The state of a connection that was mirrored from the view.
pub(super) fn state(row: Row<'_>) -> Result<MirroredState, Fail> {
    Ok(MirroredState {
        user_id: row.get("user_id")?,
        tink_user: row.tink_user()?,
        enabled: row.get("enabled")?,
        entitled: row.get("entitled")?,
        entitled_until: row.millis("entitled_until")?,
        market: row.get("market")?,
        priority: row.get("priority")?,
        problem: row.get("problem")?,
        refused: row.get("refused")?,
        refused_user: row.get("refused_user")?,
        moved: moved(row)?,
        gone_at: row.millis("gone_at")?,
        lapsed_at: row.millis("lapsed_at")?,
    })
}

/// The Tink user in a connection's row. The method itself cannot be passed: it is not general over the lifetime
/// of the row.
pub(super) fn name(row: Row<'_>) -> Result<Option<TinkUser>, Fail> {
    row.tink_user()
}

/// The name that the view gives the Tink user now; it may be the same user.
pub(super) fn moved(row: Row<'_>) -> Result<Option<TinkUser>, Fail> {
    let external: Option<String> = row.get("moved_external_user_id")?;
    let tink: Option<String> = row.get("moved_tink_user_id")?;
    Ok(external.map(TinkUser::External).or_else(|| tink.map(TinkUser::Tink)))
}

/// By connection, the former Tink users whose data it holds: of these, a JSON list of keys, or of all.
pub(super) fn former(db: Db<'_>, keys: Option<&str>) -> Result<HashMap<i64, Vec<TinkUser>>, Fail> {
    let mut former: HashMap<i64, Vec<TinkUser>> = HashMap::new();
    let read = |row: Row<'_>| {
        let kind: String = row.get(1)?;
        former.entry(row.get(0)?).or_default().push(former_user(&kind, row.get(2)?));
        Ok(())
    };
    let all = "SELECT connection, kind, id FROM main.ts_former_users";
    match keys {
        Some(keys) => {
            let these = "connection IN (SELECT CAST(value AS BIGINT) FROM json_each(?1))";
            db.each(&format!("{all} WHERE {these}"), values![keys], read)?;
        }
        None => db.each(all, values![], read)?,
    }
    Ok(former)
}

/// Records a former Tink user whose data the connection holds.
pub(super) fn remember(db: Db<'_>, connection: i64, user: &TinkUser) -> Result<(), Fail> {
    let (kind, id) = match user {
        TinkUser::External(id) => ("external", id),
        TinkUser::Tink(id) => ("tink", id),
    };
    db.run(
        "INSERT INTO ts_former_users (connection, kind, id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        values![connection, kind, id],
    )
}

/// Drops everything of the previous owner that must not count for the next one: failures, tokens, events, and
/// the lease of a run that is at work on it.
pub(super) fn forget_progress(db: Db<'_>, connection: i64) -> Result<(), Fail> {
    for sql in [
        "UPDATE ts_connections SET mode = 'mint', failures = 0, failing_run = NULL, not_before = NULL, needs_user = NULL,
                next_due = NULL, last_success_began = NULL, last_outcome = NULL, last_reason = NULL, last_error = NULL,
                last_attempt_run = NULL, lease_run = NULL, lease_token = NULL, lease_until = NULL WHERE key = ?1",
        "DELETE FROM ts_tokens WHERE connection = ?1",
        "DELETE FROM ts_events WHERE connection = ?1",
    ] {
        db.run(sql, values![connection])?;
    }
    Ok(())
}

/// Moves everything that is kept of `from` to `to`. `from` has the same user and Tink user and is no longer
/// enabled. Its records of past runs stay its own.
pub(super) fn take_over(db: Db<'_>, from: i64, to: i64) -> Result<(), Fail> {
    if db.is_shared() {
        // A run that is writing rows of `from` ends that first, and its next write finds no lease.
        // The one that gets the data first: a run that takes over holds that one already.
        for key in [to, from] {
            db.run("SELECT key FROM ts_connections WHERE key = ?1 FOR NO KEY UPDATE", values![key])?;
        }
    }
    db.run("DELETE FROM ts_former_users WHERE connection = ?1", values![to])?;
    move_accounts(db, from, to)?;
    let sql = "SELECT external_user_id, tink_user_id FROM ts_connections WHERE key = ?1";
    if let Some(name) = db.single(sql, values![from], name)? {
        remember(db, to, &name)?;
    }
    hand_over(db, from, to)
}

/// Moves the last success of `from` to `to`; disables `from` and drops its progress.
pub(super) fn hand_over(db: Db<'_>, from: i64, to: i64) -> Result<(), Fail> {
    let success = "UPDATE ts_connections SET last_success_at = (SELECT last_success_at FROM ts_connections WHERE key = ?1)
                   WHERE key = ?2";
    db.run(success, values![from, to])?;
    db.run("UPDATE ts_connections SET last_success_at = NULL, enabled = 0 WHERE key = ?1", values![from])?;
    forget_progress(db, from)
}

/// Moves accounts, the ids they were known by, consents and former Tink users; transactions, balances and
/// quarantine belong to the accounts. Only this function changes under which connection a reader finds data.
pub(super) fn move_accounts(db: Db<'_>, from: i64, to: i64) -> Result<(), Fail> {
    for table in ["ts_accounts", "ts_account_ids", "ts_consents", "ts_former_users"] {
        db.run(&format!("UPDATE {table} SET connection = ?2 WHERE connection = ?1"), values![from, to])?;
    }
    Ok(())
}

/// Returns whether Tink shows under the new name what the connection holds; if so, it goes on under that
/// name.
pub(super) fn adopt(
    db: Db<'_>,
    lease: &Lease,
    user: &TinkUser,
    consents: &[CredentialsId],
    accounts: &[AccountId],
) -> Result<bool, Fail> {
    let consents = json_list(consents.iter().map(CredentialsId::as_str));
    let accounts = json_list(accounts.iter().map(AccountId::as_str));
    let is_same: bool = db.value(
        "SELECT EXISTS (SELECT 1 FROM ts_consents JOIN json_each(?2) j ON j.value = credentials_id WHERE connection = ?1)
             OR EXISTS (SELECT 1 FROM ts_account_ids JOIN json_each(?3) j ON j.value = account_id WHERE connection = ?1)",
        values![lease.connection, consents, accounts],
    )?;
    if is_same {
        name_anew(db, lease.connection, user)?;
    }
    Ok(is_same)
}

/// Gives a connection another Tink user, and records the previous one.
pub(super) fn name_anew(db: Db<'_>, connection: i64, user: &TinkUser) -> Result<(), Fail> {
    let before = db.single(
        "SELECT external_user_id, tink_user_id FROM ts_connections WHERE key = ?1",
        values![connection],
        name,
    )?;
    if let Some(before) = before.filter(|before| before != user) {
        remember(db, connection, &before)?;
    }
    let (external, tink) = tink_user_columns(Some(user));
    db.run(
        "UPDATE ts_connections SET external_user_id = ?2, tink_user_id = ?3, moved_external_user_id = NULL,
                moved_tink_user_id = NULL, refused = NULL, refused_user = NULL, problem = NULL WHERE key = ?1",
        values![connection, external, tink],
    )
}

/// Why an overview must not be stored as it is.
pub(super) enum Anothers {
    /// Another connection holds it: both have the same Tink user, whatever name the view gives.
    Refused(String),
    /// The connection with this key holds it; it has the same user and is no longer enabled, so it is to be
    /// taken over.
    Left(i64),
}

/// Checks whether another connection holds the consents and accounts that Tink shows.
pub(super) fn anothers(db: Db<'_>, lease: &Lease, overview: &Overview) -> Result<Option<Anothers>, Fail> {
    let telling = |id: &&str| id.len() >= TELLING;
    let consents = || overview.consents.iter().map(|consent| consent.credentials_id.as_str()).filter(telling);
    let accounts = || overview.accounts.iter().map(|(account, _)| account.id.as_str()).filter(telling);
    db.lock_ids(consents().chain(accounts()))?;
    let sql = format!("{} UNION ALL {}", holders(CONSENTS, "?2"), holders(ACCOUNTS, "?3"));
    let (consents, accounts) = (json_list(consents()), json_list(accounts()));
    let mut left = None;
    let mut refused = None;
    db.each(&sql, values![lease.connection, consents, accounts], |row| {
        if row.get("refused")? {
            refused =
                refused.take().or(Some((row.get::<String>("connection_id")?, row.get::<String>("user_id")?)));
        } else if row.get("left_behind")? {
            left = left.or(Some(row.get("key")?));
        }
        Ok(())
    })?;
    let refused = refused.map(|(connection, user)| {
        Anothers::Refused(format!(
            "Tink shows here what connection {} of user {} holds: both rows of the source view name one Tink user; \
             correct the one that is wrong, or forget the connection that is not needed: tink-sync connections forget ID",
            shown(&connection),
            shown(&user)
        ))
    });
    Ok(refused.or(left.map(Anothers::Left)))
}

const CONSENTS: (&str, &str) = ("ts_consents", "credentials_id");
const ACCOUNTS: (&str, &str) = ("ts_account_ids", "account_id");

/// `c` belongs to another user, unless `?1` held the item first; or to the same user and is enabled, and `?1`
/// does not hold the item.
const REFUSED: &str = "(c.user_id <> me.user_id AND (c.key < me.key OR NOT holds))
    OR (c.user_id = me.user_id AND c.enabled <> 0 AND c.gone_at IS NULL AND NOT holds)";
/// `c` belongs to the same user and is no longer enabled, and `?1` has no accounts.
const LEFT: &str = "c.user_id = me.user_id AND NOT (c.enabled <> 0 AND c.gone_at IS NULL) AND NOT holds
    AND NOT EXISTS (SELECT 1 FROM ts_accounts WHERE connection = ?1)";

/// Selects the connections besides `?1` that hold one of the listed consents or accounts, with these
/// conditions.
fn holders((table, column): (&str, &str), listed: &str) -> String {
    format!(
        "SELECT connection_id, user_id, key, refused, left_behind FROM (
             SELECT c.connection_id, c.user_id, c.key,
                    CASE WHEN {REFUSED} THEN 1 ELSE 0 END AS refused, CASE WHEN {LEFT} THEN 1 ELSE 0 END AS left_behind
             FROM (SELECT s.connection, EXISTS (SELECT 1 FROM {table} o WHERE o.connection = ?1 AND o.{column} = s.{column}) AS holds
                   FROM main.{table} s
                   WHERE s.{column} IN (SELECT value FROM json_each({listed})) AND s.connection <> ?1) h
             JOIN ts_connections c ON c.key = h.connection
             CROSS JOIN (SELECT key, user_id FROM ts_connections WHERE key = ?1) me) f
         WHERE refused + left_behind > 0"
    )
}

/// Whether another connection holds a consent or an account of this one.
pub(super) fn is_contested(db: Db<'_>, connection: i64) -> Result<bool, Fail> {
    let held = |(table, column): (&str, &str)| {
        format!(
            "EXISTS (SELECT 1 FROM {table} s JOIN main.{table} o ON o.{column} = s.{column} AND o.connection <> s.connection
                     WHERE s.connection = ?1 AND length(s.{column}) >= {TELLING})"
        )
    };
    db.value(&format!("SELECT {} OR {}", held(CONSENTS), held(ACCOUNTS)), values![connection])
}

/// Among connections that get another user, finds one that shares a Tink user with a connection that does not
/// get the same one; returns both ids.
pub(super) fn parted(db: Db<'_>, new: &HashMap<i64, &str>) -> Result<Option<(String, String)>, Fail> {
    for (table, column) in [CONSENTS, ACCOUNTS] {
        let sql = format!(
            "SELECT a.connection_id, b.connection_id, b.key, b.user_id FROM {table} s JOIN ts_connections a ON a.key = s.connection
             JOIN {table} o ON o.{column} = s.{column} AND o.connection <> s.connection
             JOIN ts_connections b ON b.key = o.connection WHERE s.connection = ?1 AND length(s.{column}) >= {TELLING}"
        );
        for (key, user) in new {
            let sharing: Vec<(i64, String, (String, String))> =
                db.all(&sql, values![key], |row| Ok((row.get(2)?, row.get(3)?, (row.get(0)?, row.get(1)?))))?;
            for (other, stays, ids) in sharing {
                if new.get(&other).map_or(stays.as_str(), |user| user) != *user {
                    return Ok(Some(ids));
                }
            }
        }
    }
    Ok(None)
}

/// Whether the store holds any data.
pub(super) fn holds_any(db: Db<'_>) -> Result<bool, Fail> {
    db.value("SELECT EXISTS (SELECT 1 FROM main.ts_accounts)", values![])
}

/// Gives a connection another user of the application, and counts its attempts of the last day for that
/// user's quota.
pub(super) fn renumber(db: Db<'_>, connection: i64, user_id: &str, now: Timestamp) -> Result<(), Fail> {
    let day_ago = Millis(now.saturating_sub(jiff::SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN));
    db.run(
        "UPDATE ts_connections SET user_id = ?2, refused = NULL, refused_user = NULL, problem = NULL,
                lease_run = NULL, lease_token = NULL, lease_until = NULL WHERE key = ?1",
        values![connection, user_id],
    )?;
    db.run(
        "UPDATE ts_run_connections SET user_id = ?2 WHERE connection = ?1 AND started_at > ?3",
        values![connection, user_id, day_ago],
    )?;
    Ok(())
}

//! Stored accounts, with every id that an account was ever known by. Decides nothing: the caller determines
//! which listed account is which stored one.

use jiff::Timestamp;
use jiff::civil::Date;

use super::engine::fail::corrupt;
use super::engine::value::{
    DateColumn, Millis, TimeColumn, json_list, json_numbers, optional_text, unsigned,
};
use super::engine::{Db, Fail, Params, Row, ToValue, Value, values};
use super::{balances, merge, rows};
use crate::domain::account::Account;
use crate::domain::ids::{AccountId, CredentialsId};
use crate::domain::window::{DEEP_DAYS, PENDING_LIMIT_DAYS, day_of, shift};
use crate::store::types::{Identity, Merge, Overview, OverviewSaved, StoredAccount};

/// All accounts of a connection, including closed ones, without merged ones.
pub(super) fn load(db: Db<'_>, connection: i64, now: Timestamp) -> Result<Vec<StoredAccount>, Fail> {
    let today = day_of(now);
    let back = format!("-{PENDING_LIMIT_DAYS} days");
    let mut accounts: Vec<_> = db.all(LOAD, values![connection, DateColumn(today), back], stored)?;
    for account in &mut accounts {
        // A clock that was ahead has read nothing of the days since then.
        account.complete_through = account.complete_through.min(Some(today));
        account.deep_through = account.deep_through.min(Some(today));
        account.unmatched = unmatched(db, account, today)?;
    }
    Ok(accounts)
}

/// Prefetches the query of [`load`] in the next round trip.
pub(super) fn ahead(db: Db<'_>, connection: i64, now: Timestamp) -> Result<(), Fail> {
    db.ahead(LOAD, values![connection, DateColumn(day_of(now)), format!("-{PENDING_LIMIT_DAYS} days")])
}

/// Columns in the order in which [`stored`] reads them: one that comes out of turn is searched for.
const LOAD: &str = "SELECT
        (SELECT json_group_array(i.account_id) FROM ts_account_ids i
         WHERE i.connection = a.connection AND i.account = a.key) AS known_ids,
        key, account_id, name, type, iban, account_number, masked_pan, financial_institution_id, booked_balance,
        booked_currency, available_balance, available_currency, last_refreshed, generation, repairing, walks,
        complete_through, walked_refresh, walked_at, deep_walked_at, deep_through, suspect_refresh, absent_from,
        judged_refresh, full_due, reissued, unmatched_from, stand_balance, stand_currency, stand_rows, hung_at,
        separate > 0 AS accepted, separate = -1 AS doubted, CASE WHEN abs(separate) > 1 THEN abs(separate) END AS several, missing_refresh, closed_at,
        (SELECT booked_date FROM ts_transactions t
         WHERE t.account = a.key AND t.removed_at IS NULL AND t.status = 'pending'
           AND t.generation = a.generation
           AND t.booked_date >= date(CASE WHEN a.complete_through < ?2 THEN a.complete_through ELSE ?2 END, ?3)
         ORDER BY booked_date NULLS FIRST LIMIT 1) AS oldest_pending,
        (SELECT booked_date FROM ts_transactions t
         WHERE t.account = a.key AND t.removed_at IS NULL AND t.status = 'pending'
           AND t.generation = a.generation AND t.booked_date IS NOT NULL
         ORDER BY booked_date NULLS FIRST LIMIT 1) AS oldest_any_pending,
        stale, EXISTS (SELECT 1 FROM ts_transactions t WHERE t.account = a.key) AS has_rows
    FROM ts_accounts a WHERE connection = ?1 AND merged_into IS NULL ORDER BY key";

/// Counts live rows from before a re-consent, other than pending ones, that have no counterpart.
fn unmatched(db: Db<'_>, account: &StoredAccount, today: Date) -> Result<u64, Fail> {
    let Some(from) = account.unmatched_from else { return Ok(0) };
    let from = from.max(shift(account.complete_through.unwrap_or(today), -DEEP_DAYS));
    // In two, so that each is found by the index of live rows.
    let of = "SELECT count(*) FROM ts_transactions
         WHERE account = ?1 AND removed_at IS NULL AND status <> 'pending' AND generation < ?2 AND booked_date";
    let rows = format!("SELECT ({of} >= ?3) + ({of} IS NULL)");
    db.value(&rows, values![account.key, account.generation, DateColumn(from)]).map(unsigned)
}

fn stored(row: Row<'_>) -> Result<StoredAccount, Fail> {
    let known_ids: Option<String> = row.get("known_ids")?;
    let known_ids: Vec<String> = serde_json::from_str(known_ids.as_deref().unwrap_or("[]"))
        .map_err(|_| corrupt("known_ids is no list".to_owned()))?;
    Ok(StoredAccount {
        key: row.get("key")?,
        account: Account {
            id: row.get::<String>("account_id")?.into(),
            name: row.get("name")?,
            kind: row.get("type")?,
            iban: row.get("iban")?,
            account_number: row.get("account_number")?,
            masked_pan: row.get("masked_pan")?,
            financial_institution_id: row.get("financial_institution_id")?,
            booked: row.money("booked_balance", "booked_currency")?,
            available: row.money("available_balance", "available_currency")?,
            last_refreshed: row.time("last_refreshed")?,
        },
        known_ids: known_ids.into_iter().map(AccountId::from).collect(),
        new: false,
        generation: row.get("generation")?,
        repairing: row.get("repairing")?,
        walks: row.get("walks")?,
        complete_through: row.day("complete_through")?,
        walked_refresh: row.time("walked_refresh")?,
        walked_at: row.millis("walked_at")?,
        deep_walked_at: row.millis("deep_walked_at")?,
        deep_through: row.day("deep_through")?,
        suspect_refresh: row.time("suspect_refresh")?,
        absent_from: row.day("absent_from")?,
        judged_refresh: row.time("judged_refresh")?,
        full_due: row.get("full_due")?,
        reissued: row.get("reissued")?,
        unmatched_from: row.day("unmatched_from")?,
        unmatched: 0,
        stand: balances::stand(row)?,
        hung_at: row.millis("hung_at")?,
        accepted: row.get("accepted")?,
        doubted: row.get("doubted")?,
        group: row.get("several")?,
        missing_refresh: row.time("missing_refresh")?,
        closed: row.get::<Option<i64>>("closed_at")?.is_some(),
        oldest_pending: row.day("oldest_pending")?,
        oldest_any_pending: row.day("oldest_any_pending")?,
        stale: row.get("stale")?,
        has_rows: row.get("has_rows")?,
    })
}

/// Prefetches the queries of [`save`] in the next round trip.
pub(super) fn save_ahead(
    db: Db<'_>,
    connection: i64,
    overview: &Overview,
    now: Timestamp,
) -> Result<(), Fail> {
    ahead(db, connection, now)?;
    let new = overview.accounts.iter().filter(|(_, identity)| *identity == Identity::New).count();
    (0..new).try_for_each(|_| db.new_key_ahead("ts_accounts"))
}

/// Writes the listed accounts, merges accounts that turned out to be one, and records missing and closed
/// ones.
pub(super) fn save(
    db: Db<'_>,
    run: i64,
    connection: i64,
    overview: &Overview,
    now: Timestamp,
) -> Result<OverviewSaved, Fail> {
    let before = load(db, connection, now)?;
    let owner = |account: &Account| taken_for(&before, &overview.merged, account);
    let is_separated = |(a, identity): &(_, Identity)| *identity == Identity::New && owner(a).is_some();
    let is_separating = overview.accounts.iter().any(is_separated);
    if is_separating || !overview.merged.is_empty() || !overview.closed.is_empty() {
        // That numbers the rows of several accounts, one account after the other.
        db.expect_changes(usize::MAX)?;
    }
    supersede(db, connection, overview)?;
    overview.merged.iter().try_for_each(|merge| merge::join(db, run, connection, merge, now))?;
    let (mut keys, mut new) = (Vec::with_capacity(overview.accounts.len()), Vec::new());
    let is_stored =
        |key: i64, account: &Account| before.iter().any(|stored| stored.key == key && stored.shows(account));
    let mut as_stored = overview.merged.is_empty() && overview.missing.is_empty();
    as_stored &= overview.separate.is_empty() && overview.closed.is_empty();
    for (account, identity) in &overview.accounts {
        let key = match identity {
            Identity::Known(key) if as_stored && is_stored(*key, account) => {
                keys.push(*key);
                continue;
            }
            Identity::New => {
                as_stored = false;
                let key = make(db, connection, account)?;
                if let Some(owner) = owner(account) {
                    merge::separate(db, run, owner, key, now)?;
                }
                new.push(key);
                keys.push(key);
                continue;
            }
            Identity::Known(key) => *key,
            Identity::Alias(key) => {
                db.run(
                    "UPDATE ts_accounts SET account_id = ?2, generation = generation + 1, repairing = 1 WHERE key = ?1",
                    values![key, account.id.as_str()],
                )?;
                *key
            }
            Identity::Superseded(key) => {
                as_stored = false;
                remember_id(db, connection, *key, &account.id)?;
                continue;
            }
        };
        as_stored = false;
        remember_id(db, connection, key, &account.id)?;
        update(db, key, account)?;
        keys.push(key);
    }
    note_missing_and_separate(db, connection, overview)?;
    let removed = close(db, run, overview, now)?;
    let after = if as_stored { None } else { Some(load(db, connection, now)?) };
    let is_changed = |after: &Vec<StoredAccount>| visible(&before) != visible(after);
    let changed = !overview.closed.is_empty() || after.as_ref().is_some_and(is_changed);
    let mut after = after.unwrap_or(before);
    for account in &mut after {
        account.new = new.contains(&account.key);
    }
    let accounts = keys.iter().filter_map(|key| after.iter().find(|a| a.key == *key).cloned()).collect();
    Ok(OverviewSaved { accounts, changed, removed })
}

/// The account for which a new one was taken, with its generation: it was known by that id, before its own and by no other, so that
/// its rows of an earlier consent are those of that id.
fn taken_for(before: &[StoredAccount], merged: &[Merge], account: &Account) -> Option<(i64, i64)> {
    let had_both = |s: &&StoredAccount| s.generation == 2 && s.known_ids.len() == 2;
    let owner = before.iter().filter(had_both).find(|s| s.known_ids.contains(&account.id))?;
    let is_merged = merged.iter().any(|merge| merge.drop == owner.key || merge.keep == owner.key);
    (!is_merged).then_some((owner.key, owner.generation))
}

/// Closes accounts; returns the number of rows that are removed with them.
fn close(db: Db<'_>, run: i64, overview: &Overview, now: Timestamp) -> Result<u64, Fail> {
    overview.closed.iter().try_fold(0, |removed, key| {
        db.run("UPDATE ts_accounts SET closed_at = ?2 WHERE key = ?1", values![key, Millis(now)])?;
        Ok(removed + rows::close(db, run, *key, now)?)
    })
}

/// Writes the accounts that are missing, those in doubt, and those that are separate: `separate` is -1 if an account may be
/// another that is gone, 1 if a person has accepted it as several with others, and beyond that the number of a group, which
/// is negative until then.
fn note_missing_and_separate(db: Db<'_>, connection: i64, overview: &Overview) -> Result<(), Fail> {
    for (key, refresh) in &overview.missing {
        db.run(
            "UPDATE ts_accounts SET missing_refresh = ?2 WHERE key = ?1",
            values![key, TimeColumn(*refresh)],
        )?;
    }
    if !overview.doubted.is_empty() {
        let ids = json_list(overview.doubted.iter().map(AccountId::as_str));
        db.run(
            "UPDATE ts_accounts SET separate = -1
             WHERE connection = ?1 AND separate = 0 AND account_id IN (SELECT value FROM json_each(?2))",
            values![connection, ids],
        )?;
    }
    for ids in &overview.separate {
        let ids = json_list(ids.iter().map(AccountId::as_str));
        // A group that one of them is in goes on, with those that are not listed now: once several, always several.
        let known: Vec<i64> = db.column(
            "SELECT DISTINCT abs(separate) FROM ts_accounts
             WHERE connection = ?1 AND account_id IN (SELECT value FROM json_each(?2)) AND abs(separate) > 1 ORDER BY 1",
            values![connection, ids.as_str()],
        )?;
        db.run(
            "UPDATE ts_accounts SET separate = CASE WHEN separate > 0 THEN 1 ELSE -1 END
                    * coalesce(?3, (SELECT min(key) + 1 FROM ts_accounts
                                    WHERE connection = ?1 AND account_id IN (SELECT value FROM json_each(?2))))
             WHERE connection = ?1 AND (account_id IN (SELECT value FROM json_each(?2))
                                        OR abs(separate) IN (SELECT CAST(value AS BIGINT) FROM json_each(?4)))",
            values![connection, ids.as_str(), known.first().copied(), json_numbers(known.iter().copied())],
        )?;
    }
    Ok(())
}

/// Marks the consents that are superseded, because a healthy one serves their accounts, and unmarks the
/// others.
fn supersede(db: Db<'_>, connection: i64, overview: &Overview) -> Result<(), Fail> {
    let ids = json_list(overview.superseded.iter().map(CredentialsId::as_str));
    db.run(
        "UPDATE ts_consents SET superseded = 1 - superseded
         WHERE connection = ?1 AND (superseded <> 0) <> (credentials_id IN (SELECT value FROM json_each(?2)))",
        values![connection, ids],
    )?;
    Ok(())
}

/// The parts of the accounts that a reader would notice; that Tink refreshed them is not a change.
fn visible(accounts: &[StoredAccount]) -> Vec<(Account, bool)> {
    accounts.iter().map(|a| (Account { last_refreshed: None, ..a.account.clone() }, a.closed)).collect()
}

/// Inserts a listed account under a key that no account had before.
pub(super) fn make(db: Db<'_>, connection: i64, account: &Account) -> Result<i64, Fail> {
    let key = db.new_key("ts_accounts")?;
    let mut bound = listed(account);
    bound.extend([
        (":key", Value::Int(key)),
        (":connection", Value::Int(connection)),
        (":id", account.id.as_str().to_value()),
    ]);
    db.run(
        "INSERT INTO ts_accounts (key, connection, account_id, name, type, iban, account_number, masked_pan,
            financial_institution_id, booked_balance, booked_currency, available_balance, available_currency,
            last_refreshed)
         VALUES (:key, :connection, :id, :name, :type, :iban, :number, :pan, :institution, :booked, :booked_currency,
            :available, :available_currency, :refreshed)",
        Params::Named(&bound),
    )?;
    remember_id(db, connection, key, &account.id)?;
    balances::open(db, key)?;
    Ok(key)
}

fn remember_id(db: Db<'_>, connection: i64, key: i64, id: &AccountId) -> Result<(), Fail> {
    db.run(
        "INSERT INTO ts_account_ids (connection, account_id, account) VALUES (?1, ?2, ?3)
         ON CONFLICT (connection, account_id) DO UPDATE SET account = excluded.account
         WHERE ts_account_ids.account <> excluded.account",
        values![connection, id.as_str(), key],
    )?;
    Ok(())
}

/// Updates a listed account; an account that is listed is neither missing nor closed.
fn update(db: Db<'_>, key: i64, account: &Account) -> Result<(), Fail> {
    let mut bound = listed(account);
    bound.push((":key", Value::Int(key)));
    db.run(
        "UPDATE ts_accounts SET name = :name, type = :type, iban = :iban, account_number = :number,
            masked_pan = :pan, financial_institution_id = :institution,
            booked_balance = :booked, booked_currency = :booked_currency,
            available_balance = :available, available_currency = :available_currency,
            last_refreshed = :refreshed, missing_refresh = NULL, closed_at = NULL,
            -- What was booked in another currency before has to be read again.
            full_due = CASE WHEN full_due <> 0 OR coalesce(booked_currency, available_currency)
                                    <> coalesce(:booked_currency, :available_currency) THEN 1 ELSE 0 END
         WHERE key = :key
           AND (name, type, iban, account_number, masked_pan, financial_institution_id, booked_balance, booked_currency,
                available_balance, available_currency, last_refreshed, missing_refresh, closed_at)
            IS DISTINCT FROM (:name, :type, :iban, :number, :pan, :institution, :booked, :booked_currency,
                    :available, :available_currency, :refreshed, NULL, NULL)",
        Params::Named(&bound),
    )
}

/// The listed fields of an account, as statement parameters.
fn listed(account: &Account) -> Vec<(&'static str, Value<'_>)> {
    let [booked, available] = [&account.booked, &account.available].map(Option::as_ref);
    vec![
        (":name", account.name.to_value()),
        (":type", account.kind.to_value()),
        (":iban", account.iban.to_value()),
        (":number", account.account_number.to_value()),
        (":pan", account.masked_pan.to_value()),
        (":institution", account.financial_institution_id.to_value()),
        (":booked", optional_text(booked.map(|money| money.amount.as_str()))),
        (":booked_currency", optional_text(booked.map(|money| money.currency.as_str()))),
        (":available", optional_text(available.map(|money| money.amount.as_str()))),
        (":available_currency", optional_text(available.map(|money| money.currency.as_str()))),
        (":refreshed", account.last_refreshed.map_or(Value::Null, Value::Time)),
    ]
}

#[cfg(test)]
mod tests;

//! Balance proofs: the sums of an account's live rows, updated in the same transaction as the rows, and the
//! judgements. Judges nothing itself. SQL never adds up amounts, because it would turn them into floats.

use jiff::Timestamp;
use jiff::civil::Date;

use super::engine::fail::corrupt;
use super::engine::value::{DateColumn, Millis, TimeColumn};
use super::engine::{Db, Fail, Params, Row, named, values};
use super::run_names;
use crate::domain::account::is_owed;
use crate::domain::amount::Money;
use crate::domain::balance::{
    Anchor, BalanceInput, Convention, Difference, Doubt, Part, Reconciliation, Stand, Sum, Sums,
};
use crate::domain::ids::AccountId;
use crate::domain::total::Total;
use crate::domain::transaction::{Status, Transaction};
use crate::domain::window::day_of;
use crate::store::types::{BalanceCheck, CheckedBalance};

/// How the sums of one account change in one commit.
pub(super) struct Changes {
    account: i64,
    first_day: Option<Date>,
    refreshed: Option<Date>,
    sums: Sums,
    /// The part of these that the account's balance does not include yet.
    ahead: Sums,
}

/// The fields of a stored live row that count in the sums.
const COUNTED: &str =
    "SELECT status, amount, currency, booked_date FROM ts_transactions WHERE key = ?1 AND removed_at IS NULL";
const FIRST_DAY: &str =
    "SELECT b.first_day, a.last_refreshed FROM ts_balances b JOIN ts_accounts a ON a.key = b.account
     WHERE b.account = ?1";

impl Changes {
    /// Begins a commit; returns `None` if the rows of the account are not added up yet.
    pub(super) fn begin(db: Db<'_>, account: i64) -> Result<Option<Self>, Fail> {
        db.one(FIRST_DAY, values![account], |row| {
            let refreshed = row.time("last_refreshed")?.map(day_of);
            let (sums, ahead) = (Sums::default(), Sums::default());
            Ok(Self { account, first_day: row.day("first_day")?, refreshed, sums, ahead })
        })
    }

    /// Prefetches what is read about the account and the rows that change, given by key, in the next round
    /// trip.
    pub(super) fn ahead(
        db: Db<'_>,
        account: i64,
        mut changing: impl Iterator<Item = i64>,
    ) -> Result<(), Fail> {
        db.ahead(FIRST_DAY, values![account])?;
        db.ahead(SUMS, values![account])?;
        changing.try_for_each(|key| db.ahead(COUNTED, values![key]))
    }

    /// Adds a row that is about to be written.
    pub(super) fn add(&mut self, row: &Transaction) {
        if let Some(part) = Part::of(row.status, row.booked_date, self.first_day) {
            self.sums.add(part, &row.money);
        }
        if self.is_ahead(row.status, row.booked_date) {
            self.ahead.add(Part::Booked, &row.money);
        }
    }

    fn is_ahead(&self, status: Status, booked: Option<Date>) -> bool {
        status == Status::Booked && booked.zip(self.refreshed).is_some_and(|(booked, day)| booked > day)
    }

    /// Subtracts the row with this key as it is stored, before it is changed or removed.
    pub(super) fn take(&mut self, db: Db<'_>, key: i64) -> Result<(), Fail> {
        let Some((status, booked, money)) = db.one(COUNTED, values![key], counted)? else { return Ok(()) };
        if let Some(part) = Part::of(status, booked, self.first_day) {
            self.sums.take(part, &money);
        }
        if self.is_ahead(status, booked) {
            self.ahead.take(Part::Booked, &money);
        }
        Ok(())
    }

    /// Writes the new sums.
    pub(super) fn end(self, db: Db<'_>) -> Result<(), Fail> {
        let mut kept = sums(db, self.account)?;
        kept.change_by(&self.sums);
        let changed = self.sums.0.iter().filter(|(_, change)| !change.is_empty());
        for (of, sum) in changed.filter_map(|(of, _)| kept.0.get_key_value(of)) {
            write_sum(db, self.account, of.0, &of.1, sum)?;
        }
        Ok(())
    }
}

fn counted(row: Row<'_>) -> Result<(Status, Option<Date>, Money), Fail> {
    let money = row.money("amount", "currency")?.ok_or_else(|| corrupt("amount is NULL".to_owned()))?;
    let status = Status::parse(&row.get::<String>("status")?);
    Ok((status, row.day("booked_date")?, money))
}

fn sum(row: Row<'_>) -> Result<Sum, Fail> {
    let total = total(row, "total")?.unwrap_or_default();
    Ok(Sum { total, rows: row.get("rows")? })
}

fn write_sum(db: Db<'_>, account: i64, part: Part, currency: &str, sum: &Sum) -> Result<(), Fail> {
    db.run(
        "INSERT INTO ts_sums (account, part, currency, total, rows) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (account, part, currency) DO UPDATE SET total = excluded.total, rows = excluded.rows",
        values![account, part.as_str(), currency, sum.total.to_string(), sum.rows],
    )?;
    Ok(())
}

fn total(row: Row<'_>, column: &str) -> Result<Option<Total>, Fail> {
    let text = row.get::<Option<String>>(column)?;
    text.map(|text| Total::parse(&text)).transpose().map_err(|e| corrupt(e.to_string()))
}

/// Begins the sums of a new account, so that its rows are added up from the first one on.
pub(super) fn open(db: Db<'_>, account: i64) -> Result<(), Fail> {
    db.run("INSERT INTO ts_balances (account) VALUES (?1)", values![account])?;
    Ok(())
}

/// Prefetches the queries of [`stand_after`], and the first one of [`catch_up`], in the next round trip.
pub(super) fn stand_ahead(db: Db<'_>, account: i64) -> Result<(), Fail> {
    check_ahead(db, account)?;
    db.ahead(ADDED_UP, values![account])
}

/// Whether the rows of an account are added up.
const ADDED_UP: &str = "SELECT 1 FROM ts_balances WHERE account = ?1";

/// Adds up the rows of an account without sums (stored by an older release), row by row. Returns whether it
/// did.
pub(super) fn catch_up(db: Db<'_>, account: i64) -> Result<bool, Fail> {
    if db.exists(ADDED_UP, values![account])? {
        return Ok(false);
    }
    add_up_all(db, account, None)?;
    open(db, account)?;
    // Prefetched answers are from before the sums were written.
    db.forget_ahead();
    Ok(true)
}

/// Adds up the rows of an account again, which another way than a walk has changed; its judgement stays. One
/// without sums is left to its next walk.
pub(super) fn add_up_again(db: Db<'_>, account: i64) -> Result<(), Fail> {
    let first_day = "SELECT first_day FROM ts_balances WHERE account = ?1";
    match db.one(first_day, values![account], |row| row.day("first_day"))? {
        Some(first_day) => add_up_all(db, account, first_day),
        None => Ok(()),
    }
}

/// Writes the sums of all rows of an account.
fn add_up_all(db: Db<'_>, account: i64, first_day: Option<Date>) -> Result<(), Fail> {
    let mut sums = Sums::default();
    let rows = "SELECT status, amount, currency, booked_date FROM ts_transactions
         WHERE account = ?1 AND removed_at IS NULL AND status <> 'pending'";
    add_up(db, rows, values![account], first_day, &mut sums)?;
    db.run("DELETE FROM ts_sums WHERE account = ?1", values![account])?;
    sums.0.iter().try_for_each(|((part, currency), sum)| write_sum(db, account, *part, currency, sum))
}

/// Adds the rows of a query to sums.
fn add_up(
    db: Db<'_>,
    rows: &str,
    params: Params<'_, '_>,
    first_day: Option<Date>,
    sums: &mut Sums,
) -> Result<(), Fail> {
    db.each(rows, params, |row| {
        let (status, booked, money) = counted(row)?;
        if let Some(part) = Part::of(status, booked, first_day) {
            sums.add(part, &money);
        }
        Ok(())
    })
}

/// The input for judging these accounts; omits accounts whose rows are not added up.
pub(super) fn balance_checks(db: Db<'_>, accounts: &[i64]) -> Result<Vec<BalanceCheck>, Fail> {
    accounts.iter().try_for_each(|account| check_ahead(db, *account))?;
    accounts.iter().filter_map(|account| balance_check(db, *account).transpose()).collect()
}

/// Prefetches the queries of [`balance_check`] in the next round trip.
fn check_ahead(db: Db<'_>, account: i64) -> Result<(), Fail> {
    [SUMS, TO_JUDGE, AHEAD].iter().try_for_each(|question| db.ahead(question, values![account]))
}

fn balance_check(db: Db<'_>, account: i64) -> Result<Option<BalanceCheck>, Fail> {
    let (sums, ahead) = (sums(db, account)?, ahead(db, account)?);
    db.one(TO_JUDGE, values![account], |row| {
        Ok(BalanceCheck {
            account,
            account_id: AccountId::from(row.get::<String>("account_id")?),
            input: BalanceInput {
                balance: row.money("booked_balance", "booked_currency")?,
                refresh: row.time("last_refreshed")?,
                quarantined: row.get("waiting")?,
                owed: is_owed(&row.get::<String>("type")?),
                ahead,
                sums,
            },
            first_day: row.day("first_day")?,
            reconciliation: reconciliation(row)?,
        })
    })
}

/// An account's balance and its last judgement: columns in the order in which they are read.
const TO_JUDGE: &str = "SELECT a.account_id, a.type, a.booked_balance, a.booked_currency, a.last_refreshed,
            (SELECT count(*) FROM ts_quarantine q WHERE q.account = a.key) AS waiting, b.first_day,
            b.opening, b.anchored_at, b.currency, b.anchor_balance, b.earlier, b.unclear, b.quarantined, b.since_at,
            b.changed_at, b.difference, b.judged_refresh, b.proven_refresh, b.doubt, b.convention
     FROM ts_accounts a JOIN ts_balances b ON b.account = a.key WHERE a.key = ?1";

const SUMS: &str = "SELECT part, currency, total, rows FROM ts_sums WHERE account = ?1";

fn sums(db: Db<'_>, account: i64) -> Result<Sums, Fail> {
    let mut sums = Sums::default();
    db.each(SUMS, values![account], |row| {
        let name: String = row.get("part")?;
        let part = Part::ALL.into_iter().find(|part| part.as_str() == name);
        let part = part.ok_or_else(|| corrupt(format!("ts_sums.part is {name:?}")))?;
        sums.0.insert((part, row.get("currency")?), sum(row)?);
        Ok(())
    })?;
    Ok(sums)
}

/// Booked rows dated after the day of the account's refresh, which is stored in UTC.
const AHEAD: &str = "SELECT status, amount, currency, booked_date FROM ts_transactions
     WHERE account = ?1 AND removed_at IS NULL AND status = 'booked'
       AND booked_date > (SELECT substr(last_refreshed, 1, 10) FROM ts_accounts WHERE key = ?1)";

/// The sums of the rows that the account's balance does not include yet.
fn ahead(db: Db<'_>, account: i64) -> Result<Sums, Fail> {
    let mut sums = Sums::default();
    add_up(db, AHEAD, values![account], None, &mut sums)?;
    Ok(sums)
}

/// The balance and the sum of the booked rows, after `changes`, which are not written yet.
pub(super) fn stand_after(
    db: Db<'_>,
    account: i64,
    changes: Option<&Changes>,
) -> Result<Option<Stand>, Fail> {
    let Some(mut check) = balance_check(db, account)? else { return Ok(None) };
    if let Some(changes) = changes {
        check.input.sums.change_by(&changes.sums);
        check.input.ahead.change_by(&changes.ahead);
    }
    Ok(check.input.stand())
}

/// Stores the balance and the sum of the booked rows at the end of a complete walk.
pub(super) fn keep_stand(db: Db<'_>, account: i64, stand: Option<&Stand>) -> Result<(), Fail> {
    let Some(stand) = stand else { return Ok(()) };
    db.run(
        "UPDATE ts_accounts SET stand_balance = ?2, stand_currency = ?3, stand_rows = ?4
         WHERE key = ?1 AND (stand_balance, stand_currency, stand_rows) IS DISTINCT FROM (?2, ?3, ?4)",
        values![account, stand.balance.amount.as_str(), stand.balance.currency, stand.rows.to_string()],
    )?;
    Ok(())
}

/// Reads what [`keep_stand`] wrote from a row of `ts_accounts`.
pub(super) fn stand(row: Row<'_>) -> Result<Option<Stand>, Fail> {
    let balance = row.money("stand_balance", "stand_currency")?;
    Ok(balance.zip(total(row, "stand_rows")?).map(|(balance, rows)| Stand { balance, rows }))
}

/// Reads the judgement from a row of `ts_balances`.
pub(super) fn reconciliation(row: Row<'_>) -> Result<Reconciliation, Fail> {
    let anchor = match (total(row, "opening")?, row.millis("anchored_at")?) {
        (Some(opening), Some(since)) => Some(Anchor {
            currency: row.get("currency")?,
            opening,
            balance: total(row, "anchor_balance")?,
            earlier: total(row, "earlier")?.unwrap_or_default(),
            unclear: row.get("unclear")?,
            quarantined: row.get("quarantined")?,
            since,
        }),
        _ => None,
    };
    let times = (row.millis("since_at")?, row.millis("changed_at")?);
    let difference = match (total(row, "difference")?, times) {
        (Some(amount), (Some(since), Some(changed))) => Some(Difference { amount, since, changed }),
        _ => None,
    };
    Ok(Reconciliation {
        anchor,
        judged: row.time("judged_refresh")?,
        proven: row.time("proven_refresh")?,
        difference,
        doubt: row.get::<Option<String>>("doubt")?.and_then(|text| Doubt::parse(&text)),
        convention: row.get::<Option<String>>("convention")?.and_then(|text| Convention::parse(&text)),
    })
}

/// Prefetches the queries of [`save`] in the next round trip.
pub(super) fn save_ahead(db: Db<'_>, judged: &[CheckedBalance]) -> Result<(), Fail> {
    let mut begun = judged.iter().filter(|judged| begins(judged));
    begun.try_for_each(|judged| db.ahead(OLDEST, values![judged.check.account]))
}

/// Whether the judgement sets an anchor on an account that had none.
const fn begins(judged: &CheckedBalance) -> bool {
    judged.check.reconciliation.anchor.is_none() && judged.after.anchor.is_some()
}

/// Writes the judgements of a run. A judgement is dropped if its anchor was replaced meanwhile, because a
/// person has accepted a difference.
pub(super) fn save(db: Db<'_>, run: i64, judged: &[CheckedBalance]) -> Result<(), Fail> {
    for judged in judged {
        let first_day = if begins(judged) { Some(first_day(db, &judged.check)?) } else { None };
        let CheckedBalance { check, after } = judged;
        let before = check.reconciliation.anchor.as_ref().map(|anchor| anchor.opening.to_string());
        if after.difference.is_some() {
            run_names::keep_name(db, run)?;
        }
        write(db, check.account, Some(run), before.as_deref(), after)?;
        if let Some(day) = first_day {
            db.run(
                "UPDATE ts_balances SET first_day = ?2 WHERE account = ?1 AND first_day IS NULL",
                values![check.account, day.map(DateColumn)],
            )?;
        }
    }
    Ok(())
}

const OLDEST: &str = "SELECT booked_date FROM ts_transactions
     WHERE account = ?1 AND removed_at IS NULL AND status <> 'pending' AND booked_date IS NOT NULL
     ORDER BY booked_date NULLS FIRST LIMIT 1";

/// The day of the account's oldest booking, or the day of its refresh if that is earlier; rows dated before
/// it are history.
fn first_day(db: Db<'_>, check: &BalanceCheck) -> Result<Option<Date>, Fail> {
    let oldest: Option<DateColumn> = db.one(OLDEST, values![check.account], |row| row.get(0))?;
    let refreshed = check.input.refresh.map(day_of);
    Ok([oldest.map(|date| date.0), refreshed].into_iter().flatten().min())
}

fn write(
    db: Db<'_>,
    account: i64,
    run: Option<i64>,
    before: Option<&str>,
    reconciliation: &Reconciliation,
) -> Result<(), Fail> {
    let (anchor, open) = (reconciliation.anchor.as_ref(), reconciliation.difference.as_ref());
    db.run(
        "UPDATE ts_balances SET
            currency = :currency, opening = :opening, earlier = :earlier, unclear = :unclear,
            quarantined = :quarantined, anchored_at = :anchored, anchor_balance = :balance, convention = :convention,
            judged_refresh = :judged, proven_refresh = :proven,
            since_run = CASE WHEN CAST(:difference AS text) IS NULL THEN NULL WHEN difference IS NULL THEN :run ELSE since_run END,
            difference = :difference, since_at = :since, changed_at = :changed, doubt = :doubt
         WHERE account = :account AND opening IS NOT DISTINCT FROM :before",
        named! {
            ":account": account, ":run": run, ":before": before,
            ":currency": anchor.map(|a| &a.currency), ":opening": anchor.map(|a| a.opening.to_string()),
            ":earlier": anchor.map(|a| a.earlier.to_string()), ":unclear": anchor.map(|a| &a.unclear),
            ":quarantined": anchor.map(|a| a.quarantined), ":anchored": anchor.map(|a| Millis(a.since)),
            ":judged": reconciliation.judged.map(TimeColumn), ":proven": reconciliation.proven.map(TimeColumn),
            ":difference": open.map(|d| d.amount.to_string()), ":since": open.map(|d| Millis(d.since)),
            ":changed": open.map(|d| Millis(d.changed)), ":doubt": reconciliation.doubt.map(Doubt::as_str),
            ":balance": anchor.and_then(|a| a.balance.as_ref()).map(ToString::to_string),
            ":convention": reconciliation.convention.map(Convention::as_str),
        },
    )?;
    Ok(())
}

/// Accepts the open differences of a connection's accounts; returns the number of accounts.
pub(super) fn accept(db: Db<'_>, connection_id: &str, now: Timestamp) -> Result<u64, Fail> {
    let open = "SELECT b.* FROM ts_balances b JOIN ts_accounts a ON a.key = b.account
         JOIN ts_connections c ON c.key = a.connection
         WHERE b.difference IS NOT NULL AND c.connection_id = ?1";
    let open: Vec<(i64, Reconciliation)> =
        db.all(open, values![connection_id], |row| Ok((row.get("account")?, reconciliation(row)?)))?;
    let mut accepted = 0;
    for (account, mut reconciliation) in open {
        let before = reconciliation.anchor.as_ref().map(|anchor| anchor.opening.to_string());
        if reconciliation.accept(now) {
            write(db, account, None, before.as_deref(), &reconciliation)?;
            accepted += 1;
        }
    }
    Ok(accepted)
}

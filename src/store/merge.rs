//! Merges two stored accounts that turned out to be one, and separates two that were taken for one. Every row that a
//! reader has seen under the key that it leaves becomes a tombstone there, and goes on under the other. Pairs no rows: the
//! next walk does, as after a re-consent.

use jiff::Timestamp;

use super::balances;
use super::engine::value::Millis;
use super::engine::{Db, Fail, named, values};
use super::rows;
use crate::store::types::Merge;

/// Merges `merge.drop` into `merge.keep`. The rows of the id that is still served are the newer generation,
/// and candidates to succeed the rows of the other id. These get a generation of their own, which no tombstone
/// of the kept account has: a row that is a successor from before may then succeed one of them as well.
pub(super) fn join(db: Db<'_>, run: i64, connection: i64, merge: &Merge, now: Timestamp) -> Result<(), Fail> {
    let (keep, drop) = (merge.keep, merge.drop);
    let newer: i64 = if merge.adopts_id { 1 } else { 2 };
    // Two groups of accounts that are several are one group, since an account is in both.
    db.run(
        "UPDATE ts_accounts SET separate = CASE WHEN separate > 0 THEN 1 ELSE -1 END
                * (SELECT abs(separate) FROM ts_accounts WHERE key = ?2)
         WHERE connection = ?1 AND abs(separate) = (SELECT abs(separate) FROM ts_accounts WHERE key = ?3 AND abs(separate) > 1)
           AND EXISTS (SELECT 1 FROM ts_accounts WHERE key = ?2 AND abs(separate) > 1)",
        values![connection, keep, drop],
    )?;
    db.run(
        "UPDATE ts_accounts SET generation = generation + ?2, repairing = 1, suspect_refresh = NULL, absent_from = NULL,
                stand_balance = NULL, stand_currency = NULL, stand_rows = NULL,
                -- What the other was known to be separate from, this one is now.
                separate = CASE WHEN separate IN (0, -1) THEN (SELECT CASE WHEN separate = -1 THEN 0 ELSE separate END
                                                                FROM ts_accounts WHERE key = ?3)
                                WHEN separate = 1 THEN (SELECT CASE WHEN abs(separate) > 1 THEN abs(separate) ELSE 1 END
                                                         FROM ts_accounts WHERE key = ?3)
                                ELSE separate END
         WHERE key = ?1",
        values![keep, newer, drop],
    )?;
    if !merge.adopts_id {
        db.run(
            "UPDATE ts_transactions SET generation = generation + ?2,
                    first_walk = (SELECT walks + 1 FROM ts_accounts WHERE key = ?1)
             WHERE account = ?1 AND removed_at IS NULL
               AND generation + ?2 = (SELECT generation FROM ts_accounts WHERE key = ?1)",
            values![keep, newer],
        )?;
    }
    let carry = Carry { from: drop, to: keep, below: i64::MAX, older: !merge.adopts_id, rule: "merged" };
    take_over_rows(db, run, &carry, now)?;
    // Frees the id of `drop`, which must be unique among the connection's accounts: `keep` may adopt it.
    db.run(
        "UPDATE ts_accounts SET merged_into = ?2, merged_id = account_id, closed_at = coalesce(closed_at, ?3),
                account_id = 'merged:' || key || ':' || account_id
         WHERE key = ?1",
        values![drop, keep, Millis(now)],
    )?;
    if merge.adopts_id {
        db.run(
            "UPDATE ts_accounts SET account_id = (SELECT merged_id FROM ts_accounts WHERE key = ?2) WHERE key = ?1",
            values![keep, drop],
        )?;
    }
    db.run(
        "UPDATE ts_account_ids SET account = ?3 WHERE connection = ?1 AND account = ?2",
        values![connection, drop, keep],
    )?;
    // What the kept account's balance has proven goes on: a set that stays doubled shows as a difference.
    for table in ["ts_balances", "ts_sums"] {
        db.run(&format!("DELETE FROM {table} WHERE account = ?1"), values![drop])?;
    }
    balances::add_up_again(db, keep)?;
    db.run("UPDATE ts_quarantine SET account = ?2 WHERE account = ?1
            AND NOT EXISTS (SELECT 1 FROM ts_quarantine k WHERE k.account = ?2 AND k.fingerprint = ts_quarantine.fingerprint)", values![drop, keep])?;
    db.run("DELETE FROM ts_quarantine WHERE account = ?1", values![drop])?;
    Ok(())
}

/// Makes two accounts of one: the rows of earlier consents of `owner`, which came under the id that is now the account `new`
/// and have no successor, are carried over to `new`. There it is of an earlier generation, so that the first walk finds its
/// rows or their successors and nothing shows twice. The balances of both are judged from the next walk on.
/// `owner` is a key and the generation of its last walk.
pub(super) fn separate(
    db: Db<'_>,
    run: i64,
    (owner, below): (i64, i64),
    new: i64,
    now: Timestamp,
) -> Result<(), Fail> {
    db.run("UPDATE ts_accounts SET generation = 2, repairing = 1 WHERE key = ?1", values![new])?;
    take_over_rows(db, run, &Carry { from: owner, to: new, below, older: true, rule: "separated" }, now)?;
    for table in ["ts_balances", "ts_sums"] {
        db.run(&format!("DELETE FROM {table} WHERE account IN (?1, ?2)"), values![owner, new])?;
    }
    db.run("UPDATE ts_accounts SET unmatched_from = NULL WHERE key = ?1", values![owner])
}

/// Live rows of one account that go on under another.
struct Carry {
    from: i64,
    to: i64,
    /// Only those of generations before this one.
    below: i64,
    /// They are of the generation before the other account's.
    older: bool,
    rule: &'static str,
}

/// The columns that a row keeps under the other key; the rest is reset.
const CARRIED: &str = "transaction_id, status, amount, currency, booked_date, value_date, transaction_date, booked_at,
        description, description_original, description_detailed, merchant_name, merchant_category_code, category_id,
        type, reference, provider_transaction_id, mutability, payer_name, payee_name, first_seen_run";

fn take_over_rows(db: Db<'_>, run: i64, carry: &Carry, now: Timestamp) -> Result<(), Fail> {
    let Carry { from, to, below, older, rule } = *carry;
    // Makes room for ids that were removed under the other key and come back under it.
    db.run(
        "DELETE FROM ts_transactions WHERE account = ?1 AND removed_at IS NOT NULL
           AND transaction_id IN (SELECT transaction_id FROM ts_transactions
                                  WHERE account = ?2 AND removed_at IS NULL AND generation < ?3)",
        values![to, from, below],
    )?;
    let count: i64 = db.value(
        "SELECT count(*) FROM ts_transactions WHERE account = ?1 AND removed_at IS NULL AND generation < ?2",
        values![from, below],
    )?;
    let count = usize::try_from(count).unwrap_or_default();
    // For the rows that are inserted, and for those that are removed.
    let first = rows::reserve(db, run, 2 * count)?;
    db.run(
        &format!(
            "INSERT INTO ts_transactions (account, generation, first_walk, changed_run, change_seq, {CARRIED})
             SELECT :to, (SELECT generation FROM ts_accounts WHERE key = :to) - :older,
                    (SELECT walks + 1 FROM ts_accounts WHERE key = :to), :run,
                    :first - 1 + row_number() OVER (ORDER BY t.key), {CARRIED}
             FROM ts_transactions t
             WHERE t.account = :from AND t.removed_at IS NULL AND t.generation < :below
               AND NOT EXISTS (SELECT 1 FROM ts_transactions k
                               WHERE k.account = :to AND k.transaction_id = t.transaction_id)
             ORDER BY t.key"
        ),
        named! { ":older": older, ":run": run, ":first": first, ":to": to, ":from": from, ":below": below },
    )?;
    db.run(
        "INSERT INTO ts_raw (transaction_key, raw, stored_at)
         SELECT k.key, r.raw, r.stored_at FROM ts_raw r
         JOIN ts_transactions t ON t.key = r.transaction_key AND t.account = ?2 AND t.generation < ?3
         JOIN ts_transactions k ON k.account = ?1 AND k.transaction_id = t.transaction_id
         WHERE true ON CONFLICT DO NOTHING",
        values![to, from, below],
    )?;
    let first = first + i64::try_from(count).unwrap_or(i64::MAX);
    db.run(
        "UPDATE ts_transactions SET removed_at = :now, removed_reason = 'replaced', replaced_by = transaction_id,
                match_rule = :rule, changed_run = :run, missed = 0, change_seq = :first - 1 + n.place
         FROM (SELECT key AS numbered, row_number() OVER (ORDER BY key) AS place
               FROM ts_transactions WHERE account = :from AND removed_at IS NULL AND generation < :below) n
         WHERE ts_transactions.key = n.numbered",
        named! { ":now": Millis(now), ":rule": rule, ":run": run, ":first": first, ":from": from, ":below": below },
    )?;
    Ok(())
}

//! Stored consents, with what was reported about each. Decides nothing: the caller determines which consents
//! are gone and what to report.

use jiff::{SignedDuration, Timestamp};

use super::engine::fail::corrupt;
use super::engine::value::{Millis, TimeColumn, json_list};
use super::engine::{Db, Fail, Row, named, values};
use crate::domain::consent::Consent;
use crate::domain::ids::{AccountId, CredentialsId};
use crate::domain::warning::Told;
use crate::store::types::{ConsentWarning, KeptConsents, Lease, Overview, StoredConsent};

/// All consents of a connection as Tink last showed them.
pub(super) fn load(db: Db<'_>, connection: i64) -> Result<Vec<StoredConsent>, Fail> {
    db.all(LOAD, values![connection], stored)
}

/// Prefetches the query of [`load`] in the next round trip.
pub(super) fn ahead(db: Db<'_>, connection: i64) -> Result<(), Fail> {
    db.ahead(LOAD, values![connection])
}

/// Columns in the order in which [`stored`] reads them.
const LOAD: &str = "SELECT account_ids, credentials_id, provider, status, status_updated, expires_at, extendable,
        error_type, error_reason, warned_days, warned_expiry, known_expiry, missing_run, undated_run, superseded
    FROM ts_consents WHERE connection = ?1 ORDER BY credentials_id";

fn stored(row: Row<'_>) -> Result<StoredConsent, Fail> {
    let ids: String = row.get("account_ids")?;
    let ids: Vec<String> =
        serde_json::from_str(&ids).map_err(|_| corrupt("account_ids is no list".to_owned()))?;
    let consent = Consent {
        credentials_id: row.get::<String>("credentials_id")?.into(),
        provider: row.get("provider")?,
        account_ids: ids.into_iter().map(AccountId::from).collect(),
        status: row.get("status")?,
        status_updated: row.time("status_updated")?,
        expires_at: row.time("expires_at")?,
        extendable: row.get("extendable")?,
        error_type: row.get("error_type")?,
        error_reason: row.get("error_reason")?,
    };
    Ok(StoredConsent {
        consent,
        told: Told { step: row.get("warned_days")?, date: row.time("warned_expiry")? },
        known_expiry: row.time("known_expiry")?,
        missing_run: row.get("missing_run")?,
        undated_run: row.get("undated_run")?,
        superseded: row.get("superseded")?,
    })
}

/// Writes the listed consents and deletes the others, except those in `kept.unlisted`.
pub(super) fn save(db: Db<'_>, lease: &Lease, overview: &Overview) -> Result<(), Fail> {
    let Overview { consents, kept, .. } = overview;
    for consent in consents {
        write(db, lease, consent, kept)?;
    }
    let listed = consents.iter().map(|consent| &consent.credentials_id);
    let stays = json_list(listed.chain(&kept.unlisted).map(CredentialsId::as_str));
    db.run(
        "DELETE FROM ts_consents WHERE connection = ?1 AND credentials_id NOT IN (SELECT value FROM json_each(?2))",
        values![lease.connection, stays],
    )?;
    if !kept.renewed.is_empty() {
        db.run(
            "UPDATE ts_accounts SET full_due = 1 WHERE full_due = 0 AND complete_through IS NOT NULL
                AND key IN (SELECT account FROM ts_account_ids WHERE connection = ?1
                    AND account_id IN (SELECT value FROM json_each(?2)))",
            values![lease.connection, json_list(kept.renewed.iter().map(AccountId::as_str))],
        )?;
    }
    if kept.complete {
        let note = "UPDATE ts_consents SET missing_run = ?3
             WHERE connection = ?1 AND credentials_id = ?2 AND missing_run IS NULL";
        for id in &kept.unlisted {
            db.run(note, values![lease.connection, id.as_str(), lease.run])?;
        }
    }
    Ok(())
}

fn write(db: Db<'_>, lease: &Lease, consent: &Consent, kept: &KeptConsents) -> Result<(), Fail> {
    let undated = kept.undated.contains(&consent.credentials_id).then_some(lease.run);
    db.run(
        "INSERT INTO ts_consents (connection, credentials_id, provider, status, status_updated, expires_at,
                                  extendable, error_type, error_reason, account_ids, known_expiry, undated_run)
         VALUES (:connection, :id, :provider, :status, :updated, :expires, :extendable, :type, :reason, :accounts,
                 :expires, :undated)
         ON CONFLICT (connection, credentials_id) DO UPDATE SET
            provider = excluded.provider, status = excluded.status, status_updated = excluded.status_updated,
            expires_at = excluded.expires_at, extendable = excluded.extendable,
            error_type = excluded.error_type, error_reason = excluded.error_reason,
            account_ids = excluded.account_ids, missing_run = NULL,
            known_expiry = coalesce(excluded.expires_at, ts_consents.known_expiry),
            undated_run = CASE WHEN excluded.undated_run IS NULL THEN NULL ELSE coalesce(ts_consents.undated_run, excluded.undated_run) END
         WHERE (ts_consents.provider, ts_consents.status, ts_consents.status_updated, ts_consents.expires_at,
                ts_consents.extendable, ts_consents.error_type, ts_consents.error_reason, ts_consents.account_ids,
                ts_consents.missing_run, ts_consents.undated_run IS NULL)
            IS DISTINCT FROM (excluded.provider, excluded.status, excluded.status_updated, excluded.expires_at,
                    excluded.extendable, excluded.error_type, excluded.error_reason, excluded.account_ids,
                    NULL, excluded.undated_run IS NULL)",
        named! {
            ":connection": lease.connection, ":id": consent.credentials_id.as_str(), ":provider": consent.provider,
            ":status": consent.status, ":updated": consent.status_updated.map(TimeColumn),
            ":expires": consent.expires_at.map(TimeColumn), ":extendable": consent.extendable,
            ":type": consent.error_type, ":reason": consent.error_reason, ":undated": undated,
            ":accounts": json_list(consent.account_ids.iter().map(AccountId::as_str)),
        },
    )?;
    Ok(())
}

/// Records what was reported about the end of these consents.
pub(super) fn warned(db: Db<'_>, connection: i64, warnings: &[ConsentWarning]) -> Result<(), Fail> {
    let statement = "UPDATE ts_consents SET warned_days = ?3, warned_expiry = ?4 WHERE connection = ?1 AND credentials_id = ?2";
    for ConsentWarning { credentials_id, told, .. } in warnings {
        db.run(
            statement,
            values![connection, credentials_id.as_str(), told.step, told.date.map(TimeColumn)],
        )?;
    }
    Ok(())
}

/// Returns whether the consent's bank was not asked for its data within `rest`, and then records that it is
/// asked now. `false` for a consent that is not stored yet: it is new, and so is its data.
pub(super) fn may_ask_bank(
    db: Db<'_>,
    connection: i64,
    consent: &CredentialsId,
    now: Timestamp,
    rest: SignedDuration,
) -> Result<bool, Fail> {
    let before = now.saturating_sub(rest).unwrap_or(Timestamp::MIN);
    // A time in the future comes from a clock that was wrong.
    let noted = db.count(
        "UPDATE ts_consents SET asked_at = ?3
             WHERE connection = ?1 AND credentials_id = ?2
               AND (asked_at IS NULL OR asked_at <= ?4 OR asked_at > ?3)",
        values![connection, consent.as_str(), Millis(now), Millis(before)],
    )?;
    Ok(noted > 0)
}

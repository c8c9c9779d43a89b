//! Which anomalies of Tink's answers were reported already. Decides nothing else.

use jiff::{SignedDuration, Timestamp};

use super::engine::value::Millis;
use super::engine::{Db, Fail, named};
use crate::domain::ids::AccountId;
use crate::store::types::NotedAnomaly;

/// An anomaly that persists is reported again after this time.
const AGAIN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The most that are reported of a connection at a time; the next time reports further ones.
const MOST: usize = 50;

/// Returns the anomalies that are to be reported now, and records them. One that names no known account is
/// recorded for the connection.
pub(super) fn note(
    db: Db<'_>,
    connection: i64,
    met: Vec<NotedAnomaly>,
    now: Timestamp,
) -> Result<Vec<NotedAnomaly>, Fail> {
    let before = now.saturating_sub(AGAIN).unwrap_or(Timestamp::MIN);
    let statement = "INSERT INTO ts_anomalies (connection, account, kind, told_at)
         VALUES (:connection,
                 coalesce((SELECT account FROM ts_account_ids WHERE connection = :connection AND account_id = :id), 0),
                 :kind, :now)
         ON CONFLICT (connection, account, kind) DO UPDATE SET told_at = excluded.told_at
         WHERE ts_anomalies.told_at <= :before OR ts_anomalies.told_at > excluded.told_at";
    let mut new = Vec::new();
    for anomaly in met {
        let told = db.count(
            statement,
            named! {
                ":connection": connection, ":id": anomaly.account.as_ref().map(AccountId::as_str),
                ":kind": anomaly.anomaly.as_str(), ":now": Millis(now), ":before": Millis(before),
            },
        )?;
        if told > 0 {
            new.push(anomaly);
        }
        if new.len() == MOST {
            break;
        }
    }
    Ok(new)
}

//! What an operator accepts: another owner of a connection, or a fall in the number of connections. Each
//! acceptance is one transaction with its audit rows; `domain` decides what may be accepted.

use super::engine::value::Millis;
use super::engine::{Db, Fail, values};
use super::writer::{AuditRow, Writer, note};
use super::{owners, population};
use crate::domain::connection::TinkUser;
use crate::domain::ids::shown;
use crate::domain::owner::HeldConnection;
use crate::domain::owner::accept::{Acceptance, Accepted, accept};
use crate::domain::population::Numbers;
use crate::domain::view::ViewRows;
use crate::store::Result;

impl Writer {
    /// Accepts the owners that the view names for connections that hold data. The inner error gives the
    /// reason for a refusal; nothing is accepted then.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn accept_users(
        &mut self,
        rows: &ViewRows,
        what: Acceptance<'_>,
        audit: &AuditRow<'_>,
    ) -> Result<Result<Vec<Accepted>, String>> {
        self.run("accept users", |db| {
            db.lock_view()?;
            let (keys, stored) = owners::stored(db)?;
            let held: Vec<HeldConnection> = stored.into_iter().map(|stored| stored.held).collect();
            let accepted = match accept(&held, rows, what) {
                Ok(accepted) => accepted,
                Err(problem) => return Ok(Err(problem)),
            };
            // Connections that share data, because their rows named one Tink user in two ways, must not get
            // two users.
            let users = accepted.iter().filter_map(|one| Some((*keys.get(one.place)?, one.user_id.as_str())));
            if let Some((id, other)) = owners::parted(db, &users.collect())? {
                return Ok(Err(format!(
                    "connection {} holds data of the same Tink user as connection {}: forget one of them first, or accept both",
                    shown(&id),
                    shown(&other)
                )));
            }
            for one in &accepted {
                let (Some(key), Some(held)) = (keys.get(one.place), held.get(one.place)) else { continue };
                let details = if let Some(user) = &one.tink_user {
                    another_tink_user(db, *key, user)?
                } else {
                    owners::renumber(db, *key, &one.user_id, audit.at)?;
                    format!("user {} in place of {}", one.user_id, held.user_id)
                };
                let row = AuditRow {
                    connection_id: Some(&held.connection_id),
                    user_id: Some(&one.user_id),
                    details: Some(&details),
                    ..*audit
                };
                note(db, &row)?;
            }
            Ok(Ok(accepted))
        })
    }

    /// Accepts the number of connections that the view gives now, with its audit row. Disables the
    /// connections whose keys are in `gone`: they no longer have a row.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn accept_change(&mut self, now: Numbers, gone: &[i64], audit: &AuditRow<'_>) -> Result<()> {
        self.run("accept the change", |db| {
            db.lock_view()?;
            population::confirm(db, now, audit.at)?;
            let disable =
                "UPDATE ts_connections SET enabled = 0, entitled = 0, gone_at = coalesce(gone_at, ?2),
                        lapsed_at = coalesce(lapsed_at, ?2) WHERE key = ?1";
            for key in gone {
                db.run(disable, values![key, Millis(audit.at)])?;
            }
            note(db, audit)
        })
    }
}

/// Gives a connection another Tink user. The consents of the previous one say nothing about it.
fn another_tink_user(db: Db<'_>, key: i64, user: &TinkUser) -> Result<String, Fail> {
    owners::name_anew(db, key, user)?;
    owners::forget_progress(db, key)?;
    db.run("DELETE FROM ts_consents WHERE connection = ?1", values![key])?;
    Ok("another Tink user".to_owned())
}

//! The Tink app that feeds a store, recorded with its first data, so that users of another app never mix with
//! them. Sees only the client id, no secret.

use jiff::Timestamp;

use super::engine::value::{Millis, unsigned};
use super::engine::{Context, Db, Fail, values};
use super::liveness;
use super::writer::{AuditRow, Writer, note};
use super::{Store, owners};
use crate::store::Result;

impl Store {
    /// The client id of the app whose data is stored; `None` if none is recorded yet.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be read.
    pub async fn app(&self) -> Result<Option<String>> {
        self.worker.read("read the app", remembered).await
    }

    /// Sets the app that data comes from. The first write of data records it as the store's app.
    pub async fn feed_from(&self, client_id: String) {
        self.worker.configure(move |db| db.client_id.set(Some(client_id))).await;
    }

    /// Records the app of this run in a store of an older release, which holds data but no app.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub async fn remember_app(&self, now: Timestamp) -> Result<()> {
        self.worker
            .write("remember the app", move |tx, db| {
                if owners::holds_any(tx)? {
                    remember(tx, db, now)?;
                }
                Ok(())
            })
            .await
    }
}

/// Reads the store itself, because a rehearsal records no app.
pub(super) fn remembered(db: Db<'_>) -> Result<Option<String>, Fail> {
    db.one("SELECT client_id FROM main.ts_app LIMIT 1", values![], |row| row.get(0))
}

/// Records the app of this run as the store's, unless one is recorded.
pub(super) fn remember(db: Db<'_>, context: &Context, now: Timestamp) -> Result<(), Fail> {
    let Some(client_id) = &*context.client_id.get() else { return Ok(()) };
    let sql = "INSERT INTO ts_app (client_id, since) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM ts_app)
         ON CONFLICT DO NOTHING";
    db.run(sql, values![client_id, Millis(now)])
}

/// The outcome of accepting an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppAccepted {
    /// It was recorded already.
    Already,
    /// A run is at work, regardless of its app; holds the run's id.
    RunAtWork(String),
    /// It is recorded now, in place of the previous one.
    Now {
        /// The previous app.
        before: Option<String>,
        /// The number of connections with data.
        connections: u64,
    },
}

impl Writer {
    /// Makes an app the one that feeds the store, with its audit row.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn accept_app(&mut self, client_id: &str, audit: &AuditRow<'_>) -> Result<AppAccepted> {
        let store = self.session.path.clone();
        self.run("accept the app", |db| {
            // A run that is just beginning is seen below once it has begun.
            db.lock_runs()?;
            let before = remembered(db)?;
            if before.as_deref() == Some(client_id) {
                return Ok(AppAccepted::Already);
            }
            // The run would go on writing the other app's data.
            if let Some(run) = liveness::at_work(db, &store)? {
                return Ok(AppAccepted::RunAtWork(run));
            }
            db.run("DELETE FROM ts_app", values![])?;
            let app = "INSERT INTO ts_app (client_id, since) VALUES (?1, ?2)";
            db.run(app, values![client_id, Millis(audit.at)])?;
            let details = format!("{} in place of {}", client_id, before.as_deref().unwrap_or("none"));
            note(db, &AuditRow { details: Some(&details), ..*audit })?;
            let holding = format!("SELECT count(*) FROM ts_connections c WHERE {}", owners::HAS_DATA);
            let connections = db.single(&holding, values![], |row| row.get(0).map(unsigned))?;
            Ok(AppAccepted::Now { before, connections })
        })
    }
}

//! The Tink app that feeds a store: remembered from its first data on, so that another app's users never mix with
//! them. Sees the client id only, no secret.

use jiff::Timestamp;

use super::engine::value::{Millis, unsigned};
use super::engine::{Context, Db, Fail, values};
use super::liveness;
use super::writer::{AuditRow, Writer, note};
use super::{Store, owners};
use crate::store::Result;

impl Store {
    /// The app whose data are here; `None` if none is remembered yet.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be read.
    pub async fn app(&self) -> Result<Option<String>> {
        self.worker.read("read the app", remembered).await
    }

    /// From now on data come from this app: the first that are written make it the store's.
    pub async fn feed_from(&self, client_id: String) {
        self.worker.configure(move |db| db.client_id.set(Some(client_id))).await;
    }

    /// Remembers the app of this run in a store of an older release, which holds data and knows of none.
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

/// Of the file itself: a rehearsal remembers nothing.
pub(super) fn remembered(db: Db<'_>) -> Result<Option<String>, Fail> {
    db.one("SELECT client_id FROM main.ts_app LIMIT 1", values![], |row| row.get(0))
}

/// Makes the app of this run the store's, unless it has one.
pub(super) fn remember(db: Db<'_>, context: &Context, now: Timestamp) -> Result<(), Fail> {
    let Some(client_id) = &*context.client_id.get() else { return Ok(()) };
    let sql = "INSERT INTO ts_app (client_id, since) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM ts_app)
         ON CONFLICT DO NOTHING";
    db.run(sql, values![client_id, Millis(now)])
}

/// What accepting an app came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppAccepted {
    /// It was remembered already.
    Already,
    /// A run is at work, of whichever app.
    RunAtWork(String),
    /// It took the place of another, of which this many connections hold data.
    Now {
        /// The one before.
        before: Option<String>,
        /// Connections with data.
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
            let before = remembered(db)?;
            if before.as_deref() == Some(client_id) {
                return Ok(AppAccepted::Already);
            }
            // It would go on writing the other app's data.
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

//! The changes of a command, of an operator or of the application: one transaction for each, with its audit
//! row. A pass has [`super::Store`] instead.

use std::time::Duration;

use jiff::Timestamp;

use super::engine::{Db, DbSession, Fail, values};
use super::{Place, Result, liveness, tokens};

/// The result of encrypting the tokens with another key. Only after [`Self::Done`] have tokens changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Reencryption<E> {
    /// The number of connections that have tokens.
    Done(u64),
    /// A token could not be encrypted.
    Refused(E),
    /// The id of a run that is at work.
    RunAtWork(String),
}

/// A store that is open for the changes of a command.
#[derive(Debug)]
pub struct Writer {
    pub(super) session: DbSession,
}

impl Writer {
    /// Opens (and creates or migrates) the store.
    ///
    /// # Errors
    /// As [`super::Store::open`].
    pub fn open(place: &Place, now: Timestamp) -> Result<Self> {
        Ok(Self { session: place.writer(Duration::ZERO, now)? })
    }

    /// Runs one change, all or nothing.
    pub(super) fn run<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(Db<'_>) -> std::result::Result<T, Fail>,
    ) -> Result<T> {
        self.session.write(what, |db, _| work(db))
    }

    /// Reads, also while another process writes.
    pub(super) fn look<T>(
        &mut self,
        what: &'static str,
        work: impl Fn(Db<'_>) -> std::result::Result<T, Fail>,
    ) -> Result<T> {
        self.session.look(what, work)
    }

    /// Encrypts every token of older links again, all or none. While it works, no other process writes tokens.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written; then no token has changed.
    pub fn reencrypt<E>(&mut self, encrypt: &tokens::Reencrypt<'_, E>) -> Result<Reencryption<E>> {
        let store = self.session.path.clone();
        self.run("encrypt tokens anew", |db| {
            // First, since a run that is just beginning writes them, too, and is seen once it has begun. And a pass
            // that renews a token meanwhile must not get its new token overwritten by the used one.
            db.lock_tokens()?;
            // A run at work keeps the key that it began with, and would encrypt renewed tokens with it.
            if let Some(run) = liveness::at_work(db, &store)? {
                return Ok(Reencryption::RunAtWork(run));
            }
            let done = tokens::reencrypt(db, encrypt)?;
            Ok(done.map_or_else(Reencryption::Refused, Reencryption::Done))
        })
    }

    /// Writes one audit row.
    ///
    /// # Errors
    /// [`super::StoreError`] if the store cannot be written.
    pub fn audit(&mut self, row: &AuditRow<'_>) -> Result<()> {
        self.run("write the audit log", |db| note(db, row))
    }
}

pub(super) fn note(db: Db<'_>, row: &AuditRow<'_>) -> Result<(), Fail> {
    db.run(
        "INSERT INTO ts_audit (at, actor, ip, action, connection_id, user_id, result, details)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        values![
            row.at.as_millisecond(),
            row.actor,
            row.ip,
            row.action,
            row.connection_id,
            row.user_id,
            row.result,
            row.details
        ],
    )
}

/// One user-initiated act (`audit_v1`). Never holds a token, an IBAN, a name or an amount.
#[derive(Clone, Copy, Debug)]
pub struct AuditRow<'a> {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Option<&'a str>,
    /// From where.
    pub ip: Option<&'a str>,
    /// What, e.g. `sync.requested`.
    pub action: &'a str,
    /// On which connection.
    pub connection_id: Option<&'a str>,
    /// Of which user.
    pub user_id: Option<&'a str>,
    /// `ok` or why not.
    pub result: &'a str,
    /// More.
    pub details: Option<&'a str>,
}

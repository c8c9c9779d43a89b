//! One consistent snapshot of the store for everything that only reads; each answer to a person comes from
//! one. `reads` and the files of each subject define what can be read.

use std::path::PathBuf;

use jiff::Timestamp;

use super::engine::{Db, DbSession, Fail};
use super::{Place, Result, heartbeat};

/// A snapshot of the store. It does not see later writes, and does not delay them.
#[derive(Debug)]
pub struct Reader {
    session: DbSession,
}

impl Reader {
    /// Opens the store at `place` read-only, at this moment.
    ///
    /// # Errors
    /// [`super::StoreError::Missing`], [`super::StoreError::Older`], or another one if it cannot be read.
    pub fn open(place: &Place) -> Result<Self> {
        Ok(Self { session: place.reader()? })
    }

    /// The canonical path of the store, at which its runs have their locks.
    pub(super) fn path(&self) -> PathBuf {
        let path = &self.session.path;
        path.canonicalize().unwrap_or_else(|_| path.clone())
    }

    /// The time by the clock that all hosts share; `None` for a file.
    ///
    /// # Errors
    /// [`super::StoreError`] if the server cannot be asked.
    pub fn shared_now(&self) -> Result<Option<Timestamp>> {
        self.read("look at the clock", heartbeat::shared_now)
    }

    /// Runs statements that only read.
    pub(super) fn read<T>(
        &self,
        what: &'static str,
        read: impl FnOnce(Db<'_>) -> Result<T, Fail>,
    ) -> Result<T> {
        read(self.session.db()).map_err(|fail| self.session.explain(what, fail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AuditRow, Writer};

    #[test]
    fn a_reader_sees_the_store_as_it_was_when_it_was_opened() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::from(directory.path().join("store.db"));
        let mut writer = Writer::open(&place, Timestamp::UNIX_EPOCH).unwrap();
        let before = Reader::open(&place).unwrap();
        let act = AuditRow {
            at: Timestamp::UNIX_EPOCH,
            actor: None,
            ip: None,
            action: "users.set",
            connection_id: None,
            user_id: Some("u"),
            result: "ok",
            details: None,
        };
        writer.set_user("u", true, None, &act).unwrap();
        assert_eq!((before.users().unwrap().len(), before.audited().len()), (0, 0));
        let after = Reader::open(&place).unwrap();
        assert_eq!((after.users().unwrap().len(), after.audited().len()), (1, 1));
    }
}

//! The transactions of one account in a window, page by page (API.md 4.1). Must not stop early, nor judge a
//! record.

use super::error::{Endpoint, Error};
use super::memory::MemoryPart;
use super::pages::{PAGE_SIZE, PageCursor};
use super::session::{Query, Session};
use super::wire::{self, TransactionRecord};
use crate::domain::anomaly::Anomalies;
use crate::domain::ids::AccountId;
use crate::domain::window::Window;

/// Bytes kept for a record beside its id.
const BESIDE_ID: usize = 64;

impl Session {
    /// A walk over the transactions of one account in a window.
    pub fn transactions<'a>(&'a self, account: &AccountId, window: &Window) -> TransactionPages<'a> {
        TransactionPages {
            session: self,
            account: account.clone(),
            window: *window,
            walk: PageCursor::default(),
            kept: 0,
            complete: true,
            noted: Anomalies::default(),
            failure: None,
        }
    }
}

/// A walk over one account's transactions, page by page.
#[derive(Debug)]
pub struct TransactionPages<'a> {
    session: &'a Session,
    account: AccountId,
    window: Window,
    walk: PageCursor,
    kept: usize,
    complete: bool,
    /// The anomalies of the pages since the walk last began.
    noted: Anomalies,
    failure: Option<Error>,
}

impl TransactionPages<'_> {
    /// The records of the next page, which may be empty; `None` only after the last page, when the walk is
    /// complete. If Tink refuses a page token, the walk starts again once and returns earlier rows again: the
    /// later ones win.
    ///
    /// # Errors
    /// The call's error after all retries. The walk is then over: every further call fails.
    pub async fn next(&mut self) -> Result<Option<Vec<TransactionRecord>>, Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = self.read().await;
        if let Err(error) = &result {
            self.failure = Some(error.clone());
        }
        result
    }

    /// Whether every page so far had a list of records, neither absent nor null. If not, a record that was
    /// not read may exist all the same.
    pub fn is_whole(&self) -> bool {
        self.complete
    }

    async fn read(&mut self) -> Result<Option<Vec<TransactionRecord>>, Error> {
        if !self.walk.has_more() {
            return Ok(None);
        }
        let page = match self.page().await {
            Err(error) if self.walk.restart(&error) => {
                self.noted = Anomalies::default();
                self.page().await?
            }
            other => other?,
        };
        self.noted.merge(page.anomalies);
        self.complete &= page.complete;
        self.kept = page.rows.iter().fold(self.kept, |kept, record| {
            kept.saturating_add(record.id().map_or(0, |id| id.as_str().len()) + BESIDE_ID)
        });
        // A loop or too many records fail the next call, so that this page's rows are not lost.
        let too_many = self.session.hold(MemoryPart::Walk, self.kept, Endpoint::Transactions).await.err();
        self.failure = self.walk.advance(page.next, Endpoint::Transactions).err().or(too_many);
        Ok(Some(page.rows))
    }

    async fn page(&self) -> Result<wire::Page<TransactionRecord>, Error> {
        let keep_raw = self.session.keep_raw();
        let parse = |body: &[u8]| wire::transactions(body, &self.account, keep_raw);
        self.session.call(Endpoint::Transactions, &self.query(), parse).await
    }

    /// The same filters on every page; both ends, since Tink's default end is today.
    fn query(&self) -> Query {
        let mut query =
            vec![("pageSize", PAGE_SIZE.to_string()), ("accountIdIn", self.account.as_str().to_owned())];
        query.extend(self.window.from.map(|from| ("bookedDateGte", from.to_string())));
        query.push(("bookedDateLte", self.window.to.to_string()));
        query.extend(self.walk.token().map(|token| ("pageToken", token.to_owned())));
        query
    }
}

impl Drop for TransactionPages<'_> {
    fn drop(&mut self) {
        self.session.note(Some(&self.account), std::mem::take(&mut self.noted));
        self.session.release(MemoryPart::Walk);
    }
}

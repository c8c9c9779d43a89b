//! One account's transactions, from the first page to the commit that seals the walk. Only a complete
//! walk of an account with healthy consents removes rows or moves the watermark, and it does so in the
//! same commit as the last rows (design section 8).

use std::collections::HashSet;
use std::mem;

use jiff::Timestamp;
use jiff::civil::Date;

use super::connection::{Story, Trouble};
use super::reconcile;
use crate::domain::account::Account;
use crate::domain::ids::TransactionId;
use crate::domain::outcome::Reason;
use crate::domain::transaction::Status;
use crate::domain::window::{Window, WindowInput};
use crate::store::{
    ChangeSet, FetchedRow, LiveQuery, LiveRow, RowCommit, RowQuery, Seal, Store, StoredAccount, StoredRow,
    Unreadable,
};
use crate::tink::{self, Endpoint, ErrorKind, Record};

/// Upserts are committed in chunks of about this many rows (one page more at most), so that a first sync
/// of years fits in memory.
const CHUNK: usize = 250;

/// What a walk after a re-consent may hold, in bytes of JSON: some 200,000 rows, which are about as large
/// when they are read.
const WHOLE: usize = 160 * 1024 * 1024;

/// One account to walk.
pub struct Walk<'a, S> {
    /// The story it is part of.
    pub story: &'a Story<'a, S>,
    /// The account as it was stored before this pass.
    pub before: Option<&'a StoredAccount>,
    /// The account as stored now.
    pub account: &'a StoredAccount,
    /// All its consents are healthy.
    pub healthy: bool,
}

/// How a walk ended that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// It was complete, and the account healthy: the rows are Tink's as of the refresh in the account list.
    pub sealed: bool,
    /// A reason that is worth telling although it went well.
    pub note: Option<Reason>,
}

/// What has been read and not yet written.
#[derive(Default)]
struct Gathered {
    rows: Vec<FetchedRow>,
    unreadable: Vec<Unreadable>,
    /// Every id read in this walk, in quarantine or not.
    ids: HashSet<TransactionId>,
    /// A record's id could not be read, so no row can be said to be missing.
    unnamed: bool,
    /// A record was a transaction.
    readable: bool,
    rows_read: u64,
    /// Bytes of the rows not yet written.
    size: usize,
}

impl Gathered {
    fn take(&mut self, records: Vec<Record>) {
        for record in records {
            match record {
                Record::Row { transaction, raw, size } => {
                    self.readable = true;
                    self.size += size;
                    if self.ids.insert(transaction.id.clone()) {
                        self.rows_read += 1;
                    } else {
                        // The later page wins, also over one on which the record could not be read.
                        self.unreadable.retain(|record| record.id.as_ref() != Some(&transaction.id));
                    }
                    self.rows.push(FetchedRow { transaction, raw });
                }
                Record::Unreadable { id, reason, raw } => {
                    match &id {
                        Some(id) => drop(self.ids.insert(id.clone())),
                        None => self.unnamed = true,
                    }
                    self.unreadable.push(Unreadable { id, reason, raw });
                }
            }
        }
    }
}

impl Gathered {
    fn is_chunk(&self) -> bool {
        self.rows.len() + self.unreadable.len() > CHUNK
    }

    /// Whether what is held until the end of the walk still fits in memory.
    fn fits(&self) -> Result<(), tink::Error> {
        if self.size <= WHOLE {
            return Ok(());
        }
        let detail = "a re-consent's walk has more rows than fit in memory: sync.history makes it shorter";
        Err(tink::Error::new(ErrorKind::TooLarge, Endpoint::Transactions, detail))
    }

    /// The oldest date among the rows not yet written.
    fn oldest(&self) -> Option<Date> {
        self.rows.iter().filter_map(|row| row.transaction.booked_date).min()
    }

    /// Records came, and none of them could be read: such a walk has seen nothing of its window.
    fn is_illegible(&self) -> bool {
        !self.readable && (self.unnamed || !self.ids.is_empty())
    }

    /// Whether a row that is not among these is missing: an empty list never says so.
    fn is_conclusive(&self) -> bool {
        !self.unnamed && !self.ids.is_empty()
    }
}

impl<S: Store> Walk<'_, S> {
    /// Whether the account has to be read at all: one that has not moved is left alone until
    /// `rewalk` or `deep_rewalk` is over.
    pub fn is_due(&self) -> bool {
        let rewalk = self.is_older(self.account.walked_at, self.story.ctx.options.rewalk);
        let unmoved = self.refresh().is_some() && self.refresh() == self.account.walked_refresh;
        !unmoved
            || rewalk
            || self.is_deep()
            || self.account.repairing
            || self.account.complete_through.is_none()
    }

    /// Reads all pages and commits.
    pub async fn run(&self) -> Result<End, Trouble> {
        let window = self.window();
        let mut gathered = Gathered::default();
        let mut pages = self.story.session.transactions(&self.account.account.id, &window);
        let mut looped = None;
        loop {
            match pages.next().await {
                Ok(Some(records)) => gathered.take(records),
                Ok(None) => break,
                // What an endless list did show is real; it is kept, and nothing is concluded from it.
                Err(error) if error.kind == ErrorKind::PageLoop => {
                    looped = Some(error);
                    break;
                }
                Err(error) => return Err(self.give_up(&gathered, error.into())),
            }
            // After a re-consent old and new rows are paired in one commit, so that none shows twice.
            if self.account.repairing {
                gathered.fits().map_err(|error| self.give_up(&gathered, error.into()))?;
            } else if gathered.is_chunk() {
                self.flush(&mut gathered).await?;
            }
        }
        self.story.tally.add(|counts| counts.fetched += gathered.rows_read);
        match looped {
            Some(error) => {
                self.flush(&mut gathered).await?;
                Err(error.into())
            }
            None => self.seal(&window, gathered).await,
        }
    }

    fn give_up(&self, gathered: &Gathered, trouble: Trouble) -> Trouble {
        self.story.tally.add(|counts| counts.fetched += gathered.rows_read);
        trouble
    }

    fn refresh(&self) -> Option<Timestamp> {
        self.account.account.last_refreshed
    }

    fn is_deep(&self) -> bool {
        self.is_older(self.account.deep_walked_at, self.story.ctx.options.deep_rewalk)
    }

    fn is_older(&self, at: Option<Timestamp>, than: jiff::SignedDuration) -> bool {
        // A time ahead of now comes from a clock that was wrong; it does not hold a walk up.
        at.is_none_or(|at| {
            let age = self.story.now().duration_since(at);
            age >= than || age.is_negative()
        })
    }

    fn window(&self) -> Window {
        let options = &self.story.ctx.options;
        // A re-consent's walk is full: rows are paired with all there were.
        let watermark = self.account.complete_through.filter(|_| !self.account.repairing);
        Window::plan(&WindowInput {
            today: self.story.ctx.clock.today(),
            watermark,
            oldest_pending: self.account.oldest_pending,
            history_days: options.history_days,
            overlap_days: options.overlap_days,
            lookahead_days: options.lookahead_days,
            deep: self.is_deep(),
        })
    }

    /// Writes what was read so far; nothing is removed.
    async fn flush(&self, gathered: &mut Gathered) -> Result<(), Trouble> {
        let (commit, _) = self.upserts(gathered).await?;
        self.commit(commit).await
    }

    /// What to write of the rows read so far, and what was stored of them. After a re-consent rows of the
    /// old generation go as soon as their successors come, also those that Tink imports later.
    async fn upserts(&self, gathered: &mut Gathered) -> Result<(RowCommit, Vec<StoredRow>), Trouble> {
        let oldest = gathered.oldest();
        gathered.size = 0;
        let rows = mem::take(&mut gathered.rows);
        let ids: Vec<TransactionId> = rows.iter().map(|row| row.transaction.id.clone()).collect();
        let stored = self.stored(RowQuery::Ids(ids.clone())).await?;
        let mut changes = reconcile::upserts(&stored, rows, self.account.generation);
        let arrivals = reconcile::arrivals(&stored, &changes);
        if self.account.generation > 1 && !arrivals.is_empty() {
            let mut old = self.stored(RowQuery::OlderGeneration(oldest)).await?;
            old.retain(|row| !gathered.ids.contains(&row.transaction.id));
            changes.remove = reconcile::pair_generations(&old, &arrivals, oldest);
        }
        let commit = RowCommit {
            account: self.account.key,
            generation: self.account.generation,
            changes,
            unreadable: mem::take(&mut gathered.unreadable),
            readable: ids,
            seal: None,
            now: self.story.now(),
        };
        Ok((commit, stored))
    }

    async fn stored(&self, query: RowQuery) -> Result<Vec<StoredRow>, Trouble> {
        Ok(self.story.ctx.store.rows(self.account.key, query).await?)
    }

    async fn commit(&self, commit: RowCommit) -> Result<(), Trouble> {
        if commit.changes.is_empty() && commit.unreadable.is_empty() && commit.seal.is_none() {
            return Ok(());
        }
        let changed = commit.changes.counts();
        let first = commit.unreadable.first().map(|record| record.reason.clone());
        let quarantined = self.story.ctx.store.commit(&self.story.claim.lease, commit).await?;
        self.story.tally.add(|counts| {
            *counts += changed;
            counts.quarantined += quarantined;
        });
        if let Some(reason) = first.filter(|_| quarantined > 0) {
            self.story.quarantined(reason, quarantined);
        }
        Ok(())
    }

    /// The end of a complete walk: the last rows, the removals and the watermark in one commit.
    async fn seal(&self, window: &Window, mut gathered: Gathered) -> Result<End, Trouble> {
        let oldest = gathered.oldest();
        let (mut commit, stored) = self.upserts(&mut gathered).await?;
        if !self.healthy || gathered.is_illegible() {
            self.commit(commit).await?;
            return Ok(End { sealed: false, note: None });
        }
        let live = self.live_rows(window, &commit.changes).await?;
        let (suspect, settled) = if gathered.is_conclusive() {
            let absent = reconcile::absent(&live, &gathered.ids, window, self.account.generation);
            self.judge(&absent, &live, &stored, &mut commit.changes).await?
        } else {
            // What shows nothing ends no suspicion either.
            (self.account.suspect_refresh, false)
        };
        let unmatched = self.account.repairing && self.has_unmatched(&live, &commit.changes, oldest);
        commit.seal = Some(self.proof(window, suspect, settled));
        self.commit(commit).await?;
        let note = match suspect {
            Some(_) => Some(Reason::MassVanish),
            None => unmatched.then_some(Reason::ReconsentUnmatched),
        };
        Ok(End { sealed: true, note })
    }

    /// Removes what is absent if nothing forbids it. Returns since which refresh too much is missing,
    /// and whether no absent row is left to be judged by a later walk.
    async fn judge(
        &self,
        absent: &[&LiveRow],
        live: &[LiveRow],
        stored: &[StoredRow],
        changes: &mut ChangeSet,
    ) -> Result<(Option<Timestamp>, bool), Trouble> {
        if absent.is_empty() {
            return Ok((None, true));
        }
        let too_many = reconcile::too_many(absent, live);
        if too_many && !self.is_second_look() {
            return Ok((self.refresh(), false));
        }
        if !self.has_moved() || !self.stands_still().await? {
            return Ok((self.account.suspect_refresh.filter(|_| too_many), false));
        }
        let keys = absent.iter().map(|row| row.key).collect();
        self.remove(changes, self.stored(RowQuery::Keys(keys)).await?, stored).await?;
        Ok((None, changes.missed.is_empty()))
    }

    /// The live rows of the window, less those this commit already replaces.
    async fn live_rows(&self, window: &Window, changes: &ChangeSet) -> Result<Vec<LiveRow>, Trouble> {
        let query = LiveQuery { account: self.account.key, window: *window };
        let mut live = self.story.ctx.store.live_rows(query).await?;
        let replaced: HashSet<i64> = changes.remove.iter().map(|(key, _)| *key).collect();
        live.retain(|row| !replaced.contains(&row.key));
        Ok(live)
    }

    async fn remove(
        &self,
        changes: &mut ChangeSet,
        absent: Vec<StoredRow>,
        stored: &[StoredRow],
    ) -> Result<(), Trouble> {
        let mut arrivals = Vec::new();
        if absent.iter().any(|row| row.transaction.status == Status::Pending) {
            arrivals =
                self.stored(RowQuery::Unsealed).await?.into_iter().map(|row| row.transaction).collect();
            let taken = reconcile::successors_of(&changes.remove);
            let new = reconcile::arrivals(stored, changes).into_iter();
            arrivals.extend(new.filter(|row| !taken.contains(&row.id)).cloned());
        }
        let removals = reconcile::removals(&absent, &arrivals);
        changes.remove.extend(removals.remove);
        changes.missed.extend(removals.missed);
        Ok(())
    }

    /// Whether Tink has looked at the bank again since the stored rows were known to be complete.
    fn has_moved(&self) -> bool {
        let before = self.account.walked_refresh.or_else(|| self.before?.account.last_refreshed);
        matches!((before, self.refresh()), (Some(before), Some(now)) if now > before)
    }

    /// Whether the account did not move while it was walked: the list is read once more.
    async fn stands_still(&self) -> Result<bool, Trouble> {
        let again: Vec<Account> = self.story.session.accounts().await?;
        let ours = again.into_iter().find(|account| account.id == self.account.account.id);
        Ok(ours.is_some_and(|account| account.last_refreshed == self.refresh()))
    }

    /// Whether rows were missing in masses before, at an older refresh.
    fn is_second_look(&self) -> bool {
        matches!((self.account.suspect_refresh, self.refresh()), (Some(first), Some(now)) if now > first)
    }

    fn has_unmatched(&self, live: &[LiveRow], changes: &ChangeSet, oldest: Option<Date>) -> bool {
        let removed: HashSet<i64> = changes.remove.iter().map(|(key, _)| *key).collect();
        let touched: HashSet<i64> =
            changes.touch.iter().copied().chain(changes.update.iter().map(|(key, _)| *key)).collect();
        live.iter().any(|row| {
            row.generation < self.account.generation
                && !removed.contains(&row.key)
                && !touched.contains(&row.key)
                && row.booked_date.is_some_and(|date| oldest.is_some_and(|oldest| date >= oldest))
        })
    }

    fn proof(&self, window: &Window, suspect: Option<Timestamp>, settled: bool) -> Seal {
        let today = self.story.ctx.clock.today();
        let refreshed = self.refresh().map(|at| at.to_zoned_datetime(jiff::tz::TimeZone::UTC).date());
        Seal {
            watermark: refreshed.map(|date| date.min(today)),
            refresh: self.refresh(),
            at: self.story.now(),
            deep: window.from.is_none() || self.is_deep(),
            suspect,
            settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_holds_all_its_rows_has_a_limit() {
        let mut gathered = Gathered { size: WHOLE, ..Gathered::default() };
        assert_eq!(gathered.fits(), Ok(()));
        gathered.size += 1;
        assert_eq!(gathered.fits().unwrap_err().kind, ErrorKind::TooLarge);
    }
}

//! One account's transactions, from the first page to the commit that seals the walk. Only a complete walk
//! moves the watermark, in the same commit as the last rows; only one of an account with a healthy consent
//! removes rows that have no successor (design section 8).

use std::collections::{HashMap, HashSet};
use std::mem;

use jiff::Timestamp;
use jiff::civil::Date;

use super::connection::{Story, Trouble};
use super::judgement::{self, Judged};
use super::pairing::{self, ProviderIds, Sides};
use super::reconcile::{self, Rewritten};
use super::words::CommonWords;
use crate::domain::account::Account;
use crate::domain::ids::TransactionId;
use crate::domain::outcome::Reason;
use crate::domain::transaction::{Status, Transaction};
use crate::domain::unreadable::Unreadable;
use crate::domain::window::{Deep, Window, WindowInput};
use crate::store::{
    ChangeSet, Covered, FetchedRow, LiveQuery, LiveRow, Removal, RowCommit, RowQuery, Seal, Store,
    StoredAccount, StoredRow,
};
use crate::tink::{ErrorKind, Record};

/// Upserts are committed in chunks of about this many rows (one page more at most), so that a first sync
/// of years fits in memory.
const CHUNK: usize = 250;

/// What is read and not yet written is written when it is as large as this, in bytes.
const CHUNK_SIZE: usize = 2 * 1024 * 1024;
/// About what a row or a record takes in memory beside its texts.
const BESIDE_TEXTS: usize = 700;

/// A walk without an upper date asks for so many days ahead: without one Tink ends at today.
const WITHOUT_LIMIT: i64 = 3650;

/// So many rows show which words of an account say nothing.
const TEXTS: u32 = 400;

/// One account to walk.
pub struct Walk<'a, S> {
    /// The story it is part of.
    pub story: &'a Story<'a, S>,
    /// The account as it was stored before this pass.
    pub before: Option<&'a StoredAccount>,
    /// The account as stored now.
    pub account: &'a StoredAccount,
    /// At least one of its consents is healthy.
    pub healthy: bool,
}

/// How a walk ended that came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// It was complete, and no missing row is left unjudged: the rows are Tink's as of the refresh in the
    /// account list.
    pub exact: bool,
    /// Rows are missing in a way that was not believed.
    pub suspect: bool,
    /// A reason that is worth telling although it went well.
    pub note: Option<Reason>,
}

/// What has been read and not yet written.
#[derive(Default)]
struct Gathered {
    rows: Vec<FetchedRow>,
    unreadable: Vec<Unreadable>,
    /// Every id read in this walk, in quarantine or not, and whether it was booked.
    ids: HashMap<TransactionId, bool>,
    /// The bank's own ids, where stored rows may have to be told apart by them.
    provider_ids: Option<ProviderIds>,
    /// A record's id could not be read, so no row can be said to be missing.
    unnamed: bool,
    /// A page came without its list of records, so the walk has not seen everything.
    partial: bool,
    /// A record was a transaction.
    readable: bool,
    /// Distinct rows read.
    rows_read: u64,
    /// Oldest and newest booked date read.
    dates: Option<(Date, Date)>,
    /// Bytes of what is not yet written.
    size: usize,
    /// What the walk changed of old rows.
    rewritten: Rewritten,
}

impl Gathered {
    fn take(&mut self, records: Vec<Record>) {
        for record in records {
            match record {
                Record::Row { transaction, raw, size } => self.take_row(transaction, raw, size),
                Record::Unreadable(record) => {
                    match &record.id {
                        Some(id) => drop(self.ids.entry(id.clone()).or_default()),
                        None => self.unnamed = true,
                    }
                    self.size += record.raw.len() + BESIDE_TEXTS;
                    self.unreadable.push(record);
                }
            }
        }
    }

    fn take_row(&mut self, transaction: Transaction, raw: Option<Box<str>>, size: usize) {
        self.readable = true;
        let is_booked = transaction.status == Status::Booked;
        match self.ids.get_mut(&transaction.id) {
            // One id, booked and pending in one walk: a booking never becomes a reservation.
            Some(true) if !is_booked => return,
            Some(known) => {
                *known |= is_booked;
                // The later page wins, also over one on which the record could not be read.
                self.unreadable.retain(|record| record.id.as_ref() != Some(&transaction.id));
            }
            None => {
                self.ids.insert(transaction.id.clone(), is_booked);
                self.rows_read += 1;
                if let Some(ids) = &mut self.provider_ids {
                    ids.add(&transaction);
                }
            }
        }
        if let Some(date) = transaction.booked_date {
            self.dates = Some(self.dates.map_or((date, date), |(a, b)| (a.min(date), b.max(date))));
        }
        self.size += size + raw.as_ref().map_or(0, |raw| raw.len()) + BESIDE_TEXTS;
        self.rows.push(FetchedRow { transaction, raw });
    }

    fn is_chunk(&self) -> bool {
        self.rows.len() + self.unreadable.len() > CHUNK || self.size > CHUNK_SIZE
    }

    /// The records that cannot be read, which wait for nothing.
    fn take_unreadable(&mut self) -> Vec<Unreadable> {
        let records = mem::take(&mut self.unreadable);
        let size: usize = records.iter().map(|record| record.raw.len() + BESIDE_TEXTS).sum();
        self.size = self.size.saturating_sub(size);
        records
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

/// What a complete walk has found out, beside what it writes.
struct Found {
    /// Booked rows of the window that are live and have no successor.
    booked: usize,
    gathered: Gathered,
    /// Stored rows as they were before the changes of this walk that are not committed yet.
    stored: Vec<StoredRow>,
}

impl<S: Store> Walk<'_, S> {
    /// Whether the account has to be read at all: one that has not moved is left alone until
    /// `rewalk` or `deep_rewalk` is over.
    pub fn is_due(&self) -> bool {
        let rewalk = self.is_older(self.account.walked_at, self.story.ctx.options.rewalk);
        let unmoved = self.refresh().is_some() && self.refresh() == self.account.walked_refresh;
        let waits = self.healthy && self.account.absent_from.is_some() && self.has_moved();
        !unmoved
            || rewalk
            || waits
            || self.is_deep()
            || self.is_full()
            || self.account.complete_through.is_none()
    }

    /// What an account that is not due has to be told of all the same.
    pub fn at_rest(&self) -> End {
        let note = (self.account.unmatched > 0).then_some(Reason::ReconsentUnmatched);
        End { exact: false, suspect: self.account.suspect_refresh.is_some(), note }
    }

    /// Reads all pages and commits.
    pub async fn run(&self) -> Result<End, Trouble> {
        let end = self.walk().await;
        self.story.session.release_unwritten();
        end
    }

    async fn walk(&self) -> Result<End, Trouble> {
        let window = self.window();
        let mut gathered = self.read(&window, Gathered::default()).await?;
        let (mut commit, stored) = self.upserts(&mut gathered).await?;
        commit.covered = self.covered(&window, &gathered);
        if gathered.partial || gathered.is_illegible() {
            self.commit(commit).await?;
            return Ok(self.at_rest());
        }
        let live = self.live_rows(&window).await?;
        let missing = reconcile::not_returned(&live, &gathered.ids);
        if missing.is_empty() || !gathered.is_conclusive() {
            // What shows nothing ends no suspicion and settles nothing.
            let conclusive = gathered.is_conclusive();
            let judged = if conclusive { Judged::nothing_missing() } else { self.unjudged() };
            return self.seal(&window, &gathered, commit, judged, &[], 0).await;
        }
        let keys = missing.iter().map(|row| row.key).collect();
        let mut missing = self.stored(RowQuery::Keys(keys)).await?;
        let pairs = self.pair(&missing, &commit, &gathered, &stored).await?;
        let paired: HashMap<i64, bool> =
            pairs.iter().map(|(key, removal)| (*key, is_reissue(removal))).collect();
        // Ids of reservations change at many banks; those of bookings should not.
        let is_news = |row: &StoredRow| reconcile::is_settled(row.transaction.status);
        let renamed =
            missing.iter().filter(|row| paired.get(&row.key) == Some(&true) && is_news(row)).count();
        let rematched =
            missing.iter().filter(|row| self.is_unmatched(row) && paired.contains_key(&row.key)).count();
        let looked_for = missing.clone();
        missing.retain(|row| !paired.contains_key(&row.key));
        commit.changes.remove.extend(pairs);
        let booked =
            live.iter().filter(|row| reconcile::is_settled(row.status) && !paired.contains_key(&row.key));
        let mut candidates: Vec<StoredRow> = missing.clone();
        candidates.retain(|row| reconcile::is_missing(row, &window, self.account.generation));
        let reissued =
            renamed > 0 && renamed * 2 >= live.iter().filter(|row| reconcile::is_settled(row.status)).count();
        let mut found = Found { booked: booked.count(), gathered, stored: [stored, looked_for].concat() };
        let judged = self.judge(&mut candidates, &mut commit, &mut found).await?;
        let (judged, gathered) = (Judged { reissued, ..judged }, found.gathered);
        self.seal(&window, &gathered, commit, judged, &missing, rematched).await
    }

    /// Reads all pages of a window, writing what does not have to wait for the end.
    async fn read(&self, window: &Window, mut gathered: Gathered) -> Result<Gathered, Trouble> {
        let has_rows = self.account.complete_through.is_some() || self.account.generation > 1;
        gathered.provider_ids = has_rows.then(ProviderIds::default);
        let mut pages = self.story.session.transactions(&self.account.account.id, window);
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
            self.hold(&gathered).await?;
            if gathered.is_chunk() {
                self.flush_chunk(&mut gathered).await?;
                self.hold(&gathered).await?;
            }
        }
        gathered.partial = !pages.is_whole();
        self.story.tally.add(|counts| counts.fetched += gathered.rows_read);
        match looped {
            Some(error) => {
                self.keep_loop(&mut gathered).await?;
                Err(error.into())
            }
            None => Ok(gathered),
        }
    }

    /// Waits until what is held of this walk may be held.
    async fn hold(&self, gathered: &Gathered) -> Result<(), Trouble> {
        let held = self.story.session.hold_unwritten(gathered.size).await;
        held.map_err(|error| self.give_up(gathered, error.into()))
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

    /// All of the account is to be read: after a re-consent rows are paired with all there were.
    fn is_full(&self) -> bool {
        self.account.repairing || self.account.full_due
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
        let account = self.account;
        let behind = account.deep_through.or_else(|| account.deep_walked_at.map(day_of));
        let deep = self.is_deep().then(|| behind.or(account.complete_through)).flatten();
        Window::plan(&WindowInput {
            today: self.story.ctx.clock.today(),
            watermark: account.complete_through.filter(|_| !self.is_full()),
            oldest_pending: account.oldest_pending,
            // Under an unhealthy consent nothing is judged: reading it again and again would show nothing new.
            absent_from: account.absent_from.filter(|_| self.healthy && self.refresh().is_some()),
            history_days: options.history_days,
            overlap_days: options.overlap_days,
            lookahead_days: options.lookahead_days,
            deep: deep.map(|behind| Deep { behind, oldest_pending: account.oldest_any_pending }),
        })
    }

    /// Writes what was read so far. After a re-consent old and new rows are paired in one commit, so that none shows
    /// twice: only the records for quarantine are written before.
    async fn flush_chunk(&self, gathered: &mut Gathered) -> Result<(), Trouble> {
        if !self.account.repairing {
            return self.flush(gathered).await;
        }
        let unreadable = gathered.take_unreadable();
        self.commit(RowCommit { unreadable, ..self.nothing() }).await
    }

    /// Writes what was read so far; nothing is removed.
    async fn flush(&self, gathered: &mut Gathered) -> Result<(), Trouble> {
        let (commit, _) = self.upserts(gathered).await?;
        self.commit(commit).await
    }

    /// Writes what an endless list did show. After a re-consent it takes the place of its counterparts, so that
    /// none shows twice.
    async fn keep_loop(&self, gathered: &mut Gathered) -> Result<(), Trouble> {
        let (mut commit, stored) = self.upserts(gathered).await?;
        if self.account.repairing {
            let oldest = gathered.dates.map(|(oldest, _)| oldest);
            let mut old = self.stored(RowQuery::OlderGeneration(oldest)).await?;
            old.retain(|row| !gathered.ids.contains_key(&row.transaction.id));
            commit.changes.remove = self.pair(&old, &commit, gathered, &stored).await?;
        }
        self.commit(commit).await
    }

    /// What to write of the rows read so far, and what was stored of them.
    async fn upserts(&self, gathered: &mut Gathered) -> Result<(RowCommit, Vec<StoredRow>), Trouble> {
        gathered.size = 0;
        let rows = mem::take(&mut gathered.rows);
        let ids: Vec<TransactionId> = rows.iter().map(|row| row.transaction.id.clone()).collect();
        let stored = self.stored(RowQuery::Ids(ids.clone())).await?;
        let changes = reconcile::upserts(&stored, rows, self.account.generation);
        let ordinary = self
            .account
            .complete_through
            .map(|date| crate::domain::window::shift(date, -self.story.ctx.options.overlap_days));
        gathered.rewritten.count(&stored, &changes, ordinary);
        let unreadable = mem::take(&mut gathered.unreadable);
        Ok((RowCommit { changes, unreadable, readable: ids, ..self.nothing() }, stored))
    }

    /// A commit that changes nothing.
    fn nothing(&self) -> RowCommit {
        RowCommit {
            account: self.account.key,
            generation: self.account.generation,
            changes: ChangeSet::default(),
            unreadable: Vec::new(),
            readable: Vec::new(),
            covered: None,
            seal: None,
            now: self.story.now(),
        }
    }

    async fn stored(&self, query: RowQuery) -> Result<Vec<StoredRow>, Trouble> {
        Ok(self.story.ctx.store.rows(self.account.key, query).await?)
    }

    async fn commit(&self, commit: RowCommit) -> Result<(), Trouble> {
        let is_end = commit.seal.is_some() || commit.covered.is_some();
        if commit.changes.is_empty() && commit.unreadable.is_empty() && !is_end {
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

    /// The dates of which a record in quarantine that was not listed is gone. After a re-consent nothing is said
    /// about what is older than all that was listed.
    fn covered(&self, window: &Window, gathered: &Gathered) -> Option<Covered> {
        let oldest = gathered.dates.map(|(oldest, _)| oldest);
        let is_empty = gathered.ids.is_empty() && !gathered.unnamed;
        if !self.healthy || gathered.partial || is_empty {
            return None;
        }
        let from = window.well_inside_from();
        let from = match oldest {
            _ if !self.account.repairing => from,
            None => return None,
            Some(oldest) => from.max(Some(oldest)),
        };
        Some(Covered { from, to: window.to })
    }

    /// The live rows of the window.
    async fn live_rows(&self, window: &Window) -> Result<Vec<LiveRow>, Trouble> {
        let query = LiveQuery { account: self.account.key, window: *window };
        Ok(self.story.ctx.store.live_rows(query).await?)
    }

    /// Successors of missing rows among those that are new in this walk or arrived since the last one that was
    /// judged. A successor proves itself: this needs no healthy consent and no second look.
    async fn pair(
        &self,
        missing: &[StoredRow],
        commit: &RowCommit,
        gathered: &Gathered,
        stored: &[StoredRow],
    ) -> Result<Vec<(i64, Removal)>, Trouble> {
        let reach = gathered.dates.map(|(oldest, _)| oldest);
        let in_reach = |row: &&StoredRow| {
            let date = row.transaction.booked_date;
            row.generation == self.account.generation || date.is_none_or(|date| Some(date) >= reach)
        };
        let old: Vec<StoredRow> = missing.iter().filter(in_reach).cloned().collect();
        let unsealed = self.stored(RowQuery::Unsealed).await?;
        let taken = reconcile::successors_of(&commit.changes.remove);
        let still_missing: HashSet<&TransactionId> = old.iter().map(|row| &row.transaction.id).collect();
        let mut new = reconcile::arrivals(stored, &commit.changes);
        new.extend(unsealed.iter().map(|row| &row.transaction));
        new.retain(|row| !taken.contains(&row.id) && !still_missing.contains(&row.id));
        if old.is_empty() || new.is_empty() {
            return Ok(Vec::new());
        }
        let common = self.common_words(&old, &new).await?;
        let none = ProviderIds::default();
        let ids = gathered.provider_ids.as_ref().unwrap_or(&none);
        Ok(pairing::pair(&Sides {
            old: &old,
            new: &new,
            generation: self.account.generation,
            ids,
            common: &common,
        }))
    }

    /// The words that say nothing in this account; looked for only where a reservation may have been booked.
    async fn common_words(&self, old: &[StoredRow], new: &[&Transaction]) -> Result<CommonWords, Trouble> {
        let amounts: HashSet<&str> = new.iter().map(|row| row.money.amount.as_str()).collect();
        let may_be_booked = |row: &StoredRow| {
            row.transaction.status == Status::Pending
                && amounts.contains(row.transaction.money.amount.as_str())
        };
        if !old.iter().any(may_be_booked) {
            return Ok(CommonWords::default());
        }
        let newest = self.stored(RowQuery::Newest(TEXTS)).await?;
        let texts = newest.iter().map(|row| row.transaction.text()).chain(new.iter().map(|row| row.text()));
        Ok(CommonWords::of(texts))
    }

    /// Removes what is missing without a successor if nothing forbids it.
    async fn judge(
        &self,
        missing: &mut Vec<StoredRow>,
        commit: &mut RowCommit,
        found: &mut Found,
    ) -> Result<Judged, Trouble> {
        if missing.is_empty() {
            return Ok(Judged::nothing_missing());
        }
        if !self.healthy || !self.has_moved() {
            return Ok(Judged::waits(missing, self.unjudged()));
        }
        if missing.iter().any(|row| reconcile::is_settled(row.transaction.status)) {
            let conclusive = self.look_again(missing, commit, found).await?;
            if missing.is_empty() {
                return Ok(Judged::nothing_missing());
            }
            if !conclusive {
                return Ok(Judged::waits(missing, self.unjudged()));
            }
        }
        let refresh = self.refresh();
        let mut ledgers = self.story.ctx.store.ledgers(vec![self.account.key]).await?;
        for ledger in &mut ledgers {
            judgement::count(ledger, &commit.changes, &found.stored);
        }
        let look = judgement::Look {
            booked: found.booked,
            ledger: ledgers.first(),
            stand: self.account.stand.as_ref(),
            suspected: self.account.suspect_refresh.is_some_and(|at| refresh.is_some_and(|now| now > at)),
        };
        if look.is_suspicious(missing) {
            commit.changes.missed.extend(missing.iter().map(|row| row.key));
            return Ok(Judged::suspicious(missing, refresh));
        }
        if !self.stands_still().await? {
            return Ok(Judged::waits(missing, self.unjudged()));
        }
        for row in &*missing {
            if reconcile::is_ripe(row) {
                commit.changes.remove.push((row.key, Removal::Vanished));
            } else {
                commit.changes.missed.push(row.key);
            }
        }
        Ok(Judged::nothing_missing())
    }

    /// Walks the account once more, without date limits, before a booked row is said to be gone: it may have
    /// moved to another date, or between two pages. Leaves in `missing` what that walk does not show either, and
    /// says whether it can tell.
    async fn look_again(
        &self,
        missing: &mut Vec<StoredRow>,
        commit: &mut RowCommit,
        found: &mut Found,
    ) -> Result<bool, Trouble> {
        let options = &self.story.ctx.options;
        let ahead = options.lookahead_days.max(WITHOUT_LIMIT);
        let window = Window::all(self.story.ctx.clock.today(), options.history_days, ahead);
        let mut again = self.read(&window, Gathered::default()).await?;
        // Counted once, whichever walk read it.
        let twice = again.ids.keys().filter(|id| found.gathered.ids.contains_key(*id)).count() as u64;
        self.story.tally.add(|counts| counts.fetched = counts.fetched.saturating_sub(twice));
        let (more, stored) = self.upserts(&mut again).await?;
        found.stored.extend(stored);
        commit.changes.supersede(more.changes, |id| again.ids.contains_key(id));
        commit.unreadable.retain(|record| record.id.as_ref().is_none_or(|id| !again.ids.contains_key(id)));
        commit.unreadable.extend(more.unreadable);
        commit.readable.extend(more.readable);
        if again.partial || again.is_illegible() || !again.is_conclusive() {
            return Ok(false);
        }
        missing.retain(|row| !again.ids.contains_key(&row.transaction.id));
        let all = self.missing_from_all(commit, &again, &window).await?;
        let pairs = self.pair(&all, commit, &again, &found.stored).await?;
        let keys: HashSet<i64> = found.stored.iter().map(|row| row.key).collect();
        found.stored.extend(all.into_iter().filter(|row| !keys.contains(&row.key)));
        let paired: HashSet<i64> = pairs.iter().map(|(key, _)| *key).collect();
        missing.retain(|row| !paired.contains(&row.key));
        commit.changes.remove.extend(pairs);
        Ok(true)
    }

    /// All rows that a walk without date limits did not show, not only those of the first walk's window: ids may
    /// have been re-issued all through the history, and each old row goes on under its new one.
    async fn missing_from_all(
        &self,
        commit: &RowCommit,
        again: &Gathered,
        window: &Window,
    ) -> Result<Vec<StoredRow>, Trouble> {
        let replaced: HashSet<i64> = commit.changes.remove.iter().map(|(key, _)| *key).collect();
        let live = self.live_rows(window).await?;
        let mut gone = reconcile::not_returned(&live, &again.ids);
        gone.retain(|row| !replaced.contains(&row.key));
        self.stored(RowQuery::Keys(gone.iter().map(|row| row.key).collect())).await
    }

    /// Whether Tink has looked at the bank again since missing rows were judged.
    fn has_moved(&self) -> bool {
        let judged = self.account.judged_refresh.or(self.account.walked_refresh);
        let before = judged.or_else(|| self.before?.account.last_refreshed);
        matches!((before, self.refresh()), (Some(before), Some(now)) if now > before)
    }

    /// Whether the account did not move while it was walked: the list is read once more.
    async fn stands_still(&self) -> Result<bool, Trouble> {
        let again: Vec<Account> = self.story.session.accounts().await?;
        let ours = again.into_iter().find(|account| account.id == self.account.account.id);
        Ok(ours.is_some_and(|account| account.last_refreshed == self.refresh()))
    }

    /// A walk that could not judge leaves open what was open.
    fn unjudged(&self) -> Judged {
        Judged::open(self.account.suspect_refresh, self.account.absent_from)
    }

    /// Whether it is a booked row from before a re-consent whose counterpart is looked for.
    fn is_unmatched(&self, row: &StoredRow) -> bool {
        row.generation < self.account.generation
            && reconcile::is_settled(row.transaction.status)
            && row
                .transaction
                .booked_date
                .zip(self.account.unmatched_from)
                .is_some_and(|(date, from)| date >= from)
    }

    /// The end of a complete walk: the last rows, the removals and the watermark in one commit.
    async fn seal(
        &self,
        window: &Window,
        gathered: &Gathered,
        mut commit: RowCommit,
        judged: Judged,
        missing: &[StoredRow],
        rematched: usize,
    ) -> Result<End, Trouble> {
        let account = self.account;
        let oldest = gathered.dates.map(|(oldest, _)| oldest);
        let (unmatched_from, unmatched) = if account.repairing {
            let left = |row: &&StoredRow| {
                row.generation < account.generation
                    && reconcile::is_settled(row.transaction.status)
                    && row.transaction.booked_date.zip(oldest).is_some_and(|(date, oldest)| date >= oldest)
            };
            let left = missing.iter().filter(left).count() as u64;
            (oldest.filter(|_| left > 0), left)
        } else {
            let left = account.unmatched.saturating_sub(rematched as u64);
            (account.unmatched_from.filter(|_| left > 0), left)
        };
        let covers = account.absent_from.is_none_or(|date| window.covers(date));
        let judged = if covers { judged } else { judged.and(self.unjudged()) };
        let watermark = self.watermark(gathered);
        let is_deep = window.from.is_none() || self.is_deep() || self.is_full();
        let rewritten = self.is_deep() && !self.is_full() && gathered.rewritten.is_history_rewritten();
        commit.seal = Some(Seal {
            watermark,
            refresh: self.refresh(),
            at: self.story.now(),
            deep: watermark.or(account.complete_through).filter(|_| is_deep),
            suspect: judged.suspect,
            absent_from: judged.absent_from,
            judged: judged.complete,
            full_due: rewritten || (gathered.rewritten.currency && !self.is_full()),
            reissued: judged.reissued || (account.reissued && !self.has_moved()),
            unmatched_from,
            settled: gathered.is_conclusive(),
        });
        self.commit(commit).await?;
        let told = judged.reissued && !account.reissued;
        let note = (unmatched > 0).then_some(Reason::ReconsentUnmatched);
        Ok(End {
            exact: judged.suspect.is_none() && judged.absent_from.is_none(),
            suspect: judged.suspect.is_some(),
            note: note.or(told.then_some(Reason::IdsReissued)),
        })
    }

    /// Through which date the history is complete: as of the refresh, else as of the newest booking.
    fn watermark(&self, gathered: &Gathered) -> Option<Date> {
        let today = self.story.ctx.clock.today();
        let newest = || gathered.dates.map(|(_, newest)| newest);
        self.refresh().map(day_of).or_else(newest).map(|date| date.min(today))
    }
}

fn day_of(at: Timestamp) -> Date {
    at.to_zoned_datetime(jiff::tz::TimeZone::UTC).date()
}

fn is_reissue(removal: &Removal) -> bool {
    matches!(removal, Removal::Replaced { rule: "reissued", .. })
}

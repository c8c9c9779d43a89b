//! Walks one account's transactions, from the first page to the commit that closes the walk. Only a complete
//! walk moves the watermark, in the same commit as the last rows; only one of an account with a healthy
//! consent removes rows that have no successor (DESIGN.md 8).

use std::collections::{HashMap, HashSet};
use std::mem;

use jiff::Timestamp;
use jiff::civil::Date;

mod checkpoint;
mod gathered;
mod ids;
mod judging;
mod successors;

use self::gathered::Gathered;
use super::context::ConnectionSync;
use super::judgement::Absence;
use super::pairing::ProviderIds;
use super::reconcile;
use super::result::SyncError;
use crate::domain::account;
use crate::domain::ids::TransactionId;
use crate::domain::outcome::Reason;
use crate::domain::window::{Deep, Window, WindowInput, day_of, shift};
use crate::store::{
    ChangeSet, Covered, LiveQuery, LiveRow, Removal, RowCommit, RowQuery, StoredAccount, StoredRow,
    Unfinished,
};
use crate::tink::ErrorKind;

/// Days of refreshes without a plausible list, or without a decision on missing rows, before that is reported.
const DAYS_UNREAD: i64 = 3;

/// One account to walk.
pub(super) struct Walk<'a> {
    /// The connection it is part of.
    pub sync: &'a ConnectionSync<'a>,
    /// The account as it was stored before this pass.
    pub before: Option<&'a StoredAccount>,
    /// The account as stored now.
    pub account: &'a StoredAccount,
    /// At least one of its consents is healthy.
    pub healthy: bool,
    /// Tink is at work on one of its consents.
    pub at_work: bool,
}

/// The end of a walk that came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WalkEnd {
    /// It was complete, and no missing row is left unjudged: the stored rows are Tink's as of the refresh in
    /// the account list.
    pub exact: bool,
    /// Rows are missing that are not believed to be gone, or never can be.
    pub suspect: bool,
    /// A reason worth reporting although the walk went well.
    pub note: Option<Reason>,
}

/// What a complete walk has found out, besides what it writes.
struct Found {
    /// The number of live booked rows in the window without a successor.
    booked: usize,
    /// The dates for which the first walk shows what is missing.
    window: Window,
    /// Oldest date of missing rows outside that window.
    beyond: Option<Date>,
    gathered: Gathered,
    /// Stored rows as they were before the changes of this walk that are not committed yet.
    stored: Vec<StoredRow>,
}

impl Walk<'_> {
    /// Whether the account must be read. One with an unchanged refresh rests until `rewalk` or `deep_rewalk`
    /// has passed, unless it has no watermark yet, a full walk is due, or missing rows can be judged.
    pub(super) fn is_due(&self) -> bool {
        let rewalk = self.is_older(self.account.walked_at, self.sync.ctx.options.rewalk);
        let unmoved = self.refresh().is_some() && self.refresh() == self.account.walked_refresh;
        let waits = self.healthy && self.account.absent_from.is_some() && self.has_moved();
        !unmoved
            || rewalk
            || waits
            || self.unread_from().is_some()
            || self.is_deep()
            || self.is_full()
            || self.account.complete_through.is_none()
    }

    /// What stays open if the account was not read, or nothing can be concluded.
    pub(super) fn at_rest(&self) -> WalkEnd {
        let note = (self.account.unmatched > 0).then_some(Reason::ReconsentUnmatched);
        WalkEnd { exact: false, suspect: self.account.suspect_refresh.is_some(), note }
    }

    /// Reads all pages and commits.
    pub(super) async fn run(&self) -> Result<WalkEnd, SyncError> {
        let end = self.walk().await;
        self.sync.session.release_unwritten();
        end
    }

    async fn walk(&self) -> Result<WalkEnd, SyncError> {
        let window = self.window();
        let nothing = Gathered { unstored: !self.account.has_rows, ..Gathered::default() };
        let mut gathered = self.read(&window, nothing).await?;
        let (mut commit, stored) = self.upserts(&mut gathered).await?;
        commit.covered = self.covered(&window, &gathered);
        if gathered.partial || gathered.is_illegible() {
            commit.unfinished.unread = self.refresh().filter(|_| gathered.partial && self.begins_unread());
            self.commit(commit).await?;
            let (rest, unlisted) = (self.at_rest(), gathered.partial);
            return Ok(WalkEnd {
                suspect: rest.suspect || unlisted && self.unread_since().is_some(),
                ..rest
            });
        }
        let live = self.live_rows(&window, &gathered).await?;
        let missing = reconcile::not_returned(&live, |id| gathered.ids.contains(id));
        if missing.is_empty() || !gathered.is_conclusive() {
            // An inconclusive list ends no suspicion and decides nothing; an empty one is not believed if
            // booked rows are missing well inside the window.
            let were_booked = missing.iter().any(|row| {
                reconcile::counts_as_booked(row.status)
                    && row.booked_date.is_some_and(|date| window.is_well_inside(date))
            });
            let judged = match gathered.ids.is_empty() {
                true if were_booked => Absence::shows_nothing(self.unjudged(), self.unread_since()),
                _ if gathered.is_conclusive() => Absence::nothing_missing(),
                _ => self.unjudged(),
            };
            let missing = self.replace_older(&missing, &mut commit, &gathered, &stored).await?;
            return self.checkpoint(&window, &gathered, commit, judged, &missing, 0).await;
        }
        let keys = missing.iter().map(|row| row.key).collect();
        self.settle(&window, gathered, commit, stored, &live, keys).await
    }

    /// Pairs the rows of these keys, which the walk lacked among the live ones of its window, judges those
    /// without a successor, and commits.
    async fn settle(
        &self,
        window: &Window,
        gathered: Gathered,
        mut commit: RowCommit,
        stored: Vec<StoredRow>,
        live: &[LiveRow],
        missing: Vec<i64>,
    ) -> Result<WalkEnd, SyncError> {
        let mut missing = self.stored(RowQuery::Keys(missing)).await?;
        let pairs = self.pair(&missing, &commit, &gathered, &stored).await?;
        let paired: HashSet<i64> = pairs.iter().map(|(key, _)| *key).collect();
        commit.changes.remove.extend(pairs);
        let is_booked = |row: &&LiveRow| reconcile::counts_as_booked(row.status);
        let live_booked = live.iter().filter(is_booked).count();
        let bounded = self.bounded(window, &gathered);
        let mut candidates: Vec<StoredRow> =
            missing.iter().filter(|row| !paired.contains(&row.key)).cloned().collect();
        candidates.retain(|row| reconcile::is_missing(row, &bounded, self.account.generation));
        let mut found = Found {
            booked: live.iter().filter(|row| is_booked(row) && !paired.contains(&row.key)).count(),
            window: bounded,
            beyond: None,
            gathered,
            stored: [stored, missing.clone()].concat(),
        };
        let judged = self.judge(&mut candidates, &mut commit, &mut found).await?;
        // Read from the commit: a second look adds pairs, and takes back those of rows that it shows.
        let replaced: HashMap<i64, bool> = commit
            .changes
            .remove
            .iter()
            .filter_map(|(key, removal)| Some((*key, is_reissue(removal)?)))
            .collect();
        // Many banks change the ids of reservations; those of bookings should not change.
        let is_renamed = |row: &&StoredRow| {
            reconcile::counts_as_booked(row.transaction.status) && replaced.get(&row.key) == Some(&true)
        };
        let renamed = missing.iter().filter(is_renamed).count();
        let reissued = renamed > 0 && renamed * 2 >= live_booked;
        let rematched =
            missing.iter().filter(|row| self.is_unmatched(row) && replaced.contains_key(&row.key)).count();
        missing.retain(|row| !replaced.contains_key(&row.key));
        let (judged, gathered) = (Absence { reissued, ..judged.again_from(found.beyond) }, found.gathered);
        self.checkpoint(window, &gathered, commit, judged, &missing, rematched).await
    }

    /// Pairs rows from before a re-consent with their counterparts, so that none shows twice: a record with
    /// an unreadable id may be any row of this generation, but none of these, which have ids of an earlier consent. Returns
    /// those without a counterpart.
    async fn replace_older(
        &self,
        missing: &[&LiveRow],
        commit: &mut RowCommit,
        gathered: &Gathered,
        stored: &[StoredRow],
    ) -> Result<Vec<StoredRow>, SyncError> {
        if missing.is_empty() || gathered.ids.is_empty() || self.account.generation == 1 {
            return Ok(Vec::new());
        }
        let mut older = self.stored(RowQuery::Keys(missing.iter().map(|row| row.key).collect())).await?;
        older.retain(|row| row.generation < self.account.generation);
        let pairs = self.pair(&older, commit, gathered, stored).await?;
        let paired: HashSet<i64> = pairs.iter().map(|(key, _)| *key).collect();
        older.retain(|row| !paired.contains(&row.key));
        commit.changes.remove.extend(pairs);
        Ok(older)
    }

    /// Reads all pages of a window, and writes what does not have to wait for the end.
    async fn read(&self, window: &Window, mut gathered: Gathered) -> Result<Gathered, SyncError> {
        gathered.provider_ids = (!gathered.unstored).then(ProviderIds::default);
        let mut pages = self.sync.session.transactions(&self.account.account.id, window);
        let mut looped = None;
        loop {
            match pages.next().await {
                Ok(Some(records)) => gathered.take(records),
                Ok(None) => break,
                // Rows read before the list began to repeat itself are stored; nothing follows from absent ones.
                Err(error) if error.kind == ErrorKind::PageLoop => {
                    looped = Some(error);
                    break;
                }
                Err(error) => return Err(self.give_up(&gathered, error.into())),
            }
            self.hold(&gathered).await?;
            if gathered.is_chunk(self.sync.ctx.store.rows_of_a_commit()) {
                self.flush_chunk(&mut gathered).await?;
                self.hold(&gathered).await?;
            }
        }
        gathered.partial = !pages.is_whole();
        self.sync.counters.add(|counts| counts.fetched += gathered.records_read);
        match looped {
            Some(error) => {
                self.keep_loop(&mut gathered).await?;
                Err(error.into())
            }
            None => Ok(gathered),
        }
    }

    /// Waits until the session may hold this walk's unwritten data.
    async fn hold(&self, gathered: &Gathered) -> Result<(), SyncError> {
        let held = self.sync.session.hold_unwritten(gathered.size).await;
        held.map_err(|error| self.give_up(gathered, error.into()))
    }

    fn give_up(&self, gathered: &Gathered, error: SyncError) -> SyncError {
        self.sync.counters.add(|counts| counts.fetched += gathered.records_read);
        error
    }

    fn refresh(&self) -> Option<Timestamp> {
        self.account.account.last_refreshed
    }

    /// The refresh, if Tink has been showing newer and newer ones for days without a plausible list: one such answer is
    /// normal, days of them are reported.
    fn unread_since(&self) -> Option<Timestamp> {
        let first = day_of(self.unread_from()?);
        self.refresh().filter(|refresh| self.healthy && day_of(*refresh) >= shift(first, DAYS_UNREAD))
    }

    /// The first refresh since the last complete walk at which no list could be believed. Days on which nobody
    /// looked do not count.
    fn unread_from(&self) -> Option<Timestamp> {
        let first = self.account.walked_refresh.filter(|_| self.account.suspect_refresh.is_none());
        first.filter(|first| self.is_past_watermark(*first))
    }

    /// Whether a list that shows nothing now is the first one.
    fn begins_unread(&self) -> bool {
        let is_open = self.account.suspect_refresh.is_none() && self.unread_from().is_none();
        is_open && self.refresh().is_some_and(|refresh| self.is_past_watermark(refresh))
    }

    fn is_past_watermark(&self, refresh: Timestamp) -> bool {
        let through = self.account.complete_through;
        through.is_some_and(|date| day_of(refresh) > date) && account::is_possible(refresh, self.sync.now())
    }

    /// Whether the account was not read completely yet while Tink is at work on it: what Tink shows may be only the
    /// beginning.
    fn is_importing(&self) -> bool {
        self.at_work && self.account.complete_through.is_none() && self.account.generation == 1
    }

    fn is_deep(&self) -> bool {
        self.is_older(self.account.deep_walked_at, self.sync.ctx.options.deep_rewalk)
    }

    /// Whether the whole account is to be read, as after a re-consent, to pair rows with all stored ones. While Tink
    /// is at work on it, more may come: then only the deep walks are full.
    fn is_full(&self) -> bool {
        self.account.repairing || (self.account.full_due && (!self.at_work || self.is_deep()))
    }

    fn is_older(&self, at: Option<Timestamp>, than: jiff::SignedDuration) -> bool {
        // A time in the future comes from a clock that was wrong; it does not delay a walk.
        at.is_none_or(|at| {
            let age = self.sync.now().duration_since(at);
            age >= than || age.is_negative()
        })
    }

    fn window(&self) -> Window {
        self.plan(self.account.complete_through.filter(|_| !self.is_full()))
    }

    fn plan(&self, watermark: Option<Date>) -> Window {
        let options = &self.sync.ctx.options;
        let account = self.account;
        let deep = self.is_deep().then(|| self.behind().or(account.complete_through)).flatten();
        Window::plan(&WindowInput {
            today: self.sync.ctx.clock.today(),
            watermark,
            oldest_pending: account.oldest_pending,
            // Under an unhealthy consent nothing is judged: reading these dates again would show nothing new.
            absent_from: account.absent_from.filter(|_| self.healthy && self.refresh().is_some()),
            history_days: options.history_days,
            overlap_days: options.overlap_days,
            lookahead_days: options.lookahead_days,
            deep: deep.map(|behind| Deep { behind, oldest_pending: account.oldest_any_pending }),
        })
    }

    /// The dates for which a walk shows what is missing. One without a lower bound shows it from its oldest
    /// row, or from the ordinary bound if that is earlier: a bank that shows less of the past than before
    /// takes nothing back.
    fn bounded(&self, window: &Window, gathered: &Gathered) -> Window {
        let oldest = gathered.dates.map(|(oldest, _)| oldest);
        let ordinary = self.account.complete_through.and_then(|date| self.plan(Some(date)).from);
        let bound = || [oldest, ordinary].into_iter().flatten().min();
        Window { from: window.from.or_else(bound), ..*window }
    }

    /// Writes what was read so far. After a re-consent, old and new rows are paired in one commit, so that
    /// none shows twice: until then only the records for quarantine are written.
    async fn flush_chunk(&self, gathered: &mut Gathered) -> Result<(), SyncError> {
        if !self.account.repairing {
            return self.flush(gathered).await;
        }
        let unreadable = gathered.take_unreadable();
        self.commit(RowCommit { unreadable, ..self.nothing() }).await
    }

    /// Writes what was read so far; removes nothing.
    async fn flush(&self, gathered: &mut Gathered) -> Result<(), SyncError> {
        let (commit, _) = self.upserts(gathered).await?;
        self.commit(commit).await
    }

    /// Writes what an endless list did show. After a re-consent these rows replace their counterparts, so
    /// that none shows twice.
    async fn keep_loop(&self, gathered: &mut Gathered) -> Result<(), SyncError> {
        let (mut commit, stored) = self.upserts(gathered).await?;
        if self.account.repairing {
            let oldest = gathered.dates.map(|(oldest, _)| oldest);
            let mut old = self.stored(RowQuery::OlderGeneration(oldest)).await?;
            old.retain(|row| !gathered.ids.contains(&row.transaction.id));
            commit.changes.remove = self.pair(&old, &commit, gathered, &stored).await?;
        }
        self.commit(commit).await
    }

    /// What to write for the rows read so far, and the stored rows with their ids.
    async fn upserts(&self, gathered: &mut Gathered) -> Result<(RowCommit, Vec<StoredRow>), SyncError> {
        gathered.size = 0;
        let rows = mem::take(&mut gathered.rows);
        let ids: Vec<TransactionId> = rows.iter().map(|row| row.transaction.id.clone()).collect();
        let stored =
            if gathered.unstored { Vec::new() } else { self.stored(RowQuery::Ids(ids.clone())).await? };
        let changes = reconcile::upserts(&stored, rows, self.account.generation);
        let last = self.account.walked_at.filter(|_| self.is_importing()).map(day_of);
        let read = self.account.complete_through.or(last);
        let ordinary = read.map(|date| shift(date, -self.sync.ctx.options.overlap_days));
        gathered.rewritten.count(&stored, &changes, ordinary);
        let is_known = |row: &&StoredRow| !row.removed && row.generation == self.account.generation;
        let known = stored.iter().filter(is_known).filter_map(|row| row.transaction.booked_date);
        gathered.known_from = known.chain(gathered.known_from).min();
        let unreadable = mem::take(&mut gathered.unreadable);
        let full_due = !changes.insert.is_empty() && self.has_first_rows();
        let unfinished = Unfinished { full_due, ..Unfinished::default() };
        Ok((RowCommit { changes, unreadable, readable: ids, unfinished, ..self.nothing() }, stored))
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
            unfinished: Unfinished::default(),
            checkpoint: None,
            now: self.sync.now(),
        }
    }

    async fn stored(&self, query: RowQuery) -> Result<Vec<StoredRow>, SyncError> {
        Ok(self.sync.ctx.store.rows(self.account.key, query).await?)
    }

    async fn commit(&self, commit: RowCommit) -> Result<(), SyncError> {
        let is_end = commit.checkpoint.is_some() || commit.covered.is_some();
        let is_open = commit.unfinished != Unfinished::default();
        if commit.changes.is_empty() && commit.unreadable.is_empty() && !is_end && !is_open {
            return Ok(());
        }
        let changed = commit.changes.counts();
        let first = commit.unreadable.first().map(|record| record.reason.clone());
        let quarantined = self.sync.ctx.store.commit(&self.sync.claim.lease, commit).await?;
        self.sync.counters.add(|counts| {
            *counts += changed;
            counts.quarantined += quarantined;
        });
        if let Some(reason) = first.filter(|_| quarantined > 0) {
            self.sync.quarantined(reason, quarantined);
        }
        Ok(())
    }

    /// The dates for which a quarantined record that was not listed counts as gone. After a re-consent this
    /// excludes dates before the oldest listed one.
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

    /// The live rows of the window. If only rows of this walk are stored, none can be missing, and none is
    /// read.
    async fn live_rows(&self, window: &Window, gathered: &Gathered) -> Result<Vec<LiveRow>, SyncError> {
        if gathered.unstored {
            return Ok(Vec::new());
        }
        let query = LiveQuery { account: self.account.key, window: *window };
        Ok(self.sync.ctx.store.live_rows(query).await?)
    }

    /// Whether this is a booked row from before a re-consent that still lacks its counterpart.
    fn is_unmatched(&self, row: &StoredRow) -> bool {
        row.generation < self.account.generation
            && reconcile::counts_as_booked(row.transaction.status)
            && self
                .account
                .unmatched_from
                .is_some_and(|from| row.transaction.booked_date.is_none_or(|date| date >= from))
    }
}

/// Whether the row continues under an id that was reissued; `None` if it has no successor.
fn is_reissue(removal: &Removal) -> Option<bool> {
    match removal {
        Removal::Replaced { rule, .. } => Some(*rule == "reissued"),
        Removal::Vanished => None,
    }
}

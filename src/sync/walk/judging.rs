//! Whether rows that a walk missed are gone: the second look, the balance as evidence, and all that forbids a
//! removal (DESIGN.md 8.3). Pairs nothing itself.

use std::collections::HashSet;

use jiff::Timestamp;
use jiff::civil::Date;

use super::gathered::Gathered;
use super::{DAYS_UNREAD, Found, Walk};
use crate::domain::account::{self, Account};
use crate::domain::window::{Window, day_of, shift};
use crate::store::{Removal, RowCommit, RowQuery, StoredRow};
use crate::sync::judgement::{self, Absence};
use crate::sync::reconcile;
use crate::sync::result::SyncError;

/// A walk without an upper limit reads this many days ahead: without a date Tink ends at today.
const WITHOUT_LIMIT: i64 = 3650;

impl Walk<'_> {
    /// Removes the missing rows without a successor, unless something forbids it.
    pub(super) async fn judge(
        &self,
        missing: &mut Vec<StoredRow>,
        commit: &mut RowCommit,
        found: &mut Found,
    ) -> Result<Absence, SyncError> {
        if missing.is_empty() {
            return Ok(Absence::nothing_missing());
        }
        if !self.healthy || !self.has_moved() {
            return Ok(Absence::waits(missing, self.unjudged()));
        }
        if missing.iter().any(|row| reconcile::counts_as_booked(row.transaction.status)) {
            let conclusive = self.look_again(missing, commit, found).await?;
            if missing.is_empty() {
                return Ok(Absence::nothing_missing());
            }
            if !conclusive {
                return Ok(Absence::waits(missing, self.unjudged()));
            }
        }
        let refresh = self.refresh();
        let mut balance_checks = self.sync.ctx.store.balance_checks(vec![self.account.key]).await?;
        for check in &mut balance_checks {
            judgement::count(check, &commit.changes, &found.stored);
        }
        let look = judgement::Look {
            booked: found.booked,
            check: balance_checks.first(),
            stand: self.account.stand.as_ref(),
            suspected: self.account.suspect_refresh.is_some_and(|kept| self.is_newer_than(kept)),
        };
        if look.is_suspicious(missing) {
            commit.changes.missed.extend(missing.iter().map(|row| row.key));
            return Ok(Absence::suspicious(missing, refresh));
        }
        let shown = self.refresh_shown().await?;
        if shown != refresh {
            // A refresh ends; a date that differs at every look is none, and with it nothing is ever removed.
            let restless = shown.is_some() && self.is_long_unjudged() && self.refresh_shown().await? != shown;
            return Ok(Absence { restless, ..Absence::waits(missing, self.unjudged()) });
        }
        for row in &*missing {
            if reconcile::is_ripe(row) {
                commit.changes.remove.push((row.key, Removal::Vanished));
            } else {
                commit.changes.missed.push(row.key);
            }
        }
        Ok(Absence { again_from: look.unproven_from(missing), ..Absence::nothing_missing() })
    }

    /// Walks the account again, from `history_days` back or the begin of the first walk (else without a lower
    /// limit), before a booked row
    /// counts as gone: it may have moved to another date, or between two pages. Leaves in `missing` what that
    /// walk neither shows nor pairs. Returns whether it is conclusive.
    async fn look_again(
        &self,
        missing: &mut Vec<StoredRow>,
        commit: &mut RowCommit,
        found: &mut Found,
    ) -> Result<bool, SyncError> {
        let options = &self.sync.ctx.options;
        let ahead = options.lookahead_days.max(WITHOUT_LIMIT);
        let whole = Window::all(self.sync.ctx.clock.today(), options.history_days, ahead);
        // The first walk may reach further back than `history_days`: a row it missed there must be found again.
        let from = whole.from.zip(found.window.from).map(|(whole, first)| whole.min(first));
        let window = Window { from, ..whole };
        let mut again = self.read(&window, Gathered::default()).await?;
        // A record that both walks read counts once.
        let twice = again.ids.seen_by(&found.gathered.ids) as u64;
        self.sync.counters.add(|counts| counts.fetched = counts.fetched.saturating_sub(twice));
        let (more, stored) = self.upserts(&mut again).await?;
        found.stored.extend(stored);
        commit.changes.supersede(more.changes, |id| again.ids.contains(id));
        // A row that this look shows is there, whatever the first one took for its successor.
        let shown: HashSet<i64> = found
            .stored
            .iter()
            .filter(|row| again.ids.contains(&row.transaction.id))
            .map(|row| row.key)
            .collect();
        commit.changes.remove.retain(|(key, _)| !shown.contains(key));
        commit.unreadable.retain(|record| record.id.as_ref().is_none_or(|id| !again.ids.contains(id)));
        commit.unreadable.extend(more.unreadable);
        commit.readable.extend(more.readable);
        if again.partial || again.is_illegible() || !again.is_conclusive() {
            return Ok(false);
        }
        found.gathered.outdated = found.gathered.ids.seen_by(&again.ids) < found.gathered.ids.len();
        missing.retain(|row| !again.ids.contains(&row.transaction.id));
        let all = self.missing_from_all(commit, &again, &window).await?;
        let pairs = self.pair(&all, commit, &again, &found.stored).await?;
        let paired: HashSet<i64> = pairs.iter().map(|(key, _)| *key).collect();
        missing.retain(|row| !paired.contains(&row.key));
        commit.changes.remove.extend(pairs);
        found.beyond = self.beyond(&all, &paired, &self.bounded(&window, &again), &found.window);
        let keys: HashSet<i64> = found.stored.iter().map(|row| row.key).collect();
        found.stored.extend(all.into_iter().filter(|row| !keys.contains(&row.key)));
        Ok(true)
    }

    /// The oldest date of rows that the second walk did not show and that the first walk's window did not
    /// cover. They have been looked at once: the next walk reaches as far back.
    fn beyond(
        &self,
        all: &[StoredRow],
        paired: &HashSet<i64>,
        whole: &Window,
        first: &Window,
    ) -> Option<Date> {
        let is_absent =
            |row: &&StoredRow, window| reconcile::is_missing(row, window, self.account.generation);
        let unjudged = all.iter().filter(|row| !paired.contains(&row.key));
        let unjudged = unjudged.filter(|row| is_absent(row, whole) && !is_absent(row, first));
        unjudged.filter_map(|row| row.transaction.booked_date).min()
    }

    /// All rows that the second walk did not show, not only those of the first walk's window: ids may have
    /// been reissued throughout the history, and each old row continues under its new one.
    async fn missing_from_all(
        &self,
        commit: &RowCommit,
        again: &Gathered,
        window: &Window,
    ) -> Result<Vec<StoredRow>, SyncError> {
        let replaced: HashSet<i64> = commit.changes.remove.iter().map(|(key, _)| *key).collect();
        let live = self.live_rows(window, again).await?;
        let mut gone = reconcile::not_returned(&live, |id| again.ids.contains(id));
        gone.retain(|row| !replaced.contains(&row.key));
        self.stored(RowQuery::Keys(gone.iter().map(|row| row.key).collect())).await
    }

    /// Whether Tink has refreshed the account since missing rows were last judged.
    pub(super) fn has_moved(&self) -> bool {
        let judged = self.account.judged_refresh.or(self.account.walked_refresh);
        let before = judged.or_else(|| self.before?.account.last_refreshed);
        before.is_some_and(|kept| self.is_newer_than(kept))
    }

    /// Whether the account's refresh is newer than this one.
    fn is_newer_than(&self, kept: Timestamp) -> bool {
        self.refresh().is_some_and(|refresh| account::is_newer(refresh, kept, self.sync.now()))
    }

    /// The account's refresh in the list as it is now: another one shows that it was refreshed during the walk.
    async fn refresh_shown(&self) -> Result<Option<Timestamp>, SyncError> {
        let again: Vec<Account> = self.sync.session.accounts().await?;
        let ours = again.into_iter().find(|account| account.id == self.account.account.id);
        Ok(ours.and_then(|account| account.last_refreshed))
    }

    /// Whether no walk could judge what it missed for days of newer refreshes.
    fn is_long_unjudged(&self) -> bool {
        let judged = self.account.judged_refresh.map(day_of);
        judged.zip(self.refresh()).is_some_and(|(judged, now)| day_of(now) >= shift(judged, DAYS_UNREAD))
    }

    /// A walk that could not judge leaves open what was open.
    pub(super) fn unjudged(&self) -> Absence {
        Absence::open(self.account.suspect_refresh, self.account.absent_from)
    }
}

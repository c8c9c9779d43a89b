//! Ends a complete walk: the checkpoint with the watermark and what the next walks must know. Pairs and judges
//! nothing.

use jiff::civil::Date;

use super::gathered::Gathered;
use super::{Walk, WalkEnd};
use crate::domain::outcome::Reason;
use crate::domain::window::{Window, day_of};
use crate::store::{Checkpoint, Removal, RowCommit, StoredRow};
use crate::sync::judgement::Absence;
use crate::sync::reconcile;
use crate::sync::result::SyncError;

impl Walk<'_> {
    /// The end of a complete walk: the last rows, the removals and the watermark in one commit.
    pub(super) async fn checkpoint(
        &self,
        window: &Window,
        gathered: &Gathered,
        mut commit: RowCommit,
        judged: Absence,
        missing: &[StoredRow],
        rematched: usize,
    ) -> Result<WalkEnd, SyncError> {
        let account = self.account;
        let (unmatched_from, unmatched) = self.unmatched(gathered, &judged, missing, rematched);
        let bounded = self.bounded(window, gathered);
        let covers = account.absent_from.is_none_or(|date| bounded.covers(date));
        let judged = if covers { judged } else { judged.and(self.unjudged()) };
        // A list that is not believed proves nothing about rows not seen yet either.
        let believed = !judged.disbelieved;
        // Nor is what Tink shows while it is still reading the bank the whole history.
        let importing = self.is_importing() && !self.is_settled(gathered);
        let watermark = self.watermark(gathered).filter(|_| believed && !importing);
        // A walk in full for another reason leaves the time of the deep walks as it is, so that they do not move to
        // passes that have nothing else to read.
        let is_deep = self.is_deep() || account.repairing || (window.from.is_none() && !account.full_due);
        let through = if believed { watermark.or(account.complete_through) } else { self.behind() };
        // Rows that go on under new ids are not late.
        let replaced = |removal: &&(i64, Removal)| matches!(removal.1, Removal::Replaced { .. });
        let replaced = commit.changes.remove.iter().filter(replaced).count();
        let history = gathered.rewritten.without_late(replaced);
        let rewritten = self.is_deep() && !self.is_full() && history.is_history_rewritten();
        let still_unread = judged.disbelieved && self.unread_from().is_some();
        commit.checkpoint = Some(Checkpoint {
            watermark,
            refresh: self.refresh().filter(|_| !importing && !still_unread),
            at: self.sync.now(),
            deep: through.filter(|_| is_deep),
            suspect: judged.suspect,
            absent_from: judged.look_from(),
            judged: judged.complete,
            repaired: believed,
            full_due: rewritten
                || self.is_importing()
                || (self.has_first_rows() && !gathered.ids.is_empty())
                || (gathered.rewritten.currency && !self.is_full())
                || (account.full_due && !(believed && self.is_full())),
            reissued: judged.reissued || (account.reissued && !self.has_moved()),
            unmatched_from,
            unmatched_before: account.unmatched_from,
            // What the first look showed and the second did not may continue under an id that arrived in this
            // walk.
            compared: gathered.is_conclusive() && !gathered.outdated,
        });
        self.commit(commit).await?;
        let told = judged.reissued && !account.reissued;
        let note = (unmatched > 0).then_some(Reason::ReconsentUnmatched);
        Ok(WalkEnd {
            exact: judged.is_exact() && !importing,
            suspect: judged.suspect.is_some() || judged.restless,
            note: note.or(told.then_some(Reason::IdsReissued)),
        })
    }

    /// Whether any row is the first one ever of an account that was read before: Tink had nothing yet then, and what
    /// it has now may be only the newest.
    pub(super) fn has_first_rows(&self) -> bool {
        self.account.complete_through.is_some() && !self.account.has_rows && !self.is_full()
    }

    /// Whether a second look at what Tink is importing showed nothing that an ordinary walk would not show: some
    /// consents are at work at every look. The account is read in full once more when that has ended.
    fn is_settled(&self, gathered: &Gathered) -> bool {
        let is_second = self.account.has_rows && self.account.walked_at.is_some();
        is_second && gathered.is_conclusive() && gathered.rewritten.late == 0
    }

    /// The date from which booked rows from before a re-consent lack a counterpart, and how many do. What an earlier
    /// walk left open stays so. The first list after the re-consent may be short: when a later one reaches further
    /// back, the dates that it adds are looked at, too.
    fn unmatched(
        &self,
        gathered: &Gathered,
        judged: &Absence,
        missing: &[StoredRow],
        rematched: usize,
    ) -> (Option<Date>, u64) {
        let account = self.account;
        let open = account.unmatched.saturating_sub(rematched as u64);
        let open_from = account.unmatched_from.filter(|_| open > 0);
        if judged.disbelieved {
            return (open_from, open);
        }
        let oldest = gathered.dates.map(|(oldest, _)| oldest);
        let older = missing.iter().filter(|row| {
            row.generation < account.generation && reconcile::counts_as_booked(row.transaction.status)
        });
        let dates = older.map(|row| row.transaction.booked_date);
        if account.repairing {
            let from = oldest.into_iter().chain(account.unmatched_from).min();
            // One without a date may be any of the list's.
            let is_within =
                |date: &Option<Date>| from.is_some_and(|from| date.is_none_or(|date| date >= from));
            let left = dates.filter(is_within).count() as u64;
            return (from.filter(|_| left > 0), left);
        }
        let dates = dates.flatten();
        let is_added = |date: &Date| {
            oldest.is_some_and(|oldest| *date >= oldest)
                && gathered.known_from.is_some_and(|known| *date < known)
                && open_from.is_none_or(|from| *date < from)
        };
        let added = dates.filter(is_added).count() as u64;
        let from = open_from.into_iter().chain(oldest.filter(|_| added > 0)).min();
        (from, open + added)
    }

    /// The date through which the last deep walk had read.
    pub(super) fn behind(&self) -> Option<Date> {
        self.account.deep_through.or_else(|| self.account.deep_walked_at.map(day_of))
    }

    /// The date through which the history is complete: that of the refresh, else the newest booked date, at
    /// most today.
    fn watermark(&self, gathered: &Gathered) -> Option<Date> {
        let today = self.sync.ctx.clock.today();
        let newest = || gathered.dates.map(|(_, newest)| newest);
        self.refresh().map(day_of).or_else(newest).map(|date| date.min(today))
    }
}

//! Finds successors of rows that a walk missed: collects the input for `pairing` from the store and the walk.
//! Removes nothing itself.

use std::collections::{HashMap, HashSet};

use super::Walk;
use super::gathered::Gathered;
use crate::domain::ids::TransactionId;
use crate::domain::transaction::{Status, Transaction};
use crate::store::{Removal, RowCommit, RowQuery, StoredRow};
use crate::sync::pairing::{self, ProviderIds, Sides};
use crate::sync::reconcile;
use crate::sync::result::SyncError;
use crate::sync::words::CommonWords;

/// How many rows show which words of an account mean nothing.
const TEXTS: u32 = 400;

impl Walk<'_> {
    /// Finds successors of missing rows among those that are new in this walk or arrived since the last one
    /// that was judged; after a merge, among all rows of the side that stays. A successor is its own proof:
    /// this needs no healthy consent and no second look.
    pub(super) async fn pair(
        &self,
        missing: &[StoredRow],
        commit: &RowCommit,
        gathered: &Gathered,
        stored: &[StoredRow],
    ) -> Result<Vec<(i64, Removal)>, SyncError> {
        let reach = gathered.dates.map(|(oldest, _)| oldest);
        let in_reach = |row: &&StoredRow| {
            let date = row.transaction.booked_date;
            row.generation == self.account.generation || date.is_none_or(|date| Some(date) >= reach)
        };
        let mut old: Vec<StoredRow> = missing.iter().filter(in_reach).cloned().collect();
        let since_checkpoint = self.since_checkpoint(&old).await?;
        let taken = reconcile::successors_of(&commit.changes.remove);
        let still_missing: HashSet<&TransactionId> = missing.iter().map(|row| &row.transaction.id).collect();
        let (gone, arrived): (Vec<&StoredRow>, Vec<&StoredRow>) =
            since_checkpoint.iter().partition(|row| still_missing.contains(&row.transaction.id));
        let taken_before: HashMap<&TransactionId, i64> =
            since_checkpoint.iter().filter_map(|row| Some((&row.transaction.id, row.succeeds?))).collect();
        let mut new = reconcile::arrivals(stored, &commit.changes);
        // As this walk shows them.
        let shown: HashMap<i64, &Transaction> =
            commit.changes.update.iter().map(|(key, row)| (*key, &row.transaction)).collect();
        new.extend(arrived.iter().map(|row| shown.get(&row.key).copied().unwrap_or(&row.transaction)));
        new.retain(|row| !taken.contains(&row.id) && !still_missing.contains(&row.id));
        let common = self.common_words(&old, &new).await?;
        let none = ProviderIds::default();
        let ids = gathered.provider_ids.as_ref().unwrap_or(&none);
        let (generation, is_first) = (self.account.generation, self.account.repairing);
        let pair = |old: &[StoredRow], new: &[&Transaction]| {
            pairing::pair(&Sides {
                old,
                new,
                generation,
                is_first,
                taken: &taken_before,
                ids,
                common: &common,
            })
        };
        // A row that was live beside an older one, as its counterpart after a re-consent or a merge, may be
        // gone by now.
        let mut pairs: Vec<(i64, Removal)> = Vec::new();
        let mut generations: Vec<i64> = old.iter().map(|row| row.generation).collect();
        generations.sort_unstable();
        generations.dedup();
        for older in generations.into_iter().filter(|older| *older < generation) {
            let taken = reconcile::successors_of(&pairs);
            let between: Vec<&Transaction> = gone
                .iter()
                .filter(|row| row.generation > older && !taken.contains(&row.transaction.id))
                .map(|row| &row.transaction)
                .collect();
            let older: Vec<StoredRow> = old.iter().filter(|row| row.generation == older).cloned().collect();
            let found = pair(&older, &between);
            pairs.extend(found);
        }
        let paired: HashSet<i64> = pairs.iter().map(|(key, _)| *key).collect();
        old.retain(|row| !paired.contains(&row.key));
        pairs.extend(pair(&old, &new));
        Ok(pairs)
    }

    /// The rows that arrived since the last walk that was judged or that a merge offers, less those that are
    /// successors already and that cannot succeed any of `old`.
    async fn since_checkpoint(&self, old: &[StoredRow]) -> Result<Vec<StoredRow>, SyncError> {
        let older = old.iter().map(|row| row.generation).filter(|older| *older < self.account.generation);
        let newest = older.max();
        let mut rows = self.stored(RowQuery::SinceCheckpoint).await?;
        rows.retain(|row| row.succeeds.is_none_or(|given| newest.is_some_and(|newest| given < newest)));
        Ok(rows)
    }

    /// The words that mean nothing in this account; determined only if a reservation may have been booked.
    async fn common_words(&self, old: &[StoredRow], new: &[&Transaction]) -> Result<CommonWords, SyncError> {
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
}

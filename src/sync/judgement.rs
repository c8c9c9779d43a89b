//! Whether missing rows are believed to be gone, and what a walk leaves to later ones. Pure: the rows, the
//! balance and the earlier suspicion in, a judgement out. Removes nothing itself.

use std::collections::HashSet;

use jiff::Timestamp;
use jiff::civil::Date;

use super::reconcile;
use crate::domain::balance::{Evidence, Part, Stand};
use crate::domain::transaction::{Status, Transaction};
use crate::domain::window::day_of;
use crate::store::types::{BalanceCheck, ChangeSet, StoredRow};

/// What is known when missing rows are judged.
#[derive(Debug)]
pub(super) struct Look<'a> {
    /// The number of live booked rows in the window without a successor, the missing ones included.
    pub booked: usize,
    /// The balance and the rows as they are now, the missing ones included.
    pub check: Option<&'a BalanceCheck>,
    /// The same at the last complete walk.
    pub stand: Option<&'a Stand>,
    /// At an older refresh, missing rows were not believed to be gone.
    pub suspected: bool,
}

impl Look<'_> {
    /// Whether the missing rows must be looked at again, at a newer refresh, before any of them is removed.
    /// Rows that were already missing at the older refresh have been looked at twice.
    pub(super) fn is_suspicious(&self, missing: &[StoredRow]) -> bool {
        let is_new = |row: &&StoredRow| !(self.suspected && row.missed > 0);
        let going: Vec<&StoredRow> = missing
            .iter()
            .filter(|row| reconcile::counts_as_booked(row.transaction.status))
            .filter(is_new)
            .filter(|row| reconcile::is_ripe(row))
            .collect();
        if going.is_empty() {
            return false;
        }
        let evidence = self.check.map_or(Evidence::Silent, |check| self.evidence(check, missing));
        match evidence {
            Evidence::Proves => false,
            Evidence::Contradicts => true,
            Evidence::Silent => reconcile::too_many(going.len(), self.booked),
        }
    }

    /// The oldest date of booked rows that are removed without proof from the balance. The next walk looks
    /// there again, since a list may have been cut short just then.
    pub(super) fn unproven_from(&self, missing: &[StoredRow]) -> Option<Date> {
        let is_going =
            |row: &&StoredRow| reconcile::counts_as_booked(row.transaction.status) && reconcile::is_ripe(row);
        let oldest = missing.iter().filter(is_going).filter_map(|row| row.transaction.booked_date).min();
        let proven = |check| self.evidence(check, missing) == Evidence::Proves;
        oldest.filter(|_| !self.check.is_some_and(proven))
    }

    /// What the balance indicates about all booked rows to be removed.
    fn evidence(&self, check: &BalanceCheck, missing: &[StoredRow]) -> Evidence {
        let refreshed = check.input.refresh.map(day_of);
        let counts = |row: &&StoredRow| {
            let date = row.transaction.booked_date;
            row.transaction.status == Status::Booked
                && reconcile::is_ripe(row)
                && date.zip(refreshed).is_none_or(|(date, refreshed)| date <= refreshed)
        };
        let going = missing.iter().filter(counts).map(|row| &row.transaction.money);
        check.input.evidence(&check.reconciliation, self.stand, going)
    }
}

/// Applies changes that are not written yet to the sums of a check; `stored` are the rows that they change.
pub(super) fn count(check: &mut BalanceCheck, changes: &ChangeSet, stored: &[StoredRow]) {
    let refreshed = check.input.refresh.map(day_of);
    let first_day = check.first_day;
    let input = &mut check.input;
    let part = |row: &Transaction| Part::of(row.status, row.booked_date, first_day);
    let is_ahead = |row: &Transaction| row.booked_date.zip(refreshed).is_some_and(|(date, day)| date > day);
    let replaced: HashSet<i64> = changes
        .update
        .iter()
        .map(|(key, _)| *key)
        .chain(changes.remove.iter().map(|(key, _)| *key))
        .collect();
    let mut taken = HashSet::new();
    for row in
        stored.iter().filter(|row| !row.removed && replaced.contains(&row.key) && taken.insert(row.key))
    {
        if let Some(part) = part(&row.transaction) {
            input.sums.take(part, &row.transaction.money);
            if is_ahead(&row.transaction) {
                input.ahead.take(part, &row.transaction.money);
            }
        }
    }
    let new = changes.insert.iter().chain(changes.staying().map(|(_, row)| row));
    for row in new.map(|row| &row.transaction) {
        if let Some(part) = part(row) {
            input.sums.add(part, &row.money);
            if is_ahead(row) {
                input.ahead.add(part, &row.money);
            }
        }
    }
}

/// What a walk found out about missing rows.
#[expect(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Absence {
    /// The refresh at which missing rows were not believed to be gone.
    pub suspect: Option<Timestamp>,
    /// Oldest booked date of missing rows that are still to be judged.
    pub absent_from: Option<Date>,
    /// Oldest booked date of rows that were removed without proof from a balance, or looked at only once.
    pub again_from: Option<Date>,
    /// The list is not believed to be complete: it proves nothing about anything else that it lacks.
    pub disbelieved: bool,
    /// Rows continued under new ids.
    pub reissued: bool,
    /// The refresh differs at every look, for days: what is missing can never be judged.
    pub restless: bool,
    /// No missing row waits for a consent, a refresh or another walk to be judged.
    pub complete: bool,
}

impl Absence {
    /// No missing row is left to be judged.
    pub(super) fn nothing_missing() -> Self {
        Self { complete: true, ..Self::default() }
    }

    /// What was open stays open.
    pub(super) fn open(suspect: Option<Timestamp>, absent_from: Option<Date>) -> Self {
        Self { suspect, absent_from, ..Self::default() }
    }

    /// Missing rows that this walk could not judge, besides what was open before.
    pub(super) fn waits(missing: &[StoredRow], before: Self) -> Self {
        before.and(Self { absent_from: oldest(missing), ..Self::default() })
    }

    /// Missing rows that are not believed to be gone.
    pub(super) fn suspicious(missing: &[StoredRow], refresh: Option<Timestamp>) -> Self {
        let absent_from = oldest(missing);
        Self { suspect: refresh, absent_from, disbelieved: true, complete: true, ..Self::default() }
    }

    /// What was open stays open, and the list is not believed; `unread` is the refresh if that has gone on for
    /// too long.
    pub(super) fn shows_nothing(before: Self, unread: Option<Timestamp>) -> Self {
        Self { disbelieved: true, suspect: before.suspect.or(unread), ..before }
    }

    /// Whether the stored rows are Tink's as of the refresh.
    pub(super) fn is_exact(&self) -> bool {
        self.suspect.is_none() && self.absent_from.is_none() && !self.disbelieved
    }

    /// Makes the next walk look again from this day on, too.
    pub(super) fn again_from(self, day: Option<Date>) -> Self {
        Self { again_from: [self.again_from, day].into_iter().flatten().min(), ..self }
    }

    /// The day from which the next walk looks again.
    pub(super) fn look_from(&self) -> Option<Date> {
        [self.absent_from, self.again_from].into_iter().flatten().min()
    }

    /// Combines both: what is open in either is open.
    pub(super) fn and(self, other: Self) -> Self {
        let dates = [self.absent_from, other.absent_from];
        Self {
            suspect: self.suspect.or(other.suspect),
            absent_from: dates.into_iter().flatten().min(),
            again_from: [self.again_from, other.again_from].into_iter().flatten().min(),
            disbelieved: self.disbelieved || other.disbelieved,
            reissued: self.reissued || other.reissued,
            restless: self.restless || other.restless,
            complete: self.complete && other.complete,
        }
    }
}

fn oldest(missing: &[StoredRow]) -> Option<Date> {
    missing.iter().filter_map(|row| row.transaction.booked_date).min()
}

#[cfg(test)]
mod tests;

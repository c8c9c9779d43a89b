//! What to write, given what is stored and what was fetched. Pure: no I/O, no clock, no dependence on order;
//! applying a result and asking again yields nothing (the rules: DESIGN.md 8).

use std::collections::{HashMap, HashSet};

use jiff::civil::Date;

use super::pairing::{self, ProviderIds, Sides};
use super::words::CommonWords;
use crate::domain::ids::TransactionId;
use crate::domain::transaction::{Status, Transaction};
use crate::domain::window::Window;
use crate::store::types::{ChangeSet, FetchedRow, LiveRow, Removal, StoredRow};

/// This many booked rows may always be removed at once; beyond that, one in [`MASS_SHARE`] of the window's.
const MASS_FLOOR: usize = 2;
const MASS_SHARE: usize = 5;
/// A row without a date must be missing in this many complete walks.
const UNDATED_MISSES: u32 = 2;

/// Inserts, updates and revivals. Of rows with equal ids the later one wins, but a booked one wins over one
/// that is not. Only an equal id means the same row, so genuine twins stay two.
pub fn upserts(stored: &[StoredRow], fetched: Vec<FetchedRow>, generation: i64) -> ChangeSet {
    let by_id: HashMap<&TransactionId, &StoredRow> =
        stored.iter().map(|row| (&row.transaction.id, row)).collect();
    let mut changes = ChangeSet::default();
    for row in latest(fetched) {
        match by_id.get(&row.transaction.id) {
            None => changes.insert.push(row),
            Some(old) if old.removed || old.transaction != row.transaction => {
                changes.update.push((old.key, row));
            }
            Some(old) if old.generation != generation || old.missed > 0 => changes.touch.push(old.key),
            Some(_) => {}
        }
    }
    changes
}

/// What to write for rows that arrive outside a walk: nothing counts as missing, and new rows replace their
/// counterparts among the live rows of older generations, as in a walk.
pub fn latecomers(
    stored: &[StoredRow],
    fetched: Vec<FetchedRow>,
    older: &[StoredRow],
    generation: i64,
) -> ChangeSet {
    let oldest = fetched.iter().filter_map(|row| row.transaction.booked_date).min();
    let mut changes = upserts(stored, fetched, generation);
    let same = |row: &&StoredRow| stored.iter().any(|stored| stored.key == row.key);
    let in_reach = |row: &&StoredRow| row.transaction.booked_date.is_none_or(|date| Some(date) >= oldest);
    let older: Vec<StoredRow> = older.iter().filter(|row| !same(row)).filter(in_reach).cloned().collect();
    let new = arrivals(stored, &changes);
    let (ids, common, taken) = (ProviderIds::default(), CommonWords::default(), HashMap::new());
    let sides = Sides {
        old: &older,
        new: &new,
        generation,
        is_first: false,
        taken: &taken,
        ids: &ids,
        common: &common,
    };
    changes.remove = pairing::pair(&sides);
    changes
}

/// The rows of a change set that were not live before: inserted rows and revived tombstones.
pub fn arrivals<'a>(stored: &[StoredRow], changes: &'a ChangeSet) -> Vec<&'a Transaction> {
    let tombstones: HashSet<i64> = stored.iter().filter(|row| row.removed).map(|row| row.key).collect();
    let revived = changes.update.iter().filter(|(key, _)| tombstones.contains(key)).map(|(_, row)| row);
    changes.insert.iter().chain(revived).map(|row| &row.transaction).collect()
}

/// One row per id: the last booked one sent, else the last one.
fn latest(fetched: Vec<FetchedRow>) -> Vec<FetchedRow> {
    let ids: HashSet<&TransactionId> = fetched.iter().map(|row| &row.transaction.id).collect();
    if ids.len() == fetched.len() {
        return fetched;
    }
    let mut places: HashMap<TransactionId, usize> = HashMap::with_capacity(fetched.len());
    let mut rows: Vec<FetchedRow> = Vec::with_capacity(fetched.len());
    for row in fetched {
        let is_booked = |row: &FetchedRow| row.transaction.status == Status::Booked;
        match places.get(&row.transaction.id).and_then(|place| rows.get_mut(*place)) {
            None => {
                places.insert(row.transaction.id.clone(), rows.len());
                rows.push(row);
            }
            Some(kept) if is_booked(kept) && !is_booked(&row) => {}
            Some(kept) => *kept = row,
        }
    }
    rows
}

/// Counts the old rows that a walk compared, changed and found for the first time. This shows whether a bank
/// rewrote history in rows that no ordinary walk reads, or shows it only now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Stored rows dated before the ordinary window that were fetched.
    pub seen: usize,
    pub changed: usize,
    /// Fetched rows dated before the ordinary window that were not stored.
    pub late: usize,
    /// A booked row of any date changed currency.
    pub currency: bool,
}

impl Rewritten {
    /// Counts the effect of one change set on rows dated before `from`.
    pub fn count(&mut self, stored: &[StoredRow], changes: &ChangeSet, from: Option<Date>) {
        let is_old =
            |row: &Transaction| row.booked_date.is_some_and(|date| from.is_some_and(|from| date < from));
        self.late += changes.insert.iter().filter(|row| is_old(&row.transaction)).count();
        let updated: HashMap<i64, &Transaction> =
            changes.update.iter().map(|(key, row)| (*key, &row.transaction)).collect();
        for row in stored.iter().filter(|row| !row.removed) {
            let old = &row.transaction;
            let new = updated.get(&row.key);
            self.currency |= old.status == Status::Booked
                && new.is_some_and(|new| new.money.currency != old.money.currency);
            if is_old(old) {
                self.seen += 1;
                self.changed += usize::from(new.is_some());
            }
        }
    }

    /// A copy with `rows` fewer late rows.
    pub fn without_late(self, rows: usize) -> Self {
        Self { late: self.late.saturating_sub(rows), ..self }
    }

    /// Whether so much has changed, or most came only now, that the whole account is to be read again.
    pub fn is_history_rewritten(&self) -> bool {
        self.currency || self.changed * 10 > self.seen || self.late > self.seen
    }
}

/// The live rows of a window that a complete walk did not return.
pub fn not_returned(live: &[LiveRow], shows: impl Fn(&TransactionId) -> bool) -> Vec<&LiveRow> {
    live.iter().filter(|row| !shows(&row.id)).collect()
}

/// Whether the absence of a row without a successor means that it is gone: it is undated or well inside the
/// window, and Tink still knows its id. Pending rows of an older generation need no known id: they always
/// disappear after a re-consent.
pub fn is_missing(row: &StoredRow, window: &Window, generation: i64) -> bool {
    row.transaction.booked_date.is_none_or(|date| window.is_well_inside(date))
        && (row.generation == generation || row.transaction.status == Status::Pending)
}

/// Whether a missing row may be removed: a row without a date only if it is missing for the second time.
pub fn is_ripe(row: &StoredRow) -> bool {
    row.transaction.booked_date.is_some() || row.missed + 1 >= UNDATED_MISSES
}

/// Whether a row is included in counts of booked rows: every status except pending.
pub fn counts_as_booked(status: Status) -> bool {
    status != Status::Pending
}

/// Whether more booked rows would be removed than a bank ever takes back: more than max(2, 20 %) of the
/// window's.
pub fn too_many(going: usize, booked: usize) -> bool {
    going > MASS_FLOOR && going * MASS_SHARE > booked
}

/// The ids of the rows that replaced another.
pub fn successors_of(pairs: &[(i64, Removal)]) -> HashSet<&TransactionId> {
    let mut ids = HashSet::new();
    for (_, removal) in pairs {
        if let Removal::Replaced { by, .. } = removal {
            ids.insert(by);
        }
    }
    ids
}

#[cfg(test)]
mod tests;

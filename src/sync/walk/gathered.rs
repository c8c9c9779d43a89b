//! What one walk has read and not yet written, and what may be concluded from it. Does no I/O.

use std::mem;

use jiff::civil::Date;

use super::ids::SeenIds;
use crate::domain::ids::TransactionId;
use crate::domain::transaction::{Status, Transaction};
use crate::domain::unreadable::Unreadable;
use crate::store::FetchedRow;
use crate::sync::pairing::ProviderIds;
use crate::sync::reconcile::Rewritten;
use crate::tink::TransactionRecord;

/// The size in bytes at which what was read is written.
const CHUNK_SIZE: usize = 2 * 1024 * 1024;
/// About what a row or a record takes in memory besides its texts, in bytes.
const BESIDE_TEXTS: usize = 700;

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent observation of the list")]
pub(super) struct Gathered {
    pub rows: Vec<FetchedRow>,
    pub unreadable: Vec<Unreadable>,
    /// Every id read in this walk, quarantined or not, and whether it was booked.
    pub ids: SeenIds,
    /// The bank's own ids, if stored rows may have to be distinguished by them.
    pub provider_ids: Option<ProviderIds>,
    /// None of these ids is stored: the account had no row when the walk began, and no id came twice.
    pub unstored: bool,
    /// A record's id could not be read, so no row can be considered missing.
    pub unnamed: bool,
    /// A page lacked its list of records, so the walk has not seen everything.
    pub partial: bool,
    /// At least one record was readable.
    pub readable: bool,
    /// The number of records that came, readable or not; one that came twice counts once.
    pub records_read: u64,
    /// Oldest and newest booked date read.
    pub dates: Option<(Date, Date)>,
    /// Bytes not yet written.
    pub size: usize,
    /// What the walk changed in old rows.
    pub rewritten: Rewritten,
    /// Oldest booked date of its rows that were stored under the account's current id before.
    pub known_from: Option<Date>,
    /// A second look did not show all that this one did: the list changed in between.
    pub outdated: bool,
}

impl Gathered {
    pub(super) fn take(&mut self, records: Vec<TransactionRecord>) {
        for record in records {
            match record {
                TransactionRecord::Row { transaction, raw, size } => self.take_row(transaction, raw, size),
                TransactionRecord::Unreadable(record) => {
                    if let Some(id) = &record.id {
                        self.see(id, false);
                    } else {
                        self.unnamed = true;
                        self.records_read += 1;
                    }
                    self.size += record.raw.len() + BESIDE_TEXTS;
                    self.unreadable.push(record);
                }
            }
        }
    }

    pub(super) fn take_row(&mut self, transaction: Transaction, raw: Option<Box<str>>, size: usize) {
        self.readable = true;
        let is_booked = transaction.status == Status::Booked;
        match self.see(&transaction.id, is_booked) {
            // One id, booked and pending in one walk: a booking never becomes a reservation.
            Some(true) if !is_booked => return,
            Some(_) => {
                // The later page wins, even over one on which the record could not be read.
                self.unreadable.retain(|record| record.id.as_ref() != Some(&transaction.id));
            }
            None => {
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

    /// Notes an id. Returns whether it was a booked row's before; `None` if unseen.
    fn see(&mut self, id: &TransactionId, booked: bool) -> Option<bool> {
        let before = self.ids.add(id, booked);
        self.records_read += u64::from(before.is_none());
        // It may have been stored since.
        self.unstored &= before.is_none();
        before
    }

    /// Whether it is time to write: more than `rows` were read (by one page at most), or too many bytes, so
    /// that a first sync of years fits in memory.
    pub(super) fn is_chunk(&self, rows: usize) -> bool {
        self.rows.len() + self.unreadable.len() > rows || self.size > CHUNK_SIZE
    }

    /// Takes the unreadable records, which wait for nothing.
    pub(super) fn take_unreadable(&mut self) -> Vec<Unreadable> {
        let records = mem::take(&mut self.unreadable);
        let size: usize = records.iter().map(|record| record.raw.len() + BESIDE_TEXTS).sum();
        self.size = self.size.saturating_sub(size);
        records
    }

    /// Whether records came of which none could be read: such a walk has seen nothing of its window.
    pub(super) fn is_illegible(&self) -> bool {
        !self.readable && (self.unnamed || !self.ids.is_empty())
    }

    /// Whether a row whose id is not here is missing; an empty list never shows that.
    pub(super) fn is_conclusive(&self) -> bool {
        !self.unnamed && !self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests;

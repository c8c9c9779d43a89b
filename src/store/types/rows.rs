//! Rows of transactions on their way in and out of the store. Plain data; no SQL, no logic.

use std::collections::HashSet;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::domain::ids::TransactionId;
use crate::domain::outcome::Counts;
use crate::domain::transaction::{Status, Transaction};
use crate::domain::unreadable::Unreadable;
use crate::domain::window::Window;

/// A row as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Its key.
    pub key: i64,
    /// Its data.
    pub transaction: Transaction,
    /// The generation of its account in which it was last seen.
    pub generation: i64,
    /// The number of complete walks in a row that missed it.
    pub missed: u32,
    /// Whether it is a tombstone.
    pub removed: bool,
    /// The newest generation among the rows that it has replaced; loaded only by [`RowQuery::SinceCheckpoint`].
    pub succeeds: Option<i64>,
}

/// The fields that show which live rows a walk did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRow {
    /// Its key.
    pub key: i64,
    /// Tink's id.
    pub id: TransactionId,
    /// Its status.
    pub status: Status,
    /// Its booked date.
    pub booked_date: Option<Date>,
    /// The generation of its account in which it was last seen.
    pub generation: i64,
}

/// Which rows of an account to load.
#[derive(Clone, Debug)]
pub enum RowQuery {
    /// Those with these ids, tombstones included.
    Ids(Vec<TransactionId>),
    /// Those with these keys.
    Keys(Vec<i64>),
    /// Live rows that arrived since the last complete walk that left no missing row unjudged, or that have
    /// become the newer side of a merge since.
    SinceCheckpoint,
    /// Live rows of an older generation, dated from this day on or not at all; without a day only the latter.
    OlderGeneration(Option<Date>),
    /// The newest rows, at most this many: their texts show which words do not distinguish rows.
    Newest(u32),
}

/// A row to be written, with its original JSON if that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedRow {
    /// Its data.
    pub transaction: Transaction,
    /// The JSON as Tink sent it.
    pub raw: Option<Box<str>>,
}

/// Why a row is marked removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Tink no longer returns it.
    Vanished,
    /// Another row of the account took its place.
    Replaced {
        /// Tink's id of the successor.
        by: TransactionId,
        /// The rule that matched.
        rule: &'static str,
    },
}

/// The difference between what is stored and what was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Rows new in the store.
    pub insert: Vec<FetchedRow>,
    /// Rows whose data changed, or that came back.
    pub update: Vec<(i64, FetchedRow)>,
    /// Rows seen unchanged whose bookkeeping must be renewed (not a change for readers).
    pub touch: Vec<i64>,
    /// Rows to be marked removed.
    pub remove: Vec<(i64, Removal)>,
    /// Rows missing once more, not removed yet.
    pub missed: Vec<i64>,
}

impl ChangeSet {
    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Adds the changes of a later reading of the same rows, which replace those of the rows it shows.
    pub fn supersede(&mut self, later: Self, shows: impl Fn(&TransactionId) -> bool) {
        self.insert.retain(|row| !shows(&row.transaction.id));
        self.update.retain(|(_, row)| !shows(&row.transaction.id));
        let touched: HashSet<i64> =
            later.touch.iter().copied().chain(later.update.iter().map(|(key, _)| *key)).collect();
        self.touch.retain(|key| !touched.contains(key));
        self.insert.extend(later.insert);
        self.update.extend(later.update);
        self.touch.extend(later.touch);
    }

    /// The updates of rows that stay: what the first look of a walk updates, the second may find under another id, and
    /// then it is removed all the same.
    pub fn staying(&self) -> impl Iterator<Item = &(i64, FetchedRow)> {
        let removed: HashSet<i64> = self.remove.iter().map(|(key, _)| *key).collect();
        self.update.iter().filter(move |(key, _)| !removed.contains(key))
    }

    /// Rows added, updated and removed, as counts.
    pub fn counts(&self) -> Counts {
        Counts {
            added: self.insert.len() as u64,
            updated: self.staying().count() as u64,
            removed: self.remove.len() as u64,
            ..Counts::default()
        }
    }
}

/// The dates that a complete walk has covered: a quarantined record of such a date that it did not list is
/// gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The first; `None` is the beginning.
    pub from: Option<Date>,
    /// The last.
    pub to: Date,
}

/// What a complete walk proves; committed with the last rows of it.
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the account's own")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The date through which the history is now complete.
    pub watermark: Option<Date>,
    /// `lastRefreshed` as read before the walk.
    pub refresh: Option<Timestamp>,
    /// When the walk was made.
    pub at: Timestamp,
    /// Set if the walk reached 90 days behind the last deep one, or covered everything: the date through
    /// which it read.
    pub deep: Option<Date>,
    /// Set if missing rows were not believed, so that nothing was removed at this refresh.
    pub suspect: Option<Timestamp>,
    /// From this day on the next walk searches again for rows that were missing.
    pub absent_from: Option<Date>,
    /// Whether no missing row waits for a consent, a refresh or another walk to be judged.
    pub judged: bool,
    /// Whether the full walk after a re-consent is done.
    pub repaired: bool,
    /// Whether all of the account is to be walked once.
    pub full_due: bool,
    /// Whether the walk met re-issued ids.
    pub reissued: bool,
    /// From this date on, rows from before a re-consent are without a counterpart.
    pub unmatched_from: Option<Date>,
    /// The same as it was read before the walk; if it is another one now, a person has accepted it meanwhile.
    pub unmatched_before: Option<Date>,
    /// Whether rows were compared, so that what arrived in this walk is no candidate for a later one.
    pub compared: bool,
}

/// What a walk that has not come to its end, and may never, leaves to the next ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// The account is to be walked in full.
    pub full_due: bool,
    /// The refresh at which the account showed no list, for the first time.
    pub unread: Option<Timestamp>,
}

/// One commit of an account's rows.
#[derive(Clone, Debug)]
pub struct RowCommit {
    /// Key of the account.
    pub account: i64,
    /// Its generation.
    pub generation: i64,
    /// Rows to write.
    pub changes: ChangeSet,
    /// Records for the quarantine.
    pub unreadable: Vec<Unreadable>,
    /// Ids that could be read, and leave the quarantine.
    pub readable: Vec<TransactionId>,
    /// At the end of a complete walk: the dates whose records leave the quarantine if they were not listed.
    pub covered: Option<Covered>,
    /// What is known before the end of a complete walk.
    pub unfinished: Unfinished,
    /// The end of a complete walk.
    pub checkpoint: Option<Checkpoint>,
    /// Now.
    pub now: Timestamp,
}

/// The live rows to compare a walk with.
#[derive(Clone, Copy, Debug)]
pub struct LiveQuery {
    /// Key of the account.
    pub account: i64,
    /// The dates of the walk; rows without a date always count.
    pub window: Window,
}

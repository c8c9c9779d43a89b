//! What to write, given what is stored and what was fetched. Pure: no I/O, no clock, no order
//! dependence; applying a result and asking again yields nothing (design section 8 is the rule book).

use std::collections::{HashMap, HashSet};

use jiff::civil::Date;

use crate::domain::ids::TransactionId;
use crate::domain::transaction::{Status, Transaction};
use crate::domain::window::Window;
use crate::store::types::{ChangeSet, FetchedRow, LiveRow, Removal, StoredRow};

/// A pending row and its booked successor lie at most this far apart.
const SUCCESSOR_DAYS: i32 = 7;
/// This many rows may always vanish at once, and beyond it one in [`MASS_SHARE`].
const MASS_FLOOR: usize = 20;
const MASS_SHARE: usize = 5;
/// A row without a date must be missing in so many complete walks.
const UNDATED_MISSES: u32 = 2;

/// Inserts, updates and revivals. Of rows with equal ids the later one wins; only an equal id is the
/// same row, so honest twins stay two.
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

/// What to write of rows that come outside of a walk: nothing is missing, and those that are new take the place
/// of their counterparts among the live rows of older generations, as in a walk.
pub fn latecomers(
    stored: &[StoredRow],
    fetched: Vec<FetchedRow>,
    older: &[StoredRow],
    generation: i64,
) -> ChangeSet {
    let oldest = fetched.iter().filter_map(|row| row.transaction.booked_date).min();
    let mut changes = upserts(stored, fetched, generation);
    let same = |row: &&StoredRow| stored.iter().any(|stored| stored.key == row.key);
    let older: Vec<StoredRow> = older.iter().filter(|row| !same(row)).cloned().collect();
    changes.remove = pair_generations(&older, &arrivals(stored, &changes), oldest);
    changes
}

/// The rows of a change set that were not live before: inserted ones and tombstones that came back.
pub fn arrivals<'a>(stored: &[StoredRow], changes: &'a ChangeSet) -> Vec<&'a Transaction> {
    let tombstones: HashSet<i64> = stored.iter().filter(|row| row.removed).map(|row| row.key).collect();
    let revived = changes.update.iter().filter(|(key, _)| tombstones.contains(key)).map(|(_, row)| row);
    changes.insert.iter().chain(revived).map(|row| &row.transaction).collect()
}

/// One row per id, the last one sent.
fn latest(fetched: Vec<FetchedRow>) -> Vec<FetchedRow> {
    let mut seen = HashSet::with_capacity(fetched.len());
    let mut rows: Vec<FetchedRow> =
        fetched.into_iter().rev().filter(|row| seen.insert(row.transaction.id.clone())).collect();
    rows.reverse();
    rows
}

/// The live rows a complete walk did not return and whose absence means something.
///
/// Rows of an older generation have ids that Tink no longer knows: only their pendings, which are
/// bound to go, count as absent.
#[expect(clippy::implicit_hasher, reason = "only the walk's own set is ever passed")]
pub fn absent<'a>(
    live: &'a [LiveRow],
    fetched: &HashSet<TransactionId>,
    window: &Window,
    generation: i64,
) -> Vec<&'a LiveRow> {
    let is_absent = |row: &&LiveRow| {
        !fetched.contains(&row.id)
            && row.booked_date.is_none_or(|date| window.is_well_inside(date))
            && (row.generation == generation || row.status == Status::Pending)
    };
    live.iter().filter(is_absent).collect()
}

/// Whether more booked rows would go than a bank ever takes back: more than max(20, 20 %) of the window's.
pub fn too_many(absent: &[&LiveRow], live: &[LiveRow]) -> bool {
    let going = absent.iter().filter(|row| row.status == Status::Booked).count();
    let booked = live.iter().filter(|row| row.status == Status::Booked).count();
    going > MASS_FLOOR.max(booked / MASS_SHARE)
}

/// Removes absent rows: a pending one whose successor arrived is replaced, the others vanish, and one
/// without a date goes only when it is missing for the second time.
pub fn removals(absent: &[StoredRow], arrivals: &[Transaction]) -> ChangeSet {
    let mut changes = ChangeSet::default();
    let (ripe, unripe): (Vec<&StoredRow>, Vec<&StoredRow>) = absent
        .iter()
        .filter(|row| !row.removed)
        .partition(|row| row.transaction.booked_date.is_some() || row.missed + 1 >= UNDATED_MISSES);
    changes.missed = unripe.iter().map(|row| row.key).collect();
    let pending: Vec<&StoredRow> =
        ripe.iter().filter(|row| row.transaction.status == Status::Pending).copied().collect();
    let mut successors = successors(&pending, arrivals);
    for row in ripe {
        let removal = successors.remove(&row.key).unwrap_or(Removal::Vanished);
        changes.remove.push((row.key, removal));
    }
    changes
}

/// Pairs vanished pendings with newly arrived rows, one to one, the most alike first.
fn successors(pending: &[&StoredRow], arrivals: &[Transaction]) -> HashMap<i64, Removal> {
    let mut pairs: Vec<(Likeness, &StoredRow, &Transaction)> = Vec::new();
    for row in pending {
        let alike = |arrival| Some((likeness(&row.transaction, arrival)?, *row, arrival));
        pairs.extend(arrivals.iter().filter_map(alike));
    }
    pairs.sort_by_key(|(likeness, row, arrival)| (*likeness, &row.transaction.id, &arrival.id));
    let mut taken = HashSet::new();
    let mut matched = HashMap::new();
    for (likeness, row, arrival) in pairs {
        if !matched.contains_key(&row.key) && taken.insert(&arrival.id) {
            let removal = Removal::Replaced { by: arrival.id.clone(), rule: likeness.rule() };
            matched.insert(row.key, removal);
        }
    }
    matched
}

/// How alike a pending row and an arrival are; smaller is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    still_pending: bool,
    other_text: bool,
    days: i32,
}

impl Likeness {
    fn rule(self) -> &'static str {
        match (self.still_pending, self.other_text) {
            (false, false) => "pending_booked:amount+date+same_text",
            (false, true) => "pending_booked:amount+date+similar_text",
            (true, false) => "pending_reissued:amount+date+same_text",
            (true, true) => "pending_reissued:amount+date+similar_text",
        }
    }
}

fn likeness(old: &Transaction, new: &Transaction) -> Option<Likeness> {
    if old.money != new.money || old.id == new.id {
        return None;
    }
    let days = days_apart(old.booked_date, new.booked_date)?;
    let (a, b) = (letters(old.text()), letters(new.text()));
    let similar = a == b || share_a_word(old.text(), new.text());
    (days <= SUCCESSOR_DAYS && similar).then_some(Likeness {
        still_pending: new.status == Status::Pending,
        other_text: a != b,
        days,
    })
}

fn days_apart(a: Option<Date>, b: Option<Date>) -> Option<i32> {
    let (Some(a), Some(b)) = (a, b) else { return Some(SUCCESSOR_DAYS) };
    Some(a.until(b).ok()?.get_days().abs())
}

/// The letters and digits of a text in lower case, in any script.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn share_a_word(a: &str, b: &str) -> bool {
    let words = |text: &str| -> HashSet<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|w| w.chars().count() >= 3).map(letters).collect()
    };
    !words(a).is_disjoint(&words(b))
}

/// After a re-consent: pairs rows of the old generation with the rows that arrived under new ids, one
/// to one, by the bank's id, else the reference, else date, amount, text and ordinal.
///
/// Rows older than the oldest fetched one are left alone; so are those without a counterpart.
pub fn pair_generations(
    old: &[StoredRow],
    arrivals: &[&Transaction],
    oldest: Option<Date>,
) -> Vec<(i64, Removal)> {
    let in_reach = |row: &&StoredRow| {
        !row.removed && row.transaction.booked_date.is_none_or(|date| Some(date) >= oldest)
    };
    let all_old: Vec<&StoredRow> = old.iter().filter(in_reach).collect();
    let (mut old, mut new) = (all_old.clone(), arrivals.to_vec());
    let mut pairs = Vec::new();
    for Rule { name, key, distinct } in RULES {
        let mut waiting: HashMap<Vec<String>, Vec<&Transaction>> = HashMap::new();
        for row in new.iter().rev() {
            if let Some(key) = key(row) {
                waiting.entry(key).or_default().push(row);
            }
        }
        if distinct {
            let repeated = repeated(all_old.iter().map(|row| &row.transaction).filter_map(key));
            let repeated_now = self::repeated(arrivals.iter().copied().filter_map(key));
            waiting.retain(|key, _| !repeated.contains(key) && !repeated_now.contains(key));
        }
        let mut taken: HashSet<&TransactionId> = HashSet::new();
        old.retain(|row| {
            let found = key(&row.transaction).and_then(|key| waiting.get_mut(&key)?.pop());
            if let Some(successor) = found {
                taken.insert(&successor.id);
                pairs.push((row.key, Removal::Replaced { by: successor.id.clone(), rule: name }));
            }
            found.is_none()
        });
        new.retain(|row| !taken.contains(&row.id));
    }
    pairs
}

/// The ids of the rows that took another's place.
pub fn successors_of(pairs: &[(i64, Removal)]) -> HashSet<&TransactionId> {
    let mut ids = HashSet::new();
    for (_, removal) in pairs {
        if let Removal::Replaced { by, .. } = removal {
            ids.insert(by);
        }
    }
    ids
}

/// What occurs more than once.
fn repeated(keys: impl Iterator<Item = Vec<String>>) -> HashSet<Vec<String>> {
    let mut seen = HashSet::new();
    keys.filter(|key| !seen.insert(key.clone())).collect()
}

/// One way to tell that two rows are the same.
struct Rule {
    name: &'static str,
    key: fn(&Transaction) -> Option<Vec<String>>,
    /// The key proves something only if no other row has it; else equal keys pair in order (the ordinal).
    distinct: bool,
}

/// From the strongest evidence to the weakest. What a bank calls an id may be the same text in every
/// row, so without the day and the amount it counts only where it is distinct.
const RULES: [Rule; 6] = [
    Rule {
        name: "reconsent:provider_id",
        key: |t| Some(vec![t.provider_transaction_id.clone()?, same_day(t), t.text().to_owned()]),
        distinct: false,
    },
    Rule {
        name: "reconsent:provider_id",
        key: |t| Some(vec![t.provider_transaction_id.clone()?, money_key(t)]),
        distinct: true,
    },
    Rule {
        name: "reconsent:reference",
        key: |t| Some(vec![t.reference.clone()?, same_day(t), t.text().to_owned()]),
        distinct: false,
    },
    Rule {
        name: "reconsent:reference",
        key: |t| Some(vec![t.reference.clone()?, same_day(t)]),
        distinct: false,
    },
    Rule {
        name: "reconsent:date+amount+text",
        key: |t| Some(vec![same_day(t), t.text().to_owned()]),
        distinct: false,
    },
    Rule {
        name: "reconsent:provider_id_changed_amount",
        key: |t| Some(vec![t.provider_transaction_id.clone()?, date_key(t)]),
        distinct: true,
    },
];

fn same_day(t: &Transaction) -> String {
    format!("{} {}", date_key(t), money_key(t))
}

fn money_key(t: &Transaction) -> String {
    format!("{} {}", t.money.amount, t.money.currency)
}

fn date_key(t: &Transaction) -> String {
    t.booked_date.map_or_else(String::new, |date| date.to_string())
}

#[cfg(test)]
mod tests;

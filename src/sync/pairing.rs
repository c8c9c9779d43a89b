//! Finds successors of rows that a walk did not return among those that are new in it (DESIGN.md 8.5). Pure,
//! one to one, and independent of the order in which either side is listed. Removes nothing and does not
//! judge whether a row without a successor is gone.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use jiff::civil::Date;

use super::words::{CommonWords, Text, folded};
use crate::domain::ids::TransactionId;
use crate::domain::transaction::{Status, Transaction};
use crate::store::types::{Removal, StoredRow};

/// A pending row and its successor are at most this many days apart.
const NEAR_DAYS: i32 = 7;
/// A booking is dated at most this many days before its reservation.
const EARLIER_DAYS: i32 = 1;

/// How often each bank id occurs in what a walk returned; keeps hashes, since a walk may be long.
#[derive(Debug, Default)]
pub(super) struct ProviderIds {
    hasher: RandomState,
    counts: HashMap<u64, u32>,
}

impl ProviderIds {
    /// Counts the id of one fetched row.
    pub(super) fn add(&mut self, row: &Transaction) {
        if let Some(id) = row.texts.provider_transaction_id() {
            *self.counts.entry(self.hasher.hash_one(id)).or_default() += 1;
        }
    }

    fn occurs_once(&self, id: &str) -> bool {
        // Rows that arrived in an earlier walk may not have been listed again.
        self.counts.get(&self.hasher.hash_one(id)).is_none_or(|count| *count == 1)
    }
}

/// The bank's own id of a row, unless it is a placeholder.
fn distinctive_id(row: &Transaction) -> Option<&str> {
    row.texts.provider_transaction_id().filter(|id| is_distinctive(id))
}

/// Whether a text that should identify something can do so.
fn is_distinctive(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let says_nothing = ["notprovided", "none", "null", "na", "nil", "unknown", "undefined", "notavailable"];
    !plain.chars().all(|c| c == '0') && !says_nothing.contains(&plain.as_str())
}

/// The input for the pairing of one walk.
#[derive(Debug)]
pub(super) struct Sides<'a> {
    /// Rows the walk did not return.
    pub old: &'a [StoredRow],
    /// Rows that are new in it, and those that arrived since the last walk that was judged.
    pub new: &'a [&'a Transaction],
    /// The account's generation; rows of an older one come from before a re-consent or a merge.
    pub generation: i64,
    /// It is the first walk since a re-consent or a merge, which shows both sides as a whole.
    pub is_first: bool,
    /// Of the new rows, those that have succeeded others in an earlier pass, with the newest generation of
    /// these: they can only succeed one of a generation between that and the account's, which a merge brought.
    pub taken: &'a HashMap<&'a TransactionId, i64>,
    /// The bank's ids in what the walk returned.
    pub ids: &'a ProviderIds,
    /// Words that mean nothing in this account.
    pub common: &'a CommonWords,
}

/// Pairs old rows with their successors: the strongest rule first, each row once.
pub(super) fn pair(sides: &Sides<'_>) -> Vec<(i64, Removal)> {
    let mut pairing = Pairing::new(sides);
    for rule in RULES.iter().filter(|rule| sides.is_first || rule.evidence != MatchEvidence::WithoutDay) {
        pairing.apply(rule);
    }
    pairing.pairs
}

/// Which statuses a rule pairs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Statuses {
    /// Both have the same status.
    Equal,
    /// A pending row and a booked one.
    PendingToBooked,
    Any,
}

impl Statuses {
    fn allow(self, old: Status, new: Status) -> bool {
        match self {
            Self::Equal => old == new,
            Self::PendingToBooked => old == Status::Pending && new == Status::Booked,
            Self::Any => true,
        }
    }
}

/// The evidence that two are one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MatchEvidence {
    /// A bank's id that occurs once on each side, and equal money.
    ProviderId,
    /// The same, regardless of the money.
    ProviderIdAlone,
    /// An equal reference, day and money.
    Reference,
    /// Equal day, money and text.
    Text,
    /// Equal day, money and folded text.
    FoldedText,
    /// Equal money, a near day and agreeing words.
    Words,
    /// Equal day and money, once on each side.
    DayAndMoney,
    /// Equal money and folded text, once on each side, where one of the two has no day. Only in the first walk: later, an
    /// equal purchase would take the place of a row that the list has ceased to show.
    WithoutDay,
}

/// One rule for when two rows are one.
struct Rule {
    evidence: MatchEvidence,
    statuses: Statuses,
    /// Only for rows from before a re-consent.
    renewal: bool,
    /// The published name, for a row of this generation and for one from before a re-consent.
    names: [&'static str; 2],
}

/// From the strongest evidence to the weakest. Equal statuses come first, so that a reservation never takes
/// the successor of a booking.
const RULES: [Rule; 13] = [
    rule(MatchEvidence::ProviderId, Statuses::Equal, false, ["reissued", "reconsent:provider_id"]),
    rule(MatchEvidence::Reference, Statuses::Equal, true, ["", "reconsent:reference"]),
    rule(MatchEvidence::Text, Statuses::Equal, false, ["reissued", "reconsent:date+amount+text"]),
    rule(
        MatchEvidence::FoldedText,
        Statuses::Equal,
        false,
        ["reissued", "reconsent:date+amount+folded_text"],
    ),
    rule(MatchEvidence::ProviderId, Statuses::PendingToBooked, false, ["pending_booked:provider_id"; 2]),
    rule(MatchEvidence::Text, Statuses::PendingToBooked, false, ["pending_booked:amount+date+same_text"; 2]),
    rule(MatchEvidence::Words, Statuses::PendingToBooked, false, ["pending_booked:amount+date"; 2]),
    rule(MatchEvidence::Words, Statuses::Equal, false, ["pending_reissued:amount+date"; 2]),
    rule(
        MatchEvidence::ProviderIdAlone,
        Statuses::PendingToBooked,
        false,
        ["pending_booked:provider_id_only"; 2],
    ),
    rule(MatchEvidence::FoldedText, Statuses::Any, true, ["", "reconsent:date+amount+other_status"]),
    rule(MatchEvidence::DayAndMoney, Statuses::Equal, true, ["", "reconsent:date+amount"]),
    rule(MatchEvidence::DayAndMoney, Statuses::PendingToBooked, true, ["", "reconsent:date+amount"]),
    rule(MatchEvidence::WithoutDay, Statuses::Equal, true, ["", "reconsent:amount+text"]),
];

const fn rule(evidence: MatchEvidence, statuses: Statuses, renewal: bool, names: [&'static str; 2]) -> Rule {
    Rule { evidence, statuses, renewal, names }
}

struct Pairing<'a> {
    sides: &'a Sides<'a>,
    /// Not paired yet; newest generation first, then those missed least.
    old: Vec<&'a StoredRow>,
    new: Vec<&'a Transaction>,
    pairs: Vec<(i64, Removal)>,
}

impl<'a> Pairing<'a> {
    fn new(sides: &'a Sides<'a>) -> Self {
        let ids: HashSet<&TransactionId> = sides.new.iter().map(|row| &row.id).collect();
        let mut old: Vec<&StoredRow> =
            sides.old.iter().filter(|row| !row.removed && !ids.contains(&row.transaction.id)).collect();
        old.sort_by_key(|row| (-row.generation, row.missed, row.key));
        let mut new = sides.new.to_vec();
        new.sort_by(|a, b| a.id.cmp(&b.id));
        new.dedup_by(|a, b| a.id == b.id);
        Self { sides, old, new, pairs: Vec::new() }
    }

    fn apply(&mut self, rule: &Rule) {
        if self.old.is_empty() || self.new.is_empty() {
            return;
        }
        match rule.evidence {
            MatchEvidence::Words => self.near(rule),
            MatchEvidence::ProviderId
            | MatchEvidence::ProviderIdAlone
            | MatchEvidence::DayAndMoney
            | MatchEvidence::WithoutDay => self.unique(rule),
            MatchEvidence::Reference | MatchEvidence::Text | MatchEvidence::FoldedText => self.ordinal(rule),
        }
    }

    /// The old rows that a rule considers.
    fn eligible(&self, rule: &Rule) -> Vec<&'a StoredRow> {
        let before = |row: &&StoredRow| !rule.renewal || row.generation < self.sides.generation;
        self.old.iter().filter(|row| before(row)).copied().collect()
    }

    /// Whether the rule and earlier successions let these two be one.
    fn may(&self, rule: &Rule, old: &StoredRow, new: &Transaction) -> bool {
        let is_between = |newest: &i64| *newest < old.generation && old.generation < self.sides.generation;
        let free = self.sides.taken.get(&new.id).is_none_or(is_between);
        free && rule.statuses.allow(old.transaction.status, new.status)
    }

    /// Equal keys pair in order, the first with the first, so that genuine twins keep their number.
    fn ordinal(&mut self, rule: &Rule) {
        let mut waiting: HashMap<String, Vec<&'a Transaction>> = HashMap::new();
        for row in self.new.iter().rev() {
            if let Some(key) = key(rule.evidence, row) {
                waiting.entry(key).or_default().push(row);
            }
        }
        let mut found = Vec::new();
        for row in self.eligible(rule) {
            let Some(same) = key(rule.evidence, &row.transaction).and_then(|key| waiting.get_mut(&key))
            else {
                continue;
            };
            let fits = |new: &&Transaction| self.may(rule, row, new);
            if let Some(at) = same.iter().rposition(fits) {
                found.push((row, same.remove(at)));
            }
        }
        self.take(rule, found);
    }

    /// Pairs a key only if it occurs once on each side.
    fn unique(&mut self, rule: &Rule) {
        let (mut left, mut right) = (HashMap::new(), HashMap::new());
        // An id must be unique among all rows of its side, including those that have already found a
        // successor.
        let all = matches!(rule.evidence, MatchEvidence::ProviderId | MatchEvidence::ProviderIdAlone);
        let everybody: Vec<&'a StoredRow> = self.sides.old.iter().filter(|row| !row.removed).collect();
        for row in if all { &everybody } else { &self.old } {
            count(&mut left, self.key_of(rule, &row.transaction));
        }
        for row in if all { self.sides.new } else { &self.new } {
            count(&mut right, self.key_of(rule, row));
        }
        let places: HashMap<String, &'a Transaction> =
            self.new.iter().filter_map(|row| Some((self.key_of(rule, row)?, *row))).collect();
        let mut found = Vec::new();
        for row in self.eligible(rule) {
            let Some(key) = self.key_of(rule, &row.transaction) else { continue };
            let once = left.get(&key) == Some(&1) && right.get(&key) == Some(&1);
            let Some(new) = places.get(&key).filter(|_| once) else { continue };
            let fits = self.may(rule, row, new);
            let has_no_day = row.transaction.booked_date.is_none() || new.booked_date.is_none();
            let fits = fits && (rule.evidence != MatchEvidence::WithoutDay || has_no_day);
            let pays = rule.evidence != MatchEvidence::ProviderId || row.transaction.money == new.money;
            if fits && pays {
                found.push((row, *new));
            }
        }
        self.take(rule, found);
    }

    fn key_of(&self, rule: &Rule, row: &Transaction) -> Option<String> {
        match rule.evidence {
            MatchEvidence::ProviderId | MatchEvidence::ProviderIdAlone => {
                distinctive_id(row).filter(|id| self.sides.ids.occurs_once(id)).map(str::to_owned)
            }
            // The statuses among which it must be unique.
            MatchEvidence::DayAndMoney => {
                let status = if rule.statuses == Statuses::Equal { row.status.as_str() } else { "" };
                row.booked_date.map(|date| format!("{date} {} {status}", money(row)))
            }
            MatchEvidence::WithoutDay => {
                Some(format!("{} {} {}", money(row), row.status.as_str(), folded(row.text())))
            }
            evidence => key(evidence, row),
        }
    }

    /// Pairs pending rows with rows of equal money on a near day whose words agree, the most alike first.
    fn near(&mut self, rule: &Rule) {
        let mut by_money: HashMap<String, Vec<&'a Transaction>> = HashMap::new();
        for row in &self.new {
            by_money.entry(money(row)).or_default().push(row);
        }
        let mut all: Vec<(Likeness, usize, &'a StoredRow, &'a Transaction)> = Vec::new();
        for (rank, row) in self.eligible(rule).into_iter().enumerate() {
            if row.transaction.status != Status::Pending {
                continue;
            }
            for new in by_money.get(&money(&row.transaction)).into_iter().flatten() {
                let fits = self.may(rule, row, new);
                let likeness = likeness(&row.transaction, new, self.sides.common).filter(|_| fits);
                all.extend(likeness.map(|likeness| (likeness, rank, row, *new)));
            }
        }
        all.sort_by_key(|(likeness, rank, _, new)| (*likeness, *rank, &new.id));
        let (mut keys, mut taken, mut found) = (HashSet::new(), HashSet::new(), Vec::new());
        for (likeness, _, row, new) in all {
            if !keys.contains(&row.key) && !taken.contains(&new.id) {
                keys.insert(row.key);
                taken.insert(&new.id);
                found.push((likeness.other_text, row, new));
            }
        }
        let [same, other] =
            NEAR_NAMES.get(usize::from(rule.statuses == Statuses::Equal)).copied().unwrap_or_default();
        let name = |other_text| if other_text { other } else { same };
        let named: Vec<_> = found.into_iter().map(|(text, row, new)| (name(text), row, new)).collect();
        self.take_named(named);
    }

    fn take(&mut self, rule: &Rule, found: Vec<(&'a StoredRow, &'a Transaction)>) {
        let [here, before] = rule.names;
        let name = |row: &StoredRow| if row.generation < self.sides.generation { before } else { here };
        let named = found.into_iter().map(|(row, new)| (name(row), row, new)).collect();
        self.take_named(named);
    }

    fn take_named(&mut self, found: Vec<(&'static str, &'a StoredRow, &'a Transaction)>) {
        let keys: HashSet<i64> = found.iter().map(|(_, row, _)| row.key).collect();
        let ids: HashSet<&TransactionId> = found.iter().map(|(_, _, new)| &new.id).collect();
        self.old.retain(|row| !keys.contains(&row.key));
        self.new.retain(|row| !ids.contains(&row.id));
        let pair = |(rule, row, new): (_, &StoredRow, &Transaction)| {
            (row.key, Removal::Replaced { by: new.id.clone(), rule })
        };
        self.pairs.extend(found.into_iter().map(pair));
    }
}

/// The rule names for [`MatchEvidence::Words`]: booked or still pending, with the same text or a similar one.
const NEAR_NAMES: [[&str; 2]; 2] = [
    ["pending_booked:amount+date+same_text", "pending_booked:amount+date+similar_text"],
    ["pending_reissued:amount+date+same_text", "pending_reissued:amount+date+similar_text"],
];

fn count(counts: &mut HashMap<String, u32>, key: Option<String>) {
    if let Some(key) = key {
        *counts.entry(key).or_default() += 1;
    }
}

fn key(evidence: MatchEvidence, row: &Transaction) -> Option<String> {
    let day = row.booked_date.map_or_else(String::new, |date| date.to_string());
    let money = money(row);
    match evidence {
        MatchEvidence::Reference => {
            let reference = row.texts.reference().filter(|text| is_distinctive(text))?;
            Some(format!("{day} {money} {reference}"))
        }
        MatchEvidence::FoldedText => Some(format!("{day} {money} {}", folded(row.text()))),
        _ => Some(format!("{day} {money} {}", row.text())),
    }
}

fn money(row: &Transaction) -> String {
    format!("{} {}", row.money.amount, row.money.currency)
}

/// How alike a pending row and a new one are; smaller is more alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    other_text: bool,
    days: i32,
}

fn likeness(old: &Transaction, new: &Transaction, common: &CommonWords) -> Option<Likeness> {
    let days = days_after(old.booked_date, new.booked_date)?;
    let (a, b) = (Text::of(old.text()), Text::of(new.text()));
    let is_near = (-EARLIER_DAYS..=NEAR_DAYS).contains(&days);
    (is_near && a.agrees(&b, common)).then_some(Likeness { other_text: !a.is_same(&b), days: days.abs() })
}

/// Days from one date to the other; [`NEAR_DAYS`] if one is missing.
fn days_after(from: Option<Date>, to: Option<Date>) -> Option<i32> {
    let (Some(from), Some(to)) = (from, to) else { return Some(NEAR_DAYS) };
    Some(from.until(to).ok()?.get_days())
}

#[cfg(test)]
mod tests;

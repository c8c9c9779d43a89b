//! Reads both sides of the mirror once before anything is compared: the numbers of the view, which
//! connections lost their row, which have no changes, and which must be looked at together. Keeps numbers and
//! no text per connection, so that a view of any length can be compared in parts. Pure; decides nothing about
//! a connection.

use std::hash::{BuildHasher, RandomState};

use jiff::Timestamp;

use super::{Change, Circumstances, Judged, Stored, changes};
use crate::domain::connection::{SourceRow, TinkUser};
use crate::domain::owner::{SingleRows, SingleView, judge};
use crate::domain::population::{Fall, Numbers, Remembered};
use crate::domain::view::ViewRows;

/// What is known of both sides so far. A connection's number is the place of its row; those without a row
/// follow.
#[derive(Debug)]
pub struct Survey {
    view: SingleView,
    at: Timestamp,
    hasher: RandomState,
    /// The hash of each row's id with the row's place, sorted.
    ids: Vec<(u64, usize)>,
    /// The hash of each Tink name that a connection has or requests, with the connection's number.
    names: Vec<(u64, usize)>,
    /// The numbers of the stored connections, each with its key.
    keys: Vec<(usize, i64)>,
    /// By number: nothing is to be written if no other connection has its Tink user.
    settled: Vec<bool>,
    numbers: Numbers,
    gone: u64,
    silent: bool,
    /// As `silent`, also of one that is paused: perhaps by the fall itself.
    paused_silent: bool,
}

/// Both sides after they were read.
#[derive(Debug)]
pub struct Surveyed {
    view: SingleView,
    at: Timestamp,
    keys: Vec<(usize, i64)>,
    /// Connections that share a Tink user with others.
    shared: ViewParts,
    /// Those, and all others that may have changes.
    open: ViewParts,
    numbers: Numbers,
    gone: u64,
    silent: bool,
    paused_silent: bool,
}

/// Numbers of connections, cut so that those that share a Tink user stay together.
#[derive(Debug)]
struct ViewParts {
    numbers: Vec<usize>,
    /// Where each part ends.
    ends: Vec<usize>,
}

/// Connections that can be compared without looking at any other.
#[derive(Clone, Copy, Debug)]
pub struct ViewPart<'a> {
    surveyed: &'a Surveyed,
    numbers: &'a [usize],
}

impl Survey {
    /// Reads the view.
    pub fn of(rows: ViewRows, at: Timestamp) -> Self {
        let (view, hasher) = (SingleView::of(rows), RandomState::new());
        let (mut ids, mut names) = (Vec::new(), Vec::new());
        let mut numbers = Numbers::default();
        for (place, row) in view.iter().enumerate() {
            ids.push((hasher.hash_one(row.connection_id.as_str()), place));
            names.extend(row.names().map(|name| (hasher.hash_one(name), place)));
            let counts = row.enabled && !row.connection_id.as_str().is_empty();
            numbers.enabled += u64::from(counts);
            numbers.entitled += u64::from(counts && row.entitled);
        }
        ids.sort_unstable();
        let settled = vec![false; ids.len()];
        Self {
            view,
            at,
            hasher,
            ids,
            names,
            keys: Vec::new(),
            settled,
            numbers,
            gone: 0,
            silent: false,
            paused_silent: false,
        }
    }

    /// Adds a stored connection.
    pub fn add(&mut self, key: i64, stored: &Stored) {
        let (number, row) = match self.row_of(&stored.held.connection_id) {
            Some((place, row)) => (place, Some(row)),
            None => (self.settled.len(), None),
        };
        self.keys.push((number, key));
        let is_asked = |name: &TinkUser| row.iter().flat_map(SourceRow::names).any(|asked| asked == name);
        let names = stored.held.names().filter(|name| !is_asked(name));
        self.names.extend(names.map(|name| (self.hasher.hash_one(name), number)));
        let wanted = stored.state.was_wanted(self.at);
        self.gone += u64::from(wanted && row.is_none());
        let is_silent = row.as_ref().is_some_and(SourceRow::is_silent);
        self.silent |= wanted && is_silent;
        self.paused_silent |= stored.state.enabled && is_silent;
        let rows = SingleRows::alone(row);
        // If it already is as its row says, or has no row and is neither enabled nor entitled, a fall does
        // not change it.
        let stored = std::slice::from_ref(stored);
        let settled = changes(stored, judge(stored, &rows), Circumstances::usual(self.at)).is_empty();
        match self.settled.get_mut(number) {
            Some(known) => *known = settled,
            None => self.settled.push(settled),
        }
    }

    fn row_of(&self, id: &str) -> Option<(usize, SourceRow)> {
        let hash = self.hasher.hash_one(id);
        let first = self.ids.partition_point(|(other, _)| *other < hash);
        let alike = self.ids.get(first..)?.iter().take_while(|(other, _)| *other == hash);
        let mut rows = alike.filter_map(|(_, place)| Some((*place, self.view.get(*place)?)));
        rows.find(|(_, row)| row.connection_id.as_str() == id)
    }

    /// After all stored connections were added: cuts both sides into parts of at least `at_least`
    /// connections.
    pub fn done(mut self, at_least: usize) -> Surveyed {
        self.keys.sort_unstable();
        self.names.sort_unstable();
        let mut components = Components((0..self.settled.len()).collect());
        let mut is_shared = vec![false; self.settled.len()];
        for pair in self.names.windows(2) {
            // A collision of two hashes only makes a part larger.
            if let [(name, one), (same, other)] = pair
                && name == same
                && one != other
            {
                components.join(*one, *other);
                for number in [one, other] {
                    is_shared.get_mut(*number).into_iter().for_each(|is_shared| *is_shared = true);
                }
            }
        }
        let is_shared = |number: usize| is_shared.get(number) == Some(&true);
        let is_open = |number: usize| is_shared(number) || self.settled.get(number) == Some(&false);
        Surveyed {
            shared: components.cut(is_shared, at_least),
            open: components.cut(is_open, at_least),
            view: self.view,
            at: self.at,
            keys: self.keys,
            numbers: self.numbers,
            gone: self.gone,
            silent: self.silent,
            paused_silent: self.paused_silent,
        }
    }
}

/// Groups that share a Tink user: by number, another member of the group, or itself for the first of a group.
struct Components(Vec<usize>);

impl Components {
    fn first(&mut self, mut number: usize) -> usize {
        while let Some(next) = self.0.get(number).copied().filter(|next| *next != number) {
            // Halves the path for later calls.
            let over = self.0.get(next).copied().unwrap_or(next);
            self.0.get_mut(number).into_iter().for_each(|link| *link = over);
            number = over;
        }
        number
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        self.0.get_mut(one.max(other)).into_iter().for_each(|link| *link = one.min(other));
    }

    /// The wanted connections, group by group, ordered by the first of each group.
    fn cut(&mut self, is_wanted: impl Fn(usize) -> bool, at_least: usize) -> ViewParts {
        let wanted = (0..self.0.len()).filter(|number| is_wanted(*number));
        let mut wanted: Vec<(usize, usize)> = wanted.map(|number| (self.first(number), number)).collect();
        wanted.sort_unstable();
        let (mut begin, mut ends) = (0, Vec::new());
        for (place, (group, _)) in wanted.iter().enumerate() {
            let is_next = place
                .checked_sub(1)
                .and_then(|before| wanted.get(before))
                .is_some_and(|(before, _)| before != group);
            if is_next && place - begin >= at_least {
                ends.push(place);
                begin = place;
            }
        }
        ends.extend(Some(wanted.len()).filter(|end| *end > begin));
        ViewParts { numbers: wanted.into_iter().map(|(_, number)| number).collect(), ends }
    }
}

impl Surveyed {
    /// The numbers of the view.
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// The number of connections that may have changes and share no Tink user.
    pub fn open_alone(&self) -> usize {
        self.open.numbers.len() - self.shared.numbers.len()
    }

    /// Those that share a Tink user with others, in parts.
    pub fn shared_parts(&self) -> impl Iterator<Item = ViewPart<'_>> {
        self.parts(&self.shared)
    }

    /// Those that may have changes, in parts.
    pub fn open_parts(&self) -> impl Iterator<Item = ViewPart<'_>> {
        self.parts(&self.open)
    }

    fn parts<'a>(&'a self, parts: &'a ViewParts) -> impl Iterator<Item = ViewPart<'a>> {
        let begins = std::iter::once(0).chain(parts.ends.iter().copied());
        let numbers = begins.zip(&parts.ends).filter_map(|(begin, end)| parts.numbers.get(begin..*end));
        numbers.map(|numbers| ViewPart { surveyed: self, numbers })
    }

    /// Whether far fewer are enabled or entitled than before. `taken` is the sum of the first numbers of
    /// [`ViewPart::taken_and_news`] over the shared parts.
    pub fn fall(&self, remembered: Remembered, taken: u64) -> Option<Fall> {
        let silent = self.silent || (self.paused_silent && remembered.fallen_at.is_some());
        Fall::of(remembered, self.numbers, self.gone.saturating_sub(taken), silent, self.at)
    }
}

impl ViewPart<'_> {
    /// The keys of the stored connections, in order.
    pub fn keys(&self) -> Vec<i64> {
        let known = &self.surveyed.keys;
        let key = |number: &usize| {
            let place = known.binary_search_by_key(number, |(number, _)| *number).ok()?;
            known.get(place).map(|(_, key)| *key)
        };
        let mut keys: Vec<i64> = self.numbers.iter().filter_map(key).collect();
        keys.sort_unstable();
        keys
    }

    fn rows(&self) -> SingleRows {
        self.surveyed.view.pick(self.numbers)
    }

    /// How many were to be synced, lost their row and are taken over by another connection; and how many
    /// change if there is no fall. `stored` are those of [`ViewPart::keys`].
    pub fn taken_and_news(&self, stored: &[Stored]) -> (u64, usize) {
        let (rows, at) = (self.rows(), self.surveyed.at);
        let judged = judge(stored, &rows);
        let mut taken: Vec<usize> = judged.iter().filter_map(Judged::takes_over).collect();
        taken.sort_unstable();
        taken.dedup();
        let is_listed = |place: &usize| judged.iter().any(|one| one.held == Some(*place));
        let was_wanted = |place: &usize| stored.get(*place).is_some_and(|stored| stored.state.was_wanted(at));
        let taken = taken.iter().filter(|place| !is_listed(place) && was_wanted(place)).count() as u64;
        (taken, changes(stored, judged, Circumstances::usual(at)).len())
    }

    /// The changes of the part's connections under this fall; places are those in `stored`, which are those
    /// of [`ViewPart::keys`].
    pub fn changes(&self, stored: &[Stored], fall: Option<Fall>) -> Vec<Change> {
        let at = self.surveyed.at;
        let when =
            Circumstances { at, fallen: fall.is_some(), keeps: fall.is_some_and(|fall| fall.keeps(at)) };
        changes(stored, judge(stored, &self.rows()), when)
    }
}

#[cfg(test)]
mod tests;

//! The plan of a run, in memory: which connections are due, in which order, and what became of each.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::domain::outcome::Reason;

/// The connections that are due in a run, in order, and what became of them.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub waiting: VecDeque<Planned>,
    /// Connections that another run has. They may become free: see `plan`.
    pub leased: Vec<i64>,
    /// Those of them that were leased when the plan was made, so that they were not counted as due.
    pub uncounted: HashSet<i64>,
    /// How many of these have become free and are due.
    pub adopted: u64,
    /// Connections that were no longer due.
    pub skipped: BTreeMap<Reason, u64>,
    /// The tokens of leases that are being taken. If a commit is uncertain, they may be stored already.
    pub taking: HashMap<i64, i64>,
}

/// A connection of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub connection: i64,
    /// When it had last been attempted at the time of planning.
    pub attempted: Option<i64>,
    /// Whether it was reported as leased before.
    pub reported: bool,
}

/// What is left of a plan at the end of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOver {
    /// The number of connections that were not claimed.
    pub waiting: u64,
    /// The number of connections that were due, though another run had them when the plan was made.
    pub adopted: u64,
    /// Connections that were no longer due when their turn came.
    pub skipped: BTreeMap<Reason, u64>,
}

impl Plan {
    pub(in crate::store) fn skip(&mut self, connection: i64, reason: Reason) {
        if reason == Reason::Leased {
            self.leased.push(connection);
        } else {
            *self.skipped.entry(reason).or_default() += 1;
        }
    }

    /// Counts the connections that were not claimed, and those that were no longer due.
    pub(in crate::store) fn left_over(&self) -> LeftOver {
        let (waiting, adopted) = (self.waiting.len() as u64, self.adopted);
        let mut left = LeftOver { waiting, adopted, ..LeftOver::default() };
        left.skipped.extend(self.skipped.iter().map(|(reason, number)| (*reason, *number)));
        if !self.leased.is_empty() {
            left.skipped.insert(Reason::Leased, self.leased.len() as u64);
        }
        left
    }

    /// Counts a claimed connection that was forgotten meanwhile: for this run it is disabled.
    pub(in crate::store) fn exclude(&mut self) {
        *self.skipped.entry(Reason::Disabled).or_default() += 1;
    }
}

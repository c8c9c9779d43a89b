//! The plan of a run, in memory: who is due, in which order, and what became of each.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::LeftOver;
use crate::domain::outcome::Reason;

/// Who is due in a run, in order, and what became of those that were.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub waiting: VecDeque<Planned>,
    /// Those another run has. They may come free: see `plan`.
    pub leased: Vec<i64>,
    /// Those found not due any more.
    pub skipped: BTreeMap<Reason, u64>,
    /// The tokens of leases that are being taken: if it is not known whether they were kept, they may be there already.
    pub taking: HashMap<i64, i64>,
}

/// A connection of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub connection: i64,
    /// When it had last been attempted as it was planned.
    pub attempted: Option<i64>,
}

impl Plan {
    pub(in crate::store) fn skip(&mut self, connection: i64, reason: Reason) {
        if reason == Reason::Leased {
            self.leased.push(connection);
        } else {
            *self.skipped.entry(reason).or_default() += 1;
        }
    }

    /// What became of it: connections nobody has claimed, and those found not due any more.
    pub(in crate::store) fn left_over(&self) -> LeftOver {
        let mut left = LeftOver { waiting: self.waiting.len() as u64, ..LeftOver::default() };
        left.skipped.extend(self.skipped.iter().map(|(reason, number)| (*reason, *number)));
        if !self.leased.is_empty() {
            left.skipped.insert(Reason::Leased, self.leased.len() as u64);
        }
        left
    }

    /// A claimed connection that was forgotten meanwhile: for this run it is one that is switched off.
    pub(in crate::store) fn exclude(&mut self) {
        *self.skipped.entry(Reason::Disabled).or_default() += 1;
    }
}

//! Finds connections that are older than a monitor allows: by the last success, or by Tink's own data. Pure.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Brief;
use crate::cli::connections::naming;
use crate::cli::table;
use crate::domain::population::RECENT;
use crate::store::reads::KnownConnection;

/// The age that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The last success: whether passes work.
    Success,
    /// Tink's data: whether Tink fetches from the bank.
    Data,
}

#[derive(Clone, Debug)]
pub(super) struct Late {
    of: Of,
    /// The limit; `None` if none was given.
    pub limit: Option<Duration>,
    pub ids: HashSet<String>,
}

/// Connections that should be fresh, besides those served now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Whom {
    /// Those that wait for their user.
    pub all: bool,
    /// Those that were entitled within the last days, while a fall of the number is not confirmed.
    pub lapsed: bool,
}

impl Late {
    pub(super) fn new(of: Of, limit: Option<Duration>) -> Self {
        Self { of, limit, ids: HashSet::new() }
    }

    /// Records a connection that should be fresh and is too old.
    pub(super) fn look(&mut self, connection: &KnownConnection, whom: Whom, now: Timestamp) {
        let lapsed = connection.lapsed_at.is_some_and(|at| now.duration_since(at) <= RECENT);
        let served = if whom.all { connection.is_active(now) } else { connection.is_served(now) };
        let is_meant = served || (whom.lapsed && lapsed);
        if is_meant && self.limit.is_some_and(|limit| self.of.is_late(connection, now, limit)) {
            self.ids.insert(connection.connection_id.clone());
        }
    }

    /// Lists the connections that are too old, the oldest first; `None` if there are none.
    pub(super) fn sentence(&self, connections: &[Brief], now: Timestamp) -> Option<String> {
        let mut late: Vec<_> = connections.iter().filter(|c| self.ids.contains(&c.id)).collect();
        let at = |c: &Brief| self.of.at(c.last_success_at, c.data_as_of);
        late.sort_by_key(|c| Reverse(at(c).map_or(SignedDuration::MAX, |at| now.duration_since(at))));
        let named = late.iter().map(|c| format!("{} ({})", c.id, table::age(at(c), now)));
        let named: Vec<String> = named.collect();
        let limit = table::exact(self.limit?);
        let number = table::count(named.len(), "connection");
        let text = match self.of {
            Of::Success => format!("{number} without success in the last {limit}"),
            Of::Data => format!("{number} whose data at Tink are older than {limit}"),
        };
        (!named.is_empty()).then(|| format!("{text}: {}", naming(named.iter().map(String::as_str))))
    }
}

impl Of {
    fn at(self, last_success_at: Option<Timestamp>, data_as_of: Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Self::Success => last_success_at,
            Self::Data => data_as_of,
        }
    }

    fn is_late(self, connection: &KnownConnection, now: Timestamp, limit: Duration) -> bool {
        let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
        match self.at(connection.last_success_at, connection.data_as_of) {
            Some(at) => now.duration_since(at) > limit,
            // Some banks' data have no age at Tink, so a connection that has succeeded is not late.
            None => self == Self::Success || connection.last_success_at.is_none(),
        }
    }
}

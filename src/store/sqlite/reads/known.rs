//! A connection as it is known here, and as the next run will see it once it has mirrored the source
//! view. Pure: no statement is run and no clock is read.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use crate::domain::connection::{SourceRow, TinkUser};

/// The state of a connection, in the words of `connections_v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Never attempted with success, and nothing is wrong yet.
    New,
    /// Up to date.
    Ok,
    /// Failed in its last attempts.
    Failing,
    /// Tink asked to come back later.
    RateLimited,
    /// Only its user can bring it back.
    NeedsUser,
    /// The user's plan does not include bank sync now.
    Paused,
    /// Switched off.
    Disabled,
}

impl State {
    /// Every state, in the order of the contract.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::Ok,
        Self::Failing,
        Self::RateLimited,
        Self::NeedsUser,
        Self::Paused,
        Self::Disabled,
    ];

    /// The text of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Ok => "ok",
            Self::Failing => "failing",
            Self::RateLimited => "rate_limited",
            Self::NeedsUser => "needs_user",
            Self::Paused => "paused_not_entitled",
            Self::Disabled => "disabled",
        }
    }
}

/// Who works on a connection right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The run.
    pub run_id: String,
    /// Until when.
    pub until: Timestamp,
}

/// A connection with everything that is kept about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownConnection {
    /// Key in the store; none until a run has mirrored it.
    pub key: Option<i64>,
    /// Its id.
    pub connection_id: String,
    /// Its user.
    pub user_id: String,
    /// How Tink knows the user.
    pub tink_user: Option<TinkUser>,
    /// How tokens are had: `mint` or `refresh`.
    pub mode: String,
    /// The user has not disconnected.
    pub enabled: bool,
    /// The user's plan includes bank sync.
    pub entitled: bool,
    /// Until when it does.
    pub entitled_until: Option<Timestamp>,
    /// What is wrong with its row in the source view.
    pub problem: Option<String>,
    /// Last attempt.
    pub last_attempt_at: Option<Timestamp>,
    /// End of the last success.
    pub last_success_at: Option<Timestamp>,
    /// When Tink last had the oldest of its open accounts from the bank.
    pub data_as_of: Option<Timestamp>,
    /// Beginning of the last success.
    pub last_success_began: Option<Timestamp>,
    /// When it is due again after a success.
    pub next_due: Option<Timestamp>,
    /// Not to be tried before.
    pub not_before: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// How the last attempt ended.
    pub last_outcome: Option<String>,
    /// Why.
    pub last_reason: Option<String>,
    /// A sentence about it.
    pub last_error: Option<String>,
    /// Why it needs its user.
    pub needs_user: Option<String>,
    /// Who holds its lease.
    pub holder: Option<Holder>,
    /// The earliest end of its consents.
    pub consent_ends: Option<Timestamp>,
    /// The bank has ended one of them, whatever its date.
    pub consent_expired: bool,
}

impl KnownConnection {
    /// The state at the time `now`; first match wins, as in `connections_v1`.
    pub fn state(&self, now: Timestamp) -> State {
        if !self.enabled {
            State::Disabled
        } else if !self.is_entitled(now) {
            State::Paused
        } else if self.needs_user.is_some() {
            State::NeedsUser
        } else if self.last_outcome.as_deref() == Some("rate_limited") {
            State::RateLimited
        } else if self.failures > 0 {
            State::Failing
        } else if self.last_success_at.is_none() {
            State::New
        } else {
            State::Ok
        }
    }

    /// Why it is in that state.
    pub fn reason(&self, now: Timestamp) -> Option<&str> {
        match self.state(now) {
            State::Disabled => Some("disabled"),
            State::Paused => Some("not_entitled"),
            State::NeedsUser => self.needs_user.as_deref(),
            _ => self.last_reason.as_deref(),
        }
    }

    /// Whether it should have fresh data: runs work on it, and it does not wait for its user.
    pub fn is_served(&self, now: Timestamp) -> bool {
        self.is_active(now) && self.state(now) != State::NeedsUser
    }

    /// The age of Tink's own data, if Tink has said how old they are.
    pub fn data_age(&self, now: Timestamp) -> Option<SignedDuration> {
        self.data_as_of.map(|at| now.duration_since(at))
    }

    /// Whether the user's plan includes bank sync at the time `now`.
    pub fn is_entitled(&self, now: Timestamp) -> bool {
        self.entitled && self.entitled_until.is_none_or(|until| until > now)
    }

    /// Whether runs work on it at all.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.enabled && self.is_entitled(now)
    }

    /// When it is due; none if never, or at once.
    pub fn next_attempt(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_due.max(self.not_before).filter(|_| self.is_active(now))
    }

    /// Who holds it at the time `now`.
    pub fn held_by(&self, now: Timestamp) -> Option<&Holder> {
        self.holder.as_ref().filter(|holder| holder.until > now)
    }

    fn mirror(&mut self, row: SourceRow) {
        if self.tink_user != row.tink_user {
            // Another Tink user is another connection in all but name.
            (self.failures, self.not_before, self.needs_user) = (0, None, None);
        }
        row.connection_id.as_str().clone_into(&mut self.connection_id);
        row.user_id.as_str().clone_into(&mut self.user_id);
        self.tink_user = row.tink_user;
        self.enabled = row.enabled;
        self.entitled = row.entitled;
        self.entitled_until = row.entitled_until;
        self.problem = row.problem;
    }
}

/// Lays the rows of the source view over the known connections, as a run does at its beginning: new ones
/// appear, those the view no longer has are disabled, and one that comes twice has a problem.
pub fn overlay(known: Vec<KnownConnection>, source: Vec<SourceRow>) -> Vec<KnownConnection> {
    let mut all = known;
    let places: Vec<_> = all.iter().enumerate().map(|(place, c)| (c.connection_id.clone(), place)).collect();
    let mut places: HashMap<String, usize> = places.into_iter().collect();
    let mut seen = HashSet::new();
    for row in source {
        let id = row.connection_id.as_str().to_owned();
        let place = *places.entry(id.clone()).or_insert(all.len());
        if place == all.len() {
            all.push(KnownConnection { mode: "mint".to_owned(), ..KnownConnection::default() });
        }
        let Some(connection) = all.get_mut(place) else { continue };
        if seen.insert(id) {
            connection.mirror(row);
        } else {
            connection.problem = Some("the source view has this connection_id more than once".to_owned());
        }
    }
    for connection in all.iter_mut().filter(|c| !seen.contains(&c.connection_id)) {
        (connection.enabled, connection.entitled, connection.problem) = (false, false, None);
    }
    all.sort_by(|a, b| a.connection_id.cmp(&b.connection_id));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, user: &str) -> SourceRow {
        SourceRow {
            connection_id: id.into(),
            user_id: "u".into(),
            tink_user: Some(TinkUser::External(user.to_owned())),
            enabled: true,
            entitled: true,
            entitled_until: None,
            market: None,
            priority: 0,
            problem: None,
            seed: None,
            unsealed: false,
        }
    }

    fn known(id: &str, user: &str) -> KnownConnection {
        let mut known = KnownConnection { key: Some(1), failures: 3, ..KnownConnection::default() };
        known.mirror(row(id, user));
        known.failures = 3;
        known
    }

    #[test]
    fn the_view_adds_replaces_and_disables() {
        let all = overlay(
            vec![known("a", "x"), known("b", "x"), known("c", "x")],
            vec![row("a", "x"), row("b", "other"), row("d", "x"), row("d", "x")],
        );
        let seen: Vec<_> =
            all.iter().map(|c| (c.connection_id.as_str(), c.key.is_some(), c.enabled, c.failures)).collect();
        assert_eq!(
            seen,
            [("a", true, true, 3), ("b", true, true, 0), ("c", true, false, 3), ("d", false, true, 0)]
        );
        assert!(all[3].problem.is_some());
    }

    #[test]
    fn an_entitlement_ends_at_its_time() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let connection = KnownConnection { entitled_until: Some(now), failures: 0, ..known("a", "x") };
        assert_eq!(connection.state(now), State::Paused);
        assert_eq!(connection.state(now - jiff::SignedDuration::from_secs(1)), State::New);
    }
}

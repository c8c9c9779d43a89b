//! A connection as the store knows it. Pure: runs no statement and reads no clock.

use jiff::{SignedDuration, Timestamp};

use crate::domain::connection::{Nulls, TinkUser};
use crate::domain::outcome::Reason;
use crate::domain::population::{Fall, Numbers};

/// The state of a connection, named as in `connections_v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Never synced successfully, and nothing is wrong yet.
    New,
    /// Up to date.
    Ok,
    /// Failed in its last attempts.
    Failing,
    /// Tink asked to come back later.
    RateLimited,
    /// Only its user can restore it.
    NeedsUser,
    /// The user's plan does not include bank sync now.
    Paused,
    /// Switched off.
    Disabled,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::Ok,
        Self::Failing,
        Self::RateLimited,
        Self::NeedsUser,
        Self::Paused,
        Self::Disabled,
    ];

    /// The text in views and reports (DESIGN.md 9).
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

/// The run that works on a connection now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The run.
    pub run_id: String,
    /// The end of its lease, unless the run renews it.
    pub until: Timestamp,
    /// Whether a server found that the lease lasts, by its own clock.
    pub is_certain: bool,
}

/// A connection with everything that is kept about it.
#[expect(clippy::struct_excessive_bools, reason = "each is a column, or found out by one")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownConnection {
    /// Key in the store; `None` until a run has mirrored it.
    pub key: Option<i64>,
    /// Its id.
    pub connection_id: String,
    /// Its user.
    pub user_id: String,
    /// How Tink knows the user.
    pub tink_user: Option<TinkUser>,
    /// How tokens are obtained: `mint` or `refresh`.
    pub mode: String,
    /// The user has not disconnected.
    pub enabled: bool,
    /// The user's plan includes bank sync.
    pub entitled: bool,
    /// Until when it does.
    pub entitled_until: Option<Timestamp>,
    /// The problem with its row in the source view.
    pub problem: Option<String>,
    /// Set if its row in the view belongs to another user or Tink user: whether that row asks to be synced.
    pub refused: Option<bool>,
    /// The user of that row.
    pub refused_user: Option<String>,
    /// The name that its row gives the Tink user; it may be the same user.
    pub moved: Option<TinkUser>,
    /// Tink users other than the present one whose data it holds.
    pub former: Vec<TinkUser>,
    /// Whether anything is kept of its user.
    pub has_data: bool,
    /// Since when it has no row in the view.
    pub gone_at: Option<Timestamp>,
    /// Since when it is no longer both enabled and entitled.
    pub lapsed_at: Option<Timestamp>,
    /// Last attempt.
    pub last_attempt_at: Option<Timestamp>,
    /// End of the last success.
    pub last_success_at: Option<Timestamp>,
    /// When Tink last fetched the least recently refreshed of its open accounts from the bank.
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
    /// The run that holds its lease.
    pub holder: Option<Holder>,
    /// The earliest end of its consents.
    pub consent_ends: Option<Timestamp>,
    /// Whether the bank has ended one of them, regardless of its date.
    pub consent_expired: bool,
    /// Its row asks to be synced, but has an `entitled_until` that is no time; only known from the view itself.
    pub until_unreadable: bool,
    /// What is NULL in its row; only known from the view itself.
    pub nulls: Nulls,
    /// Why the next pass leaves it alone; `None` if it is due, or if the next pass was not rehearsed.
    pub skipped: Option<Reason>,
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
            State::Disabled if self.gone_at.is_some() => Some(Reason::Gone.as_str()),
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

    /// The age of Tink's own data, if Tink has sent a refresh time.
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

    /// When it is due; `None` if never, or at once.
    pub fn next_attempt(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_due.max(self.not_before).filter(|_| self.is_active(now))
    }

    /// The run that holds it at the time `now`.
    pub fn held_by(&self, now: Timestamp) -> Option<&Holder> {
        self.holder.as_ref().filter(|holder| holder.is_certain || holder.until > now)
    }
}

/// The connections as the next run will see them.
#[derive(Clone, Debug, Default)]
pub struct Overlaid {
    /// All of them, by id.
    pub connections: Vec<KnownConnection>,
    /// The numbers of connections in the view.
    pub numbers: Numbers,
    /// Set if far fewer are enabled or entitled than before, and nobody has confirmed that.
    pub fall: Option<Fall>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, user: &str) -> KnownConnection {
        KnownConnection {
            key: Some(1),
            connection_id: id.to_owned(),
            user_id: "u".to_owned(),
            tink_user: Some(TinkUser::External(user.to_owned())),
            enabled: true,
            entitled: true,
            failures: 3,
            ..KnownConnection::default()
        }
    }

    #[test]
    fn an_entitlement_ends_at_its_time() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let connection = KnownConnection { entitled_until: Some(now), failures: 0, ..known("a", "x") };
        assert_eq!(connection.state(now), State::Paused);
        assert_eq!(connection.state(now - jiff::SignedDuration::from_secs(1)), State::New);
    }
}

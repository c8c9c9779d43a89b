//! The table of exit codes, the only place that knows their numbers. Monitors and the unit file rely on it:
//! codes are added, never renumbered.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::domain::outcome::{Outcome, Reason};
use crate::failure::Failure;
use crate::file_limit;
use crate::store::StoreError;
use crate::store::source::SourceError;
use crate::sync::pass::{PassEnd, Stop};
use crate::tink::{self, ErrorKind};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// 0: all that was due is done, or nothing was due.
    Success,
    /// 1: a bug in the program.
    Internal,
    /// 2: wrong usage.
    Usage,
    /// 10: at least one connection could not be brought up to date, or far fewer are entitled than before.
    Incomplete,
    /// 11: all done, but at least one connection needs its user.
    NeedsUser,
    /// 69: Tink as a whole cannot be reached.
    TinkUnavailable,
    /// 74: a database is broken, or the output cannot be written.
    Database,
    /// 75: a database stayed busy or out of reach.
    DatabaseBusy,
    /// 77: Tink refuses this app.
    Refused,
    /// 78: the configuration is wrong, or this machine's clock.
    Configuration,
    /// 130: ended by SIGINT.
    Interrupted,
    /// 143: ended by SIGTERM or SIGHUP.
    Terminated,
}

impl Exit {
    /// Every exit, ordered by number.
    pub const ALL: [Self; 12] = [
        Self::Success,
        Self::Internal,
        Self::Usage,
        Self::Incomplete,
        Self::NeedsUser,
        Self::TinkUnavailable,
        Self::Database,
        Self::DatabaseBusy,
        Self::Refused,
        Self::Configuration,
        Self::Interrupted,
        Self::Terminated,
    ];

    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Incomplete => 10,
            Self::NeedsUser => 11,
            Self::TinkUnavailable => 69,
            Self::Database => 74,
            Self::DatabaseBusy => 75,
            Self::Refused => 77,
            Self::Configuration => 78,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The exit with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.code() == code)
    }

    /// Its meaning, in a sentence for an operator.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => {
                "every due connection is up to date, or nothing was due, or the sync is switched off"
            }
            Self::Internal => "internal error: a bug in tink-sync",
            Self::Usage => "wrong usage of the command line",
            Self::Incomplete => {
                "at least one connection ended partial, failed or rate limited, or work was left over, or far fewer connections are entitled than before"
            }
            Self::NeedsUser => "all done, but at least one connection needs its user",
            Self::TinkUnavailable => "Tink as a whole could not be reached; nothing is lost",
            Self::Database => {
                "the store or the application's database cannot be read or written, or the output cannot"
            }
            Self::DatabaseBusy => "the store or the application's database stayed busy or out of reach",
            Self::Refused => {
                "Tink refuses the client id or secret, or does not grant the app a scope it needs"
            }
            Self::Configuration => "the configuration is wrong, or this machine's clock",
            Self::Interrupted => "ended by SIGINT, after storing what was complete",
            Self::Terminated => "ended by SIGTERM, after storing what was complete",
        }
    }

    /// The same for a pass, which stores nothing in a rehearsal.
    pub const fn meaning_of_pass(self, dry_run: bool) -> &'static str {
        match self {
            Self::Interrupted if dry_run => "ended by SIGINT; a rehearsal stores nothing",
            Self::Terminated if dry_run => "ended by SIGTERM; a rehearsal stores nothing",
            _ => self.meaning(),
        }
    }

    /// Whether systemd counts it as success (`SuccessExitStatus=` of the units).
    pub const fn is_unit_success(self) -> bool {
        match self {
            Self::Success | Self::NeedsUser | Self::Interrupted | Self::Terminated => true,
            Self::Internal
            | Self::Usage
            | Self::Incomplete
            | Self::TinkUnavailable
            | Self::Database
            | Self::DatabaseBusy
            | Self::Refused
            | Self::Configuration => false,
        }
    }

    /// What `main` returns.
    pub fn process_exit_code(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.process_exit_code()
    }
}

impl From<&ConfigError> for Exit {
    fn from(error: &ConfigError) -> Self {
        match error {
            ConfigError::Missing { .. }
            | ConfigError::Unreadable { .. }
            | ConfigError::Syntax { .. }
            | ConfigError::Key { .. }
            | ConfigError::Variable { .. }
            | ConfigError::Several(_) => Self::Configuration,
        }
    }
}

impl Exit {
    /// Whether a pass with this exit was not stopped by a failure, a refusal of the client or a signal.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Success | Self::Incomplete | Self::NeedsUser)
    }

    /// The exit of a pass that met far fewer connections than before, without confirmation.
    pub fn of_a_fall(self) -> Self {
        match self {
            Self::Success | Self::NeedsUser => Self::Incomplete,
            worse => worse,
        }
    }

    /// The exit of a pass; `signal` is the exit for the signal that stopped it, if one did.
    pub fn of_pass(end: &PassEnd, signal: Self) -> Self {
        let any = |outcome| end.summary.outcome(outcome) > 0;
        match &end.stop {
            Stop::Interrupted => signal,
            Stop::Refused(_) => Self::Refused,
            Stop::Unprepared(_) | Stop::ClockOff(_) => Self::Configuration,
            Stop::Unreachable(_) => Self::TinkUnavailable,
            Stop::Postponed(_) => Self::Incomplete,
            Stop::Done | Stop::Deadline => {
                let failed = any(Outcome::Partial) || any(Outcome::Failed) || any(Outcome::RateLimited);
                let left = end.asked_but_skipped > 0 || end.summary.skipped(Reason::Deadline) > 0;
                match (failed || left, any(Outcome::NeedsUser)) {
                    (true, _) => Self::Incomplete,
                    (false, true) => Self::NeedsUser,
                    (false, false) => Self::Success,
                }
            }
        }
    }
}

impl From<&StoreError> for Exit {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Busy { .. } | StoreError::Unavailable { .. } | StoreError::CommitUnknown { .. } => {
                Self::DatabaseBusy
            }
            StoreError::Internal { .. } => Self::Internal,
            StoreError::Setting { .. } => Self::Configuration,
            StoreError::Unusable { .. }
            | StoreError::Newer { .. }
            | StoreError::Older { .. }
            | StoreError::Unfinished { .. }
            | StoreError::Missing { .. }
            | StoreError::LeaseLost(_)
            | StoreError::OtherOwner(_)
            | StoreError::TookOver
            | StoreError::Sql { .. } => Self::Database,
        }
    }
}

impl From<&tink::Error> for Exit {
    fn from(error: &tink::Error) -> Self {
        use ErrorKind::{
            BadRequest, Client4xx, ClientRefused, ClockOff, Config, Forbidden, GrantRefused, Intercepted,
            Malformed, Network, NotFound, OwnTokens, PageLoop, RateLimited, ScopeMissing, Server, Timeout,
            TokenEncrypted, TokenLost, TooLarge, Unauthorized, UserUnknown,
        };
        match error.kind {
            _ if error.is_tinks_refusal() => Self::Refused,
            Network | Timeout | Server | Malformed | TooLarge | Intercepted
            // A proxy may have refused in Tink's place.
            | ClientRefused | GrantRefused | ScopeMissing => Self::TinkUnavailable,
            Config | ClockOff => Self::Configuration,
            BadRequest | Client4xx | Forbidden | NotFound | OwnTokens | PageLoop | RateLimited
            | TokenLost | TokenEncrypted | Unauthorized | UserUnknown => Self::Incomplete,
        }
    }
}

impl From<&Failure> for Exit {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Config(error) => error.into(),
            Failure::Store(error) | Failure::Source(SourceError::Store(error)) => error.into(),
            Failure::Source(SourceError::View { .. }) => Self::Configuration,
            Failure::Source(SourceError::Missing { .. }) => Self::DatabaseBusy,
            Failure::Tink(error) => error.into(),
            Failure::Usage(_) => Self::Usage,
            Failure::Output(_) => Self::Database,
            Failure::Io(error) if file_limit::is_no_room(error) => Self::Database,
            Failure::Io(_) | Failure::Internal(_) => Self::Internal,
        }
    }
}

/// What an exit code of this program means; `None` for a number it never uses.
pub fn describe(code: u8) -> Option<&'static str> {
    Exit::from_code(code).map(Exit::meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_ordered_and_reads_back() {
        assert!(Exit::ALL.is_sorted_by(|a, b| a.code() < b.code()));
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(exit.code()), Some(exit));
            assert_eq!(describe(exit.code()), Some(exit.meaning()));
        }
        assert_eq!(describe(3), None);
    }

    #[test]
    fn the_unit_counts_the_same_codes_as_success() {
        let unit = include_str!("../systemd/tink-sync.service");
        let line = unit.lines().find_map(|line| line.strip_prefix("SuccessExitStatus=")).unwrap();
        let listed: Vec<u8> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let expected: Vec<u8> = Exit::ALL
            .into_iter()
            .filter(|exit| exit.is_unit_success())
            .map(Exit::code)
            .filter(|code| *code != 0)
            .collect();
        assert_eq!(listed, expected);
    }
}

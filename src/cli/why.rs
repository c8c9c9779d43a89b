//! `tink-sync why`: why one connection did or did not get data, and what the next run will do with it.
//! Reads only: the store, and the source view as it is now, since a run begins by mirroring it.

mod human;
mod lines;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::connections::{self, days_left};
use super::rules::Rules;
use super::schedule::Schedule;
use super::table::{self, rfc3339};
use super::timer::state::Timer;
use super::{Environment, Failure};
use crate::domain::outcome::Reason;
use crate::exit::Exit;
use crate::observe::report::Format;
use crate::store::reads::{AccountProof, Detail, KnownConnection, PastAttempt, Used};

/// Arguments of `why`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync why c-17                             in sentences, the answer first\n  tink-sync why c-17 --format json | jq .next_run"
)]
pub struct Args {
    /// The connection
    pub id: String,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Everything about one connection.
#[derive(Debug)]
struct Story {
    now: Timestamp,
    connection: KnownConnection,
    detail: Detail,
    used: Used,
    rules: Rules,
    schedule: Schedule,
    /// What its accounts' balances say.
    proofs: Vec<AccountProof>,
    /// Passes are switched off as a whole.
    switched_off: bool,
    /// Tink's data are told of when they are older.
    stale_after: Duration,
    /// The application's view; none stand-alone.
    view: Option<String>,
    /// Why the source view could not be read now.
    view_problem: Option<String>,
}

/// Explains one connection.
///
/// # Errors
/// [`Failure`] if there is no readable store, or the connection is unknown.
pub fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    let story = Story::read(env, &args.id, Timer::ask().ok())?;
    match args.format {
        Format::Human => table::print(&human::text(&story))?,
        Format::Json => table::print_json(&story.json())?,
    }
    Ok(Exit::Success)
}

impl Story {
    /// `timer` is what systemd says of it.
    fn read(env: &Environment, id: &str, timer: Option<Timer>) -> Result<Self, Failure> {
        // Nothing is laid over a store that is not there, or not of this release.
        let (reader, now) = (env.reader()?, env.clock.now());
        let (all, view_problem) = match connections::overlaid_on(env, &reader) {
            Ok(overlaid) => (overlaid.connections, None),
            Err(failure) => {
                (connections::foreseen_on(env, &reader, None)?.connections, Some(failure.to_string()))
            }
        };
        let connection =
            all.into_iter().find(|connection| connection.connection_id == id).ok_or_else(|| {
                let more =
                    view_problem.as_deref().map(|problem| format!(" (its source cannot be read: {problem})"));
                Failure::Usage(format!(
                    "unknown connection: {id}; `tink-sync connections list` shows all{}",
                    more.unwrap_or_default()
                ))
            })?;
        Ok(Self {
            now,
            detail: connection.key.map(|key| reader.detail(key)).transpose()?.unwrap_or_default(),
            used: reader.used(&connection.user_id, table::day_before(now))?,
            rules: Rules::of(&env.settings),
            schedule: Schedule::with(env, &reader, timer)?,
            proofs: reader.balance_proofs(&connection.connection_id)?,
            switched_off: !env.settings.enabled,
            stale_after: env.settings.sync.stale_after,
            view: env.settings.source.view.clone(),
            view_problem,
            connection,
        })
    }

    /// Why the next pass will leave the connection alone; none if it will sync it.
    fn why_not(&self) -> Option<Reason> {
        self.connection.skipped
    }

    /// When the pass begins that syncs it, if that is known.
    fn next_pass(&self) -> Option<Timestamp> {
        let active = self.connection.is_active(self.now);
        active.then(|| self.schedule.pass_for(self.connection.next_attempt(self.now), self.now)).flatten()
    }

    fn json(&self) -> Value {
        let reason = self.why_not();
        json!({
            "schema": 1,
            "connection": connections::json(&self.connection, self.now),
            "next_run": {
                "due": reason.is_none() && !self.switched_off,
                "switched_off": self.switched_off,
                "reason": reason.map(Reason::as_str),
                "explanation": human::next_run(self),
                "at": self.next_pass().map(rfc3339),
            },
            "lease": self.connection.held_by(self.now).map(|holder| json!({
                "run_id": holder.run_id, "until": rfc3339(holder.until),
            })),
            "quota": self.rules.quota_json(self.used.attempts),
            "consents": self.consents(),
            "accounts": self.accounts(),
            "attempts": attempts_json(&self.detail.attempts),
            "balances": self.proofs,
            "quarantined": self.detail.quarantined,
            "source_problem": self.view_problem,
        })
    }

    fn consents(&self) -> Value {
        let consents = self.detail.consents.iter().map(|consent| {
            json!({
                "credentials_id": consent.credentials_id,
                "provider": consent.provider,
                "status": consent.status,
                "status_updated_at": consent.status_updated_at.map(rfc3339),
                "expires_at": consent.expires_at.map(rfc3339),
                "days_left": consent.expires_at.map(|end| days_left(end, self.now)),
                "error_type": consent.error_type,
                "error_reason": consent.error_reason,
            })
        });
        consents.collect()
    }

    fn accounts(&self) -> Value {
        let accounts = self.detail.accounts.iter().map(|account| {
            json!({
                "account_id": account.account_id,
                "type": account.kind,
                "complete_through": account.complete_through,
                "last_refreshed_at": account.last_refreshed_at.map(rfc3339),
                "closed_at": account.closed_at.map(rfc3339),
            })
        });
        accounts.collect()
    }
}

/// Attempts for machines.
pub(super) fn attempts_json(attempts: &[PastAttempt]) -> Value {
    let attempts = attempts.iter().map(|attempt| {
        json!({
            "run_id": attempt.run_id,
            "trigger": attempt.trigger,
            "started_at": rfc3339(attempt.started_at),
            "outcome": attempt.outcome,
            "reason": attempt.reason,
            "error": attempt.error,
            "request_id": attempt.request_id,
            "duration_ms": attempt.duration_ms,
            "added": attempt.added,
            "updated": attempt.updated,
            "removed": attempt.removed,
        })
    });
    attempts.collect()
}

#[cfg(test)]
mod tests;

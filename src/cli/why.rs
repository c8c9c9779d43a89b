//! `tink-sync why`: why one connection did or did not get data, and what the next run will do with it. Reads
//! only: the store, and the current source view, since a run begins by mirroring it.

mod human;
pub(super) mod json;
mod lines;

use std::time::Duration;

use jiff::Timestamp;

use super::connections;
use super::rules::Rules;
use super::schedule::Schedule;
use super::shared_clock;
use super::table;
use super::timer::state::Timer;
use super::{Environment, Failure};
use crate::domain::outcome::Reason;
use crate::exit::Exit;
use crate::observe::report::Format;
use crate::store::reads::{AccountReconciliation, Detail, KnownConnection, Used};

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
struct WhyReport {
    now: Timestamp,
    connection: KnownConnection,
    detail: Detail,
    used: Used,
    rules: Rules,
    schedule: Schedule,
    /// The balance reconciliations of its accounts.
    balances: Vec<AccountReconciliation>,
    /// What switches passes off as a whole, if anything.
    switched_off: Option<&'static str>,
    /// Data at Tink older than this are reported.
    stale_after: Duration,
    /// The application's view; `None` if stand-alone.
    view: Option<String>,
    /// The error if the source view could not be read.
    view_problem: Option<String>,
}

/// # Errors
/// [`Failure`] if there is no readable store, or the connection is unknown.
pub(super) fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    let report = WhyReport::read(env, &args.id, Timer::ask().ok())?;
    match args.format {
        Format::Human => table::print(&human::text(&report))?,
        Format::Json => table::print_json(&json::WhyJson::of(&report))?,
    }
    Ok(Exit::Success)
}

impl WhyReport {
    /// `timer` is the timer's state as systemd reports it.
    fn read(env: &Environment, id: &str, timer: Option<Timer>) -> Result<Self, Failure> {
        // Fails if the store is missing or not of this release.
        let reader = env.reader()?;
        shared_clock::heed_reading(env, &reader)?;
        let now = env.clock.now();
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
                connections::unknown(&[id], &more.unwrap_or_default())
            })?;
        Ok(Self {
            now,
            detail: connection.key.map(|key| reader.detail(key)).transpose()?.unwrap_or_default(),
            used: reader.used(&connection.user_id, table::day_before(now))?,
            rules: Rules::of(&env.settings),
            schedule: Schedule::with(env, &reader, timer)?,
            balances: reader.balance_proofs(&connection.connection_id)?,
            switched_off: (!env.settings.enabled).then(|| env.switch().0),
            stale_after: env.settings.sync.stale_after,
            view: env.settings.source.view.clone(),
            view_problem,
            connection,
        })
    }

    /// Why the next pass will skip the connection; `None` if it will sync it.
    fn why_not(&self) -> Option<Reason> {
        self.connection.skipped
    }

    /// When the pass begins that syncs it, if known.
    fn next_pass(&self) -> Option<Timestamp> {
        let active = self.connection.is_active(self.now);
        active.then(|| self.schedule.pass_for(self.connection.next_attempt(self.now), self.now)).flatten()
    }
}

#[cfg(test)]
mod tests;

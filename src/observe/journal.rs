//! Events as log records with fixed fields and message ids (DESIGN.md 9). `MESSAGE` is a sentence a
//! person can act on; no field holds a secret, an IBAN, a name, an amount or a body.

use crate::domain::advice::Priority;
use crate::domain::event::{Event, Finished, Summary};
use crate::domain::outcome::{Outcome, Reason};
use crate::domain::population::Fall;
use crate::domain::warning::span;
use crate::exit::Exit;

use super::log::NOTICE;
use super::notify;

const STARTED: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a01";
const CONNECTION_DONE: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a02";
const CONNECTION_SKIPPED: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a03";
const ENDED: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a04";
const CONSENT: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a05";
const NEEDS_USER: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a06";
const QUARANTINED: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a07";
const UNREACHABLE: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a08";
const SWITCHED_OFF: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a09";
const BANK_TROUBLED: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a0b";
const BALANCE_DIFFERS: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a0d";
const DATA_STALE: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a0e";
const FELL: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a10";
const UNIT_FAILED: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a0a";
const HOOK_FAILED: &str = "9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a0c";

/// A record at a level chosen at run time; tracing requires a fixed one at each call site.
macro_rules! record {
    ($level:expr, $($fields:tt)+) => {
        match $level {
            Severity::Error => tracing::error!($($fields)+),
            Severity::Warning => tracing::warn!($($fields)+),
            Severity::Notice => tracing::info!(target: NOTICE, $($fields)+),
            Severity::Info => tracing::info!($($fields)+),
            Severity::Debug => tracing::debug!($($fields)+),
        }
    };
}

/// The journal's priorities in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

/// Logs that the emergency switch is off, with this text.
pub(crate) fn switched_off(text: &str) {
    notify::status(text);
    record!(Severity::Notice, message_id = SWITCHED_OFF, "{text}");
}

/// What systemd passes to the failure unit about the unit that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnitFailure {
    /// Name of the unit.
    pub unit: String,
    /// systemd's word for how it failed.
    pub result: Option<String>,
    /// Exit status or signal.
    pub exit_code: Option<String>,
    /// Which run of the unit it was.
    pub invocation_id: Option<String>,
}

/// Logs that a unit failed; `text` is the sentence for people.
pub(crate) fn unit_failed(failure: &UnitFailure, text: &str) {
    // The catalog's text for this record uses each of them.
    let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let (result, exit_code) = (told(&failure.result), told(&failure.exit_code));
    let invocation_id = told(&failure.invocation_id);
    tracing::error!(
        message_id = UNIT_FAILED,
        tink.unit = failure.unit.as_str(),
        tink.result = result,
        tink.exit_code = exit_code,
        tink.invocation_id = invocation_id,
        "{text}"
    );
}

/// Logs that a hook did not take an event, and what happens to the event next.
pub(crate) fn hook_failed(event: &str, id: &str, problem: &str, next: &str) {
    tracing::warn!(
        message_id = HOOK_FAILED,
        tink.event = event,
        tink.event_id = id,
        tink.problem = problem,
        "hook {event}: {problem} ({id}); {next}"
    );
}

/// Writes the record of an event of run `run_id`, if it has one.
pub(crate) fn write(run_id: &str, event: &Event) {
    match event {
        Event::Started { run_id, trigger, connections, due, dry_run, .. } => {
            let rehearsal = if *dry_run { " (dry run)" } else { "" };
            tracing::info!(
                message_id = STARTED,
                tink.run_id = run_id.as_str(),
                tink.trigger = trigger,
                tink.connections = connections,
                tink.due = due,
                "pass {run_id} started{rehearsal}: {due} of {connections} connections are due"
            );
        }
        Event::Finished(finished) => connection_done(run_id, finished),
        Event::Skipped { connection_id, user_id, reason, asked } => record!(
            if *asked { Severity::Warning } else { Severity::Debug },
            message_id = CONNECTION_SKIPPED,
            tink.run_id = run_id,
            tink.connection_id = connection_id.as_str(),
            tink.user_id = user_id.as_str(),
            tink.reason = reason.as_str(),
            "connection {connection_id} was not synced: {}",
            reason.sentence()
        ),
        Event::BankTroubled(trouble) => tracing::warn!(
            message_id = BANK_TROUBLED,
            tink.run_id = run_id,
            tink.provider = trouble.provider.as_str(),
            tink.reason = trouble.reason.as_str(),
            tink.connections = trouble.connections,
            "{} of {} connections of {} failed alike ({}): the bank has trouble, the next pass tries again",
            trouble.connections,
            trouble.of,
            trouble.provider,
            trouble.reason
        ),
        Event::ConsentEnds { .. } | Event::NeedsUser { .. } => of_user(event),
        Event::Quarantined { .. }
        | Event::Anomaly { .. }
        | Event::BalanceDiffers { .. }
        | Event::DataStale { .. } => of_data(event),
        Event::Waiting { error, patience } => tracing::warn!(
            "Tink as a whole does not answer, waiting for it for up to {} (sync.outage_patience): {error}",
            humantime::format_duration(*patience)
        ),
        Event::Resumed => tracing::info!(target: NOTICE, "Tink answers again, the pass goes on"),
        Event::Unreachable { error, reason } => tracing::error!(
            message_id = UNREACHABLE,
            tink.run_id = run_id,
            tink.reason = reason.as_str(),
            "Tink as a whole cannot be reached, pass given up, nothing is lost: {error}"
        ),
        Event::Refused(error) => tracing::error!(
            tink.run_id = run_id,
            "Tink refuses this client, pass given up: check client id, secret and the app's scopes (tink-sync check): {error}"
        ),
        Event::ClockOff(_) | Event::Suspended { .. } => of_clock(run_id, event),
        Event::Fell(fall) => fell(run_id, fall),
        Event::Ended { .. } => ended(event),
    }
}

/// Events about the machine's time. No message id: the messages contain everything.
fn of_clock(run_id: &str, event: &Event) {
    match event {
        Event::ClockOff(error) => tracing::error!(
            tink.run_id = run_id,
            "{error}; pass given up, since no date can be told: set the clock (timedatectl set-ntp true), then start it again"
        ),
        Event::Suspended { time } => tracing::warn!(
            tink.run_id = run_id,
            "this machine was suspended for {} s while the pass was on; connections that broke for it are tried again, \
             and no duration counts that time",
            time.as_secs()
        ),
        _ => {}
    }
}

/// Logs that far fewer connections are enabled or entitled than before.
fn fell(run_id: &str, fall: &Fall) {
    tracing::warn!(
        message_id = FELL,
        tink.run_id = run_id,
        tink.entitled = fall.now.entitled,
        tink.entitled_before = fall.before.entitled,
        tink.enabled = fall.now.enabled,
        tink.enabled_before = fall.before.enabled,
        "{}; correct the view, or, if that is right: tink-sync connections accept-change",
        fall.sentence()
    );
}

/// Events of one connection that need its user, now or soon.
fn of_user(event: &Event) {
    match event {
        Event::ConsentEnds { connection_id, user_id, credentials_id, provider, days_left } => {
            let bank = provider.as_deref().unwrap_or("the bank");
            let text = match days_left {
                ..0 => format!(
                    "the consent for {bank} of connection {connection_id} has expired: ask the user to renew it"
                ),
                _ => format!(
                    "the consent for {bank} of connection {connection_id} expires in {}: ask the user to renew it",
                    span(*days_left)
                ),
            };
            tracing::warn!(
                message_id = CONSENT,
                tink.connection_id = connection_id.as_str(),
                tink.user_id = user_id.as_str(),
                tink.credentials_id = credentials_id.as_str(),
                tink.provider = provider.as_deref(),
                tink.days_left = days_left,
                "{text}"
            );
        }
        Event::NeedsUser { connection_id, user_id, reason } => tracing::warn!(
            message_id = NEEDS_USER,
            tink.connection_id = connection_id.as_str(),
            tink.user_id = user_id.as_str(),
            tink.reason = reason.as_str(),
            "connection {connection_id} needs its user: {}",
            reason.sentence()
        ),
        _ => {}
    }
}

/// Events about the data of one connection.
fn of_data(event: &Event) {
    match event {
        Event::Quarantined { connection_id, reason, records } => tracing::warn!(
            message_id = QUARANTINED,
            tink.connection_id = connection_id.as_str(),
            tink.reason = reason.as_str(),
            "{records} record(s) of connection {connection_id} could not be read and are in quarantine: {reason}"
        ),
        // No message id: only the bank can do something about it.
        Event::Anomaly { connection_id, anomaly, times } => tracing::warn!(
            tink.connection_id = connection_id.as_str(),
            tink.reason = anomaly.as_str(),
            "connection {connection_id}: {}; reported once a month for each account",
            anomaly.sentence(*times)
        ),
        Event::BalanceDiffers { .. } | Event::DataStale { .. } => of_accounts(event),
        _ => {}
    }
}

/// Events about the accounts of one connection.
fn of_accounts(event: &Event) {
    match event {
        Event::BalanceDiffers { connection_id, user_id, accounts } => record!(
            Severity::Notice,
            message_id = BALANCE_DIFFERS,
            tink.connection_id = connection_id.as_str(),
            tink.user_id = user_id.as_str(),
            tink.accounts = accounts,
            "the balance of {accounts} account(s) of connection {connection_id} moved by something else than the \
             booked rows; tink-sync why {connection_id} says by how much"
        ),
        Event::DataStale { connection_id, user_id, accounts, since } => tracing::warn!(
            message_id = DATA_STALE,
            tink.connection_id = connection_id.as_str(),
            tink.user_id = user_id.as_str(),
            tink.accounts = accounts,
            tink.data_as_of = since.to_string(),
            "Tink has had nothing new for {accounts} account(s) of connection {connection_id} since {}, though the \
             consent is healthy: everything here is as old as that; tink-sync why {connection_id}",
            since.strftime("%Y-%m-%dT%H:%MZ")
        ),
        _ => {}
    }
}

fn connection_done(run_id: &str, finished: &Finished) {
    let severity = match finished.outcome.priority() {
        Priority::Error => Severity::Error,
        Priority::Warning => Severity::Warning,
        Priority::Info => Severity::Info,
    };
    let counts = &finished.counts;
    record!(
        severity,
        message_id = CONNECTION_DONE,
        tink.run_id = run_id,
        tink.connection_id = finished.connection_id.as_str(),
        tink.user_id = finished.user_id.as_str(),
        tink.outcome = finished.outcome.as_str(),
        tink.reason = finished.reason.map(Reason::as_str),
        tink.request_id = finished.request_id.as_deref(),
        tink.consecutive_failures = Some(finished.failures).filter(|failures| *failures > 0),
        tink.not_before = finished.not_before.map(|time| time.to_string()),
        tink.accounts = counts.accounts,
        tink.fetched = counts.fetched,
        tink.added = counts.added,
        tink.updated = counts.updated,
        tink.removed = counts.removed,
        tink.quarantined = counts.quarantined,
        tink.requests = counts.requests,
        tink.retries = counts.retries,
        tink.duration_ms = finished.duration_ms,
        "{}",
        sentence(finished)
    );
}

/// How a connection ended, as a sentence.
pub(crate) fn sentence(finished: &Finished) -> String {
    let id = &finished.connection_id;
    let why = finished.error.clone().or_else(|| finished.reason.map(|reason| reason.to_string()));
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    let (counts, again) = (&finished.counts, again(finished));
    match finished.outcome {
        Outcome::Synced => {
            format!(
                "connection {id} synced: {} new, {} changed, {} removed",
                counts.added, counts.updated, counts.removed
            )
        }
        Outcome::Unchanged => format!("connection {id} has nothing new"),
        Outcome::Partial => format!("connection {id} was read in part{again}{why}"),
        Outcome::Failed => format!("connection {id} failed{again}{why}"),
        Outcome::NeedsUser => format!("connection {id} needs its user{why}"),
        Outcome::RateLimited => format!("connection {id} was rate limited{again}{why}"),
        Outcome::Interrupted => format!("connection {id} was interrupted; the next pass goes on"),
        Outcome::Skipped => format!("connection {id} was not synced{why}"),
    }
}

/// Distinguishes a known failure from a new one, and states when the connection is tried again.
fn again(finished: &Finished) -> String {
    let known = (finished.failures > 1).then(|| format!("failure {} in a row", finished.failures));
    let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%MZ");
    let rests = finished.not_before.map(|at| format!("not tried again before {}", time(at)));
    let told: Vec<String> = [known, rests].into_iter().flatten().collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

fn ended(event: &Event) {
    let Event::Ended { run_id, trigger, dry_run, exit_code, summary, duration_ms, .. } = event else {
        return;
    };
    let exit = Exit::from_code(*exit_code).unwrap_or(Exit::Internal);
    let severity = match exit {
        Exit::Success | Exit::Interrupted | Exit::Terminated => Severity::Notice,
        Exit::NeedsUser | Exit::Incomplete => Severity::Warning,
        Exit::Internal
        | Exit::Usage
        | Exit::TinkUnavailable
        | Exit::Database
        | Exit::DatabaseBusy
        | Exit::Refused
        | Exit::Configuration => Severity::Error,
    };
    let counts = &summary.counts;
    record!(
        severity,
        message_id = ENDED,
        tink.run_id = run_id.as_str(),
        tink.trigger = trigger,
        tink.duration_ms = duration_ms,
        tink.exit_code = exit_code,
        tink.connections = summary.connections,
        tink.due = summary.due,
        tink.synced = summary.outcome(Outcome::Synced),
        tink.unchanged = summary.outcome(Outcome::Unchanged),
        tink.partial = summary.outcome(Outcome::Partial),
        tink.failed = summary.outcome(Outcome::Failed),
        tink.needs_user = summary.outcome(Outcome::NeedsUser),
        tink.rate_limited = summary.outcome(Outcome::RateLimited),
        tink.interrupted = summary.outcome(Outcome::Interrupted),
        tink.skipped_disabled = summary.skipped(Reason::Disabled),
        tink.skipped_not_entitled = summary.skipped(Reason::NotEntitled),
        tink.skipped_recent = summary.skipped(Reason::Recent),
        tink.skipped_quota = summary.skipped(Reason::Quota),
        tink.skipped_not_before = summary.skipped(Reason::NotBefore),
        tink.skipped_leased = summary.skipped(Reason::Leased),
        tink.skipped_deadline = summary.skipped(Reason::Deadline),
        tink.accounts = counts.accounts,
        tink.fetched = counts.fetched,
        tink.added = counts.added,
        tink.updated = counts.updated,
        tink.removed = counts.removed,
        tink.quarantined = counts.quarantined,
        tink.requests = counts.requests,
        tink.retries = counts.retries,
        "pass {run_id} finished with {exit_code} ({}): {}",
        exit.meaning_of_pass(*dry_run),
        totals(summary)
    );
}

/// The totals in one line.
pub(crate) fn totals(summary: &Summary) -> String {
    let mut parts = Vec::new();
    for outcome in Outcome::ALL {
        let number = summary.outcome(*outcome);
        if number > 0 {
            parts.push(format!("{number} {}", outcome.as_str().replace('_', " ")));
        }
    }
    let skipped: u64 = summary.skipped.values().sum();
    if skipped > 0 {
        parts.push(format!("{skipped} skipped"));
    }
    if parts.is_empty() {
        parts.push("no connections".to_owned());
    }
    let counts = &summary.counts;
    format!(
        "{}; {} new, {} changed, {} removed rows",
        parts.join(", "),
        counts.added,
        counts.updated,
        counts.removed
    )
}

#[cfg(test)]
mod tests;

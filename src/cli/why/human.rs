//! The report about one connection in plain sentences, the answer first. Must not read anything; the report is given.

use super::WhyReport;
use super::lines::{account, attempt, consent, moment};
use crate::cli::balance::sentence;
use crate::cli::remedy;
use crate::cli::table::{count, day_after, exact, wrap};
use crate::domain::connection::{Nulls, TinkUser};
use crate::domain::outcome::Reason;
use crate::store::reads::{KnownConnection, State};

pub(super) fn text(report: &WhyReport) -> String {
    let mut text = String::new();
    let paragraphs = [
        Some(identity(report)),
        Some(condition(report)),
        data(report),
        remedy(report),
        Some(next_run(report)),
        next_attempt(report),
        trouble(report),
        Some(entitlement(report)),
        Some(quota(report)),
        Some(backoff(report)),
        problem(report),
        lease(report),
        view_problem(report),
        quarantine(report),
    ];
    for paragraph in paragraphs.into_iter().flatten() {
        text.push_str(&wrap(&paragraph, 0));
    }
    section(&mut text, "Consents", report.detail.consents.iter().map(|c| consent(c, report.now)));
    section(&mut text, "Accounts", report.detail.accounts.iter().map(|a| account(a, report.now)));
    if !report.balances.is_empty() {
        let balances =
            report.balances.iter().map(|account| format!("{}: {}", account.account_id, sentence(account)));
        section(&mut text, "Balances", balances);
    }
    section(&mut text, "Last attempts (UTC)", report.detail.attempts.iter().map(|a| attempt(a, report.now)));
    text
}

fn section(text: &mut String, title: &str, lines: impl ExactSizeIterator<Item = String>) {
    if lines.len() == 0 {
        text.push_str(&wrap(&format!("{title}: none yet."), 0));
        return;
    }
    text.push_str(&wrap(&format!("{title}:"), 0));
    for line in lines {
        text.push_str(&wrap(&line, 2));
    }
}

fn identity(report: &WhyReport) -> String {
    let c = &report.connection;
    let tink = match &c.tink_user {
        Some(TinkUser::External(id)) => format!("Tink knows the user by the external user id {id}"),
        Some(TinkUser::Tink(id)) => format!("Tink's own id of the user is {id}"),
        None => "it names no Tink user".to_owned(),
    };
    format!("Connection {} of user {}; {tink}.", c.connection_id, c.user_id)
}

fn condition(report: &WhyReport) -> String {
    let (c, now) = (&report.connection, report.now);
    let state = c.state(now);
    let reason = c.reason(now).filter(|_| !matches!(state, State::Disabled | State::Paused | State::New));
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let success = match c.last_success_at {
        Some(at) => format!("last success {}", moment(at, now)),
        None => "it never succeeded".to_owned(),
    };
    let attempt = match c.last_attempt_at {
        Some(at) => format!("last attempt {}", moment(at, now)),
        None if c.key.is_none() => "no run has seen it yet".to_owned(),
        None => "it was never attempted".to_owned(),
    };
    format!("State: {}{reason}; {success}; {attempt}.", state.as_str())
}

/// The age of Tink's own data; the data here are as old, regardless of the passes.
fn data(report: &WhyReport) -> Option<String> {
    let (at, now) = (report.connection.data_as_of?, report.now);
    let old = report.connection.reason(now) == Some(Reason::DataStale.as_str());
    let limit = exact(report.stale_after);
    let old = if old { format!("; that is longer than sync.stale_after ({limit})") } else { String::new() };
    Some(format!("Tink's data: of its oldest account from the bank {}{old}.", moment(at, now)))
}

/// What the next run will do with the connection, and why.
pub(super) fn next_run(report: &WhyReport) -> String {
    let verdict = match report.why_not() {
        None => due(report),
        Some(reason) => skipped(report, reason),
    };
    match report.switched_off {
        Some(by) => {
            format!("Next run: nothing, passes are switched off ({by}). Once they are on: {verdict}")
        }
        None => format!("Next run: {verdict}"),
    }
}

/// When the next attempt starts; `None` if never, or if a run is at work on the connection.
fn next_attempt(report: &WhyReport) -> Option<String> {
    let (c, now) = (&report.connection, report.now);
    if report.switched_off.is_some() || !c.is_active(now) || c.held_by(now).is_some() {
        return None;
    }
    let due = c.next_attempt(now).filter(|due| *due > now);
    Some(match (report.next_pass(), due) {
        (Some(pass), _) => format!("Next attempt: with the pass of {}.", moment(pass, now)),
        (None, Some(due)) => format!("Next attempt: with the first pass after {}.", moment(due, now)),
        (None, None) => "Next attempt: with the next pass.".to_owned(),
    })
}

/// Why passes do not start or fail; [`next_run`] already reports that they are switched off.
fn trouble(report: &WhyReport) -> Option<String> {
    let troubles = report.schedule.problems(report.now);
    let trouble = troubles.into_iter().find(|_| report.switched_off.is_none())?;
    Some(format!("{} What to do: {}", trouble.text, trouble.remedy))
}

fn due(report: &WhyReport) -> String {
    let c = &report.connection;
    if c.moved.is_some() {
        "asks Tink whether the user that the source view names now is the one whose data are here, and syncs it if so.".to_owned()
    } else if c.problem.is_some() {
        "fails it at once (source_row).".to_owned()
    } else if c.needs_user.is_some() {
        "looks whether the user has renewed the consent; there is no new data until then.".to_owned()
    } else if c.failures > 0 {
        format!("tries it again, after {}.", count(c.failures as usize, "failure"))
    } else if c.last_success_at.is_none() {
        "syncs it for the first time.".to_owned()
    } else {
        "syncs it.".to_owned()
    }
}

fn skipped(report: &WhyReport, reason: Reason) -> String {
    let (c, now) = (&report.connection, report.now);
    let id = &c.connection_id;
    match reason {
        Reason::Disabled => match &report.view {
            Some(view) => {
                let stands = if c.nulls.enabled { "NULL, which counts as false," } else { "false" };
                format!("skips it (disabled): enabled is {stands} in the view {view}.")
            }
            None => format!("skips it (disabled); tink-sync connections enable {id} changes that."),
        },
        Reason::Gone => match &report.view {
            Some(view) => format!("skips it (gone): the view {view} no longer has it."),
            None => "skips it (gone): it was removed.".to_owned(),
        },
        Reason::NotEntitled => match &report.view {
            Some(view) => format!("skips it (not_entitled): {}.", not_entitled(c, view)),
            None => format!(
                "skips it (not_entitled); tink-sync users set {} --entitled yes changes that.",
                c.user_id
            ),
        },
        Reason::Leased if c.held_by(now).is_some() => {
            "leaves it to the run that has it now (leased).".to_owned()
        }
        Reason::Leased => "leaves it to the run that is at work and has just had it (leased).".to_owned(),
        Reason::NotBefore => format!(
            "skips it before {} (not_before); tink-sync run --connection {id} --force tries now.",
            c.not_before.map(|at| moment(at, now)).unwrap_or_default()
        ),
        Reason::Recent => {
            let due =
                c.last_success_began.map(|began| moment(report.rules.rested(began), now)).unwrap_or_default();
            let rest = exact(report.rules.min_interval);
            format!(
                "skips it (recent): its last success is less than sync.min_interval ({rest}) old; due from {due}. tink-sync run --connection {id} syncs now."
            )
        }
        Reason::Quota => format!(
            "skips it (quota) when the timer starts it: the user's syncs are used up; {}.",
            room(report)
        ),
        other => format!("skips it ({other})."),
    }
}

/// Why a connection of the application's does not count as entitled.
fn not_entitled(connection: &KnownConnection, view: &str) -> String {
    let null = match connection.nulls {
        Nulls { entitled: true, .. } => "entitled",
        Nulls { enabled: true, .. } => "enabled",
        _ if connection.gone_at.is_some() => {
            return format!("the view {view} no longer has it, so that nothing confirms its entitlement");
        }
        _ => return format!("the view {view} says so, or the entitlement is over"),
    };
    format!("{null} is NULL in the view {view}, which says nothing")
}

/// When the quota has room again.
fn room(report: &WhyReport) -> String {
    let free = report.used.oldest.map(|oldest| moment(day_after(oldest), report.now));
    free.map_or_else(
        || "quota.syncs_per_day leaves none".to_owned(),
        |at| format!("the oldest of them is forgotten at {at}"),
    )
}

fn entitlement(report: &WhyReport) -> String {
    let (c, now) = (&report.connection, report.now);
    let yes = |value: bool| if value { "yes" } else { "no" };
    let until = match c.entitled_until {
        Some(until) => format!(", until {}", moment(until, now)),
        None if c.until_unreadable => " (its entitled_until is no time)".to_owned(),
        None => String::new(),
    };
    let source = report
        .view
        .as_deref()
        .map_or_else(|| "the stand-alone store".to_owned(), |view| format!("the view {view}"));
    format!(
        "Enabled: {}. Entitled: {}{until}. Both come from {source}.",
        yes(c.enabled),
        yes(c.is_entitled(now))
    )
}

fn quota(report: &WhyReport) -> String {
    let (used, rules) = (report.used.attempts, &report.rules);
    format!(
        "Quota: {used} of {} syncs used in the last 24 hours, over all connections of the user; left: {} for automatic runs, {} for manual ones.",
        rules.syncs_per_day,
        rules.automatic().saturating_sub(used),
        rules.syncs_per_day.saturating_sub(used),
    )
}

fn backoff(report: &WhyReport) -> String {
    let (c, now) = (&report.connection, report.now);
    match (c.not_before.filter(|at| *at > now), c.failures) {
        (Some(at), failures) => format!(
            "Back-off: not before {}, after {}.",
            moment(at, now),
            count(failures as usize, "failure")
        ),
        (None, 0) => "Back-off: none.".to_owned(),
        (None, failures) => {
            format!("Back-off: none now, though it failed {} in a row.", count(failures as usize, "time"))
        }
    }
}

fn remedy(report: &WhyReport) -> Option<String> {
    Some(format!("What to do: {}.", remedy::of_connection(&report.connection, report.now)?))
}

fn problem(report: &WhyReport) -> Option<String> {
    report
        .connection
        .problem
        .as_deref()
        .map(|problem| format!("Its row in the source view is unusable: {problem}."))
}

fn lease(report: &WhyReport) -> Option<String> {
    let holder = report.connection.held_by(report.now)?;
    Some(format!(
        "Lease: run {} works on it now and has it until {}; it prolongs that while it lives.",
        holder.run_id,
        moment(holder.until, report.now)
    ))
}

fn view_problem(report: &WhyReport) -> Option<String> {
    let problem = report.view_problem.as_deref()?;
    Some(format!("All this is as of the last run, because the source view cannot be read now: {problem}"))
}

fn quarantine(report: &WhyReport) -> Option<String> {
    let number = report.detail.quarantined;
    (number > 0).then(|| {
        format!(
            "Quarantine: {} could not be read and wait there; the rest is stored.",
            count(number as usize, "record")
        )
    })
}

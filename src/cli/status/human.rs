//! The status for people: one line per connection with its problem below, then the last runs. Must not read
//! anything; the report is given.

use jiff::{SignedDuration, Timestamp};

use super::Report;
use crate::cli::balance::sentence;
use crate::cli::connections::{days_left, none_yet};
use crate::cli::remedy;
use crate::cli::table::{self, TableLine, Tone, age, minute, shorten, span};
use crate::domain::outcome::Reason;
use crate::exit;
use crate::store::reads::{KnownConnection, PastAttempt, RunRow, State};

/// More healthy connections than this are only counted.
pub(super) const MANY: usize = 40;

/// Two lines for a problem; `why` shows the rest.
const LONGEST_NOTE: usize = 2 * (table::WIDTH - 4);

/// The whole text: problems of the installation, then the connections, then the runs.
pub(super) fn text(report: &Report, all: bool, color: bool) -> String {
    let troubles = report.schedule.problems(report.now);
    let mut text: String = troubles.iter().map(|trouble| trouble.show(color)).collect();
    for sentence in report.late_sentences() {
        let sentence = table::wrap(&sentence, 0);
        text.push_str(&table::paint(sentence.trim_end(), Tone::Bad, color));
        text.push('\n');
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&connections(report, all, color));
    if let Some(words) = report.schedule.words(report.now) {
        text.push_str(&table::wrap(&format!("Next pass: {words}."), 0));
    }
    text.push('\n');
    text.push_str(&runs(&report.runs, color));
    text
}

fn connections(report: &Report, all: bool, color: bool) -> String {
    if report.numbers.all() == 0 {
        return none_yet(report.view.as_deref());
    }
    let (attention, rest): (Vec<_>, Vec<_>) =
        report.connections.iter().partition(|c| report.needs_attention(c));
    let is_many = rest.len() > MANY || report.connections.len() < report.numbers.all();
    // Without --all the first `MANY` of those that need attention are listed.
    let (first, rest_shown) =
        (if all { attention.len() } else { MANY }, if is_many && !all { 0 } else { rest.len() });
    let shown: Vec<_> = attention.iter().take(first).chain(rest.iter().take(rest_shown)).copied().collect();
    let lines: Vec<TableLine> = shown.iter().map(|c| line(report, c)).collect();
    let mut text = String::new();
    if !lines.is_empty() {
        text.push_str(&table::table(
            &["CONNECTION", "STATE", "AGE", "DATA", "CONSENT", "NEXT"],
            &lines,
            color,
        ));
        text.push('\n');
    }
    let sums = if shown.len() == report.numbers.all() {
        counts_by_state(report, &[])
    } else {
        let and = if lines.is_empty() { "" } else { "and " };
        format!("{and}{} (--all lists them)", counts_by_state(report, &shown))
    };
    text.push_str(&table::wrap(&sums, 0));
    text
}

/// `38 ok, 2 paused_not_entitled`: all connections except the listed ones.
fn counts_by_state(report: &Report, listed: &[&KnownConnection]) -> String {
    let listed = |state: State| listed.iter().filter(|c| c.state(report.now) == state).count();
    let counts = State::ALL.map(|state| (report.numbers.number(state).saturating_sub(listed(state)), state));
    let words = counts.iter().filter(|(number, _)| *number > 0);
    let words: Vec<String> = words.map(|(number, state)| format!("{number} {}", state.as_str())).collect();
    let all = counts.iter().map(|(number, _)| number).sum();
    format!("{}: {}", table::count(all, "connection"), words.join(", "))
}

fn line(report: &Report, connection: &KnownConnection) -> TableLine {
    let (now, state) = (report.now, connection.state(report.now));
    TableLine {
        cells: vec![
            connection.connection_id.clone(),
            state.as_str().to_owned(),
            age(connection.last_success_at, now),
            connection.data_age(now).map_or_else(|| "-".to_owned(), span),
            consent(connection, now),
            next(report, connection),
        ],
        notes: notes(report, connection, state),
        tone: match state {
            State::Failing => Tone::Bad,
            State::NeedsUser | State::RateLimited => Tone::Warning,
            State::Paused | State::Disabled => Tone::Faint,
            State::New | State::Ok if report.needs_attention(connection) => Tone::Warning,
            State::New => Tone::Plain,
            State::Ok => Tone::Good,
        },
    }
}

/// The days left of its consents, or `expired` if one of them has ended, by its date or before it.
fn consent(connection: &KnownConnection, now: Timestamp) -> String {
    match connection.consent_ends {
        _ if connection.consent_expired => "expired".to_owned(),
        Some(end) if end <= now => "expired".to_owned(),
        Some(end) => format!("{}d", days_left(end, now)),
        None => "-".to_owned(),
    }
}

/// The notes below a connection.
fn notes(report: &Report, connection: &KnownConnection, state: State) -> Vec<String> {
    let now = report.now;
    let used = report.used(connection);
    let quota = (connection.is_active(now) && used >= report.rules.automatic()).then(|| {
        format!(
            "{} of its user in 24 hours: passes wait until the quota has room",
            table::count(used as usize, "sync")
        )
    });
    let attempts = report.attempts.get(&connection.connection_id).map(|attempts| last(attempts, now));
    let notes = [
        problem(connection, state, now),
        stale(connection, now),
        remedy::of_connection(connection, now),
        quota,
        attempts,
    ];
    let differing = report.differences.get(&connection.connection_id).into_iter().flatten();
    let balances =
        differing.map(|account| format!("balance of {}: {}", account.account_id, sentence(account)));
    notes.into_iter().flatten().chain(balances).collect()
}

/// Reports that the data of a connection that is well are stale at Tink.
fn stale(connection: &KnownConnection, now: Timestamp) -> Option<String> {
    let reason = connection.reason(now).filter(|reason| *reason == Reason::DataStale.as_str())?;
    Some(format!("{reason}: Tink last had its data from the bank {} ago", age(connection.data_as_of, now)))
}

/// The last outcomes, newest first: `last: failed 2h ago (network), synced 8h ago`.
fn last(attempts: &[PastAttempt], now: Timestamp) -> String {
    let told = attempts.iter().map(|attempt| {
        let outcome = attempt.outcome.as_deref().unwrap_or("at work");
        let reason = attempt.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("{outcome} {} ago{reason}", age(Some(attempt.started_at), now))
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { "never attempted".to_owned() } else { format!("last: {}", told.join(", ")) }
}

/// The next attempt: `now`, in `3h`, `due` if the time of the next pass is unknown, or `-` for never.
fn next(report: &Report, connection: &KnownConnection) -> String {
    let now = report.now;
    let due = connection.next_attempt(now);
    let at = report.schedule.pass_for(due, now).or(due.filter(|at| *at > now));
    match at {
        _ if !connection.is_active(now) => "-".to_owned(),
        _ if connection.held_by(now).is_some() => "now".to_owned(),
        Some(at) => span(at.duration_since(now)),
        None => "due".to_owned(),
    }
}

/// The problem of a connection, in at most two lines.
fn problem(connection: &KnownConnection, state: State, now: Timestamp) -> Option<String> {
    let unwell = matches!(state, State::NeedsUser | State::Failing | State::RateLimited);
    // The rest of the problem is the remedy, which has a line of its own.
    let problem = connection
        .problem
        .as_deref()
        .map(|problem| if connection.is_active(now) { remedy::of_row(problem).0 } else { problem });
    let said = problem.or(connection.last_error.as_deref().filter(|_| unwell));
    let reason = connection.reason(now).filter(|_| unwell);
    // The reason why a connection needs its user stays valid when a later pass meets another problem.
    let later =
        connection.last_reason.as_deref().filter(|later| reason.is_some_and(|reason| reason != *later));
    let mut text = match (reason, said) {
        (Some(reason), Some(said)) => match later {
            Some(later) => format!("{reason}; since then {later}: {said}"),
            None => format!("{reason}: {said}"),
        },
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => return None,
    };
    if connection.failures > 1 {
        text = format!("{} times in a row, {text}", connection.failures);
    }
    Some(shorten(&text, LONGEST_NOTE))
}

fn runs(runs: &[RunRow], color: bool) -> String {
    if runs.is_empty() {
        return "No runs yet: `tink-sync run` makes the first.\n".to_owned();
    }
    let lines: Vec<TableLine> = runs.iter().map(run_line).collect();
    let header = ["LAST RUNS (UTC)", "TRIGGER", "TOOK", "EXIT", "DUE", "OK", "ADDED", "UPDATED", "REMOVED"];
    table::table(&header, &lines, color)
}

fn run_line(run: &RunRow) -> TableLine {
    let number = |name: &str| run.total(name).map_or_else(|| "-".to_owned(), |number| number.to_string());
    let done = run.total("synced").zip(run.total("unchanged")).map(|(synced, unchanged)| synced + unchanged);
    TableLine {
        cells: vec![
            run.started_at.parse().map_or_else(|_| run.started_at.clone(), minute),
            run.trigger.clone(),
            run.duration_ms.map_or_else(|| "-".to_owned(), |took| span(SignedDuration::from_millis(took))),
            run.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
            number("due"),
            done.map_or_else(|| "-".to_owned(), |done| done.to_string()),
            number("added"),
            number("updated"),
            number("removed"),
        ],
        notes: run_notes(run),
        tone: match run.exit_code {
            Some(code) if exit::Exit::from_code(code).is_some_and(exit::Exit::is_unit_success) => Tone::Plain,
            Some(_) => Tone::Bad,
            None => Tone::Warning,
        },
    }
}

pub(super) fn run_notes(run: &RunRow) -> Vec<String> {
    let ended = match (run.exit_code, &run.finished_at) {
        (Some(0), _) => return Vec::new(),
        (Some(code), _) => exit::describe(code).unwrap_or("an exit code of another release").to_owned(),
        (None, Some(_)) => "died before its end; the run after it took over".to_owned(),
        (None, None) if run.at_work => "at work".to_owned(),
        (None, None) => "died before its end; the next run takes over".to_owned(),
    };
    let unwell = ["failed", "partial", "needs_user", "rate_limited", "interrupted"];
    let counts = unwell
        .iter()
        .filter_map(|name| run.total(name).filter(|number| *number > 0).map(|n| format!("{n} {name}")));
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() { vec![ended] } else { vec![format!("{ended}: {}", counts.join(", "))] }
}

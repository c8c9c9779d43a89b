//! `tink-sync status`: how fresh every connection is, what needs attention first, and the last runs.
//! Reads only; with `--max-age` it is a monitor's check.

mod human;
pub(super) mod prometheus;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::connections::{self, days_left};
use super::schedule::Schedule;
use super::table::{self, age, rfc3339};
use super::timer::state::Timer;
use super::why::{self, Rules};
use super::{Environment, Failure};
use crate::exit::Exit;
use crate::store::sqlite::reads::{self, AccountProof, KnownConnection, PastAttempt, RunRow, State, Used};

/// So many runs are shown.
const RUNS: u32 = 5;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync status                    what needs attention, and the last runs\n  tink-sync status --connection c-17  this one, with its last outcomes\n  tink-sync status --max-age 26h      exits 10 if one is older: for a monitor\n  tink-sync status --format json | jq '.connections[] | select(.state != \"ok\")'\n\nExit status: 0, or with --max-age 10 if an entitled and enabled connection is older;\n74 or 75 if the store cannot be read, 78 if the configuration is wrong."
)]
pub struct Args {
    /// Exit 10 if the last success of an entitled, enabled connection is older than this (such as 26h)
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub max_age: Option<Duration>,
    /// Only these connections
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub connection: Vec<String>,
    /// List every connection, also when many are well
    #[arg(long)]
    pub all: bool,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON object.
    Json,
    /// Metrics in the text format of Prometheus.
    Prometheus,
}

/// What there is to tell.
#[derive(Debug)]
struct Report {
    now: Timestamp,
    /// What needs attention first.
    connections: Vec<KnownConnection>,
    runs: Vec<RunRow>,
    schedule: Schedule,
    rules: Rules,
    /// What is used of the quota, by user.
    used: HashMap<String, Used>,
    /// The last attempts of the connections that were asked for by name.
    attempts: HashMap<String, Vec<PastAttempt>>,
    /// Accounts whose balance differs, by connection.
    differences: HashMap<String, Vec<AccountProof>>,
    /// The application's view; none stand-alone.
    view: Option<String>,
    /// A consent that ends in so many days is worth a look.
    warn_days: i64,
    max_age: Option<Duration>,
    /// Ids of connections that are older than `max_age`.
    overdue: HashSet<String>,
}

/// Shows the state of every connection and the last runs.
///
/// # Errors
/// [`Failure`] if there is no readable store, or a connection is unknown.
pub fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    let report = Report::read(env, args, Timer::ask().ok())?;
    match args.format {
        Format::Human => table::print(&human::text(&report, args.all, env.color))?,
        Format::Json => table::print_json(&report.json())?,
        Format::Prometheus => table::print(&metrics(env, args, &report)?)?,
    }
    if report.overdue.is_empty() {
        return Ok(Exit::Success);
    }
    if args.format == Format::Prometheus {
        // The metrics name no connection, so this is said beside them.
        tracing::warn!("{}", report.overdue_sentence());
    }
    Ok(Exit::Incomplete)
}

fn metrics(env: &Environment, args: &Args, report: &Report) -> Result<String, Failure> {
    if !args.connection.is_empty() {
        let problem = "--connection does not go with --format prometheus: the metrics name no connection";
        return Err(Failure::Usage(problem.to_owned()));
    }
    metrics_of(env, &report.connections)
}

/// The metrics of the store as it is now.
pub(super) fn metrics_text(env: &Environment) -> Result<String, Failure> {
    metrics_of(env, &connections::known(env)?)
}

fn metrics_of(env: &Environment, connections: &[KnownConnection]) -> Result<String, Failure> {
    let path = env.store_path()?;
    let good = [Exit::Success.code(), Exit::NeedsUser.code()];
    Ok(prometheus::text(&prometheus::Snapshot {
        now: env.clock.now(),
        connections,
        consent_ends: &reads::consent_ends(&path)?,
        last_run: reads::last_finished_run(&path)?.as_ref(),
        last_good_end: reads::last_end(&path, good)?,
        balance_differences: reads::balance_differences(&path)?.len(),
    }))
}

impl Report {
    /// `timer` is what systemd says of it.
    fn read(env: &Environment, args: &Args, timer: Option<Timer>) -> Result<Self, Failure> {
        let (path, now) = (env.store_path()?, env.clock.now());
        let connections = chosen(connections::known(env)?, &args.connection)?;
        let is_overdue = |c: &&KnownConnection| args.max_age.is_some_and(|most| overdue(c, now, most));
        let mut report = Self {
            now,
            runs: reads::runs(&path, RUNS)?,
            schedule: Schedule::with(env, timer)?,
            rules: Rules::of(&env.settings),
            used: reads::used_by_user(&path, now - SignedDuration::from_hours(24))?,
            attempts: attempts(&path, &connections, &args.connection)?,
            differences: differences(&path)?,
            view: env.settings.source.view.clone(),
            warn_days: env.settings.consent.warn.iter().copied().max().unwrap_or_default(),
            max_age: args.max_age,
            overdue: connections.iter().filter(is_overdue).map(|c| c.connection_id.clone()).collect(),
            connections,
        };
        report.sort();
        Ok(report)
    }

    fn sort(&mut self) {
        let mut connections = std::mem::take(&mut self.connections);
        connections.sort_by_cached_key(|c| (self.rank(c), c.last_success_at, c.connection_id.clone()));
        self.connections = connections;
    }

    /// What needs attention comes first.
    fn rank(&self, connection: &KnownConnection) -> u8 {
        match connection.state(self.now) {
            State::NeedsUser => 0,
            State::Failing if connection.last_outcome.as_deref() == Some("partial") => 3,
            State::Failing => 1,
            State::RateLimited => 2,
            State::New | State::Ok if self.overdue.contains(&connection.connection_id) => 4,
            State::New | State::Ok if self.consent_ends_soon(connection) || self.differs(connection) => 5,
            State::New => 6,
            State::Ok => 7,
            State::Paused => 8,
            State::Disabled => 9,
        }
    }

    fn needs_attention(&self, connection: &KnownConnection) -> bool {
        self.rank(connection) <= 5 || connection.problem.is_some()
    }

    fn differs(&self, connection: &KnownConnection) -> bool {
        self.differences.contains_key(&connection.connection_id)
    }

    fn consent_ends_soon(&self, connection: &KnownConnection) -> bool {
        connection.consent_ends.is_some_and(|end| days_left(end, self.now) < self.warn_days)
    }

    /// Names the connections that are too old, the oldest first.
    fn overdue_sentence(&self) -> String {
        let mut late: Vec<_> =
            self.connections.iter().filter(|c| self.overdue.contains(&c.connection_id)).collect();
        late.sort_by_key(|c| {
            Reverse(c.last_success_at.map_or(SignedDuration::MAX, |at| self.now.duration_since(at)))
        });
        let named: Vec<String> = late
            .iter()
            .map(|c| format!("{} ({})", c.connection_id, age(c.last_success_at, self.now)))
            .collect();
        let limit = self.max_age.map(table::exact).unwrap_or_default();
        let number = table::count(late.len(), "connection");
        format!(
            "{number} without success in the last {limit}: {}",
            connections::naming(named.iter().map(String::as_str))
        )
    }

    fn used(&self, connection: &KnownConnection) -> u32 {
        self.used.get(&connection.user_id).map_or(0, |used| used.attempts)
    }

    fn connection_json(&self, connection: &KnownConnection) -> Value {
        let mut json = connections::json(connection, self.now);
        if let Some(fields) = json.as_object_mut() {
            fields.insert("quota".to_owned(), self.rules.quota_json(self.used(connection)));
            let differing = self.differences.get(&connection.connection_id);
            fields.insert("balance_differences".to_owned(), json!(differing.map_or(&[][..], Vec::as_slice)));
            let attempts = self.attempts.get(&connection.connection_id);
            fields.extend(attempts.map(|attempts| ("attempts".to_owned(), why::attempts_json(attempts))));
        }
        json
    }

    fn json(&self) -> Value {
        let connections: Vec<_> = self.connections.iter().map(|c| self.connection_json(c)).collect();
        let mut report = json!({
            "schema": 1,
            "at": rfc3339(self.now),
            "schedule": self.schedule.json(self.now),
            "connections": connections,
            "runs": self.runs,
        });
        if let (Some(most), Some(fields)) = (self.max_age, report.as_object_mut()) {
            let overdue =
                self.connections.iter().map(|c| &c.connection_id).filter(|id| self.overdue.contains(*id));
            fields.insert("max_age_seconds".to_owned(), json!(most.as_secs()));
            fields.insert("overdue".to_owned(), overdue.map(String::as_str).collect());
        }
        report
    }
}

/// The last attempts of the connections with these ids.
fn attempts(
    path: &Path,
    connections: &[KnownConnection],
    ids: &[String],
) -> Result<HashMap<String, Vec<PastAttempt>>, Failure> {
    let named = connections.iter().filter(|c| ids.contains(&c.connection_id));
    let keys = named.filter_map(|c| Some((c.connection_id.clone(), c.key?)));
    keys.map(|(id, key)| Ok((id, reads::detail(path, key)?.attempts))).collect()
}

/// The accounts whose balance differs, by connection.
fn differences(path: &Path) -> Result<HashMap<String, Vec<AccountProof>>, Failure> {
    let mut differences: HashMap<String, Vec<AccountProof>> = HashMap::new();
    for proof in reads::balance_differences(path)? {
        differences.entry(proof.connection_id.clone()).or_default().push(proof);
    }
    Ok(differences)
}

fn chosen(all: Vec<KnownConnection>, ids: &[String]) -> Result<Vec<KnownConnection>, Failure> {
    if ids.is_empty() {
        return Ok(all);
    }
    let known: HashSet<&str> = all.iter().map(|c| c.connection_id.as_str()).collect();
    let unknown: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !known.contains(id)).collect();
    if !unknown.is_empty() {
        let names = unknown.join(", ");
        return Err(Failure::Usage(format!(
            "unknown connection: {names}; `tink-sync connections list` shows all"
        )));
    }
    Ok(all.into_iter().filter(|c| ids.contains(&c.connection_id)).collect())
}

/// Whether a connection that should have fresh data has none.
fn overdue(connection: &KnownConnection, now: Timestamp, most: Duration) -> bool {
    let most = SignedDuration::try_from(most).unwrap_or(SignedDuration::MAX);
    let fresh = connection.last_success_at.is_some_and(|at| now.duration_since(at) <= most);
    connection.is_active(now) && !fresh
}

#[cfg(test)]
mod tests;

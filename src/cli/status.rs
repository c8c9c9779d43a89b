//! `tink-sync status`: how fresh every connection is, what needs attention first, and the last runs. Reads
//! only; with `--max-age` or `--max-data-age` it serves as a monitoring check.

mod human;
mod json;
mod late;
pub(super) mod prometheus;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use late::{Late, Of, Whom};
use prometheus::ConnectionNumbers;

use super::connections::{self, days_left};
use super::rules::Rules;
use super::schedule::Schedule;
use super::shared_clock;
use super::table;
use super::timer::state::Timer;
use super::{Environment, Failure};
use crate::domain::outcome::Reason;
use crate::exit::Exit;
use crate::store::Reader;
use crate::store::file::wal::{self, Log};
use crate::store::reads::{AccountReconciliation, KnownConnection, PastAttempt, RunRow, State, Used};

/// The number of runs shown.
const RUNS: u32 = 5;

/// Arguments of `status`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync status                    what needs attention, and the last runs\n  tink-sync status --connection c-17  this one, with its last outcomes\n  tink-sync status --max-age 26h      exits 10 if one is older: for a monitor\n  tink-sync status --max-data-age 4d  exits 10 if Tink's own data are older\n  tink-sync status --format json | jq '.connections[] | select(.state != \"ok\")'\n\nExit status: 0, or with --max-age and --max-data-age 10 if an entitled and enabled\nconnection is older that does not wait for its user (with --all: or does);\n74 or 75 if the store cannot be read, 78 if the configuration is wrong."
)]
pub struct Args {
    /// Exit 10 if the last success of an entitled, enabled connection is older than this (such as 26h)
    #[arg(long, value_name = "DURATION", value_parser = table::duration)]
    pub max_age: Option<Duration>,
    /// Exit 10 if Tink's own data of one are older than this (such as 4d)
    #[arg(long, value_name = "DURATION", value_parser = table::duration)]
    pub max_data_age: Option<Duration>,
    /// Only these connections
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub connection: Vec<String>,
    /// List every connection, also when many are well; the limits hold for those that wait for their user, too
    #[arg(long)]
    pub all: bool,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = StatusFormat::Human)]
    pub format: StatusFormat,
}

impl Brief {
    /// What needs attention comes first, then the longest without success.
    fn place(&self) -> (u8, Option<Timestamp>, &str) {
        (self.rank, self.last_success_at, &self.id)
    }
}

impl Args {
    /// Whether connections are read again while they are written, so that many need little memory. An operator's own
    /// tables are laid over the connections as a whole.
    fn keeps_no_more_than_the_order(&self, env: &Environment) -> bool {
        self.format == StatusFormat::Json && self.connection.is_empty() && env.settings.source.view.is_some()
    }

    /// Whether connections that are well are only counted if there are many.
    fn counts_the_well(&self) -> bool {
        !self.all && self.connection.is_empty() && self.format != StatusFormat::Json
    }
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum StatusFormat {
    /// For people.
    Human,
    /// One JSON object.
    Json,
    /// Metrics in the text format of Prometheus.
    Prometheus,
}

/// The contents of the report.
#[derive(Debug)]
struct Report {
    now: Timestamp,
    /// What needs attention first; without the connections that are well, if there are too many to list.
    connections: Vec<KnownConnection>,
    /// The same in the same order, and no others; as JSON, only these are kept of many, and read again one by one.
    order: Vec<Brief>,
    /// The numbers for the metrics, over all of them.
    numbers: ConnectionNumbers,
    runs: Vec<RunRow>,
    schedule: Schedule,
    rules: Rules,
    /// Used quota by user.
    used: HashMap<String, Used>,
    /// The last attempts of the connections named on the command line.
    attempts: HashMap<String, Vec<PastAttempt>>,
    /// Accounts whose balance differs, by connection.
    differences: HashMap<String, Vec<AccountReconciliation>>,
    /// The application's view; `None` if stand-alone.
    view: Option<String>,
    /// A consent that ends in fewer days than this is worth a look.
    warn_days: i64,
    /// Connections whose last success is too old, and those whose data at Tink are too old.
    late: [Late; 2],
}

/// What decides the place of a connection, and whether it is late.
#[derive(Clone, Debug)]
struct Brief {
    id: String,
    /// `None` if no run has seen it.
    key: Option<i64>,
    rank: u8,
    last_success_at: Option<Timestamp>,
    data_as_of: Option<Timestamp>,
}

/// # Errors
/// [`Failure`] if there is no readable store, or a connection is unknown.
pub(super) fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    // `wal::look` must run before this process opens the store.
    let log = (args.format == StatusFormat::Prometheus).then(|| env.place().file().map(wal::look)).flatten();
    let reader = env.reader()?;
    shared_clock::heed_reading(env, &reader)?;
    let report = Report::read(env, &reader, args, Timer::ask().ok())?;
    match args.format {
        StatusFormat::Human => table::print(&human::text(&report, args.all, env.color))?,
        StatusFormat::Json => json::print(&report, &reader)?,
        StatusFormat::Prometheus => {
            table::print(&metrics(env, &reader, log, args, &report)?)?;
        }
    }
    let late = report.late_sentences();
    if args.format == StatusFormat::Prometheus {
        // The metrics name no connection, so the late ones are logged.
        for sentence in &late {
            tracing::warn!("{sentence}");
        }
    }
    Ok(if late.is_empty() { Exit::Success } else { Exit::Incomplete })
}

fn metrics(
    env: &Environment,
    reader: &Reader,
    log: Option<Log>,
    args: &Args,
    report: &Report,
) -> Result<String, Failure> {
    if !args.connection.is_empty() {
        let problem = "--connection does not go with --format prometheus: the metrics name no connection";
        return Err(Failure::Usage(problem.to_owned()));
    }
    metrics_of(env, reader, log, &report.numbers)
}

/// The metrics of the store as it is now.
pub(super) fn metrics_text(env: &Environment) -> Result<String, Failure> {
    // `wal::look` must run before this process opens the store.
    let log = env.place().file().map(wal::look);
    let reader = env.reader()?;
    let mut numbers = ConnectionNumbers::at(env.clock.now());
    connections::each_known(env, &reader, |connection| numbers.add(&connection))?;
    metrics_of(env, &reader, log, &numbers)
}

fn metrics_of(
    env: &Environment,
    reader: &Reader,
    log: Option<Log>,
    connections: &ConnectionNumbers,
) -> Result<String, Failure> {
    Ok(prometheus::text(&prometheus::MetricsInput {
        now: env.clock.now(),
        connections,
        consent_ends: &reader.consent_ends(env.clock.now())?,
        last_pass: reader.last_finished_pass()?.as_ref(),
        last_good_end: reader.last_good_end()?,
        balance_differences: reader.balance_differences()?.len(),
        view: reader.last_view()?,
        log,
    }))
}

impl Report {
    /// `timer` is the timer's state as systemd reports it.
    fn read(env: &Environment, reader: &Reader, args: &Args, timer: Option<Timer>) -> Result<Self, Failure> {
        let now = env.clock.now();
        let fallen = reader.last_view()?.is_some_and(|last| last.fallen.is_some());
        let whom = Whom { all: args.all, lapsed: fallen };
        let mut report = Self {
            now,
            connections: Vec::new(),
            order: Vec::new(),
            numbers: ConnectionNumbers::at(now),
            runs: reader.runs(RUNS)?,
            schedule: Schedule::with(env, reader, timer)?,
            rules: Rules::of(&env.settings),
            used: reader.used_by_user(table::day_before(now))?,
            attempts: HashMap::new(),
            differences: differences(reader)?,
            view: env.settings.source.view.clone(),
            warn_days: env.settings.consent.warn.iter().copied().max().unwrap_or_default(),
            late: [Late::new(Of::Success, args.max_age), Late::new(Of::Data, args.max_data_age)],
        };
        let mut well = Some(Vec::new()).filter(|_| args.counts_the_well());
        let is_brief = args.keeps_no_more_than_the_order(env);
        connections::each_known(env, reader, |connection| match report.look(&connection, args, whom) {
            None => {}
            Some(brief) if is_brief => report.order.push(brief),
            Some(_) => report.add(connection, &mut well),
        })?;
        report.connections.extend(well.filter(|well| well.len() <= human::MANY).into_iter().flatten());
        report.all_are_known(&args.connection)?;
        report.attempts = attempts(reader, &report.connections, &args.connection)?;
        report.sort();
        Ok(report)
    }

    /// Counts a connection that is meant, and returns its place.
    fn look(&mut self, connection: &KnownConnection, args: &Args, whom: Whom) -> Option<Brief> {
        if !args.connection.is_empty() && !args.connection.contains(&connection.connection_id) {
            return None;
        }
        self.numbers.add(connection);
        self.late.iter_mut().for_each(|late| late.look(connection, whom, self.now));
        Some(self.brief(connection))
    }

    fn brief(&self, connection: &KnownConnection) -> Brief {
        Brief {
            id: connection.connection_id.clone(),
            key: connection.key,
            rank: self.rank(connection),
            last_success_at: connection.last_success_at,
            data_as_of: connection.data_as_of,
        }
    }

    /// Adds a connection; `well` collects those that are well, up to one more than may be listed.
    fn add(&mut self, connection: KnownConnection, well: &mut Option<Vec<KnownConnection>>) {
        match well {
            Some(well) if !self.needs_attention(&connection) && !self.is_late(&connection) => {
                // One more than the limit shows that there are too many.
                well.extend(Some(connection).filter(|_| well.len() <= human::MANY));
            }
            _ => self.connections.push(connection),
        }
    }

    fn all_are_known(&self, ids: &[String]) -> Result<(), Failure> {
        let known: HashSet<&str> = self.connections.iter().map(|c| c.connection_id.as_str()).collect();
        let unknown: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !known.contains(id)).collect();
        if unknown.is_empty() { Ok(()) } else { Err(connections::unknown(&unknown, "")) }
    }

    fn sort(&mut self) {
        let connections = std::mem::take(&mut self.connections).into_iter();
        let mut connections: Vec<(Brief, KnownConnection)> =
            connections.map(|connection| (self.brief(&connection), connection)).collect();
        connections.sort_by(|(one, _), (other, _)| one.place().cmp(&other.place()));
        let (order, connections): (Vec<Brief>, _) = connections.into_iter().unzip();
        self.connections = connections;
        self.order.extend(order);
        self.order.sort_by(|one, other| one.place().cmp(&other.place()));
    }

    /// The sort key: what needs attention comes first.
    fn rank(&self, connection: &KnownConnection) -> u8 {
        match connection.state(self.now) {
            State::NeedsUser => 0,
            State::Failing if connection.last_outcome.as_deref() == Some("partial") => 3,
            State::Failing => 1,
            State::RateLimited => 2,
            State::New | State::Ok if self.is_late(connection) => 4,
            State::New | State::Ok if self.is_worth_a_look(connection) => 5,
            State::New => 6,
            State::Ok => 7,
            State::Paused => 8,
            State::Disabled => 9,
        }
    }

    fn needs_attention(&self, connection: &KnownConnection) -> bool {
        self.rank(connection) <= 5 || connection.problem.is_some()
    }

    fn is_late(&self, connection: &KnownConnection) -> bool {
        self.late.iter().any(|late| late.ids.contains(&connection.connection_id))
    }

    /// Its consent ends soon, its balance is not explained, or its data are stale.
    fn is_worth_a_look(&self, connection: &KnownConnection) -> bool {
        let ends_soon = connection.consent_ends.is_some_and(|end| days_left(end, self.now) < self.warn_days);
        let differs = self.differences.contains_key(&connection.connection_id);
        ends_soon || differs || connection.reason(self.now) == Some(Reason::DataStale.as_str())
    }

    /// One sentence for each limit that connections exceed.
    fn late_sentences(&self) -> Vec<String> {
        self.late.iter().filter_map(|late| late.sentence(&self.order, self.now)).collect()
    }

    fn used(&self, connection: &KnownConnection) -> u32 {
        self.used.get(&connection.user_id).map_or(0, |used| used.attempts)
    }
}

/// The last attempts of the connections with these ids.
fn attempts(
    reader: &Reader,
    connections: &[KnownConnection],
    ids: &[String],
) -> Result<HashMap<String, Vec<PastAttempt>>, Failure> {
    let named = connections.iter().filter(|c| ids.contains(&c.connection_id));
    let keys = named.filter_map(|c| Some((c.connection_id.clone(), c.key?)));
    keys.map(|(id, key)| Ok((id, reader.detail(key)?.attempts))).collect()
}

fn differences(reader: &Reader) -> Result<HashMap<String, Vec<AccountReconciliation>>, Failure> {
    let mut differences: HashMap<String, Vec<AccountReconciliation>> = HashMap::new();
    for account in reader.balance_differences()? {
        differences.entry(account.connection_id.clone()).or_default().push(account);
    }
    Ok(differences)
}

#[cfg(test)]
mod tests;

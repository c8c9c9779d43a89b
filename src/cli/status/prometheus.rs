//! The metrics in the text format of Prometheus: the last finished pass and the connections. Must not name a
//! connection or a user in a label, and reads nothing itself.

use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use crate::store::file::wal::{Log, LogReader};
use crate::store::population::LastView;
use crate::store::reads::{KnownConnection, RunRow, State};

/// The input of the metrics.
#[derive(Clone, Debug)]
pub(crate) struct MetricsInput<'a> {
    pub now: Timestamp,
    pub connections: &'a ConnectionNumbers,
    pub consent_ends: &'a [Timestamp],
    /// The last pass that finished; a run on demand is none.
    pub last_pass: Option<&'a RunRow>,
    /// The end of the last pass that ended well.
    pub last_good_end: Option<Timestamp>,
    /// Accounts whose balance differs from what their rows explain.
    pub balance_differences: usize,
    /// The source view as of its last reading.
    pub view: Option<LastView>,
    /// The log beside the store; `None` for a server.
    pub log: Option<Log>,
}

/// Numbers of all connections, added one by one, so that the connections need not be kept in memory.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionNumbers {
    now: Timestamp,
    by_state: HashMap<State, usize>,
    all: usize,
    active: usize,
    oldest_success: Option<Timestamp>,
    oldest_data: Option<Timestamp>,
}

impl ConnectionNumbers {
    /// No connections yet; states and ages are those at `now`.
    pub(crate) fn at(now: Timestamp) -> Self {
        Self { now, by_state: HashMap::new(), all: 0, active: 0, oldest_success: None, oldest_data: None }
    }

    pub(crate) fn all(&self) -> usize {
        self.all
    }

    pub(crate) fn number(&self, state: State) -> usize {
        self.by_state.get(&state).copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, connection: &KnownConnection) {
        *self.by_state.entry(connection.state(self.now)).or_default() += 1;
        self.all += 1;
        self.active += usize::from(connection.is_active(self.now));
        if connection.is_served(self.now) {
            let older = |oldest: Option<Timestamp>, at: Option<Timestamp>| oldest.into_iter().chain(at).min();
            self.oldest_success = older(self.oldest_success, connection.last_success_at);
            self.oldest_data = older(self.oldest_data, connection.data_as_of);
        }
    }
}

pub(crate) fn text(snapshot: &MetricsInput<'_>) -> String {
    let mut text = MetricsText::default();
    last_pass(&mut text, snapshot);
    connections(&mut text, snapshot);
    consents(&mut text, snapshot);
    text.single(
        "balance_differences",
        "Accounts whose balance moved by something else than their booked rows.",
        Some(float(snapshot.balance_differences)),
    );
    if let Some(found) = &snapshot.log {
        log(&mut text, found);
    }
    text.family("build_info", "The program that wrote this.", [(version(), 1.0)]);
    text.0
}

fn last_pass(text: &mut MetricsText, snapshot: &MetricsInput<'_>) {
    text.single(
        "last_success_timestamp_seconds",
        "When the last pass ended that did all it could (exit code 0 or 11).",
        snapshot.last_good_end.map(seconds),
    );
    let Some(pass) = snapshot.last_pass else { return };
    let end = pass.finished_at.as_deref().and_then(|end| end.parse().ok());
    text.single("last_run_timestamp_seconds", "When the last pass ended.", end.map(seconds));
    let took = pass.duration_ms.map(|millis| SignedDuration::from_millis(millis).as_secs_f64());
    text.single("last_run_duration_seconds", "How long the last pass took.", took);
    text.single("last_run_exit_code", "Exit code of the last pass.", pass.exit_code.map(f64::from));
    let outcomes = ["synced", "unchanged", "partial", "failed", "needs_user", "rate_limited", "interrupted"];
    let outcomes = outcomes.map(|name| (label("outcome", name), pass.total(name)));
    text.known("connection_outcomes", "Connections of the last pass by how they ended.", outcomes);
    let changes = ["added", "updated", "removed"].map(|name| (label("change", name), pass.total(name)));
    text.known("transactions", "Transactions the last pass changed.", changes);
    for (name, help) in [
        ("requests", "Requests to Tink in the last pass."),
        ("request_errors", "Requests of the last pass that gave no usable answer."),
        ("token_failures", "Tokens the last pass could not get."),
        ("retries", "Requests of the last pass that were repetitions."),
        ("quarantined", "Records the last pass put into quarantine."),
    ] {
        text.known(name, help, [(String::new(), pass.total(name))]);
    }
}

fn connections(text: &mut MetricsText, snapshot: &MetricsInput<'_>) {
    let known = snapshot.connections;
    let states = State::ALL.map(|state| (label("state", state.as_str()), float(known.number(state))));
    text.family("connections", "Connections by state.", states);
    let age = |at: Timestamp| snapshot.now.duration_since(at).as_secs_f64().max(0.0);
    let entitled =
        snapshot.view.as_ref().map_or_else(|| float(known.active), |view| float_of(view.numbers.entitled));
    text.single(
        "connections_entitled",
        "Connections that the source view gave as enabled and entitled when it was read last.",
        Some(entitled),
    );
    let fallen = snapshot.view.as_ref().is_some_and(|view| view.fallen.is_some());
    text.single(
        "connections_change_unconfirmed",
        "1 while far fewer connections are enabled or entitled than in the week before, and nobody has confirmed that.",
        Some(if fallen { 1.0 } else { 0.0 }),
    );
    text.single(
        "oldest_success_age_seconds",
        "Age of the oldest last success of an enabled, entitled connection that does not wait for its user; one that never succeeded counts as new or failing instead.",
        known.oldest_success.map(age),
    );
    text.single(
        "oldest_data_age_seconds",
        "Age of the oldest data that Tink has of such a connection: since when its bank has given Tink nothing new.",
        known.oldest_data.map(age),
    );
}

fn consents(text: &mut MetricsText, snapshot: &MetricsInput<'_>) {
    let within = |days: i64| {
        let ends_in = |end: &&Timestamp| end.duration_since(snapshot.now);
        let soon = |left: SignedDuration| left.is_positive() && left <= SignedDuration::from_hours(24 * days);
        (
            label("within", &format!("{days}d")),
            float(snapshot.consent_ends.iter().filter(|end| soon(ends_in(end))).count()),
        )
    };
    text.family(
        "consents_expiring",
        "Consents that end within that time and have not ended yet.",
        [14, 7, 1].map(within),
    );
}

fn log(text: &mut MetricsText, log: &Log) {
    text.single(
        "store_log_bytes",
        "Size of the log beside the store; a pass empties it at its end unless somebody reads on and on.",
        Some(float_of(log.bytes)),
    );
    let reader = |reader: &LogReader| {
        let pid = reader.pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
        let name = reader.command.as_deref().unwrap_or("unknown");
        // A process can choose any name.
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_.+".contains(c) { c } else { '_' })
            .collect();
        (format!("{{pid=\"{pid}\",command=\"{name}\"}}"), 1.0)
    };
    text.family(
        "store_log_reader",
        "A process that is in the midst of reading the store; while it is, the log cannot be emptied.",
        log.readers.iter().map(reader),
    );
}

#[derive(Default)]
struct MetricsText(String);

impl MetricsText {
    fn family(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (String, f64)>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP tink_sync_{name} {help}\n# TYPE tink_sync_{name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "tink_sync_{name}{labels} {value}");
        }
    }

    fn single(&mut self, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.family(name, help, [(String::new(), value)]);
        }
    }

    /// Leaves out samples that the run did not record.
    fn known<const N: usize>(&mut self, name: &str, help: &str, samples: [(String, Option<i64>); N]) {
        let samples: Vec<_> =
            samples.into_iter().filter_map(|(labels, number)| Some((labels, exact(number?)))).collect();
        if !samples.is_empty() {
            self.family(name, help, samples);
        }
    }
}

fn label(name: &str, value: &str) -> String {
    format!("{{{name}=\"{value}\"}}")
}

fn version() -> String {
    label("version", env!("CARGO_PKG_VERSION"))
}

fn seconds(at: Timestamp) -> f64 {
    at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}

fn float_of(number: u64) -> f64 {
    exact(i64::try_from(number).unwrap_or(i64::MAX))
}

fn float(number: usize) -> f64 {
    exact(i64::try_from(number).unwrap_or(i64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats, and no count comes near 2^53")]
fn exact(number: i64) -> f64 {
    number as f64
}

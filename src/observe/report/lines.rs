//! The JSON lines of the report, and the totals as the store keeps them, as types (DESIGN.md 9).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::event::{Event, Finished, Summary};
use crate::domain::outcome::{Counts, Outcome, Reason};
use crate::observe::terminal;

/// The schema version of the lines.
const SCHEMA: u8 = 1;

/// The reasons by which skipped connections are counted.
const SKIPS: [Reason; 7] = [
    Reason::Disabled,
    Reason::NotEntitled,
    Reason::Recent,
    Reason::Quota,
    Reason::NotBefore,
    Reason::Leased,
    Reason::Deadline,
];

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ReportLine<'a> {
    Run {
        schema: u8,
        run_id: &'a str,
        dry_run: bool,
        trigger: &'a str,
        started_at: Timestamp,
        connections: u64,
        due: u64,
    },
    Connection {
        run_id: &'a str,
        connection_id: &'a str,
        outcome: &'a str,
        reason: Option<&'a str>,
        error: Option<&'a str>,
        started_at: Timestamp,
        duration_ms: u64,
        #[serde(flatten)]
        counts: Counts,
    },
    Summary {
        schema: u8,
        run_id: &'a str,
        dry_run: bool,
        trigger: &'a str,
        started_at: Timestamp,
        finished_at: Timestamp,
        duration_ms: u64,
        exit_code: u8,
        #[serde(flatten)]
        totals: ReportTotals,
    },
}

/// The totals of a run.
#[derive(Serialize)]
struct ReportTotals {
    connections: u64,
    due: u64,
    #[serde(flatten)]
    outcomes: BTreeMap<&'static str, u64>,
    skipped: BTreeMap<&'static str, u64>,
    #[serde(flatten)]
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_round_trips: Option<u64>,
}

/// The totals as the store keeps them: those of the report, two that only metrics use, the duration, and whether
/// the clocks were found to agree, which later passes rely on (`Reader::clocks_agreed`).
#[derive(Serialize)]
struct StoredTotals {
    #[serde(flatten)]
    totals: ReportTotals,
    request_errors: u64,
    token_failures: u64,
    duration_ms: u64,
    clocks_agree: bool,
}

/// The same for a run without totals.
#[derive(Serialize)]
struct NoTotals {
    duration_ms: u64,
}

impl ReportTotals {
    fn of(summary: &Summary) -> Self {
        let outcomes = Outcome::ALL.iter().filter(|outcome| **outcome != Outcome::Skipped);
        Self {
            connections: summary.connections,
            due: summary.due,
            outcomes: outcomes.map(|outcome| (outcome.as_str(), summary.outcome(*outcome))).collect(),
            skipped: SKIPS.into_iter().map(|reason| (reason.as_str(), summary.skipped(reason))).collect(),
            counts: summary.counts,
            store_round_trips: summary.round_trips,
        }
    }
}

/// The line of an event of run `run_id`, including its line break. Returns `None` if the event has none.
pub(super) fn line(run_id: &str, event: &Event) -> Option<String> {
    let line = match event {
        Event::Started { run_id, trigger, dry_run, at, connections, due, .. } => ReportLine::Run {
            schema: SCHEMA,
            run_id: run_id.as_str(),
            dry_run: *dry_run,
            trigger,
            started_at: *at,
            connections: *connections,
            due: *due,
        },
        Event::Finished(finished) => connection(run_id, finished),
        Event::Ended {
            run_id,
            trigger,
            dry_run,
            started_at,
            finished_at,
            duration_ms,
            exit_code,
            summary,
        } => ReportLine::Summary {
            schema: SCHEMA,
            run_id: run_id.as_str(),
            dry_run: *dry_run,
            trigger,
            started_at: *started_at,
            finished_at: *finished_at,
            duration_ms: *duration_ms,
            exit_code: *exit_code,
            totals: ReportTotals::of(summary),
        },
        _ => return None,
    };
    Some(terminal::json_line(&line))
}

fn connection<'a>(run_id: &'a str, finished: &'a Finished) -> ReportLine<'a> {
    ReportLine::Connection {
        run_id,
        connection_id: finished.connection_id.as_str(),
        outcome: finished.outcome.as_str(),
        reason: finished.reason.map(Reason::as_str),
        error: finished.error.as_deref(),
        started_at: finished.started_at,
        duration_ms: finished.duration_ms,
        counts: finished.counts,
    }
}

/// The totals as the store keeps them; `clocks_agree` if the run has compared this machine's clock with Tink's.
pub(crate) fn stored_totals(
    summary: &Summary,
    (request_errors, token_failures): (u64, u64),
    duration_ms: u64,
    clocks_agree: bool,
) -> String {
    let totals = ReportTotals::of(summary);
    let stored = StoredTotals { totals, request_errors, token_failures, duration_ms, clocks_agree };
    // Serializing numbers cannot fail.
    serde_json::to_string(&stored).unwrap_or_default()
}

/// What the store keeps of a run without totals.
pub(crate) fn no_totals(duration_ms: u64) -> String {
    // Serializing numbers cannot fail.
    serde_json::to_string(&NoTotals { duration_ms }).unwrap_or_default()
}

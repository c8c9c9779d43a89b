//! The status as one JSON object. Connections that are not kept are read again in parts while they are written, from
//! the same snapshot.

use std::cell::RefCell;
use std::collections::HashMap;

use serde::ser::{Error as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use super::late::Late;
use super::{Brief, Report};
use crate::cli::Failure;
use crate::cli::connections::ConnectionJson;
use crate::cli::rules::QuotaJson;
use crate::cli::schedule::ScheduleJson;
use crate::cli::table::{self, rfc3339};
use crate::cli::why::json::AttemptJson;
use crate::store::reads::{AccountReconciliation, KnownConnection, RunRow};
use crate::store::{Reader, StoreError};

/// The number of connections that are read at once.
const PART: usize = 500;

/// Prints the report.
///
/// # Errors
/// [`Failure::Output`], or [`Failure::Store`] if the store cannot be read.
pub(super) fn print(report: &Report, reader: &Reader) -> Result<(), Failure> {
    let connections = Connections { report, reader, failed: RefCell::default() };
    let printed = table::print_json(&report.json(&connections));
    match connections.failed.take() {
        Some(error) => Err(error.into()),
        None => printed,
    }
}

#[derive(Serialize)]
pub(super) struct StatusJson<'a> {
    schema: u8,
    at: String,
    schedule: ScheduleJson,
    connections: &'a Connections<'a>,
    runs: &'a [RunRow],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overdue: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_data_age_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_overdue: Option<Vec<&'a str>>,
}

#[derive(Serialize)]
struct KnownJson<'a> {
    #[serde(flatten)]
    connection: ConnectionJson<'a>,
    quota: QuotaJson,
    balance_differences: &'a [AccountReconciliation],
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<AttemptJson<'a>>>,
}

/// The connections in their order, read while they are written unless the report has them.
pub(super) struct Connections<'a> {
    report: &'a Report,
    reader: &'a Reader,
    /// Why they could not be read.
    failed: RefCell<Option<StoreError>>,
}

impl Serialize for Connections<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { report, .. } = self;
        if !report.connections.is_empty() {
            return serializer.collect_seq(report.connections.iter().map(|c| report.connection_json(c)));
        }
        let mut list = serializer.serialize_seq(None)?;
        for part in report.order.chunks(PART) {
            for connection in self.read(part).map_err(S::Error::custom)? {
                list.serialize_element(&report.connection_json(&connection))?;
            }
        }
        list.end()
    }
}

impl Connections<'_> {
    /// The connections of a part, in its order.
    fn read(&self, part: &[Brief]) -> Result<Vec<KnownConnection>, &'static str> {
        let keys: Vec<i64> = part.iter().filter_map(|brief| brief.key).collect();
        let read = self.reader.connections_of(&keys).map_err(|error| {
            self.failed.replace(Some(error));
            "the store cannot be read"
        })?;
        let mut known: HashMap<_, _> =
            read.into_iter().map(|connection| (connection.key, connection)).collect();
        Ok(part.iter().filter_map(|brief| known.remove(&brief.key)).collect())
    }
}

impl Report {
    fn connection_json<'a>(&'a self, connection: &'a KnownConnection) -> KnownJson<'a> {
        let id = &connection.connection_id;
        KnownJson {
            connection: ConnectionJson::of(connection, self.now),
            quota: self.rules.quota_json(self.used(connection)),
            balance_differences: self.differences.get(id).map_or(&[], Vec::as_slice),
            attempts: self.attempts.get(id).map(|all| all.iter().map(AttemptJson::of).collect()),
        }
    }

    fn json<'a>(&'a self, connections: &'a Connections<'a>) -> StatusJson<'a> {
        let ids = |late: &Late| -> Option<Vec<&str>> {
            late.limit?;
            let ids = self.order.iter().map(|brief| brief.id.as_str());
            Some(ids.filter(|id| late.ids.contains(*id)).collect())
        };
        let [success, data] = &self.late;
        StatusJson {
            schema: 1,
            at: rfc3339(self.now),
            schedule: self.schedule.json(self.now),
            connections,
            runs: &self.runs,
            max_age_seconds: success.limit.map(|most| most.as_secs()),
            overdue: ids(success),
            max_data_age_seconds: data.limit.map(|most| most.as_secs()),
            data_overdue: ids(data),
        }
    }
}

#[cfg(test)]
pub(super) fn value(report: &Report, reader: &Reader) -> serde_json::Value {
    table::json(&report.json(&Connections { report, reader, failed: RefCell::default() }))
}

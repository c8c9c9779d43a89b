//! The configuration file as it is written: every key optional, unknown keys refused. These shapes
//! never leave this folder and have no `Debug`, since anything may have been typed into them.

use serde::Deserialize;

use super::settings::Refresh;
use super::value::{Days, History, Size, Span, Written};

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub enabled: Option<bool>,
    pub tink: TinkTable,
    pub store: StoreTable,
    pub source: SourceTable,
    pub sync: SyncTable,
    pub quota: QuotaTable,
    pub retry: RetryTable,
    pub consent: ConsentTable,
    pub report: ReportTable,
    pub hooks: HooksTable,
}

/// `[tink]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TinkTable {
    pub client_id: Option<String>,
    pub client_secret_file: Option<String>,
    pub api_url: Option<String>,
    pub link_url: Option<String>,
    pub connect_timeout: Option<Written<Span>>,
    pub request_timeout: Option<Written<Span>>,
    pub max_response: Option<Written<Size>>,
    pub requests_per_second: Option<f64>,
    pub concurrency: Option<i64>,
    pub refresh: Option<Written<Refresh>>,
}

/// `[store]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StoreTable {
    pub url: Option<String>,
    pub token_key_file: Option<String>,
    pub pgpass_file: Option<String>,
}

/// `[source]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SourceTable {
    pub view: Option<String>,
    pub database: Option<String>,
}

/// `[sync]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SyncTable {
    pub min_interval: Option<Written<Span>>,
    pub history: Option<Written<History>>,
    pub overlap: Option<Written<Days>>,
    pub lookahead: Option<Written<Days>>,
    pub stale_after: Option<Written<Span>>,
    pub rewalk: Option<Written<Span>>,
    pub deep_rewalk: Option<Written<Span>>,
    pub connection_timeout: Option<Written<Span>>,
    pub deadline: Option<Written<Span>>,
    pub outage_patience: Option<Written<Span>>,
    pub keep_raw: Option<Written<Span>>,
    pub keep_removed: Option<Written<Days>>,
}

/// `[quota]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct QuotaTable {
    pub syncs_per_day: Option<i64>,
    pub reserved_for_manual: Option<i64>,
}

/// `[retry]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetryTable {
    pub attempts: Option<i64>,
    pub base: Option<Written<Span>>,
    pub max: Option<Written<Span>>,
}

/// `[consent]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConsentTable {
    pub warn: Option<Vec<Written<Days>>>,
}

/// `[report]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReportTable {
    pub metrics_file: Option<String>,
    pub history: Option<Written<Days>>,
    pub history_on_demand: Option<Written<Days>>,
}

/// `[hooks]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HooksTable {
    pub directory: Option<String>,
    pub spool: Option<String>,
}

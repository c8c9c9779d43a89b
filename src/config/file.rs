//! The configuration file as it is written: every key optional, unknown keys refused. These shapes
//! never leave this folder and have no `Debug`, since anything may have been typed into them.

use serde::Deserialize;

use super::settings::Refresh;
use super::value::{Days, History, Size, Span, WrittenWord};

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
    pub balance: BalanceTable,
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
    pub connect_timeout: Option<WrittenWord<Span>>,
    pub request_timeout: Option<WrittenWord<Span>>,
    pub max_response: Option<WrittenWord<Size>>,
    pub requests_per_second: Option<f64>,
    pub concurrency: Option<i64>,
    pub refresh: Option<WrittenWord<Refresh>>,
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
    pub min_interval: Option<WrittenWord<Span>>,
    pub history: Option<WrittenWord<History>>,
    pub overlap: Option<WrittenWord<Days>>,
    pub lookahead: Option<WrittenWord<Days>>,
    pub stale_after: Option<WrittenWord<Span>>,
    pub rewalk: Option<WrittenWord<Span>>,
    pub deep_rewalk: Option<WrittenWord<Span>>,
    pub connection_timeout: Option<WrittenWord<Span>>,
    pub deadline: Option<WrittenWord<Span>>,
    pub outage_patience: Option<WrittenWord<Span>>,
    pub keep_raw: Option<WrittenWord<Span>>,
    pub keep_removed: Option<WrittenWord<Days>>,
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
    pub base: Option<WrittenWord<Span>>,
    pub max: Option<WrittenWord<Span>>,
}

/// `[consent]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConsentTable {
    pub warn: Option<Vec<WrittenWord<Days>>>,
}

/// `[balance]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BalanceTable {
    pub min_days_open: Option<WrittenWord<Span>>,
}

/// `[report]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReportTable {
    pub metrics_file: Option<String>,
    pub history: Option<WrittenWord<Days>>,
    pub history_on_demand: Option<WrittenWord<Days>>,
}

/// `[hooks]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HooksTable {
    pub directory: Option<String>,
    pub spool: Option<String>,
}

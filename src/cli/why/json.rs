//! The JSON types of `tink-sync why`. Computes nothing.

use serde::Serialize;

use super::{WhyReport, human};
use crate::cli::connections::{ConnectionJson, days_left};
use crate::cli::rules::QuotaJson;
use crate::cli::table::rfc3339;
use crate::domain::outcome::Reason;
use crate::store::reads::{AccountReconciliation, PastAttempt};

#[derive(Serialize)]
pub(super) struct WhyJson<'a> {
    schema: u8,
    connection: ConnectionJson<'a>,
    next_run: NextRunJson,
    lease: Option<LeaseJson<'a>>,
    quota: QuotaJson,
    consents: Vec<ConsentJson<'a>>,
    accounts: Vec<AccountJson<'a>>,
    attempts: Vec<AttemptJson<'a>>,
    balances: &'a [AccountReconciliation],
    quarantined: u32,
    source_problem: Option<&'a str>,
}

#[derive(Serialize)]
struct NextRunJson {
    due: bool,
    switched_off: bool,
    reason: Option<&'static str>,
    explanation: String,
    at: Option<String>,
}

#[derive(Serialize)]
struct LeaseJson<'a> {
    run_id: &'a str,
    until: String,
}

#[derive(Serialize)]
struct ConsentJson<'a> {
    credentials_id: &'a str,
    provider: Option<&'a str>,
    status: &'a str,
    status_updated_at: Option<String>,
    expires_at: Option<String>,
    days_left: Option<i64>,
    error_type: Option<&'a str>,
    error_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct AccountJson<'a> {
    account_id: &'a str,
    r#type: &'a str,
    complete_through: Option<&'a str>,
    last_refreshed_at: Option<String>,
    closed_at: Option<String>,
}

#[derive(Serialize)]
pub(in crate::cli) struct AttemptJson<'a> {
    run_id: &'a str,
    trigger: &'a str,
    started_at: String,
    outcome: Option<&'a str>,
    reason: Option<&'a str>,
    error: Option<&'a str>,
    request_id: Option<&'a str>,
    duration_ms: Option<i64>,
    added: i64,
    updated: i64,
    removed: i64,
}

impl<'a> WhyJson<'a> {
    pub(super) fn of(report: &'a WhyReport) -> Self {
        let (now, reason) = (report.now, report.why_not());
        Self {
            schema: 1,
            connection: ConnectionJson::of(&report.connection, now),
            next_run: NextRunJson {
                due: reason.is_none() && report.switched_off.is_none(),
                switched_off: report.switched_off.is_some(),
                reason: reason.map(Reason::as_str),
                explanation: human::next_run(report),
                at: report.next_pass().map(rfc3339),
            },
            lease: report
                .connection
                .held_by(now)
                .map(|holder| LeaseJson { run_id: &holder.run_id, until: rfc3339(holder.until) }),
            quota: report.rules.quota_json(report.used.attempts),
            consents: report.consents(),
            accounts: report.accounts(),
            attempts: report.detail.attempts.iter().map(AttemptJson::of).collect(),
            balances: &report.balances,
            quarantined: report.detail.quarantined,
            source_problem: report.view_problem.as_deref(),
        }
    }
}

impl WhyReport {
    fn consents(&self) -> Vec<ConsentJson<'_>> {
        let consents = self.detail.consents.iter().map(|consent| ConsentJson {
            credentials_id: &consent.credentials_id,
            provider: consent.provider.as_deref(),
            status: &consent.status,
            status_updated_at: consent.status_updated_at.map(rfc3339),
            expires_at: consent.expires_at.map(rfc3339),
            days_left: consent.expires_at.map(|end| days_left(end, self.now)),
            error_type: consent.error_type.as_deref(),
            error_reason: consent.error_reason.as_deref(),
        });
        consents.collect()
    }

    fn accounts(&self) -> Vec<AccountJson<'_>> {
        let accounts = self.detail.accounts.iter().map(|account| AccountJson {
            account_id: &account.account_id,
            r#type: &account.kind,
            complete_through: account.complete_through.as_deref(),
            last_refreshed_at: account.last_refreshed_at.map(rfc3339),
            closed_at: account.closed_at.map(rfc3339),
        });
        accounts.collect()
    }
}

impl<'a> AttemptJson<'a> {
    pub(in crate::cli) fn of(attempt: &'a PastAttempt) -> Self {
        Self {
            run_id: &attempt.run_id,
            trigger: &attempt.trigger,
            started_at: rfc3339(attempt.started_at),
            outcome: attempt.outcome.as_deref(),
            reason: attempt.reason.as_deref(),
            error: attempt.error.as_deref(),
            request_id: attempt.request_id.as_deref(),
            duration_ms: attempt.duration_ms,
            added: attempt.added,
            updated: attempt.updated,
            removed: attempt.removed,
        }
    }
}

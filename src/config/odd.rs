//! Settings that are allowed but most likely not intended: each warning has the key and, after a semicolon,
//! the remedy. Refuses nothing, and shows no secret.

use std::time::Duration;

use humantime::format_duration;

use super::settings::Settings;

const DAY: u64 = 24 * 3600;

/// All warnings about the settings.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = settings.permission_problems();
    let more = [
        metrics_name(settings),
        nothing_for_passes(settings),
        no_consent_warning(settings),
        deep_rewalk(settings),
        request_longer(settings),
        connection_longer(settings),
        history_shorter(settings),
        raw_longer(settings),
    ];
    warnings.extend(more.into_iter().flatten());
    warnings
}

fn metrics_name(settings: &Settings) -> Option<String> {
    let path = settings.report.metrics_file.as_ref()?;
    path.extension().is_none_or(|end| end != "prom").then(|| {
        "report.metrics_file: node_exporter reads only files whose name ends in .prom; name it so".to_owned()
    })
}

fn nothing_for_passes(settings: &Settings) -> Option<String> {
    (settings.quota.reserved_for_manual == settings.quota.syncs_per_day).then(|| {
        "quota.reserved_for_manual: the whole quota is reserved, so that no pass will sync anyone; set it below quota.syncs_per_day"
            .to_owned()
    })
}

fn no_consent_warning(settings: &Settings) -> Option<String> {
    settings.consent.warn.is_empty().then(|| {
        "consent.warn: there will be no warning before a consent ends; list days, such as [\"14d\", \"3d\"]"
            .to_owned()
    })
}

fn deep_rewalk(settings: &Settings) -> Option<String> {
    let sync = &settings.sync;
    (sync.rewalk > sync.deep_rewalk).then(|| {
        format!(
            "sync.rewalk ({}) is longer than sync.deep_rewalk ({}), so that every look goes back 90 days; set it below",
            format_duration(sync.rewalk),
            format_duration(sync.deep_rewalk)
        )
    })
}

fn request_longer(settings: &Settings) -> Option<String> {
    let (request, connection) = (settings.tink.request_timeout, settings.sync.connection_timeout);
    (request > connection).then(|| {
        format!(
            "tink.request_timeout ({}) is longer than sync.connection_timeout ({}): one slow answer uses up all the time of a connection; set it below",
            format_duration(request),
            format_duration(connection)
        )
    })
}

fn connection_longer(settings: &Settings) -> Option<String> {
    let (connection, pass) = (settings.sync.connection_timeout, settings.sync.deadline);
    (connection > pass).then(|| {
        format!(
            "sync.connection_timeout ({}) is longer than sync.deadline ({}): one connection can use up a whole pass; set it below",
            format_duration(connection),
            format_duration(pass)
        )
    })
}

fn history_shorter(settings: &Settings) -> Option<String> {
    let (history, overlap) = (settings.sync.history_days?, settings.sync.overlap_days);
    (history < overlap).then(|| {
        format!(
            "sync.history ({history}d) is shorter than sync.overlap ({overlap}d), and every pass reads the overlap; set it to {overlap}d or more"
        )
    })
}

fn raw_longer(settings: &Settings) -> Option<String> {
    let (raw, history) = (settings.sync.keep_raw?, settings.report.history);
    (raw > history).then(|| {
        format!(
            "sync.keep_raw ({}) is longer than report.history ({}): the records of how the raw data came go first; set it to {} or less",
            days(raw),
            days(history),
            days(history)
        )
    })
}

fn days(duration: Duration) -> String {
    format!("{}d", duration.as_secs() / DAY)
}

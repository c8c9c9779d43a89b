//! Validates what was chosen into [`Settings`]: every bound of every key is here. Touches nothing outside
//! except files with secrets, and shows no value.

use std::path::Path;
use std::time::Duration;

use super::base_url::base_url;
use super::bounds::{
    Checked, OutOfBounds, ZERO, absolute, count, days, hours, minutes, optional_span, span, whole_days,
    within,
};
use super::credentials::Credentials;
use super::error::ConfigError;
use super::file::{
    BalanceTable, ConsentTable, File, HooksTable, QuotaTable, ReportTable, RetryTable, SourceTable,
    StoreTable, SyncTable, TinkTable,
};
use super::merge::{Merged, Secret};
use super::odd;
use super::place::Servers;
use super::secrets;
use super::settings::{
    BalanceSettings, ConsentSettings, HooksSettings, QuotaSettings, Refresh, ReportSettings, RetrySettings,
    Settings, SourceSettings, StoreSettings, SyncSettings, TinkSettings,
};
use super::value::{Days, Size, Span, WrittenWord};
use super::variables::{Env, PASSWORD_VARIABLE};
use crate::domain::window::REMOVAL_MARGIN_DAYS;
use crate::store::Place;

/// PostgreSQL truncates longer names.
const LONGEST_NAME: usize = 63;
const MOST_DAYS: i64 = 36_500;
/// Walks reach back this far: a tombstone that they may meet must be kept.
const LEAST_KEPT: i64 = crate::domain::window::DEEP_DAYS;

pub(super) fn settings(path: &Path, merged: Merged, env: &Env<'_>) -> Result<Settings, ConfigError> {
    let Merged { file, secret, credentials, warnings } = merged;
    let checked = all_tables(path, file, secret, credentials, env);
    let mut settings = checked.map_err(|OutOfBounds(key, problem)| ConfigError::key(path, key, problem))?;
    settings.warnings = warnings;
    settings.warnings.extend(open_password(&settings, env));
    let found = odd::warnings(&settings);
    settings.warnings.extend(found);
    Ok(settings)
}

/// The places of hooks in a file.
pub(super) fn hooks_of(path: &Path, file: File) -> Result<HooksSettings, ConfigError> {
    hooks(file.hooks).map_err(|OutOfBounds(key, problem)| ConfigError::key(path, key, problem))
}

/// Warns of a password that other processes of the same user can see.
fn open_password(settings: &Settings, env: &Env<'_>) -> Option<String> {
    let places = [Some(&settings.store.url), settings.source.database.as_ref()];
    let has_server = places.into_iter().flatten().any(|place| place.file().is_none());
    (has_server && env(PASSWORD_VARIABLE).is_some_and(|value| !value.is_empty())).then(|| {
        format!(
            "the password of PostgreSQL comes from {PASSWORD_VARIABLE}, where other programs can see it; put it into a \
             file and name that in store.pgpass_file, or store it as the systemd credential {}",
            secrets::PGPASS
        )
    })
}

fn all_tables(
    path: &Path,
    file: File,
    secret: Secret,
    credentials: Credentials,
    env: &Env<'_>,
) -> Checked<Settings> {
    let File { enabled, tink, store, source, sync, quota, retry, consent, balance, report, hooks } = file;
    let servers = servers(store.pgpass_file.as_deref(), &credentials, env)?;
    Ok(Settings {
        enabled: enabled.unwrap_or(true),
        tink: TinkSettings { config_file: path.to_owned(), ..self::tink(tink, secret)? },
        store: self::store(store, &credentials, &servers)?,
        source: self::source(source, &servers)?,
        sync: self::sync(sync)?,
        quota: self::quota(&quota)?,
        retry: self::retry(retry)?,
        consent: self::consent(consent)?,
        report: self::report(report)?,
        balance: self::balance(balance)?,
        hooks: self::hooks(hooks)?,
        file: path.to_owned(),
        credentials,
        warnings: Vec::new(),
    })
}

fn tink(table: TinkTable, secret: Secret) -> Checked<TinkSettings> {
    let default = TinkSettings::default();
    let timeouts = Span(Duration::from_millis(1))..=minutes(10);
    Ok(TinkSettings {
        client_id: table.client_id.map(client_id).transpose()?,
        client_secret: secret.value,
        client_secret_file: secret.file,
        client_secret_problem: secret.problem,
        api_url: address("tink.api_url", table.api_url, default.api_url)?,
        link_url: address("tink.link_url", table.link_url, default.link_url)?,
        connect_timeout: span(
            "tink.connect_timeout",
            table.connect_timeout,
            default.connect_timeout,
            timeouts.clone(),
        )?,
        request_timeout: span(
            "tink.request_timeout",
            table.request_timeout,
            default.request_timeout,
            timeouts,
        )?,
        max_response: {
            let size = table.max_response.map_or(Size(default.max_response), |written| written.0);
            within("tink.max_response", size, Size(1 << 10)..=Size(1 << 30))?.0
        },
        requests_per_second: pace(table.requests_per_second.unwrap_or(default.requests_per_second))?,
        concurrency: match table.concurrency {
            Some(number) => count("tink.concurrency", number, 1..=1024)?,
            None => default.concurrency,
        },
        refresh: refresh(table.refresh.map_or(default.refresh, |written| written.0))?,
        config_file: default.config_file,
    })
}

fn client_id(text: String) -> Checked<String> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(text);
    }
    let problem = "expected the client id as Tink Console shows it, without blanks (or TINK_CLIENT_ID)";
    Err(OutOfBounds("tink.client_id", problem.to_owned()))
}

fn address(key: &'static str, text: Option<String>, default: String) -> Checked<String> {
    let Some(text) = text else { return Ok(default) };
    base_url(&text).map_err(|problem| OutOfBounds(key, problem.to_owned()))
}

fn pace(rate: f64) -> Checked<f64> {
    if rate > 0.0 && rate <= 10_000.0 {
        return Ok(rate);
    }
    Err(OutOfBounds("tink.requests_per_second", "expected more than 0 and at most 10000".to_owned()))
}

fn refresh(refresh: Refresh) -> Checked<Refresh> {
    if let Refresh::Stale(age) = refresh {
        within("tink.refresh", Span(age), hours(1)..=days(90))?;
    }
    Ok(refresh)
}

/// What applies to every address of a server: the password file that is named, else the credential.
fn servers<'a>(named: Option<&str>, credentials: &Credentials, env: &'a Env<'a>) -> Checked<Servers<'a>> {
    let named = named.map(|name| absolute("store.pgpass_file", name)).transpose()?;
    let pgpass_text = if named.is_some() { None } else { credentials.text_of_root(secrets::PGPASS) };
    Ok(Servers { env, pgpass_file: named.or_else(|| credentials.path(secrets::PGPASS)), pgpass_text })
}

/// The place of a store that an option names as `store.url` would, with the passwords of these settings.
///
/// # Errors
/// The reason why it is refused.
pub fn store_place(settings: &Settings, text: &str, env: &Env<'_>) -> Result<Place, String> {
    let named = settings.store.pgpass_file.clone();
    // A file that only root can read was read by root, which passed its text on.
    let of_root = settings.credentials.path(secrets::PGPASS).filter(|path| named.as_ref() == Some(path));
    let pgpass_text = of_root.and_then(|_| settings.credentials.text_of_root(secrets::PGPASS));
    Servers { env, pgpass_file: named, pgpass_text }
        .store_url(text)
        .map_err(|OutOfBounds(_, problem)| problem)
}

fn store(table: StoreTable, credentials: &Credentials, servers: &Servers<'_>) -> Checked<StoreSettings> {
    let default = StoreSettings::default();
    let token_key = match &table.token_key_file {
        Some(name) => Some(secrets::read(Path::new(name)).map_err(|error| error.to_string())),
        None => credentials.one_line(secrets::TOKEN_KEY),
    };
    let token_key_file =
        table.token_key_file.map(|name| absolute("store.token_key_file", &name)).transpose()?;
    Ok(StoreSettings {
        url: table.url.map_or(Ok(default.url), |text| servers.store_url(&text))?,
        token_key_file: token_key_file.or_else(|| credentials.path(secrets::TOKEN_KEY)),
        token_key,
        pgpass_file: servers.pgpass_file.clone(),
    })
}

fn source(table: SourceTable, servers: &Servers<'_>) -> Checked<SourceSettings> {
    if table.database.is_some() && table.view.is_none() {
        let problem = "works only together with `source.view`; name the view there, or remove this key";
        return Err(OutOfBounds("source.database", problem.to_owned()));
    }
    if table.view.as_deref().is_some_and(|name| !is_sql_name(name)) {
        let problem = "expected a plain name such as `tink_sync_source_v1` or `schema.name`: letters, digits \
                       and underscores, not beginning with a digit";
        return Err(OutOfBounds("source.view", problem.to_owned()));
    }
    let database = table.database.map(|text| servers.source_database(&text)).transpose()?;
    Ok(SourceSettings { view: table.view, database })
}

/// Whether a name is safe in quotes in a statement: at most one schema, plain letters.
fn is_sql_name(text: &str) -> bool {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && part.len() <= LONGEST_NAME
    };
    text.split('.').count() <= 2 && text.split('.').all(plain)
}

fn sync(table: SyncTable) -> Checked<SyncSettings> {
    let default = SyncSettings::default();
    let some_time = |longest| Span(Duration::from_millis(1))..=longest;
    Ok(SyncSettings {
        min_interval: span("sync.min_interval", table.min_interval, default.min_interval, ZERO..=days(30))?,
        history_days: match table.history.map(|written| written.0.0) {
            Some(Some(history)) => Some(within("sync.history", history, Days(1)..=Days(MOST_DAYS))?.0),
            Some(None) | None => default.history_days,
        },
        overlap_days: {
            // rows closer to the lower bound are never removed, so a smaller window could not detect a
            // removal
            whole_days("sync.overlap", table.overlap, default.overlap_days, REMOVAL_MARGIN_DAYS..=365)?
        },
        lookahead_days: whole_days("sync.lookahead", table.lookahead, default.lookahead_days, 0..=3650)?,
        stale_after: span("sync.stale_after", table.stale_after, default.stale_after, hours(1)..=days(365))?,
        rewalk: span("sync.rewalk", table.rewalk, default.rewalk, ZERO..=days(365))?,
        deep_rewalk: span("sync.deep_rewalk", table.deep_rewalk, default.deep_rewalk, ZERO..=days(365))?,
        connection_timeout: {
            let range = some_time(hours(24));
            span("sync.connection_timeout", table.connection_timeout, default.connection_timeout, range)?
        },
        deadline: span("sync.deadline", table.deadline, default.deadline, some_time(days(7)))?,
        outage_patience: optional_span("sync.outage_patience", table.outage_patience, ZERO..=hours(24))?,
        keep_raw: optional_span("sync.keep_raw", table.keep_raw, ZERO..=days(MOST_DAYS.unsigned_abs()))?
            .filter(|kept| !kept.is_zero()),
        keep_removed: match table.keep_removed {
            Some(written) => {
                let kept = within("sync.keep_removed", written.0, Days(LEAST_KEPT)..=Days(MOST_DAYS))?;
                days(kept.0.unsigned_abs()).0
            }
            None => default.keep_removed,
        },
    })
}

fn quota(table: &QuotaTable) -> Checked<QuotaSettings> {
    let default = QuotaSettings::default();
    let all = table.syncs_per_day.unwrap_or(default.syncs_per_day.into());
    let reserved = table.reserved_for_manual.unwrap_or(default.reserved_for_manual.into());
    let syncs_per_day = count("quota.syncs_per_day", all, 1..=10_000)?;
    if reserved > all {
        let problem =
            "expected at most `quota.syncs_per_day` (20 are reserved unless this key says otherwise)";
        return Err(OutOfBounds("quota.reserved_for_manual", problem.to_owned()));
    }
    Ok(QuotaSettings {
        syncs_per_day,
        reserved_for_manual: count("quota.reserved_for_manual", reserved, 0..=10_000)?,
    })
}

fn retry(table: RetryTable) -> Checked<RetrySettings> {
    let default = RetrySettings::default();
    let attempts = match table.attempts {
        Some(number) => count("retry.attempts", number, 1..=20)?,
        None => default.attempts,
    };
    let base = span("retry.base", table.base, default.base, ZERO..=minutes(10))?;
    let max = span("retry.max", table.max, default.max, ZERO..=hours(1))?;
    if max < base {
        return Err(OutOfBounds("retry.max", "expected at least `retry.base`".to_owned()));
    }
    Ok(RetrySettings { attempts, base, max })
}

fn consent(table: ConsentTable) -> Checked<ConsentSettings> {
    let Some(steps) = table.warn else { return Ok(ConsentSettings::default()) };
    let checked = steps.into_iter().map(|step| within("consent.warn", step.0, Days(0)..=Days(365)));
    let mut warn = checked.map(|step| step.map(|days| days.0)).collect::<Checked<Vec<i64>>>()?;
    warn.sort_unstable_by(|a, b| b.cmp(a));
    warn.dedup();
    Ok(ConsentSettings { warn })
}

fn balance(table: BalanceTable) -> Checked<BalanceSettings> {
    let default = BalanceSettings::default();
    let min_open = span("balance.min_days_open", table.min_days_open, default.min_open, ZERO..=days(365))?;
    Ok(BalanceSettings { min_open })
}

fn report(table: ReportTable) -> Checked<ReportSettings> {
    let default = ReportSettings::default();
    // the daily quota is counted from the history, which must cover it
    let kept = |key, written: Option<WrittenWord<Days>>, default| match written {
        Some(written) => {
            let kept = within(key, written.0, Days(7)..=Days(MOST_DAYS))?;
            Ok(days(kept.0.unsigned_abs()).0)
        }
        None => Ok(default),
    };
    let metrics_file = table.metrics_file.map(|name| absolute("report.metrics_file", &name)).transpose()?;
    Ok(ReportSettings {
        metrics_file,
        history: kept("report.history", table.history, default.history)?,
        history_on_demand: kept(
            "report.history_on_demand",
            table.history_on_demand,
            default.history_on_demand,
        )?,
    })
}

fn hooks(table: HooksTable) -> Checked<HooksSettings> {
    let default = HooksSettings::default();
    let place = |key, name: Option<String>, default| name.map_or(Ok(default), |name| absolute(key, &name));
    Ok(HooksSettings {
        directory: place("hooks.directory", table.directory, default.directory)?,
        spool: place("hooks.spool", table.spool, default.spool)?,
    })
}

//! The validated settings, with their defaults, as the rest of the program uses them. Holds domain values
//! inside their bounds; nothing is checked again where they are used.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::credentials::Credentials;
use super::error::ConfigError;
use super::secrets;
use crate::store::Place;

/// Everything the operator can choose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The emergency switch; off makes a pass do nothing.
    pub enabled: bool,
    /// How to talk to Tink.
    pub tink: TinkSettings,
    /// Where our data is stored.
    pub store: StoreSettings,
    /// Where the application provides its users.
    pub source: SourceSettings,
    /// What a pass does.
    pub sync: SyncSettings,
    /// How often one user is synced, at most.
    pub quota: QuotaSettings,
    /// How a request is retried.
    pub retry: RetrySettings,
    /// When to warn about consents.
    pub consent: ConsentSettings,
    /// What is written about runs, and for how long it is kept.
    pub report: ReportSettings,
    /// When a difference between a balance and the rows is reported.
    pub balance: BalanceSettings,
    /// Where the programs that run on events are, and where the events wait for them.
    pub hooks: HooksSettings,
    /// The file they were read from.
    pub file: PathBuf,
    /// The secrets of the service that systemd keeps.
    pub credentials: Credentials,
    /// What works but should be changed, each with its remedy; to be logged once.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Every secret file that is named or found, with its key.
    pub fn secret_files(&self) -> Vec<(&'static str, &PathBuf)> {
        let files = [
            ("tink.client_secret_file", &self.tink.client_secret_file),
            ("store.token_key_file", &self.store.token_key_file),
            ("store.pgpass_file", &self.store.pgpass_file),
        ];
        files.into_iter().filter_map(|(key, path)| path.as_ref().map(|path| (key, path))).collect()
    }

    /// One line with the remedy for every secret file that others may read. Omits the unit's credentials:
    /// their mode differs by version, and the directory above them is closed.
    pub fn permission_problems(&self) -> Vec<String> {
        let open = self.secret_files().into_iter().filter(|(_, path)| !self.credentials.guards(path));
        let open = open.filter_map(|(key, path)| Some((key, secrets::permission_problem(path)?)));
        let mut problems: Vec<String> = open.map(|(key, problem)| format!("{key}: {problem}")).collect();
        problems.extend(self.credentials.problems().map(|problem| format!("credential: {problem}")));
        problems
    }
}

/// `[tink]`: how to talk to Tink.
#[derive(Clone, Debug)]
pub struct TinkSettings {
    pub client_id: Option<String>,
    /// The app's secret, from the first place that has one.
    pub client_secret: Option<SecretString>,
    /// The file or credential the secret comes from; `None` if from the environment or nowhere.
    pub client_secret_file: Option<PathBuf>,
    /// Why a secret that was named or found could not be read.
    pub client_secret_problem: Option<String>,
    /// Address of the API, without a trailing slash.
    pub api_url: String,
    /// Address of Tink Link, without a trailing slash.
    pub link_url: String,
    /// Limit for reaching the server.
    pub connect_timeout: Duration,
    /// Limit for one request as a whole.
    pub request_timeout: Duration,
    /// Largest response in decoded bytes.
    pub max_response: u64,
    /// Pace over all connections.
    pub requests_per_second: f64,
    pub concurrency: usize,
    /// Whether Tink is asked to fetch from the bank.
    pub refresh: Refresh,
    /// The file these settings were read from, for messages.
    pub config_file: PathBuf,
}

impl Default for TinkSettings {
    fn default() -> Self {
        Self {
            client_id: None,
            client_secret: None,
            client_secret_file: None,
            client_secret_problem: None,
            api_url: "https://api.tink.com".to_owned(),
            link_url: "https://link.tink.com".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            max_response: 16 << 20,
            requests_per_second: 20.0,
            concurrency: 8,
            refresh: Refresh::Never,
            config_file: PathBuf::from(super::DEFAULT_PATH),
        }
    }
}

impl TinkSettings {
    /// Client id and secret, for the commands that talk to Tink.
    ///
    /// # Errors
    /// [`ConfigError`] that names what to set where, if one of them is missing.
    pub fn credentials(&self) -> Result<(&str, &SecretString), ConfigError> {
        let missing = |key, problem: String| ConfigError::key(&self.config_file, key, problem);
        let id = self.client_id.as_deref().ok_or_else(|| {
            missing(
                "tink.client_id",
                "not set; copy the client id from Tink Console into this key or into TINK_CLIENT_ID"
                    .to_owned(),
            )
        })?;
        let secret = self.client_secret.as_ref().ok_or_else(|| {
            let problem = self.client_secret_problem.clone();
            missing(
                "tink.client_secret_file",
                problem.unwrap_or_else(|| secrets::NO_CLIENT_SECRET.to_owned()),
            )
        })?;
        Ok((id, secret))
    }
}

/// `tink.refresh`: whether Tink is asked to fetch new data from the bank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// Take what Tink has.
    #[default]
    Never,
    /// Ask for a consent whose data is older than this.
    Stale(Duration),
}

/// `[store]`: where our data is stored.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub url: Place,
    /// File with the key that encrypts refresh tokens; without it, the credential of that name is used.
    pub token_key_file: Option<PathBuf>,
    /// The key itself, or why the named or found file cannot be read.
    pub token_key: Option<Result<SecretString, String>>,
    /// PostgreSQL password file; without it, the credential of that name is used.
    pub pgpass_file: Option<PathBuf>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        let file = PathBuf::from("/var/lib/tink-sync/tink-sync.db");
        Self { url: Place::Sqlite(file), token_key_file: None, token_key: None, pgpass_file: None }
    }
}

/// `[source]`: where the application provides its users.
#[derive(Clone, Debug, Default)]
pub struct SourceSettings {
    /// The view, a plain SQL name with or without a schema; `None` reads our own tables.
    pub view: Option<String>,
    /// The application's database; `None` is the store itself.
    pub database: Option<Place>,
}

/// `[sync]`: what a pass does.
#[derive(Clone, Debug)]
pub struct SyncSettings {
    /// A connection that succeeded less than this ago is not due.
    pub min_interval: Duration,
    /// Days a first sync goes back; `None` is everything.
    pub history_days: Option<i64>,
    /// Days read again below the watermark.
    pub overlap_days: i64,
    /// Days read beyond today.
    pub lookahead_days: i64,
    /// A healthy consent is reported if Tink's data is older than this.
    pub stale_after: Duration,
    /// An account that Tink has not refreshed since its last walk is walked again after this.
    pub rewalk: Duration,
    /// The last 90 days of an account are walked again after this.
    pub deep_rewalk: Duration,
    /// Limit for one connection.
    pub connection_timeout: Duration,
    /// Limit for one pass.
    pub deadline: Duration,
    /// How long to wait out an outage; `None` leaves it to the command (30 minutes, 0 on a terminal).
    pub outage_patience: Option<Duration>,
    /// How long the original JSON is kept; `None` keeps nothing.
    pub keep_raw: Option<Duration>,
    /// How long a removed transaction is kept.
    pub keep_removed: Duration,
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_hours(5),
            history_days: None,
            overlap_days: 14,
            lookahead_days: 400,
            stale_after: Duration::from_hours(72),
            rewalk: Duration::from_hours(24),
            deep_rewalk: Duration::from_hours(7 * 24),
            connection_timeout: Duration::from_mins(5),
            deadline: Duration::from_hours(5),
            outage_patience: None,
            keep_raw: None,
            keep_removed: Duration::from_hours(400 * 24),
        }
    }
}

/// `[quota]`: how often one user may be synced in a rolling day.
#[derive(Clone, Debug)]
pub struct QuotaSettings {
    /// All syncs of a user.
    pub syncs_per_day: u32,
    /// Of these, how many are reserved for syncs that the user requests.
    pub reserved_for_manual: u32,
}

impl Default for QuotaSettings {
    fn default() -> Self {
        Self { syncs_per_day: 100, reserved_for_manual: 20 }
    }
}

/// `[retry]`: how a request is retried.
#[derive(Clone, Debug)]
pub struct RetrySettings {
    /// The total number of attempts, including the first.
    pub attempts: u32,
    pub base: Duration,
    pub max: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { attempts: 4, base: Duration::from_secs(1), max: Duration::from_secs(30) }
    }
}

/// `[consent]`: when to warn.
#[derive(Clone, Debug)]
pub struct ConsentSettings {
    /// Days before the end at which a warning is due, largest first, each once.
    pub warn: Vec<i64>,
}

impl Default for ConsentSettings {
    fn default() -> Self {
        Self { warn: vec![14, 7, 3, 1] }
    }
}

/// `[balance]`: when a difference between a balance and the rows is reported.
#[derive(Clone, Debug)]
pub struct BalanceSettings {
    /// How long a difference stays open before it is logged.
    pub min_open: Duration,
}

impl Default for BalanceSettings {
    fn default() -> Self {
        Self { min_open: Duration::from_hours(2 * 24) }
    }
}

/// `[report]`: what is written about runs.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// The `node_exporter` text file.
    pub metrics_file: Option<PathBuf>,
    /// How long run history and audit rows are kept.
    pub history: Duration,
    /// How long runs on demand are kept, if that is shorter.
    pub history_on_demand: Duration,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self {
            metrics_file: None,
            history: Duration::from_hours(400 * 24),
            history_on_demand: Duration::from_hours(30 * 24),
        }
    }
}

/// `[hooks]`: the operator's programs that run on events. The units know the same places.
#[derive(Clone, Debug)]
pub struct HooksSettings {
    /// One program per kind of event, named after it.
    pub directory: PathBuf,
    /// The events that wait for them, one directory per kind.
    pub spool: PathBuf,
}

impl Default for HooksSettings {
    fn default() -> Self {
        Self { directory: PathBuf::from(super::HOOKS_DIRECTORY), spool: PathBuf::from(super::HOOKS_SPOOL) }
    }
}

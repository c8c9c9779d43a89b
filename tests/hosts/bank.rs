//! The fake Tink, the application that links its users to it, and the configuration of the hosts. Also how time passes: days at
//! the banks, and the 24 hours of a quota.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use rusqlite::Connection;
use serde_json::Value;
use tink_sandbox::{Config, Expiry, Rates, RefreshMode, Sandbox, Truth};
use tink_sync::clock::{Clock as _, SystemClock};

use crate::cluster::Cluster;
use crate::judge;
use crate::lab::Lab;
use crate::storm::LEASE;

/// Connections `c-0` and so on, of the Tink users `user-0` and so on.
pub const CONNECTIONS: u32 = 24;
/// The first of them are older links, with refresh tokens.
const LINKS: u32 = 6;
/// The last of them are all of one user of the application, who uses up the quota.
const BUSY: u32 = 3;
/// That user. The others are `u-0` and so on.
pub const BUSY_USER: &str = "u-busy";
/// Attempts that a user may have in 24 hours.
pub const QUOTA: u32 = 60;
/// Days that can pass.
const DAYS: u32 = 60;

const SCOPES: &str = "accounts:read,balances:read,transactions:read,provider-consents:read";
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
/// How many passes may be needed until all is as it should be.
const SETTLING: u32 = 12;

pub struct Bank {
    pub sandbox: Sandbox,
    directory: PathBuf,
    url: String,
    /// Which token the application has brought for each link.
    version: AtomicU32,
}

impl Bank {
    pub fn open(directory: &Path, lab: &Lab, cluster: &Cluster) -> Self {
        let today = SystemClock.today();
        let sandbox = Sandbox::start(Config {
            listen: SocketAddr::new(lab.tink(), 0),
            users: CONNECTIONS,
            rates: Rates::none(),
            day0: today.checked_sub(SignedDuration::from_hours(24 * i64::from(DAYS))).unwrap(),
            history_days: 30,
            rows_per_day: 1.5,
            max_accounts: 2,
            count_per_user: true,
            refresh: RefreshMode::Rotating,
            user_expires_in: 75,
            enforce_expiry: true,
            latency: Duration::from_millis(12),
            ..Config::default()
        });
        for n in 0..CONNECTIONS {
            sandbox.plan(&format!("user-{n}"), |plan| {
                (0..plan.consents).for_each(|consent| plan.consent(consent).expiry = Expiry::Absent);
            });
        }
        let bank =
            Self { sandbox, directory: directory.to_owned(), url: cluster.url(), version: AtomicU32::new(0) };
        bank.application();
        fs::write(bank.path("secret"), format!("{}\n", bank.sandbox.config().client_secret)).unwrap();
        fs::write(bank.path("key"), format!("{KEY}\n")).unwrap();
        for secret in ["secret", "key"] {
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(bank.path(secret), private).unwrap();
        }
        bank.configure(QUOTA);
        bank
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn app(&self) -> Connection {
        let app = Connection::open(self.path("app.db")).unwrap();
        app.busy_timeout(Duration::from_secs(20)).unwrap();
        app
    }

    fn application(&self) {
        let app = self.app();
        app.execute_batch(
            "PRAGMA journal_mode = wal;
             CREATE TABLE links (id TEXT, user_id TEXT, tink TEXT, token TEXT, version INT);
             CREATE VIEW tink_sync_source_v1 AS SELECT id AS connection_id, user_id, 1 AS enabled, 1 AS entitled,
                 tink AS external_user_id, token AS refresh_token, version AS token_version FROM links",
        )
        .unwrap();
        for n in 0..CONNECTIONS {
            let user = if n + BUSY < CONNECTIONS { format!("u-{n}") } else { BUSY_USER.to_owned() };
            app.execute(
                "INSERT INTO links (id, user_id, tink) VALUES (?1, ?2, ?3)",
                (format!("c-{n}"), user, format!("user-{n}")),
            )
            .unwrap();
        }
        (0..LINKS).for_each(|n| self.seed(&app, n));
    }

    /// The application brings a new refresh token for a link.
    fn seed(&self, app: &Connection, n: u32) {
        let version = self.version.fetch_add(1, Relaxed) + 1;
        let token = self.sandbox.refresh_token(&format!("user-{n}"), SCOPES);
        app.execute(
            "UPDATE links SET token = ?1, version = ?2 WHERE id = ?3",
            (token, version, format!("c-{n}")),
        )
        .unwrap();
    }

    fn configure(&self, quota: u32) {
        let text = |value: &Path| Value::from(value.to_str().unwrap()).to_string();
        let settings = [
            ("tink.client_id", Value::from(self.sandbox.config().client_id.clone()).to_string()),
            ("tink.client_secret_file", text(&self.path("secret"))),
            ("tink.api_url", Value::from(self.sandbox.url()).to_string()),
            ("tink.connect_timeout", "'3s'".to_owned()),
            ("tink.request_timeout", "'10s'".to_owned()),
            ("tink.requests_per_second", "1000".to_owned()),
            ("store.url", Value::from(self.url.clone()).to_string()),
            ("store.token_key_file", text(&self.path("key"))),
            ("source.view", "'tink_sync_source_v1'".to_owned()),
            ("source.database", text(&self.path("app.db"))),
            ("sync.min_interval", "'0s'".to_owned()),
            ("sync.connection_timeout", "'60s'".to_owned()),
            ("sync.outage_patience", "'60s'".to_owned()),
            ("sync.stale_after", "'365d'".to_owned()),
            ("quota.syncs_per_day", quota.to_string()),
            ("quota.reserved_for_manual", (QUOTA / 3).to_string()),
            ("retry.base", "'20ms'".to_owned()),
            ("retry.max", "'200ms'".to_owned()),
            ("hooks.directory", text(&self.path("hooks"))),
            ("hooks.spool", text(&self.path("spool"))),
        ];
        let lines: Vec<String> =
            settings.into_iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        // Hosts read it at any time.
        fs::write(self.path("new.toml"), lines.concat()).unwrap();
        fs::rename(self.path("new.toml"), self.path("tink-sync.toml")).unwrap();
    }

    /// Whether a Tink user is of an older link, which has tokens of its own.
    pub fn is_link(user: &str) -> bool {
        (0..LINKS).any(|n| user == format!("user-{n}"))
    }

    /// A run on a host.
    pub fn command(&self, lab: &Lab, host: usize, args: &[&str]) -> Command {
        let mut command = lab.on(host, env!("CARGO_BIN_EXE_tink-sync"));
        command.env_clear().env("TINK_SYNC_USER", "root").arg("--config").arg(self.path("tink-sync.toml"));
        command.args(["run", "--format", "json"]).args(args).stdin(Stdio::null());
        command
    }

    fn pass(&self, lab: &Lab, host: usize) -> (ExitStatus, String) {
        let output = self.command(lab, host, &["--force"]).output().unwrap();
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// A pass that makes the store.
    pub fn first_pass(&self, lab: &Lab) {
        let (status, said) = self.pass(lab, 0);
        assert!(status.success(), "the first pass ends with {status}: {said}");
    }

    /// Lets a day pass at the banks, if there is one left.
    pub fn next_day(&self) {
        let day = self.sandbox.day();
        if day < DAYS {
            self.sandbox.set_day(day + 1);
        }
    }

    /// The application links those anew whose tokens got lost, as they do when a run is killed that has presented one.
    pub fn link_anew(&self, cluster: &Cluster) {
        let Some(mut db) = cluster.connect("bank") else { return };
        let lost = "SELECT c.connection_id FROM tink_sync.ts_tokens t JOIN tink_sync.ts_connections c ON c.key = t.connection
                    WHERE t.state = 'lost'";
        let Ok(lost) = db.query(lost, &[]) else { return };
        let lost: BTreeSet<String> = lost.iter().map(|row| row.get(0)).collect();
        let app = self.app();
        for n in (0..LINKS).filter(|n| lost.contains(&format!("c-{n}"))) {
            self.seed(&app, n);
        }
    }

    /// For all but the busy user the 24 hours of the quota are over.
    pub fn forget_attempts(cluster: &Cluster) {
        let Some(mut db) = cluster.connect("bank") else { return };
        let age = format!(
            "UPDATE tink_sync.ts_run_connections SET started_at = started_at - 90000000
             WHERE user_id <> '{BUSY_USER}' AND started_at > tink_sync.ts_now() - 85000000"
        );
        // Beside a server that is about to go, or hosts that lock the same rows, it is done the next time.
        let _ = db.batch_execute(&age);
    }

    /// Ends what the storm left, in as many passes as it may take; what is then not as it should be is judged.
    pub fn settle(&self, lab: &Lab, cluster: &Cluster) {
        self.configure(10_000);
        self.next_day();
        let began = Instant::now();
        // Nobody is alive any more who has a lease.
        std::thread::sleep(LEASE + Duration::from_secs(1));
        for round in 1..=SETTLING {
            let (status, said) = self.pass(lab, 0);
            let left = judge::left(cluster, self);
            println!("settling, pass {round}: {status}, {} connections are not Tink's yet", left.len());
            if status.success() && left.is_empty() {
                println!("settled in {:?}", began.elapsed());
                return;
            }
            if !status.success() {
                println!("{said}");
            }
        }
    }

    /// What Tink has of the user of connection `c-<n>`.
    pub fn truth(&self, n: u32) -> Truth {
        self.sandbox.truth(&format!("user-{n}"))
    }
}

//! The sandbox as a program: prints its URL, then `ready`, and serves until it is stopped.
//!
//! Options only; everything it does is the library's.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for shells, which read its output")]

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use jiff::civil::Date;
use tink_sandbox::{Config, Rates, RefreshMode, Sandbox};

/// A fake Tink API with generated users, for trying things out. Control calls are under /_sandbox/.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Generated users, called user-0, user-1, …
    #[arg(long, default_value_t = 100)]
    users: u32,
    /// Seed of the world
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Date of day 0 [default: four days ago]
    #[arg(long)]
    day0: Option<Date>,
    /// Day to start on
    #[arg(long, default_value_t = 0)]
    day: u32,
    /// Days of history before day 0
    #[arg(long, default_value_t = 90)]
    history_days: u32,
    /// Booked rows per account and day, on average
    #[arg(long, default_value_t = 1.0)]
    rows_per_day: f64,
    /// Most accounts of a user
    #[arg(long, default_value_t = 4)]
    max_accounts: u32,
    /// How odd the world is
    #[arg(long, default_value = "lively", value_parser = ["plain", "lively", "everything"])]
    rates: String,
    /// Pause before each answer, in milliseconds or with a unit (80, 80ms, 2s)
    #[arg(long, default_value = "0ms", value_parser = duration)]
    latency: Duration,
    /// Worker threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Client id of the application
    #[arg(long, default_value = "sandbox-client")]
    client_id: String,
    /// Client secret of the application
    #[arg(long, default_value = "sandbox-secret")]
    client_secret: String,
    /// Where Tink Link may send browsers back to
    #[arg(long, value_name = "URL", default_value = "http://localhost:8765/callback")]
    redirect_uri: Vec<String>,
    /// `expires_in` of user tokens, in seconds
    #[arg(long, default_value_t = 7200)]
    user_expires_in: u64,
    /// Refuse tokens that are past their `expires_in`
    #[arg(long)]
    enforce_expiry: bool,
    /// Give refresh tokens, each good for one use
    #[arg(long)]
    refresh_tokens: bool,
}

impl Options {
    fn config(self) -> Config {
        let usual = Config::default();
        Config {
            listen: self.listen,
            users: self.users,
            seed: self.seed,
            day0: self.day0.unwrap_or(usual.day0),
            day: self.day,
            history_days: self.history_days,
            rows_per_day: self.rows_per_day,
            max_accounts: self.max_accounts,
            rates: match self.rates.as_str() {
                "plain" => Rates::none(),
                "everything" => Rates::everything(),
                _ => Rates::lively(),
            },
            latency: self.latency,
            threads: self.threads,
            client_id: self.client_id,
            client_secret: self.client_secret,
            redirect_uris: self.redirect_uri,
            user_expires_in: self.user_expires_in,
            enforce_expiry: self.enforce_expiry,
            refresh: if self.refresh_tokens { RefreshMode::Rotating } else { RefreshMode::Off },
            ..usual
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number = digits.parse().map_err(|_| "not a number of milliseconds".to_owned())?;
    match &text[digits.len()..] {
        "" | "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        unit => Err(format!("unknown unit {unit}")),
    }
}

fn main() -> ExitCode {
    match serve(Options::parse().config()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tink-sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> io::Result<()> {
    let sandbox = Sandbox::try_start(config)?;
    println!("{}\nready", sandbox.url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::signal::ctrl_c())
}

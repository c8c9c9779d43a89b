//! The command line: one file per command. Wires settings, store, client and output together; decides
//! nothing about data.

mod actor;
mod app;
mod audit;
mod balance;
mod check;
mod client;
mod connect;
mod connections;
mod day;
mod export;
#[cfg(test)]
mod fixture;
mod generate;
#[cfg(test)]
mod help;
mod hook;
mod identity;
mod import;
mod instance;
mod link_session;
mod migrate_store;
mod mirror;
mod prune;
mod quarantine;
mod rekey;
mod remedy;
mod renew;
mod report_failure;
mod rules;
mod run;
mod schedule;
mod shared_clock;
mod status;
mod table;
mod timer;
mod users;
mod why;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::atomic_file::Protected;
use crate::clock::{Clock, CorrectedClock, Stopwatch, SystemClock, millis};
use crate::config::{self, ConfigError, Settings};
use crate::exit::Exit;
use crate::failpoint;
pub use crate::failure::Failure;
use crate::file_limit;
use crate::observe::{log, terminal};
use crate::store::file::scratch;
use crate::store::{Place, Reader, StoreError};
use crate::vault::Vault;

/// Heading of the options that every command takes.
const EVERYWHERE: &str = "Options of every command";

/// Keep bank data fresh for every connected user of an application that uses Tink.
#[derive(Debug, Parser)]
#[command(name = "tink-sync", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  tink-sync check            is everything set up?\n  tink-sync run --dry-run    what would a pass do?\n  tink-sync run              one full pass\n  tink-sync status           how fresh is every connection?\n\nExit status: 0 all well, 10 some connections failed, 11 some need their user,\n69 Tink is unreachable, 74 or 75 a database, 77 Tink refuses the client, 78 the\nconfiguration; tink-sync(1) has the whole table."
)]
pub struct Cli {
    /// Configuration file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = EVERYWHERE,
        help = "Configuration file [default: $TINK_SYNC_CONFIG, else /etc/tink-sync/tink-sync.toml]"
    )]
    pub config: Option<PathBuf>,
    /// Log more (requests, retries, skipped connections)
    #[arg(long, short, global = true, help_heading = EVERYWHERE, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Report only what went wrong
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    pub quiet: bool,
    /// Colour in messages and tables: auto, always or never
    #[arg(long, global = true, help_heading = EVERYWHERE, value_enum, default_value_t = Color::Auto, value_name = "WHEN", hide_possible_values = true)]
    pub color: Color,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless the environment says otherwise.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The commands that work with the configuration, as the service user.
    #[command(flatten)]
    Service(ServiceCommand),
    /// Show how often passes start, or change it
    Timer(timer::Args),
    /// Write man pages or shell completions, for packages
    #[command(hide = true)]
    Generate(generate::Args),
    /// Test a hook; retry or delete events that failed
    Hook(hook::Args),
    /// Start a hook so that it cannot write where events wait, for the units of hooks
    #[command(hide = true)]
    HookWall(hook::wall::Args),
    /// Report how a unit failed, for the failure unit
    #[command(hide = true)]
    ReportFailure(report_failure::Args),
}

/// The commands that work with the configuration, as the service user.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Bring every due connection up to date, once, and exit
    Run(run::Args),
    /// Check the set-up: configuration, secrets, store, view and Tink
    Check(check::Args),
    /// Show how fresh every connection is, and the last runs
    Status(status::Args),
    /// Explain why a connection did or did not get data
    Why(why::Args),
    /// Link a bank in the browser and fetch its first data
    Connect(Box<connect::Args>),
    /// Renew a consent that has expired or soon will
    Renew(Box<renew::Args>),
    /// List, add, switch and forget connections
    Connections(connections::Args),
    /// List users of the stand-alone store and set their entitlement
    Users(users::Args),
    /// List records that could not be read, and read them once more
    Quarantine(quarantine::Args),
    /// Delete run history, audit rows and original JSON past their retention
    Prune(prune::Args),
    /// Show who did what to connections and users
    Audit(audit::Args),
    /// Write the transactions as CSV, JSON lines or a journal
    Export(export::Args),
    /// Take over the rows an application has kept, once, before the first pass
    Import(import::Args),
    /// Encrypt the tokens of older links with another key
    Rekey(rekey::Args),
    /// Move the store from SQLite to PostgreSQL, or back
    MigrateStore(migrate_store::Args),
}

/// The context that every command gets.
#[derive(Debug)]
pub struct Environment {
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
    /// When this process started.
    pub started: Timestamp,
    /// Measures how long this process has been running.
    pub watch: Stopwatch,
    /// Looks up an environment variable.
    pub variable: fn(&str) -> Option<std::ffi::OsString>,
    /// Whether standard output may be coloured.
    pub color: bool,
    pub verbose: bool,
    /// Report only what went wrong.
    pub quiet: bool,
}

impl Environment {
    /// How long this process has been running, in milliseconds.
    pub fn took(&self) -> u64 {
        millis(self.watch.elapsed(self.clock.as_ref()))
    }

    /// When this process started, by the clock that counts by now.
    pub fn began(&self) -> Timestamp {
        self.started.saturating_add(self.clock.corrected_by()).unwrap_or(self.started)
    }

    /// The location of the store.
    pub const fn place(&self) -> &Place {
        &self.settings.store.url
    }

    /// What decides whether passes are switched on, and how to switch them on again.
    pub fn switch(&self) -> (&'static str, String) {
        match (self.variable)(config::ENABLED_VARIABLE).filter(|value| !value.is_empty()) {
            Some(_) => (
                config::ENABLED_VARIABLE,
                format!("remove {} from the environment", config::ENABLED_VARIABLE),
            ),
            None => {
                ("enabled = false", format!("remove enabled = false from {}", self.settings.file.display()))
            }
        }
    }

    /// Opens the store as it is now, for reading.
    ///
    /// # Errors
    /// [`Failure`] if it does not exist or cannot be read.
    pub fn reader(&self) -> Result<Reader, Failure> {
        Ok(Reader::open(self.place())?)
    }

    /// As [`Self::reader`]; `None` if the store does not exist yet.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be read.
    pub fn reader_if_there(&self) -> Result<Option<Reader>, Failure> {
        match Reader::open(self.place()) {
            Err(StoreError::Missing { .. }) => Ok(None),
            opened => Ok(Some(opened?)),
        }
    }

    /// The files that no output may replace: the databases, the files the configuration names, the events and
    /// programs of hooks.
    pub fn protected(&self) -> Protected {
        let settings = &self.settings;
        let files = [
            Some(&settings.file),
            settings.tink.client_secret_file.as_ref(),
            settings.store.token_key_file.as_ref(),
            settings.store.pgpass_file.as_ref(),
        ];
        let mut protected = Protected::default().directory(&settings.hooks.spool);
        protected = protected.directory(&settings.hooks.directory);
        for path in [Some(self.place()), settings.source.database.as_ref()].into_iter().flatten() {
            protected = path.file().into_iter().fold(protected, Protected::family);
        }
        files.into_iter().flatten().fold(protected, |protected, file| protected.file(file))
    }

    /// The vault for tokens of older links; `None` if no key is set.
    ///
    /// # Errors
    /// [`Failure::Config`] if the key cannot be read or is invalid.
    pub fn vault(&self) -> Result<Option<Vault>, Failure> {
        let problem =
            |problem: String| ConfigError::key(&self.settings.file, "store.token_key_file", problem);
        match &self.settings.store.token_key {
            None => Ok(None),
            Some(Err(error)) => Err(problem(format!("the key {error}")).into()),
            Some(Ok(key)) => Ok(Some(Vault::new(key).map_err(|error| problem(format!("the key {error}")))?)),
        }
    }

    /// The source view: its database and its name.
    pub fn source(&self) -> (Place, String) {
        let source = &self.settings.source;
        let view = source.view.clone().unwrap_or_else(|| self.place().own_view().to_owned());
        (source.database.as_ref().unwrap_or_else(|| self.place()).clone(), view)
    }
}

/// Parses the command line, runs the command and turns its result into an exit code.
pub fn main() -> Exit {
    file_limit::survive();
    let started = (SystemClock.now(), Stopwatch::start(&SystemClock));
    // Before any secret is read.
    let hidden = crate::identity::hide_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return usage(&error);
        }
    };
    let level = log::Level::of(cli.verbose, cli.quiet);
    let wanted = |terminal: bool| match cli.color {
        Color::Auto => terminal && config::process_env("NO_COLOR").is_none_or(|value| value.is_empty()),
        Color::Always => true,
        Color::Never => false,
    };
    log::start(level, wanted(terminal::is_error_watched()), config::process_env);
    if let Err(error) = hidden {
        tracing::warn!("the memory of this process stays open to its own user and to core files: {error}");
    }
    failpoint::arm(config::process_env);
    let color = wanted(terminal::is_watched());
    match guarded(|| dispatch(cli, started, color)) {
        Ok(exit) => exit,
        Err(failure) => {
            match &failure {
                Failure::Config(error) => {
                    error.each().iter().for_each(|error| log::fatal(&error.to_string()));
                }
                _ => log::fatal(&failure.to_string()),
            }
            Exit::from(&failure)
        }
    }
}

/// Does `work`; a panic in it, which the log has reported, ends like every bug.
fn guarded(work: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Ok(Exit::Internal))
}

/// Prints the requested help or version, or the error in the command line, which may quote anything.
fn usage(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        terminal::print_error(&error.render().to_string());
        return Exit::Usage;
    }
    match terminal::unless_broken_pipe(error.print()) {
        Ok(()) => Exit::Success,
        Err(error) => {
            let failure = Failure::Output(error);
            terminal::print_error(&format!("error: {failure}\n"));
            Exit::from(&failure)
        }
    }
}

fn dispatch(cli: Cli, (started, watch): (Timestamp, Stopwatch), color: bool) -> Result<Exit, Failure> {
    let path = cli
        .config
        .or_else(|| {
            config::process_env(config::PATH_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
        })
        .unwrap_or_else(|| PathBuf::from(config::DEFAULT_PATH));
    let command = match cli.command {
        Command::Service(command) => command,
        // Stays root, since it changes a unit.
        Command::Timer(args) => return timer::run(&config::load(&path, &config::process_env)?, &args),
        Command::Generate(args) => return generate::run(&args),
        // Reads no secret and no store: neither comes near a hook.
        Command::Hook(args) => return hook::run(&args, &path, &config::process_env),
        Command::HookWall(args) => return hook::wall::run(&args),
        Command::ReportFailure(args) => return report_failure::run(&args, config::process_env),
    };
    // Checked for the user who typed it, before root becomes the service user.
    match &command {
        ServiceCommand::Connect(args) => args.redirect.allow_open()?,
        ServiceCommand::Renew(args) => args.redirect.allow_open()?,
        _ => {}
    }
    let credentials = identity::become_service_user(&config::process_env)?;
    let settings = match (config::load_with(&path, &config::process_env, &credentials), &command) {
        (Err(error), ServiceCommand::Check(args)) => {
            return check::without_configuration(&error, args, color, cli.quiet);
        }
        (loaded, _) => loaded?,
    };
    // `check` lists them itself.
    for warning in settings.warnings.iter().filter(|_| !matches!(command, ServiceCommand::Check(_))) {
        tracing::warn!("{warning}");
    }
    match &settings.store.url {
        Place::Sqlite(path) => scratch::keep_beside(path),
        // The only SQLite database is then an application's, in a directory that is not ours.
        Place::Postgres(_) => scratch::keep_in_memory(),
    }
    let env = Environment {
        settings,
        clock: Arc::new(CorrectedClock::default()),
        started,
        watch,
        variable: config::process_env,
        color,
        verbose: cli.verbose,
        quiet: cli.quiet,
    };
    match command {
        ServiceCommand::Run(args) => run::run(&env, args),
        ServiceCommand::Check(args) => check::run(&env, &args),
        ServiceCommand::Status(args) => status::run(&env, &args),
        ServiceCommand::Why(args) => why::run(&env, &args),
        ServiceCommand::Connect(args) => connect::run(&env, &args),
        ServiceCommand::Renew(args) => renew::run(&env, &args),
        ServiceCommand::Connections(args) => connections::run(&env, args),
        ServiceCommand::Users(args) => users::run(&env, args),
        ServiceCommand::Quarantine(args) => quarantine::run(&env, args),
        ServiceCommand::Prune(args) => prune::run(&env, &args),
        ServiceCommand::Audit(args) => audit::run(&env, &args),
        ServiceCommand::Export(args) => export::run(&env, &args),
        ServiceCommand::Import(args) => import::run(&env, &args),
        ServiceCommand::Rekey(args) => rekey::run(&env, &args),
        ServiceCommand::MigrateStore(args) => migrate_store::run(&env, &args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_outside_of_a_connection_ends_as_a_bug() {
        assert_eq!(guarded(|| panic!("a bug")).unwrap(), Exit::Internal);
        assert_eq!(guarded(|| Ok(Exit::NeedsUser)).unwrap(), Exit::NeedsUser);
        let lost = tokio::task::spawn_blocking(|| panic!("a bug")).await.unwrap_err();
        let failure = Failure::from(lost);
        assert_eq!(Exit::from(&failure), Exit::Internal);
        assert!(failure.to_string().contains("please report it"), "{failure}");
    }
}

//! `tink-sync hook`: runs the operator's program for every waiting event; by hand, tests a hook and retries
//! or drops events that were put aside. Of the configuration it reads where the events wait, by hand only, and it knows
//! no store and no secret. Root becomes the hook user before it opens anything else. A pass never runs this command.

mod by_hand;
pub(super) mod outbox;
mod program;
mod queue;
pub(super) mod wall;

use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use super::{Failure, identity};
use crate::config::{self, Env, HOOKS_DIRECTORY, HOOKS_SPOOL};
use crate::domain::hook::HookKind;
use crate::exit::Exit;
use crate::observe::spool::Spool;
use program::Program;
use queue::HookQueue;

/// Arguments of `hook`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  sudo tink-sync hook test needs-user   send a sample event to this hook\n  sudo tink-sync hook retry             tell again what was put aside\n  sudo tink-sync hook drop needs-user   remove what was put aside"
)]
pub struct Args {
    /// What to do by hand
    #[command(subcommand)]
    pub command: Option<HookCommand>,
    /// What the unit does
    #[command(flatten)]
    pub run: RunArgs,
}

/// What a person can do with hooks.
#[derive(Debug, clap::Subcommand)]
pub enum HookCommand {
    /// Send a sample event to the hook of this kind, and wait until it is delivered
    #[command(after_help = "Examples:\n  sudo tink-sync hook test needs-user   the way real events go")]
    Test(TestArgs),
    /// Deliver again the events that were put aside because their hook failed
    #[command(
        after_help = "Examples:\n  sudo tink-sync hook retry              of all kinds\n  sudo tink-sync hook retry needs-user   of this kind only"
    )]
    Retry(OldArgs),
    /// Remove the events that were put aside, and whatever was in the way of events
    #[command(after_help = "Examples:\n  sudo tink-sync hook drop needs-user   of this kind only")]
    Drop(OldArgs),
}

/// Arguments of the unit.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// For the unit: run the program of this kind for each event that waits
    #[arg(long, value_name = "KIND", value_parser = kind, required = true)]
    pub event: Option<HookKind>,
    /// Directory of the programs
    #[arg(long, value_name = "DIR", default_value = HOOKS_DIRECTORY)]
    pub directory: PathBuf,
    /// Directory where the events wait
    #[arg(long, value_name = "DIR", default_value = HOOKS_SPOOL)]
    pub spool: PathBuf,
    /// How long the program may take for one event
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = limit)]
    pub timeout: Duration,
    /// Pauses before further attempts at an event whose hook failed
    #[arg(long, value_name = "DURATION", default_value = "10s,1m,5m", value_delimiter = ',', value_parser = humantime::parse_duration)]
    pub retry: Vec<Duration>,
    /// Wait for further events once all are delivered, so that many in a row take one start of the unit
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    pub linger: Duration,
}

/// Arguments of `hook test`.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// The kind of the event
    #[arg(value_name = "KIND", value_parser = kind)]
    pub kind: HookKind,
    /// Directory where events wait [default: hooks.spool of the configuration]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// How long to wait until it is delivered
    #[arg(long, value_name = "DURATION", default_value = "45s", value_parser = humantime::parse_duration)]
    pub wait: Duration,
}

/// Arguments of `hook retry` and `hook drop`.
#[derive(Debug, clap::Args)]
pub struct OldArgs {
    /// Only this kind
    #[arg(value_name = "KIND", value_parser = kind)]
    pub kind: Option<HookKind>,
    /// Directory where events wait [default: hooks.spool of the configuration]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
}

impl OldArgs {
    fn kinds(&self) -> Vec<HookKind> {
        self.kind.map_or_else(|| HookKind::ALL.to_vec(), |kind| vec![kind])
    }
}

fn kind(text: &str) -> Result<HookKind, String> {
    HookKind::parse(text).ok_or_else(|| format!("expected one of: {}", known()))
}

/// All kinds, for messages.
pub(super) fn known() -> String {
    HookKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

/// All attempts at one event must end within the unit's time limit.
fn limit(text: &str) -> Result<Duration, String> {
    let limit = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_millis(1)..=Duration::from_mins(5);
    if range.contains(&limit) { Ok(limit) } else { Err("expected 1ms to 5m".to_owned()) }
}

/// Delivers all waiting events of one kind, or runs the subcommand.
///
/// # Errors
/// [`Failure::Io`] if the spool cannot be read or changed, [`Failure::Usage`] if root cannot become the hook
/// user, [`Failure::Config`] if the configuration at `config` does not tell where the spool is. A failing hook is
/// no error of its unit: its event is put aside, so that systemd does not start the unit for it again and again.
pub(super) fn run(args: &Args, config: &Path, variable: &Env<'_>) -> Result<Exit, Failure> {
    let entered = |spool: &Option<PathBuf>| {
        let spool = spool.clone().map_or_else(|| config::hooks(config).map(|hooks| hooks.spool), Ok)?;
        identity::become_hook_user(variable, &absolute(&spool)?)
    };
    match &args.command {
        None => {
            // Root may enter another directory to become the user of the hooks.
            let directory = absolute(&args.run.directory)?;
            let spool = identity::become_hook_user(variable, &absolute(&args.run.spool)?)?;
            deliver(&args.run, &directory, spool)
        }
        Some(HookCommand::Test(test)) => by_hand::test(test, &entered(&test.spool)?),
        Some(HookCommand::Retry(old)) => by_hand::retry(&old.kinds(), &entered(&old.spool)?),
        Some(HookCommand::Drop(old)) => by_hand::drop_failed(&old.kinds(), &entered(&old.spool)?),
    }
}

fn deliver(args: &RunArgs, directory: &Path, spool: Spool) -> Result<Exit, Failure> {
    let Some(kind) = args.event else {
        return Err(Failure::Usage(format!("--event names a kind: {}", known())));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let program = Program {
        kind,
        path: directory.join(kind.as_str()),
        limit: args.timeout,
        away: wall::wanted(spool.place()),
        spool: spool.clone(),
    };
    runtime.block_on(HookQueue { kind, spool, program, args }.run())?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_unit_leaves_room_for_the_program_s_own_limits() {
        use clap::Parser as _;
        let args =
            Line::try_parse_from(["hook", "--event", "needs-user", "--timeout", "5m"]).unwrap().args.run;
        let attempts = u32::try_from(args.retry.len()).unwrap() + 1;
        let one = args.timeout * attempts + args.retry.iter().sum::<Duration>();
        let unit = include_str!("../../systemd/tink-sync-hook@.service");
        let written = unit.lines().find_map(|line| line.strip_prefix("TimeoutStartSec=")).unwrap();
        assert!(queue::LONGEST + one < humantime::parse_duration(written).unwrap());
        assert!(Line::try_parse_from(["hook", "--event", "needs-user", "--timeout", "6m"]).is_err());
        assert!(Line::try_parse_from(["hook"]).is_err());
        assert!(Line::try_parse_from(["hook", "test", "needs-user"]).is_ok());
        assert!(Line::try_parse_from(["hook", "test", "needs_user"]).is_err());
        assert!(Line::try_parse_from(["hook", "--event", "needs-user", "retry"]).is_err());
    }
}

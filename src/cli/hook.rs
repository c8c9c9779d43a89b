//! `tink-sync hook`: runs the operator's program for every event that waits for it, one after the other. Run
//! by the units of hooks and never by a pass; knows the spool and the program, neither configuration nor store.

pub mod outbox;
mod program;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Failure;
use crate::config::{HOOKS_DIRECTORY, HOOKS_SPOOL};
use crate::domain::hook::HookKind;
use crate::exit::Exit;
use crate::observe::journal;
use crate::observe::spool::Spool;
use program::{Ended, Program};

/// After that time no further event is begun; systemd starts the unit again for what is left. With an
/// event that uses up all its attempts this stays below the unit's `TimeoutStartSec=`.
const LONGEST: Duration = Duration::from_mins(20);

/// Arguments of `hook`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kind of events
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub event: HookKind,
    /// Where the programs lie
    #[arg(long, value_name = "DIR", default_value = HOOKS_DIRECTORY)]
    pub directory: PathBuf,
    /// Where the events wait
    #[arg(long, value_name = "DIR", default_value = HOOKS_SPOOL)]
    pub spool: PathBuf,
    /// How long the program may take for one event
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = limit)]
    pub timeout: Duration,
    /// Pauses before further attempts at an event whose hook failed
    #[arg(long, value_name = "DURATION", default_value = "10s,1m,5m", value_delimiter = ',', value_parser = humantime::parse_duration)]
    pub retry: Vec<Duration>,
    /// Wait for further events once all are told, so that many in a row are one start of the unit
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    pub linger: Duration,
}

fn kind(text: &str) -> Result<HookKind, String> {
    HookKind::parse(text).ok_or_else(|| format!("expected one of: {}", known()))
}

/// All kinds, for people.
pub(super) fn known() -> String {
    HookKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

/// Attempts at one event must end within the unit's time.
fn limit(text: &str) -> Result<Duration, String> {
    let limit = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_millis(1)..=Duration::from_mins(5);
    if range.contains(&limit) { Ok(limit) } else { Err("expected 1ms to 5m".to_owned()) }
}

/// Tells all events of one kind that wait.
///
/// # Errors
/// [`Failure::Io`] if the spool cannot be read or changed. A hook that fails is no error: its event is put
/// aside, so that systemd does not start the unit for it again and again.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let queue = Queue {
        kind: args.event,
        spool: Spool::new(&args.spool),
        program: Program {
            kind: args.event,
            path: args.directory.join(args.event.as_str()),
            limit: args.timeout,
        },
        args,
    };
    runtime.block_on(queue.run())?;
    Ok(Exit::Success)
}

/// The events of one kind and their program.
struct Queue<'a> {
    kind: HookKind,
    spool: Spool,
    program: Program,
    args: &'a Args,
}

impl Queue<'_> {
    async fn run(&self) -> Result<(), Failure> {
        let (began, mut lingered, mut patient) = (Instant::now(), false, true);
        loop {
            let queue = self.spool.queue(self.kind);
            let waiting = self.spool.waiting(self.kind).map_err(|error| unusable(&queue, &error))?;
            if waiting.is_empty() && lingered {
                return Ok(());
            }
            lingered = waiting.is_empty();
            if lingered {
                tokio::time::sleep(self.args.linger).await;
            }
            for file in waiting {
                if began.elapsed() > LONGEST {
                    return Ok(());
                }
                // A hook that has just used up all attempts gets one for each further event: where it is
                // broken for good, thousands of events would take days otherwise.
                patient = self.tell(&file, patient).await.map_err(|error| unusable(&file, &error))?;
            }
        }
    }

    /// Tells one event, or puts it aside; says whether the hook took it.
    async fn tell(&self, file: &Path, patient: bool) -> std::io::Result<bool> {
        let id = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = match std::fs::read(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(patient),
            // A directory, or of somebody else: it must not start the unit again and again.
            Err(error) => {
                self.put_aside(file, &id, &format!("it cannot be read: {error}"))?;
                return Ok(patient);
            }
            Ok(text) => text,
        };
        let mut pauses = self.args.retry.iter().filter(|_| patient);
        loop {
            let problem = match self.program.run(&text).await {
                Ended::Well => {
                    self.spool.told(file)?;
                    tracing::info!("hook {}: told {id}", self.kind);
                    return Ok(true);
                }
                Ended::Badly(problem) => problem,
                Ended::NotStarted(problem) => {
                    self.put_aside(file, &id, &problem)?;
                    return Ok(false);
                }
            };
            let Some(pause) = pauses.next() else {
                self.put_aside(file, &id, &problem)?;
                return Ok(false);
            };
            let next = format!("the next attempt is in {}", humantime::format_duration(*pause));
            journal::hook_failed(self.kind.as_str(), &id, &problem, &next);
            tokio::time::sleep(*pause).await;
        }
    }

    fn put_aside(&self, file: &Path, id: &str, problem: &str) -> std::io::Result<()> {
        let place = self.spool.give_up(self.kind, file)?;
        let next = format!("given up and kept as {}", place.display());
        journal::hook_failed(self.kind.as_str(), id, problem, &next);
        Ok(())
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    let text = format!(
        "cannot use {}: {error}; the package makes this place: systemd-tmpfiles --create tink-sync.conf",
        path.display()
    );
    Failure::Io(std::io::Error::other(text))
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
        let args = Line::try_parse_from(["hook", "--event", "needs-user", "--timeout", "5m"]).unwrap().args;
        let attempts = u32::try_from(args.retry.len()).unwrap() + 1;
        let one = args.timeout * attempts + args.retry.iter().sum::<Duration>();
        let unit = include_str!("../../systemd/tink-sync-hook@.service");
        let written = unit.lines().find_map(|line| line.strip_prefix("TimeoutStartSec=")).unwrap();
        assert!(LONGEST + one < humantime::parse_duration(written).unwrap());
        assert!(Line::try_parse_from(["hook", "--event", "needs-user", "--timeout", "6m"]).is_err());
    }
}

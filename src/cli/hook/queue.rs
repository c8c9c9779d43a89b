//! Runs the program of one kind for every waiting event, one after the other, and puts aside events that
//! cannot be delivered. Knows the spool and the program, neither configuration nor store.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use super::RunArgs;
use super::program::{Ended, Program};
use crate::cli::Failure;
use crate::cli::identity::spool_unusable;
use crate::domain::hook::HookKind;
use crate::observe::journal;
use crate::observe::spool::Spool;

/// No further event is begun after this time; systemd starts the unit again for the rest. With an event that
/// uses up all its attempts this stays below the unit's `TimeoutStartSec=`.
pub(super) const LONGEST: Duration = Duration::from_mins(20);

/// The events of one kind and their program.
pub(super) struct HookQueue<'a> {
    pub kind: HookKind,
    pub spool: Spool,
    pub program: Program,
    pub args: &'a RunArgs,
}

impl HookQueue<'_> {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let (began, mut lingered, mut patient) = (Instant::now(), false, true);
        loop {
            let queue = self.spool.queue(self.kind);
            let waiting = self
                .spool
                .waiting(self.kind)
                .map_err(|error| spool_unusable(&self.spool.shown(&queue), &error))?;
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
                // After a hook has used up all attempts, each further event gets one: with a hook that is
                // broken for good, thousands of events would otherwise take days.
                patient = self
                    .deliver(&file, patient)
                    .await
                    .map_err(|error| spool_unusable(&self.spool.shown(&file), &error))?;
            }
        }
    }

    /// Delivers one event, or puts it aside; returns whether the next event gets all attempts.
    async fn deliver(&self, file: &Path, patient: bool) -> std::io::Result<bool> {
        let id = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = match Spool::read(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(patient),
            // A directory, a pipe or another user's file: it must not start the unit again and again.
            Err(error) => {
                self.put_aside(file, &id, &format!("it cannot be read: {error}"))?;
                return Ok(patient);
            }
            Ok(text) => text,
        };
        // A person waits for the result of a sample. Its one attempt says nothing about those of real events.
        let is_sample = id.starts_with(super::by_hand::SAMPLE);
        let mut pauses = self.args.retry.iter().filter(|_| patient && !is_sample);
        loop {
            let problem = match self.program.run(&text).await {
                Ended::Well => {
                    Spool::told(file)?;
                    tracing::info!("hook {}: told {id}", self.kind);
                    return Ok(true);
                }
                Ended::Badly(problem) => problem,
                Ended::NotStarted(problem) => {
                    self.put_aside(file, &id, &problem)?;
                    return Ok(patient && is_sample);
                }
            };
            let Some(pause) = pauses.next() else {
                self.put_aside(file, &id, &problem)?;
                return Ok(patient && is_sample);
            };
            let next = format!("the next attempt is in {}", humantime::format_duration(*pause));
            journal::hook_failed(self.kind.as_str(), &id, &problem, &next);
            tokio::time::sleep(*pause).await;
        }
    }

    fn put_aside(&self, file: &Path, id: &str, problem: &str) -> std::io::Result<()> {
        let place = self.spool.give_up(self.kind, file)?;
        let next = format!("given up and kept as {}", self.spool.shown(&place).display());
        journal::hook_failed(self.kind.as_str(), id, problem, &next);
        Ok(())
    }
}

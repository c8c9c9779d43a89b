//! Signals: SIGINT, SIGTERM and SIGHUP end a pass early; everything complete is committed first. A SIGHUP
//! that was ignored from the start (`nohup`) stays ignored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// Watches for signals that end the run.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    /// Cancelled by the first signal.
    pub token: CancellationToken,
    terminated: Arc<AtomicBool>,
}

impl Signals {
    /// Starts watching; must be called inside a runtime.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub(crate) fn watch() -> std::io::Result<Self> {
        let signals = Self { token: CancellationToken::new(), terminated: Arc::default() };
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hangup = if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        let watched = signals.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => watched.terminated.store(true, Ordering::Relaxed),
                () = received(hangup.as_mut()) => watched.terminated.store(true, Ordering::Relaxed),
            }
            watched.token.cancel();
        });
        Ok(signals)
    }

    /// Completes when a signal came and `grace` has passed since.
    pub(crate) async fn overdue(&self, grace: Duration) {
        self.token.cancelled().await;
        tokio::time::sleep(grace).await;
    }

    /// The exit of a run that a signal ended.
    pub(crate) fn exit(&self) -> Exit {
        if self.terminated.load(Ordering::Relaxed) { Exit::Terminated } else { Exit::Interrupted }
    }
}

/// Completes with the next signal; never for one that is not watched.
async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process was started with SIGHUP ignored.
fn is_hangup_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// The mask of ignored signals is a line of `/proc/PID/status`; SIGHUP is its lowest bit (`proc_pid_status(5)`).
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        for (mask, ignored) in [("0000000000000001", true), ("0000000000001000", false), ("x", false)] {
            assert_eq!(ignores_hangup(&format!("Name:\tx\nSigIgn:\t{mask}\n")), ignored);
        }
        assert!(!ignores_hangup(""));
    }
}

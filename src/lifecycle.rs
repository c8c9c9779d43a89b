//! Signals: SIGINT and SIGTERM end a pass early; everything complete is committed first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// Watches for signals that end the run.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Cancelled by the first signal.
    pub token: CancellationToken,
    terminated: Arc<AtomicBool>,
}

impl Signals {
    /// Starts watching; must be called inside a runtime.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn watch() -> std::io::Result<Self> {
        let signals = Self { token: CancellationToken::new(), terminated: Arc::default() };
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let watched = signals.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => watched.terminated.store(true, Ordering::Relaxed),
            }
            watched.token.cancel();
        });
        Ok(signals)
    }

    /// Ends when a signal came and `grace` has passed since.
    pub async fn overdue(&self, grace: Duration) {
        self.token.cancelled().await;
        tokio::time::sleep(grace).await;
    }

    /// How a run that a signal ended is reported.
    pub fn exit(&self) -> Exit {
        if self.terminated.load(Ordering::Relaxed) { Exit::Terminated } else { Exit::Interrupted }
    }
}

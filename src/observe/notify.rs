//! What the program tells the systemd that started it: its status line, that it is alive, and how long it
//! may still need. Does nothing outside systemd; nobody depends on what is lost here.

use std::time::Duration;

use sd_notify::NotifyState;

/// How many signs of life fall into the time after which systemd takes a silent program for dead.
const SIGNS_PER_LIMIT: u32 = 4;

/// Shows `text` as the unit's status.
pub(crate) fn status(text: &str) {
    // Each line of the protocol is an assignment of its own, and the text may quote others.
    send(&NotifyState::Status(&text.replace(char::is_control, " ")));
}

/// Asks for at least this long before the start counts as hung, whatever `TimeoutStartSec=` says; systemd
/// takes the later of the two ends.
pub(crate) fn needs(time: Duration) {
    send(&NotifyState::Custom(&format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())));
}

/// Shows signs of life as long as tasks are run, also while the pass waits for something, if the unit has
/// a watchdog. The first one arms it. Must be called inside a runtime.
pub(crate) fn keep_alive() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else { return };
    let mut pace = tokio::time::interval(limit / SIGNS_PER_LIMIT);
    tokio::spawn(async move {
        loop {
            pace.tick().await;
            send(&NotifyState::Watchdog);
        }
    });
}

fn send(state: &NotifyState<'_>) {
    // Without a socket nobody is listening.
    let _ = sd_notify::notify(std::slice::from_ref(state));
}

//! Notifies the systemd that started the program: its status line, that it is alive, and how long it may
//! still need. Does nothing outside systemd; nothing depends on a notification that is lost.

use std::time::Duration;

use sd_notify::NotifyState;

/// How many watchdog notifications are sent within the time after which systemd considers the program dead.
const SIGNS_PER_LIMIT: u32 = 4;

/// Shows `text` as the unit's status.
pub(crate) fn status(text: &str) {
    // Each line of the protocol is an assignment of its own, and `text` may quote texts from outside.
    send(&NotifyState::Status(&text.replace(char::is_control, " ")));
}

/// Requests at least this long before the start counts as hung, regardless of `TimeoutStartSec=`; systemd
/// takes the later of the two ends.
pub(crate) fn needs(time: Duration) {
    send(&NotifyState::Custom(&format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())));
}

/// Sends watchdog notifications as long as the runtime runs tasks, also while the pass waits for something,
/// if the unit has a watchdog. The first one arms it. Must be called inside a runtime.
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

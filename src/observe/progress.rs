//! The progress bar on a terminal. Draws on standard error and gets out of the way of log lines.

use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};

static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn bar() -> Option<ProgressBar> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Shows a bar over `total` connections.
pub fn start(total: u64) {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} connections {msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style);
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
}

/// One more connection has ended.
pub fn step() {
    if let Some(bar) = bar() {
        bar.inc(1);
    }
}

/// What is going on besides.
pub fn note(text: String) {
    if let Some(bar) = bar() {
        bar.set_message(text);
    }
}

/// Takes the bar away.
pub fn clear() {
    if let Some(bar) = BAR.lock().unwrap_or_else(PoisonError::into_inner).take() {
        bar.finish_and_clear();
    }
}

/// Runs `print` while the bar is hidden.
pub fn suspended<T>(print: impl FnOnce() -> T) -> T {
    match bar() {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

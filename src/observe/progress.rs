//! The progress bar on a terminal. Draws on standard error from its own thread, so that a stopped terminal
//! delays nothing else. Is hidden while log lines are written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);
static ENDED: AtomicU64 = AtomicU64::new(0);
static NOTE: Mutex<String> = Mutex::new(String::new());

/// The bar is redrawn this often.
const PACE: Duration = Duration::from_millis(100);

fn bar() -> Option<ProgressBar> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Shows a bar over `total` things.
pub(crate) fn start(total: u64, things: &str) {
    let style =
        ProgressStyle::with_template(&format!("{{bar:30}} {{pos}}/{{len}} {things} {{msg}} {{elapsed}}"))
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style);
    ENDED.store(0, Ordering::Relaxed);
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
    std::thread::spawn(move || {
        while !bar.is_finished() {
            bar.set_message(NOTE.lock().unwrap_or_else(PoisonError::into_inner).clone());
            bar.set_position(ENDED.load(Ordering::Relaxed));
            std::thread::sleep(PACE);
        }
    });
}

/// Counts `more` things as done.
pub(crate) fn step(more: u64) {
    ENDED.fetch_add(more, Ordering::Relaxed);
}

/// Sets the text beside the bar.
pub(crate) fn note(text: String) {
    *NOTE.lock().unwrap_or_else(PoisonError::into_inner) = text;
}

/// Removes the bar.
pub(crate) fn clear() {
    if let Some(bar) = BAR.lock().unwrap_or_else(PoisonError::into_inner).take() {
        bar.finish_and_clear();
    }
}

/// Runs `print` while the bar is hidden.
pub(crate) fn suspended<T>(print: impl FnOnce() -> T) -> T {
    match bar() {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

//! Typed or pasted lines, read on a thread of their own, so that the program can end while it waits for one.

use std::io::BufRead as _;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The longest line; the rest of a longer one counts as another line.
const LONGEST: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct PastedLines(UnboundedReceiver<String>);

impl PastedLines {
    pub(super) fn of_stdin() -> Self {
        let (send, lines) = unbounded_channel();
        // The thread is never joined, since a read from a terminal cannot be interrupted.
        std::thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            loop {
                let mut line = Vec::new();
                let read = std::io::Read::take(&mut input, LONGEST).read_until(b'\n', &mut line);
                let is_over = read.unwrap_or(0) == 0;
                if is_over || send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self(lines)
    }

    /// The next line; `None` at the end of the input.
    pub(super) async fn next(&mut self) -> Option<String> {
        self.0.recv().await
    }
}

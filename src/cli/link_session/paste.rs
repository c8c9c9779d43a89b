//! Lines that are typed or pasted, read on a thread of their own: the program can end while it waits for one.

use std::io::BufRead as _;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// No address is longer; the rest of such a line is another one.
const LONGEST: u64 = 64 * 1024;

/// Lines of standard input.
#[derive(Debug)]
pub(super) struct PastedLines(UnboundedReceiver<String>);

impl PastedLines {
    pub(super) fn of_stdin() -> Self {
        let (send, lines) = unbounded_channel();
        // A thread that nobody waits for, since a read from a terminal cannot be broken off.
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

//! Writes to a standard stream during a pass: one thread writes, and nothing else waits for the reader. A
//! pipe that is not read (`| less`) delays neither a connection nor a lease renewal, and uses little memory:
//! what does not fit is kept in an unnamed temporary file until it is read. Must not know what it writes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How much is kept in memory before the rest goes to the temporary file.
const IN_MEMORY: usize = 256 * 1024;
/// How much is read back from that file at once.
const CHUNK: usize = 64 * 1024;
/// A non-blocking stream that is full is tried again after this.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A stream with a thread that writes to it. Clones share the stream. Writing never waits for the reader and
/// never fails; [`Self::written`] returns the result.
#[derive(Clone)]
pub(crate) struct Outlet(Arc<Handle>);

/// Dropping the last clone ends the thread, once it has written everything.
struct Handle(Arc<OutletQueue>);

#[derive(Default)]
struct OutletQueue {
    state: Mutex<OutletState>,
    /// Signals that there is something to write, or that everything has been written.
    filled: Condvar,
    /// Signals that everything has been written, or that nothing more can be.
    emptied: Notify,
}

#[derive(Default)]
struct OutletState {
    /// What is older than `recent`; `None` while the reader keeps up.
    overflow: Option<Overflow>,
    recent: Vec<u8>,
    /// The thread is writing what it has taken.
    writing: bool,
    closed: bool,
    end: Option<OutletEnd>,
}

/// Why nothing more is written.
enum OutletEnd {
    /// The reader closed the stream, which is not a failure.
    Unread,
    Failed(io::Error),
}

struct Overflow {
    file: File,
    read: u64,
    written: u64,
}

impl Outlet {
    /// Starts a thread that writes to `stream`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn to(stream: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(OutletQueue::default());
        let shared = Arc::clone(&queue);
        std::thread::Builder::new().name("outlet".to_owned()).spawn(move || shared.write_all_to(stream))?;
        Ok(Self(Arc::new(Handle(queue))))
    }

    /// Waits until everything has been written, or cannot be.
    ///
    /// # Errors
    /// Why it cannot, unless the reader closed the stream.
    pub(crate) async fn written(&self) -> io::Result<()> {
        let queue = &self.0.0;
        loop {
            if let Some(ended) = queue.lock().ended() {
                return ended;
            }
            queue.emptied.notified().await;
        }
    }

    /// Waits for the same, up to `at_most`, so that later output on another stream comes after it.
    pub(crate) fn wait_until_written(&self, at_most: Duration) {
        let queue = &self.0.0;
        let is_busy = |state: &mut OutletState| state.ended().is_none();
        let waited = queue.filled.wait_timeout_while(queue.lock(), at_most, is_busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let queue = &self.0.0;
        let mut state = queue.lock();
        if state.end.is_none() {
            state.take_in(bytes);
            queue.filled.notify_all();
            // The thread may wait for the reader, who may never come.
            if state.end.is_some() {
                queue.emptied.notify_one();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.filled.notify_all();
    }
}

impl OutletState {
    fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.overflow.is_none()
    }

    /// The result; `None` while there is something left to write.
    fn ended(&self) -> Option<io::Result<()>> {
        match &self.end {
            Some(OutletEnd::Unread) => Some(Ok(())),
            Some(OutletEnd::Failed(error)) => Some(Err(io::Error::new(error.kind(), error.to_string()))),
            None => (self.is_empty() && !self.writing).then_some(Ok(())),
        }
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.recent.extend_from_slice(bytes);
        if self.recent.len() > IN_MEMORY
            && let Err(error) = self.set_aside()
        {
            let text = format!("nobody reads it, and it cannot be kept in a temporary file: {error}");
            self.fail(io::Error::new(error.kind(), text));
        }
    }

    fn set_aside(&mut self) -> io::Result<()> {
        let overflow = match &mut self.overflow {
            Some(overflow) => overflow,
            none => none.insert(Overflow { file: tempfile::tempfile()?, read: 0, written: 0 }),
        };
        overflow.file.seek(SeekFrom::Start(overflow.written))?;
        overflow.file.write_all(&self.recent)?;
        overflow.written += self.recent.len() as u64;
        self.recent.clear();
        Ok(())
    }

    fn next(&mut self) -> io::Result<Vec<u8>> {
        let Some(overflow) = &mut self.overflow else { return Ok(std::mem::take(&mut self.recent)) };
        let mut chunk = Vec::with_capacity(CHUNK);
        overflow.file.seek(SeekFrom::Start(overflow.read))?;
        (&overflow.file).take(CHUNK as u64).read_to_end(&mut chunk)?;
        overflow.read += chunk.len() as u64;
        if overflow.read >= overflow.written || chunk.is_empty() {
            self.overflow = None;
        }
        Ok(chunk)
    }

    fn fail(&mut self, error: io::Error) {
        let unread = error.kind() == io::ErrorKind::BrokenPipe;
        self.end = Some(if unread { OutletEnd::Unread } else { OutletEnd::Failed(error) });
        (self.recent, self.overflow) = (Vec::new(), None);
    }
}

impl OutletQueue {
    fn lock(&self) -> MutexGuard<'_, OutletState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop of the thread.
    fn write_all_to(&self, mut stream: impl Write) {
        loop {
            let is_idle = |state: &mut OutletState| state.is_empty() && !state.closed && state.end.is_none();
            let mut state =
                self.filled.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
            if state.is_empty() || state.end.is_some() {
                return self.emptied.notify_one();
            }
            state.writing = true;
            let next = state.next();
            drop(state);
            let written = next.and_then(|chunk| write_chunk(&mut stream, &chunk));
            let mut state = self.lock();
            state.writing = false;
            if let Err(error) = written {
                state.fail(error);
            }
            if state.ended().is_some() {
                self.emptied.notify_one();
                self.filled.notify_all();
            }
        }
    }
}

/// Standard streams are shared with the process that started this one, which may have made them non-blocking.
fn write_chunk(stream: &mut impl Write, mut chunk: &[u8]) -> io::Result<()> {
    while !chunk.is_empty() {
        match stream.write(chunk) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => chunk = chunk.get(taken..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(ASK_AGAIN),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn line(n: usize) -> String {
        format!("line {n} of a report that nobody reads for the time being\n")
    }

    #[tokio::test]
    async fn what_is_not_read_stays_out_of_memory_and_comes_in_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut outlet = Outlet::to(writer).unwrap();
        let lines: String = (0..60_000).map(line).collect();
        for line in lines.split_inclusive('\n') {
            outlet.write_all(line.as_bytes()).unwrap();
            let state = outlet.0.0.lock();
            assert!(state.recent.len() <= IN_MEMORY);
        }
        assert!(outlet.0.0.lock().overflow.is_some(), "it was never too much");
        let mut read = String::new();
        // The other end closes with the last clone.
        drop(outlet);
        reader.read_to_string(&mut read).unwrap();
        assert!(read == lines, "{} bytes came of {}", read.len(), lines.len());
    }

    #[tokio::test]
    async fn a_reader_that_went_away_is_no_failure_and_a_full_disk_is_one() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut outlet = Outlet::to(writer).unwrap();
        outlet.write_all(b"anything").unwrap();
        outlet.written().await.unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut outlet = Outlet::to(full).unwrap();
        outlet.write_all(b"anything").unwrap();
        let error = outlet.written().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        // The failure stays, and further writes are accepted and dropped.
        outlet.write_all(b"more").unwrap();
        outlet.written().await.unwrap_err();
    }

    /// Says that it was called, and then takes nothing until the other end is dropped.
    struct Unread(std::sync::mpsc::Sender<()>, std::sync::mpsc::Receiver<()>);

    impl Write for Unread {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(());
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_set_aside_ends_the_waiting_although_nobody_reads() {
        let ((begun, is_begun), (reader, unread)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let mut outlet = Outlet::to(Unread(begun, unread)).unwrap();
        outlet.write_all(b"first").unwrap();
        is_begun.recv().unwrap();
        let waiting = outlet.clone();
        let mut written = std::pin::pin!(waiting.written());
        let mut context = Context::from_waker(Waker::noop());
        assert!(written.as_mut().poll(&mut context).is_pending());
        // The temporary directory is full.
        let file = File::options().write(true).open("/dev/full").unwrap();
        outlet.0.0.lock().overflow = Some(Overflow { file, read: 0, written: 0 });
        outlet.write_all(&vec![b'x'; IN_MEMORY + 1]).unwrap();
        assert!(matches!(written.as_mut().poll(&mut context), Poll::Ready(Err(_))));
        drop(reader);
    }

    /// Accepts one byte after every refusal.
    struct Reluctant(bool, Arc<Mutex<Vec<u8>>>);

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = !self.0;
            match bytes.first() {
                Some(byte) if !self.0 => {
                    self.1.lock().unwrap().push(*byte);
                    Ok(1)
                }
                _ => Err(io::ErrorKind::WouldBlock.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_stream_that_takes_nothing_now_is_asked_again() {
        let taken = Arc::default();
        let mut outlet = Outlet::to(Reluctant(false, Arc::clone(&taken))).unwrap();
        outlet.write_all(b"all").unwrap();
        outlet.written().await.unwrap();
        assert_eq!(*taken.lock().unwrap(), b"all");
    }
}

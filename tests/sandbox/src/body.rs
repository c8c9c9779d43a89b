//! Bodies of answers, whole or spoilt.
//!
//! It only spends bytes; what they are and why is decided elsewhere.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// Size of the pieces that padding comes in, so that a body of gigabytes needs no memory.
const BLANKS: &[u8] = &[b' '; 64 * 1024];

/// A body that may claim a length, and may break its word.
#[derive(Debug)]
pub struct ReplyBody {
    claimed: Option<u64>,
    rest: Bytes,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Whole,
    /// Ends before the claimed length; `flushed` once the rest has left.
    Cut {
        flushed: bool,
    },
    Slow {
        chunk: usize,
        every: Duration,
        pause: Pin<Box<Sleep>>,
    },
    Padded {
        blanks: u64,
    },
}

impl ReplyBody {
    /// All of `bytes` at once.
    pub fn whole(bytes: Bytes) -> Self {
        Self { claimed: Some(bytes.len() as u64), rest: bytes, way: Way::Whole }
    }

    /// All of `bytes`, without a word about their length.
    pub fn unannounced(bytes: Bytes) -> Self {
        Self { claimed: None, ..Self::whole(bytes) }
    }

    /// Only `sent` of `bytes`; then the connection breaks.
    pub fn cut(bytes: &Bytes, sent: usize) -> Self {
        let rest = bytes.slice(..sent.min(bytes.len()));
        Self { claimed: Some(bytes.len() as u64), rest, way: Way::Cut { flushed: false } }
    }

    /// `bytes` in pieces, with a pause before each. Must be called inside the runtime.
    pub fn slow(bytes: Bytes, chunk: usize, every: Duration) -> Self {
        Self {
            claimed: Some(bytes.len() as u64),
            rest: bytes,
            way: Way::Slow { chunk: chunk.max(1), every, pause: Box::pin(sleep(every)) },
        }
    }

    /// `bytes` behind as many blanks as make `size` bytes in all.
    pub fn padded(bytes: Bytes, size: u64) -> Self {
        let claimed = size.max(bytes.len() as u64);
        Self {
            claimed: Some(claimed),
            way: Way::Padded { blanks: claimed - bytes.len() as u64 },
            rest: bytes,
        }
    }

    fn take(&mut self, size: usize) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.rest.split_to(size.min(self.rest.len()));
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        match &mut this.way {
            // The server flushes when a body is not ready, and drops what it holds when a body ends early: so be late once.
            Way::Cut { flushed } if this.rest.is_empty() && !*flushed => {
                *flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Way::Slow { chunk, every, pause } => {
                if !this.rest.is_empty() && pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let (chunk, every) = (*chunk, *every);
                pause.set(sleep(every));
                this.take(chunk)
            }
            Way::Whole | Way::Cut { .. } | Way::Padded { blanks: 0 } => this.take(usize::MAX),
            Way::Padded { blanks } => {
                let piece = Bytes::from_static(BLANKS).split_to((*blanks).min(BLANKS.len() as u64) as usize);
                *blanks -= piece.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.way, Way::Whole) && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.claimed.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

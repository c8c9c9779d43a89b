//! Faults: what shall go wrong, for whom, where and when.
//!
//! It only decides which fault strikes a call; carrying it out is `server`'s part. With nothing queued it costs one load.

use std::io::{self, Read as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzEncoder;

use crate::edit::Edit;
use crate::lock;

pub use crate::call::Endpoint;

/// Something that shall go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// External id of the user; `None` for any call.
    pub user: Option<String>,
    /// `None` for any endpoint.
    pub endpoint: Option<Endpoint>,
    /// From this matching call on, counted from 1; `None` from the first.
    pub nth: Option<u32>,
    /// How often.
    pub times: Times,
    /// What.
    pub action: Action,
}

impl Fault {
    /// `action`, once, on the next call of anyone to anything. Narrow it down with the methods below.
    pub fn new(action: Action) -> Self {
        Self { user: None, endpoint: None, nth: None, times: Times::Once, action }
    }

    /// Only calls of this user.
    #[must_use]
    pub fn user(self, external_id: &str) -> Self {
        Self { user: Some(external_id.to_owned()), ..self }
    }

    /// Only calls to this endpoint.
    #[must_use]
    pub fn at(self, endpoint: Endpoint) -> Self {
        Self { endpoint: Some(endpoint), ..self }
    }

    /// Only from the nth matching call on.
    #[must_use]
    pub fn nth(self, nth: u32) -> Self {
        Self { nth: Some(nth), ..self }
    }

    /// More than once.
    #[must_use]
    pub fn times(self, times: Times) -> Self {
        Self { times, ..self }
    }
}

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// One call.
    Once,
    /// This many calls.
    N(u32),
    /// Every call until the faults are cleared.
    Forever,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// This answer with the endpoint's usual error body unless one is given, and nothing is done.
    Status {
        /// HTTP status.
        code: u16,
        /// Further headers; a `Content-Type` here replaces `application/json`.
        headers: Vec<(String, String)>,
        /// Body; empty for the usual error body of the endpoint.
        body: String,
    },
    /// The real answer, later.
    Delay(Duration),
    /// No answer, ever; the connection stays open.
    Hang,
    /// The connection is reset before anything is done.
    Reset,
    /// The real answer, of whose body only this many bytes come before the connection closes.
    Truncate(usize),
    /// The real answer in pieces.
    SlowBody {
        /// Bytes per piece.
        chunk: usize,
        /// Pause before each.
        every: Duration,
    },
    /// It is done, but instead of the answer the connection is reset.
    LoseReply,
    /// The real answer, blown up with leading blanks (legal JSON) to this many bytes.
    BigBody(u64),
    /// Status 200 with the first half of the real body as if it were all of it.
    Malformed,
    /// Status 200 with a page for people.
    Html,
    /// Status 200 with these bytes as the body.
    Garbage(Vec<u8>),
    /// Exactly this answer, and nothing is done.
    Answer {
        /// HTTP status.
        code: u16,
        /// Further headers.
        headers: Vec<(String, String)>,
        /// All of the body.
        body: Vec<u8>,
    },
    /// Status 200 with these bytes as the body, whose length is not announced.
    Unannounced(Vec<u8>),
    /// Status 200 with these bytes as the body, which is said to be packed by gzip.
    Gzip(Vec<u8>),
    /// The real answer, changed.
    Edit(Edit),
}

impl Action {
    /// A bare status with the endpoint's usual error body.
    pub fn status(code: u16) -> Self {
        Self::Status { code, headers: Vec::new(), body: String::new() }
    }

    /// 429 with `Retry-After` as given, sensible or not.
    pub fn too_many(retry_after: &str) -> Self {
        Self::Status {
            code: 429,
            headers: vec![("Retry-After".to_owned(), retry_after.to_owned())],
            body: String::new(),
        }
    }

    /// A small packed body that unpacks to this many blanks.
    ///
    /// # Panics
    /// Never: memory takes whatever is written.
    pub fn gzip_bomb(size: u64) -> Self {
        let mut packed = Vec::new();
        let mut blanks = GzEncoder::new(io::repeat(b' ').take(size), Compression::fast());
        blanks.read_to_end(&mut packed).expect("memory takes whatever is written");
        Self::Gzip(packed)
    }
}

/// The queue.
#[derive(Debug, Default)]
pub struct Faults {
    queued: AtomicUsize,
    queue: Mutex<Vec<Queued>>,
}

#[derive(Debug)]
struct Queued {
    fault: Fault,
    seen: u32,
    struck: u32,
}

impl Queued {
    fn used_up(&self) -> bool {
        match self.fault.times {
            Times::Once => self.struck >= 1,
            Times::N(times) => self.struck >= times,
            Times::Forever => false,
        }
    }

    fn matches(&self, user: Option<&str>, endpoint: Endpoint) -> bool {
        let Fault { user: whose, endpoint: place, .. } = &self.fault;
        whose.as_deref().is_none_or(|whose| user == Some(whose))
            && place.is_none_or(|place| place == endpoint)
    }
}

impl Faults {
    /// Queues a fault.
    pub fn push(&self, fault: Fault) {
        let mut queue = lock(&self.queue);
        queue.push(Queued { fault, seen: 0, struck: 0 });
        self.queued.store(queue.len(), Relaxed);
    }

    /// Forgets all faults.
    pub fn clear(&self) {
        lock(&self.queue).clear();
        self.queued.store(0, Relaxed);
    }

    /// How many have not been used up.
    pub fn len(&self) -> usize {
        self.queued.load(Relaxed)
    }

    /// The fault that strikes a call. `user` is only asked for if there are faults at all.
    pub fn strike(&self, endpoint: Endpoint, user: impl FnOnce() -> Option<String>) -> Option<Action> {
        if self.len() == 0 {
            return None;
        }
        let user = user();
        let mut queue = lock(&self.queue);
        let mut action = None;
        for queued in queue.iter_mut().filter(|queued| queued.matches(user.as_deref(), endpoint)) {
            queued.seen += 1;
            if action.is_none() && queued.seen >= queued.fault.nth.unwrap_or(1) {
                queued.struck += 1;
                action = Some(queued.fault.action.clone());
            }
        }
        queue.retain(|queued| !queued.used_up());
        self.queued.store(queue.len(), Relaxed);
        action
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(faults: &Faults, endpoint: Endpoint, user: &str) -> Option<Action> {
        faults.strike(endpoint, || Some(user.to_owned()))
    }

    #[test]
    fn the_first_ripe_fault_strikes_and_all_matching_ones_count() {
        let faults = Faults::default();
        faults.push(Fault::new(Action::Hang).user("a").nth(2));
        faults.push(Fault::new(Action::Reset).at(Endpoint::Accounts).times(Times::N(2)));
        assert_eq!(strikes(&faults, Endpoint::Accounts, "a"), Some(Action::Reset));
        assert_eq!(strikes(&faults, Endpoint::Consents, "b"), None);
        assert_eq!(strikes(&faults, Endpoint::Accounts, "a"), Some(Action::Hang));
        assert_eq!(strikes(&faults, Endpoint::Accounts, "a"), Some(Action::Reset));
        assert_eq!(faults.len(), 0);
    }

    #[test]
    fn for_ever_ends_only_by_clearing() {
        let faults = Faults::default();
        faults.push(Fault::new(Action::status(503)).times(Times::Forever));
        assert!((0..100).all(|_| strikes(&faults, Endpoint::Accounts, "a").is_some()));
        faults.clear();
        assert_eq!(strikes(&faults, Endpoint::Accounts, "a"), None);
    }
}

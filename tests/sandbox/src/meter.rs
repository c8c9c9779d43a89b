//! What has been asked: counters, the number of calls in flight, the log of the last requests.
//!
//! It must never slow the server down: counters are atomics, and what needs a lock is off unless configured.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use hyper::HeaderMap;

use crate::call::Endpoint;
use crate::lock;
use crate::world::UserKey;

/// A request as remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// HTTP method.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
    /// Where it went.
    pub endpoint: Endpoint,
    /// External id of its user.
    pub user: Option<String>,
    /// Status of the answer; 0 if there was none.
    pub status: u16,
}

/// All measurements.
#[derive(Debug)]
pub struct Meter {
    counts: [AtomicU64; Endpoint::ALL.len()],
    by_user: Option<Mutex<HashMap<(UserKey, Endpoint), u64>>>,
    answers: AtomicU64,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    log: Mutex<VecDeque<Logged>>,
    log_size: usize,
}

/// A call in flight; it ends when dropped, also if the client gives up.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Meter);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Meter {
    /// `log_size` requests are remembered.
    pub fn new(by_user: bool, log_size: usize) -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; Endpoint::ALL.len()],
            by_user: by_user.then(Mutex::default),
            answers: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            log: Mutex::default(),
            log_size,
        }
    }

    /// Counts a call that begins.
    pub fn begin(&self, endpoint: Endpoint, user: Option<UserKey>) -> InFlight<'_> {
        self.count(endpoint).fetch_add(1, Relaxed);
        if let (Some(counts), Some(user)) = (&self.by_user, user) {
            *lock(counts).entry((user, endpoint)).or_default() += 1;
        }
        let now = self.in_flight.fetch_add(1, Relaxed) + 1;
        self.most_in_flight.fetch_max(now, Relaxed);
        InFlight(self)
    }

    #[expect(clippy::indexing_slicing, reason = "there is a counter for each endpoint's number")]
    fn count(&self, endpoint: Endpoint) -> &AtomicU64 {
        &self.counts[endpoint as usize]
    }

    /// A number for an answer that no other answer has.
    pub fn next_request(&self) -> u64 {
        self.answers.fetch_add(1, Relaxed)
    }

    /// Whether requests are remembered.
    pub fn logs(&self) -> bool {
        self.log_size > 0
    }

    /// Remembers a request.
    pub fn log(&self, logged: Logged) {
        let mut log = lock(&self.log);
        if log.len() >= self.log_size {
            log.pop_front();
        }
        log.push_back(logged);
    }

    /// The remembered requests, oldest first.
    pub fn logged(&self) -> Vec<Logged> {
        lock(&self.log).iter().cloned().collect()
    }

    /// Calls by endpoint, without those never called.
    pub fn counts(&self) -> BTreeMap<Endpoint, u64> {
        let counts = Endpoint::ALL.into_iter().map(|endpoint| (endpoint, self.count(endpoint).load(Relaxed)));
        counts.filter(|&(_, count)| count > 0).collect()
    }

    /// Calls of one user by endpoint; empty unless users are counted.
    pub fn user_counts(&self, user: UserKey) -> BTreeMap<Endpoint, u64> {
        let counts = self.by_user.iter().flat_map(|counts| lock(counts).clone());
        counts
            .filter(|((whose, _), _)| *whose == user)
            .map(|((_, endpoint), count)| (endpoint, count))
            .collect()
    }

    /// Most calls that were in flight at one time.
    pub fn most_in_flight(&self) -> usize {
        self.most_in_flight.load(Relaxed)
    }

    /// Starts counting anew and empties the log.
    pub fn reset(&self) {
        self.counts.iter().for_each(|count| count.store(0, Relaxed));
        self.by_user.iter().for_each(|counts| lock(counts).clear());
        self.most_in_flight.store(self.in_flight.load(Relaxed), Relaxed);
        lock(&self.log).clear();
    }
}

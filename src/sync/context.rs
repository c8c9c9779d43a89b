//! What the steps of one connection share: the settings, access to Tink and the store, the counters, the time
//! that is left. Decides nothing.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::hold::Hold;
use super::rotation::Renewals;
use crate::clock::Clock;
use crate::domain::event::Event;
use crate::domain::outcome::Counts;
use crate::store::{Claim, Store};
use crate::tink::{Client, Session};

/// When to request a refresh, and how to wait.
#[derive(Clone, Copy, Debug)]
pub struct RefreshRules {
    /// Data older than this is old.
    pub age: SignedDuration,
    /// The first pause between two polls.
    pub pause: Duration,
    pub longest_pause: Duration,
}

/// The settings of the sync that every connection shares.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// A connection whose last success began less than this ago is not due.
    pub min_interval: Duration,
    /// How far back a first walk goes; `None` means everything.
    pub history_days: Option<i64>,
    /// Days read again below the watermark.
    pub overlap_days: i64,
    /// Days read beyond today.
    pub lookahead_days: i64,
    /// An account without a new refresh is walked again after this.
    pub rewalk: SignedDuration,
    /// The last 90 days of an account are walked again after this.
    pub deep_rewalk: SignedDuration,
    /// Tink's data of a healthy consent that are older than this are stale.
    pub stale_after: SignedDuration,
    /// A balance difference is reported once it has stood this long.
    pub balance_min_open: SignedDuration,
    /// Time for one connection, without pauses that other connections' 429s cause.
    pub connection_timeout: Duration,
    /// Time for the pass.
    pub deadline: Duration,
    /// How long to wait for Tink as a whole to respond again.
    pub outage_patience: Duration,
    /// Connections worked on at once.
    pub slots: usize,
    /// Base of the waits between probes.
    pub probe_base: Duration,
    /// How long to wait for the bank of a new link that is still at work.
    pub bank_wait: Duration,
    /// Attempts a user may have in 24 hours.
    pub quota: u32,
    /// Days before a consent's end at which to warn.
    pub consent_warn: Vec<i64>,
    /// Whether and when Tink is asked to fetch from the bank.
    pub refresh: Option<RefreshRules>,
}

/// What the connections of one pass share.
pub struct PassContext {
    /// Where everything is stored.
    pub store: Store,
    /// The client for Tink.
    pub client: Client,
    pub clock: Arc<dyn Clock>,
    pub options: SyncOptions,
    /// Receives every event.
    pub emit: Arc<dyn Fn(&Event) + Send + Sync>,
    /// Token renewals of older links.
    pub renewals: Renewals,
    /// How long the leases of this run last.
    pub hold: Hold,
}

impl fmt::Debug for PassContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassContext").finish_non_exhaustive()
    }
}

/// Counts that survive an attempt that is cut short.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Counts>);

impl Counters {
    pub fn add(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a connection's time; pauses that Tink requested of other connections do not count.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    began: Instant,
    paused_before: Duration,
}

impl Deadline {
    /// A time limit that begins now.
    pub fn begin(client: &Client) -> Self {
        Self { began: Instant::now(), paused_before: client.paused_total() }
    }

    /// When a time limit of this length is reached, as of now. Pauses that the session caused itself count.
    pub fn end(&self, client: &Client, session: &Session, time: Duration) -> Instant {
        let paused = client.paused_total().saturating_sub(self.paused_before);
        self.began + time + paused.saturating_sub(session.own_pauses())
    }

    pub fn left(&self, client: &Client, session: &Session, time: Duration) -> Duration {
        self.end(client, session, time).saturating_duration_since(Instant::now())
    }
}

/// One connection being worked on.
pub struct ConnectionSync<'a> {
    /// What all connections share.
    pub ctx: &'a PassContext,
    /// The connection and its lease.
    pub claim: &'a Claim,
    /// Its calls to Tink.
    pub session: &'a Session,
    pub counters: &'a Counters,
    /// When its time is used up.
    pub deadline: Deadline,
}

impl fmt::Debug for ConnectionSync<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionSync").finish_non_exhaustive()
    }
}

impl ConnectionSync<'_> {
    pub fn now(&self) -> Timestamp {
        self.ctx.clock.now()
    }

    /// Reports records that are new in quarantine.
    pub fn quarantined(&self, reason: String, records: u64) {
        let connection_id = self.claim.lease.connection_id.clone();
        (self.ctx.emit)(&Event::Quarantined { connection_id, reason, records });
    }
}

//! Limits how fast and how much at once: the rate, the pause after a `Retry-After`, the requests in flight
//! and the memory for bodies, each shared by the whole process (Tink limits per app, API.md 1.4). Must not
//! know what is sent.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// Memory for all bodies together, in bytes.
const BODIES: usize = 32 * 1024 * 1024;
/// What a body may grow to before it needs the permit for a large one.
const BODY: usize = 256 * 1024;
/// A rate is halved at most once in this time.
const HALVING: Duration = Duration::from_secs(1);
/// Slack for the rounding of the bucket's level.
const ROUNDING: f64 = 1e-9;

pub(super) struct Pacer {
    setting: f64,
    burst: f64,
    state: Mutex<PaceState>,
    asked: Notify,
    turn: tokio::sync::Mutex<()>,
    slots: Semaphore,
    bodies: Semaphore,
    large: Semaphore,
}

struct PaceState {
    level: f64,
    rate: f64,
    filled: Instant,
    halved: Option<Instant>,
    pause: Option<Pause>,
    paused: Duration,
}

#[derive(Clone, Copy)]
struct Pause {
    from: Instant,
    until: Instant,
}

/// Permission to send one request; held until its body is read.
#[must_use]
pub(super) struct Slot<'a>(#[expect(dead_code, reason = "held for its drop")] Option<SemaphorePermit<'a>>);

/// Memory for one body; held until it is parsed.
#[must_use]
pub(super) struct Reservation<'a> {
    pacer: &'a Pacer,
    bytes: usize,
    _memory: Option<SemaphorePermit<'a>>,
    large: Option<SemaphorePermit<'a>>,
}

impl Pacer {
    /// A full bucket for `requests_per_second` and `concurrency` slots.
    pub(super) fn new(requests_per_second: f64, concurrency: usize) -> Self {
        let burst = (requests_per_second / 10.0).max(1.0);
        let state = PaceState {
            level: burst,
            rate: requests_per_second,
            filled: Instant::now(),
            halved: None,
            pause: None,
            paused: Duration::ZERO,
        };
        Self {
            setting: requests_per_second,
            burst,
            state: Mutex::new(state),
            asked: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
            slots: Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS)),
            bodies: Semaphore::new(BODIES),
            large: Semaphore::new(1),
        }
    }

    /// Waits for a free slot, the end of a pause and the rate; first come, first served.
    pub(super) async fn enter(&self) -> Slot<'_> {
        let slot = self.slots.acquire().await.ok();
        let _turn = self.turn.lock().await;
        while let Err(until) = self.take(Instant::now()) {
            sleep_until(until).await;
        }
        Slot(slot)
    }

    /// Takes one request out of the bucket, or returns when to try again.
    fn take(&self, now: Instant) -> Result<(), Instant> {
        let mut state = self.state();
        if let Some(pause) = state.pause
            && now < pause.until
        {
            return Err(pause.until);
        }
        self.fill(&mut state, now);
        if state.level + ROUNDING >= 1.0 {
            state.level = (state.level - 1.0).max(0.0);
            return Ok(());
        }
        let wait = Duration::try_from_secs_f64((1.0 - state.level) / state.rate);
        let wait = wait.unwrap_or(Duration::from_hours(1));
        Err(now + wait.clamp(Duration::from_millis(1), Duration::from_hours(1)))
    }

    /// Refills the bucket and raises a lowered rate, for the time up to `now`.
    fn fill(&self, state: &mut PaceState, now: Instant) {
        let seconds = now.saturating_duration_since(state.filled).as_secs_f64();
        state.filled = now;
        state.level = (state.level + state.rate * seconds).min(self.burst);
        state.rate = (state.rate + self.setting / 10.0 * seconds).min(self.setting);
    }

    /// Halves the rate after a 429, at most once a second, never below one request per second, or below the
    /// setting if that is lower.
    pub(super) fn slow_down(&self) {
        let now = Instant::now();
        let mut state = self.state();
        if state.halved.is_some_and(|at| now.saturating_duration_since(at) < HALVING) {
            return;
        }
        self.fill(&mut state, now);
        state.halved = Some(now);
        state.rate = (state.rate / 2.0).max(self.setting.min(1.0));
    }

    /// Pauses all requests for `length`, because Tink requested it.
    pub(super) fn pause_as_asked(&self, length: Duration) {
        self.pause(length);
        self.asked.notify_one();
    }

    /// Waits until Tink requests a pause that was not yet returned here; returns the time at which it ends.
    pub(super) async fn asked_to_pause(&self) -> Instant {
        self.asked.notified().await;
        self.state().pause.map_or_else(Instant::now, |pause| pause.until)
    }

    /// Pauses all requests for `length`; a pause that ends later is kept.
    pub(super) fn pause(&self, length: Duration) {
        let now = Instant::now();
        let until = now + length;
        let mut state = self.state();
        let pause = match state.pause {
            Some(running) if now < running.until => Pause { until: running.until.max(until), ..running },
            ended => {
                state.paused += ended.map_or(Duration::ZERO, |pause| pause.until - pause.from);
                Pause { from: now, until }
            }
        };
        state.pause = Some(pause);
    }

    /// Total time paused, including a running pause up to now; overlaps count once.
    pub(super) fn paused_total(&self) -> Duration {
        let now = Instant::now();
        let state = self.state();
        let current = state.pause.map(|pause| now.min(pause.until) - pause.from);
        state.paused + current.unwrap_or_default()
    }

    /// Waits for memory for a body of the announced length, or for [`BODY`] if it is longer or unknown.
    pub(super) async fn reserve(&self, announced: Option<u64>) -> Reservation<'_> {
        let announced = announced.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BODY);
        let bytes = announced.clamp(1, BODY);
        let memory = self.bodies.acquire_many(u32::try_from(bytes).unwrap_or(1)).await.ok();
        Reservation { pacer: self, bytes, _memory: memory, large: None }
    }

    fn state(&self) -> MutexGuard<'_, PaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn is_paused(&self) -> bool {
        self.state().pause.is_some_and(|pause| Instant::now() < pause.until)
    }
}

impl Reservation<'_> {
    /// The part of an announced length that is already reserved.
    pub(super) fn covers(&self, announced: Option<usize>) -> usize {
        announced.map_or(0, |bytes| bytes.min(self.bytes))
    }

    /// Waits until the body may grow to `bytes`. The holder of the permit for a large body does not wait for
    /// it again, so this cannot block forever.
    pub(super) async fn grow(&mut self, bytes: usize) {
        if bytes > self.bytes && self.large.is_none() {
            self.large = self.pacer.large.acquire().await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::task::unconstrained;
    use tokio::time::advance;

    /// Sends `count` requests one after another and returns how long that took.
    async fn send(pacer: &Pacer, count: usize) -> Duration {
        let start = Instant::now();
        for _ in 0..count {
            drop(pacer.enter().await);
        }
        start.elapsed()
    }

    fn close(actual: Duration, seconds: f64) -> bool {
        (actual.as_secs_f64() - seconds).abs() < 0.1
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_holds_after_a_burst_of_a_tenth() {
        let pacer = Pacer::new(20.0, 8);
        assert_eq!(send(&pacer, 2).await, Duration::ZERO);
        assert!(close(send(&pacer, 100).await, 5.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_below_one_is_kept_and_never_lowered() {
        let pacer = Pacer::new(0.25, 8);
        send(&pacer, 1).await;
        pacer.slow_down();
        assert!(close(send(&pacer, 3).await, 12.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_halves_the_rate_once_a_second_and_it_grows_back() {
        let pacer = Pacer::new(20.0, 8);
        let rate = || pacer.state().rate;
        pacer.slow_down();
        pacer.slow_down();
        assert!((rate() - 10.0).abs() < 1e-6);
        advance(Duration::from_secs(1)).await;
        pacer.slow_down();
        assert!((rate() - 6.0).abs() < 1e-6);
        for _ in 0..200 {
            advance(Duration::from_secs(1)).await;
            pacer.slow_down();
        }
        assert!(rate() >= 1.0);
        advance(Duration::from_secs(10)).await;
        assert!(pacer.take(Instant::now()).is_ok());
        assert!((rate() - 20.0).abs() < 1e-6);
    }

    #[tokio::test(start_paused = true)]
    async fn the_floor_is_one_a_second() {
        let pacer = Pacer::new(1.5, 8);
        pacer.slow_down();
        assert!((pacer.state().rate - 1.0).abs() < 1e-6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everybody_and_is_counted_once() {
        let pacer = Pacer::new(1000.0, 8);
        pacer.pause(Duration::from_secs(10));
        advance(Duration::from_secs(4)).await;
        assert_eq!(pacer.paused_total(), Duration::from_secs(4));
        pacer.pause(Duration::from_secs(8));
        pacer.pause(Duration::from_secs(1));
        let (one, two) = tokio::join!(send(&pacer, 1), send(&pacer, 1));
        assert!(close(one, 8.0) && close(two, 8.0));
        advance(Duration::from_secs(100)).await;
        assert_eq!(pacer.paused_total(), Duration::from_secs(12));
        pacer.pause(Duration::from_secs(5));
        advance(Duration::from_secs(5)).await;
        assert_eq!(pacer.paused_total(), Duration::from_secs(17));
    }

    #[tokio::test(start_paused = true)]
    async fn what_tink_asks_for_is_told_once_and_what_others_were_asked_for_is_not() {
        let pacer = Pacer::new(1000.0, 8);
        pacer.pause(Duration::from_secs(9));
        assert!(pacer.asked_to_pause().now_or_never().is_none());
        pacer.pause_as_asked(Duration::from_secs(30));
        advance(Duration::from_secs(10)).await;
        let left = pacer.asked_to_pause().now_or_never().map(|until| until - Instant::now());
        assert_eq!(left, Some(Duration::from_secs(20)));
        assert!(pacer.asked_to_pause().now_or_never().is_none());
        assert!(close(send(&pacer, 1).await, 20.0));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_concurrency_are_in_flight() {
        let pacer = Pacer::new(1000.0, 2);
        let first = pacer.enter().await;
        let _second = pacer.enter().await;
        assert!(pacer.enter().now_or_never().is_none());
        drop(first);
        assert!(pacer.enter().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn no_announced_length_takes_more_than_is_reserved() {
        let pacer = Pacer::new(1000.0, 2);
        for (announced, covered) in [(None, 0), (Some(10), 10), (Some(BODY), BODY), (Some(usize::MAX), BODY)]
        {
            let body = pacer.reserve(announced.map(|bytes| bytes as u64)).await;
            assert_eq!(body.covers(announced), covered);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_large_body_at_a_time_and_the_small_ones_share_the_budget() {
        let pacer = Pacer::new(1000.0, 2);
        let mut large = pacer.reserve(None).await;
        let mut other = pacer.reserve(Some(10)).await;
        large.grow(BODY).await;
        large.grow(BODY + 1).await;
        assert!(other.grow(11).now_or_never().is_none());
        drop(large);
        other.grow(11).await;
        let mut held = Vec::new();
        while let Some(body) = unconstrained(pacer.reserve(Some(u64::MAX))).now_or_never() {
            held.push(body);
        }
        assert_eq!(held.len(), BODIES / BODY - 1);
    }
}

//! The clock of a store's server, which counts for all hosts: they plan, rest and take over by the same times,
//! whatever their own clocks say. Sets no clock.

use jiff::{SignedDuration, Timestamp};

use super::Environment;
use crate::clock::Stopwatch;
use crate::store::{Reader, Result, Store};

/// Clocks that are closer than this agree; the time of a round trip is not known any better.
const CLOSE: SignedDuration = SignedDuration::from_secs(2);
/// How often the server is asked, if it does not answer quickly.
const TRIES: u32 = 3;
/// Clocks that are further apart are reported.
const APART: SignedDuration = SignedDuration::from_mins(1);

/// Lets the clock of the store's server count from now on, if there is one.
///
/// # Errors
/// [`crate::store::StoreError`] if the server cannot be asked.
pub(super) async fn heed(env: &Environment, store: &Store) -> Result<()> {
    let mut ahead = SignedDuration::ZERO;
    for _ in 0..TRIES {
        let asked = ClockQuestion::now(env);
        let Some(shared) = store.shared_now().await? else { return Ok(()) };
        if let Some(found) = asked.ahead(env, shared) {
            ahead = found;
            break;
        }
    }
    correct(env, ahead);
    if ahead.abs() > APART {
        let direction = if ahead.is_positive() { "behind" } else { "ahead of" };
        tracing::warn!(
            "this machine's clock is {} s {direction} that of the store's server, which counts for all hosts; \
             let systemd-timesyncd or chrony keep both",
            ahead.abs().as_secs()
        );
    }
    Ok(())
}

/// As [`heed`], for a command that only reads: what it says of times is what a pass does by them.
///
/// # Errors
/// As [`heed`].
pub(super) fn heed_reading(env: &Environment, reader: &Reader) -> Result<()> {
    let asked = ClockQuestion::now(env);
    if let Some(shared) = reader.shared_now()? {
        correct(env, asked.ahead(env, shared).unwrap_or_default());
    }
    Ok(())
}

/// When the server was asked for its time.
struct ClockQuestion {
    at: Timestamp,
    watch: Stopwatch,
}

impl ClockQuestion {
    fn now(env: &Environment) -> Self {
        Self { watch: Stopwatch::start(env.clock.as_ref()), at: env.clock.now() }
    }

    /// How far the server's clock is ahead; `None` if its answer was waited for, which does not show when it was given.
    fn ahead(&self, env: &Environment, shared: Timestamp) -> Option<SignedDuration> {
        let took = self.watch.elapsed(env.clock.as_ref());
        let half = SignedDuration::try_from(took / 2).unwrap_or_default();
        (took < CLOSE.unsigned_abs()).then(|| shared.duration_since(self.at).saturating_sub(half))
    }
}

fn correct(env: &Environment, ahead: SignedDuration) {
    if ahead.abs() >= CLOSE {
        env.clock.correct(ahead);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::cli::fixture::Fixture;
    use crate::clock::{Clock as _, CorrectedClock, SystemClock};
    use crate::store::Place;
    use crate::store::engine::postgres::tests::server::Server;

    async fn heeded(place: &Place, ahead: SignedDuration) -> (SignedDuration, SignedDuration) {
        let mut env = Fixture::new().env();
        (env.clock, env.started) = (Arc::new(CorrectedClock::default()), SystemClock.now());
        env.clock.correct(ahead);
        let store = Store::open(place, Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap();
        let off = |time: Timestamp| time.duration_since(SystemClock.now()).abs();
        let mut reads = Fixture::new().env();
        reads.clock = Arc::new(CorrectedClock::default());
        reads.clock.correct(ahead);
        heed_reading(&reads, &Reader::open(place).unwrap()).unwrap();
        heed(&env, &store).await.unwrap();
        let apart = reads.clock.now().duration_since(env.clock.now()).abs();
        assert!(apart < SignedDuration::from_secs(5), "{apart}");
        (off(env.clock.now()), off(env.began()))
    }

    #[tokio::test]
    async fn the_clock_of_a_server_counts_and_a_file_has_none() {
        let (server, minute) = (Server::shared().fresh_place(), SignedDuration::from_mins(1));
        for hours in [1, -1, 30] {
            let ahead = SignedDuration::from_hours(hours);
            let (now, began) = heeded(&server, ahead).await;
            assert!(now < minute && began < minute, "{now} {began}");
            let directory = tempfile::tempdir().unwrap();
            let (now, _) = heeded(&Place::from(directory.path().join("store.db")), ahead).await;
            assert!(ahead.abs().saturating_sub(now).abs() < minute, "{now}");
        }
        let (now, _) = heeded(&server, SignedDuration::from_millis(900)).await;
        assert!(now > SignedDuration::from_millis(500), "a round trip is no difference: {now}");
    }
}

//! A link that has no data yet: why not, when to look again, and waiting for a bank that is still at work.
//! Such a link counts neither as success nor as failure.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use super::context::ConnectionSync;
use super::result::SyncError;
use crate::domain::consent::{Consent, Health};
use crate::domain::outcome::Reason;
use crate::tink::Listed;

/// Minutes until the next look; after the last of these, the schedule of the passes is enough.
const LOOKS: [i64; 4] = [1, 5, 15, 60];
/// The longest pause between two looks while a run waits, as a multiple of the first pause.
const LONGEST_PAUSE: u32 = 10;

/// When to look again after this many looks without data; `None` leaves it to the next passes.
pub(super) fn next_look(looks: u32) -> Option<SignedDuration> {
    let minutes = usize::try_from(looks).ok().and_then(|looks| LOOKS.get(looks))?;
    Some(SignedDuration::from_mins(*minutes))
}

/// Why a link that never succeeded has no data yet; `None` if rows were fetched, or if its banks are done.
pub(super) fn nothing_yet(sync: &ConnectionSync<'_>, consents: &[Consent]) -> Option<Reason> {
    let counts = sync.counters.counts();
    if !sync.claim.is_new || counts.fetched > 0 {
        return None;
    }
    if consents.is_empty() && counts.accounts == 0 {
        return Some(Reason::NoBank);
    }
    is_at_work(sync, consents).then_some(Reason::BankAtWork)
}

fn is_at_work(sync: &ConnectionSync<'_>, consents: &[Consent]) -> bool {
    consents.iter().any(|consent| consent.health(sync.now()) == Health::Busy)
}

/// Waits until no bank of a new link is at work, or as long as the run may; returns the consents.
pub(super) async fn wait(
    sync: &ConnectionSync<'_>,
    mut listed: Listed<Consent>,
) -> Result<Listed<Consent>, SyncError> {
    let options = &sync.ctx.options;
    // Reading takes time too.
    let end = Instant::now() + options.bank_wait.min(options.connection_timeout * 3 / 4);
    let (mut pause, longest) = (options.probe_base, options.probe_base.saturating_mul(LONGEST_PAUSE));
    while sync.claim.is_new && is_at_work(sync, &listed.items) && Instant::now() + pause < end {
        tokio::time::sleep(pause).await;
        listed = sync.session.consent_list().await?;
        pause = (pause * 2).min(longest).max(Duration::from_millis(1));
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_soon_at_first_and_then_left_to_the_cadence() {
        let minutes = |looks| next_look(looks).map(|after| after.as_mins());
        assert_eq!([0, 1, 2, 3, 4, 99].map(minutes), [Some(1), Some(5), Some(15), Some(60), None, None]);
    }
}

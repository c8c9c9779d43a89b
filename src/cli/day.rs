//! Whether this machine's clock can be trusted: dates decide which rows are read, kept and deleted. Sets no clock.

use jiff::{SignedDuration, Timestamp};

use super::{Environment, Failure, client};
use crate::store::Reader;
use crate::tink::{self, Client, ErrorKind};

/// A clock up to this much later than a run that compared it with Tink's counts as right, since it was right then.
const SOON: SignedDuration = SignedDuration::from_hours(24);
/// The same where Tink cannot be asked: by a wrong clock, what has a retention of weeks would go a few days early.
const VOUCHED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Whether a pass knows the day. It does if a run of the last [`SOON`] compared the clock with Tink's; else Tink is
/// asked. A store that no Tink app has fed yet has nothing to lose, so nothing is asked: the pass compares the clocks
/// before it reads anything.
///
/// # Errors
/// [`ClockOff`](ErrorKind::ClockOff) if Tink's clock is on another day.
pub(super) async fn is_known(env: &Environment, client: &Client) -> Result<bool, tink::Error> {
    let Ok(reader) = env.reader() else { return Ok(false) };
    if is_vouched(env, &reader, SOON) {
        return Ok(true);
    }
    let is_fed = reader.app().is_ok_and(|app| app.is_some());
    drop(reader);
    if is_fed {
        client.agree_on_time().await?;
    }
    Ok(client.clocks_agree())
}

/// Compares the clock with Tink's before something is pruned by hand, unless a run of the last [`SOON`] has. A proxy that
/// removes the `Date` header prevents the comparison and is no error.
///
/// # Errors
/// [`ClockOff`](ErrorKind::ClockOff), or why Tink cannot be asked if no run of the last [`VOUCHED`] has asked it.
pub(super) fn may_prune(env: &Environment, reader: Reader) -> Result<(), Failure> {
    if is_vouched(env, &reader, SOON) {
        return Ok(());
    }
    let is_vouched = is_vouched(env, &reader, VOUCHED);
    // Its transaction need not wait for Tink.
    drop(reader);
    match ask(env) {
        Err(Failure::Tink(error)) if error.kind == ErrorKind::ClockOff => Err(error.into()),
        Err(_) if is_vouched => Ok(()),
        asked => asked.inspect_err(|_| {
            tracing::warn!(
                "nothing was pruned: no run of the last 7 days has compared this machine's clock with Tink's, and \
                 Tink cannot be asked; repeat this when it can"
            );
        }),
    }
}

/// Compares the clocks by a client token.
fn ask(env: &Environment) -> Result<(), Failure> {
    let client = client::client(env)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(client.probe(None))?)
}

/// Whether a run that began at most this long ago has compared the clocks, and none did later than now.
fn is_vouched(env: &Environment, reader: &Reader, within: SignedDuration) -> bool {
    let since = env.began().saturating_sub(within).unwrap_or(Timestamp::MIN);
    reader.clocks_agreed(since, env.began()).unwrap_or_default()
}

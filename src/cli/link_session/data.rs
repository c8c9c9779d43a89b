//! After the session: waits until Tink has fetched from the bank, and syncs the connection. Data that arrive
//! later are left to the next pass.

use std::time::Duration;

use tokio::runtime::Runtime;

use super::RedirectOptions;
use crate::cli::actor::ActorArgs;
use crate::cli::{Environment, Failure, run, table};
use crate::domain::connection::TinkUser;
use crate::domain::consent::{Consent, Health};
use crate::domain::ids::CredentialsId;
use crate::exit::Exit;
use crate::lifecycle::Signals;
use crate::observe::report::Format;
use crate::tink::Client;

/// The number of polls of the consent, about three minutes as shipped: 1, 2, 4, 8 and then 10 s apart.
const LOOKS: usize = 20;
/// The longest pause between them, in `retry.base`.
const LONGEST: u32 = 10;
const FETCHING: &str = "Tink is fetching from the bank; that takes seconds to some minutes …\n";

/// The connection whose data are awaited.
#[derive(Debug)]
pub(in crate::cli) struct Fresh<'a> {
    pub connection_id: &'a str,
    pub user: &'a TinkUser,
    /// The consent, if the redirect named it.
    pub consent: Option<&'a CredentialsId>,
}

pub(in crate::cli) fn sync(
    env: &Environment,
    client: &Client,
    (runtime, signals): (&Runtime, &Signals),
    way: &RedirectOptions,
    fresh: &Fresh<'_>,
) -> Result<Exit, Failure> {
    let id = fresh.connection_id;
    if way.no_sync {
        table::print(&format!("The next pass fetches the data, or now: tink-sync run --connection {id}\n"))?;
        return Ok(Exit::Success);
    }
    let there = runtime.block_on(async {
        tokio::select! {
            there = wait(env, client, fresh) => there.map(Some),
            () = signals.token.cancelled() => Ok(None),
        }
    })?;
    if there.is_none() {
        table::print(&format!("Stopped. The bank is linked; the next pass fetches the data of {id}.\n"))?;
        return Ok(signals.exit());
    }
    let exit = run::run(env, of_one(id))?;
    if there == Some(false) {
        table::print(&format!(
            "Tink was still fetching from the bank. The next pass takes the rest, or in some minutes: tink-sync run --connection {id}\n"
        ))?;
    }
    Ok(exit)
}

/// Whether Tink has the data; `false` if it took too long.
async fn wait(env: &Environment, client: &Client, fresh: &Fresh<'_>) -> Result<bool, Failure> {
    let there = |consents: &[Consent]| is_there(consents, fresh.consent, env).then_some(());
    match look(env, client, fresh.user, FETCHING, there).await {
        // The sync will meet the error, too, and reports it.
        Err(Failure::Tink(error)) => {
            tracing::debug!("the consents cannot be read: {error}");
            Ok(true)
        }
        other => Ok(other?.is_some()),
    }
}

/// Polls a user's consents until `shows` returns a value; `None` after [`LOOKS`] polls. Prints `meanwhile`
/// after the first poll without one.
pub(super) async fn look<T>(
    env: &Environment,
    client: &Client,
    user: &TinkUser,
    meanwhile: &str,
    shows: impl Fn(&[Consent]) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let session = client.session(user.clone());
    let (mut pauses, mut meanwhile) = (pauses(env.settings.retry.base), Some(meanwhile));
    loop {
        if let Some(shown) = shows(&session.consents().await?) {
            return Ok(Some(shown));
        }
        let Some(pause) = pauses.next() else { return Ok(None) };
        meanwhile.take().map_or(Ok(()), table::print)?;
        tokio::time::sleep(pause).await;
    }
}

/// The pauses between [`LOOKS`] polls; there is none after the last poll.
fn pauses(base: Duration) -> impl Iterator<Item = Duration> {
    let longest = base.saturating_mul(LONGEST);
    let all = std::iter::successors(Some(base), move |pause| Some(pause.saturating_mul(2).min(longest)));
    all.map(|pause| pause.max(Duration::from_millis(1))).take(LOOKS - 1)
}

/// Whether the consent needs no more waiting: it is healthy and has accounts, or its bank is unavailable.
fn is_there(consents: &[Consent], wanted: Option<&CredentialsId>, env: &Environment) -> bool {
    let now = env.clock.now();
    let mut of_it = consents.iter().filter(|consent| wanted.is_none_or(|id| *id == consent.credentials_id));
    let is_through = |consent: &Consent| match consent.health(now) {
        Health::Healthy => !consent.account_ids.is_empty(),
        Health::Unavailable => true,
        Health::Busy | Health::PastDate | Health::NeedsUser(_) => false,
    };
    of_it.clone().next().is_some() && of_it.all(is_through)
}

/// The arguments of a run for one connection, ignoring its back-off, since its user is present.
fn of_one(id: &str) -> run::Args {
    run::Args {
        dry_run: false,
        connection: vec![id.to_owned()],
        user: Vec::new(),
        instance: None,
        force: true,
        format: Format::Human,
        who: ActorArgs::default(),
        audited: true,
        outage_patience: Some(Duration::ZERO),
        wait: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thing_is_a_look_and_no_pause() {
        let seconds: Vec<u64> = pauses(Duration::from_secs(1)).map(|pause| pause.as_secs()).collect();
        assert_eq!(seconds.len() + 1, LOOKS);
        assert_eq!(seconds[..6], [1, 2, 4, 8, 10, 10]);
        assert!(pauses(Duration::ZERO).all(|pause| !pause.is_zero()));
    }
}

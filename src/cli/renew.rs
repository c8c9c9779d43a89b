//! `tink-sync renew`: sends the user of a connection to Tink Link to prolong a consent or to log in again.
//! Never links anything a second time: the Link session is one for the existing consent.

mod choice;

use clap::ArgGroup;
use jiff::SignedDuration;

use super::actor::{Actor, ActorArgs};
use super::connections::{self, judged_rows};
use super::link_session::data::{self, Fresh};
use super::link_session::{Callback, LinkSession, RedirectOptions, proof};
use super::{Environment, Failure, app, client, table};
use crate::domain::connection::TinkUser;
use crate::domain::consent::Consent;
use crate::exit::Exit;
use crate::lifecycle::Signals;
use crate::link::url::{Purpose, id_hint};
use crate::store::{AuditRow, Writer};
use crate::tink::Client;
use choice::{How, Picked};

/// Arguments of `renew`.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("how"))]
#[command(
    after_help = "Examples:\n  tink-sync renew c-17                       what has expired or soon will\n  tink-sync renew c-17 --credentials 4f2c…   this one, if there are several\n  tink-sync renew c-17 --update              with a new login in any case\n\ntink-sync why ID shows the consents of a connection. The redirect URI must be one of those that the app has\nin Tink Console; see tink-sync connect --help.\n\nExit status: 0 renewed and synced, or nothing to renew; 10 not renewed (nobody came back in time, Tink does\nnot show it, the bank or Tink has trouble), 11 the user cancelled or could not log in, 130 given up\nwith Ctrl-C; else as of every command."
)]
pub struct Args {
    /// The connection
    pub id: String,
    /// The consent by its credentials id, if several need renewal or none does yet
    #[arg(long, value_name = "ID")]
    pub credentials: Option<String>,
    /// Prolong the consent, although Tink does not say that its bank allows that
    #[arg(long, group = "how")]
    pub extend: bool,
    /// Log in again, although the consent could be prolonged
    #[arg(long, group = "how")]
    pub update: bool,
    /// How the browser comes back.
    #[command(flatten)]
    pub redirect: RedirectOptions,
    /// On whose behalf.
    #[command(flatten)]
    pub who: ActorArgs,
}

impl Args {
    fn how(&self) -> How {
        match (self.extend, self.update) {
            (true, _) => How::Extend,
            (_, true) => How::Update,
            _ => How::AsItFits,
        }
    }
}

/// # Errors
/// [`Failure`] if it cannot begin, or Tink or the store fails; the outcome of the Link session is the exit code.
pub(super) fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    let client = client::client(env)?;
    app::ours(env)?;
    let (user_id, user) = find(env, &args.id)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let signals = runtime.block_on(async { Signals::watch() })?;
    let consents = runtime.block_on(client.session(user.clone()).consents())?;
    let days = env.settings.consent.warn.iter().max().copied().unwrap_or_default();
    let soon = SignedDuration::from_hours(days.saturating_mul(24));
    let picked =
        choice::pick(&args.id, consents, args.credentials.as_deref(), args.how(), (env.clock.now(), soon));
    let (consent, purpose) = match picked.map_err(Failure::Usage)? {
        Picked::Nothing(words) => {
            table::print(&words)?;
            return Ok(Exit::Success);
        }
        Picked::One(consent, purpose) => (consent, purpose),
    };
    let mut session = runtime.block_on(LinkSession::begin(env, &args.redirect, &signals, true))?;
    let asked = (&*consent, &purpose);
    if let Some(exit) = runtime.block_on(go(env, &mut session, &client, (&user_id, &user), asked))? {
        return Ok(exit);
    }
    store(env, args, &user_id, &purpose)?;
    table::print(&format!(
        "The consent is renewed: {} of connection {}.\n",
        choice::name(&consent),
        args.id
    ))?;
    let fresh = Fresh { connection_id: &args.id, user: &user, consent: Some(&consent.credentials_id) };
    let exit = data::sync(env, &client, (&runtime, &signals), &args.redirect, &fresh);
    drop(session);
    runtime.shutdown_background();
    exit
}

/// Runs the session; returns an exit code if Tink does not show that the consent was renewed.
async fn go(
    env: &Environment,
    session: &mut LinkSession<'_>,
    client: &Client,
    (user_id, user): (&str, &TinkUser),
    (consent, purpose): (&Consent, &Purpose),
) -> Result<Option<Exit>, Failure> {
    let code = client.delegate(user, &id_hint(user_id)).await?;
    if let Callback::Nothing(exit) = session.go(&code, purpose, user_id).await? {
        return Ok(Some(exit));
    }
    let otherwise = format!(
        "Tink does not show that consent {} is renewed. The same command makes a new link: open it, and go through to the end.\n",
        choice::name(consent)
    );
    let renewed = |after: &[Consent]| proof::is_renewed(consent, after, env.clock.now()).then_some(());
    Ok(session.prove((client, user), &otherwise, renewed).await?.err())
}

/// The user of the connection, here and at Tink.
fn find(env: &Environment, id: &str) -> Result<(String, TinkUser), Failure> {
    let unknown = || connections::unknown(&[id], "");
    if env.settings.source.database.is_none() && !env.place().is_there()? {
        return Err(unknown());
    }
    let row =
        judged_rows(env)?.into_iter().find(|row| row.connection_id.as_str() == id).ok_or_else(unknown)?;
    if let Some(problem) = &row.problem {
        return Err(Failure::Usage(format!("connection {id} cannot be used: {problem}")));
    }
    let user = row.tink_user.ok_or_else(|| {
        Failure::Usage(format!("connection {id} names no user at Tink: Tink Link cannot be opened for it"))
    })?;
    Ok((row.user_id.as_str().to_owned(), user))
}

fn store(env: &Environment, args: &Args, user_id: &str, purpose: &Purpose) -> Result<(), Failure> {
    let now = env.clock.now();
    let actor = Actor::of(env, &args.who);
    let details = match purpose {
        Purpose::Extend(id) => format!("consent {id} extended"),
        Purpose::Update(id) => format!("consent {id} updated"),
        Purpose::Connect { .. } => String::new(),
    };
    let audit = AuditRow {
        connection_id: Some(&args.id),
        user_id: Some(user_id),
        details: Some(&details),
        ..actor.row(now, "connection.renewed")
    };
    Ok(Writer::open(env.place(), now)?.audit(&audit)?)
}

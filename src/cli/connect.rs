//! `tink-sync connect`: links a bank, from creating the user at Tink to the first data. What must survive a
//! crash is written before Tink is called; after an interruption the next attempt continues from there.

mod choice;

use clap::builder::PossibleValuesParser;
use tokio::runtime::Runtime;

use super::actor::{Actor, ActorArgs};
use super::connections;
use super::link_session::data::{self, Fresh};
use super::link_session::{Callback, LinkSession, RedirectOptions, proof};
use super::{Environment, Failure, app, client, table, users};
use crate::domain::connection::{SourceRow, TinkUser};
use crate::domain::consent::{Consent, Health};
use crate::domain::ids::CredentialsId;
use crate::exit::Exit;
use crate::lifecycle::Signals;
use crate::link::url::{Purpose, id_hint};
use crate::store::{AuditRow, Reader, Writer};
use crate::tink::{Client, Endpoint, ErrorKind, NewUser};
use choice::{Asked, Chosen};

/// Languages of Tink Link (API.md 6).
const LOCALES: [&str; 17] = [
    "cs_CZ", "da_DK", "de_DE", "en_GB", "en_US", "es_ES", "et_EE", "fi_FI", "fr_FR", "it_IT", "lt_LT",
    "lv_LV", "nl_NL", "no_NO", "pl_PL", "pt_PT", "sv_SE",
];
/// Tink Link's own default, used if neither the option nor the connection names a market.
const MARKET: &str = "SE";

/// Arguments of `connect`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tink-sync connect --user me --test           a demo bank, to try it out\n  tink-sync connect --user me --market DE      a bank of yours\n  tink-sync connect --user me --paste          no browser on this machine\n  tink-sync connect --user me --redirect-uri https://app.example/tink\n\nThe redirect URI must be one of those that the app has in Tink Console, letter by letter. At one of this\nmachine (http://localhost:PORT/PATH) tink-sync waits for the browser itself; for any other you paste the\naddress on which the browser landed, or have your web server forward it (--listen).\n\nA user who has a connection here already gets the bank as a second one of it. Where an application gives\nits own view, the connection must be in the view already; nothing is written there.\n\nExit status: 0 linked and synced, 10 not linked (nobody came back in time, Tink lists no new\nbank, the bank or Tink has trouble), 11 the user cancelled or could not log in, 130 given up\nwith Ctrl-C; else as of every command."
)]
pub struct Args {
    /// Your id of the user
    #[arg(long, value_name = "ID")]
    pub user: String,
    /// Your id of the connection [default: the one the user has, else the user's id]
    #[arg(long, value_name = "ID")]
    pub connection: Option<String>,
    /// Country of the bank, such as SE or DE [default: the connection's, else SE]
    #[arg(long, value_name = "CC", value_parser = market)]
    pub market: Option<String>,
    /// Language of Tink's pages
    #[arg(long, value_name = "LOCALE", default_value = "en_US", hide_possible_values = true, value_parser = PossibleValuesParser::new(LOCALES))]
    pub locale: String,
    /// Offer demo banks
    #[arg(long)]
    pub test: bool,
    /// The external user id, if your app made the Tink user already [default: a random one]
    #[arg(long, value_name = "ID", value_parser = external_id)]
    pub external_user_id: Option<String>,
    /// How the browser comes back.
    #[command(flatten)]
    pub redirect: RedirectOptions,
    /// On whose behalf.
    #[command(flatten)]
    pub who: ActorArgs,
}

fn market(text: &str) -> Result<String, String> {
    let market = text.to_ascii_uppercase();
    match market.as_str() {
        "UK" => Err("the United Kingdom is GB".to_owned()),
        _ if market.len() == 2 && market.bytes().all(|b| b.is_ascii_uppercase()) => Ok(market),
        _ => Err("expected a country of two letters, such as SE or DE".to_owned()),
    }
}

fn external_id(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 128 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("expected 1 to 128 letters, digits and signs without blanks".to_owned());
    }
    Ok(text.to_owned())
}

/// # Errors
/// [`Failure`] if it cannot begin, or Tink or the store fails; the outcome of the Link session is the exit code.
pub(super) fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    let client = client::client(env)?;
    app::ours(env)?;
    let chosen = choose(env, args)?;
    table::print(&chosen.words())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let signals = runtime.block_on(async { Signals::watch() })?;
    let command = ConnectCommand { env, args, client, runtime, signals };
    let exit = command.run(chosen);
    command.runtime.shutdown_background();
    exit
}

struct ConnectCommand<'a> {
    env: &'a Environment,
    args: &'a Args,
    client: Client,
    runtime: Runtime,
    signals: Signals,
}

impl ConnectCommand<'_> {
    fn run(&self, chosen: Chosen) -> Result<Exit, Failure> {
        let (env, args) = (self.env, self.args);
        let mut session =
            self.runtime.block_on(LinkSession::begin(env, &args.redirect, &self.signals, false))?;
        // Before the first request to Tink: an interrupted link continues with this very Tink user.
        let chosen = match chosen {
            Chosen::New { link, resumed } => {
                let now = env.clock.now();
                let link = Writer::open(env.place(), now)?.begin_link(&link, now)?;
                if link.user_id != args.user {
                    return Err(Failure::Usage(choice::begun_by_another(&link)));
                }
                Chosen::New { link, resumed }
            }
            known @ Chosen::Known { .. } => known,
        };
        let user = chosen.tink_user();
        let credentials_id = match self.runtime.block_on(self.link(&mut session, &chosen, &user))? {
            Callback::Linked(id) => id,
            Callback::Nothing(exit) => return Ok(exit),
        };
        let id = chosen.connection_id();
        self.store(&chosen, credentials_id.as_ref())?;
        table::print(&format!("The bank is linked: connection {id} of user {}.\n", args.user))?;
        let fresh = Fresh { connection_id: id, user: &user, consent: credentials_id.as_ref() };
        data::sync(env, &self.client, (&self.runtime, &self.signals), &args.redirect, &fresh)
    }

    /// From creating the Tink user to the end of the session.
    async fn link(
        &self,
        session: &mut LinkSession<'_>,
        chosen: &Chosen,
        user: &TinkUser,
    ) -> Result<Callback, Failure> {
        let market = self.args.market.as_deref().or(chosen.market()).unwrap_or(MARKET);
        if let Chosen::New { resumed, .. } = chosen {
            self.create(user, market).await?;
            if *resumed && let Some(id) = self.linked_before(user).await? {
                table::print(
                    "An earlier connect was cut short after the bank was linked: it goes on from there.\n",
                )?;
                return Ok(Callback::Linked(Some(id)));
            }
        }
        let hint = id_hint(&self.args.user);
        let code = match self.client.delegate(user, &hint).await {
            // Tink forgets users who never linked a bank.
            Err(error) if error.kind == ErrorKind::UserUnknown && matches!(user, TinkUser::External(_)) => {
                self.create(user, market).await?;
                self.client.delegate(user, &hint).await?
            }
            other => other?,
        };
        let purpose = Purpose::Connect {
            market: market.to_owned(),
            locale: self.args.locale.clone(),
            test: self.args.test,
        };
        let before = self.client.session(user.clone()).consents().await?;
        let callback = session.go(&code, &purpose, &self.args.user).await?;
        let Callback::Linked(named) = callback else { return Ok(callback) };
        // The redirect can be forged by typing an address, so only Tink's list proves that there is a bank,
        // and which.
        let new = if before.is_empty() { "" } else { "new " };
        let otherwise = format!(
            "Tink lists no {new}bank for this user; nothing was linked. The same command goes on, with a new link.\n"
        );
        let linked = |after: &[Consent]| proof::linked(&before, after, named.as_ref(), self.env.clock.now());
        let proved = session.prove((&self.client, user), &otherwise, linked).await?;
        Ok(proved.map_or_else(Callback::Nothing, |id| Callback::Linked(Some(id))))
    }

    async fn create(&self, user: &TinkUser, market: &str) -> Result<(), Failure> {
        let TinkUser::External(external_user_id) = user else { return Ok(()) };
        let locale = &self.args.locale;
        let made = self.client.create_user(&NewUser { external_user_id, market, locale }).await;
        made.map_err(|error| match (error.kind, error.endpoint) {
            (ErrorKind::BadRequest, Endpoint::UserCreate) => {
                Failure::Usage(format!("Tink does not accept market {market} with locale {locale}: {error}"))
            }
            _ => error.into(),
        })
    }

    /// The consent to which an earlier, interrupted `connect` of this Tink user led. Tink may still be
    /// fetching for it: its user has finished even so, and would link the bank a second time.
    async fn linked_before(&self, user: &TinkUser) -> Result<Option<CredentialsId>, Failure> {
        let consents = self.client.session(user.clone()).consents().await?;
        let now = self.env.clock.now();
        let is_through = |consent: &Consent| match consent.health(now) {
            Health::Healthy => true,
            Health::Busy => consent.status == "UPDATING",
            Health::PastDate | Health::NeedsUser(_) | Health::Unavailable => false,
        };
        Ok(consents.into_iter().find(is_through).map(|consent| consent.credentials_id))
    }

    /// Stores a new connection, or audits that a known one has another bank.
    fn store(&self, chosen: &Chosen, consent: Option<&CredentialsId>) -> Result<(), Failure> {
        let now = self.env.clock.now();
        let actor = Actor::of(self.env, &self.args.who);
        let details = consent.map(|id| format!("consent {id}"));
        let action = if chosen.is_new() { "connection.created" } else { "connection.linked" };
        let audit = AuditRow {
            connection_id: Some(chosen.connection_id()),
            user_id: Some(&self.args.user),
            details: details.as_deref(),
            ..actor.row(now, action)
        };
        let mut tables = Writer::open(self.env.place(), now)?;
        match chosen {
            Chosen::New { link, .. } if !tables.end_link(link, &audit)? => {
                Err(Failure::Usage(choice::forgotten_meanwhile(link)))
            }
            Chosen::New { .. } => Ok(()),
            Chosen::Known { .. } => Ok(tables.audit(&audit)?),
        }
    }
}

/// Which connection the bank belongs to.
fn choose(env: &Environment, args: &Args) -> Result<Chosen, Failure> {
    let view = env.settings.source.view.as_deref();
    let now = env.clock.now();
    let mut begun = Vec::new();
    if view.is_none() {
        begun = Writer::open(env.place(), now)?.begun_links(&args.user)?;
        let users = Reader::open(env.place())?.users()?;
        if users.iter().any(|user| user.user_id == args.user && !users::is_entitled(user, now)) {
            return Err(Failure::Usage(choice::not_entitled(&args.user, None)));
        }
    }
    let asked = Asked {
        user: &args.user,
        connection: args.connection.as_deref(),
        external_user_id: args.external_user_id.as_deref(),
        market: args.market.as_deref(),
    };
    let new_id = random_id()?;
    let chosen = choice::choose(&asked, &connections::judged_rows(env)?, &begun, view, now, new_id);
    let chosen = chosen.map_err(Failure::Usage)?;
    if chosen.is_new() {
        // The bank must not be linked to a Tink user that belongs to another user here.
        let id = chosen.connection_id();
        let row = SourceRow::active(id, &args.user, Some(chosen.tink_user()));
        if let Some((_, text)) = connections::refused(env, vec![row], |refused| refused == id)?.pop() {
            return Err(Failure::Usage(format!("connection {id} cannot be made: {text}")));
        }
    }
    Ok(chosen)
}

/// An external user id that reveals nothing about the user.
fn random_id() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::Io(std::io::Error::other(error)))?;
    Ok(format!("ts-{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markets_are_countries_of_two_letters() {
        assert_eq!(market("se").as_deref(), Ok("SE"));
        assert!(market("uk").unwrap_err().contains("GB"));
        for text in ["", "S", "SWE", "S3", "Ö"] {
            assert!(market(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_id_of_ours_says_nothing_and_is_never_the_same() {
        let (one, two) = (random_id().unwrap(), random_id().unwrap());
        assert_ne!(one, two);
        assert!(
            one.len() == 35 && one.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        );
    }
}

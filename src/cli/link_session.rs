//! One Link session in a browser, as `connect` and `renew` use it: prints the link, waits for the redirect,
//! and reports the result. Must not decide for which user or consent it is.

pub(super) mod data;
mod open;
mod paste;
pub(super) mod proof;
mod words;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use super::{Environment, Failure, table};
use crate::domain::ids::CredentialsId;
use crate::exit::Exit;
use crate::lifecycle::Signals;
use crate::link::listener::{Callbacks, Choose, Listener};
use crate::link::reception::Reception;
use crate::link::redirect::{self, LinkError, LinkOutcome};
use crate::link::state::States;
use crate::link::url::{Link, Purpose, RedirectUri};
use paste::PastedLines;

/// The longest lifetime of a link.
const LONGEST: Duration = Duration::from_mins(15);

/// How the browser comes back.
#[derive(Debug, clap::Args)]
pub struct RedirectOptions {
    /// Where Tink sends the browser back to; must be one of the app's redirect URIs in Tink Console, letter by letter
    #[arg(long, value_name = "URL", default_value = "http://localhost:8765/callback", value_parser = RedirectUri::parse)]
    pub redirect_uri: RedirectUri,
    /// Listen here for what a web server of yours forwards from the redirect URI
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "paste")]
    pub listen: Option<SocketAddr>,
    /// Listen nowhere: paste the address that the browser landed on
    #[arg(long)]
    pub paste: bool,
    /// Open the link in this machine's browser too; not as root
    #[arg(long)]
    pub open: bool,
    /// How long to wait for the browser to come back, at most 15m
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = patience)]
    pub timeout: Duration,
    /// Leave the data to the next pass
    #[arg(long)]
    pub no_sync: bool,
}

impl RedirectOptions {
    /// Refuses `--open` if the browser would run with the rights of root or of the service.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the alternative.
    pub(super) fn allow_open(&self) -> Result<(), Failure> {
        if self.open && !open::is_allowed() {
            return Err(Failure::Usage(words::NO_BROWSER.to_owned()));
        }
        Ok(())
    }
}

fn patience(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.is_zero() || time > LONGEST {
        return Err("expected a time above 0 and of at most 15m".to_owned());
    }
    Ok(time)
}

#[derive(Debug)]
pub(super) enum Callback {
    /// The user finished; the consent, if the redirect named it.
    Linked(Option<CredentialsId>),
    /// Nothing was linked, and the reason was printed.
    Nothing(Exit),
}

/// A session whose answer is awaited.
pub(super) struct LinkSession<'a> {
    env: &'a Environment,
    redirect: &'a RedirectOptions,
    signals: &'a Signals,
    reception: Arc<Mutex<Reception>>,
    state: String,
    repair: bool,
    callbacks: CallbackSource,
}

/// The source of the answer. A listener keeps answering until the program ends, since people reload pages.
enum CallbackSource {
    Listener(Callbacks<LinkOutcome>),
    Paste,
}

impl<'a> LinkSession<'a> {
    /// Starts the callback listener, if one is wanted; `repair` is a session for an existing consent.
    pub(super) async fn begin(
        env: &'a Environment,
        redirect: &'a RedirectOptions,
        signals: &'a Signals,
        repair: bool,
    ) -> Result<Self, Failure> {
        let (mut key, mut nonce) = ([0; 32], [0; 16]);
        for bytes in [&mut key[..], &mut nonce[..]] {
            getrandom::fill(bytes).map_err(|error| Failure::Io(std::io::Error::other(error)))?;
        }
        let states = States::new(key);
        let until = SignedDuration::try_from(redirect.timeout).unwrap_or(SignedDuration::MAX);
        let until = env.clock.now().saturating_add(until).unwrap_or(Timestamp::MAX);
        let state = states.issue(nonce, until);
        let reception = Arc::new(Mutex::new(Reception::new(states, repair)));
        let callbacks = callbacks(env, redirect, &reception).await?;
        Ok(Self { env, redirect, signals, reception, state, repair, callbacks })
    }

    /// Prints the link and waits for the answer. `user_id` appears only in the printed text.
    pub(super) async fn go(
        &mut self,
        code: &SecretString,
        purpose: &Purpose,
        user_id: &str,
    ) -> Result<Callback, Failure> {
        let tink = &self.env.settings.tink;
        let link = Link {
            base: &tink.link_url,
            client_id: tink.credentials()?.0,
            redirect_uri: &self.redirect.redirect_uri,
            code,
            state: &self.state,
            purpose,
        };
        let address = link.address();
        let listens = matches!(self.callbacks, CallbackSource::Listener(_));
        table::print(&words::invitation(&address, self.redirect, purpose, user_id, listens))?;
        // Keeps the page until the session is over.
        let _page = if self.redirect.open { open::in_browser(self.env, &address) } else { None };
        let (signals, timeout) = (self.signals, self.redirect.timeout);
        let answer = tokio::select! {
            biased;
            answer = self.answer() => answer?,
            () = signals.token.cancelled() => {
                table::print(words::STOPPED)?;
                return Ok(Callback::Nothing(signals.exit()));
            }
            () = tokio::time::sleep(timeout) => {
                table::print(&words::late(timeout))?;
                return Ok(Callback::Nothing(Exit::Incomplete));
            }
        };
        match answer {
            LinkOutcome::Linked(credentials_id) => Ok(Callback::Linked(credentials_id)),
            LinkOutcome::Refused(refusal) => self.refused(&refusal),
        }
    }

    fn refused(&self, refusal: &LinkError) -> Result<Callback, Failure> {
        let explanation = redirect::explain(refusal, self.repair);
        tracing::debug!(error = refusal.error, tracking_id = refusal.tracking_id, "Tink Link refused");
        table::print(&words::refused(refusal, &explanation))?;
        let exit = if explanation.class.is_the_users() { Exit::NeedsUser } else { Exit::Incomplete };
        Ok(Callback::Nothing(exit))
    }

    async fn answer(&mut self) -> Result<LinkOutcome, Failure> {
        match &mut self.callbacks {
            CallbackSource::Listener(waiting) => waiting.next().await.ok_or_else(|| {
                Failure::Io(std::io::Error::other("the listener for the browser's answer ended"))
            }),
            CallbackSource::Paste => self.pasted().await,
        }
    }

    /// Reads lines until one is the answer.
    async fn pasted(&self) -> Result<LinkOutcome, Failure> {
        let mut lines = PastedLines::of_stdin();
        loop {
            let Some(line) = lines.next().await else {
                return Err(Failure::Usage(words::NOTHING_PASTED.to_owned()));
            };
            let problem = match redirect::query_of(&line) {
                _ if line.trim().is_empty() => continue,
                None => words::NO_ANSWER_IN_IT.to_owned(),
                Some(query) => {
                    let now = self.env.clock.now();
                    let received = lock(&self.reception).receive(query, now);
                    match received.answer {
                        Ok(answer) => return Ok(answer),
                        Err(error) => words::pasted_in_vain(&received.notice, error),
                    }
                }
            };
            table::print(&problem)?;
        }
    }
}

async fn callbacks(
    env: &Environment,
    redirect: &RedirectOptions,
    reception: &Arc<Mutex<Reception>>,
) -> Result<CallbackSource, Failure> {
    let sockets = match redirect.listen {
        Some(address) => vec![address],
        None => redirect.redirect_uri.sockets().to_vec(),
    };
    if redirect.paste || sockets.is_empty() {
        return Ok(CallbackSource::Paste);
    }
    let listener = Listener::bind(&sockets).await;
    let listener = listener.map_err(|error| Failure::Usage(words::cannot_listen(&error)))?;
    let (reception, clock) = (Arc::clone(reception), Arc::clone(&env.clock));
    let choose: Arc<Choose<LinkOutcome>> = Arc::new(move |query| {
        let received = lock(&reception).receive(query, clock.now());
        if let Err(error) = received.answer {
            tracing::warn!("a redirect was turned away: {}", words::turned_away(error));
        }
        (received.notice, received.answer.ok())
    });
    Ok(CallbackSource::Listener(listener.serve(redirect.redirect_uri.path(), choose)))
}

fn lock(reception: &Mutex<Reception>) -> std::sync::MutexGuard<'_, Reception> {
    reception.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_limited() {
        assert_eq!(patience("15m"), Ok(LONGEST));
        assert_eq!(patience("30s"), Ok(Duration::from_secs(30)));
        for text in ["16m", "0s", "soon", ""] {
            assert!(patience(text).is_err(), "{text}");
        }
    }
}

//! What linking a bank needs: a user at Tink, and a code with which Tink Link acts for that user (API.md 2.5,
//! 2.6). Must not keep the code, nor exchange it: it is for Tink Link alone.

use secrecy::SecretString;
use serde::Serialize;

use super::client::Client;
use super::error::{Endpoint, Error, ErrorKind};
use super::http::Request;
use super::options::CallCounters;
use super::token::Effort;
use super::wire;
use crate::domain::connection::TinkUser;

/// The scope needed only to create users.
const CREATE_SCOPE: &str = "user:create";
/// The client id of Tink Link itself, the same for every app.
const LINK: &str = "df05e4b379934cd09963197cc855bfe9";
/// The scopes that Tink Link needs to act for the user.
const LINK_SCOPES: &str = "authorization:read,authorization:grant,credentials:refresh,credentials:read,credentials:write,providers:read,user:read";

/// A user to create, in the form that Tink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NewUser<'a> {
    /// The id by which this app will know the user.
    pub external_user_id: &'a str,
    /// Country, such as `SE`.
    pub market: &'a str,
    /// Language, such as `en_US`.
    pub locale: &'a str,
}

impl Client {
    /// Creates a user at Tink. An existing user with that id counts as success, so this can be repeated.
    ///
    /// # Errors
    /// [`ErrorKind::ScopeMissing`] if the app may not create users, [`ErrorKind::BadRequest`] if Tink does
    /// not accept market or language; else the call's error after all retries.
    pub async fn create_user(&self, user: &NewUser<'_>) -> Result<(), Error> {
        let counters = CallCounters::default();
        let effort = self.effort(&counters);
        let token = self.token_to_create(effort).await?;
        // Serializing strings cannot fail.
        let body = serde_json::to_string(user).unwrap_or_default();
        let request = Request {
            endpoint: Endpoint::UserCreate,
            query: &[],
            form: &[],
            posted: Some(("", &body)),
            bearer: Some(&token),
            tries: effort.tries,
            repeated: false,
        };
        match effort.transport.call(&request, effort.counters, wire::done).await {
            Err(error) if error.status == Some(409) && error.kind != ErrorKind::Intercepted => Ok(()),
            other => other.map(drop),
        }
    }

    /// A client token that may create users. Gets the ordinary one first: if that is granted, a refusal of
    /// this one concerns the scope and not the client.
    async fn token_to_create(&self, effort: Effort<'_>) -> Result<SecretString, Error> {
        self.tokens().client(effort, None).await?;
        let missing = |error: Error| {
            let detail = format!("the app is not granted the scope {CREATE_SCOPE}");
            error.refusal_of(ErrorKind::ScopeMissing, &detail)
        };
        match self.tokens().ask(effort, CREATE_SCOPE).await {
            Ok(answer) if answer.value.has(CREATE_SCOPE) => Ok(answer.value.secret),
            Ok(answer) => Err(missing(answer.head.error(ErrorKind::ScopeMissing, ""))),
            Err(error) if matches!(error.status, Some(400 | 401 | 403)) => Err(missing(error)),
            Err(error) => Err(error),
        }
    }

    /// Returns a code with which Tink Link acts for `user`, usable once and soon. `id_hint` is shown to
    /// anyone who opens the link, and must consist of ISO-8859-1 characters.
    ///
    /// # Errors
    /// [`ErrorKind::UserUnknown`] if Tink has no such user, [`ErrorKind::GrantRefused`] if the app may not;
    /// else the call's error after all retries.
    pub async fn delegate(&self, user: &TinkUser, id_hint: &str) -> Result<SecretString, Error> {
        let counters = CallCounters::default();
        let effort = self.effort(&counters);
        let client = self.tokens().client(effort, None).await?;
        let result = match self.ask_to_delegate(effort, &client.secret, user, id_hint).await {
            Err(error) if error.kind == ErrorKind::Unauthorized => {
                let client = self.tokens().client(effort.second(), Some(&client)).await?;
                self.ask_to_delegate(effort.second(), &client.secret, user, id_hint).await
            }
            other => other,
        };
        result.map_err(|error| match error.status {
            _ if error.kind == ErrorKind::Intercepted => error,
            Some(401 | 403) => {
                let detail = format!("the app needs the scopes {LINK_SCOPES} for Tink Link");
                error.refusal_of(ErrorKind::GrantRefused, &detail)
            }
            Some(404) => error.with_kind(ErrorKind::UserUnknown),
            _ => error,
        })
    }

    async fn ask_to_delegate(
        &self,
        effort: Effort<'_>,
        client: &SecretString,
        user: &TinkUser,
        id_hint: &str,
    ) -> Result<SecretString, Error> {
        let (name, id) = match user {
            TinkUser::External(id) => ("external_user_id", id.as_str()),
            TinkUser::Tink(id) => ("user_id", id.as_str()),
        };
        let request = Request {
            endpoint: Endpoint::Delegate,
            query: &[],
            form: &[(name, id), ("id_hint", id_hint), ("actor_client_id", LINK), ("scope", LINK_SCOPES)],
            posted: None,
            bearer: Some(client),
            tries: effort.tries,
            repeated: effort.repeated,
        };
        Ok(effort.transport.call(&request, effort.counters, wire::code).await?.value)
    }
}

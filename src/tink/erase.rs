//! Deletes a user at Tink, with every credential, account and transaction (API.md 2.6). The token for it can
//! do nothing else, is minted for this one call and is not kept.

use std::sync::Arc;

use super::client::Client;
use super::error::{Endpoint, Error, ErrorKind};
use super::http::Request;
use super::options::CallCounters;
use super::token::{Bearer, Effort};
use super::wire;
use crate::domain::connection::TinkUser;

/// The scope that only deleting needs.
const DELETE_SCOPE: &str = "user:delete";

/// The outcome of deleting a user at Tink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The user was deleted now.
    Deleted,
    /// Tink does not know the user (any more).
    Unknown,
}

impl Client {
    /// Deletes a user at Tink. Can be repeated: for a user that is gone it returns [`Deletion::Unknown`].
    ///
    /// # Errors
    /// [`ErrorKind::ScopeMissing`] if the app may not delete users; else the call's error after all retries.
    pub async fn delete_user(&self, user: &TinkUser) -> Result<Deletion, Error> {
        let counters = CallCounters::default();
        let effort = self.effort(&counters);
        let token = match self.token_to_delete(effort, user).await {
            Err(error) if error.kind == ErrorKind::UserUnknown && error.by_tink => {
                return Ok(Deletion::Unknown);
            }
            // The caller erases what is stored of a user that is gone: a gateway's 404 must not count as one.
            Err(error) if error.kind == ErrorKind::UserUnknown => {
                return Err(error.with_kind(ErrorKind::Intercepted));
            }
            other => other?,
        };
        let error = match ask_to_delete(effort, &token).await {
            Err(error) if matches!(error.status, Some(401 | 404)) => error,
            other => return other.map(|()| Deletion::Deleted),
        };
        // An earlier attempt may have succeeded and its response been lost: then the token is gone with the
        // user.
        match self.token_to_delete(effort.second(), user).await {
            Err(again) if again.kind == ErrorKind::UserUnknown && again.by_tink => Ok(Deletion::Deleted),
            _ => Err(error),
        }
    }

    /// A user token that can delete. If Tink refuses it but grants an ordinary one, the scope is missing.
    async fn token_to_delete(&self, effort: Effort<'_>, user: &TinkUser) -> Result<Arc<Bearer>, Error> {
        match self.tokens().minted(effort, user, &[DELETE_SCOPE]).await {
            Err(error) if error.kind == ErrorKind::ScopeMissing => Err(missing(error)),
            Err(error) if matches!(error.kind, ErrorKind::GrantRefused | ErrorKind::BadRequest) => {
                match self.tokens().user(effort.second(), user).await {
                    Ok(_) => Err(missing(error)),
                    Err(other) => Err(other),
                }
            }
            other => other,
        }
    }
}

fn missing(error: Error) -> Error {
    let detail = format!("the app is not granted the scope {DELETE_SCOPE}: add it in Tink Console");
    error.refusal_of(ErrorKind::ScopeMissing, &detail)
}

async fn ask_to_delete(effort: Effort<'_>, token: &Bearer) -> Result<(), Error> {
    let request = Request {
        endpoint: Endpoint::UserDelete,
        query: &[],
        form: &[],
        posted: Some(("", "")),
        bearer: Some(&token.secret),
        tries: effort.tries,
        repeated: effort.repeated,
    };
    match effort.transport.call(&request, effort.counters, wire::done).await {
        Err(error) if error.status == Some(403) => Err(missing(error)),
        other => other.map(drop),
    }
}

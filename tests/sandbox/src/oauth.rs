//! Tokens, codes and users over HTTP.
//!
//! The rules of who may get which token are here; how tokens are made is in `token`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use crate::call::{Call, Endpoint};
use crate::config::RefreshMode;
use crate::reply::Reply;
use crate::scope::Scopes;
use crate::state::Shared;
use crate::token::Grant;
use crate::users::UserState;
use crate::world::UserKey;

/// The token endpoint, for whichever grant.
pub fn token(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let form = call.form()?;
    let is_client = form.first("client_id") == Some(&shared.config.client_id);
    if !is_client || form.first("client_secret") != Some(&shared.config.client_secret) {
        return Err(call.refuse(
            401,
            "oauth.client_unknown",
            "OAuth client not found or client secret invalid",
        ));
    }
    match (call.endpoint, form.first("grant_type")) {
        (Endpoint::CodeExchange, _) => {
            let grant = form.first("code").and_then(|code| shared.tokens.spend_code(code));
            let grant = grant.ok_or_else(|| {
                call.refuse(400, "oauth.invalid_code", "the authorization code is not valid")
            })?;
            Ok(user_token(shared, grant))
        }
        (Endpoint::RefreshToken, _) => {
            let spent = form.first("refresh_token").and_then(|token| shared.tokens.spend_refresh(token));
            let grant = spent.filter(|_| shared.config.refresh == RefreshMode::Rotating);
            let grant = grant.ok_or_else(|| {
                call.refuse(400, "oauth.invalid_refresh_token", "the refresh token is not valid")
            })?;
            Ok(user_token(shared, grant))
        }
        (_, Some("client_credentials")) => client_token(shared, call),
        _ => Err(call.refuse(400, "oauth.grant_type", "unknown grant type")),
    }
}

fn client_token(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let scopes = match call.form()?.first("scope") {
        Some(list) => allowed_scopes(shared, call, list)?,
        None => shared.app_scopes,
    };
    let life = shared.config.client_expires_in;
    let access = shared.tokens.access(Grant { user: None, scopes }, shared.clock_ms() + life * 1000);
    Ok(Reply::value(
        &json!({"access_token": access, "token_type": "bearer", "expires_in": life, "scope": scopes.list(), "id_hint": null}),
    ))
}

fn user_token(shared: &Shared, grant: Grant) -> Reply {
    let life = shared.config.user_expires_in;
    let access = shared.tokens.access(grant, shared.clock_ms() + life * 1000);
    let mut body = json!({
        "access_token": access,
        "token_type": "bearer",
        "expires_in": life,
        "scope": grant.scopes.list(),
        "id_hint": grant.user.map(|user| shared.users.name(user)),
    });
    if let (RefreshMode::Rotating, Some(fields)) = (shared.config.refresh, body.as_object_mut()) {
        fields.insert("refresh_token".to_owned(), shared.tokens.refresh_token(grant).into());
    }
    Reply::value(&body)
}

fn allowed_scopes(shared: &Shared, call: &Call, list: &str) -> Result<Scopes, Reply> {
    let allowed = Scopes::parse(list).filter(|&scopes| shared.app_scopes.hold(scopes));
    allowed
        .ok_or_else(|| call.refuse(401, "oauth.scope_not_allowed", "a scope is not allowed for the client"))
}

/// Code for a user: for our own use, or for Tink Link.
pub fn grant(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    shared.authorize(call, "authorization:grant")?;
    let form = call.form()?;
    let user = named_user(shared, call)?;
    let list = form.first("scope").filter(|list| !list.is_empty());
    let scopes = allowed_scopes(
        shared,
        call,
        list.ok_or_else(|| call.refuse(400, "oauth.scope_missing", "scope is required"))?,
    )?;
    if call.endpoint == Endpoint::Grant {
        return Ok(Reply::value(&json!({"code": shared.tokens.code(Grant { user: Some(user), scopes })})));
    }
    if form.first("id_hint").is_none() || form.first("actor_client_id").is_none() {
        return Err(call.refuse(400, "oauth.delegate", "id_hint and actor_client_id are required"));
    }
    Ok(Reply::value(&json!({"code": shared.tokens.link_code(Grant { user: Some(user), scopes })})))
}

/// Ends all access tokens of a user.
pub fn revoke_all(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    shared.authorize(call, "authorization:revoke")?;
    let user = named_user(shared, call)?;
    let serial = shared.tokens.next_serial();
    shared.users.change(user, |state| state.revoked_below = serial);
    Ok(Reply::nothing())
}

fn named_user(shared: &Shared, call: &Call) -> Result<UserKey, Reply> {
    let form = call.form()?;
    let ((Some(name), None) | (None, Some(name))) = (form.first("user_id"), form.first("external_user_id"))
    else {
        return Err(call.refuse(
            400,
            "oauth.user",
            "exactly one of user_id and external_user_id is required",
        ));
    };
    shared.users.find(&shared.world, name).ok_or_else(|| call.refuse(404, "user.not_found", "no such user"))
}

#[derive(Deserialize)]
struct NewUser {
    market: String,
    #[serde(default)]
    external_user_id: Option<String>,
}

/// Makes a user without consents.
pub fn create_user(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    shared.authorize(call, "user:create")?;
    let wanted = serde_json::from_slice::<NewUser>(&call.body).ok().filter(|user| user.market.len() == 2);
    let wanted = wanted.ok_or_else(|| call.refuse(400, "user.invalid", "market is required"))?;
    let name = wanted.external_user_id.unwrap_or_else(|| format!("unnamed-{}", shared.tokens.next_serial()));
    if shared.users.find(&shared.world, &name).is_some() {
        return Err(call.refuse(
            409,
            "user.user_with_external_user_id_already_exists",
            "the external user id is taken",
        ));
    }
    let user = shared.users.find_or_make(&shared.world, &name);
    shared
        .users
        .change(user, |state| *state = UserState { script: Some(Arc::default()), ..UserState::default() });
    Ok(Reply::value(&json!({"user_id": shared.world.user_id(user).to_string(), "external_user_id": name})))
}

/// Who the user of the token is.
pub fn show_user(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let user = shared.authorize_user(call, "user:read")?;
    Ok(Reply::value(
        &json!({"id": shared.world.user_id(user).to_string(), "externalUserId": shared.users.name(user)}),
    ))
}

/// Forgets the user of the token.
pub fn delete_user(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let user = shared.authorize_user(call, "user:delete")?;
    shared.users.change(user, |state| state.deleted = true);
    Ok(Reply::nothing())
}

/// The user a call is about, as far as can be told without judging it.
pub fn user_of_call(shared: &Shared, call: &Call) -> Option<UserKey> {
    let form = call.form.as_ref();
    let field = |name| form?.first(name);
    match call.endpoint {
        Endpoint::ClientToken => None,
        Endpoint::CodeExchange => shared.tokens.peek_code(field("code")?)?.user,
        Endpoint::RefreshToken => shared.tokens.peek_refresh(field("refresh_token")?)?.user,
        Endpoint::Grant | Endpoint::Delegate | Endpoint::RevokeAll => {
            shared.users.find(&shared.world, field("external_user_id").or_else(|| field("user_id"))?)
        }
        _ => shared.access(call)?.grant.user,
    }
}

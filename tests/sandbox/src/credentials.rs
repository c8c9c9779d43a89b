//! Consents over HTTP: reading them, refreshing and deleting what they stand for.
//!
//! The consents of scripted users are served as they are and never change by themselves.

use serde_json::Value;

use crate::banking;
use crate::call::Call;
use crate::json::Json;
use crate::plan::RefreshOutcome;
use crate::reply::Reply;
use crate::state::Shared;
use crate::world::UserKey;

/// All consents of the user, or the one asked for.
pub fn consents(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let user = shared.authorize_user(call, "provider-consents:read")?;
    let state = shared.users.state(user);
    let wanted = call.query.first("credentialsId");
    let mut json = Json::with_capacity(1024);
    json.open('{').key("providerConsents").open('[');
    match &state.script {
        Some(script) => script
            .consents
            .iter()
            .filter(|consent| wanted.is_none_or(|id| credentials_id(consent) == Some(id)))
            .for_each(|consent| {
                json.plain(consent);
            }),
        None => shared.with_view(user, &state, |view| {
            let listed = view
                .consents()
                .filter(|&number| wanted.is_none_or(|id| view.credentials_id(number).to_string() == id));
            listed.for_each(|number| banking::consent(&mut json, view, number));
        }),
    }
    json.close(']').close('}');
    shared.users.consents_read(user, &state);
    Ok(Reply::json(json.finish()))
}

fn credentials_id(consent: &Value) -> Option<&str> {
    consent.get("credentialsId")?.as_str()
}

/// Starts a refresh: always accepted, whatever comes of it, unless one is already running.
pub fn refresh(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let user = shared.authorize_user(call, "credentials:refresh")?;
    let Some(number) = find(shared, call, user)? else {
        return Ok(Reply::nothing());
    };
    shared.users.change(user, |state| {
        let refreshed = shared.with_view(user, state, |view| view.consent_refreshed(number));
        let plan = state.plan_mut(&shared.world, user);
        let outcome = plan.refresh;
        let consent = plan.consent.entry(number).or_default();
        if consent.status.as_deref() == Some("UPDATING") {
            return Err(call.refuse(409, "credentials.busy", "another operation is running"));
        }
        consent.status = match outcome {
            RefreshOutcome::NoChange => return Ok(Reply::nothing()),
            RefreshOutcome::Updated => None,
            RefreshOutcome::NeverEnds => Some("UPDATING".to_owned()),
            RefreshOutcome::Awaiting => Some("AWAITING_THIRD_PARTY_APP_AUTHENTICATION".to_owned()),
        };
        consent.status_updated = (outcome != RefreshOutcome::Updated).then_some((refreshed + 1) * 1000);
        if outcome == RefreshOutcome::Updated {
            *state.refreshes.entry(number).or_default() += 1;
        }
        Ok(Reply::nothing())
    })
}

/// Ends a consent; accounts that no other consent holds go with it.
pub fn delete(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let user = shared.authorize_user(call, "credentials:write")?;
    if let Some(number) = find(shared, call, user)? {
        shared.users.change(user, |state| {
            state.plan_mut(&shared.world, user).deleted_consents.push(number);
        });
    }
    Ok(Reply::nothing())
}

/// The number of the consent in the path; `None` if it is a scripted one, 404 if there is none.
fn find(shared: &Shared, call: &Call, user: UserKey) -> Result<Option<usize>, Reply> {
    let state = shared.users.state(user);
    let found = match &state.script {
        Some(script) => {
            script.consents.iter().any(|consent| credentials_id(consent) == Some(&call.id)).then_some(None)
        }
        None => shared.with_view(user, &state, |view| view.consent_of(&call.id)).map(Some),
    };
    found.ok_or_else(|| call.refuse(404, "credentials.not_found", "no such credentials"))
}

//! What a visit at Tink Link does to a user: a new consent with an account and rows, or a consent that is well again.
//!
//! Users made at run time get scripted data, generated ones get their plan changed. It must not know about pages or redirects.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde_json::{Value, json};

use crate::calendar::date_time;
use crate::script::{self, Script, ScriptRow};
use crate::state::Shared;
use crate::users::UserState;
use crate::world::UserKey;

/// Days of history that a new account brings.
const HISTORY: i32 = 30;
/// Days that a consent lives.
const LIFE: i32 = 90;
/// Looks at the consents after which a slow bank is through.
const SLOW: u32 = 2;

/// Links a bank of the market; returns the credentials id.
pub fn connect(shared: &Shared, user: UserKey, market: &str, slow: bool) -> String {
    let state = shared.users.state(user);
    let Some(script) = state.script.as_deref() else {
        return connect_generated(shared, user);
    };
    let (credentials_id, account_id) = (shared.tokens.random_id(), shared.tokens.random_id());
    let after = with_bank(shared, script, market, &credentials_id, &account_id);
    shared.users.change(user, |state: &mut UserState| {
        if slow {
            let mut before = script.clone();
            before.consents.push(json!({
                "credentialsId": credentials_id, "providerName": provider(market), "accountIds": [],
                "status": "UPDATING", "statusUpdated": shared.now_ms(),
            }));
            state.script = Some(Arc::new(before));
            state.on_consents = Some((SLOW, Arc::new(after)));
        } else {
            state.script = Some(Arc::new(after));
        }
    });
    credentials_id
}

/// The script with one more consent, account and history.
fn with_bank(
    shared: &Shared,
    script: &Script,
    market: &str,
    credentials_id: &str,
    account_id: &str,
) -> Script {
    let mut script = script.clone();
    let day = shared.day() as i32;
    let refreshed = format!("{}Z", date_time(shared.world.calendar.second(day, 600)));
    let mut consent = script::consent(credentials_id, &[account_id]);
    set(&mut consent, healthy(shared));
    set(&mut consent, [("providerName", provider(market))]);
    script.consents.push(consent);
    script.accounts.push(script::account(account_id, &refreshed, "123456", "2", "EUR"));
    for back in 0..HISTORY {
        let date = date(shared, day - back);
        let amount = if back == 29 { "250000".to_owned() } else { format!("-{}", 100 + 37 * back) };
        let id = shared.tokens.random_id();
        script.transactions.push(ScriptRow::booked(&id, account_id, date, &amount, "2", "Demo purchase"));
    }
    script
}

fn connect_generated(shared: &Shared, user: UserKey) -> String {
    shared.users.change(user, |state| {
        let plan = state.plan_mut(&shared.world, user);
        plan.accounts += 1;
        plan.consents += 1;
    });
    let state = shared.users.state(user);
    shared
        .with_view(user, &state, |view| view.credentials_id(view.consents().last().unwrap_or(0)).to_string())
}

/// Makes a consent well again; `false` if there is none, or it cannot be extended.
pub fn renew(shared: &Shared, user: UserKey, credentials_id: &str, extend: bool) -> bool {
    let state = shared.users.state(user);
    if let Some(script) = state.script.as_deref() {
        return renew_scripted(shared, user, script, credentials_id, extend);
    }
    let Some(number) = shared.with_view(user, &state, |view| view.consent_of(credentials_id)) else {
        return false;
    };
    shared.users.change(user, |state| {
        let plan = state.plan_mut(&shared.world, user);
        let extendable = plan.consent.get(&number).and_then(|consent| consent.extendable);
        if extend && extendable != Some(true) {
            return false;
        }
        plan.consent.remove(&number);
        plan.consent(number).extendable = extendable;
        *state.refreshes.entry(number).or_default() += 1;
        true
    })
}

fn renew_scripted(
    shared: &Shared,
    user: UserKey,
    script: &Script,
    credentials_id: &str,
    extend: bool,
) -> bool {
    let mut script = script.clone();
    let is_it = |consent: &&mut Value| consent.get("credentialsId").is_some_and(|id| id == credentials_id);
    let Some(consent) = script.consents.iter_mut().find(is_it) else { return false };
    if extend && consent.get("sessionExtendable") != Some(&Value::Bool(true)) {
        return false;
    }
    set(consent, healthy(shared));
    if let Some(fields) = consent.as_object_mut() {
        fields.remove("detailedError");
    }
    shared.users.change(user, |state| state.script = Some(Arc::new(script)));
    true
}

/// The fields of a consent that has just been given.
fn healthy(shared: &Shared) -> [(&'static str, Value); 3] {
    let end = shared.world.calendar.second(shared.day() as i32 + LIFE, 43_200) * 1000;
    [
        ("status", "UPDATED".into()),
        ("statusUpdated", shared.now_ms().into()),
        ("sessionExpiryDate", end.into()),
    ]
}

fn set<const N: usize>(object: &mut Value, fields: [(&'static str, Value); N]) {
    if let Some(known) = object.as_object_mut() {
        known.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    }
}

fn provider(market: &str) -> Value {
    let place = if market == "GB" { "uk".to_owned() } else { market.to_lowercase() };
    format!("{place}-demobank-open-banking-redirect").into()
}

fn date(shared: &Shared, day: i32) -> Date {
    let at = Timestamp::from_second(shared.world.calendar.second(day, 0)).unwrap_or(Timestamp::UNIX_EPOCH);
    Offset::UTC.to_datetime(at).date()
}

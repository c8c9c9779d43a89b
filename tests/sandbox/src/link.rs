//! Tink Link, played: a page of its own in place of Tink's and the bank's, on which a person or a program chooses how the visit
//! ends. What is chosen really happens to the user.
//!
//! It checks what Tink checks before it sends anybody anywhere; which data a new consent brings is `newbank`'s.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::call::{Call, Params};
use crate::lock;
use crate::newbank;
use crate::reply::Reply;
use crate::state::Shared;
use crate::world::UserKey;

/// Where the choices of the page go.
pub const CHOOSE: &str = "/1.0/choose";
const CODE_IS_SPENT: &str = "error=BAD_REQUEST&error_reason=REQUEST_FAILED_FETCH_EXISTING_USER";

/// What a visit is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A new consent, in this market.
    Connect(String),
    /// A login anew for this consent.
    Update(String),
    /// A longer life for this consent.
    Extend(String),
}

#[derive(Debug, Clone)]
struct Visit {
    user: UserKey,
    purpose: Purpose,
    redirect_uri: String,
    state: Option<String>,
}

/// Where browsers may be sent, and who is on the page.
#[derive(Debug)]
pub struct Link {
    redirect_uris: Mutex<Vec<String>>,
    visits: Mutex<HashMap<String, Visit>>,
}

impl Link {
    /// Knows these redirect URIs.
    pub fn new(redirect_uris: Vec<String>) -> Self {
        Self { redirect_uris: Mutex::new(redirect_uris), visits: Mutex::default() }
    }

    /// Knows one more.
    pub fn register(&self, redirect_uri: &str) {
        lock(&self.redirect_uris).push(redirect_uri.to_owned());
    }
}

/// The ways a visit can end: name, label, and what comes back besides the state. Without an error the bank is linked.
const CHOICES: [(&str, &str, &str); 12] = [
    ("demo-bank", "Demo Bank", ""),
    ("demo-bank-camel", "Demo Bank that spells differently", ""),
    ("slow-bank", "Demo Bank that takes its time", ""),
    ("cancel", "Cancel", "error=USER_CANCELLED&tracking_id=t-cancel"),
    (
        "decline",
        "I do not agree",
        "error=USER_CANCELLED&error_reason=USER_DECLINED_CONSENT&tracking_id=t-decline",
    ),
    (
        "bank-down",
        "Bank that is down",
        "error=TEMPORARY_ERROR&message=Jane+Doe+%3Cb%3ESE4550000000058398257466&tracking_id=t-down&provider_name=se-demobank",
    ),
    (
        "wrong-login",
        "Bank with a wrong password",
        "error=AUTHENTICATION_ERROR&error_type=STATIC_CREDENTIALS_INCORRECT&credentials=c0&tracking_id=t-login",
    ),
    ("tink-down", "Trouble at Tink", "error=INTERNAL_ERROR&tracking_id=t-internal"),
    (
        "too-often",
        "Bank that was asked too often",
        "error=BAD_REQUEST&error_reason=INVALID_STATE_REFRESH_CREDENTIALS_RATE_LIMITED&tracking_id=t-often",
    ),
    ("news", "An error nobody has heard of", "error=SOLAR_FLARE&error_reason=X9&tracking_id=%3Cscript%3E"),
    ("wrong-state", "A bad redirect: another state", ""),
    ("no-state", "A bad redirect: no state", ""),
];

/// The page, or why there is none.
pub fn page(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let first = |name| call.query.first(name);
    if first("client_id") != Some(&shared.config.client_id) {
        return Err(dead_end("This app cannot be opened", "The client id is not known."));
    }
    let registered = lock(&shared.link.redirect_uris);
    let Some(redirect_uri) = first("redirect_uri").filter(|uri| registered.iter().any(|known| known == uri))
    else {
        return Err(dead_end("This app cannot be opened", "The redirect URI is not registered."));
    };
    let state = first("state").map(str::to_owned);
    let purpose =
        purpose(call).ok_or_else(|| dead_end("This link is not complete", "credentials_id is missing."))?;
    let Some(user) = first("authorization_code").and_then(|code| shared.tokens.spend_link_code(code)?.user)
    else {
        let back = back_to(redirect_uri, CODE_IS_SPENT, state.as_deref());
        let text = "The authorization code is missing, used or expired.";
        return Ok(html(
            "Something went wrong",
            &format!("<p>{text}</p><p><a id=\"back\" href=\"{}\">Go back</a></p>", escaped(&back)),
        ));
    };
    let (heading, what) = match &purpose {
        Purpose::Connect(market) if first("test") == Some("true") => {
            ("Choose your bank", format!("Demo banks of {market}"))
        }
        Purpose::Connect(market) => {
            ("Choose your bank", format!("Banks of {market}; the link asks for no demo banks"))
        }
        Purpose::Update(_) => ("Log in again", "Your bank wants to know that it is you.".to_owned()),
        Purpose::Extend(_) => ("Extend the consent", "Tink may read your data for longer.".to_owned()),
    };
    let visit = Visit { user, purpose, redirect_uri: redirect_uri.to_owned(), state };
    let id = shared.tokens.random_id();
    lock(&shared.link.visits).insert(id.clone(), visit);
    let button = |(name, label, _): &(&str, &str, &str)| {
        format!("<p><button id=\"{name}\" name=\"choice\" value=\"{name}\">{label}</button></p>\n")
    };
    let buttons = CHOICES.iter().map(button).collect::<Vec<_>>().concat();
    let form = format!(
        "<p>{}</p>\n<form method=\"post\" action=\"{CHOOSE}\">\n<input type=\"hidden\" name=\"visit\" value=\"{id}\">\n{buttons}</form>",
        escaped(&what)
    );
    Ok(html(heading, &form))
}

fn purpose(call: &Call) -> Option<Purpose> {
    let credentials = || call.query.first("credentials_id").filter(|id| !id.is_empty()).map(str::to_owned);
    match call.id.as_str() {
        "connect-accounts" => Some(Purpose::Connect(call.query.first("market").unwrap_or("SE").to_owned())),
        "update-consent" => credentials().map(Purpose::Update),
        "extend-consent" => credentials().map(Purpose::Extend),
        _ => None,
    }
}

/// Carries a choice out and sends the browser back.
pub fn choose(shared: &Shared, call: &Call) -> Result<Reply, Reply> {
    let form = call.form()?;
    let visit = form.first("visit").and_then(|id| lock(&shared.link.visits).get(id).cloned());
    let visit = visit.ok_or_else(|| dead_end("This visit is over", "Start again."))?;
    let name = form.first("choice").unwrap_or_default();
    let (name, _, error) = CHOICES
        .iter()
        .find(|(known, ..)| *known == name)
        .ok_or_else(|| dead_end("No such choice", "Go back and choose again."))?;
    let state = match *name {
        "wrong-state" => Some("AAAA".to_owned()),
        "no-state" => None,
        _ => visit.state.clone(),
    };
    let answer = match *name {
        "demo-bank" | "demo-bank-camel" | "slow-bank" => done(shared, &visit, name),
        "wrong-state" | "no-state" => "credentials_id=c0".to_owned(),
        _ => (*error).to_owned(),
    };
    let headers = vec![("Location".to_owned(), back_to(&visit.redirect_uri, &answer, state.as_deref()))];
    Ok(Reply { status: 303, headers, ..html("Going back", "") })
}

/// Does what the visit is for; what comes back, without the state.
fn done(shared: &Shared, visit: &Visit, choice: &str) -> String {
    let slow = choice == "slow-bank";
    let consent = match &visit.purpose {
        Purpose::Connect(market) => Some(newbank::connect(shared, visit.user, market, slow)),
        Purpose::Update(id) => newbank::renew(shared, visit.user, id, false).then(|| id.clone()),
        Purpose::Extend(id) => newbank::renew(shared, visit.user, id, true).then(|| id.clone()),
    };
    let name = if choice == "demo-bank-camel" { "credentialsId" } else { "credentials_id" };
    match consent {
        Some(id) => format!("{name}={id}"),
        None => {
            "error=BAD_REQUEST&error_reason=INVALID_PARAMETER_CREDENTIALS_ID&tracking_id=t-consent".to_owned()
        }
    }
}

fn back_to(redirect_uri: &str, answer: &str, state: Option<&str>) -> String {
    let mut fields = form_urlencoded::Serializer::new(String::new());
    fields.extend_pairs(Params::parse(answer.as_bytes()).iter());
    fields.extend_pairs(state.map(|state| ("state", state)));
    format!("{redirect_uri}?{}", fields.finish())
}

/// A page that sends nobody back: as Tink, for what a stranger could have made up.
fn dead_end(heading: &str, text: &str) -> Reply {
    Reply { status: 400, ..html(heading, &format!("<p>{text}</p>")) }
}

fn html(heading: &str, inner: &str) -> Reply {
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{heading}</title><link rel=\"icon\" href=\"data:,\"></head>\n\
         <body><main><h1>{heading}</h1>\n{inner}\n</main></body></html>\n"
    );
    Reply { content_type: "text/html; charset=utf-8", ..Reply::json(page) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

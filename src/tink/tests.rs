//! Tests of the client against the sandbox, with scripted responses where a test needs them: tokens, retries,
//! limits, walks.

mod calls;
mod tokens;
mod users;
mod walks;

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::date;
use jiff::{SignedDuration, Timestamp};
use tink_sandbox::{Action, Config, Endpoint as Call, Fault, Rates, Sandbox, Script};

use super::*;
use crate::clock::ManualClock;
use crate::domain::connection::TinkUser;
use crate::domain::window::Window;

/// 10 ms before a full second, so that a date can be less than a second away.
const NOW: &str = "2026-06-15T11:59:59.990Z";

/// A refusal in Tink's own form.
const REFUSAL: &str = r#"{"errorCode":"oauth.refused","errorMessage":"no"}"#;

/// The external id of the only user, who has no banks yet.
const USER: &str = "u-123";

fn sandbox() -> Sandbox {
    let tink = Sandbox::start(Config {
        threads: 1,
        users: 0,
        rates: Rates::none(),
        client_id: "app".to_owned(),
        client_secret: "s3cret+&=".to_owned(),
        dated: false,
        log: 1000,
        ..Config::default()
    });
    tink.script(USER, Script::default());
    tink
}

/// Makes the next calls of this kind get these responses, in order; later ones get the sandbox's own.
fn on(tink: &Sandbox, call: Call, answers: impl IntoIterator<Item = Action>) {
    answers.into_iter().for_each(|action| tink.fault(Fault::new(action).at(call)));
}

fn calls(tink: &Sandbox) -> Vec<Call> {
    tink.log().into_iter().map(|logged| logged.endpoint).collect()
}

fn headed(code: u16, body: impl Into<Vec<u8>>, headers: &[(&str, &str)]) -> Action {
    let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Action::Answer { code, headers, body: body.into() }
}

fn answer(code: u16, body: impl Into<Vec<u8>>) -> Action {
    headed(code, body, &[])
}

/// Gives the next session the tokens `client-1` and `user-3`. The sandbox does not know them, so calls with
/// them need scripted responses too.
fn known_tokens(tink: &Sandbox) {
    let client = r#"{"access_token":"client-1","expires_in":1800,"scope":"authorization:grant"}"#;
    on(tink, Call::ClientToken, [answer(200, client)]);
    on(tink, Call::Grant, [answer(200, r#"{"code":"code-2"}"#)]);
    on(tink, Call::CodeExchange, [answer(200, r#"{"access_token":"user-3","expires_in":7200}"#)]);
}

fn options(tink: &Sandbox) -> ClientOptions {
    ClientOptions {
        api_url: format!("{}/", tink.url()),
        client_id: "app".to_owned(),
        client_secret: "s3cret+&=".into(),
        connect_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(30),
        max_response: 4096,
        requests_per_second: 10_000.0,
        concurrency: 4,
        retry: RetryOptions { attempts: 4, base: Duration::from_millis(1), max: Duration::from_millis(2) },
        keep_raw: false,
        refresh: false,
        proxies: Proxies::default(),
    }
}

fn client_with(options: ClientOptions) -> Client {
    let now: Timestamp = NOW.parse().unwrap();
    Client::new(options, Arc::new(ManualClock::new(now)), 7).unwrap()
}

fn client(tink: &Sandbox) -> Client {
    client_with(options(tink))
}

fn user() -> TinkUser {
    TinkUser::External(USER.to_owned())
}

fn replies(status: u16, body: &str, count: usize) -> Vec<Action> {
    vec![answer(status, body); count]
}

fn account_page(id: &str, next: &str) -> Action {
    answer(200, format!(r#"{{"accounts":[{{"id":"{id}"}}],"nextPageToken":"{next}"}}"#))
}

/// The sandbox's response for a user without banks.
fn no_consents() -> Action {
    answer(200, r#"{"providerConsents":[]}"#)
}

async fn consents_error(client: &Client) -> Error {
    client.session(user()).consents().await.unwrap_err()
}

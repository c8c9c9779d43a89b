//! Tests of the client against a scripted server: tokens, repetitions, limits, walks.

mod calls;
mod tokens;
mod users;
mod walks;

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::date;
use jiff::{SignedDuration, Timestamp};

use super::fake::{Fake, Reply};
use super::*;
use crate::clock::ManualClock;
use crate::domain::connection::TinkUser;
use crate::domain::window::Window;

/// Half a second before a full one, so that a date can be less than a second away.
const NOW: &str = "2026-06-15T11:59:59.990Z";

/// A refusal in Tink's own form.
const REFUSAL: &str = r#"{"errorCode":"oauth.refused","errorMessage":"no"}"#;

fn options(fake: &Fake) -> Options {
    Options {
        api_url: format!("{}/", fake.url),
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

fn client_with(options: Options) -> Client {
    let now: Timestamp = NOW.parse().unwrap();
    Client::new(options, Arc::new(ManualClock::new(now)), 7).unwrap()
}

fn client(fake: &Fake) -> Client {
    client_with(options(fake))
}

fn user() -> TinkUser {
    TinkUser::External("u-123".to_owned())
}

fn replies(status: u16, body: &str, count: usize) -> Vec<Reply> {
    vec![Reply::new(status, body); count]
}

fn account_page(id: &str, next: &str) -> Reply {
    Reply::new(200, format!(r#"{{"accounts":[{{"id":"{id}"}}],"nextPageToken":"{next}"}}"#))
}

async fn consents_error(client: &Client) -> Error {
    client.session(user()).consents().await.unwrap_err()
}

//! Tests of single calls: retries, pauses, limits, and what errors and `Debug` show.

use super::*;

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for reply in [
        Action::Truncate(5),
        answer(200, r#"{"providerConsents":["#),
        answer(200, "<html>maintenance</html>"),
        answer(200, r#"{"providerConsents":{}}"#),
        answer(204, ""),
        answer(500, "<html>"),
        answer(408, ""),
        answer(429, ""),
        headed(429, "", &[("retry-after", "0")]),
        headed(503, "", &[("retry-after", "soon")]),
        Action::Gzip(b"not gzip at all".to_vec()),
    ] {
        let tink = sandbox();
        on(&tink, Call::Consents, vec![reply.clone(); 3]);
        let session = client(&tink).session(user());
        assert_eq!(session.consents().await, Ok(Vec::new()), "{reply:?}");
        assert_eq!((session.requests(), session.retries()), (7, 3));
        on(&tink, Call::Consents, vec![reply.clone(); 9]);
        let error = session.consents().await.unwrap_err();
        assert!(error.kind.is_transient() && error.retry_after.is_none());
        assert_eq!(tink.requests_to(Call::Consents), 8, "{reply:?}");
    }
}

#[tokio::test]
async fn what_will_not_change_is_not_tried_again() {
    for (status, kind) in [
        (302, ErrorKind::Intercepted),
        (400, ErrorKind::BadRequest),
        (403, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound),
        (409, ErrorKind::Client4xx),
    ] {
        let tink = sandbox();
        let location = format!("{}/api/v1/provider-consents", tink.url());
        on(&tink, Call::Consents, [headed(status, "", &[("location", &location), ("x-request-id", "r-1")])]);
        let error = consents_error(&client(&tink)).await;
        assert_eq!((error.kind, error.status), (kind, Some(status)));
        assert_eq!(error.request_id.as_deref(), Some("r-1"));
        assert_eq!(tink.requests_to(Call::Consents), 1, "{status}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let long = format!(r#"{{"providerConsents":[],"x":"{}"}}"#, "x".repeat(4096));
    for reply in [answer(200, long.clone()), Action::Unannounced(long.into())] {
        let tink = sandbox();
        on(&tink, Call::Consents, [reply]);
        assert_eq!(consents_error(&client(&tink)).await.kind, ErrorKind::TooLarge);
        assert_eq!(tink.requests_to(Call::Consents), 1);
    }
}

#[tokio::test]
async fn a_body_beyond_its_reservation_is_read_whole() {
    let tink = sandbox();
    let long = format!(r#"{{"providerConsents":[],"x":"{}"}}"#, "x".repeat(700_000));
    on(&tink, Call::Consents, vec![Action::Unannounced(long.into()); 3]);
    let client = client_with(ClientOptions { max_response: 1 << 20, ..options(&tink) });
    let sessions = [client.session(user()), client.session(user()), client.session(user())];
    let [one, two, three] = &sessions;
    let (one, two, three) = tokio::join!(one.consents(), two.consents(), three.consents());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
}

#[tokio::test]
async fn a_short_retry_after_pauses_everybody() {
    let tink = sandbox();
    let soon = headed(429, "", &[("retry-after", "Mon, 15 Jun 2026 12:00:00 GMT")]);
    on(&tink, Call::Consents, [soon.clone(), soon]);
    let client = client(&tink);
    let session = client.session(user());
    session.consents().await.unwrap();
    assert_eq!((session.requests(), session.retries()), (6, 2));
    assert_eq!(client.paused_total(), Duration::from_millis(20));
    assert_eq!(
        (session.own_pauses(), client.session(user()).own_pauses()),
        (Duration::from_millis(20), Duration::ZERO)
    );
}

#[tokio::test]
async fn a_503_rests_its_own_call_and_pauses_nobody() {
    let tink = sandbox();
    on(&tink, Call::Consents, [headed(503, "", &[("retry-after", "Mon, 15 Jun 2026 12:00:00 GMT")])]);
    let client = client(&tink);
    let session = client.session(user());
    session.consents().await.unwrap();
    assert_eq!((session.requests(), session.retries()), (5, 1));
    assert_eq!((client.paused_total(), session.own_pauses()), (Duration::ZERO, Duration::ZERO));
}

#[tokio::test]
async fn after_the_last_try_a_retry_after_is_handed_on_and_still_pauses() {
    let tink = sandbox();
    on(&tink, Call::ClientToken, [headed(429, "", &[("retry-after", "60")])]);
    let client = client(&tink);
    let error = client.probe(None).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_mins(1))));
    assert!(client.is_paused());
    assert_eq!(tink.requests_to(Call::ClientToken), 1);
}

#[tokio::test]
async fn a_long_retry_after_fails_at_once() {
    let tink = sandbox();
    on(&tink, Call::Consents, [headed(503, "", &[("retry-after", "999999")])]);
    let client = client(&tink);
    let error = consents_error(&client).await;
    assert_eq!((error.kind, error.retry_after), (ErrorKind::Server, Some(Duration::from_hours(24))));
    assert!(!client.is_paused());
    assert_eq!(tink.requests_to(Call::Consents), 1);
}

#[tokio::test]
async fn no_answer_and_no_server_are_told_apart() {
    let tink = sandbox();
    on(&tink, Call::ClientToken, [Action::Hang]);
    let hasty = ClientOptions { request_timeout: Duration::from_millis(20), ..options(&tink) };
    assert_eq!(client_with(hasty).probe(None).await.unwrap_err().kind, ErrorKind::Timeout);

    let client = client(&tink);
    drop(tink);
    let error = consents_error(&client).await;
    assert!(matches!(error.kind, ErrorKind::Network), "{error}");
    assert_eq!(client.totals().requests, 4);
}

#[tokio::test]
async fn no_secret_shows_in_debug_or_in_errors() {
    let tink = sandbox();
    let body = r#"{"errorMessage":"token abcdef0123456789 of s3cret+&= for SE6930000000011273547693"}"#;
    known_tokens(&tink);
    on(&tink, Call::Consents, [answer(404, body), no_consents()]);
    let client = client(&tink);
    let error = consents_error(&client).await;
    let session = client.session(user());
    session.consents().await.unwrap();
    let shown = format!("{error} {error:?} {client:?} {session:?} {:?}", options(&tink));
    for secret in ["abcdef0123456789", "SE6930000000011273547693", "user-3", "client-1", "u-123"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert!(!format!("{client:?} {session:?} {:?}", options(&tink)).contains("s3cret"));
}

#[tokio::test]
async fn unusable_options_are_refused() {
    let tink = sandbox();
    let good = options(&tink);
    for bad in [
        ClientOptions { requests_per_second: f64::NAN, ..good.clone() },
        ClientOptions { requests_per_second: 0.0, ..good.clone() },
        ClientOptions { concurrency: 0, ..good.clone() },
        ClientOptions { client_id: String::new(), ..good.clone() },
        ClientOptions { api_url: "api.tink.com".to_owned(), ..good.clone() },
        ClientOptions { api_url: "file:///etc".to_owned(), ..good.clone() },
        ClientOptions { retry: RetryOptions { attempts: 0, ..good.retry }, ..good.clone() },
    ] {
        let now: Timestamp = NOW.parse().unwrap();
        let error = Client::new(bad, Arc::new(ManualClock::new(now)), 7).unwrap_err();
        assert_eq!((error.kind, error.endpoint), (ErrorKind::Config, Endpoint::Setup));
    }
}

#[tokio::test]
async fn a_session_can_be_worked_on_in_a_task() {
    let tink = sandbox();
    let client = client(&tink);
    let task = tokio::spawn(async move {
        let session = client.session(user());
        let window = Window { from: None, to: date(2026, 8, 31) };
        let first = session.transactions(&"a".into(), &window).next().await.is_ok();
        first && session.accounts().await.is_ok() && client.probe(None).await.is_ok()
    });
    assert!(task.await.unwrap());
}

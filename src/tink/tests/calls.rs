//! Tests of single calls: repetitions, pauses, limits, what is shown.

use super::*;

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let broken_gzip = Reply::new(200, "not gzip at all").header("content-encoding: gzip");
    for reply in [
        Reply::new(200, r#"{"providerConsents":[]}"#).cut(),
        Reply::new(200, r#"{"providerConsents":["#),
        Reply::new(200, "<html>maintenance</html>"),
        Reply::new(200, r#"{"providerConsents":{}}"#),
        Reply::new(204, ""),
        Reply::new(500, "<html>"),
        Reply::new(408, ""),
        Reply::new(429, ""),
        Reply::new(429, "").header("retry-after: 0"),
        Reply::new(503, "").header("retry-after: soon"),
        broken_gzip,
    ] {
        let fake = Fake::start().await;
        fake.on("consents", vec![reply.clone(); 3]);
        let session = client(&fake).session(user());
        assert_eq!(session.consents().await, Ok(Vec::new()), "{reply:?}");
        assert_eq!((session.requests(), session.retries()), (7, 3));
        fake.on("consents", vec![reply.clone(); 9]);
        let error = session.consents().await.unwrap_err();
        assert!(error.kind.is_transient() && error.retry_after.is_none());
        assert_eq!(fake.count("consents"), 8, "{reply:?}");
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
        let fake = Fake::start().await;
        let location = format!("location: {}/api/v1/provider-consents", fake.url);
        fake.on("consents", [Reply::new(status, "").header(&location)]);
        let error = consents_error(&client(&fake)).await;
        assert_eq!((error.kind, error.status), (kind, Some(status)));
        assert_eq!(error.request_id.as_deref(), Some("r-1"));
        assert_eq!(fake.count("consents"), 1, "{status}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let long = format!(r#"{{"providerConsents":[],"x":"{}"}}"#, "x".repeat(4096));
    for reply in [Reply::new(200, long.clone()), Reply::new(200, long).unannounced()] {
        let fake = Fake::start().await;
        fake.on("consents", [reply]);
        assert_eq!(consents_error(&client(&fake)).await.kind, ErrorKind::TooLarge);
        assert_eq!(fake.count("consents"), 1);
    }
}

#[tokio::test]
async fn a_body_beyond_its_reservation_is_read_whole() {
    let fake = Fake::start().await;
    let long = format!(r#"{{"providerConsents":[],"x":"{}"}}"#, "x".repeat(700_000));
    fake.on("consents", vec![Reply::new(200, long).unannounced(); 3]);
    let client = client_with(Options { max_response: 1 << 20, ..options(&fake) });
    let sessions = [client.session(user()), client.session(user()), client.session(user())];
    let [one, two, three] = &sessions;
    let (one, two, three) = tokio::join!(one.consents(), two.consents(), three.consents());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
}

#[tokio::test]
async fn a_short_retry_after_pauses_everybody() {
    let fake = Fake::start().await;
    let soon = "retry-after: Mon, 15 Jun 2026 12:00:00 GMT";
    fake.on("consents", [Reply::new(429, "").header(soon), Reply::new(429, "").header(soon)]);
    let client = client(&fake);
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
    let fake = Fake::start().await;
    fake.on("consents", [Reply::new(503, "").header("retry-after: Mon, 15 Jun 2026 12:00:00 GMT")]);
    let client = client(&fake);
    let session = client.session(user());
    session.consents().await.unwrap();
    assert_eq!((session.requests(), session.retries()), (5, 1));
    assert_eq!((client.paused_total(), session.own_pauses()), (Duration::ZERO, Duration::ZERO));
}

#[tokio::test]
async fn after_the_last_try_a_retry_after_is_handed_on_and_still_pauses() {
    let fake = Fake::start().await;
    fake.on("client", [Reply::new(429, "").header("retry-after: 60")]);
    let client = client(&fake);
    let error = client.probe(None).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_mins(1))));
    assert!(client.is_paused());
    assert_eq!(fake.count("client"), 1);
}

#[tokio::test]
async fn a_long_retry_after_fails_at_once() {
    let fake = Fake::start().await;
    fake.on("consents", [Reply::new(503, "").header("retry-after: 999999")]);
    let client = client(&fake);
    let error = consents_error(&client).await;
    assert_eq!((error.kind, error.retry_after), (ErrorKind::Server, Some(Duration::from_hours(24))));
    assert!(!client.is_paused());
    assert_eq!(fake.count("consents"), 1);
}

#[tokio::test]
async fn no_answer_and_no_server_are_told_apart() {
    let fake = Fake::start().await;
    fake.on("client", [Reply::hang()]);
    let hasty = Options { request_timeout: Duration::from_millis(20), ..options(&fake) };
    assert_eq!(client_with(hasty).probe(None).await.unwrap_err().kind, ErrorKind::Timeout);

    let client = client(&fake);
    drop(fake);
    // The listener is gone as soon as its task is; until then connections are cut.
    let error = consents_error(&client).await;
    assert!(matches!(error.kind, ErrorKind::Network), "{error}");
    assert_eq!(client.totals().requests, 4);
}

#[tokio::test]
async fn no_secret_shows_in_debug_or_in_errors() {
    let fake = Fake::start().await;
    let body = r#"{"errorMessage":"token abcdef0123456789 of s3cret+&= for SE6930000000011273547693"}"#;
    fake.on("consents", [Reply::new(404, body)]);
    let client = client(&fake);
    let error = consents_error(&client).await;
    let session = client.session(user());
    session.consents().await.unwrap();
    let shown = format!("{error} {error:?} {client:?} {session:?} {:?}", options(&fake));
    for secret in ["abcdef0123456789", "SE6930000000011273547693", "user-3", "client-1", "u-123"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert!(!format!("{client:?} {session:?} {:?}", options(&fake)).contains("s3cret"));
}

#[tokio::test]
async fn unusable_options_are_refused() {
    let fake = Fake::start().await;
    let good = options(&fake);
    for bad in [
        Options { requests_per_second: f64::NAN, ..good.clone() },
        Options { requests_per_second: 0.0, ..good.clone() },
        Options { concurrency: 0, ..good.clone() },
        Options { client_id: String::new(), ..good.clone() },
        Options { api_url: "api.tink.com".to_owned(), ..good.clone() },
        Options { api_url: "file:///etc".to_owned(), ..good.clone() },
        Options { retry: RetryOptions { attempts: 0, ..good.retry }, ..good.clone() },
    ] {
        let now: Timestamp = NOW.parse().unwrap();
        let error = Client::new(bad, Arc::new(ManualClock::new(now)), 7).unwrap_err();
        assert_eq!((error.kind, error.endpoint), (ErrorKind::Config, Endpoint::Setup));
    }
}

#[tokio::test]
async fn a_session_can_be_worked_on_in_a_task() {
    let fake = Fake::start().await;
    let client = client(&fake);
    let task = tokio::spawn(async move {
        let session = client.session(user());
        let window = Window { from: None, to: date(2026, 8, 31) };
        let first = session.transactions(&"a".into(), &window).next().await.is_ok();
        first && session.accounts().await.is_ok() && client.probe(None).await.is_ok()
    });
    assert!(task.await.unwrap());
}

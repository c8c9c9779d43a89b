//! Tests of what linking a bank takes: a user, and a code for Tink Link.

use secrecy::ExposeSecret as _;

use super::*;

const NEW: NewUser<'static> = NewUser { external_user_id: "ts-1", market: "SE", locale: "en_US" };

#[tokio::test]
async fn a_user_is_made_once_and_one_that_is_there_is_as_good() {
    for status in [200, 409] {
        let fake = Fake::start().await;
        fake.on("client", [token("authorization:grant"), token("user:create")]);
        fake.on("create", [Reply::new(500, ""), Reply::new(status, "{}")]);
        client(&fake).create_user(&NEW).await.unwrap();
        let seen = fake.seen();
        assert!(seen[1].body.contains("scope=user%3Acreate"), "{:?}", seen[1]);
        let sent: serde_json::Value = serde_json::from_str(&seen[2].body).unwrap();
        let expected = serde_json::json!({"external_user_id": "ts-1", "market": "SE", "locale": "en_US"});
        assert_eq!((sent, seen[2].target.as_str()), (expected, "/api/v1/user/create"));
    }
}

#[tokio::test]
async fn a_missing_scope_is_told_by_its_name_and_not_taken_for_a_wrong_secret() {
    for refusal in [Reply::new(401, REFUSAL), Reply::new(403, REFUSAL), token("authorization:grant")] {
        let fake = Fake::start().await;
        fake.on("client", [token("authorization:grant"), refusal]);
        let error = client(&fake).create_user(&NEW).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ScopeMissing);
        assert!(error.to_string().contains("user:create"), "{error}");
        assert_eq!(fake.count("create"), 0);
    }
    let fake = Fake::start().await;
    fake.on("client", [Reply::new(401, REFUSAL), Reply::new(401, REFUSAL)]);
    assert_eq!(client(&fake).create_user(&NEW).await.unwrap_err().kind, ErrorKind::ClientRefused);
}

#[tokio::test]
async fn the_code_for_link_is_asked_for_with_the_hint_and_never_exchanged() {
    let fake = Fake::start().await;
    fake.on("delegate", [Reply::new(401, ""), Reply::new(200, r#"{"code":"c-1"}"#)]);
    let code = client(&fake).delegate(&user(), "j\u{f6}rg").await.unwrap();
    assert_eq!(code.expose_secret(), "c-1");
    // A token that was withdrawn is replaced, once.
    assert_eq!(fake.routes(), ["client", "delegate", "client", "delegate"]);
    let body = fake.seen()[3].body.clone();
    for part in [
        "external_user_id=u-123",
        "id_hint=j%C3%B6rg",
        "actor_client_id=df05e4b379934cd09963197cc855bfe9",
        "scope=authorization%3Aread%2Cauthorization%3Agrant%2C",
    ] {
        assert!(body.contains(part), "{part} is not in {body}");
    }
}

#[tokio::test]
async fn whom_tink_does_not_know_and_what_it_does_not_grant_are_told_apart() {
    for (status, kind) in [
        (401, ErrorKind::GrantRefused),
        (403, ErrorKind::GrantRefused),
        (404, ErrorKind::UserUnknown),
        (400, ErrorKind::BadRequest),
    ] {
        let fake = Fake::start().await;
        fake.on("delegate", replies(status, "", 2));
        assert_eq!(client(&fake).delegate(&user(), "h").await.unwrap_err().kind, kind, "{status}");
    }
}

/// A client token with one scope.
fn token(scope: &str) -> Reply {
    Reply::new(200, format!(r#"{{"access_token":"t","expires_in":1800,"scope":"{scope}"}}"#))
}

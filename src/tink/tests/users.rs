//! Tests of creating a user and of getting a code for Tink Link.

use secrecy::ExposeSecret as _;

use super::*;

const NEW: NewUser<'static> = NewUser { external_user_id: "ts-1", market: "SE", locale: "en_US" };

#[tokio::test]
async fn a_user_is_made_once_and_one_that_is_there_is_as_good() {
    for status in [200, 409] {
        let tink = sandbox();
        on(&tink, Call::ClientToken, [token("authorization:grant"), token("user:create")]);
        on(&tink, Call::UserCreate, [answer(500, ""), answer(status, "{}")]);
        client(&tink).create_user(&NEW).await.unwrap();
        let seen = tink.log();
        assert!(seen[1].body.contains("scope=user%3Acreate"), "{:?}", seen[1]);
        let sent: serde_json::Value = serde_json::from_str(&seen[2].body).unwrap();
        let expected = serde_json::json!({"external_user_id": "ts-1", "market": "SE", "locale": "en_US"});
        assert_eq!((sent, seen[2].target.as_str()), (expected, "/api/v1/user/create"));
    }
}

#[tokio::test]
async fn a_missing_scope_is_told_by_its_name_and_not_taken_for_a_wrong_secret() {
    for refusal in [answer(401, REFUSAL), answer(403, REFUSAL), token("authorization:grant")] {
        let tink = sandbox();
        on(&tink, Call::ClientToken, [token("authorization:grant"), refusal]);
        let error = client(&tink).create_user(&NEW).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ScopeMissing);
        assert!(error.to_string().contains("user:create"), "{error}");
        assert_eq!(tink.requests_to(Call::UserCreate), 0);
    }
    let tink = sandbox();
    on(&tink, Call::ClientToken, [answer(401, REFUSAL), answer(401, REFUSAL)]);
    assert_eq!(client(&tink).create_user(&NEW).await.unwrap_err().kind, ErrorKind::ClientRefused);
}

#[tokio::test]
async fn the_code_for_link_is_asked_for_with_the_hint_and_never_exchanged() {
    let tink = sandbox();
    on(&tink, Call::Delegate, [answer(401, ""), answer(200, r#"{"code":"c-1"}"#)]);
    let code = client(&tink).delegate(&user(), "j\u{f6}rg").await.unwrap();
    assert_eq!(code.expose_secret(), "c-1");
    // A revoked token is replaced, once.
    assert_eq!(calls(&tink), [Call::ClientToken, Call::Delegate, Call::ClientToken, Call::Delegate]);
    let body = tink.log()[3].body.clone();
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
        let tink = sandbox();
        on(&tink, Call::Delegate, replies(status, REFUSAL, 2));
        assert_eq!(client(&tink).delegate(&user(), "h").await.unwrap_err().kind, kind, "{status}");
    }
}

#[tokio::test]
async fn a_gateways_404_does_not_show_that_a_user_is_gone() {
    for body in ["404 page not found", "", "{}"] {
        let tink = sandbox();
        on(&tink, Call::Grant, replies(404, body, 2));
        let error = client(&tink).delete_user(&user()).await.unwrap_err();
        assert_eq!((error.kind, error.status), (ErrorKind::Intercepted, Some(404)), "{body}");
        assert_eq!(tink.requests_to(Call::UserDelete), 0);
    }
}

#[tokio::test]
async fn a_refusal_without_tinks_own_form_is_nobodys_missing_scope() {
    let page = "<html>log in</html>";
    for (status, body) in [(400, page), (401, page), (403, page), (403, ""), (403, "no"), (302, "")] {
        let tink = sandbox();
        on(&tink, Call::ClientToken, [token("authorization:grant"), answer(status, body)]);
        let error = client(&tink).create_user(&NEW).await.unwrap_err();
        assert_eq!(
            (error.kind, error.status),
            (ErrorKind::Intercepted, Some(status)),
            "create {status} {body}"
        );
        assert!(!error.to_string().contains("user:create"), "{error}");
        assert_eq!(tink.requests_to(Call::UserCreate), 0);

        on(&tink, Call::ClientToken, [answer(status, body)]);
        let error = client(&tink).withheld_scopes().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Intercepted, "withheld {status} {body}");
    }
    for (status, body) in [(401, page), (403, page), (404, page), (403, ""), (403, "no"), (302, "")] {
        let tink = sandbox();
        on(&tink, Call::Delegate, replies(status, body, 2));
        let error = client(&tink).delegate(&user(), "h").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Intercepted, "delegate {status} {body}");
        assert!(!error.to_string().contains("scope"), "{error}");
    }
    for body in [page, "", "no"] {
        let tink = sandbox();
        on(&tink, Call::UserDelete, [answer(403, body)]);
        let error = client(&tink).delete_user(&user()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Intercepted, "delete {body}");
        assert!(!error.to_string().contains("user:delete"), "{error}");
    }
    let tink = sandbox();
    on(&tink, Call::UserCreate, [answer(409, page)]);
    assert_eq!(client(&tink).create_user(&NEW).await.unwrap_err().kind, ErrorKind::Intercepted);
}

/// A client token with one scope.
fn token(scope: &str) -> Action {
    answer(200, format!(r#"{{"access_token":"t","expires_in":1800,"scope":"{scope}"}}"#))
}

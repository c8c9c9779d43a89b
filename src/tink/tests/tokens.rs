//! Tests of tokens: minting, sharing, replacing, refusals.

use super::*;

#[tokio::test]
async fn the_first_call_mints_and_the_next_ones_do_not() {
    let tink = sandbox();
    known_tokens(&tink);
    known_tokens(&tink);
    on(&tink, Call::Consents, [no_consents(), no_consents()]);
    on(&tink, Call::Accounts, [account_page("a", "")]);
    let client = client(&tink);
    let session = client.session(user());
    session.consents().await.unwrap();
    session.accounts().await.unwrap();
    assert_eq!(
        calls(&tink),
        [Call::ClientToken, Call::Grant, Call::CodeExchange, Call::Consents, Call::Accounts]
    );
    let seen = tink.log();
    let secret = "client_id=app&client_secret=s3cret%2B%26%3D";
    assert_eq!(seen[0].body, format!("{secret}&grant_type=client_credentials&scope=authorization%3Agrant"));
    assert_eq!(
        seen[1].body,
        "external_user_id=u-123&scope=accounts%3Aread%2Cbalances%3Aread%2Ctransactions%3Aread%2Cprovider-consents%3Aread"
    );
    assert_eq!(seen[1].headers["authorization"], "Bearer client-1");
    assert_eq!(seen[2].body, format!("{secret}&grant_type=authorization_code&code=code-2"));
    assert_eq!(seen[3].headers["authorization"], "Bearer user-3");
    assert!(seen[3].headers["user-agent"].to_str().unwrap().starts_with("tink-sync/"));
    assert_eq!(seen[4].target, "/data/v2/accounts?pageSize=100");
    assert_eq!((session.requests(), session.retries()), (5, 0));
    client.session(TinkUser::Tink("t".to_owned())).consents().await.unwrap();
    assert_eq!(tink.requests_to(Call::ClientToken), 1);
    assert!(tink.log()[5].body.starts_with("user_id=t&"));
    assert_eq!(client.totals(), ClientTotals { requests: 8, ..ClientTotals::default() });
}

#[tokio::test]
async fn sessions_share_one_client_token_and_one_failure() {
    let tink = sandbox();
    let client = client(&tink);
    let (one, two) = (client.session(user()), client.session(user()));
    let (first, second) = tokio::join!(one.consents(), two.consents());
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(tink.requests_to(Call::ClientToken), 1);

    let tink = sandbox();
    let refusal = headed(401, r#"{"errorMessage":"wrong secret"}"#, &[("x-request-id", "r-1")]);
    on(&tink, Call::ClientToken, vec![refusal; 9]);
    let client = self::client(&tink);
    let (first, second) = tokio::join!(consents_error(&client), consents_error(&client));
    assert_eq!((first.kind, &first), (ErrorKind::ClientRefused, &second));
    assert_eq!(tink.requests_to(Call::ClientToken), 2);
    assert_eq!(client.totals().token_failures, 1);
    assert_eq!(
        first.to_string(),
        "Tink refused this client (call client_token, status 401, request id r-1): wrong secret"
    );
}

#[tokio::test]
async fn a_token_about_to_end_is_replaced_before_the_call() {
    let tink = sandbox();
    on(&tink, Call::CodeExchange, replies(200, r#"{"access_token":"t","expires_in":0}"#, 2));
    on(&tink, Call::Consents, [no_consents(), no_consents()]);
    let session = client(&tink).session(user());
    session.consents().await.unwrap();
    session.consents().await.unwrap();
    assert_eq!(tink.requests_to(Call::CodeExchange), 2);
    assert_eq!(tink.requests_to(Call::ClientToken), 1);
}

#[tokio::test]
async fn a_refused_user_token_is_replaced_once() {
    let tink = sandbox();
    on(&tink, Call::Consents, replies(401, "", 1));
    let session = client(&tink).session(user());
    session.consents().await.unwrap();
    assert_eq!(
        calls(&tink),
        [
            Call::ClientToken,
            Call::Grant,
            Call::CodeExchange,
            Call::Consents,
            Call::Grant,
            Call::CodeExchange,
            Call::Consents
        ]
    );
    assert_eq!((session.requests(), session.retries()), (7, 1));
    on(&tink, Call::Consents, replies(401, "no", 9));
    assert_eq!(session.consents().await.unwrap_err().kind, ErrorKind::Unauthorized);
    assert_eq!(tink.requests_to(Call::Consents), 4);
}

#[tokio::test]
async fn a_refused_grant_gets_a_new_client_token_once() {
    let tink = sandbox();
    on(&tink, Call::Grant, replies(401, "", 1));
    client(&tink).session(user()).consents().await.unwrap();
    assert_eq!(
        calls(&tink),
        [Call::ClientToken, Call::Grant, Call::ClientToken, Call::Grant, Call::CodeExchange, Call::Consents]
    );

    for (status, kind, grants) in [
        (401, ErrorKind::GrantRefused, 2),
        (403, ErrorKind::GrantRefused, 1),
        (404, ErrorKind::UserUnknown, 1),
        (400, ErrorKind::BadRequest, 1),
        (500, ErrorKind::Server, 4),
    ] {
        let tink = sandbox();
        on(&tink, Call::Grant, replies(status, "scope", 9));
        let client = client(&tink);
        let error = consents_error(&client).await;
        assert_eq!((error.kind, error.endpoint), (kind, Endpoint::AuthorizationGrant));
        assert_eq!((tink.requests_to(Call::Grant), client.totals().token_failures), (grants, 1), "{status}");
    }
}

#[tokio::test]
async fn a_refused_code_is_replaced_once() {
    let tink = sandbox();
    on(&tink, Call::CodeExchange, replies(400, "", 1));
    client(&tink).session(user()).consents().await.unwrap();
    assert_eq!(
        calls(&tink),
        [Call::ClientToken, Call::Grant, Call::CodeExchange, Call::Grant, Call::CodeExchange, Call::Consents]
    );
    for (status, kind) in [(400, ErrorKind::BadRequest), (401, ErrorKind::GrantRefused)] {
        let tink = sandbox();
        on(&tink, Call::CodeExchange, replies(status, "", 9));
        assert_eq!(consents_error(&client(&tink)).await.kind, kind);
        assert_eq!(tink.requests_to(Call::CodeExchange), 2);
    }
}

#[tokio::test]
async fn a_code_spent_on_lost_answers_tells_what_befell_them() {
    let tink = sandbox();
    let lost_and_spent = [answer(200, "<html>"), answer(400, "")];
    on(&tink, Call::CodeExchange, lost_and_spent.iter().cycle().take(4).cloned());
    let error = consents_error(&client(&tink)).await;
    assert_eq!((error.kind, error.endpoint), (ErrorKind::Malformed, Endpoint::CodeExchange));
    assert_eq!((tink.requests_to(Call::CodeExchange), tink.requests_to(Call::Grant)), (4, 2));
}

#[tokio::test]
async fn a_code_refused_after_an_attempt_that_tink_rejected_unread_is_told_as_refused() {
    let tink = sandbox();
    let rejected_and_refused = [answer(429, ""), answer(400, REFUSAL)];
    on(&tink, Call::CodeExchange, rejected_and_refused.iter().cycle().take(4).cloned());
    let error = consents_error(&client(&tink)).await;
    assert_eq!((error.kind, error.status), (ErrorKind::BadRequest, Some(400)));
    assert_eq!(tink.requests_to(Call::CodeExchange), 4);

    let tink = sandbox();
    let lost_rejected_and_spent = [answer(200, "<html>"), answer(429, ""), answer(400, "")];
    on(&tink, Call::CodeExchange, lost_rejected_and_spent);
    on(&tink, Call::CodeExchange, [answer(200, "<html>"), answer(400, "")]);
    assert_eq!(consents_error(&client(&tink)).await.kind, ErrorKind::Malformed);
}

#[tokio::test]
async fn a_login_page_in_place_of_an_answer_costs_no_new_token() {
    let tink = sandbox();
    on(&tink, Call::Consents, [answer(401, "<html>log in</html>")]);
    assert_eq!(consents_error(&client(&tink)).await.kind, ErrorKind::Intercepted);
    assert_eq!(calls(&tink), [Call::ClientToken, Call::Grant, Call::CodeExchange, Call::Consents]);
}

#[tokio::test]
async fn whatever_refuses_the_client_token_refuses_the_client() {
    for status in [400, 401, 403] {
        let tink = sandbox();
        on(&tink, Call::ClientToken, replies(status, REFUSAL, 9));
        let error = consents_error(&client(&tink)).await;
        assert_eq!(
            (error.kind, tink.requests_to(Call::ClientToken)),
            (ErrorKind::ClientRefused, 2),
            "{status}"
        );
    }
}

#[tokio::test]
async fn whoever_refuses_the_client_token_without_tinks_own_form_is_not_tink() {
    let others =
        [(302, ""), (401, ""), (403, "<html>"), (404, "not here"), (405, "{}"), (407, REFUSAL), (451, "")];
    for (status, body) in others {
        let tink = sandbox();
        on(&tink, Call::ClientToken, replies(status, body, 9));
        assert_eq!(consents_error(&client(&tink)).await.kind, ErrorKind::Intercepted, "{status} {body}");
    }
}

#[tokio::test]
async fn that_the_client_is_refused_is_proven_by_a_whole_token() {
    let tink = sandbox();
    let client = client(&tink);
    client.prove(&user()).await.unwrap();
    assert_eq!(calls(&tink), [Call::ClientToken, Call::Grant, Call::CodeExchange]);
    let poor = r#"{"access_token":"t","scope":"accounts:read"}"#;
    for (route, status, body, kind) in [
        (Call::ClientToken, 401, REFUSAL, ErrorKind::ClientRefused),
        (Call::Grant, 403, REFUSAL, ErrorKind::GrantRefused),
        (Call::CodeExchange, 200, poor, ErrorKind::ScopeMissing),
        (Call::Grant, 302, "", ErrorKind::Intercepted),
    ] {
        on(&tink, route, [answer(status, body)]);
        assert_eq!(client.prove(&user()).await.unwrap_err().kind, kind, "{route:?}");
    }
    assert_eq!(client.totals().retries, 0);
}

#[tokio::test]
async fn the_repetitions_of_a_mint_do_not_multiply() {
    let tink = sandbox();
    on(&tink, Call::CodeExchange, [answer(503, ""), answer(503, ""), answer(400, "")]);
    on(&tink, Call::CodeExchange, replies(503, "", 99));
    assert_eq!(consents_error(&client(&tink)).await.kind, ErrorKind::Server);
    assert_eq!((tink.requests_to(Call::CodeExchange), tink.requests_to(Call::Grant)), (5, 2));
}

#[tokio::test]
async fn a_scope_that_is_not_granted_is_told() {
    let tink = sandbox();
    let body = r#"{"access_token":"t","scope":"accounts:read balances:read,transactions:read"}"#;
    on(&tink, Call::CodeExchange, replies(200, body, 1));
    let error = consents_error(&client(&tink)).await;
    assert_eq!((error.kind, error.endpoint), (ErrorKind::ScopeMissing, Endpoint::CodeExchange));
    assert_eq!(error.detail, "not granted: provider-consents:read");

    on(&tink, Call::ClientToken, replies(200, r#"{"access_token":"t","scope":"accounts:read"}"#, 1));
    let error = consents_error(&client(&tink)).await;
    assert_eq!(error.kind, ErrorKind::ClientRefused);
    assert!(error.detail.contains("authorization:grant"));

    on(&tink, Call::Accounts, replies(403, r#"{"errorMessage":"missing scope"}"#, 1));
    let error = client(&tink).session(user()).accounts().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ScopeMissing);
}

#[tokio::test]
async fn a_probe_asks_once_and_for_new_tokens() {
    let tink = sandbox();
    let client = client(&tink);
    client.session(user()).consents().await.unwrap();
    client.probe(None).await.unwrap();
    client.probe(Some(&user())).await.unwrap();
    assert_eq!(calls(&tink)[4..], [Call::ClientToken, Call::ClientToken, Call::Grant]);
    on(&tink, Call::ClientToken, [answer(500, "")]);
    assert_eq!(client.probe(None).await.unwrap_err().kind, ErrorKind::Server);
    on(&tink, Call::ClientToken, [answer(401, REFUSAL)]);
    assert_eq!(client.probe(None).await.unwrap_err().kind, ErrorKind::ClientRefused);
    on(&tink, Call::Grant, [answer(401, "")]);
    assert_eq!(client.probe(Some(&user())).await.unwrap_err().kind, ErrorKind::GrantRefused);
    on(&tink, Call::Grant, [answer(404, "")]);
    assert_eq!(client.probe(Some(&user())).await.unwrap_err().kind, ErrorKind::UserUnknown);
    assert_eq!(client.totals().retries, 0);
}

#[tokio::test]
async fn an_examination_tells_scopes_and_the_difference_of_the_clocks() {
    let tink = sandbox();
    let body = r#"{"access_token":"t","scope":"authorization:grant user:create"}"#;
    on(&tink, Call::ClientToken, [headed(200, body, &[("date", "Mon, 15 Jun 2026 12:02:00 GMT")])]);
    let found = client(&tink).examine().await.unwrap();
    assert_eq!(found.scopes.unwrap(), ["authorization:grant", "user:create"]);
    assert_eq!(found.skew, Some(SignedDuration::from_millis(120_010)));
}

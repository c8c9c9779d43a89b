//! The rules of tokens, codes and users.

use std::time::Duration;

use tink_sandbox::{Config, Endpoint, RefreshMode, RefreshOutcome, Sandbox};

use crate::client::{Client, READ};

fn sandbox() -> Sandbox {
    Sandbox::start(Config::default())
}

#[test]
fn a_client_token_holds_what_was_asked_for() {
    let sandbox = sandbox();
    let mut client = Client::new(&sandbox);
    let answer =
        client.token(&[("grant_type", "client_credentials"), ("scope", "authorization:grant")]).json();
    assert_eq!(answer["scope"], "authorization:grant");
    assert_eq!(answer["token_type"], "bearer");
    assert_eq!(answer["expires_in"], 1800);
    assert!(answer.get("refresh_token").is_none());
}

#[test]
fn a_wrong_secret_an_unknown_user_and_a_forbidden_scope_are_told_apart() {
    let sandbox = Sandbox::start(Config {
        app_scopes: vec!["authorization:grant".into(), "accounts:read".into()],
        ..Config::default()
    });
    let mut client = Client::new(&sandbox);
    let wrong =
        [("client_id", "sandbox-client"), ("client_secret", "no"), ("grant_type", "client_credentials")];
    assert_eq!(client.post(None, "/api/v1/oauth/token", &wrong).status, 401);
    assert_eq!(client.code("user-100", "accounts:read").status, 404);
    assert_eq!(client.code("nobody", "accounts:read").status, 404);
    assert_eq!(client.code("user-1", "transactions:read").status, 401);
    assert_eq!(client.code("user-1", "").status, 400);
    assert_eq!(client.code("user-1", "accounts:read").status, 200);
}

#[test]
fn codes_are_good_for_one_use_and_users_go_by_either_name() {
    let sandbox = sandbox();
    let mut client = Client::new(&sandbox);
    let code = client.code("user-1", READ).text("code");
    assert_eq!(client.exchange(&code).status, 200);
    assert_eq!(client.exchange(&code).status, 400);
    assert_eq!(client.exchange("made-up").status, 400);
    let token = client.client_token();
    let by_id = [("user_id", &*sandbox.user_id("user-1")), ("scope", READ)];
    let code = client.post(Some(&token), "/api/v1/oauth/authorization-grant", &by_id).text("code");
    let user = client.exchange(&code);
    assert_eq!(user.json()["expires_in"], 7200);
    assert_eq!(user.text("id_hint"), "user-1");
}

#[test]
fn a_code_for_link_cannot_be_exchanged() {
    let sandbox = sandbox();
    let mut client = Client::new(&sandbox);
    let token = client.client_token();
    let fields = [
        ("external_user_id", "user-1"),
        ("id_hint", "J"),
        ("actor_client_id", "df05"),
        ("scope", "user:read"),
    ];
    let code = client.post(Some(&token), "/api/v1/oauth/authorization-grant/delegate", &fields).text("code");
    assert_eq!(client.exchange(&code).status, 400);
}

#[test]
fn link_opens_once_and_sends_nobody_to_an_address_it_does_not_know() {
    let sandbox = sandbox();
    let mut client = Client::new(&sandbox);
    let token = client.client_token();
    let fields = [
        ("external_user_id", "user-1"),
        ("id_hint", "J"),
        ("actor_client_id", "df05"),
        ("scope", "user:read"),
    ];
    let code = client.post(Some(&token), "/api/v1/oauth/authorization-grant/delegate", &fields).text("code");
    let mut open = |client_id: &str, uri: &str| {
        let path = "/1.0/transactions/connect-accounts";
        let target =
            format!("{path}?client_id={client_id}&redirect_uri={uri}&authorization_code={code}&state=s%2B1");
        client.send("GET", &target, None, "text/plain", "");
        let answer = client.receive().unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    let known = "http://localhost:8765/callback";
    for (client_id, uri) in
        [("nobody", known), ("sandbox-client", "http://localhost:8765/"), ("sandbox-client", "")]
    {
        let (status, page) = open(client_id, uri);
        assert!(status == 400 && !page.contains("localhost"), "{page}");
    }
    assert!(open("sandbox-client", known).1.contains("Choose your bank"));
    let (_, page) = open("sandbox-client", known);
    assert!(page.contains("REQUEST_FAILED_FETCH_EXISTING_USER&amp;state=s%2B1"), "{page}");
}

#[test]
fn scopes_are_checked_per_endpoint() {
    let sandbox = sandbox();
    let mut client = Client::new(&sandbox);
    let token = client.mint("user-1", "accounts:read");
    assert_eq!(client.get(&token, "/data/v2/accounts").status, 200);
    assert_eq!(client.get(&token, "/data/v2/transactions").status, 403);
    assert_eq!(client.get(&token, "/api/v1/provider-consents").status, 403);
    assert_eq!(client.get("made-up", "/data/v2/accounts").status, 401);
    let own = client.client_token();
    assert_eq!(client.get(&own, "/data/v2/accounts").status, 401);
    assert_eq!(client.post(Some(&token), "/api/v1/oauth/authorization-grant", &[]).status, 403);
}

#[test]
fn expiry_is_enforced_when_asked_for() {
    let sandbox = Sandbox::start(Config { enforce_expiry: true, user_expires_in: 60, ..Config::default() });
    let mut client = Client::new(&sandbox);
    let token = client.mint("user-1", READ);
    assert_eq!(client.get(&token, "/data/v2/accounts").status, 200);
    sandbox.age_tokens(Duration::from_secs(61));
    assert_eq!(client.get(&token, "/data/v2/accounts").status, 401);
}

#[test]
fn the_refresh_grant_is_refused_unless_switched_on_and_then_rotates() {
    let off = sandbox();
    let token = off.refresh_token("user-1", READ);
    let fields = |token| [("grant_type", "refresh_token"), ("refresh_token", token)];
    assert_eq!(Client::new(&off).token(&fields(&token)).status, 400);
    let on = Sandbox::start(Config { refresh: RefreshMode::Rotating, ..Config::default() });
    let mut client = Client::new(&on);
    let token = on.refresh_token("user-1", READ);
    let first = client.token(&fields(&token));
    assert_eq!(client.get(&first.text("access_token"), "/data/v2/accounts").status, 200);
    assert_eq!(client.token(&fields(&token)).status, 400);
    assert_eq!(client.token(&fields(&first.text("refresh_token"))).status, 200);
}

#[test]
fn revoked_and_forgotten_users_lose_their_tokens() {
    let sandbox = sandbox();
    let mut client = Client::new(&sandbox);
    let old = client.mint("user-1", READ);
    let own = client.client_token();
    assert_eq!(
        client.post(Some(&own), "/api/v1/oauth/revoke-all", &[("external_user_id", "user-1")]).status,
        204
    );
    assert_eq!(client.get(&old, "/data/v2/accounts").status, 401);
    let new = client.mint("user-1", READ);
    assert_eq!(client.get(&new, "/data/v2/accounts").status, 200);
    sandbox.forget("user-1");
    assert_eq!(client.get(&new, "/data/v2/accounts").status, 401);
    assert_eq!(client.code("user-1", READ).status, 404);
}

#[test]
fn users_come_and_go() {
    let sandbox = sandbox();
    let mut client = Client::new(&sandbox);
    let own = client.client_token();
    let body = r#"{"external_user_id":"new-1","market":"PL","locale":"pl_PL"}"#;
    let mut create = || {
        client.send("POST", "/api/v1/user/create", Some(&own), "application/json", body);
        client.receive().unwrap()
    };
    assert_eq!(create().text("external_user_id"), "new-1");
    assert_eq!(create().text("errorCode"), "user.user_with_external_user_id_already_exists");
    let token = client.mint("new-1", "user:delete,accounts:read");
    assert!(client.walk(&token, "accounts", "?pageSize=100").is_empty());
    assert_eq!(client.post(Some(&token), "/api/v1/user/delete", &[]).status, 204);
    assert_eq!(client.code("new-1", READ).status, 404);
}

#[test]
fn a_refresh_is_accepted_whatever_comes_of_it() {
    let sandbox = sandbox();
    let mut client = Client::new(&sandbox);
    let token = client.mint("user-5", &format!("{READ},credentials:refresh,credentials:write"));
    let id = sandbox.credentials_ids("user-5").remove(0);
    let path = format!("/api/v1/credentials/{id}/refresh");
    let consent = |client: &mut Client| {
        client.get(&token, &format!("/api/v1/provider-consents?credentialsId={id}")).json()["providerConsents"][0].clone()
    };
    let refreshed = |client: &mut Client| {
        client.walk(&token, "accounts", "?pageSize=100")[0]["dates"]["lastRefreshed"].to_string()
    };
    sandbox.plan("user-5", |plan| plan.accounts = 1);
    let (before, stamp) = (consent(&mut client), refreshed(&mut client));
    assert_eq!(client.post(Some(&token), &path, &[]).status, 204);
    let after = consent(&mut client);
    assert!(after["statusUpdated"].as_i64() > before["statusUpdated"].as_i64());
    assert!(refreshed(&mut client) > stamp);
    for (outcome, status) in [
        (RefreshOutcome::Awaiting, "AWAITING_THIRD_PARTY_APP_AUTHENTICATION"),
        (RefreshOutcome::NeverEnds, "UPDATING"),
    ] {
        sandbox.plan("user-5", |plan| plan.refresh = outcome);
        assert_eq!(client.post(Some(&token), &path, &[]).status, 204);
        assert_eq!(consent(&mut client)["status"], status);
    }
    assert_eq!(client.post(Some(&token), &path, &[]).status, 409);
    assert_eq!(client.post(Some(&token), "/api/v1/credentials/none/refresh", &[]).status, 404);
    assert_eq!(sandbox.requests_to(Endpoint::CredentialsRefresh), 5);
}

#[test]
fn a_deleted_consent_takes_its_accounts_along_unless_another_holds_them() {
    let sandbox = sandbox();
    sandbox.plan("user-6", |plan| {
        plan.accounts = 3;
        plan.consents = 2;
        plan.shared_account = true;
    });
    let mut client = Client::new(&sandbox);
    let token = client.mint("user-6", "credentials:write");
    let (accounts, credentials) = (sandbox.account_ids("user-6"), sandbox.credentials_ids("user-6"));
    client.send("DELETE", &format!("/api/v1/credentials/{}", credentials[0]), Some(&token), "text/plain", "");
    assert_eq!(client.receive().unwrap().status, 204);
    assert_eq!(sandbox.account_ids("user-6"), accounts[..2]);
    assert_eq!(sandbox.credentials_ids("user-6"), credentials[1..]);
}

#[test]
fn access_tokens_can_be_long() {
    let sandbox = Sandbox::start(Config { token_length: 1800, ..Config::default() });
    let mut client = Client::new(&sandbox);
    let token = client.mint("user-1", READ);
    assert_eq!(token.len(), 1800);
    assert_eq!(client.get(&token, "/data/v2/accounts").status, 200);
}

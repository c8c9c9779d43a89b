//! Faults as a client meets them, counters, and the control calls.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use tink_sandbox::{Action, Config, Endpoint, Fault, Sandbox, Times};

use crate::client::{Client, READ};

const ACCOUNTS: &str = "/data/v2/accounts?pageSize=100";

fn ready() -> (Sandbox, Client, String) {
    let sandbox = Sandbox::start(Config { count_per_user: true, log: 50, ..Config::default() });
    let mut client = Client::new(&sandbox);
    let token = client.mint("user-1", READ);
    (sandbox, client, token)
}

#[test]
fn a_status_comes_with_its_headers_as_often_as_asked() {
    let (sandbox, mut client, token) = ready();
    for retry_after in ["5", "Fri, 31 Dec 1999 23:59:59 GMT", "0", "-1", "99999999999999999999", "soon"] {
        sandbox.fault(Fault::new(Action::too_many(retry_after)).at(Endpoint::Accounts));
        let answer = client.get(&token, ACCOUNTS);
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some(retry_after)));
    }
    sandbox.fault(Fault::new(Action::status(503)).user("user-1").nth(2).times(Times::N(2)));
    let statuses = [(); 4].map(|()| client.get(&token, ACCOUNTS).status);
    assert_eq!(statuses, [200, 503, 503, 200]);
    let html = ("Content-Type".to_owned(), "text/html".to_owned());
    sandbox.fault(Fault::new(Action::Status { code: 502, headers: vec![html], body: "<h1>".to_owned() }));
    let answer = client.get(&token, ACCOUNTS);
    assert_eq!(
        (answer.status, answer.header("content-type"), &*answer.body),
        (502, Some("text/html"), &b"<h1>"[..])
    );
}

#[test]
fn faults_belong_to_their_user_and_endpoint() {
    let (sandbox, mut client, token) = ready();
    let other = client.mint("user-2", READ);
    sandbox
        .fault(Fault::new(Action::status(500)).user("user-2").at(Endpoint::Consents).times(Times::Forever));
    assert_eq!(client.get(&token, "/api/v1/provider-consents").status, 200);
    assert_eq!(client.get(&other, ACCOUNTS).status, 200);
    assert_eq!(client.get(&other, "/api/v1/provider-consents").status, 500);
    sandbox.clear_faults();
    assert_eq!(client.get(&other, "/api/v1/provider-consents").status, 200);
}

#[test]
fn the_exchange_of_a_code_belongs_to_the_user_of_the_code() {
    let (sandbox, mut client, _) = ready();
    sandbox.fault(Fault::new(Action::status(500)).user("user-2").at(Endpoint::CodeExchange));
    let (one, two) = (client.code("user-1", READ).text("code"), client.code("user-2", READ).text("code"));
    assert_eq!(client.exchange(&one).status, 200);
    assert_eq!(client.exchange(&two).status, 500);
    assert_eq!(client.exchange(&two).status, 200);
}

#[test]
fn a_reset_does_nothing_and_a_lost_reply_does_it_all() {
    let (sandbox, mut client, _) = ready();
    let code = client.code("user-1", READ).text("code");
    let lost = |action| {
        sandbox.fault(Fault::new(action).at(Endpoint::CodeExchange));
        let mut client = Client::new(&sandbox);
        let body = format!(
            "client_id=sandbox-client&client_secret=sandbox-secret&grant_type=authorization_code&code={code}"
        );
        client.send("POST", "/api/v1/oauth/token", None, "application/x-www-form-urlencoded", &body);
        assert_eq!(client.receive().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    };
    lost(Action::Reset);
    lost(Action::LoseReply);
    assert_eq!(client.exchange(&code).status, 400);
}

#[test]
fn a_cut_body_claims_more_than_it_sends() {
    let (sandbox, mut client, token) = ready();
    let whole = client.get(&token, ACCOUNTS).body;
    sandbox.fault(Fault::new(Action::Truncate(40)).at(Endpoint::Accounts));
    let mut stream = TcpStream::connect(sandbox.address()).unwrap();
    let request = format!("GET {ACCOUNTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    let text = String::from_utf8(received).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", whole.len())));
    assert_eq!(body.as_bytes(), &whole[..40]);
}

#[test]
fn bodies_can_be_slow_big_malformed_or_no_json_at_all() {
    let (sandbox, mut client, token) = ready();
    let whole = client.get(&token, ACCOUNTS);
    let mut with = |action| {
        sandbox.fault(Fault::new(action).at(Endpoint::Accounts));
        client.get(&token, ACCOUNTS)
    };
    assert_eq!(with(Action::SlowBody { chunk: 100, every: Duration::ZERO }).body, whole.body);
    assert_eq!(with(Action::Delay(Duration::ZERO)).body, whole.body);
    let big = with(Action::BigBody(3_000_000));
    assert_eq!((big.body.len(), big.json()), (3_000_000, whole.json()));
    let half = with(Action::Malformed);
    assert_eq!((half.status, half.body.len()), (200, whole.body.len() / 2));
    assert!(with(Action::Html).body.starts_with(b"<!DOCTYPE html>"));
    assert_eq!(with(Action::Garbage(vec![0, 255])).body, [0, 255]);
}

#[test]
fn a_hanging_call_hangs_until_the_sandbox_stops() {
    let (sandbox, mut client, token) = ready();
    sandbox.fault(Fault::new(Action::Hang).at(Endpoint::Accounts));
    let mut hanging = Client::new(&sandbox);
    hanging.send("GET", ACCOUNTS, Some(&token), "text/plain", "");
    while sandbox.faults_left() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(client.get(&token, ACCOUNTS).status, 200);
    assert_eq!(sandbox.max_in_flight(), 2);
    drop(sandbox);
    assert!(hanging.receive().is_err());
}

#[test]
fn requests_are_counted_and_logged() {
    let (sandbox, mut client, token) = ready();
    assert_eq!(sandbox.requests_to(Endpoint::Grant), 1);
    sandbox.reset_counters();
    client.get(&token, ACCOUNTS);
    client.get(&token, "/nowhere");
    assert_eq!(sandbox.requests_of("user-1")[&Endpoint::Accounts], 1);
    assert!(sandbox.requests_of("user-2").is_empty());
    let log = sandbox.log();
    assert_eq!(
        (log[0].target.as_str(), log[0].status, log[0].user.as_deref()),
        (ACCOUNTS, 200, Some("user-1"))
    );
    assert_eq!((log[1].endpoint, log[1].status), (Endpoint::Unknown, 404));
}

#[test]
fn every_answer_has_a_request_id_of_its_own() {
    let (_sandbox, mut client, token) = ready();
    let ids = [(); 2].map(|()| client.get(&token, ACCOUNTS).header("x-request-id").unwrap().to_owned());
    assert!(ids[0].len() == 32 && ids[0] != ids[1]);
}

#[test]
fn a_shell_can_do_the_same() {
    let (sandbox, mut client, token) = ready();
    let mut post = |call: &str, body: &str| {
        client.send("POST", &format!("/_sandbox/{call}"), None, "application/json", body);
        client.receive().unwrap().status
    };
    assert_eq!(post("day", r#"{"day":3}"#), 204);
    assert_eq!(sandbox.day(), 3);
    assert_eq!(
        post("faults", r#"{"action":"status","code":418,"user":"user-1","endpoint":"accounts"}"#),
        204
    );
    assert_eq!(post("faults", r#"{"action":"dance"}"#), 400);
    assert_eq!(client.get(&token, ACCOUNTS).status, 418);
    let truth = client.get("", "/_sandbox/truth?user=user-1").json();
    assert_eq!(truth["transactions"].as_array().unwrap().len(), sandbox.truth("user-1").transactions.len());
    assert_eq!(client.get("", "/_sandbox/counters").json()["requests"]["accounts"], 1);
    assert_eq!(client.get("", "/_sandbox/truth?user=nobody").status, 404);
}

#[tokio::test]
async fn a_sandbox_lives_and_dies_in_an_async_test() {
    let sandbox = Sandbox::start(Config::default());
    let client = tokio::task::spawn_blocking(move || Client::new(&sandbox).client_token().len());
    assert!(client.await.unwrap() > 0);
    drop(Sandbox::start(Config::default()));
}

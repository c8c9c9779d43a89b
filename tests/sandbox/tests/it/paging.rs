//! Pages, page tokens and filters.

use serde_json::Value;
use tink_sandbox::{Config, EndForm, PageShape, Rates, Sandbox, TokenStyle};

use crate::client::{Client, READ, escape};

fn plain() -> (Sandbox, Client, String) {
    let sandbox = Sandbox::start(Config { rates: Rates::none(), log: 100, ..Config::default() });
    sandbox.plan("user-0", |plan| plan.accounts = 2);
    let mut client = Client::new(&sandbox);
    let token = client.mint("user-0", READ);
    (sandbox, client, token)
}

#[test]
fn page_sizes_from_1_to_100_are_allowed_and_10_is_usual() {
    let (_sandbox, mut client, token) = plain();
    let mut get = |query: &str| client.get(&token, &format!("/data/v2/transactions{query}"));
    assert_eq!(get("").json()["transactions"].as_array().unwrap().len(), 10);
    assert_eq!(get("?pageSize=100").json()["transactions"].as_array().unwrap().len(), 100);
    for query in [
        "?pageSize=0",
        "?pageSize=101",
        "?pageSize=x",
        "?bookedDateGte=2026-13-01",
        "?bookedDateLte=today",
        "?pageToken=x",
    ] {
        let refused = get(query);
        assert_eq!((refused.status, &refused.json()["code"]), (400, &3.into()), "{query}");
    }
}

#[test]
fn tokens_need_escaping_and_belong_to_their_query() {
    let (sandbox, mut client, token) = plain();
    sandbox.plan("user-0", |plan| plan.shape.token = TokenStyle::Reserved);
    let page_token = client.get(&token, "/data/v2/transactions?pageSize=10").text("nextPageToken");
    let mut status = |query: &str, page_token: &str| {
        client.get(&token, &format!("/data/v2/transactions?{query}&pageToken={page_token}")).status
    };
    assert_eq!(status("pageSize=20", &escape(&page_token)), 200);
    assert_eq!(status("pageSize=20", &page_token), 400);
    assert_eq!(status("statusIn=BOOKED", &escape(&page_token)), 400);
}

#[test]
fn the_end_has_three_forms() {
    let (sandbox, mut client, token) = plain();
    for end in [EndForm::Empty, EndForm::Null, EndForm::Absent] {
        sandbox.plan("user-0", |plan| plan.shape.end = end);
        let page = client.get(&token, "/data/v2/accounts?pageSize=100").json();
        let expected = [None, Some(&Value::Null), Some(&Value::String(String::new()))];
        let place = match end {
            EndForm::Absent => 0,
            EndForm::Null => 1,
            EndForm::Empty => 2,
        };
        assert_eq!(page.get("nextPageToken"), expected[place]);
    }
}

#[test]
fn a_good_token_can_be_refused_once() {
    let (sandbox, mut client, token) = plain();
    sandbox.plan("user-0", |plan| plan.refuse_token_once = true);
    let next = client.get(&token, "/data/v2/transactions?pageSize=10").text("nextPageToken");
    let statuses = [(); 2]
        .map(|()| client.get(&token, &format!("/data/v2/transactions?pageSize=10&pageToken={next}")).status);
    assert_eq!(statuses, [400, 200]);
}

#[test]
fn a_page_loop_never_ends() {
    let (sandbox, mut client, token) = plain();
    sandbox.plan("user-0", |plan| plan.shape = PageShape { page_loop: true, ..PageShape::default() });
    let mut next = |page_token: &str| {
        client
            .get(&token, &format!("/data/v2/transactions?pageSize=10&pageToken={page_token}"))
            .text("nextPageToken")
    };
    let second = next("");
    assert_eq!(next(&second), second);
}

#[test]
fn accounts_are_filtered_by_repeats_and_never_by_commas() {
    let (sandbox, mut client, token) = plain();
    let ids = sandbox.account_ids("user-0");
    let mut count =
        |filter: String| client.walk(&token, "transactions", &format!("?pageSize=100{filter}")).len();
    let both = count(String::new());
    let one = count(format!("&accountIdIn={}", ids[0]));
    assert!(0 < one && one < both);
    assert_eq!(count(format!("&accountIdIn={}&accountIdIn={}", ids[0], ids[1])), both);
    assert_eq!(count(format!("&accountIdIn={},{}", ids[0], ids[1])), 0);
    let logged = sandbox.log();
    assert!(
        logged.last().unwrap().target.contains("accountIdIn=")
            && logged.last().unwrap().user.as_deref() == Some("user-0")
    );
}

#[test]
fn dates_are_inclusive_and_end_on_the_current_day_unless_told() {
    let (sandbox, mut client, token) = plain();
    let day0 = sandbox.config().day0.to_string();
    let mut dates = |filter: &str| {
        let rows = client.walk(&token, "transactions", &format!("?pageSize=100{filter}"));
        rows.iter().map(|row| row["dates"]["booked"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(dates("").iter().all(|date| *date <= day0));
    assert!(dates("&bookedDateLte=9999-12-31").iter().any(|date| *date > day0));
    let today = dates(&format!("&bookedDateGte={day0}&bookedDateLte={day0}"));
    assert!(!today.is_empty() && today.iter().all(|date| *date == day0));
}

#[test]
fn statuses_are_filtered_by_repeats() {
    let (_sandbox, mut client, token) = plain();
    let mut count = |filter: &str| {
        client.walk(&token, "transactions", &format!("?pageSize=100&bookedDateLte=9999-12-31{filter}")).len()
    };
    let (booked, pending) = (count("&statusIn=BOOKED"), count("&statusIn=PENDING"));
    assert!(booked > 0 && pending > 0);
    assert_eq!(count("&statusIn=BOOKED&statusIn=PENDING"), booked + pending);
}

#[test]
fn rows_without_a_booked_date_pass_every_date_filter() {
    let rates = Rates { undated: 1000, ..Rates::none() };
    let sandbox = Sandbox::start(Config { rates, ..Config::default() });
    let mut client = Client::new(&sandbox);
    let token = client.mint("user-0", READ);
    let narrow = client.walk(
        &token,
        "transactions",
        "?pageSize=100&bookedDateGte=1999-01-01&bookedDateLte=1999-01-02",
    );
    assert_eq!(narrow.len(), sandbox.truth("user-0").transactions.len());
}

#[test]
fn hidden_accounts_stay_in_their_consent() {
    let (sandbox, mut client, token) = plain();
    sandbox.plan("user-0", |plan| plan.hidden_accounts.push(0));
    assert_eq!(client.walk(&token, "accounts", "?pageSize=100").len(), 1);
    let consents = client.get(&token, "/api/v1/provider-consents").json();
    assert_eq!(consents["providerConsents"][0]["accountIds"].as_array().unwrap().len(), 2);
    let id = &sandbox.account_ids("user-0")[1];
    assert_eq!(client.get(&token, &format!("/data/v2/accounts/{id}")).text("id"), *id);
    let hidden = &sandbox.account_ids("user-0")[0];
    assert_eq!(client.get(&token, &format!("/data/v2/accounts/{hidden}")).status, 404);
}

#[test]
fn a_shared_account_is_in_both_consents() {
    let (sandbox, mut client, token) = plain();
    sandbox.plan("user-0", |plan| {
        plan.consents = 2;
        plan.shared_account = true;
    });
    let shared = sandbox.account_ids("user-0").remove(0);
    let consents = client.get(&token, "/api/v1/provider-consents").json();
    let holds = |number: usize| {
        consents["providerConsents"][number]["accountIds"]
            .as_array()
            .unwrap()
            .contains(&shared.clone().into())
    };
    assert!(holds(0) && holds(1));
}

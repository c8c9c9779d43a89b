//! Users whose data a test wrote.

use jiff::civil::date;
use tink_sandbox::{Config, Sandbox, Script, ScriptRow};

use crate::client::{Client, READ};

const STAMP: &str = "2026-03-01T06:00:00Z";

fn row(id: &str) -> ScriptRow {
    ScriptRow::booked(id, "a1", date(2026, 3, 1), "-1250", "2", "COFFEE")
}

fn rows(ids: &[&str]) -> Script {
    Script::simple("a1", STAMP, ids.iter().map(|id| row(id)).collect())
}

fn walked(client: &mut Client, token: &str, size: u32) -> Vec<String> {
    let rows = client.walk(token, "transactions", &format!("?pageSize={size}&bookedDateLte=9999-12-31"));
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn scripts_are_served_byte_for_byte() {
    let sandbox = Sandbox::start(Config::default());
    let odd = r#"{ "id" : "x",  "amount":12e3 , "weird":"\ud83c\udf55"}"#;
    sandbox.script(
        "somebody",
        Script { transactions: vec![ScriptRow::raw("x", "a1", None, "BOOKED", odd)], ..Script::default() },
    );
    let mut client = Client::new(&sandbox);
    let token = client.mint("somebody", READ);
    let page = client.get(&token, "/data/v2/transactions?pageSize=100");
    assert!(String::from_utf8(page.body).unwrap().contains(odd));
    assert_eq!(sandbox.truth("somebody").unreadable, ["x"]);
}

#[test]
fn a_script_can_replace_a_generated_user_and_go_again() {
    let sandbox = Sandbox::start(Config::default());
    let generated = sandbox.truth("user-7");
    sandbox.script("user-7", rows(&["t1", "t2"]));
    let mut client = Client::new(&sandbox);
    let token = client.mint("user-7", READ);
    assert_eq!(walked(&mut client, &token, 100), ["t1", "t2"]);
    assert_eq!(client.get(&token, "/data/v2/accounts/a1").text("id"), "a1");
    assert_eq!(
        client.get(&token, "/api/v1/provider-consents").json()["providerConsents"][0]["accountIds"][0],
        "a1"
    );
    assert_eq!(sandbox.truth("user-7").transactions[0].amount, "-12.5");
    sandbox.unscript("user-7");
    assert_eq!(sandbox.truth("user-7"), generated);
    sandbox.script("somebody", rows(&[]));
    sandbox.unscript("somebody");
    assert_eq!(client.code("somebody", READ).status, 404);
}

#[test]
fn data_changes_between_pages() {
    let sandbox = Sandbox::start(Config::default());
    sandbox.script("somebody", rows(&["t1", "t2", "t3", "t4"]));
    sandbox.on_page("somebody", 1, rows(&["t1", "t2", "t5"]));
    sandbox.on_page("somebody", 3, rows(&["t6"]));
    let mut client = Client::new(&sandbox);
    let token = client.mint("somebody", READ);
    assert_eq!(walked(&mut client, &token, 2), ["t1", "t2", "t5"]);
    assert_eq!(walked(&mut client, &token, 100), ["t1", "t2", "t5"]);
    assert_eq!(walked(&mut client, &token, 100), ["t6"]);
}

#[test]
fn filters_look_at_the_fields_of_scripted_rows() {
    let sandbox = Sandbox::start(Config::default());
    let late = ScriptRow::pending("p", "a1", date(2026, 4, 1), "-1", "0", "x");
    let other = ScriptRow::with("o", "a2", None, "BOOKED", ["5", "0", "JPY"], "y");
    sandbox.script("somebody", Script::simple("a1", STAMP, vec![row("t"), late, other]));
    let mut client = Client::new(&sandbox);
    let token = client.mint("somebody", READ);
    let mut ids = |filter: &str| {
        let rows = client.walk(&token, "transactions", &format!("?pageSize=100{filter}"));
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("&bookedDateLte=2026-03-01"), ["t", "o"]);
    assert_eq!(ids("&bookedDateGte=2026-03-02&bookedDateLte=2026-04-01"), ["p", "o"]);
    assert_eq!(ids("&accountIdIn=a2"), ["o"]);
    assert_eq!(ids("&statusIn=PENDING&bookedDateLte=2026-04-01"), ["p"]);
}

//! The truth is what a complete walk gives, whatever the pages look like, on every day.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tink_sandbox::{Config, Decay, Expiry, Rates, Sandbox, Truth, TruthAccount, TruthRow, canonical};

use crate::client::{Client, READ};

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

fn amount(value: &Value) -> Option<String> {
    let bare = |name: &str| value.pointer(name).map(|part| part.to_string().trim_matches('"').to_owned());
    canonical(&bare("/value/unscaledValue")?, &bare("/value/scale")?)
}

fn account(value: &Value) -> TruthAccount {
    let balance = |name: &str| value.pointer(&format!("/balances/{name}/amount"));
    TruthAccount {
        id: text(value, "/id").unwrap(),
        name: text(value, "/name").unwrap(),
        kind: text(value, "/type").unwrap(),
        iban: text(value, "/identifiers/iban/iban"),
        currency: balance("booked").or(balance("available")).and_then(|amount| text(amount, "/currencyCode")),
        booked_balance: balance("booked").and_then(amount),
        available_balance: balance("available").and_then(amount),
    }
}

fn row(value: &Value) -> TruthRow {
    TruthRow {
        id: text(value, "/id").unwrap(),
        account_id: text(value, "/accountId").unwrap(),
        status: text(value, "/status").unwrap().to_lowercase(),
        amount: amount(&value["amount"]).unwrap(),
        currency: text(value, "/amount/currencyCode").unwrap(),
        booked_date: text(value, "/dates/booked"),
        value_date: text(value, "/dates/value"),
        description_original: text(value, "/descriptions/original"),
        description_display: text(value, "/descriptions/display"),
        provider_transaction_id: text(value, "/identifiers/providerTransactionId"),
        reference: text(value, "/reference"),
    }
}

fn walked(client: &mut Client, user: &str, size: u32) -> Truth {
    let token = client.mint(user, READ);
    let query = format!("?pageSize={size}&bookedDateLte=9999-12-31");
    let accounts = client.walk(&token, "accounts", "?pageSize=2");
    let rows = client.walk(&token, "transactions", &query);
    Truth {
        accounts: accounts.iter().map(account).collect::<BTreeSet<_>>().into_iter().collect(),
        transactions: rows.iter().map(row).collect::<BTreeSet<_>>().into_iter().collect(),
        unreadable: Vec::new(),
    }
}

#[test]
fn a_walk_gives_the_truth_for_all_users_and_page_shapes_over_five_days() {
    let rates = Rates { decayed: 0, odd_pages: 1000, ..Rates::everything() };
    let sandbox = Sandbox::start(Config { users: 50, seed: 3, history_days: 40, rates, ..Config::default() });
    let mut client = Client::new(&sandbox);
    for day in 0..5 {
        sandbox.set_day(day);
        for number in 0..50 {
            let user = format!("user-{number}");
            assert_eq!(
                walked(&mut client, &user, 7 + number * 4 % 94),
                sandbox.truth(&user),
                "{user} on day {day}"
            );
        }
    }
}

#[test]
fn equal_seeds_give_equal_worlds() {
    let start = |seed| Sandbox::start(Config { seed, users: 20, day: 3, ..Config::default() });
    let (one, same, other) = (start(5), start(5), start(6));
    for number in 0..20 {
        let user = format!("user-{number}");
        assert_eq!(one.truth(&user), same.truth(&user));
        assert_ne!(one.truth(&user), other.truth(&user));
    }
}

#[test]
fn a_deleted_account_is_gone_everywhere_from_its_day_on() {
    let sandbox = Sandbox::start(Config { rates: Rates::none(), ..Config::default() });
    sandbox.plan("user-0", |plan| {
        plan.accounts = 2;
        plan.account_deleted_on(2, 0);
    });
    let before = sandbox.truth("user-0");
    sandbox.set_day(2);
    let after = sandbox.truth("user-0");
    assert_eq!((before.accounts.len(), after.accounts.len()), (2, 1));
    assert!(after.transactions.iter().all(|row| row.account_id == after.accounts[0].id));
    assert_eq!(sandbox.account_ids("user-0"), [after.accounts[0].id.clone()]);
}

#[test]
fn connecting_anew_changes_every_id_and_keeps_ibans_and_half_of_the_provider_ids() {
    let sandbox = Sandbox::start(Config { rates: Rates::none(), ..Config::default() });
    let credentials = sandbox.credentials_ids("user-1");
    let before = sandbox.truth("user-1");
    sandbox.plan("user-1", |plan| plan.reconsent_on(0).accounts);
    let after = sandbox.truth("user-1");
    assert_ne!(sandbox.credentials_ids("user-1"), credentials);
    let ibans =
        |truth: &Truth| truth.accounts.iter().map(|account| account.iban.clone()).collect::<BTreeSet<_>>();
    assert_eq!(ibans(&before), ibans(&after));
    assert_eq!(before.transactions.len(), after.transactions.len());
    let known = before.transactions.iter().map(|row| &row.id).collect::<BTreeSet<_>>();
    assert!(after.transactions.iter().all(|row| !known.contains(&row.id)));
    let provider_ids = |truth: &Truth| {
        truth
            .transactions
            .iter()
            .filter_map(|row| row.provider_transaction_id.clone())
            .collect::<BTreeSet<_>>()
    };
    let (old, new) = (provider_ids(&before), provider_ids(&after));
    assert!(new.is_subset(&old) && new.len() * 10 > old.len() * 3 && new.len() * 10 < old.len() * 7);
}

#[test]
fn everything_odd_turns_up() {
    let sandbox = Sandbox::start(Config { seed: 9, users: 60, ..Config::default() });
    let mut days = Vec::new();
    for day in 0..5 {
        sandbox.set_day(day);
        days.push(
            (0..60)
                .flat_map(|number| sandbox.truth(&format!("user-{number}")).transactions)
                .collect::<Vec<_>>(),
        );
    }
    let rows = &days[0];
    assert!(rows.iter().any(|row| row.booked_date.is_none()));
    assert!(rows.iter().any(|row| row.status == "undefined"));
    assert!(rows.iter().any(|row| row.description_original.is_none()));
    assert!(rows.iter().any(|row| row.amount.trim_start_matches('-').len() > 16));
    assert!(["JPY", "KWD"].iter().all(|code| rows.iter().any(|row| row.currency == *code)));
    let twin = |row: &TruthRow| {
        (
            row.account_id.clone(),
            row.amount.clone(),
            row.booked_date.clone(),
            row.description_original.clone(),
        )
    };
    assert!(rows.iter().map(twin).collect::<BTreeSet<_>>().len() < rows.len());
    let by_id =
        |rows: &[TruthRow]| rows.iter().map(|row| (row.id.clone(), row.clone())).collect::<BTreeMap<_, _>>();
    let (first, last) = (by_id(&days[0]), by_id(&days[4]));
    let both = || first.iter().filter_map(|(id, row)| Some((row, last.get(id)?)));
    assert!(both().any(|(old, new)| old.status == "pending" && new.status == "booked"));
    assert!(both().any(|(old, new)| old.status == "booked" && old.amount != new.amount));
    assert!(both().any(|(old, new)| old.description_original != new.description_original));
    assert!(first.values().any(|row| row.status == "pending" && !last.contains_key(&row.id)));
    let start = sandbox.config().day0.to_string();
    assert!(last.values().any(|row| row.status == "booked"
        && row.booked_date.as_ref().is_some_and(|date| *date < start)
        && !first.contains_key(&row.id)));
}

#[test]
fn consents_can_be_bent_and_renewed() {
    let sandbox = Sandbox::start(Config { rates: Rates::none(), ..Config::default() });
    let mut client = Client::new(&sandbox);
    let token = client.mint("user-2", READ);
    let mut consent =
        || client.get(&token, "/api/v1/provider-consents").json()["providerConsents"][0].clone();
    assert_eq!(consent()["status"], "UPDATED");
    sandbox.plan("user-2", |plan| {
        let consent = plan.consent(0);
        consent.status = Some("SESSION_EXPIRED".to_owned());
        consent.expiry = Expiry::Millis(1);
        consent.extendable = Some(true);
        consent.detailed_error = Some(r#"{"type":"AUTHORIZATION_ERROR"}"#.to_owned());
    });
    let bent = consent();
    assert_eq!((&bent["status"], &bent["sessionExpiryDate"]), (&"SESSION_EXPIRED".into(), &1.into()));
    assert_eq!(
        (&bent["sessionExtendable"], &bent["detailedError"]["type"]),
        (&true.into(), &"AUTHORIZATION_ERROR".into())
    );
    sandbox.plan("user-2", |plan| plan.consent(0).expiry = Expiry::Zero);
    assert_eq!(consent()["sessionExpiryDate"], 0);
    sandbox.plan("user-2", |plan| {
        plan.renew();
    });
    assert_eq!(consent()["status"], "UPDATED");
}

#[test]
fn decay_hides_accounts_but_not_the_truth() {
    let sandbox = Sandbox::start(Config::default());
    let mut client = Client::new(&sandbox);
    let token = client.mint("user-3", READ);
    let truth = sandbox.truth("user-3");
    sandbox.plan("user-3", |plan| plan.decay = Some(Decay::EmptyLists));
    assert!(client.walk(&token, "accounts", "?pageSize=100").is_empty());
    assert!(client.walk(&token, "transactions", "?pageSize=100").is_empty());
    sandbox.plan("user-3", |plan| plan.decay = Some(Decay::Refused(404)));
    assert_eq!(client.get(&token, "/data/v2/accounts?pageSize=100").status, 404);
    assert_eq!(sandbox.truth("user-3"), truth);
}

#[test]
fn a_frozen_user_stands_still() {
    let sandbox = Sandbox::start(Config::default());
    sandbox.plan("user-4", |plan| plan.frozen_at = Some(0));
    let truth = sandbox.truth("user-4");
    sandbox.set_day(4);
    assert_eq!(sandbox.truth("user-4"), truth);
    sandbox.unplan("user-4");
    assert_ne!(sandbox.truth("user-4"), truth);
}

//! The mistakes of the job that this program replaces, one test for each, showing the opposite. What a test says
//! in short, other files of these tests show at length.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tink_sandbox::{Action, Config, Endpoint, Fault, RefreshMode, Script, ScriptRow, Times};

use crate::harness::{World, small};
use crate::scripted::{Fate, Sam, at, booked, day, many, pending, undated};

fn rows(world: &World) -> i64 {
    world.text("SELECT count(*) FROM transactions_v1 WHERE removed_at IS NULL").unwrap().parse().unwrap()
}

/// The row with one field set to something else.
fn with(mut row: ScriptRow, pointer: &str, value: Value) -> ScriptRow {
    let mut json: Value = serde_json::from_str(&row.json).unwrap();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    json.pointer_mut(parent).unwrap()[field] = value;
    row.json = json.to_string();
    row
}

fn amounts(sam: &Sam) -> Vec<String> {
    let sql = "SELECT amount FROM transactions_v1 WHERE connection_id = ?1 ORDER BY transaction_id";
    sam.0.texts(sql, "c-0").into_iter().map(|mut row| row.remove(0).unwrap()).collect()
}

#[test]
fn mistake_01_a_link_works_for_as_long_as_its_consent() {
    // No token is needed that a connect once gave: hours and days later a new one is minted.
    let world = World::new(Config { user_expires_in: 1, enforce_expiry: true, ..small(1) });
    for day in 0..3 {
        world.sandbox.set_day(day);
        world.sandbox.age_tokens(Duration::from_hours(24));
        world.run(&[]).expect(0);
    }
    world.assert_all_exact();
}

#[test]
fn mistake_02_what_breaks_one_connection_touches_no_other() {
    let world = World::with_users(small(0), vec!["odd".to_owned(), "well".to_owned()]);
    let odd = with(booked("t-1", -2, "-100", "one"), "/descriptions/display", Value::Null);
    let twice = booked("t-2", -3, "-200", "two");
    world.sandbox.script("odd", at(1, [odd, twice.clone(), twice]));
    world.sandbox.script("well", at(1, many("w", 3, -2)));
    world.run(&[]).expect(0);
    assert_eq!((world.live(0).len(), world.live(1).len()), (2, 3));
    // And when the application deletes a connection while it is read.
    world.sandbox.fault(Fault::new(Action::Delay(Duration::from_millis(100))).at(Endpoint::Accounts));
    let running = world.start(&[]);
    world.app("DELETE FROM app_connections WHERE id = 'c-0'");
    assert_eq!(running.end().code, 0);
}

#[test]
fn mistake_03_every_page_is_read() {
    let sam = Sam::with(at(1, many("t", 250, -3)));
    assert_eq!(rows(&sam.0), 250);
}

#[test]
fn mistake_04_only_entitled_users_are_synced() {
    let world = World::new(small(3));
    world.app("UPDATE app_connections SET entitled = 0 WHERE id = 'c-1'; UPDATE app_connections SET entitled = NULL WHERE id = 'c-2'");
    let ran = world.run(&[]).expect(0);
    assert_eq!((ran.total("synced"), ran.skipped("not_entitled")), (1, 2));
    assert!(world.live(1).is_empty() && world.live(2).is_empty());
}

#[test]
fn mistake_05_a_pass_that_does_nothing_good_is_loud() {
    let world = World::new(small(2));
    world.sandbox.fault(Fault::new(Action::status(500)).at(Endpoint::Transactions).times(Times::Forever));
    let ran = world.run(&[]).expect(10);
    assert_eq!((ran.total("failed"), ran.ended("c-1").0.as_str()), (2, "failed"));
    world.cli(&["status", "--max-age", "26h"]).expect(10);
    let unit = include_str!("../../systemd/tink-sync.service");
    assert!(unit.contains("\nOnFailure=tink-sync-failure@%n.service\n"));
}

#[test]
fn mistake_06_the_schedule_outlives_every_restart() {
    // Slots on the clock that a restart does not move, and one pass for those that were missed.
    let timer = include_str!("../../systemd/tink-sync.timer");
    assert!(timer.contains("\nOnCalendar=*-*-* 00/6:00:00 UTC\n") && timer.contains("\nPersistent=true\n"));
    assert!(!timer.contains("OnUnitActiveSec=") && !timer.contains("OnBootSec="));
}

/// A link that lives from a refresh token, which the fake Tink takes once.
fn old_link() -> (World, String) {
    let world = World::new(Config { refresh: RefreshMode::Rotating, ..small(1) });
    let token = world
        .sandbox
        .refresh_token("user-0", "accounts:read,balances:read,transactions:read,provider-consents:read");
    world.app(&format!(
        "DROP VIEW tink_sync_source_v1; CREATE VIEW tink_sync_source_v1 AS SELECT id AS connection_id, user_id, enabled,
         entitled, tink AS external_user_id, '{token}' AS refresh_token, 1 AS token_version FROM app_connections"
    ));
    fs::write(world.path("key"), "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
    crate::harness::private(&world.path("key"));
    let file = crate::harness::quoted(&world.path("key").display().to_string());
    (world.set("store.token_key_file", &file), token)
}

#[test]
fn mistake_07_two_runs_never_present_one_refresh_token() {
    let (world, _) = old_link();
    let (one, two) = (world.start(&[]), world.start(&[]));
    assert_eq!((one.end().code, two.end().code), (0, 0));
    assert_eq!(world.sandbox.requests_to(Endpoint::RefreshToken), 1);
}

#[test]
fn mistake_08_a_refresh_whose_answer_got_lost_is_not_repeated() {
    let (world, _) = old_link();
    world.sandbox.fault(Fault::new(Action::LoseReply).at(Endpoint::RefreshToken));
    world.run(&[]).expect(0);
    world.run(&[]).expect(0);
    assert_eq!(world.sandbox.requests_to(Endpoint::RefreshToken), 1);
}

#[test]
fn mistake_09_a_stop_in_the_middle_of_a_refresh_loses_no_token() {
    let (world, _) = old_link();
    // Long enough for the signal to come before the answer on a busy machine, too.
    world.sandbox.fault(Fault::new(Action::Delay(Duration::from_secs(3))).at(Endpoint::RefreshToken));
    let running = world.start(&[]);
    crate::harness::until(|| world.sandbox.requests_to(Endpoint::RefreshToken) == 1);
    assert_eq!(running.stop("TERM").code, 143);
    let events = world.text("SELECT group_concat(action) FROM audit_v1").unwrap();
    assert_eq!(events, "token.refreshed", "the run waited for the answer and kept it");
    world.run(&[]).expect(0);
    assert_eq!(world.sandbox.requests_to(Endpoint::RefreshToken), 1);
}

#[test]
fn mistake_10_a_401_before_its_time_is_answered_by_a_new_token() {
    let world = World::new(small(1));
    world.sandbox.fault(Fault::new(Action::status(401)).at(Endpoint::Accounts));
    assert_eq!(world.run(&[]).expect(0).total("synced"), 1);
    assert_eq!(world.sandbox.requests_to(Endpoint::CodeExchange), 2);
}

#[test]
fn mistake_11_a_good_token_is_never_replaced_by_an_empty_one() {
    let (world, _) = old_link();
    world.run(&[]).expect(0);
    world.app(
        "DROP VIEW tink_sync_source_v1; CREATE VIEW tink_sync_source_v1 AS SELECT id AS connection_id, user_id, enabled,
         entitled, tink AS external_user_id, '' AS refresh_token, 2 AS token_version FROM app_connections",
    );
    world.run(&[]).expect(0);
    // The token that was given is still used: nothing was minted.
    assert_eq!(world.sandbox.requests_to(Endpoint::Grant), 0);
    // An answer without `expires_in` is no error either.
    let body = r#"{"access_token":"t","scope":"authorization:grant"}"#.to_owned();
    let world = World::new(small(1));
    world
        .sandbox
        .fault(Fault::new(Action::Status { code: 200, headers: Vec::new(), body }).at(Endpoint::ClientToken));
    world.cli(&["check"]).expect(0);
}

#[test]
fn mistake_12_one_user_may_have_several_connections() {
    let world = World::new(small(2));
    world.app("UPDATE app_connections SET user_id = 'one'");
    world.run(&[]).expect(0);
    world.assert_all_exact();
    assert_eq!(
        world.text("SELECT count(DISTINCT user_id) || '/' || count(*) FROM connections_v1").unwrap(),
        "1/2"
    );
}

#[test]
fn mistake_13_no_token_lies_anywhere_in_plain_text() {
    let (world, token) = old_link();
    world.run(&[]).expect(0);
    assert_eq!(world.traces(&token), 0);
}

#[test]
fn mistake_14_money_is_exact_to_the_last_digit() {
    let amount = |id: &str, unscaled: &str, scale: &str| {
        let mut row = booked(id, -2, unscaled, "x");
        row.json = row.json.replace("\"scale\":\"2\"", &format!("\"scale\":{scale}"));
        row
    };
    let sam = Sam::with(at(
        1,
        [amount("a", "9007199254740993", "\"2\""), amount("b", "10", "2"), amount("c", "-1300", "\"3\"")],
    ));
    assert_eq!(amounts(&sam), ["90071992547409.93", "0.1", "-1.3"]);
    // A scale that is missing or empty is not guessed: the record is told of and kept as it came.
    let sam = Sam::new();
    sam.pass(at(1, [amount("d", "5", "\"\""), amount("e", "5", "null"), amount("f", "5", "\"0\"")]))
        .expect(0);
    assert_eq!(amounts(&sam), ["5"]);
    assert_eq!(sam.0.text("SELECT count(*) FROM quarantine_v1").unwrap(), "2");
}

#[test]
fn mistake_15_half_a_batch_is_never_stored_beside_a_report_of_failure() {
    let sam = Sam::new();
    sam.0
        .sandbox
        .fault(Fault::new(Action::status(500)).at(Endpoint::Transactions).nth(2).times(Times::Forever));
    let ran = sam.pass(at(1, many("t", 250, -3)));
    let added = ran.total("added");
    assert_eq!(rows(&sam.0), i64::try_from(added).unwrap(), "what is reported is what is stored");
    assert_eq!(sam.0.text("SELECT complete_through FROM accounts_v1"), None, "and no watermark covers it");
    sam.0.sandbox.clear_faults();
    sam.again().expect(0);
    assert_eq!(rows(&sam.0), 250);
}

#[test]
fn mistake_16_nulls_and_odd_dates_fail_no_connection() {
    let null = ["merchantInformation", "categories", "types"]
        .into_iter()
        .fold(booked("t-1", -2, "-100", "one"), |row, field| with(row, &format!("/{field}"), Value::Null));
    let mut odd = booked("t-2", -2, "-200", "two");
    odd.json = odd.json.replace(&day(-2).to_string(), "31.12.2025");
    let sam = Sam::with(at(1, [null, odd, booked("t-3", -2, "-300", "three")]));
    assert_eq!((rows(&sam.0), sam.row("t-2", "amount, booked_date")), (3, "-2".to_owned()));
    assert_eq!(sam.0.number("SELECT count(*) FROM quarantine_v1"), 0);
}

#[test]
fn mistake_17_ids_of_two_banks_do_not_collide() {
    let world = World::with_users(small(0), vec!["one".to_owned(), "two".to_owned()]);
    for user in ["one", "two"] {
        world
            .sandbox
            .script(user, Script::simple(&format!("account-of-{user}"), "2026-01-01T00:00:00Z", Vec::new()));
        let mut script = at(1, [booked("1001", -2, "-100", user)]);
        script.transactions[0].json = script.transactions[0].json.replacen(
            '{',
            "{\"identifiers\":{\"providerTransactionId\":\"1001\"},",
            1,
        );
        world.sandbox.script(user, script);
    }
    world.run(&[]).expect(0);
    assert_eq!(rows(&world), 2);
}

#[test]
fn mistake_18_the_same_id_of_a_second_user_is_a_row_of_its_own() {
    let world = World::with_users(small(0), vec!["one".to_owned(), "two".to_owned()]);
    for user in ["one", "two"] {
        world.sandbox.script(user, at(1, [booked("same", -2, "-100", user)]));
    }
    world.run(&[]).expect(0);
    assert_eq!((world.live(0).len(), world.live(1).len()), (1, 1));
}

#[test]
fn mistake_19_nothing_is_taken_for_a_duplicate_by_likeness() {
    let equal = [
        booked("a", -2, "-250", "Żabka"),
        booked("b", -2, "-250", "Żabka"),
        booked("c", -2, "-251", "Żabka"),
        booked("d", -2, "250", "Żabka"),
        booked("e", -2, "-250", "Лавка"),
        booked("f", -2, "-250", "Магазин"),
    ];
    let sam = Sam::with(at(1, equal));
    assert_eq!(rows(&sam.0), 6);
    assert_eq!(sam.row("a", "description"), "Żabka");
}

#[test]
fn mistake_20_pendings_come_and_go_without_leaving_doubles() {
    let sam = Sam::with(at(
        1,
        [
            pending("p-1", 0, "-500", "Coffee"),
            pending("p-2", 0, "-900", "Taxi"),
            undated("p-3", "PENDING", "-70", "Hold"),
        ],
    ));
    assert_eq!(sam.row("p-3", "coalesce(booked_date, 'none')"), "none", "no date is invented");
    sam.pass(at(2, [booked("b-1", 0, "-500", "Coffee shop")])).expect(0);
    assert_eq!(sam.fate("p-2"), Fate::vanished());
    assert_eq!(sam.row("b-1", "status"), "booked");
    assert!(sam.fate("p-1").removed.is_some(), "the pending row is not live beside the booked one");
    // What the bank corrects later is stored.
    sam.pass(at(3, [booked("b-1", 0, "-510", "Coffee shop, tip")])).expect(0);
    assert_eq!(sam.row("b-1", "amount, description"), "-5.1|Coffee shop, tip");
}

#[test]
fn mistake_21_accounts_balances_and_all_dates_are_stored() {
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    // Names, balances and rows with their dates and texts, compared with what Tink has.
    world.assert_all_exact();
    assert_eq!(world.text("SELECT count(*) FROM accounts_v1 WHERE booked_balance IS NULL").unwrap(), "0");
}

#[test]
fn mistake_22_there_is_one_source_of_rows_and_no_silent_second_best() {
    let world = World::new(small(1));
    world.sandbox.fault(Fault::new(Action::status(403)).at(Endpoint::Transactions).times(Times::Forever));
    world.run(&[]).expect(10);
    let asked: BTreeSet<Endpoint> = world.sandbox.requests().into_keys().collect();
    let known = [
        Endpoint::ClientToken,
        Endpoint::Grant,
        Endpoint::CodeExchange,
        Endpoint::Consents,
        Endpoint::Accounts,
        Endpoint::Transactions,
    ];
    assert_eq!(asked, known.into_iter().collect());
}

#[test]
fn mistake_23_a_currency_is_never_made_up() {
    let mut bare = booked("t-1", -2, "-100", "x");
    bare.json = bare.json.replace("\"currencyCode\":\"EUR\",", "").replace(",\"currencyCode\":\"EUR\"", "");
    let sam = Sam::with(at(1, [bare, booked("t-2", -2, "0", "nothing")]));
    assert_eq!(sam.row("t-2", "amount, currency"), "0|EUR");
    assert_eq!(sam.0.text("SELECT transaction_id FROM quarantine_v1").unwrap(), "t-1");
}

#[test]
fn mistake_24_categories_are_kept_as_tink_names_them() {
    let mut row = booked("t-1", -2, "-100", "x");
    row.json = row.json.replacen(
        '{',
        "{\"categories\":{\"pfm\":{\"id\":\"some:new.category-17\",\"name\":\"New\"}},",
        1,
    );
    let sam = Sam::with(at(1, [row]));
    assert_eq!(sam.row("t-1", "category_id"), "some:new.category-17");
}

#[test]
fn mistake_25_a_long_retry_after_is_obeyed_and_not_slept_through() {
    let world = World::new(small(4)).set("tink.concurrency", "1");
    world.sandbox.fault(Fault::new(Action::too_many("3600")).at(Endpoint::Accounts).times(Times::Forever));
    let ran = world.run(&[]).expect(10);
    let asked = world.sandbox.requests_to(Endpoint::Accounts);
    assert!(asked <= 3, "asked {asked} times although Tink said an hour");
    assert!(ran.total("duration_ms") < 30_000);
    world.sandbox.clear_faults();
    assert_eq!(world.run(&[]).expect(0).skipped("not_before"), 4, "the next run remembers");
}

#[test]
fn mistake_26_connections_are_synced_beside_each_other() {
    let world = World::new(small(6));
    world.sandbox.set_latency(Duration::from_millis(20));
    world.run(&[]).expect(0);
    assert!(world.sandbox.max_in_flight() > 2);
}

#[test]
fn mistake_27_a_broken_connection_is_tried_again_and_a_pass_has_an_end() {
    let world = World::new(small(1));
    world.sandbox.fault(Fault::new(Action::Reset).at(Endpoint::Transactions));
    world.sandbox.fault(Fault::new(Action::Truncate(5)).at(Endpoint::Accounts));
    assert_eq!(world.run(&[]).expect(0).total("synced"), 1);
    let world = World::new(small(3)).set("sync.deadline", "\"1s\"").set("sync.connection_timeout", "\"1s\"");
    world.sandbox.fault(Fault::new(Action::Hang).at(Endpoint::Consents).times(Times::Forever));
    assert_ne!(world.run(&[]).code, 0);
}

#[test]
fn mistake_28_times_are_told_in_utc_wherever_the_machine_stands() {
    let world = World::new(small(1));
    let mut pass = world.pass(&[]);
    pass.env("TZ", "Asia/Kathmandu");
    assert!(pass.status().unwrap().success());
    let sql = "SELECT last_success_at LIKE '%Z' AND abs(strftime('%s', last_success_at) - strftime('%s', 'now')) < 300 FROM connections_v1";
    assert_eq!(world.text(sql).unwrap(), "1");
}

#[test]
fn mistake_29_success_means_that_every_account_was_read() {
    let world = World::new(small(1));
    world.sandbox.fault(Fault::new(Action::status(500)).at(Endpoint::Transactions).times(Times::Forever));
    world.run(&[]).expect(10);
    assert_eq!(world.text("SELECT last_success_at FROM connections_v1"), None);
    assert_eq!(world.text("SELECT max(complete_through) FROM accounts_v1"), None);
}

#[test]
fn mistake_30_several_processes_share_the_work() {
    let world = World::new(small(8)).set("sync.min_interval", "\"5h\"");
    let (one, two) = (world.start(&[]), world.start(&[]));
    let (one, two) = (one.end(), two.end());
    assert_eq!(one.total("synced") + two.total("synced"), 8);
}

#[test]
fn mistake_31_who_disconnects_during_a_run_is_not_synced_by_the_next_and_null_is_no() {
    let world = World::new(small(2));
    world.app("UPDATE app_connections SET enabled = NULL WHERE id = 'c-1'");
    assert_eq!(world.run(&[]).expect(0).skipped("disabled"), 1);
    // An entitlement that ends while the run is on is looked at again before each account.
    world.app("UPDATE app_connections SET enabled = 0");
    assert_eq!(world.run(&[]).expect(0).skipped("disabled"), 2);
}

#[test]
fn mistake_32_every_connection_of_every_run_has_its_record() {
    let world = World::new(small(2));
    world
        .sandbox
        .fault(Fault::new(Action::status(500)).user("user-1").at(Endpoint::Accounts).times(Times::Forever));
    world.run(&[]).expect(10);
    let sql = "SELECT group_concat(outcome || ':' || coalesce(reason, '-') || ':' || (duration_ms >= 0) || ':' || (run_id = (SELECT run_id FROM runs_v1)), ' ')
               FROM (SELECT * FROM run_connections_v1 ORDER BY connection_id)";
    assert_eq!(world.text(sql).unwrap(), "synced:-:1:1 failed:http_5xx:1:1");
}

#[test]
fn mistake_33_no_address_and_no_body_stands_in_a_record() {
    let world = World::new(small(1));
    world.app("UPDATE app_connections SET user_id = 'u-17'");
    let body = json!({"name": "Jane Doe", "email": "jane@example.com"}).to_string();
    world.sandbox.fault(
        Fault::new(Action::Status { code: 500, headers: Vec::new(), body })
            .at(Endpoint::Accounts)
            .times(Times::Forever),
    );
    let ran = world.run(&["--verbose"]).expect(10);
    assert!(!ran.stderr.contains("Jane") && !ran.stdout.contains("example.com"), "{ran:?}");
}

#[test]
fn mistake_34_the_tests_run_the_program_that_is_shipped() {
    // These tests start the binary itself; what is tested is no copy of it.
    let version = crate::harness::Ran::of(World::new(small(0)).command(&["--version"]).output().unwrap());
    assert_eq!(version.expect(0).stdout.trim(), format!("tink-sync {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn mistake_35_a_row_that_was_replaced_is_not_counted() {
    let sam = Sam::with(at(1, [pending("p-1", 0, "-500", "Coffee")]));
    sam.pass(at(2, [booked("b-1", 0, "-500", "Coffee")])).expect(0);
    let live = "SELECT sum(amount) FROM transactions_v1 WHERE removed_at IS NULL";
    assert_eq!(sam.0.text(&live.replace("sum(amount)", "group_concat(amount)")).unwrap(), "-5");
}

#[test]
fn mistake_36_the_papers_say_what_the_program_does() {
    // The example configuration is read by the program, with every default as written there.
    let example = include_str!("../../tink-sync.toml.example");
    assert!(example.contains("# syncs_per_day = 100") && example.contains("# reserved_for_manual = 20"));
    let defaults = tink_sync::config::QuotaSettings::default();
    assert_eq!((defaults.syncs_per_day, defaults.reserved_for_manual), (100, 20));
}

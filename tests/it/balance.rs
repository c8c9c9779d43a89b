//! The balance proof: what the bank says an account holds moves by the rows in between, and where it does not,
//! everybody is told by how much, and nothing fails.

mod shown;

use std::collections::BTreeMap;

use serde_json::Value;
use tink_sandbox::script::{account, consent};
use tink_sandbox::{Action, Config, Endpoint, Fault, Rates, Script, ScriptRow, Times};
use tink_sync::domain::total::Total;

use crate::harness::{World, plain};
use crate::inside::{COUNTED_SUMS, KEPT_SUMS, STANDS};
use crate::scripted::{A1, SAM, Sam, at, booked, consent_with, day, holding, many, pending, refresh};

const PROVEN: &str = "SELECT count(*) FROM balance_proofs_v1 WHERE state = 'proven'";

/// State, reason and difference of `a1`.
fn judged(sam: &Sam) -> [Option<String>; 3] {
    let sql = "SELECT state, reason, difference FROM balance_proofs_v1 WHERE connection_id = ?1";
    let row = sam.0.texts(sql, "c-0").pop().unwrap();
    row.try_into().unwrap()
}

fn words(state: &str, reason: Option<&str>, difference: Option<&str>) -> [Option<String>; 3] {
    [Some(state), reason, difference].map(|text| text.map(str::to_owned))
}

fn assert_proven(sam: &Sam) {
    assert_eq!(judged(sam), words("proven", None, None));
}

#[test]
fn day_after_day_the_balances_are_explained() {
    let world = World::new(Config { seed: 5, ..plain(12) });
    for day in 0..5 {
        world.sandbox.set_day(day);
        world.run(&[]).expect(0);
        assert_eq!(world.number(PROVEN), world.number("SELECT count(*) FROM accounts_v1"));
        assert_stored_sums_are_those_of_the_rows(&world);
    }
}

/// Numbers of the connections that are told to have a difference.
fn accused(world: &World) -> Vec<usize> {
    let sql = "SELECT DISTINCT connection_id FROM balance_proofs_v1 WHERE state = 'differs' AND ?1 = ''";
    let ids = world.texts(sql, "").into_iter().map(|mut row| row.remove(0).unwrap());
    ids.map(|id| id.trim_start_matches("c-").parse().unwrap()).collect()
}

#[test]
fn whatever_the_data_look_like_only_stores_that_are_not_exact_are_accused() {
    let rates = Rates { undated: 0, reconsent: 200, account_deleted: 100, ..Rates::everything() };
    let world = World::new(Config { rates, seed: 7, ..plain(40) });
    let mut seen = 0;
    for day in 0..5 {
        world.sandbox.set_day(day);
        world.run(&[]);
        for n in accused(&world) {
            // A row that the bank changed while the user connected anew, so that it is there twice.
            assert!(world.difference(n).is_some(), "day {day}: c-{n}");
            seen += 1;
        }
        assert_stored_sums_are_those_of_the_rows(&world);
    }
    assert!(seen > 0, "nothing is found where there is something to find");
    assert!(world.number(PROVEN) > 30, "{} are proven", world.number(PROVEN));
}

#[test]
fn invariant_13_kept_sums_are_those_of_the_live_rows() {
    let rates = Rates {
        undated: 50,
        undefined_status: 50,
        second_currency: 50,
        reconsent: 300,
        ..Rates::everything()
    };
    let world = World::new(Config { rates, seed: 3, ..plain(10) });
    for day in 0..5 {
        world.sandbox.set_day(day);
        world.run(&[]);
        assert_stored_sums_are_those_of_the_rows(&world);
    }
    assert!(world.sums_of_odd_parts() > 0);
}

#[test]
fn a_row_that_tink_hides_is_seen_to_the_cent_and_found_again() {
    let rows = |n: u32| many("r", n, -2);
    let sam = Sam::with(holding(at(1, rows(3)), 100_000));
    assert_proven(&sam);
    // -10.03 is booked, and the balance knows of another -12.34.
    sam.pass(holding(at(2, rows(4)), 100_000 - 1003 - 1234)).expect(0);
    assert_eq!(judged(&sam), words("differs", None, Some("-12.34")));
    let run = |column| sam.0.text(&format!("SELECT {column} FROM balance_proofs_v1"));
    let second = sam.0.text("SELECT run_id FROM runs_v1 ORDER BY started_at LIMIT 1 OFFSET 1");
    let (since, anchored) = (run("since_at"), run("anchored_at"));
    assert_eq!((run("run_id"), run("proven_refresh_at")), (second.clone(), Some(refresh(1))));
    // Life goes on, the difference stays what and since when it was.
    sam.pass(holding(at(3, rows(5)), 100_000 - 1003 - 1234 - 1004)).expect(0);
    assert_eq!(judged(&sam), words("differs", None, Some("-12.34")));
    assert_eq!((run("since_at"), run("changed_at"), run("run_id")), (since.clone(), since, second));
    assert_eq!((run("proven_refresh_at"), run("judged_refresh_at")), (Some(refresh(1)), Some(refresh(3))));
    let mut found = rows(5);
    found.push(booked("hidden", -1, "-1234", "HIDDEN"));
    sam.pass(holding(at(4, found), 100_000 - 1003 - 1234 - 1004)).expect(0);
    assert_proven(&sam);
    let open = [run("since_at"), run("changed_at"), run("run_id")];
    assert_eq!((open, run("anchored_at")), ([None, None, None], anchored));
    assert_eq!(run("proven_refresh_at"), Some(refresh(4)));
}

#[test]
fn one_account_is_judged_by_itself() {
    let two = |n: u32, balances: [i64; 2]| Script {
        consents: vec![consent("cred", &["a1", "a2"])],
        accounts: ["a1", "a2"]
            .iter()
            .zip(balances)
            .map(|(id, cents)| account(id, &refresh(n), &cents.to_string(), "2", "EUR"))
            .collect(),
        transactions: many("r", 3, -2),
    };
    let sam = Sam::with(two(1, [500, 700]));
    sam.pass(two(2, [500, 701])).expect(0);
    let states =
        "SELECT account_id, state, difference FROM balance_proofs_v1 WHERE connection_id = ?1 ORDER BY 1";
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        sam.0.texts(states, "c-0"),
        [[some("a1"), some("proven"), None], [some("a2"), some("differs"), some("0.01")]]
    );
}

#[test]
fn what_a_bank_does_every_day_is_no_difference() {
    let mut rows = vec![booked("a", -9, "-100", "TRAM"), pending("p", 0, "-250", "COFFEE")];
    let sam = Sam::with(holding(at(1, rows.clone()), 50_000));
    // The pending row is booked under another id, a row comes late, another is corrected.
    rows = vec![
        booked("a", -9, "-111", "TRAM"),
        booked("b", 0, "-250", "COFFEE"),
        booked("c", -5, "-7", "LATE"),
    ];
    sam.pass(holding(at(2, rows.clone()), 50_000 - 11 - 250 - 7)).expect(0);
    assert_proven(&sam);
    // A booking is taken back, one is dated in the future.
    rows.remove(2);
    rows.push(booked("d", 20, "-900", "RENT"));
    sam.pass(holding(at(3, rows.clone()), 50_000 - 11 - 250 - 900)).expect(0);
    assert_proven(&sam);
    // The same numbers at another scale, and nothing new.
    let mut same = holding(at(4, rows), 5_000_000 - 100 * (11 + 250 + 900));
    same.accounts[0]["balances"]["booked"]["amount"]["value"]["scale"] = "4".into();
    sam.pass(same).expect(0);
    assert_proven(&sam);
}

#[test]
fn history_that_grows_is_no_difference() {
    let sam = Sam::with(holding(at(1, many("new", 5, -20)), 100_000));
    let mut rows = many("old", 40, -80);
    rows.extend(many("new", 5, -20));
    rows.push(booked("today", 0, "-5", "TRAM"));
    sam.0.no_deep_walk();
    let ran = sam.pass(holding(at(2, rows), 100_000 - 5)).expect(0);
    assert_eq!(ran.total("added"), 41);
    assert_proven(&sam);
    assert_stored_sums_are_those_of_the_rows(&sam.0);
}

#[test]
fn rows_missing_in_masses_are_no_difference_while_none_is_removed() {
    let rows = |count: u32| [many("r", count, -2), vec![booked("today", 0, "-5", "TRAM")]].concat();
    let sam = Sam::with(holding(at(1, many("r", 60, -2)), 100_005));
    sam.pass(holding(at(2, rows(60)), 100_000)).expect(0);
    sam.pass(holding(at(3, rows(9)), 100_000)).expect(10);
    assert_proven(&sam);
    // Removed because a second refresh agrees: the balance does not.
    sam.pass(holding(at(4, rows(9)), 100_000)).expect(0);
    let gone: i64 = (9..60).map(|n| 1000 + n).sum();
    assert_eq!(judged(&sam), words("differs", None, Some(&format!("-{}.{:02}", gone / 100, gone % 100))));
}

#[test]
fn a_user_who_connects_anew_is_no_difference() {
    let bank = |n: u32, id: &str, prefix: &str, today: bool| {
        let mut rows: Vec<ScriptRow> = (0..4)
            .map(|n| {
                ScriptRow::booked(&format!("{prefix}{n}"), id, day(-3), &format!("-{}", 500 + n), "2", "TRAM")
            })
            .collect();
        rows.push(ScriptRow::booked(
            &format!("{prefix}-long-ago"),
            id,
            day(if today { -300 } else { -2 }),
            "-1",
            "2",
            "OLD",
        ));
        rows.extend(today.then(|| ScriptRow::booked("t", id, day(0), "-70", "2", "COFFEE")));
        let mut script = holding(Script::simple(id, &refresh(n), rows), if today { 99_930 } else { 100_000 });
        script.accounts[0]["identifiers"]["iban"]["iban"] = "PL61 1090 1014".into();
        script
    };
    let sam = Sam::with(bank(1, "old", "x", false));
    let key = sam.account("old", "account_key");
    sam.pass(bank(2, "new", "y", true)).expect(0);
    assert_eq!(sam.account("new", "account_key"), key);
    // One row of the old link has no counterpart any more; the bank now shows one of a year ago instead.
    assert_eq!(judged(&sam), words("proven", None, None));
    assert_stored_sums_are_those_of_the_rows(&sam.0);
}

#[test]
fn what_tink_refreshed_during_the_walk_is_not_judged() {
    let sam = Sam::with(holding(at(1, many("r", 3, -2)), 100_000));
    let later = || {
        let mut rows = many("r", 3, -2);
        rows.push(booked("new", 0, "-700", "COFFEE"));
        rows
    };
    // The list is of the second refresh, the rows are of the third.
    sam.0.sandbox.on_page(SAM, 1, holding(at(3, later()), 99_300));
    sam.pass(holding(at(2, later()), 100_000)).expect(0);
    assert_eq!(judged(&sam), words("proven", None, None));
    let proven = sam.0.text("SELECT proven_refresh_at FROM balance_proofs_v1");
    assert_eq!(proven, Some(refresh(1)));
    sam.pass(holding(at(3, later()), 99_300)).expect(0);
    assert_proven(&sam);
    assert_eq!(sam.0.text("SELECT proven_refresh_at FROM balance_proofs_v1"), Some(refresh(3)));
}

#[test]
fn a_first_sync_in_the_midst_of_a_refresh_sets_no_anchor() {
    let sam = Sam::new();
    sam.0.sandbox.script(SAM, holding(at(1, many("r", 3, -2)), 100_000));
    sam.0.sandbox.on_page(SAM, 1, holding(at(2, many("r", 3, -2)), 1));
    sam.again().expect(0);
    assert_eq!(judged(&sam), words("unprovable", Some("not_walked"), None));
    sam.pass(holding(at(2, many("r", 3, -2)), 1)).expect(0);
    assert_proven(&sam);
}

#[test]
fn that_tink_cannot_be_asked_again_leaves_the_judgement_to_the_next_pass() {
    let sam = Sam::with(holding(at(1, many("r", 3, -2)), 100_000));
    let broken = Fault::new(Action::status(500)).at(Endpoint::Accounts).nth(2).times(Times::Forever);
    sam.0.sandbox.fault(broken);
    sam.pass(holding(at(2, many("r", 3, -2)), 99_999)).expect(0);
    assert_proven(&sam);
    sam.0.sandbox.clear_faults();
    sam.pass(holding(at(3, many("r", 3, -2)), 99_999)).expect(0);
    assert_eq!(judged(&sam), words("differs", None, Some("-0.01")));
}

#[test]
fn what_cannot_be_proven_says_why() {
    let without = |pointer: &str| {
        let mut script = at(1, many("r", 3, -2));
        *script.accounts[0].pointer_mut(pointer).unwrap() = Value::Null;
        script
    };
    for (pointer, reason) in [("/balances/booked", "no_balance"), ("/dates/lastRefreshed", "no_refresh")] {
        let sam = Sam::with(without(pointer));
        assert_eq!(judged(&sam), words("unprovable", Some(reason), None));
        sam.pass(at(2, many("r", 3, -2))).expect(0);
        assert_proven(&sam);
    }
    let sick = consent_with(at(1, many("r", 3, -2)), "status", "TEMPORARY_ERROR");
    assert_proven(&Sam::with(sick));
}

#[test]
fn rows_in_another_currency_prove_nothing_and_accuse_nobody() {
    let sam = Sam::with(holding(at(1, many("r", 3, -2)), 100_000));
    let mut rows = many("r", 3, -2);
    rows.push(ScriptRow::with("sek", A1, Some(day(-1)), "BOOKED", ["-5000", "2", "SEK"], "FIKA"));
    sam.pass(holding(at(2, rows.clone()), 99_530)).expect(0);
    assert_eq!(judged(&sam), words("unprovable", Some("unclear_rows"), None));
    rows.push(booked("t", 0, "-100", "TRAM"));
    sam.pass(holding(at(3, rows), 99_430)).expect(0);
    assert_proven(&sam);
}

#[test]
fn a_row_that_gets_a_new_id_between_the_two_looks_of_a_walk_counts_once() {
    let held = pending("held", -1, "-250", "COFFEE");
    let [tram, fee] = [booked("tram", -3, "-100", "TRAM"), booked("fee", -2, "-400", "FEE")];
    let sam = Sam::with(at(1, [tram.clone(), fee, held]));
    sam.0.sandbox.script(SAM, at(2, [tram, booked("held", -1, "-250", "COFFEE")]));
    let renamed = [booked("tram-2", -3, "-100", "TRAM"), booked("held-2", -1, "-250", "COFFEE")];
    sam.0.sandbox.on_page(SAM, 1, at(3, renamed.clone()));
    sam.again().expect(0);
    assert_stored_sums_are_those_of_the_rows(&sam.0);
    sam.pass(at(4, renamed)).expect(0);
    assert_eq!(sam.live(), ["held-2", "tram-2"]);
    assert_stored_sums_are_those_of_the_rows(&sam.0);
}

#[test]
fn a_currency_that_changes_for_one_pass_ends_no_difference() {
    let rows = || many("r", 3, -2);
    let sam = Sam::with(holding(at(1, rows()), 100_000));
    sam.pass(holding(at(2, rows()), 97_000)).expect(0);
    assert_eq!(judged(&sam), words("differs", None, Some("-30")));
    let mut dollars = holding(at(3, rows()), 97_000);
    dollars.accounts[0]["balances"]["booked"]["amount"]["currencyCode"] = "USD".into();
    sam.pass(dollars).expect(0);
    assert_eq!(judged(&sam), words("differs", Some("currency_changed"), Some("-30")));
    for n in [4, 5] {
        sam.pass(holding(at(n, rows()), 97_000)).expect(0);
        assert_eq!(judged(&sam), words("differs", None, Some("-30")));
    }
}

#[test]
fn a_row_of_the_wrong_sign_is_a_difference_unless_the_account_is_a_card() {
    for (kind, state) in [("CHECKING", "differs"), ("CREDIT_CARD", "proven")] {
        let of = |n, rows: Vec<ScriptRow>, cents| {
            let mut script = holding(at(n, rows), cents);
            script.accounts[0]["type"] = kind.into();
            script
        };
        let sam = Sam::with(of(1, many("r", 3, -2), 100_000));
        let mut rows = many("r", 3, -2);
        rows.push(booked("odd", -1, "500", "SHOP"));
        sam.pass(of(2, rows, 99_500)).expect(0);
        assert_eq!(judged(&sam)[0].as_deref(), Some(state), "{kind}");
    }
}

#[test]
fn a_record_in_quarantine_is_a_difference_until_it_is_read() {
    let row = || booked("bad", -1, "-800", "BOOKS");
    let sam = Sam::with(holding(at(1, many("r", 3, -2)), 100_000));
    let mut rows = many("r", 3, -2);
    rows.push(row().but(|element| element["amount"] = Value::Null));
    sam.pass(holding(at(2, rows), 99_200)).expect(0);
    assert_eq!(judged(&sam), words("differs", Some("quarantine"), Some("-8")));
    assert_eq!(sam.0.number("SELECT quarantined FROM balance_proofs_v1"), 1);
    let mut rows = many("r", 3, -2);
    rows.push(row());
    sam.pass(holding(at(3, rows), 99_200)).expect(0);
    assert_proven(&sam);
}

#[test]
fn an_account_with_a_record_in_quarantine_is_not_proven_though_the_numbers_agree() {
    let sam = Sam::with(holding(at(1, many("r", 3, -2)), 100_000));
    assert_proven(&sam);
    let mut rows = many("r", 3, -2);
    rows.push(booked("bad", -1, "-800", "BOOKS").but(|element| element["amount"] = Value::Null));
    sam.pass(holding(at(2, rows.clone()), 100_000)).expect(0);
    assert_eq!(judged(&sam), words("unprovable", Some("quarantine"), None));
    let told = sam.0.cli(&["why", "c-0"]).expect(0).stdout.replace('\n', " ");
    assert!(told.contains("1 record of it in quarantine may be money that moved"), "{told}");
    // Not one record of this walk can be read, so it judges nothing; the proof says so all the same.
    let sam = Sam::with(holding(at(1, many("r", 3, -2)), 100_000));
    sam.pass(holding(at(2, rows.split_off(3)), 100_000)).expect(0);
    assert_eq!(judged(&sam), words("unprovable", Some("quarantine"), None));
}

#[test]
fn amounts_of_any_size_add_up_exactly() {
    let row = |id: &str, unscaled: &str, scale: &str| {
        ScriptRow::with(id, A1, Some(day(-1)), "BOOKED", [unscaled, scale, "EUR"], "HUGE")
    };
    let nines = "9".repeat(60);
    let balance = |script: Script, unscaled: &str, scale: &str| {
        let mut script = script;
        script.accounts[0]["balances"]["booked"]["amount"]["value"] =
            serde_json::json!({"unscaledValue": unscaled, "scale": scale});
        script
    };
    let sam = Sam::with(balance(at(1, [row("a", &nines, "0")]), &nines, "0"));
    let rows = [row("a", &nines, "0"), row("b", "1", "40"), row("c", &nines, "0")];
    sam.pass(balance(at(2, rows.clone()), &format!("1{}8", "9".repeat(59)), "0")).expect(0);
    assert_eq!(judged(&sam), words("differs", None, Some(&format!("-0.{}1", "0".repeat(39)))));
    assert_stored_sums_are_those_of_the_rows(&sam.0);
}

#[test]
fn a_store_of_an_older_release_is_added_up_at_its_next_walk() {
    let sam = Sam::with(holding(at(1, many("r", 30, -2)), 100_000));
    sam.0.forget_balances();
    assert_eq!(judged(&sam), words("unprovable", Some("not_walked"), None));
    let mut rows = many("r", 29, -2);
    rows.push(booked("new", -1, "-5", "TRAM"));
    sam.pass(holding(at(2, rows.clone()), 5)).expect(0);
    assert_stored_sums_are_those_of_the_rows(&sam.0);
    let stands = sam.0.texts(STANDS, "");
    assert!(stands.len() == 1 && stands.iter().all(|stand| stand[0] == stand[1]), "{stands:?}");
    rows.push(booked("newer", -1, "-6", "TRAM"));
    sam.pass(holding(at(3, rows), -1)).expect(0);
    assert_proven(&sam);
    assert_stored_sums_are_those_of_the_rows(&sam.0);
}

/// What is kept is what the rows add up to, exactly, by account, part and currency.
pub fn assert_stored_sums_are_those_of_the_rows(world: &World) {
    type Sums = BTreeMap<[String; 3], (Total, i64)>;
    let read = |sql: &str| {
        let mut sums = Sums::new();
        for row in world.texts(sql, "") {
            let [account, part, currency, amount, rows] = <[_; 5]>::try_from(row).unwrap();
            let key = [account, part, currency].map(Option::unwrap);
            let (total, number) = sums.entry(key).or_default();
            *total += &Total::parse(&amount.unwrap()).unwrap();
            *number += rows.unwrap().parse::<i64>().unwrap();
        }
        sums.retain(|_, (total, rows)| *rows != 0 || !total.is_zero());
        sums
    };
    assert_eq!(read(KEPT_SUMS), read(COUNTED_SUMS));
}

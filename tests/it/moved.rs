//! Rows that are somewhere else and not gone: on another page, on a day far ahead, in another currency, and bookings
//! that only look like the reservation that is gone.

use serde_json::json;
use tink_sandbox::{Script, ScriptRow};

use crate::scripted::{A1, Fate, SAM, Sam, at, booked, day, ended, many, pending, refresh, still};

#[test]
fn rows_that_change_places_between_two_pages_are_not_missing() {
    let rows = many("r", 150, -2);
    let swapped = |a: usize, b: usize| {
        let mut rows = rows.clone();
        rows.swap(a, b);
        rows
    };
    let banks: [fn(u32, Vec<ScriptRow>) -> Script; 2] = [|n, rows| at(n, rows), |n, rows| still(n, rows)];
    for balance in banks {
        let sam = Sam::with(balance(1, rows.clone()));
        let seq = (sam.seq("r-120"), sam.seq("r-50"));
        // The first page shows r-50, the second r-50 again and r-120 never.
        sam.0.sandbox.on_page(SAM, 1, balance(2, swapped(50, 120)));
        let ran = ended(sam.pass(balance(2, rows.clone())), 0, "unchanged", None);
        assert_eq!((ran.total("removed"), ran.total("updated")), (0, 0));
        assert_eq!((sam.seq("r-120"), sam.seq("r-50")), seq, "a reader sees nothing go and come");
        assert_eq!(sam.asked("/transactions?").len(), 4, "looked at twice");
        ended(sam.pass(balance(3, rows.clone())), 0, "unchanged", None);
        assert_eq!(sam.asked("/transactions?").len(), 2, "an ordinary day costs what it did");
    }
}

#[test]
fn a_row_that_the_second_look_shows_stays_beside_its_twin() {
    // GIVEN a row r-120, and one that the bank takes back
    let rows = many("r", 150, -2);
    let before = [rows.clone(), vec![booked("goes", -1, "-9999", "FEE")]].concat();
    for amended in [false, true] {
        let sam = Sam::with(at(1, before.clone()));
        // WHEN it gets an honest twin, and changes places with another row between two pages
        let twin = booked("twin", -2, "-1120", "r 120");
        let mut after = [rows.clone(), vec![twin]].concat();
        if amended {
            after[120] = booked("r-120", -2, "-5000", "r 120");
        }
        let mut swapped = after.clone();
        swapped.swap(50, 120);
        sam.0.sandbox.on_page(SAM, 1, at(2, swapped));
        let ran = ended(sam.pass(at(2, after.clone())), 0, "synced", None);
        // THEN the second look shows both, and both stay
        assert_eq!((ran.total("added"), ran.total("removed")), (1, 1));
        assert_eq!(sam.fate("goes"), Fate::vanished());
        assert_eq!((sam.fate("r-120"), sam.fate("twin")), (Fate::live(), Fate::live()));
        assert_eq!(sam.live().len(), 151);
        ended(sam.pass(at(3, after)), 0, "unchanged", None);
        sam.0.assert_exact(0);
    }
}

#[test]
fn a_second_look_reaches_as_far_back_as_the_first_though_the_history_is_short() {
    // GIVEN a reservation that keeps the window open, and rows older than the history that is asked for
    let hold = || pending("hold", -85, "-500", "DEPOSIT");
    let rows: Vec<ScriptRow> =
        [many("r", 150, -60), vec![hold(), booked("recent", -1, "-1", "TRAM")]].concat();
    let sam = Sam::new().set("sync.history", "\"200d\"");
    sam.pass(still(1, rows.clone())).expect(0);
    let sam = sam.set("sync.history", "\"30d\"");
    // WHEN one of them changes places with another between two pages of the first look only
    let mut swapped = rows.clone();
    swapped.swap(50, 120);
    sam.0.sandbox.on_page(SAM, 1, still(2, swapped));
    let ran = ended(sam.pass(still(2, rows)), 0, "unchanged", None);
    // THEN the second look finds it
    assert_eq!(ran.total("removed"), 0);
    assert_eq!(sam.fate("r-120"), Fate::live());
}

#[test]
fn rows_that_were_given_new_ids_all_through_the_history_are_not_doubled_by_the_second_look() {
    // GIVEN rows of a year, most of them older than what an ordinary pass reads
    let year = |prefix: &str| -> Vec<ScriptRow> {
        let row = |n: i64| booked(&format!("{prefix}{n}"), -n * 7, &format!("-{}", 100 + n % 9), "SHOP");
        (0..50).map(row).collect()
    };
    let mut before = year("x");
    before.push(booked("goes", -1, "-4321", "FEE"));
    let sam = Sam::with(at(1, before));
    // WHEN the bank gives all of them new ids and takes one back, so that the account is read in full
    ended(sam.pass(at(2, year("y"))), 0, "synced", Some("ids_reissued"));
    // THEN every row is there once
    assert_eq!(sam.fate("goes"), Fate::vanished());
    assert_eq!(sam.live().len(), 50);
    assert_eq!(sam.fate("x49"), Fate::replaced("y49", "reissued"));
    sam.0.assert_exact(0);
}

#[test]
fn a_booking_of_another_shop_takes_no_reservations_place() {
    let bystanders = || {
        ["TRAM", "BAKERY", "PHARMACY", "GROCERY"].iter().enumerate().map(|(n, shop)| {
            booked(&format!("b{n}"), -9, &format!("-{}", 700 + n), &format!("CARD PAYMENT TO {shop}"))
        })
    };
    for with_bystanders in [false, true] {
        let rest: Vec<ScriptRow> = if with_bystanders { bystanders().collect() } else { Vec::new() };
        let hotel = pending("hotel", 0, "-4500", "CARD PAYMENT TO GRAND HOTEL");
        let sam = Sam::with(at(1, [rest.clone(), vec![hotel]].concat()));
        let shop = booked("shop", -4, "-4500", "CARD PAYMENT TO CITY BOOKSTORE");
        let ran = ended(sam.pass(at(2, [rest, vec![shop]].concat())), 0, "synced", None);
        assert_eq!((ran.total("added"), ran.total("removed")), (1, 1));
        assert_eq!(sam.fate("hotel"), Fate::vanished());
        assert_eq!(sam.fate("shop"), Fate::live());
    }
}

#[test]
fn a_booking_from_before_its_reservation_is_another_one() {
    for (offset, successor) in [(-4, false), (-2, false), (-1, true), (0, true), (7, true), (8, false)] {
        let sam = Sam::with(at(1, [pending("p", 0, "-4500", "GRAND HOTEL"), booked("t", -9, "-1", "TRAM")]));
        sam.pass(at(2, [booked("b", offset, "-4500", "GRAND HOTEL"), booked("t", -9, "-1", "TRAM")]))
            .expect(0);
        assert_eq!(sam.fate("p").by.is_some(), successor, "{offset}");
    }
}

#[test]
fn an_id_that_comes_booked_and_pending_in_one_walk_is_booked() {
    let (b, p) = (booked("t", -1, "-250", "COFFEE"), pending("t", 0, "-250", "COFFEE"));
    let far = many("f", 120, -3);
    let orders: [Vec<ScriptRow>; 4] = [
        vec![b.clone(), p.clone()],
        vec![p.clone(), b.clone()],
        [vec![b.clone()], far.clone(), vec![p.clone()]].concat(),
        [vec![p], far, vec![b.clone()]].concat(),
    ];
    for (n, rows) in orders.into_iter().enumerate() {
        // As a new row, and as one that is stored as booked.
        for before in [vec![], vec![b.clone()]] {
            let sam = Sam::with(at(1, before));
            sam.pass(at(2, rows.clone())).expect(0);
            let expected = format!("booked|{}", day(-1));
            assert_eq!(sam.row("t", "status, booked_date"), expected, "order {n}");
            assert_eq!(sam.fate("t"), Fate::live());
        }
    }
}

#[test]
fn rows_of_the_end_of_next_month_and_of_next_year_are_stored() {
    let rows = || {
        [
            booked("t", -1, "-1", "TRAM"),
            booked("card", 61, "-9900", "CHARGE CARD"),
            booked("order", 365, "-5000", "RENT"),
        ]
    };
    let sam = Sam::with(at(1, [booked("t", -1, "-1", "TRAM")]));
    ended(sam.pass(at(2, rows())), 0, "synced", None);
    assert_eq!(sam.live(), ["card", "order", "t"]);
    // What is served beyond what was asked for is stored too, and is not missing when it is not served again.
    let far = booked("far", -1, "-7", "X").but(|e| e["dates"]["booked"] = day(900).to_string().into());
    sam.pass(at(3, [&rows()[..], &[far]].concat())).expect(0);
    assert_eq!(sam.row("far", "booked_date"), day(900).to_string());
    sam.pass(at(4, rows())).expect(0);
    assert_eq!(sam.live(), ["card", "far", "order", "t"]);
}

/// Rows of two years in one currency.
fn account_in(n: u32, currency: &str, cents: fn(i64) -> i64) -> Script {
    let row = |(id, offset, amount): (&str, i64, i64)| {
        let amount = cents(amount).to_string();
        ScriptRow::with(id, A1, Some(day(offset)), "BOOKED", [&amount, "2", currency], "RENT")
    };
    let rows = [("old", -600, -19_558), ("older", -200, -39_117), ("new", -3, -1956)].map(row).to_vec();
    let mut script = Script::simple(A1, &refresh(n), rows);
    script.accounts[0]["balances"]["booked"]["amount"] = json!({"currencyCode": currency, "value": {"unscaledValue": cents(100_000).to_string(), "scale": "2"}});
    script
}

#[test]
fn an_account_that_changes_its_currency_is_read_in_full() {
    let sam = Sam::with(account_in(1, "BGN", |cents| cents));
    let euros = |cents: i64| cents * 100_000 / 195_583;
    ended(sam.pass(account_in(2, "EUR", euros)), 0, "synced", None);
    assert_eq!(
        sam.0.number("SELECT count(*) FROM transactions_v1 WHERE removed_at IS NULL AND currency = 'EUR'"),
        3
    );
    sam.0.assert_exact(0);
    // Once.
    sam.pass(account_in(3, "EUR", euros)).expect(0);
    assert!(sam.window().0.is_some());
}

#[test]
fn history_that_was_rewritten_is_read_in_full() {
    let rows = |text: &str| -> Vec<ScriptRow> {
        let row = |n: i64| booked(&format!("r{n}"), -n * 10, "-100", text);
        (0..30).map(row).collect()
    };
    let sam = Sam::with(at(1, rows("Shop")));
    sam.0.deep_walk_was_long_ago();
    sam.pass(at(2, rows("SHOP, CITY"))).expect(0);
    assert!(sam.window().0.is_some(), "the deep walk sees only what changed in it");
    ended(sam.pass(at(3, rows("SHOP, CITY"))), 0, "synced", None);
    assert_eq!(sam.window().0, None);
    sam.0.assert_exact(0);
    sam.pass(at(4, rows("SHOP, CITY"))).expect(0);
    assert!(sam.window().0.is_some());
}

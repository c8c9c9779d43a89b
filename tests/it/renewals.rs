//! Renewals by people and banks as they are: ids that say nothing, texts that drift, numbers that are masked,
//! reservations that go in the same moment.

use serde_json::{Value, json};
use tink_sandbox::script::{account, consent};
use tink_sandbox::{Script, ScriptRow};

use crate::scripted::{Fate, Sam, day, ended, refresh};

fn row(id: &str, account: &str, offset: i64, cents: &str, text: &str) -> ScriptRow {
    ScriptRow::booked(id, account, day(offset), cents, "2", text)
}

fn known(row: ScriptRow, provider_id: &str) -> ScriptRow {
    row.but(|element| element["identifiers"] = json!({"providerTransactionId": provider_id}))
}

/// One account with an IBAN.
fn one(n: u32, id: &str, rows: Vec<ScriptRow>) -> Script {
    cards(n, &[(id, json!({"iban": {"iban": "PL61 1090"}}))], rows)
}

/// Accounts with these identifiers under one consent.
fn cards(n: u32, accounts: &[(&str, Value)], rows: Vec<ScriptRow>) -> Script {
    let ids: Vec<&str> = accounts.iter().map(|(id, _)| *id).collect();
    let listed = accounts.iter().map(|(id, identifiers)| {
        let mut account = account(id, &refresh(n), "100000", "2", "EUR");
        account["identifiers"] = identifiers.clone();
        account
    });
    Script {
        consents: vec![consent(&format!("cred-{n}"), &ids)],
        accounts: listed.collect(),
        transactions: rows,
    }
}

fn keys(sam: &Sam) -> i64 {
    sam.0.number("SELECT count(DISTINCT account_key) FROM accounts_v1")
}

#[test]
fn a_provider_id_that_says_nothing_is_no_proof() {
    for word in ["", "NOTPROVIDED", "0"] {
        let old = |prefix: &str, account: &str| {
            vec![known(row(&format!("{prefix}1"), account, -20, "-900", "BAKERY"), word)]
        };
        let mut before = old("x", "old");
        before.push(known(row("barber", "old", -18, "-500", "Barber"), word));
        let sam = Sam::with(one(1, "old", before));
        let mut after = old("y", "new");
        after.push(known(row("cinema", "new", 0, "-500", "Cinema"), word));
        ended(sam.pass(one(2, "new", after)), 0, "synced", Some("reconsent_unmatched"));
        assert_eq!(sam.fate("barber"), Fate::live(), "{word:?}");
        assert_eq!(sam.live(), ["barber", "cinema", "y1"], "{word:?}");

        // Of one day, by another amount.
        let sam = Sam::with(one(1, "old", vec![known(row("x", "old", -3, "-500", "Barber"), word)]));
        let after = vec![known(row("y", "new", -3, "-750", "Barber"), word)];
        ended(sam.pass(one(2, "new", after)), 0, "synced", Some("reconsent_unmatched"));
        assert_eq!(sam.live(), ["x", "y"], "{word:?}");
    }
}

#[test]
fn a_provider_id_tells_only_with_equal_money_and_once_on_each_side() {
    let sam = Sam::with(one(1, "old", vec![known(row("x", "old", -3, "-500", "Barber"), "bank-1")]));
    let after = vec![known(row("y", "new", -9, "-500", "Salon"), "bank-1")];
    ended(sam.pass(one(2, "new", after)), 0, "synced", None);
    assert_eq!(sam.fate("x"), Fate::replaced("y", "reconsent:provider_id"));
    for after in [
        vec![known(row("y", "new", -3, "-750", "Salon"), "bank-1")],
        vec![
            known(row("y", "new", -9, "-500", "Salon"), "bank-1"),
            known(row("z", "new", -9, "-500", "Florist"), "bank-1"),
        ],
    ] {
        let sam = Sam::with(one(1, "old", vec![known(row("x", "old", -3, "-500", "Barber"), "bank-1")]));
        sam.pass(one(2, "new", [after, vec![row("w", "new", -30, "-1", "OLD")]].concat())).expect(0);
        assert_eq!(sam.fate("x"), Fate::live());
    }
}

/// Six rows whose texts go through `write`.
fn six(prefix: &str, account: &str, write: impl Fn(&str) -> String) -> Vec<ScriptRow> {
    let texts = ["Grand Hotel", "Coffee  Bar", "Rent\r\nJune", "Tram 9", "Book Store", "Café Ärzte"];
    let of = |(n, text): (i64, &str)| {
        row(&format!("{prefix}{n}"), account, -n, &format!("-{}", 100 + n), &write(text))
    };
    (0..).zip(texts).map(of).collect()
}

#[test]
fn texts_that_drift_at_a_renewal_double_nothing() {
    let ways: [fn(&str) -> String; 6] = [
        |text| text.to_uppercase(),
        |text| format!("  {text} "),
        |text| text.replace(' ', "   "),
        |text| text.replace("\r\n", " ").replace("  ", " "),
        |text| format!("SEPA-LASTSCHRIFT {text}"),
        |_| String::new(),
    ];
    for (n, way) in ways.into_iter().enumerate() {
        let sam = Sam::with(one(1, "old", six("x", "old", str::to_owned)));
        ended(sam.pass(one(2, "new", six("y", "new", way))), 0, "synced", None);
        assert_eq!(sam.live(), ["y0", "y1", "y2", "y3", "y4", "y5"], "{n}");
        ended(sam.pass(one(3, "new", six("y", "new", way))), 0, "unchanged", None);
    }
}

#[test]
fn day_and_amount_pair_only_where_they_are_unique() {
    let two = |prefix: &str, account: &str, texts: [&str; 2]| {
        let both = texts.iter().enumerate();
        both.map(|(n, text)| row(&format!("{prefix}{n}"), account, -2, "-500", text)).collect::<Vec<_>>()
    };
    let sam = Sam::with(one(1, "old", two("x", "old", ["Barber", "Cinema"])));
    let after = || two("y", "new", ["SALON 1", "FILM 2"]);
    ended(sam.pass(one(2, "new", after())), 0, "synced", Some("reconsent_unmatched"));
    assert_eq!(sam.live(), ["x0", "x1", "y0", "y1"]);
    // Told in every pass until it is resolved, and resolved when the bank writes as it did.
    ended(sam.pass(one(3, "new", after())), 0, "unchanged", Some("reconsent_unmatched"));
    ended(sam.again(), 0, "unchanged", Some("reconsent_unmatched"));
    sam.pass(one(4, "renewed", two("z", "renewed", ["barber", "CINEMA"]))).expect(0);
    assert_eq!((sam.fate("x0").by.as_deref(), sam.fate("x1").by.as_deref()), (Some("z0"), Some("z1")));
}

#[test]
fn a_card_known_by_its_mask_or_number_goes_on() {
    let numbers = [
        json!({"pan": {"masked": "4000 12** **** 9010"}}),
        json!({"sortCode": {"code": "102030", "accountNumber": "12345678"}}),
    ];
    for number in numbers {
        let sam = Sam::with(cards(1, &[("old", number.clone())], six("x", "old", str::to_owned)));
        let key = sam.account("old", "account_key");
        let after = cards(2, &[("new", number.clone())], six("y", "new", str::to_owned));
        ended(sam.pass(after), 0, "synced", None);
        assert_eq!((keys(&sam), sam.account("new", "account_key")), (1, key), "{number}");
        assert_eq!(sam.live().len(), 6, "{number}");
    }
}

#[test]
fn cards_that_share_a_mask_stay_and_are_told_of() {
    let mask = json!({"pan": {"masked": "**** 9010"}});
    let both = [("o1", mask.clone()), ("o2", mask.clone())];
    let sam = Sam::with(cards(1, &both, vec![row("x", "o1", -1, "-100", "TRAM")]));
    let after = |n| cards(n, &[("new", mask.clone())], vec![row("y", "new", -1, "-100", "TRAM")]);
    ended(sam.pass(after(2)), 0, "synced", Some("reconsent_ambiguous"));
    ended(sam.pass(after(3)), 0, "synced", Some("reconsent_ambiguous"));
    assert_eq!((keys(&sam), sam.live()), (3, vec!["x".to_owned(), "y".to_owned()]));
}

/// Two coffees of one day, the first of them only reserved.
fn coffees() -> Vec<ScriptRow> {
    vec![
        ScriptRow::pending("p", "a", day(-1), "-350", "2", "COFFEE"),
        row("x", "a", -1, "-350", "COFFEE"),
        row("t", "a", -2, "-100", "TRAM"),
    ]
}

#[test]
fn a_cancelled_reservation_takes_no_bookings_successor_at_a_renewal() {
    let after = |prefix: &str, account: &str| {
        vec![
            row(&format!("{prefix}1"), account, -1, "-350", "COFFEE"),
            row(&format!("{prefix}2"), account, -2, "-100", "TRAM"),
        ]
    };
    // First the reservation, then the booking, each in a pass of its own.
    let sam = Sam::with(one(1, "a", vec![coffees().remove(0), coffees().remove(2)]));
    sam.pass(one(2, "a", coffees())).expect(0);
    ended(sam.pass(one(3, "b", after("y", "b"))), 0, "synced", None);
    assert_eq!(sam.fate("x").by.as_deref(), Some("y1"));
    assert_eq!(sam.fate("p"), Fate::vanished());
    assert_eq!(sam.live(), ["y1", "y2"]);
    // Nothing is left that could lie at the next one.
    ended(sam.pass(one(4, "c", after("z", "c"))), 0, "synced", None);
    assert_eq!((sam.fate("y1").by.as_deref(), sam.fate("x").by.as_deref()), (Some("z1"), Some("y1")));
    assert_eq!(sam.live(), ["z1", "z2"]);
}

#[test]
fn a_phantom_takes_no_true_rows_successor() {
    // GIVEN a row that the bank took back while the consent was renewed, and so stays for want of a proof
    let mut before = vec![row("x", "a", -1, "-350", "COFFEE"), row("t", "a", -2, "-100", "TRAM")];
    before.push(row("ghost", "a", -1, "-350", "COFFEE"));
    let sam = Sam::with(one(1, "a", before));
    let after = |prefix: &str, account: &str| {
        vec![
            row(&format!("{prefix}1"), account, -1, "-350", "COFFEE"),
            row(&format!("{prefix}2"), account, -2, "-100", "TRAM"),
        ]
    };
    sam.pass(one(2, "b", after("y", "b"))).expect(0);
    let ghost = if sam.fate("ghost") == Fate::live() { "ghost" } else { "x" };
    assert_eq!(sam.fate(ghost), Fate::live());
    // WHEN it is renewed again, THEN those that were seen last go on, and the phantom stays what it is
    sam.pass(one(3, "c", after("z", "c"))).expect(0);
    assert_eq!(sam.fate("y1").by.as_deref(), Some("z1"));
    assert_eq!(sam.fate(ghost), Fate::live());
}

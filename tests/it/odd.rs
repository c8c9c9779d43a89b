//! One odd field loses no more than itself: bytes that are no text, members of another type, days that do not
//! exist, lists that are left out, answers packed in odd ways. Each through the built program.

use std::io::Read as _;

use flate2::Compression;
use flate2::read::GzEncoder;
use serde_json::{Value, json};
use tink_sandbox::script::{account, consent};
use tink_sandbox::{Action, Endpoint, Fault, Script, ScriptRow, Times};

use tink_sync::failpoint::{self, Side};

use crate::harness::{Ran, was_killed};
use crate::inside::DAY;
use crate::scripted::{A1, Fate, Sam, at, booked, consent_with, day, ended, millis, refresh};

/// The reasons that a run warned of.
fn warned(ran: &Ran) -> Vec<String> {
    let told = ran.stderr.lines().filter(|line| line.contains("reported once a month"));
    told.map(str::to_owned).collect()
}

fn in_quarantine(sam: &Sam) -> i64 {
    sam.0.number("SELECT count(*) FROM quarantine_v1")
}

/// A page of these records, as bytes.
fn page(records: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"{\"transactions\":[".to_vec();
    bytes.extend(records.join(&b','));
    bytes.extend(b"],\"nextPageToken\":\"\"}");
    bytes
}

/// A booked record of `a1` whose text is these bytes.
fn record(id: &str, text: &[u8]) -> Vec<u8> {
    let json = booked(id, -1, "-100", "TEXT").json;
    let (before, after) = json.split_once("\"display\":\"TEXT\"").unwrap();
    [before.as_bytes(), b"\"display\":\"", text, b"\"", after.as_bytes()].concat()
}

/// One pass in which every call to this place is answered by these bytes.
fn answered(sam: &Sam, place: Endpoint, bytes: Vec<u8>) -> Ran {
    sam.0.sandbox.fault(Fault::new(Action::Garbage(bytes)).at(place).times(Times::Forever));
    let ran = sam.again();
    sam.0.sandbox.clear_faults();
    ran
}

#[test]
fn bytes_that_are_no_text_cost_nothing_but_themselves() {
    for (bytes, stored, kind) in [
        (&b"caf\xe9 au lait"[..], "caf\u{fffd} au lait", "could not be decoded"),
        (b"a\xf0\x9f\x98", "a\u{fffd}", "could not be decoded"),
        (br"half \ud83d pair", "half \u{fffd} pair", "could not be decoded"),
        (br"nul\u0000end", "nul\u{fffd}end", "could not be decoded"),
        (b"raw\x01control\nand\ttab", "raw\u{1}control\nand\ttab", "not valid JSON"),
        (b"C:\\dir", "C:\\dir", "not valid JSON"),
    ] {
        let sam = Sam::new();
        sam.0.sandbox.script("sam", at(1, []));
        let good = booked("good", -2, "-200", "TRAM").json;
        let odd = record("odd", bytes);
        let ran = answered(&sam, Endpoint::Transactions, page(&[good.as_bytes(), &odd, &odd.replace_id()]));
        let ran = ended(ran, 0, "synced", None);
        assert_eq!((ran.total("added"), ran.total("quarantined")), (3, 0));
        assert_eq!(sam.row("odd", "description").as_str(), stored);
        assert_eq!((warned(&ran).len(), warned(&ran)[0].contains(kind)), (1, true), "{}", ran.stderr);
        assert_eq!(sam.account(A1, "complete_through"), Some(day(0).to_string()));
        let again = answered(&sam, Endpoint::Transactions, page(&[good.as_bytes(), &odd, &odd.replace_id()]));
        assert!(warned(&again.expect(0)).is_empty(), "once is enough");
    }
}

trait ReplaceId {
    fn replace_id(&self) -> Self;
}

impl ReplaceId for Vec<u8> {
    /// The same record under another id.
    fn replace_id(&self) -> Self {
        let at = self.windows(5).position(|window| window == b"\"odd\"").unwrap();
        [&self[..at], b"\"two\"", &self[at + 5..]].concat()
    }
}

#[test]
fn accounts_and_consents_with_odd_bytes_are_read() {
    let sam = Sam::new();
    let script = at(1, [booked("t", -1, "-100", "TRAM")]);
    sam.0.sandbox.script("sam", script.clone());
    let accounts = json!({"accounts": script.accounts}).to_string().replace("Account a1", "Ko\u{e4}nto");
    let latin: Vec<u8> = accounts.chars().map(|c| u8::try_from(c).unwrap()).collect();
    let ran = ended(answered(&sam, Endpoint::Accounts, latin), 0, "synced", None);
    assert_eq!((warned(&ran).len(), sam.account(A1, "name").as_deref()), (1, Some("Ko\u{fffd}nto")));
    let sam = Sam::with(script.clone());
    let mut consents = json!({"providerConsents": script.consents}).to_string().into_bytes();
    let at = consents.windows(3).position(|window| window == b"uk-").unwrap();
    consents[at] = 0xff;
    let ran = answered(&sam, Endpoint::Consents, consents).expect(0);
    let bank = "\u{fffd}k-demobank-open-banking-redirect";
    assert_eq!(sam.0.text("SELECT provider FROM consents_v1").as_deref(), Some(bank));
    assert_eq!(warned(&ran).len(), 1);
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(bytes, Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

#[test]
fn an_answer_packed_in_odd_ways_is_read() {
    let rows: Vec<String> = (0..40).map(|n| booked(&format!("t{n}"), -1, "-100", "TRAM").json).collect();
    let rows: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
    let plain = page(&rows);
    let (one, two) = plain.split_at(plain.len() / 3);
    let members = [pack(one), pack(b""), pack(two)].concat();
    let padded = [&pack(&plain)[..], &[0; 512]].concat();
    let marked = [&b"\xef\xbb\xbf"[..], &plain].concat();
    for (name, action) in [
        ("several members", Action::Gzip(members.clone())),
        ("padding behind it", Action::Gzip(padded)),
        ("packed and not announced", Action::Garbage(members)),
        ("announced and not packed", Action::Gzip(plain.clone())),
        ("a byte order mark", Action::Garbage(marked.clone())),
        ("a byte order mark inside", Action::Gzip(pack(&marked))),
    ] {
        let sam = Sam::new();
        sam.0.sandbox.script("sam", at(1, []));
        sam.0.sandbox.fault(Fault::new(action).at(Endpoint::Transactions));
        let ran = ended(sam.again(), 0, "synced", None);
        assert_eq!((ran.total("added"), ran.total("retries")), (40, 0), "{name}");
        assert!(warned(&ran).is_empty(), "{name}");
    }
    for (name, bytes) in [
        ("cut", pack(&plain)[..200].to_vec()),
        ("cut in the second", [pack(one), pack(two)[..30].to_vec()].concat()),
    ] {
        let sam = Sam::new();
        sam.0.sandbox.script("sam", at(1, [booked("t", -1, "-1", "x")]));
        sam.0.sandbox.fault(Fault::new(Action::Gzip(bytes)).at(Endpoint::Transactions));
        let ran = ended(sam.again(), 0, "synced", None);
        assert_eq!((ran.total("added"), ran.total("retries")), (1, 1), "{name} is asked for again");
    }
}

#[test]
fn a_list_that_is_left_out_concludes_nothing() {
    for empty in
        ["{}", r#"{"transactions":null,"accounts":null,"providerConsents":null,"nextPageToken":null}"#]
    {
        for place in [Endpoint::Transactions, Endpoint::Accounts, Endpoint::Consents] {
            let rows = [booked("t", -1, "-100", "TRAM"), booked("u", -2, "-200", "FEE")];
            let sam = Sam::with(at(1, rows.clone()));
            for n in 2..5 {
                sam.0.sandbox.script("sam", at(n, rows.clone()));
                let ran = answered(&sam, place, empty.into());
                assert_eq!((ran.total("removed"), ran.total("failed")), (0, 0), "{place:?} {}", ran.stdout);
            }
            assert_eq!(sam.live(), ["t", "u"], "{place:?}");
            assert_eq!(sam.account(A1, "closed_at"), None);
            assert_eq!(sam.0.number("SELECT count(*) FROM consents_v1"), 1, "{place:?}");
            // And nothing is in the way of what follows.
            ended(sam.pass(at(6, rows[..1].to_vec())), 0, "synced", None);
            assert_eq!((sam.fate("t"), sam.fate("u")), (Fate::live(), Fate::vanished()), "{place:?}");
        }
    }
}

#[test]
fn a_page_without_its_list_makes_the_walk_no_proof_of_absence() {
    let rows = || (0..150).map(|n| booked(&format!("t{n}"), -1, &format!("-{}", n + 1), "TRAM"));
    let sam = Sam::with(at(1, rows().collect::<Vec<_>>()));
    sam.0.sandbox.script("sam", at(2, rows().collect::<Vec<_>>()));
    let second =
        Fault::new(Action::Garbage(b"{\"nextPageToken\":\"\"}".to_vec())).at(Endpoint::Transactions).nth(2);
    sam.0.sandbox.fault(second);
    let ran = sam.again().expect(0);
    assert_eq!((ran.total("removed"), sam.live().len()), (0, 150));
    assert!(warned(&ran)[0].contains("without transactions"), "{}", ran.stderr);
    // It was no complete walk: the account is read again although the bank has not refreshed it since.
    sam.again().expect(0);
    assert_eq!(sam.asked("/transactions?").len(), 2);
    sam.again().expect(0);
    assert!(sam.asked("/transactions?").is_empty());
}

/// Sam's account, and another one beside it that is odd.
fn two(n: u32, odd: impl FnOnce(&mut Value)) -> Script {
    let mut script =
        at(n, [booked("t", -1, "-100", "TRAM"), ScriptRow::booked("o", "odd", day(-1), "-5", "2", "FEE")]);
    let mut other = account("odd", &refresh(n), "700", "2", "EUR");
    odd(&mut other);
    script.accounts.push(other);
    script.consents[0] = consent("cred", &[A1, "odd"]);
    script
}

#[test]
fn an_odd_member_of_an_account_costs_nothing_but_itself() {
    let money = |currency: &str, unscaled: &str| json!({"amount": {"currencyCode": currency, "value": {"unscaledValue": unscaled, "scale": "2"}}});
    let cases: [(&str, Value, &str); 13] = [
        ("/balances/booked", json!("12.50"), "balances.booked"),
        ("/balances/booked", money("", "100"), "balances.booked"),
        ("/balances/booked", money("EUR", ""), "balances.booked"),
        ("/balances/booked/amount", json!(12.5), "balances.booked"),
        ("/balances", json!([]), "balances"),
        ("/identifiers/iban", json!("PL61109010140000071219812874"), "identifiers.iban"),
        ("/identifiers", json!(""), "identifiers"),
        ("/identifiers", json!([{"iban": "PL61"}]), "identifiers"),
        ("/identifiers/pan", json!("4000"), "identifiers.pan"),
        ("/dates", json!(""), "dates"),
        ("/dates/lastRefreshed", json!("yesterday"), "dates.lastRefreshed"),
        ("/name", json!({}), "name"),
        ("/type", json!(["CHECKING"]), "type"),
    ];
    for (pointer, value, kind) in cases {
        let odd = |element: &mut Value| match element.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => element["identifiers"]["pan"] = value.clone(),
        };
        let sam = Sam::new();
        let ran = ended(sam.pass(two(1, odd)), 0, "synced", None);
        assert_eq!(sam.live(), ["o", "t"], "{pointer}");
        assert_eq!(sam.0.number("SELECT count(*) FROM accounts_v1"), 2);
        assert_eq!((warned(&ran).len(), warned(&ran)[0].contains(kind)), (1, true), "{}", ran.stderr);
        assert!(!ran.stderr.contains("PL61") && !ran.stderr.contains("12.5"), "{}", ran.stderr);
        if kind.starts_with("balances") {
            assert_eq!(
                (sam.account("odd", "booked_balance"), sam.account(A1, "booked_balance")),
                (None, Some("998.95".to_owned()))
            );
        }
        assert!(warned(&sam.pass(two(2, odd)).expect(0)).is_empty(), "{pointer}: once is enough");
    }
}

#[test]
fn an_account_whose_id_cannot_be_read_closes_none_and_keeps_no_other_from_being_read() {
    let whole = |_: &mut Value| {};
    for lost in [json!(null), json!(""), json!(7), json!({}), json!("a\u{0}")] {
        let nameless = |element: &mut Value| element["id"] = lost.clone();
        let sam = Sam::with(two(1, whole));
        for n in 2..5 {
            let mut script = two(n, nameless);
            script.consents[0] = consent("cred", &[A1]);
            script.transactions.extend((2..=n).map(|n| booked(&format!("new{n}"), 0, "-300", "BREAD")));
            let ran = ended(sam.pass(script), 0, "synced", None);
            assert_eq!(
                (ran.total("accounts"), warned(&ran).len()),
                (1, usize::from(n == 2)),
                "{}",
                ran.stderr
            );
        }
        assert_eq!((sam.account("odd", "closed_at"), sam.live().len()), (None, 5), "{lost}");
        // A new id that comes with it may be the missing one's.
        let mut script = two(6, nameless);
        script.transactions.extend((2..5).map(|n| booked(&format!("new{n}"), 0, "-300", "BREAD")));
        script.accounts.push(account("odd2", &refresh(6), "700", "2", "EUR"));
        script.accounts[2]["identifiers"] = json!({"iban": {"iban": "XX00odd"}});
        sam.pass(script).expect(0);
        assert_eq!(sam.0.number("SELECT count(*) FROM accounts_v1"), 2, "{lost}");
    }
    // If it is the only one, nothing was read.
    let sam = Sam::with(at(1, [booked("t", -1, "-100", "TRAM")]));
    let mut script = at(2, []);
    script.accounts[0]["id"] = json!(5);
    ended(sam.pass(script), 10, "failed", Some("malformed"));
    assert_eq!(sam.live(), ["t"]);
}

#[test]
fn an_odd_member_of_a_row_is_null_and_told_once_for_each_account() {
    let cases: [(&str, Value); 12] = [
        ("merchantInformation", json!([])),
        ("merchantInformation", json!(["x", "y"])),
        ("categories", json!("FOOD")),
        ("identifiers", json!("")),
        ("descriptions", json!("TRAM")),
        ("descriptions", json!([{"original": "TRAM"}])),
        ("dates", json!("")),
        ("dates", json!({"booked": "yesterday"})),
        ("counterparties", json!([{"name": "x"}])),
        ("types", json!(5)),
        ("reference", json!({"value": "x"})),
        ("providerMutability", json!(true)),
    ];
    for (member, value) in cases {
        let odd = |id: &str| booked(id, -1, "-100", "TRAM").but(|element| element[member] = value.clone());
        let sam = Sam::new();
        let rows = || [booked("good", -2, "-200", "FEE"), odd("one"), odd("two")];
        let ran = ended(sam.pass(at(1, rows())), 0, "synced", None);
        assert_eq!(
            (ran.total("added"), ran.total("quarantined"), in_quarantine(&sam)),
            (3, 0, 0),
            "{member}"
        );
        assert_eq!((warned(&ran).len(), warned(&ran)[0].contains(member)), (1, true), "{}", ran.stderr);
        assert_eq!(sam.row("one", "amount, currency, status"), "-1|EUR|booked");
        let again = ended(sam.pass(at(2, rows())), 0, "unchanged", None);
        assert!(warned(&again).is_empty(), "{member}: once is enough");
        // A month later it is told again.
        sam.0.age_odd_fields(31 * DAY);
        assert_eq!(warned(&sam.pass(at(3, rows())).expect(0)).len(), 1);
    }
}

#[test]
fn of_more_odd_answers_than_one_run_reports_the_next_runs_report_the_rest() {
    let sam = Sam::new();
    let script = |n: u32| {
        let mut script = at(n, []);
        let account = script.accounts.remove(0);
        for number in 0..60 {
            let id = format!("a-{number:02}");
            let mut account = account.clone();
            account["id"] = json!(id);
            script.accounts.push(account);
            let row = ScriptRow::booked(&format!("t-{number}"), &id, day(-1), "-100", "2", "TRAM");
            script.transactions.push(row.but(|element| element["categories"] = json!("FOOD")));
        }
        script
    };
    let told: Vec<usize> = (1..=3).map(|n| warned(&sam.pass(script(n)).expect(0)).len()).collect();
    assert_eq!(told, [50, 10, 0]);
}

#[test]
fn each_kind_is_told_once_and_a_rehearsal_tells_what_the_run_will() {
    let odd = |id: &str| {
        booked(id, -1, "-100", "TRAM").but(|element| {
            element["categories"] = json!("FOOD");
            element["identifiers"] = json!([]);
        })
    };
    let sam = Sam::new();
    sam.0.sandbox.script("sam", at(1, [odd("one"), odd("two")]));
    assert_eq!(warned(&sam.0.run(&["--dry-run"]).expect(0)).len(), 2);
    assert_eq!(warned(&sam.again().expect(0)).len(), 2);
    assert!(warned(&sam.0.run(&["--dry-run"]).expect(0)).is_empty());
}

#[test]
fn an_odd_id_account_amount_or_status_sends_the_record_to_quarantine() {
    for (member, value) in [
        ("id", json!(7)),
        ("id", json!("a\u{0}b")),
        ("accountId", json!({})),
        ("accountId", json!("another")),
        ("amount", json!("1.00")),
        ("amount", json!({"currencyCode": "", "value": {"unscaledValue": "1", "scale": "2"}})),
        ("status", json!(5)),
        ("status", json!({})),
    ] {
        let odd = booked("odd", -1, "-100", "TRAM").but(|element| element[member] = value.clone());
        let sam = Sam::new();
        let ran = ended(sam.pass(at(1, [booked("good", -2, "-200", "FEE"), odd])), 0, "synced", None);
        assert_eq!((ran.total("added"), in_quarantine(&sam)), (1, 1), "{member} {value}");
        let state = "SELECT state || ' ' || reason || ' ' || quarantined FROM balance_proofs_v1";
        assert_eq!(sam.0.text(state).as_deref(), Some("unprovable quarantine 1"), "{member} {value}");
    }
}

#[test]
fn a_day_that_does_not_exist_is_the_last_of_its_month() {
    let row = |id: &str, booked: &str, value: &str| {
        ScriptRow::booked(id, A1, day(-1), "-100", "2", "RENT").but(|element| {
            element["dates"] = json!({"booked": booked, "value": value, "transaction": value});
        })
    };
    let sam = Sam::new();
    let rows = [
        row("thirty", "2026-02-30", "2026-04-31"),
        row("leap", "2024-02-30", "2023-02-29"),
        row("none", "2026-13-01", "2026-01-32"),
        row("zero", "0000-00-00", "2026-05-00"),
    ];
    let ran = ended(sam.pass(at(1, rows)), 0, "synced", None);
    assert_eq!((ran.total("added"), in_quarantine(&sam)), (4, 0));
    let dates = "booked_date, value_date, transaction_date";
    assert_eq!(sam.row("thirty", dates), "2026-02-28|2026-04-30|2026-04-30");
    assert_eq!(sam.row("leap", dates), "2024-02-29|2023-02-28|2023-02-28");
    assert_eq!((sam.row("none", dates), sam.row("zero", dates)), (String::new(), String::new()));
    assert_eq!(warned(&ran).len(), 3, "of the three fields that hold no date");
}

#[test]
fn an_odd_member_of_a_consent_costs_nothing_but_itself() {
    for (field, value) in [
        ("statusUpdated", json!("soon")),
        ("sessionExpiryDate", json!({})),
        ("providerName", json!([])),
        ("accountIds", json!("a1")),
        ("detailedError", json!("text")),
        ("sessionExtendable", json!("yes")),
    ] {
        let sam = Sam::new();
        let script = consent_with(at(1, [booked("t", -1, "-100", "TRAM")]), field, value);
        let ran = ended(sam.pass(script), 0, "synced", None);
        assert_eq!((sam.live().len(), warned(&ran).len()), (1, 1), "{field}: {}", ran.stderr);
        assert!(warned(&ran)[0].contains(field), "{}", ran.stderr);
    }
}

#[test]
fn a_consent_that_cannot_be_read_is_left_out_and_the_others_are_used() {
    let script = |n: u32, odd: Value| {
        let mut script = two(n, |_| {});
        script.consents = vec![consent("cred-a1", &[A1]), consent("cred-odd", &["odd"])];
        script.consents[0]["sessionExpiryDate"] = millis(90).into();
        script.consents[1]["status"] = odd;
        script
    };
    let sam = Sam::with(script(1, json!("UPDATED")));
    for n in 2..5 {
        let mut script = script(n, json!({}));
        script.transactions.retain(|row| row.id != "o");
        let ran = sam.pass(script).expect(0);
        assert_eq!((ran.total("removed"), warned(&ran).len()), (0, usize::from(n == 2)), "{}", ran.stderr);
    }
    assert_eq!(sam.0.number("SELECT count(*) FROM consents_v1"), 2);
    assert_eq!(sam.live(), ["o", "t"]);
}

#[test]
fn a_death_while_an_anomaly_is_noted_tells_it_once_more_at_most() {
    for side in Side::BOTH {
        let sam = Sam::new();
        let odd = booked("odd", -1, "-100", "TRAM").but(|element| element["categories"] = json!("FOOD"));
        sam.0.sandbox.script("sam", at(1, [odd]));
        let mut pass = sam.0.pass(&[]);
        pass.env(failpoint::VARIABLE, format!("record anomalies:{}", side.as_str()));
        assert!(was_killed(pass.output().unwrap().status));
        let told = usize::from(side == Side::Before);
        assert_eq!(sam.0.odd_fields(), i64::from(side == Side::After));
        // Its row is there, so the account is not walked again: the next refresh tells.
        let odd = booked("odd", -1, "-100", "TRAM").but(|element| element["categories"] = json!("FOOD"));
        assert_eq!(warned(&sam.pass(at(2, [odd])).expect(0)).len(), told);
        assert_eq!(sam.live(), ["odd"]);
    }
}

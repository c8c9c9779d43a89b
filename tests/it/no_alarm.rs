//! Balances that are no alarm: debts stated as positive numbers, cards that always show nothing, bookings of the
//! future. And accounts that do not answer, which are no reason to leave the others unread.

use tink_sandbox::script::{account, consent};
use tink_sandbox::{Action, Endpoint, Fault, Script, ScriptRow};

use crate::scripted::{SAM, Sam, at, booked, day, ended, holding, many, refresh};

/// State, reason and difference of Sam's account.
fn judged(sam: &Sam) -> String {
    sam.0.text("SELECT concat_ws('|', state, reason, difference) FROM balance_proofs_v1").unwrap()
}

#[test]
fn a_debt_that_is_stated_as_a_positive_number_is_recognised() {
    let card = |n: u32, rows: u32| {
        let debt: i64 = (0..rows).map(|row| 1000 + i64::from(row)).sum();
        let mut script = holding(at(n, many("r", rows, -2)), 5_000 + debt);
        script.accounts[0]["type"] = "CREDIT_CARD".into();
        script
    };
    let sam = Sam::with(card(1, 3));
    for n in 2..6 {
        sam.pass(card(n, n + 2)).expect(0);
        assert_eq!(judged(&sam), "proven", "refresh {n}");
    }
    // Kept: what does not add up by it is a difference.
    sam.pass(holding(card(6, 8), 1)).expect(0);
    assert!(judged(&sam).starts_with("differs"), "{}", judged(&sam));
}

#[test]
fn a_balance_that_never_moves_proves_nothing_and_accuses_nobody() {
    let sam = Sam::with(holding(at(1, many("r", 3, -2)), 0));
    for n in 2..6 {
        sam.pass(holding(at(n, many("r", n + 2, -2)), 0)).expect(0);
        assert_eq!(judged(&sam), "unprovable|balance_still", "refresh {n}");
    }
}

#[test]
fn a_booked_row_of_the_future_does_not_count_yet() {
    let with = |n: u32, cents: i64| {
        let rows = [many("r", 3, -2), vec![booked("rent", 5, "-90000", "RENT")]].concat();
        holding(at(n, rows), cents)
    };
    let sam = Sam::with(holding(at(1, many("r", 3, -2)), 100_000));
    sam.pass(with(2, 100_000)).expect(0);
    assert_eq!(judged(&sam), "proven");
    // Some banks count it at once.
    let sam = Sam::with(holding(at(1, many("r", 3, -2)), 100_000));
    sam.pass(with(2, 10_000)).expect(0);
    assert_eq!(judged(&sam), "proven");
}

/// Twelve accounts with one row more at each refresh.
fn dozen(n: u32) -> Script {
    let ids: Vec<String> = (0..12).map(|account| format!("a{account:02}")).collect();
    let rows = ids.iter().flat_map(|id| {
        (0..n).map(move |row| ScriptRow::booked(&format!("{id}-{row}"), id, day(-2), "-100", "2", "TRAM"))
    });
    Script {
        consents: vec![consent("cred", &ids.iter().map(String::as_str).collect::<Vec<_>>())],
        accounts: ids.iter().map(|id| account(id, &refresh(n), "100000", "2", "EUR")).collect(),
        transactions: rows.collect(),
    }
}

#[test]
fn accounts_that_never_answer_leave_the_others_their_time() {
    let sam = Sam::new().set("sync.connection_timeout", "\"20s\"").set("retry.attempts", "1");
    let hang = |nth: u32| Fault::new(Action::Hang).at(Endpoint::Transactions).nth(nth);
    let rows = |per_account: i64| {
        sam.0.number(&format!(
            "SELECT count(*) FROM (SELECT 1 FROM transactions_v1 WHERE removed_at IS NULL
                                   GROUP BY account_id HAVING count(*) >= {per_account})"
        ))
    };
    // Three of twelve, wherever they are in the list.
    for nth in [1, 5, 9] {
        sam.0.sandbox.fault(hang(nth));
    }
    let ran = ended(sam.pass(dozen(1)), 10, "partial", Some("timeout"));
    assert_eq!((ran.total("accounts"), rows(1)), (12, 9), "nine are complete after the first pass");
    // What hung comes last, what was completed longest ago first.
    let silent = |sam: &Sam| {
        let listed = sam
            .0
            .texts("SELECT account_id FROM accounts_v1 WHERE complete_through IS NULL AND ?1 <> ''", "x");
        listed.into_iter().map(|mut row| row.remove(0).unwrap()).collect::<Vec<_>>()
    };
    let left = silent(&sam);
    for nth in [10, 11, 12] {
        sam.0.sandbox.fault(hang(nth));
    }
    ended(sam.pass(dozen(2)), 10, "partial", Some("timeout"));
    let walked: Vec<String> = sam.asked("/transactions?");
    assert_eq!(rows(2), 9);
    assert!(walked.iter().take(9).all(|target| !left.iter().any(|id| target.contains(id))), "{walked:?}");
    // They answer again: all is well, and nobody was held back for a day.
    sam.0.sandbox.clear_faults();
    sam.0.sandbox.script(SAM, dozen(3));
    ended(sam.again(), 0, "synced", None);
    assert_eq!(rows(3), 12);
}

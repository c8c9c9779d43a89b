//! One account under several links at once: two as long as both are well, one as soon as only one is, whichever came
//! first, and never the user's trouble where a healthy consent serves it.

use tink_sandbox::script::{account, consent};
use tink_sandbox::{Script, ScriptRow};

use crate::scripted::{Fate, SAM, Sam, booked, consent_with, day, ended, millis, refresh};

/// How a consent is shown.
#[derive(Clone, Copy, PartialEq)]
enum Link {
    Well,
    /// Ended, its account still in the list.
    Ended,
    /// Ended, its account only named.
    Named,
    Absent,
}

/// Three rows under ids that begin with `prefix`.
fn three(prefix: &str, account: &str) -> Vec<ScriptRow> {
    let rows = [(-3, "-100", "TRAM"), (-2, "-250", "COFFEE"), (-1, "-250", "COFFEE")];
    let row = |(n, (offset, cents, text)): (usize, &(i64, &str, &str))| {
        ScriptRow::booked(&format!("{prefix}{n}"), account, day(*offset), cents, "2", text)
    };
    rows.iter().enumerate().map(row).collect()
}

/// The account under the links `a` and `b`, in this order; each shows three rows, the well one one more if `more`.
fn bank(n: u32, links: [(&str, Link); 2], more: bool) -> Script {
    let mut script = Script::default();
    for (id, link) in links {
        if link == Link::Absent {
            continue;
        }
        let mut named = consent(&format!("cred-{id}"), &[id]);
        if link != Link::Well {
            named["status"] = "SESSION_EXPIRED".into();
        }
        script.consents.push(named);
        if link == Link::Named {
            continue;
        }
        let time = if link == Link::Well { n } else { 1 };
        let mut listed = account(id, &refresh(time), "100000", "2", "EUR");
        listed["identifiers"]["iban"]["iban"] = "DE89 3704".into();
        script.accounts.push(listed);
        script.transactions.extend(three(id, id));
        if more && link == Link::Well {
            let row = ScriptRow::booked(&format!("{id}-new"), id, day(0), "-777", "2", "BOOKS");
            script.transactions.push(row);
        }
    }
    script
}

fn keys(sam: &Sam) -> Vec<Option<String>> {
    let sql = "SELECT CAST(account_key AS TEXT) FROM accounts_v1 WHERE connection_id = ?1 AND closed_at IS NULL ORDER BY 1";
    sam.0.texts(sql, "c-0").into_iter().map(|mut row| row.remove(0)).collect()
}

/// Ids of the live rows of one link and no other.
fn assert_one(sam: &Sam, id: &str, key: Option<&String>) {
    assert_eq!(sam.live(), [format!("{id}-new"), format!("{id}0"), format!("{id}1"), format!("{id}2")]);
    assert_eq!(keys(sam), [key.cloned()], "it goes on under the older key");
    assert_eq!(sam.account(id, "CAST(account_key AS TEXT)").as_ref(), key);
}

#[test]
fn an_account_by_two_links_is_one_again_in_whatever_order_they_come_and_go() {
    use Link::{Absent, Ended, Named, Well};
    for goes in [Absent, Ended, Named] {
        for old_stays in [false, true] {
            for swapped in [false, true] {
                let order = |links: [(&'static str, Link); 2]| {
                    let [a, b] = links;
                    if swapped { [b, a] } else { [a, b] }
                };
                let sam = Sam::with(bank(1, order([("a", Well), ("b", Absent)]), false));
                let key = sam.account("a", "CAST(account_key AS TEXT)");
                let both = bank(2, order([("a", Well), ("b", Well)]), false);
                ended(sam.pass(both), 0, "synced", Some("reconsent_ambiguous"));
                assert_eq!((keys(&sam).len(), sam.live().len()), (2, 6));
                let (left, links) = if old_stays {
                    ("a", [("a", Well), ("b", goes)])
                } else {
                    ("b", [("a", goes), ("b", Well)])
                };
                ended(sam.pass(bank(3, order(links), true)), 0, "synced", None);
                assert_one(&sam, left, key.as_ref());
                // And for ever, although the dead consent is never deleted.
                ended(sam.pass(bank(4, order(links), true)), 0, "unchanged", None);
                ended(sam.again(), 0, "unchanged", None);
                assert_one(&sam, left, key.as_ref());
            }
        }
    }
}

#[test]
fn new_row_ids_in_the_moment_of_joining_double_nothing() {
    use Link::{Absent, Well};
    let sam = Sam::with(bank(1, [("a", Well), ("b", Absent)], false));
    sam.pass(bank(2, [("a", Well), ("b", Well)], false)).expect(0);
    let mut script = bank(3, [("a", Absent), ("b", Well)], false);
    script.transactions = three("c", "b");
    ended(sam.pass(script), 0, "synced", Some("ids_reissued"));
    assert_eq!(sam.live(), ["c0", "c1", "c2"]);
    // The row that was moved to the account that stays, and its counterpart under the new id.
    let moved = "SELECT count(*) FROM transactions_v1 WHERE transaction_id = 'b0' AND replaced_by = 'c0'";
    assert_eq!((sam.0.number(moved), sam.row("c0", "account_id")), (1, "b".to_owned()));
}

#[test]
fn a_row_that_was_booked_where_the_other_link_still_reserves_it_is_one_row() {
    use Link::{Absent, Well};
    let reserved = |id: &str| ScriptRow::pending(&format!("{id}-hotel"), id, day(0), "-4500", "2", "HOTEL");
    let settled = |id: &str| ScriptRow::booked(&format!("{id}-hotel"), id, day(0), "-4500", "2", "HOTEL");
    let with = |mut script: Script, rows: &[ScriptRow]| {
        script.transactions.extend(rows.iter().cloned());
        script
    };
    let sam = Sam::with(with(bank(1, [("a", Well), ("b", Absent)], false), &[reserved("a")]));
    let both = bank(2, [("a", Well), ("b", Well)], false);
    sam.pass(with(both, &[settled("a"), reserved("b")])).expect(0);
    let left = with(bank(3, [("a", Absent), ("b", Well)], false), &[settled("b")]);
    ended(sam.pass(left), 0, "synced", None);
    assert_eq!(sam.live(), ["b-hotel", "b0", "b1", "b2"]);
}

#[test]
fn three_links_of_one_account_are_one_when_two_are_gone() {
    use Link::{Absent, Well};
    let three_links = |n: u32, gone: bool| {
        let mut script = bank(n, [("a", Well), ("b", Well)], gone);
        let third = bank(n, [("c", Well), ("d", Absent)], gone);
        if gone {
            return third;
        }
        script.consents.extend(third.consents);
        script.accounts.extend(third.accounts);
        script.transactions.extend(third.transactions);
        script
    };
    let sam = Sam::with(three_links(1, false));
    let key = sam.account("a", "CAST(account_key AS TEXT)");
    ended(sam.pass(three_links(2, false)), 0, "unchanged", Some("reconsent_ambiguous"));
    assert_eq!(sam.live().len(), 9);
    ended(sam.pass(three_links(3, true)), 0, "synced", None);
    assert_one(&sam, "c", key.as_ref());
    ended(sam.pass(three_links(4, true)), 0, "unchanged", None);
}

#[test]
fn a_link_that_comes_and_goes_after_a_renewal_doubles_nothing() {
    use Link::{Absent, Well};
    for stays in ["b", "c"] {
        let sam = Sam::with(bank(1, [("a", Well), ("b", Absent)], false));
        let key = sam.account("a", "CAST(account_key AS TEXT)");
        ended(sam.pass(bank(2, [("a", Absent), ("b", Well)], false)), 0, "synced", None);
        assert_eq!(sam.live(), ["b0", "b1", "b2"], "each is a successor already");
        sam.pass(bank(3, [("b", Well), ("c", Well)], false)).expect(0);
        assert_eq!(sam.live().len(), 6);
        let left = |id| if id == stays { Well } else { Absent };
        ended(sam.pass(bank(4, [("b", left("b")), ("c", left("c"))], true)), 0, "synced", None);
        assert_one(&sam, stays, key.as_ref());
        ended(sam.pass(bank(5, [("b", left("b")), ("c", left("c"))], true)), 0, "unchanged", None);
    }
}

#[test]
fn a_reservation_booked_before_a_second_link_came_and_went_is_one_row() {
    use Link::{Absent, Well};
    let with = |mut script: Script, rows: &[ScriptRow]| {
        script.transactions.extend(rows.iter().cloned());
        script
    };
    let reserved = ScriptRow::pending("a-hold", "a", day(0), "-4500", "2", "HOTEL");
    let settled = |id: &str| ScriptRow::booked(&format!("{id}-hotel"), id, day(-1), "-4500", "2", "HOTEL");
    let sam = Sam::with(with(bank(1, [("a", Well), ("b", Absent)], false), &[reserved]));
    sam.pass(with(bank(2, [("a", Well), ("b", Absent)], false), &[settled("a")])).expect(0);
    assert_eq!(sam.fate("a-hold").by.as_deref(), Some("a-hotel"));
    let both = bank(3, [("a", Well), ("b", Well)], false);
    sam.pass(with(both, &[settled("a"), settled("b")])).expect(0);
    let left = with(bank(4, [("a", Well), ("b", Absent)], false), &[settled("a")]);
    ended(sam.pass(left), 0, "synced", None);
    assert_eq!(sam.live(), ["a-hotel", "a0", "a1", "a2"]);
}

#[test]
fn what_one_link_left_open_gets_no_counterpart_that_another_of_its_rows_has() {
    use Link::{Absent, Well};
    let with = |mut script: Script, more: &[(&str, &str)]| {
        let row =
            |(id, account): &(&str, &str)| ScriptRow::booked(id, account, day(-2), "-250", "2", "COFFEE");
        script.transactions.extend(more.iter().map(row));
        script
    };
    let sam = Sam::with(bank(1, [("a", Well), ("b", Absent)], false));
    sam.pass(with(bank(2, [("a", Well), ("b", Well)], false), &[("b-third", "b")])).expect(0);
    let left = bank(3, [("a", Well), ("b", Absent)], false);
    ended(sam.pass(left), 0, "synced", Some("reconsent_unmatched"));
    assert_eq!(sam.live().len(), 4);
    // A third link that shows one row comes and goes; one row of the second still has no counterpart.
    let mut both = bank(4, [("a", Well), ("c", Well)], false);
    both.transactions.retain(|row| !matches!(row.id.as_str(), "c1" | "c2"));
    sam.pass(both).expect(0);
    ended(sam.pass(bank(5, [("a", Well), ("c", Absent)], false)), 0, "synced", Some("reconsent_unmatched"));
    assert_eq!(sam.live().len(), 4, "{:?}", sam.live());
}

#[test]
fn a_row_that_a_merge_leaves_over_is_a_difference_of_the_balance() {
    use Link::{Absent, Well};
    let proof = |sam: &Sam| sam.0.text("SELECT state FROM balance_proofs_v1 WHERE account_id = 'a'").unwrap();
    // The balance has moved with the rows once.
    let moved = |n, links, more| {
        let mut script = bank(n, links, more);
        script.transactions.retain(|row| row.id != "b-new");
        for listed in &mut script.accounts {
            listed["balances"]["booked"]["amount"]["value"]["unscaledValue"] = "99223".into();
        }
        script
    };
    for over in [false, true] {
        let sam = Sam::with(bank(1, [("a", Well), ("b", Absent)], false));
        sam.pass(moved(2, [("a", Well), ("b", Absent)], true)).expect(0);
        assert_eq!(proof(&sam), "proven");
        let mut both = moved(3, [("a", Well), ("b", Well)], true);
        if over {
            both.transactions.push(ScriptRow::booked("b-fee", "b", day(-2), "-1", "2", "FEE"));
        }
        sam.pass(both).expect(0);
        let left = over.then_some("reconsent_unmatched");
        ended(sam.pass(moved(4, [("a", Well), ("b", Absent)], true)), 0, "synced", left);
        assert_eq!(proof(&sam), if over { "differs" } else { "proven" });
    }
}

#[test]
fn an_ended_link_beside_a_new_one_needs_no_user() {
    use Link::{Absent, Ended, Named, Well};
    for goes in [Ended, Named] {
        let sam = Sam::with(bank(1, [("a", Well), ("b", Absent)], false));
        let key = sam.account("a", "CAST(account_key AS TEXT)");
        ended(sam.pass(bank(2, [("a", goes), ("b", Well)], true)), 0, "synced", None);
        assert_one(&sam, "b", key.as_ref());
        assert_eq!(sam.0.text("SELECT state FROM connections_v1").as_deref(), Some("ok"));
    }
}

#[test]
fn a_reader_sees_every_row_that_goes_on_under_the_other_key() {
    use Link::{Absent, Well};
    let sam = Sam::with(bank(1, [("a", Well), ("b", Absent)], false));
    sam.pass(bank(2, [("a", Well), ("b", Well)], false)).expect(0);
    let seen = sam.0.number("SELECT max(change_seq) FROM transactions_v1");
    sam.pass(bank(3, [("a", Absent), ("b", Well)], true)).expect(0);
    let unseen = format!(
        "SELECT count(*) FROM transactions_v1 WHERE change_seq <= {seen}
           AND (removed_at IS NOT NULL OR transaction_id LIKE 'b%')"
    );
    assert_eq!(sam.0.number(&unseen), 0, "each row that went, moved or came has a new number");
}

#[test]
fn a_store_that_was_written_doubled_is_healed() {
    use Link::{Absent, Well};
    let sam = Sam::with(bank(1, [("a", Well), ("b", Absent)], false));
    let key = sam.account("a", "CAST(account_key AS TEXT)");
    sam.pass(bank(2, [("a", Well), ("b", Well)], false)).expect(0);
    // As earlier releases left it: the old one closed since long, its rows live beside the new one's.
    sam.0.close_account("a");
    ended(sam.pass(bank(3, [("a", Absent), ("b", Well)], true)), 0, "synced", None);
    assert_one(&sam, "b", key.as_ref());
}

#[test]
fn accounts_of_one_number_under_one_consent_are_never_joined() {
    use Link::Well;
    let together = |n: u32, gone: bool| {
        let mut script = bank(n, [("a", Well), ("b", Well)], false);
        script.consents = vec![consent("cred", if gone { &["a"] } else { &["a", "b"] })];
        if gone {
            script.accounts.remove(1);
        }
        script
    };
    let sam = Sam::with(together(1, false));
    for n in 2..6 {
        sam.pass(together(n, true)).expect(0);
    }
    assert_eq!(sam.live().len(), 6);
}

/// Sam's account by an expired and a healthy consent.
fn shared(n: u32, rows: Vec<ScriptRow>, spoil: impl Fn(Script) -> Script) -> Script {
    let mut script = spoil(crate::scripted::at(n, rows));
    script.consents.push(consent("second", &["a1"]));
    script
}

#[test]
fn one_healthy_consent_makes_the_account_healthy() {
    let ways: [fn(Script) -> Script; 4] = [
        |script| consent_with(script, "sessionExpiryDate", millis(-3)),
        |script| consent_with(script, "status", "SESSION_EXPIRED"),
        |script| consent_with(script, "status", "AUTHENTICATION_ERROR"),
        |script| consent_with(script, "status", "DELETED"),
    ];
    for (n, way) in ways.into_iter().enumerate() {
        let both = vec![booked("stays", -1, "-100", "TRAM"), booked("goes", -2, "-200", "FEE")];
        let sam = Sam::with(shared(1, both.clone(), way));
        let ran = ended(sam.pass(shared(2, both[..1].to_vec(), way)), 0, "synced", None);
        assert_eq!(sam.fate("goes"), Fate::vanished(), "{n}");
        assert_eq!(sam.account("a1", "complete_through"), Some(day(0).to_string()), "{n}");
        assert!(!ran.stderr.contains("consent"), "no warning of a superseded consent: {}", ran.stderr);
        ended(sam.pass(shared(3, both[..1].to_vec(), way)), 0, "unchanged", None);
        assert_eq!(sam.0.text("SELECT state FROM connections_v1").as_deref(), Some("ok"), "{n}");
        for args in [&["status"][..], &["status", "--format", "prometheus"]] {
            let said = sam.0.cli(args).expect(0).stdout;
            assert!(!said.contains("expired") && !said.contains("within=\"1d\"} 1"), "{n}: {said}");
        }
        // What only the ended consent has is still the user's trouble.
        let mut alone = shared(4, both[..1].to_vec(), way);
        alone.consents[0]["accountIds"] = serde_json::json!(["a1", "a2"]);
        sam.0.sandbox.script(SAM, alone);
        let code = if n == 0 { 0 } else { 11 };
        sam.again().expect(code);
    }
}

#[test]
fn a_card_that_was_taken_for_its_account_and_the_account_are_both_read() {
    // GIVEN a list that shows only the account at first, and only its card, of the same IBAN, next
    let listed = |id: &str, n: u32| {
        let mut listed = account(id, &refresh(n), "100000", "2", "EUR");
        listed["identifiers"]["iban"]["iban"] = "DE89 3704".into();
        listed["type"] = if id == "a" { "CHECKING" } else { "CREDIT_CARD" }.into();
        listed
    };
    let bank = |n: u32, ids: &[&str], more: &[&str]| {
        let row = |id: &&str| ScriptRow::booked(&format!("{id}-new"), id, day(0), "-777", "2", "BOOKS");
        Script {
            consents: vec![consent("cred", ids)],
            accounts: ids.iter().map(|id| listed(id, n)).collect(),
            transactions: ids.iter().flat_map(|id| three(id, id)).chain(more.iter().map(row)).collect(),
        }
    };
    let sam = Sam::with(bank(1, &["a"], &[]));
    sam.pass(bank(2, &["c"], &[])).expect(0);
    // WHEN both are there, THEN new rows of either are stored
    sam.pass(bank(3, &["a", "c"], &["a", "c"])).expect(0);
    assert_eq!(keys(&sam).len(), 2);
    let live = sam.live();
    assert_eq!(live, ["a-new", "a0", "a1", "a2", "c-new", "c0", "c1", "c2"], "each row once");
    sam.pass(bank(4, &["a", "c"], &["a", "c"])).expect(0);
    assert_eq!((keys(&sam).len(), sam.live()), (2, live));
}

#[test]
fn rows_of_an_account_that_was_taken_for_another_go_with_it_when_it_is_one_of_its_own() {
    // GIVEN a card of the account's IBAN that is taken for it, and has none of its rows
    let listed = |id: &str, n: u32| {
        let mut listed = account(id, &refresh(n), "100000", "2", "EUR");
        listed["identifiers"]["iban"]["iban"] = "DE89 3704".into();
        listed["type"] = if id == "a" { "CHECKING" } else { "CREDIT_CARD" }.into();
        listed
    };
    let own = |id: &'static str, offset: i64, count: i64| {
        let row = move |n: i64| {
            ScriptRow::booked(
                &format!("{id}{n}"),
                id,
                day(-n),
                &(offset - n).to_string(),
                "2",
                &format!("{id} {n}"),
            )
        };
        (0..count).map(row)
    };
    let bank = |n: u32, ids: &[&str], of_a: i64| Script {
        consents: vec![consent("cred", ids)],
        accounts: ids.iter().map(|id| listed(id, n)).collect(),
        transactions: own("a", -100, of_a).chain(own("c", -500, 4)).collect(),
    };
    let of = |key: &str| {
        format!("SELECT count(*) FROM transactions_v1 WHERE removed_at IS NULL AND account_key = {key}")
    };
    let sam = Sam::with(bank(1, &["a"], 6));
    sam.pass(bank(2, &["c"], 6));
    assert_eq!((sam.live().len(), keys(&sam).len()), (10, 1));
    // WHEN both are there, and two of its rows are too old to be served
    for n in 3..9 {
        let ran = sam.pass(bank(n, &["a", "c"], 4));
        // THEN each row is live once, and under its own account
        assert_eq!(sam.live(), ["a0", "a1", "a2", "a3", "a4", "a5", "c0", "c1", "c2", "c3"], "{n}");
        let [card, account] = ["c", "a"].map(|id| sam.account(id, "CAST(account_key AS TEXT)").unwrap());
        assert_eq!([&card, &account].map(|key| sam.0.number(&of(key))), [4, 6], "{n}");
        ended(ran, 0, if n == 3 { "synced" } else { "unchanged" }, None);
        let differing = "SELECT count(*) FROM balance_proofs_v1 WHERE state = 'differs'";
        assert_eq!(sam.0.number(differing), 0, "{n}");
    }
}

#[test]
fn a_bank_of_two_accounts_that_is_linked_twice_is_told_of_in_every_pass() {
    use Link::{Absent, Well};
    for currencies in [["EUR", "EUR"], ["EUR", "USD"]] {
        let linked = |n: u32, links: [Link; 2]| {
            let mut script = Script::default();
            for (link, _) in ["a", "b"].into_iter().zip(links).filter(|(_, link)| *link == Well) {
                let ids = ["1", "2"].map(|nth| format!("{link}{nth}"));
                script.consents.push(consent(&format!("cred-{link}"), &[&ids[0], &ids[1]]));
                for ((id, currency), iban) in ids.iter().zip(currencies).zip(["DE89", "DE90"]) {
                    let mut listed = account(id, &refresh(n), "100000", "2", currency);
                    let shared = currencies[0] != currencies[1];
                    listed["identifiers"]["iban"]["iban"] = if shared { "DE89" } else { iban }.into();
                    script.accounts.push(listed);
                    script.transactions.extend(three(id, id));
                }
            }
            script
        };
        let sam = Sam::with(linked(1, [Well, Absent]));
        let first = keys(&sam);
        for (n, outcome) in [(2, "synced"), (3, "unchanged")] {
            ended(sam.pass(linked(n, [Well, Well])), 0, outcome, Some("reconsent_ambiguous"));
            assert_eq!((keys(&sam).len(), sam.live().len()), (4, 12), "{currencies:?}");
        }
        ended(sam.pass(linked(4, [Absent, Well])), 0, "synced", None);
        assert_eq!((keys(&sam), sam.live().len()), (first, 6), "{currencies:?}");
    }
}

#[test]
fn an_ended_link_that_one_list_lacks_is_still_superseded() {
    let rows = || vec![booked("x", -1, "-100", "TRAM")];
    let ended_too = |n: u32| shared(n, rows(), |script| consent_with(script, "status", "SESSION_EXPIRED"));
    let sam = Sam::with(ended_too(1));
    let mut without = ended_too(2);
    without.consents.remove(0);
    ended(sam.pass(without), 0, "unchanged", None);
    ended(sam.pass(ended_too(3)), 0, "unchanged", None);
}

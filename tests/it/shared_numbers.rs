//! Accounts that share a number, as a main account and a space of it do: each goes on as itself, or a person is told.

use serde_json::{Value, json};
use tink_sandbox::script::{account, consent};
use tink_sandbox::{Script, ScriptRow};

use crate::harness::Ran;
use crate::scripted::{Sam, day, ended, refresh};

const AMBIGUOUS: Option<&str> = Some("reconsent_ambiguous");

/// The accounts of these ids, each with two rows; those beginning with `m` and `s` are the same ones at the bank.
fn bank(n: u32, links: &[&[&str]], numbered: bool) -> Script {
    let mut script = Script::default();
    for ids in links {
        script.consents.push(consent(&format!("cred-{}", ids[0]), ids));
        for id in *ids {
            let mut listed = account(id, &refresh(n), "100000", "2", "EUR");
            listed["identifiers"]["iban"]["iban"] = "DE89 3704".into();
            if numbered {
                listed["identifiers"]["financialInstitution"] =
                    json!({"accountNumber": format!("77{}", &id[..1])});
            }
            script.accounts.push(listed);
            let amounts = if id.starts_with('m') { ["-100", "-250"] } else { ["-300", "-450"] };
            script.transactions.extend((1..).zip(amounts).map(|(nth, cents)| {
                ScriptRow::booked(&format!("{id}-{nth}"), id, day(-nth), cents, "2", "SHOP")
            }));
        }
    }
    script
}

fn keys(sam: &Sam) -> i64 {
    sam.0.number("SELECT count(DISTINCT account_key) FROM accounts_v1 WHERE closed_at IS NULL")
}

#[test]
fn a_renewal_of_two_accounts_of_one_iban_doubles_nothing_where_a_number_tells_them_apart() {
    let sam = Sam::with(bank(1, &[&["m1", "s1"]], true));
    ended(sam.pass(bank(2, &[&["s2", "m2"]], true)), 0, "synced", None);
    assert_eq!((keys(&sam), sam.live()), (2, ["m2-1", "m2-2", "s2-1", "s2-2"].map(str::to_owned).to_vec()));
    // The space is closed; then only the main account is renewed.
    for n in 3..6 {
        sam.pass(bank(n, &[&["m2"]], true)).expect(0);
    }
    ended(sam.pass(bank(6, &[&["m3"]], true)), 0, "synced", None);
    assert_eq!((keys(&sam), sam.live()), (1, ["m3-1", "m3-2", "s2-1", "s2-2"].map(str::to_owned).to_vec()));
    sam.0.assert_exact(0);
}

#[test]
fn a_renewal_of_two_accounts_of_one_iban_is_told_of_until_it_is_accepted() {
    for renewed in [&["m2", "s2"][..], &["m2"]] {
        let sam = Sam::with(bank(1, &[&["m1", "s1"]], false));
        for n in 2..6 {
            assert_eq!(sam.pass(bank(n, &[renewed], false)).expect(0).ended("c-0").1.as_deref(), AMBIGUOUS);
        }
        assert_eq!(sam.live().len(), 4 + 2 * renewed.len());
        sam.0.cli(&["connections", "accept-unmatched", "c-0", "--actor", "ann"]).expect(0);
        ended(sam.pass(bank(6, &[renewed], false)), 0, "unchanged", None);
        // What comes later is another question.
        let third: Vec<String> = renewed.iter().map(|id| id.replace('2', "3")).collect();
        let third: Vec<&str> = third.iter().map(String::as_str).collect();
        ended(sam.pass(bank(7, &[&third], false)), 0, "synced", AMBIGUOUS);
    }
}

#[test]
fn two_accounts_of_one_iban_that_are_linked_twice_are_two_again_when_one_link_goes() {
    let sam = Sam::with(bank(1, &[&["m1", "s1"]], true));
    for n in 2..5 {
        let linked = sam.pass(bank(n, &[&["m1", "s1"], &["m2", "s2"]], true)).expect(0);
        assert_eq!(linked.ended("c-0").1.as_deref(), AMBIGUOUS, "{n}");
    }
    ended(sam.pass(bank(5, &[&["m2", "s2"]], true)), 0, "synced", None);
    assert_eq!((keys(&sam), sam.live()), (2, ["m2-1", "m2-2", "s2-1", "s2-2"].map(str::to_owned).to_vec()));
    ended(sam.pass(bank(6, &[&["m2", "s2"]], true)), 0, "unchanged", None);
    // One of them goes: it is none of the other.
    for n in 7..10 {
        let left = sam.pass(bank(n, &[&["m2"]], true)).expect(0);
        assert_eq!(left.ended("c-0").1, None);
    }
    assert_eq!((keys(&sam), sam.live().len()), (1, 4));
}

#[test]
fn a_card_known_by_its_mask_is_one_again_however_its_first_link_ends() {
    let card = |n: u32, links: &[(&str, &str)]| {
        let mut script = Script::default();
        for (id, status) in links {
            let mut named = consent(&format!("cred-{id}"), &[id]);
            named["status"] = (*status).into();
            script.consents.push(named);
            let mut listed = account(id, &refresh(n), "100000", "2", "EUR");
            listed["identifiers"] = json!({"pan": {"masked": "4000 12** **** 9010"}});
            listed["financialInstitutionId"] = "bank".into();
            script.accounts.push(listed);
            script.transactions.push(ScriptRow::booked(&format!("{id}-1"), id, day(-1), "-100", "2", "SHOP"));
        }
        script
    };
    for first in ["UPDATED", "TEMPORARY_ERROR"] {
        let sam = Sam::with(card(1, &[("a", "UPDATED")]));
        let both = |n| card(n, &[("a", first), ("b", "UPDATED")]);
        ended(sam.pass(both(2)), 0, "synced", AMBIGUOUS);
        ended(sam.pass(both(3)), 0, "unchanged", AMBIGUOUS);
        ended(sam.pass(card(4, &[("a", "SESSION_EXPIRED"), ("b", "UPDATED")])), 0, "synced", None);
        assert_eq!((keys(&sam), sam.live()), (1, vec!["b-1".to_owned()]));
        // Again, while the ended consents still list what they knew.
        let third = card(5, &[("a", "SESSION_EXPIRED"), ("b", "SESSION_EXPIRED"), ("c", "UPDATED")]);
        ended(sam.pass(third), 0, "synced", None);
        assert_eq!((keys(&sam), sam.live()), (1, vec!["c-1".to_owned()]));
    }
}

/// The rows of one account under these ids, an ordinary one but for its identifiers.
fn listed(n: u32, id: &str, identifiers: Option<&Value>) -> Script {
    let mut listed = account(id, &refresh(n), "100000", "2", "EUR");
    listed["identifiers"] = identifiers.cloned().unwrap_or_else(|| json!({"iban": {"iban": "DE89 3704"}}));
    let row = |k: i64| {
        ScriptRow::booked(
            &format!("{id}-{k}"),
            id,
            day(-k),
            &(-100 - k).to_string(),
            "2",
            &format!("SHOP {k}"),
        )
    };
    Script {
        consents: vec![consent(&format!("cred-{id}"), &[id])],
        accounts: vec![listed],
        transactions: (0..6).map(row).collect(),
    }
}

#[test]
fn a_list_without_identifiers_takes_no_number_from_an_account() {
    for odd in [json!({}), json!(""), json!([]), json!({"iban": "DE89"}), json!({"iban": {"iban": ""}})] {
        let sam = Sam::with(listed(1, "a", None));
        sam.pass(listed(2, "a", Some(&odd)));
        assert_eq!(sam.account("a", "iban").as_deref(), Some("DE89 3704"), "{odd}");
        let renewed = listed(3, "b", None);
        ended(sam.pass(renewed), 0, "synced", None);
        assert_eq!(sam.live(), (0..6).map(|k| format!("b-{k}")).collect::<Vec<_>>(), "{odd}");
        assert_eq!(sam.0.number("SELECT count(*) FROM accounts_v1"), 1, "{odd}");
    }
}

#[test]
fn a_renewal_without_a_number_is_reported_until_the_number_comes_or_a_person_has_decided() {
    let nothing = json!({});
    for is_accepted in [false, true] {
        let sam = Sam::with(listed(1, "a", None));
        for n in 2..7 {
            let ran = sam.pass(listed(n, "b", Some(&nothing)));
            assert_eq!(ran.expect(0).ended("c-0").1.as_deref(), AMBIGUOUS, "{n}");
            assert_eq!(sam.live().len(), 12, "{n}");
        }
        if is_accepted {
            sam.0.cli(&["connections", "accept-unmatched", "c-0"]).expect(0);
            ended(sam.pass(listed(7, "b", Some(&nothing))), 0, "unchanged", None);
            continue;
        }
        for n in 7..9 {
            sam.pass(listed(n, "b", None)).expect(0);
        }
        for n in 9..11 {
            ended(sam.pass(listed(n, "b", None)), 0, "unchanged", None);
            assert_eq!(sam.live(), (0..6).map(|k| format!("b-{k}")).collect::<Vec<_>>(), "{n}");
        }
    }
}

#[test]
fn a_doubt_ends_when_both_accounts_are_served() {
    let nothing = json!({});
    let of = |n: u32, ids: &[&str]| {
        let mut all = listed(n, ids[0], Some(&nothing));
        for id in &ids[1..] {
            let more = listed(n, id, Some(&nothing));
            all.consents.extend(more.consents);
            all.accounts.extend(more.accounts);
            all.transactions.extend(more.transactions);
        }
        all
    };
    let sam = Sam::with(of(1, &["a"]));
    let reason = |ran: Ran| ran.expect(0).ended("c-0").1;
    assert_eq!(reason(sam.pass(of(2, &["b"]))).as_deref(), AMBIGUOUS);
    for n in 3..6 {
        assert_eq!(reason(sam.pass(of(n, &["a", "b"]))), None, "{n}");
        assert_eq!(sam.live().len(), 12);
    }
}

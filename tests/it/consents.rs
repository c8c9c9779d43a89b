//! A consent is judged by itself: expired, unwell, renewed, or one of several.

use tink_sandbox::script::{account, consent};
use tink_sandbox::{Action, Endpoint, Fault, Script, ScriptRow, Times};
use tink_sync::domain::hook::HookKind;

use crate::harness::Ran;
use crate::scripted::{Fate, SAM, Sam, at, booked, consent_with, day, ended, millis, refresh};

fn tram(n: u32) -> Script {
    at(n, [booked("t", -1, "-100", "TRAM")])
}

#[test]
fn past_its_date_and_still_updated_is_normal() {
    let sam = Sam::with(consent_with(tram(1), "sessionExpiryDate", millis(-1)));
    let rows = [booked("t", -1, "-100", "TRAM"), booked("new", 0, "-200", "LUNCH")];
    ended(sam.pass(consent_with(at(2, rows), "sessionExpiryDate", millis(-1))), 0, "synced", None);
    assert_eq!(sam.live(), ["new", "t"]);
}

#[test]
fn refused_reads_under_a_consent_past_its_date_need_the_user() {
    for code in [400, 403, 404] {
        for place in [Endpoint::Accounts, Endpoint::Transactions] {
            let sam = Sam::with(tram(1));
            sam.0.sandbox.fault(Fault::new(Action::status(code)).at(place).times(Times::Forever));
            let late = consent_with(at(2, []), "sessionExpiryDate", millis(-1));
            let ran = ended(sam.pass(late), 11, "needs_user", Some("consent_expired"));
            assert_eq!(ran.total("removed"), 0);
            assert_eq!(sam.fate("t"), Fate::live(), "{code} {place:?}");
            assert_eq!(sam.account("a1", "closed_at"), None);
        }
    }
}

#[test]
fn refused_reads_under_a_sound_consent_are_a_failure() {
    let sam = Sam::with(tram(1));
    sam.0.sandbox.fault(Fault::new(Action::status(403)).at(Endpoint::Accounts).times(Times::Forever));
    ended(sam.pass(tram(2)), 10, "failed", Some("http_4xx"));
    assert_eq!(sam.fate("t"), Fate::live());
}

#[test]
fn an_empty_list_under_a_consent_past_its_date_needs_the_user() {
    let sam = Sam::with(tram(1));
    let script = consent_with(Script { accounts: Vec::new(), ..at(2, []) }, "sessionExpiryDate", millis(-1));
    ended(sam.pass(script), 11, "needs_user", Some("consent_expired"));
    assert_eq!(sam.fate("t"), Fate::live());
}

#[test]
fn an_expired_session_costs_only_the_token_and_the_consents() {
    let sam = Sam::with(tram(1));
    for n in 2..4 {
        let script = consent_with(at(n, []), "status", "SESSION_EXPIRED");
        ended(sam.pass(script), 11, "needs_user", Some("consent_expired"));
        let asked: Vec<Endpoint> = sam.0.sandbox.requests().into_keys().collect();
        let allowed = [Endpoint::ClientToken, Endpoint::CodeExchange, Endpoint::Grant, Endpoint::Consents];
        assert_eq!(asked, allowed);
    }
    assert_eq!(sam.0.text("SELECT status FROM consents_v1").as_deref(), Some("SESSION_EXPIRED"));
    // The date of the permission is still to come.
    let status = sam.0.cli(&["status"]).expect(0).stdout;
    let line = status.lines().nth(1).unwrap();
    assert_eq!(line.split_whitespace().nth(4), Some("expired"), "{status}");
    assert_eq!(sam.fate("t"), Fate::live());
}

#[test]
fn each_end_of_a_consent_has_its_reason() {
    for (status, reason) in [
        ("SESSION_EXPIRED", "consent_expired"),
        ("AUTHENTICATION_ERROR", "login_required"),
        ("PERMANENT_ERROR", "login_required"),
        ("DELETED", "consent_revoked"),
    ] {
        let sam = Sam::with(tram(1));
        ended(sam.pass(consent_with(tram(2), "status", status)), 11, "needs_user", Some(reason));
    }
}

#[test]
fn a_renewal_made_elsewhere_is_noticed_in_the_next_pass_and_the_gap_is_filled() {
    let on =
        |offset: i64, rows: Vec<ScriptRow>| Script::simple("a1", &format!("{}T06:00:00Z", day(offset)), rows);
    let tram = booked("t", -41, "-100", "TRAM");
    let sam = Sam::with(on(-40, vec![tram.clone()]));
    ended(
        sam.pass(consent_with(on(-40, vec![]), "status", "SESSION_EXPIRED")),
        11,
        "needs_user",
        Some("consent_expired"),
    );
    let gap = booked("gap", -35, "-200", "LUNCH");
    ended(sam.pass(on(0, vec![tram, gap])), 0, "synced", None);
    assert_eq!(sam.window().0, None, "in full: the bank may show more than before");
    assert_eq!(sam.live(), ["gap", "t"]);
}

/// Two banks: `well` is healthy, `ill` has a consent of this status.
fn two_banks(n: u32, status: &str, rows: &[(&str, &str)]) -> Script {
    let mut script = Script {
        consents: vec![consent("c-ill", &["ill"]), consent("c-well", &["well"])],
        accounts: ["ill", "well"].iter().map(|id| account(id, &refresh(n), "1", "0", "EUR")).collect(),
        transactions: rows
            .iter()
            .map(|(id, account)| ScriptRow::booked(id, account, day(-1), "-100", "2", id))
            .collect(),
    };
    script.consents[0]["status"] = status.into();
    script
}

#[test]
fn a_healthy_bank_is_synced_fully_beside_an_expired_one() {
    let sam = Sam::with(two_banks(1, "UPDATED", &[("i1", "ill"), ("w1", "well"), ("w2", "well")]));
    let ran = sam.pass(two_banks(2, "SESSION_EXPIRED", &[("w1", "well"), ("w3", "well")]));
    ended(ran, 11, "needs_user", Some("consent_expired"));
    assert_eq!(sam.fate("w2"), Fate::vanished());
    assert_eq!(sam.live(), ["i1", "w1", "w3"]);
    assert_eq!(sam.account("well", "complete_through"), Some(day(0).to_string()));
}

#[test]
fn what_an_unwell_bank_still_shows_is_stored_and_nothing_of_it_removed() {
    let sam = Sam::with(two_banks(1, "UPDATED", &[("i1", "ill"), ("w1", "well")]));
    let ran = sam.pass(two_banks(2, "TEMPORARY_ERROR", &[("i2", "ill"), ("w1", "well")]));
    ended(ran, 0, "synced", Some("bank_unavailable"));
    assert_eq!(sam.live(), ["i1", "i2", "w1"]);
}

#[test]
fn refusals_of_the_expired_bank_leave_the_healthy_one_alone() {
    let sam = Sam::with(two_banks(1, "UPDATED", &[("i1", "ill"), ("w1", "well")]));
    let mut script = two_banks(2, "UPDATED", &[("w1", "well"), ("w2", "well")]);
    script.consents[0]["sessionExpiryDate"] = millis(-1).into();
    // The first walk of the pass is that of `ill`.
    sam.0.sandbox.fault(Fault::new(Action::status(403)).user(SAM).at(Endpoint::Transactions));
    ended(sam.pass(script), 11, "needs_user", Some("consent_expired"));
    assert_eq!(sam.live(), ["i1", "w1", "w2"]);
}

#[test]
fn a_temporary_error_is_synced_and_told_of() {
    let sam = Sam::with(tram(1));
    let rows = [booked("t", -1, "-100", "TRAM"), booked("new", 0, "-200", "LUNCH")];
    let ran = sam.pass(consent_with(at(2, rows), "status", "TEMPORARY_ERROR"));
    ended(ran, 0, "synced", Some("bank_unavailable"));
    assert_eq!(sam.live(), ["new", "t"]);
}

#[test]
fn an_explanation_of_an_error_says_nothing_about_a_healthy_consent() {
    let error = serde_json::json!({"type": "PROVIDER_ERROR", "details": {"reason": "PROVIDER_UNAVAILABLE", "retryable": true}});
    let sam = Sam::with(consent_with(tram(1), "detailedError", error));
    assert_eq!(sam.0.text("SELECT error_type FROM consents_v1").as_deref(), Some("PROVIDER_ERROR"));
    sam.pass(at(2, [booked("other", -1, "-1", "x")])).expect(0);
    assert_eq!(sam.fate("t"), Fate::vanished());
}

/// The same script with a list of consents that is empty.
fn unlisted(script: Script) -> Script {
    Script { consents: Vec::new(), ..script }
}

/// How many consents are known.
fn known(sam: &Sam) -> i64 {
    sam.0.number("SELECT count(*) FROM consents_v1")
}

/// Warnings of the end of a consent in a run.
fn ends(ran: &Ran) -> usize {
    ran.stderr.lines().filter(|line| line.contains("the consent for")).count()
}

#[test]
fn an_expired_consent_is_not_well_because_one_list_lacks_it() {
    let sam = Sam::with(tram(1));
    let hooks = sam.0.path("hooks");
    std::fs::create_dir(&hooks).unwrap();
    for kind in HookKind::ALL {
        std::fs::write(hooks.join(kind.as_str()), "").unwrap();
    }
    let expired = |n| consent_with(tram(n), "status", "SESSION_EXPIRED");
    ended(sam.pass(expired(2)), 11, "needs_user", Some("consent_expired"));
    let told = |sam: &Sam| {
        let spooled = |kind: &HookKind| std::fs::read_dir(sam.0.path("spool").join(kind.as_str()));
        HookKind::ALL.iter().filter_map(|kind| spooled(kind).ok()).map(Iterator::count).sum::<usize>()
    };
    let before = told(&sam);
    assert!(before > 0);
    for n in 3..8 {
        // Each second list is empty.
        let script = if n % 2 == 1 { unlisted(tram(n)) } else { expired(n) };
        ended(sam.pass(script), 11, "needs_user", Some("consent_expired"));
        assert_eq!((sam.0.state(0).0.as_str(), known(&sam)), ("needs_user", 1), "pass {n}");
    }
    assert_eq!(told(&sam), before, "nobody recovered, and nobody is needed anew");
    // Two lists without it, and it is gone.
    sam.pass(expired(8)).expect(11);
    sam.pass(unlisted(tram(9))).expect(11);
    sam.pass(unlisted(tram(10))).expect(0);
    assert_eq!(known(&sam), 0);
    assert_eq!(sam.fate("t"), Fate::live());
}

#[test]
fn a_rehearsal_and_a_second_round_are_no_second_list() {
    let sam = Sam::with(tram(1));
    sam.pass(unlisted(tram(2))).expect(0);
    assert_eq!(known(&sam), 1);
    sam.0.run(&["--dry-run"]).expect(0);
    assert_eq!(known(&sam), 1);
    sam.pass(tram(3)).expect(0);
    // A failure that passes within the run: its list is read twice.
    sam.0.sandbox.fault(Fault::new(Action::status(500)).at(Endpoint::Accounts).times(Times::N(4)));
    sam.pass(unlisted(tram(4))).expect(0);
    assert_eq!((known(&sam), sam.asked("provider-consents").len()), (1, 2));
}

#[test]
fn rows_are_not_removed_under_a_consent_that_is_not_listed() {
    let rows = [booked("t", -1, "-100", "TRAM"), booked("u", -1, "-200", "FEE")];
    let sam = Sam::with(at(1, rows.clone()));
    let one = || vec![rows[0].clone()];
    ended(sam.pass(unlisted(at(2, one()))), 0, "synced", None);
    assert_eq!(sam.fate("u"), Fate::live());
    ended(sam.pass(at(3, one())), 0, "synced", None);
    assert_eq!(sam.fate("u"), Fate::vanished());
}

#[test]
fn one_of_two_consents_that_is_left_out_once_changes_nothing() {
    let both = |n| two_banks(n, "SESSION_EXPIRED", &[("i1", "ill"), ("w1", "well")]);
    let sam = Sam::with(two_banks(1, "UPDATED", &[("i1", "ill"), ("w1", "well")]));
    ended(sam.pass(both(2)), 11, "needs_user", Some("consent_expired"));
    for n in 3..7 {
        let mut script = both(n);
        if n % 2 == 1 {
            script.consents.remove(0);
        }
        ended(sam.pass(script), 11, "needs_user", Some("consent_expired"));
        assert_eq!(known(&sam), 2);
    }
    assert_eq!(sam.live(), ["i1", "w1"]);
    // Withdrawn for good.
    for n in [7, 8] {
        let mut script = both(n);
        script.consents.remove(0);
        sam.pass(script);
    }
    assert_eq!(known(&sam), 1);
}

#[test]
fn a_gap_in_the_list_or_in_the_date_tells_no_step_twice() {
    let soon = |n| consent_with(tram(n), "sessionExpiryDate", millis(5));
    let sam = Sam::new();
    assert_eq!(ends(&sam.pass(soon(1)).expect(0)), 1);
    for n in 2..10 {
        let script = match n % 4 {
            0 => unlisted(tram(n)),
            2 => tram(n),
            _ => soon(n),
        };
        assert_eq!(ends(&sam.pass(script).expect(0)), 0, "pass {n}");
        let end = sam.0.text("SELECT expires_at FROM consents_v1");
        assert!(end.is_some(), "pass {n}: one list without the date says nothing");
    }
    sam.pass(tram(11)).expect(0);
    sam.pass(tram(12)).expect(0);
    assert_eq!(sam.0.text("SELECT expires_at FROM consents_v1"), None, "two lists agree that there is none");
    assert_eq!(ends(&sam.pass(soon(13)).expect(0)), 0, "the same date again is no news");
}

#[test]
fn a_date_that_moves_a_little_is_told_once_per_step_and_a_renewal_anew() {
    let sam = Sam::new();
    let ending = |n, days: i64, more: i64| consent_with(tram(n), "sessionExpiryDate", millis(days) + more);
    assert_eq!(ends(&sam.pass(ending(1, 10, 0)).expect(0)), 1);
    for n in 2..6 {
        // Six hours pass; the date is ten days from then.
        sam.0.age_consents(6);
        assert_eq!(ends(&sam.pass(ending(n, 10, 0)).expect(0)), 0, "pass {n}");
    }
    for (n, days, told) in [(6, 6, 1), (7, 6, 0), (8, 2, 1), (9, 90, 0), (10, 6, 1), (11, -1, 1), (12, -1, 0)]
    {
        assert_eq!(ends(&sam.pass(ending(n, days, 1000 * i64::from(n))).expect(0)), told, "pass {n}");
    }
}

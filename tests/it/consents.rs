//! A consent is judged by itself: expired, unwell, renewed, or one of several.

use tink_sandbox::script::{account, consent};
use tink_sandbox::{Action, Endpoint, Fault, Script, ScriptRow, Times};

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
    assert_eq!(line.split_whitespace().nth(3), Some("expired"), "{status}");
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
    assert_eq!(sam.window().0, Some(day(-54).to_string()));
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

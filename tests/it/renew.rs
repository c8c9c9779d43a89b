//! `renew`: a consent that has expired or soon will, the way that fits it, and the rows that were missed.

use tink_sandbox::{Config, Endpoint, Expiry};

use crate::harness::{World, small};
use crate::visitor::{Browser, Waiting, only_state, visit, with_link};

/// A world on the day after its data began, whose one consent ends this many days after day 0 and may be extended or not.
fn ending(day: i32, extendable: Option<bool>) -> World {
    let world = with_link(World::new(Config { day: 4, ..small(1) }));
    world.sandbox.plan("user-0", |plan| {
        let consent = plan.consent(0);
        consent.expiry = Expiry::Day(day);
        consent.extendable = extendable;
    });
    world
}

fn expired() -> World {
    let world = ending(-3, None);
    world.sandbox.plan("user-0", |plan| plan.consent(0).status = Some("SESSION_EXPIRED".to_owned()));
    world
}

#[test]
fn an_expired_consent_is_renewed_with_a_new_login_and_the_gap_is_filled() {
    let world = expired();
    world.run(&[]).expect(11);
    assert_eq!(world.state(0).0, "needs_user");
    let mut waiting = Waiting::start(&world, &["renew", "c-0"]);
    let link = waiting.link();
    let id = world.sandbox.credentials_ids("user-0").remove(0);
    assert!(
        link.contains("/1.0/transactions/update-consent?") && link.contains(&format!("credentials_id={id}"))
    );
    assert!(!link.contains("market="), "{link}");
    let page = Browser::new().visit(&link, "demo-bank");
    assert!(page.body.contains("<h1>You are back from Tink</h1>"), "{}", page.body);
    let ran = waiting.end().expect(0);
    assert!(ran.stdout.contains(&format!("The consent is renewed: {id}")), "{}", ran.stdout);
    world.assert_exact(0);
    assert_eq!(world.state(0).0, "ok");
    let audit = world.texts("SELECT action, details FROM audit_v1 WHERE connection_id = ?1", "c-0");
    assert_eq!(audit, [[Some("connection.renewed".to_owned()), Some(format!("consent {id} updated"))]]);
    assert_eq!(world.sandbox.requests_to(Endpoint::UserCreate), 0);
}

#[test]
fn one_that_ends_soon_is_extended_where_its_bank_allows_that() {
    let world = ending(10, Some(true));
    let mut waiting = Waiting::start(&world, &["renew", "c-0"]);
    let link = waiting.link();
    assert!(link.contains("/1.0/transactions/extend-consent?"), "{link}");
    Browser::new().visit(&link, "demo-bank-camel");
    waiting.end().expect(0);
    world.assert_exact(0);
    let details = world.text("SELECT details FROM audit_v1").unwrap();
    assert!(details.ends_with(" extended"), "{details}");
    let ran = world.cli(&["renew", "c-0"]).expect(0);
    assert!(ran.stdout.contains("No consent of c-0 needs to be renewed."), "{}", ran.stdout);
}

#[test]
fn the_way_can_be_chosen() {
    for (world, option, path) in [
        (ending(10, Some(true)), "--update", "/update-consent?"),
        (ending(10, None), "--extend", "/extend-consent?"),
    ] {
        let mut waiting = Waiting::start(&world, &["renew", "c-0", option]);
        assert!(waiting.link().contains(path));
        waiting.signal("INT");
        waiting.end().expect(130);
    }
    let world = ending(10, Some(false));
    let ran = world.cli(&["renew", "c-0", "--extend"]).expect(2);
    assert!(ran.stderr.contains("leave --extend out"), "{}", ran.stderr);
}

#[test]
fn of_several_consents_one_is_named() {
    let world = expired();
    world.sandbox.plan("user-0", |plan| {
        plan.consents = 2;
        plan.accounts = 2;
        plan.consent(1).status = Some("AUTHENTICATION_ERROR".to_owned());
    });
    let ids = world.sandbox.credentials_ids("user-0");
    let ran = world.cli(&["renew", "c-0"]).expect(2);
    for part in ["--credentials", &ids[0], &ids[1], "SESSION_EXPIRED, expired", "AUTHENTICATION_ERROR"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let (_, ran) = visit(&world, &["renew", "c-0", "--credentials", &ids[1]], "demo-bank");
    // The other one still needs its user.
    ran.expect(11);
    let left = world.cli(&["renew", "c-0", "--no-sync", "--timeout", "1ms"]).expect(10);
    assert!(left.stdout.contains(&ids[0]), "{}", left.stdout);
}

#[test]
fn what_tink_does_not_show_is_no_renewal() {
    for (world, named) in [
        (expired(), ""),
        (expired(), "&credentials_id="),
        (ending(10, None), ""),
        (ending(10, None), "&credentials_id="),
    ] {
        let id = world.sandbox.credentials_ids("user-0").remove(0);
        let mut waiting = Waiting::start(&world, &["renew", "c-0"]);
        let link = waiting.link();
        let named = if named.is_empty() { String::new() } else { format!("{named}{id}") };
        Browser::new().open(&(only_state(&waiting.uri, &link) + &named));
        let ran = waiting.end().expect(10);
        let said = format!("Tink does not show that consent {id}");
        assert!(ran.stdout.contains(&said) && ran.stdout.contains("The same command"), "{}", ran.stdout);
        assert!(!ran.stdout.contains("The consent is renewed"), "{}", ran.stdout);
        assert!(!world.has_store() || world.number("SELECT count(*) FROM audit_v1") == 0);
    }
}

#[test]
fn a_user_who_cancels_leaves_the_consent_as_it_was() {
    let world = expired();
    let (page, ran) = visit(&world, &["renew", "c-0"], "cancel");
    assert!(page.body.contains("The consent is as it was."), "{}", page.body);
    ran.expect(11);
    assert!(!world.has_store() || world.number("SELECT count(*) FROM audit_v1") == 0);
}

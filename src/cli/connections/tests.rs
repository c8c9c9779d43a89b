//! Editing and listing the stand-alone connections in a real store.

use super::add::{Args as AddArgs, add, read_file};
use super::*;
use crate::cli::fixture::{self, Fixture};
use crate::domain::outcome::{Outcome, Reason};

fn file(fixture: &Fixture, text: &str) -> AddArgs {
    let path = fixture.path("new.jsonl");
    std::fs::write(&path, text).unwrap();
    let file = Some(path.display().to_string());
    AddArgs {
        id: None,
        user: None,
        external_user_id: None,
        tink_user_id: None,
        market: None,
        priority: 0,
        file,
        who: ActorArgs::default(),
    }
}

fn one(id: &str) -> AddArgs {
    let text = |text: &str| Some(text.to_owned());
    AddArgs {
        id: text(id),
        user: text("u"),
        external_user_id: text("x"),
        tink_user_id: None,
        market: None,
        priority: 0,
        file: None,
        who: ActorArgs::default(),
    }
}

fn shown(fixture: &Fixture) -> String {
    let env = fixture.env();
    listing(&env, &known(&env, &env.reader().unwrap()).unwrap(), false)
}

#[test]
fn an_added_connection_is_listed_at_once_and_audited() {
    let fixture = Fixture::new();
    let said = add(&fixture.env(), one("c-1")).unwrap();
    assert!(said.contains("Next: tink-sync run --connection c-1"), "{said}");
    assert_eq!(
        shown(&fixture),
        "CONNECTION  USER  STATE  REASON  AGE\nc-1         u     new    -       never\n"
    );
    assert_eq!(fixture.audited(), ["connection.created c-1 u"]);
}

#[test]
fn a_disabled_connection_shows_at_once() {
    let fixture = Fixture::new();
    fixture.add(&["c-1"]);
    fixture.pass(&[("c-1", Outcome::Synced, None)], 0);
    assert!(shown(&fixture).contains(" ok "));
    switch(&fixture.env(), "c-1", false, &ActorArgs::default()).unwrap();
    assert!(shown(&fixture).contains(" disabled "), "{}", shown(&fixture));
    switch(&fixture.env(), "c-1", true, &ActorArgs::default()).unwrap();
    assert!(shown(&fixture).contains(" ok "));
    assert_eq!(fixture.audited(), ["connection.disabled c-1 u-c-1", "connection.enabled c-1 u-c-1"]);
}

#[test]
fn a_reason_that_says_more_than_the_state_is_listed_whatever_the_state() {
    let fixture = Fixture::new();
    fixture.add(&["a", "b", "c"]);
    fixture.pass(
        &[
            ("a", Outcome::Synced, Some(Reason::ReconsentAmbiguous)),
            ("b", Outcome::Synced, None),
            ("c", Outcome::Synced, None),
        ],
        0,
    );
    switch(&fixture.env(), "b", false, &ActorArgs::default()).unwrap();
    let gone = "UPDATE ts_connections SET enabled = 0, gone_at = 1 WHERE connection_id = 'c'";
    rusqlite::Connection::open(fixture.path("store.db")).unwrap().execute_batch(gone).unwrap();
    let env = fixture.env();
    let listed = listing(&env, &env.reader().unwrap().connections().unwrap(), false);
    let reasons: Vec<&str> =
        listed.lines().skip(1).map(|line| line.split_whitespace().nth(3).unwrap()).collect();
    assert_eq!(reasons, ["reconsent_ambiguous", "-", "gone"], "{listed}");
}

#[test]
fn a_byte_order_mark_before_the_first_line_is_no_part_of_it() {
    let fixture = Fixture::new();
    let line = "\u{feff}{\"connection_id\":\"a\",\"user_id\":\"u\",\"external_user_id\":\"x\"}\n";
    assert!(add(&fixture.env(), file(&fixture, line)).unwrap().starts_with("Added connection a"));
}

#[test]
fn all_lines_are_added_or_none() {
    let fixture = Fixture::new();
    let line = |id: &str| {
        format!("{{\"connection_id\":\"{id}\",\"user_id\":\"u\",\"external_user_id\":\"x-{id}\"}}\n")
    };
    assert!(
        add(&fixture.env(), file(&fixture, &(line("a") + &line("b"))))
            .unwrap()
            .starts_with("Added 2 connections.")
    );
    let again = add(&fixture.env(), file(&fixture, &(line("b") + &line("c")))).unwrap_err();
    assert_eq!(again.to_string(), "already there: b; nothing was added");
    assert!(
        matches!(add(&fixture.env(), file(&fixture, &(line("d") + "{}"))), Err(Failure::Usage(text)) if text.contains("line 2"))
    );
    assert!(matches!(read_file("/nowhere"), Err(Failure::Usage(_))));
    assert_eq!(known(&fixture.env(), &fixture.env().reader().unwrap()).unwrap().len(), 2);
    assert_eq!(fixture.audited().len(), 2);
}

#[test]
fn a_user_without_entitlement_is_pointed_out() {
    let fixture = Fixture::new();
    fixture.tables().set_user("u", false, None, &fixture::act()).unwrap();
    let said = add(&fixture.env(), one("c-1")).unwrap();
    assert_eq!(
        said,
        "Added connection c-1 of user u.\nNot entitled, so not synced: user u. Change it with: tink-sync users set u --entitled yes\n"
    );
}

#[test]
fn where_the_application_decides_nothing_is_edited() {
    let fixture = Fixture::with("[source]\nview = \"app_view\"\n");
    let env = fixture.env();
    for refused in [
        add(&env, one("c")),
        switch(&env, "c", true, &ActorArgs::default()),
        switch(&env, "c", false, &ActorArgs::default()),
    ] {
        assert!(matches!(refused, Err(Failure::Usage(text)) if text.contains("app_view")));
    }
    assert!(!fixture.path("store.db").exists());
}

#[test]
fn unknown_connections_are_named_and_make_no_store() {
    let fixture = Fixture::new();
    assert!(
        matches!(switch(&fixture.env(), "c", true, &ActorArgs::default()), Err(Failure::Usage(text)) if text.contains('c'))
    );
    assert!(!fixture.path("store.db").exists());
    fixture.add(&["other"]);
    assert!(matches!(switch(&fixture.env(), "c", true, &ActorArgs::default()), Err(Failure::Usage(_))));
}

#[test]
fn many_ids_are_not_all_named() {
    let ids = ["x"; 25];
    assert!(naming(ids.into_iter()).ends_with(", x and 5 more"));
    assert_eq!(naming(["a", "b"].into_iter()), "a, b");
}

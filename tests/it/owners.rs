//! Whose data a connection holds, on the built program: ids that are used again, users who are renumbered or
//! linked anew, links that are made twice.

use std::fs;

use serde_json::Value;
use tink_sandbox::Endpoint;

use crate::audit::me;
use crate::harness::{Ran, World, quoted, small};
use crate::inside::{APP, FALL_IS_CONFIRMED};

/// A view that can name the Tink user in both ways.
const WIDE: &str = "ALTER TABLE app_connections ADD COLUMN tid TEXT; DROP VIEW tink_sync_source_v1;
    CREATE VIEW tink_sync_source_v1 AS SELECT id AS connection_id, user_id, enabled, entitled, entitled_until,
        tink AS external_user_id, tid AS tink_user_id FROM app_connections;";

fn wide(users: u32) -> World {
    let world = World::new(small(users));
    world.app(WIDE);
    world
}

/// A world in which the connection of each user was synced.
pub fn synced(users: u32) -> World {
    let world = wide(users);
    world.run(&[]).expect(0);
    world
}

fn column(world: &World, sql: &str) -> Vec<String> {
    let store = world.store();
    let mut rows = store.prepare(sql).unwrap();
    let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// The users under whom rows are visible, each with the connection.
fn visible(world: &World) -> Vec<String> {
    column(world, "SELECT DISTINCT user_id || ' ' || connection_id FROM transactions_v1 ORDER BY 1")
}

/// Fails unless the connection's row is refused, with these words, wherever somebody looks.
fn assert_refused(world: &World, id: &str, words: &str) -> Ran {
    let rehearsed = world.run(&["--dry-run"]).expect(10);
    let ran = world.run(&[]).expect(10);
    for ran in [&rehearsed, &ran] {
        assert_eq!(ran.ended(id), ("failed".to_owned(), Some("source_row".to_owned())), "{}", ran.stdout);
        let error = ran.connections()[id]["error"].as_str().unwrap().to_owned();
        assert!(error.contains(words), "{error}");
        assert_eq!(ran.connections()[id]["requests"], 0);
    }
    for args in [&["check", "--offline"][..], &["why", id]] {
        let said = unwrapped(&world.cli(args).stdout);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    assert!(unwrapped(&world.cli(&["status"]).stdout).contains("source view"));
    ran
}

/// A text for people without its line ends.
pub fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Connection, user and actor of the acts of a kind.
pub fn audited(world: &World, action: &str) -> Vec<String> {
    let sql =
        "SELECT coalesce(connection_id, '-') || ' ' || coalesce(user_id, '-') || ' ' || coalesce(actor, '-')
               FROM audit_v1 WHERE action = '{action}' ORDER BY 1";
    column(world, &sql.replace("{action}", action))
}

#[test]
fn an_id_that_is_used_again_shows_nobody_anothers_rows() {
    // With a pass in between, in which the number was nobody's, and without one.
    for passes in [0, 1] {
        let world = synced(2);
        let bob = world.live(0);
        world.app("DELETE FROM app_connections WHERE id = 'c-0'");
        for _ in 0..passes {
            world.run(&[]).expect(0);
        }
        world.app("DELETE FROM app_connections WHERE id = 'c-1'; INSERT INTO app_connections (id, user_id, enabled, entitled, tink)
                   VALUES ('c-0', 'carl', 1, 1, 'user-1')");
        world.sandbox.reset_counters();
        let said = "to another user (carl, so far u-0) with another Tink user: forget it first";
        // Carl's own connection is gone with its data, so this is about both of them.
        assert_refused(&world, "c-0", said);
        assert!(world.sandbox.requests_of("user-1").is_empty());
        assert_eq!((visible(&world), world.live(0)), (vec!["u-0 c-0".to_owned(), "u-1 c-1".to_owned()], bob));
        let exported = world.cli(&["export", "--format", "jsonl", "--user", "carl"]);
        assert!(!exported.stdout.contains("transaction_id"), "{}", exported.stdout);
        let identity =
            "SELECT user_id || ' ' || external_user_id FROM connections_v1 WHERE connection_id = 'c-0'";
        assert_eq!(world.text(identity).unwrap(), "u-0 user-0");
        // Anybody who asks for Carl's sync is told why there is none, and it is not counted as one of Bob's.
        let asked = world.run(&["--user", "carl"]).expect(10);
        assert_eq!(asked.ended("c-0").1.as_deref(), Some("source_row"));
        let why: Value =
            serde_json::from_str(&world.cli(&["why", "c-0", "--format", "json"]).stdout).unwrap();
        assert_eq!(why["quota"]["used"], 1, "{why}");
        // The way out that the text names, although the id is in the view.
        world.cli(&["connections", "forget", "c-0", "c-1", "--yes"]).expect(0);
        world.run(&[]).expect(0);
        assert_eq!(visible(&world), ["carl c-0"]);
    }
}

#[test]
fn rows_of_a_refused_connection_are_not_taken_over() {
    let world = synced(1);
    world.app("UPDATE app_connections SET user_id = 'carl', tink = 'carl'");
    let line = r#"{"connection_id":"c-0","account_id":"a","transaction_id":"carls","amount":"-1","currency":"EUR","booked_date":"2020-01-01"}"#;
    fs::write(world.path("rows"), format!("{line}\n")).unwrap();
    let rows = world.path("rows").display().to_string();
    for args in [&["import", &rows, "--dry-run"][..], &["import", &rows]] {
        let ran = world.cli(args).expect(2);
        assert!(
            unwrapped(&ran.stdout).contains("cannot be used: the source view gives it to another user"),
            "{}",
            ran.stdout
        );
    }
    assert_eq!(world.number("SELECT count(*) FROM transactions_v1 WHERE transaction_id = 'carls'"), 0);
    // Nor is a bank linked, or a consent renewed, for a connection whose row is another's.
    for args in [&["connect", "--user", "carl", "--connection", "c-0"][..], &["renew", "c-0"]] {
        let said = world.cli(args).expect(2).stderr;
        assert!(said.contains("cannot be used: the source view gives it to another user"), "{said}");
    }
    assert_eq!(world.sandbox.requests_to(Endpoint::Delegate), 0);
}

#[test]
fn a_refused_row_takes_nothing_from_the_connection_it_is_not_of() {
    let world = synced(2);
    world.app("UPDATE app_connections SET user_id = 'carl', tink = 'carl', enabled = 0 WHERE id = 'c-0'");
    // It asks for nothing, so nothing fails; and Bob is neither switched off by it nor on.
    let ran = world.run(&[]).expect(0);
    assert_eq!((ran.skipped("disabled"), ran.total("unchanged")), (1, 1));
    let flags = "SELECT enabled || entitled || state FROM connections_v1 WHERE connection_id = 'c-0'";
    assert_eq!(world.text(flags).unwrap(), "11ok");
    assert!(world.cli(&["check", "--offline"]).stdout.contains("forget it first"));
    world.app("UPDATE app_connections SET enabled = 1, entitled = 1 WHERE id = 'c-0'");
    world.disable("c-0");
    assert_refused(&world, "c-0", "carl, so far u-0");
    assert_eq!(world.text(flags).unwrap(), "01disabled");
    world.app("UPDATE app_connections SET user_id = 'u-0', tink = 'user-0' WHERE id = 'c-0'");
    world.run(&[]).expect(0);
    assert_eq!(world.text(flags).unwrap(), "11ok");
}

#[test]
fn users_that_were_renumbered_are_accepted_once_and_by_a_person() {
    let world = synced(3);
    world.app("UPDATE app_connections SET user_id = replace(user_id, 'u-', 'n-')");
    assert_refused(&world, "c-1", "connections accept-user --same-tink-user c-1");
    assert_eq!(visible(&world), ["u-0 c-0", "u-1 c-1", "u-2 c-2"]);
    world.cli(&["connections", "accept-user", "c-1"]).expect(2);
    let accept = ["connections", "accept-user", "--same-tink-user"];
    let said = world.cli(&[&accept[..], &["c-1", "--actor", "ann"]].concat()).expect(0).stdout;
    assert!(said.contains("connection c-1 are those of user n-1"), "{said}");
    assert_eq!(visible(&world), ["n-1 c-1", "u-0 c-0", "u-2 c-2"]);
    world.cli(&[&accept[..], &["--all", "--actor", "ann"]].concat()).expect(0);
    world.run(&[]).expect(0);
    assert_eq!(visible(&world), ["n-0 c-0", "n-1 c-1", "n-2 c-2"]);
    assert_eq!(audited(&world, "connection.user_accepted"), ["c-0 n-0 ann", "c-1 n-1 ann", "c-2 n-2 ann"]);
    world.assert_all_exact();
    assert!(world.cli(&[&accept[..], &["--all"]].concat()).expect(0).stdout.contains("nothing was accepted"));
    world.cli(&[&accept[..], &["c-1"]].concat()).expect(2);
    world.cli(&[&accept[..], &["nobody"]].concat()).expect(2);
}

#[test]
fn a_user_who_was_linked_anew_is_accepted_by_a_person() {
    let world = wide(2);
    world.app("DELETE FROM app_connections WHERE id = 'c-1'");
    world.run(&[]).expect(0);
    let old = world.live(0);
    world.app("UPDATE app_connections SET tink = 'user-1' WHERE id = 'c-0'");
    assert_refused(&world, "c-0", "if the same person linked anew: tink-sync connections accept-user c-0");
    assert!(world.sandbox.requests_of("user-1").is_empty());
    world.cli(&["connections", "accept-user", "--same-tink-user", "c-0"]).expect(2);
    world.cli(&["connections", "accept-user", "c-0"]).expect(0);
    world.run(&[]).expect(0);
    assert_eq!(visible(&world), ["u-0 c-0"]);
    assert!(world.live(0).is_superset(&old) && world.live(0).len() > old.len());
    assert_eq!(audited(&world, "connection.user_accepted"), [format!("c-0 u-0 {}", me())]);
    // What it holds of the user before is still his: nobody else gets that Tink user.
    world.app("INSERT INTO app_connections VALUES ('c-9', 'dan', 1, 1, NULL, 'user-0', NULL)");
    assert_refused(&world, "c-9", "connection c-0 of user u-0 has the same Tink user, and had it first");
    // And if the user changed as well, no person can say that it is the same one.
    world.app("DELETE FROM app_connections WHERE id = 'c-9'; UPDATE app_connections SET tink = 'x', user_id = 'eve'");
    assert!(world.cli(&["connections", "accept-user", "c-0"]).expect(2).stderr.contains("another user"));
}

#[test]
fn a_user_that_is_named_in_another_way_is_proven_and_goes_on() {
    let world = synced(2);
    let id = world.sandbox.user_id("user-0");
    let rows = world.live(0);
    // By Tink's id alone; by both; by the external id alone again.
    for (external, tink) in
        [("NULL", quoted_sql(&id)), ("'user-0'", quoted_sql(&id)), ("'user-0'", "NULL".to_owned())]
    {
        world.app(&format!("UPDATE app_connections SET tink = {external}, tid = {tink} WHERE id = 'c-0'"));
        for args in [&["--dry-run"][..], &[], &[]] {
            let ran = world.run(args).expect(0);
            assert_eq!(
                (ran.total("unchanged"), ran.total("added")),
                (2, 0),
                "{external} {tink}: {}",
                ran.stdout
            );
        }
        world.assert_all_exact();
        assert_eq!(world.live(0), rows);
    }
    // Another's is not proven, and nothing of it is stored.
    let other = world.sandbox.user_id("user-1");
    world.app(&format!("DELETE FROM app_connections WHERE id = 'c-1'; UPDATE app_connections SET tink = NULL, tid = '{other}'"));
    world.cli(&["connections", "forget", "c-1", "--yes"]).expect(0);
    let ran = world.run(&[]).expect(10);
    assert_eq!(ran.ended("c-0"), ("failed".to_owned(), Some("source_row".to_owned())));
    assert!(
        ran.connections()["c-0"]["error"].as_str().unwrap().contains("accept-user c-0"),
        "{}",
        ran.stdout
    );
    assert_eq!(world.live(0), rows);
    assert!(world.cli(&["check", "--offline"]).stdout.contains("accept-user c-0"));
    assert!(
        world.cli(&["why", "c-0"]).stdout.contains("asks Tink whether the user"),
        "{}",
        world.cli(&["why", "c-0"]).stdout
    );
}

fn quoted_sql(text: &str) -> String {
    format!("'{text}'")
}

#[test]
fn one_tink_user_is_one_users_only() {
    // Anybody who had it first keeps it, whatever the order of the view; a pass that meets both at once takes the first.
    let world = wide(1);
    world.app("INSERT INTO app_connections VALUES ('c-9', 'carl', 1, 1, NULL, 'user-0', NULL)");
    assert_refused(&world, "c-9", "connection c-0 of user u-0 has the same Tink user, and had it first");
    let world = synced(1);
    world.app("CREATE TABLE other AS SELECT * FROM app_connections; DELETE FROM app_connections;
               INSERT INTO app_connections SELECT 'a-0', 'carl', 1, 1, NULL, 'user-0', NULL; INSERT INTO app_connections SELECT * FROM other");
    assert_refused(&world, "a-0", "connection c-0 of user u-0");
    assert_eq!(visible(&world), ["u-0 c-0"]);
    // Where the two rows name it in two ways, it is what Tink shows that tells.
    let world = synced(1);
    let id = world.sandbox.user_id("user-0");
    world.app(&format!("INSERT INTO app_connections VALUES ('c-9', 'carl', 1, 1, NULL, NULL, '{id}')"));
    for args in [&["--dry-run"][..], &[], &[]] {
        let ran = world.run(args).expect(10);
        assert_eq!(ran.ended("c-9"), ("failed".to_owned(), Some("source_row".to_owned())));
        let error = ran.connections()["c-9"]["error"].as_str().unwrap().to_owned();
        assert!(error.contains("Tink shows here what connection c-0 of user u-0 holds"), "{error}");
    }
    assert_eq!(visible(&world), ["u-0 c-0"]);
    assert!(world.cli(&["why", "c-9"]).stdout.contains("both rows of the source view"));
    // One that has left is still the other's as long as his data are here.
    world.app(
        "DELETE FROM app_connections WHERE id = 'c-0'; UPDATE app_connections SET tink = 'user-0', tid = NULL",
    );
    assert_refused(&world, "c-9", "connection c-0 of user u-0, which is not enabled any more");
    world.cli(&["connections", "forget", "c-0", "--yes"]).expect(0);
    world.run(&[]).expect(0);
    assert_eq!(visible(&world), ["carl c-9"]);
}

#[test]
fn a_link_that_is_made_anew_goes_on_with_the_data_of_the_old_one() {
    for gone in [
        "UPDATE app_connections SET enabled = 0 WHERE id = 'c-0'",
        "DELETE FROM app_connections WHERE id = 'c-0'",
    ] {
        let world = synced(2);
        let keys = "SELECT group_concat(account_key, ' ') FROM accounts_v1 WHERE connection_id = ";
        let live = |id: &str| {
            column(
                &world,
                &format!(
                    "SELECT account_key || ' ' || transaction_id FROM transactions_v1
                                      WHERE connection_id = '{id}' AND removed_at IS NULL ORDER BY 1"
                ),
            )
        };
        let (old, accounts) = (live("c-0"), world.text(&format!("{keys}'c-0'")));
        world.app("INSERT INTO app_connections VALUES ('link-2', 'u-0', 1, 1, NULL, 'user-0', NULL)");
        // While both are enabled the second is told which one to forget.
        assert_refused(&world, "link-2", "connection c-0 of the same user has the same Tink user");
        world.app(gone);
        let rehearsed = world.run(&["--dry-run"]).expect(0);
        assert_eq!((rehearsed.total("added"), rehearsed.ended("link-2").0.as_str()), (0, "unchanged"));
        assert_eq!(live("c-0"), old, "a rehearsal moves nothing");
        let ran = world.run(&[]).expect(0);
        assert_eq!((ran.total("added"), ran.ended("link-2").0.as_str()), (0, "unchanged"));
        assert_eq!((live("link-2"), live("c-0")), (old.clone(), Vec::new()));
        assert_eq!(
            (world.text(&format!("{keys}'link-2'")), world.text(&format!("{keys}'c-0'"))),
            (accounts, None)
        );
        assert_eq!(world.number("SELECT count(*) FROM consents_v1 WHERE connection_id = 'c-0'"), 0);
        // A day later it is like any other, and the way back is the same.
        world.sandbox.set_day(1);
        world.run(&[]).expect(0);
        assert!(live("link-2").len() >= old.len() && live("c-0").is_empty());
        world.app(
            "DELETE FROM app_connections WHERE id IN ('c-0', 'link-2');
                   INSERT INTO app_connections VALUES ('c-0', 'u-0', 1, 1, NULL, 'user-0', NULL)",
        );
        world.run(&[]).expect(0);
        world.assert_all_exact();
        assert!(live("link-2").is_empty());
    }
}

#[test]
fn a_link_that_is_made_anew_under_tinks_own_id_goes_on_as_well() {
    // The view does not say that both are one Tink user; Tink shows it.
    let world = synced(2);
    let id = world.sandbox.user_id("user-0");
    let rows = "SELECT account_key || ' ' || transaction_id FROM transactions_v1 WHERE removed_at IS NULL ORDER BY 1";
    let old = column(&world, rows);
    world.app(&format!(
        "DELETE FROM app_connections WHERE id = 'c-0';
                        INSERT INTO app_connections VALUES ('link-2', 'u-0', 1, 1, NULL, NULL, '{id}')"
    ));
    for args in [&["--dry-run"][..], &[], &[]] {
        let ran = world.run(args).expect(0);
        assert_eq!((ran.total("added"), ran.ended("link-2").0.as_str()), (0, "unchanged"), "{}", ran.stdout);
    }
    assert_eq!(
        (column(&world, rows), visible(&world)),
        (old, vec!["u-0 link-2".to_owned(), "u-1 c-1".to_owned()])
    );
    // Its former name is its own, too: nobody else gets that.
    world.app("INSERT INTO app_connections VALUES ('c-9', 'carl', 1, 1, NULL, 'user-0', NULL)");
    assert_refused(&world, "c-9", "connection link-2 of user u-0");
}

#[test]
fn an_id_given_away_while_its_user_gets_a_new_one_sorts_itself_out() {
    let world = wide(2);
    world.app("DELETE FROM app_connections WHERE id = 'c-1'");
    world.run(&[]).expect(0);
    // Carl gets Bob's number, and Bob a new one.
    world.app("UPDATE app_connections SET id = 'c-5'; INSERT INTO app_connections VALUES ('c-0', 'carl', 1, 1, NULL, 'user-1', NULL)");
    let first = world.run(&[]).expect(10);
    assert_eq!(
        (first.ended("c-0").1.as_deref(), first.ended("c-5").0.as_str()),
        (Some("source_row"), "unchanged")
    );
    world.run(&[]).expect(0);
    assert_eq!(visible(&world), ["carl c-0", "u-0 c-5"]);
}

#[test]
fn an_operator_cannot_add_what_is_another_users() {
    let world = World::new(small(3)).unset("source.view").unset("source.database");
    let add = |id: &str, user: &str, tink: &str| {
        world.cli(&["connections", "add", id, "--user", user, "--external-user-id", tink])
    };
    add("c-0", "u-0", "user-0").expect(0);
    world.run(&[]).expect(0);
    assert!(add("c-1", "u-1", "user-0").expect(2).stderr.contains("connection c-0 of user u-0"));
    assert!(add("c-1", "u-0", "user-0").expect(2).stderr.contains("connection c-0 of the same user"));
    let two = |id: &str| {
        format!("{{\"connection_id\":\"{id}\",\"user_id\":\"u-{id}\",\"external_user_id\":\"user-1\"}}\n")
    };
    fs::write(world.path("two"), two("a") + &two("b")).unwrap();
    let file = world.path("two").display().to_string();
    assert!(world.cli(&["connections", "add", "--file", &file]).expect(2).stderr.contains("b: "));
    let connect = world.cli(&["connect", "--user", "u-1", "--external-user-id", "user-0"]).expect(2);
    assert!(connect.stderr.contains("connection c-0 of user u-0"), "{}", connect.stderr);
    // Once the first is switched off the same user's second goes on with its data, another user's does not.
    world.cli(&["connections", "disable", "c-0"]).expect(0);
    assert!(add("c-1", "u-1", "user-0").expect(2).stderr.contains("not enabled any more"));
    add("c-1", "u-0", "user-0").expect(0);
    assert_eq!(world.run(&[]).expect(0).total("added"), 0);
    assert_eq!(visible(&world), ["u-0 c-1"]);
    assert_eq!(world.sandbox.requests_to(Endpoint::UserCreate), 0);
}

/// Fails unless the program dies at both sides of a step, and the store then says `before` or `after`.
fn dies_at(world: &World, args: &[&str], step: &str, says: &str, [before, after]: [&str; 2]) {
    for (side, expected) in [("before", before), ("after", after)] {
        let mut command = world.command(args);
        let ended = command.env("TINK_SYNC_FAILPOINT", format!("{step}:{side}")).output().unwrap();
        assert!(crate::harness::was_killed(ended.status), "{step}:{side}: {ended:?}");
        let said = column(world, says);
        assert_eq!(said.first().map_or("", String::as_str), expected, "{step}:{side}");
    }
}

#[test]
fn what_is_accepted_or_remembered_is_there_or_not() {
    let world = synced(2);
    world.app("UPDATE app_connections SET user_id = 'n-0' WHERE id = 'c-0'");
    let accept = ["connections", "accept-user", "--same-tink-user", "c-0"];
    let says =
        "SELECT user_id || (SELECT count(*) FROM audit_v1) FROM connections_v1 WHERE connection_id = 'c-0'";
    dies_at(&world, &accept, "accept users", says, ["u-00", "n-01"]);
    let id = world.sandbox.user_id("user-0");
    world.app(&format!("UPDATE app_connections SET tink = NULL, tid = '{id}' WHERE id = 'c-0'"));
    let says = "SELECT coalesce(tink_user_id, 'none') FROM connections_v1 WHERE connection_id = 'c-0'";
    dies_at(&world, &["run"], "change the Tink user", says, ["none", &id]);
    world.forget_app();
    let ours = world.sandbox.config().client_id.clone();
    dies_at(&world, &["run"], "remember the app", APP, ["", &ours]);
    world.app("DELETE FROM app_connections");
    world.run(&[]).expect(10);
    let says = format!("SELECT ({FALL_IS_CONFIRMED}) || (SELECT count(*) FROM connections_v1 WHERE enabled)");
    dies_at(&world, &["connections", "accept-change"], "accept the change", &says, ["02", "10"]);
    let world = world.set("tink.client_id", &quoted("another"));
    dies_at(&world, &["connections", "accept-app"], "accept the app", APP, [&ours, "another"]);
}

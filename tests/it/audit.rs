//! The audit log: who did what and from where, and that syncs which nobody asked for are not in it.

use serde_json::Value;

use crate::harness::{Ran, World, small};
use crate::stored::{Place, only_on_sqlite};

/// A store without an application.
fn alone() -> World {
    World::new(small(1)).unset("source.view").unset("source.database")
}

const ADD: [&str; 7] = ["connections", "add", "c-0", "--user", "u-0", "--external-user-id", "user-0"];

/// Who did what and from where, oldest first.
fn acts(world: &World) -> Vec<String> {
    let sql =
        "SELECT action || ' ' || coalesce(connection_id, '-') || ' ' || coalesce(user_id, '-') || ' by '
                      || coalesce(actor, '-') || ' from ' || coalesce(ip, '-') FROM audit_v1 WHERE ?1 = ?1";
    world.texts(sql, "").into_iter().map(|row| row[0].clone().unwrap()).collect()
}

/// The user of the tests.
pub fn me() -> String {
    let name = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    String::from_utf8(name).unwrap().trim().to_owned()
}

#[test]
fn every_act_names_who_asked_and_from_where() {
    let world = alone();
    let by = |args: &[&str]| {
        let all = [args, &["--actor", "jane@example.com", "--ip", "203.0.113.7"]].concat();
        world.cli(&all).expect(0);
    };
    by(&ADD);
    by(&["connections", "disable", "c-0"]);
    by(&["connections", "enable", "c-0"]);
    by(&["users", "set", "u-0", "--entitled", "yes"]);
    by(&["run", "--connection", "c-0"]);
    let jane = "by jane@example.com from 203.0.113.7";
    let expected = [
        format!("connection.created c-0 u-0 {jane}"),
        format!("connection.disabled c-0 u-0 {jane}"),
        format!("connection.enabled c-0 u-0 {jane}"),
        format!("users.set - u-0 {jane}"),
        format!("sync.requested c-0 u-0 {jane}"),
    ];
    assert_eq!(acts(&world), expected);
    // The run that was asked for is named, and no other act names one.
    let of_run = "SELECT group_concat(a.action) FROM audit_v1 a JOIN runs_v1 r ON r.run_id = a.run_id";
    assert_eq!(world.text(of_run).unwrap(), "sync.requested");
    assert_eq!(world.number("SELECT count(*) FROM audit_v1 WHERE run_id IS NOT NULL"), 1);
    let run = world.text("SELECT run_id FROM audit_v1 WHERE run_id IS NOT NULL").unwrap();
    let shown = world.cli(&["audit", "--format", "json"]).expect(0).lines;
    assert_eq!((&shown[0]["run_id"], &shown[1]["run_id"]), (&run.into(), &serde_json::Value::Null));
}

#[test]
fn by_hand_it_is_who_called_sudo_or_came_over_ssh() {
    let world = alone();
    let by = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = world.command(args);
        Ran::of(command.envs(variables.iter().copied()).output().unwrap()).expect(0);
    };
    by(&ADD, &[("SUDO_USER", "ann"), ("USER", "root")]);
    by(
        &["connections", "disable", "c-0"],
        &[("USER", "bob"), ("SSH_CONNECTION", "2001:db8::7 5 2001:db8::1 22")],
    );
    by(&["connections", "enable", "c-0"], &[]);
    by(&["run", "--connection", "c-0"], &[("SUDO_USER", "ann"), ("USER", "root")]);
    by(&["run", "--user", "u-0"], &[("USER", "bob"), ("SSH_CONNECTION", "2001:db8::7 5 2001:db8::1 22")]);
    // A pass is nobody's act, and a rehearsal no act at all.
    by(&["run"], &[("SUDO_USER", "ann")]);
    by(&["run", "--connection", "c-0", "--dry-run"], &[("SUDO_USER", "ann")]);
    // Nothing in the environment names anybody.
    let me = me();
    let expected = [
        "connection.created c-0 u-0 by ann from -",
        "connection.disabled c-0 u-0 by bob from 2001:db8::7",
        &format!("connection.enabled c-0 u-0 by {me} from -"),
        "sync.requested c-0 u-0 by ann from -",
        "sync.requested - u-0 by bob from 2001:db8::7",
    ];
    assert_eq!(acts(&world), expected);
}

#[test]
fn root_that_becomes_the_service_user_still_knows_who_called_it() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return println!("skipped: only root can become somebody else");
    }
    let world = alone();
    let nobody = Some(65534);
    for name in ["tink-sync.toml", "secret"] {
        chown(world.path(name), nobody, nobody).unwrap();
    }
    chown(world.dir.path(), nobody, nobody).unwrap();
    let mut command = world.command(&ADD);
    command.env("TINK_SYNC_USER", "nobody").env("SUDO_USER", "ann").env("USER", "root");
    Ran::of(command.output().unwrap()).expect(0);
    if let Place::File(store) = &world.place {
        assert_eq!(std::fs::metadata(store).unwrap().uid(), 65534);
    }
    assert_eq!(acts(&world), ["connection.created c-0 u-0 by ann from -"]);
}

#[test]
fn syncs_that_nobody_asked_for_and_rehearsals_are_not_audited() {
    let world = World::new(small(2));
    world.run_by_timer().expect(0);
    world.run(&[]).expect(0);
    world.run(&["--connection", "c-1"]).expect(0);
    world.run(&["--dry-run", "--actor", "jane"]).expect(0);
    assert_eq!(acts(&world), [""; 0]);
    world.run(&["--actor", "jane"]).expect(0);
    assert_eq!(acts(&world), ["sync.requested - - by jane from -"]);
}

#[test]
fn the_rows_come_newest_first_and_can_be_narrowed_down() {
    let world = World::new(small(1));
    world.run(&[]).expect(0);
    assert!(world.cli(&["audit"]).expect(0).stdout.contains("empty"));
    world.add_acts(&[
        (1_767_225_600_000, "ann", "connection.created", Some("c-1"), "u-1"),
        (1_769_904_000_000, "ann", "connection.disabled", Some("c-1"), "u-1"),
        (1_769_904_000_000, "bob", "connection.created", Some("c-2"), "u-2"),
        (1_772_323_200_000, "bob", "users.set", None, "u-1"),
        (1_735_689_600_000, "bob", "act.of_an_older_release", None, "u-9"),
    ]);
    let seen = |args: &[&str]| -> Vec<String> {
        let ran = world.cli(&[&["audit", "--format", "json"], args].concat()).expect(0);
        let row =
            |row: &Value| format!("{} {}", row["action"].as_str().unwrap(), row["user_id"].as_str().unwrap());
        ran.lines.iter().map(row).collect()
    };
    let all =
        ["users.set u-1", "connection.created u-2", "connection.disabled u-1", "connection.created u-1"];
    assert_eq!(seen(&["--since", "2026-01-01"]), all);
    assert_eq!(seen(&["--action", "act.of_an_older_release"]), ["act.of_an_older_release u-9"]);
    assert_eq!(seen(&["--limit", "2"]), all[..2]);
    assert_eq!(seen(&["--user", "u-1"]), [all[0], all[2], all[3]]);
    assert_eq!(seen(&["--connection", "c-1", "--action", "connection.created"]), all[3..]);
    assert_eq!(seen(&["--since", "2026-02-01", "--until", "2026-03-01"]), all[1..3]);
    assert_eq!(seen(&["--user", "nobody"]), [""; 0]);
    let text = world.cli(&["audit", "--limit", "1"]).expect(0).stdout;
    assert!(text.contains("2026-03-01 00:00  users.set") && text.contains("--limit"), "{text}");
    assert!(world.cli(&["audit", "--action", "token.refreshed"]).expect(0).stdout.contains("No act matches"));
    world.cli(&["audit", "--since", "2026-03-01", "--until", "2026-02-01"]).expect(2);
    world.cli(&["audit", "--since", "tomorrow"]).expect(2);
}

#[test]
fn an_act_that_nobody_knows_is_refused_with_those_that_are_known() {
    let world = World::new(small(1));
    for with_store in [false, true] {
        if with_store {
            world.run(&[]).expect(0);
        }
        for format in ["human", "json"] {
            let ran = world.cli(&["audit", "--action", "connection.deleted", "--format", format]).expect(2);
            let said = ran.stderr.replace('\n', " ");
            assert!(said.contains("no act connection.deleted") && said.contains("users.set"), "{said}");
            assert_eq!(ran.stdout, "");
        }
    }
}

#[test]
fn a_store_that_is_not_there_yet_is_not_taken_for_an_empty_one() {
    let world = World::new(small(1));
    let store = format!("{}: no run was made.\n", world.place.absence());
    for args in [
        &["audit"][..],
        &["quarantine", "list"],
        &["quarantine", "retry"],
        &["prune"],
        &["prune", "--dry-run"],
    ] {
        assert_eq!(world.cli(args).expect(0).stdout, store, "{args:?}");
    }
    assert_eq!(world.cli(&["audit", "--format", "json"]).expect(0).stdout, "");
}

#[test]
fn a_directory_in_place_of_the_store_is_called_one() {
    only_on_sqlite!("a directory in the place of its file");
    let world = World::new(small(1));
    std::fs::create_dir(world.path("store.db")).unwrap();
    for args in [&["status"][..], &["audit"], &["run"]] {
        let ran = world.cli(args).expect(74);
        assert!(ran.stderr.contains("irectory") && !ran.stderr.contains("kernel"), "{}", ran.stderr);
    }
}

#[test]
fn a_json_row_has_the_columns_of_the_view() {
    let world = alone();
    world.cli(&[&ADD[..], &["--actor", "jane", "--ip", "::1"]].concat()).expect(0);
    let ran = world.cli(&["audit", "--format", "json"]).expect(0);
    let fields: Vec<&String> = ran.lines[0].as_object().unwrap().keys().collect();
    let store = world.store();
    let view = store.prepare("SELECT * FROM audit_v1").unwrap();
    let mut columns: Vec<&str> = view.column_names().collect();
    columns.sort_unstable();
    assert_eq!(fields, columns);
    assert_eq!((&ran.lines[0]["actor"], &ran.lines[0]["ip"]), (&"jane".into(), &"::1".into()));
}

#[test]
fn an_address_without_a_name_and_a_name_of_two_lines_are_refused() {
    let world = alone();
    world.cli(&[&ADD[..], &["--ip", "::1"]].concat()).expect(2);
    world.cli(&[&ADD[..], &["--actor", "a\nb"]].concat()).expect(2);
    world.cli(&[&ADD[..], &["--actor", "ann", "--ip", "here"]].concat()).expect(2);
    world.cli(&ADD).expect(0);
}

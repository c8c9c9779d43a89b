//! Forgetting a connection: nothing of it is left here, nobody else loses anything, and it does not come
//! back, whatever is under way meanwhile.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rusqlite::types::ValueRef;
use serde_json::json;
use tink_sandbox::{Action, Config, Endpoint, Fault, Rates, Script, Times};
use tink_sync::domain::hook::HookKind;
use tink_sync::failpoint::{self, Side};

use crate::harness::{Ran, World, plain, quoted, small, until, was_killed};
use crate::hooks::listening;
use crate::inside::TABLES;
use crate::scripted::{A1, SAM, booked, refresh};
use crate::stored::Engine;

const FORGET: [&str; 3] = ["connections", "forget", "--yes"];

fn forget(world: &World, more: &[&str]) -> Ran {
    world.cli(&[&FORGET[..], more].concat())
}

/// Whether anything of the connection is here.
fn is_here(world: &World, connection: &str) -> bool {
    ["connections_v1", "accounts_v1", "transactions_v1", "run_connections_v1", "consents_v1"].iter().any(
        |view| world.number(&format!("SELECT count(*) FROM {view} WHERE connection_id = '{connection}'")) > 0,
    )
}

/// Everything the base tables hold, less the audit log, as bytes.
fn held(world: &World) -> Vec<(String, Vec<u8>)> {
    let store = world.store();
    let mut tables = store.prepare(TABLES).unwrap();
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let mut all = Vec::new();
    for table in tables {
        let mut rows = store.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = row.get_ref(column).unwrap() {
                    all.push((table.clone(), bytes.to_vec()));
                }
            }
        }
    }
    all
}

/// Rows of Sam's, which change from day to day, all marked.
fn marked(n: u32) -> Script {
    let row = |k: u32| {
        let long = "x".repeat(((k * 37 + n * 101) % 400) as usize);
        let row = booked(&format!("id-of-sam-{k}"), -1 - i64::from(k % 20), &format!("-{k}01"), "x");
        row.but(move |element| {
            element["descriptions"] =
                json!({"original": format!("text of sam {k} {n} {long}"), "display": "d of sam"});
        })
    };
    let mut rows: Vec<_> = (1..120 + n * 20).map(row).collect();
    rows.push(
        booked("id-of-sam-bad", -1, "1", "unread of sam").but(|element| element["amount"] = json!(null)),
    );
    let mut script = Script::simple(A1, &refresh(n), rows);
    script.accounts[0]["name"] = format!("account of sam {n}").into();
    script
}

/// Sam (`c-4`) among four lively others, all synced for some days.
fn lively() -> World {
    let users = (0..4).map(|n| format!("user-{n}")).chain([SAM.to_owned()]).collect();
    let rates = Rates { undated: 0, ..Rates::lively() };
    let world = World::with_users(Config { rates, ..plain(4) }, users).set("sync.keep_raw", "\"90d\"");
    for n in 1..5 {
        world.sandbox.set_day(n);
        world.sandbox.script(SAM, marked(n));
        world.run(&[]);
    }
    assert!(is_here(&world, "c-4"));
    world
}

#[test]
fn nothing_of_a_forgotten_connection_is_left_in_any_table_or_corner_of_the_files() {
    let world = lively();
    let marks = ["of sam", "id-of-sam", A1, SAM, "c-4", "u-4"];
    assert!(marks.iter().all(|mark| world.traces(mark) > 0));
    let before: Vec<_> = (0..4).map(|n| world.live(n)).collect();
    world.app("DELETE FROM app_connections WHERE id = 'c-4'");
    let said = forget(&world, &["c-4"]).expect(0).stdout;
    assert!(said.starts_with("Forgot connection c-4 of user u-4: 1 account, 1"), "{said}");
    assert!(
        said.contains("1 in quarantine") && said.contains("Tink still holds the data of its user sam"),
        "{said}"
    );
    for (table, bytes) in held(&world) {
        let text = String::from_utf8_lossy(&bytes);
        let is_of_sam = text.contains("of sam") || text.contains("id-of-sam") || marks.contains(&&*text);
        assert!(!is_of_sam, "{table} still holds {text}");
    }
    for mark in ["of sam", "id-of-sam"] {
        assert_eq!(world.traces(mark), 0, "{mark}");
    }
    // The ids stand in the audit log, and nowhere else.
    assert_eq!(world.number("SELECT count(*) FROM audit_v1"), 1);
    assert_eq!(world.traces("u-4"), 1);
    for (n, rows) in before.iter().enumerate() {
        assert_eq!(&world.live(n), rows, "c-{n}");
    }
    assert_eq!(world.text("PRAGMA integrity_check").unwrap(), "ok");
    world.run(&[]);
    assert!(!is_here(&world, "c-4"));
}

#[test]
fn what_the_application_still_lists_is_not_forgotten() {
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    let refused = forget(&world, &["c-1"]).expect(2).stderr;
    assert!(refused.contains("lists it as enabled") && refused.contains("c-1"), "{refused}");
    let rehearsed = world.cli(&["connections", "forget", "c-1", "--dry-run"]).expect(2);
    assert!(rehearsed.stdout.starts_with("Connection c-1 of user u-1: 1 account"), "{}", rehearsed.stdout);
    assert!(is_here(&world, "c-1"));
    // Switched off but still listed: the ids come back with the next pass, and nothing else.
    world.app("UPDATE app_connections SET enabled = 0 WHERE id = 'c-1'");
    let said = forget(&world, &["c-1"]).expect(0).stdout;
    assert!(said.contains("take the row out of the view"), "{said}");
    assert!(!is_here(&world, "c-1"));
    world.run(&[]).expect(0);
    assert_eq!(world.state(1), ("disabled".to_owned(), Some("disabled".to_owned())));
    assert_eq!(world.number("SELECT count(*) FROM accounts_v1 WHERE connection_id = 'c-1'"), 0);
    // Nobody knows whether it is listed if the view cannot be read.
    world.app("DROP VIEW tink_sync_source_v1");
    forget(&world, &["c-0"]).expect(75);
    assert!(is_here(&world, "c-0"));
}

/// A store without an application, with one synced connection.
fn alone() -> World {
    let world = World::new(small(2)).unset("source.view").unset("source.database");
    for n in 0..2 {
        let (id, user) = (format!("c-{n}"), format!("user-{n}"));
        let add = ["connections", "add", &id, "--user", "u-0", "--external-user-id", &user];
        world.cli(&add).expect(0);
    }
    world.run(&[]).expect(0);
    world
}

#[test]
fn without_an_application_the_connection_and_at_last_its_user_leave_the_lists() {
    let world = alone();
    let users = || world.cli(&["users", "list"]).expect(0).stdout;
    forget(&world, &["c-0", "--actor", "jane", "--ip", "::1"]).expect(0);
    assert!(users().contains("u-0"));
    let rehearsed = forget(&world, &["c-1", "--dry-run"]).expect(0).stdout;
    assert!(
        rehearsed.contains("and the user, who has no other one") && rehearsed.contains("rehearsal"),
        "{rehearsed}"
    );
    assert!(is_here(&world, "c-1"));
    forget(&world, &["c-1"]).expect(0);
    assert!(users().contains("No users yet"), "{}", users());
    assert_eq!(world.run(&[]).expect(0).total("connections"), 0);
    let audited = "SELECT concat_ws(' ', action, connection_id, user_id, actor, ip) FROM audit_v1 WHERE connection_id = ?1";
    assert_eq!(
        world.texts(audited, "c-0").pop().unwrap()[0].as_deref(),
        Some("connection.forgotten c-0 u-0 jane ::1")
    );
}

#[test]
fn it_asks_on_a_terminal_only_and_can_be_repeated() {
    let world = alone();
    let asked = world.cli(&["connections", "forget", "c-0"]).expect(2).stderr;
    assert!(asked.contains("--yes") && asked.contains("nothing was erased"), "{asked}");
    assert!(is_here(&world, "c-0"));
    // All or none.
    let unknown = forget(&world, &["c-0", "nobody"]).expect(2).stderr;
    assert!(unknown.contains("unknown connection: nobody"), "{unknown}");
    assert!(is_here(&world, "c-0"));
    forget(&world, &["c-0", "c-1", "c-1"]).expect(0);
    let again = forget(&world, &["c-0"]).expect(0).stdout;
    assert!(again.contains("c-0 was forgotten before"), "{again}");
    let at_tink = forget(&world, &["c-0", "--at-tink"]).expect(0).stdout;
    assert!(at_tink.contains("is not known here any more"), "{at_tink}");
    let empty = World::new(small(0));
    forget(&empty, &["c-0"]).expect(2);
    assert!(!empty.has_store());
}

/// A pass that waits for the transactions of `c-0`, which never come until the faults are cleared.
fn waiting(world: &World) -> crate::harness::Running {
    let hang = Fault::new(Action::Hang).user("user-0").at(Endpoint::Transactions).times(Times::Forever);
    world.sandbox.fault(hang);
    let pass = world.start(&[]);
    until(|| world.sandbox.requests_to(Endpoint::Transactions) >= 2);
    pass
}

#[test]
fn a_run_that_is_at_work_on_it_writes_nothing_back() {
    let world = World::new(small(2)).set("tink.request_timeout", "\"1s\"").set("retry.attempts", "20");
    let pass = waiting(&world);
    until(|| world.number("SELECT count(*) FROM accounts_v1 WHERE connection_id = 'c-0'") > 0);
    world.app("DELETE FROM app_connections WHERE id = 'c-0'");
    forget(&world, &["c-0"]).expect(0);
    world.sandbox.clear_faults();
    let ran = pass.end().expect(0);
    assert_eq!(ran.ended("c-0"), ("skipped".to_owned(), Some("disabled".to_owned())));
    assert_eq!((ran.total("due"), ran.total("synced"), ran.skipped("disabled")), (2, 1, 1));
    assert!(!is_here(&world, "c-0"));
    world.assert_exact(1);
    world.assert_at_rest();
}

#[test]
fn a_connection_that_is_forgotten_before_its_turn_is_passed_over() {
    let world = World::new(small(3))
        .set("tink.request_timeout", "\"1s\"")
        .set("retry.attempts", "20")
        .set("tink.concurrency", "1");
    world.sandbox.fault(Fault::new(Action::Hang).user("user-0").at(Endpoint::Consents).times(Times::Forever));
    world.sandbox.fault(Fault::new(Action::Hang).user("user-1").at(Endpoint::Consents).times(Times::Forever));
    let pass = world.start(&[]);
    until(|| world.sandbox.requests_to(Endpoint::Consents) >= 1);
    world.app("DELETE FROM app_connections WHERE id = 'c-2'");
    forget(&world, &["c-2"]).expect(0);
    world.sandbox.clear_faults();
    let ran = pass.end().expect(0);
    assert_eq!((ran.total("due"), ran.total("synced"), ran.skipped("disabled")), (3, 2, 1), "{}", ran.stdout);
    assert!(!is_here(&world, "c-2"));
}

#[test]
fn a_key_that_an_application_may_have_kept_is_never_anothers() {
    let world = World::new(small(2));
    world.app("DELETE FROM app_connections WHERE id = 'c-0'");
    world.run(&[]).expect(0);
    let key = world.number("SELECT max(account_key) FROM accounts_v1");
    world.app("DELETE FROM app_connections");
    forget(&world, &["c-1"]).expect(0);
    world.app("INSERT INTO app_connections VALUES ('c-0', 'u-0', 1, 1, NULL, 'user-0')");
    // Also in the rehearsal, whose keys are the run's.
    world.run(&["--dry-run"]).expect(0);
    world.run(&[]).expect(0);
    assert!(world.number("SELECT min(account_key) FROM accounts_v1") > key);
    assert!(world.first_connection_key() > 1);
}

/// Every file below a directory, hidden ones too, with what it holds.
fn all_files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(all_files(&path));
        } else {
            files.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    files
}

/// The files of ours in which a text stands: not the application's, nor what says what the world is.
fn holding(world: &World, text: &str) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let files = all_files(world.path("").as_path()).into_iter().filter(|(_, bytes)| holds(bytes));
    let names = files.map(|(path, _)| path.strip_prefix(world.path("")).unwrap().display().to_string());
    let database = (Engine::asked() == Engine::Postgres && world.traces(text) > 0)
        .then(|| world.place.name().to_owned());
    names.filter(|name| !name.starts_with("app.db")).chain(database).collect()
}

/// Sam (`c-0`), whose data are marked, with an event for hooks and a metrics file.
fn told_of() -> World {
    let world = World::with_users(plain(0), vec![SAM.to_owned()]).set("sync.keep_raw", "\"90d\"");
    let metrics = quoted(&world.path("tink_sync.prom").display().to_string());
    let world = listening(world.set("report.metrics_file", &metrics), &[HookKind::NewTransactions]);
    for n in 1..3 {
        world.sandbox.script(SAM, marked(n));
        world.run(&[]).expect(0);
    }
    world
}

#[test]
fn a_death_in_between_leaves_it_whole_or_repeatable_to_the_last_byte() {
    let steps = ["forget the connection", "forget spooled events", "rewrite the store", "empty the log"];
    // What is done to a file so that nothing of the rows is left in it, a server does in its own time.
    let steps = if Engine::asked() == Engine::Sqlite { &steps[..] } else { &steps[..2] };
    for step in steps {
        for side in Side::BOTH {
            let world = told_of();
            let spooled = |world: &World| holding(world, "c-0").iter().any(|name| name.starts_with("spool/"));
            assert!(spooled(&world) && !holding(&world, "of sam").is_empty());
            world.app("DELETE FROM app_connections");
            let mut command = world.command(&[&FORGET[..], &["c-0"]].concat());
            let point = format!("{step}:{}", side.as_str());
            let ended = command.env(failpoint::VARIABLE, &point).stdin(Stdio::null()).output().unwrap();
            assert!(was_killed(ended.status), "{point}: {ended:?}");
            let whole = point == "forget the connection:before";
            assert_eq!(is_here(&world, "c-0"), whole, "{point}");
            assert_eq!(world.text("PRAGMA integrity_check").unwrap(), "ok");
            let repeated = forget(&world, &["c-0"]).expect(0);
            assert_eq!(repeated.stdout.contains("forgotten before"), !whole, "{point}: {}", repeated.stdout);
            assert!(!is_here(&world, "c-0"));
            for mark in ["of sam", "id-of-sam"] {
                assert_eq!(holding(&world, mark), [""; 0], "{point}: {mark}");
                assert!(!(repeated.stdout.clone() + &repeated.stderr).contains(mark), "{point}");
            }
            // The id stands in the audit log, and nowhere else.
            assert_eq!(holding(&world, "c-0"), [world.place.name()], "{point}");
            let audited = "SELECT count(*) FROM audit_v1 WHERE action = 'connection.forgotten'";
            assert_eq!(world.number(audited), 1);
        }
    }
}

#[test]
fn what_is_left_in_the_spool_goes_whether_or_not_the_row_is_known() {
    let world = told_of();
    world.app("DELETE FROM app_connections");
    let event =
        all_files(&world.path("spool")).into_iter().find(|(_, bytes)| bytes.starts_with(b"{")).unwrap();
    forget(&world, &["c-0"]).expect(0);
    // Put back, as from a backup; then the audit log forgets it too.
    for forgotten in [true, false] {
        std::fs::write(&event.0, &event.1).unwrap();
        if !forgotten {
            world.forget_audit();
        }
        let rehearsed = forget(&world, &["c-0", "--dry-run"]).expect(0).stdout;
        assert!(rehearsed.contains("1 event for hooks"), "{rehearsed}");
        assert!(event.0.exists());
        forget(&world, &["c-0"]).expect(0);
        assert!(!event.0.exists());
    }
    forget(&world, &["c-0"]).expect(2);
    // Nor is the store needed for it, or made.
    std::fs::write(&event.0, &event.1).unwrap();
    world.place.remove();
    forget(&world, &["c-0"]).expect(0);
    assert!(!event.0.exists() && !world.has_store());
}

#[test]
fn a_reader_that_holds_the_old_state_is_told_of_and_the_rows_are_gone() {
    let world = alone();
    let reader = world.reading();
    let mut child = world.command(&[&FORGET[..], &["c-0"]].concat());
    let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until(|| !is_here(&world, "c-0"));
    // SQLite waits for the reader; when it ends in time all is well.
    drop(reader);
    Ran::of(child.wait_with_output().unwrap()).expect(0);
}

#[test]
fn at_tink_the_user_goes_first_and_it_can_be_repeated() {
    let world = alone();
    let text = forget(&world, &["c-0", "--at-tink"]).expect(0).stdout;
    assert!(!text.contains("Tink still holds"), "{text}");
    assert!(text.contains("Deleted Tink's user user-0 with all its banks.\n"), "{text}");
    assert_eq!(world.sandbox.requests_to(Endpoint::UserDelete), 1);
    let details = "SELECT details FROM audit_v1 WHERE action = 'connection.forgotten'";
    assert!(world.text(details).unwrap().ends_with("transactions; deleted at Tink"));
    // Gone there before, as after a crash in between.
    world.sandbox.forget("user-1");
    let text = forget(&world, &["c-1", "--at-tink"]).expect(0).stdout;
    assert!(text.contains("Tink does not know user user-1 (any more)"), "{text}");
    assert_eq!(world.sandbox.requests_to(Endpoint::UserDelete), 1);
    assert!(!is_here(&world, "c-1"));
}

#[test]
fn a_lost_answer_to_the_deletion_is_resolved() {
    let world = alone();
    world.sandbox.fault(Fault::new(Action::LoseReply).at(Endpoint::UserDelete));
    forget(&world, &["c-0", "--at-tink"]).expect(0);
    assert!(!is_here(&world, "c-0"));
}

#[test]
fn what_tink_refuses_erases_nothing_here() {
    let world = alone();
    let whole = |ran: Ran, code: i32, said: &str| {
        let ran = ran.expect(code);
        assert!(
            ran.stderr.contains(said) && ran.stderr.contains("nothing was erased here"),
            "{}",
            ran.stderr
        );
        assert!(is_here(&world, "c-0"));
    };
    let down = Fault::new(Action::status(503)).at(Endpoint::UserDelete).times(Times::Forever);
    world.sandbox.fault(down);
    whole(forget(&world, &["c-0", "--at-tink"]), 69, "Tink failed (call user_delete");
    world.sandbox.clear_faults();
    let forbidden =
        Action::Status { code: 403, headers: Vec::new(), body: "{\"errorCode\":\"scope\"}".to_owned() };
    world.sandbox.fault(Fault::new(forbidden).at(Endpoint::UserDelete).times(Times::Forever));
    whole(forget(&world, &["c-0", "--at-tink"]), 77, "user:delete");
    world.sandbox.clear_faults();
    world.assert_exact(0);
    forget(&world, &["c-0", "--at-tink"]).expect(0);
}

#[test]
fn of_several_users_those_deleted_at_tink_before_a_failure_are_erased_told_and_audited() {
    let world = alone();
    let down = Fault::new(Action::status(503)).at(Endpoint::UserDelete).user("user-1").times(Times::Forever);
    world.sandbox.fault(down);
    let ran = forget(&world, &["c-0", "c-1", "--at-tink"]).expect(69);
    assert!(ran.stdout.contains("Deleted Tink's user user-0 with all its banks.\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Forgot connection c-0 of user u-0"), "{}", ran.stdout);
    assert!(ran.stderr.contains("nothing was erased here of c-1:"), "{}", ran.stderr);
    assert!(!is_here(&world, "c-0") && is_here(&world, "c-1"));
    let details = "SELECT group_concat(details, '|') FROM audit_v1 WHERE action = 'connection.forgotten'";
    assert!(world.text(details).unwrap().ends_with("transactions; deleted at Tink"));
    world.sandbox.clear_faults();
    forget(&world, &["c-0", "c-1", "--at-tink"]).expect(0);
    assert!(!is_here(&world, "c-1"));
    assert!(!world.text(details).unwrap().contains("not known at Tink"));
}

#[test]
fn an_app_that_may_not_delete_users_is_told_the_scope() {
    let scopes = [
        "authorization:grant",
        "accounts:read",
        "balances:read",
        "transactions:read",
        "provider-consents:read",
    ];
    let config = Config { app_scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(), ..small(1) };
    let world = World::new(config);
    world.run(&[]).expect(0);
    world.app("DELETE FROM app_connections");
    let ran = forget(&world, &["c-0", "--at-tink"]).expect(77);
    assert!(ran.stderr.contains("the app is not granted the scope user:delete"), "{}", ran.stderr);
    assert!(is_here(&world, "c-0"));
}

#[test]
fn a_user_at_tink_that_another_connection_needs_is_not_deleted() {
    let world = World::new(small(1));
    world.app("INSERT INTO app_connections VALUES ('c-1', 'u-0', 1, 1, NULL, 'user-0')");
    // Only one of them gets the data, and both hang on the user.
    world.run(&[]).expect(10);
    world.app("DELETE FROM app_connections WHERE id = 'c-0'");
    let refused = forget(&world, &["c-0", "--at-tink"]).expect(2).stderr;
    assert!(refused.contains("is also that of c-1"), "{refused}");
    assert_eq!(world.sandbox.requests_to(Endpoint::UserDelete), 0);
    world.app("DELETE FROM app_connections");
    forget(&world, &["c-0", "c-1", "--at-tink"]).expect(0);
    assert!(!is_here(&world, "c-0") && !is_here(&world, "c-1"));
}

//! Taking over what an application has kept: the first pass doubles nothing, loses nothing, and the same
//! import twice is the same as once.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};
use tink_sandbox::ScriptRow;
use tink_sync::failpoint;

use crate::harness::{Ran, Running, World, opened, small, until, was_killed};
use crate::inside::ORIGINALS;
use crate::scripted::{Fate, Sam, at, booked, day, ended, pending};
use crate::stored::Engine;

/// The line an application writes for a row.
fn line(row: &ScriptRow) -> String {
    let raw: Value = serde_json::from_str(&row.json).unwrap();
    json!({"connection_id": "c-0", "account_id": row.account_id, "transaction_id": row.id, "raw": raw})
        .to_string()
}

fn file(world: &World, lines: &[String]) -> String {
    let path = world.path("rows.jsonl");
    let text = lines.iter().fold(String::new(), |mut text, line| {
        writeln!(text, "{line}").unwrap();
        text
    });
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn import(sam: &Sam, rows: &[ScriptRow]) -> Value {
    let lines: Vec<String> = rows.iter().map(line).collect();
    import_lines(sam, &lines, &[], 0)
}

fn import_lines(sam: &Sam, lines: &[String], args: &[&str], code: i32) -> Value {
    let file = file(&sam.0, lines);
    let ran = sam.0.cli(&[&["import", &file, "--format", "json"], args].concat()).expect(code);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
}

fn numbers(report: &Value) -> (u64, u64, u64) {
    let number = |name: &str| report[name].as_u64().unwrap();
    (number("read"), number("added"), number("known"))
}

fn three(prefix: &str) -> Vec<ScriptRow> {
    let provider = |row: ScriptRow, id: &str| {
        row.but(|element| element["identifiers"] = json!({"providerTransactionId": id}))
    };
    vec![
        provider(booked(&format!("{prefix}1"), -3, "-100", "TRAM"), "bank-1"),
        booked(&format!("{prefix}2"), -2, "-250", "COFFEE"),
        booked(&format!("{prefix}3"), -1, "-990", "BOOKS"),
    ]
}

#[test]
fn the_first_pass_adds_nothing_that_was_taken_over() {
    let sam = Sam::new();
    let report = import(&sam, &three("x"));
    assert_eq!(numbers(&report), (3, 3, 0));
    assert_eq!(sam.live(), ["x1", "x2", "x3"]);
    let before = [sam.seq("x1"), sam.seq("x2"), sam.seq("x3")];
    let ran = ended(sam.pass(at(1, three("x"))), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("updated"), ran.total("removed")), (0, 0, 0));
    assert_eq!([sam.seq("x1"), sam.seq("x2"), sam.seq("x3")], before, "no reader is told anything");
    assert_eq!(sam.window().0, None, "no watermark was taken over, so everything is read");
    sam.0.assert_exact(0);
    ended(sam.pass(at(2, three("x"))), 0, "unchanged", None);
    assert_eq!(sam.window().0, Some(day(-14).to_string()));
    sam.0.assert_at_rest();
}

#[test]
fn what_tink_tells_otherwise_is_updated() {
    let sam = Sam::new();
    import(&sam, &three("x"));
    let mut now = three("x");
    now[1] = booked("x2", -2, "-260", "COFFEE");
    let ran = ended(sam.pass(at(1, now)), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("updated"), ran.total("removed")), (0, 1, 0));
    sam.0.assert_exact(0);
}

#[test]
fn ids_that_have_changed_since_are_replaced_one_by_one() {
    let sam = Sam::new();
    let mut old = three("x");
    // Honest twins, and a row older than all that Tink still gives.
    old.extend([booked("t1", -2, "-500", "CAKE"), booked("t2", -2, "-500", "CAKE")]);
    old.push(booked("ancient", -700, "-7", "RENT"));
    import(&sam, &old);
    let mut new = three("y");
    new.extend([booked("u1", -2, "-500", "CAKE"), booked("u2", -2, "-500", "CAKE")]);
    let ran = ended(sam.pass(at(1, new.clone())), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("removed")), (5, 5));
    assert_eq!(sam.live(), ["ancient", "u1", "u2", "y1", "y2", "y3"]);
    assert_eq!(sam.fate("x1"), Fate::replaced("y1", "reconsent:provider_id"));
    assert_eq!(sam.fate("x2"), Fate::replaced("y2", "reconsent:date+amount+text"));
    assert_eq!(sam.fate("t1").by, Some("u1".to_owned()));
    assert_eq!(sam.fate("t2").by, Some("u2".to_owned()));
    for n in 2..5 {
        ended(sam.pass(at(n, new.clone())), 0, "unchanged", None);
    }
    assert_eq!(sam.fate("ancient"), Fate::live());
}

#[test]
fn a_row_that_tink_does_not_give_is_kept_and_told_of_until_it_is_resolved() {
    let sam = Sam::new();
    let mut old = three("x");
    old.push(booked("lonely", -2, "-700", "RENT"));
    import(&sam, &old);
    ended(sam.pass(at(1, three("x"))), 0, "synced", Some("reconsent_unmatched"));
    for n in 2..5 {
        ended(sam.pass(at(n, three("x"))), 0, "unchanged", Some("reconsent_unmatched"));
    }
    assert_eq!(sam.fate("lonely"), Fate::live());
}

#[test]
fn lines_of_other_connections_than_the_one_asked_for_are_left_out_and_counted() {
    let sam = Sam::new();
    let mut lines: Vec<String> = three("x").iter().map(line).collect();
    // Whatever is wrong with lines of others.
    lines
        .push(json!({"connection_id": "c-9", "transaction_id": "y", "removed_at": "2026-01-01"}).to_string());
    lines.push(json!({"connection_id": "c-8", "nobody": "knows"}).to_string());
    let report = import_lines(&sam, &lines, &["--connection", "c-0"], 0);
    assert_eq!(
        (numbers(&report), report["left_out"].as_u64(), report["bad"].as_u64()),
        ((3, 3, 0), Some(2), Some(0))
    );
    let file = file(&sam.0, &lines);
    let told = sam.0.cli(&["import", &file, "--connection", "c-0"]).expect(0).stdout;
    assert!(told.contains("2 lines of other connections left out"), "{told}");
    // A connection that nobody has is a mistake, not one without rows.
    let ran = sam.0.cli(&["import", &file, "--connection", "c-7"]).expect(2);
    assert!(ran.stderr.contains("unknown connection: c-7"), "{}", ran.stderr);
    assert_eq!(import_lines(&sam, &lines, &[], 2)["left_out"], 0);
}

#[test]
fn pendings_of_long_ago_do_not_stay() {
    let sam = Sam::new();
    import(&sam, &[vec![pending("p", -5, "-333", "HOTEL")], three("x")].concat());
    sam.pass(at(1, three("x"))).expect(0);
    sam.pass(at(2, three("x"))).expect(0);
    assert_eq!(sam.fate("p"), Fate::vanished());
    sam.0.assert_exact(0);
}

#[test]
fn an_account_that_has_another_id_today_is_told_by_account_id() {
    let sam = Sam::new();
    let lines: Vec<String> = three("x")
        .iter()
        .map(|row| {
            let mut line: Value = serde_json::from_str(&line(row)).unwrap();
            line["raw"]["accountId"] = "an older id".into();
            line.to_string()
        })
        .collect();
    assert_eq!(numbers(&import_lines(&sam, &lines, &[], 0)), (3, 3, 0));
    ended(sam.pass(at(1, three("y"))), 0, "synced", None);
    assert_eq!(sam.live(), ["y1", "y2", "y3"]);
    sam.0.assert_exact(0);
}

#[test]
fn the_same_import_twice_is_once_also_after_the_first_pass() {
    let sam = Sam::new();
    let rows = three("x");
    let doubled = [rows.clone(), rows[..1].to_vec()].concat();
    assert_eq!(numbers(&import(&sam, &doubled)), (4, 3, 1));
    let seen = sam.seq("x3");
    assert_eq!(numbers(&import(&sam, &rows)), (3, 0, 3));
    assert_eq!(sam.seq("x3"), seen);
    sam.pass(at(1, three("y"))).expect(0);
    assert_eq!(numbers(&import(&sam, &rows)), (3, 0, 3));
    assert_eq!(sam.live(), ["y1", "y2", "y3"]);
    let audited =
        sam.0.texts("SELECT action || ' ' || details FROM audit_v1 WHERE connection_id = ?1", "c-0");
    assert_eq!(audited.len(), 1, "{audited:?}");
    let run = sam.row("x1", "first_seen_run");
    assert_eq!(audited[0][0], Some(format!("connection.imported 3 rows, run {run}")));
    assert_eq!(sam.0.text("SELECT run_id FROM audit_v1").as_ref(), Some(&run));
    let sql =
        format!("SELECT trigger || ' ' || exit_code || ' ' || added FROM runs_v1 WHERE run_id = '{run}'");
    assert_eq!(sam.0.text(&sql), Some("manual 0 3".to_owned()));
}

#[test]
fn after_the_first_pass_only_rows_older_than_all_others_are_taken() {
    let sam = Sam::with(at(1, three("x")));
    let late = [booked("before", -400, "-1", "OLD"), booked("among", -2, "-250", "COFFEE")];
    let lines: Vec<String> = late.iter().map(line).collect();
    let report = import_lines(&sam, &lines, &[], 2);
    assert_eq!(
        (&report["kept"], &report["bad"], &report["problems"][0]["line"]),
        (&json!(false), &json!(1), &json!(2))
    );
    assert!(report["problems"][0]["problem"].as_str().unwrap().contains("has been synced already"));
    assert_eq!(sam.live(), ["x1", "x2", "x3"]);
    let report = import_lines(&sam, &lines, &["--skip-bad"], 10);
    assert_eq!((numbers(&report), &report["bad"]), ((1, 1, 0), &json!(1)));
    assert_eq!(sam.live(), ["before", "x1", "x2", "x3"]);
    ended(sam.pass(at(2, three("x"))), 0, "unchanged", None);
    assert_eq!(sam.fate("before"), Fate::live());
}

#[test]
fn a_rehearsal_tells_the_same_and_writes_nothing() {
    let sam = Sam::new();
    let lines: Vec<String> = three("x").iter().map(line).collect();
    let dry = import_lines(&sam, &lines, &["--dry-run"], 0);
    assert_eq!(numbers(&dry), (3, 3, 0));
    assert!(!sam.0.has_store());
    import_lines(&sam, &lines[..1], &[], 0);
    let before = (sam.0.number("SELECT count(*) FROM runs_v1"), sam.live());
    let dry = import_lines(&sam, &lines, &["--dry-run"], 0);
    assert_eq!((sam.0.number("SELECT count(*) FROM runs_v1"), sam.live()), before);
    let wet = import_lines(&sam, &lines, &[], 0);
    assert_eq!(numbers(&dry), (3, 2, 1));
    assert_eq!((numbers(&wet), &wet["connections"]), (numbers(&dry), &dry["connections"]));
}

#[test]
fn one_bad_line_keeps_all_out_unless_bad_ones_are_skipped() {
    let sam = Sam::new();
    let mut lines: Vec<String> = three("x").iter().map(line).collect();
    lines.insert(1, "{\"connection_id\":\"c-0\",\"raw\":{\"id\":\"z\"}}".to_owned());
    lines.insert(3, line(&booked("w", -1, "-1", "x")).replace("\"c-0\"", "\"nobody\""));
    lines.push("SELECT 77".to_owned());
    let path = file(&sam.0, &lines);
    let ran = sam.0.cli(&["import", &path]).expect(2);
    for said in ["line 2: raw: ", "line 4: unknown connection: nobody", "line 6: not a JSON object"] {
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    }
    assert!(ran.stderr.contains("nothing was taken over: 3 lines cannot be") && !ran.stdout.contains("77"));
    assert_eq!(sam.live(), Vec::<String>::new());
    assert_eq!(sam.0.number("SELECT count(*) FROM accounts_v1"), 0);
    assert_eq!(sam.0.number("SELECT count(*) FROM audit_v1"), 0);
    let ran = sam.0.cli(&["import", &path, "--skip-bad"]).expect(10);
    assert!(ran.stdout.starts_with("3 rows read: 3 taken over, 0 there already.\n"), "{}", ran.stdout);
    assert_eq!(sam.live(), ["x1", "x2", "x3"]);
    sam.0.assert_at_rest();
}

#[test]
fn two_lines_that_contradict_each_other_are_told_of_with_both_numbers() {
    let sam = Sam::new();
    let with = |row: &ScriptRow, field: &str, value: Value| {
        let mut line: Value = serde_json::from_str(&line(row)).unwrap();
        line["raw"][field] = value;
        line.to_string()
    };
    let rows = three("x");
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    // The same once more; with another status; the same of another account; with another text.
    lines.push(line(&rows[0]));
    lines.push(with(&rows[1], "status", json!("PENDING")));
    lines.push(line(&rows[2]).replace("\"account_id\":\"a1\"", "\"account_id\":\"a2\""));
    lines.push(with(&rows[2], "descriptions", json!({"original": "ANOTHER"})));
    for wet in [&["--dry-run"][..], &[]] {
        let report = import_lines(&sam, &lines, wet, 2);
        let problems = report["problems"].as_array().unwrap();
        let told: Vec<_> =
            problems.iter().map(|one| (&one["line"], one["problem"].as_str().unwrap())).collect();
        assert_eq!((report["bad"].as_u64(), told.len()), (Some(2), 2), "{report}");
        assert!(*told[0].0 == 5 && told[0].1.contains("of line 2, with another content"), "{told:?}");
        assert!(*told[1].0 == 7 && told[1].1.contains("of line 3, with another content"), "{told:?}");
    }
    let report = import_lines(&sam, &lines, &["--skip-bad"], 10);
    assert_eq!((numbers(&report), report["bad"].as_u64()), ((5, 4, 1), Some(2)));
    // Also of rows that are stored already: what stands in the input is wrong all the same.
    let report = import_lines(&sam, &lines, &[], 2);
    assert_eq!((numbers(&report), report["bad"].as_u64()), ((5, 0, 5), Some(2)));
}

#[test]
fn rows_come_through_a_pipe_or_not_at_all() {
    let sam = Sam::new();
    let text: String = three("x").iter().map(|row| line(row) + "\n").collect();
    let mut child = sam
        .0
        .command(&["import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Ran::of(child.wait_with_output().unwrap()).expect(0);
    assert_eq!(sam.live(), ["x1", "x2", "x3"]);
    assert!(!sam.0.files().iter().any(|name| name.contains("import")));
    let ran = sam.0.cli(&["import", "/no/such/file"]).expect(2);
    assert!(ran.stderr.contains("cannot read /no/such/file"), "{}", ran.stderr);
    let array = sam.0.path("array.json");
    std::fs::write(&array, "[{\"connection_id\":\"c-0\"}]\n").unwrap();
    let ran = sam.0.cli(&["import", array.to_str().unwrap()]).expect(2);
    assert!(ran.stdout.contains("line 1: a JSON array"), "{}", ran.stdout);
}

#[test]
fn killed_at_its_only_step_an_import_is_there_as_a_whole_or_not_at_all() {
    for (side, rows) in [("before", 0), ("after", 3)] {
        let sam = Sam::new();
        let path = file(&sam.0, &three("x").iter().map(line).collect::<Vec<_>>());
        let mut command = sam.0.command(&["import", &path]);
        let status = command.env(failpoint::VARIABLE, format!("take over rows:{side}")).status().unwrap();
        assert!(was_killed(status), "{side}");
        assert_eq!(sam.live().len(), rows, "{side}");
        let sum = numbers(&import(&sam, &three("x")));
        assert_eq!(sum, (3, 3 - rows as u64, rows as u64), "{side}");
        ended(sam.pass(at(1, three("x"))), 0, "synced", None);
        sam.0.assert_exact(0);
        sam.0.assert_at_rest();
    }
}

#[test]
fn a_connection_that_is_being_worked_on_is_left_alone() {
    let sam = Sam::new();
    import(&sam, &three("x"));
    sam.0.lease_all();
    // A process of that run; without one, a command of these tests takes the run for dead.
    let _at_work = sam.0.reading();
    let report = import_lines(&sam, &[line(&booked("z", -1, "-1", "x"))], &[], 2);
    assert!(
        report["problems"][0]["problem"].as_str().unwrap().contains("a run is working on connection c-0")
    );
}

/// Others would end it, and a pass of theirs would take it for one that has died.
#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_an_import_that_takes_longer_than_a_lease_is_heard_of() {
    let world = World::on(Engine::Postgres, Engine::Sqlite, small(1), vec!["user-0".to_owned()]);
    let rows = |prefix| file(&world, &three(prefix).iter().map(line).collect::<Vec<_>>());
    world.cli(&["import", &rows("x")]).expect(0);
    world.leases_last(2);
    let others = world.with_numbers_reserved();
    let importing =
        Running(Some(world.command(&["import", &rows("y")]).stdout(Stdio::piped()).spawn().unwrap()));
    until(|| world.a_run_lives_for(4));
    drop(others);
    assert!(importing.end().expect(0).stdout.contains("3 taken over"));
}

#[test]
fn what_was_exported_can_be_taken_over_elsewhere() {
    let from = Sam::with(at(1, three("x")));
    let text = from.0.cli(&["export", "--format", "jsonl"]).expect(0).stdout;
    let to = Sam::new();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(numbers(&import_lines(&to, &lines, &[], 0)), (3, 3, 0));
    let ran = ended(to.pass(at(1, three("x"))), 0, "synced", None);
    assert_eq!((ran.total("added"), ran.total("updated"), ran.total("removed")), (0, 0, 0));
    to.0.assert_exact(0);
}

#[test]
fn whole_histories_of_many_connections_are_taken_over() {
    let world = World::new(small(4)).set("sync.keep_raw", "\"90d\"");
    let mut lines = Vec::new();
    let other = World::new(small(4)).set("sync.keep_raw", "\"90d\"");
    other.run(&[]).expect(0);
    let store = other.store();
    // As an application would: one that has every row with its JSON.
    let mut rows = store.prepare(ORIGINALS).unwrap();
    let all = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
    lines.extend(all.map(Result::unwrap));
    assert!(lines.len() > 30);
    let path = file(&world, &lines);
    let ran = world.cli(&["import", &path, "--connection", "c-1"]).expect(0);
    assert!(!ran.stdout.contains("c-2"), "{}", ran.stdout);
    world.cli(&["import", &path]).expect(0);
    let ran = world.run(&[]).expect(0);
    assert_eq!((ran.total("added"), ran.total("updated"), ran.total("removed")), (0, 0, 0));
    world.assert_all_exact();
    assert_eq!(world.originals(), i64::try_from(lines.len()).unwrap());
}

/// The query that the README gives for an application's database.
fn query() -> &'static str {
    let chapter = include_str!("../../README.md").split("### Taking over existing rows").nth(1).unwrap();
    chapter.split("<<'SQL'\n").nth(1).unwrap().split("\nSQL\n").next().unwrap()
}

#[test]
fn the_query_of_the_readme_writes_what_is_taken_over() {
    let sam = Sam::new();
    sam.0.app(
        "CREATE TABLE bank_accounts (id INTEGER, bank_link_id TEXT, tink_account_id TEXT);
         CREATE TABLE bank_transactions (id INTEGER, account_id INTEGER, tink_transaction_id TEXT, raw_data TEXT);
         INSERT INTO bank_accounts VALUES (1, 'c-0', 'a1');",
    );
    let app = opened(&sam.0.path("app.db"));
    for row in three("x") {
        let values = (row.id, row.json);
        app.execute("INSERT INTO bank_transactions VALUES (1, 1, ?1, ?2)", values).unwrap();
    }
    let mut rows = app.prepare(query()).unwrap();
    let lines: Vec<String> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(numbers(&import_lines(&sam, &lines, &[], 0)), (3, 3, 0));
    ended(sam.pass(at(1, three("x"))), 0, "synced", None);
    sam.0.assert_exact(0);
}

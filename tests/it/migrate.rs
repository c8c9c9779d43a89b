//! A store is moved to another engine and back: nothing is lost, doubled or numbered anew, wherever the move is cut short,
//! and nobody uses half a store. Needs PostgreSQL's programs.

use std::process::Command;

use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::Value as Json;
use tink_sandbox::{Action, Config, Endpoint, Fault, Rates, Times};
use tink_sync::failpoint::Side;

use crate::feed::Reader;
use crate::harness::{Ran, World, small, until, was_killed};
use crate::inside::whole::{counters, named, rows, tables};
use crate::stored::{Engine, Place};

/// The steps of a move.
const STEPS: [&str; 3] = ["begin the move", "copy rows", "complete the move"];

/// A world of every oddity of the sandbox, a few days old, in a file.
fn old_world() -> World {
    // One more than there are connections of.
    let config = Config { users: 6, history_days: 40, ..Config::default() };
    let users = (0..5).map(|n| format!("user-{n}")).collect();
    let world = World::on(Engine::Sqlite, Engine::Sqlite, config, users).set("sync.keep_raw", "\"90d\"");
    for day in 0..4 {
        world.sandbox.set_day(day);
        world.run(&[]);
    }
    world.cli(&["connections", "disable", "c-4"]);
    world
}

/// The same with rows in every table.
fn odd_world() -> World {
    let world = old_world();
    world.fill_every_table();
    world
}

/// A small one, fast to move.
fn small_world(engine: Engine) -> World {
    let world = World::on(engine, Engine::Sqlite, small(2), vec!["user-0".into(), "user-1".into()]);
    world.run(&[]).expect(0);
    world
}

/// An empty place on the other engine.
fn elsewhere(world: &World, name: &str) -> Place {
    let engine = match world.place {
        Place::File(_) => Engine::Postgres,
        Place::Database(_) => Engine::Sqlite,
    };
    Place::new(engine, world.path(name))
}

fn migrate(world: &World, to: &Place, more: &[&str]) -> Ran {
    let url = to.url();
    world.cli(&[&["migrate-store", "--to", &url], more].concat())
}

/// Moves it and goes on there; returns the place it came from.
fn moved(world: World, to: &Place) -> (World, Place) {
    migrate(&world, to, &[]).expect(0);
    let before = world.place.clone();
    (world.restored(to.clone()), before)
}

/// Fails unless both stores show the same, but for the act of the move itself.
fn assert_same_views(old: &Connection, new: &Connection) {
    let views = named(
        old,
        "SELECT name FROM sqlite_master WHERE type = 'view' AND name LIKE '%!_v1' ESCAPE '!' ORDER BY name",
    );
    assert!(views.len() > 9, "{views:?}");
    for view in views.iter().filter(|view| *view != "tink_sync_source_v1") {
        let all = old.prepare(&format!("SELECT * FROM {view}")).unwrap();
        let columns: Vec<String> = all.column_names().map(|name| format!("{name:?}")).collect();
        let columns = columns.join(", ");
        let mut there = rows(new, view, &columns);
        there.retain(|row| !row.contains(&Value::Text("store.migrated".to_owned())));
        let mut here = rows(old, view, &columns);
        here.retain(|row| !row.contains(&Value::Text("store.migrated".to_owned())));
        assert_eq!(here, there, "{view}");
    }
}

/// The same for the tables of two files.
fn assert_same_tables(old: &Connection, new: &Connection) {
    for table in tables(old) {
        let mut there = rows(new, &table, "*");
        there.retain(|row| !row.contains(&Value::Text("store.migrated".to_owned())));
        assert_eq!(rows(old, &table, "*"), there, "{table}");
    }
    assert_eq!(counters(old), counters(new), "a number that was given is not given twice");
}

#[test]
fn a_store_goes_to_postgres_and_comes_back_as_it_was() {
    let world = odd_world();
    let first = world.place.backup(world.path("first.db"));
    let bytes = world.place.bytes();
    let (there, back) = (elsewhere(&world, ""), Place::File(world.path("back.db")));

    let rehearsed = migrate(&world, &there, &["--dry-run"]).expect(0);
    assert!(rehearsed.stdout.contains("would be copied"), "{}", rehearsed.stdout);
    assert!(!there.exists(), "a rehearsal makes nothing");
    let ran = migrate(&world, &there, &[]).expect(0);
    assert!(ran.stdout.contains("equal by count and checksum"), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("store.url = \"{}\"", there.url())), "{}", ran.stdout);
    assert_same_views(&first.look(), &there.look());
    assert!(world.place.bytes() == bytes, "the old store is only read");
    // Again: it is complete.
    let again = migrate(&world, &there, &["--format", "json"]).expect(0);
    let report: Json = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!((&report["complete"], &report["was_complete"]), (&true.into(), &true.into()), "{report}");
    let mut listed: Vec<&str> =
        report["tables"].as_array().unwrap().iter().map(|table| table["table"].as_str().unwrap()).collect();
    listed.sort_unstable();
    assert_eq!(listed, tables(&first.look()), "every table is moved");
    let acts = "SELECT count(*) FROM audit_v1 WHERE action = 'store.migrated'";
    let world = world.restored(there);
    assert_eq!(world.number(acts), 1);

    let (world, _) = moved(world, &back);
    assert_same_views(&first.look(), &world.store());
    assert_same_tables(&first.look(), &world.store());
    assert_eq!(world.number(acts), 2);
}

#[test]
fn a_store_may_stay_on_its_engine() {
    let world = small_world(Engine::Sqlite);
    let first = world.place.backup(world.path("first.db"));
    let other = Place::File(world.path("other.db"));
    let (world, _) = moved(world, &other);
    assert_same_tables(&first.look(), &world.store());
    let (world, _) = moved(world, &elsewhere_on(Engine::Postgres));
    let (world, _) = moved(world, &elsewhere_on(Engine::Postgres));
    assert_same_views(&first.look(), &world.store());
    world.run(&[]).expect(0);
}

fn elsewhere_on(engine: Engine) -> Place {
    Place::new(engine, "unused".into())
}

#[test]
fn readers_and_passes_go_on_where_they_were() {
    let mut world = old_world();
    let mut reader = Reader::default();
    reader.follow(&world.store());
    let counter = "SELECT last_change_seq FROM feed_v1";
    for name in ["there", "back.db"] {
        let (seen, runs) = (world.number(counter), world.number("SELECT count(*) FROM runs_v1"));
        let to = elsewhere(&world, name);
        world = moved(world, &to).0;
        assert_eq!(world.number(counter), seen, "nothing is news because it was moved");
        reader.follow(&world.store());
        reader.assert_equal(&world.store());
        // What there was is known: not one row is written.
        let ran = world.run(&[]);
        assert_eq!(
            (ran.total("added"), ran.total("updated"), ran.total("removed")),
            (0, 0, 0),
            "{}",
            ran.stdout
        );
        assert_eq!(world.number("SELECT count(*) FROM runs_v1"), runs + 1);
        reader.follow(&world.store());
        // And what is new gets new numbers and keys.
        let day = if name == "there" { 5 } else { 7 };
        world.sandbox.set_day(day);
        assert!(world.run(&[]).total("added") > 0);
        assert!(world.number(counter) > seen);
        reader.follow(&world.store());
        reader.assert_equal(&world.store());
    }
}

#[test]
fn keys_that_were_given_are_not_given_again() {
    let mut world = odd_world();
    for name in ["there", "back.db"] {
        let to = elsewhere(&world, name);
        world = moved(world, &to).0;
        world.no_own_connections();
        world.app(&format!(
            "INSERT INTO app_connections VALUES ('new-{name}', 'n-{name}', 1, 1, NULL, 'user-{name}')"
        ));
        world.run(&[]);
        assert!(world.new_connections_behind());
        assert!(world.one_more_event() > 2, "one that was told is not given twice");
    }
    // An account's key, too.
    let known = "SELECT count(*) FROM accounts_v1 WHERE account_key > 700";
    assert_eq!(world.number(known), 0);
    world.app("INSERT INTO app_connections VALUES ('c-5', 'u-5', 1, 1, NULL, 'user-5')");
    world.run(&[]);
    assert!(world.number(known) > 0);
}

#[test]
fn a_move_that_is_cut_short_goes_on_and_ends_right() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let world = small_world(engine);
        let places = STEPS.iter().flat_map(|step| Side::BOTH.map(|side| (*step, side)));
        let mut tried = Vec::new();
        for (step, side) in places {
            for nth in if step == "copy rows" { vec![1, 2, 5, 8] } else { vec![1] } {
                let point = format!("{step}:{}#{nth}", side.as_str());
                let to = elsewhere(&world, &format!("{}.db", tried.len()));
                let url = to.url();
                let mut dying = world.command(&["migrate-store", "--to", &url]);
                let ended = dying.env("TINK_SYNC_FAILPOINT", &point).output().unwrap();
                assert!(was_killed(ended.status), "{point}: {}", String::from_utf8_lossy(&ended.stdout));
                let is_complete = step == "complete the move" && side == Side::After;
                let is_begun = !(step == "begin the move" && side == Side::Before);
                if is_begun && !is_complete {
                    unusable(&world, &to, &point);
                }
                let ran = migrate(&world, &to, &["--format", "json"]).expect(0);
                let report: Json = serde_json::from_str(&ran.stdout).unwrap();
                assert_eq!(report["resumed"], is_begun && !is_complete, "{point}");
                assert_same_views(&world.store(), &to.look());
                tried.push(to);
            }
        }
        assert!(tried.len() > 10);
    }
}

/// Fails unless nobody can use what there is.
fn unusable(world: &World, half: &Place, point: &str) {
    let config = std::fs::read_to_string(world.path("tink-sync.toml")).unwrap();
    let other = config.replace(&world.place.url(), &half.url());
    assert_ne!(config, other);
    std::fs::write(world.path("other.toml"), other).unwrap();
    for args in [&["run"][..], &["run", "--dry-run"], &["status"], &["prune"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tink-sync"));
        command.env_clear().env("TINK_SYNC_USER", "root").arg("--config").arg(world.path("other.toml"));
        let ran = Ran::of(command.args(args).output().unwrap()).expect(74);
        assert!(
            ran.stderr.contains("is not complete; finish it with `tink-sync migrate-store`"),
            "{point}: {}",
            ran.stderr
        );
    }
}

#[test]
fn what_changes_between_two_tries_comes_along() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let world = small_world(engine);
        let to = elsewhere(&world, "new.db");
        for day in 1..4 {
            let url = to.url();
            let mut dying = world.command(&["migrate-store", "--to", &url]);
            let ended = dying.env("TINK_SYNC_FAILPOINT", "complete the move:before").output().unwrap();
            assert!(was_killed(ended.status));
            world.sandbox.set_day(day);
            world.run(&[]).expect(0);
            // Rows go, come, and change places.
            world.shuffle(day);
        }
        migrate(&world, &to, &[]).expect(0);
        assert_same_views(&world.store(), &to.look());
    }
}

#[test]
fn no_store_is_moved_beside_a_running_pass() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let world = small_world(engine);
        let to = elsewhere(&world, "new.db");
        let hang = Fault::new(Action::Hang).at(Endpoint::Transactions).user("user-1").times(Times::Forever);
        world.sandbox.fault(hang);
        world.sandbox.set_day(1);
        let pass = world.start(&[]);
        until(|| world.number("SELECT count(*) FROM runs_v1 WHERE finished_at IS NULL") == 1);
        for more in [&[][..], &["--dry-run"]] {
            let ran = migrate(&world, &to, more).expect(75);
            assert!(ran.stderr.contains("is at work on it; stop the timer"), "{}", ran.stderr);
        }
        assert!(!to.exists());
        pass.stop("TERM");
        migrate(&world, &to, &[]).expect(0);
        assert_same_views(&world.store(), &to.look());
    }
}

#[test]
fn a_pass_that_begins_meanwhile_is_not_lost() {
    let world = small_world(Engine::Sqlite);
    let to = elsewhere(&world, "");
    // GIVEN a move that has copied much of the store, and is stopped
    let url = to.url();
    let mut dying = world.command(&["migrate-store", "--to", &url]);
    dying.env("TINK_SYNC_FAILPOINT", "complete the move:before").output().unwrap();
    // WHEN a pass is at work as it would be completed
    let alive = world.path("store.db-run-alive.lock");
    let lock = std::fs::File::create(&alive).unwrap();
    lock.lock().unwrap();
    world.begin_run("alive");
    // THEN it is not completed, and nobody can use it
    migrate(&world, &to, &[]).expect(75);
    unusable(&world, &to, "a pass at work");
    // Not by closing it alone: a process that another test is starting may hold it for a moment.
    lock.unlock().unwrap();
    drop(lock);
    migrate(&world, &to, &[]).expect(0);
    assert_same_views(&world.store(), &to.look());
}

#[test]
fn a_wrong_place_is_refused_and_left_alone() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let world = small_world(engine);
        let before = world.place.bytes();
        // The store itself, also by another name.
        let itself = world.place.clone();
        let ran = migrate(&world, &itself, &[]).expect(2);
        assert!(ran.stderr.contains("is the store itself"), "{}", ran.stderr);
        if let Place::File(path) = &world.place {
            std::os::unix::fs::symlink(path, world.path("link.db")).unwrap();
            migrate(&world, &Place::File(world.path("link.db")), &[]).expect(2);
        }
        // Another store.
        let other = small_world(if engine == Engine::Sqlite { Engine::Postgres } else { Engine::Sqlite });
        let bytes = other.place.bytes();
        for more in [&[][..], &["--dry-run"]] {
            let ran = migrate(&world, &other.place, more).expect(2);
            assert!(ran.stderr.contains("holds another store already (2 connections)"), "{}", ran.stderr);
        }
        assert!(other.place.bytes() == bytes);
        // This store, once passes have gone on there.
        let to = elsewhere(&world, "new.db");
        migrate(&world, &to, &[]).expect(0);
        let world = world.restored(to.clone());
        world.sandbox.set_day(2);
        world.run(&[]).expect(0);
        let world = world.restored(itself.clone());
        let there = to.bytes();
        let ran = migrate(&world, &to, &[]).expect(2);
        assert!(ran.stderr.contains("or one that was used since"), "{}", ran.stderr);
        assert!(to.bytes() == there);
        assert!(world.place.bytes() == before, "the store itself was only read");
        // No address at all, and a place that cannot be.
        let ran = world.cli(&["migrate-store", "--to", "mysql://x"]).expect(2);
        assert!(ran.stderr.contains("--to: expected `sqlite:`"), "{}", ran.stderr);
        for more in [&[][..], &["--dry-run"]] {
            migrate(&world, &Place::File("/nowhere/at/all.db".into()), more).expect(74);
        }
    }
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let world = small_world(Engine::Sqlite);
    let app = Place::File(world.path("app.db"));
    let before = app.bytes();
    for more in [&["--dry-run"][..], &[]] {
        let ran = migrate(&world, &app, more).expect(2);
        assert!(ran.stderr.contains("holds the tables of something else"), "{}", ran.stderr);
    }
    assert!(app.bytes() == before);
}

#[test]
fn a_rehearsal_of_a_move_tells_of_the_rights_that_it_lacks() {
    let world = small_world(Engine::Sqlite);
    let to = elsewhere(&world, "");
    let Place::Database(database) = &to else { panic!("it is a file") };
    let (done, said) = database.psql("admin", "CREATE ROLE visitor LOGIN");
    assert!(done || said.contains("already exists"), "{said}");
    let url = database.url_of("visitor");
    for more in [&["--dry-run"][..], &[]] {
        let ran = world.cli(&[&["migrate-store", "--to", &url], more].concat()).expect(74);
        assert!(ran.stderr.contains("the role visitor lacks CREATE on database"), "{}", ran.stderr);
    }
    assert!(!to.exists());
}

#[test]
fn two_moves_to_one_place_do_not_mix() {
    let (world, other) = (small_world(Engine::Sqlite), small_world(Engine::Sqlite));
    other.sandbox.set_day(3);
    other.run(&[]);
    let to = elsewhere(&world, "");
    let url = to.url();
    // One was cut short; another store goes there instead.
    let mut dying = world.command(&["migrate-store", "--to", &url]);
    let ended = dying.env("TINK_SYNC_FAILPOINT", "complete the move:before").output().unwrap();
    assert!(was_killed(ended.status));
    migrate(&other, &to, &[]).expect(0);
    assert_same_views(&other.store(), &to.look());
    // The first finds a store that is not its own.
    migrate(&world, &to, &[]).expect(2);
}

#[test]
fn what_postgres_cannot_keep_is_named_before_anything_is_copied() {
    let world = small_world(Engine::Sqlite);
    world.nul_in_a_description();
    let to = elsewhere(&world, "");
    for more in [&["--dry-run"][..], &[]] {
        let ran = migrate(&world, &to, more).expect(74);
        let wanted = "_transactions: description of a row of connection c-";
        assert!(ran.stderr.contains(wanted), "{}", ran.stderr);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    assert!(!to.exists());
    // A file keeps it.
    migrate(&world, &Place::File(world.path("file.db")), &[]).expect(0);
}

#[test]
fn a_store_of_another_release_is_not_moved() {
    let world = small_world(Engine::Sqlite);
    let to = elsewhere(&world, "");
    world.other_views();
    let ran = migrate(&world, &to, &[]).expect(74);
    assert!(ran.stderr.contains("the next `tink-sync run` applies"), "{}", ran.stderr);
    world.newer_views();
    let ran = migrate(&world, &to, &[]).expect(74);
    assert!(ran.stderr.contains("of a newer release: upgrade tink-sync"), "{}", ran.stderr);
    world.older_views();
    world.run(&[]).expect(0);
    migrate(&world, &to, &[]).expect(0);
    world.newer_schema();
    assert!(migrate(&world, &to, &[]).expect(74).stderr.contains("upgrade tink-sync"));
}

#[test]
fn the_view_of_an_application_that_does_not_move_is_told_of() {
    let rates = Rates::none();
    let config = Config { rates, ..small(1) };
    let world = World::on(Engine::Sqlite, Engine::Sqlite, config, vec!["user-0".into()]);
    let app = world.path("app.db").display().to_string();
    let world = world.set("store.url", &format!("\"sqlite:{app}\"")).unset("source.database");
    world.run(&[]).expect(0);
    let to = Place::new(Engine::Postgres, world.path(""));
    let ran = migrate(&world, &to, &[]).expect(0);
    assert!(ran.stdout.contains("source.database = "), "{}", ran.stdout);
    let world = world.restored(to).set("source.database", &format!("\"{app}\""));
    assert_eq!(world.run(&[]).expect(0).total("unchanged"), 1);
}

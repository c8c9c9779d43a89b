//! Stores, sources and passes that are not as they should be.

use std::fs;

use super::{assert_all, assert_bound, assert_told, chmod, fails, made, warns, write};
use crate::harness::{World, quoted, small};
use crate::inside::HOUR;
use crate::store_faults::Disk;
use crate::stored::only_on_sqlite;

#[test]
fn a_store_that_no_pass_can_use() {
    only_on_sqlite!("its file is missing, damaged, or not to be written");
    assert_all(&[
        (
            "a server that is not there",
            |world| world.set("store.url", "\"postgres://127.0.0.1:1/bank\""),
            fails(75, "store", "postgres://127.0.0.1:1/bank", "start PostgreSQL there"),
        ),
        (
            "no directory",
            |world| {
                let url = format!("sqlite:{}", world.path("no/where/store.db").display());
                world.set("store.url", &quoted(&url))
            },
            fails(74, "store", "does not exist", "install -d -m 2750 -o tink-sync"),
        ),
        (
            "a directory",
            |world| {
                let url = format!("sqlite:{}", world.dir.path().display());
                world.set("store.url", &quoted(&url))
            },
            fails(74, "store", "is a directory", "name a file in store.url, such as sqlite:/"),
        ),
        (
            "no database",
            |world| {
                write(&world, "store.db", &"no database at all".repeat(100));
                world
            },
            fails(74, "store", "file is not a database", "check store.url"),
        ),
        (
            "a damaged one",
            |world| {
                world.run(&[]).expect(0);
                let mut bytes = fs::read(world.path("store.db")).unwrap();
                for page in bytes.chunks_mut(4096).skip(12).step_by(3) {
                    page.fill(0xA5);
                }
                fs::write(world.path("store.db"), bytes).unwrap();
                world
            },
            fails(74, "store", "store.db", "a backup"),
        ),
        (
            "a newer one",
            |world| {
                world.run(&[]).expect(0);
                world.newer_schema();
                world
            },
            fails(74, "store", "has schema 99", "newer release"),
        ),
    ]);
}

#[test]
fn a_store_that_all_may_read_or_that_something_else_would_replace() {
    only_on_sqlite!("what lies beside its file, and who may read it");
    assert_all(&[
        (
            "one that everybody may read",
            |world| {
                world.run(&[]).expect(0);
                chmod(world.dir.path(), 0o755);
                chmod(&world.path("store.db"), 0o644);
                world
            },
            warns("store", "every user of this machine may read", "chmod o= "),
        ),
        (
            "metrics in the place of its log",
            |world| {
                let file = quoted(&world.path("store.db-wal").display().to_string());
                world.set("report.metrics_file", &file)
            },
            fails(78, "metrics file", "store.db; nothing is put in its place", "name another file"),
        ),
    ]);
}

#[test]
fn metrics_that_nobody_will_read() {
    assert_all(&[
        (
            "no place for the metrics",
            |world| {
                let file = quoted(&world.path("collector/tink_sync.prom").display().to_string());
                world.set("report.metrics_file", &file)
            },
            warns("metrics file", "does not exist", "report.metrics_file"),
        ),
        (
            "metrics that nobody collects",
            |world| {
                let file = quoted(&world.path("tink_sync.txt").display().to_string());
                world.set("report.metrics_file", &file)
            },
            warns("configuration", "report.metrics_file", "name it so"),
        ),
    ]);
}

#[test]
fn a_store_that_may_not_be_written() {
    only_on_sqlite!("its file is missing, damaged, or not to be written");
    assert_bound(&[
        (
            "the file",
            |world| {
                chmod(&world.path("store.db"), 0o400);
                world
            },
            fails(74, "store", "store.db is not writable", "sudo tink-sync check"),
        ),
        (
            "the directory",
            |world| {
                fs::create_dir(world.path("data")).unwrap();
                fs::rename(world.path("store.db"), world.path("data/store.db")).unwrap();
                chmod(&world.path("data"), 0o555);
                let url = format!("sqlite:{}", world.path("data/store.db").display());
                world.set("store.url", &quoted(&url))
            },
            fails(74, "store", "data is not writable", "chown -h tink-sync: "),
        ),
        (
            "what a command of somebody else left beside it",
            |world| {
                write(&world, "store.db-wal", "");
                chmod(&world.path("store.db-wal"), 0o000);
                world
            },
            fails(74, "store", "store.db-wal is not writable", "chown -h tink-sync: "),
        ),
        (
            "the place of the metrics",
            |world| {
                fs::create_dir(world.path("collector")).unwrap();
                chmod(&world.path("collector"), 0o555);
                let file = quoted(&world.path("collector/tink_sync.prom").display().to_string());
                world.set("report.metrics_file", &file)
            },
            warns("metrics file", "not writable", "setfacl -m u:tink-sync:rwx "),
        ),
    ]);
}

#[test]
fn a_disk_that_is_nearly_full() {
    only_on_sqlite!("its file is missing, damaged, or not to be written");
    for (kilobytes, told) in [
        (20_000, fails(74, "disk", "only 19 MiB free", "make room there")),
        (100_000, warns("disk", "only 97 MiB free", "make room there")),
    ] {
        let world = made(small(1));
        let Some(_disk) = Disk::mount(&world.path("disk"), kilobytes) else { return };
        let url = format!("sqlite:{}", world.path("disk/store.db").display());
        let world = world.set("store.url", &quoted(&url));
        assert_told("disk", &world, told, |args| Some(world.cli(args)));
    }
}

#[test]
fn a_source_that_cannot_be_read() {
    assert_all(&[
        (
            "no view",
            |world| {
                world.app("DROP VIEW tink_sync_source_v1");
                world
            },
            fails(78, "source view", "no such table: tink_sync_source_v1", "source.view"),
        ),
        (
            "a column missing",
            |world| {
                world.app(
                    "DROP VIEW tink_sync_source_v1; CREATE VIEW tink_sync_source_v1 AS
                     SELECT id AS connection_id, user_id, 1 AS enabled, tink AS external_user_id FROM app_connections",
                );
                world
            },
            fails(78, "source view", "lacks the column(s) entitled", "Connect your application"),
        ),
        (
            "no database",
            |world| {
                fs::remove_file(world.path("app.db")).unwrap();
                world
            },
            fails(74, "source view", "app.db", "source.database"),
        ),
    ]);
}

#[test]
fn a_source_that_gives_nothing_or_nonsense() {
    assert_all(&[
        (
            "no rows",
            |world| {
                world.app("DELETE FROM app_connections");
                world
            },
            warns("connections", "none", "add them in the application"),
        ),
        (
            "nobody is entitled",
            |world| {
                world.app("UPDATE app_connections SET entitled = 'premium'");
                world
            },
            warns("connections", "0 enabled and entitled, 3 not entitled", "true is 1, true, t or yes"),
        ),
        (
            "a row twice",
            |world| {
                world.app("INSERT INTO app_connections SELECT * FROM app_connections WHERE id = 'c-1'");
                world
            },
            warns(
                "connections",
                "1 row of the source view cannot be used: c-1: the source view has this connection_id more than once",
                "correct its row in the source view",
            ),
        ),
        (
            "a row without a Tink user",
            |world| {
                world.app("UPDATE app_connections SET tink = NULL WHERE id = 'c-2'");
                world
            },
            warns("connections", "c-2: the source view gives neither", "correct its row in the source view"),
        ),
    ]);
}

/// A world whose only pass began this many hours ago.
fn passed_before(world: &World, hours: i64) {
    world.run(&[]).expect(0);
    world.age_runs(hours * HOUR);
}

#[test]
fn passes_that_end_badly_or_stay_away() {
    assert_all(&[
        (
            "none for two days",
            |world| {
                passed_before(&world, 48);
                world
            },
            warns("last pass", "No pass has begun for 2d", "what starts tink-sync run"),
        ),
        (
            "the last one failed",
            |world| {
                world.run(&[]).expect(0);
                world.runs_ended_with(10);
                world
            },
            warns("last pass", "ended with 10", "tink-sync status"),
        ),
        (
            "the last one died",
            |world| {
                world.run(&[]).expect(0);
                world.runs_died();
                world
            },
            warns("last pass", "died before its end", "journalctl -u tink-sync"),
        ),
    ]);
}

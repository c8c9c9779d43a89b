//! Databases in trouble: full, read-only, locked, gone, replaced, damaged, too new. Each is told with the file and
//! what to do, nothing is half-written, and the next pass heals what can be healed. It is about SQLite's file itself,
//! and opens it and names its tables.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;
use tink_sandbox::{Action, Endpoint, Fault, Script, ScriptRow};

use crate::harness::{Ran, World, quoted, small, until};
use crate::scripted::{day, refresh};
use crate::stored::only_on_sqlite;

/// A small file system of its own for the store; `None` where this machine does not allow one.
pub struct Disk(PathBuf);

impl Disk {
    #[expect(clippy::print_stdout, reason = "a test that cannot be made here says so")]
    pub fn mount(place: &Path, kilobytes: u32) -> Option<Self> {
        fs::create_dir(place).unwrap();
        let size = format!("size={kilobytes}k");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "disk"]).arg(place).output();
        if !mount.is_ok_and(|ran| ran.status.success()) {
            println!("skipped: no file system can be mounted here");
            return None;
        }
        Some(Self(place.to_owned()))
    }

    /// Leaves no room at all.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn remount(&self, option: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, since a failed test may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A world whose store lies on a disk of this size.
fn on_disk(users: u32, kilobytes: u32) -> Option<(World, Disk)> {
    let world = World::new(small(users));
    let disk = Disk::mount(&world.path("disk"), kilobytes)?;
    let url = format!("sqlite:{}", world.path("disk/store.db").display());
    Some((world.set("store.url", &quoted(&url)), disk))
}

#[test]
fn a_full_disk_hinders_nobody_who_only_looks() {
    only_on_sqlite!("damage, locks and disks of its file");
    let Some((world, disk)) = on_disk(40, 64 << 10) else { return };
    world.run(&[]).expect(0);
    // Everything is new: a rehearsal has much to write, if only for itself.
    for user in 0..40 {
        let rows =
            |n: u32| ScriptRow::booked(&format!("{user}-{n}"), "a1", day(-2), &n.to_string(), "2", "TRAM");
        let script = Script::simple("a1", &refresh(1), (1..400).map(rows).collect());
        world.sandbox.script(&format!("user-{user}"), script);
    }
    disk.fill();
    let ran = world.run(&["--dry-run"]);
    assert!(ran.code != 74 && ran.total("added") >= 40 * 399, "{} {}", ran.stdout, ran.stderr);
    for args in [&["status"][..], &["why", "c-0"], &["connections", "list"], &["export", "--format", "csv"]] {
        world.cli(args).expect(0);
    }
    // What comes through a pipe is kept beside the store until it is read.
    let mut import = world.command(&["import", "-", "--dry-run"]);
    let mut import =
        import.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(&[b'\n'; 9000]).unwrap();
    let ran = Ran::of(import.wait_with_output().unwrap()).expect(74);
    let disk = world.path("disk").display().to_string();
    assert!(ran.stderr.contains(&disk) && ran.stderr.contains("give a file"), "{}", ran.stderr);
}

fn is_sound(file: &Path) -> bool {
    let db = Connection::open(file).unwrap();
    db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap() == "ok"
}

fn count(file: &Path, sql: &str) -> i64 {
    Connection::open(file).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_full_disk_is_told_and_what_was_complete_stays() {
    only_on_sqlite!("damage, locks and disks of its file");
    let Some((world, disk)) = on_disk(40, 700) else { return };
    let ran = world.run(&[]).expect(74);
    assert!(ran.stderr.contains("store.db") && ran.stderr.contains("the disk is full"), "{}", ran.stderr);
    // The report is closed as any other, and adds up what it has told.
    let (summary, told) = (ran.summary(), ran.connections());
    assert_eq!((summary["exit_code"].as_i64(), ran.total("due")), (Some(74), 40), "{summary}");
    let synced = told.values().filter(|line| line["outcome"] == "synced").count() as u64;
    assert_eq!(ran.total("synced"), synced);
    let file = world.path("disk/store.db");
    // More room, and the next pass does the rest.
    disk.remount("size=64m");
    assert!(is_sound(&file));
    // What was told of was durable.
    for (connection, line) in ran.connections() {
        let outcome = line["outcome"].as_str().unwrap_or_default();
        let stored = format!(
            "SELECT count(*) FROM run_connections_v1 WHERE connection_id = '{connection}' AND outcome = '{outcome}'"
        );
        assert_eq!(count(&file, &stored), 1, "{connection} was told to be {outcome}");
    }
    let walked = "SELECT count(*) FROM accounts_v1 WHERE complete_through IS NOT NULL";
    let counted = "SELECT count(DISTINCT account_key) FROM transactions_v1";
    assert!(count(&file, walked) <= count(&file, counted), "a watermark without its rows");
    world.run(&[]).expect(0);
    assert_eq!(count(&file, "SELECT count(*) FROM connections_v1 WHERE state = 'ok'"), 40);
    assert!(is_sound(&file));
}

#[test]
fn a_file_system_that_became_read_only_is_told_and_can_be_looked_at() {
    only_on_sqlite!("damage, locks and disks of its file");
    let Some((world, disk)) = on_disk(3, 20_000) else { return };
    world.run(&[]).expect(0);
    disk.remount("ro");
    let ran = world.run(&[]).expect(74);
    assert!(ran.stderr.contains("store.db"), "{}", ran.stderr);
    world.cli(&["status"]).expect(0);
    assert_eq!(world.run(&["--dry-run"]).expect(0).total("unchanged"), 3);
    disk.remount("rw");
    world.run(&[]).expect(0);
}

#[test]
fn a_store_that_is_deleted_or_replaced_during_a_run_is_no_success() {
    only_on_sqlite!("damage, locks and disks of its file");
    for replaced in [false, true] {
        let world = World::new(small(2));
        world.run(&[]).expect(0);
        world.sandbox.set_day(1);
        world
            .sandbox
            .fault(Fault::new(Action::Delay(std::time::Duration::from_millis(1500))).at(Endpoint::Consents));
        let running = world.start(&[]);
        until(|| world.sandbox.requests_to(Endpoint::Consents) > 2);
        fs::rename(world.path("store.db"), world.path("moved.db")).unwrap();
        if replaced {
            fs::write(world.path("store.db"), "").unwrap();
        }
        let ran = running.end();
        assert_eq!(ran.code, 74, "{replaced}: {ran:?}");
        assert!(ran.stderr.contains("store.db"), "{}", ran.stderr);
        let _ = fs::remove_file(world.path("store.db"));
        // Without its file the store begins anew, complete.
        for beside in ["store.db-wal", "store.db-shm"] {
            let _ = fs::remove_file(world.path(beside));
        }
        world.run(&[]).expect(0);
        world.assert_all_exact();
    }
}

#[test]
fn a_damaged_store_is_told_and_nothing_is_written_to_it() {
    only_on_sqlite!("damage, locks and disks of its file");
    let world = World::new(small(5));
    world.run(&[]).expect(0);
    let file = world.path("store.db");
    let mut bytes = fs::read(&file).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page.fill(0xA5);
    }
    fs::write(&file, &bytes).unwrap();
    let ran = world.run(&[]).expect(74);
    assert!(ran.stderr.contains("damaged") && ran.stderr.contains("backup"), "{}", ran.stderr);
    fs::write(&file, "this is no database, however long it may be made to look like one").unwrap();
    let ran = world.run(&[]).expect(74);
    assert!(ran.stderr.contains("not an SQLite database"), "{}", ran.stderr);
    world.cli(&["check", "--offline"]).expect(74);
    // Moved out of the way, the store is read anew.
    fs::remove_file(&file).unwrap();
    world.run(&[]).expect(0);
    world.assert_all_exact();
}

#[test]
fn a_store_of_a_newer_release_is_left_as_it_is() {
    only_on_sqlite!("damage, locks and disks of its file");
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    let db = Connection::open(world.path("store.db")).unwrap();
    db.execute("INSERT INTO ts_schema (version, applied_at) VALUES (99, 0)", []).unwrap();
    db.pragma_update(None, "journal_mode", "delete").unwrap();
    drop(db);
    let before = fs::read(world.path("store.db")).unwrap();
    for command in
        [&["run"][..], &["run", "--dry-run"], &["status"], &["why", "c-0"], &["check", "--offline"]]
    {
        let ran = world.cli(command).expect(74);
        assert!((ran.stderr + &ran.stdout).contains("upgrade tink-sync"), "{command:?}");
    }
    let db = Connection::open(world.path("store.db")).unwrap();
    assert_eq!(count(&world.path("store.db"), "SELECT max(version) FROM ts_schema"), 99);
    drop(db);
    assert_eq!(fs::read(world.path("store.db")).unwrap().len(), before.len());
}

#[test]
fn a_database_that_somebody_locks_is_waited_for() {
    only_on_sqlite!("damage, locks and disks of its file");
    let world = World::new(small(2)).set("sync.outage_patience", "\"1m\"");
    world.run(&[]).expect(0);
    for file in ["store.db", "app.db"] {
        let db = Connection::open(world.path(file)).unwrap();
        db.pragma_update(None, "journal_mode", "delete").unwrap();
        db.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let running = world.start(&[]);
        // It holds its own lock file as soon as it is there, whatever else it waits for.
        let began = |world: &World| world.files().iter().any(|name| name.contains("-run-"));
        if file == "app.db" {
            until(|| began(&world));
        }
        db.execute_batch("ROLLBACK").unwrap();
        drop(db);
        assert_eq!(running.end().code, 0, "{file}");
    }
}

#[test]
fn a_database_that_stays_locked_ends_the_run_with_75_and_changes_nothing() {
    only_on_sqlite!("damage, locks and disks of its file");
    let world = World::new(small(2));
    world.run(&[]).expect(0);
    // Both at once, so that SQLite's thirty seconds pass only once for this test.
    let other = World::new(small(2));
    other.run(&[]).expect(0);
    let lock = |world: &World, file: &str| {
        let db = Connection::open(world.path(file)).unwrap();
        db.pragma_update(None, "journal_mode", "delete").unwrap();
        db.execute_batch("BEGIN EXCLUSIVE").unwrap();
        db
    };
    let (store, app) = (lock(&world, "store.db"), lock(&other, "app.db"));
    let (one, two) = (world.start(&[]), other.start(&[]));
    for (ran, file) in [(one.end(), "store.db"), (two.end(), "app.db")] {
        assert_eq!(ran.code, 75, "{ran:?}");
        assert!(
            ran.stderr.contains("locked by another program") && ran.stderr.contains(file),
            "{}",
            ran.stderr
        );
    }
    drop((store, app));
    for world in [world, other] {
        world.run(&[]).expect(0);
        world.assert_all_exact();
        world.assert_at_rest();
    }
}

#[test]
fn one_damaged_page_or_header_is_told_and_a_backup_heals() {
    only_on_sqlite!("damage, locks and disks of its file");
    let world = World::new(small(12));
    world.run(&[]).expect(0);
    let file = world.path("store.db");
    let good = fs::read(&file).unwrap();
    let roots = "SELECT rootpage FROM sqlite_master WHERE name IN ('ts_transactions', 'ts_connections', 'ts_runs') ORDER BY 1";
    let pages: Vec<usize> = Connection::open(&file)
        .unwrap()
        .prepare(roots)
        .unwrap()
        .query_map([], |row| row.get::<_, i64>(0))
        .unwrap()
        .map(|page| usize::try_from(page.unwrap()).unwrap())
        .collect();
    assert_eq!(pages.len(), 3);
    let damages =
        pages.into_iter().map(|page| ((page - 1) * 4096, "damaged")).chain([(0, "not an SQLite database")]);
    world.sandbox.set_day(1);
    for (place, told) in damages {
        let mut bytes = good.clone();
        bytes[place..place + 64].fill(0xA5);
        fs::write(&file, &bytes).unwrap();
        let ran = world.run(&[]).expect(74);
        assert!(ran.stderr.contains("store.db") && ran.stderr.contains(told), "{place}: {}", ran.stderr);
        for beside in ["store.db-wal", "store.db-shm"] {
            let _ = fs::remove_file(world.path(beside));
        }
        // The backup of yesterday, and the next pass.
        fs::write(&file, &good).unwrap();
        world.run(&[]).expect(0);
        world.assert_all_exact();
        assert!(is_sound(&file));
        fs::write(&file, &good).unwrap();
    }
}

#[test]
fn a_log_of_garbage_beside_the_store_is_no_part_of_it() {
    only_on_sqlite!("damage, locks and disks of its file");
    let world = World::new(small(3));
    world.run(&[]).expect(0);
    for garbage in [vec![0xA5; 100_000], b"no log".to_vec(), Vec::new()] {
        fs::write(world.path("store.db-wal"), garbage).unwrap();
        world.sandbox.set_day(world.sandbox.day() + 1);
        world.run(&[]).expect(0);
        world.assert_all_exact();
        assert!(is_sound(&world.path("store.db")));
    }
}

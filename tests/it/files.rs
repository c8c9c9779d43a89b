//! The files that the program writes beside its store: what they may not replace, where they lie meanwhile, and what is
//! said when they may not grow.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tink_sandbox::{Action, Config, Endpoint, Fault, Times};

use crate::harness::{Ran, World, plain, quoted, small, until};
use crate::permissions::bound_command;
use crate::stored::only_on_sqlite;

/// A command under a limit on the sizes of files, in blocks of the shell's.
fn limited(blocks: u32, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -f {blocks} && exec \"$@\""), "sh"]);
    shell.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        value.map(|value| shell.env(name, value));
    }
    shell
}

#[test]
fn no_output_takes_the_place_of_what_is_kept() {
    only_on_sqlite!("what lies beside its file");
    let world = World::new(small(1)).set("report.metrics_file", &quoted("/nonexistent/x.prom"));
    world.run(&[]).expect(0);
    symlink(world.path(""), world.path("way")).unwrap();
    symlink(world.path("store.db"), world.path("link.prom")).unwrap();
    fs::hard_link(world.path("store.db-wal"), world.path("hard.prom")).unwrap();
    fs::create_dir_all(world.path("spool/needs-user")).unwrap();
    let before = |name: &str| fs::read(world.path(name)).unwrap();
    let kept = ["store.db", "app.db", "secret", "tink-sync.toml"].map(|name| (name, before(name)));
    for place in [
        "store.db",
        "store.db-wal",
        "store.db-shm",
        "store.db-journal",
        "store.db.bak",
        "way/store.db-wal",
        "link.prom",
        "hard.prom",
        "app.db",
        "app.db-wal",
        "secret",
        "tink-sync.toml",
        "spool/x",
        "spool/needs-user/x.json",
    ] {
        let path = world.path(place).display().to_string();
        let ran = world.cli(&["export", "--output", &path]).expect(2);
        assert!(ran.stderr.contains(&path) && ran.stderr.contains("belongs to"), "{place}: {}", ran.stderr);
    }
    for place in ["store.db", "store.db-wal", "link.prom", "hard.prom"] {
        let mut command = world.pass(&[]);
        let text = fs::read_to_string(world.path("tink-sync.toml")).unwrap();
        let other = text.replace("/nonexistent/x.prom", &world.path(place).display().to_string());
        fs::write(world.path("other.toml"), other).unwrap();
        command.arg("--config").arg(world.path("other.toml"));
        let ran = Ran::of(command.output().unwrap()).expect(0);
        assert!(ran.stderr.contains("report.metrics_file: cannot write"), "{place}: {}", ran.stderr);
        world.assert_exact(0);
    }
    for (name, bytes) in &kept[1..] {
        assert_eq!(&before(name), bytes, "{name}");
    }
    assert_eq!(world.text("PRAGMA integrity_check").unwrap(), "ok");
}

/// The files without a name that a process has open. (What they were called differs by file system.)
fn unnamed(process: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let files = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    files.filter(|file| file.to_string_lossy().ends_with(" (deleted)")).collect()
}

/// A store without rows, and a first sync of thousands that does not end: the second user's never comes.
fn large() -> World {
    let config = Config { history_days: 1500, rows_per_day: 6.0, max_accounts: 1, ..plain(2) };
    let world = World::new(config).set("tink.request_timeout", "\"5s\"").set("retry.attempts", "20");
    world.app("UPDATE app_connections SET entitled = 0");
    world.run(&[]);
    world.app("UPDATE app_connections SET entitled = 1");
    let hang = Fault::new(Action::Hang).user("user-1").at(Endpoint::Transactions);
    world.sandbox.fault(hang.times(Times::Forever));
    world
}

#[test]
fn what_sqlite_puts_aside_lies_beside_the_store() {
    only_on_sqlite!("what lies beside its file");
    let world = large();
    let rehearsal = world.start(&["--dry-run"]);
    until(|| !unnamed(rehearsal.id()).is_empty());
    until(|| world.sandbox.requests_to(Endpoint::Transactions) > 50);
    let directory = world.path("").canonicalize().unwrap();
    for file in unnamed(rehearsal.id()) {
        assert_eq!(file.parent(), Some(directory.as_path()), "{}", file.display());
    }
    world.sandbox.clear_faults();
    rehearsal.end().expect(0);
    assert!(!world.files().iter().any(|name| name.contains("etilqs")), "{:?}", world.files());
}

#[test]
fn where_nobody_may_write_beside_the_store_nothing_is_put_aside() {
    only_on_sqlite!("what lies beside its file");
    let world = large();
    let Some(mut command) = bound_command(&world, &["run", "--dry-run"]) else { return };
    fs::set_permissions(world.path(""), Permissions::from_mode(0o500)).unwrap();
    let mut rehearsal = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(|| world.sandbox.requests_to(Endpoint::Transactions) > 50);
    assert!(unnamed(rehearsal.id()).is_empty());
    world.sandbox.clear_faults();
    let ended = rehearsal.wait().unwrap();
    fs::set_permissions(world.path(""), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn a_limit_on_file_sizes_is_a_failure_that_says_what_and_where() {
    only_on_sqlite!("what lies beside its file");
    let world = World::new(Config { history_days: 400, ..plain(1) });
    world.run(&[]).expect(0);
    world.sandbox.set_day(3);
    let ran = Ran::of(limited(80, &world.pass(&[])).output().unwrap()).expect(74);
    assert!(ran.stderr.contains("store.db") && ran.stderr.contains("limit on file sizes"), "{}", ran.stderr);
    assert!(ran.stderr.contains("LimitFSIZE="), "{}", ran.stderr);
    // Nothing is lost: without the limit it goes on.
    world.run(&[]).expect(0);
    world.assert_exact(0);
    let path = world.path("out.csv");
    let to_file = world.command(&["export", "--output", &path.display().to_string()]);
    let ran = Ran::of(limited(80, &to_file).output().unwrap()).expect(74);
    assert!(ran.stderr.contains("out.csv") && ran.stderr.contains("LimitFSIZE="), "{}", ran.stderr);
    assert!(!path.exists());
    let out = fs::File::create(&path).unwrap();
    let mut to_shell = limited(80, &world.command(&["export"]));
    let ran = to_shell.stdout(Stdio::from(out)).stderr(Stdio::piped()).spawn().unwrap();
    let ran = Ran::of(ran.wait_with_output().unwrap()).expect(74);
    assert!(ran.stderr.contains("standard output") && ran.stderr.contains("LimitFSIZE="), "{}", ran.stderr);
    // Not even the first store can be made.
    let fresh = World::new(small(1));
    let ran = Ran::of(limited(0, &fresh.pass(&[])).output().unwrap()).expect(74);
    assert!(ran.stderr.contains("store.db") && ran.stderr.contains("LimitFSIZE="), "{}", ran.stderr);
    fresh.run(&[]).expect(0);
    fresh.assert_exact(0);
}

//! An application's user reads the store with nothing but membership of one group: between passes, during one, and
//! after one that was killed. Root's rights are needed to be somebody else; the reader is the program sqlite3.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tink_sandbox::{Action, Endpoint, Fault, Times};
use tink_sync::clock::{Clock as _, SystemClock};
use tink_sync::store::Store;
use tink_sync::store::Writer;

use crate::harness::{World, small, until};
use crate::stored::only_on_sqlite;

/// The group of the directory, and a user who is in it and owns nothing.
const GROUP: u32 = 4300;
const USER: u32 = 4343;

const COUNT: &str = "SELECT count(*) FROM transactions_v1";

/// A command as the application's user, in the group or not.
fn somebody(is_member: bool, program: &str) -> Command {
    let groups = if is_member { format!("--groups={GROUP}") } else { "--clear-groups".to_owned() };
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), &groups, "--", program]);
    command
}

/// What the user sees, or the error.
fn read(world: &World, is_member: bool, sql: &str) -> Result<String, String> {
    let store = world.path("store.db");
    let output = somebody(is_member, "sqlite3").arg("-readonly").arg(store).arg(sql).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// A world whose directory is shared with the group; `None` if this machine cannot be somebody else.
#[expect(clippy::print_stdout, reason = "a test that cannot be made here says so")]
fn shared() -> Option<World> {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let tried = somebody(true, "sqlite3").arg("-version").output();
    if !is_root || !tried.is_ok_and(|ran| ran.status.success()) {
        println!("skipped: only root can become somebody else, with setpriv and sqlite3");
        return None;
    }
    let world = World::new(small(3));
    chown(world.dir.path(), None, Some(GROUP)).unwrap();
    fs::set_permissions(world.dir.path(), Permissions::from_mode(0o2750)).unwrap();
    Some(world)
}

fn count(world: &World) -> String {
    world.number(COUNT).to_string()
}

/// A reader that stays.
struct Open(Child, BufReader<std::process::ChildStdout>);

impl Open {
    fn new(world: &World) -> Self {
        let mut command = somebody(true, "sqlite3");
        command.arg("-readonly").arg(world.path("store.db")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self(child, lines)
    }

    fn ask(&mut self, sql: &str) -> String {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql};").unwrap();
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn tell(&mut self, sql: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql};").unwrap();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_member_of_the_group_reads_at_any_time_and_nobody_else_does() {
    only_on_sqlite!("permissions of its file");
    let Some(world) = shared() else { return };
    world.run(&[]).expect(0);
    // Between passes, with nobody else there.
    assert_eq!(read(&world, true, COUNT), Ok(count(&world)));
    assert!(read(&world, false, COUNT).is_err());
    assert!(read(&world, true, "CREATE TABLE theirs (x)").is_err());

    // During one, and across its end.
    let hang = Fault::new(Action::Hang).at(Endpoint::Transactions).user("user-1").times(Times::Forever);
    world.sandbox.fault(hang);
    world.sandbox.set_day(1);
    let pass = world.start(&[]);
    until(|| world.synced_and_free() == 2);
    assert_eq!(read(&world, true, COUNT), Ok(count(&world)));
    // Of all that lies there a member can open the store and what is kept beside it.
    let closed = world.files().into_iter().filter(|name| name.contains("-run-")).collect::<Vec<_>>();
    assert_eq!(closed.len(), 1, "the lock of the run");
    for name in closed {
        let tried = somebody(true, "cat").arg(world.path(&name)).output().unwrap();
        assert!(!tried.status.success(), "{name} can be read");
    }
    let mut reader = Open::new(&world);
    reader.tell("BEGIN");
    let before = reader.ask(COUNT);
    // Killed: the log is full, and nobody is there.
    pass.kill();
    assert!(fs::metadata(world.path("store.db-wal")).unwrap().len() > 0);
    assert_eq!(read(&world, true, COUNT), Ok(count(&world)));
    // A pass begins and ends while the reader looks at what was there before.
    world.sandbox.clear_faults();
    world.sandbox.set_day(2);
    world.run(&[]).expect(0);
    assert_eq!(reader.ask(COUNT), before);
    reader.tell("COMMIT");
    assert_eq!(reader.ask(COUNT), count(&world));
    world.run(&[]).expect(0);
    assert_eq!(reader.ask(COUNT), count(&world));
    drop(reader);
    world.run(&[]).expect(0);
    assert_eq!(fs::metadata(world.path("store.db-wal")).unwrap().len(), 0, "the log is emptied");
    assert_eq!(read(&world, true, COUNT), Ok(count(&world)));
}

#[test]
fn commands_beside_a_pass_leave_the_store_readable() {
    only_on_sqlite!("permissions of its file");
    let Some(world) = shared() else { return };
    world.run(&[]).expect(0);
    let rows = Ok(count(&world));
    for args in [
        &["status"][..],
        &["check", "--offline"],
        &["why", "c-0"],
        &["export"],
        &["audit"],
        &["prune"],
        &["run", "--dry-run"],
        &["run", "--connection", "c-0"],
        &["connections", "accept-balance", "c-0"],
        &["quarantine", "retry"],
    ] {
        world.cli(args);
        assert_eq!(read(&world, true, COUNT), rows, "after {args:?}");
    }
    world.app("DELETE FROM app_connections WHERE id = 'c-0'");
    world.run(&[]).expect(0);
    world.cli(&["connections", "forget", "c-0", "--yes"]).expect(0);
    assert_eq!(read(&world, true, COUNT), Ok(count(&world)));
}

#[test]
fn the_store_of_an_older_release_is_opened_to_the_group_by_the_next_pass() {
    only_on_sqlite!("permissions of its file");
    let Some(world) = shared() else { return };
    world.run(&[]).expect(0);
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        fs::set_permissions(world.path(name), Permissions::from_mode(0o600)).unwrap();
        chown(world.path(name), None, Some(0)).unwrap();
    }
    assert!(read(&world, true, COUNT).is_err());
    let check = world.cli(&["check", "--offline"]);
    let said = check.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("readers: members of group 4300 cannot read the store"), "{}", check.stdout);
    world.run(&[]).expect(0);
    assert_eq!(read(&world, true, COUNT), Ok(count(&world)));
    let check = world.cli(&["check", "--offline"]);
    assert!(check.stdout.contains("members of group 4300 may read the store"), "{}", check.stdout);

    // Somebody has opened it for writing with a program that puts the files away when it ends.
    let put_away = Command::new("sqlite3").arg(world.path("store.db")).arg(COUNT).status().unwrap();
    assert!(put_away.success() && !world.path("store.db-wal").exists());
    assert!(read(&world, true, COUNT).is_err());
    world.cli(&["status"]);
    assert_eq!(read(&world, true, COUNT), Ok(count(&world)));
}

/// SQLite's locks on the file are the process's: a command that opens and closes it beside a run must not let go of them.
#[tokio::test]
async fn another_program_takes_no_log_away_while_a_store_is_open_twice() {
    only_on_sqlite!("locks of its file");
    let world = World::new(small(1));
    world.run(&[]).expect(0);
    let (path, now) = (world.path("store.db"), SystemClock.now());
    let store = Store::open(&path.clone().into(), Duration::ZERO, now).unwrap();
    drop(Writer::open(&path.clone().into(), now).unwrap());
    let other = Command::new("sqlite3").arg(&path).arg(COUNT).output();
    let Ok(other) = other else { return };
    assert!(other.status.success());
    assert!(path.with_extension("db-wal").exists(), "it took itself for the last one");
    store.close().await;
}

//! Files and directories that may only be read. Where the tests run as root, whom permissions do not bind,
//! the program runs as somebody else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::harness::{Ran, World, opened, quoted, small};
use crate::stored::{Place, only_on_sqlite};

/// A pass as somebody whom file permissions bind; `None` if this machine cannot do that.
fn bound_run(world: &World, args: &[&str]) -> Option<Ran> {
    bound(world, &[&["run", "--format", "json"], args].concat())
}

/// A command as somebody whom file permissions bind; `None` if this machine cannot do that.
pub fn bound(world: &World, args: &[&str]) -> Option<Ran> {
    Some(Ran::of(bound_command(world, args)?.output().unwrap()))
}

/// The same, to be run in any way.
#[expect(clippy::print_stdout, reason = "a test that cannot be made here says so")]
pub fn bound_command(world: &World, args: &[&str]) -> Option<Command> {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        return Some(world.command(args));
    }
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let program = env!("CARGO_BIN_EXE_tink-sync");
    let mut test = Command::new("setpriv");
    if !test.args(nobody).args([program, "--version"]).output().is_ok_and(|ran| ran.status.success()) {
        println!("skipped: setpriv cannot run {program} as somebody else");
        return None;
    }
    // What lies in directories of its own stays root's.
    for path in world.files().iter().map(|name| world.path(name)).filter(|path| path.is_file()) {
        chown(path, Some(65534), Some(65534)).unwrap();
    }
    chown(world.dir.path(), Some(65534), Some(65534)).unwrap();
    let mut command = Command::new("setpriv");
    let config = world.path("tink-sync.toml").display().to_string();
    command.env_clear().args(nobody).args([program, "--config", &config]).args(args);
    Some(command)
}

/// Sets the permissions of a file or directory.
fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_store_that_may_not_be_written_is_told_and_can_be_rehearsed() {
    only_on_sqlite!("permissions of its file");
    let world = World::new(small(3));
    world.run(&[]).expect(0);
    for (file, directory) in [(0o400, 0o700), (0o600, 0o500), (0o400, 0o500)] {
        chmod(&world.path("store.db"), file);
        chmod(world.dir.path(), directory);
        let Some(ran) = bound_run(&world, &[]) else { return };
        let rehearsed = bound_run(&world, &["--dry-run"]).unwrap();
        chmod(world.dir.path(), 0o700);
        let ran = ran.expect(74);
        assert!(ran.stderr.contains("store.db"), "{}", ran.stderr);
        assert_eq!(rehearsed.expect(0).total("unchanged"), 3);
        chmod(&world.path("store.db"), 0o600);
    }
    world.run(&[]).expect(0);
    world.assert_at_rest();
}

#[test]
fn a_database_that_may_only_be_read_is_enough() {
    let world = World::new(small(3));
    fs::create_dir(world.path("app")).unwrap();
    fs::rename(world.path("app.db"), world.path("app/app.db")).unwrap();
    let database = quoted(&world.path("app/app.db").display().to_string());
    let world = world.set("source.database", &database);
    // The log has been put away, and anybody who only reads could not make a new one.
    chmod(&world.path("app"), 0o555);
    let Some(ran) = bound_run(&world, &[]) else { return };
    assert_eq!(ran.expect(0).total("synced"), 3);

    // While the application has it open, its log is read too.
    chmod(&world.path("app"), 0o755);
    let app = opened(&world.path("app/app.db"));
    app.execute_batch("UPDATE app_connections SET enabled = 0 WHERE id = 'c-0'").unwrap();
    assert!(fs::metadata(world.path("app/app.db-wal")).unwrap().len() > 0);
    chmod(&world.path("app"), 0o555);
    assert_eq!(bound_run(&world, &[]).unwrap().expect(0).skipped("disabled"), 1);

    // A log without its index cannot be read without writing: told, and not taken for no log.
    chmod(&world.path("app"), 0o755);
    let log = fs::read(world.path("app/app.db-wal")).unwrap();
    drop(app);
    fs::write(world.path("app/app.db-wal"), log).unwrap();
    chmod(&world.path("app"), 0o555);
    let ran = bound_run(&world, &[]).unwrap();
    chmod(&world.path("app"), 0o755);
    assert!(ran.expect(74).stderr.contains("app.db"));
}

#[test]
fn root_becomes_the_service_user_before_it_opens_anything() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return println!("skipped: only root can become somebody else");
    }
    let world = World::new(small(2));
    let command = |user: &str, args: &[&str]| {
        let mut command = world.command(args);
        // A program below a directory of root's can still be run: it is opened before the change.
        Ran::of(command.env("TINK_SYNC_USER", user).output().unwrap())
    };
    let unknown = command("no-such-user-here", &["status"]).expect(2);
    assert!(unknown.stderr.contains("there is no user no-such-user-here"), "{}", unknown.stderr);

    // What only root may read is as good as not there.
    chmod(world.dir.path(), 0o755);
    chmod(&world.path("tink-sync.toml"), 0o600);
    let denied = command("nobody", &["run"]).expect(78);
    assert!(denied.stderr.contains("tink-sync.toml: cannot be read"), "{}", denied.stderr);
    assert!(!world.has_store());

    let nobody = Some(65534);
    for name in ["tink-sync.toml", "secret", "app.db"] {
        chown(world.path(name), nobody, nobody).unwrap();
    }
    chown(world.dir.path(), nobody, nobody).unwrap();
    command("nobody", &["run", "--format", "json"]).expect(0);
    if let Place::File(store) = &world.place {
        let store = fs::metadata(store).unwrap();
        assert_eq!((store.uid(), store.mode() & 0o777), (65534, 0o600));
    }
}

#[test]
fn root_s_environment_does_not_survive_the_change_of_user() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return println!("skipped: only root can become somebody else");
    }
    let world = World::new(small(1));
    chmod(world.dir.path(), 0o755);
    for name in ["tink-sync.toml", "secret", "app.db"] {
        chown(world.path(name), Some(65534), Some(65534)).unwrap();
    }
    chown(world.dir.path(), Some(65534), Some(65534)).unwrap();
    // A pass that waits for its first answer stays there to be looked at.
    let slow = tink_sandbox::Action::Delay(std::time::Duration::from_mins(1));
    world.sandbox.fault(tink_sandbox::Fault::new(slow).times(tink_sandbox::Times::Forever));
    let mut command = world.command(&["run"]);
    command.env("TINK_SYNC_USER", "nobody").env("SSH_AUTH_SOCK", "/root/agent").env("HOME", "/root");
    command.env("SUDO_USER", "ann").env("PATH", "/root/bin");
    let mut pass = command.spawn().unwrap();
    let place = format!("/proc/{}", pass.id());
    let text = |name: &str| fs::read_to_string(format!("{place}/{name}")).unwrap_or_default();
    crate::harness::until(|| {
        text("status").lines().any(|line| line.starts_with("Uid:\t65534\t65534\t65534"))
    });
    let environment = text("environ");
    let names: Vec<&str> = environment.split('\0').filter_map(|one| Some(one.split_once('=')?.0)).collect();
    assert_eq!(names, ["HOME", "PATH", "SUDO_USER", "TINK_SYNC_USER"]);
    assert!(!environment.contains("/root"), "{environment}");
    // Its memory is root's: neither its own user nor a core file has it.
    assert_eq!(fs::metadata(format!("{place}/environ")).unwrap().uid(), 0);
    let limits = text("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    pass.kill().unwrap();
    pass.wait().unwrap();
}

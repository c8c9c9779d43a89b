//! The command that runs a program of the operator's for each event that waits: whatever the program does,
//! nothing is lost, nothing hangs and nothing is started for ever.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::harness::{Ran, private, until};

/// A spool with events, and a program for them.
struct Hook {
    dir: tempfile::TempDir,
}

const KIND: &str = "needs-user";

impl Hook {
    /// A program of these lines of shell; `$HERE` is this directory.
    fn new(script: &str) -> Self {
        let hook = Self { dir: tempfile::tempdir().unwrap() };
        for directory in ["hooks", &format!("spool/{KIND}")] {
            fs::create_dir_all(hook.path(directory)).unwrap();
        }
        hook.program(script);
        hook
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let here = self.dir.path().display();
        let path = self.path(&format!("hooks/{KIND}"));
        fs::write(&path, format!("#!/bin/sh\nHERE={here}\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn event(&self, id: &str, text: &str) {
        fs::write(self.path(&format!("spool/{KIND}/{id}.json")), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tink-sync"));
        // What a careless unit might have in its environment.
        command.env_clear().env("TINK_CLIENT_SECRET", "hidden").env("CREDENTIALS_DIRECTORY", "/hidden");
        // Root stays root, also on a machine that has the user of the hooks.
        command.env("TINK_SYNC_USER", "root");
        command.args(["--config", "/nowhere/tink-sync.toml", "hook", "--event", KIND, "--linger", "0s"]);
        command.arg("--directory").arg(self.path("hooks")).arg("--spool").arg(self.path("spool"));
        Ran::of(command.args(args).output().unwrap())
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Names of the files in a directory of the spool.
    fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("spool").join(directory)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn waiting(&self) -> Vec<String> {
        self.names(KIND)
    }

    fn given_up(&self) -> Vec<String> {
        self.names(&format!("failed/{KIND}"))
    }
}

const QUICK: [&str; 2] = ["--retry", "1ms,1ms"];

#[test]
fn a_hook_gets_each_event_once_and_in_order() {
    let hook = Hook::new("cat >>$HERE/got");
    for id in ["2", "1", "3"] {
        hook.event(id, &format!("{{\"id\":{id}}}\n"));
    }
    let ran = hook.run(&["--verbose"]).expect(0);
    assert_eq!(hook.text("got"), "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
    assert_eq!((hook.waiting(), hook.given_up()), (vec![], vec![]));
    assert!(ran.stderr.contains("told 1") && ran.stdout.is_empty(), "{ran:?}");
    hook.run(&[]).expect(0);
    assert_eq!(hook.text("got").lines().count(), 3);
}

#[test]
fn a_hook_inherits_nothing_of_ours() {
    let hook = Hook::new("env >$HERE/env; pwd >$HERE/pwd; ls -l /proc/self/fd >$HERE/open");
    hook.event("1", "{}");
    hook.run(&[]).expect(0);
    let given = hook.text("env");
    // The shell adds some of its own.
    let names: BTreeSet<&str> = given.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let ours: BTreeSet<&str> = names.difference(&["PWD", "SHLVL", "_", "OLDPWD"].into()).copied().collect();
    assert_eq!(ours, ["HOME", "LANG", "PATH", "TINK_SYNC_EVENT"].into());
    assert!(given.contains("TINK_SYNC_EVENT=needs-user") && !given.contains("hidden"), "{given}");
    assert_eq!(hook.text("pwd"), "/\n");
    assert!(!hook.text("open").contains("spool"), "{}", hook.text("open"));
}

#[test]
fn a_hook_that_fails_is_tried_again_and_then_its_event_is_kept_aside() {
    let hook = Hook::new("echo try >>$HERE/tries; exit 3");
    hook.event("1", "{\"id\":1}");
    let ran = hook.run(&QUICK).expect(0);
    assert_eq!(hook.text("tries").lines().count(), 3);
    assert_eq!((hook.waiting(), hook.given_up()), (vec![], vec!["1.json".to_owned()]));
    assert_eq!(hook.text(&format!("spool/failed/{KIND}/1.json")), "{\"id\":1}");
    for said in ["it ended with 3", "next attempt is in 1ms", "given up and kept as"] {
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    // Once it works again, what was kept is told by putting it back.
    hook.program("cat >$HERE/got");
    fs::rename(hook.path(&format!("spool/failed/{KIND}/1.json")), hook.path(&format!("spool/{KIND}/1.json")))
        .unwrap();
    hook.run(&QUICK).expect(0);
    assert_eq!(hook.text("got"), "{\"id\":1}");
}

#[test]
fn a_hook_that_is_broken_for_good_does_not_hold_up_thousands() {
    let hook = Hook::new("echo try >>$HERE/tries; exit 1");
    for id in 100..200 {
        hook.event(&id.to_string(), "{}");
    }
    hook.run(&QUICK).expect(0);
    assert_eq!(hook.text("tries").lines().count(), 102);
    assert_eq!((hook.waiting().len(), hook.given_up().len()), (0, 100));
}

#[test]
fn a_sample_that_fails_takes_no_attempt_from_the_events_behind_it() {
    let hook = Hook::new("echo try >>$HERE/tries; exit 1");
    hook.event("test-1", "{}");
    hook.event("the-next", "{}");
    hook.run(&QUICK).expect(0);
    assert_eq!(hook.text("tries").lines().count(), 1 + 3);
    assert_eq!(hook.given_up(), ["test-1.json", "the-next.json"]);
}

#[test]
fn a_hook_that_stumbles_once_has_told_it() {
    let hook = Hook::new("test -e $HERE/stumbled && exec cat >$HERE/got; touch $HERE/stumbled; kill -9 $$");
    hook.event("1", "{\"id\":1}");
    let ran = hook.run(&QUICK).expect(0);
    assert_eq!(hook.text("got"), "{\"id\":1}");
    assert!(ran.stderr.contains("killed by signal 9"), "{}", ran.stderr);
    assert_eq!(hook.given_up(), Vec::<String>::new());
}

#[test]
fn a_hook_that_hangs_is_killed_with_all_that_it_started() {
    let hook = Hook::new("sleep 1000 & echo $! >$HERE/child; sleep 1000");
    hook.event("1", "{}");
    let ran = hook.run(&["--retry", "1ms", "--timeout", "300ms"]).expect(0);
    assert!(ran.stderr.contains("longer than 300ms and was killed"), "{}", ran.stderr);
    assert_eq!(hook.given_up(), ["1.json"]);
    let child = hook.text("child");
    // An orphan is reaped by the first process of the machine, which may take its time.
    until(|| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
}

#[test]
fn a_hook_may_ignore_the_event_and_may_write_a_lot() {
    let hook = Hook::new(
        "exec </dev/null; head -c 3000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2",
    );
    hook.event("1", &"z".repeat(2_000_000));
    let ran = hook.run(&["--retry", "1ms"]).expect(0);
    assert!(ran.stdout.len() == 3_000_000 && ran.stderr.len() == 3_000_000);
    assert_eq!((hook.waiting(), hook.given_up()), (vec![], vec![]));
}

#[test]
fn a_hook_that_cannot_be_started_is_not_tried_again() {
    let hook = Hook::new("true");
    let path = hook.path(&format!("hooks/{KIND}"));
    for (break_it, said) in [
        (&(|| private(&path)) as &dyn Fn(), "make it executable: chmod 755"),
        (&|| fs::remove_file(&path).unwrap(), "systemctl disable --now"),
    ] {
        break_it();
        hook.event("1", "{}");
        let ran = hook.run(&["--retry", "1h"]).expect(0);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        assert_eq!((hook.waiting(), hook.given_up()), (vec![], vec!["1.json".to_owned()]));
    }
}

#[test]
fn what_is_no_event_starts_nothing_again_and_again() {
    let hook = Hook::new("cat >>$HERE/got");
    fs::create_dir(hook.path(&format!("spool/{KIND}/directory"))).unwrap();
    hook.event("1", "{}");
    hook.run(&QUICK).expect(0);
    assert_eq!((hook.waiting(), hook.given_up()), (vec![], vec!["directory".to_owned()]));
    assert_eq!(hook.text("got"), "{}");
}

#[test]
fn nothing_but_a_regular_file_is_read_and_nothing_waits_for_a_pipe() {
    let hook = Hook::new("cat >>$HERE/got");
    let place = |name: &str| hook.path(&format!("spool/{KIND}/{name}"));
    nix::unistd::mkfifo(&place("1.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink(hook.path(&format!("hooks/{KIND}")), place("2.json")).unwrap();
    fs::File::create(place("3.json")).unwrap().set_len(5 * 1024 * 1024).unwrap();
    std::os::unix::net::UnixListener::bind(place("4.json")).unwrap();
    hook.event("5", "{}");
    let ran = hook.run(&QUICK).expect(0);
    assert_eq!(hook.text("got"), "{}");
    assert_eq!((hook.waiting(), hook.given_up().len()), (vec![], 4));
    for said in ["no regular file", "it is a link", "larger than any event", "it is a socket"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
}

#[test]
fn a_hook_that_fills_the_disk_is_killed_and_its_hoard_is_removed() {
    let hook = Hook::new("cat >>$HERE/got; fallocate -l 300M $HERE/spool/needs-user/hoard; sleep 1000");
    hook.event("1", "{}");
    let ran = hook.run(&["--timeout", "1m"]).expect(0);
    assert!(ran.stderr.contains("more than 256 MiB lie where its events wait"), "{}", ran.stderr);
    assert_eq!((hook.waiting(), hook.given_up()), (vec![], vec!["1.json".to_owned()]));
    assert_eq!(hook.text("got"), "{}");
}

#[test]
fn an_event_that_the_hook_itself_replaces_is_told_once() {
    let hook = Hook::new(
        "cat >>$HERE/got; rm $HERE/spool/needs-user/1.json; mkdir -p $HERE/spool/needs-user/1.json/x",
    );
    hook.event("1", "{}");
    hook.run(&QUICK).expect(0);
    hook.run(&QUICK).expect(0);
    assert_eq!((hook.text("got").as_str(), hook.waiting()), ("{}", vec![".aside-0-1.json".to_owned()]));
}

/// A command of a person's.
fn by_hand(hook: &Hook, args: &[&str]) -> Ran {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tink-sync"));
    command.env_clear().env("TINK_SYNC_USER", "root").arg("hook").args(args);
    Ran::of(command.arg("--spool").arg(hook.path("spool")).output().unwrap())
}

#[test]
fn what_was_put_aside_is_told_again_or_removed_by_a_command() {
    let hook = Hook::new("exit 1");
    for id in ["1", "2"] {
        hook.event(id, &format!("{{\"id\":{id}}}\n"));
    }
    hook.run(&QUICK).expect(0);
    assert_eq!(hook.given_up().len(), 2);
    hook.program("cat >>$HERE/got");
    let said = by_hand(&hook, &["retry"]).expect(0).stdout;
    assert_eq!(said, "needs-user: 2 events told again\n");
    hook.run(&QUICK).expect(0);
    assert_eq!(hook.text("got"), "{\"id\":1}\n{\"id\":2}\n");
    assert_eq!(by_hand(&hook, &["retry", KIND]).expect(0).stdout, "nothing was put aside\n");
    fs::create_dir_all(hook.path(&format!("spool/failed/{KIND}/odd/deep"))).unwrap();
    assert_eq!(by_hand(&hook, &["drop", KIND]).expect(0).stdout, "1 file removed\n");
    assert_eq!(hook.given_up(), Vec::<String>::new());
}

#[test]
fn by_hand_the_events_are_where_the_configuration_says() {
    let hook = Hook::new("exit 1");
    hook.event("1", "{}");
    hook.run(&QUICK).expect(0);
    let config = hook.path("tink-sync.toml");
    let by_hand = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tink-sync"));
        command.env_clear().env("TINK_SYNC_USER", "root").arg("--config").arg(&config).arg("hook");
        Ran::of(command.args(args).output().unwrap())
    };
    by_hand(&["retry"]).expect(78);
    // Nothing else of it is read, least of all a secret.
    let spool = hook.path("spool").display().to_string();
    fs::write(&config, format!("[tink]\nclient_secret_file = \"/nowhere\"\n[hooks]\nspool = {spool:?}\n"))
        .unwrap();
    assert_eq!(by_hand(&["retry"]).expect(0).stdout, "needs-user: 1 event told again\n");
    hook.run(&QUICK).expect(0);
    assert_eq!(by_hand(&["drop"]).expect(0).stdout, "1 file removed\n");
    fs::write(&config, "[hooks]\nspool = \"relative\"\n").unwrap();
    assert!(by_hand(&["retry"]).expect(78).stderr.contains("hooks.spool"));
}

#[test]
fn directories_may_be_relative() {
    let hook = Hook::new("cat >>$HERE/got");
    hook.event("1", "{}");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tink-sync"));
    command.env_clear().env("TINK_SYNC_USER", "root").current_dir(hook.dir.path());
    command.args(["hook", "--event", KIND, "--linger", "0s", "--directory", "hooks", "--spool", "spool"]);
    Ran::of(command.output().unwrap()).expect(0);
    assert_eq!((hook.text("got").as_str(), hook.waiting()), ("{}", Vec::new()));
}

#[test]
fn root_becomes_the_user_of_the_hooks_before_anything_is_opened() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return println!("skipped: only root can become somebody else");
    }
    let hook = Hook::new("true");
    let as_root = |user: &str, args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tink-sync"));
        command.env_clear().env("TINK_SYNC_HOOK_USER", user).arg("hook").args(args);
        Ran::of(command.arg("--spool").arg(hook.path("spool")).output().unwrap())
    };
    let failed = hook.path(&format!("spool/failed/{KIND}"));
    fs::create_dir_all(&failed).unwrap();
    fs::write(failed.join("1.json"), "{}").unwrap();
    // What only root may change is left alone.
    let refused = as_root("nobody", &["retry"]).expect(2);
    assert!(refused.stderr.contains("ermission denied"), "{}", refused.stderr);
    let unknown = as_root("no-such-user-here", &["retry"]).expect(2);
    assert!(unknown.stderr.contains("there is no user no-such-user-here"), "{}", unknown.stderr);
    // The directory above need not be open to that user.
    for directory in [failed.clone(), hook.path(&format!("spool/{KIND}"))] {
        chown(directory, Some(65534), Some(65534)).unwrap();
    }
    for directory in ["spool", "spool/failed"] {
        fs::set_permissions(hook.path(directory), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(hook.dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    as_root("nobody", &["retry"]).expect(0);
    assert_eq!(hook.waiting(), ["1.json"]);
    // Where systemd runs, it is asked whether a unit takes it.
    if !std::path::Path::new("/run/systemd/system").is_dir() {
        let sample = as_root("nobody", &["test", KIND]).expect(0);
        let mine = hook.waiting().into_iter().find(|name| name.starts_with("test-")).expect("a sample");
        let mine = fs::metadata(hook.path(&format!("spool/{KIND}/{mine}"))).unwrap();
        assert_eq!((mine.uid(), mine.mode() & 0o777), (65534, 0o640), "{sample:?}");
    }

    // A link in the place of the spool leads nowhere.
    fs::rename(hook.path("spool"), hook.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(hook.path("elsewhere"), hook.path("spool")).unwrap();
    fs::set_permissions(hook.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    as_root("nobody", &["retry"]).expect(2);
}

#[test]
fn a_spool_that_is_not_there_is_wrong_usage_and_no_bug() {
    let hook = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tink-sync"));
        command.env_clear().env("TINK_SYNC_USER", "root").arg("hook").args(args);
        Ran::of(command.args(["--spool", "/nowhere/spool"]).output().unwrap())
    };
    let refused = hook(&["test", KIND]).expect(2);
    assert!(refused.stderr.contains("/nowhere/spool") && refused.stderr.contains("systemd-tmpfiles"));
    // Nothing waits there, and nothing was put aside.
    for args in [&["--event", KIND][..], &["retry"], &["drop"]] {
        hook(args).expect(0);
    }
}

#[test]
fn wrong_words_are_refused_with_the_right_ones() {
    let hook = Hook::new("true");
    let ran = hook.run(&["--timeout", "1h"]).expect(2);
    assert!(ran.stderr.contains("expected 1ms to 5m"), "{}", ran.stderr);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tink-sync"));
    let ran =
        Ran::of(command.env_clear().args(["hook", "--event", "needs_user"]).output().unwrap()).expect(2);
    assert!(ran.stderr.contains("new-transactions, first-failure, recovered"), "{}", ran.stderr);
}

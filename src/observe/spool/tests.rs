//! What becomes of events in the spool.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn event(kind: HookKind, number: u32) -> HookEvent {
    HookEvent {
        kind,
        id: format!("run-{number:010}"),
        at: "2026-06-01T12:00:00Z".parse().unwrap(),
        run_id: "run".into(),
        connection_id: Some("c-1".into()),
        user_id: Some("u-1".into()),
        details: "{\"reason\":\"consent_expired\"}".to_owned(),
    }
}

fn names(files: &[PathBuf]) -> Vec<&str> {
    files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect()
}

#[test]
fn an_event_is_one_line_of_json() {
    let told = text(&event(HookKind::NeedsUser, 7));
    assert!(told.ends_with("}\n") && told.lines().count() == 1);
    let told: Value = serde_json::from_str(&told).unwrap();
    let expected = json!({
        "schema": 1, "event": "needs-user", "id": "run-0000000007", "at": "2026-06-01T12:00:00Z",
        "run_id": "run", "connection_id": "c-1", "user_id": "u-1", "reason": "consent_expired",
    });
    assert_eq!(told, expected);
    let pass = HookEvent { connection_id: None, user_id: None, ..event(HookKind::PassFailed, 1) };
    assert!(!text(&pass).contains("user_id"));
}

#[test]
fn events_wait_in_order_until_they_are_told_or_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(&dir.path().join("hooks"));
    let kind = HookKind::Recovered;
    assert_eq!(spool.waiting(kind).unwrap(), Vec::<PathBuf>::new());
    let turn = spool.turn().unwrap();
    spool.put(&turn, &[event(kind, 2), event(kind, 1), event(HookKind::NeedsUser, 3)]).unwrap();
    spool.put(&turn, &[event(kind, 1)]).unwrap();
    let waiting = spool.waiting(kind).unwrap();
    assert_eq!(names(&waiting), ["run-0000000001.json", "run-0000000002.json"]);
    assert_eq!(fs::metadata(&waiting[0]).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::metadata(spool.queue(kind)).unwrap().permissions().mode() & 0o077, 0);
    spool.told(&waiting[0]).unwrap();
    spool.told(&waiting[0]).unwrap();
    spool.give_up(kind, &waiting[1]).unwrap();
    assert_eq!((spool.waiting(kind).unwrap().len(), spool.given_up(kind)), (0, 1));
    assert_eq!(spool.waiting(HookKind::NeedsUser).unwrap().len(), 1);
}

#[test]
fn whatever_a_hook_leaves_in_a_queue_holds_up_nobody_who_forgets() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(dir.path());
    let kind = HookKind::NeedsUser;
    spool.put(&spool.turn().unwrap(), &[event(kind, 1)]).unwrap();
    let queue = spool.queue(kind);
    let outside = tempfile::tempdir().unwrap();
    let elsewhere = outside.path().join("elsewhere");
    fs::write(&elsewhere, text(&event(kind, 2))).unwrap();
    // Nobody writes into the pipe, ever.
    nix::unistd::mkfifo(&queue.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink(&elsewhere, queue.join("link")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", queue.join("endless")).unwrap();
    fs::create_dir(queue.join("directory")).unwrap();
    // What he hides is found, and what a writer that was killed has left.
    for hidden in [queue.join(".hidden"), queue.join("directory/deep"), dir.path().join("failed")] {
        fs::write(&hidden, text(&event(kind, 3))).unwrap();
    }
    let left = dir.path().join(format!(".tink-sync-{}.tmp", "0".repeat(32)));
    fs::write(&left, "{\"connection_id\":\"c-1\",\"user").unwrap();
    assert_eq!(spool.of("c-1").unwrap().len(), 4);
    spool.forget("c-1", || Ok::<_, io::Error>(())).unwrap();
    assert_eq!(names(&spool.waiting(kind).unwrap()), ["directory", "endless", "link", "pipe"]);
    assert!(spool.of("c-1").unwrap().is_empty() && !left.exists());
    assert!(elsewhere.exists());
}

#[test]
fn a_connection_that_is_forgotten_leaves_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(&dir.path().join("hooks"));
    let erase = || Ok::<_, io::Error>(7);
    assert_eq!(spool.forget("c-1", erase).unwrap(), 7);
    assert!(!spool.root.exists());
    let other = HookEvent { connection_id: Some("c-2".into()), ..event(HookKind::NeedsUser, 3) };
    let pass = HookEvent { connection_id: None, user_id: None, ..event(HookKind::PassFailed, 4) };
    let turn = spool.turn().unwrap();
    let mine = [event(HookKind::NeedsUser, 1), event(HookKind::NeedsUser, 2)];
    spool.put(&turn, &[mine[0].clone(), mine[1].clone(), other, pass]).unwrap();
    drop(turn);
    spool.give_up(HookKind::NeedsUser, &spool.waiting(HookKind::NeedsUser).unwrap()[0]).unwrap();
    assert!(spool.forget("c-1", || Err::<(), _>(io::Error::other("no"))).is_err());
    assert_eq!(spool.given_up(HookKind::NeedsUser), 1);
    spool.forget("c-1", erase).unwrap();
    assert_eq!(names(&spool.waiting(HookKind::NeedsUser).unwrap()), ["run-0000000003.json"]);
    assert_eq!(spool.given_up(HookKind::NeedsUser), 0);
    assert_eq!(spool.waiting(HookKind::PassFailed).unwrap().len(), 1);
}

#[test]
fn the_oldest_go_when_too_many_wait() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..9 {
        fs::write(dir.path().join(format!("{n}")), "").unwrap();
    }
    fs::write(dir.path().join(".hidden"), "").unwrap();
    assert_eq!(thin(dir.path(), 3).unwrap(), 6);
    assert_eq!(names(&list(dir.path()).unwrap()), ["6", "7", "8"]);
    assert_eq!(thin(dir.path(), 3).unwrap(), 0);
}

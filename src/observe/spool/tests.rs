//! What happens to events in the spool.

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

fn put(spool: &Spool, events: &[HookEvent]) {
    let turn = spool.turn().unwrap();
    for event in events {
        spool.make_room(&turn, event.kind, 1).unwrap();
        assert_eq!(spool.put(&turn, event).unwrap(), None);
        spool.sync_queue(&turn, event.kind).unwrap();
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
    let expected = serde_json::json!({
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
    put(&spool, &[event(kind, 2), event(kind, 1), event(HookKind::NeedsUser, 3), event(kind, 1)]);
    let waiting = spool.waiting(kind).unwrap();
    assert_eq!(names(&waiting), ["run-0000000001.json", "run-0000000002.json"]);
    assert_eq!(fs::metadata(&waiting[0]).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::metadata(spool.queue(kind)).unwrap().permissions().mode() & 0o077, 0);
    Spool::told(&waiting[0]).unwrap();
    Spool::told(&waiting[0]).unwrap();
    spool.give_up(kind, &waiting[1]).unwrap();
    assert_eq!((spool.waiting(kind).unwrap().len(), spool.given_up(kind)), (0, 1));
    assert_eq!(spool.waiting(HookKind::NeedsUser).unwrap().len(), 1);
}

#[test]
fn whatever_a_hook_leaves_in_a_queue_holds_up_nobody_who_forgets() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(dir.path());
    let kind = HookKind::NeedsUser;
    put(&spool, &[event(kind, 1)]);
    let queue = spool.queue(kind);
    let outside = tempfile::tempdir().unwrap();
    let elsewhere = outside.path().join("elsewhere");
    fs::write(&elsewhere, text(&event(kind, 2))).unwrap();
    // Nobody ever writes into the pipe.
    nix::unistd::mkfifo(&queue.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink(&elsewhere, queue.join("link")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", queue.join("endless")).unwrap();
    fs::create_dir(queue.join("directory")).unwrap();
    // Hidden files are found, and what a killed writer has left.
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
    let mine = [event(HookKind::NeedsUser, 1), event(HookKind::NeedsUser, 2)];
    put(&spool, &[mine[0].clone(), mine[1].clone(), other, pass]);
    spool.give_up(HookKind::NeedsUser, &spool.waiting(HookKind::NeedsUser).unwrap()[0]).unwrap();
    assert!(spool.forget("c-1", || Err::<(), _>(io::Error::other("no"))).is_err());
    assert_eq!(spool.given_up(HookKind::NeedsUser), 1);
    for half_done in
        [spool.root.join(".tink-sync-0.tmp"), spool.failed(HookKind::NeedsUser).join(".tink-sync-0.tmp")]
    {
        fs::write(half_done, text(&mine[0])).unwrap();
    }
    spool.forget("c-1", erase).unwrap();
    for half_done in
        [spool.root.join(".tink-sync-0.tmp"), spool.failed(HookKind::NeedsUser).join(".tink-sync-0.tmp")]
    {
        assert!(!half_done.exists(), "{}", half_done.display());
    }
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
    assert_eq!(place::thin(dir.path(), 3).unwrap(), 6);
    assert_eq!(names(&list(dir.path()).unwrap()), ["6", "7", "8"]);
    assert_eq!(place::thin(dir.path(), 3).unwrap(), 0);
}

/// Creates something that is not an event, under this name.
type Obstacle = fn(&Path);

const OBSTACLES: [(&str, Obstacle); 5] = [
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("a directory with something in it", |path| fs::create_dir_all(path.join("deep")).unwrap()),
    ("a pipe", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
    ("a link", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
    ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
];

#[test]
fn nothing_that_has_the_name_of_an_event_keeps_it_from_being_told() {
    for (what, obstacle) in OBSTACLES {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        let kind = HookKind::NeedsUser;
        let turn = spool.turn().unwrap();
        spool.make_room(&turn, kind, 1).unwrap();
        let place = spool.queue(kind).join("run-0000000001.json");
        obstacle(&place);
        let moved = spool.put(&turn, &event(kind, 1)).unwrap();
        assert_eq!(Spool::read(&place).unwrap(), text(&event(kind, 1)).as_bytes(), "{what}");
        assert_eq!(moved.is_some(), what.contains("directory"), "{what}");
        assert_eq!(spool.aside(kind), usize::from(moved.is_some()), "{what}");
        assert_eq!(spool.waiting(kind).unwrap(), [place], "{what}");
        spool.drop_failed(kind).unwrap();
        assert_eq!(spool.aside(kind), 0, "{what}");
    }
}

#[test]
fn whatever_waits_and_is_no_event_is_told_apart_and_leaves_the_queue() {
    for (what, obstacle) in OBSTACLES {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        let kind = HookKind::NeedsUser;
        fs::create_dir_all(spool.queue(kind)).unwrap();
        let place = spool.queue(kind).join("1.json");
        obstacle(&place);
        assert!(Spool::read(&place).is_err(), "{what}");
        spool.give_up(kind, &place).unwrap();
        assert_eq!((spool.waiting(kind).unwrap().len(), spool.given_up(kind)), (0, 1), "{what}");
        // It is not an event there either.
        assert_eq!(spool.retry(kind).unwrap(), (0, 1), "{what}");
        assert_eq!(spool.drop_failed(kind).unwrap(), 1, "{what}");
        assert!(Path::new("/dev/zero").exists());
    }
}

#[test]
fn an_event_that_was_replaced_while_it_was_told_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(dir.path());
    let kind = HookKind::NeedsUser;
    put(&spool, &[event(kind, 1)]);
    let file = spool.waiting(kind).unwrap().remove(0);
    fs::remove_file(&file).unwrap();
    fs::create_dir_all(file.join("deep")).unwrap();
    Spool::told(&file).unwrap();
    assert_eq!((spool.waiting(kind).unwrap().len(), spool.aside(kind)), (0, 1));
}

#[test]
fn what_is_moved_out_of_the_way_does_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(dir.path());
    let kind = HookKind::NeedsUser;
    let turn = spool.turn().unwrap();
    spool.make_room(&turn, kind, 1).unwrap();
    for _ in 0..250 {
        let place = spool.queue(kind).join("run-0000000001.json");
        place::remove(&place).unwrap();
        fs::create_dir_all(place.join("deep")).unwrap();
        spool.put(&turn, &event(kind, 1)).unwrap();
    }
    assert!(spool.aside(kind) <= 101, "{}", spool.aside(kind));
    // A file larger than any event does not take space for long.
    fs::File::create(spool.queue(kind).join(".hoard")).unwrap().set_len(LARGEST + 1).unwrap();
    spool.make_room(&turn, kind, 1).unwrap();
    assert!(!spool.queue(kind).join(".hoard").exists());
}

#[test]
fn of_what_was_moved_out_of_the_way_the_oldest_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    // A number that is none of ours neither stops the count nor outlives the rest.
    fs::create_dir(dir.path().join(format!(".aside-{}-x", u64::MAX))).unwrap();
    let moved = |n: u32| {
        let place = dir.path().join(format!("{:03}.json", 999 - n));
        fs::create_dir_all(place.join(n.to_string())).unwrap();
        place::move_aside(&place).unwrap()
    };
    let all: Vec<PathBuf> = (0..250).map(moved).collect();
    assert_eq!(place::moved_aside(dir.path()).unwrap(), all[150..]);
}

#[test]
fn a_queue_has_a_quota_and_what_is_no_event_can_be_swept_away() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(dir.path());
    let kind = HookKind::NeedsUser;
    put(&spool, &[event(kind, 1)]);
    assert!(!spool.is_over_quota(kind));
    // Many small things, deep below, in a hidden directory.
    let deep = spool.queue(kind).join(".hidden/deep");
    fs::create_dir_all(&deep).unwrap();
    for n in 0..=4 * MOST {
        fs::hard_link(&spool.waiting(kind).unwrap()[0], deep.join(n.to_string())).unwrap();
    }
    assert!(spool.is_over_quota(kind));
    fs::write(spool.queue(kind).join("notes"), "").unwrap();
    spool.sweep(kind).unwrap();
    assert!(!spool.is_over_quota(kind));
    assert_eq!(names(&spool.waiting(kind).unwrap()), ["run-0000000001.json"]);
}

#[test]
fn a_name_as_long_as_names_get_can_be_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(255));
    fs::create_dir(&long).unwrap();
    place::move_aside(&long).unwrap();
    assert!(!long.exists());
}

#[test]
fn what_was_given_up_comes_back_in_its_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(dir.path());
    let kind = HookKind::NeedsUser;
    put(&spool, &[event(kind, 1), event(kind, 2)]);
    for file in spool.waiting(kind).unwrap() {
        // As where a rename does not reach.
        let to = spool.failed(kind).join(file.file_name().unwrap());
        fs::create_dir_all(spool.failed(kind)).unwrap();
        carry(&file, &to).unwrap();
    }
    assert_eq!((spool.waiting(kind).unwrap().len(), spool.given_up(kind)), (0, 2));
    assert_eq!(spool.retry(kind).unwrap(), (2, 0));
    let waiting = spool.waiting(kind).unwrap();
    assert_eq!(names(&waiting), ["run-0000000001.json", "run-0000000002.json"]);
    assert_eq!(Spool::read(&waiting[0]).unwrap(), text(&event(kind, 1)).as_bytes());
}

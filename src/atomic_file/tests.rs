//! What may be replaced, what is left behind, and where links of other users lead.

use std::fs;
use std::os::unix::fs::{lchown, symlink};

use super::*;

const STEPS: [&str; 2] = ["write the metrics", "replace the metrics"];

fn put(path: &Path, protected: &Protected) -> io::Result<()> {
    replace(path, 0o640, "new", protected, STEPS)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn refused(done: io::Result<()>, why: &str) {
    let error = done.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains(why), "{error} does not say: {why}");
}

#[test]
fn a_file_is_replaced_as_a_whole_with_its_permissions_or_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    for _ in 0..2 {
        put(&path, &Protected::default()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    }
    let mut given_up = AtomicFile::create(&path, 0o600, &Protected::default()).unwrap();
    given_up.write_all(b"never").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    drop(given_up);
    assert_eq!(names(dir.path()), ["out"]);
    assert!(put(&dir.path().join("no/out"), &Protected::default()).is_err());
    refused(put(Path::new("/"), &Protected::default()), "names no file");
}

#[test]
fn without_unnamed_files_it_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let target = Destination::of(&dir.path().join("out")).unwrap();
    let temporary_directory = target.directory.try_clone().unwrap();
    let (file, name) = named(&temporary_directory).unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    let mut one = AtomicFile { file, temporary_directory, temporary: Some(name), target, mode: 0o644 };
    one.write_all(b"new").unwrap();
    assert!(!names(dir.path()).contains(&"out".to_owned()));
    one.replace(STEPS).unwrap();
    assert_eq!(names(dir.path()), ["out"]);
    let directory = target::open_directory(dir.path()).unwrap();
    let (file, name) = named(&directory).unwrap();
    let target = Destination::of(&dir.path().join("out")).unwrap();
    drop(AtomicFile { file, temporary_directory: directory, temporary: Some(name), target, mode: 0o644 });
    assert_eq!(names(dir.path()), ["out"]);
}

#[test]
fn what_was_abandoned_is_swept_up_and_what_is_at_work_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let directory = target::open_directory(dir.path()).unwrap();
    let (at_work, name) = named(&directory).unwrap();
    // A killed process releases its lock.
    let (abandoned, _) = named(&directory).unwrap();
    drop(abandoned);
    fs::write(dir.path().join(".tink-sync-notes.tmp"), "").unwrap();
    symlink("nowhere", dir.path().join(format!(".tink-sync-{}.tmp", "a".repeat(32)))).unwrap();
    let before = names(dir.path()).len();
    put(&dir.path().join("out"), &Protected::default()).unwrap();
    assert_eq!(names(dir.path()).len(), before);
    assert!(names(dir.path()).contains(&name));
    drop(at_work);
    sweep_directory(dir.path());
    assert!(!names(dir.path()).contains(&name));
    assert!(names(dir.path()).contains(&".tink-sync-notes.tmp".to_owned()));
}

#[test]
fn links_are_neither_followed_nor_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, "old").unwrap();
    symlink(&file, &link).unwrap();
    refused(put(&link, &Protected::default()), "is a link; name the file it leads to");
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    // Root's own links, and this user's, may lead to a directory.
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink("real", dir.path().join("way")).unwrap();
    put(&dir.path().join("way/out"), &Protected::default()).unwrap();
    assert_eq!(names(&dir.path().join("real")), ["out"]);
    if crate::identity::is_root() {
        lchown(dir.path().join("way"), Some(65534), None).unwrap();
        refused(put(&dir.path().join("way/out"), &Protected::default()), "way is a link of another user");
        let directory = dir.path().join("way");
        assert!(scratch(&directory).is_err());
    }
    symlink("round", dir.path().join("round")).unwrap();
    assert!(put(&dir.path().join("round/out"), &Protected::default()).is_err());
}

#[test]
fn a_database_and_all_beside_it_is_never_replaced_by_whatever_way() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["store.db", "store.db-wal", "store.db.bak"] {
        fs::write(at(name), "kept").unwrap();
    }
    symlink(".", at("way")).unwrap();
    fs::hard_link(at("store.db-wal"), at("other")).unwrap();
    let protected = Protected::default().family(&at("store.db"));
    for name in [
        "store.db",
        "store.db-wal",
        "store.db-shm",
        "store.db-journal",
        "store.db.bak",
        "store.db-run-7.lock",
        "store.db~",
        "way/store.db",
        "way/way/store.db-wal",
        "other",
    ] {
        refused(put(&at(name), &protected), "belongs to");
    }
    symlink(at("store.db"), at("link.prom")).unwrap();
    refused(put(&at("link.prom"), &protected), "belongs to");
    for name in ["store.db", "store.db-wal", "store.db.bak", "other"] {
        assert_eq!(fs::read_to_string(at(name)).unwrap(), "kept", "{name}");
    }
    // A name that only begins alike belongs to another file.
    put(&at("store.dbx"), &protected).unwrap();
    put(&at("store.csv"), &protected).unwrap();
    // The store itself is a link.
    fs::create_dir(at("disk")).unwrap();
    fs::write(at("disk/real.db"), "kept").unwrap();
    symlink(at("disk/real.db"), at("linked.db")).unwrap();
    let protected = Protected::default().family(&at("linked.db"));
    refused(put(&at("disk/real.db-wal"), &protected), "belongs to");
}

#[test]
fn files_that_are_named_and_what_lies_in_a_directory_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("spool/kind")).unwrap();
    symlink("spool/kind", at("way")).unwrap();
    fs::write(at("secret"), "kept").unwrap();
    let protected = Protected::default().file(&at("secret")).directory(&at("spool"));
    for name in ["secret", "spool/x", "spool/kind/x", "way/x"] {
        refused(put(&at(name), &protected), "belongs to");
    }
    put(&at("secret.csv"), &protected).unwrap();
    put(&at("spool.csv"), &protected).unwrap();
}

#[test]
fn databases_devices_and_directories_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for start in [&b"SQLite format 3\0"[..], b"\x37\x7f\x06\x82", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"] {
        let path = dir.path().join("x");
        fs::write(&path, [start, b"more"].concat()).unwrap();
        refused(put(&path, &Protected::default()), "is a database");
    }
    refused(put(Path::new("/dev/null"), &Protected::default()), "is not a regular file");
    refused(put(dir.path(), &Protected::default()), "is not a regular file");
}

#[test]
fn a_private_file_is_there_for_its_owner_until_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let file = PrivateFile::create(dir.path(), ".html", "text").unwrap();
    assert_eq!(fs::read_to_string(&file.path).unwrap(), "text");
    assert_eq!(fs::metadata(&file.path).unwrap().mode() & 0o777, 0o600);
    let scratch = scratch(dir.path()).unwrap();
    assert_eq!(scratch.metadata().unwrap().nlink(), 0);
    assert_eq!(names(dir.path()).len(), 1, "one that is at work is not swept up");
    drop(file);
    assert!(names(dir.path()).is_empty());
}

//! Views that never end, give too much, or are no view at all.

use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::store::Place;
use crate::store::source::{read_known_view, read_view};

fn database(sql: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    (dir, path)
}

fn read(path: &Path, limits: ViewLimits) -> Result<ViewRows> {
    Source { path, view: "v", vault: None, now: Timestamp::UNIX_EPOCH, limits }.read()
}

fn view(columns: &str, from: &str) -> String {
    format!("CREATE VIEW v AS {columns} 1 AS enabled, 1 AS entitled, 'x' AS external_user_id {from}")
}

#[test]
fn a_view_that_never_ends_is_given_up() {
    // One view returns no row at all, the other returns rows without end.
    let silent = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS connection_id, i AS user_id,";
    let (_guard, path) = database(&view(silent, "FROM n WHERE i < 0"));
    let said = read(&path, ViewLimits { time: Duration::from_millis(20), ..LIMITS }).unwrap_err().to_string();
    assert!(said.contains("the view v did not come to its end"), "{said}");
    let (_guard, path) = database(&view(silent, "FROM n"));
    let said = read(&path, ViewLimits { rows: 1000, ..LIMITS }).unwrap_err().to_string();
    assert!(said.contains("gives more than 1000 rows"), "{said}");
    let said = read(&path, ViewLimits { bytes: 1 << 20, ..LIMITS }).unwrap_err().to_string();
    assert!(said.contains("or 1 MiB"), "{said}");
}

#[test]
fn a_value_that_is_too_long_is_not_loaded_and_fails_its_row_alone() {
    // The last value is larger than the limit; only its length is read.
    let sql = format!(
        "CREATE TABLE t (id, user); INSERT INTO t VALUES ('a', 'u'), ('b', hex(zeroblob(8193))), (hex(zeroblob(8193)), 'u'),
             (hex(zeroblob(8192)), 'u'), (zeroblob({}), 'u');{}",
        (1 << 20) + 1,
        view("SELECT id AS connection_id, user AS user_id,", "FROM t"),
    );
    let (_guard, path) = database(&sql);
    let rows = read(&path, ViewLimits { value: 1 << 20, ..LIMITS }).unwrap();
    let seen: Vec<_> =
        rows.iter().map(|row| (row.connection_id.as_str().len(), row.problem.is_some())).collect();
    assert_eq!(seen, [(1, false), (1, true), (0, true), (16384, false), (0, true)]);
    // A value that the view itself computes is loaded.
    let (_guard, path) = database(&view("SELECT hex(zeroblob(1000000)) AS connection_id, 1 AS user_id,", ""));
    let said = read(&path, ViewLimits { value: 1 << 20, ..LIMITS }).unwrap_err().to_string();
    assert!(said.contains("a value of more than 1 MiB"), "{said}");
}

#[test]
fn ids_with_control_characters_fail_their_row_alone() {
    let (_guard, path) = database(
        "CREATE TABLE v (connection_id, user_id, enabled, entitled, external_user_id, tink_user_id);
         INSERT INTO v VALUES ('a', 'u', 1, 1, 'x', NULL), ('b' || char(27) || '[2J', 'u', 1, 1, 'x', NULL), ('c', 'u' || char(10), 1, 1, 'x', NULL),
             ('d', 'u', 1, 1, char(0), 't'), ('e', 'u', 1, 1, 'x', 't' || char(127)), ('f', 'u', 1, 1, 'x', 't'), ('g', 'u', NULL, 1, '', 't');",
    );
    let rows = read(&path, LIMITS).unwrap();
    let well: Vec<_> =
        rows.iter().filter(|row| row.problem.is_none()).map(|row| row.connection_id.to_string()).collect();
    assert_eq!(well, ["a", "f", "g"]);
    assert!(
        rows.iter().all(|row| row.tink_user.is_some() != ["d", "e"].contains(&row.connection_id.as_str()))
    );
    assert_eq!(rows.get(5).unwrap().names().count(), 2);
    assert!(rows.get(6).unwrap().is_silent() && !rows.get(5).unwrap().is_silent());
}

#[test]
fn only_a_regular_file_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fifo(&path);
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link, &std::path::PathBuf::from("/dev/zero")] {
        let said = read(path, LIMITS).unwrap_err().to_string();
        assert!(said.contains("not a regular file"), "{said}");
    }
    // Nor is anything that SQLite would open beside it.
    for suffix in ["-wal", "-shm", "-journal"] {
        let (guard, path) = database(&view("SELECT 1 AS connection_id, 1 AS user_id,", ""));
        fifo(&guard.path().join(format!("app.db{suffix}")));
        let said = read(&path, LIMITS).unwrap_err().to_string();
        assert!(said.contains(suffix) && said.contains("not a regular file"), "{said}");
    }
}

#[test]
fn a_view_that_was_there_and_is_missing_is_told_apart_from_one_that_never_was() {
    let (_guard, path) = database("CREATE TABLE t (a)");
    let (place, now) = (Place::from(path), Timestamp::UNIX_EPOCH);
    assert!(matches!(read_view(&place, "v", None, now, Duration::ZERO), Err(SourceError::View { .. })));
    assert!(matches!(
        read_known_view(&place, "v", None, now, Duration::ZERO),
        Err(SourceError::Missing { .. })
    ));
    // A view that exists and cannot be used is not missing.
    assert!(matches!(read_known_view(&place, "t", None, now, Duration::ZERO), Err(SourceError::View { .. })));
}

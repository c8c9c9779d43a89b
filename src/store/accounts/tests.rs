//! Tests of what is stored of accounts that are several, on both engines.

use super::*;
use crate::store::engine::postgres::tests::server::Server;
use crate::store::types::Merge;
use crate::store::{Place, Writer};

const NOW: Timestamp = Timestamp::constant(1_000_000, 0);

/// A connection with the accounts a, b, c and d, of keys 1 to 4.
const SEED: &str = "
    INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, enabled, entitled) VALUES (1, 'c', 'u', 'x', 1, 1);
    INSERT INTO ts_accounts (key, connection, account_id, name, type) VALUES
        (1, 1, 'a', '', ''), (2, 1, 'b', '', ''), (3, 1, 'c', '', ''), (4, 1, 'd', '', '')";

/// Does `work` on a seeded store of each engine; what `separate` of the accounts is then, in the order of their keys.
fn assert_separate(work: impl Fn(Db<'_>) -> Result<(), Fail>, expected: &[i64]) {
    let directory = tempfile::tempdir().unwrap();
    for place in [Place::from(directory.path().join("store.db")), Server::shared().fresh_place()] {
        let mut writer = Writer::open(&place, NOW).unwrap();
        let done = writer.run("change the connection", |db| {
            db.batch(SEED)?;
            work(db)?;
            let separate: Vec<i64> = db.column("SELECT separate FROM ts_accounts ORDER BY key", values![])?;
            Ok(separate)
        });
        assert_eq!(done.unwrap(), expected, "{place}");
    }
}

fn named_together(db: Db<'_>, ids: &[&str]) -> Result<(), Fail> {
    let separate = vec![ids.iter().map(|id| AccountId::from(*id)).collect()];
    note_missing_and_separate(db, 1, &Overview { separate, ..Overview::default() })
}

#[test]
fn accounts_that_were_named_together_stay_several_when_one_is_named_beside_another() {
    let steps = |db: Db<'_>| {
        named_together(db, &["b", "c"])?;
        named_together(db, &["a", "c"])
    };
    assert_separate(steps, &[-3, -3, -3, 0]);
    // Two groups that turn out to be one.
    let steps = |db: Db<'_>| {
        named_together(db, &["a", "b"])?;
        named_together(db, &["c", "d"])?;
        db.run("UPDATE ts_accounts SET separate = -separate WHERE key = 4", values![])?;
        named_together(db, &["b", "c"])
    };
    assert_separate(steps, &[-2, -2, -2, 2]);
}

#[test]
fn a_joined_account_is_several_with_what_the_other_was() {
    for (kept, dropped, expected) in [
        (0, -5, -5),
        (0, 1, 1),
        (1, -5, 5),
        (1, 5, 5),
        (1, 1, 1),
        (1, 0, 1),
        (-7, 5, -7),
        (0, 0, 0),
        (0, -1, 0),
        (-1, 0, 0),
        (-1, -5, -5),
    ] {
        let steps = |db: Db<'_>| {
            db.run("UPDATE ts_accounts SET separate = ?1 WHERE key = 1", values![kept])?;
            db.run("UPDATE ts_accounts SET separate = ?1 WHERE key = 2", values![dropped])?;
            merge::join(db, 1, 1, &Merge { keep: 1, drop: 2, adopts_id: true }, NOW)?;
            db.run("UPDATE ts_accounts SET separate = 0 WHERE key = 2", values![])
        };
        assert_separate(steps, &[expected, 0, 0, 0]);
    }
    // What each was known to be separate from.
    let steps = |db: Db<'_>| {
        named_together(db, &["a", "b"])?;
        named_together(db, &["c", "d"])?;
        db.run("UPDATE ts_accounts SET separate = -separate WHERE key = 4", values![])?;
        merge::join(db, 1, 1, &Merge { keep: 2, drop: 3, adopts_id: true }, NOW)?;
        db.run("UPDATE ts_accounts SET separate = 0 WHERE key = 3", values![])
    };
    assert_separate(steps, &[-2, -2, 0, 2]);
}

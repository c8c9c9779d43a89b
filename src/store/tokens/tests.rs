//! Encrypting tokens again: all or none, and never a token that was used up in the place of a new one.

use std::convert::Infallible;
use std::time::Duration;

use super::*;
use crate::store::engine::postgres::tests::server::Server;
use crate::store::{Place, Reader, Reencryption, Writer};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A store with the connections `a` and `b`, whose refresh tokens are `[1]` and `[2]`. New tokens of `a` were
/// requested, with the number 5.
fn seeded(place: &Place) -> Writer {
    let mut writer = Writer::open(place, NOW).unwrap();
    let seed = |db: Db<'_>| {
        for (key, id) in [(1, "a"), (2, "b")] {
            db.run(
                "INSERT INTO ts_connections (key, connection_id, user_id, external_user_id, enabled, entitled)
                 VALUES (?1, ?2, 'u', ?2, 1, 1)",
                values![key, id],
            )?;
            db.run(
                "INSERT INTO ts_tokens (connection, version, state, refresh, asking) VALUES (?1, '1', 'asked', ?2, 5)",
                values![key, vec![u8::try_from(key).unwrap()]],
            )?;
        }
        Ok(())
    };
    writer.run("write the audit log", seed).unwrap();
    writer
}

fn refresh_tokens(place: &Place) -> Vec<Vec<u8>> {
    let sql = "SELECT refresh FROM ts_tokens ORDER BY connection";
    Reader::open(place).unwrap().read("look", |db| db.column(sql, values![])).unwrap()
}

/// The encryption of these tests.
fn again(token: &[u8]) -> Vec<u8> {
    [token, &[99]].concat()
}

#[test]
fn tokens_are_encrypted_again_all_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let file = Place::from(directory.path().join("store.db"));
    for place in [file, Server::shared().fresh_place()] {
        let mut writer = seeded(&place);
        let refused = writer.reencrypt(&|connection, refresh, access| match connection {
            "a" => Ok((again(refresh), access.map(again))),
            _ => Err("refused"),
        });
        assert_eq!(refused.unwrap(), Reencryption::Refused("refused"));
        assert_eq!(refresh_tokens(&place), [[1], [2]], "{place}");
        let done =
            writer.reencrypt(&|_, refresh, access| Ok::<_, Infallible>((again(refresh), access.map(again))));
        assert_eq!(done.unwrap(), Reencryption::Done(2));
        assert_eq!(refresh_tokens(&place), [[1, 99], [2, 99]], "{place}");
    }
}

#[test]
fn a_token_that_a_pass_renews_meanwhile_is_not_overwritten_by_the_used_one() {
    let place = Server::shared().fresh_place();
    let (mut writer, mut looking) = (seeded(&place), Writer::open(&place, NOW).unwrap());
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut pass = place.writer(Duration::ZERO, NOW).unwrap();
    pass.begin_write("write new tokens").unwrap();
    let asking = RotationBegin { connection: 1, connection_id: "a".into(), run: 1, number: 5 };
    let renewal = Renewal::Renewed { refresh: Some(vec![7]), access: vec![8], until: None };
    assert!(renewed(pass.db(), &asking, &renewal, NOW).unwrap());
    std::thread::scope(|scope| {
        let rekey = scope.spawn(move || {
            writer.reencrypt(&|_, refresh, access| Ok::<_, Infallible>((again(refresh), access.map(again))))
        });
        while looking.look("look", |db| db.value::<i64>(waiting, values![])).unwrap() == 0 {
            assert!(!rekey.is_finished(), "it has not waited");
            std::thread::yield_now();
        }
        pass.commit().unwrap();
        assert_eq!(rekey.join().unwrap().unwrap(), Reencryption::Done(2));
    });
    assert_eq!(refresh_tokens(&place), [[7, 99], [2, 99]]);
}

#[test]
fn an_answer_for_a_token_that_was_given_up_meanwhile_is_stored_unless_the_key_is_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = Place::from(directory.path().join("store.db"));
    for place in [file, Server::shared().fresh_place()] {
        let mut writer = seeded(&place);
        let lost = "UPDATE ts_tokens SET state = 'lost'";
        writer.run("write the audit log", |db| db.batch(lost)).unwrap();
        let asking = |connection| RotationBegin { connection, connection_id: "a".into(), run: 1, number: 5 };
        let renewal = Renewal::Renewed { refresh: Some(vec![7]), access: vec![8], until: None };
        let answer = |asking: &RotationBegin, writer: &mut Writer| {
            writer.run("write new tokens", |db| renewed(db, asking, &renewal, NOW)).unwrap()
        };
        assert!(answer(&asking(1), &mut writer));
        assert_eq!(refresh_tokens(&place), [[7], [2]], "{place}");
        let encrypted =
            writer.reencrypt(&|_, refresh, access| Ok::<_, Infallible>((again(refresh), access.map(again))));
        assert_eq!(encrypted.unwrap(), Reencryption::Done(2));
        assert!(!answer(&asking(2), &mut writer));
        assert_eq!(refresh_tokens(&place), [[7, 99], [2, 99]], "{place}");
    }
}

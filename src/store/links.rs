//! Links that were begun: what must be durable before Tink creates a user, and how a link becomes a
//! connection of the stand-alone tables. Knows nothing of Tink.

use jiff::Timestamp;

use super::engine::value::Millis;
use super::engine::{Db, Fail, Row, values};
use super::stand_alone::{self, OwnConnection};
use super::writer::{self, AuditRow, Writer};
use crate::store::Result;

/// A link that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunLink {
    /// The connection that it will become.
    pub connection_id: String,
    /// Its user.
    pub user_id: String,
    /// The id of the Tink user.
    pub external_user_id: String,
    /// Market, if one was chosen.
    pub market: Option<String>,
}

impl Writer {
    /// The links of a user that were begun and not finished.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be read.
    pub fn begun_links(&mut self, user_id: &str) -> Result<Vec<BegunLink>> {
        self.look("read the links", |db| {
            let rows = "SELECT * FROM ts_links WHERE user_id = ?1 ORDER BY begun_at";
            db.all(rows, values![user_id], begun)
        })
    }

    /// Records durably that a link was begun. If this connection has one already, that link goes on and is
    /// returned. A link of another user, for this connection or for the same user at Tink, is returned
    /// unchanged and must not be used.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn begin_link(&mut self, link: &BegunLink, now: Timestamp) -> Result<BegunLink> {
        self.run("begin the link", |db| {
            let anothers = "SELECT * FROM ts_links WHERE external_user_id = ?1 AND user_id <> ?2 LIMIT 1";
            let anothers = db.one(anothers, values![&link.external_user_id, &link.user_id], begun)?;
            if let Some(anothers) = anothers {
                return Ok(anothers);
            }
            db.run(
                "UPDATE ts_links SET market = coalesce(?3, market) WHERE connection_id = ?1 AND user_id = ?2",
                values![link.connection_id, link.user_id, link.market],
            )?;
            db.run(
                "INSERT INTO ts_links (connection_id, user_id, external_user_id, market, begun_at)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                values![link.connection_id, link.user_id, link.external_user_id, link.market, Millis(now)],
            )?;
            db.single("SELECT * FROM ts_links WHERE connection_id = ?1", values![&link.connection_id], begun)
        })
    }

    /// Makes a begun link a connection, with its audit row, unless it is one already. Returns `false`, and
    /// stores nothing, if this very link is not left (another may have been begun for the same connection
    /// since), or if a connection with its id has another user, here or at Tink.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the store cannot be written.
    pub fn end_link(&mut self, link: &BegunLink, audit: &AuditRow<'_>) -> Result<bool> {
        let connection = OwnConnection {
            connection_id: link.connection_id.clone(),
            user_id: link.user_id.clone(),
            external_user_id: Some(link.external_user_id.clone()),
            tink_user_id: None,
            market: link.market.clone(),
            priority: 0,
        };
        self.run("end the link", |db| {
            if let Some(is_it) = is_of_user(db, link)? {
                return Ok(is_it);
            }
            let this =
                "DELETE FROM ts_links WHERE connection_id = ?1 AND user_id = ?2 AND external_user_id = ?3";
            if db.count(this, values![link.connection_id, link.user_id, link.external_user_id])? == 0 {
                return Ok(false);
            }
            stand_alone::insert(db, &connection)?;
            writer::note(db, audit)?;
            Ok(true)
        })
    }
}

/// Whether the stored connection has the link's user, here and at Tink; `None` if there is no connection.
fn is_of_user(db: Db<'_>, link: &BegunLink) -> Result<Option<bool>, Fail> {
    let sql = "SELECT user_id = ?2 AND external_user_id IS NOT DISTINCT FROM ?3 FROM ts_own_connections
         WHERE connection_id = ?1";
    db.one(sql, values![link.connection_id, link.user_id, link.external_user_id], |row| row.get(0))
}

fn begun(row: Row<'_>) -> Result<BegunLink, Fail> {
    Ok(BegunLink {
        connection_id: row.get("connection_id")?,
        user_id: row.get("user_id")?,
        external_user_id: row.get("external_user_id")?,
        market: row.get("market")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Place, Reader};

    fn link(connection: &str, external: &str) -> BegunLink {
        BegunLink {
            connection_id: connection.to_owned(),
            user_id: "u".to_owned(),
            external_user_id: external.to_owned(),
            market: None,
        }
    }

    fn created<'a>() -> AuditRow<'a> {
        AuditRow {
            at: Timestamp::UNIX_EPOCH,
            actor: None,
            ip: None,
            action: "connection.created",
            connection_id: Some("c"),
            user_id: Some("u"),
            result: "ok",
            details: None,
        }
    }

    #[test]
    fn a_link_goes_on_with_the_id_it_began_with_and_ends_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::from(dir.path().join("store.db"));
        let now = Timestamp::UNIX_EPOCH;
        let mut tables = Writer::open(&place, now).unwrap();
        assert_eq!(tables.begin_link(&link("c", "ext-1"), now).unwrap(), link("c", "ext-1"));
        // The program is interrupted; the next one would have created another id.
        drop(tables);
        let mut tables = Writer::open(&place, now).unwrap();
        let chosen = BegunLink { market: Some("DE".to_owned()), ..link("c", "ext-2") };
        let begun = tables.begin_link(&chosen, now).unwrap();
        assert_eq!((begun.external_user_id.as_str(), begun.market.as_deref()), ("ext-1", Some("DE")));
        assert_eq!(tables.begun_links("u").unwrap(), std::slice::from_ref(&begun));
        assert!(tables.begun_links("other").unwrap().is_empty());

        assert!(tables.end_link(&begun, &created()).unwrap());
        assert!(tables.end_link(&begun, &created()).unwrap(), "another process was faster");
        assert!(tables.begun_links("u").unwrap().is_empty());
        assert_eq!(Reader::open(&place).unwrap().audited(), ["connection.created c u"]);
        assert_eq!(Reader::open(&place).unwrap().users().unwrap()[0].connections, 1);
    }
    #[test]
    fn a_link_of_another_user_or_one_that_was_forgotten_becomes_no_connection() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::from(dir.path().join("store.db"));
        let now = Timestamp::UNIX_EPOCH;
        let mut tables = Writer::open(&place, now).unwrap();
        tables.begin_link(&link("c", "ext-1"), now).unwrap();
        let theirs =
            BegunLink { user_id: "other".to_owned(), market: Some("DE".to_owned()), ..link("c", "ext-2") };
        assert_eq!(tables.begin_link(&theirs, now).unwrap(), link("c", "ext-1"));
        let forgotten =
            tables.forget("c", &AuditRow { action: "connection.forgotten", ..created() }).unwrap();
        assert_eq!(forgotten, super::super::forget::Forgotten::Now(1));
        assert!(!tables.end_link(&link("c", "ext-1"), &created()).unwrap());
        assert!(Reader::open(&place).unwrap().users().unwrap().is_empty());
        // Meanwhile somebody has begun another link of this connection, for another user at Tink.
        let again = BegunLink { external_user_id: "ext-2".to_owned(), ..theirs.clone() };
        assert_eq!(tables.begin_link(&again, now).unwrap(), again);
        for forgotten in [link("c", "ext-1"), link("c", "ext-2")] {
            assert!(!tables.end_link(&forgotten, &created()).unwrap(), "{forgotten:?}");
        }
        assert_eq!(tables.begun_links("other").unwrap(), std::slice::from_ref(&again), "it is left");
        assert!(Reader::open(&place).unwrap().users().unwrap().is_empty());
        assert!(tables.end_link(&again, &created()).unwrap());
        let of_another = BegunLink { user_id: "u".to_owned(), ..again };
        assert!(!tables.end_link(&of_another, &created()).unwrap(), "the connection of another user");
        tables.forget("c", &AuditRow { action: "connection.forgotten", ..created() }).unwrap();
        // Meanwhile somebody has added a connection with this id.
        tables.begin_link(&link("c", "ext-1"), now).unwrap();
        let added = OwnConnection {
            connection_id: "c".to_owned(),
            user_id: "u".to_owned(),
            external_user_id: Some("ext-3".to_owned()),
            tink_user_id: None,
            market: None,
            priority: 0,
        };
        assert!(tables.add(&[added], &[]).unwrap().is_empty());
        assert!(!tables.end_link(&link("c", "ext-1"), &created()).unwrap());
    }
}

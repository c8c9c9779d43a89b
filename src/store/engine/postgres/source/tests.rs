//! Views of every type, views that never end, give too much, or are no view at all, on a server.

use std::time::Duration;

use super::*;
use crate::domain::connection::{SourceRow, TinkUser};
use crate::store::Place;
use crate::store::engine::postgres::tests::server::Server;
use crate::store::source::{read_known_view, read_view};

/// The address of a new database in which these statements were run.
fn database(sql: &str) -> Arc<Target> {
    let server = Server::shared();
    let url = server.fresh_database();
    let name = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    server.execute(name, sql);
    target(&url)
}

fn target(url: &str) -> Arc<Target> {
    Arc::new(Target::parse(url, &|_| None).unwrap())
}

fn limited(target: &Arc<Target>, view: &str, limits: ViewLimits) -> Result<ViewRows> {
    ServerSource { target, view, vault: None, now: Timestamp::UNIX_EPOCH, limits }.read()
}

fn read(target: &Arc<Target>, view: &str) -> Result<ViewRows> {
    limited(target, view, LIMITS)
}

fn refused(target: &Arc<Target>, view: &str) -> String {
    let error = read(target, view).unwrap_err();
    assert!(matches!(error, SourceError::View { .. }), "{error}");
    error.to_string()
}

fn view(columns: &str, from: &str) -> String {
    format!(
        "CREATE VIEW v AS SELECT {columns}, true AS enabled, true AS entitled, 'x' AS external_user_id {from}"
    )
}

#[test]
fn every_type_says_what_its_text_says() {
    let target = database(
        "CREATE DOMAIN moment AS timestamptz; CREATE TYPE market AS ENUM ('DE', 'SE');
         CREATE VIEW v AS SELECT * FROM (VALUES
             (1::bigint, gen_random_uuid(), 't'::text, true, '2026-02-03 04:05:06+01'::moment, 'DE'::market, 7::smallint),
             (2, gen_random_uuid(), 'no', false, NULL, NULL, NULL),
             (3, NULL, '1', true, 'infinity', 'SE', 0),
             (4, gen_random_uuid(), 'yes', NULL, '9999-12-31 23:59:59+00', 'SE', 1),
             (5, gen_random_uuid(), 'true', true, '0044-03-15 00:00:00+00 BC', 'SE', 1)
         ) r (connection_id, user_id, enabled, entitled, entitled_until, market, priority), (SELECT 'x'::char(3) AS tink_user_id) t",
    );
    let rows: Vec<SourceRow> = read(&target, "v").unwrap().iter().collect();
    let seen = |row: SourceRow| {
        let until = row.entitled_until.map(|until| until.to_string());
        (row.connection_id.to_string(), row.enabled, row.entitled, until, row.market.clone(), row.priority)
    };
    let row = |id: &str, enabled, entitled, until: Option<&str>, market: Option<&str>, priority| {
        (id.to_owned(), enabled, entitled, until.map(str::to_owned), market.map(str::to_owned), priority)
    };
    assert_eq!(
        rows.iter().cloned().map(seen).collect::<Vec<_>>(),
        [
            row("1", true, true, Some("2026-02-03T03:05:06Z"), Some("DE"), 7),
            row("2", false, false, None, None, 0),
            row("3", true, true, None, Some("SE"), 0),
            row("4", true, false, None, Some("SE"), 1),
            row("5", true, false, None, Some("SE"), 1),
        ]
    );
    assert_eq!(rows[0].user_id.as_str().len(), 36);
    assert!(rows[2].problem.is_some() && rows[3].is_silent() && !rows[0].is_silent());
    assert_eq!(rows[0].tink_user, Some(TinkUser::Tink("x".to_owned())));
}

#[test]
fn a_time_may_be_a_day_a_civil_time_or_a_number_and_an_id_any_number() {
    for (time, expected) in [
        ("date '2026-02-03'", Some("2026-02-03T00:00:00Z")),
        ("timestamp '2026-02-03 04:05:06'", Some("2026-02-03T04:05:06Z")),
        ("date 'infinity'", None),
        ("1770091506", Some("2026-02-03T04:05:06Z")),
        ("1770091506.75::float8", Some("2026-02-03T04:05:06Z")),
        ("1770091506.75::numeric", Some("2026-02-03T04:05:06Z")),
        ("'2026-02-03T04:05:06Z'", Some("2026-02-03T04:05:06Z")),
        ("'soon'", None),
        ("'1e400'::numeric", None),
    ] {
        let columns = format!(
            "123456789012345678901234567890::numeric AS connection_id, 1.5 AS user_id, {time} AS entitled_until"
        );
        let row = read(&database(&view(&columns, "")), "v").unwrap().get(0).unwrap();
        assert_eq!(row.entitled_until.map(|until| until.to_string()).as_deref(), expected, "{time}");
        assert!(!row.until_unreadable, "a row with another problem");
        assert_eq!(row.connection_id.as_str(), "123456789012345678901234567890");
        assert!(row.problem.unwrap().contains("no user_id"));
    }
}

#[test]
fn a_value_that_is_too_long_is_not_loaded_and_fails_its_row_alone() {
    let target = database(&view(
        "i AS connection_id, u AS user_id, b AS tink_user_id",
        "FROM (VALUES ('a', 'u', NULL), ('b', repeat('\u{e4}', 8193), NULL), (repeat('c', 16385), 'u', NULL),
             (repeat('d', 16384), 'u', NULL), ('e', 'u', repeat('x', 20000)::bytea), ('f' || chr(27), 'u', NULL),
             ('g', 'u', '\\xff'::bytea)) r (i, u, b)",
    ));
    let rows: Vec<SourceRow> = read(&target, "v").unwrap().iter().collect();
    let seen: Vec<_> =
        rows.iter().map(|row| (row.connection_id.as_str().len(), row.problem.is_some())).collect();
    assert_eq!(seen, [(1, false), (1, true), (0, true), (16384, false), (1, true), (0, true), (1, true)]);
}

#[test]
fn a_view_that_never_ends_or_gives_too_much_is_given_up() {
    let slow = database(&view("1 AS connection_id, 'u' AS user_id", "FROM pg_sleep(3600)"));
    let said = limited(&slow, "v", ViewLimits { time: Duration::from_millis(50), ..LIMITS }).unwrap_err();
    assert!(said.to_string().contains("the view v did not come to its end"), "{said}");
    let much = database(&view("i AS connection_id, i AS user_id", "FROM generate_series(1, 2000) i"));
    let said = limited(&much, "v", ViewLimits { rows: 1000, ..LIMITS }).unwrap_err();
    assert!(said.to_string().contains("gives more than 1000 rows"), "{said}");
    let said = limited(&much, "v", ViewLimits { bytes: 1024, ..LIMITS }).unwrap_err();
    assert!(matches!(said, SourceError::Store(StoreError::Unusable { .. })), "{said}");
    assert_eq!(read(&much, "v").unwrap().number(), 2000);
}

#[test]
fn what_is_wrong_with_a_view_is_told_without_a_value_of_its_rows() {
    let target = database(
        "CREATE TABLE t (a text); INSERT INTO t VALUES ('hunter2'); CREATE SEQUENCE s;
         CREATE VIEW v AS SELECT a::int AS connection_id, 1 AS user_id, 1 AS enabled, 1 AS entitled, 'x' AS external_user_id FROM t;
         CREATE VIEW changes AS SELECT nextval('s') AS connection_id, 1 AS user_id, 1 AS enabled, 1 AS entitled, 'x' AS external_user_id;
         CREATE VIEW few AS SELECT 1 AS connection_id, 1 AS user_id, 1 AS enabled;
         CREATE VIEW nobody AS SELECT 1 AS connection_id, 1 AS user_id, 1 AS enabled, 1 AS entitled",
    );
    assert!(refused(&target, "v").ends_with("the view v does not work: error 22P02"));
    assert!(refused(&target, "changes").ends_with("the view changes does not work: it changes something"));
    assert!(refused(&target, "few").contains("the view few lacks the column(s) entitled and needs a column"));
    assert!(refused(&target, "nobody").contains("needs a column external_user_id or tink_user_id"));
    for view in ["none", "none.v", "public.none"] {
        let said = refused(&target, view);
        assert!(said.contains(&format!("create the view {view} there, or correct source.view")), "{said}");
    }
    let place = Place::Postgres(Arc::clone(&target));
    let known = |view: &str| read_known_view(&place, view, None, Timestamp::UNIX_EPOCH, Duration::ZERO);
    assert!(matches!(known("none"), Err(SourceError::Missing { .. })));
    // A view that exists and cannot be used is not missing.
    assert!(matches!(known("few"), Err(SourceError::View { .. })));
    let away = Place::Postgres(self::target("postgres://app@127.0.0.1:1/bank?sslmode=disable"));
    let away = read_view(&away, "v", None, Timestamp::UNIX_EPOCH, Duration::ZERO);
    assert!(matches!(away, Err(SourceError::Store(StoreError::Unavailable { .. }))), "{away:?}");
}

#[test]
fn a_view_is_found_where_the_role_looks_and_needs_a_grant() {
    let one = |schema: &str, name: &str, id: u8| {
        format!(
            "CREATE VIEW {schema}.{name} AS SELECT {id} AS connection_id, 1 AS \"User_Id\", 1 AS enabled, 1 AS entitled, 'x' AS external_user_id;"
        )
    };
    let target = database(&format!(
        "CREATE SCHEMA app; CREATE SCHEMA tink_sync; {}{}{}{}
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app, public', current_database()); END $$;
         CREATE ROLE onlooker LOGIN; GRANT USAGE ON SCHEMA app TO onlooker",
        one("public", "links", 1),
        one("app", "links", 2),
        one("tink_sync", "own", 3),
        one("app", "\"Odd\"", 4),
    ));
    let id = |view: &str| read(&target, view).unwrap().get(0).unwrap().connection_id.to_string();
    let found = ["links", "LINKS", "public.links", "tink_sync.own", "Odd"].map(id);
    assert_eq!(found, ["2", "2", "1", "3", "4"]);
    assert!(refused(&target, "own").contains("create the view own there"), "that is a store's own");
    let (_, behind) = target.url().split_once('@').unwrap();
    let stranger = self::target(&format!("postgres://onlooker@{behind}"));
    assert!(refused(&stranger, "links").contains("GRANT SELECT ON links"));
    assert!(
        refused(&stranger, "tink_sync.own")
            .contains("GRANT SELECT ON tink_sync.own, and USAGE on its schema")
    );
}

#[test]
fn a_view_without_a_schema_is_the_applications_and_never_the_stores_own() {
    let one = |schema: &str, name: &str, id: u8| {
        format!(
            "CREATE VIEW {schema}.{name} AS SELECT {id} AS connection_id, 1 AS user_id, 1 AS enabled, 1 AS entitled, 'x' AS external_user_id;"
        )
    };
    let (usual, app) = ("tink_sync_source_v1", "CREATE SCHEMA app; CREATE SCHEMA tink_sync;");
    // The path of a role `tink_sync` by itself, and that of the roles of earlier releases.
    for path in ["tink_sync, public", "pg_temp, tink_sync"] {
        let target = database(&format!(
            "{app}{}{}{}{}
             DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = {path}', current_database()); END $$",
            one("public", usual, 1),
            one("tink_sync", usual, 2),
            one("tink_sync", "other", 3),
            one("app", "other", 4),
        ));
        let id = |view: &str| read(&target, view).unwrap().get(0).unwrap().connection_id.to_string();
        assert_eq!([usual, "tink_sync.tink_sync_source_v1"].map(id), ["1", "2"], "{path}");
        let said = refused(&target, "other");
        assert!(said.contains("no view other outside the store's schema"), "{said}");
        assert!(said.contains("source.view = \"tink_sync.other\""), "{said}");
        // A view that was there and is being made anew is waited for.
        let place = Place::Postgres(Arc::clone(&target));
        let known = read_known_view(&place, "other", None, Timestamp::UNIX_EPOCH, Duration::ZERO);
        assert!(matches!(known, Err(SourceError::Missing { .. })), "{known:?}");
    }
    // A path that names a place of the application is all that is searched.
    let target = database(&format!(
        "{app}{}
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app', current_database()); END $$",
        one("public", usual, 1)
    ));
    assert!(refused(&target, usual).contains("there is no view"));
}

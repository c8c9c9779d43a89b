//! Separate duties, with the packaged script and the steps of packaging/postgres.md.

use std::path::Path;

use crate::harness::{World, quoted, small};
use crate::postgres::Database;
use crate::stored::{Engine, Place};

/// Runs the packaged script for this owner, and for a writer whose own schema is the store's by its name.
fn script(database: &Database, owner: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/postgres/roles.sql");
    let owner = format!("owner={owner}");
    let (done, said) = database.psql_with("admin", &["-v", &owner, "-f", file.to_str().unwrap()]);
    assert!(done, "{said}");
}

fn admin(database: &Database, sql: &str) {
    let (done, said) = database.psql("admin", sql);
    assert!(done, "{said}");
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_the_packaged_roles_work_from_the_first_run_on_and_find_the_applications_view() {
    let users = vec!["user-0".to_owned(), "user-1".to_owned()];
    let world = World::on(Engine::Postgres, Engine::Postgres, small(2), users);
    let Place::Database(database) = world.place.clone() else { panic!("it is a file") };
    let world = world.set("store.url", &quoted(&database.url_of("tink_sync")));
    script(&database, "keeper");
    world.run(&[]).expect(74);
    admin(&database, "GRANT keeper TO tink_sync");
    assert_eq!(world.run(&[]).expect(0).total("synced"), 2);
    admin(&database, "REVOKE keeper FROM tink_sync");
    script(&database, "keeper");
    world.assert_all_exact();
    world.sandbox.set_day(2);
    world.run(&["--dry-run"]).expect(0);
    assert_eq!(world.run(&[]).expect(0).total("synced"), 2);
    world.assert_all_exact();

    // As the script was in earlier releases.
    let path = "ALTER ROLE tink_sync IN DATABASE {} SET search_path = pg_temp, tink_sync";
    admin(&database, &path.replace("{}", database.name()));
    assert_eq!(world.run(&[]).expect(0).total("unchanged"), 2);
    let quotes = "ALTER ROLE tink_sync IN DATABASE {} SET quote_all_identifiers = on";
    admin(&database, &quotes.replace("{}", database.name()));
    assert_eq!(world.run(&["--dry-run"]).expect(0).total("unchanged"), 2);
    script(&database, "Other \"owner\"");
    admin(&database, "GRANT \"Other \"\"owner\"\"\" TO keeper");
    assert_eq!(world.run(&[]).expect(0).total("unchanged"), 2);
    let settings = "SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setrole = 'tink_sync'::regrole";
    assert!(!database.texts(settings).iter().flatten().any(|setting| setting.starts_with("search_path")));
}

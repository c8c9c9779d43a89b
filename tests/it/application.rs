//! An application's own database with users, subscriptions and bank links: the view that is shipped for it
//! says of each plan what it should, and the program reads it so.

use std::fmt::Write as _;

use jiff::SignedDuration;
use tink_sync::clock::{Clock as _, SystemClock};

use crate::harness::{World, opened, quoted, small};
use crate::postgres;

const SQLITE: &str = include_str!("../../packaging/examples/view-sqlite.sql");
const POSTGRESQL: &str = include_str!("../../packaging/examples/view-postgresql.sql");
const README: &str = include_str!("../../README.md");

/// A typical schema, in the words that both databases know.
const SCHEMA: &str = "
    CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT);
    CREATE TABLE subscriptions (user_id TEXT, kind TEXT, status TEXT, trial_ends_at TIME_TYPE, period_end TIME_TYPE);
    CREATE TABLE bank_links (id TEXT PRIMARY KEY, user_id TEXT, tink_external_user_id TEXT, disconnected_at TIME_TYPE);
";

/// A subscription: kind, Stripe's status, days to the end of the trial, days to the end of the period.
type Plan = (&'static str, Option<&'static str>, Option<i64>, Option<i64>);

/// What users have, whether they have left, and the state of their connection after a pass.
const USERS: [(&[Plan], bool, &str); 19] = [
    (&[("lifetime", None, None, None)], false, "ok"),
    (&[("trial", None, Some(3), None)], false, "ok"),
    (&[("trial", None, Some(-1), None)], false, "paused_not_entitled"),
    (&[("stripe", Some("active"), None, Some(20))], false, "ok"),
    (&[("stripe", Some("trialing"), None, Some(20))], false, "ok"),
    // Renewal under way: the old period has ended, the new one is not written yet.
    (&[("stripe", Some("active"), None, Some(-1))], false, "ok"),
    (&[("stripe", Some("active"), None, Some(-4))], false, "paused_not_entitled"),
    (&[("stripe", Some("past_due"), None, Some(-2))], false, "ok"),
    (&[("stripe", Some("past_due"), None, Some(-4))], false, "paused_not_entitled"),
    (&[("stripe", Some("canceled"), None, Some(5))], false, "ok"),
    (&[("stripe", Some("canceled"), None, Some(-1))], false, "paused_not_entitled"),
    (&[("stripe", Some("unpaid"), None, Some(20))], false, "paused_not_entitled"),
    (&[("stripe", Some("incomplete"), None, Some(20))], false, "paused_not_entitled"),
    (&[("stripe", Some("incomplete_expired"), None, Some(20))], false, "paused_not_entitled"),
    (&[("stripe", Some("paused"), None, Some(20))], false, "paused_not_entitled"),
    (&[("stripe", None, None, None)], false, "paused_not_entitled"),
    (&[], false, "paused_not_entitled"),
    // The best of several counts: an old cancelled one takes nothing away.
    (
        &[("stripe", Some("canceled"), None, Some(-300)), ("stripe", Some("active"), None, Some(20))],
        false,
        "ok",
    ),
    (&[("lifetime", None, None, None)], true, "disabled"),
];

/// The schema and the users as SQL; each user `u-<n>` has the one link `c-<n>`.
fn content(time_type: &str) -> String {
    let now = SystemClock.now();
    let time = |days: Option<i64>| match days {
        None => "NULL".to_owned(),
        Some(days) => {
            let at = now + SignedDuration::from_hours(24 * days);
            format!("'{}'", at.strftime("%Y-%m-%d %H:%M:%S"))
        }
    };
    let text = |text: Option<&str>| text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
    let mut sql = SCHEMA.replace("TIME_TYPE", time_type);
    for (n, (plans, left, _)) in USERS.iter().enumerate() {
        write!(sql, "INSERT INTO users VALUES ('u-{n}', 'user-{n}@example.com');").unwrap();
        let gone = time(left.then_some(-1));
        write!(sql, "INSERT INTO bank_links VALUES ('c-{n}', 'u-{n}', 'user-{n}', {gone});").unwrap();
        for (kind, status, trial, period) in *plans {
            let (status, trial, period) = (text(*status), time(*trial), time(*period));
            write!(sql, "INSERT INTO subscriptions VALUES ('u-{n}', '{kind}', {status}, {trial}, {period});")
                .unwrap();
        }
    }
    sql
}

#[test]
fn the_view_for_sqlite_says_of_every_plan_what_it_should() {
    let world = World::new(small(u32::try_from(USERS.len()).unwrap()));
    let app = opened(&world.path("typical.db"));
    app.execute_batch(&content("TEXT")).unwrap();
    app.execute_batch(SQLITE).unwrap();
    let database = quoted(&world.path("typical.db").display().to_string());
    let world = world.set("source.database", &database);
    world.run(&[]).expect(0);
    for (n, (plans, _, state)) in USERS.iter().enumerate() {
        assert_eq!(world.state(n).0, *state, "{plans:?}");
    }
}

#[test]
fn the_readme_shows_the_view_that_is_shipped() {
    let (_, view) = SQLITE.split_once("CREATE VIEW").unwrap();
    assert!(README.contains(view.trim()), "README.md and packaging/examples/view-sqlite.sql differ");
}

#[test]
#[ignore = "needs a PostgreSQL server; tests/run runs it"]
fn postgresql_the_view_says_the_same_and_its_role_sees_nothing_else() {
    let database = postgres::server().database();
    // Sessions and content are in different time zones, and it must not matter.
    let content = format!("SET timezone = 'UTC'; {}", content("timestamptz"));
    for sql in [content.as_str(), POSTGRESQL] {
        let (done, said) = database.psql("admin", sql);
        assert!(done, "{said}");
    }
    let asked = "SELECT connection_id, enabled, entitled AND entitled_until > now() FROM tink_sync_source_v1";
    let (done, said) = database.psql("tink_sync", asked);
    assert!(done, "{said}");
    for (n, (plans, left, state)) in USERS.iter().enumerate() {
        let (enabled, entitled) =
            (if *left { "f" } else { "t" }, if *state == "paused_not_entitled" { "f" } else { "t" });
        let line = format!("c-{n}|{enabled}|{entitled}");
        assert!(said.lines().any(|said| said == line), "{plans:?}: no {line} in {said}");
    }
    for refused in
        ["SELECT * FROM users", "SELECT * FROM subscriptions", "DELETE FROM bank_links", "CREATE TABLE t ()"]
    {
        let (done, said) = database.psql("tink_sync", refused);
        assert!(!done && said.contains("permission denied"), "{refused}: {said}");
    }
}

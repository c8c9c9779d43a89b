//! The rights that a pass needs and the role of a session lacks, and those beyond its needs; and what else of a server is
//! not as it should be. Changes nothing.

use std::sync::Arc;
use std::time::Duration;

use super::connect::Target;
use super::session::Pg;
use super::value::Parameter;
use super::{open, schema};
use crate::store::engine::{Fail, Row};
use crate::store::types::Rights;
use crate::store::{Result, StoreError};

/// The missing rights: for the tables, keys, functions and rehearsals of a store, or for creating one.
const MISSING: &str = "
    SELECT 'CREATE on database ' || current_database() WHERE to_regnamespace('tink_sync') IS NULL
        AND NOT has_database_privilege(current_database(), 'CREATE')
    UNION ALL
    SELECT 'CREATE on schema tink_sync' FROM pg_namespace n
    WHERE nspname = 'tink_sync' AND NOT has_schema_privilege(oid, 'CREATE')
        AND NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'ts_schema')
    UNION ALL
    SELECT 'TEMPORARY on database ' || current_database()
    WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
    UNION ALL
    SELECT 'USAGE on schema tink_sync' FROM pg_namespace
    WHERE nspname = 'tink_sync' AND NOT has_schema_privilege(oid, 'USAGE')
    UNION ALL
    SELECT p.privilege || ' on ' || c.relname FROM pg_class c
    JOIN (VALUES ('SELECT', 'r'), ('SELECT', 'v'), ('INSERT', 'r'), ('UPDATE', 'r'), ('DELETE', 'r')) p (privilege, kind)
        ON p.kind = c.relkind::text
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'tink_sync') AND c.relname LIKE 'ts\\_%'
        AND NOT has_table_privilege(c.oid, p.privilege)
    UNION ALL
    SELECT p.privilege || ' on sequence ' || c.relname FROM pg_class c, (VALUES ('USAGE'), ('UPDATE')) p (privilege)
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'tink_sync')
        AND CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(c.oid, p.privilege) ELSE FALSE END
    UNION ALL
    SELECT 'EXECUTE on function ' || f.proname FROM pg_proc f
    WHERE f.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'tink_sync')
        AND NOT has_function_privilege(f.oid, 'EXECUTE')
    ORDER BY 1";

/// Whose tables, views and functions the role would have to change for this release, and may not.
const OTHERS: &str = "
    SELECT DISTINCT format('membership of %I, which owns what this release changes', pg_get_userbyid(c.relowner))
    FROM pg_class c WHERE c.relnamespace = to_regnamespace('tink_sync') AND c.relkind IN ('r', 'v')
        AND c.relname <> 'tink_sync_source_v1' AND NOT pg_has_role(c.relowner, 'USAGE')";

/// Whether the role's transactions are read-only by a setting, and not because the server is a standby.
const READ_ONLY: &str =
    "SELECT 'yes' WHERE current_setting('default_transaction_read_only') = 'on' AND NOT pg_is_in_recovery()";

/// Server-wide rights that no pass needs.
const TOO_MUCH: &str = "
    SELECT u.word FROM pg_roles r, LATERAL (VALUES (r.rolsuper, 'SUPERUSER'), (r.rolcreaterole, 'CREATEROLE'),
        (r.rolcreatedb, 'CREATEDB'), (r.rolreplication, 'REPLICATION'), (r.rolbypassrls, 'BYPASSRLS')) u (may, word)
    WHERE r.rolname = current_user AND u.may";

/// How a confirmed commit may be lost. A role may be able to see only that there is a standby, not which.
const MAY_LOSE: &str = "
    SELECT CASE WHEN current_setting('synchronous_commit') = 'off'
                    THEN 'synchronous_commit is off: a crash of the server takes the last commits with it'
                WHEN current_setting('synchronous_commit') = 'local' OR current_setting('synchronous_standby_names') = ''
                    THEN 'its standby is asynchronous: a failover takes the last commits with it' END
    WHERE current_setting('synchronous_commit') = 'off' OR EXISTS (SELECT FROM pg_stat_replication)
        AND (current_setting('synchronous_commit') = 'local' OR current_setting('synchronous_standby_names') = '')";

/// Whether refresh tokens are stored.
const HAS_TOKENS: &str = "SELECT 'yes' WHERE EXISTS (SELECT FROM tink_sync.ts_tokens)";

/// Transactions that began this many seconds ago and keep rows that were deleted since then. Of the sessions of other
/// roles, a role without `pg_read_all_stats` sees neither the time nor the snapshot.
const OLD: &str = "
    WITH old (began, who, remedy) AS (
        SELECT xact_start, concat('session ', pid, ' (', concat_ws(', ', 'role ' || usename, nullif(application_name, '')), ')'),
            format('SELECT pg_terminate_backend(%s)', pid)
        FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
            AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
        UNION ALL
        SELECT prepared, format('the prepared transaction %L (role %s)', gid, owner), format('ROLLBACK PREPARED %L', gid)
        FROM pg_prepared_xacts WHERE database = current_database())
    SELECT concat(who, ' began ', floor(extract(epoch FROM clock_timestamp() - began) / 3600), ' hours ago'), remedy
    FROM old WHERE began <= clock_timestamp() - $1::bigint * interval '1 second' ORDER BY began LIMIT 3";

/// The age from which a transaction is reported.
const LONG: Duration = Duration::from_hours(1);

/// The rights of the role of `target` on the store there.
///
/// # Errors
/// [`StoreError`] if the server cannot be queried.
pub(crate) fn of(target: &Arc<Target>) -> Result<Rights, StoreError> {
    let what = "look for the rights of the role";
    let (pg, context) = open::connect(what, target, Duration::ZERO)?;
    let read_only = pg.ask_as_is(READ_ONLY, Vec::new()).map_err(|fail| context.explain(what, fail))?;
    if !read_only.rows.is_empty() {
        let detail = "default_transaction_read_only is on for this role, so no pass can write; \
                      ALTER ROLE or ALTER DATABASE … RESET default_transaction_read_only, or see the server's configuration";
        let (place, detail) = (target.url().to_owned(), detail.to_owned());
        return Err(StoreError::Unavailable { what, place, detail, source: None });
    }
    read(&pg).map_err(|fail| context.explain(what, fail))
}

fn read(pg: &Pg) -> Result<Rights, Fail> {
    let texts = |sql: &str| -> Result<Vec<String>, Fail> {
        pg.ask_as_is(sql, Vec::new())?.rows.iter().map(|row| Row::Postgres(row).get(0)).collect()
    };
    let one = |sql: &str| texts(sql)?.into_iter().next().ok_or(Fail::NoRow);
    let (role, database) = (one("SELECT current_user::text")?, one("SELECT current_database()::text")?);
    let mut missing = texts(MISSING)?;
    let mut may_lose = None;
    let found = if missing.is_empty() { schema::version(pg)? } else { 0 };
    if found > 0 {
        if schema::is_older(pg, found)? {
            missing = texts(OTHERS)?;
        }
        if !texts(HAS_TOKENS)?.is_empty() {
            may_lose = texts(MAY_LOSE)?.pop();
        }
    }
    Ok(Rights { role, database, missing, too_much: texts(TOO_MUCH)?, may_lose, old: old(pg, LONG)? })
}

fn old(pg: &Pg, age: Duration) -> Result<Vec<(String, String)>, Fail> {
    let found = pg.ask_as_is(OLD, vec![Parameter::Text(age.as_secs().to_string())])?;
    let read = |row| Row::Postgres(row).get(0).and_then(|who| Ok((who, Row::Postgres(row).get(1)?)));
    found.rows.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::engine::postgres::tests::server::Server;

    fn target(url: &str) -> Arc<Target> {
        Arc::new(Target::parse(url, &|_| None).unwrap())
    }

    #[test]
    fn postgresql_each_right_that_is_missing_is_named_and_so_is_one_too_many() {
        let server = Server::shared();
        let url = server.fresh_database();
        let owner = of(&target(&url)).unwrap();
        assert!(owner.missing.is_empty() && owner.too_much.contains(&"SUPERUSER".to_owned()), "{owner:?}");
        drop(open::writer(&target(&url), Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap());

        let role = format!("rights_{}", std::process::id());
        let (_, host) = url.split_once('@').unwrap();
        let database = host.split_once('/').and_then(|(_, path)| path.split('?').next()).unwrap();
        server.execute(database, &format!("CREATE ROLE {role} LOGIN"));
        let theirs = target(&format!("postgres://{role}@{host}"));
        let nothing = of(&theirs).unwrap();
        server.execute(database, &format!("CREATE DATABASE {role}_empty"));
        let empty = format!("{role}_empty");
        server
            .execute(&empty, &format!("CREATE SCHEMA tink_sync; GRANT USAGE ON SCHEMA tink_sync TO {role}"));
        let unmade = of(&target(&format!("postgres://{role}@{}", host.replace(database, &empty)))).unwrap();
        assert_eq!(unmade.missing, ["CREATE on schema tink_sync"]);
        assert!(nothing.missing.contains(&"USAGE on schema tink_sync".to_owned()), "{nothing:?}");
        let grants = "GRANT USAGE ON SCHEMA tink_sync TO r;
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tink_sync TO r;
            GRANT USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA tink_sync TO r; REVOKE DELETE ON tink_sync.ts_accounts FROM r";
        server.execute(
            &url,
            &grants.replace(" r;", &format!(" {role};")).replace("FROM r", &format!("FROM {role}")),
        );
        let one = of(&theirs).unwrap();
        assert_eq!((one.missing, one.too_much), (vec!["DELETE on ts_accounts".to_owned()], Vec::new()));
        assert_eq!(one.role, role);
        // Another release published views, which this one would replace.
        server.execute(database, &format!("GRANT DELETE ON tink_sync.ts_accounts TO {role}"));
        server.execute(database, "DELETE FROM tink_sync.ts_sequences WHERE name = 'publication'");
        server.execute(database, "UPDATE tink_sync.ts_sequences SET value = 1 WHERE name = 'published'");
        assert_eq!(
            of(&theirs).unwrap().missing,
            ["membership of owner, which owns what this release changes"]
        );
        assert!(of(&target(&url)).unwrap().missing.is_empty());
        let read_only = format!("ALTER ROLE {role} SET default_transaction_read_only = on");
        server.execute(database, &read_only);
        let said = of(&theirs).unwrap_err();
        assert!(matches!(said, StoreError::Unavailable { .. }), "{said}");
        assert!(said.to_string().contains("default_transaction_read_only is on for this role"), "{said}");
    }

    #[test]
    fn postgresql_a_schema_that_is_there_is_filled_without_the_right_to_create_one() {
        let server = Server::shared();
        let url = server.fresh_database();
        let role = format!("filler_{}", std::process::id());
        let (_, host) = url.split_once('@').unwrap();
        let database = host.split_once('/').and_then(|(_, path)| path.split('?').next()).unwrap();
        server.execute(
            database,
            &format!("CREATE ROLE {role} LOGIN; CREATE SCHEMA tink_sync AUTHORIZATION {role}"),
        );
        let theirs = target(&format!("postgres://{role}@{host}"));
        assert!(of(&theirs).unwrap().missing.is_empty());
        drop(open::writer(&theirs, Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap());
        assert!(of(&theirs).unwrap().missing.is_empty());
    }

    #[test]
    fn postgresql_an_old_transaction_is_named_to_those_who_may_see_it() {
        let server = Server::shared();
        let url = server.fresh_database();
        let pg = |url: &str| Pg::plain(&target(url)).unwrap();
        let (looking, application) = (pg(&url), pg(&url));
        let (brief, none) = (Duration::ZERO, Vec::<(String, String)>::new());
        assert_eq!(old(&looking, brief).unwrap(), none);
        application.begin(" ISOLATION LEVEL REPEATABLE READ");
        application.batch_as_is("SELECT set_config('application_name', 'shop', false)").unwrap();
        let [(who, remedy)] = &old(&looking, brief).unwrap()[..] else { panic!("it is not named") };
        assert!(who.contains("(role owner, shop) began 0 hours ago"), "{who}");
        assert!(remedy.starts_with("SELECT pg_terminate_backend("), "{remedy}");
        assert_eq!(old(&looking, LONG).unwrap(), none);
        let role = format!("stranger_{}", std::process::id());
        looking.batch_as_is(&format!("CREATE ROLE {role} LOGIN")).unwrap();
        let (_, host) = url.split_once('@').unwrap();
        assert_eq!(old(&pg(&format!("postgres://{role}@{host}")), brief).unwrap(), none);
    }

    #[test]
    fn postgresql_a_server_that_may_lose_a_commit_is_told_of_where_refresh_tokens_are() {
        // The test server has `synchronous_commit = off`.
        let server = Server::shared();
        let url = server.fresh_database();
        drop(open::writer(&target(&url), Duration::ZERO, Timestamp::UNIX_EPOCH).unwrap());
        let (_, path) = url.rsplit_once('/').unwrap();
        let database = path.split('?').next().unwrap();
        assert_eq!(of(&target(&url)).unwrap().may_lose, None);
        server.execute(
            database,
            "INSERT INTO tink_sync.ts_tokens (connection, version, state, refresh) VALUES (1, '', 'ready', 'x')",
        );
        let said = of(&target(&url)).unwrap().may_lose.unwrap();
        assert!(said.starts_with("synchronous_commit is off"), "{said}");
        server.execute("postgres", &format!("ALTER DATABASE {database} SET synchronous_commit = on"));
        assert_eq!(of(&target(&url)).unwrap().may_lose, None);
    }
}

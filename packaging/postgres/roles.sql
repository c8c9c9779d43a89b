-- Roles and grants of a tink-sync store on PostgreSQL, for those who separate duties. Not needed otherwise: one role that
-- owns an empty database is enough, and the first run makes all that is missing.
--
--     psql -d DATABASE -f roles.sql
--     psql -d DATABASE -v writer=sync -v reader=shop_readers -v source_view=shop.tink_sync_source_v1 -f roles.sql
--
-- Run it as a superuser, or as the administrator of a managed server (CREATEROLE, and owner of the database or of its grants).
-- Run it again after an upgrade that brought new views, and whenever you like: it only does what is missing. It sets no
-- password and takes nothing away from other roles.
--
-- Variables and what they are if not given:
--   owner         tink_sync_owner   Owns the schema; no login. The writer is a member of it only for the first run, and for
--                                   the first run of a release that changes the schema: see packaging/postgres.md, Roles.
--   writer        tink_sync         The login of `tink-sync run` and the other commands. Give it a password:
--                                   \password tink_sync
--   reader        tink_sync_reader  For the application: the views, nothing else. A group without login: GRANT it to the
--                                   application's login, or give that login's own name here.
--   source_view   public.tink_sync_source_v1   The application's view that says which connections there are. Grants on it
--                                   are made if it is in this database; else run this file there, too.
--   source_reader the writer        Who reads that view.

\set ON_ERROR_STOP on
\if :{?owner} \else \set owner tink_sync_owner \endif
\if :{?writer} \else \set writer tink_sync \endif
\if :{?reader} \else \set reader tink_sync_reader \endif
\if :{?source_view} \else \set source_view public.tink_sync_source_v1 \endif
\if :{?source_reader} \else \set source_reader :writer \endif
SELECT current_database() AS database \gset

BEGIN;

-- 1. The roles. One that exists is left as it is.
SELECT format('CREATE ROLE %I NOLOGIN', :'owner') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
SELECT format('CREATE ROLE %I LOGIN', :'writer') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'writer') \gexec
SELECT format('CREATE ROLE %I NOLOGIN', :'reader') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'reader') \gexec
SELECT format('CREATE ROLE %I LOGIN', :'source_reader')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'source_reader') \gexec
-- What follows is done in the name of the owner; a superuser needs no membership for that.
SELECT format('GRANT %I TO CURRENT_USER', :'owner')
WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  AND NOT pg_has_role(current_user, :'owner', 'MEMBER') \gexec

-- 2. The schema, and everything in it, is the owner's: also what a first run made as somebody else.
SELECT format('CREATE SCHEMA tink_sync AUTHORIZATION %I', :'owner') WHERE to_regnamespace('tink_sync') IS NULL \gexec
SELECT format('ALTER SCHEMA tink_sync OWNER TO %I', :'owner')
FROM pg_namespace WHERE nspname = 'tink_sync' AND nspowner <> (SELECT oid FROM pg_roles WHERE rolname = :'owner') \gexec
SELECT format('ALTER %s tink_sync.%I OWNER TO %I',
              CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, relname, :'owner')
FROM pg_class c
WHERE relnamespace = 'tink_sync'::regnamespace AND relkind IN ('r', 'p', 'v', 'S', 'c') AND relowner <> (SELECT oid FROM pg_roles WHERE rolname = :'owner')
  -- The sequence of a key follows its table.
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND c.relkind = 'S' AND d.deptype IN ('a', 'i')) \gexec
SELECT format('ALTER ROUTINE %s OWNER TO %I', oid::regprocedure, :'owner')
FROM pg_proc WHERE pronamespace = 'tink_sync'::regnamespace AND proowner <> (SELECT oid FROM pg_roles WHERE rolname = :'owner') \gexec

-- 3. The writer: rows, keys, and temporary tables (a rehearsal: `run --dry-run`, `check`, `why`).
-- No TRUNCATE, no DDL.
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO :"writer";
GRANT USAGE ON SCHEMA tink_sync TO :"writer";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tink_sync TO :"writer";
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA tink_sync TO :"writer";
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA tink_sync TO :"writer";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA tink_sync GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"writer";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA tink_sync GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO :"writer";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA tink_sync GRANT EXECUTE ON ROUTINES TO :"writer";

-- Settings of the role, since a pooler in transaction mode passes none on: a host that hangs lets go of what it has
-- locked; one that waits for a lock tries again; nothing runs for ever. The wait for a lock is a third of the 30 s after
-- which a run says that the store is contended: it lets go of its own locks and tries again before that. Not where its
-- tables are, as earlier releases of this file did: the program knows that, and finds the application's view by the role's
-- own search path.
SELECT format('ALTER ROLE %I IN DATABASE %I RESET search_path', :'writer', :'database')
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase JOIN pg_roles r ON r.oid = s.setrole
WHERE d.datname = :'database' AND r.rolname = :'writer' AND 'search_path=pg_temp, tink_sync' = ANY (s.setconfig) \gexec
ALTER ROLE :"writer" IN DATABASE :"database" SET default_transaction_isolation = 'read committed';
ALTER ROLE :"writer" IN DATABASE :"database" SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE :"writer" IN DATABASE :"database" SET lock_timeout = '10s';
ALTER ROLE :"writer" IN DATABASE :"database" SET statement_timeout = '10min';
ALTER ROLE :"writer" IN DATABASE :"database" SET tcp_user_timeout = '30s';

-- 4. The reader: the views of the contract and what they convert with. They show what the owner may see, so no table has to
-- be granted. New views are not granted by default (PostgreSQL does not tell them from tables): run this file again.
GRANT CONNECT ON DATABASE :"database" TO :"reader";
GRANT USAGE ON SCHEMA tink_sync TO :"reader";
SELECT format('GRANT SELECT ON tink_sync.%I TO %I', relname, :'reader') FROM pg_class
WHERE relnamespace = 'tink_sync'::regnamespace AND relkind = 'v' AND relname ~ '_v1$'
  AND relname NOT LIKE 'ts\_%' AND relname <> 'tink_sync_source_v1' \gexec
SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', oid::regprocedure, :'reader') FROM pg_proc
WHERE pronamespace = 'tink_sync'::regnamespace
  AND proname IN ('ts_time', 'ts_rounded', 'ts_day', 'ts_odd_time', 'ts_odd_day', 'ts_amount', 'ts_number', 'ts_bool', 'ts_total', 'ts_now') \gexec

-- 5. Who reads the application's view: that view, and nothing of what it is made of.
SELECT format('GRANT USAGE ON SCHEMA %s TO %I', relnamespace::regnamespace, :'source_reader')
FROM pg_class WHERE oid = to_regclass(:'source_view') \gexec
SELECT format('GRANT SELECT ON %s TO %I', oid::regclass, :'source_reader')
FROM pg_class WHERE oid = to_regclass(:'source_view') \gexec
SELECT to_regclass(:'source_view') IS NULL AS no_source_view \gset
\if :no_source_view
\echo 'Note:' :source_view 'is not in this database. Make it, or run this file where it is (-v source_view=...).'
\endif

COMMIT;

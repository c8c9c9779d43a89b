-- The same view as in view-sqlite.sql for an application's PostgreSQL database, with the grants. tink-sync.toml names
-- it: source.view = "tink_sync_source_v1", source.database = "postgres://tink_sync@HOST/DATABASE", the password in store.pgpass_file.
-- Times are timestamptz. Make it as the owner of the tables: psql -1 -v ON_ERROR_STOP=1 -f view-postgresql.sql

CREATE VIEW tink_sync_source_v1 AS
SELECT l.id                                         AS connection_id,
       l.user_id                                    AS user_id,
       l.disconnected_at IS NULL                    AS enabled,
       coalesce(p.until > now(), false)             AS entitled,
       p.until                                      AS entitled_until,
       l.tink_external_user_id                      AS external_user_id
FROM bank_links l
LEFT JOIN (
    SELECT user_id,
           max(CASE
                   WHEN kind = 'lifetime'            THEN timestamptz '9999-12-31 00:00:00+00'
                   WHEN kind = 'trial'               THEN trial_ends_at
                   -- Stripe still tries to collect: three days of grace after the period that was paid.
                   WHEN status IN ('active', 'trialing', 'past_due') THEN period_end + interval '3 days'
                   -- Cancelled, but paid until then.
                   WHEN status = 'canceled'          THEN period_end
                   -- unpaid, incomplete, incomplete_expired, paused, and what Stripe may invent: no.
               END) AS until
    FROM subscriptions
    GROUP BY user_id
) p ON p.user_id = l.user_id;

-- A role that sees this view and nothing else: the tables are read with the rights of the view's owner.
CREATE ROLE tink_sync LOGIN;
GRANT USAGE ON SCHEMA public TO tink_sync;
GRANT SELECT ON tink_sync_source_v1 TO tink_sync;
-- Its password: \password tink_sync

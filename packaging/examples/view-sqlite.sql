-- The view that tink-sync reads in an application's SQLite database, for a typical schema:
--   users         (id, email, …)
--   subscriptions (user_id, kind, status, trial_ends_at, period_end, …)   kind: trial, lifetime or stripe;
--                 status: Stripe's own word; several rows a user, the best one counts
--   bank_links    (id, user_id, tink_external_user_id, disconnected_at, …)   one row per Tink user
-- Times are text in UTC, such as 2027-01-01 00:00:00. Change the names and the rules to yours.
-- Make it with: sqlite3 app.db < view-sqlite.sql

CREATE VIEW tink_sync_source_v1 AS
SELECT l.id                                         AS connection_id,
       l.user_id                                    AS user_id,
       l.disconnected_at IS NULL                    AS enabled,
       coalesce(p.until > datetime('now'), 0)       AS entitled,
       p.until                                      AS entitled_until,
       l.tink_external_user_id                      AS external_user_id
FROM bank_links l
LEFT JOIN (
    SELECT user_id,
           max(CASE
                   WHEN kind = 'lifetime'            THEN '9999-12-31 00:00:00'
                   WHEN kind = 'trial'               THEN trial_ends_at
                   -- Stripe still tries to collect: three days of grace after the period that was paid.
                   WHEN status IN ('active', 'trialing', 'past_due') THEN datetime(period_end, '+3 days')
                   -- Cancelled, but paid until then.
                   WHEN status = 'canceled'          THEN period_end
                   -- unpaid, incomplete, incomplete_expired, paused, and what Stripe may invent: no.
               END) AS until
    FROM subscriptions
    GROUP BY user_id
) p ON p.user_id = l.user_id;

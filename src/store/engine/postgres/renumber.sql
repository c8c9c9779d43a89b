-- After views.sql and feed.sql of another release, in the same transaction: every account and connection gets
-- a new number, since columns may be new, or mean something else for existing rows. The columns that feed.sql
-- derives are updated where they differ.
UPDATE tink_sync.ts_accounts a SET credentials_ids = tink_sync.ts_feed_held_by(a.connection, a.account_id)
WHERE a.credentials_ids <> tink_sync.ts_feed_held_by(a.connection, a.account_id);

UPDATE tink_sync.ts_connections c SET data_as_of = o.oldest
FROM (SELECT k.key, (SELECT min(a.last_refreshed) FROM tink_sync.ts_accounts a
                     WHERE a.connection = k.key AND a.closed_at IS NULL) AS oldest
      FROM tink_sync.ts_connections k) o
WHERE o.key = c.key AND c.data_as_of IS DISTINCT FROM o.oldest;

WITH taken AS MATERIALIZED (
    SELECT tink_sync.ts_take(n.count) - n.count AS before FROM (SELECT count(*) AS count FROM tink_sync.ts_accounts) n)
UPDATE tink_sync.ts_accounts a SET change_seq = t.before + n.place
FROM taken t, (SELECT key, row_number() OVER (ORDER BY key) AS place FROM tink_sync.ts_accounts) n WHERE n.key = a.key;

WITH taken AS MATERIALIZED (
    SELECT tink_sync.ts_take(n.count) - n.count AS before FROM (SELECT count(*) AS count FROM tink_sync.ts_connections) n)
UPDATE tink_sync.ts_connections c SET change_seq = t.before + n.place
FROM taken t, (SELECT key, row_number() OVER (ORDER BY key) AS place FROM tink_sync.ts_connections) n WHERE n.key = c.key;

SELECT tink_sync.ts_turn();

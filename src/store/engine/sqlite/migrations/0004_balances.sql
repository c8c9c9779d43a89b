-- The balance proof: the live rows of an account, summed exactly (SQL cannot) by how they count and by
-- currency, and updated by every commit of rows. Only for accounts with a row in ts_balances: for older
-- accounts the next complete walk computes the sums once.
CREATE TABLE ts_sums (
    account  INTEGER NOT NULL,
    part     TEXT    NOT NULL CHECK (part IN ('booked', 'earlier', 'undefined')),
    currency TEXT    NOT NULL,
    total    TEXT    NOT NULL,
    rows     INTEGER NOT NULL,
    PRIMARY KEY (account, part, currency)
) STRICT, WITHOUT ROWID;

-- The balance when it was last right, and the part of it that the rows have not explained since.
CREATE TABLE ts_balances (
    account        INTEGER PRIMARY KEY,
    first_day      TEXT,
    currency       TEXT,
    opening        TEXT,
    earlier        TEXT,
    unclear        TEXT,
    quarantined    INTEGER,
    anchored_at    INTEGER,
    judged_refresh TEXT,
    proven_refresh TEXT,
    difference     TEXT,
    since_at       INTEGER,
    since_run      INTEGER,
    changed_at     INTEGER,
    doubt          TEXT
) STRICT;
CREATE INDEX ts_balances_open ON ts_balances (account) WHERE difference IS NOT NULL;

CREATE VIEW balance_proofs_v1 AS
SELECT c.connection_id, a.account_id, a.key AS account_key,
       CASE WHEN b.difference IS NOT NULL THEN 'differs'
            WHEN b.opening IS NULL OR b.doubt IS NOT NULL THEN 'unprovable'
            ELSE 'proven' END AS state,
       coalesce(b.doubt, iif(b.opening IS NULL, 'not_walked', NULL)) AS reason,
       coalesce(b.currency, a.booked_currency) AS currency, a.booked_balance, b.difference,
       strftime('%Y-%m-%dT%H:%M:%fZ', b.since_at / 1000.0, 'unixepoch') AS since_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', b.changed_at / 1000.0, 'unixepoch') AS changed_at,
       (SELECT run_id FROM ts_runs r WHERE r.key = b.since_run) AS run_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', b.anchored_at / 1000.0, 'unixepoch') AS anchored_at,
       b.proven_refresh AS proven_refresh_at, b.judged_refresh AS judged_refresh_at,
       (SELECT count(*) FROM ts_quarantine q WHERE q.account = a.key) AS quarantined,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.closed_at / 1000.0, 'unixepoch') AS closed_at
FROM ts_accounts a
JOIN ts_connections c ON c.key = a.connection
LEFT JOIN ts_balances b ON b.account = a.key;

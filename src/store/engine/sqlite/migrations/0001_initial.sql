-- The first schema. Base tables (ts_…) may change; the views at the end are the public interface.
-- Our own times are integer milliseconds since 1970 UTC; Tink's times and dates are stored as text.

CREATE TABLE ts_sequences (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO ts_sequences (name, value) VALUES ('change', 0), ('lease', 0);

-- Stand-alone use: the operator's own users and connections, read through the view below.
CREATE TABLE ts_own_users (
    user_id        TEXT    NOT NULL PRIMARY KEY,
    entitled       INTEGER NOT NULL DEFAULT 1,
    entitled_until TEXT
) STRICT;

CREATE TABLE ts_own_connections (
    connection_id    TEXT    NOT NULL PRIMARY KEY,
    user_id          TEXT    NOT NULL,
    external_user_id TEXT,
    tink_user_id     TEXT,
    enabled          INTEGER NOT NULL DEFAULT 1,
    market           TEXT,
    priority         INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The mirror of the source view, and the state of each connection.
CREATE TABLE ts_connections (
    key                INTEGER PRIMARY KEY,
    connection_id      TEXT    NOT NULL UNIQUE,
    user_id            TEXT    NOT NULL,
    external_user_id   TEXT,
    tink_user_id       TEXT,
    mode               TEXT    NOT NULL DEFAULT 'mint',
    enabled            INTEGER NOT NULL,
    entitled           INTEGER NOT NULL,
    entitled_until     INTEGER,
    market             TEXT,
    priority           INTEGER NOT NULL DEFAULT 0,
    problem            TEXT,
    last_attempt_at    INTEGER,
    last_attempt_run   INTEGER,
    last_success_at    INTEGER,
    last_success_began INTEGER,
    next_due           INTEGER,
    not_before         INTEGER,
    failures           INTEGER NOT NULL DEFAULT 0,
    last_outcome       TEXT,
    last_reason        TEXT,
    last_error         TEXT,
    needs_user         TEXT,
    lease_run          INTEGER,
    lease_token        INTEGER,
    lease_until        INTEGER
) STRICT;
CREATE INDEX ts_connections_user ON ts_connections (user_id);
CREATE INDEX ts_connections_lease ON ts_connections (lease_run) WHERE lease_run IS NOT NULL;

CREATE TABLE ts_consents (
    connection     INTEGER NOT NULL,
    credentials_id TEXT    NOT NULL,
    provider       TEXT,
    status         TEXT    NOT NULL,
    status_updated TEXT,
    expires_at     TEXT,
    extendable     INTEGER,
    error_type     TEXT,
    error_reason   TEXT,
    account_ids    TEXT    NOT NULL,
    warned_days    INTEGER,
    PRIMARY KEY (connection, credentials_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE ts_accounts (
    key                      INTEGER PRIMARY KEY,
    connection               INTEGER NOT NULL,
    account_id               TEXT    NOT NULL,
    name                     TEXT    NOT NULL,
    type                     TEXT    NOT NULL,
    iban                     TEXT,
    account_number           TEXT,
    masked_pan               TEXT,
    financial_institution_id TEXT,
    booked_balance           TEXT,
    booked_currency          TEXT,
    available_balance        TEXT,
    available_currency       TEXT,
    last_refreshed           TEXT,
    complete_through         TEXT,
    generation               INTEGER NOT NULL DEFAULT 1,
    repairing                INTEGER NOT NULL DEFAULT 0,
    walks                    INTEGER NOT NULL DEFAULT 0,
    walked_refresh           TEXT,
    walked_at                INTEGER,
    deep_walked_at           INTEGER,
    suspect_refresh          TEXT,
    missing_refresh          TEXT,
    closed_at                INTEGER,
    UNIQUE (connection, account_id)
) STRICT;

-- Every Tink id an account was ever known by, the current one included.
CREATE TABLE ts_account_ids (
    connection INTEGER NOT NULL,
    account_id TEXT    NOT NULL,
    account    INTEGER NOT NULL,
    PRIMARY KEY (connection, account_id)
) STRICT, WITHOUT ROWID;

-- A rowid table keyed by (integer owner, id): 32 hex digits are a 16-byte blob, any other id is text.
CREATE TABLE ts_transactions (
    key                     INTEGER PRIMARY KEY,
    account                 INTEGER NOT NULL,
    transaction_id          ANY     NOT NULL,
    generation              INTEGER NOT NULL,
    status                  TEXT    NOT NULL,
    amount                  TEXT    NOT NULL,
    currency                TEXT    NOT NULL,
    booked_date             TEXT,
    value_date              TEXT,
    transaction_date        TEXT,
    booked_at               TEXT,
    description             TEXT,
    description_original    TEXT,
    description_detailed    TEXT,
    merchant_name           TEXT,
    merchant_category_code  TEXT,
    category_id             TEXT,
    type                    TEXT,
    reference               TEXT,
    provider_transaction_id TEXT,
    mutability              TEXT,
    payer_name              TEXT,
    payee_name              TEXT,
    first_seen_run          INTEGER NOT NULL,
    first_walk              INTEGER NOT NULL,
    changed_run             INTEGER NOT NULL,
    change_seq              INTEGER NOT NULL,
    missed                  INTEGER NOT NULL DEFAULT 0,
    removed_at              INTEGER,
    removed_reason          TEXT,
    replaced_by             ANY,
    match_rule              TEXT,
    UNIQUE (account, transaction_id)
) STRICT;
CREATE INDEX ts_transactions_change ON ts_transactions (change_seq);
CREATE INDEX ts_transactions_live ON ts_transactions (account, booked_date) WHERE removed_at IS NULL;

-- Original JSON, kept only if sync.keep_raw is set.
CREATE TABLE ts_raw (
    transaction_key INTEGER PRIMARY KEY,
    raw             TEXT    NOT NULL,
    stored_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX ts_raw_age ON ts_raw (stored_at);

CREATE TABLE ts_quarantine (
    key            INTEGER PRIMARY KEY,
    account        INTEGER NOT NULL,
    fingerprint    TEXT    NOT NULL,
    transaction_id TEXT,
    reason         TEXT    NOT NULL,
    raw            TEXT    NOT NULL,
    first_seen_at  INTEGER NOT NULL,
    run            INTEGER NOT NULL,
    UNIQUE (account, fingerprint)
) STRICT;

CREATE TABLE ts_runs (
    key         INTEGER PRIMARY KEY,
    run_id      TEXT    NOT NULL UNIQUE,
    trigger     TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    exit_code   INTEGER,
    totals      TEXT    NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX ts_runs_started ON ts_runs (started_at);
CREATE INDEX ts_runs_open ON ts_runs (finished_at) WHERE finished_at IS NULL;

CREATE TABLE ts_run_connections (
    run         INTEGER NOT NULL,
    connection  INTEGER NOT NULL,
    user_id     TEXT    NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 1,
    again       INTEGER NOT NULL DEFAULT 0,
    outcome     TEXT,
    reason      TEXT,
    error       TEXT,
    request_id  TEXT,
    started_at  INTEGER NOT NULL,
    duration_ms INTEGER,
    accounts    INTEGER NOT NULL DEFAULT 0,
    fetched     INTEGER NOT NULL DEFAULT 0,
    added       INTEGER NOT NULL DEFAULT 0,
    updated     INTEGER NOT NULL DEFAULT 0,
    removed     INTEGER NOT NULL DEFAULT 0,
    quarantined INTEGER NOT NULL DEFAULT 0,
    requests    INTEGER NOT NULL DEFAULT 0,
    retries     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, connection)
) STRICT, WITHOUT ROWID;
CREATE INDEX ts_run_connections_user ON ts_run_connections (user_id, started_at);
CREATE INDEX ts_run_connections_connection ON ts_run_connections (connection, started_at);

CREATE TABLE ts_audit (
    key           INTEGER PRIMARY KEY,
    at            INTEGER NOT NULL,
    actor         TEXT,
    ip            TEXT,
    action        TEXT    NOT NULL,
    connection_id TEXT,
    user_id       TEXT,
    result        TEXT    NOT NULL,
    details       TEXT
) STRICT;
CREATE INDEX ts_audit_at ON ts_audit (at);

-- IF NOT EXISTS: an application may keep its own view of this name in this file.
CREATE VIEW IF NOT EXISTS tink_sync_source_v1 AS
SELECT c.connection_id, c.user_id, c.enabled, u.entitled, u.entitled_until,
       c.external_user_id, c.tink_user_id, c.market, c.priority
FROM ts_own_connections c LEFT JOIN ts_own_users u ON u.user_id = c.user_id;

CREATE VIEW connections_v1 AS
SELECT connection_id, user_id, external_user_id, tink_user_id, mode, enabled, entitled,
       strftime('%Y-%m-%dT%H:%M:%fZ', entitled_until / 1000.0, 'unixepoch') AS entitled_until,
       state,
       CASE state
           WHEN 'disabled' THEN 'disabled'
           WHEN 'paused_not_entitled' THEN 'not_entitled'
           WHEN 'needs_user' THEN needs_user
           ELSE last_reason
       END AS reason,
       failures AS consecutive_failures,
       strftime('%Y-%m-%dT%H:%M:%fZ', last_attempt_at / 1000.0, 'unixepoch') AS last_attempt_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', last_success_at / 1000.0, 'unixepoch') AS last_success_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', not_before / 1000.0, 'unixepoch') AS not_before,
       CASE WHEN state NOT IN ('disabled', 'paused_not_entitled') THEN
           strftime('%Y-%m-%dT%H:%M:%fZ', nullif(max(coalesce(next_due, 0), coalesce(not_before, 0)), 0) / 1000.0, 'unixepoch')
       END AS next_attempt_at
FROM (
    SELECT *,
           CASE
               WHEN enabled = 0 THEN 'disabled'
               WHEN entitled = 0 OR entitled_until <= CAST(strftime('%s', 'now') AS INTEGER) * 1000 THEN 'paused_not_entitled'
               WHEN needs_user IS NOT NULL THEN 'needs_user'
               WHEN last_outcome = 'rate_limited' THEN 'rate_limited'
               WHEN failures > 0 THEN 'failing'
               WHEN last_success_at IS NULL THEN 'new'
               ELSE 'ok'
           END AS state
    FROM ts_connections
);

CREATE VIEW consents_v1 AS
SELECT c.connection_id, s.credentials_id, s.provider, s.status, s.status_updated AS status_updated_at,
       s.expires_at, s.extendable, s.error_type, s.error_reason
FROM ts_consents s JOIN ts_connections c ON c.key = s.connection;

CREATE VIEW accounts_v1 AS
SELECT c.connection_id, a.account_id, a.key AS account_key, a.name, a.type, a.iban, a.masked_pan,
       a.financial_institution_id,
       (SELECT json_group_array(s.credentials_id) FROM ts_consents s
        WHERE s.connection = a.connection
          AND EXISTS (SELECT 1 FROM json_each(s.account_ids) j WHERE j.value = a.account_id)) AS credentials_ids,
       coalesce(a.booked_currency, a.available_currency) AS currency,
       a.booked_balance, a.available_balance, a.last_refreshed AS last_refreshed_at, a.complete_through,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.closed_at / 1000.0, 'unixepoch') AS closed_at
FROM ts_accounts a JOIN ts_connections c ON c.key = a.connection;

CREATE VIEW transactions_v1 AS
SELECT c.connection_id, c.user_id, a.account_id, a.key AS account_key,
       CASE typeof(t.transaction_id) WHEN 'blob' THEN lower(hex(t.transaction_id)) ELSE t.transaction_id END AS transaction_id,
       t.status, t.amount, t.currency, t.booked_date, t.value_date, t.transaction_date, t.booked_at,
       t.description, t.description_original, t.description_detailed, t.merchant_name,
       t.merchant_category_code, t.category_id, t.type, t.reference, t.provider_transaction_id,
       t.mutability, t.payer_name, t.payee_name,
       (SELECT run_id FROM ts_runs r WHERE r.key = t.first_seen_run) AS first_seen_run,
       (SELECT run_id FROM ts_runs r WHERE r.key = t.changed_run) AS changed_run,
       t.change_seq,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.removed_at / 1000.0, 'unixepoch') AS removed_at,
       t.removed_reason,
       CASE typeof(t.replaced_by) WHEN 'blob' THEN lower(hex(t.replaced_by)) ELSE t.replaced_by END AS replaced_by,
       t.match_rule
FROM ts_transactions t
JOIN ts_accounts a ON a.key = t.account
JOIN ts_connections c ON c.key = a.connection;

CREATE VIEW runs_v1 AS
SELECT run_id, trigger, host, version,
       strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000.0, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', finished_at / 1000.0, 'unixepoch') AS finished_at,
       exit_code, finished_at - started_at AS duration_ms,
       totals ->> 'connections' AS connections, totals ->> 'due' AS due,
       totals ->> 'synced' AS synced, totals ->> 'unchanged' AS unchanged,
       totals ->> 'partial' AS partial, totals ->> 'failed' AS failed,
       totals ->> 'needs_user' AS needs_user, totals ->> 'rate_limited' AS rate_limited,
       totals ->> 'interrupted' AS interrupted,
       totals ->> '$.skipped.disabled' AS skipped_disabled,
       totals ->> '$.skipped.not_entitled' AS skipped_not_entitled,
       totals ->> '$.skipped.recent' AS skipped_recent,
       totals ->> '$.skipped.quota' AS skipped_quota,
       totals ->> '$.skipped.not_before' AS skipped_not_before,
       totals ->> '$.skipped.leased' AS skipped_leased,
       totals ->> '$.skipped.deadline' AS skipped_deadline,
       totals ->> 'accounts' AS accounts, totals ->> 'fetched' AS fetched,
       totals ->> 'added' AS added, totals ->> 'updated' AS updated, totals ->> 'removed' AS removed,
       totals ->> 'quarantined' AS quarantined, totals ->> 'requests' AS requests,
       totals ->> 'retries' AS retries,
       totals ->> 'request_errors' AS request_errors, totals ->> 'token_failures' AS token_failures
FROM ts_runs;

CREATE VIEW run_connections_v1 AS
SELECT r.run_id, c.connection_id, x.outcome, x.reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', x.started_at / 1000.0, 'unixepoch') AS started_at,
       x.duration_ms, x.accounts, x.fetched, x.added, x.updated, x.removed, x.quarantined, x.requests, x.retries
FROM ts_run_connections x
JOIN ts_runs r ON r.key = x.run
JOIN ts_connections c ON c.key = x.connection;

CREATE VIEW quarantine_v1 AS
SELECT c.connection_id, a.account_id, q.transaction_id, q.reason, q.raw,
       strftime('%Y-%m-%dT%H:%M:%fZ', q.first_seen_at / 1000.0, 'unixepoch') AS first_seen_at,
       r.run_id
FROM ts_quarantine q
JOIN ts_accounts a ON a.key = q.account
JOIN ts_connections c ON c.key = a.connection
LEFT JOIN ts_runs r ON r.key = q.run;

CREATE VIEW audit_v1 AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS at, actor, ip, action,
       connection_id, user_id, result, details
FROM ts_audit;

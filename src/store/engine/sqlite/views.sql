-- The views for readers: the public interface of the store. Recreated after every migration (schema.rs), so
-- that this file alone defines them. Columns are only ever added, and each name keeps its meaning.
--
-- SQLite 3.37 and later must be able to read them: use json_extract, not ->>. feed.sql must cover what
-- accounts_v1 and connections_v1 show.

-- IF NOT EXISTS: an application may keep its own view of this name in this file. It is never dropped.
CREATE VIEW IF NOT EXISTS tink_sync_source_v1 AS
SELECT c.connection_id, c.user_id, c.enabled, u.entitled, u.entitled_until,
       c.external_user_id, c.tink_user_id, c.market, c.priority
FROM ts_own_connections c LEFT JOIN ts_own_users u ON u.user_id = c.user_id;

CREATE VIEW connections_v1 AS
SELECT connection_id, user_id, external_user_id, tink_user_id, change_seq, mode, enabled, entitled,
       strftime('%Y-%m-%dT%H:%M:%fZ', entitled_until / 1000.0, 'unixepoch') AS entitled_until,
       state,
       CASE state
           WHEN 'disabled' THEN iif(gone_at IS NULL, 'disabled', 'gone')
           WHEN 'paused_not_entitled' THEN 'not_entitled'
           WHEN 'needs_user' THEN needs_user
           ELSE last_reason
       END AS reason,
       failures AS consecutive_failures,
       strftime('%Y-%m-%dT%H:%M:%fZ', last_attempt_at / 1000.0, 'unixepoch') AS last_attempt_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', last_success_at / 1000.0, 'unixepoch') AS last_success_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', data_as_of) AS data_as_of,
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
SELECT c.connection_id, coalesce(a.merged_id, a.account_id) AS account_id, a.key AS account_key, a.name, a.type, a.iban, a.masked_pan,
       a.financial_institution_id, a.credentials_ids,
       coalesce(a.booked_currency, a.available_currency) AS currency,
       a.booked_balance, a.available_balance, a.last_refreshed AS last_refreshed_at, a.complete_through,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.closed_at / 1000.0, 'unixepoch') AS closed_at,
       a.change_seq
FROM ts_accounts a JOIN ts_connections c ON c.key = a.connection;

CREATE VIEW transactions_v1 AS
SELECT c.connection_id, c.user_id, coalesce(a.merged_id, a.account_id) AS account_id, a.key AS account_key,
       CASE typeof(t.transaction_id) WHEN 'blob' THEN lower(hex(t.transaction_id)) ELSE t.transaction_id END AS transaction_id,
       t.status, t.amount, CAST(t.amount AS REAL) AS amount_number, t.currency, t.booked_date, t.value_date,
       t.transaction_date, t.booked_at,
       t.description, t.description_original, t.description_detailed, t.merchant_name,
       t.merchant_category_code, t.category_id, t.type, t.reference, t.provider_transaction_id,
       t.mutability, t.payer_name, t.payee_name,
       coalesce((SELECT run_id FROM ts_runs r WHERE r.key = t.first_seen_run),
                (SELECT run_id FROM ts_pruned_runs p WHERE p.key = t.first_seen_run)) AS first_seen_run,
       coalesce((SELECT run_id FROM ts_runs r WHERE r.key = t.changed_run),
                (SELECT run_id FROM ts_pruned_runs p WHERE p.key = t.changed_run)) AS changed_run,
       t.change_seq,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.removed_at / 1000.0, 'unixepoch') AS removed_at,
       t.removed_reason,
       CASE typeof(t.replaced_by) WHEN 'blob' THEN lower(hex(t.replaced_by)) ELSE t.replaced_by END AS replaced_by,
       t.match_rule
FROM ts_transactions t
JOIN ts_accounts a ON a.key = t.account
JOIN ts_connections c ON c.key = a.connection;

-- A quarantined record may be a real movement, so its account is never proven, whatever the numbers show.
CREATE VIEW balance_proofs_v1 AS
SELECT connection_id, account_id, account_key,
       CASE WHEN difference IS NOT NULL THEN 'differs'
            WHEN opening IS NULL OR doubt IS NOT NULL OR quarantined > 0 THEN 'unprovable'
            ELSE 'proven' END AS state,
       coalesce(doubt, CASE WHEN opening IS NULL THEN 'not_walked' WHEN quarantined > 0 THEN 'quarantine' END) AS reason,
       currency, booked_balance, difference, since_at, changed_at, run_id, anchored_at, proven_refresh_at,
       judged_refresh_at, quarantined, closed_at
FROM (
    SELECT c.connection_id, coalesce(a.merged_id, a.account_id) AS account_id, a.key AS account_key, b.opening, b.doubt,
           coalesce(b.currency, a.booked_currency) AS currency, a.booked_balance, b.difference,
           strftime('%Y-%m-%dT%H:%M:%fZ', b.since_at / 1000.0, 'unixepoch') AS since_at,
           strftime('%Y-%m-%dT%H:%M:%fZ', b.changed_at / 1000.0, 'unixepoch') AS changed_at,
           coalesce((SELECT run_id FROM ts_runs r WHERE r.key = b.since_run),
                    (SELECT run_id FROM ts_pruned_runs p WHERE p.key = b.since_run)) AS run_id,
           strftime('%Y-%m-%dT%H:%M:%fZ', b.anchored_at / 1000.0, 'unixepoch') AS anchored_at,
           b.proven_refresh AS proven_refresh_at, b.judged_refresh AS judged_refresh_at,
           (SELECT count(*) FROM ts_quarantine q WHERE q.account = a.key) AS quarantined,
           strftime('%Y-%m-%dT%H:%M:%fZ', a.closed_at / 1000.0, 'unixepoch') AS closed_at
    FROM ts_accounts a
    JOIN ts_connections c ON c.key = a.connection
    LEFT JOIN ts_balances b ON b.account = a.key
);

-- One row. A reader that has seen everything up to `whole_from` or further misses no row; if it is further
-- behind, a tombstone that it has not seen was pruned. `last_change_seq` is the largest number given.
CREATE VIEW feed_v1 AS
SELECT (SELECT value FROM ts_sequences WHERE name = 'pruned') AS whole_from,
       (SELECT value FROM ts_sequences WHERE name = 'change') AS last_change_seq;

CREATE VIEW runs_v1 AS
SELECT run_id, trigger, host, version,
       strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000.0, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', finished_at / 1000.0, 'unixepoch') AS finished_at,
       exit_code, coalesce(json_extract(totals, '$.duration_ms'), max(finished_at - started_at, 0)) AS duration_ms,
       json_extract(totals, '$.connections') AS connections, json_extract(totals, '$.due') AS due,
       json_extract(totals, '$.synced') AS synced, json_extract(totals, '$.unchanged') AS unchanged,
       json_extract(totals, '$.partial') AS partial, json_extract(totals, '$.failed') AS failed,
       json_extract(totals, '$.needs_user') AS needs_user, json_extract(totals, '$.rate_limited') AS rate_limited,
       json_extract(totals, '$.interrupted') AS interrupted,
       json_extract(totals, '$.skipped.disabled') AS skipped_disabled,
       json_extract(totals, '$.skipped.not_entitled') AS skipped_not_entitled,
       json_extract(totals, '$.skipped.recent') AS skipped_recent,
       json_extract(totals, '$.skipped.quota') AS skipped_quota,
       json_extract(totals, '$.skipped.not_before') AS skipped_not_before,
       json_extract(totals, '$.skipped.leased') AS skipped_leased,
       json_extract(totals, '$.skipped.deadline') AS skipped_deadline,
       json_extract(totals, '$.accounts') AS accounts, json_extract(totals, '$.fetched') AS fetched,
       json_extract(totals, '$.added') AS added, json_extract(totals, '$.updated') AS updated,
       json_extract(totals, '$.removed') AS removed, json_extract(totals, '$.quarantined') AS quarantined,
       json_extract(totals, '$.requests') AS requests, json_extract(totals, '$.retries') AS retries,
       json_extract(totals, '$.request_errors') AS request_errors,
       json_extract(totals, '$.token_failures') AS token_failures
FROM ts_runs;

CREATE VIEW run_connections_v1 AS
SELECT r.run_id, c.connection_id, x.outcome, x.reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', x.started_at / 1000.0, 'unixepoch') AS started_at,
       x.duration_ms, x.accounts, x.fetched, x.added, x.updated, x.removed, x.quarantined, x.requests, x.retries
FROM ts_run_connections x
JOIN ts_runs r ON r.key = x.run
JOIN ts_connections c ON c.key = x.connection;

CREATE VIEW quarantine_v1 AS
SELECT c.connection_id, coalesce(a.merged_id, a.account_id) AS account_id, q.transaction_id, q.reason, q.raw,
       strftime('%Y-%m-%dT%H:%M:%fZ', q.first_seen_at / 1000.0, 'unixepoch') AS first_seen_at,
       coalesce((SELECT run_id FROM ts_runs r WHERE r.key = q.run),
                (SELECT run_id FROM ts_pruned_runs p WHERE p.key = q.run)) AS run_id
FROM ts_quarantine q
JOIN ts_accounts a ON a.key = q.account
JOIN ts_connections c ON c.key = a.connection
WHERE q.raw <> '';

CREATE VIEW audit_v1 AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS at, actor, ip, action,
       connection_id, user_id, result, details,
       CASE WHEN action IN ('sync.requested', 'token.refreshed', 'token.refresh_failed') THEN details
            WHEN action = 'connection.imported' THEN substr(details, instr(details, ', run ') + 6) END AS run_id
FROM ts_audit;

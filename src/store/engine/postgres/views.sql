-- The views for readers: the public interface of the store, in PostgreSQL's types. Columns and their order are those
-- of SQLite's views (engine/sqlite/views.sql), and values the same: times are timestamptz, days date, amounts
-- numeric, flags boolean. Replaced in place after every migration, so that grants and what an application has built
-- on them stay: a new column comes last here. feed.sql must cover what accounts_v1 and connections_v1 show.
--
-- The program reads the same as texts, in the form of SQLite's views, so that its output does not depend on the
-- store: for that, the runner runs this file again with `VIEW tink_sync.` made into `VIEW tink_sync.ts_text_` and
-- `ts_time(`, `ts_rounded(`, `ts_day(`, `ts_amount(`, `ts_bool(` into `ts_time_text(` and so on. Only the program
-- uses those views.

CREATE OR REPLACE VIEW tink_sync.connections_v1 AS
SELECT connection_id, user_id, external_user_id, tink_user_id, change_seq, mode,
       tink_sync.ts_bool(enabled) AS enabled, tink_sync.ts_bool(entitled) AS entitled,
       tink_sync.ts_time(entitled_until) AS entitled_until,
       state,
       CASE state
           WHEN 'disabled' THEN CASE WHEN gone_at IS NULL THEN 'disabled' ELSE 'gone' END
           WHEN 'paused_not_entitled' THEN 'not_entitled'
           WHEN 'needs_user' THEN needs_user
           ELSE last_reason
       END AS reason,
       failures AS consecutive_failures,
       tink_sync.ts_time(last_attempt_at) AS last_attempt_at,
       tink_sync.ts_time(last_success_at) AS last_success_at,
       tink_sync.ts_rounded(data_as_of) AS data_as_of,
       tink_sync.ts_time(not_before) AS not_before,
       CASE WHEN state NOT IN ('disabled', 'paused_not_entitled') THEN
           tink_sync.ts_time(nullif(greatest(coalesce(next_due, 0), coalesce(not_before, 0)), 0))
       END AS next_attempt_at
FROM (
    SELECT connection_id, user_id, external_user_id, tink_user_id, change_seq, mode, enabled, entitled, entitled_until,
           gone_at, needs_user, last_reason, failures, last_attempt_at, last_success_at, data_as_of, not_before, next_due,
           CASE
               WHEN enabled = 0 THEN 'disabled'
               WHEN entitled = 0 OR entitled_until <= tink_sync.ts_now() / 1000 * 1000 THEN 'paused_not_entitled'
               WHEN needs_user IS NOT NULL THEN 'needs_user'
               WHEN last_outcome = 'rate_limited' THEN 'rate_limited'
               WHEN failures > 0 THEN 'failing'
               WHEN last_success_at IS NULL THEN 'new'
               ELSE 'ok'
           END AS state
    FROM tink_sync.ts_connections
) c;

CREATE OR REPLACE VIEW tink_sync.consents_v1 AS
SELECT c.connection_id, s.credentials_id, s.provider, s.status, tink_sync.ts_time(s.status_updated) AS status_updated_at,
       tink_sync.ts_time(s.expires_at) AS expires_at, tink_sync.ts_bool(s.extendable) AS extendable,
       s.error_type, s.error_reason
FROM tink_sync.ts_consents s JOIN tink_sync.ts_connections c ON c.key = s.connection;

CREATE OR REPLACE VIEW tink_sync.accounts_v1 AS
SELECT c.connection_id, coalesce(a.merged_id, a.account_id) AS account_id, a.key AS account_key, a.name, a.type, a.iban, a.masked_pan,
       a.financial_institution_id, a.credentials_ids,
       coalesce(a.booked_currency, a.available_currency) AS currency,
       tink_sync.ts_amount(a.booked_balance) AS booked_balance, tink_sync.ts_amount(a.available_balance) AS available_balance,
       tink_sync.ts_time(a.last_refreshed) AS last_refreshed_at, tink_sync.ts_day(a.complete_through) AS complete_through,
       tink_sync.ts_time(a.closed_at) AS closed_at,
       a.change_seq
FROM tink_sync.ts_accounts a JOIN tink_sync.ts_connections c ON c.key = a.connection;

CREATE OR REPLACE VIEW tink_sync.transactions_v1 AS
SELECT c.connection_id, c.user_id, coalesce(a.merged_id, a.account_id) AS account_id, a.key AS account_key,
       t.transaction_id,
       t.status, tink_sync.ts_amount(t.amount) AS amount, tink_sync.ts_number(t.amount) AS amount_number, t.currency,
       tink_sync.ts_day(t.booked_date) AS booked_date, tink_sync.ts_day(t.value_date) AS value_date,
       tink_sync.ts_day(t.transaction_date) AS transaction_date, tink_sync.ts_time(t.booked_at) AS booked_at,
       t.description, t.description_original, t.description_detailed, t.merchant_name,
       t.merchant_category_code, t.category_id, t.type, t.reference, t.provider_transaction_id,
       t.mutability, t.payer_name, t.payee_name,
       coalesce(first.run_id, first_pruned.run_id) AS first_seen_run, coalesce(last.run_id, last_pruned.run_id) AS changed_run,
       t.change_seq,
       tink_sync.ts_time(t.removed_at) AS removed_at,
       t.removed_reason, t.replaced_by, t.match_rule
FROM tink_sync.ts_transactions t
JOIN tink_sync.ts_accounts a ON a.key = t.account
JOIN tink_sync.ts_connections c ON c.key = a.connection
LEFT JOIN tink_sync.ts_runs first ON first.key = t.first_seen_run
LEFT JOIN tink_sync.ts_pruned_runs first_pruned ON first_pruned.key = t.first_seen_run
LEFT JOIN tink_sync.ts_runs last ON last.key = t.changed_run
LEFT JOIN tink_sync.ts_pruned_runs last_pruned ON last_pruned.key = t.changed_run;

-- A quarantined record may be a real movement, so its account is never proven, whatever the numbers show.
CREATE OR REPLACE VIEW tink_sync.balance_proofs_v1 AS
SELECT connection_id, account_id, account_key,
       CASE WHEN difference IS NOT NULL THEN 'differs'
            WHEN opening IS NULL OR doubt IS NOT NULL OR quarantined > 0 THEN 'unprovable'
            ELSE 'proven' END AS state,
       coalesce(doubt, CASE WHEN opening IS NULL THEN 'not_walked' WHEN quarantined > 0 THEN 'quarantine' END) AS reason,
       currency, tink_sync.ts_amount(booked_balance) AS booked_balance, tink_sync.ts_amount(difference) AS difference,
       tink_sync.ts_time(since_at) AS since_at, tink_sync.ts_time(changed_at) AS changed_at, run_id,
       tink_sync.ts_time(anchored_at) AS anchored_at, tink_sync.ts_time(proven_refresh) AS proven_refresh_at,
       tink_sync.ts_time(judged_refresh) AS judged_refresh_at, quarantined, tink_sync.ts_time(closed_at) AS closed_at
FROM (
    SELECT c.connection_id, coalesce(a.merged_id, a.account_id) AS account_id, a.key AS account_key, b.opening, b.doubt,
           coalesce(b.currency, a.booked_currency) AS currency, a.booked_balance, b.difference, b.since_at, b.changed_at,
           coalesce(r.run_id, p.run_id) AS run_id,
           b.anchored_at, b.proven_refresh, b.judged_refresh,
           (SELECT count(*) FROM tink_sync.ts_quarantine q WHERE q.account = a.key) AS quarantined, a.closed_at
    FROM tink_sync.ts_accounts a
    JOIN tink_sync.ts_connections c ON c.key = a.connection
    LEFT JOIN tink_sync.ts_balances b ON b.account = a.key
    LEFT JOIN tink_sync.ts_runs r ON r.key = b.since_run
    LEFT JOIN tink_sync.ts_pruned_runs p ON p.key = b.since_run
) p;

-- One row. A reader that has seen everything up to `whole_from` or further misses no row; if it is further
-- behind, a tombstone that it has not seen was pruned. No number above `last_change_seq` was given.
CREATE OR REPLACE VIEW tink_sync.feed_v1 AS
SELECT (SELECT value FROM tink_sync.ts_sequences WHERE name = 'pruned') AS whole_from,
       (SELECT value FROM tink_sync.ts_sequences WHERE name = 'change') AS last_change_seq;

CREATE OR REPLACE VIEW tink_sync.runs_v1 AS
SELECT r.run_id, r.trigger, r.host, r.version,
       tink_sync.ts_time(r.started_at) AS started_at, tink_sync.ts_time(r.finished_at) AS finished_at,
       r.exit_code, coalesce(tink_sync.ts_total(t.o, 'duration_ms'),
                             CASE WHEN r.finished_at IS NOT NULL THEN greatest(r.finished_at - r.started_at, 0) END) AS duration_ms,
       tink_sync.ts_total(t.o, 'connections') AS connections, tink_sync.ts_total(t.o, 'due') AS due,
       tink_sync.ts_total(t.o, 'synced') AS synced, tink_sync.ts_total(t.o, 'unchanged') AS unchanged,
       tink_sync.ts_total(t.o, 'partial') AS partial, tink_sync.ts_total(t.o, 'failed') AS failed,
       tink_sync.ts_total(t.o, 'needs_user') AS needs_user, tink_sync.ts_total(t.o, 'rate_limited') AS rate_limited,
       tink_sync.ts_total(t.o, 'interrupted') AS interrupted,
       tink_sync.ts_total(t.o, 'skipped', 'disabled') AS skipped_disabled,
       tink_sync.ts_total(t.o, 'skipped', 'not_entitled') AS skipped_not_entitled,
       tink_sync.ts_total(t.o, 'skipped', 'recent') AS skipped_recent,
       tink_sync.ts_total(t.o, 'skipped', 'quota') AS skipped_quota,
       tink_sync.ts_total(t.o, 'skipped', 'not_before') AS skipped_not_before,
       tink_sync.ts_total(t.o, 'skipped', 'leased') AS skipped_leased,
       tink_sync.ts_total(t.o, 'skipped', 'deadline') AS skipped_deadline,
       tink_sync.ts_total(t.o, 'accounts') AS accounts, tink_sync.ts_total(t.o, 'fetched') AS fetched,
       tink_sync.ts_total(t.o, 'added') AS added, tink_sync.ts_total(t.o, 'updated') AS updated,
       tink_sync.ts_total(t.o, 'removed') AS removed, tink_sync.ts_total(t.o, 'quarantined') AS quarantined,
       tink_sync.ts_total(t.o, 'requests') AS requests, tink_sync.ts_total(t.o, 'retries') AS retries,
       tink_sync.ts_total(t.o, 'request_errors') AS request_errors,
       tink_sync.ts_total(t.o, 'token_failures') AS token_failures
FROM tink_sync.ts_runs r CROSS JOIN LATERAL (SELECT r.totals::json AS o) t;

CREATE OR REPLACE VIEW tink_sync.run_connections_v1 AS
SELECT r.run_id, c.connection_id, x.outcome, x.reason, tink_sync.ts_time(x.started_at) AS started_at,
       x.duration_ms, x.accounts, x.fetched, x.added, x.updated, x.removed, x.quarantined, x.requests, x.retries
FROM tink_sync.ts_run_connections x
JOIN tink_sync.ts_runs r ON r.key = x.run
JOIN tink_sync.ts_connections c ON c.key = x.connection;

CREATE OR REPLACE VIEW tink_sync.quarantine_v1 AS
SELECT c.connection_id, coalesce(a.merged_id, a.account_id) AS account_id, q.transaction_id, q.reason, q.raw,
       tink_sync.ts_time(q.first_seen_at) AS first_seen_at,
       coalesce(r.run_id, p.run_id) AS run_id
FROM tink_sync.ts_quarantine q
JOIN tink_sync.ts_accounts a ON a.key = q.account
JOIN tink_sync.ts_connections c ON c.key = a.connection
LEFT JOIN tink_sync.ts_runs r ON r.key = q.run
LEFT JOIN tink_sync.ts_pruned_runs p ON p.key = q.run
WHERE q.raw <> '';

CREATE OR REPLACE VIEW tink_sync.audit_v1 AS
SELECT tink_sync.ts_time(at) AS at, actor, ip, action, connection_id, user_id, result, details,
       CASE WHEN action IN ('sync.requested', 'token.refreshed', 'token.refresh_failed') THEN details
            WHEN action = 'connection.imported' THEN split_part(details, ', run ', 2) END AS run_id
FROM tink_sync.ts_audit;

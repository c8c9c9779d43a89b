-- Change numbers for the rows of accounts_v1 and connections_v1. A row is numbered in the transaction that
-- changes what a reader sees, whichever statement does it, future ones included. Recreated together with the
-- views (schema.rs). A column added to one of the two views must be added here; a test tries every column of
-- the tables below. Each row gets a number of its own, so that a reader may fetch them in portions.
--
-- Changes of last_attempt_at, last_success_at and next_attempt_at do not count: every pass moves them.

CREATE TRIGGER ts_feed_connection_new AFTER INSERT ON ts_connections
BEGIN
    UPDATE ts_sequences SET value = value + 1 WHERE name = 'change';
    UPDATE ts_connections SET change_seq = (SELECT value FROM ts_sequences WHERE name = 'change')
    WHERE key = new.key;
END;

CREATE TRIGGER ts_feed_connection AFTER UPDATE ON ts_connections
WHEN (old.connection_id, old.user_id, old.external_user_id, old.tink_user_id, old.mode, old.enabled, old.entitled,
      old.entitled_until, old.lapsed, old.needs_user, old.last_outcome IS 'rate_limited', old.failures,
      old.last_success_at IS NULL, old.last_reason, old.data_as_of, old.not_before, old.gone_at IS NULL)
 IS NOT
     (new.connection_id, new.user_id, new.external_user_id, new.tink_user_id, new.mode, new.enabled, new.entitled,
      new.entitled_until, new.lapsed, new.needs_user, new.last_outcome IS 'rate_limited', new.failures,
      new.last_success_at IS NULL, new.last_reason, new.data_as_of, new.not_before, new.gone_at IS NULL)
BEGIN
    UPDATE ts_sequences SET value = value + 1 WHERE name = 'change';
    UPDATE ts_connections SET change_seq = (SELECT value FROM ts_sequences WHERE name = 'change')
    WHERE key = new.key;
END;

-- Until an account is numbered for the first time, its change_seq is 0.
CREATE TRIGGER ts_feed_account AFTER UPDATE ON ts_accounts
WHEN old.change_seq <> 0
 AND (old.connection, old.account_id, old.name, old.type, old.iban, old.masked_pan, old.financial_institution_id,
      old.credentials_ids, coalesce(old.booked_currency, old.available_currency), old.booked_balance,
      old.available_balance, old.last_refreshed, old.complete_through, old.closed_at, old.merged_id)
 IS NOT
     (new.connection, new.account_id, new.name, new.type, new.iban, new.masked_pan, new.financial_institution_id,
      new.credentials_ids, coalesce(new.booked_currency, new.available_currency), new.booked_balance,
      new.available_balance, new.last_refreshed, new.complete_through, new.closed_at, new.merged_id)
  OR new.change_seq = 0
BEGIN
    UPDATE ts_sequences SET value = value + 1 WHERE name = 'change';
    UPDATE ts_accounts SET change_seq = (SELECT value FROM ts_sequences WHERE name = 'change')
    WHERE key = new.key;
END;

-- accounts_v1.connection_id. A change_seq of 0 makes ts_feed_account give each row its own number.
CREATE TRIGGER ts_feed_connection_renamed AFTER UPDATE OF connection_id ON ts_connections
WHEN old.connection_id <> new.connection_id
BEGIN
    UPDATE ts_accounts SET change_seq = 0 WHERE connection = new.key;
END;

-- accounts_v1.credentials_ids: the consents that hold an account.
CREATE VIEW ts_feed_held AS
SELECT a.key,
       (SELECT json_group_array(h.credentials_id)
        FROM (SELECT s.credentials_id FROM ts_consents s
              WHERE s.connection = a.connection
                AND EXISTS (SELECT 1 FROM json_each(s.account_ids) j WHERE j.value = a.account_id)
              ORDER BY s.credentials_id) h) AS credentials_ids
FROM ts_accounts a;

CREATE TRIGGER ts_feed_account_new AFTER INSERT ON ts_accounts
BEGIN
    UPDATE ts_sequences SET value = value + 1 WHERE name = 'change';
    UPDATE ts_accounts
    SET change_seq = (SELECT value FROM ts_sequences WHERE name = 'change'),
        credentials_ids = (SELECT h.credentials_ids FROM ts_feed_held h WHERE h.key = new.key)
    WHERE key = new.key;
END;

CREATE TRIGGER ts_feed_held_moved AFTER UPDATE OF connection, account_id ON ts_accounts
BEGIN
    UPDATE ts_accounts SET credentials_ids = (SELECT h.credentials_ids FROM ts_feed_held h WHERE h.key = new.key)
    WHERE key = new.key;
END;

CREATE TRIGGER ts_feed_consent_new AFTER INSERT ON ts_consents
BEGIN
    UPDATE ts_accounts
    SET credentials_ids = (SELECT h.credentials_ids FROM ts_feed_held h WHERE h.key = ts_accounts.key)
    WHERE connection = new.connection AND account_id IN (SELECT j.value FROM json_each(new.account_ids) j);
END;

CREATE TRIGGER ts_feed_consent AFTER UPDATE OF connection, credentials_id, account_ids ON ts_consents
WHEN (old.connection, old.credentials_id, old.account_ids) IS NOT (new.connection, new.credentials_id, new.account_ids)
BEGIN
    UPDATE ts_accounts
    SET credentials_ids = (SELECT h.credentials_ids FROM ts_feed_held h WHERE h.key = ts_accounts.key)
    WHERE (connection = old.connection AND account_id IN (SELECT j.value FROM json_each(old.account_ids) j))
       OR (connection = new.connection AND account_id IN (SELECT j.value FROM json_each(new.account_ids) j));
END;

CREATE TRIGGER ts_feed_consent_gone AFTER DELETE ON ts_consents
BEGIN
    UPDATE ts_accounts
    SET credentials_ids = (SELECT h.credentials_ids FROM ts_feed_held h WHERE h.key = ts_accounts.key)
    WHERE connection = old.connection AND account_id IN (SELECT j.value FROM json_each(old.account_ids) j);
END;

-- connections_v1.data_as_of: the oldest refresh of its open accounts.
CREATE VIEW ts_feed_refreshed AS
SELECT c.key,
       (SELECT min(a.last_refreshed) FROM ts_accounts a
        WHERE a.connection = c.key AND a.closed_at IS NULL) AS data_as_of
FROM ts_connections c;

CREATE TRIGGER ts_feed_refreshed_new AFTER INSERT ON ts_accounts
BEGIN
    UPDATE ts_connections
    SET data_as_of = (SELECT r.data_as_of FROM ts_feed_refreshed r WHERE r.key = ts_connections.key)
    WHERE key = new.connection;
END;

CREATE TRIGGER ts_feed_refreshed_moved AFTER UPDATE OF connection, last_refreshed, closed_at ON ts_accounts
WHEN (old.connection, old.last_refreshed, old.closed_at) IS NOT (new.connection, new.last_refreshed, new.closed_at)
BEGIN
    UPDATE ts_connections
    SET data_as_of = (SELECT r.data_as_of FROM ts_feed_refreshed r WHERE r.key = ts_connections.key)
    WHERE key IN (old.connection, new.connection);
END;

CREATE TRIGGER ts_feed_refreshed_gone AFTER DELETE ON ts_accounts
BEGIN
    UPDATE ts_connections
    SET data_as_of = (SELECT r.data_as_of FROM ts_feed_refreshed r WHERE r.key = ts_connections.key)
    WHERE key = old.connection;
END;

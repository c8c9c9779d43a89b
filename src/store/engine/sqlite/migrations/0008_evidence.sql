-- Evidence that walks leave for later ones, so that nothing is dropped that was not checked.
ALTER TABLE ts_accounts ADD COLUMN deep_through TEXT;
ALTER TABLE ts_accounts ADD COLUMN absent_from TEXT;
ALTER TABLE ts_accounts ADD COLUMN judged_refresh TEXT;
ALTER TABLE ts_accounts ADD COLUMN full_due INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ts_accounts ADD COLUMN reissued INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ts_accounts ADD COLUMN unmatched_from TEXT;
ALTER TABLE ts_accounts ADD COLUMN hung_at INTEGER;
-- Balance and booked rows at the last complete walk: whether the balance confirms the next removals.
ALTER TABLE ts_accounts ADD COLUMN stand_balance TEXT;
ALTER TABLE ts_accounts ADD COLUMN stand_currency TEXT;
ALTER TABLE ts_accounts ADD COLUMN stand_rows TEXT;
-- Two accounts that turned out to be one: the younger key is closed, and its rows continue under the older.
ALTER TABLE ts_accounts ADD COLUMN merged_into INTEGER;
ALTER TABLE ts_accounts ADD COLUMN merged_id TEXT;
ALTER TABLE ts_accounts ADD COLUMN separate INTEGER NOT NULL DEFAULT 0;

-- How many times in a row a new link had no data yet.
ALTER TABLE ts_connections ADD COLUMN looks INTEGER NOT NULL DEFAULT 0;

-- Whether a healthy consent serves all accounts of this one.
ALTER TABLE ts_consents ADD COLUMN superseded INTEGER NOT NULL DEFAULT 0;

ALTER TABLE ts_balances ADD COLUMN anchor_balance TEXT;
ALTER TABLE ts_balances ADD COLUMN convention TEXT;

-- For successors and the oldest pending row: neither lookup may cost the whole history of an account.
CREATE INDEX ts_transactions_successor ON ts_transactions (account, replaced_by) WHERE replaced_by IS NOT NULL;
CREATE INDEX ts_transactions_pending ON ts_transactions (account, booked_date)
    WHERE removed_at IS NULL AND status = 'pending';

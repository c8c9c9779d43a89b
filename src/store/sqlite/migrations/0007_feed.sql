-- The feed: accounts and connections are numbered by the same sequence as transactions. What their views show of
-- other tables is kept in columns of their own, so that feed.sql sees each change of it. `schema::publish`, which
-- runs after this file, fills and numbers them.
ALTER TABLE ts_connections ADD COLUMN change_seq INTEGER NOT NULL DEFAULT 0;
-- When Tink last had the oldest open account from the bank, as Tink wrote it.
ALTER TABLE ts_connections ADD COLUMN data_as_of TEXT;
-- `entitled_until` had passed when a run last looked: what changes by the clock alone is written by nobody else.
ALTER TABLE ts_connections ADD COLUMN lapsed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ts_accounts ADD COLUMN change_seq INTEGER NOT NULL DEFAULT 0;
-- The consents that hold the account, a JSON array.
ALTER TABLE ts_accounts ADD COLUMN credentials_ids TEXT NOT NULL DEFAULT '[]';
-- It was told that Tink has had nothing new of the account from the bank for too long.
ALTER TABLE ts_accounts ADD COLUMN stale INTEGER NOT NULL DEFAULT 0;

CREATE INDEX ts_accounts_change ON ts_accounts (change_seq);
CREATE INDEX ts_connections_change ON ts_connections (change_seq);

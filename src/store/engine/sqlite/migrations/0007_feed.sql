-- The feed: accounts and connections are numbered by the same sequence as transactions. What their views show
-- from other tables is kept in columns of their own, so that feed.sql sees each change of it.
-- `feed::publish`, which runs after this file, fills and numbers them.
ALTER TABLE ts_connections ADD COLUMN change_seq INTEGER NOT NULL DEFAULT 0;
-- When Tink last refreshed the connection's least recently refreshed open account, as Tink wrote it.
ALTER TABLE ts_connections ADD COLUMN data_as_of TEXT;
-- Whether `entitled_until` had passed when a run last checked: nothing else writes what time alone changes.
ALTER TABLE ts_connections ADD COLUMN lapsed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ts_accounts ADD COLUMN change_seq INTEGER NOT NULL DEFAULT 0;
-- The consents that hold the account, a JSON array.
ALTER TABLE ts_accounts ADD COLUMN credentials_ids TEXT NOT NULL DEFAULT '[]';
-- Whether it was reported that Tink has had nothing new of the account from the bank for too long.
ALTER TABLE ts_accounts ADD COLUMN stale INTEGER NOT NULL DEFAULT 0;
-- There can be thousands of on-demand runs a day, and they are pruned earlier than passes. Existing runs are
-- classified by how few connections they looked at; a run without totals counts as a pass.
ALTER TABLE ts_runs ADD COLUMN on_demand INTEGER NOT NULL DEFAULT 0;
UPDATE ts_runs SET on_demand = 1
WHERE trigger <> 'timer'
  AND json_extract(totals, '$.connections') < min(2, (SELECT count(*) FROM ts_connections));
-- For any length of history: the last passes, runs past their retention, the last end and the last good one.
CREATE INDEX ts_runs_kind ON ts_runs (on_demand, started_at);
CREATE INDEX ts_runs_ended ON ts_runs (finished_at) WHERE exit_code IS NOT NULL;
CREATE INDEX ts_runs_good ON ts_runs (finished_at) WHERE exit_code IN (0, 11);

CREATE INDEX ts_accounts_change ON ts_accounts (change_seq);
CREATE INDEX ts_connections_change ON ts_connections (change_seq);

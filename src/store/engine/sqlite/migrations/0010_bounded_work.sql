-- The cost of a pass depends on what is due and what changed, not on the age or size of the store.

-- Rows that arrived since the last complete walk are candidates for successors: these are read, not the whole account.
-- A row whose walk ended with the commit that stored it has `first_walk` 0. Only a statement that asks for `first_walk <> 0`
-- uses this index; none takes it for another one.
CREATE INDEX ts_transactions_arrived ON ts_transactions (account, first_walk)
    WHERE removed_at IS NULL AND first_walk <> 0;
-- Tombstones by age, for their retention.
CREATE INDEX ts_transactions_removed ON ts_transactions (removed_at) WHERE removed_at IS NOT NULL;
-- Finds a record by likeness that this run has not listed, however many are alike.
DROP INDEX ts_quarantine_like;
CREATE INDEX ts_quarantine_like ON ts_quarantine (account, likeness, seen_run);
-- Connections that a run attempts a second time.
CREATE INDEX ts_run_connections_again ON ts_run_connections (run, connection) WHERE again = 1;
-- The user whose connection worked most recently, for probing.
CREATE INDEX ts_connections_success ON ts_connections (last_success_at)
    WHERE last_success_at IS NOT NULL AND problem IS NULL;
CREATE INDEX ts_connections_refused ON ts_connections (refused_user) WHERE refused_user IS NOT NULL;
-- Tokens that a run is requesting: every run and every step of pruning searches for them.
CREATE INDEX ts_tokens_asked ON ts_tokens (asked_run) WHERE state = 'asked';
-- Runs whose process died: their attempts count for the quota, too.
CREATE INDEX ts_runs_dead ON ts_runs (finished_at) WHERE exit_code IS NULL;

-- A transaction names the runs that first saw and last changed it, a quarantined record that of the
-- quarantine, a balance the one that saw it differ. What is shown of such a run outlives it.
ALTER TABLE ts_runs ADD COLUMN named INTEGER NOT NULL DEFAULT 0;
UPDATE ts_runs SET named = 1 WHERE key IN (
    SELECT first_seen_run FROM ts_transactions UNION SELECT changed_run FROM ts_transactions
    UNION SELECT run FROM ts_quarantine UNION SELECT seen_run FROM ts_quarantine
    UNION SELECT since_run FROM ts_balances);
CREATE TABLE ts_pruned_runs (
    key        INTEGER PRIMARY KEY,
    run_id     TEXT    NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;

-- The largest change number of a pruned tombstone: see feed_v1.
INSERT INTO ts_sequences (name, value) VALUES ('pruned', 0);

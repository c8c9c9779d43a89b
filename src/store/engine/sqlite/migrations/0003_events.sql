-- The outbox of hooks: an event is written in the transaction that makes it true, and deleted once it is a
-- file in the spool. Only kinds that a hook listens to are written. AUTOINCREMENT: a key is never reused, as
-- it is part of the event's id.
CREATE TABLE ts_events (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL,
    run        INTEGER NOT NULL,
    connection INTEGER,
    at         INTEGER NOT NULL,
    details    TEXT    NOT NULL
) STRICT;
-- All commits of one connection in one run are one event.
CREATE UNIQUE INDEX ts_events_rows ON ts_events (run, connection) WHERE kind = 'new-transactions';

-- The run that reported a connection's first failure; NULL while it is well or needs its user.
ALTER TABLE ts_connections ADD COLUMN failing_run INTEGER;
UPDATE ts_connections SET failing_run = coalesce(last_attempt_run, 0)
WHERE failures > 0 AND last_outcome IN ('failed', 'partial');

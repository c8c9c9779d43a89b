-- The outbox of hooks: events are written in the transaction that makes them true, and leave it once they
-- are files of the spool. Only kinds that somebody listens to are written. AUTOINCREMENT: a number is never
-- given twice, it is part of the event's id.
CREATE TABLE ts_events (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL,
    run        INTEGER NOT NULL,
    connection INTEGER,
    at         INTEGER NOT NULL,
    details    TEXT    NOT NULL
) STRICT;
-- The commits of one connection in one run are one event.
CREATE UNIQUE INDEX ts_events_rows ON ts_events (run, connection) WHERE kind = 'new-transactions';

-- The run that told of a connection's first failure; NULL while it is well or needs its user.
ALTER TABLE ts_connections ADD COLUMN failing_run INTEGER;
UPDATE ts_connections SET failing_run = coalesce(last_attempt_run, 0)
WHERE failures > 0 AND last_outcome IN ('failed', 'partial');

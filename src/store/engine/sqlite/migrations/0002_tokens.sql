-- Tokens of older links, sealed: the one that renews, and the one it last gave. `asked` is written before
-- Tink is asked for new ones, with the run that asks and a number that only this asking has; what came of it
-- is written before it is used. `lost` tokens are never presented again.
CREATE TABLE ts_tokens (
    connection   INTEGER PRIMARY KEY,
    version      TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('ready', 'asked', 'lost')),
    refresh      BLOB    NOT NULL,
    access       BLOB,
    access_until INTEGER,
    asked_run    INTEGER,
    asking       INTEGER NOT NULL DEFAULT 0
) STRICT;

-- When the bank of a consent was last asked for its data.
ALTER TABLE ts_consents ADD COLUMN asked_at INTEGER;

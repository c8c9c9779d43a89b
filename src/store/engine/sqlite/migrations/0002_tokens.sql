-- Tokens of older links, encrypted: the refresh token, and the access token it last gave. `asked` is written
-- before new tokens are requested from Tink, with the requesting run and a number unique to the request; the
-- result is written before it is used. `lost` tokens are never presented again.
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

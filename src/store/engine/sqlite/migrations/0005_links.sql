-- Links that were begun and not ended: the Tink user's id is kept here before Tink hears of it, so that a
-- link that is cut short goes on with the same user. A row goes when its connection is stored.
CREATE TABLE ts_links (
    connection_id    TEXT    NOT NULL PRIMARY KEY,
    user_id          TEXT    NOT NULL,
    external_user_id TEXT    NOT NULL,
    market           TEXT,
    begun_at         INTEGER NOT NULL
) STRICT;

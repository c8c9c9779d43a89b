-- Links that were begun and not completed. The Tink user's id is stored here before it is sent to Tink, so
-- that an interrupted link resumes with the same user. A row is deleted once its connection is stored.
CREATE TABLE ts_links (
    connection_id    TEXT    NOT NULL PRIMARY KEY,
    user_id          TEXT    NOT NULL,
    external_user_id TEXT    NOT NULL,
    market           TEXT,
    begun_at         INTEGER NOT NULL
) STRICT;

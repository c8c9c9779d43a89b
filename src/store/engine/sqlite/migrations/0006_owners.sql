-- The owner of a connection's data, and the user that the view gives instead. `refused` is NULL if the view's
-- row is the connection's own; otherwise it holds whether that row is enabled and entitled.
ALTER TABLE ts_connections ADD COLUMN refused INTEGER;
ALTER TABLE ts_connections ADD COLUMN refused_user TEXT;
-- The view gives another id for the user's Tink user: adopted once Tink has shown that both are the same.
ALTER TABLE ts_connections ADD COLUMN moved_external_user_id TEXT;
ALTER TABLE ts_connections ADD COLUMN moved_tink_user_id TEXT;
-- When its row left the view, and when it stopped being enabled and entitled; NULL if it has not.
ALTER TABLE ts_connections ADD COLUMN gone_at INTEGER;
ALTER TABLE ts_connections ADD COLUMN lapsed_at INTEGER;

-- Former Tink users whose data a connection holds.
CREATE TABLE ts_former_users (
    connection INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('external', 'tink')),
    id         TEXT    NOT NULL,
    PRIMARY KEY (connection, kind, id)
) STRICT, WITHOUT ROWID;

-- These ids belong to a single Tink user, so they show whether two connections share it.
CREATE INDEX ts_consents_credentials ON ts_consents (credentials_id);
CREATE INDEX ts_account_ids_account ON ts_account_ids (account_id);

-- The Tink app that feeds this store: one row, written with its first data.
CREATE TABLE ts_app (
    client_id TEXT    NOT NULL PRIMARY KEY,
    since     INTEGER NOT NULL
) STRICT;

-- The source view as last read (one row): its location and its counts. While far fewer are enabled or
-- entitled than before, also since when, and the counts before that.
CREATE TABLE ts_view (
    source          TEXT    NOT NULL,
    read_at         INTEGER NOT NULL,
    enabled         INTEGER NOT NULL,
    entitled        INTEGER NOT NULL,
    fallen_at       INTEGER,
    enabled_before  INTEGER,
    entitled_before INTEGER
) STRICT;

-- The highest counts of enabled and entitled connections on each recent day on which they were accepted.
CREATE TABLE ts_population (
    day      TEXT    NOT NULL PRIMARY KEY,
    enabled  INTEGER NOT NULL,
    entitled INTEGER NOT NULL
) STRICT;

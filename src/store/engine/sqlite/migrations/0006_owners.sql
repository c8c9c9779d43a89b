-- Whose data a connection holds. Beside its user and its Tink user: what the view brings in their place.
-- `refused` is NULL for a row that is the connection's own; for one that is not, whether it asks to be synced.
ALTER TABLE ts_connections ADD COLUMN refused INTEGER;
ALTER TABLE ts_connections ADD COLUMN refused_user TEXT;
-- The view names the same user's Tink user in another way: taken over once Tink has shown that it is the same.
ALTER TABLE ts_connections ADD COLUMN moved_external_user_id TEXT;
ALTER TABLE ts_connections ADD COLUMN moved_tink_user_id TEXT;
-- When its row left the view, and when it ceased to be enabled and entitled; NULL while it has one, while it is.
ALTER TABLE ts_connections ADD COLUMN gone_at INTEGER;
ALTER TABLE ts_connections ADD COLUMN lapsed_at INTEGER;

-- Tink users whose data a connection holds besides those of its present one.
CREATE TABLE ts_former_users (
    connection INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('external', 'tink')),
    id         TEXT    NOT NULL,
    PRIMARY KEY (connection, kind, id)
) STRICT, WITHOUT ROWID;

-- Ids that only one Tink user has tell whether two connections are of one.
CREATE INDEX ts_consents_credentials ON ts_consents (credentials_id);
CREATE INDEX ts_account_ids_account ON ts_account_ids (account_id);

-- The Tink app that feeds this store: one row, from its first data on.
CREATE TABLE ts_app (
    client_id TEXT    NOT NULL PRIMARY KEY,
    since     INTEGER NOT NULL
) STRICT;

-- The source view as it was read last (one row): where it lay and what it gave. While far fewer are enabled or
-- entitled than before, also since when, and what there were.
CREATE TABLE ts_view (
    source          TEXT    NOT NULL,
    read_at         INTEGER NOT NULL,
    enabled         INTEGER NOT NULL,
    entitled        INTEGER NOT NULL,
    fallen_at       INTEGER,
    enabled_before  INTEGER,
    entitled_before INTEGER
) STRICT;

-- The most that were enabled and entitled on each of the last days on which that was taken as it is.
CREATE TABLE ts_population (
    day      TEXT    NOT NULL PRIMARY KEY,
    enabled  INTEGER NOT NULL,
    entitled INTEGER NOT NULL
) STRICT;

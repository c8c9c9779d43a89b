-- What of Tink's answers had another form than documented, and when that was told; account 0 is the connection
-- as a whole.
CREATE TABLE ts_anomalies (
    connection INTEGER NOT NULL,
    account    INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    told_at    INTEGER NOT NULL,
    PRIMARY KEY (connection, account, kind)
) STRICT, WITHOUT ROWID;

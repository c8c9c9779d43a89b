-- Fields in Tink's responses that differed from the documentation, and when that was reported; account 0 is
-- the connection as a whole.
CREATE TABLE ts_anomalies (
    connection INTEGER NOT NULL,
    account    INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    told_at    INTEGER NOT NULL,
    PRIMARY KEY (connection, account, kind)
) STRICT, WITHOUT ROWID;

-- A consent, or its date, is dropped only after the lists of two runs lack it; and a warning of its end is
-- repeated only if the date moves far.
ALTER TABLE ts_consents ADD COLUMN missing_run INTEGER;
ALTER TABLE ts_consents ADD COLUMN undated_run INTEGER;
ALTER TABLE ts_consents ADD COLUMN known_expiry TEXT;
ALTER TABLE ts_consents ADD COLUMN warned_expiry TEXT;
UPDATE ts_consents SET known_expiry = expires_at, warned_expiry = iif(warned_days IS NULL, NULL, expires_at);

-- A quarantined record is recognized by its likeness (parts that seldom change) and leaves when a complete
-- walk over its date does not list it. Beyond an account's first hundred it is only counted, without JSON.
ALTER TABLE ts_quarantine ADD COLUMN booked_date TEXT;
ALTER TABLE ts_quarantine ADD COLUMN likeness TEXT;
ALTER TABLE ts_quarantine ADD COLUMN seen_run INTEGER;
ALTER TABLE ts_quarantine ADD COLUMN missed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX ts_quarantine_like ON ts_quarantine (account, likeness);
UPDATE ts_quarantine SET booked_date = raw ->> '$.dates.booked'
WHERE json_valid(raw) AND date(raw ->> '$.dates.booked') = raw ->> '$.dates.booked';

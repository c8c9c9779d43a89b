-- What of Tink's answers had another form than documented, and when that was told; account 0 is the connection
-- as a whole.
CREATE TABLE ts_anomalies (
    connection INTEGER NOT NULL,
    account    INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    told_at    INTEGER NOT NULL,
    PRIMARY KEY (connection, account, kind)
) STRICT, WITHOUT ROWID;

-- A consent goes, and so does its date, only after the lists of two runs without it; and what was told of its end is
-- told again only when the date moves far.
ALTER TABLE ts_consents ADD COLUMN missing_run INTEGER;
ALTER TABLE ts_consents ADD COLUMN undated_run INTEGER;
ALTER TABLE ts_consents ADD COLUMN known_expiry TEXT;
ALTER TABLE ts_consents ADD COLUMN warned_expiry TEXT;
UPDATE ts_consents SET known_expiry = expires_at, warned_expiry = iif(warned_days IS NULL, NULL, expires_at);

-- A record in quarantine is known again by its like (what of it seldom changes), leaves when a complete walk that
-- covers its date does not list it, and is only counted (without its JSON) beyond the first hundred of its account.
ALTER TABLE ts_quarantine ADD COLUMN booked_date TEXT;
ALTER TABLE ts_quarantine ADD COLUMN likeness TEXT;
ALTER TABLE ts_quarantine ADD COLUMN seen_run INTEGER;
ALTER TABLE ts_quarantine ADD COLUMN missed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX ts_quarantine_like ON ts_quarantine (account, likeness);
UPDATE ts_quarantine SET booked_date = raw ->> '$.dates.booked'
WHERE json_valid(raw) AND date(raw ->> '$.dates.booked') = raw ->> '$.dates.booked';

BEGIN TRANSACTION;
CREATE TABLE ts_account_ids (
    connection INTEGER NOT NULL,
    account_id TEXT    NOT NULL,
    account    INTEGER NOT NULL,
    PRIMARY KEY (connection, account_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "ts_account_ids" VALUES(1,'a1',1);
INSERT INTO "ts_account_ids" VALUES(1,'a2',2);
INSERT INTO "ts_account_ids" VALUES(2,'e1',3);
INSERT INTO "ts_account_ids" VALUES(2,'e2',3);
CREATE TABLE ts_accounts (
    key                      INTEGER PRIMARY KEY,
    connection               INTEGER NOT NULL,
    account_id               TEXT    NOT NULL,
    name                     TEXT    NOT NULL,
    type                     TEXT    NOT NULL,
    iban                     TEXT,
    account_number           TEXT,
    masked_pan               TEXT,
    financial_institution_id TEXT,
    booked_balance           TEXT,
    booked_currency          TEXT,
    available_balance        TEXT,
    available_currency       TEXT,
    last_refreshed           TEXT,
    complete_through         TEXT,
    generation               INTEGER NOT NULL DEFAULT 1,
    repairing                INTEGER NOT NULL DEFAULT 0,
    walks                    INTEGER NOT NULL DEFAULT 0,
    walked_refresh           TEXT,
    walked_at                INTEGER,
    deep_walked_at           INTEGER,
    suspect_refresh          TEXT,
    missing_refresh          TEXT,
    closed_at                INTEGER, change_seq INTEGER NOT NULL DEFAULT 0, credentials_ids TEXT NOT NULL DEFAULT '[]', stale INTEGER NOT NULL DEFAULT 0, deep_through TEXT, absent_from TEXT, judged_refresh TEXT, full_due INTEGER NOT NULL DEFAULT 0, reissued INTEGER NOT NULL DEFAULT 0, unmatched_from TEXT, hung_at INTEGER, stand_balance TEXT, stand_currency TEXT, stand_rows TEXT, merged_into INTEGER, merged_id TEXT, separate INTEGER NOT NULL DEFAULT 0,
    UNIQUE (connection, account_id)
) STRICT;
INSERT INTO "ts_accounts" VALUES(1,1,'a1','Account a1','CHECKING','XX00a1',NULL,NULL,NULL,'982.23','EUR',NULL,NULL,'2027-01-03T05:00:00Z','2027-01-03',1,0,3,'2027-01-03T05:00:00Z',1798956002316,1798783200300,NULL,NULL,NULL,61,'["cred-a1"]',0,'2027-01-01','2026-12-31','2027-01-03T05:00:00Z',0,0,NULL,NULL,'982.23','EUR','805.225',NULL,NULL,0);
INSERT INTO "ts_accounts" VALUES(2,1,'a2','Account a2','CHECKING',NULL,NULL,NULL,NULL,'1000','SEK',NULL,NULL,'2027-01-03T05:00:00Z','2027-01-03',1,0,3,'2027-01-03T05:00:00Z',1798956002363,1798783200347,NULL,NULL,NULL,62,'["cred-a1"]',0,'2027-01-01',NULL,'2027-01-03T05:00:00Z',0,0,NULL,NULL,'1000','SEK','-0.99',NULL,NULL,0);
INSERT INTO "ts_accounts" VALUES(3,2,'e2','Account e2','CHECKING','XX00e',NULL,NULL,NULL,'50','EUR',NULL,NULL,'2027-01-03T05:00:00Z','2027-01-03',2,0,2,'2027-01-03T05:00:00Z',1798956001915,1798869601040,NULL,NULL,NULL,58,'["cred-e2"]',0,'2027-01-02',NULL,'2027-01-02T05:00:00Z',0,0,NULL,NULL,'50','EUR','-5.1',NULL,NULL,0);
CREATE TABLE ts_anomalies (
    connection INTEGER NOT NULL,
    account    INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    told_at    INTEGER NOT NULL,
    PRIMARY KEY (connection, account, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE ts_app (
    client_id TEXT    NOT NULL PRIMARY KEY,
    since     INTEGER NOT NULL
) STRICT;
INSERT INTO "ts_app" VALUES('sandbox-client',1798783199939);
CREATE TABLE ts_audit (
    key           INTEGER PRIMARY KEY,
    at            INTEGER NOT NULL,
    actor         TEXT,
    ip            TEXT,
    action        TEXT    NOT NULL,
    connection_id TEXT,
    user_id       TEXT,
    result        TEXT    NOT NULL,
    details       TEXT
) STRICT;
CREATE TABLE ts_balances (
    account        INTEGER PRIMARY KEY,
    first_day      TEXT,
    currency       TEXT,
    opening        TEXT,
    earlier        TEXT,
    unclear        TEXT,
    quarantined    INTEGER,
    anchored_at    INTEGER,
    judged_refresh TEXT,
    proven_refresh TEXT,
    difference     TEXT,
    since_at       INTEGER,
    since_run      INTEGER,
    changed_at     INTEGER,
    doubt          TEXT
, anchor_balance TEXT, convention TEXT) STRICT;
INSERT INTO "ts_balances" VALUES(1,'2026-06-01','EUR','186.005','0','',1,1798783200347,'2027-01-03T05:00:00Z',NULL,'-9',1798956002364,3,1798956002364,'quarantine','1000',NULL);
INSERT INTO "ts_balances" VALUES(2,'2026-12-25','SEK','1000.99','0','',0,1798783200347,'2027-01-03T05:00:00Z','2027-01-03T05:00:00Z',NULL,NULL,NULL,NULL,NULL,'1000',NULL);
INSERT INTO "ts_balances" VALUES(3,'2026-12-10','EUR','55.1','0','',0,1798783200149,'2027-01-03T05:00:00Z','2027-01-03T05:00:00Z',NULL,NULL,NULL,NULL,NULL,'50',NULL);
CREATE TABLE ts_connections (
    key                INTEGER PRIMARY KEY,
    connection_id      TEXT    NOT NULL UNIQUE,
    user_id            TEXT    NOT NULL,
    external_user_id   TEXT,
    tink_user_id       TEXT,
    mode               TEXT    NOT NULL DEFAULT 'mint',
    enabled            INTEGER NOT NULL,
    entitled           INTEGER NOT NULL,
    entitled_until     INTEGER,
    market             TEXT,
    priority           INTEGER NOT NULL DEFAULT 0,
    problem            TEXT,
    last_attempt_at    INTEGER,
    last_attempt_run   INTEGER,
    last_success_at    INTEGER,
    last_success_began INTEGER,
    next_due           INTEGER,
    not_before         INTEGER,
    failures           INTEGER NOT NULL DEFAULT 0,
    last_outcome       TEXT,
    last_reason        TEXT,
    last_error         TEXT,
    needs_user         TEXT,
    lease_run          INTEGER,
    lease_token        INTEGER,
    lease_until        INTEGER
, failing_run INTEGER, refused INTEGER, refused_user TEXT, moved_external_user_id TEXT, moved_tink_user_id TEXT, gone_at INTEGER, lapsed_at INTEGER, change_seq INTEGER NOT NULL DEFAULT 0, data_as_of TEXT, lapsed INTEGER NOT NULL DEFAULT 0, looks INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "ts_connections" VALUES(1,'sam','u-sam','sam',NULL,'mint',1,1,NULL,NULL,0,NULL,1798999202479,4,1798999202875,1798999202480,1798999202480,NULL,0,'unchanged',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,63,'2027-01-03T05:00:00Z',0,0);
INSERT INTO "ts_connections" VALUES(2,'eve','u-eve','eve',NULL,'mint',1,1,NULL,NULL,0,NULL,1798999202479,4,1798999202823,1798999202480,1798999202480,NULL,0,'unchanged',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,56,'2027-01-03T05:00:00Z',0,0);
CREATE TABLE ts_consents (
    connection     INTEGER NOT NULL,
    credentials_id TEXT    NOT NULL,
    provider       TEXT,
    status         TEXT    NOT NULL,
    status_updated TEXT,
    expires_at     TEXT,
    extendable     INTEGER,
    error_type     TEXT,
    error_reason   TEXT,
    account_ids    TEXT    NOT NULL,
    warned_days    INTEGER, asked_at INTEGER, superseded INTEGER NOT NULL DEFAULT 0, missing_run INTEGER, undated_run INTEGER, known_expiry TEXT, warned_expiry TEXT,
    PRIMARY KEY (connection, credentials_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "ts_consents" VALUES(1,'cred-a1','uk-demobank-open-banking-redirect','UPDATED','2025-06-15T15:06:40Z',NULL,NULL,NULL,NULL,'["a1","a2"]',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_consents" VALUES(2,'cred-e2','uk-demobank-open-banking-redirect','UPDATED','2025-06-15T15:06:40Z',NULL,NULL,NULL,NULL,'["e2"]',NULL,NULL,0,NULL,NULL,NULL,NULL);
CREATE TABLE ts_events (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL,
    run        INTEGER NOT NULL,
    connection INTEGER,
    at         INTEGER NOT NULL,
    details    TEXT    NOT NULL
) STRICT;
CREATE TABLE ts_former_users (
    connection INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('external', 'tink')),
    id         TEXT    NOT NULL,
    PRIMARY KEY (connection, kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE ts_links (
    connection_id    TEXT    NOT NULL PRIMARY KEY,
    user_id          TEXT    NOT NULL,
    external_user_id TEXT    NOT NULL,
    market           TEXT,
    begun_at         INTEGER NOT NULL
) STRICT;
CREATE TABLE ts_own_connections (
    connection_id    TEXT    NOT NULL PRIMARY KEY,
    user_id          TEXT    NOT NULL,
    external_user_id TEXT,
    tink_user_id     TEXT,
    enabled          INTEGER NOT NULL DEFAULT 1,
    market           TEXT,
    priority         INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE ts_own_users (
    user_id        TEXT    NOT NULL PRIMARY KEY,
    entitled       INTEGER NOT NULL DEFAULT 1,
    entitled_until TEXT
) STRICT;
CREATE TABLE ts_population (
    day      TEXT    NOT NULL PRIMARY KEY,
    enabled  INTEGER NOT NULL,
    entitled INTEGER NOT NULL
) STRICT;
INSERT INTO "ts_population" VALUES('2027-01-01',2,2);
INSERT INTO "ts_population" VALUES('2027-01-02',2,2);
INSERT INTO "ts_population" VALUES('2027-01-03',2,2);
CREATE TABLE ts_pruned_runs (
    key        INTEGER PRIMARY KEY,
    run_id     TEXT    NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;
CREATE TABLE ts_quarantine (
    key            INTEGER PRIMARY KEY,
    account        INTEGER NOT NULL,
    fingerprint    TEXT    NOT NULL,
    transaction_id TEXT,
    reason         TEXT    NOT NULL,
    raw            TEXT    NOT NULL,
    first_seen_at  INTEGER NOT NULL,
    run            INTEGER NOT NULL, booked_date TEXT, likeness TEXT, seen_run INTEGER, missed INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, fingerprint)
) STRICT;
INSERT INTO "ts_quarantine" VALUES(1,1,'id:bad','bad','amount: unscaledValue is not an integer','{"id": "bad", "accountId": "a1", "amount": {"currencyCode": "EUR", "value": {"unscaledValue": "x1", "scale": "2"}}, "status": "BOOKED", "types": {"type": "DEFAULT"}, "descriptions": {"original": "BROKEN", "display": "BROKEN"}, "dates": {"booked": "2026-12-27"}}',1798783200300,1,'2026-12-27','35aa871066443384e588a813961af216',3,0);
CREATE TABLE ts_raw (
    transaction_key INTEGER PRIMARY KEY,
    raw             TEXT    NOT NULL,
    stored_at       INTEGER NOT NULL
) STRICT;
CREATE TABLE ts_run_connections (
    run         INTEGER NOT NULL,
    connection  INTEGER NOT NULL,
    user_id     TEXT    NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 1,
    again       INTEGER NOT NULL DEFAULT 0,
    outcome     TEXT,
    reason      TEXT,
    error       TEXT,
    request_id  TEXT,
    started_at  INTEGER NOT NULL,
    duration_ms INTEGER,
    accounts    INTEGER NOT NULL DEFAULT 0,
    fetched     INTEGER NOT NULL DEFAULT 0,
    added       INTEGER NOT NULL DEFAULT 0,
    updated     INTEGER NOT NULL DEFAULT 0,
    removed     INTEGER NOT NULL DEFAULT 0,
    quarantined INTEGER NOT NULL DEFAULT 0,
    requests    INTEGER NOT NULL DEFAULT 0,
    retries     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, connection)
) STRICT, WITHOUT ROWID;
INSERT INTO "ts_run_connections" VALUES(1,1,'u-sam',1,0,'synced',NULL,NULL,NULL,1798783199594,802,2,12,11,0,0,1,11,0);
INSERT INTO "ts_run_connections" VALUES(1,2,'u-eve',1,0,'synced',NULL,NULL,NULL,1798783199594,651,1,5,5,0,0,0,7,0);
INSERT INTO "ts_run_connections" VALUES(2,1,'u-sam',1,0,'partial','mass_vanish','rows are missing, and the balance, their number or a refresh date that never stands still speaks against it: none is removed until a newer refresh agrees',NULL,1798869600476,866,2,11,1,1,1,0,12,0);
INSERT INTO "ts_run_connections" VALUES(2,2,'u-eve',1,0,'synced',NULL,NULL,NULL,1798869600476,564,1,5,5,0,5,0,6,0);
INSERT INTO "ts_run_connections" VALUES(3,1,'u-sam',1,0,'synced',NULL,NULL,NULL,1798956001448,974,2,12,1,0,1,0,15,0);
INSERT INTO "ts_run_connections" VALUES(3,2,'u-eve',1,0,'unchanged',NULL,NULL,NULL,1798956001448,467,1,0,0,0,0,0,5,0);
INSERT INTO "ts_run_connections" VALUES(4,1,'u-sam',1,0,'unchanged',NULL,NULL,NULL,1798999202479,395,2,0,0,0,0,0,4,0);
INSERT INTO "ts_run_connections" VALUES(4,2,'u-eve',1,0,'unchanged',NULL,NULL,NULL,1798999202479,343,1,0,0,0,0,0,5,0);
CREATE TABLE ts_runs (
    key         INTEGER PRIMARY KEY,
    run_id      TEXT    NOT NULL UNIQUE,
    trigger     TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    exit_code   INTEGER,
    totals      TEXT    NOT NULL DEFAULT '{}'
, on_demand INTEGER NOT NULL DEFAULT 0, named INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "ts_runs" VALUES(1,'20270101T055959Z-b6ad9621','manual','host','0.1.0',1798783199475,1798783200400,0,'{"connections":2,"due":2,"failed":0,"interrupted":0,"needs_user":0,"partial":0,"rate_limited":0,"synced":2,"unchanged":0,"skipped":{"deadline":0,"disabled":0,"leased":0,"not_before":0,"not_entitled":0,"quota":0,"recent":0},"accounts":3,"fetched":17,"added":16,"updated":0,"removed":0,"quarantined":1,"requests":18,"retries":0,"request_errors":0,"token_failures":0,"duration_ms":924,"clocks_agree":true}',0,1);
INSERT INTO "ts_runs" VALUES(2,'20270102T060000Z-4b1e95c0','manual','host','0.1.0',1798869600429,1798869601367,10,'{"connections":2,"due":2,"failed":0,"interrupted":0,"needs_user":0,"partial":1,"rate_limited":0,"synced":1,"unchanged":0,"skipped":{"deadline":0,"disabled":0,"leased":0,"not_before":0,"not_entitled":0,"quota":0,"recent":0},"accounts":3,"fetched":16,"added":6,"updated":1,"removed":6,"quarantined":0,"requests":19,"retries":0,"request_errors":0,"token_failures":0,"duration_ms":938,"clocks_agree":true}',0,1);
INSERT INTO "ts_runs" VALUES(3,'20270103T060001Z-922c83b1','manual','host','0.1.0',1798956001411,1798956002428,0,'{"connections":2,"due":2,"failed":0,"interrupted":0,"needs_user":0,"partial":0,"rate_limited":0,"synced":1,"unchanged":1,"skipped":{"deadline":0,"disabled":0,"leased":0,"not_before":0,"not_entitled":0,"quota":0,"recent":0},"accounts":3,"fetched":12,"added":1,"updated":0,"removed":1,"quarantined":0,"requests":21,"retries":0,"request_errors":0,"token_failures":0,"duration_ms":1017,"clocks_agree":true}',0,1);
INSERT INTO "ts_runs" VALUES(4,'20270103T180002Z-ab2eb82f','manual','host','0.1.0',1798999202454,1798999202880,0,'{"connections":2,"due":2,"failed":0,"interrupted":0,"needs_user":0,"partial":0,"rate_limited":0,"synced":0,"unchanged":2,"skipped":{"deadline":0,"disabled":0,"leased":0,"not_before":0,"not_entitled":0,"quota":0,"recent":0},"accounts":3,"fetched":0,"added":0,"updated":0,"removed":0,"quarantined":0,"requests":9,"retries":0,"request_errors":0,"token_failures":0,"duration_ms":425,"clocks_agree":true}',0,0);
CREATE TABLE ts_schema (
            version INTEGER NOT NULL PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT;
INSERT INTO "ts_schema" VALUES(1,1798783199475);
INSERT INTO "ts_schema" VALUES(2,1798783199475);
INSERT INTO "ts_schema" VALUES(3,1798783199475);
INSERT INTO "ts_schema" VALUES(4,1798783199475);
INSERT INTO "ts_schema" VALUES(5,1798783199475);
INSERT INTO "ts_schema" VALUES(6,1798783199475);
INSERT INTO "ts_schema" VALUES(7,1798783199475);
INSERT INTO "ts_schema" VALUES(8,1798783199475);
INSERT INTO "ts_schema" VALUES(9,1798783199475);
INSERT INTO "ts_schema" VALUES(10,1798783199475);
CREATE TABLE ts_sequences (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO "ts_sequences" VALUES('change',63);
INSERT INTO "ts_sequences" VALUES('lease',0);
INSERT INTO "ts_sequences" VALUES('pruned',0);
INSERT INTO "ts_sequences" VALUES('published',6973769475707710258);
INSERT INTO "ts_sequences" VALUES('publication',3);
CREATE TABLE ts_sums (
    account  INTEGER NOT NULL,
    part     TEXT    NOT NULL CHECK (part IN ('booked', 'earlier', 'undefined')),
    currency TEXT    NOT NULL,
    total    TEXT    NOT NULL,
    rows     INTEGER NOT NULL,
    PRIMARY KEY (account, part, currency)
) STRICT, WITHOUT ROWID;
INSERT INTO "ts_sums" VALUES(1,'booked','EUR','805.225',9);
INSERT INTO "ts_sums" VALUES(2,'booked','SEK','-0.99',1);
INSERT INTO "ts_sums" VALUES(3,'booked','EUR','-5.1',5);
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
CREATE TABLE ts_transactions (
    key                     INTEGER PRIMARY KEY,
    account                 INTEGER NOT NULL,
    transaction_id          ANY     NOT NULL,
    generation              INTEGER NOT NULL,
    status                  TEXT    NOT NULL,
    amount                  TEXT    NOT NULL,
    currency                TEXT    NOT NULL,
    booked_date             TEXT,
    value_date              TEXT,
    transaction_date        TEXT,
    booked_at               TEXT,
    description             TEXT,
    description_original    TEXT,
    description_detailed    TEXT,
    merchant_name           TEXT,
    merchant_category_code  TEXT,
    category_id             TEXT,
    type                    TEXT,
    reference               TEXT,
    provider_transaction_id TEXT,
    mutability              TEXT,
    payer_name              TEXT,
    payee_name              TEXT,
    first_seen_run          INTEGER NOT NULL,
    first_walk              INTEGER NOT NULL,
    changed_run             INTEGER NOT NULL,
    change_seq              INTEGER NOT NULL,
    missed                  INTEGER NOT NULL DEFAULT 0,
    removed_at              INTEGER,
    removed_reason          TEXT,
    replaced_by             ANY,
    match_rule              TEXT,
    UNIQUE (account, transaction_id)
) STRICT;
INSERT INTO "ts_transactions" VALUES(1,3,'e-0',1,'booked','-1','EUR','2026-12-10',NULL,NULL,NULL,'ROW 0','ROW 0',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,2,42,0,1798869601039,'replaced','f-0','reconsent:date+amount+text');
INSERT INTO "ts_transactions" VALUES(2,3,'e-1',1,'booked','-1.01','EUR','2026-12-11',NULL,NULL,NULL,'ROW 1','ROW 1',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,2,43,0,1798869601039,'replaced','f-1','reconsent:date+amount+text');
INSERT INTO "ts_transactions" VALUES(3,3,'e-2',1,'booked','-1.02','EUR','2026-12-12',NULL,NULL,NULL,'ROW 2','ROW 2',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,2,44,0,1798869601039,'replaced','f-2','reconsent:date+amount+text');
INSERT INTO "ts_transactions" VALUES(4,3,'e-3',1,'booked','-1.03','EUR','2026-12-13',NULL,NULL,NULL,'ROW 3','ROW 3',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,2,45,0,1798869601039,'replaced','f-3','reconsent:date+amount+text');
INSERT INTO "ts_transactions" VALUES(5,3,'e-4',1,'booked','-1.04','EUR','2026-12-14',NULL,NULL,NULL,'ROW 4','ROW 4',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,2,46,0,1798869601039,'replaced','f-4','reconsent:date+amount+text');
INSERT INTO "ts_transactions" VALUES(6,1,X'0123456789ABCDEF0123456789ABCDE0',1,'booked','-130','EUR','2026-12-30',NULL,NULL,NULL,'GROCERY ümläut','GROCERY ümläut',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,1,15,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(7,1,'n-1',1,'booked','-0.01','EUR','2026-12-29',NULL,NULL,NULL,'CENT','CENT',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,1,16,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(8,1,'n-2',1,'booked','0.005','EUR','2026-12-28',NULL,NULL,NULL,'ODD','ODD',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,1,17,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(9,1,'twin-1',1,'booked','-2.5','EUR','2026-12-28',NULL,NULL,NULL,'TRAM','TRAM',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,1,18,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(10,1,'twin-2',1,'booked','-2.5','EUR','2026-12-28',NULL,NULL,NULL,'TRAM','TRAM',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,1,19,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(11,1,'late',1,'booked','-42','EUR','2026-12-20',NULL,NULL,NULL,'RENT','RENT, corrected',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,2,49,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(12,1,'goes',1,'booked','-9','EUR','2026-12-31',NULL,NULL,NULL,'FEE','FEE',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,3,60,0,1798956002063,'vanished',NULL,NULL);
INSERT INTO "ts_transactions" VALUES(13,1,'p-1',1,'pending','-7.77','EUR','2026-12-31',NULL,NULL,NULL,'SHOP','SHOP',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,2,50,0,1798869601087,'replaced','b-1','pending_booked:amount+date+similar_text');
INSERT INTO "ts_transactions" VALUES(14,1,'p-2',1,'pending','-1','EUR','2027-01-01',NULL,NULL,NULL,'BAR','BAR',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,1,23,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(15,1,'old',1,'booked','1000','EUR','2026-06-01',NULL,NULL,NULL,'SALARY','SALARY',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,1,24,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(16,2,X'0123456789ABCDEF0123456789ABCDEF',1,'booked','-0.99','SEK','2026-12-25',NULL,NULL,NULL,'GIFT','GIFT',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,0,1,26,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(17,3,'f-0',2,'booked','-1','EUR','2026-12-10',NULL,NULL,NULL,'ROW 0','ROW 0',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,0,2,37,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(18,3,'f-1',2,'booked','-1.01','EUR','2026-12-11',NULL,NULL,NULL,'ROW 1','ROW 1',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,0,2,38,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(19,3,'f-2',2,'booked','-1.02','EUR','2026-12-12',NULL,NULL,NULL,'ROW 2','ROW 2',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,0,2,39,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(20,3,'f-3',2,'booked','-1.03','EUR','2026-12-13',NULL,NULL,NULL,'ROW 3','ROW 3',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,0,2,40,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(21,3,'f-4',2,'booked','-1.04','EUR','2026-12-14',NULL,NULL,NULL,'ROW 4','ROW 4',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,0,2,41,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(22,1,'b-1',1,'booked','-7.77','EUR','2027-01-01',NULL,NULL,NULL,'SHOP 0101','SHOP 0101',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,0,2,48,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(23,1,'b-3',1,'booked','-10','EUR','2027-01-02',NULL,NULL,NULL,'LUNCH','LUNCH',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,3,0,3,59,0,NULL,NULL,NULL,NULL);
CREATE TABLE ts_view (
    source          TEXT    NOT NULL,
    read_at         INTEGER NOT NULL,
    enabled         INTEGER NOT NULL,
    entitled        INTEGER NOT NULL,
    fallen_at       INTEGER,
    enabled_before  INTEGER,
    entitled_before INTEGER
) STRICT;
INSERT INTO "ts_view" VALUES('/var/lib/app/app.db: tink_sync_source_v1',1798999202467,2,2,NULL,NULL,NULL);
CREATE INDEX ts_connections_user ON ts_connections (user_id);
CREATE INDEX ts_connections_lease ON ts_connections (lease_run) WHERE lease_run IS NOT NULL;
CREATE INDEX ts_transactions_change ON ts_transactions (change_seq);
CREATE INDEX ts_transactions_live ON ts_transactions (account, booked_date) WHERE removed_at IS NULL;
CREATE INDEX ts_raw_age ON ts_raw (stored_at);
CREATE INDEX ts_runs_started ON ts_runs (started_at);
CREATE INDEX ts_runs_open ON ts_runs (finished_at) WHERE finished_at IS NULL;
CREATE INDEX ts_run_connections_user ON ts_run_connections (user_id, started_at);
CREATE INDEX ts_run_connections_connection ON ts_run_connections (connection, started_at);
CREATE INDEX ts_audit_at ON ts_audit (at);
CREATE VIEW tink_sync_source_v1 AS
SELECT c.connection_id, c.user_id, c.enabled, u.entitled, u.entitled_until,
       c.external_user_id, c.tink_user_id, c.market, c.priority
FROM ts_own_connections c LEFT JOIN ts_own_users u ON u.user_id = c.user_id;
CREATE UNIQUE INDEX ts_events_rows ON ts_events (run, connection) WHERE kind = 'new-transactions';
CREATE INDEX ts_balances_open ON ts_balances (account) WHERE difference IS NOT NULL;
CREATE INDEX ts_consents_credentials ON ts_consents (credentials_id);
CREATE INDEX ts_account_ids_account ON ts_account_ids (account_id);
CREATE INDEX ts_runs_kind ON ts_runs (on_demand, started_at);
CREATE INDEX ts_runs_ended ON ts_runs (finished_at) WHERE exit_code IS NOT NULL;
CREATE INDEX ts_runs_good ON ts_runs (finished_at) WHERE exit_code IN (0, 11);
CREATE INDEX ts_accounts_change ON ts_accounts (change_seq);
CREATE INDEX ts_connections_change ON ts_connections (change_seq);
CREATE INDEX ts_transactions_successor ON ts_transactions (account, replaced_by) WHERE replaced_by IS NOT NULL;
CREATE INDEX ts_transactions_pending ON ts_transactions (account, booked_date)
    WHERE removed_at IS NULL AND status = 'pending';
CREATE INDEX ts_transactions_arrived ON ts_transactions (account, first_walk)
    WHERE removed_at IS NULL AND first_walk <> 0;
CREATE INDEX ts_transactions_removed ON ts_transactions (removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX ts_quarantine_like ON ts_quarantine (account, likeness, seen_run);
CREATE INDEX ts_run_connections_again ON ts_run_connections (run, connection) WHERE again = 1;
CREATE INDEX ts_connections_success ON ts_connections (last_success_at)
    WHERE last_success_at IS NOT NULL AND problem IS NULL;
CREATE INDEX ts_connections_refused ON ts_connections (refused_user) WHERE refused_user IS NOT NULL;
CREATE INDEX ts_tokens_asked ON ts_tokens (asked_run) WHERE state = 'asked';
CREATE INDEX ts_runs_dead ON ts_runs (finished_at) WHERE exit_code IS NULL;
CREATE VIEW connections_v1 AS
SELECT connection_id, user_id, external_user_id, tink_user_id, change_seq, mode, enabled, entitled,
       strftime('%Y-%m-%dT%H:%M:%fZ', entitled_until / 1000.0, 'unixepoch') AS entitled_until,
       state,
       CASE state
           WHEN 'disabled' THEN iif(gone_at IS NULL, 'disabled', 'gone')
           WHEN 'paused_not_entitled' THEN 'not_entitled'
           WHEN 'needs_user' THEN needs_user
           ELSE last_reason
       END AS reason,
       failures AS consecutive_failures,
       strftime('%Y-%m-%dT%H:%M:%fZ', last_attempt_at / 1000.0, 'unixepoch') AS last_attempt_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', last_success_at / 1000.0, 'unixepoch') AS last_success_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', data_as_of) AS data_as_of,
       strftime('%Y-%m-%dT%H:%M:%fZ', not_before / 1000.0, 'unixepoch') AS not_before,
       CASE WHEN state NOT IN ('disabled', 'paused_not_entitled') THEN
           strftime('%Y-%m-%dT%H:%M:%fZ', nullif(max(coalesce(next_due, 0), coalesce(not_before, 0)), 0) / 1000.0, 'unixepoch')
       END AS next_attempt_at
FROM (
    SELECT *,
           CASE
               WHEN enabled = 0 THEN 'disabled'
               WHEN entitled = 0 OR entitled_until <= CAST(strftime('%s', 'now') AS INTEGER) * 1000 THEN 'paused_not_entitled'
               WHEN needs_user IS NOT NULL THEN 'needs_user'
               WHEN last_outcome = 'rate_limited' THEN 'rate_limited'
               WHEN failures > 0 THEN 'failing'
               WHEN last_success_at IS NULL THEN 'new'
               ELSE 'ok'
           END AS state
    FROM ts_connections
);
CREATE VIEW consents_v1 AS
SELECT c.connection_id, s.credentials_id, s.provider, s.status, s.status_updated AS status_updated_at,
       s.expires_at, s.extendable, s.error_type, s.error_reason
FROM ts_consents s JOIN ts_connections c ON c.key = s.connection;
CREATE VIEW accounts_v1 AS
SELECT c.connection_id, coalesce(a.merged_id, a.account_id) AS account_id, a.key AS account_key, a.name, a.type, a.iban, a.masked_pan,
       a.financial_institution_id, a.credentials_ids,
       coalesce(a.booked_currency, a.available_currency) AS currency,
       a.booked_balance, a.available_balance, a.last_refreshed AS last_refreshed_at, a.complete_through,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.closed_at / 1000.0, 'unixepoch') AS closed_at,
       a.change_seq
FROM ts_accounts a JOIN ts_connections c ON c.key = a.connection;
CREATE VIEW transactions_v1 AS
SELECT c.connection_id, c.user_id, coalesce(a.merged_id, a.account_id) AS account_id, a.key AS account_key,
       CASE typeof(t.transaction_id) WHEN 'blob' THEN lower(hex(t.transaction_id)) ELSE t.transaction_id END AS transaction_id,
       t.status, t.amount, CAST(t.amount AS REAL) AS amount_number, t.currency, t.booked_date, t.value_date,
       t.transaction_date, t.booked_at,
       t.description, t.description_original, t.description_detailed, t.merchant_name,
       t.merchant_category_code, t.category_id, t.type, t.reference, t.provider_transaction_id,
       t.mutability, t.payer_name, t.payee_name,
       coalesce((SELECT run_id FROM ts_runs r WHERE r.key = t.first_seen_run),
                (SELECT run_id FROM ts_pruned_runs p WHERE p.key = t.first_seen_run)) AS first_seen_run,
       coalesce((SELECT run_id FROM ts_runs r WHERE r.key = t.changed_run),
                (SELECT run_id FROM ts_pruned_runs p WHERE p.key = t.changed_run)) AS changed_run,
       t.change_seq,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.removed_at / 1000.0, 'unixepoch') AS removed_at,
       t.removed_reason,
       CASE typeof(t.replaced_by) WHEN 'blob' THEN lower(hex(t.replaced_by)) ELSE t.replaced_by END AS replaced_by,
       t.match_rule
FROM ts_transactions t
JOIN ts_accounts a ON a.key = t.account
JOIN ts_connections c ON c.key = a.connection;
CREATE VIEW balance_proofs_v1 AS
SELECT connection_id, account_id, account_key,
       CASE WHEN difference IS NOT NULL THEN 'differs'
            WHEN opening IS NULL OR doubt IS NOT NULL OR quarantined > 0 THEN 'unprovable'
            ELSE 'proven' END AS state,
       coalesce(doubt, CASE WHEN opening IS NULL THEN 'not_walked' WHEN quarantined > 0 THEN 'quarantine' END) AS reason,
       currency, booked_balance, difference, since_at, changed_at, run_id, anchored_at, proven_refresh_at,
       judged_refresh_at, quarantined, closed_at
FROM (
    SELECT c.connection_id, coalesce(a.merged_id, a.account_id) AS account_id, a.key AS account_key, b.opening, b.doubt,
           coalesce(b.currency, a.booked_currency) AS currency, a.booked_balance, b.difference,
           strftime('%Y-%m-%dT%H:%M:%fZ', b.since_at / 1000.0, 'unixepoch') AS since_at,
           strftime('%Y-%m-%dT%H:%M:%fZ', b.changed_at / 1000.0, 'unixepoch') AS changed_at,
           coalesce((SELECT run_id FROM ts_runs r WHERE r.key = b.since_run),
                    (SELECT run_id FROM ts_pruned_runs p WHERE p.key = b.since_run)) AS run_id,
           strftime('%Y-%m-%dT%H:%M:%fZ', b.anchored_at / 1000.0, 'unixepoch') AS anchored_at,
           b.proven_refresh AS proven_refresh_at, b.judged_refresh AS judged_refresh_at,
           (SELECT count(*) FROM ts_quarantine q WHERE q.account = a.key) AS quarantined,
           strftime('%Y-%m-%dT%H:%M:%fZ', a.closed_at / 1000.0, 'unixepoch') AS closed_at
    FROM ts_accounts a
    JOIN ts_connections c ON c.key = a.connection
    LEFT JOIN ts_balances b ON b.account = a.key
);
CREATE VIEW feed_v1 AS
SELECT (SELECT value FROM ts_sequences WHERE name = 'pruned') AS whole_from,
       (SELECT value FROM ts_sequences WHERE name = 'change') AS last_change_seq;
CREATE VIEW runs_v1 AS
SELECT run_id, trigger, host, version,
       strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000.0, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', finished_at / 1000.0, 'unixepoch') AS finished_at,
       exit_code, coalesce(json_extract(totals, '$.duration_ms'), max(finished_at - started_at, 0)) AS duration_ms,
       json_extract(totals, '$.connections') AS connections, json_extract(totals, '$.due') AS due,
       json_extract(totals, '$.synced') AS synced, json_extract(totals, '$.unchanged') AS unchanged,
       json_extract(totals, '$.partial') AS partial, json_extract(totals, '$.failed') AS failed,
       json_extract(totals, '$.needs_user') AS needs_user, json_extract(totals, '$.rate_limited') AS rate_limited,
       json_extract(totals, '$.interrupted') AS interrupted,
       json_extract(totals, '$.skipped.disabled') AS skipped_disabled,
       json_extract(totals, '$.skipped.not_entitled') AS skipped_not_entitled,
       json_extract(totals, '$.skipped.recent') AS skipped_recent,
       json_extract(totals, '$.skipped.quota') AS skipped_quota,
       json_extract(totals, '$.skipped.not_before') AS skipped_not_before,
       json_extract(totals, '$.skipped.leased') AS skipped_leased,
       json_extract(totals, '$.skipped.deadline') AS skipped_deadline,
       json_extract(totals, '$.accounts') AS accounts, json_extract(totals, '$.fetched') AS fetched,
       json_extract(totals, '$.added') AS added, json_extract(totals, '$.updated') AS updated,
       json_extract(totals, '$.removed') AS removed, json_extract(totals, '$.quarantined') AS quarantined,
       json_extract(totals, '$.requests') AS requests, json_extract(totals, '$.retries') AS retries,
       json_extract(totals, '$.request_errors') AS request_errors,
       json_extract(totals, '$.token_failures') AS token_failures
FROM ts_runs;
CREATE VIEW run_connections_v1 AS
SELECT r.run_id, c.connection_id, x.outcome, x.reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', x.started_at / 1000.0, 'unixepoch') AS started_at,
       x.duration_ms, x.accounts, x.fetched, x.added, x.updated, x.removed, x.quarantined, x.requests, x.retries
FROM ts_run_connections x
JOIN ts_runs r ON r.key = x.run
JOIN ts_connections c ON c.key = x.connection;
CREATE VIEW quarantine_v1 AS
SELECT c.connection_id, coalesce(a.merged_id, a.account_id) AS account_id, q.transaction_id, q.reason, q.raw,
       strftime('%Y-%m-%dT%H:%M:%fZ', q.first_seen_at / 1000.0, 'unixepoch') AS first_seen_at,
       coalesce((SELECT run_id FROM ts_runs r WHERE r.key = q.run),
                (SELECT run_id FROM ts_pruned_runs p WHERE p.key = q.run)) AS run_id
FROM ts_quarantine q
JOIN ts_accounts a ON a.key = q.account
JOIN ts_connections c ON c.key = a.connection
WHERE q.raw <> '';
CREATE VIEW audit_v1 AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS at, actor, ip, action,
       connection_id, user_id, result, details,
       CASE WHEN action IN ('sync.requested', 'token.refreshed', 'token.refresh_failed') THEN details
            WHEN action = 'connection.imported' THEN substr(details, instr(details, ', run ') + 6) END AS run_id
FROM ts_audit;
CREATE TRIGGER ts_feed_connection_new AFTER INSERT ON ts_connections
BEGIN
    UPDATE ts_sequences SET value = value + 1 WHERE name = 'change';
    UPDATE ts_connections SET change_seq = (SELECT value FROM ts_sequences WHERE name = 'change')
    WHERE key = new.key;
END;
CREATE TRIGGER ts_feed_connection AFTER UPDATE ON ts_connections
WHEN (old.connection_id, old.user_id, old.external_user_id, old.tink_user_id, old.mode, old.enabled, old.entitled,
      old.entitled_until, old.lapsed, old.needs_user, old.last_outcome IS 'rate_limited', old.failures,
      old.last_success_at IS NULL, old.last_reason, old.data_as_of, old.not_before, old.gone_at IS NULL)
 IS NOT
     (new.connection_id, new.user_id, new.external_user_id, new.tink_user_id, new.mode, new.enabled, new.entitled,
      new.entitled_until, new.lapsed, new.needs_user, new.last_outcome IS 'rate_limited', new.failures,
      new.last_success_at IS NULL, new.last_reason, new.data_as_of, new.not_before, new.gone_at IS NULL)
BEGIN
    UPDATE ts_sequences SET value = value + 1 WHERE name = 'change';
    UPDATE ts_connections SET change_seq = (SELECT value FROM ts_sequences WHERE name = 'change')
    WHERE key = new.key;
END;
CREATE TRIGGER ts_feed_account AFTER UPDATE ON ts_accounts
WHEN old.change_seq <> 0
 AND (old.connection, old.account_id, old.name, old.type, old.iban, old.masked_pan, old.financial_institution_id,
      old.credentials_ids, coalesce(old.booked_currency, old.available_currency), old.booked_balance,
      old.available_balance, old.last_refreshed, old.complete_through, old.closed_at, old.merged_id)
 IS NOT
     (new.connection, new.account_id, new.name, new.type, new.iban, new.masked_pan, new.financial_institution_id,
      new.credentials_ids, coalesce(new.booked_currency, new.available_currency), new.booked_balance,
      new.available_balance, new.last_refreshed, new.complete_through, new.closed_at, new.merged_id)
  OR new.change_seq = 0
BEGIN
    UPDATE ts_sequences SET value = value + 1 WHERE name = 'change';
    UPDATE ts_accounts SET change_seq = (SELECT value FROM ts_sequences WHERE name = 'change')
    WHERE key = new.key;
END;
CREATE TRIGGER ts_feed_connection_renamed AFTER UPDATE OF connection_id ON ts_connections
WHEN old.connection_id <> new.connection_id
BEGIN
    UPDATE ts_accounts SET change_seq = 0 WHERE connection = new.key;
END;
CREATE VIEW ts_feed_held AS
SELECT a.key,
       (SELECT json_group_array(h.credentials_id)
        FROM (SELECT s.credentials_id FROM ts_consents s
              WHERE s.connection = a.connection
                AND EXISTS (SELECT 1 FROM json_each(s.account_ids) j WHERE j.value = a.account_id)
              ORDER BY s.credentials_id) h) AS credentials_ids
FROM ts_accounts a;
CREATE TRIGGER ts_feed_account_new AFTER INSERT ON ts_accounts
BEGIN
    UPDATE ts_sequences SET value = value + 1 WHERE name = 'change';
    UPDATE ts_accounts
    SET change_seq = (SELECT value FROM ts_sequences WHERE name = 'change'),
        credentials_ids = (SELECT h.credentials_ids FROM ts_feed_held h WHERE h.key = new.key)
    WHERE key = new.key;
END;
CREATE TRIGGER ts_feed_held_moved AFTER UPDATE OF connection, account_id ON ts_accounts
BEGIN
    UPDATE ts_accounts SET credentials_ids = (SELECT h.credentials_ids FROM ts_feed_held h WHERE h.key = new.key)
    WHERE key = new.key;
END;
CREATE TRIGGER ts_feed_consent_new AFTER INSERT ON ts_consents
BEGIN
    UPDATE ts_accounts
    SET credentials_ids = (SELECT h.credentials_ids FROM ts_feed_held h WHERE h.key = ts_accounts.key)
    WHERE connection = new.connection AND account_id IN (SELECT j.value FROM json_each(new.account_ids) j);
END;
CREATE TRIGGER ts_feed_consent AFTER UPDATE OF connection, credentials_id, account_ids ON ts_consents
WHEN (old.connection, old.credentials_id, old.account_ids) IS NOT (new.connection, new.credentials_id, new.account_ids)
BEGIN
    UPDATE ts_accounts
    SET credentials_ids = (SELECT h.credentials_ids FROM ts_feed_held h WHERE h.key = ts_accounts.key)
    WHERE (connection = old.connection AND account_id IN (SELECT j.value FROM json_each(old.account_ids) j))
       OR (connection = new.connection AND account_id IN (SELECT j.value FROM json_each(new.account_ids) j));
END;
CREATE TRIGGER ts_feed_consent_gone AFTER DELETE ON ts_consents
BEGIN
    UPDATE ts_accounts
    SET credentials_ids = (SELECT h.credentials_ids FROM ts_feed_held h WHERE h.key = ts_accounts.key)
    WHERE connection = old.connection AND account_id IN (SELECT j.value FROM json_each(old.account_ids) j);
END;
CREATE VIEW ts_feed_refreshed AS
SELECT c.key,
       (SELECT min(a.last_refreshed) FROM ts_accounts a
        WHERE a.connection = c.key AND a.closed_at IS NULL) AS data_as_of
FROM ts_connections c;
CREATE TRIGGER ts_feed_refreshed_new AFTER INSERT ON ts_accounts
BEGIN
    UPDATE ts_connections
    SET data_as_of = (SELECT r.data_as_of FROM ts_feed_refreshed r WHERE r.key = ts_connections.key)
    WHERE key = new.connection;
END;
CREATE TRIGGER ts_feed_refreshed_moved AFTER UPDATE OF connection, last_refreshed, closed_at ON ts_accounts
WHEN (old.connection, old.last_refreshed, old.closed_at) IS NOT (new.connection, new.last_refreshed, new.closed_at)
BEGIN
    UPDATE ts_connections
    SET data_as_of = (SELECT r.data_as_of FROM ts_feed_refreshed r WHERE r.key = ts_connections.key)
    WHERE key IN (old.connection, new.connection);
END;
CREATE TRIGGER ts_feed_refreshed_gone AFTER DELETE ON ts_accounts
BEGIN
    UPDATE ts_connections
    SET data_as_of = (SELECT r.data_as_of FROM ts_feed_refreshed r WHERE r.key = ts_connections.key)
    WHERE key = old.connection;
END;
DELETE FROM "sqlite_sequence";
COMMIT;
BEGIN TRANSACTION;
CREATE TABLE ts_account_ids (
    connection INTEGER NOT NULL,
    account_id TEXT    NOT NULL,
    account    INTEGER NOT NULL,
    PRIMARY KEY (connection, account_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "ts_account_ids" VALUES(1,'a1',2);
INSERT INTO "ts_account_ids" VALUES(1,'a2',3);
INSERT INTO "ts_account_ids" VALUES(2,'e1',1);
INSERT INTO "ts_account_ids" VALUES(2,'e2',1);
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
    closed_at                INTEGER,
    UNIQUE (connection, account_id)
) STRICT;
INSERT INTO "ts_accounts" VALUES(1,2,'e2','Account e2','CHECKING','XX00e',NULL,NULL,NULL,'50','EUR',NULL,NULL,'2027-01-03T05:00:00Z','2027-01-03',2,0,2,'2027-01-03T05:00:00Z',1798956002176,1798869601340,NULL,NULL,NULL);
INSERT INTO "ts_accounts" VALUES(2,1,'a1','Account a1','CHECKING','XX00a1',NULL,NULL,NULL,'982.23','EUR',NULL,NULL,'2027-01-03T05:00:00Z','2027-01-03',1,0,3,'2027-01-03T05:00:00Z',1798956002324,1798783200671,NULL,NULL,NULL);
INSERT INTO "ts_accounts" VALUES(3,1,'a2','Account a2','CHECKING',NULL,NULL,NULL,NULL,'1000','SEK',NULL,NULL,'2027-01-03T05:00:00Z','2027-01-03',1,0,3,'2027-01-03T05:00:00Z',1798956002379,1798783200720,NULL,NULL,NULL);
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
) STRICT;
INSERT INTO "ts_balances" VALUES(1,'2026-12-10','EUR','55.1','0','',0,1798783200478,'2027-01-03T05:00:00Z','2027-01-03T05:00:00Z',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ts_balances" VALUES(2,'2026-06-01','EUR','186.005','0','',1,1798783200721,'2027-01-03T05:00:00Z','2027-01-01T05:00:00Z','-9',1798869601540,2,1798869601540,NULL);
INSERT INTO "ts_balances" VALUES(3,'2026-12-25','SEK','1000.99','0','',0,1798783200721,'2027-01-03T05:00:00Z','2027-01-03T05:00:00Z',NULL,NULL,NULL,NULL,NULL);
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
, failing_run INTEGER) STRICT;
INSERT INTO "ts_connections" VALUES(1,'sam','u-sam','sam',NULL,'mint',1,1,NULL,NULL,0,NULL,1798999202436,4,1798999202792,1798999202439,1798999202439,NULL,0,'unchanged',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ts_connections" VALUES(2,'eve','u-eve','eve',NULL,'mint',1,1,NULL,NULL,0,NULL,1798999202436,4,1798999202746,1798999202438,1798999202438,NULL,0,'unchanged',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
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
    warned_days    INTEGER, asked_at INTEGER,
    PRIMARY KEY (connection, credentials_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "ts_consents" VALUES(1,'cred-a1','uk-demobank-open-banking-redirect','UPDATED','2025-06-15T15:06:40Z',NULL,NULL,NULL,NULL,'["a1","a2"]',NULL,NULL);
INSERT INTO "ts_consents" VALUES(2,'cred-e2','uk-demobank-open-banking-redirect','UPDATED','2025-06-15T15:06:40Z',NULL,NULL,NULL,NULL,'["e2"]',NULL,NULL);
CREATE TABLE ts_events (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL,
    run        INTEGER NOT NULL,
    connection INTEGER,
    at         INTEGER NOT NULL,
    details    TEXT    NOT NULL
) STRICT;
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
CREATE TABLE ts_quarantine (
    key            INTEGER PRIMARY KEY,
    account        INTEGER NOT NULL,
    fingerprint    TEXT    NOT NULL,
    transaction_id TEXT,
    reason         TEXT    NOT NULL,
    raw            TEXT    NOT NULL,
    first_seen_at  INTEGER NOT NULL,
    run            INTEGER NOT NULL,
    UNIQUE (account, fingerprint)
) STRICT;
INSERT INTO "ts_quarantine" VALUES(1,2,'id:bad','bad','amount: unscaledValue is not an integer','{"id": "bad", "accountId": "a1", "amount": {"currencyCode": "EUR", "value": {"unscaledValue": "x1", "scale": "2"}}, "status": "BOOKED", "types": {"type": "DEFAULT"}, "descriptions": {"original": "BROKEN", "display": "BROKEN"}, "dates": {"booked": "2026-12-27"}}',1798783200670,1);
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
INSERT INTO "ts_run_connections" VALUES(1,1,'u-sam',1,0,'synced',NULL,NULL,NULL,1798783199965,795,2,11,11,0,0,1,10,0);
INSERT INTO "ts_run_connections" VALUES(1,2,'u-eve',1,0,'synced',NULL,NULL,NULL,1798783199965,602,1,5,5,0,0,0,8,0);
INSERT INTO "ts_run_connections" VALUES(2,1,'u-sam',1,0,'synced',NULL,NULL,NULL,1798869600834,751,2,9,1,1,2,0,10,0);
INSERT INTO "ts_run_connections" VALUES(2,2,'u-eve',1,0,'synced',NULL,NULL,NULL,1798869600834,506,1,5,5,0,5,0,7,0);
INSERT INTO "ts_run_connections" VALUES(3,1,'u-sam',1,0,'synced',NULL,NULL,NULL,1798956001675,703,2,10,1,0,0,0,10,0);
INSERT INTO "ts_run_connections" VALUES(3,2,'u-eve',1,0,'unchanged',NULL,NULL,NULL,1798956001675,497,1,0,0,0,0,0,5,0);
INSERT INTO "ts_run_connections" VALUES(4,1,'u-sam',1,0,'unchanged',NULL,NULL,NULL,1798999202436,353,2,0,0,0,0,0,4,0);
INSERT INTO "ts_run_connections" VALUES(4,2,'u-eve',1,0,'unchanged',NULL,NULL,NULL,1798999202436,308,1,0,0,0,0,0,5,0);
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
) STRICT;
INSERT INTO "ts_runs" VALUES(1,'20270101T055959Z-844b93ac','manual','host','0.1.0',1798783199865,1798783200774,0,'{"accounts":3,"added":16,"connections":2,"due":2,"failed":0,"fetched":16,"interrupted":0,"needs_user":0,"partial":0,"quarantined":1,"rate_limited":0,"removed":0,"request_errors":0,"requests":18,"retries":0,"skipped":{"deadline":0,"disabled":0,"leased":0,"not_before":0,"not_entitled":0,"quota":0,"recent":0},"synced":2,"token_failures":0,"unchanged":0,"updated":0}');
INSERT INTO "ts_runs" VALUES(2,'20270102T060000Z-65d54e76','manual','host','0.1.0',1798869600787,1798869601601,0,'{"accounts":3,"added":6,"connections":2,"due":2,"failed":0,"fetched":14,"interrupted":0,"needs_user":0,"partial":0,"quarantined":0,"rate_limited":0,"removed":7,"request_errors":0,"requests":17,"retries":0,"skipped":{"deadline":0,"disabled":0,"leased":0,"not_before":0,"not_entitled":0,"quota":0,"recent":0},"synced":2,"token_failures":0,"unchanged":0,"updated":1}');
INSERT INTO "ts_runs" VALUES(3,'20270103T060001Z-097db07f','manual','host','0.1.0',1798956001621,1798956002389,0,'{"accounts":3,"added":1,"connections":2,"due":2,"failed":0,"fetched":10,"interrupted":0,"needs_user":0,"partial":0,"quarantined":0,"rate_limited":0,"removed":0,"request_errors":0,"requests":15,"retries":0,"skipped":{"deadline":0,"disabled":0,"leased":0,"not_before":0,"not_entitled":0,"quota":0,"recent":0},"synced":1,"token_failures":0,"unchanged":1,"updated":0}');
INSERT INTO "ts_runs" VALUES(4,'20270103T180002Z-9c111d38','manual','host','0.1.0',1798999202409,1798999202794,0,'{"accounts":3,"added":0,"connections":2,"due":2,"failed":0,"fetched":0,"interrupted":0,"needs_user":0,"partial":0,"quarantined":0,"rate_limited":0,"removed":0,"request_errors":0,"requests":9,"retries":0,"skipped":{"deadline":0,"disabled":0,"leased":0,"not_before":0,"not_entitled":0,"quota":0,"recent":0},"synced":0,"token_failures":0,"unchanged":2,"updated":0}');
CREATE TABLE ts_schema (
                version INTEGER NOT NULL PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT;
INSERT INTO "ts_schema" VALUES(1,1798783199865);
INSERT INTO "ts_schema" VALUES(2,1798783199865);
INSERT INTO "ts_schema" VALUES(3,1798783199865);
INSERT INTO "ts_schema" VALUES(4,1798783199865);
INSERT INTO "ts_schema" VALUES(5,1798783199865);
CREATE TABLE ts_sequences (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO "ts_sequences" VALUES('change',31);
INSERT INTO "ts_sequences" VALUES('lease',8);
CREATE TABLE ts_sums (
    account  INTEGER NOT NULL,
    part     TEXT    NOT NULL CHECK (part IN ('booked', 'earlier', 'undefined')),
    currency TEXT    NOT NULL,
    total    TEXT    NOT NULL,
    rows     INTEGER NOT NULL,
    PRIMARY KEY (account, part, currency)
) STRICT, WITHOUT ROWID;
INSERT INTO "ts_sums" VALUES(1,'booked','EUR','-5.1',5);
INSERT INTO "ts_sums" VALUES(2,'booked','EUR','805.225',9);
INSERT INTO "ts_sums" VALUES(3,'booked','SEK','-0.99',1);
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
INSERT INTO "ts_transactions" VALUES(1,1,'e-0',1,'booked','-1','EUR','2026-12-10',NULL,NULL,NULL,'ROW 0','ROW 0',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,2,22,0,1798869601340,'replaced','f-0','reconsent:date+amount+text');
INSERT INTO "ts_transactions" VALUES(2,1,'e-1',1,'booked','-1.01','EUR','2026-12-11',NULL,NULL,NULL,'ROW 1','ROW 1',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,2,23,0,1798869601340,'replaced','f-1','reconsent:date+amount+text');
INSERT INTO "ts_transactions" VALUES(3,1,'e-2',1,'booked','-1.02','EUR','2026-12-12',NULL,NULL,NULL,'ROW 2','ROW 2',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,2,24,0,1798869601340,'replaced','f-2','reconsent:date+amount+text');
INSERT INTO "ts_transactions" VALUES(4,1,'e-3',1,'booked','-1.03','EUR','2026-12-13',NULL,NULL,NULL,'ROW 3','ROW 3',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,2,25,0,1798869601340,'replaced','f-3','reconsent:date+amount+text');
INSERT INTO "ts_transactions" VALUES(5,1,'e-4',1,'booked','-1.04','EUR','2026-12-14',NULL,NULL,NULL,'ROW 4','ROW 4',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,2,26,0,1798869601340,'replaced','f-4','reconsent:date+amount+text');
INSERT INTO "ts_transactions" VALUES(6,2,X'0123456789ABCDEF0123456789ABCDE0',1,'booked','-130','EUR','2026-12-30',NULL,NULL,NULL,'GROCERY ümläut','GROCERY ümläut',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,1,6,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(7,2,'n-1',1,'booked','-0.01','EUR','2026-12-29',NULL,NULL,NULL,'CENT','CENT',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,1,7,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(8,2,'n-2',1,'booked','0.005','EUR','2026-12-28',NULL,NULL,NULL,'ODD','ODD',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,1,8,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(9,2,'twin-1',1,'booked','-2.5','EUR','2026-12-28',NULL,NULL,NULL,'TRAM','TRAM',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,1,9,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(10,2,'twin-2',1,'booked','-2.5','EUR','2026-12-28',NULL,NULL,NULL,'TRAM','TRAM',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,1,10,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(11,2,'late',1,'booked','-42','EUR','2026-12-20',NULL,NULL,NULL,'RENT','RENT, corrected',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,2,28,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(12,2,'goes',1,'booked','-9','EUR','2026-12-31',NULL,NULL,NULL,'FEE','FEE',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,2,29,0,1798869601439,'vanished',NULL,NULL);
INSERT INTO "ts_transactions" VALUES(13,2,'p-1',1,'pending','-7.77','EUR','2026-12-31',NULL,NULL,NULL,'SHOP','SHOP',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,2,30,0,1798869601439,'replaced','b-1','pending_booked:amount+date+similar_text');
INSERT INTO "ts_transactions" VALUES(14,2,'p-2',1,'pending','-1','EUR','2027-01-01',NULL,NULL,NULL,'BAR','BAR',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,1,14,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(15,2,'old',1,'booked','1000','EUR','2026-06-01',NULL,NULL,NULL,'SALARY','SALARY',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,1,15,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(16,3,X'0123456789ABCDEF0123456789ABCDEF',1,'booked','-0.99','SEK','2026-12-25',NULL,NULL,NULL,'GIFT','GIFT',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,1,1,1,16,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(17,1,'f-0',2,'booked','-1','EUR','2026-12-10',NULL,NULL,NULL,'ROW 0','ROW 0',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,2,2,17,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(18,1,'f-1',2,'booked','-1.01','EUR','2026-12-11',NULL,NULL,NULL,'ROW 1','ROW 1',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,2,2,18,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(19,1,'f-2',2,'booked','-1.02','EUR','2026-12-12',NULL,NULL,NULL,'ROW 2','ROW 2',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,2,2,19,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(20,1,'f-3',2,'booked','-1.03','EUR','2026-12-13',NULL,NULL,NULL,'ROW 3','ROW 3',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,2,2,20,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(21,1,'f-4',2,'booked','-1.04','EUR','2026-12-14',NULL,NULL,NULL,'ROW 4','ROW 4',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,2,2,21,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(22,2,'b-1',1,'booked','-7.77','EUR','2027-01-01',NULL,NULL,NULL,'SHOP 0101','SHOP 0101',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,2,2,2,27,0,NULL,NULL,NULL,NULL);
INSERT INTO "ts_transactions" VALUES(23,2,'b-3',1,'booked','-10','EUR','2027-01-02',NULL,NULL,NULL,'LUNCH','LUNCH',NULL,NULL,NULL,NULL,'DEFAULT',NULL,NULL,NULL,NULL,NULL,3,3,3,31,0,NULL,NULL,NULL,NULL);
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
CREATE VIEW connections_v1 AS
SELECT connection_id, user_id, external_user_id, tink_user_id, mode, enabled, entitled,
       strftime('%Y-%m-%dT%H:%M:%fZ', entitled_until / 1000.0, 'unixepoch') AS entitled_until,
       state,
       CASE state
           WHEN 'disabled' THEN 'disabled'
           WHEN 'paused_not_entitled' THEN 'not_entitled'
           WHEN 'needs_user' THEN needs_user
           ELSE last_reason
       END AS reason,
       failures AS consecutive_failures,
       strftime('%Y-%m-%dT%H:%M:%fZ', last_attempt_at / 1000.0, 'unixepoch') AS last_attempt_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', last_success_at / 1000.0, 'unixepoch') AS last_success_at,
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
SELECT c.connection_id, a.account_id, a.key AS account_key, a.name, a.type, a.iban, a.masked_pan,
       a.financial_institution_id,
       (SELECT json_group_array(s.credentials_id) FROM ts_consents s
        WHERE s.connection = a.connection
          AND EXISTS (SELECT 1 FROM json_each(s.account_ids) j WHERE j.value = a.account_id)) AS credentials_ids,
       coalesce(a.booked_currency, a.available_currency) AS currency,
       a.booked_balance, a.available_balance, a.last_refreshed AS last_refreshed_at, a.complete_through,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.closed_at / 1000.0, 'unixepoch') AS closed_at
FROM ts_accounts a JOIN ts_connections c ON c.key = a.connection;
CREATE VIEW transactions_v1 AS
SELECT c.connection_id, c.user_id, a.account_id, a.key AS account_key,
       CASE typeof(t.transaction_id) WHEN 'blob' THEN lower(hex(t.transaction_id)) ELSE t.transaction_id END AS transaction_id,
       t.status, t.amount, t.currency, t.booked_date, t.value_date, t.transaction_date, t.booked_at,
       t.description, t.description_original, t.description_detailed, t.merchant_name,
       t.merchant_category_code, t.category_id, t.type, t.reference, t.provider_transaction_id,
       t.mutability, t.payer_name, t.payee_name,
       (SELECT run_id FROM ts_runs r WHERE r.key = t.first_seen_run) AS first_seen_run,
       (SELECT run_id FROM ts_runs r WHERE r.key = t.changed_run) AS changed_run,
       t.change_seq,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.removed_at / 1000.0, 'unixepoch') AS removed_at,
       t.removed_reason,
       CASE typeof(t.replaced_by) WHEN 'blob' THEN lower(hex(t.replaced_by)) ELSE t.replaced_by END AS replaced_by,
       t.match_rule
FROM ts_transactions t
JOIN ts_accounts a ON a.key = t.account
JOIN ts_connections c ON c.key = a.connection;
CREATE VIEW runs_v1 AS
SELECT run_id, trigger, host, version,
       strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000.0, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', finished_at / 1000.0, 'unixepoch') AS finished_at,
       exit_code, finished_at - started_at AS duration_ms,
       totals ->> 'connections' AS connections, totals ->> 'due' AS due,
       totals ->> 'synced' AS synced, totals ->> 'unchanged' AS unchanged,
       totals ->> 'partial' AS partial, totals ->> 'failed' AS failed,
       totals ->> 'needs_user' AS needs_user, totals ->> 'rate_limited' AS rate_limited,
       totals ->> 'interrupted' AS interrupted,
       totals ->> '$.skipped.disabled' AS skipped_disabled,
       totals ->> '$.skipped.not_entitled' AS skipped_not_entitled,
       totals ->> '$.skipped.recent' AS skipped_recent,
       totals ->> '$.skipped.quota' AS skipped_quota,
       totals ->> '$.skipped.not_before' AS skipped_not_before,
       totals ->> '$.skipped.leased' AS skipped_leased,
       totals ->> '$.skipped.deadline' AS skipped_deadline,
       totals ->> 'accounts' AS accounts, totals ->> 'fetched' AS fetched,
       totals ->> 'added' AS added, totals ->> 'updated' AS updated, totals ->> 'removed' AS removed,
       totals ->> 'quarantined' AS quarantined, totals ->> 'requests' AS requests,
       totals ->> 'retries' AS retries,
       totals ->> 'request_errors' AS request_errors, totals ->> 'token_failures' AS token_failures
FROM ts_runs;
CREATE VIEW run_connections_v1 AS
SELECT r.run_id, c.connection_id, x.outcome, x.reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', x.started_at / 1000.0, 'unixepoch') AS started_at,
       x.duration_ms, x.accounts, x.fetched, x.added, x.updated, x.removed, x.quarantined, x.requests, x.retries
FROM ts_run_connections x
JOIN ts_runs r ON r.key = x.run
JOIN ts_connections c ON c.key = x.connection;
CREATE VIEW quarantine_v1 AS
SELECT c.connection_id, a.account_id, q.transaction_id, q.reason, q.raw,
       strftime('%Y-%m-%dT%H:%M:%fZ', q.first_seen_at / 1000.0, 'unixepoch') AS first_seen_at,
       r.run_id
FROM ts_quarantine q
JOIN ts_accounts a ON a.key = q.account
JOIN ts_connections c ON c.key = a.connection
LEFT JOIN ts_runs r ON r.key = q.run;
CREATE VIEW audit_v1 AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS at, actor, ip, action,
       connection_id, user_id, result, details
FROM ts_audit;
CREATE UNIQUE INDEX ts_events_rows ON ts_events (run, connection) WHERE kind = 'new-transactions';
CREATE INDEX ts_balances_open ON ts_balances (account) WHERE difference IS NOT NULL;
CREATE VIEW balance_proofs_v1 AS
SELECT c.connection_id, a.account_id, a.key AS account_key,
       CASE WHEN b.difference IS NOT NULL THEN 'differs'
            WHEN b.opening IS NULL OR b.doubt IS NOT NULL THEN 'unprovable'
            ELSE 'proven' END AS state,
       coalesce(b.doubt, iif(b.opening IS NULL, 'not_walked', NULL)) AS reason,
       coalesce(b.currency, a.booked_currency) AS currency, a.booked_balance, b.difference,
       strftime('%Y-%m-%dT%H:%M:%fZ', b.since_at / 1000.0, 'unixepoch') AS since_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', b.changed_at / 1000.0, 'unixepoch') AS changed_at,
       (SELECT run_id FROM ts_runs r WHERE r.key = b.since_run) AS run_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', b.anchored_at / 1000.0, 'unixepoch') AS anchored_at,
       b.proven_refresh AS proven_refresh_at, b.judged_refresh AS judged_refresh_at,
       (SELECT count(*) FROM ts_quarantine q WHERE q.account = a.key) AS quarantined,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.closed_at / 1000.0, 'unixepoch') AS closed_at
FROM ts_accounts a
JOIN ts_connections c ON c.key = a.connection
LEFT JOIN ts_balances b ON b.account = a.key;
DELETE FROM "sqlite_sequence";
COMMIT;
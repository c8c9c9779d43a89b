-- A reader of a tink-sync store on PostgreSQL: the application's own copy of all accounts and transactions, kept up to date by
-- a cursor. An example to change: run it once in the application's database (here the one of the store, as a role that may
-- read the views), then call the procedure as often as you like:
--
--     psql -d DATABASE -f reader-postgresql.sql
--     psql -d DATABASE -c 'CALL bank_copy.pull()'
--
-- From a timer, or whenever `LISTEN tink_sync` wakes the application up. The wake-up is a courtesy: whoever missed one loses
-- nothing, since the cursor says what was seen.

CREATE SCHEMA IF NOT EXISTS bank_copy;

CREATE TABLE IF NOT EXISTS bank_copy.cursor (seen bigint NOT NULL);
INSERT INTO bank_copy.cursor SELECT 0 WHERE NOT EXISTS (SELECT FROM bank_copy.cursor);

-- The columns that this application needs. account_key never changes; ids of accounts, connections and users may.
CREATE TABLE IF NOT EXISTS bank_copy.accounts (
    account_key   bigint PRIMARY KEY,
    connection_id text NOT NULL,
    name          text NOT NULL,
    currency      text,
    balance       numeric,
    closed_at     timestamptz
);

CREATE TABLE IF NOT EXISTS bank_copy.transactions (
    account_key    bigint NOT NULL,
    transaction_id text NOT NULL,
    status         text NOT NULL,
    amount         numeric NOT NULL,
    currency       text NOT NULL,
    booked_date    date,
    description    text,
    removed_at     timestamptz,
    PRIMARY KEY (account_key, transaction_id)
);

-- Takes over whatever has a greater number than what was seen. In portions, each with the cursor behind it in one
-- transaction: whenever this is stopped, the next call goes on.
CREATE OR REPLACE PROCEDURE bank_copy.pull(portion bigint DEFAULT 10000)
LANGUAGE plpgsql
AS $$
DECLARE
    before bigint;
    upto bigint;
BEGIN
    LOOP
        -- All that is read below is read as of one moment, in a transaction that begins here.
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
        SELECT seen INTO STRICT before FROM bank_copy.cursor FOR UPDATE;

        -- After a long absence some tombstones are pruned: begin anew.
        IF before > 0 AND before < (SELECT whole_from FROM tink_sync.feed_v1) THEN
            DELETE FROM bank_copy.transactions;
            DELETE FROM bank_copy.accounts;
            before := 0;
        END IF;

        -- The last number of the portion, over both views.
        SELECT max(change_seq) INTO upto FROM (
            SELECT change_seq FROM (
                (SELECT change_seq FROM tink_sync.accounts_v1 WHERE change_seq > before ORDER BY change_seq LIMIT portion)
                UNION ALL
                (SELECT change_seq FROM tink_sync.transactions_v1 WHERE change_seq > before ORDER BY change_seq LIMIT portion)
            ) news ORDER BY change_seq LIMIT portion
        ) part;

        IF upto IS NOT NULL THEN
            INSERT INTO bank_copy.accounts AS mine (account_key, connection_id, name, currency, balance, closed_at)
            SELECT account_key, connection_id, name, currency, booked_balance, closed_at
            FROM tink_sync.accounts_v1 WHERE change_seq > before AND change_seq <= upto
            ON CONFLICT (account_key) DO UPDATE SET connection_id = excluded.connection_id, name = excluded.name,
                currency = excluded.currency, balance = excluded.balance, closed_at = excluded.closed_at;

            INSERT INTO bank_copy.transactions AS mine
                (account_key, transaction_id, status, amount, currency, booked_date, description, removed_at)
            SELECT account_key, transaction_id, status, amount, currency, booked_date, description, removed_at
            FROM tink_sync.transactions_v1 WHERE change_seq > before AND change_seq <= upto
            ON CONFLICT (account_key, transaction_id) DO UPDATE SET status = excluded.status, amount = excluded.amount,
                currency = excluded.currency, booked_date = excluded.booked_date, description = excluded.description,
                removed_at = excluded.removed_at;
        END IF;

        UPDATE bank_copy.cursor SET seen = coalesce(upto, before);
        COMMIT;
        EXIT WHEN upto IS NULL;
    END LOOP;
END $$;

-- Change numbers for the rows of accounts_v1 and connections_v1. A row is numbered in the transaction that changes
-- what a reader sees, whichever statement does it, future ones included. Recreated together with the views. A column
-- added to one of the two views must be added here. Same effect as engine/sqlite/feed.sql, for many hosts at once:
--
-- * Accounts and connections get their numbers as the transaction commits (deferred triggers), transactions as they
--   are written. A row that changed several times gets one number.
-- * No number may become visible before a smaller one, and no transaction may be held up while others write rows. So
--   a transaction draws a ticket for its numbers, and commits only when all that drew before it have ended: ts_take
--   and ts_turn. A ticket stands for 8,192 numbers; unused ones are lost.
--
-- Changes of last_attempt_at, last_success_at and next_attempt_at do not count: every pass moves them.
--
-- The functions have no search path of their own and do not name the schema of the tables, so that in a rehearsal
-- they work on its temporary tables. Sessions that write have `pg_temp, tink_sync` as search path.

-- Whether rows are copied unchanged from another store, numbers included: SET LOCAL tink_sync.copying = 'on'.
CREATE OR REPLACE FUNCTION tink_sync.ts_is_copying() RETURNS boolean
LANGUAGE sql STABLE
AS $$ SELECT coalesce(pg_catalog.current_setting('tink_sync.copying', true) = 'on', false) $$;

-- What this transaction has taken, in a setting that ends with it: [1] the first number, [2] the last used
-- and [3] the last taken; [4] the first and [5] the last ticket (0 in a rehearsal); [6] 1 once it is its
-- turn, or 2 if it has drawn more since; [7] 1 if no other transaction can draw any.
CREATE OR REPLACE FUNCTION tink_sync.ts_numbers() RETURNS bigint[]
LANGUAGE sql STABLE
AS $$ SELECT pg_catalog.string_to_array(nullif(pg_catalog.current_setting('tink_sync.taken', true), ''), ' ')::bigint[] $$;

-- The last number that this transaction has used.
CREATE OR REPLACE FUNCTION tink_sync.ts_taken() RETURNS bigint
LANGUAGE sql STABLE
AS $$ SELECT (tink_sync.ts_numbers())[2] $$;

-- Takes `count` consecutive numbers; returns the last. Before the transaction ends, ts_turn must be called.
CREATE OR REPLACE FUNCTION tink_sync.ts_take(count bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    taken bigint[] := tink_sync.ts_numbers();
    last bigint;
BEGIN
    IF pg_catalog.to_regclass('pg_temp.ts_sequences') IS NOT NULL THEN
        -- A rehearsal, whose numbers are never visible.
        UPDATE pg_temp.ts_sequences SET value = value + count WHERE name = 'change' RETURNING value INTO STRICT last;
        taken := ARRAY[coalesce(taken[1], last - count + 1), last, last, 0, 0, 1, 0];
        PERFORM pg_catalog.set_config('tink_sync.taken', pg_catalog.array_to_string(taken, ' '), true);
        RETURN last;
    END IF;
    IF taken IS NULL OR taken[3] - taken[2] < count THEN
        taken := tink_sync.ts_draw(taken, count);
    END IF;
    taken[2] := taken[2] + count;
    PERFORM pg_catalog.set_config('tink_sync.taken', pg_catalog.array_to_string(taken, ' '), true);
    RETURN taken[2];
END $$;

-- Draws tickets for `count` numbers, with some thousands to spare for rows numbered at the commit. Drawing is
-- exclusive, so that a ticket is locked before there is a later one; that lock is held until the transaction ends.
-- Drawing again requires that no other transaction has drawn in between. One that may take any number of numbers
-- announces that before its first (SET LOCAL tink_sync.alone = 'on'): it waits for all that have tickets, and no
-- other draws until it ends. One that had not fails with TS003 and is repeated that way: waiting now would deadlock.
CREATE OR REPLACE FUNCTION tink_sync.ts_draw(taken bigint[], count bigint) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    numbers constant bigint := 8192;
    spare constant bigint := 4096;
    is_alone boolean := coalesce(taken[7] = 1, pg_catalog.current_setting('tink_sync.alone', true) = 'on', false);
    behind bigint;
    first bigint;
    last bigint;
    start bigint;
BEGIN
    IF taken IS NULL THEN
        PERFORM tink_sync.ts_note_timeline();
        IF is_alone THEN
            PERFORM pg_catalog.pg_advisory_xact_lock(1953066347, 0);
        ELSE
            PERFORM pg_catalog.pg_advisory_xact_lock_shared(1953066347, 0);
        END IF;
    END IF;
    BEGIN
        PERFORM pg_catalog.pg_advisory_lock(1953066348, 0);
        -- Tickets continue after all committed ones, even if the sequence was not restored or replicated.
        behind := (SELECT greatest(max(s.value) FILTER (WHERE s.name = 'turn'),
                                   (max(s.value) FILTER (WHERE s.name = 'change') - max(s.value) FILTER (WHERE s.name = 'offset')) / numbers)
                   FROM tink_sync.ts_sequences s WHERE s.name IN ('turn', 'change', 'offset'));
        IF coalesce(pg_catalog.pg_sequence_last_value('tink_sync.ts_tickets'::regclass), 0) < behind THEN
            PERFORM pg_catalog.setval('tink_sync.ts_tickets'::regclass, behind);
        END IF;
        IF taken IS NULL OR is_alone OR pg_catalog.pg_sequence_last_value('tink_sync.ts_tickets'::regclass) = taken[5] THEN
            FOR n IN 1 .. (count + spare) / numbers + 1 LOOP
                last := pg_catalog.nextval('tink_sync.ts_tickets'::regclass);
                first := coalesce(first, last);
            END LOOP;
            PERFORM pg_catalog.pg_advisory_xact_lock(1953066349, (last % 2147483647)::int);
        END IF;
        PERFORM pg_catalog.pg_advisory_unlock(1953066348, 0);
    EXCEPTION WHEN query_canceled OR OTHERS THEN
        PERFORM pg_catalog.pg_advisory_unlock(1953066348, 0);
        RAISE;
    END;
    IF last IS NULL THEN
        RAISE EXCEPTION 'the transaction takes more change numbers than it was given' USING ERRCODE = 'TS003';
    END IF;
    start := first * numbers + (SELECT s.value FROM tink_sync.ts_sequences s WHERE s.name = 'offset');
    RETURN ARRAY[coalesce(taken[1], start), CASE WHEN start = taken[3] + 1 THEN taken[2] ELSE start - 1 END,
                 start + (last - first + 1) * numbers - 1, coalesce(taken[4], first), last,
                 CASE WHEN taken[6] > 0 THEN 2 ELSE 0 END, is_alone::int];
END $$;

-- Waits until all transactions with earlier tickets have ended. `turn` is the last ticket of a committed transaction:
-- all before it have ended. Those after it are waited for one by one, backwards, until one has committed.
CREATE OR REPLACE FUNCTION tink_sync.ts_turn() RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    taken bigint[] := tink_sync.ts_numbers();
    before bigint := taken[4] - 1;
    turn bigint;
BEGIN
    IF taken IS NULL OR taken[6] = 1 THEN
        RETURN;
    END IF;
    WHILE taken[6] = 0 LOOP
        turn := (SELECT s.value FROM tink_sync.ts_sequences s WHERE s.name = 'turn');
        -- A `turn` that is not below our tickets is of another count, for example from before a restore.
        EXIT WHEN before <= CASE WHEN turn < taken[4] THEN turn ELSE 0 END;
        PERFORM pg_catalog.pg_advisory_lock_shared(1953066349, (before % 2147483647)::int);
        PERFORM pg_catalog.pg_advisory_unlock_shared(1953066349, (before % 2147483647)::int);
        before := before - 1;
    END LOOP;
    UPDATE tink_sync.ts_sequences SET value = CASE name WHEN 'turn' THEN taken[5] ELSE greatest(value, taken[3]) END
    WHERE name IN ('change', 'turn');
    taken[6] := 1;
    PERFORM pg_catalog.set_config('tink_sync.taken', pg_catalog.array_to_string(taken, ' '), true);
END $$;

-- Takes `count` numbers, and waits for this transaction's turn; returns the last.
CREATE OR REPLACE FUNCTION tink_sync.ts_take_in_turn(count bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    last bigint := tink_sync.ts_take(count);
BEGIN
    PERFORM tink_sync.ts_turn();
    RETURN last;
END $$;

CREATE OR REPLACE FUNCTION tink_sync.ts_next_change() RETURNS bigint
LANGUAGE sql VOLATILE
AS $$ SELECT tink_sync.ts_take_in_turn(1) $$;

-- The timeline of this server: it changes when a standby is promoted, or a backup is restored to a point in
-- time. NULL if the server does not report it.
CREATE OR REPLACE FUNCTION tink_sync.ts_timeline() RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RETURN ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::bigint;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;

-- Makes numbers and keys continue far above all others once the timeline has changed: readers may have seen some
-- that this server never got. Here and not at the start of a session: whatever takes a number or a key passes here,
-- even behind a pooler and after a failover in mid-run. A second transaction waits for the end of the first.
CREATE OR REPLACE FUNCTION tink_sync.ts_note_timeline() RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    timeline bigint := tink_sync.ts_timeline();
BEGIN
    IF timeline IS NULL OR timeline = (SELECT s.value FROM tink_sync.ts_sequences s WHERE s.name = 'timeline') THEN
        RETURN;
    END IF;
    UPDATE tink_sync.ts_sequences SET value = timeline WHERE name = 'timeline' AND value <> timeline;
    IF FOUND THEN
        UPDATE tink_sync.ts_sequences SET value = value + 4294967296 WHERE name = 'offset';
        -- More keys than a standby can ever miss. Tickets are no keys: they follow what has committed.
        PERFORM pg_catalog.setval(c.oid, coalesce(pg_catalog.pg_sequence_last_value(c.oid), 0) + 1000000)
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'tink_sync'::regnamespace AND c.relkind = 'S' AND c.relname <> 'ts_tickets';
    ELSE
        INSERT INTO tink_sync.ts_sequences (name, value) VALUES ('timeline', timeline) ON CONFLICT DO NOTHING;
    END IF;
END $$;

-- A key for a new row of a table. A rehearsal's keys are never visible.
CREATE OR REPLACE FUNCTION tink_sync.ts_next_key(of text) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF pg_catalog.to_regclass('pg_temp.ts_sequences') IS NULL THEN
        PERFORM tink_sync.ts_note_timeline();
    END IF;
    RETURN pg_catalog.nextval(pg_catalog.pg_get_serial_sequence(of, 'key'));
END $$;

-- Whether a row needs no number: this transaction has already given it one, or it is copied with its own.
CREATE OR REPLACE FUNCTION tink_sync.ts_is_numbered(number bigint) RETURNS boolean
LANGUAGE sql STABLE
AS $$ SELECT tink_sync.ts_is_copying() OR coalesce(
          number >= pg_catalog.split_part(nullif(pg_catalog.current_setting('tink_sync.taken', true), ''), ' ', 1)::bigint, false) $$;

-- Columns are compared here and not in a WHEN, which would be parsed again for each statement; the column
-- list of the trigger already lets most statements pass.
CREATE OR REPLACE FUNCTION tink_sync.ts_feed_connection() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    account bigint;
BEGIN
    IF TG_OP = 'UPDATE' AND
       (OLD.connection_id, OLD.user_id, OLD.external_user_id, OLD.tink_user_id, OLD.mode, OLD.enabled, OLD.entitled,
        OLD.entitled_until, OLD.lapsed, OLD.needs_user, OLD.last_outcome IS NOT DISTINCT FROM 'rate_limited', OLD.failures,
        OLD.last_success_at IS NULL, OLD.last_reason, OLD.data_as_of, OLD.not_before, OLD.gone_at IS NULL)
       IS NOT DISTINCT FROM
       (NEW.connection_id, NEW.user_id, NEW.external_user_id, NEW.tink_user_id, NEW.mode, NEW.enabled, NEW.entitled,
        NEW.entitled_until, NEW.lapsed, NEW.needs_user, NEW.last_outcome IS NOT DISTINCT FROM 'rate_limited', NEW.failures,
        NEW.last_success_at IS NULL, NEW.last_reason, NEW.data_as_of, NEW.not_before, NEW.gone_at IS NULL)
    THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM ts_connections c WHERE c.key = NEW.key AND NOT tink_sync.ts_is_numbered(c.change_seq);
    IF FOUND THEN
        UPDATE ts_connections SET change_seq = tink_sync.ts_next_change() WHERE key = NEW.key;
    END IF;
    -- accounts_v1.connection_id.
    IF TG_OP = 'UPDATE' AND OLD.connection_id <> NEW.connection_id THEN
        FOR account IN SELECT a.key FROM ts_accounts a
                       WHERE a.connection = NEW.key AND NOT tink_sync.ts_is_numbered(a.change_seq) ORDER BY a.key LOOP
            UPDATE ts_accounts SET change_seq = tink_sync.ts_next_change() WHERE key = account;
        END LOOP;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tink_sync.ts_feed_account() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND
       (OLD.connection, OLD.account_id, OLD.name, OLD.type, OLD.iban, OLD.masked_pan, OLD.financial_institution_id,
        OLD.credentials_ids, coalesce(OLD.booked_currency, OLD.available_currency), OLD.booked_balance,
        OLD.available_balance, OLD.last_refreshed, OLD.complete_through, OLD.closed_at, OLD.merged_id)
       IS NOT DISTINCT FROM
       (NEW.connection, NEW.account_id, NEW.name, NEW.type, NEW.iban, NEW.masked_pan, NEW.financial_institution_id,
        NEW.credentials_ids, coalesce(NEW.booked_currency, NEW.available_currency), NEW.booked_balance,
        NEW.available_balance, NEW.last_refreshed, NEW.complete_through, NEW.closed_at, NEW.merged_id)
    THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM ts_accounts a WHERE a.key = NEW.key AND NOT tink_sync.ts_is_numbered(a.change_seq);
    IF FOUND THEN
        UPDATE ts_accounts SET change_seq = tink_sync.ts_next_change() WHERE key = NEW.key;
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS ts_feed_connection_new ON tink_sync.ts_connections;
CREATE CONSTRAINT TRIGGER ts_feed_connection_new AFTER INSERT ON tink_sync.ts_connections
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tink_sync.ts_feed_connection();

DROP TRIGGER IF EXISTS ts_feed_connection ON tink_sync.ts_connections;
CREATE CONSTRAINT TRIGGER ts_feed_connection
AFTER UPDATE OF connection_id, user_id, external_user_id, tink_user_id, mode, enabled, entitled, entitled_until, lapsed,
    needs_user, last_outcome, failures, last_success_at, last_reason, data_as_of, not_before, gone_at ON tink_sync.ts_connections
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tink_sync.ts_feed_connection();

DROP TRIGGER IF EXISTS ts_feed_account_new ON tink_sync.ts_accounts;
CREATE CONSTRAINT TRIGGER ts_feed_account_new AFTER INSERT ON tink_sync.ts_accounts
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tink_sync.ts_feed_account();

-- credentials_ids is also changed by the trigger below, when a statement changes connection or account_id.
DROP TRIGGER IF EXISTS ts_feed_account ON tink_sync.ts_accounts;
CREATE CONSTRAINT TRIGGER ts_feed_account
AFTER UPDATE OF connection, account_id, name, type, iban, masked_pan, financial_institution_id, credentials_ids, booked_currency,
    available_currency, booked_balance, available_balance, last_refreshed, complete_through, closed_at, merged_id
ON tink_sync.ts_accounts
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tink_sync.ts_feed_account();

-- accounts_v1.credentials_ids: the consents that hold an account.
CREATE OR REPLACE FUNCTION tink_sync.ts_feed_held_by(of bigint, id text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (SELECT tink_sync.json_group_array(s.credentials_id ORDER BY s.credentials_id) FROM ts_consents s
            WHERE s.connection = of AND id IN (SELECT j.value FROM tink_sync.json_each(s.account_ids) j));
END $$;

CREATE OR REPLACE FUNCTION tink_sync.ts_feed_account_held() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT tink_sync.ts_is_copying() THEN
        NEW.credentials_ids := tink_sync.ts_feed_held_by(NEW.connection, NEW.account_id);
    END IF;
    RETURN NEW;
END $$;

DROP TRIGGER IF EXISTS ts_feed_held ON tink_sync.ts_accounts;
CREATE TRIGGER ts_feed_held BEFORE INSERT OR UPDATE OF connection, account_id ON tink_sync.ts_accounts
FOR EACH ROW EXECUTE FUNCTION tink_sync.ts_feed_account_held();

CREATE OR REPLACE FUNCTION tink_sync.ts_feed_consent() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF tink_sync.ts_is_copying() THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        UPDATE ts_accounts a SET credentials_ids = tink_sync.ts_feed_held_by(a.connection, a.account_id)
        WHERE a.connection = OLD.connection AND a.account_id IN (SELECT j.value FROM tink_sync.json_each(OLD.account_ids) j)
          AND a.credentials_ids <> tink_sync.ts_feed_held_by(a.connection, a.account_id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE ts_accounts a SET credentials_ids = tink_sync.ts_feed_held_by(a.connection, a.account_id)
        WHERE a.connection = NEW.connection AND a.account_id IN (SELECT j.value FROM tink_sync.json_each(NEW.account_ids) j)
          AND a.credentials_ids <> tink_sync.ts_feed_held_by(a.connection, a.account_id);
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS ts_feed_consent_new ON tink_sync.ts_consents;
CREATE TRIGGER ts_feed_consent_new AFTER INSERT OR DELETE ON tink_sync.ts_consents
FOR EACH ROW EXECUTE FUNCTION tink_sync.ts_feed_consent();
DROP TRIGGER IF EXISTS ts_feed_consent ON tink_sync.ts_consents;
CREATE TRIGGER ts_feed_consent AFTER UPDATE OF connection, credentials_id, account_ids ON tink_sync.ts_consents
FOR EACH ROW
WHEN ((OLD.connection, OLD.credentials_id, OLD.account_ids) IS DISTINCT FROM (NEW.connection, NEW.credentials_id, NEW.account_ids))
EXECUTE FUNCTION tink_sync.ts_feed_consent();

-- connections_v1.data_as_of: the oldest refresh of its open accounts.
CREATE OR REPLACE FUNCTION tink_sync.ts_feed_refreshed_of(of bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    oldest text := (SELECT min(a.last_refreshed) FROM ts_accounts a WHERE a.connection = of AND a.closed_at IS NULL);
BEGIN
    UPDATE ts_connections SET data_as_of = oldest WHERE key = of AND data_as_of IS DISTINCT FROM oldest;
END $$;

CREATE OR REPLACE FUNCTION tink_sync.ts_feed_refreshed() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF tink_sync.ts_is_copying() THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM tink_sync.ts_feed_refreshed_of(OLD.connection);
    END IF;
    IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND NEW.connection <> OLD.connection) THEN
        PERFORM tink_sync.ts_feed_refreshed_of(NEW.connection);
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS ts_feed_refreshed_new ON tink_sync.ts_accounts;
CREATE TRIGGER ts_feed_refreshed_new AFTER INSERT OR DELETE ON tink_sync.ts_accounts
FOR EACH ROW EXECUTE FUNCTION tink_sync.ts_feed_refreshed();
DROP TRIGGER IF EXISTS ts_feed_refreshed ON tink_sync.ts_accounts;
CREATE TRIGGER ts_feed_refreshed AFTER UPDATE OF connection, last_refreshed, closed_at ON tink_sync.ts_accounts
FOR EACH ROW
WHEN ((OLD.connection, OLD.last_refreshed, OLD.closed_at) IS DISTINCT FROM (NEW.connection, NEW.last_refreshed, NEW.closed_at))
EXECUTE FUNCTION tink_sync.ts_feed_refreshed();

-- Notes which entitlements have ended or resumed since a run last checked, for the feed's numbers: their
-- state changes as time passes, without a write. Uses the clock of the views, and two indexes.
CREATE OR REPLACE FUNCTION tink_sync.ts_note_lapses() RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    now_ms bigint := tink_sync.ts_now() / 1000 * 1000;
    ended bigint;
    resumed bigint;
BEGIN
    UPDATE ts_connections SET lapsed = 1 WHERE lapsed = 0 AND entitled_until <= now_ms;
    GET DIAGNOSTICS ended = ROW_COUNT;
    UPDATE ts_connections SET lapsed = 0 WHERE lapsed = 1 AND (entitled_until > now_ms OR entitled_until IS NULL);
    GET DIAGNOSTICS resumed = ROW_COUNT;
    IF ended + resumed > 1000 THEN
        PERFORM pg_catalog.set_config('tink_sync.alone', 'on', true);
    END IF;
END $$;

-- The INSTEAD OF trigger of a rehearsal's transactions; see rehearsal.sql.
CREATE OR REPLACE FUNCTION tink_sync.ts_rehearse() RETURNS trigger
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO pg_temp.ts_rehearsed SELECT NEW.*;
        RETURN NEW;
    END IF;
    DELETE FROM pg_temp.ts_rehearsed r WHERE r.key = OLD.key;
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO pg_temp.ts_rehearsed SELECT NEW.*;
        RETURN NEW;
    END IF;
    -- A row that exists only in the rehearsal needs no marker.
    IF EXISTS (SELECT 1 FROM tink_sync.ts_transactions t WHERE t.key = OLD.key) THEN
        OLD.account := -OLD.account;
        INSERT INTO pg_temp.ts_rehearsed SELECT OLD.*;
        OLD.account := -OLD.account;
    END IF;
    RETURN OLD;
END $$;

-- Wakes listeners (LISTEN tink_sync) once a transaction that changed something for readers has committed. A
-- reader that missed it catches up by its cursor. Not named ts_feed_…: a rehearsal must wake nobody.
CREATE OR REPLACE FUNCTION tink_sync.ts_announce() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NOTIFY tink_sync;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS ts_announce ON tink_sync.ts_sequences;
CREATE TRIGGER ts_announce AFTER UPDATE ON tink_sync.ts_sequences
    FOR EACH ROW WHEN (NEW.name = 'change') EXECUTE FUNCTION tink_sync.ts_announce();

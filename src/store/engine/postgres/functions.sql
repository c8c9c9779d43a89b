-- Functions of schema tink_sync: what a shared statement takes for granted because SQLite has it, what the views convert
-- with, and what only a server needs. Made anew (OR REPLACE) before the tables of a new release; a signature that was
-- released is never changed.
--
-- Those in the language SQL name every function and operator's schema by what the search path always begins with
-- (pg_catalog) and have no settings, so that they are written into the statement that calls them: a
-- setting would prevent that, and views are read by the million rows.
-- What a stored value means is said once, here.

-- The elements of a JSON array, as texts: of numbers too, which a statement casts where it needs them as numbers.
CREATE OR REPLACE FUNCTION tink_sync.json_each(list text) RETURNS TABLE (value text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 50
AS $$ SELECT e FROM pg_catalog.json_array_elements_text(list::json) e $$;

-- A value of a JSON object by a path as `$.a.b`, as text.
CREATE OR REPLACE FUNCTION tink_sync.json_extract(object text, path text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT object::json #>> pg_catalog.string_to_array(pg_catalog.substr(path, 3), '.') $$;

-- What ends an aggregate cannot be written into a statement; in plpgsql it is planned once for a session.
CREATE OR REPLACE FUNCTION tink_sync.ts_json_texts(elements text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$ BEGIN RETURN '[' || coalesce((SELECT pg_catalog.string_agg(coalesce(pg_catalog.to_json(e.x)::text, 'null'), ',' ORDER BY e.n)
                              FROM pg_catalog.unnest(elements) WITH ORDINALITY AS e (x, n)), '') || ']'; END $$;

CREATE OR REPLACE FUNCTION tink_sync.ts_json_numbers(elements bigint[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$ BEGIN RETURN '[' || pg_catalog.array_to_string(elements, ',', 'null') || ']'; END $$;

-- Texts and numbers as a JSON array without blanks, as SQLite writes it; of no rows the empty one.
CREATE OR REPLACE AGGREGATE tink_sync.json_group_array(text) (
    SFUNC = array_append, STYPE = text[], INITCOND = '{}', FINALFUNC = tink_sync.ts_json_texts, PARALLEL = SAFE);
CREATE OR REPLACE AGGREGATE tink_sync.json_group_array(bigint) (
    SFUNC = array_append, STYPE = bigint[], INITCOND = '{}', FINALFUNC = tink_sync.ts_json_numbers, PARALLEL = SAFE);

-- A digest of a text, for keys that may be long. convert_to counts as STABLE, for encodings can be redefined; UTF-8 is not.
CREATE OR REPLACE FUNCTION tink_sync.ts_digest(long text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.sha256(pg_catalog.convert_to(long, 'UTF8')) $$;

-- The greater and the smaller of two; NULL if one is, as in SQLite.
CREATE OR REPLACE FUNCTION tink_sync.max(a bigint, b bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN a >= b THEN a WHEN a < b THEN b END $$;

CREATE OR REPLACE FUNCTION tink_sync.min(a bigint, b bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN a <= b THEN a WHEN a > b THEN b END $$;

-- A time of our own, in milliseconds since 1970. Beyond the year 9999 NULL, as the views of SQLite show it, and before
-- what a timestamptz can hold its earliest day. Exact: no number of seconds with a fraction is made of it.
CREATE OR REPLACE FUNCTION tink_sync.ts_time(millis bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN millis <= 253402300799999 THEN
          (timestamp '1970-01-01' + (greatest(millis, -210866803200000) / 1000) * interval '1 second'
                                  + (greatest(millis, -210866803200000) % 1000) * interval '1 millisecond') AT TIME ZONE 'UTC' END $$;

-- Days and times before the year 1, whose texts stand before all others, and whatever is none: NULL. Written `0000-` and
-- `-000001-`, the years are 1 and 2 BC; what no date can hold is the first that one can.
CREATE OR REPLACE FUNCTION tink_sync.ts_odd_day(written text) RETURNS date
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    parts text[] := pg_catalog.regexp_match(written, '^(\d{4}|-\d{6})-(\d\d)-(\d\d)$');
    y int := parts[1]; m int := parts[2]; d int := parts[3];
    found date;
BEGIN
    IF parts IS NULL OR y > 0 OR m NOT BETWEEN 1 AND 12 OR d NOT BETWEEN 1 AND 31 THEN
        RETURN NULL;
    END IF;
    IF y < -4711 THEN
        RETURN date '4713-01-01 BC';
    END IF;
    found := pg_catalog.make_date(y - 1, m, 1) + (d - 1);
    RETURN CASE WHEN pg_catalog.date_part('month', found) = m THEN found END;
END $$;

CREATE OR REPLACE FUNCTION tink_sync.ts_odd_time(written text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    parts text[] := pg_catalog.regexp_match(written, '^(-?\d+-\d\d-\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d+))?Z$');
BEGIN
    RETURN (tink_sync.ts_odd_day(parts[1])
            + pg_catalog.make_interval(hours => parts[2]::int, mins => parts[3]::int, secs => parts[4]::int)
            + pg_catalog.rpad(pg_catalog.left(coalesce(parts[5], ''), 6), 6, '0')::int * interval '1 microsecond') AT TIME ZONE 'UTC';
END $$;

-- A time of Tink's, `YYYY-MM-DDTHH:MM:SS[.fffffffff]Z`; what is finer than a microsecond is cut off. As all of these, it
-- takes a text that begins like one as it is, and would fail of one that is none: the tables hold no such (CHECK).
CREATE OR REPLACE FUNCTION tink_sync.ts_time(written text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN written >= '0001' COLLATE "C" AND written < ':' COLLATE "C" THEN
          CASE WHEN pg_catalog.octet_length(written) <= 27 THEN written::timestamptz
               ELSE (pg_catalog.left(written, 26) || 'Z')::timestamptz END
      ELSE tink_sync.ts_odd_time(written) END $$;

-- A day, `YYYY-MM-DD`.
CREATE OR REPLACE FUNCTION tink_sync.ts_day(written text) RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN written >= '0001' COLLATE "C" AND written < ':' COLLATE "C" THEN written::date
      ELSE tink_sync.ts_odd_day(written) END $$;

-- The same to the millisecond, which is how SQLite's views show a time that they have worked out from others.
CREATE OR REPLACE FUNCTION tink_sync.ts_rounded(written text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN written >= '0' COLLATE "C" THEN tink_sync.ts_time(written)::timestamptz(3) END $$;

-- An amount, exact: its digits are those that are written.
CREATE OR REPLACE FUNCTION tink_sync.ts_amount(written text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN written < ':' COLLATE "C" THEN written::numeric END $$;

-- The same as a floating-point number, for charts.
CREATE OR REPLACE FUNCTION tink_sync.ts_number(written text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN written < ':' COLLATE "C" THEN written::double precision END $$;

-- What is true.
CREATE OR REPLACE FUNCTION tink_sync.ts_bool(stored bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT stored <> 0 $$;

-- A total of a run; NULL if it is no integer.
CREATE OR REPLACE FUNCTION tink_sync.ts_total(totals json, VARIADIC path text[]) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN totals #>> path ~ '^-?\d{1,18}$' THEN (totals #>> path)::bigint END $$;

-- The same values in the form in which the views of SQLite show them, for the program itself: what `export`, `status`
-- and the like print is then the same text with either store. See views.sql.
CREATE OR REPLACE FUNCTION tink_sync.ts_time_text(millis bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN millis >= -62135596800000 THEN
                 pg_catalog.to_char(tink_sync.ts_time(millis) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
             WHEN millis >= -62167219200000 THEN
                 '0000' || pg_catalog.to_char(tink_sync.ts_time(millis) AT TIME ZONE 'UTC', '-MM-DD"T"HH24:MI:SS.MS"Z"') END $$;
CREATE OR REPLACE FUNCTION tink_sync.ts_time_text(written text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT written $$;
CREATE OR REPLACE FUNCTION tink_sync.ts_rounded_text(written text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.to_char(tink_sync.ts_rounded(written) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;
CREATE OR REPLACE FUNCTION tink_sync.ts_day_text(written text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT written $$;
CREATE OR REPLACE FUNCTION tink_sync.ts_amount_text(written text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT written $$;
CREATE OR REPLACE FUNCTION tink_sync.ts_bool_text(stored bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT stored $$;

-- SQLite's date: of a day and `±N days`, and of seconds since 1970.
CREATE OR REPLACE FUNCTION tink_sync.date(written text, shift text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.to_char(tink_sync.ts_day(written) + pg_catalog.substring(shift, '^([-+]?\d{1,6}) days$')::int, 'YYYY-MM-DD') $$;
CREATE OR REPLACE FUNCTION tink_sync.date(seconds bigint, unit text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.left(tink_sync.ts_time_text(seconds * 1000), 10) $$;

-- Milliseconds since 1970 by the clock of this database: of the statement, and as it runs on.
CREATE OR REPLACE FUNCTION tink_sync.ts_now() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.now()) * 1000)::bigint $$;

-- Fails with TS001 unless this lease is held, and keeps it from being taken until the transaction ends. Without a path of
-- its own: in a rehearsal the table is a temporary one.
CREATE OR REPLACE FUNCTION tink_sync.ts_held(connection bigint, token bigint, run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM 1 FROM ts_connections c
    WHERE c.key = ts_held.connection AND c.lease_token = ts_held.token AND c.lease_run = ts_held.run
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the lease of connection % is not held', connection USING ERRCODE = 'TS001';
    END IF;
END $$;

-- Fails with TS002 unless this run is at work: one that others have ended takes nothing new. One that was silent for long and
-- that nobody has ended, since nobody could reach the server for example, is heard of by this. Keeps it from being ended
-- until the transaction ends.
CREATE OR REPLACE FUNCTION tink_sync.ts_at_work(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM 1 FROM ts_runs r
    WHERE r.key = ts_at_work.run AND r.finished_at IS NULL AND r.alive_until > pg_catalog.clock_timestamp()
    FOR KEY SHARE;
    IF NOT FOUND THEN
        UPDATE ts_runs r SET alive_until = DEFAULT WHERE r.key = ts_at_work.run AND r.finished_at IS NULL;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run % is over', run USING ERRCODE = 'TS002';
    END IF;
END $$;

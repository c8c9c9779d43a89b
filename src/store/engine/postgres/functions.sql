-- Functions of schema tink_sync: what shared statements rely on because SQLite has it, the conversions of the
-- views, and what only a server needs. Replaced (OR REPLACE) before the tables of a new release are created;
-- a released signature is never changed.
--
-- Functions in the language SQL qualify what they call (operators are found in pg_catalog, with which every
-- search path begins) and have no settings, so that PostgreSQL can inline them: a setting would prevent that,
-- and views are read by the million rows.
-- The meaning of a stored value is defined once, here.

-- The elements of a JSON array, as texts; a statement that needs numbers casts them.
CREATE OR REPLACE FUNCTION tink_sync.json_each(list text) RETURNS TABLE (value text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 50
AS $$ SELECT e FROM pg_catalog.json_array_elements_text(list::json) e $$;

-- A value of a JSON object by a path such as `$.a.b`, as text.
CREATE OR REPLACE FUNCTION tink_sync.json_extract(object text, path text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT object::json #>> pg_catalog.string_to_array(pg_catalog.substr(path, 3), '.') $$;

-- The final function of an aggregate cannot be inlined; in plpgsql it is planned once per session.
CREATE OR REPLACE FUNCTION tink_sync.ts_json_texts(elements text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$ BEGIN RETURN '[' || coalesce((SELECT pg_catalog.string_agg(coalesce(pg_catalog.to_json(e.x)::text, 'null'), ',' ORDER BY e.n)
                              FROM pg_catalog.unnest(elements) WITH ORDINALITY AS e (x, n)), '') || ']'; END $$;

CREATE OR REPLACE FUNCTION tink_sync.ts_json_numbers(elements bigint[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$ BEGIN RETURN '[' || pg_catalog.array_to_string(elements, ',', 'null') || ']'; END $$;

-- Aggregates texts or numbers into a JSON array without blanks, as SQLite does; no rows give an empty array.
CREATE OR REPLACE AGGREGATE tink_sync.json_group_array(text) (
    SFUNC = array_append, STYPE = text[], INITCOND = '{}', FINALFUNC = tink_sync.ts_json_texts, PARALLEL = SAFE);
CREATE OR REPLACE AGGREGATE tink_sync.json_group_array(bigint) (
    SFUNC = array_append, STYPE = bigint[], INITCOND = '{}', FINALFUNC = tink_sync.ts_json_numbers, PARALLEL = SAFE);

-- A digest of a text, for long keys. convert_to is STABLE because encodings can be redefined; UTF-8 cannot.
CREATE OR REPLACE FUNCTION tink_sync.ts_digest(long text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.sha256(pg_catalog.convert_to(long, 'UTF8')) $$;

-- The greater and the smaller of two numbers; NULL if one is NULL, as in SQLite.
CREATE OR REPLACE FUNCTION tink_sync.max(a bigint, b bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN a >= b THEN a WHEN a < b THEN b END $$;

CREATE OR REPLACE FUNCTION tink_sync.min(a bigint, b bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN a <= b THEN a WHEN a > b THEN b END $$;

-- A time of our own, in milliseconds since 1970. NULL beyond the year 9999, as in SQLite's views; before the
-- range of timestamptz, its earliest day. Exact: never computed as fractional seconds.
CREATE OR REPLACE FUNCTION tink_sync.ts_time(millis bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN millis <= 253402300799999 THEN
          (timestamp '1970-01-01' + (greatest(millis, -210866803200000) / 1000) * interval '1 second'
                                  + (greatest(millis, -210866803200000) % 1000) * interval '1 millisecond') AT TIME ZONE 'UTC' END $$;

-- Days and times before the year 1, whose texts sort before all others; NULL for anything that is not one.
-- `0000-` and `-000001-` are the years 1 and 2 BC; a day before the range of date becomes its first day.
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

-- A time of Tink's, `YYYY-MM-DDTHH:MM:SS[.fffffffff]Z`; anything finer than a microsecond is cut off. Like
-- all of these, it fails on a text that begins like a time but is none; CHECKs keep those out of the tables.
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

-- A time of Tink's to the millisecond, as SQLite's views show a time that they compute.
CREATE OR REPLACE FUNCTION tink_sync.ts_rounded(written text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN written >= '0' COLLATE "C" THEN tink_sync.ts_time(written)::timestamptz(3) END $$;

-- An amount, exact: it keeps its digits.
CREATE OR REPLACE FUNCTION tink_sync.ts_amount(written text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN written < ':' COLLATE "C" THEN written::numeric END $$;

-- The same as a floating-point number, for charts.
CREATE OR REPLACE FUNCTION tink_sync.ts_number(written text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN written < ':' COLLATE "C" THEN written::double precision END $$;

-- A flag, stored as 0 or 1.
CREATE OR REPLACE FUNCTION tink_sync.ts_bool(stored bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT stored <> 0 $$;

-- A total of a run; NULL if it is no integer.
CREATE OR REPLACE FUNCTION tink_sync.ts_total(totals json, VARIADIC path text[]) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN totals #>> path ~ '^-?\d{1,18}$' THEN (totals #>> path)::bigint END $$;

-- The same values in the form of SQLite's views, for the program itself, so that `export`, `status` and
-- others print the same text with either store. See views.sql.
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

-- SQLite's date(): from a day and `±N days`, and from seconds since 1970.
CREATE OR REPLACE FUNCTION tink_sync.date(written text, shift text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.to_char(tink_sync.ts_day(written) + pg_catalog.substring(shift, '^([-+]?\d{1,6}) days$')::int, 'YYYY-MM-DD') $$;
CREATE OR REPLACE FUNCTION tink_sync.date(seconds bigint, unit text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.left(tink_sync.ts_time_text(seconds * 1000), 10) $$;

-- Milliseconds since 1970 at the start of the transaction, by the clock of this database.
CREATE OR REPLACE FUNCTION tink_sync.ts_now() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.now()) * 1000)::bigint $$;

-- Fails with TS001 unless this lease is held, and locks it until the transaction ends. Has no search path of
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

-- Fails with TS002 if this run is over: one that another host has ended takes nothing new. A run that was
-- silent for long and was not ended, for example because no host could reach the server, is marked alive
-- again. Keeps the run from being ended until the transaction ends.
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

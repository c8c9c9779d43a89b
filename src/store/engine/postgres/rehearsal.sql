-- The overlay of a rehearsal over a store that is only read: temporary tables with the same names, found first by the
-- search path `pg_temp, tink_sync`; see engine/sqlite/rehearsal.rs. Run in a REPEATABLE READ transaction, which
-- copies the shared rows, runs rehearsal_triggers.sql, becomes READ ONLY (temporary tables can still be written) and
-- is rolled back at its end: nothing outlives it. Needs the privilege TEMPORARY on the database and its own session.
--
-- Transactions are not copied, however many there are: a view shows those of the store, minus those that the
-- rehearsal has written, plus its own. A deleted row is stored under its account's negated key.

DO $$
DECLARE
    source text;
    column_list text;
    defaults record;
BEGIN
    FOR source IN
        SELECT c.relname FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'tink_sync'::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'ts\_%' ORDER BY c.relname
    LOOP
        EXECUTE format('CREATE TEMP TABLE %I (LIKE tink_sync.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING IDENTITY INCLUDING INDEXES)',
                       CASE source WHEN 'ts_transactions' THEN 'ts_rehearsed' ELSE source END, source);
    END LOOP;

    SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum) INTO column_list FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = 'tink_sync.ts_transactions'::regclass AND a.attnum > 0 AND NOT a.attisdropped;
    EXECUTE format(
        'CREATE TEMP VIEW ts_transactions AS
         SELECT %1$s FROM tink_sync.ts_transactions t WHERE NOT EXISTS (SELECT 1 FROM pg_temp.ts_rehearsed r WHERE r.key = t.key)
         UNION ALL SELECT %1$s FROM pg_temp.ts_rehearsed', column_list);
    FOR defaults IN
        SELECT a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS expression
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = 'pg_temp.ts_rehearsed'::regclass AND NOT a.attisdropped
    LOOP
        EXECUTE format('ALTER VIEW pg_temp.ts_transactions ALTER COLUMN %I SET DEFAULT %s', defaults.attname, defaults.expression);
    END LOOP;
    EXECUTE format('ALTER VIEW pg_temp.ts_transactions ALTER COLUMN key SET DEFAULT nextval(%L::regclass)',
                   pg_catalog.pg_get_serial_sequence('pg_temp.ts_rehearsed', 'key'));
    CREATE TRIGGER ts_rehearsed_write INSTEAD OF INSERT OR UPDATE OR DELETE ON pg_temp.ts_transactions
        FOR EACH ROW EXECUTE FUNCTION tink_sync.ts_rehearse();

    -- Keys of new rows begin this far above the store's: others may write to it meanwhile, and a row created
    -- for one connection must not take the key of another's.
    FOR source IN
        SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'tink_sync'::regnamespace AND c.relkind = 'r' AND a.attname = 'key' AND a.attidentity <> ''
    LOOP
        EXECUTE format('SELECT setval(pg_get_serial_sequence(%L, ''key''), (SELECT coalesce(max(key), 0) + 1099511627776 FROM tink_sync.%I))',
                       'pg_temp.' || CASE source WHEN 'ts_transactions' THEN 'ts_rehearsed' ELSE source END, source);
    END LOOP;
END $$;
-- Which connection takes over the data of another.
CREATE TEMP TABLE takeovers (held bigint NOT NULL, taker bigint NOT NULL);

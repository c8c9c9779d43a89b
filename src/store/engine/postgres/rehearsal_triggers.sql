-- The second part of the overlay, once it is filled: the triggers of feed.sql that derive columns row by row.
-- Not those for change numbers, which are given at a COMMIT that a rehearsal never reaches.
DO $$
DECLARE
    definition text;
BEGIN
    FOR definition IN
        SELECT pg_catalog.pg_get_triggerdef(t.oid) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = 'tink_sync'::regnamespace AND t.tgname LIKE 'ts\_feed\_%' AND NOT t.tgdeferrable ORDER BY t.tgname
    LOOP
        EXECUTE replace(definition, ' ON tink_sync.', ' ON pg_temp.');
    END LOOP;
END $$;

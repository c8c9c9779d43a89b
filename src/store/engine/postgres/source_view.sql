-- The source view of the stand-alone mode, over our own tables. It is created once, and never replaced nor
-- dropped: an application may keep its own view of this name here.
DO $$
BEGIN
    IF pg_catalog.to_regclass('tink_sync.tink_sync_source_v1') IS NULL THEN
        CREATE VIEW tink_sync.tink_sync_source_v1 AS
        SELECT c.connection_id, c.user_id, tink_sync.ts_bool(c.enabled) AS enabled, tink_sync.ts_bool(u.entitled) AS entitled,
               u.entitled_until, c.external_user_id, c.tink_user_id, c.market, c.priority
        FROM tink_sync.ts_own_connections c LEFT JOIN tink_sync.ts_own_users u ON u.user_id = c.user_id;
    END IF;
END $$;

//! Every table of a store: rows that no pass of a test writes, and a look at all that there is.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::harness::World;

/// Rows in every table, and odd ones in those that passes fill.
const ODD: &str = "
    INSERT INTO ts_own_users (user_id, entitled, entitled_until) VALUES ('own', 1, '2030-01-01T00:00:00Z'), ('ówn', 0, NULL);
    INSERT INTO ts_own_connections (connection_id, user_id, external_user_id, enabled, priority) VALUES ('o-1', 'own', 'x', 1, 7);
    INSERT INTO ts_links (connection_id, user_id, external_user_id, market, begun_at) VALUES ('l-1', 'own', 'y', 'SE', 17);
    INSERT INTO ts_former_users (connection, kind, id) VALUES (1, 'external', 'before'), (1, 'tink', 'before'), (2, 'tink', 'b');
    INSERT INTO ts_anomalies (connection, account, kind, told_at) VALUES (1, 0, 'odd', 5), (1, 1, 'odd', 6), (1, 1, 'even', 7);
    INSERT INTO ts_tokens (connection, version, state, refresh, access, access_until, asked_run, asking)
        VALUES (1, '3', 'ready', X'000102FF', X'', 99, NULL, 4), (2, '1', 'lost', X'5C', NULL, NULL, 1, 1);
    INSERT INTO ts_events (kind, run, connection, at, details)
        VALUES ('run-failed', 1, NULL, 3, '{}'), ('run-failed', 1, 1, 4, '{\"é\": 1}');
    DELETE FROM ts_events WHERE at = 4;
    INSERT INTO ts_pruned_runs (key, run_id, started_at) VALUES (9000, 'gone', 1);
    INSERT INTO ts_quarantine (account, fingerprint, transaction_id, reason, raw, first_seen_at, run)
        VALUES (1, 'f', 'aabb', 'amount', '{\"a\": \"b\\\\c\"}', 5, 1);
    INSERT INTO ts_audit (at, actor, ip, action, user_id, result, details)
        VALUES (1, 'ann, \"{}\"', '::1', 'users.set', 'own', 'ok', '');
    INSERT INTO ts_runs (run_id, trigger, host, version, started_at) VALUES ('died', 'timer', 'h', '0', 1);
    INSERT INTO ts_sequences (name, value) VALUES ('ts_accounts', 700);
    UPDATE ts_transactions SET transaction_id = '0123456789ABCDEF0123456789ABCDEF', description = 'a\\b\"c{},
NULL' WHERE key = 1;
    UPDATE ts_transactions SET removed_at = 12, removed_reason = 'replaced', match_rule = 'x',
        replaced_by = (SELECT transaction_id FROM ts_transactions WHERE key = 3) WHERE key = 2;
    UPDATE ts_transactions SET removed_at = 12, removed_reason = 'replaced', replaced_by = 'NULL' WHERE key = 4;
    UPDATE ts_sequences SET value = 12345 WHERE name = 'pruned';";

/// The rows of a table or view, in any order that is always the same.
pub fn rows(store: &Connection, relation: &str, columns: &str) -> Vec<Vec<Value>> {
    let mut all = store.prepare(&format!("SELECT {columns} FROM {relation}")).unwrap();
    let width = all.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..width).map(|at| row.get(at)).collect();
    let mut rows: Vec<Vec<Value>> = all.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap();
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

/// The first column of a query.
pub fn named(store: &Connection, sql: &str) -> Vec<String> {
    let mut names = store.prepare(sql).unwrap();
    names.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// The tables with what a store holds.
pub fn tables(store: &Connection) -> Vec<String> {
    named(
        store,
        &format!("{} AND name NOT IN ('ts_schema', 'ts_sequences') UNION SELECT 'ts_audit'", super::TABLES),
    )
}

/// Every number that is counted on, by its name.
pub fn counters(store: &Connection) -> Vec<Vec<Value>> {
    let counted = "(SELECT name, value FROM ts_sequences WHERE name NOT IN ('published', 'publication')
                    UNION ALL SELECT name, seq FROM sqlite_sequence)";
    rows(store, counted, "*")
}

/// What makes a store odd.
impl World {
    /// Puts rows into every table.
    pub fn fill_every_table(&self) {
        self.tamper(ODD);
        let store = self.store();
        for table in tables(&store) {
            assert!(!rows(&store, &table, "*").is_empty(), "no row of {table} is tried");
        }
    }

    /// The application's own connections go.
    pub fn no_own_connections(&self) {
        self.tamper("DELETE FROM ts_own_connections");
    }

    /// Keys of connections whose id begins with `new`, behind all others.
    pub fn new_connections_behind(&self) -> bool {
        self.number(
            "SELECT (SELECT min(key) FROM ts_connections WHERE connection_id LIKE 'new%')
                  > (SELECT max(key) FROM ts_connections WHERE connection_id NOT LIKE 'new%')",
        ) == 1
    }

    /// One more event is written; returns its number.
    pub fn one_more_event(&self) -> i64 {
        self.tamper("INSERT INTO ts_events (kind, run, at, details) VALUES ('x', 1, 5, '{}')");
        self.number("SELECT max(key) FROM ts_events")
    }

    /// Accounts' ids change hands, and the audit log loses a row.
    pub fn shuffle(&self, day: u32) {
        self.tamper(&format!(
            "UPDATE ts_accounts SET account_id = 'other' WHERE key = 1;
             UPDATE ts_accounts SET account_id = 'first-{day}' WHERE key = 2;
             UPDATE ts_accounts SET account_id = 'second-{day}' WHERE key = 1;
             DELETE FROM ts_audit WHERE key = 1"
        ));
    }

    /// A run begins that has this id.
    pub fn begin_run(&self, id: &str) {
        self.tamper(&format!(
            "INSERT INTO ts_runs (run_id, trigger, host, version, started_at) VALUES ('{id}', 'timer', 'h', '0', 1)"
        ));
    }

    /// A text holds U+0000.
    pub fn nul_in_a_description(&self) {
        self.tamper("UPDATE ts_transactions SET description = 'secret' || char(0) || 'text' WHERE key = 3");
    }

    /// The views are those of another release.
    pub fn other_views(&self) {
        self.tamper("UPDATE ts_sequences SET value = 1 WHERE name = 'published'");
    }

    /// And those of a later one.
    pub fn newer_views(&self) {
        self.tamper("UPDATE ts_sequences SET value = value + 1 WHERE name = 'publication'");
    }

    /// And those of an earlier one.
    pub fn older_views(&self) {
        self.tamper("UPDATE ts_sequences SET value = 0 WHERE name = 'publication'");
    }
}

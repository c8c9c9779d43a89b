//! Stores as somebody, a crash or an older release left them. Holds no test.

use rusqlite::Connection;
use tink_sync::clock::{Clock as _, SystemClock};

use super::HOUR;
use crate::harness::World;

/// What somebody's trigger refuses to have written.
#[derive(Clone, Copy, Debug)]
pub enum Refused<'a> {
    /// Every new row.
    Rows,
    /// New rows of a connection.
    RowsOf(&'a str),
    /// New rows of an account, by key.
    RowsOfAccount(&'a str),
    /// The outcome of a connection in its run.
    OutcomeOf(&'a str),
}

/// What a connection is made to look like; times are the store's.
#[derive(Debug)]
pub struct Kept<'a> {
    pub failures: u32,
    pub not_before: Option<i64>,
    pub needs_user: Option<&'a str>,
    pub last_success_began: Option<i64>,
    pub last_outcome: &'a str,
    pub leased_until: Option<i64>,
    /// Whether its accounts, consents and last success are left.
    pub has_data: bool,
}

/// Stores as somebody, a crash or an older release left them.
impl World {
    /// Plants a trigger of somebody's that refuses to have something written.
    pub fn refuse(&self, what: Refused<'_>) {
        let key = |connection: &str| {
            format!("(SELECT key FROM ts_connections WHERE connection_id = '{connection}')")
        };
        let (act, when) = match what {
            Refused::Rows => ("INSERT ON ts_transactions", "1".to_owned()),
            Refused::RowsOfAccount(account) => {
                ("INSERT ON ts_transactions", format!("NEW.account = {account}"))
            }
            Refused::RowsOf(connection) => (
                "INSERT ON ts_transactions",
                format!(
                    "NEW.account IN (SELECT key FROM ts_accounts WHERE connection = {})",
                    key(connection)
                ),
            ),
            Refused::OutcomeOf(connection) => {
                ("UPDATE OF outcome ON ts_run_connections", format!("NEW.connection = {}", key(connection)))
            }
        };
        self.tamper(&format!(
            "CREATE TRIGGER somebodys BEFORE {act} WHEN {when}
             BEGIN SELECT RAISE(ABORT, 'not allowed here'); END"
        ));
    }

    /// Takes that trigger away.
    pub fn allow(&self) {
        self.tamper("DROP TRIGGER somebodys");
    }

    /// Makes a newer release's store of it.
    pub fn newer_schema(&self) {
        self.tamper("INSERT INTO ts_schema (version, applied_at) VALUES (99, 0)");
    }

    /// Makes a store of it that no migration was applied to.
    pub fn forget_schema(&self) {
        self.tamper("DELETE FROM ts_schema");
    }

    /// Makes it as before any app, view or number of connections was remembered.
    pub fn forget_app_and_view(&self) {
        self.tamper("DELETE FROM ts_app; DELETE FROM ts_view; DELETE FROM ts_population");
    }

    pub fn forget_app(&self) {
        self.tamper("DELETE FROM ts_app");
    }

    pub fn forget_audit(&self) {
        self.tamper("DELETE FROM ts_audit");
    }

    pub fn forget_originals(&self) {
        self.tamper("DELETE FROM ts_raw");
    }

    /// Makes it as before there was a balance proof.
    pub fn forget_balances(&self) {
        self.tamper("DELETE FROM ts_sums; DELETE FROM ts_balances;");
    }

    /// Rows of the audit log: time, actor, action, connection, user.
    pub fn add_acts(&self, acts: &[(i64, &str, &str, Option<&str>, &str)]) {
        let sql = "INSERT INTO ts_audit (at, actor, action, connection_id, user_id, result) VALUES (?1, ?2, ?3, ?4, ?5, 'ok')";
        let store = self.writer();
        for act in acts {
            store.execute(sql, *act).unwrap();
        }
    }

    /// Every run ended with this exit code.
    pub fn runs_ended_with(&self, code: i32) {
        self.tamper(&format!("UPDATE ts_runs SET exit_code = {code}"));
    }

    /// No run has come to its end.
    pub fn runs_died(&self) {
        self.tamper("UPDATE ts_runs SET exit_code = NULL, finished_at = NULL");
    }

    /// Another run has every connection for an hour.
    pub fn lease_all(&self) {
        let until = SystemClock.now().as_millisecond() + HOUR;
        self.tamper(&format!(
            "UPDATE ts_connections SET lease_run = 999, lease_token = 1, lease_until = {until}"
        ));
    }

    /// Makes a connection look so.
    pub fn keep(&self, connection: &str, kept: &Kept<'_>) {
        let time = |at: Option<i64>| at.map_or("NULL".to_owned(), |at| at.to_string());
        let leased = kept.leased_until.is_some();
        self.tamper(&format!(
            "UPDATE ts_connections SET failures = {}, not_before = {}, needs_user = {}, last_success_began = {},
                    last_outcome = '{}', lease_token = iif({leased}, 999, NULL), lease_until = {},
                    lease_run = iif({leased}, (SELECT max(key) FROM ts_runs), NULL)
             WHERE connection_id = '{connection}'",
            kept.failures,
            time(kept.not_before),
            kept.needs_user.map_or("NULL".to_owned(), |reason| format!("'{reason}'")),
            time(kept.last_success_began),
            kept.last_outcome,
            time(kept.leased_until),
        ));
        if !kept.has_data {
            let its =
                format!("connection = (SELECT key FROM ts_connections WHERE connection_id = '{connection}')");
            self.tamper(&format!(
                "UPDATE ts_connections SET last_success_at = NULL WHERE connection_id = '{connection}';
                 DELETE FROM ts_consents WHERE {its};
                 DELETE FROM ts_account_ids WHERE {its};
                 DELETE FROM ts_accounts WHERE {its};"
            ));
        }
    }

    /// Switches a connection off here, whatever the application says.
    pub fn disable(&self, connection: &str) {
        self.tamper(&format!("UPDATE ts_connections SET enabled = 0 WHERE connection_id = '{connection}'"));
    }

    /// A connection with one account that no release would take in now.
    pub fn add_connection(&self, key: i64, id: &str) {
        let store = self.writer();
        let sql = "INSERT INTO ts_connections (key, connection_id, user_id, enabled, entitled) VALUES (?1, ?2, ?2, 0, 0)";
        store.execute(sql, (key, id)).unwrap();
        let sql = "INSERT INTO ts_accounts (connection, account_id, name, type) VALUES (?1, 'a', '', '')";
        store.execute(sql, [key]).unwrap();
    }

    /// Columns of the rows of an account, by key, become these.
    pub fn spoil_rows(&self, account: i64, change: &str) {
        self.tamper(&format!("UPDATE ts_transactions SET {change} WHERE account = {account}"));
    }

    /// As after a walk that removed all rows and did not come to its end.
    pub fn rows_were_removed_by_a_walk_without_end(&self) {
        self.tamper(
            "UPDATE ts_transactions SET removed_at = 1, removed_reason = 'vanished';
             UPDATE ts_accounts SET complete_through = NULL",
        );
    }

    /// Each row was changed by a later run than it was.
    pub fn rows_were_changed_later(&self) {
        self.tamper("UPDATE ts_transactions SET changed_run = changed_run + 100");
    }

    pub fn set_ibans(&self, iban: &str) {
        self.tamper(&format!("UPDATE ts_accounts SET iban = '{iban}'"));
    }

    /// An account closed long ago, as earlier releases did it.
    pub fn close_account(&self, id: &str) {
        self.tamper(&format!(
            "UPDATE ts_accounts SET closed_at = 1700000000000, missing_refresh = '2026-01-01T00:00:00Z'
             WHERE account_id = '{id}'"
        ));
    }

    /// What is kept of a record in quarantine becomes this; of every one, where none is named.
    pub fn set_quarantined(&self, transaction: Option<&str>, raw: &str) {
        let sql = "UPDATE ts_quarantine SET raw = ?1 WHERE ?2 IS NULL OR transaction_id = ?2";
        self.writer().execute(sql, (raw, transaction)).unwrap();
    }

    /// Makes the quarantine one of an older release, which kept each record with its JSON and knew it by that where
    /// it had no id; this is the JSON of the one without.
    pub fn age_quarantine(&self, nameless: &str) {
        let raw = nameless.replace('\'', "''");
        self.tamper(&format!(
            "UPDATE ts_quarantine SET seen_run = NULL, likeness = NULL, raw = iif(raw = '', '{{}}', raw);
             UPDATE ts_quarantine SET raw = '{raw}' WHERE transaction_id IS NULL;
             UPDATE ts_quarantine SET fingerprint = 'raw:' || raw WHERE transaction_id IS NULL"
        ));
    }

    /// Twenty runs `old-<n>` of 500 days ago with their outcomes, an act of that time and original JSON.
    pub fn add_old_runs(&self) {
        self.tamper(
            "WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20)
             INSERT INTO ts_runs (key, run_id, trigger, host, version, started_at, finished_at, exit_code, named)
                 SELECT -n, 'old-' || n, 'timer', 'h', '1', old, old + 1000, 0, n = 1
                 FROM n, (SELECT (unixepoch() - 500 * 86400) * 1000 AS old);
             INSERT INTO ts_run_connections (run, connection, user_id, outcome, started_at)
                 SELECT r.key, c.key, c.user_id, 'synced', r.started_at FROM ts_runs r, ts_connections c WHERE r.key < 0;
             INSERT INTO ts_audit (at, action, result) SELECT started_at, 'test', 'ok' FROM ts_runs WHERE key = -1;
             UPDATE ts_transactions SET first_seen_run = -1;
             INSERT INTO ts_raw (transaction_key, raw, stored_at)
                 SELECT t.key, '{}', r.started_at FROM ts_transactions t, ts_runs r WHERE r.key = -1;",
        );
    }

    /// Puts a text, given as SQL between quotes, into or behind every text that a terminal may be shown.
    pub fn spoil_texts(&self, evil: &str) {
        self.tamper(&format!(
            "UPDATE ts_connections SET connection_id = 'c-1{evil}', user_id = 'u{evil}', last_error = '{evil}',
                    external_user_id = '{evil}' WHERE connection_id = 'c-1';
             UPDATE ts_run_connections SET error = '{evil}';
             UPDATE ts_consents SET credentials_id = credentials_id || '{evil}', provider = '{evil}', error_type = '{evil}';
             UPDATE ts_accounts SET name = '{evil}', iban = '{evil}', account_id = account_id || '{evil}';
             UPDATE ts_runs SET host = '{evil}', run_id = run_id || '{evil}';
             UPDATE ts_transactions SET description = '{evil}';
             INSERT INTO ts_audit (at, actor, ip, action, connection_id, user_id, result, details)
             VALUES (1, '{evil}', '{evil}', 'sync.requested', '{evil}', '{evil}', 'ok', '{evil}')"
        ));
    }

    /// Begins to write every amount, and does not end.
    pub fn writing_amounts(&self, amount: &str) -> Connection {
        let writer = self.writer();
        writer
            .execute_batch(&format!("BEGIN IMMEDIATE; UPDATE ts_transactions SET amount = '{amount}'"))
            .unwrap();
        writer
    }
}

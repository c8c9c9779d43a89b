//! What tests must set or see that no view shows and no command does: each by a function with a plain name. Beside
//! `store_faults.rs`, which tests SQLite's file itself, the only place here that names base tables, so that the tests say
//! what they mean and can run on another engine. Holds no test.

pub mod left;
mod times;
pub mod whole;

use rusqlite::Connection;

use crate::harness::World;

/// An hour and a day, in the milliseconds of the store's times.
pub const HOUR: i64 = 3_600_000;
pub const DAY: i64 = 24 * HOUR;

/// Whether a fall in the number of connections is confirmed.
pub const FALL_IS_CONFIRMED: &str = "SELECT fallen_at IS NULL FROM ts_view";
/// The app that the store remembers.
pub const APP: &str = "SELECT client_id FROM ts_app";
/// The sums kept for the balance proof: account, part, currency, total, number of rows.
pub const KEPT_SUMS: &str =
    "SELECT account || '', part, currency, total, rows || '' FROM ts_sums WHERE ?1 = ''";
/// The same of each live row, counted anew.
pub const COUNTED_SUMS: &str = "SELECT account || '', CASE WHEN status <> 'booked' THEN status
            WHEN booked_date < first_day THEN 'earlier' ELSE 'booked' END, t.currency, amount, '1'
     FROM ts_transactions t JOIN ts_balances b USING (account)
     WHERE removed_at IS NULL AND status <> 'pending' AND ?1 = ''";
/// What the last complete walk left of the booked rows of each account, and what they add up to.
pub const STANDS: &str = "SELECT a.stand_rows, s.total FROM ts_accounts a JOIN ts_sums s ON s.account = a.key
     WHERE s.part = 'booked' AND ?1 = ''";
/// Account and kept total of one connection.
pub const KEPT_TOTALS: &str =
    "SELECT s.account, s.total FROM ts_sums s JOIN ts_accounts a ON a.key = s.account
     JOIN ts_connections c ON c.key = a.connection WHERE c.connection_id = ?1";
/// Account and amount of each row that those totals are made of.
pub const SUMMED_ROWS: &str = "SELECT v.account_key, v.amount FROM transactions_v1 v
     JOIN ts_balances b ON b.account = v.account_key
     WHERE v.connection_id = ?1 AND v.removed_at IS NULL AND v.status <> 'pending'";
/// The accounts by key: connection, first id, refresh of the last complete walk, watermark, whether closed.
pub const WALKED_ACCOUNTS: &str = "SELECT a.key, connection_id, account_id, walked_refresh, complete_through,
            closed_at IS NOT NULL
     FROM ts_accounts a JOIN ts_connections c ON c.key = a.connection";
/// Change numbers that were given twice.
pub const NUMBERS_GIVEN_TWICE: &str = "SELECT count(*) - count(DISTINCT change_seq) FROM ts_transactions";
/// Leases of runs that have ended.
pub const STRAY_LEASES: &str = "SELECT count(*) FROM ts_connections WHERE lease_token IS NOT NULL
     AND lease_run NOT IN (SELECT key FROM ts_runs WHERE finished_at IS NULL)";
/// Connections whose failure hooks were told of.
pub const TOLD_FAILING: &str = "SELECT count(*) FROM ts_connections WHERE failing_run IS NOT NULL";
/// Connections that need their user, whether or not the application has them enabled.
pub const NEEDING: &str = "SELECT count(*) FROM ts_connections WHERE needs_user IS NOT NULL";
/// Events for hooks that are not in the spool yet.
pub const UNTOLD: &str = "SELECT count(*) FROM ts_events";
/// Original JSON that is kept, by connection.
pub const ORIGINALS: &str = "SELECT json_object('connection_id', v.connection_id, 'raw', r.raw)
     FROM transactions_v1 v JOIN ts_transactions t ON t.change_seq = v.change_seq
     JOIN ts_raw r ON r.transaction_key = t.key ORDER BY r.raw";
/// Base tables, without the audit log.
pub const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'ts\\_%' ESCAPE '\\' AND name <> 'ts_audit'";

/// Whether the migration was applied that made the views, and the one that made the balance proof.
pub fn has_accounts(store: &Connection) -> bool {
    has_table(store, "ts_accounts")
}

pub fn has_balances(store: &Connection) -> bool {
    has_table(store, "ts_balances")
}

fn has_table(store: &Connection, name: &str) -> bool {
    let sql = "SELECT count(*) FROM sqlite_master WHERE name = ?1";
    store.query_row(sql, [name], |row| row.get::<_, i64>(0)).unwrap() == 1
}

/// What the store holds.
impl World {
    /// Connections that a run has.
    pub fn leased(&self) -> i64 {
        self.number("SELECT count(*) FROM ts_connections WHERE lease_token IS NOT NULL")
    }

    /// Connections that were synced once and that no run has.
    pub fn synced_and_free(&self) -> i64 {
        self.number(
            "SELECT count(*) FROM ts_connections WHERE last_success_at IS NOT NULL AND lease_run IS NULL",
        )
    }

    /// Accounts to be linked for which a browser is on its way.
    pub fn links_begun(&self) -> i64 {
        self.number("SELECT count(*) FROM ts_links")
    }

    /// The external id of the link that was begun, or else of the one connection of the store's own.
    pub fn external_id(&self) -> String {
        let sql = "SELECT external_user_id FROM ts_links UNION ALL SELECT external_user_id FROM tink_sync_source_v1";
        self.text(sql).unwrap()
    }

    /// The app that the store remembers.
    pub fn app_remembered(&self) -> Option<String> {
        self.text("SELECT max(client_id) FROM ts_app")
    }

    /// When the connections' last success began and ended, added up: it grows with every success.
    pub fn successes(&self) -> i64 {
        self.number("SELECT sum(last_success_at) + sum(last_success_began) FROM ts_connections")
    }

    /// Events for hooks that are not in the spool yet.
    pub fn untold(&self) -> i64 {
        self.number(UNTOLD)
    }

    /// The same of one kind.
    pub fn untold_of(&self, kind: &str) -> i64 {
        self.number(&format!("{UNTOLD} WHERE kind = '{kind}'"))
    }

    /// Kind and name in the spool of every event that is not there yet.
    pub fn untold_names(&self) -> Vec<(String, String)> {
        let sql = "SELECT e.kind, r.run_id || printf('-%010d.json', e.key)
                   FROM ts_events e JOIN ts_runs r ON r.key = e.run WHERE ?1 = ''";
        let rows = self.texts(sql, "").into_iter().map(<[_; 2]>::try_from);
        rows.map(|row| row.unwrap().map(Option::unwrap).into()).collect()
    }

    /// Rows of which the original JSON is kept.
    pub fn originals(&self) -> i64 {
        self.number("SELECT count(*) FROM ts_raw")
    }

    /// Runs of the history, asked for by a person or not.
    pub fn runs_on_demand(&self, on_demand: bool) -> i64 {
        self.number(&format!("SELECT count(*) FROM ts_runs WHERE on_demand = {on_demand}"))
    }

    /// Odd fields that were warned of.
    pub fn odd_fields(&self) -> i64 {
        self.number("SELECT count(*) FROM ts_anomalies")
    }

    /// Complete walks of an account, by key.
    pub fn walks(&self, account: &str) -> i64 {
        self.number(&format!("SELECT walks FROM ts_accounts WHERE key = {account}"))
    }

    /// Kept sums of rows that are not simply booked.
    pub fn sums_of_odd_parts(&self) -> i64 {
        self.number("SELECT count(*) FROM ts_sums WHERE part <> 'booked'")
    }

    /// The smallest key that a connection has.
    pub fn first_connection_key(&self) -> i64 {
        self.number("SELECT min(key) FROM ts_connections")
    }

    /// Connections that two runs of the last hour each say they did.
    pub fn done_twice(&self) -> i64 {
        self.number(
            "SELECT count(*) FROM (SELECT 1 FROM ts_run_connections x JOIN ts_runs r ON r.key = x.run
             WHERE x.outcome IN ('synced', 'unchanged')
                 AND r.started_at > (SELECT max(started_at) - 3600000 FROM ts_runs)
             GROUP BY x.connection HAVING count(*) > 1)",
        )
    }
}

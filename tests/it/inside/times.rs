//! Time that passes for the store, and clocks that were wrong. Holds no test.

use super::HOUR;
use crate::harness::World;
use crate::stored::Place;

/// Every time that the store compares with the clock, by table.
const TIMES: [(&str, &[&str]); 6] = [
    (
        "ts_connections",
        &[
            "last_attempt_at",
            "last_success_at",
            "last_success_began",
            "not_before",
            "next_due",
            "lease_until",
        ],
    ),
    ("ts_runs", &["started_at", "finished_at"]),
    ("ts_run_connections", &["started_at"]),
    ("ts_accounts", &["walked_at", "deep_walked_at", "closed_at"]),
    ("ts_transactions", &["removed_at"]),
    ("ts_raw", &["stored_at"]),
];

/// Time that passes.
impl World {
    /// Lets time pass for all that the store compares with the clock.
    pub fn later(&self, hours: u32) {
        self.move_times(-i64::from(hours) * HOUR);
    }

    /// Makes what passes have written as if the clock had been so far ahead.
    pub fn as_if_ahead(&self, by: i64) {
        self.move_times(by);
    }

    /// The same for what was written from the middle of the last pass on: its end, and every other connection.
    pub fn as_if_ahead_since_its_middle(&self, by: i64) {
        self.tamper(&format!(
            "UPDATE ts_runs SET finished_at = finished_at + {by};
             UPDATE ts_connections SET last_attempt_at = last_attempt_at + {by}, last_success_at = last_success_at + {by},
                    last_success_began = last_success_began + {by}, next_due = next_due + {by} WHERE key % 2 = 0;
             UPDATE ts_run_connections SET started_at = started_at + {by} WHERE connection % 2 = 0;
             UPDATE ts_accounts SET walked_at = walked_at + {by}, deep_walked_at = deep_walked_at + {by}
                 WHERE connection % 2 = 0"
        ));
    }

    /// Moves the days through which the history is known, as if both clocks had been so far ahead in the last pass.
    pub fn watermarks_ahead(&self, days: i64) {
        self.tamper(&format!(
            "UPDATE ts_accounts SET complete_through = date(complete_through, '{days} days'),
                    deep_through = date(deep_through, '{days} days')"
        ));
    }

    fn move_times(&self, by: i64) {
        let statements = TIMES.map(|(table, columns)| {
            let columns: Vec<String> =
                columns.iter().map(|column| format!("{column} = {column} + {by}")).collect();
            format!("UPDATE {table} SET {};", columns.join(", "))
        });
        self.tamper(&format!("BEGIN; {} COMMIT;", statements.concat()));
    }

    /// Makes the runs of the history older.
    pub fn age_runs(&self, by: i64) {
        self.tamper(&format!(
            "UPDATE ts_runs SET started_at = started_at - {by}, finished_at = finished_at - {by}"
        ));
    }

    /// Makes what the runs did with each connection older.
    pub fn age_attempts(&self, by: i64) {
        self.tamper(&format!("UPDATE ts_run_connections SET started_at = started_at - {by}"));
    }

    /// Makes the last successes older; a negative age lies ahead.
    pub fn age_successes(&self, by: i64) {
        self.tamper(&format!(
            "UPDATE ts_connections SET last_success_began = last_success_began - {by}, last_success_at = last_success_at - {by}"
        ));
    }

    /// Lets nobody be tried again before a time, after so many failures.
    pub fn rest_until(&self, failures: u32, at: i64) {
        self.tamper(&format!("UPDATE ts_connections SET failures = {failures}, not_before = {at}"));
    }

    /// Brings the end of every back-off nearer.
    pub fn shorten_rests(&self, by: i64) {
        self.tamper(&format!("UPDATE ts_connections SET not_before = not_before - {by}"));
    }

    /// Makes removals older.
    pub fn age_removals(&self, by: i64) {
        self.tamper(&format!(
            "UPDATE ts_transactions SET removed_at = removed_at - {by} WHERE removed_at > 0"
        ));
    }

    /// Makes warnings of odd fields older.
    pub fn age_odd_fields(&self, by: i64) {
        self.tamper(&format!("UPDATE ts_anomalies SET told_at = told_at - {by}"));
    }

    /// Makes what banks were asked for older.
    pub fn age_refreshes_asked_for(&self, by: i64) {
        self.tamper(&format!("UPDATE ts_consents SET asked_at = asked_at - {by}"));
    }

    /// Brings the end of every consent nearer, and what is remembered of it.
    pub fn age_consents(&self, hours: u32) {
        let moved = |column: &str| match self.place {
            Place::File(_) => {
                format!("{column} = strftime('%Y-%m-%dT%H:%M:%fZ', {column}, '-{hours} hours')")
            }
            Place::Database(_) => format!(
                "{column} = to_char(({column}::timestamptz - interval '{hours} hours') AT TIME ZONE 'UTC',
                                    'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
            ),
        };
        let columns = ["expires_at", "known_expiry", "warned_expiry"].map(moved);
        self.tamper(&format!("UPDATE ts_consents SET {}", columns.join(", ")));
    }

    /// The last deep walk is long ago.
    pub fn deep_walk_was_long_ago(&self) {
        self.tamper("UPDATE ts_accounts SET deep_walked_at = 0");
    }

    /// There was no deep walk.
    pub fn no_deep_walk(&self) {
        self.tamper("UPDATE ts_accounts SET deep_walked_at = NULL");
    }
}
